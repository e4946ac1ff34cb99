"""The checkers of 04.1 to 04.3: positions, loops, columns."""

from collections.abc import Callable
from typing import Any

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


def is_sound(function: Function, *arguments: Any) -> None:
    """The properties of every tensor move: arguments, dtype and gradient stay as they should."""
    leaves_alone(function, *arguments)
    keeps_dtype(function, *arguments)
    lets_gradient_flow(function, *arguments)


def starts_from_zeros(function: Function, *arguments: Any) -> None:
    """Memory that the function did not fill shows: what torch.empty gives holds NaN meanwhile."""
    # not torch.use_deterministic_algorithms: its first call imports the compiler and sympy, 800 modules,
    # while the learner's time runs
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("warn")
    try:
        result = function(*arguments)
    finally:
        torch.set_deterministic_debug_mode(before)
    if isinstance(result, Tensor) and result.is_floating_point() and result.isnan().any():
        raise Wrong(
            "your result holds whatever stood in memory before: torch.empty fills nothing in. "
            "Begin with new_zeros."
        )


# n, K, stride, padding, dilation
CASES = ((7, 3, 1, 0, 1), (8, 3, 2, 0, 1), (7, 3, 1, 1, 1), (7, 3, 1, 1, 2), (8, 3, 2, 1, 1), (9, 2, 3, 2, 3))


def count_positions(n: int, K: int, stride: int, padding: int, dilation: int) -> int:
    """Where the window can start: a step apart, while its last pixel lies on the padded axis."""
    return len(range(-padding, n + padding - dilation * (K - 1), stride))


LENGTH_SUSPECTS = {
    "Did you forget the + 1? The first position counts too.": (
        lambda n, K, s, p, d: count_positions(n, K, s, p, d) - 1
    ),
    "Did you add the padding once? It stands at both ends.": (
        lambda n, K, s, p, d: count_positions(n - p, K, s, p, d)
    ),
    "Did you leave out the padding?": lambda n, K, s, p, d: count_positions(n, K, s, 0, d),
    "Did you leave out the dilation?": lambda n, K, s, p, d: count_positions(n, K, s, p, 1),
    "Does your window span dilation · K pixels? Between K pixels lie K − 1 gaps.": (
        lambda n, K, s, p, d: count_positions(n - d + 1, K, s, p, d)
    ),
    "Did you round up? A window that does not fit is left out.": (
        lambda n, K, s, p, d: count_positions(n + s - 1, K, s, p, d)
    ),
    "Did you divide n by the stride? That needs the right padding.": lambda n, K, s, p, d: n // s,
}


def check_output_length(output_length: Callable) -> None:
    """04.1: whole numbers, the right ones; a mistake is named if it explains all answers."""
    answers = [output_length(*case) for case in CASES]
    for case, answer in zip(CASES, answers, strict=True):
        where = "n = {}, K = {}, stride {}, padding {}, dilation {}:".format(*case)
        if answer is None:
            raise Wrong(f"{where} got None: did you forget `return`?")
        if isinstance(answer, bool) or not hasattr(answer, "__index__"):
            raise Wrong(f"{where} expected a whole number, got {answer!r}: `//` divides and rounds down.")
        expected = count_positions(*case)
        if answer != expected:
            asked = [q for q, f in LENGTH_SUSPECTS.items() if [f(*c) for c in CASES] == answers]
            question = f"\n      {asked[0]}" if asked else ""
            raise Wrong(f"{where} you count {answer} positions, expected {expected}.{question}")


def one_channel(x: Tensor, kernel: Tensor, stride: int, dilation: int) -> Tensor:
    """x [H, W], kernel [kh, kw] -> [oH, oW]."""
    return F.conv2d(x[None, None], kernel[None, None], stride=stride, dilation=dilation)[0, 0]


def _other_steps(x: Tensor, kernel: Tensor, out: Tensor, stride: int, dilation: int) -> Tensor:
    """Windows with other steps, in an output of the right size."""
    return one_channel(x, kernel, stride, dilation)[: out.shape[0], : out.shape[1]]


def _last_cell(kernel: Tensor) -> Tensor:
    return torch.where(torch.arange(kernel.numel()).reshape(kernel.shape) == kernel.numel() - 1, kernel, 0)


ONE_CHANNEL_SUSPECTS = {
    "Does the last product overwrite the sum? Collect with +=.": (
        lambda x, k, s, d: one_channel(x, _last_cell(k), s, d)
    ),
    "Did you turn the kernel around? Here its cell (0, 0) meets the window's pixel (0, 0).": (
        lambda x, k, s, d: one_channel(x, k.flip(0, 1), s, d)
    ),
    "Do your windows start one pixel apart? They start `stride` apart.": (
        lambda x, k, s, d: _other_steps(x, k, one_channel(x, k, s, d), 1, d)
    ),
    "Do you read the kernel as [kw, kh]? Its row is u, its column v.": (
        lambda x, k, s, d: one_channel(x, k.T, s, d)
    ),
    "Are the pixels of your window neighbours? They lie `dilation` apart.": (
        lambda x, k, s, d: _other_steps(x, k, one_channel(x, k, s, d), s, 1)
    ),
    "Did you divide by the number of cells? The sum is meant, not the mean.": (
        lambda x, k, s, d: one_channel(x, k, s, d) / k.numel()
    ),
}  # fmt: skip


def check_one_channel(convolve: Callable) -> None:
    """04.2: a kernel with a single 1 moves pixels; then the general properties, then random numbers."""
    reference, suspects = one_channel, ONE_CHANNEL_SUSPECTS
    with explained("x [5, 6], kernel [2, 3], stride 1, dilation 1"):
        starts_from_zeros(convolve, normal(5, 6), normal(2, 3), 1, 1)
    for u, v, stride, dilation in ((0, 1, 1, 1), (1, 2, 2, 1), (1, 1, 1, 2), (1, 2, 2, 3)):
        kernel = torch.eye(6)[3 * u + v].reshape(2, 3)
        words = f"kernel [2, 3] with a 1 at ({u}, {v}), else zeros; stride {stride}, dilation {dilation}"
        with explained(words):
            moves_like(convolve, reference, (7, 9), kernel, stride, dilation, suspects=suspects)
    example = normal(6, 7), normal(2, 3), 2, 2
    is_sound(convolve, *example)
    with explained("x [6, 7], kernel [2, 3], stride 2, dilation 2"):
        agrees(convolve, reference, *example, suspects=suspects)


def _merged(*order: int) -> Function:
    """Windows with their axes (B, C, u, v, i, j) in some order, merged to the shape of the columns."""

    def call(x: Tensor, kernel_size: tuple[int, int], stride: int) -> Tensor:
        windows = x.unfold(2, kernel_size[0], stride).unfold(3, kernel_size[1], stride)
        cells = windows.permute(0, 1, 4, 5, 2, 3)  # [B, C, kh, kw, oH, oW]
        B, C, kh, kw, oH, oW = cells.shape
        return cells.permute(order).reshape(B, C * kh * kw, oH * oW)

    return call


def _one_apart(x: Tensor, kernel_size: tuple[int, int], stride: int) -> Tensor:
    """As many windows as there should be, but side by side."""
    oH, oW = ((n - k) // stride + 1 for n, k in zip(x.shape[2:], kernel_size, strict=True))
    corner = x[:, :, : oH + kernel_size[0] - 1, : oW + kernel_size[1] - 1]
    return unfolded(corner, kernel_size, 1)


unfolded = _merged(0, 1, 2, 3, 4, 5)
COLUMN_SUSPECTS = {
    question: _merged(*order)
    for question, order in {
        "Do your rows run pixel by pixel? weight.reshape(O, -1) runs channel by channel.": (0, 2, 3, 1, 4, 5),
        "Do your columns run down the map first? Output pixels are counted row by row.": (0, 1, 2, 3, 5, 4),
        "Does u run faster than v? The cells of the kernel are counted row by row.": (0, 1, 3, 2, 4, 5),
        "Did you reshape where you wanted to swap axes? The shape is right, no more.": (0, 4, 5, 1, 2, 3),
        "Is the new axis of your stack in front of the batch? Images get mixed.": (2, 3, 0, 1, 4, 5),
        "Did you stack the windows in front and reshape? reshape swaps no axes (01).": (4, 5, 0, 1, 2, 3),
    }.items()
} | {
    "Did you leave out the stride? Windows start `stride` apart.": lambda x, K, s: unfolded(x, K, 1),
    "Did you swap kh and kw? kernel_size is (kh, kw): rows first.": lambda x, K, s: unfolded(x, K[::-1], s),
    "Do your windows end too early? The last one starts at H − kh, and range(0, H − kh) stops before it.": (
        lambda x, K, s: unfolded(x[:, :, :-1, :-1], K, s)
    ),
    "Do your windows start one pixel apart? They start `stride` apart.": _one_apart,
    "Are your windows rows? Here every window is a column.": lambda *a: unfolded(*a).transpose(1, 2),
}


def check_columns(windows_to_columns: Callable) -> None:
    """04.3: provenance first: a column is nothing but moved pixels."""
    for kernel_size, stride in (((2, 3), 1), ((3, 2), 2), ((2, 2), 3)):
        with explained(f"x [2, 3, 5, 7], kernel_size {kernel_size}, stride {stride}"):
            arguments = (2, 3, 5, 7), kernel_size, stride
            moves_like(windows_to_columns, unfolded, *arguments, suspects=COLUMN_SUSPECTS)
    example = normal(2, 3, 5, 6), (2, 3), 2
    is_sound(windows_to_columns, *example)
    agrees(windows_to_columns, lambda x, K, s: F.unfold(x, K, stride=s), *example)


TOO_FAR = (
    "Do i and j count pixels? They count positions, and y has oH rows and oW columns.\n"
    "      Or does a window run over the edge: how many positions has each axis (04.1)?"
)
SLICED = (
    "Slice and kernel differ in shape: kh rows, `dilation` apart. Or does the window stand over the edge?"
)
KERNEL_AXES = "You read outside the kernel [2, 3]: its row is u, its column v."
SLICE_END = "Each slice has oH rows and oW columns: rows end at u + stride · (oH − 1) + 1."
OTHER_NUMBER = "The new shape holds another number of elements. "
CONVOLUTIONS = ("conv2d_by_matmul", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "convolution")
UNFOLDS = ("im2col", "unfold", "as_strided")
FILE = "s04_convolution_is_unfold_matmul_fold.py"

EXERCISES = {
    "04.1": Exercise(
        checker=check_output_length,
        notice="So 256 becomes 128: with K = 3 and padding 1, stride 2 halves every even size.",
        hints=(
            "Lay the window at the left end of the padded axis. How many pixels does it cover, gaps too?\n"
            "How many are left to its right? Each full step into them is one more position.",
            "It covers dilation · (K − 1) + 1 pixels. The padded axis has n + 2 · padding.\n"
            "8 pixels, K = 3: 5 are left, so 1 + 5 positions with stride 1, and 1 + 2 with stride 2.",
            "span = dilation * (...) + 1\nroom = n + 2 * padding - span\nreturn room // ... + 1",
        ),
        solution=(FILE, "output_length"),
        forbidden=("output_size", *CONVOLUTIONS, "unfold"),
    ),
    "04.2": Exercise(
        checker=check_one_channel,
        notice="Stride moves the window, dilation stretches it; the sum over u and v stays the same.",
        hints=(
            "Begin with the size of the output: your 04.1 for rows and for columns, or output_size.\n"
            "Then one loop for each letter: i and j over the output, u and v over the kernel.",
            "Which pixel lies under kernel cell (u, v) when the window stands at (i, j)?\n"
            "Its row is i · stride + u · dilation; its column goes the same way.",
            "y = x.new_zeros(oH, oW)\nfor i in range(oH):\n    for j in range(oW):\n"
            "        for u in range(kh):\n            for v in range(kw):\n"
            "                y[i, j] += kernel[u, v] * x[..., ...]\nreturn y",
        ),
        solution=(FILE, "convolve_one_channel"),
        forbidden=(*CONVOLUTIONS, *UNFOLDS),
        symptoms={
            "dimension 0 with size 2": KERNEL_AXES,
            "dimension 1 with size 3": KERNEL_AXES,
            "is out of bounds for dimension": TOO_FAR,
            "must match the size of tensor": SLICED,
            "cannot be interpreted as an integer": "`/` makes a float; `//` divides and rounds down.",
        },
    ),
    "04.3": Exercise(
        checker=check_columns,
        notice="Column l is window l, copied: no number was computed.",
        hints=(
            "You could loop over the L windows; x[:, :, a:b, c:d].flatten(1) is one, [B, C·kh·kw].\n"
            "Shorter: loop over the kh·kw cells. What cell (u, v) sees at all positions is one slice.",
            "Cell (u, v) sees the rows u, u + stride, u + 2·stride, …, oH of them: a slice with a step.\n"
            "Stack the slices so that the cell axis stands right behind the channels, then merge axes.",
            "cells = [\n    x[:, :, u : u + stride * (oH - 1) + 1 : stride, ...]\n    for u in range(kh)\n"
            "    for v in range(kw)\n]                                # each [B, C, oH, oW]\n"
            "return torch.stack(cells, dim=...).reshape(B, C * kh * kw, oH * oW)",
        ),
        solution=(FILE, "windows_to_columns"),
        forbidden=(*UNFOLDS, *CONVOLUTIONS),
        symptoms={
            "stack expects each tensor to be equal size": (
                f"Your slices differ in length. {SLICE_END} u is below kh, v below kw."
            ),
            "is invalid for input of size": f"{OTHER_NUMBER}Are there C·kh·kw rows and oH·oW columns in it?",
        },
    ),
}
