"""The checkers of 11.4, hard negatives, and 11.5, non-maximum suppression."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Wrong, is_tensor, leaves_alone, normal

FILE = "s11_detection_ssdlite.py"

# 11.4


def _ranks(surprise: Tensor, positive: Tensor) -> Tensor:
    return surprise.masked_fill(positive, -torch.inf).argsort(1, descending=True).argsort(1)  # [B, A]


def _hard(surprise: Tensor, positive: Tensor, ratio: int) -> Tensor:
    return (_ranks(surprise, positive) < ratio * positive.sum(1, keepdim=True)) & ~positive


def _pooled(surprise: Tensor, positive: Tensor, ratio: int) -> Tensor:
    flat = _ranks(surprise.reshape(1, -1), positive.reshape(1, -1)).view_as(surprise)
    return (flat < ratio * positive.sum()) & ~positive


def _hard_ranked_with_objects(surprise: Tensor, positive: Tensor, ratio: int) -> Tensor:
    rank = surprise.argsort(1, descending=True).argsort(1)
    return (rank < ratio * positive.sum(1, keepdim=True)) & ~positive


def _one_argsort(surprise: Tensor, positive: Tensor, ratio: int) -> Tensor:
    order = surprise.masked_fill(positive, -torch.inf).argsort(1, descending=True)
    return (order < ratio * positive.sum(1, keepdim=True)) & ~positive


def _unmasked(surprise: Tensor, positive: Tensor, ratio: int) -> Tensor:
    return surprise.argsort(1, descending=True).argsort(1) < ratio * positive.sum(1, keepdim=True)


def _one_at_least(surprise: Tensor, positive: Tensor, ratio: int) -> Tensor:
    limit = (ratio * positive.sum(1, keepdim=True)).clamp(min=1)
    return (_ranks(surprise, positive) < limit) & ~positive


Chooser = Callable[[Tensor, Tensor, int], Tensor]
HARD_SUSPECTS: Mapping[str, Chooser] = {
    "Are there fewer background anchors than asked for? Then the ranks go on into those with an object.": (
        lambda s, p, r: _ranks(s, p) < r * p.sum(1, keepdim=True)
    ),
    "Are the objects' anchors in it too? Mark background only.": lambda s, p, r: _hard(s, p, r) | p,
    "Did you take the easiest? The hardest surprise the network most.": lambda s, p, r: _hard(-s, p, r),
    "Did the batch share one list? Each image pays for its own objects.": _pooled,
    "Did the batch share one number? Each image has as many as its own objects call for.": lambda s, p, r: (
        (_ranks(s, p) < r * p.sum()) & ~p
    ),
    "Did you write 3 where the ratio belongs?": lambda s, p, r: _hard(s, p, 3),
    "Is that `ratio` per image? It is `ratio` for each anchor with an object.": lambda s, p, r: (
        (_ranks(s, p) < r) & ~p
    ),
    "Did you forget the ratio?": lambda s, p, r: _hard(s, p, 1),
    "Is that one too many? The ranks begin at 0.": lambda s, p, r: (
        (_ranks(s, p) <= r * p.sum(1, keepdim=True)) & ~p
    ),
    "Did objects' anchors take places in the ranking? Send them to its end first.": (
        _hard_ranked_with_objects
    ),
    "Did you confuse order and rank? argsort names the first anchor, the second, …; sort that again to\n"
    "      get each anchor's rank.": _one_argsort,
    "Did you rank all anchors? Those with an object are no candidates: send them to the end first.": (
        _unmasked
    ),
    "Did you keep one at least? An image without an object marks no background.": _one_at_least,
    "Did you take all of the background?": lambda s, p, r: ~p,
}
SURPRISE = torch.tensor(
    [[0.3, 4.0, 0.1, 2.5, 0.7, 5.0, 0.2, 1.9, 0.6, 1.1], [2.2, 0.4, 6.0, 0.9, 3.1, 0.8, 1.3, 0.05, 2.9, 7.5],
     [3.3, 0.15, 0.5, 2.1, 0.25, 1.2, 4.4, 0.35, 1.7, 0.45]]
)  # fmt: skip
POSITIVE = torch.zeros(3, 10, dtype=torch.bool)
POSITIVE[0, [1, 4]] = POSITIVE[1, 9] = True  # the third image shows nothing


def check_hard_negatives(hard_negatives: Callable) -> None:
    """Two objects, one and none; another ratio; an image with too little background; many anchors."""
    crowded = POSITIVE[:1] | (torch.arange(10) % 2 == 0)
    many = normal(2, 200).abs(), normal(2, 200, seed=1) > 2
    cases = {
        "on images with 2, 1 and 0 anchors that have an object, ratio 3:": (SURPRISE, POSITIVE, 3),
        "on the same images, ratio 2:": (SURPRISE, POSITIVE, 2),
        "on an image of 10 anchors, 6 with an object, ratio 3:": (SURPRISE[:1], crowded, 3),
        "on two images of 200 anchors, ratio 4:": (*many, 4),
    }
    for where, (surprise, positive, ratio) in cases.items():
        answer = hard_negatives(surprise.clone(), positive.clone(), ratio)
        expected = _hard(surprise, positive, ratio)
        found = is_tensor(answer, expected.shape, where)
        if found.dtype != torch.bool:
            raise Wrong(f"{where} your result is of {found.dtype}; expected torch.bool: counted or not")
        _name_the_negative(found, expected, (surprise, positive, ratio), where)
    leaves_alone(hard_negatives, SURPRISE, POSITIVE, 3)


def _name_the_negative(found: Tensor, expected: Tensor, case: tuple, where: str) -> None:
    wrong = (found != expected).nonzero()
    if not len(wrong):
        return
    b, a = wrong[0].tolist()
    marked = ["not marked", "marked"]
    count, right = int(found[b].sum()), int(expected[b].sum())
    message = f"{where} in image {b} you mark {count} anchor{'s' * (count != 1)}, expected {right}"
    message += " others" * (count == right)
    message += f".\n      First wrong: anchor {a}, surprise {case[0][b, a]:.3g}"
    message += f"{', with an object' if case[1][b, a] else ''}: {marked[int(found[b, a])]}."
    asked = [q for q, mistake in HARD_SUSPECTS.items() if torch.equal(mistake(*case), found)]
    raise Wrong(message + "".join(f"\n      {question}" for question in asked[:1]), found, expected)


# 11.5


def _order(scores: Tensor) -> list[int]:
    return scores.argsort(descending=True).tolist()


def _nms(overlap: Tensor, scores: Tensor, threshold: float, order: Sequence[int] | None = None) -> list[int]:
    stays: list[int] = []
    for i in order or _order(scores):
        if all(overlap[i, j] <= threshold for j in stays):
            stays.append(i)
    return stays


def _dropped_by_the_dropped(overlap: Tensor, scores: Tensor, threshold: float) -> list[int]:
    order = _order(scores)
    return [i for n, i in enumerate(order) if all(overlap[i, j] <= threshold for j in order[:n])]


def _strictly(overlap: Tensor, scores: Tensor, threshold: float) -> list[int]:
    stays: list[int] = []
    for i in _order(scores):
        if all(overlap[i, j] < threshold for j in stays):
            stays.append(i)
    return stays


Suppressor = Callable[[Tensor, Tensor, float], Any]
NMS_SUSPECTS: Mapping[str, Suppressor] = {
    "Did a dropped box drop another? Only boxes that stay may drop.": _dropped_by_the_dropped,
    "Did you go through the boxes as they come? Begin with the best score.": lambda o, s, t: _nms(
        o, s, t, range(len(s))
    ),
    "Did you begin with the worst?": lambda o, s, t: _nms(o, s, t, _order(s)[::-1]),
    "Are these the right boxes in the order of the input? Best first.": lambda o, s, t: sorted(_nms(o, s, t)),
    "Are these places in the sorted list? Give the places in the input.": lambda o, s, t: (
        [_order(s).index(i) for i in _nms(o, s, t)]
    ),
    "Is exactly the threshold too much? A box is dropped above it.": _strictly,
    "Did you write 0.5 where the threshold belongs?": lambda o, s, t: _nms(o, s, 0.5),
    "Did only the best box drop others? Go on with the best of those left.": lambda o, s, t: (
        [i for i in _order(s) if i == _order(s)[0] or o[i, _order(s)[0]] <= t]
    ),
    "Did you keep what overlaps, and drop the rest?": lambda o, s, t: (
        [i for i in _order(s) if i not in _nms(o, s, t)]
    ),
    "Did a box drop itself? Its IoU with itself is 1.": lambda o, s, t: [],
    "Did you look at the next better box only? Any box that stays may drop.": lambda o, s, t: (
        _against_neighbour(o, s, t)
    ),
    "Is that only the best box?": lambda o, s, t: _order(s)[:1],
    "Are these scores? Give the indices of the boxes.": lambda o, s, t: s[_nms(o, s, t)].tolist(),
}


def _against_neighbour(overlap: Tensor, scores: Tensor, threshold: float) -> list[int]:
    stays: list[int] = []
    for i in _order(scores):
        if not stays or overlap[i, stays[-1]] <= threshold:
            stays.append(i)
    return stays


def _line(*starts: float) -> Tensor:
    """IoUs of boxes one unit wide and equally high, at these places on a line: [n, n]."""
    x = torch.tensor(starts)
    shared = (1 - (x[:, None] - x).abs()).clamp(min=0)
    return shared / (2 - shared)


def check_nms(nms: Callable) -> None:
    """Several heaps; a chain of three; exactly the threshold; other thresholds; one box; none."""
    chain = _line(0, 0.25, 0.5)
    heaps = _line(0.0, 3.0, 0.2, 3.1, 6.0, 0.1, 3.3, 0.35)
    half = torch.tensor([[1, 0.5, 0], [0.5, 1, 0.75], [0, 0.75, 1]])
    scores = torch.tensor([0.6, 0.8, 0.9, 0.4, 0.3, 0.75, 0.95, 0.7])
    cases = {
        "on eight boxes in three heaps": (heaps, scores, 0.5),
        "on a chain of three boxes: 0 overlaps 1, 1 overlaps 2": (chain, torch.tensor([0.9, 0.8, 0.7]), 0.5),
        "on the same eight boxes with threshold 0.7": (heaps, scores, 0.7),
        "on boxes 0 and 1, whose IoU is exactly the threshold": (half, torch.tensor([0.7, 0.9, 0.8]), 0.5),
        "on a single box": (torch.ones(1, 1), torch.tensor([0.4]), 0.5),
        "on no box at all": (torch.zeros(0, 0), torch.zeros(0), 0.5),
    }
    passed: list[tuple] = []
    for where, case in cases.items():
        found = _indices(nms(case[0].clone(), case[1].clone(), case[2]), where)
        if found != _nms(*case):
            raise Wrong(_name_the_box(found, case, where) + _asked(NMS_SUSPECTS, _nms, case, found, passed))
        passed.append(case)
    leaves_alone(nms, heaps, scores, 0.5)


def _indices(answer: Any, where: str) -> list:
    if answer is None:
        raise Wrong(f"{where}: got None: did you forget `return`?")
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    if not isinstance(answer, list | tuple):
        raise Wrong(f"{where}: expected a list of indices, got {type(answer).__name__}")
    return [i.item() if isinstance(i, Tensor) else i for i in answer]


def _name_the_box(found: list, case: tuple, where: str) -> str:
    overlap, scores, threshold = case
    expected = _nms(*case)
    message = f"{where}: you keep {found}, expected {expected}."
    extra = [i for i in found if i not in expected and i in range(len(scores))]
    missing = [i for i in expected if i not in found]
    if extra:
        i = extra[0]
        by = [j for j in expected if overlap[i, j] > threshold and scores[j] > scores[i]]
        message += (
            f"\n      Box {i} goes: its IoU with box {by[0]}, which is better, is {overlap[i, by[0]]:.2g}."
        )
    elif missing:
        message += f"\n      Box {missing[0]} stays: with no better box that stays is its IoU "
        message += f"above {threshold:g}."
    return message


def _asked(
    suspects: Mapping[str, Callable], right: Callable, case: tuple, found: Any, passed: list[tuple]
) -> str:
    """The first question whose mistake explains this answer and all right ones before it."""
    for question, mistake in suspects.items():
        if mistake(*case) == found and all(mistake(*old) == right(*old) for old in passed):
            return f"\n      {question}"
    return ""


EXERCISES = {
    "11.4": Exercise(
        checker=check_hard_negatives,
        notice="The image without objects counts nothing at all: it teaches nothing in this batch.",
        hints=(
            "Image by image: how many may be marked? Then take that many of the background anchors, those\n"
            "with the greatest surprise. Which anchors must not be taken at all?",
            "surprise.masked_fill(positive, -torch.inf) puts those with an object last. .topk(n).indices\n"
            "of a row names its n greatest; n may not exceed the background anchors that the image has.",
            "hardness = surprise.masked_fill(..., ...)\nmarked = torch.zeros_like(positive)\n"
            "for b in range(len(...)):\n    n = min(ratio * int(...), int(...))\n"
            "    marked[b, hardness[b].topk(...).indices] = ...\nreturn marked",
        ),
        solution=(FILE, "hard_negatives"),
        symptoms={
            "must match the size of tensor b": "the counts are [B], the ranks [B, A]: keepdim=True makes "
            "[B, 1] of them.",
            "selected index k out of range": "an image may have fewer background anchors than asked for: "
            "then take all of them.",
            "on a bool tensor is not supported": "for bool tensors `not` is ~, and `and` is &.",
            "Boolean value of Tensor": "for bool tensors `not` is ~, and `and` is &.",
        },
        forbidden=("mvit_lib",),
    ),
    "11.5": Exercise(
        checker=check_nms,
        notice="In the chain box 2 stays: box 1, which overlaps it, was gone before it could drop anybody.",
        hints=(
            "Keep a list of those that stay. Go through the boxes from the best score down; each asks those\n"
            "that stay already, and nobody else.",
            "scores.argsort(descending=True).tolist() is the order. Box i stays if overlap[i, j] is at most\n"
            "the threshold for all j in the list.",
            "stays = []\nfor i in ...:\n    if all(... <= threshold for j in ...):\n"
            "        stays.append(i)\nreturn stays",
        ),
        solution=(FILE, "nms"),
        symptoms={
            "ambiguous": "overlap[i, stays] <= threshold is a tensor of answers: .all() makes one of them.",
            "Expected reduction dim": "nothing is left, or there never was a box: a maximum of nothing does "
            "not exist.",
        },
        forbidden=("mvit_lib", "nms", "batched_nms"),
    ),
}
