"""The checkers of 11.1, IoU of all pairs, 11.2, matching, and 11.3, bending anchors into boxes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Wrong,
    agrees,
    is_tensor,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    normal,
)
from mvit_lib.heads.boxes import encode

FILE = "s11_detection_ssdlite.py"
Two = Callable[[Tensor, Tensor], Tensor]

# 11.1


def _sides(a: Tensor, b: Tensor, more: float = 0) -> tuple[Tensor, Tensor]:
    """Width and height of what every pair shares, negative where they lie apart: [M, N] each."""
    low = torch.maximum(a[:, None, :2], b[:, :2])  # [M, N, 2]
    high = torch.minimum(a[:, None, 2:], b[:, 2:])  # [M, N, 2]
    width, height = (high - low + more).unbind(-1)
    return width, height


def _area(a: Tensor, more: float = 0) -> Tensor:
    return (a[:, 2] - a[:, 0] + more) * (a[:, 3] - a[:, 1] + more)  # [M]


def _shared(a: Tensor, b: Tensor, more: float = 0) -> Tensor:
    width, height = _sides(a, b, more)
    return width.clamp(min=0) * height.clamp(min=0)  # [M, N]


def _iou(a: Tensor, b: Tensor, more: float = 0) -> Tensor:
    shared = _shared(a, b, more)
    return shared / (_area(a, more)[:, None] + _area(b, more) - shared)  # [M, N]


def _unclamped(a: Tensor, b: Tensor) -> Tensor:
    width, height = _sides(a, b)
    shared = width * height
    return shared / (_area(a)[:, None] + _area(b) - shared)


def _clamped_late(a: Tensor, b: Tensor) -> Tensor:
    width, height = _sides(a, b)
    shared = (width * height).clamp(min=0)
    return shared / (_area(a)[:, None] + _area(b) - shared)


def _enclosing(a: Tensor, b: Tensor) -> Tensor:
    low = torch.minimum(a[:, None, :2], b[:, :2])
    high = torch.maximum(a[:, None, 2:], b[:, 2:])
    hull = (high - low).prod(-1)
    return hull / (_area(a)[:, None] + _area(b) - hull)


def _from_centres(a: Tensor, b: Tensor) -> Tensor:
    return _iou(*(torch.cat([t[:, :2] - t[:, 2:] / 2, t[:, :2] + t[:, 2:] / 2], 1) for t in (a, b)))


IOU_SUSPECTS: Mapping[str, Two] = {
    "Are the axes swapped? a along the rows, b along the columns: [M, N].": lambda a, b: _iou(b, a),
    "Boxes that lie apart in x and in y: is a negative width times a negative height an area? Cut each\n"
    "      of the two at 0.": _unclamped,
    "Did you cut the product at 0? Minus times minus is plus: cut width and height, each by itself.": (
        _clamped_late
    ),
    "Is that the shared area? Divide it by the union.": _shared,
    "Did you divide by the sum of the areas? It holds what they share twice.": lambda a, b: (
        _shared(a, b) / (_area(a)[:, None] + _area(b))
    ),
    "Is that twice the shared area over the sum of the areas? Divide by the union.": lambda a, b: (
        2 * _shared(a, b) / (_area(a)[:, None] + _area(b))
    ),
    "Did you divide by the area of a? The union holds b too.": lambda a, b: _shared(a, b) / _area(a)[:, None],
    "Did you divide by the area of b? The union holds a too.": lambda a, b: _shared(a, b) / _area(b),
    "Did you divide by the smaller area? Divide by the union.": lambda a, b: (
        _shared(a, b) / torch.minimum(_area(a)[:, None], _area(b))
    ),
    "Did you add 1 to the sides? Corners lie between pixels: the width is x1 − x0.": lambda a, b: _iou(
        a, b, 1
    ),
    "Is that the box around both? They share from the larger of the lower ends to the smaller of the\n"
    "      upper ones.": _enclosing,
    "Did you read the boxes as centre, width, height? They are corners: x0, y0, x1, y1.": _from_centres,
    "Is that only a[i] with b[i]? Every box of a meets every box of b.": lambda a, b: (
        _iou(a, b).diagonal() if len(a) == len(b) else _iou(a, b)[:, 0]
    ),
    "Did you pair the boxes row by row? Every box of a meets every box of b.": lambda a, b: _iou(
        a, b
    ).diagonal(),
}


def check_iou_matrix(iou_matrix: Callable) -> None:
    """Two boxes on squared paper; boxes apart, touching, nested, equal; as many as you like."""
    a = torch.tensor([[0.0, 0, 4, 2], [5, 1, 8, 7]])
    apart = torch.tensor([[2.0, 1, 6, 4], [9, 8, 10, 9], [4, 0, 6, 2], [6, 0, 7, 1]])
    agrees(iou_matrix, _iou, a, apart[:1], where="on two boxes and one:", suspects=IOU_SUSPECTS)
    agrees(iou_matrix, _iou, a, apart, where="on two boxes and four:", suspects=IOU_SUSPECTS)
    agrees(iou_matrix, _iou, a, a, where="on the same two boxes twice:", suspects=IOU_SUSPECTS)
    many = [torch.cat([10 * c, 10 * c + 8 * s.sigmoid()], 1) for c, s in map(_two, (0, 1))]
    agrees(iou_matrix, _iou, many[0][:5], many[1], suspects=IOU_SUSPECTS)
    leaves_alone(iou_matrix, a, apart)
    keeps_dtype(iou_matrix, a, apart)
    lets_gradient_flow(iou_matrix, a, apart)


def _two(seed: int) -> tuple[Tensor, Tensor]:
    return normal(7, 2, seed=seed), normal(7, 2, seed=seed + 2)


# 11.2


def _own_best(overlap: Tensor, threshold: float) -> Tensor:
    most, box = overlap.max(1)  # [A] each
    return box.where(most >= threshold, -1)


def _match(overlap: Tensor, threshold: float) -> Tensor:
    if not overlap.shape[1]:
        return torch.full((len(overlap),), -1)
    found = _own_best(overlap, threshold)
    found[overlap.argmax(0)] = torch.arange(overlap.shape[1])
    return found


def _changed(made: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, float], Tensor]:
    """A mistake that cannot show where there is no box."""
    return lambda o, t: made(o, t) if o.shape[1] else _match(o, t)


def _forced_only(overlap: Tensor, threshold: float) -> Tensor:
    found = torch.full((len(overlap),), -1)
    found[overlap.argmax(0)] = torch.arange(overlap.shape[1])
    return found


def _forced_keeps_its_box(overlap: Tensor, threshold: float) -> Tensor:
    found = _own_best(overlap, threshold)
    claimed = overlap.argmax(0)
    found[claimed] = overlap.argmax(1)[claimed]
    return found


def _threshold_last(overlap: Tensor, threshold: float) -> Tensor:
    found = overlap.argmax(1)
    found[overlap.argmax(0)] = torch.arange(overlap.shape[1])
    return found.where(overlap.amax(1) >= threshold, -1)


def _claims_with_a_limit(overlap: Tensor, threshold: float) -> Tensor:
    found, (most, best) = _own_best(overlap, threshold), overlap.max(0)
    found[best[most > 0.1]] = torch.arange(overlap.shape[1])[most > 0.1]
    return found


def _strict(overlap: Tensor, threshold: float) -> Tensor:
    found = overlap.argmax(1).where(overlap.amax(1) > threshold, -1)
    found[overlap.argmax(0)] = torch.arange(overlap.shape[1])
    return found


MATCH_SUSPECTS: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "Is that one anchor for every box? Every anchor needs an answer: take the maximum over the boxes.": (
        _changed(lambda o, t: o.argmax(0))
    ),
    "Did a small IoU stop a claim? A box claims its best anchor, however small their IoU.": (
        _changed(_claims_with_a_limit)
    ),
    "Did the threshold have the last word? A box claims its best anchor, however small their IoU.": (
        _changed(_threshold_last)
    ),
    "Did you forget that every box claims its best anchor, even below the threshold?": _changed(_own_best),
    "Did you match the claimed anchors only? Those at or above the threshold count too.": (
        _changed(_forced_only)
    ),
    "Did you forget the threshold? An anchor below it that no box claims is background, −1.": _changed(
        lambda o, t: _match(o, 0.0)
    ),
    "A claimed anchor has to find the box that claims it, not the box it overlaps most itself.": (
        _changed(_forced_keeps_its_box)
    ),
    "Does an anchor at exactly the threshold count? It does: ≥.": _changed(_strict),
    "Did you write 0.5 where the threshold belongs?": lambda o, t: _match(o, 0.5),
    "Is background 0? 0 is the first box: background is −1.": lambda o, t: _match(o, t).clamp(min=0),
    "Did you count the boxes from 1? The first is 0, background −1.": lambda o, t: (_match(o, t) + 1).where(
        _match(o, t) >= 0, -1
    ),
    "Are these the labels 0 and 1 … M? Give the index of the box, and −1 for background.": lambda o, t: (
        _match(o, t) + 1
    ),
}
OVERLAP = torch.tensor(
    [[0.10, 0.00, 0.0, 0.00], [0.62, 0.20, 0.0, 0.10], [0.55, 0.44, 0.1, 0.00], [0.58, 0.40, 0.0, 0.05],
     [0.20, 0.35, 0.0, 0.30], [0.00, 0.10, 0.5, 0.00], [0.00, 0.00, 0.7, 0.00], [0.30, 0.05, 0.2, 0.33]]
)  # fmt: skip


def check_match(match_anchors: Callable) -> None:
    """A table in which every rule decides once; other thresholds; a box that hardly meets an anchor; none."""
    far = torch.tensor([[0.7, 0.0], [0.6, 0.0], [0.3, 0.02], [0.0, 0.01]])
    cases = {
        "on the table of 8 anchors and 4 boxes, threshold 0.5:": (OVERLAP, 0.5),
        "on the same table, threshold 0.34:": (OVERLAP, 0.34),
        "on 6 anchors and 3 boxes, threshold 0.9:": (OVERLAP[2:8, 1:].clone(), 0.9),
        "on 4 anchors and 2 boxes, the second with IoUs of 0.02 at most:": (far, 0.5),
        "on a picture without boxes, a table of [4, 0]:": (torch.zeros(4, 0), 0.5),
    }
    for where, (overlap, threshold) in cases.items():
        answer = match_anchors(overlap.clone(), threshold)
        found = is_tensor(answer, (len(overlap),), where, lambda t, o=overlap: _one_per_box(t, o))
        if found.dtype != torch.int64:
            raise Wrong(f"{where} your result is of {found.dtype}; indices are torch.int64")
        _name_the_anchor(found, _match(overlap, threshold), overlap, threshold, where)
    leaves_alone(match_anchors, OVERLAP, 0.5)


def _one_per_box(answer: Tensor, overlap: Tensor) -> str:
    asked = next(iter(MATCH_SUSPECTS))
    return f"\n      {asked}" if tuple(answer.shape) == tuple(overlap.shape[1:]) else ""


def _name_the_anchor(found: Tensor, expected: Tensor, overlap: Tensor, threshold: float, where: str) -> None:
    wrong = (found != expected).nonzero()
    if not len(wrong):
        return
    i = int(wrong[0])
    shares = ", ".join(f"{share:g}" for share in overlap[i].tolist()) or "none"
    message = f"{where} anchor {i} is matched to {int(found[i])}, expected {int(expected[i])}."
    message += f"\n      Its IoUs with the boxes: {shares}."
    asked = [
        question
        for question, mistake in MATCH_SUSPECTS.items()
        if torch.equal(mistake(overlap.clone(), threshold), found)
    ]
    raise Wrong(message + "".join(f"\n      {question}" for question in asked[:1]), found, expected)


# 11.3


def _bend(offsets: Tensor, anchors: Tensor, centre: float = 0.1, size: float = 0.2) -> Tensor:
    (t, g), (c, s) = offsets.split(2, -1), anchors.split(2, -1)
    c, s = c + t * centre * s, s * (g * size).exp()
    return torch.cat([c - s / 2, c + s / 2], -1)


def _with(
    shift: Callable[[Tensor, Tensor], Tensor] = lambda t, s: 0.1 * t * s,
    grown: Callable[[Tensor, Tensor], Tensor] = lambda g, s: s * (0.2 * g).exp(),
    corners: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda c, s: (c - s / 2, c + s / 2),
) -> Two:
    """The decoder with one of its steps replaced."""

    def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
        (t, g), (c, s) = offsets.split(2, -1), anchors.split(2, -1)
        return torch.cat(corners(c + shift(t, s), grown(g, s)), -1)

    return decode


DECODE_SUSPECTS: Mapping[str, Two] = {
    "Are these still centre, width, height? Turn them into corners.": _with(corners=lambda c, s: (c, s)),
    "Does the box begin at its centre? The corners lie half a side to both sides of it.": _with(
        corners=lambda c, s: (c, c + s)
    ),
    "Did you add a whole side on both sides? It is half of one.": _with(corners=lambda c, s: (c - s, c + s)),
    "Did you forget 0.1 and 0.2? encode divides by them.": lambda o, a: _bend(o, a, 1, 1),
    "Did you divide by 0.1 and 0.2? encode divides; the way back multiplies.": lambda o, a: _bend(
        o, a, 10, 5
    ),
    "Did you swap 0.1 and 0.2?": lambda o, a: _bend(o, a, 0.2, 0.1),
    "Did you take 0.1 for the sizes too? Theirs is 0.2.": lambda o, a: _bend(o, a, 0.1, 0.1),
    "Did you take 0.2 for the centre too? Its is 0.1.": lambda o, a: _bend(o, a, 0.2, 0.2),
    "Is the shift in pixels? It counts sides of the anchor.": _with(shift=lambda t, s: 0.1 * t),
    "Did you shift by sides of the new box? It counts sides of the anchor.": lambda o, a: _by_new_side(o, a),
    "Did you forget exp? encode takes the logarithm of the sizes.": _with(grown=lambda g, s: 0.2 * g * s),
    "Did you write 1 + 0.2·g for exp(0.2·g)? They part where g is not small.": _with(
        grown=lambda g, s: (1 + 0.2 * g) * s
    ),
    "Did you add the growth? exp(0.2·g) says how many times as large: multiply.": _with(
        grown=lambda g, s: s + (0.2 * g).exp()
    ),
    "Did you multiply exp by 0.2? 0.2 belongs inside.": _with(grown=lambda g, s: 0.2 * g.exp() * s),
    "Did you cut the boxes at 0? They may leave the picture.": lambda o, a: _bend(o, a).clamp(min=0),
    "Did you take the width for both axes? Up and down counts in heights.": _with(
        shift=lambda t, s: 0.1 * t * s[..., :1], grown=lambda g, s: s[..., :1] * (0.2 * g).exp()
    ),
    "Did you shift by the width in both axes? Up and down counts in heights.": _with(
        shift=lambda t, s: 0.1 * t * s[..., :1]
    ),
    "Did you read the anchors as corners? They are centre, width, height.": lambda o, a: _bend(
        o, torch.cat([(a[..., :2] + a[..., 2:]) / 2, a[..., 2:] - a[..., :2]], -1)
    ),
}


def _by_new_side(offsets: Tensor, anchors: Tensor) -> Tensor:
    (t, g), (c, s) = offsets.split(2, -1), anchors.split(2, -1)
    s = s * (0.2 * g).exp()
    c = c + 0.1 * t * s
    return torch.cat([c - s / 2, c + s / 2], -1)


def check_decode(decode: Callable) -> None:
    """Three anchors; nothing to bend; the way back from encode; a batch."""
    anchors = torch.tensor([[100.0, 50, 20, 10], [40, 60, 30, 80], [7, 9, 4, 2]])
    offsets = torch.tensor([[2.0, -3, 1.5, 0], [0, 1, -2, 3], [4, 5, 0.5, -1]])
    three = "on the answers at three anchors:"
    agrees(decode, _bend, offsets, anchors, tol=1e-3, where=three, suspects=DECODE_SUSPECTS)
    still = "on offsets of 0, which leave the anchors as they are:"
    agrees(decode, _bend, 0 * offsets, anchors, tol=1e-3, where=still, suspects=DECODE_SUSPECTS)
    boxes = torch.tensor([[94.0, 48, 114, 68], [20, 30, 70, 75], [1, 2, 3, 30]])
    agrees(lambda b: decode(encode(b, anchors), anchors), lambda b: b, boxes, tol=1e-3,
           where="on what encode makes of three boxes:")  # fmt: skip
    batch = torch.stack([offsets, 0.5 * offsets.flip(0)])  # [B, A, 4]
    two = "on a batch of two pictures, offsets [2, 3, 4], with the same three anchors, [3, 4]:"
    agrees(decode, _bend, batch, anchors, tol=1e-3, where=two, suspects=DECODE_SUSPECTS)
    leaves_alone(decode, offsets, anchors)
    keeps_dtype(decode, offsets, anchors)
    lets_gradient_flow(decode, offsets, anchors)


EXERCISES = {
    "11.1": Exercise(
        checker=check_iou_matrix,
        notice="iou_matrix(a, b) is the transpose of iou_matrix(b, a); IoU does not know which came first.",
        hints=(
            "First two boxes. Along x they share from the larger x0 to the smaller x1; if that is less than\n"
            "nothing, nothing. Along y the same.",
            "All pairs at once: give a an axis more, a[:, None] is [M, 1, 4], and pairs up with b [N, 4].\n"
            "torch.maximum(a[:, None, 0], b[:, 0]) is [M, N].",
            "width = (torch.minimum(...) - torch.maximum(...)).clamp(min=0)\nheight = ...\n"
            "shared = width * height\nunion = area_a[:, None] + area_b - ...\nreturn shared / union",
        ),
        solution=(FILE, "iou_matrix"),
        symptoms={
            "must match the size of tensor b": "[M] and [N] do not pair up: a[:, None] makes rows of one of "
            "the two, [M, 1].",
            "maximum(): argument 'other'": "torch.maximum takes two tensors; .max(…) of one tensor takes an "
            "axis.",
            "Dimension out of range": "a[:, None, 0] has the axes [M, 1].",
        },
        forbidden=("mvit_lib", "box_iou"),
    ),
    "11.2": Exercise(
        checker=check_match,
        notice="Anchor 2 has an IoU of 0.55 with box 0, and goes to box 1, which would find nobody else.",
        hints=(
            "Two steps. First each anchor for itself: its best box, or −1 if their IoU is below the\n"
            "threshold. Then each box claims its best anchor and overwrites what stands there.",
            "overlap.max(1) gives two tensors [A]: the values, and their places. overlap.argmax(0) is, for\n"
            "each of the M boxes, its best anchor. M may be 0: then a maximum over the boxes does not exist.",
            "if overlap.shape[1] == 0:\n    return torch.full((len(overlap),), ...)\n"
            "most, box = overlap.max(...)\nbox[most < threshold] = ...\n"
            "box[overlap.argmax(...)] = torch.arange(...)\nreturn box",
        ),
        solution=(FILE, "match_anchors"),
        symptoms={
            "Expected reduction dim": "the table has no column: a picture without boxes. Answer −1 for all "
            "its anchors before you ask for a maximum.",
            "shape mismatch: value tensor": "overlap.argmax(0) names M anchors: M numbers go there, "
            "torch.arange(M).",
            "'torch.return_types.max' object": ".max(1) gives two tensors: most, box = overlap.max(1).",
        },
        forbidden=("mvit_lib",),
    ),
    "11.3": Exercise(
        checker=check_decode,
        notice="Whatever the network says, exp makes a width above 0: no answer is an impossible box.",
        hints=(
            "Take the four formulas of encode and solve each for what it starts from: c from t, w from g.",
            "c = c_a + 0.1·t·(side of the anchor); side = side of the anchor · exp(0.2·g). The corners lie\n"
            "half a side on both sides of c. x[..., :2] are the first two of the last axis.",
            "shift, growth = offsets[..., :2], offsets[..., 2:]\ncentre = anchors[..., :2] + ...\n"
            "size = anchors[..., 2:] * (...).exp()\nreturn torch.cat([centre - ..., ...], dim=-1)",
        ),
        solution=(FILE, "decode"),
        symptoms={
            "Sizes of tensors must match": "torch.cat wants the same leading axes everywhere: add and "
            "multiply first, which pairs [B, A, 2] with [A, 2], then join.",
            "must match the size of tensor b": "cut along the last axis, x[..., :2]: there may be a batch in "
            "front.",
            "must be Tensor, not float": "torch.exp takes a tensor: (0.2 * growth).exp().",
        },
        forbidden=("mvit_lib",),
    ),
}
