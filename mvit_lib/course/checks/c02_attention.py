"""The checkers of notebook 02: softmax and one attention; c02_heads has the rest."""

from collections.abc import Callable
from functools import partial

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
    numbered,
)


def _all_finite(function: Callable, *arguments: Tensor, where: str, advice: str) -> None:
    """No inf and no nan: the suspects cannot tell where those come from."""
    answer = function(*(argument.clone() for argument in arguments))
    if isinstance(answer, Tensor) and not answer.isfinite().all():
        raise Wrong(f"{where} not all numbers of the result are finite.\n      {advice}")


def _share(x: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    return x.exp() / x.exp().sum(dim, keepdim=True)


OF_ITS_ROW = "Where scores are far below c, their powers vanish: c must belong to the row."

SOFTMAX_SUSPECTS = {
    "Did you add up all the numbers? Only those of one row, along the last axis, share one.": lambda x: (
        _share(x, tuple(range(x.dim())))
    ),
    "Did you add up along the first axis? The last one is meant: dim=-1.": lambda x: _share(x, 0),
    "Did you add up along the last axis but one? The last one is meant: dim=-1.": lambda x: _share(x, -2),
    "Did you leave out the exponential?": lambda x: x / x.sum(-1, keepdim=True),
    "Did you forget to divide by the sum?": lambda x: (x - x.amax(-1, keepdim=True)).exp(),
    "Did you take the exponential and forget to divide by the sum?": lambda x: x.exp(),
    "Did you take powers of 2? The base is e: torch.exp.": lambda x: _share(x * torch.log(torch.tensor(2.0))),
    "Did you give back the logarithm?": lambda x: _share(x).log(),
    f"Is your c 100, whatever the scores? {OF_ITS_ROW}": lambda x: _share(x - 100),
}

OVERFLOW = "e^1000 is too large a number. Which c can you take away from the row so that no power is?"
UNDERFLOW = (
    "All powers are 0 here. Did you take away the largest size, 1002? The largest score is −1000: then one "
    "power is 1."
)
NOT_THE_LARGEST = (
    "Some power is too large. Did you take away the row's mean, smallest, middle, first or last score? "
    "Which one leaves no score above 0?"
)


def check_softmax(softmax: Callable) -> None:
    """One row's share of one; then rows of huge and of very low scores."""
    x, where = numbered(2, 3, 4) / 5, "on scores [2, 3, 4]:"
    _all_finite(softmax, x, where=where, advice=f"Is your c the same number for all rows? {OF_ITS_ROW}")
    agrees(softmax, _reference_softmax, x, where=where, suspects=SOFTMAX_SUSPECTS)
    leaves_alone(softmax, normal(2, 3, 4))
    keeps_dtype(softmax, normal(2, 3, 4))
    lets_gradient_flow(softmax, normal(2, 3, 4))
    _survives(softmax, [[1000.0, 1001.0, 1002.0]], OVERFLOW)
    _survives(softmax, [[-1000.0, -1001.0, -1002.0]], UNDERFLOW)
    low = [[1000.0, 1001.0, 1002.0], [-1000.0, -1001.0, -1002.0]]
    _survives(softmax, low, "Each row has a largest score of its own: is yours that of the whole tensor?")
    for wide in ([0.0, 0.0, 3000.0], [3000.0, 0.0, 0.0], [0.0, 3000.0, 0.0], [0.0, 0.0, -3000.0]):
        _survives(softmax, [wide], NOT_THE_LARGEST)
    agrees(softmax, _reference_softmax, 5 * normal(7))


def _reference_softmax(x: Tensor) -> Tensor:
    return torch.softmax(x, dim=-1)


def _survives(softmax: Callable, scores: list[list[float]], advice: str) -> None:
    x = torch.tensor(scores)
    expected = _reference_softmax(x)
    yours = is_tensor(softmax(x.clone()), expected.shape, f"on scores {scores}:").detach()
    if not yours.isfinite().all():
        place = (~yours.isfinite()).nonzero()[0].tolist()
        number = yours[tuple(place)].item()
        raise Wrong(f"on scores {scores}:\n      out{place} is {number}. {advice}", yours, expected)
    if (yours - expected).abs().max() > 1e-5:
        raise Wrong(
            f"on scores {scores}: the result is finite, but wrong.\n      Did you cut the scores off, or "
            "replace nan? Shift them instead: then the differences stay.",
            yours,
            expected,
        )


def attend(q: Tensor, k: Tensor, v: Tensor, *, root: float | str = "d", dim: int = -1) -> Tensor:
    """softmax(q kᵀ / root) v; other roots and axes are the mistakes."""
    divisor = {"d": q.shape[-1] ** 0.5, "D": (q.shape[1] * q.shape[-1]) ** 0.5, "N": q.shape[-2] ** 0.5}
    return torch.softmax(q @ k.mT / (divisor[root] if isinstance(root, str) else root), dim=dim) @ v


_not_scaled, _along_queries = partial(attend, root=1), partial(attend, dim=-2)

ATTEND_SUSPECTS = {
    "Did you forget to divide the scores by √d?": _not_scaled,
    "Did you divide by d? It is its root.": lambda q, k, v: attend(q, k, v, root=q.shape[-1]),
    "Did you take the root of N, the number of tokens? It is that of d, the last axis.": partial(
        attend, root="N"
    ),
    "Is your softmax along the queries? One query's weights add up to 1: dim=-1.": _along_queries,
    "Did you divide after the softmax? The scores are divided, before it.": lambda q, k, v: (
        _not_scaled(q, k, v) / q.shape[-1] ** 0.5
    ),
    "Did you leave out the softmax?": lambda q, k, v: q @ k.mT / q.shape[-1] ** 0.5 @ v,
    "Did you divide by √3 always? d is the width of these queries: q.shape[-1].": partial(
        attend, root=3**0.5
    ),
    "Is your softmax along the first axis? One query's weights lie along the last: dim=-1.": partial(
        attend, dim=0
    ),
    "Did you swap queries and keys, or turn the table of weights?": lambda q, k, v: attend(k, q, v),
    "Did you turn the table of weights? Row i belongs to query i.": lambda q, k, v: attend(k, q, v, dim=-2),
    "Did you leave out the values? weights @ v is the last step.": lambda q, k, v: attend(
        q, k, torch.eye(k.shape[-2]), root=q.shape[-1] ** 0.5
    ),
    "Did you add up the keys? What is passed on are the values.": lambda q, k, v: attend(q, k, k),
}


OWN_SOFTMAX = (
    "The scores reach 800. Is your softmax your own? It needs the largest score taken away, as in 02.1."
)


def check_attend(learners: Callable) -> None:
    """Where each query fits one key, its value comes back; then the formula, and one head among several."""
    k = 40 * torch.eye(3, 4).expand(2, 3, 4)
    q, v = k[:, [2, 0, 1]], numbered(2, 3, 4)
    where = "where query 0 fits only key 2, query 1 key 0 and query 2 key 1:"
    _all_finite(learners, q, k, v, where=where, advice=OWN_SOFTMAX)
    agrees(learners, attend, q, k, v, where=where, tol=1e-3, suspects=ATTEND_SUSPECTS)
    q, k, v = (normal(2, 5, 3, seed=seed) for seed in range(3))
    agrees(learners, attend, q, k, v, where="on q, k, v of shape [2, 5, 3]:", suspects=ATTEND_SUSPECTS)
    leaves_alone(learners, q, k, v)
    keeps_dtype(learners, q, k, v)
    lets_gradient_flow(learners, q, k, v)
    for shape in ((7, 2), (2, 3, 5, 4)):
        q, k, v = (normal(*shape, seed=seed) for seed in range(3))
        agrees(
            learners, attend, q, k, v, where=f"on q, k, v of shape {list(shape)}:", suspects=ATTEND_SUSPECTS
        )


SQRT_OF_A_NUMBER = "torch.sqrt wants a tensor; the width is a plain number: write math.sqrt(d) or d**0.5."
SOFTMAXES = (
    "softmax",
    "_softmax",
    "special_softmax",
    "log_softmax",
    "logsumexp",
    "softmin",
    "scaled_dot_product_attention",
    "mvit_lib",
)
FUSED = (
    "scaled_dot_product_attention", "multi_head_attention_forward", "_native_multi_head_attention",
    "attention_weights", "mvit_lib",
)  # fmt: skip
NO_DOTS = "write three dots for the axes in front, however many there are: '...nd,...md->...nm'."
TOKENS_TIMES_KEYS = (
    "The keys have to lie on their side, [..., d, N]: k.transpose(-2, -1), the last two axes swapped."
)

EXERCISES = {
    "02.1": Exercise(
        checker=check_softmax,
        notice="why it works: the largest score becomes e⁰ = 1, so nothing overflows; the sum is at least 1.",
        hints=(
            "Softmax does not change if the same number is taken away from all scores of a row.\n"
            "Which number makes the largest exponential harmless?",
            "x.amax(dim=-1, keepdim=True) is the largest score of each row; keepdim leaves an axis of\n"
            "length 1, so that PyTorch can subtract it from the whole row. The sum needs keepdim too.",
            "x = x - x.amax(dim=-1, keepdim=True)\npowers = torch.exp(...)\n"
            "return powers / ...sum(dim=..., keepdim=...)",
        ),
        solution=("s02_attention.py", "softmax"),
        symptoms={
            "return_types.max": "x.max(dim) gives two things, the values and where they stand. "
            "x.amax(dim) gives the values alone.",
            "must match the size": "a sum or maximum lost its axis: with keepdim=True it stays, "
            "with length 1, and fits every row.",
        },
        forbidden=SOFTMAXES,
    ),
    "02.2": Exercise(
        checker=check_attend,
        notice="two products and one softmax; axes in front of [N, d] come along, however many there are.",
        hints=(
            "Three lines: scores, weights, and the weighted sum of the values. Write the shapes first:\n"
            "[..., N, d] times [..., d, N] gives [..., N, N]; times [..., N, d] gives [..., N, d].",
            "k.transpose(-2, -1) swaps the last two axes, whatever stands in front.\n"
            "d is q.shape[-1]. Each query's weights add up to 1, and a query is a row: dim=-1.",
            "scores = q @ ... / math.sqrt(...)         # [..., N, N]\n"
            "weights = torch.softmax(scores, dim=...)  # [..., N, N]\nreturn weights @ ...",
        ),
        solution=("s02_attention.py", "attend"),
        symptoms={
            "no ellipsis was given": NO_DOTS,
            "of batch2": TOKENS_TIMES_KEYS,
            "mat1 and mat2": TOKENS_TIMES_KEYS,
            "Dimension out of range": "these tables have no axis in front. Count from the back: -2 and -1 "
            "are the last two axes, whatever stands before them.",
            "must match the size": "k.T turns all axes around, the batch too. Swap only the last "
            "two: k.transpose(-2, -1).",
            "Tensor, not int": SQRT_OF_A_NUMBER,
        },
        forbidden=FUSED,
    ),
}
