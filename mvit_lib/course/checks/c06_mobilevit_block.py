"""The checkers of 06.1, tokens exchange place by place, and 06.4, maps of any size."""

from collections.abc import Callable
from functools import partial
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
)

Pair = tuple[int, int]
FILE = "s06_mobilevit_block.py"


# 06.1


class Layer:
    """Stands for a transformer: takes [sequences, N, D] and nothing else, and counts its calls."""

    def __init__(self, name: str, move: Function) -> None:
        self.name, self.move, self.calls = name, move, 0

    def __repr__(self) -> str:
        return f"a layer that {self.name}"

    def __call__(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        if tokens.dim() != 3:
            raise Wrong(
                f"the layer got a tensor of shape {list(tokens.shape)}; it takes three axes, "
                "[sequences, N, D].\n      Put B and P into one axis: every place of every image is a "
                "sequence of its own."
            )
        return self.move(tokens)


def next_token(t: Tensor) -> Tensor:
    """Every token receives the one after it; the last receives the first."""
    return t.roll(-1, dims=1)


def mixed_mean(t: Tensor) -> Tensor:
    """Tokens hear the mean of their sequence: not linear; every token and every channel in its own way."""
    tokens = torch.linspace(1, 2, t.shape[1], dtype=t.dtype)[:, None]
    channels = torch.linspace(1, 3, t.shape[2], dtype=t.dtype)
    return t + torch.tanh(t.mean(1, keepdim=True)) * tokens * channels


def in_places(x: Tensor, patch: Pair) -> Tensor:
    """[B, D, H, W] -> [B, ph, pw, nH, nW, D]."""
    (ph, pw), (B, D, H, W) = patch, x.shape
    return x.reshape(B, D, H // ph, ph, W // pw, pw).permute(0, 3, 5, 2, 4, 1)


def from_places(cells: Tensor) -> Tensor:
    """[B, ph, pw, nH, nW, D] -> [B, D, H, W]."""
    B, ph, pw, nH, nW, D = cells.shape
    return cells.permute(0, 5, 3, 1, 4, 2).reshape(B, D, nH * ph, nW * pw)


def _in_order(*order: int, sequences: int, swap: bool = False) -> Function:
    """Exchange along other axes: the first `sequences` axes of the order tell the sequences apart."""

    def call(x: Tensor, layer: Function, patch: Pair) -> Tensor:
        move = getattr(layer, "move", layer)
        cells = in_places(x, patch[::-1] if swap else patch).permute(*order, 5)
        flat = cells.reshape(cells.shape[:sequences].numel(), -1, cells.shape[-1])
        back = torch.tensor(order).argsort().tolist()
        return from_places(move(flat).reshape(cells.shape).permute(*back, 5))

    return call


exchange = _in_order(0, 1, 2, 3, 4, sequences=3)


def _bands(x: Tensor, layer: Function, patch: Pair) -> Tensor:
    B, D, H, W = x.shape
    P = patch[0] * patch[1]
    mixed = getattr(layer, "move", layer)(x.permute(0, 2, 3, 1).reshape(B * P, -1, D))
    return mixed.reshape(B, H, W, D).permute(0, 3, 1, 2)


def _only_first(x: Tensor, layer: Function, patch: Pair) -> Tensor:
    cells, done = in_places(x, patch), in_places(exchange(x, layer, patch), patch)
    return from_places(
        torch.cat([done.flatten(1, 2)[:, :1], cells.flatten(1, 2)[:, 1:]], 1).view(cells.shape)
    )


def _mixed_back(x: Tensor, layer: Function, patch: Pair) -> Tensor:
    """Right until the answer [B·P, N, D] is read as [P, B, N, D]."""
    cells = in_places(exchange(x, layer, patch), patch).flatten(1, 2)
    wrong = cells.reshape(cells.shape[1], cells.shape[0], *cells.shape[2:]).transpose(0, 1)
    return from_places(wrong.reshape(in_places(x, patch).shape))


def _places_first(x: Tensor, layer: Function, patch: Pair) -> Tensor:
    """Merged as [P, B], read as [B, P]."""
    cells = in_places(exchange(x, layer, patch), patch).flatten(1, 2)
    return from_places(cells.transpose(0, 1).reshape(in_places(x, patch).shape))


def _folded_across(x: Tensor, layer: Function, patch: Pair) -> Tensor:
    """Unfolded with (ph, pw), folded with (pw, ph)."""
    cells = in_places(exchange(x, layer, patch), patch)
    return from_places(cells.reshape(in_places(x, patch[::-1]).shape))


EXCHANGE_SUSPECTS = {
    "Did you put P and N into one axis? Then every pixel exchanges with every other.": (
        _in_order(0, 1, 2, 3, 4, sequences=1)
    ),
    "Do the pixels inside one patch exchange? A sequence runs over the N patches, at one place.": (
        _in_order(0, 3, 4, 1, 2, sequences=3)
    ),
    "Do the images of the batch exchange? B belongs to P, not to N.": _in_order(1, 2, 0, 3, 4, sequences=2),
    "Did you reshape the map into tokens? Then a sequence is a band of rows (01).": _bands,
    "Does only the first place pass the layer? Every place does.": _only_first,
    "Did you leave out the layer?": lambda x, layer, patch: x,
    "Did you split the answer's first axis into [P, B]? You merged it as [B, P].": _mixed_back,
    "Did you merge P and B, P first? The sequences stand as [B, P]: tokens.flatten(0, 1).": _places_first,
    "Did you add x to the result? The layer has its own residuals; here nothing is added.": (
        lambda x, layer, patch: x + exchange(x, layer, patch)
    ),
    "Did you unfold with (ph, pw) and fold with (pw, ph)?": _folded_across,
    "Did you write the patch down as 2? It is an argument.": lambda x, layer, p: exchange(x, layer, (2, 2)),
    "Did you swap ph and pw?": _in_order(0, 1, 2, 3, 4, sequences=3, swap=True),
    "Did you turn the channels round before the layer? A token keeps their order.": (
        lambda x, layer, patch: exchange(x.flip(1), layer, patch).flip(1)
    ),
}
ROUNDED = {
    "Do you compute in float32 inside? Leave the dtype as it comes.": (
        lambda x, layer, patch: exchange(x.float(), layer, patch).to(x.dtype)
    ),
}


def _gradients_agree(answer: Callable, x: Tensor, layer: Function, patch: Pair) -> None:
    """The gradient goes back through the layer, and through nothing else."""
    gradients = []
    for function in (answer, exchange):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(function(leaf, layer, patch).square().sum(), leaf)
        gradients.append(gradient)
    if (gradients[0] - gradients[1]).abs().max() > 1e-9:
        raise Wrong(
            "the values are right, but the gradient does not come back through the layer alone: did you use\n"
            "      `detach`, or a path around the layer?"
        )


def check_exchange(answer: Callable) -> None:
    """06.1: a layer that moves tokens tells who exchanges with whom; one call; then one that mixes."""
    for shape, patch in (((2, 3, 4, 6), (2, 2)), ((3, 2, 6, 12), (2, 3)), ((1, 4, 4, 4), (4, 1))):
        layer = Layer("hands every token to the one before it", next_token)
        moves_like(answer, exchange, shape, layer, patch, suspects=EXCHANGE_SUSPECTS)
        layer.calls = 0
        answer(normal(*shape), layer, patch)
        if layer.calls != 1:
            raise Wrong(
                f"right, but you call the layer {layer.calls} times. Once is enough: to a layer all\n"
                "      sequences are alike, so B and P can share its first axis."
            )
    layer = Layer("mixes tokens", mixed_mean)
    example = normal(2, 3, 4, 6), layer, (2, 2)
    leaves_alone(answer, *example)
    keeps_dtype(answer, *example)
    lets_gradient_flow(answer, *example)
    agrees(answer, exchange, *example, where="with a layer that mixes tokens:", suspects=EXCHANGE_SUSPECTS)
    doubles = example[0].double(), *example[1:]
    agrees(answer, exchange, *doubles, where="in float64:", tol=1e-10, suspects=ROUNDED)
    _gradients_agree(answer, *doubles)


# 06.4


class Watcher:
    """A function on maps that keeps the size and writes down which sizes it was given."""

    def __init__(self) -> None:
        self.sizes: list[Pair] = []

    def __repr__(self) -> str:
        return "a function"

    def __call__(self, x: Tensor) -> Tensor:
        self.sizes.append((x.shape[-2], x.shape[-1]))
        return _shift(x)


def _shift(x: Tensor) -> Tensor:
    return 3 * x + x.roll(1, dims=-1)


def tiled(size: Pair, patch: Pair) -> Pair:
    """The smallest size, at least `size`, that patches tile; by counting up."""
    H, W = (next(n for n in range(s, s + p) if n % p == 0) for s, p in zip(size, patch, strict=True))
    return H, W


def _stretched(x: Tensor, function: Function, patch: Pair, **how: Any) -> Tensor:
    size = (x.shape[-2], x.shape[-1])
    target = tiled(size, patch)
    if target == size:
        return _shift(x)
    how = {"mode": "bilinear", "align_corners": False} | how
    if how["mode"] in ("nearest", "area"):
        how.pop("align_corners")
    return F.interpolate(_shift(F.interpolate(x, target, **how)), size, **how)


def _padded(x: Tensor, function: Function, patch: Pair) -> Tensor:
    (H, W), (h, w) = x.shape[-2:], tiled(x.shape[-2:], patch)
    return _shift(F.pad(x, (0, w - W, 0, h - H)))[:, :, :H, :W]


SIZE_SUSPECTS = {
    "Did you leave `mode` out? F.interpolate then repeats pixels; bilinear is meant.": (
        partial(_stretched, mode="nearest")
    ),
    "align_corners=True pins the corner pixels; the official network has False.": (
        partial(_stretched, align_corners=True)
    ),
    "Did you pad with zeros and cut them off? That is another cure: here the map is stretched.": _padded,
    "Did you use another mode? Bilinear is meant.": partial(_stretched, mode="bicubic"),
    "Did you leave out the function?": lambda x, f, patch: _stretched(x, f, patch) * 0 + x,
}

WRONG_SIZES = {
    "Did you round down? That throws pixels away; ⌈H / ph⌉ · ph is the next size up.": (
        lambda size, patch: tuple(s // p * p for s, p in zip(size, patch, strict=True))
    ),
    "Did you add a patch to every size? A size that is tiled stays.": (
        lambda size, patch: tuple((s // p + 1) * p for s, p in zip(size, patch, strict=True))
    ),
    "Did you swap ph and pw?": lambda size, patch: tiled(size, patch[::-1]),
    "Did you give the function the map as it is? The patches do not tile it.": lambda size, patch: size,
    "Did you make the map square? Each side has its own next size.": (
        lambda size, patch: (max(tiled(size, patch)),) * 2
    ),
    "Did you add ph and pw? The next multiple is meant.": (
        lambda size, patch: (size[0] + patch[0], size[1] + patch[1])
    ),
}


def check_any_size(answer: Callable) -> None:
    """06.4: which size the function sees; that tiled maps stay untouched; then the values."""
    for size, patch in (((5, 7), (2, 4)), ((7, 7), (2, 2)), ((4, 9), (3, 3)), ((6, 10), (2, 4))):
        watcher, x = Watcher(), normal(2, 3, *size)
        yours = answer(x.clone(), watcher, patch)
        where = f"on a map [2, 3, {size[0]}, {size[1]}], patch {patch}:"
        if len(watcher.sizes) != 1:
            raise Wrong(f"{where} your function calls `function` {len(watcher.sizes)} times, expected once")
        given, expected = watcher.sizes[0], tiled(size, patch)
        if given != expected:
            asked = [q for q, f in WRONG_SIZES.items() if f(size, patch) == given]
            question = f"\n      {asked[0]}" if asked else ""
            raise Wrong(f"{where} `function` got a map of {given}, expected {expected}.{question}")
        stayed = isinstance(yours, Tensor) and tuple(yours.shape[-2:]) == expected != size
        question = "\n      Did you forget the way back to the old size?" if stayed else ""
        is_tensor(yours, x.shape, where, lambda y, q=question: q)
        agrees(answer, _stretched, x, Watcher(), patch, where=where, suspects=SIZE_SUSPECTS)
    agrees(answer, _stretched, normal(2, 3, 4, 8), Watcher(), (2, 4), tol=0, suspects=SIZE_SUSPECTS)
    example = normal(1, 2, 5, 6), Watcher(), (2, 4)
    leaves_alone(answer, *example)
    keeps_dtype(answer, *example)
    lets_gradient_flow(answer, *example)


TOO_MANY = (
    "A transformer layer takes three axes, [sequences, N, D]. Give it B·P sequences: tokens.flatten(0, 1)."
)
EXERCISES = {
    "06.1": Exercise(
        checker=check_exchange,
        notice="One layer, P sequences: the places share its parameters and never meet.",
        hints=(
            "Cut H into nH · ph and W into nW · pw: six axes (01). The layer takes three. Which of the six\n"
            "tell the sequences apart, so that a sequence is: one image, one place, N tokens?",
            "B, ph and pw. Permute to [B, ph, pw, nH, nW, D], then reshape to [B·P, N, D].\n"
            "The way back is the same in reverse: the six axes, the permutation undone, the map.",
            "x6 = x.reshape(B, D, H // ph, ph, W // pw, pw).permute(...)   # [B, ph, pw, nH, nW, D]\n"
            "mixed = layer(x6.reshape(..., ..., D))                        # [B·P, N, D]\n"
            "return mixed.reshape(x6.shape).permute(...).reshape(x.shape)",
        ),
        solution=(FILE, "exchange"),
        forbidden=("attend_globally", "unfold_patches", "fold_patches"),
        symptoms={
            "too many values to unpack": TOO_MANY,
            "expected a tensor [B, P, N, D]": "fold_patches takes [B, P, N, D]: split B·P again.",
            "is invalid for input of size": "The new shape has another number of elements than the old one.",
            "view size is not compatible": "After a permute `view` cannot do it: reshape copies if it must.",
            "the desired ordering of dimensions": "permute names every axis once: six of them after the cut.",
        },
    ),
    "06.4": Exercise(
        checker=check_any_size,
        notice="The block computes this way wherever patches do not fit; where they do, nothing changes.",
        hints=(
            "First the size: the smallest multiple of ph that is at least H, and the same for W.\n"
            "Rounding up is rounding down of the negative number: -(-H // ph).",
            'F.interpolate(x, size, mode="bilinear", align_corners=False) stretches a map.\n'
            "Call it before and after the function; from a size to the same size it changes nothing.",
            "H, W = x.shape[2:]\ntiled = -(-H // ph) * ph, ...\nif tiled == (H, W):\n"
            "    return function(x)\nx = F.interpolate(x, tiled, mode=..., align_corners=False)\n"
            "return F.interpolate(function(x), ...)",
        ),
        solution=(FILE, "at_any_size"),
        forbidden=("attend_globally", "tiled_size"),
        symptoms={
            "expected size to be one of int": "`/` makes a float: `//` divides and rounds down.",
            "align_corners option can only be set": 'align_corners belongs to mode="bilinear".',
        },
    ),
}
