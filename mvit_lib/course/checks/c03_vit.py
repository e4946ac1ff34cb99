"""The checkers of 03.1 and 03.2: pictures into tokens. References slice, answers reshape."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    normal,
)

Pair = tuple[int, int]


def _naming_its_input(function: Callable) -> Callable:
    """The same function; an error on the way says for which input."""

    @functools.wraps(function)
    def call(x: Tensor, *arguments: Any) -> Any:
        try:
            return function(x, *arguments)
        except NotImplementedError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            words = "".join(f", {argument}" for argument in arguments)
            raise type(error)(f"{error} (input {list(x.shape)}{words})") from error

    return call


# 03.1


def _patchify(x: Tensor, patch: Pair) -> Tensor:
    """[B, C, H, W] -> [B, N, P·C], patch by patch."""
    ph, pw = patch
    H, W = x.shape[2:]
    corners = [(top, left) for top in range(0, H, ph) for left in range(0, W, pw)]
    rows = [x[:, :, top : top + ph, left : left + pw].movedim(1, 3).flatten(1) for top, left in corners]
    return torch.stack(rows, dim=1)


def _with_order(*order: int, split: str = "nH ph") -> Callable[[Tensor, Pair], Tensor]:
    """A patchify that permutes differently, or splits H and W the wrong way round."""

    def mistaken(x: Tensor, patch: Pair) -> Tensor:
        B, C, H, W = x.shape
        (ph, pw), (nH, nW) = patch, (H // patch[0], W // patch[1])
        axes = (nH, ph, nW, pw) if split == "nH ph" else (ph, nH, pw, nW)
        return x.reshape(B, C, *axes).permute(*order).reshape(B, nH * nW, -1)

    return mistaken


def _bands(x: Tensor, patch: Pair) -> Tensor:
    """P pixels after each other in reading order, called a patch."""
    return x.movedim(1, 3).reshape(len(x), -1, patch[0] * patch[1] * x.shape[1])


def _in_patches(*sides: int) -> Callable[[Tensor, Pair], Tensor]:
    """A patchify that takes other sides of `patch`, where they tile the picture; else nobody's answer."""

    def mistaken(x: Tensor, patch: Pair) -> Tensor:
        h, w = (patch[side] for side in sides)
        return x if x.shape[2] % h or x.shape[3] % w else _patchify(x, (h, w))

    return mistaken


PATCH_SUSPECTS = {
    "Did you swap ph and pw? patch = (ph, pw): ph divides H, pw divides W.": _in_patches(1, 0),
    "Did you use ph twice? patch = (ph, pw), and a patch need not be square.": _in_patches(0, 0),
    "Did you cut the picture's rows into pieces of P pixels? A patch is ph rows high: split H and W.": _bands,
    "Did you reshape in one go? reshape keeps the reading order: it cuts no patches.": _with_order(
        0, 1, 2, 3, 4, 5
    ),
    "Did you put the channels before the pixels? A row lists its pixels, each with its C numbers: C "
    "goes last.": _with_order(0, 2, 4, 1, 3, 5),
    "Did you put the channels between rows and columns? C goes last.": _with_order(0, 2, 4, 3, 1, 5),
    "Did you swap rows and columns inside the patch? A patch is read row by row: ph before pw.": _with_order(
        0, 2, 4, 5, 3, 1
    ),
    "Did you count the patches column by column? They are counted row by row: nH before nW.": _with_order(
        0, 4, 2, 3, 5, 1
    ),
    "Did you gather the same place of all patches? That is unfold; here a row is one patch: (nH, nW) come "
    "first.": _with_order(0, 3, 5, 2, 4, 1),
    "Did you split H into (ph, nH)? The row inside a patch runs faster: H splits into (nH, ph).": _with_order(
        0, 3, 5, 2, 4, 1, split="ph nH"
    ),
}


def check_cut_patches(cut_patches: Callable) -> None:
    """Every number where its patch has it; then a single patch and a patch of one pixel."""
    cut_patches = _naming_its_input(cut_patches)
    moves_like(cut_patches, _patchify, (2, 3, 6, 12), (2, 3), suspects=PATCH_SUSPECTS)
    moves_like(cut_patches, _patchify, (1, 1, 6, 4), (3, 2), suspects=PATCH_SUSPECTS)
    moves_like(cut_patches, _patchify, (2, 2, 3, 4), (3, 4), suspects=PATCH_SUSPECTS)
    moves_like(cut_patches, _patchify, (2, 2, 2, 3), (1, 1), suspects=PATCH_SUSPECTS)
    leaves_alone(cut_patches, normal(2, 3, 4, 6), (2, 3))
    keeps_dtype(cut_patches, normal(2, 3, 4, 6), (2, 3))
    lets_gradient_flow(cut_patches, normal(2, 3, 4, 6), (2, 3))


# 03.2


def _kernel(weight: Tensor, C: int, patch: Pair) -> Tensor:
    """[D, P·C] -> [D, C, ph, pw], channel by channel: every C-th number of a row."""
    return torch.stack([weight[:, c::C].unflatten(1, patch) for c in range(C)], dim=1)


KERNEL_SUSPECTS = {
    "Did you reshape straight to [D, C, ph, pw]? In a row of P·C numbers the channels run fastest.": (
        lambda w, C, patch: w.reshape(len(w), C, *patch)
    ),
    "Did you split P·C into (C, ph, pw)? patchify writes (ph, pw, C).": lambda w, C, patch: (
        w.reshape(len(w), C, *patch).permute(0, 2, 3, 1).reshape(len(w), C, *patch)
    ),
    "Did you swap ph and pw when you split the row?": lambda w, C, patch: w.reshape(
        len(w), *patch[::-1], C
    ).permute(0, 3, 2, 1),
    "Did you turn the kernel around? PyTorch's convolution multiplies as it stands.": lambda w, C, patch: (
        _kernel(w, C, patch).flip(2, 3)
    ),
    "Did you reverse the channels? Red stays first.": lambda w, C, patch: _kernel(w, C, patch).flip(1),
    "Did you read the weights by columns? Row d belongs to output d: do not transpose.": lambda w, C, patch: (
        _kernel(w.T.reshape(w.shape), C, patch)
    ),
}


def check_kernel(kernel_from_projection: Callable) -> None:
    """Every weight where the convolution multiplies its pixel with it."""
    kernel_from_projection = _naming_its_input(kernel_from_projection)
    moves_like(kernel_from_projection, _kernel, (5, 18), 3, (2, 3), suspects=KERNEL_SUSPECTS)
    moves_like(kernel_from_projection, _kernel, (2, 4), 1, (4, 1), suspects=KERNEL_SUSPECTS)
    moves_like(kernel_from_projection, _kernel, (3, 8), 2, (2, 2), suspects=KERNEL_SUSPECTS)
    leaves_alone(kernel_from_projection, normal(4, 18), 3, (2, 3))
    keeps_dtype(kernel_from_projection, normal(4, 18), 3, (2, 3))
    lets_gradient_flow(kernel_from_projection, normal(4, 18), 3, (2, 3))


PERMUTE_TOO_FEW = (
    "permute wants every axis of the tensor once. Yours still has fewer: split the axes by reshape first."
)
OTHER_COUNT = "the numbers of a reshape must multiply to the count of numbers that are there:"

EXERCISES = {
    "03.1": Exercise(
        checker=check_cut_patches,
        notice="No number was computed. The ViT of a whole 224 × 224 photo begins with this: [1, 196, 768].",
        hints=(
            "Three steps: split H into (nH, ph) and W into (nW, pw); permute; merge. Write the six axes\n"
            "down before and after the permute.",
            "After the split: [B, C, nH, ph, nW, pw]. The result is [B, N, P·C], and N merges (nH, nW),\n"
            "P·C merges (ph, pw, C). So which order of the six do you need?",
            "B, C, H, W = x.shape\nph, pw = patch\nx = x.reshape(B, C, H // ph, ph, ..., ...)\n"
            "x = x.permute(0, 2, ..., ..., ..., 1)  # [B, nH, nW, ph, pw, C]\nreturn x.reshape(B, ..., ...)",
        ),
        solution=("s03_vit.py", "cut_patches"),
        symptoms={
            "number of dimensions in the tensor input does not match": PERMUTE_TOO_FEW,
            "view size is not compatible": "after permute the numbers no longer lie in the order of the "
            "axes, and view cannot copy them. reshape can.",
            "is invalid for input of size": f"{OTHER_COUNT} N = (H // ph) · (W // pw) and P·C = ph · pw · C.",
            "but got float": "/ gives a float, even where it divides evenly. An axis needs //.",
        },
        forbidden=("unfold", "im2col", "pixel_unshuffle", "rearrange", "mvit_lib"),
    ),
    "03.2": Exercise(
        checker=check_kernel,
        notice="The same numbers in another order. With them one convolution does patchify and projection.",
        hints=(
            "Follow one weight: weight[d, k] multiplies number k of a patch. Which pixel and which channel\n"
            "is that, if patchify writes the pixels row by row, each with its C channels?",
            "Split the axis of P·C into the three axes it was merged from, in the same order: (ph, pw, C).\n"
            "Then the axes stand in the wrong order for a kernel, [D, C, ph, pw].",
            "ph, pw = patch\nw = weight.reshape(len(weight), ..., ..., ...)\n"
            "return w.permute(0, ..., ..., ...)",
        ),
        solution=("s03_vit.py", "kernel_from_projection"),
        symptoms={
            "number of dimensions in the tensor input does not match": PERMUTE_TOO_FEW,
            "is invalid for input of size": f"{OTHER_COUNT} D rows of ph · pw · C numbers each.",
        },
        forbidden=("mvit_lib",),
    ),
}
