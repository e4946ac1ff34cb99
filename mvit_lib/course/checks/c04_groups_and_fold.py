"""The checkers of 04.4 and 04.5: groups, and the way back from columns to pixels."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_lib.course.checks.c04_convolution_is_unfold_matmul_fold import (
    CONVOLUTIONS,
    FILE,
    OTHER_NUMBER,
    SLICE_END,
    is_sound,
    starts_from_zeros,
)
from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Function,
    Wrong,
    agrees,
    explained,
    is_tensor,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    normal,
    numbered,
)


def grouped(x: Tensor, weight: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    """The convolution in float64, where whole numbers stay whole."""
    return F.conv2d(x.double(), weight.double(), None, stride, padding, 1, groups).to(x.dtype)


def _dealt(t: Tensor, axis: int, groups: int) -> Tensor:
    """Blocks on an axis dealt out like cards: index i goes to group i % groups."""
    return t.unflatten(axis, (-1, groups)).transpose(axis, axis + 1).flatten(axis, axis + 1)


GROUP_SUSPECTS = {
    "Did you leave out the stride?": lambda x, w, s, p, g: grouped(x, w, 1, p, g),
    "Did you leave out the padding?": lambda x, w, s, p, g: grouped(x, w, s, 0, g),
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


def _in_corner(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map at the top left of a map of zeros, or what of it has room there."""
    return F.pad(x, (0, size[1] - x.shape[3], 0, size[0] - x.shape[2]))


def _one_apart(y: Tensor, size: tuple[int, int], K: tuple[int, int], stride: int) -> Tensor:
    """As many windows as there are, but side by side."""
    oH, oW = ((n - k) // stride + 1 for n, k in zip(size, K, strict=True))
    return _in_corner(fold(y, (oH + K[0] - 1, oW + K[1] - 1), K, 1), size)


def _down_first(y: Tensor, size: tuple[int, int], K: tuple[int, int], stride: int) -> Tensor:
    """The L windows counted down the map."""
    oW = (size[1] - K[1]) // stride + 1
    return fold(y.unflatten(2, (oW, -1)).transpose(2, 3).flatten(2), size, K, stride)


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
    "Do your windows start one pixel apart? They start `stride` apart.": _one_apart,
    "Do your columns run down the map first? Output pixels are counted row by row.": _down_first,
    "Do you read the rows as kh·kw cells with C channels inside? They run channel by channel.": (
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
    with explained("size (3, 4), kernel_size (2, 2), stride 1"):
        starts_from_zeros(columns_to_pixels, normal(2, 12, 6), (3, 4), (2, 2), 1)
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


EXERCISES = {
    "04.4": Exercise(
        checker=check_groups,
        notice="A group is a block of rows. With groups = C an output reads kh·kw numbers, not C·kh·kw.",
        hints=(
            "Without groups it is one line: weight.reshape(O, -1) @ im2col(x, (kh, kw), stride, padding).\n"
            "With groups the C·kh·kw rows of the columns fall into `groups` blocks, one under the other.",
            "Give the blocks an axis of their own: columns [B, groups, C/groups·kh·kw, L], the matrix\n"
            "[groups, O/groups, C/groups·kh·kw]. Then @ multiplies block by block.",
            "columns = im2col(x, (kh, kw), stride, padding).reshape(B, groups, ..., L)\n"
            "matrix = weight.reshape(groups, ..., ...)\nreturn (matrix @ columns).reshape(B, O, oH, oW)",
        ),
        solution=(FILE, "convolve_in_groups"),
        forbidden=CONVOLUTIONS,
        symptoms={
            "batch2 tensor to be": "The matrix needs a column for each row of the columns: C/groups·kh·kw.",
            "must match the size of tensor": "Put the group axis right before the last two.",
            "is invalid for input of size": (
                f"{OTHER_NUMBER}Too many by a factor `groups`? Then M has no group axis:\n"
                "      [groups, O/groups, C/groups·kh·kw]. Else: is oH·oW the L that im2col gave?"
            ),
        },
    ),
    "04.5": Exercise(
        checker=check_fold,
        notice="Fold sends every number home along the way by which unfold would have fetched it.",
        hints=(
            "Start with a map of zeros. Row c·kh·kw + u·kw + v of the columns belongs to cell (u, v) of c.\n"
            "Give these numbers axes of their own first.",
            "columns.reshape(B, C, kh·kw, oH, oW) holds one small map for each cell. To which pixels does\n"
            "it belong? To the slice that windows_to_columns reads for this cell. Add it there.",
            "cells = columns.reshape(B, -1, kh * kw, oH, oW)\n"
            "x = columns.new_zeros(B, cells.shape[1], H, W)\n"
            "for k in range(kh * kw):\n    u, v = divmod(k, kw)\n"
            "    x[:, :, u : u + stride * (oH - 1) + 1 : stride, ...] += cells[:, :, k]\nreturn x",
        ),
        solution=(FILE, "columns_to_pixels"),
        forbidden=("col2im", "fold", "conv_transpose2d"),
        symptoms={
            "must match the size of tensor": f"More or fewer numbers than fit. {SLICE_END}",
            "is invalid for input of size": (
                f"{OTHER_NUMBER}Let -1 find C. Is oH·oW the L of the columns? kh and kw may differ."
            ),
        },
    ),
}
