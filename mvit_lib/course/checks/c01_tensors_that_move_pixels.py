"""The checkers of notebook 01. References slice with steps, so they share no line with any answer."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Wrong,
    is_tensor,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    numbered,
)

Move = Callable[..., Tensor]

# --- 01.1 ------------------------------------------------------------------------------------------------

LINES = (
    ((1, 2, 1, 3), (60, 20, 5, 1), "channels-first"),
    ((1, 2, 3, 4), (60, 1, 15, 3), "channels-last"),
    ((1, 2), (4, 1), "rows of four"),
    ((2, 1), (1, 4), "the transposed"),
    ((0, 0, 0), (6, 3, 1), "the first element"),
)
OFFSET_MISTAKES: dict[str, Callable[[list[int], list[int]], int]] = {
    "Did you add index and stride? One step is repeated index times.": lambda i, s: sum(i) + sum(s),
    "Did you take the strides in reverse order?": lambda i, s: _walk(i, s[::-1]),
    "Did you multiply the walks? They come one after the other.": lambda i, s: math.prod(map(_times, i, s)),
    "Did you forget the last axis?": lambda i, s: _walk(i[:-1], s[:-1]),
    "Did you take the last stride for 1? Here it is not.": lambda i, s: _walk(i[:-1], s[:-1]) + i[-1],
    "Did you use only the first two axes?": lambda i, s: _walk(i[:2], s[:2]),
}


def _times(index: int, stride: int) -> int:
    return index * stride


def _walk(index: Sequence[int], strides: Sequence[int]) -> int:
    return sum(map(_times, index, strides))


def check_offset(offset: Callable) -> None:
    """A whole number for every layout; the same formula serves all of them."""
    for index, strides, layout in LINES:
        where = f"{layout}, index {index}, strides {strides}:"
        expected = _walk(index, strides)
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


# --- the moves of patches --------------------------------------------------------------------------------
# A mistake is spelled by the axes that a learner splits into and the order they are permuted to, one letter
# each: b batch, c channel (or D), i and j the row and column of patches, r and s those inside a patch.

# B > 1, C > 1, not square, ph ≠ pw, and nH, nW, P, N all different.
MAP, PATCH = (2, 3, 4, 15), (2, 3)
RESHAPED = "Did you reshape in one go? reshape keeps the reading order: it sorts nothing."
IN_PATCH = "Did you swap the two in-patch axes? p counts the places row by row: p = r·pw + s."
SPLIT = "Did you split H into (ph, nH)? The row inside a patch runs faster: H splits into (nH, ph)."

DEPTH_MISTAKES = {
    RESHAPED: "bcirjs bcirjs",
    "Did you put c before p? c·P + p is PyTorch's order of channels; here it is p·C + c.": "bcirjs bcrsij",
    IN_PATCH: "bcirjs bsrcij",
    "Did you swap nH and nW before you merged?": "bcirjs brscji",
    SPLIT: "bcrisj brscij",
}
DEPTH_SHAPES = {
    "b ijc r s": "That is patches in the channels, places in the map: the map keeps the patches.",
    "b rsc j i": "Rows and columns of the map are swapped.",
    "b r s c i j": "The axes are all there: merge the three of the channels into one.",
    "b rs c i j": "Merge C too: place and channel share one axis of length P·C.",
    "b i j rsc": "The channels stand last here: bring them in front of the map.",
}
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
    "b ij rs c": "Patches come first there: a sequence is a place, and its tokens are the patches.",
    "b rs c ij": "The D numbers of a token stand last: move the channels behind the patches.",
    "b ij rsc": "That is whole patches as tokens, what ViT wants. Keep place and channel apart.",
    "b r s i j c": "You moved the axes: now merge (ph, pw) into P and (nH, nW) into N.",
}
FOLD_MISTAKES = {
    RESHAPED: "brsijc brsijc",
    "Did you move D to the front and reshape? Each sequence lands in a band of rows.": "brsijc bcrsij",
    IN_PATCH: "bsrijc bcirjs",
    "Did you split N into (nW, nH)? The patches were counted row by row: (nH, nW).": "brsjic bcirjs",
    "Did you merge (ph, nH) into H? The row inside a patch runs faster: (nH, ph).": "brsijc bcrisj",
    "Did you reshape while D stood last? The numbers of one token fall on neighbours.": "brsijc birjsc",
}
FOLD_SHAPES = {
    "b ir js c": "The channels stand last: bring D in front of H and W.",
    "b c js ir": "Rows and columns are swapped.",
    "b c i r j s": "The axes are in order: merge (nH, ph) into H and (nW, pw) into W.",
}


def _places(patch: tuple[int, int]) -> list[tuple[int, int]]:
    """The places (r, s) inside a patch, row by row."""
    return [(r, s) for r in range(patch[0]) for s in range(patch[1])]


def space_to_depth(x: Tensor, patch: tuple[int, int]) -> Tensor:
    """[B, C, H, W] -> [B, P·C, nH, nW]: the pixels of place p in channels p·C … p·C + C − 1."""
    return torch.cat([x[:, :, r :: patch[0], s :: patch[1]] for r, s in _places(patch)], dim=1)


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


def _check_move(
    function: Move,
    target: Move,
    cases: Sequence[tuple],
    shapes: Mapping[str, str],
    mistakes: Mapping[str, str],
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
    suspects = {question: _mistake(spelled, target) for question, spelled in mistakes.items()}
    for case in cases:
        moves_like(function, target, *case, suspects=suspects)
    x = torch.randn(shape)
    leaves_alone(function, x, *arguments)
    keeps_dtype(function, x, *arguments)
    lets_gradient_flow(function, x, *arguments)


def check_space_to_depth(function: Move) -> None:
    """Two maps, neither square."""
    cases = ((MAP, PATCH), ((1, 2, 6, 4), (3, 2)))
    _check_move(function, space_to_depth, cases, DEPTH_SHAPES, DEPTH_MISTAKES)


def check_unfold(function: Move) -> None:
    """Two maps, neither square."""
    cases = ((MAP, PATCH), ((1, 2, 6, 4), (3, 2)))
    _check_move(function, unfold, cases, UNFOLD_SHAPES, UNFOLD_MISTAKES)


def check_fold(function: Move) -> None:
    """The tokens of the same two maps."""
    cases = (((2, 6, 10, 3), MAP[2:], PATCH), ((1, 6, 4, 2), (6, 4), (3, 2)))
    _check_move(function, fold, cases, FOLD_SHAPES, FOLD_MISTAKES)


# --- 01.3 ------------------------------------------------------------------------------------------------

MOVES: tuple[tuple[str, Move, tuple[int, ...], tuple[int, ...]], ...] = (
    ("x.permute(2, 0, 1)", lambda x: x.permute(2, 0, 1), (2, 3, 4), (0, 1, 2)),
    ("x.reshape(2, 6)", lambda x: x.reshape(2, 6), (3, 4), (1, 2)),
    ("x.T", lambda x: x.T, (3, 4), (2, 1)),
    ("x.flip(1)[:, 1:]", lambda x: x.flip(1)[:, 1:], (2, 3, 5), (1, 0, 4)),
    ("unfold(x, (2, 3))", partial(unfold, patch=(2, 3)), (2, 3, 4, 6), (1, 4, 3, 2)),
)


def _index(number: int, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(number), shape))


def check_came_from(came_from: Callable) -> None:
    """The place in the input, for moves of every kind."""
    for name, move, shape, place in MOVES:
        where = f"move {name} on shape {shape}, place {place}:"
        x = torch.arange(torch.Size(shape).numel()).reshape(shape)
        moved = move(x)
        expected = _index(int(moved[place]), shape)
        answer = came_from(move, shape, place)
        if answer is None:
            raise Wrong(f"{where} got None: did you forget `return`?")
        if isinstance(answer, int) or (isinstance(answer, Tensor) and answer.dim() == 0):
            hint = "That is the number of the element; turn it into one index per axis of the input."
            raise Wrong(
                f"{where} expected a tuple of {len(shape)} indices, got {answer!r:.40}.\n      {hint}"
            )
        try:
            found = tuple(whole_number(i, where) for i in answer)
        except TypeError:
            raise Wrong(f"{where} expected a tuple of {len(shape)} indices, got {answer!r:.60}") from None
        if found != expected:
            question = _why_not(found, x, moved, place)
            raise Wrong(
                f"{where} you say {found}, but the element came from {expected}.\n      {question}".rstrip()
            )


def _why_not(found: tuple[int, ...], x: Tensor, moved: Tensor, place: tuple[int, ...]) -> str:
    """Which mistake gives this place."""
    number = int(moved[place])
    renumbered = int(torch.arange(moved.numel()).reshape(moved.shape)[place])
    mistakes = {
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
    if len(place) == x.dim() and all(map(int.__lt__, place, x.shape)):
        goes = (moved == x[place]).nonzero()
        question = "That is where the input's element goes to; asked is where the output's comes from."
        mistakes[question] = tuple(goes[0].tolist()) if len(goes) else None
    return next((question for question, mistake in mistakes.items() if mistake == found), "")


# --- what a learner reads --------------------------------------------------------------------------------

ONCE = "permute wants every axis exactly once: count the axes that your first reshape made."
WHOLE = "One of your lengths is a float: divide with // instead of /."
TENSOR_ERRORS = {
    "view size is not compatible": "view cannot walk a permuted tensor with fewer strides: use reshape.",
    "is invalid for input of size": "The lengths in your reshape must multiply to the number of elements: "
    "write down every axis and its length.",
    "number of dimensions in the tensor input does not match": ONCE,
    "duplicate dims": ONCE,
    "got float": WHOLE,
    "element of type float": WHOLE,
    "values to unpack": "A shape has one number per axis: unpack it into as many names, as in B, C, H, W.",
    "transpose() takes": "transpose swaps two axes; permute takes all of them.",
}
BUILT_IN = ("mvit_lib", "unfold", "fold", "im2col", "col2im", "pixel_unshuffle", "pixel_shuffle", "rearrange")

EXERCISES = {
    "01.1": Exercise(
        checker=check_offset,
        notice="One formula reads every layout: the transposed and the channels-last tensor differ in their "
        "strides alone.",
        hints=(
            "You stand at offset 0. How many numbers do you walk along the line to move by one along the\n"
            "first axis? And to move by index[0]?",
            "Walk axis by axis and add the steps: index[0]·strides[0] + index[1]·strides[1] + …\n"
            "for as many axes as there are. zip(index, strides) pairs them.",
            "return sum(... * ... for i, s in zip(index, strides))",
        ),
        symptoms={"can't multiply sequence": "index and strides are tuples: multiply them pair by pair."},
        solution=("s01_tensors_that_move_pixels.py", "offset"),
    ),
    "01.2": Exercise(
        checker=check_space_to_depth,
        notice="The map shrank to nH × nW and no number was lost: C channels became P·C.",
        hints=(
            "The three steps of the 4 × 4 example, with B and C carried along: split H and W, bring the\n"
            "in-patch axes to the front, merge. Which six axes are there after the split?",
            "After the split: [B, C, nH, ph, nW, pw], axes 0 to 5. Channel p·C + c with p = r·pw + s says\n"
            "which axes merge into the channels, the slowest first: r, then s, then c.",
            "B, C, H, W = x.shape\nph, pw = patch\nx = x.reshape(B, C, ..., ph, ..., pw)\n"
            "x = x.permute(0, ..., ..., ..., 2, 4)\nreturn x.reshape(B, ..., H // ph, W // pw)",
        ),
        symptoms=TENSOR_ERRORS,
        forbidden=BUILT_IN,
        solution=("s01_tensors_that_move_pixels.py", "space_to_depth"),
    ),
    "01.3": Exercise(
        checker=check_came_from,
        notice="Three lines, and no move of numbers can hide from you: the checks below use the same trick.",
        hints=(
            "Give every element of the input its own number. Let the move carry the numbers. Which number\n"
            "stands at `place` of the output?",
            "That number tells where it started: the last axis runs fastest, so the rest of dividing by its\n"
            "length is the last index; go on with the quotient. divmod(number, n) gives (quotient, rest).",
            "x = torch.arange(math.prod(shape)).reshape(shape)\nnumber = int(...)\nindex = []\n"
            "for n in reversed(shape):\n    number, rest = divmod(number, n)\n    index.append(...)\n"
            "return tuple(reversed(index))",
        ),
        symptoms={
            "must be Number, not tuple": "arange wants a count: math.prod(shape) multiplies the lengths.",
            "is invalid for input of size": "arange must make as many numbers as the input has elements.",
            "name 'math' is not defined": "The second code cell of this notebook imports math: run it.",
        },
        solution=("s01_tensors_that_move_pixels.py", "came_from"),
    ),
    "01.4": Exercise(
        checker=check_unfold,
        notice="D stands last: a token is one run of D numbers, ready for the transformer.",
        hints=(
            "Space-to-depth had p before c in the channels. Now p gets an axis of its own, in front, the\n"
            "patches get one, and the D numbers of a pixel go last.",
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
        symptoms=TENSOR_ERRORS,
        forbidden=BUILT_IN,
        solution=("s01_tensors_that_move_pixels.py", "fold"),
    ),
}
