"""The checker of 11.6, average precision."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Wrong, leaves_alone, normal

FILE = "s11_detection_ssdlite.py"


def _steps(scores: Tensor, is_right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """In the order of the scores: whether right, precision and its monotone envelope, [n] each."""
    right = is_right[scores.argsort(descending=True)].double()
    precision = right.cumsum(0) / torch.arange(1, len(right) + 1)
    envelope = precision.flip(0).cummax(0).values.flip(0) if len(right) else precision
    return right, precision, envelope


def _ap(scores: Tensor, is_right: Tensor, objects: int) -> float:
    right, _, envelope = _steps(scores, is_right)
    return round((envelope * right).sum().item() / objects, 6)


def _from(made: Callable[[Tensor, Tensor, Tensor, int], float | Tensor]) -> Callable:
    """A mistake from (right, precision, envelope, objects), rounded like the answer; 0 where it has none."""

    def mistake(scores: Tensor, is_right: Tensor, objects: int) -> float:
        value = float(made(*_steps(scores, is_right), objects)) if len(scores) else 0.0
        return round(0.0 if value != value else value, 6)

    return mistake


def _slanting(heights: Tensor, objects: int) -> Tensor:
    """The area under lines from one right find to the next."""
    return torch.trapezoid(torch.cat([heights[:1], heights]), dx=1 / objects)


def _readings(right: Tensor, precision: Tensor, envelope: Tensor, objects: int) -> Tensor:
    """The mean height of the staircase at recall 0, 0.01, … 1."""
    recall, none = right.cumsum(0) / objects, torch.zeros(1)
    places = torch.linspace(0, 1, 101, dtype=torch.float64)
    return torch.stack([torch.cat([precision[recall >= t], none]).amax() for t in places]).mean()


def _zigzag(right: Tensor, precision: Tensor, envelope: Tensor, objects: int) -> Tensor:
    return torch.trapezoid(precision, right.cumsum(0) / objects)


AP_SUSPECTS: Mapping[str, Callable[[Tensor, Tensor, int], float]] = {
    "Did you forget to sort? The find with the highest score comes first.": lambda s, r, n: _ap(
        -torch.arange(len(s)).float(), r, n
    ),
    "Did you begin with the lowest score?": lambda s, r, n: _ap(-s, r, n),
    "Is that the precision itself? At each recall take the best precision from there on.": _from(
        lambda right, precision, envelope, n: (precision * right).sum() / n
    ),
    "Did you take the best precision so far? Take the best from there on: begin at the end.": _from(
        lambda right, precision, envelope, n: (precision.cummax(0).values * right).sum() / n
    ),
    "Did you divide by the objects that were found? Those never found count too.": _from(
        lambda right, precision, envelope, n: (envelope * right).sum() / right.sum()
    ),
    "Did you divide by the number of finds? A step of recall is 1 / objects.": _from(
        lambda right, precision, envelope, n: (envelope * right).sum() / len(right)
    ),
    "Is that the mean over all finds? Recall grows at the right ones only.": _from(
        lambda right, precision, envelope, n: envelope.mean()
    ),
    "Did you let wrong finds add steps too? Recall grows at the right ones only.": _from(
        lambda right, precision, envelope, n: envelope.sum() / n
    ),
    "Is that the recall at the end?": _from(lambda right, precision, envelope, n: right.sum() / n),
    "Is that the precision at the end?": _from(lambda right, precision, envelope, n: precision[-1]),
    "Did you join the points by slanting lines (trapezoids)? It is a staircase.": _from(
        lambda right, precision, envelope, n: _slanting(envelope[right > 0], n)
    ),
    "Is that the area under the zigzag? First take, at each recall, the best precision from there on.": (
        _from(_zigzag)
    ),
    "Is that the mean of 101 readings, as COCO takes it? Here the area itself is asked for.": (
        _from(_readings)
    ),
    "Is that the sum, not yet divided by the number of objects?": _from(
        lambda right, precision, envelope, n: (envelope * right).sum()
    ),
}


def check_average_precision(average_precision: Callable) -> None:
    """In order; shuffled; a late recovery; nothing right; nothing found; many."""
    hand = torch.tensor([False, True, True, False, True, False, False, True])
    falling = torch.linspace(0.9, 0.2, 8)
    mix = torch.tensor([5, 2, 7, 0, 3, 6, 1, 4])
    many = normal(60, seed=3).sigmoid()
    cases = {
        "on wrong, right, right, wrong, right, wrong, wrong, right; 6 objects": (falling, hand, 6),
        "on the same finds in another order": (falling[mix], hand[mix], 6),
        "on wrong, wrong, right; 2 objects": (torch.tensor([0.9, 0.8, 0.7]), hand[[0, 0, 1]], 2),
        "on three wrong finds": (torch.tensor([0.9, 0.8, 0.7]), hand[[0, 0, 0]], 4),
        "on no find at all": (torch.zeros(0), torch.zeros(0, dtype=torch.bool), 3),
        "on 60 finds": (many, normal(60, seed=4) > 0, 40),
    }
    passed: list[tuple] = []
    for where, (scores, is_right, objects) in cases.items():
        found = _number(average_precision(scores.clone(), is_right.clone(), objects), where)
        case = (scores, is_right, objects)
        expected = _ap(*case)
        if not abs(found - expected) <= 1e-5:
            said = f"{where}: you get {found:.4g}, expected {expected:.4g}."
            raise Wrong(said + _near(case, found, passed))
        passed.append(case)
    leaves_alone(average_precision, falling, hand, 6)


def _near(case: tuple, found: float, passed: list[tuple]) -> str:
    for question, mistake in AP_SUSPECTS.items():
        if abs(mistake(*case) - found) <= 1e-5 and all(
            abs(mistake(*old) - _ap(*old)) <= 1e-5 for old in passed
        ):
            return f"\n      {question}"
    return ""


def _number(answer: Any, where: str) -> float:
    if answer is None:
        raise Wrong(f"{where}: got None: did you forget `return`?")
    if isinstance(answer, Tensor) and answer.numel() != 1:
        raise Wrong(f"{where}: expected one number, got a tensor {list(answer.shape)}: add up its steps")
    try:
        return float(answer)
    except (TypeError, ValueError):
        raise Wrong(f"{where}: expected one number, got {type(answer).__name__}") from None


EXERCISES = {
    "11.6": Exercise(
        checker=check_average_precision,
        notice="Two wrong finds before one right of two objects: 1/3 · 1/2. Late is worth less than early.",
        hints=(
            "Sort by score, best first. Then walk down: each right find makes recall one step, 1 / objects,\n"
            "larger. What is precision worth at this step?",
            "precision = right.cumsum(0) / torch.arange(1, n + 1), with right as 0 and 1. At each step\n"
            "count the greatest precision from there to the end: go backwards and carry the maximum along.",
            "right = is_right[scores.argsort(...)].double()\nprecision = right.cumsum(0) / ...\n"
            "for i in range(len(precision) - 2, -1, -1):\n    precision[i] = max(..., ...)\n"
            "return (precision * ...).sum() / ...",
        ),
        solution=(FILE, "average_precision"),
        symptoms={
            "list index out of range": "there may be no find at all: then the average precision is 0.",
            "out of bounds for dimension": "there may be no find at all: then the average precision is 0.",
            "Expected reduction dim": "there may be no find at all: then the average precision is 0.",
            "division by zero": "recall divides by `objects`, which is never 0 here; precision by the finds "
            "so far, counted from 1.",
            "could not infer output dtype": "make 0 and 1 of wrong and right first: .double().",
        },
        forbidden=("mvit_lib",),
    ),
}
