"""The checkers of 01.3 to 01.5. References slice with steps, so they share no line with any answer."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mvit_lib.course.checks.c01_lines_of_numbers import walk, whole_number
from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Wrong,
    is_tensor,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    normal,
    numbered,
)

Move = Callable[..., Tensor]

# --- the moves of patches --------------------------------------------------------------------------------
# A mistake is spelled by the axes that a learner splits into and the order they are permuted to, one letter
# each: b batch, c channel (or D), i and j the row and column of patches, r and s those inside a patch.

# B > 1, C > 1, not square, ph ≠ pw, and nH, nW, P, N all different.
MAP, PATCH = (2, 3, 4, 15), (2, 3)
# Patches of 2 × 3 tile this map turned by 90° too, and N = 36 is a square number: who assumes either is seen.
TOKENS, SIZE = (2, 6, 36, 5), (18, 12)
RESHAPED = "Did you reshape in one go? reshape keeps the reading order: it sorts nothing."
IN_PATCH = "Did you swap the two in-patch axes? p counts the places row by row: p = r·pw + s."
SPLIT = "Did you split H into (ph, nH)? The row inside a patch runs faster: H splits into (nH, ph)."

UNFOLD_MISTAKES = {
    RESHAPED: "bcirjs bcirjs",
    "Did you reshape without splitting H and W? A sequence is now a band of the map's rows.": "bcirjs birjsc",
    IN_PATCH: "bcirjs bsrijc",
    "Did you count the patches column by column? t counts them row by row: t = i·nW + j.": "bcirjs brsjic",
    "Did you merge while D stood before the patches? That cuts through the tokens.": "bcirjs brscij",
    "Did you put patches before places? P comes first, so ph and pw stand before nH and nW.": "bcirjs bijrsc",
    SPLIT: "bcrisj brsijc",
}
UNFOLD_SHAPES = {
    "b ij rs c": "Patches come first there: a sequence is a place, and it has a token from each patch.",
    "b rs c ij": "The D numbers of a token stand last: move the channels behind the patches.",
    "b ij rsc": "That is whole patches as tokens, what ViT wants. Keep place and channel apart.",
    "b r s i j c": "You moved the axes: now merge (ph, pw) into P and (nH, nW) into N.",
}
TURNED = "Did you read patch as (pw, ph)? Rows come first: patch = (ph, pw)."
GRID = "Did you read size as (W, H), or take √N patches per row? nH = H/ph and nW = W/pw."
FOLD_MISTAKES = {
    RESHAPED: "brsijc brsijc",
    "Did you use unfold's own permute? Going back every axis needs its old place again.": "brsijc bicsjr",
    "Did you move D to the front and reshape? Each sequence lands in a band of rows.": "brsijc bcrsij",
    "Did you write patch after patch? In H the axes stand (nH, ph), in W (nW, pw).": "brsijc bcijrs",
    IN_PATCH: "bsrijc bcirjs",
    "Did you split N into (nW, nH)? The patches were counted row by row: (nH, nW).": "brsjic bcirjs",
    "Did you give N the lengths (nW, nH)? The patches were counted row by row: (nH, nW).": "brsjic bcjris",
    "Did you put pw beside nH? H is made of (nH, ph), and W of (nW, pw).": "brsijc bcisjr",
    "Did you merge (ph, nH) into H? The row inside a patch runs faster: (nH, ph).": "brsijc bcrisj",
    "Did you reshape while D stood last? The numbers of one token fall on neighbours.": "brsijc birjsc",
}
FOLD_SHAPES = {
    "b ir js c": "The channels stand last: bring D in front of H and W.",
    "b c js ir": "Rows and columns are swapped. " + GRID,
    "b c i r j s": "The axes are in order: merge (nH, ph) into H and (nW, pw) into W.",
}


def _places(patch: tuple[int, int]) -> list[tuple[int, int]]:
    """The places (r, s) inside a patch, row by row."""
    return [(r, s) for r in range(patch[0]) for s in range(patch[1])]


def unfold(x: Tensor, patch: tuple[int, int]) -> Tensor:
    """[B, D, H, W] -> [B, P, N, D]."""
    places = [x[:, :, r :: patch[0], s :: patch[1]].flatten(2) for r, s in _places(patch)]  # [B, D, N] each
    return torch.stack(places, dim=1).transpose(2, 3)  # [B, P, N, D]


def fold(tokens: Tensor, size: tuple[int, int], patch: tuple[int, int]) -> Tensor:
    """[B, P, N, D] -> [B, D, H, W]."""
    x = tokens.new_zeros(len(tokens), tokens.shape[-1], *size)
    for p, (r, s) in enumerate(_places(patch)):
        cells = x[:, :, r :: patch[0], s :: patch[1]]
        cells.copy_(tokens[:, p].transpose(1, 2).reshape(cells.shape))
    return x


def _lengths(x: Tensor, arguments: Sequence[Any]) -> dict[str, int]:
    """The length of each lettered axis; arguments are (patch,) or (size, patch)."""
    (H, W), (ph, pw) = arguments[0] if len(arguments) > 1 else x.shape[-2:], arguments[-1]
    return {"b": len(x), "r": ph, "s": pw, "i": H // ph, "j": W // pw, "c": x.numel() // (len(x) * H * W)}


def _mistake(spelled: str, target: Move) -> Move:
    """The function that splits into the first axes, permutes to the second, and takes the target's shape."""
    before, after = spelled.split()

    def mistake(x: Tensor, *arguments: Any) -> Tensor:
        length = _lengths(x, arguments)
        split = x.reshape([length[axis] for axis in before])
        return split.permute([before.index(axis) for axis in after]).reshape(target(x, *arguments).shape)

    return mistake


def _fold_turned(tokens: Tensor, size: tuple[int, int], patch: tuple[int, int]) -> Tensor:
    """Fold on the patches of a map of size (W, H)."""
    grid = size[1] // patch[0], size[0] // patch[1]
    x = tokens.reshape(len(tokens), *patch, *grid, -1)  # [B, ph, pw, nH, nW, D]
    return x.permute(0, 5, 3, 1, 4, 2).reshape(len(tokens), -1, *size)  # [B, D, H, W]


def _fold_turned_patch(tokens: Tensor, size: tuple[int, int], patch: tuple[int, int]) -> Tensor:
    """Fold with patches of pw × ph."""
    return fold(tokens, size, patch[::-1])


def _check_move(
    function: Move,
    target: Move,
    cases: Sequence[tuple],
    shapes: Mapping[str, str],
    suspects: Mapping[str, Move],
) -> None:
    """Shape, provenance on numbered tensors, then what every move of numbers owes its caller.

    cases: (shape, *arguments). shapes: a wrong shape spelled in axes -> what is missing.
    """
    shape, *arguments = cases[0]
    x = numbered(*shape)
    where = f"on a tensor of shape {list(shape)}, {', '.join(map(str, arguments))}:"
    length, expected = _lengths(x, arguments), list(target(x, *arguments).shape)
    answer = function(x.clone(), *arguments)
    for spelled, meaning in shapes.items():
        wrong = [math.prod(length[axis] for axis in axes) for axes in spelled.split()]
        if isinstance(answer, Tensor) and list(answer.shape) == wrong != expected:
            raise Wrong(f"{where} your result has shape {wrong}, expected {expected}.\n      {meaning}")
    is_tensor(answer, expected, where)
    for case in cases:
        moves_like(function, target, *case, suspects=suspects)
    _reads_any_layout(function, target, *cases[0])
    x = normal(*shape)
    leaves_alone(function, x, *arguments)
    keeps_dtype(function, x, *arguments)
    lets_gradient_flow(function, x, *arguments)


def _reads_any_layout(function: Move, target: Move, shape: Sequence[int], *arguments: Any) -> None:
    """The same elements stored in another order make the same result."""
    x = numbered(*shape).contiguous(memory_format=torch.channels_last)
    where = f"on the same tensor stored channels-last, strides {x.stride()}:"
    expected = target(x, *arguments)
    answer = is_tensor(function(x, *arguments), expected.shape, where).detach()
    if not torch.equal(answer, expected):
        raise Wrong(
            f"{where} elements are in the wrong place; stored in reading order it was right.\n"
            "      Did you compute strides from the lengths? One shape can have many strides: "
            "move axes with reshape and permute.",
            answer,
            expected,
        )


def _spelled(mistakes: Mapping[str, str], target: Move) -> dict[str, Move]:
    return {question: _mistake(spelled, target) for question, spelled in mistakes.items()}


def check_unfold(function: Move) -> None:
    """Two maps, neither square."""
    cases = ((MAP, PATCH), ((1, 2, 6, 4), (3, 2)))
    _check_move(function, unfold, cases, UNFOLD_SHAPES, _spelled(UNFOLD_MISTAKES, unfold))


def check_fold(function: Move) -> None:
    """The tokens of two maps, neither square."""
    cases = ((TOKENS, SIZE, PATCH), ((1, 6, 12, 2), (6, 12), (3, 2)))
    suspects = _spelled(FOLD_MISTAKES, fold) | {GRID: _fold_turned, TURNED: _fold_turned_patch}
    _check_move(function, fold, cases, FOLD_SHAPES, suspects)


# --- 01.3 ------------------------------------------------------------------------------------------------

MOVES: tuple[tuple[str, Move, tuple[int, ...], tuple[int, ...]], ...] = (
    ("x.permute(2, 0, 1)", lambda x: x.permute(2, 0, 1), (2, 3, 4), (0, 1, 2)),
    ("x.reshape(2, 6)", lambda x: x.reshape(2, 6), (3, 4), (1, 2)),
    ("x.T", lambda x: x.T, (3, 4), (2, 1)),
    ("x.flip(1)[:, 1:]", lambda x: x.flip(1)[:, 1:], (2, 3, 5), (1, 0, 4)),
    ("x.permute(4, 2, 0, 3, 1)", lambda x: x.permute(4, 2, 0, 3, 1), (2, 3, 4, 5, 6), (5, 3, 1, 2, 1)),
    ("unfold(x, (2, 3))", partial(unfold, patch=(2, 3)), (2, 3, 4, 6), (1, 4, 2, 1)),
    ("x.flip(0)", lambda x: x.flip(0), (3000,), (2,)),
)


def _index(number: int, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(number, shape))


def check_came_from(came_from: Callable) -> None:
    """The place in the input, for moves of every kind."""
    for name, move, shape, place in MOVES:
        where = f"move {name} on shape {shape}, place {place}:"
        x = torch.arange(torch.Size(shape).numel()).reshape(shape)
        moved = move(x)
        expected = _index(int(moved[place]), shape)
        found = _tuple_of_indices(came_from(move, shape, place), len(shape), where)
        if found != expected:
            question = _why_not(found, x, moved, place)
            raise Wrong(
                f"{where} you say {found}, but the element came from {expected}.\n      {question}".rstrip()
            )


def _tuple_of_indices(answer: Any, axes: int, where: str) -> tuple[int, ...]:
    """The answer, if it is a tuple with a whole number for each axis."""
    if answer is None:
        raise Wrong(f"{where} got None: did you forget `return`?")
    if not isinstance(answer, tuple):
        is_number = isinstance(answer, int) or (isinstance(answer, Tensor) and answer.dim() == 0)
        is_row = isinstance(answer, list | Tensor)
        help_line = "That is the number of the element; turn it into one index per axis of the input."
        if isinstance(answer, Tensor) and answer.dim() == 2:
            help_line = "nonzero() gives a row for every hit: take row [0], then tuple(row.tolist())."
        elif is_row and not is_number:
            help_line = "tuple(…) makes a tuple of a list, and .tolist() a list of a tensor."
        shown = f"{type(answer).__name__} {answer!r:.40}"
        raise Wrong(f"{where} expected a tuple of {axes} indices, got the {shown}.\n      {help_line}")
    if len(answer) != axes:
        raise Wrong(
            f"{where} expected {axes} indices, got {len(answer)}: {answer!r:.60}.\n"
            "      The input's axes count, all of them: divide once for each."
        )
    return tuple(whole_number(i, where) for i in answer)


def _why_not(found: tuple[int, ...], x: Tensor, moved: Tensor, place: tuple[int, ...]) -> str:
    """Which mistake gives this place."""
    number = int(moved[place])
    renumbered = int(torch.arange(moved.numel()).reshape(moved.shape)[place])
    mistakes: dict[str, tuple[int, ...] | None] = {
        "That is the place in the output. Which number stands there, and where is it in the input?": place,
        "Did you number the output? Number the input; the move carries its numbers.": _index(
            renumbered, x.shape
        ),
        "Did you divide by the output's axes? The number counts the input's elements.": (
            _index(number, moved.shape) if number < moved.numel() else None
        ),
        "The index is backwards: the last axis runs fastest and its index stands last.": (
            _index(number, x.shape)[::-1]
        ),
        "Did you divide by the first axis first? The last axis runs fastest: begin there.": (
            _index(number, x.shape[::-1])[::-1]
        ),
    }
    quotients, remainder = [], number
    for n in reversed(x.shape):
        quotient, remainder = divmod(remainder, n)
        quotients.append(quotient)
    question = "Did you swap quotient and remainder? The remainder is the index; divide the quotient further."
    mistakes[question] = tuple(reversed(quotients))
    question = "Did you number with a dtype that ends too early? uint8 ends at 255: let torch.arange choose."
    mistakes[question] = _index(number % 256, x.shape)
    question = "Did you follow strides? They lead back to the input only where nothing was copied."
    walked = moved.storage_offset() + walk(place, moved.stride())
    mistakes[question] = _index(walked, x.shape) if walked < x.numel() else None
    if len(place) == x.dim() and all(map(int.__lt__, place, x.shape)):
        goes = (moved == x[place]).nonzero()
        question = "That is where the input's element goes to; asked is where the output's comes from."
        mistakes[question] = tuple(goes[0].tolist()) if len(goes) else None
    return next((question for question, mistake in mistakes.items() if mistake == found), "")


# --- what a learner reads --------------------------------------------------------------------------------

ONCE = "permute wants every axis exactly once: count the axes that your first reshape made."
WHOLE = "One of your lengths is a float: divide with // instead of /."
TENSOR_ERRORS = {
    "view size": "view cannot merge axes that do not lie one after the other in memory (section 3): "
    "use reshape, which copies.",
    "invalid for input": "The lengths in your reshape must multiply to the number of elements: "
    "write down every axis and its length.",
    "number of dimensions": ONCE,
    "duplicate dims": ONCE,
    "got float": WHOLE,
    "element of type float": WHOLE,
    "values to unpack": "A shape has one number per axis: unpack it into as many names, as in B, D, H, W.",
    "transpose() takes": "transpose swaps two axes; permute takes all of them.",
}
FOLD_ERRORS = TENSOR_ERRORS | {
    "invalid for input": "The lengths must multiply to the number of elements. size is (H, W), rows "
    "first; N splits into nH = H/ph and nW = W/pw, which need not be equal."
}
PIXELS = ("pixel_unshuffle", "pixel_shuffle", "conv2d", "conv_transpose2d")
BUILT_IN = ("mvit_lib", "unfold", "fold", *PIXELS, "rearrange")

EXERCISES = {
    "01.3": Exercise(
        checker=check_came_from,
        notice="It asks the move itself, so it serves views and copies alike. The checks below ask so too.",
        hints=(
            "Give every element of the input its own number. Let the move carry the numbers. Which number\n"
            "stands at `place` of the output?",
            "That number tells where it started: the last axis runs fastest, so the remainder of dividing\n"
            "by its length is the last index; go on with the quotient. divmod(number, n) gives both:\n"
            "(quotient, remainder).",
            "x = torch.arange(math.prod(shape)).reshape(shape)\nnumber = int(...)\nindex = []\n"
            "for n in reversed(shape):\n    number, remainder = divmod(number, n)\n    index.append(...)\n"
            "return tuple(reversed(index))",
        ),
        symptoms={
            "not tuple": "arange wants a count: math.prod(shape) multiplies the lengths.",
            "invalid for input": "arange must make as many numbers as the input has elements.",
            "name 'math' is not defined": "The second code cell of this notebook imports math: run it.",
        },
        solution=("s01_tensors_that_move_pixels.py", "came_from"),
    ),
    "01.4": Exercise(
        checker=check_unfold,
        notice="D stands last: a token is one run of D numbers, ready for the transformer.",
        hints=(
            "Space-to-depth merged place and channel, (r, s, c), in front of the patches. Now (r, s) gets\n"
            "an axis of its own, the patches (i, j) get the next, and the D numbers of a pixel come last.",
            "Split to [B, D, nH, ph, nW, pw], axes 0 to 5. The result [B, P, N, D] merges p = (r, s) and\n"
            "t = (i, j): so the order before merging is B, ph, pw, nH, nW, D.",
            "B, D, H, W = x.shape\nph, pw = patch\nx = x.reshape(B, D, ..., ph, ..., pw)\n"
            "x = x.permute(0, ..., ..., ..., ..., 1)\nreturn x.reshape(B, ph * pw, ..., D)",
        ),
        symptoms=TENSOR_ERRORS,
        forbidden=BUILT_IN,
        solution=("s01_tensors_that_move_pixels.py", "unfold"),
    ),
    "01.5": Exercise(
        checker=check_fold,
        notice="Unfold backwards: what was merged is split, what was permuted is permuted back.",
        hints=(
            "Run unfold backwards. Its last step merged axes: split them again. Before that it permuted:\n"
            "put every axis back. Before that it split H and W: merge them.",
            "Split [B, P, N, D] to [B, ph, pw, nH, nW, D], axes 0 to 5. The map wants the order\n"
            "[B, D, nH, ph, nW, pw]: for each of these, which of the six is it?",
            "B, P, N, D = tokens.shape\n(H, W), (ph, pw) = size, patch\n"
            "x = tokens.reshape(B, ph, pw, ..., ..., D)\nx = x.permute(0, 5, ..., 1, ..., 2)\n"
            "return x.reshape(B, D, H, W)",
        ),
        symptoms=FOLD_ERRORS,
        forbidden=BUILT_IN,
        solution=("s01_tensors_that_move_pixels.py", "fold"),
    ),
}
