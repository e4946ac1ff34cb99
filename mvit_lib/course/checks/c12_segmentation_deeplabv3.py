"""The checkers of 12.1 and 12.2: columns with gaps, and what a stack of them sees."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Function,
    Wrong,
    agrees,
    explained,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    normal,
)

PADDING = "a zero from outside the map"


def columns_with(pad: Callable[[Tensor, int], Tensor], gap: Callable[[int], int] = lambda r: r) -> Function:
    """Columns of a K × K kernel, its cells gap(dilation) apart, on a map that `pad` has made larger."""

    def call(x: Tensor, K: int, dilation: int) -> Tensor:
        (B, C, H, W), step = x.shape, gap(dilation)
        wide = pad(x, step * (K // 2))
        cells = [
            wide[:, :, u : u + H, v : v + W]
            for u in range(0, step * K, step)
            for v in range(0, step * K, step)
        ]
        return torch.stack(cells, 2).reshape(B, C * K * K, H * W)

    return call


def _around(mode: str) -> Callable[[Tensor, int], Tensor]:
    """Rows and columns from the other side, or the last ones again, however far."""

    def pad(x: Tensor, p: int) -> Tensor:
        def places(n: int) -> Tensor:
            at = torch.arange(-p, n + p)
            return at % n if mode == "other side" else at.clamp(0, n - 1)

        return x[:, :, places(x.shape[2])][:, :, :, places(x.shape[3])]

    return pad


columns = columns_with(lambda x, p: F.pad(x, (p, p, p, p)))


def _starts_ungapped(x: Tensor, K: int, dilation: int) -> Tensor:
    """Padded for the gaps, but cell (u, v) starts at (u, v)."""
    (B, C, H, W), p = x.shape, dilation * (K // 2)
    wide = F.pad(x, (p, p, p, p))
    cells = [wide[:, :, u : u + H, v : v + W] for u in range(K) for v in range(K)]
    return torch.stack(cells, 2).reshape(B, C * K * K, H * W)


def _ordered(*order: int) -> Function:
    """The same columns with the axes (B, C, u, v, HW) in another order, merged all the same."""

    def call(x: Tensor, K: int, dilation: int) -> Tensor:
        B, C, H, W = x.shape
        return columns(x, K, dilation).view(B, C, K, K, H * W).permute(order).reshape(B, C * K * K, H * W)

    return call


COLUMN_SUSPECTS = {
    "Are your cells neighbours? They lie `dilation` apart.": columns_with(
        lambda x, p: F.pad(x, (p, p, p, p)), lambda dilation: 1
    ),
    "Do your slices start at u and v? Cell (u, v) starts at u · dilation and v · dilation.": _starts_ungapped,
    "Do you leave `dilation` pixels between two cells? They lie `dilation` apart:\n"
    "      one less lies between them.": (
        columns_with(lambda x, p: F.pad(x, (p, p, p, p)), lambda dilation: dilation + 1)
    ),
    "Do your rows run pixel by pixel? They run channel by channel (04).": _ordered(0, 2, 3, 1, 4),
    "Does u run faster than v? The cells of the kernel are counted row by row.": _ordered(0, 1, 3, 2, 4),
    "Is the new axis of your stack in front of the batch? Images get mixed.": _ordered(2, 3, 0, 1, 4),
    "Do pixels come in again on the other side (torch.roll)? Outside the map are zeros.": columns_with(
        _around("other side")
    ),
    "Did you repeat the edge? Outside the map are zeros.": columns_with(_around("edge")),
    "Does the kernel's first cell lie on the output pixel? Its middle does: pad on all four sides.": (
        columns_with(lambda x, p: F.pad(x, (0, 2 * p, 0, 2 * p)))
    ),
    "Did you turn the kernel round? Its first row looks up, its last row down.": (
        lambda x, K, r: columns(x.flip(2, 3), K, r).flip(2)
    ),
    "Are your windows rows? Here every window is a column.": lambda *a: columns(*a).transpose(1, 2),
    "Did you leave out the padding? The columns are as many as the map has pixels.": (
        lambda x, K, r: F.unfold(x, K, dilation=r)
    ),
}


def check_columns(columns_with_gaps: Function) -> None:
    """12.1: provenance, also where the gaps are wider than the map; then what any move keeps."""
    for shape, K, dilation in (
        ((2, 3, 6, 7), 3, 1),
        ((2, 3, 6, 7), 3, 2),
        ((2, 2, 5, 9), 5, 2),
        ((1, 2, 4, 6), 3, 5),
    ):
        with explained(f"x {list(shape)}, K {K}, dilation {dilation}", zero=PADDING):
            moves_like(columns_with_gaps, columns, shape, K, dilation, suspects=COLUMN_SUSPECTS)
    example = normal(2, 3, 6, 5), 3, 2
    leaves_alone(columns_with_gaps, *example)
    keeps_dtype(columns_with_gaps, *example)
    lets_gradient_flow(columns_with_gaps, *example)
    agrees(columns_with_gaps, lambda x, K, r: F.unfold(x, K, dilation=r, padding=r * (K // 2)), *example)


def seen(K: int, dilations: Sequence[int]) -> list[int]:
    """The sums of one cell of each kernel, sorted, each once."""
    sums = {0}
    for dilation in dilations:
        sums = {s + dilation * cell for s in sums for cell in range(-(K // 2), K // 2 + 1)}
    return sorted(sums)


SEEN_CASES = (
    (3, (2,)),
    (5, (3,)),
    (3, (2, 2)),
    (3, (2, 2, 2)),
    (3, (1, 2, 3)),
    (3, (6, 12, 18)),
    (5, (1, 4)),
    (3, (2, 3)),
    (3, (5, 3)),
    (3, (2, 3, 9)),
    (3, ()),
)
SEEN_SUSPECTS: Mapping[str, Callable[[int, Sequence[int]], list]] = {
    "Did you fill the holes? A kernel with gaps skips what lies between its cells.": (
        lambda K, dilations: list(range(seen(K, dilations)[0], seen(K, dilations)[-1] + 1))
    ),
    "Did you take each kernel for itself? The second starts from every place that the first has reached.": (
        lambda K, dilations: sorted({0}.union(*(seen(K, (dilation,)) for dilation in dilations)))
    ),
    "Do you fill the reach in steps of the smallest dilation? Add the steps themselves.": (
        lambda K, dilations: _every(K, dilations, min(dilations, default=1))
    ),
    "Do you fill the reach in steps of the dilations' common divisor? Not every multiple of it is a sum.": (
        lambda K, dilations: _every(K, dilations, math.gcd(*dilations) or 1)
    ),
    "Did you multiply the dilations? Steps add up.": lambda K, dilations: seen(K, (math.prod(dilations),)),
    "Did you look to one side only? The middle cell lies on the pixel, the others on both sides of it.": (
        lambda K, dilations: sorted(set(_ways(K, dilations, first=0)))
    ),
    "Did you forget the gaps? The cells of a kernel lie `dilation` apart.": (
        lambda K, dilations: seen(K, [1] * len(dilations))
    ),
    "Do you count every way? Each place stands in the list once.": lambda K, dilations: _ways(K, dilations),
    "Did you use the last dilation only?": lambda K, dilations: seen(K, dilations[-1:]),
    "Do your kernels start on the pixel? Their middle lies on it.": (
        lambda K, dilations: [s + sum(dilations) * (K // 2) for s in seen(K, dilations)]
    ),
    "Is K always 3 with you? The kernel has K cells, K // 2 on each side.": (
        lambda _, dilations: seen(3, dilations)
    ),
}  # fmt: skip


def _every(K: int, dilations: Sequence[int], step: int) -> list[int]:
    """From one end of the reach to the other in equal steps."""
    reach = sum(dilations) * (K // 2)
    return list(range(-reach, reach + 1, step))


def _ways(K: int, dilations: Sequence[int], first: int | None = None) -> list[int]:
    """Every sum, as often as there are ways to it; cells from `first` on, if it is given."""
    sums = [0]
    for dilation in dilations:
        cells = range(-(K // 2) if first is None else first, K // 2 + 1)
        sums = [s + dilation * cell for s in sums for cell in cells]
    return sorted(sums)


def check_seen(offsets_seen: Callable) -> None:
    """12.2: sorted whole numbers; a mistake is named if it explains every answer."""
    answers = []
    for K, dilations in SEEN_CASES:
        given = list(dilations)
        answer = offsets_seen(K, given)
        where = f"K = {K}, dilations {list(dilations)}:"
        if given != list(dilations):
            raise Wrong(f"{where} your function changes the list: whoever called it still needs it.")
        if answer is None:
            raise Wrong(f"{where} got None: did you forget `return`?")
        if not isinstance(answer, list):
            raise Wrong(f"{where} expected a list, got {type(answer).__name__}: sorted(…) makes one.")
        answers.append(answer)
    for (K, dilations), answer in zip(SEEN_CASES, answers, strict=True):
        expected = seen(K, dilations)
        if answer == expected:
            continue
        asked = [
            q for q, f in SEEN_SUSPECTS.items()
            if all(f(*case) == a for case, a in zip(SEEN_CASES, answers, strict=True) if case[1])
        ]  # fmt: skip
        if not dilations:
            asked = ["A stack without a layer sees the output pixel itself, at offset 0."]
        if sorted(answer) == expected:
            asked = ["The places are right: sort them."]
        raise Wrong(
            f"K = {K}, dilations {list(dilations)}: you list {_short(answer)}, expected {_short(expected)}."
            + (f"\n      {asked[0]}" if asked else "")
        )


def _short(numbers: Sequence[int]) -> str:
    return (
        f"{list(numbers)}"
        if len(numbers) <= 9
        else f"{len(numbers)} places from {numbers[0]} to {numbers[-1]}"
    )


STACKED = (
    "Your slices differ in size. Pad by dilation · (K // 2) on all four sides first: then every cell (u, v)\n"
    "      finds H rows from u · dilation on and W columns from v · dilation on."
)
CONVOLUTIONS = ("conv2d_by_matmul", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "convolution")
FILE = "s12_segmentation_deeplabv3.py"

EXERCISES = {
    "12.1": Exercise(
        checker=check_columns,
        notice="As many columns as pixels at any dilation: gaps make a kernel wider, never the map smaller.",
        hints=(
            "As in 04: what cell (u, v) of the kernel sees at all positions is one slice of the padded map.\n"
            "Two things are new: how far the cells lie apart, and how much padding keeps the size.",
            "The middle cell has u = K // 2 and lies on the output pixel. So cell 0 lies\n"
            "dilation · (K // 2) above it: pad by that on all four sides (F.pad). Cell (u, v) then sees\n"
            "H rows from u · dilation on.",
            "p = dilation * (K // 2)\nwide = F.pad(x, (p, p, p, p))\n"
            "cells = [wide[:, :, ... : ... + H, ... : ... + W] for u in range(K) for v in range(K)]\n"
            "return torch.stack(cells, dim=2).reshape(B, C * K * K, H * W)",
        ),
        solution=(FILE, "columns_with_gaps"),
        forbidden=("im2col", "unfold", *CONVOLUTIONS),
        symptoms={
            "stack expects each tensor to be equal size": STACKED,
            "is invalid for input of size": "The new shape holds another number of elements: every slice has "
            "H rows and W columns,\n      and there are K · K slices.",
            "non-empty TensorList": "The list of slices is empty: are your loops over range(K)?",
        },
    ),
    "12.2": Exercise(
        checker=check_seen,
        notice="Dilations 2, 2, 2 and dilations 1, 2, 3 reach equally far; only the second sees all between.",
        hints=(
            "One kernel of dilation d and K = 3 steps by −d, 0 or +d. A stack takes one step after another.",
            "Begin with the set {0}. For every dilation, replace the set by all sums of a place in it and a\n"
            "step of this kernel; a set keeps each sum once.",
            "places = {0}\nfor dilation in dilations:\n"
            "    places = {... for place in places for cell in range(-(K // 2), ...)}\nreturn sorted(places)",
        ),
        solution=(FILE, "offsets_seen"),
        forbidden=("mvit_lib", "conv1d", "conv2d", "convolution"),
        symptoms={
            "'float' object cannot be interpreted as an integer": "`/` makes a float; `//` divides and "
            "rounds down.",
            "unhashable type": "A set holds numbers, not lists or tensors.",
            "Set changed size during iteration": "You add to the set that you loop over: build a new one.",
        },
    ),
}
