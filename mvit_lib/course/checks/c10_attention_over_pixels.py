"""The checkers of 10.1 to 10.3: from a raw tensor to a picture."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Wrong,
    explained,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    normal,
)

Pair = tuple[int, int]
FILE = "s10_attention_over_pixels.py"

# 10.1


def _split(weights: Tensor, B: int) -> Tensor:
    return weights.reshape(B, len(weights) // B, *weights.shape[1:])  # [B, P, h, N, N]


SPLIT_SUSPECTS = {
    "Are these the sequences of one place, not of one image? Sequence b·P + p: b is the slow axis.": (
        lambda w, B: w.reshape(len(w) // B, B, *w.shape[1:]).transpose(0, 1)
    ),
    "Did you put P first? The result begins with the image: [B, P, …].": (
        lambda w, B: _split(w, B).transpose(0, 1)
    ),
    "Is that [P, B, …]? Cut the axis into B pieces of P, not into P pieces of B.": (
        lambda w, B: w.reshape(len(w) // B, B, *w.shape[1:])
    ),
    "Did you put the heads before the places?": lambda w, B: _split(w, B).transpose(1, 2),
    "Did queries and keys change sides? Leave the last two axes as they are.": lambda w, B: _split(w, B).mT,
    "Did you take a patch of 4 pixels for granted? P = (B·P) / B.": (
        lambda w, B: w.reshape(len(w) // 4, 4, *w.shape[1:])
    ),
    "Did you average the heads? Keep them apart.": lambda w, B: _split(w, B).mean(2),
    "Is that only the first image?": lambda w, B: _split(w, B)[0],
}


def check_split_sequences(split_sequences: Callable) -> None:
    """Three images of four places; two images of six places; one image."""
    for shape, B in (((12, 2, 3, 3), 3), ((12, 2, 5, 5), 2), ((4, 3, 2, 2), 1)):
        with explained(f"weights {list(shape)}, B = {B}"):
            moves_like(split_sequences, _split, shape, B, suspects=SPLIT_SUSPECTS)
    leaves_alone(split_sequences, normal(8, 2, 3, 3), 2)
    keeps_dtype(split_sequences, normal(8, 2, 3, 3), 2)
    lets_gradient_flow(split_sequences, normal(8, 2, 3, 3), 2)


# 10.2


def _token(y: int, x: int, image: Pair, size: Pair, patch: Pair) -> Pair:
    i, j = y * size[0] // image[0], x * size[1] // image[1]
    (ph, pw), nW = patch, size[1] // patch[1]
    return pw * (i % ph) + j % pw, nW * (i // ph) + j // pw


def _on_map(i: int, j: int, size: Pair, patch: Pair) -> Pair:
    return _token(i, j, size, size, patch)


def _rounded(y: int, x: int, image: Pair, size: Pair, patch: Pair) -> Pair:
    i, j = round(y * size[0] / image[0]), round(x * size[1] / image[1])
    return _on_map(i, j, size, patch)


def _one_stride(y: int, x: int, image: Pair, size: Pair, patch: Pair) -> Pair:
    stride = image[0] // size[0]
    return _on_map(y // stride, x // stride, size, patch)


def _whole_strides(y: int, x: int, image: Pair, size: Pair, patch: Pair) -> Pair:
    i, j = y // (image[0] // size[0]), x // (image[1] // size[1])
    return _on_map(i, j, size, patch)


def _strides_up(y: int, x: int, image: Pair, size: Pair, patch: Pair) -> Pair:
    i, j = y // -(-image[0] // size[0]), x // -(-image[1] // size[1])
    return _on_map(i, j, size, patch)


def _by_quotient(y: int, x: int, image: Pair, size: Pair, patch: Pair) -> Pair:
    i, j = int(y * (size[0] / image[0])), int(x * (size[1] / image[1]))
    return _on_map(i, j, size, patch)


def _by_stride(y: int, x: int, image: Pair, size: Pair, patch: Pair) -> Pair:
    i, j = int(y / (image[0] / size[0])), int(x / (image[1] / size[1]))
    return _on_map(i, j, size, patch)


def _pixel_middle(y: int, x: int, image: Pair, size: Pair, patch: Pair) -> Pair:
    i, j = int((y + 0.5) * size[0] / image[0]), int((x + 0.5) * size[1] / image[1])
    return _on_map(i, j, size, patch)


def _place_by_columns(*a: Any) -> Pair:
    y, x, image, size, (ph, pw) = a
    i, j = y * size[0] // image[0], x * size[1] // image[1]
    return ph * (j % pw) + i % ph, _token(*a)[1]


def _place_times_height(*a: Any) -> Pair:
    y, x, image, size, (ph, pw) = a
    i, j = y * size[0] // image[0], x * size[1] // image[1]
    return ph * (i % ph) + j % pw, _token(*a)[1]


def _patch_times(stretch: Callable[[Pair, Pair], int]) -> Callable[..., Pair]:
    """t with another number of patches in a row."""

    def token(*a: Any) -> Pair:
        y, x, image, size, patch = a
        i, j = y * size[0] // image[0], x * size[1] // image[1]
        return _token(*a)[0], stretch(size, patch) * (i // patch[0]) + j // patch[1]

    return token


def _patch_by_columns(*a: Any) -> Pair:
    y, x, image, size, (ph, pw) = a
    i, j = y * size[0] // image[0], x * size[1] // image[1]
    return _token(*a)[0], size[0] // ph * (j // pw) + i // ph


TOKEN_MISTAKES: Mapping[str, Callable[..., Pair]] = {
    "Did you stay among the pixels of the image? Go to the map first: i = ⌊y·H_map/H⌋.": (
        lambda y, x, image, size, patch: _token(y, x, image, image, patch)
    ),
    "Did you swap rows and columns? y is the row.": lambda y, x, *a: _token(x, y, *a),
    "Is the order (t, p)? The place comes first.": lambda *a: _token(*a)[::-1],
    "Did you number the places by columns? They are read like a page: p = pw·(i mod ph) + j mod pw.": (
        _place_by_columns
    ),
    "Did you multiply by ph? A row of the patch has pw pixels: p = pw·(i mod ph) + j mod pw.": (
        _place_times_height
    ),
    "Did you multiply by the map's width? A row of patches has nW = W_map/pw of them.": (
        _patch_times(lambda size, patch: size[1])
    ),
    "Did you multiply by the patches in a column? A row has nW = W_map/pw of them.": (
        _patch_times(lambda size, patch: size[0] // patch[0])
    ),
    "Did you number the patches by columns? They are read like a page.": _patch_by_columns,
    "Did you swap the sides of the patch? patch = (ph, pw).": (
        lambda y, x, image, size, patch: _token(y, x, image, size, patch[::-1])
    ),
    "Did you write 2 where the patch size belongs?": (
        lambda y, x, image, size, patch: _token(y, x, image, size, (2, 2))
    ),
    "Did you take one stride for rows and columns? Each axis has its own.": _one_stride,
    "Did you divide by a rounded stride? Multiply first, divide last: y·H_map // H.": _whole_strides,
    "Did you round the stride up? Multiply first, divide last: y·H_map // H.": _strides_up,
    "Did you round to the nearest? Round down: a map pixel is a band, not a point.": _rounded,
    "Did you take the middle of the pixel, y + ½? Its row is y: ⌊y·H_map/H⌋.": _pixel_middle,
    "Did you divide first? H_map/H is rounded, and y times it falls short of a whole number: y·H_map // H.": (
        _by_quotient
    ),
    "Did you divide by the stride? H/H_map is rounded, and y over it falls short: y·H_map // H.": _by_stride,
}
TOKEN_CASES = [
    (y, x, image, size, patch)
    for image, size, patch in (
        ((32, 48), (4, 6), (2, 2)),
        ((48, 48), (6, 12), (3, 2)),
        ((24, 64), (12, 16), (2, 4)),
        ((30, 44), (8, 12), (2, 3)),
    )
    for y in range(1, image[0], 7)
    for x in range(2, image[1], 9)
] + [  # where a quotient in floating point falls short
    (47, 49, (94, 98), (12, 4), (2, 2)),
    (9, 9, (18, 18), (14, 14), (2, 2)),
]


def check_token_of_pixel(token_of_pixel: Callable) -> None:
    """An ordinary stage, another patch, strides that differ, strides that are no whole number, rounding."""
    passed: list[tuple] = []
    for case in TOKEN_CASES:
        y, x, image, size, patch = case
        where = (
            f"pixel ({y}, {x}) of a {image[0]} × {image[1]} image, map {size[0]} × {size[1]}, patch {patch}:"
        )
        answer, expected = token_of_pixel(*case), _token(*case)
        if answer is None:
            raise Wrong(f"{where} got None: did you forget `return`?")
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise Wrong(f"{where} expected a pair (p, t), got {answer!r:.60}")
        if any(isinstance(n, float) and n != int(n) for n in answer):
            raise Wrong(
                f"{where} expected whole numbers, got {answer!r:.60}: / divides, // also rounds down."
            )
        found = (int(answer[0]), int(answer[1]))
        if found == expected:
            passed.append(case)
            continue
        i, j = y * size[0] // image[0], x * size[1] // image[1]
        message = f"{where}\n      you get (p, t) = {found}, expected {expected}."
        message += f" It lies in row {i}, column {j} of the map."
        raise Wrong(message + _fitting(TOKEN_MISTAKES, case, found, passed))


def _fitting(mistakes: Mapping[str, Callable], case: tuple, found: Pair, passed: list[tuple]) -> str:
    """The first question whose mistake explains this answer and all right ones before it."""
    for question, mistake in mistakes.items():
        if mistake(*case) == found and all(mistake(*old) == _token(*old) for old in passed):
            return f"\n      {question}"
    return ""


# 10.3


def _paint(rows: Tensor, grid: Pair, size: Pair) -> Tensor:
    (nH, nW), (H, W) = grid, size
    table = rows.reshape(*rows.shape[:-1], nH, nW)
    return table[..., torch.arange(H) * nH // H, :][..., torch.arange(W) * nW // W]


def _resized(rows: Tensor, grid: Pair, size: Pair, mode: str) -> Tensor:
    table = rows.reshape(1, -1, *grid).double()
    aligned = {"align_corners": False} if mode == "bilinear" else {}
    return F.interpolate(table, size, mode=mode, **aligned).reshape(*rows.shape[:-1], *size)


def _equal_blocks(rows: Tensor, grid: Pair, block: Pair) -> Tensor:
    table = rows.reshape(*rows.shape[:-1], *grid)
    return table.repeat_interleave(block[0], -2).repeat_interleave(block[1], -1)


def _cut_to(picture: Tensor, size: Pair) -> Tensor:
    return picture[..., : size[0], : size[1]]


def _repeated(rows: Tensor, grid: Pair, size: Pair) -> Tensor:
    table = rows.reshape(*rows.shape[:-1], *grid)
    return table[..., torch.arange(size[0]) % grid[0], :][..., torch.arange(size[1]) % grid[1]]


def _rest_to_the_last(rows: Tensor, grid: Pair, size: Pair) -> Tensor:
    table = rows.reshape(*rows.shape[:-1], *grid)
    i, j = ((torch.arange(n) // (n // of)).clamp(max=of - 1) for n, of in zip(size, grid, strict=True))
    return table[..., i, :][..., j]


PAINT_SUSPECTS = {
    "Did you smooth? Nothing was measured between two patches: each pixel takes the weight of its own.": (
        lambda rows, grid, size: _resized(rows, grid, size, "bilinear")
    ),
    "Did you swap the sides of the grid? It is (nH, nW): rows first.": (
        lambda rows, grid, size: _paint(rows, grid[::-1], size)
    ),
    "Did you fill the grid column by column? Patches are read like a page.": (
        lambda rows, grid, size: _paint(
            rows.reshape(*rows.shape[:-1], *grid[::-1]).mT.flatten(-2), grid, size
        )
    ),
    "Did you lay the grid side by side, again and again? Enlarge each of its cells.": _repeated,
    "Did you swap height and width of the picture?": lambda rows, grid, size: _paint(rows, grid, size[::-1]),
    "Is that the grid, not yet enlarged?": lambda rows, grid, size: rows.reshape(*rows.shape[:-1], *grid),
    "Did you scale the weights? A picture of weights keeps them.": (
        lambda rows, grid, size: _paint(rows / rows.amax(-1, keepdim=True), grid, size)
    ),
    "Did you divide by the sum? A picture of weights keeps them.": (
        lambda rows, grid, size: _paint(rows / rows.sum(-1, keepdim=True), grid, size)
    ),
    "Did you round to the nearest cell? Round down: ⌊y·nH/H⌋.": (
        lambda rows, grid, size: _resized(rows, grid, size, "nearest-exact")
    ),
    "Did you make all blocks equally large? They need not be: pixel row y lies in patch row ⌊y·nH/H⌋.": (
        lambda rows, grid, size: _equal_blocks(rows, grid, (size[0] // grid[0], size[1] // grid[1]))
    ),
    "Did you make all blocks equally large, and cut off what is too much? Row y lies in ⌊y·nH/H⌋.": (
        lambda rows, grid, size: _cut_to(
            _equal_blocks(rows, grid, (-(-size[0] // grid[0]), -(-size[1] // grid[1]))), size
        )
    ),
    "Did you make all blocks equally large, and give the last one the rest? Row y lies in ⌊y·nH/H⌋.": (
        _rest_to_the_last
    ),
    "Did you paint the first row only? Every leading axis stays.": (
        lambda rows, grid, size: _paint(rows.flatten(0, -2)[0], grid, size)
    ),
}


def check_paint(paint: Callable) -> None:
    """Two heads' rows of six patches; many leading axes; cells that do not come out even; a square grid."""
    moves_like(paint, _paint, (2, 6), (2, 3), (4, 9), suspects=PAINT_SUSPECTS)
    moves_like(paint, _paint, (2, 3, 12), (3, 4), (9, 8), suspects=PAINT_SUSPECTS)
    moves_like(paint, _paint, (1, 6), (3, 2), (5, 7), suspects=PAINT_SUSPECTS)
    moves_like(paint, _paint, (2, 9), (3, 3), (7, 10), suspects=PAINT_SUSPECTS)
    leaves_alone(paint, normal(2, 6), (2, 3), (4, 6))
    keeps_dtype(paint, normal(2, 6), (2, 3), (4, 6))
    lets_gradient_flow(paint, normal(2, 6), (2, 3), (4, 6))


EXERCISES = {
    "10.1": Exercise(
        checker=check_split_sequences,
        notice="The image is the slow half of the axis, the place the fast one: sequence b·P + p.",
        hints=(
            "12 sequences, 3 images: 0 to 3 are the four places of image 0, 4 to 7 those of image 1.",
            "The order in memory is right already: only the first axis is to be cut in two, B pieces of P.\n"
            "The other axes stay. `weights.shape[1:]` are their lengths.",
            "P = len(weights) // B\nreturn weights.reshape(..., ..., *weights.shape[1:])",
        ),
        solution=(FILE, "split_sequences"),
        symptoms={
            "invalid for input of size": "the shape you ask for holds another number of elements: is P = "
            "len(weights) // B, and are h, N and N all there?",
            "but got float": "/ makes a float; // divides to an int.",
            "a leaf Variable that requires grad": "write nothing into `weights`: reshape makes a new tensor.",
            "must be tuple of ints": "shape[1:] is a tuple: unpack it with a star, *weights.shape[1:].",
            "'float' object cannot be interpreted": "/ makes a float; // divides to an int.",
        },
        forbidden=("mvit_lib",),
    ),
    "10.2": Exercise(
        checker=check_token_of_pixel,
        notice="Along a row of image pixels p alternates and t grows; a patch lower, t has grown by nW.",
        hints=(
            "Two steps. From the image to the map: which row i and column j? Then, as in 06, from (i, j)\n"
            "to place and patch.",
            "i = y * H_map // H: multiply first, then divide, so that nothing is rounded too early.\n"
            "Inside the patch: the remainders i % ph and j % pw. Which patch: i // ph and j // pw.",
            "i, j = y * ... // ..., x * ... // ...\np = ... * (i % ph) + ...\n"
            "t = ... * (i // ph) + ...\nreturn p, t",
        ),
        solution=(FILE, "token_of_pixel"),
        symptoms={
            "unsupported operand type(s) for": "sizes are pairs: take them apart first, H, W = image_size.",
            "can't multiply sequence by non-int": "sizes are pairs: take them apart first.",
            "cannot unpack non-iterable": "y and x are plain ints; only the three sizes are pairs.",
        },
        forbidden=("mvit_lib",),
    ),
    "10.3": Exercise(
        checker=check_paint,
        notice="No number is new: a picture of N weights holds N different values at most, however large.",
        hints=(
            "First the grid: N numbers as nH rows of nW. Then each of its cells becomes a block of pixels.",
            "Pixel row y lies in grid row y * nH // H. Make the list of these for all y at once with\n"
            "torch.arange(H) * nH // H, and pick rows with it; columns the same way.",
            "table = rows.reshape(*rows.shape[:-1], ..., ...)\ni = torch.arange(H) * ... // ...\n"
            "j = ...\nreturn table[..., i, :][..., j]",
        ),
        solution=(FILE, "paint"),
        symptoms={
            "invalid for input of size": "N = nH·nW, and the leading axes stay: "
            "rows.reshape(*rows.shape[:-1], nH, nW).",
            "Input and output must have the same number of spatial dimensions": "F.interpolate takes "
            "[B, C, nH, nW]: put two axes in front.",
            "shape mismatch: indexing tensors could not be broadcast": "table[..., i, j] pairs up i and j. "
            "Pick rows first, table[..., i, :], then columns.",
        },
        forbidden=("mvit_lib",),
    ),
}
