"""Solutions of notebook 12."""

import torch
import torch.nn.functional as F


def columns_with_gaps(x: torch.Tensor, K: int, dilation: int) -> torch.Tensor:
    # The middle cell lies on the output pixel, so cell 0 lies dilation·(K // 2) above and left of it.
    # Padding by just that on all sides keeps as many positions as the map has pixels.
    # What cell (u, v) sees at all positions is one slice: only its start depends on the dilation.
    (B, C, H, W), p = x.shape, dilation * (K // 2)
    wide = F.pad(x, (p, p, p, p))  # [B, C, H + 2p, W + 2p]
    starts = [dilation * cell for cell in range(K)]
    cells = [wide[:, :, u : u + H, v : v + W] for u in starts for v in starts]  # each [B, C, H, W]
    return torch.stack(cells, dim=2).reshape(B, C * K * K, H * W)  # [B, C·K², H·W]


def offsets_seen(K: int, dilations: list[int]) -> list[int]:
    # A kernel of dilation d takes a step of −d·(K // 2), …, −d, 0, d, …: multiples of d and nothing between.
    # The next kernel starts from every place reached so far, so places and steps add up in all pairs.
    # A set keeps a place once, however many ways lead there.
    places = {0}
    for dilation in dilations:
        steps = [dilation * cell for cell in range(-(K // 2), K // 2 + 1)]
        places = {place + step for place in places for step in steps}
    return sorted(places)


def aspp_views(
    x: torch.Tensor,
    one: torch.Tensor,
    atrous: list[torch.Tensor],
    pool: torch.Tensor,
    merge: torch.Tensor,
    dilations: list[int],
) -> torch.Tensor:
    # Padding as wide as the dilation keeps the size of a 3 × 3 kernel with gaps, so the maps can be joined.
    # The mean over rows and columns is one number per image and channel; expand repeats it for every pixel.
    # Each branch has its ReLU before they are joined: `merge` could undo nothing of a sum.
    branches = [F.conv2d(x, one)]  # [B, O, H, W]
    branches += [F.conv2d(x, w, padding=d, dilation=d) for w, d in zip(atrous, dilations, strict=True)]
    mean = F.conv2d(x.mean((2, 3), keepdim=True), pool)  # [B, O, 1, 1]
    branches.append(mean.expand_as(branches[0]))  # [B, O, H, W]
    joined = torch.cat([branch.relu() for branch in branches], dim=1)  # [B, 5·O, H, W]
    return F.conv2d(joined, merge).relu()  # [B, O, H, W]


def pixel_loss(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    # Leave the pixels to ignore out first: there is no logit of class 255 to look up.
    # log_softmax is over the classes; it is exact where softmax and log would give −inf.
    # One mean over all pixels that count; clamp keeps a batch without any from dividing by 0.
    known = mask != 255  # [B, H, W]
    log_p = logits.log_softmax(1).permute(0, 2, 3, 1)[known]  # [n, classes]
    of_class = log_p.gather(1, mask[known][:, None])  # [n, 1]
    return -of_class.sum() / known.sum().clamp(min=1)


def iou_per_class(found: torch.Tensor, truth: torch.Tensor, num_classes: int) -> torch.Tensor:
    # Pixels to ignore leave both masks, or they would count as found too much.
    # Each pair (true, found) gets a number of its own, so one bincount counts all pairs at once.
    # Row k sums to the true pixels of class k, column k to the found ones; the diagonal is in both.
    # 0 / 0 is NaN: a class that is in neither mask has no IoU, and nanmean leaves it out.
    known = truth != 255
    pairs = num_classes * truth[known] + found[known]  # [n]
    table = pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)
    both = table.diagonal()  # [classes]
    return both / (table.sum(0) + table.sum(1) - both)  # [classes]
