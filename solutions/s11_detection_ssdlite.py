"""Solutions of notebook 11."""

import torch
from torch import Tensor


def iou_matrix(a: Tensor, b: Tensor) -> Tensor:
    # What two boxes share begins at the larger of the two beginnings and ends at the smaller of the ends.
    # Cut width and height at 0 each: two boxes apart in x and y would share minus times minus.
    # a[:, None] is [M, 1, 4]: against b [N, 4] every row of a meets every row of b.
    low = torch.maximum(a[:, None, :2], b[:, :2])  # [M, N, 2]
    high = torch.minimum(a[:, None, 2:], b[:, 2:])  # [M, N, 2]
    width, height = (high - low).clamp(min=0).unbind(-1)  # [M, N] each
    shared = width * height
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])  # [M]
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])  # [N]
    # The sum of the areas holds the shared part twice.
    return shared / (area_a[:, None] + area_b - shared)


def match_anchors(overlap: Tensor, threshold: float = 0.5) -> Tensor:
    # No box, no maximum: all anchors are background.
    if overlap.shape[1] == 0:
        return torch.full((len(overlap),), -1)
    # First every anchor for itself, with its best box.
    most, box = overlap.max(1)  # [A] each
    box[most < threshold] = -1
    # Then the claims, which must come last: they overrule the threshold and the anchor's own choice.
    box[overlap.argmax(0)] = torch.arange(overlap.shape[1])
    return box


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    # encode divides by the anchor's sides and by 0.1, so the way back multiplies by both.
    # exp undoes the logarithm; it is never negative, so neither is a side.
    # [..., 4] with the dots in front also takes a batch [B, A, 4] with the same anchors [A, 4].
    shift, growth = offsets[..., :2], offsets[..., 2:]
    centre = anchors[..., :2] + 0.1 * shift * anchors[..., 2:]
    size = anchors[..., 2:] * (0.2 * growth).exp()
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def hard_negatives(surprise: Tensor, positive: Tensor, ratio: int = 3) -> Tensor:
    # Anchors with an object are no candidates: they go behind all others.
    hardness = surprise.masked_fill(positive, -torch.inf)  # [B, A]
    marked = torch.zeros_like(positive)  # bool [B, A]
    for b in range(len(surprise)):
        # An image pays for its own objects only, and marks no more background than it has.
        n = min(ratio * int(positive[b].sum()), int((~positive[b]).sum()))
        marked[b, hardness[b].topk(n).indices] = True
    # Without a loop: hardness.argsort(1, descending=True).argsort(1) is the rank of each anchor.
    return marked


def nms(overlap: Tensor, scores: Tensor, threshold: float = 0.5) -> list[int]:
    # Best first: whoever stays can only be dropped by somebody better.
    # Only those that stay drop others, so look at `stays` and not at all boxes so far.
    # Strictly above the threshold: two that share exactly that much both stay.
    stays = []
    for i in scores.argsort(descending=True).tolist():
        if all(overlap[i, j] <= threshold for j in stays):
            stays.append(i)
    return stays


def average_precision(scores: Tensor, is_right: Tensor, objects: int) -> float:
    # Going down the list means lowering the threshold of the score, one find at a time.
    # Precision counts the finds so far; made monotone from behind it forgives a mistake that a lower
    # threshold makes good again.
    # Each right find adds a step of 1 / objects to recall: objects never found add nothing.
    right = is_right[scores.argsort(descending=True)].double()  # [n]
    precision = right.cumsum(0) / torch.arange(1, len(right) + 1)  # [n]
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return (precision * right).sum().item() / objects
