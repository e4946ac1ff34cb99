"""The checkers of 01.1 and 01.2: strides, from tuples alone."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Wrong

# --- 01.1 ------------------------------------------------------------------------------------------------

LINES = (
    ((1, 2, 1, 3), (60, 20, 5, 1), "four axes"),
    ((1, 2, 3, 4), (60, 1, 15, 3), "four axes in another order"),
    ((1, 2), (4, 1), "rows of four"),
    ((2, 1), (1, 4), "the transposed"),
    ((1, 1, 1), (6, 3, 1), "three axes"),
    ((5,), (3,), "one axis"),
    ((1, 0, 1, 2, 1), (48, 24, 2, 8, 4), "five axes"),
)
OFFSET_MISTAKES: dict[str, Callable[[list[int], list[int]], int]] = {
    "Did you add index and stride? One step is repeated index times.": lambda i, s: sum(i) + sum(s),
    "Did you take the strides in reverse order?": lambda i, s: walk(i, s[::-1]),
    "Did you multiply the walks? They come one after the other.": lambda i, s: math.prod(map(_times, i, s)),
    "Did you forget the last axis?": lambda i, s: walk(i[:-1], s[:-1]),
    "Did you take the last stride for 1? Here it is not.": lambda i, s: walk(i[:-1], s[:-1]) + i[-1],
    "Did you use only the first two axes?": lambda i, s: walk(i[:2], s[:2]),
}


def _times(index: int, stride: int) -> int:
    return index * stride


def walk(index: Sequence[int], strides: Sequence[int]) -> int:
    """How far along the line an index leads."""
    return sum(map(_times, index, strides))


def check_offset(offset: Callable) -> None:
    """A whole number for any number of axes and any strides."""
    for index, strides, axes in LINES:
        where = f"{axes}, index {index}, strides {strides}:"
        expected = walk(index, strides)
        found = whole_number(offset(index, strides), where)
        if found != expected:
            questions = (q for q, mistake in OFFSET_MISTAKES.items() if mistake(index, strides) == found)
            raise Wrong(
                f"{where} you get {found}, expected {expected}.\n      {next(questions, '')}".rstrip()
            )


def whole_number(answer: Any, where: str) -> int:
    """The answer as an int, if it is one."""
    if answer is None:
        raise Wrong(f"{where} got None: did you forget `return`?")
    is_int = hasattr(answer, "__index__") and (not isinstance(answer, Tensor) or answer.dim() == 0)
    if not is_int:
        raise Wrong(f"{where} expected a whole number, got {answer!r:.60}")
    return int(answer)


# --- 01.2 ------------------------------------------------------------------------------------------------

WALKS = (
    ((3, 4), (4, 1), "4 = 4 · 1: a step down is a full walk along the row."),
    ((4, 3), (1, 4), "A step down is 1 further, a full walk along the row is 3 · 4 = 12."),
    ((2, 3, 4), (12, 4, 1), "12 = 3 · 4 and 4 = 4 · 1."),
    ((2, 3, 4), (24, 4, 1), "The last two axes can become one; the first two cannot: 24 ≠ 3 · 4."),
    ((2, 3, 4), (15, 5, 1), "The first two axes can become one; the last two cannot: 5 ≠ 4 · 1."),
    ((3, 4), (8, 2), "Every second number of a line is one walk too, in steps of 2."),
    (
        (2, 3, 4, 5),
        (60, 1, 15, 3),
        "The first two axes cannot become one: 60 ≠ 3 · 1.",
    ),
    ((3, 1, 4), (4, 99, 1), "Nobody walks along an axis of length 1: its stride does not count."),
    ((3, 1, 4), (1, 1, 3), "Without the axis of length 1, rows and columns are neighbours, and 1 ≠ 4 · 3."),
    ((3, 4, 1), (4, 1, 7), "Nobody walks along the last axis: its length is 1."),
    ((2, 3, 4), (12, 5, 1), "12 ≠ 3 · 5 and 5 ≠ 4 · 1, although 12 = 3 · 4 · 1: neighbours must fit."),
    ((2, 2, 2, 2), (16, 8, 4, 1), "The last two axes cannot become one: 4 ≠ 2 · 1."),
    ((2, 2, 2), (3, 3, 1), "3 ≠ 2 · 3: the walk comes twice to the same numbers."),
    ((1, 5), (5, 1), "Without the axis of length 1 there is one axis, and that is one walk."),
    ((1, 1), (1, 1), "There is one element and no step: nothing can fail to fit."),
    ((3, 4), (0, 0), "0 = 4 · 0: a stride of 0 reads the same number again, and each step is 0 long."),
)


def one_walk(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether PyTorch's view makes one axis of such a tensor."""
    line = torch.empty(1 + walk([n - 1 for n in shape], strides))
    try:
        line.as_strided(tuple(shape), tuple(strides)).view(-1)
    except RuntimeError:
        return False
    return True


def _pairs_fit(shape: Sequence[int], strides: Sequence[int], own: int = 0) -> list[bool]:
    """For all neighbouring axes whether they fit; own = 1 takes the outer axis's length by mistake."""
    return [strides[k] == shape[k + 1 - own] * strides[k + 1] for k in range(len(shape) - 1)]


WALK_MISTAKES: dict[str, Callable[[tuple, tuple], bool]] = {
    "Did you take the length of the outer axis? The full walk is along the inner one.": (
        lambda n, s: all(_pairs_fit(n, s, own=1))
    ),
    "Did you look at the last two axes only? All must fit.": lambda n, s: _pairs_fit(n, s)[-1],
    "Did you look at the first two axes only? All must fit.": lambda n, s: _pairs_fit(n, s)[0],
    "Did you look at the first three axes only? All must fit.": lambda n, s: all(_pairs_fit(n, s)[:2]),
    "Did you ask whether any two neighbours fit? All must fit.": lambda n, s: any(_pairs_fit(n, s)),
    "Did you look only at the outermost axis? Every axis must fit the one behind it.": (
        lambda n, s: s[0] == math.prod(n[1:]) * s[-1]
    ),
    "Did you ask only how far the last element lies? The steps on the way must be equal too.": (
        lambda n, s: walk([k - 1 for k in n], s) == s[-1] * (math.prod(n) - 1)
    ),
    "Did you ask whether the strides fall? They must fit the lengths.": (
        lambda n, s: list(s) == sorted(s, reverse=True)
    ),
    "Did you ask for a last stride of 1? A walk in equal steps of 2 is one walk too.": (
        lambda n, s: s[-1] == 1 and all(_pairs_fit(n, s))
    ),
    "Did you count axes of length 1? Nobody walks along them.": lambda n, s: all(_pairs_fit(n, s)),
    "Did you skip every pair with a length of 1? Leave out that axis; then other axes are neighbours.": (
        lambda n, s: all(
            fits for fits, pair in zip(_pairs_fit(n, s), pairwise(n), strict=True) if 1 not in pair
        )
    ),
}


def check_one_walk(function: Callable) -> None:
    """True or False on tuples for which PyTorch's view knows the truth; what comes first is told first."""
    answers, stopped = [], None
    try:
        answers.extend(_true_or_false(function, *case[:2]) for case in WALKS)
    except Exception as error:
        stopped = error
    for (shape, strides, reason), answer in zip(WALKS, answers, strict=False):
        if answer != one_walk(shape, strides):
            same = (q for q, f in WALK_MISTAKES.items() if [f(n, s) for n, s, _ in WALKS] == answers)
            raise Wrong(
                f"shape {shape}, strides {strides}: you say {answer}, PyTorch's view says {not answer}.\n"
                f"      {next(same, reason)}"
            )
    if stopped is not None:
        raise stopped


def _true_or_false(function: Callable, shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """The function's answer, if it is one."""
    answer = function(shape, strides)
    if answer is None:
        raise Wrong(f"shape {shape}, strides {strides}: got None: did you forget `return`?")
    if not isinstance(answer, bool):
        raise Wrong(f"shape {shape}, strides {strides}: expected True or False, got {answer!r:.60}")
    return answer


# --- what a learner reads --------------------------------------------------------------------------------

ASKED = ("view", "reshape", "flatten", "as_strided", "empty_strided", "is_contiguous")
ANY = "There can be any number of axes: walk over the tuples instead of naming each axis."

EXERCISES = {
    "01.1": Exercise(
        checker=check_offset,
        notice="One formula, any number of axes. a and a.T read one line with it; only their strides differ.",
        hints=(
            "You stand at offset 0. How many numbers do you walk along the line to move by one along the\n"
            "first axis? And to move by index[0]?",
            "Walk axis by axis and add the steps: index[0]·strides[0] + index[1]·strides[1] + …\n"
            "for as many axes as there are. zip(index, strides) pairs them.",
            "return sum(... * ... for i, s in zip(index, strides))",
        ),
        symptoms={
            "can't multiply sequence": "index and strides are tuples: multiply them pair by pair.",
            "values to unpack": ANY,
            "index out of range": ANY,
        },
        solution=("s01_tensors_that_move_pixels.py", "offset"),
    ),
    "01.2": Exercise(
        checker=check_one_walk,
        notice="This is what `view(-1)` asks, from two short tuples: it need not look at a single number.",
        hints=(
            "Two axes become one if the outer stride is the inner length times the inner stride. How many\n"
            "pairs of neighbours has a tensor? And how far do you walk along an axis of length 1?",
            "First leave out the axes of length 1, in shape and strides alike. Of what is left, every axis\n"
            "must fit the one behind it: strides[k] == shape[k + 1] * strides[k + 1].",
            "lengths = [n for n in shape if ...]\n"
            "steps = [s for n, s in zip(shape, strides) if ...]\n"
            "return all(steps[k] == ... * steps[k + 1] for k in range(...))",
        ),
        symptoms={
            "index out of range": "k + 1 must be an axis too: let k run to the last axis but one. "
            "And where lengths are 1, one axis or none is left.",
            "ZeroDivisionError": "A stride can be 0: multiply instead of dividing.",
            "values to unpack": ANY,
        },
        forbidden=ASKED,
        solution=("s01_tensors_that_move_pixels.py", "one_walk"),
    ),
}
