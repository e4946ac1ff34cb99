"""The checkers of notebook 04."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Function,
    Wrong,
    agrees,
    is_tensor,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    normal,
    numbered,
)


@contextmanager
def explained(words: str) -> Iterator[None]:
    """Name the arguments under a wrong answer and in an error message."""
    try:
        yield
    except Wrong as wrong:
        raise Wrong(f"{wrong}\n      ({words}.)", wrong.yours, wrong.expected) from None
    except (IndexError, RuntimeError) as error:
        if type(error) not in (IndexError, RuntimeError):  # NotImplementedError says: not attempted
            raise
        raise type(error)(f"{error} ({words})") from error


def is_sound(function: Function, *arguments: Any) -> None:
    """The properties of every tensor move: arguments, dtype and gradient stay as they should."""
    leaves_alone(function, *arguments)
    keeps_dtype(function, *arguments)
    lets_gradient_flow(function, *arguments)


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


def grouped(x: Tensor, weight: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    """The convolution in float64, where whole numbers stay whole."""
    return F.conv2d(x.double(), weight.double(), None, stride, padding, 1, groups).to(x.dtype)


def _dealt(t: Tensor, axis: int, groups: int) -> Tensor:
    """Blocks on an axis dealt out like cards: index i goes to group i % groups."""
    return t.unflatten(axis, (-1, groups)).transpose(axis, axis + 1).flatten(axis, axis + 1)


GROUP_SUSPECTS = {
    "Do all your outputs read the channels of the first group?": (
        lambda x, w, s, p, g: grouped(x[:, : w.shape[1]], w, s, p, 1)
    ),
    "Did you deal the channels out like cards? A group is a block of neighbouring channels.": (
        lambda x, w, s, p, g: grouped(_dealt(x, 1, g), w, s, p, g)
    ),
    "Are your outputs interleaved? The outputs of the first group come first.": (
        lambda x, w, s, p, g: _dealt(grouped(x, w, s, p, g), 1, len(w) // g)
    ),
    "Did you split the matrix the other way round? Its first O/groups rows belong to the first group.": (
        lambda x, w, s, p, g: grouped(x, _dealt(w, 0, g), s, p, g)
    ),
}  # fmt: skip


def check_groups(convolve: Callable) -> None:
    """04.4: weights with a single 1 tell which channel an output reads; then random weights."""
    reference, suspects = grouped, GROUP_SUSPECTS
    for groups, outputs in ((1, 4), (2, 6), (4, 4), (4, 8)):
        weight = torch.zeros(outputs, 4 // groups, 2, 3)
        for o in range(outputs):
            weight[o, o % (4 // groups), 1, o % 3] = 1
        words = f"weight {list(weight.shape)}, a single 1 per output; stride 1, padding 0, groups {groups}"
        with explained(words):
            moves_like(convolve, reference, (3, 4, 4, 6), weight, 1, 0, groups, suspects=suspects)
    is_sound(convolve, normal(2, 4, 5, 6), normal(6, 2, 2, 3), 2, 1, 2)
    for shape, stride, padding, groups in ((6, 2, 2, 3), 2, 1, 2), ((8, 1, 3, 2), 1, 2, 4):
        with explained(f"stride {stride}, padding {padding}, groups {groups}"):
            example = normal(2, 4, 5, 6), normal(*shape), stride, padding, groups
            agrees(convolve, reference, *example, suspects=suspects)


def fold(columns: Tensor, size: tuple[int, int], kernel_size: tuple[int, int], stride: int) -> Tensor:
    """The reference: [B, C·K², L] -> [B, C, H, W]."""
    return F.fold(columns, size, kernel_size, stride=stride)


def _overwritten(step: int) -> Function:
    """Windows write with =: one after the other (step 1); cell by cell has the effect of step −1."""

    def call(y: Tensor, size: tuple[int, int], kernel_size: tuple[int, int], stride: int) -> Tensor:
        (kh, kw), oW = kernel_size, (size[1] - kernel_size[1]) // stride + 1
        cells = y.unflatten(1, (-1, kh, kw))  # [B, C, kh, kw, L]
        x = y.new_zeros(*cells.shape[:2], *size)
        for position in range(y.shape[2])[::step]:
            i, j = (index * stride for index in divmod(position, oW))
            x[:, :, i : i + kh, j : j + kw] = cells[..., position]
        return x

    return call


FOLD_SUSPECTS = {
    "Did you take the mean? Every number is added; nothing is divided.": (
        lambda y, *a: fold(y, *a) / fold(torch.ones_like(y), *a).clamp(min=1)
    ),
    "Did you write with = ? The next window then wipes out the one before: use +=.": _overwritten(1),
    "Did you write with = ? The next cell then wipes out the one before. += adds, but not where an\n"
    "      index tensor names a pixel twice: there it needs x.index_add_.": _overwritten(-1),
    "Do you read the rows as K² cells with C channels inside? They run channel by channel.": (
        lambda y, size, K, s: fold(_dealt(y, 1, y.shape[1] // (K[0] * K[1])), size, K, s)
    ),
}


def _is_adjoint(columns_to_pixels: Callable) -> None:
    """⟨Ux, z⟩ = ⟨x, fold(z)⟩ in whole numbers: windows not square, overlapping, with gaps between them."""
    draw = torch.Generator().manual_seed(0)
    for size, K, stride in ((6, 8), (2, 3), 2), ((7, 9), (3, 3), 2), ((8, 7), (2, 2), 3):
        x = torch.randint(-9, 10, (2, 3, *size), generator=draw).double()
        columns = F.unfold(x, K, 1, 0, stride)
        z = torch.randint(-9, 10, columns.shape, generator=draw).double()
        where = f"size {size}, kernel_size {K}, stride {stride}:"
        folded = is_tensor(columns_to_pixels(z.clone(), size, K, stride), x.shape, where)
        left, right = (columns * z).sum().item(), (x * folded).sum().item()
        if left != right:
            raise Wrong(
                f"{where} the sum of unfold(x) · z is {left:g}, but that of x · fold(z) is {right:g}.\n"
                "      Some number of z goes to another pixel than the one unfold reads for it."
            )


def check_fold(columns_to_pixels: Callable) -> None:
    """04.5: where windows do not overlap it moves numbers; then counts of overlaps; then the adjoint."""
    reference, suspects = fold, FOLD_SUSPECTS
    with explained("size (4, 6), kernel_size (2, 2), stride 2: windows side by side, one pixel per number"):
        moves_like(columns_to_pixels, reference, (2, 12, 6), (4, 6), (2, 2), 2, suspects=suspects)
    with explained("size (3, 4), kernel_size (2, 2), stride 1: windows overlap"):
        agrees(columns_to_pixels, reference, numbered(2, 12, 6), (3, 4), (2, 2), 1, suspects=suspects)
    _is_adjoint(columns_to_pixels)
    example = normal(2, 18, 6), (5, 7), (2, 3), 2
    leaves_alone(columns_to_pixels, *example)
    with explained("here it is columns.dtype; columns.new_zeros takes it over"):
        keeps_dtype(columns_to_pixels, *example)
    with explained("torch.autograd.grad keeps the way back only with create_graph=True"):
        lets_gradient_flow(columns_to_pixels, *example)
    agrees(columns_to_pixels, reference, *example, suspects=suspects)


TOO_FAR = "A window runs over the edge: how many positions has each axis (04.1)?"
KERNEL_AXES = "You read outside the kernel [2, 3]: its row is u, its column v."
SLICE_END = "Each slice has oH rows and oW columns: rows end at u + stride · (oH − 1) + 1."
OTHER_NUMBER = "The new shape holds another number of elements. "
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
        forbidden=("mvit_lib", "conv1d", "conv2d", "unfold"),
    ),
    "04.2": Exercise(
        checker=check_one_channel,
        notice="Stride moves the window, dilation stretches it; the sum over u and v stays the same.",
        hints=(
            "Begin with the size of the output: exercise 04.1, once for rows and once for columns.\n"
            "Then one loop for each letter: i and j over the output, u and v over the kernel.",
            "Which pixel lies under kernel cell (u, v) when the window stands at (i, j)?\n"
            "Its row is i · stride + u · dilation; its column goes the same way.",
            "y = x.new_zeros(oH, oW)\nfor i in range(oH):\n    for j in range(oW):\n"
            "        for u in range(kh):\n            for v in range(kw):\n"
            "                y[i, j] += kernel[u, v] * x[..., ...]\nreturn y",
        ),
        solution=(FILE, "convolve_one_channel"),
        forbidden=("mvit_lib", "conv2d", "conv1d", "conv_transpose2d", "unfold", "as_strided"),
        symptoms={
            "dimension 0 with size 2": KERNEL_AXES,
            "dimension 1 with size 3": KERNEL_AXES,
            "is out of bounds for dimension": TOO_FAR,
            "must match the size of tensor": "Slice and kernel differ in shape: kh rows, `dilation` apart.",
            "cannot be interpreted as an integer": "`/` makes a float; `//` divides and rounds down.",
        },
    ),
    "04.3": Exercise(
        checker=check_columns,
        notice="Column l is window l, copied: no number was computed.",
        hints=(
            "You could loop over the L windows; x[:, :, a:b, c:d].flatten(1) is one of them, [B, C·K²].\n"
            "Shorter: loop over the K² cells. What cell (u, v) sees at all positions is one slice.",
            "Cell (u, v) sees the rows u, u + stride, u + 2·stride, …, oH of them: a slice with a step.\n"
            "Stack the slices so that the cell axis stands right behind the channels, then merge axes.",
            "cells = [\n    x[:, :, u : u + stride * (oH - 1) + 1 : stride, ...]\n    for u in range(kh)\n"
            "    for v in range(kw)\n]                                # each [B, C, oH, oW]\n"
            "return torch.stack(cells, dim=...).reshape(B, C * kh * kw, oH * oW)",
        ),
        solution=(FILE, "windows_to_columns"),
        forbidden=("mvit_lib", "unfold", "as_strided", "conv2d"),
        symptoms={
            "stack expects each tensor to be equal size": f"Your slices differ in length. {SLICE_END}",
            "is invalid for input of size": f"{OTHER_NUMBER}Are there C·K² rows and oH·oW columns in it?",
        },
    ),
    "04.4": Exercise(
        checker=check_groups,
        notice="A group is a block of rows. With groups = C an output reads K² numbers instead of C·K².",
        hints=(
            "Without groups it is one line: weight.reshape(O, -1) @ im2col(x, (kh, kw), stride, padding).\n"
            "With groups the C·K² rows of the columns fall into `groups` blocks, one under the other.",
            "Give the blocks an axis of their own: columns [B, groups, C/groups·K², L], the matrix\n"
            "[groups, O/groups, C/groups·K²]. Then @ multiplies block by block.",
            "columns = im2col(x, (kh, kw), stride, padding).reshape(B, groups, ..., L)\n"
            "matrix = weight.reshape(groups, ..., ...)\nreturn (matrix @ columns).reshape(B, O, oH, oW)",
        ),
        solution=(FILE, "convolve_in_groups"),
        forbidden=("conv2d_by_matmul", "conv2d", "conv1d", "conv_transpose2d"),
        symptoms={
            "batch2 tensor to be": "The matrix needs a column for each row of the columns: C/groups·K².",
            "must match the size of tensor": "Put the group axis right before the last two.",
            "is invalid for input of size": f"{OTHER_NUMBER}Is oH·oW the L that im2col gave?",
        },
    ),
    "04.5": Exercise(
        checker=check_fold,
        notice="Fold sends every number home along the way by which unfold would have fetched it.",
        hints=(
            "Start with a map of zeros. Row c·K² + u·kw + v of the columns belongs to cell (u, v) of c.\n"
            "Give these numbers axes of their own first.",
            "columns.reshape(B, C, K², oH, oW) holds, for each cell, one small map. To which pixels does it\n"
            "belong? To the slice that windows_to_columns reads for this cell. Add it there.",
            "cells = columns.reshape(B, -1, kh * kw, oH, oW)\n"
            "x = columns.new_zeros(B, cells.shape[1], H, W)\n"
            "for k in range(kh * kw):\n    u, v = divmod(k, kw)\n"
            "    x[:, :, u : u + stride * (oH - 1) + 1 : stride, ...] += cells[:, :, k]\nreturn x",
        ),
        solution=(FILE, "columns_to_pixels"),
        forbidden=("mvit_lib", "fold", "unfold", "conv_transpose2d", "as_strided"),
        symptoms={
            "must match the size of tensor": f"More or fewer numbers than fit. {SLICE_END}",
            "is invalid for input of size": f"{OTHER_NUMBER}Let -1 find C.",
        },
    ),
}
