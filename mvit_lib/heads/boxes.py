"""Boxes: how much two of them share, the anchors that a detector bends, and which of its finds stay.

A box is xyxy: x0, y0 its left upper corner, x1, y1 its right lower one. An anchor is cxcywh: its centre,
width and height. Both are in pixels, but only `make_anchors` knows of a picture: all else is the same in
any unit.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2


def to_cxcywh(xyxy: Tensor) -> Tensor:
    """Corners -> centre, width, height: [..., 4] -> [..., 4]."""
    low, high = xyxy.chunk(2, dim=-1)  # [..., 2] each
    return torch.cat([(low + high) / 2, high - low], dim=-1)  # [..., 4]


def to_xyxy(cxcywh: Tensor) -> Tensor:
    """Centre, width, height -> corners: [..., 4] -> [..., 4]."""
    centre, size = cxcywh.chunk(2, dim=-1)  # [..., 2] each
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)  # [..., 4]


def area(xyxy: Tensor) -> Tensor:
    """Width times height, 0 where the corners are the wrong way round: [..., 4] -> [...]."""
    x0, y0, x1, y1 = xyxy.unbind(-1)
    return (x1 - x0).clamp(min=0) * (y1 - y0).clamp(min=0)  # [...]


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes xyxy, in [0, 1]; 0 with a box that has no area.

    Shape: [..., 4] and [..., 4], broadcast -> [...]: `iou(a[:, None], b)` pairs every a with every b.
    """
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.unbind(-1), b.unbind(-1)
    width = (torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0)).clamp(min=0)  # [...]
    height = (torch.minimum(ay1, by1) - torch.maximum(ay0, by0)).clamp(min=0)  # [...]
    shared = width * height  # [...]
    union = area(a) + area(b) - shared  # [...]
    return shared / union.clamp(min=torch.finfo(union.dtype).tiny)


def make_anchors(grids: Sequence[tuple[int, int]], image_size: tuple[int, int]) -> Tensor:
    """The anchors of an image of (height, width): float32 [A, 4], cxcywh in pixels.

    grids: (rows, columns) of each map, finest first. Anchors come map by map, row by row, pixel by
    pixel; at each pixel two squares and, of the smaller one's area, boxes with sides as 2 : 1, 1 : 2, 3 : 1
    and 1 : 3 (not the last two on the last map). A square's side is a share of the image's, of its height
    and its width: 0.1 on the first map, growing evenly to 0.89 on the last of six. No centre or side
    leaves the image.

    Source: Liu et al. 2016 (SSD), Section 2.2, with the numbers of the official configuration.
    """
    scales = torch.linspace(0.1, 1.05, len(grids) + 1, dtype=torch.float64).tolist()
    anchors = []
    for i, (rows, columns) in enumerate(grids):
        small, large = scales[i], (scales[i] * scales[i + 1]) ** 0.5
        sizes = [(small, small), (large, large)]
        for ratio in (2, 3) if i < len(grids) - 1 else (2,):
            long, short = small * ratio**0.5, small / ratio**0.5
            sizes += [(long, short), (short, long)]
        y, x = ((torch.arange(n, dtype=torch.float64) + 0.5) / n for n in (rows, columns))
        centres = torch.cartesian_prod(y, x).flip(1)  # [rows·columns, 2]
        centres = centres.repeat_interleave(len(sizes), dim=0)  # [rows·columns·anchors, 2]
        sides = torch.tensor(sizes, dtype=torch.float64).repeat(rows * columns, 1)  # the same shape
        anchors.append(torch.cat([centres, sides], dim=1))
    height, width = image_size
    pixels = torch.tensor([width, height, width, height])
    return (torch.cat(anchors).clamp(0, 1) * pixels).float()  # [A, 4]


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """What a network should answer so that `decode` bends the anchors into the boxes.

    How far the centre moves in sides of the anchor, over 0.1, and the logarithm of how much the sides
    grow, over 0.2: numbers of about the same spread.

    Shape: boxes xyxy and anchors cxcywh, each [..., 4] -> [..., 4]. Source: SSD, equation 2.
    """
    centre, size = to_cxcywh(boxes).chunk(2, dim=-1)  # [..., 2] each
    anchor_centre, anchor_size = anchors.chunk(2, dim=-1)  # [..., 2] each
    shift = (centre - anchor_centre) / anchor_size / CENTRE_VARIANCE  # [..., 2]
    return torch.cat([shift, (size / anchor_size).log() / SIZE_VARIANCE], dim=-1)  # [..., 4]


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    """The boxes xyxy into which a network's answers bend the anchors; the inverse of `encode`.

    Shape: offsets and anchors cxcywh, each [..., 4] -> [..., 4].
    """
    shift, growth = offsets.chunk(2, dim=-1)  # [..., 2] each
    anchor_centre, anchor_size = anchors.chunk(2, dim=-1)  # [..., 2] each
    centre = anchor_centre + shift * CENTRE_VARIANCE * anchor_size  # [..., 2]
    size = anchor_size * (growth * SIZE_VARIANCE).exp()  # [..., 2]
    return to_xyxy(torch.cat([centre, size], dim=-1))  # [..., 4]


def match(boxes: Tensor, anchors: Tensor, threshold: float = 0.5) -> Tensor:
    """Which box each anchor has to find: int64 [A] with indices of boxes, −1 for background.

    It is the box of the greatest IoU, or background if that is below the threshold. But every box claims
    the anchor it overlaps most, whatever their IoU; an anchor claimed by several goes to the one of the
    greatest IoU. Ties go to the first box, the first anchor. A box that overlaps no anchor claims none.

    Shape: boxes xyxy [M, 4], M ≥ 0, and anchors cxcywh [A, 4] -> [A].
    Source: SSD, Section 2.2. The official code adds 1e-5 of the image's area to each union; we do not.
    """
    if not len(boxes):
        return torch.full((len(anchors),), -1, device=anchors.device)
    overlap = iou(to_xyxy(anchors)[:, None], boxes)  # [A, M]
    most, best_anchor = overlap.max(0)  # [M] each
    claimed = F.one_hot(best_anchor, len(anchors)).T * (most > 0)  # [A, M]
    merit, box = (overlap + 2 * claimed).max(1)  # [A] each; a claim outdoes any IoU
    return box.where(merit >= threshold, -1)


def nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    min_score: float = 0.0,
    iou_threshold: float = 0.5,
    top_k: int = 200,
) -> tuple[Tensor, Tensor]:
    """Non-maximum suppression: where boxes of one class overlap, only the best stays.

    In every class, of the boxes that score above `min_score`: takes the best one, drops those whose IoU
    with it is above the threshold, and repeats with what is left, at most `top_k` times. Equal scores are
    ranked by x0, y0, x1, y1, then class, so that the order of the boxes does not matter.

    Shape: boxes xyxy [N, 4], scores [N, K] -> index of the box and of the class, int64 [n] each, best
    first.
    Raises: ValueError if the shapes do not fit, iou_threshold does not lie in [0, 1] or top_k is below 1.
    """
    if scores.dim() != 2 or boxes.shape != (len(scores), 4):
        raise ValueError(
            f"expected boxes [N, 4] and scores [N, K], got {tuple(boxes.shape)} and {tuple(scores.shape)}"
        )
    if not 0 <= iou_threshold <= 1 or top_k < 1:
        raise ValueError(f"{iou_threshold=}, {top_k=}: expected one in [0, 1] and one of at least 1")
    candidates = (scores > min_score).any(1).nonzero()[:, 0]  # [n]
    if not len(candidates):
        return candidates, candidates
    candidates = candidates[_sorted_by(*boxes[candidates].unbind(1))]  # [n]
    boxes, scores = boxes[candidates], scores[candidates]  # [n, 4], [n, K]
    rank = F.pad((boxes[1:] != boxes[:-1]).any(1).cumsum(0), (1, 0))  # [n] by coordinates
    rows = boxes.split(128)  # their IoUs stay in the cache
    suppresses = torch.cat([iou(some[:, None], boxes) > iou_threshold for some in rows])  # [n, n]
    suppresses.fill_diagonal_(True)  # a box without area too
    left = scores.where(scores > min_score, -torch.inf).T.contiguous()  # [K, n]
    stays = torch.zeros_like(left, dtype=torch.bool)  # [K, n]
    for _ in range(top_k):
        best_score, best = left.max(1)  # [K] each; of equals the first
        is_any_left = best_score > -torch.inf  # [K]
        if not is_any_left.any():
            break
        stays[is_any_left, best[is_any_left]] = True
        left.masked_fill_(suppresses[best], -torch.inf)  # [K, n]
    label, box = stays.nonzero(as_tuple=True)  # one of each per box that stays
    order = _sorted_by(-scores[box, label], rank[box], label)  # [n]
    return candidates[box[order]], label[order]


def _sorted_by(*keys: Tensor) -> Tensor:
    """The order in which the first key rises, where it is equal the second, and so on: [n] each -> [n]."""
    order = torch.arange(len(keys[0]), device=keys[0].device)
    for key in reversed(keys):
        order = order[key[order].argsort(stable=True)]
    return order
