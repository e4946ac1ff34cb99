"""The checkers of 03.3 to 03.5: what a ViT costs, and how it meets another size."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Wrong,
    agrees,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    normal,
    numbered,
)

Pair = tuple[int, int]

# 03.3

# In the first no two mistakes that could be told apart have the same size.
VITS = (
    ((6, 32), (3, 4), 20, 5, 6, 13),
    ((32, 48), (8, 8), 40, 3, 2, 10),
    ((224, 224), (16, 16), 192, 12, 4, 1000),
)


def vit_parts(image: Pair, patch: Pair, D: int, L: int, r: int, num_classes: int) -> dict[str, int]:
    """What a ViT's parameters are made of."""
    P, N = patch[0] * patch[1], image[0] // patch[0] * (image[1] // patch[1])
    return {
        "the weights of the patch projection": 3 * P * D,
        "the biases of the patch projection": D,
        "the class token": D,
        "the position of the class token": D,
        "the positions of the patches": N * D,
        "the weights of q, k and v": L * 3 * D * D,
        "the biases of q, k and v": L * 3 * D,
        "the weights of the linear layer behind attention": L * D * D,
        "the biases of the linear layer behind attention": L * D,
        "the weights of the MLP": L * 2 * r * D * D,
        "the biases of the MLP": L * (r + 1) * D,
        "the two LayerNorms of each layer": L * 4 * D,
        "the last LayerNorm": 2 * D,
        "the weights of the classifier": D * num_classes,
        "the biases of the classifier": num_classes,
    }


def _questions(parts: dict[str, int], image: Pair, patch: Pair, L: int, r: int) -> dict[str, int]:
    """Question -> how far the answer falls short (above, if negative) where the answer is yes."""

    def total(*words: str) -> int:
        return sum(count for name, count in parts.items() if any(word in name for word in words))

    layers = total("q, k", "behind", "MLP", "each layer")
    weights, D = parts["the weights of the patch projection"], parts["the class token"]
    N = parts["the positions of the patches"] // D
    return {question: (N - count) * D for question, count in _wrong_counts(image, patch).items()} | {
        "Did you leave out all biases?": total("biases"),
        "Did you leave out the LayerNorms?": total("LayerNorm"),
        "Did you count one LayerNorm per layer? There are two.": L * 2 * D,
        "Did you leave out the positions?": (1 + N) * D,
        "Did you leave out the biases of the layers?": total("biases")
        - D
        - parts["the biases of the classifier"],
        "Did you forget the linear layer behind attention, D → D?": L * (D * D + D),
        "Did you forget q, k and v?": L * (3 * D * D + 3 * D),
        "Did you forget the MLP?": total("MLP"),
        "Did you forget the classifier?": total("classifier"),
        "Did you forget the patch projection?": total("patch projection"),
        "Did you count one layer instead of L?": layers - layers // L,
        "Did you forget that a pixel has 3 channels?": weights - weights // 3,
        "Is there one matrix for q, k and v? There are three.": parts["the weights of q, k and v"] // 3 * 2,
        "Are there three matrices of D × D for q, k, v, and a bias only for one?": 2 * L * D,
        "Has the MLP one linear layer? It has two: D → r·D → D.": L * (r * D * D + D),
        "Did you give every bias of the MLP D numbers? The first layer has r·D.": L * (r - 1) * D,
        "Did you leave out the class token and its position?": 2 * D,
        "Has a LayerNorm one number per channel? It has two: a factor and a shift.": total("LayerNorm") // 2,
        "Did you give each layer positions of its own? They are added once.": -(L - 1) * (1 + N) * D,
        "Did you take r = 4 for granted?": L * (r - 4) * (2 * D * D + D),
    }


def _wrong_counts(image: Pair, patch: Pair) -> dict[str, int]:
    """Question -> what the number of patches would be where the answer is yes."""
    (H, W), (ph, pw) = image, patch
    counts = {
        "Did you use H twice?": (H // ph) * (H // pw),
        "Did you square H // ph?": (H // ph) ** 2,
        "Did you use W twice?": (W // ph) * (W // pw),
        "Did you square W // pw?": (W // pw) ** 2,
        "Did you swap ph and pw?": (H // pw) * (W // ph),
        "Did you take P for N?": ph * pw,
        "Is that the number of all pixels?": H * W,
    }
    correct = "There is one position per patch: N = (H // ph) · (W // pw)."
    return {f"{question} {correct}": count for question, count in counts.items()}


def check_vit_parameters(vit_parameters: Callable) -> None:
    """Three ViTs; the difference tells which part is missing."""
    for case in VITS:
        image, patch, D, L, r, num_classes = case
        where = f"for images {image}, patches {patch}, D = {D}, L = {L}, r = {r}, {num_classes} classes:"
        parts = vit_parts(*case)
        expected, found = sum(parts.values()), _whole(vit_parameters(*case), where)
        if found == expected:
            continue
        short = expected - found
        message = f"{where} you get {found:,}, expected {expected:,}: {abs(short):,} too "
        message += "few." if short > 0 else "many."
        same = [name for name, count in parts.items() if count == short]
        twice = [name for name, count in parts.items() if count == -short]
        asked = [q for q, n in _questions(parts, image, patch, L, r).items() if n == short]
        if same:
            message += f"\n      That is the size of {', or of '.join(same)}."
        if asked:
            message += "\n      " + "\n      Or: ".join(asked)
        if twice and not asked:
            message += f"\n      Did you count twice: {', or '.join(twice)}?"
        raise Wrong(message)


def _number(answer: Any, where: str) -> float:
    """The answer as a number, if it is one."""
    if answer is None:
        raise Wrong(f"{where} got None: did you forget `return`?")
    if isinstance(answer, Tensor) and answer.dim() == 0:
        answer = answer.item()
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise Wrong(f"{where} expected a number, got {answer!r:.60}")
    return answer


def _whole(answer: Any, where: str) -> int:
    """The answer, if it is an int and not only worth one."""
    if answer is not None and type(answer) is not int:
        kind = "a tensor: count with plain numbers" if isinstance(answer, Tensor) else type(answer).__name__
        kind += ": // divides to an int, / never does" if isinstance(answer, float) else ""
        raise Wrong(f"{where} expected an int, got {kind}")
    return int(_number(answer, where))


# 03.4

LAYERS = ((10, 6, 3), (197, 192, 4), (256, 64, 2))
NAMES = ("the MACs of the linear layers", "the MACs of the N × N products", "the crossing")
Count = Callable[[int, int, int], float]
MACS_MISTAKES: tuple[dict[str, Count], ...] = (
    {
        "Did you forget the linear layer behind attention, D → D?": lambda N, D, r: (3 + 2 * r) * N * D**2,
        "Did you count q, k and v once? They are three products.": lambda N, D, r: (2 + 2 * r) * N * D**2,
        "Did you count one of the MLP's two layers?": lambda N, D, r: (4 + r) * N * D**2,
        "Did you forget the MLP?": lambda N, D, r: 4 * N * D**2,
        "Did you forget attention's own linear layers?": lambda N, D, r: 2 * r * N * D**2,
        "Did you count one token instead of N?": lambda N, D, r: (4 + 2 * r) * D**2,
        "Did you swap N and D? A linear layer costs D² per token.": lambda N, D, r: (4 + 2 * r) * N**2 * D,
        "Did you add the N × N products? They are the second number.": lambda N, D, r: (
            (4 + 2 * r) * N * D**2 + 2 * N**2 * D
        ),
        "Did you take r = 4 for granted?": lambda N, D, r: 12 * N * D**2,
        "Did you add a class token? N counts all tokens.": lambda N, D, r: (4 + 2 * r) * (N + 1) * D**2,
        "Did you count multiplications and additions apart? One MAC is both.": lambda N, D, r: (
            2 * (4 + 2 * r) * N * D**2
        ),
        "Is that the N × N products' cost? The linear layers come first.": lambda N, D, r: 2 * N**2 * D,
        "Did you count the biases? An addition alone is no MAC.": lambda N, D, r: (
            (4 + 2 * r) * N * D**2 + (5 + r) * N * D
        ),
    },
    {
        "Did you count one of the two products? QKᵀ costs N²·D, and A·V as much.": lambda N, D, r: N**2 * D,
        "Did you forget D? Each of the N × N scores is a product of D numbers.": lambda N, D, r: 2 * N**2,
        "Did you swap N and D?": lambda N, D, r: 2 * N * D**2,
        "Did you add a class token? N counts all tokens.": lambda N, D, r: 2 * (N + 1) ** 2 * D,
        "Did you count multiplications and additions apart? One MAC is both.": lambda N, D, r: 4 * N**2 * D,
        "Did you count three products? The third, with W_o, is a linear layer.": lambda N, D, r: 3 * N**2 * D,
    },
    {
        "Did you count one of the two N × N products?": lambda N, D, r: (4 + 2 * r) * D,
        "Did you take r = 4 for granted?": lambda N, D, r: 6 * D,
        "Did you take r = 2 for granted?": lambda N, D, r: 4 * D,
        "Did you leave N in it? Divide both sides by N too.": lambda N, D, r: (2 + r) * N * D,
        "Did you forget D? Wide tokens make the linear layers dear.": lambda N, D, r: 2 + r,
        "Did you forget the MLP?": lambda N, D, r: 2 * D,
        "Did you give back a ratio? Asked for is the N at which both are equal.": lambda N, D, r: (
            (2 + r) * D / N
        ),
        "Did you divide D by (2 + r)? Write both sides down once more.": lambda N, D, r: D / (2 + r),
    },
)


def check_layer_macs(layer_macs: Callable) -> None:
    """Three numbers, one after the other."""
    for N, D, r in LAYERS:
        where = f"for N = {N}, D = {D}, r = {r}:"
        answer = layer_macs(N, D, r)
        if answer is None:
            raise Wrong(f"{where} got None: did you forget `return`?")
        if not isinstance(answer, tuple | list) or len(answer) != 3:
            raise Wrong(f"{where} expected three numbers, (linear, products, crossing), got {answer!r:.60}")
        expected = (sum([3 * D, D, r * D, r * D]) * N * D, N * N * (D + D), D + D + r * D)
        for name, found, right, mistakes in zip(NAMES, answer, expected, MACS_MISTAKES, strict=True):
            number = _number(found, f"{where} {name}:")
            if number != right:
                asked = [q for q, mistake in mistakes.items() if mistake(N, D, r) == number]
                lines = "".join(f"\n      {question}" for question in asked[:1])
                raise Wrong(f"{where} {name}: you get {number:,}, expected {right:,}.{lines}")


# 03.5


def _along(maps: Tensor, dim: int, new: int) -> Tensor:
    """One axis resampled: a weighted mean of the two old centres around each new one."""
    old = maps.shape[dim]
    at = ((torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5).clamp(0, old - 1)
    low = at.floor().long()
    high = (low + 1).clamp(max=old - 1)
    share = (at - low).to(maps.dtype).reshape([-1 if d == dim else 1 for d in range(maps.dim())])
    return maps.index_select(dim, low) * (1 - share) + maps.index_select(dim, high) * share


def _resized(positions: Tensor, old: Pair, new: Pair) -> Tensor:
    maps = positions[0, 1:].reshape(*old, -1)  # [nH, nW, D]
    maps = _along(_along(maps, 0, new[0]), 1, new[1])
    return torch.cat([positions[0, :1], maps.flatten(0, 1)])[None]


def _interpolated(positions: Tensor, old: Pair, new: Pair, **options: Any) -> Tensor:
    maps = positions[:, 1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    maps = torch.nn.functional.interpolate(maps, size=new, **options)
    return torch.cat([positions[:, :1], maps.flatten(2).mT], dim=1)


def _by_reshape(positions: Tensor, old: Pair, new: Pair) -> Tensor:
    maps = positions[:, 1:].reshape(1, -1, *old)
    maps = torch.nn.functional.interpolate(maps, size=new, mode="bilinear")
    return torch.cat([positions[:, :1], maps.reshape(1, new[0] * new[1], -1)], dim=1)


def _reshaped_on_the_way_in(positions: Tensor, old: Pair, new: Pair) -> Tensor:
    maps = positions[:, 1:].reshape(1, -1, *old)
    maps = torch.nn.functional.interpolate(maps, size=new, mode="bilinear")
    return torch.cat([positions[:, :1], maps.flatten(2).mT], dim=1)


def _turned(positions: Tensor, old: Pair, new: Pair) -> Tensor:
    rest = _resized(positions, old, new[::-1])[:, 1:]
    rest = rest.unflatten(1, new[::-1]).transpose(1, 2).flatten(1, 2)
    return torch.cat([positions[:, :1], rest], dim=1)


def _forgets_to_turn_back(positions: Tensor, old: Pair, new: Pair) -> Tensor:
    right = _resized(positions, old, new)
    return torch.cat([right[:, :1], right[:, 1:].mT.reshape(right[:, 1:].shape)], dim=1)


def _as_a_line(positions: Tensor, old: Pair, new: Pair) -> Tensor:
    rest = _along(positions[:, 1:], 1, new[0] * new[1])
    return torch.cat([positions[:, :1], rest], dim=1)


POSITION_SUSPECTS = {
    "Did you reshape to [1, D, nH, nW]? That cuts through the vectors: reshape to [1, nH, nW, D], then "
    "permute.": _reshaped_on_the_way_in,
    "Did you reshape to [1, D, nH, nW] and back? That cuts through the vectors: permute, both "
    "times.": _by_reshape,
    "Did you reshape back without moving D to the end first?": _forgets_to_turn_back,
    "Did you stretch the sequence of tokens? Neighbours above and below are lost: make it a grid first.": (
        _as_a_line
    ),
    "Did you stretch the class token's position along with the others? It is kept as it "
    "is.": lambda p, old, new: _along(p, 1, 1 + new[0] * new[1]),
    "Is that nearest-neighbour? interpolate's default mode is 'nearest': say mode='bilinear'.": (
        lambda p, old, new: _interpolated(p, old, new)
    ),
    "Did you set align_corners=True? Patches have centres, and an edge half a patch outside: leave it "
    "False.": lambda p, old, new: _interpolated(p, old, new, mode="bilinear", align_corners=True),
    "Is that bicubic? Asked for is mode='bilinear'.": lambda p, old, new: _interpolated(
        p, old, new, mode="bicubic"
    ),
    "Did you swap nH and nW of the old grid? N was counted row by row.": lambda p, old, new: _resized(
        p, old[::-1], new
    ),
    "Did you turn the old grid? interpolate wants rows before columns, [1, D, nH, nW].": _turned,
    "Did you swap nH' and nW' of the new grid? Its rows come first: size=new.": lambda p, old, new: _resized(
        p, old, new[::-1]
    ),
    "Is the class token's position at the end? It stays in front.": lambda p, old, new: _resized(
        p, old, new
    ).roll(-1, 1),
    "Did you set the class token's position to zero?": lambda p, old, new: torch.cat(
        [torch.zeros_like(p[:, :1]), _resized(p, old, new)[:, 1:]], dim=1
    ),
}


def check_resize_positions(resize_positions: Callable) -> None:
    """An equal grid changes nothing; then larger and smaller ones."""
    grids = (((3, 4), (6, 8)), ((3, 5), (4, 2)), ((2, 2), (3, 5)), ((4, 4), (8, 2)))
    for old, new in grids:
        positions = numbered(1, 1 + old[0] * old[1], 6)  # D is none of the sides
        where = f"from a grid {old} to {new}, positions {list(positions.shape)} counted from 0:"
        agrees(resize_positions, _resized, positions, old, new,
               where=where, tol=1e-3, suspects=POSITION_SUSPECTS)  # fmt: skip
    moves_like(resize_positions, _resized, (1, 13, 4), (3, 4), (3, 4), suspects=POSITION_SUSPECTS)
    positions = normal(1, 13, 4)
    agrees(resize_positions, _resized, positions, (3, 4), (5, 7), suspects=POSITION_SUSPECTS)
    leaves_alone(resize_positions, positions, (3, 4), (5, 7))
    keeps_dtype(resize_positions, positions, (3, 4), (5, 7))
    lets_gradient_flow(resize_positions, positions, (3, 4), (5, 7))


OTHER_COUNT = "the numbers of a reshape must multiply to the count of numbers that are there:"
PAIRS = "image_size and patch_size are pairs, (rows, columns): take them apart first."

EXERCISES = {
    "03.3": Exercise(
        checker=check_vit_parameters,
        notice="The number of heads does not appear: it only says how the D numbers are shared out.",
        hints=(
            "Go along the forward pass and write down what each part owns: projection, class token,\n"
            "positions, L equal layers, the last LayerNorm, the classifier. Add them up at the end.",
            "A linear layer a → b owns a·b + b. A LayerNorm owns 2·D. A layer: D → 3D for q, k, v; D → D;\n"
            "the MLP D → r·D → D; two LayerNorms. There are 1 + N positions.",
            "(H, W), (ph, pw) = image_size, patch_size\nN = ...\nprojection = ... * D + D\n"
            "layer = (D * 3 * D + 3 * D) + (...) + (...) + (...) + 2 * 2 * D\n"
            "return projection + D + (1 + N) * D + L * layer + ... + ...",
        ),
        solution=("s03_vit.py", "vit_parameters"),
        symptoms={
            "can't multiply sequence": PAIRS,
            "unsupported operand type(s) for //": PAIRS,
        },
        forbidden=("mvit_lib",),
    ),
    "03.4": Exercise(
        checker=check_layer_macs,
        notice="The crossing is N = (2 + r)·D: 6·D in a ViT, 4·D in MobileViT, whose MLP is half as wide.",
        hints=(
            "A linear layer a → b costs a·b MACs per token. List the four of a layer: q, k, v together,\n"
            "the one behind attention, and two of the MLP.",
            "A product [N, D] @ [D, N] makes N² numbers with D MACs each. A product [N, N] @ [N, D] makes\n"
            "N·D numbers with N MACs each. For the crossing set linear = products and solve for N.",
            "linear = (... + ... * r) * N * D**2\nproducts = ... * N**2 * D\n"
            "return linear, products, (...) * D",
        ),
        solution=("s03_vit.py", "layer_macs"),
        forbidden=("mvit_lib",),
    ),
    "03.5": Exercise(
        checker=check_resize_positions,
        notice="The vectors between two old places are mixtures of theirs: learned once, used on any grid.",
        hints=(
            "Take the class token's position off, make a map of the rest, resize the map, undo the steps.\n"
            "N holds two axes, nH and nW: the map needs them apart.",
            "F.interpolate wants [1, D, nH, nW]: reshape to [1, nH, nW, D] first, then permute. It takes\n"
            "size=new and mode='bilinear'. Afterwards .flatten(2).transpose(1, 2) gives [1, N, D].",
            "first, rest = positions[:, :1], positions[:, 1:]\n"
            "maps = rest.reshape(1, ..., ..., -1).permute(...)  # [1, D, nH, nW]\n"
            "maps = F.interpolate(maps, size=new, mode=...)\n"
            "rest = maps.flatten(2)...                          # [1, N, D]\nreturn torch.cat([...], dim=1)",
        ),
        solution=("s03_vit.py", "resize_positions"),
        symptoms={
            "same number of spatial dimensions": "interpolate counts two axes in front, batch and channels, "
            "and resizes the others. Give it a map [1, D, nH, nW].",
            "is invalid for input of size": f"{OTHER_COUNT} did you take the class token off first?",
            "Sizes of tensors must match": "cat puts tokens behind each other; both parts need D as last "
            "axis. Did you permute to [1, D, nH, nW] before interpolate, and move D back after it?",
            "same number of dimensions": "both parts of the cat must be [1, tokens, D]. positions[:, :1] "
            "keeps the axis of the tokens, positions[:, 0] does not; a map has one axis too many.",
        },
        forbidden=("mvit_lib",),
    ),
}
