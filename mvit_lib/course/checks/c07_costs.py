"""The checkers of 07.2 to 07.4: parameters and MACs by formula; a wrong count is traced to its mistake."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mvit_lib.course.counts import Count, counts_like
from mvit_lib.course.engine import Exercise
from mvit_lib.mobilevit import XS, XXS, MobileViTConfig, S

# 07.2


def _inverted_residual(i: int, o: int, t: int) -> int:
    h = t * i
    return (i * h + 2 * h) + (9 * h + 2 * h) + (h * o + 2 * o)


def _with(change: Callable[[int, int, int], float]) -> Count:
    """The right count plus a change that is told of C_in, C_out and h."""
    return lambda i, o, t: _inverted_residual(i, o, t) + change(i, o, t * i)


INVERTED_MISTAKES = {
    "Did you leave out the BatchNorms? Each owns two numbers per channel.": _with(
        lambda i, o, h: -(4 * h + 2 * o)
    ),
    "Has a BatchNorm one number per channel? It has two: a factor γ and a shift β.": _with(
        lambda i, o, h: -(2 * h + o)
    ),
    "Did you count the running mean and variance? They are buffers: no gradient changes them.": _with(
        lambda i, o, h: 4 * h + 2 * o
    ),
    "Did you forget the BatchNorm behind the last convolution?": _with(lambda i, o, h: -2 * o),
    "Did you forget the BatchNorm behind the depthwise convolution?": _with(lambda i, o, h: -2 * h),
    "Did you give the first BatchNorm C_in channels? It stands behind the convolution: C_mid.": _with(
        lambda i, o, h: 2 * i - 2 * h
    ),
    "Did you give the last BatchNorm C_mid channels? It stands behind the convolution: C_out.": _with(
        lambda i, o, h: 2 * h - 2 * o
    ),
    "Does every channel of the depthwise convolution read all C_mid? Each reads only its own.": _with(
        lambda i, o, h: 9 * h * h - 9 * h
    ),
    "Did you forget the depthwise convolution?": _with(lambda i, o, h: -9 * h),
    "Did you forget the depthwise convolution and its BatchNorm?": _with(lambda i, o, h: -11 * h),
    "Is the depthwise kernel 1 × 1? It is 3 × 3.": _with(lambda i, o, h: -8 * h),
    "Has the depthwise kernel 3 weights? 3 × 3 are nine.": _with(lambda i, o, h: -6 * h),
    "Did you forget `expand`?": _with(lambda i, o, h: -i * h),
    "Did you forget `expand` and its BatchNorm?": _with(lambda i, o, h: -(i + 2) * h),
    "Did you forget `project`?": _with(lambda i, o, h: -o * h),
    "Did you forget `project` and its BatchNorm?": _with(lambda i, o, h: -(o * h + 2 * o)),
    "Have the convolutions biases? They have none: the BatchNorm behind each has a β.": _with(
        lambda i, o, h: 2 * h + o
    ),
    "Did you take C_mid = t·C_out? An MV2 expands what comes in: C_mid = t·C_in.": lambda i, o, t: (
        i * t * o + 13 * t * o + t * o * o + 2 * o
    ),
    "Did you leave out t? An MV2 works on C_mid = t·C_in channels.": lambda i, o, t: _inverted_residual(
        i, o, 1
    ),
    "Did you take t = 4 for granted?": lambda i, o, t: _inverted_residual(i, o, 4),
    "Are the 1 × 1 convolutions 3 × 3? Only the one in the middle is.": _with(
        lambda i, o, h: 8 * i * h + 8 * h * o
    ),
}


def check_inverted_residual(inverted_residual_parameters: Callable) -> None:
    """Wider, narrower, equal."""
    cases = {
        f"C_in = {i}, C_out = {o}, t = {t}": (i, o, t) for i, o, t in ((8, 40, 3), (32, 16, 2), (48, 48, 4))
    }
    counts_like(inverted_residual_parameters, _inverted_residual, cases, INVERTED_MISTAKES)


# 07.3


def _block(C: int, D: int, L: int) -> int:
    local = 9 * C * C + 2 * C + C * D
    transformer = L * (8 * D * D + 11 * D) + 2 * D
    return local + transformer + (D * C + 2 * C) + (18 * C * C + 2 * C)


def _block_with(change: Callable[[int, int, int], float]) -> Count:
    return lambda C, D, L: _block(C, D, L) + change(C, D, L)


BLOCK_MISTAKES = {
    "Did you count one transformer layer instead of L?": _block_with(
        lambda C, D, L: (1 - L) * (8 * D * D + 11 * D)
    ),
    "Did you give each of the P places a transformer of its own? All four share one.": _block_with(
        lambda C, D, L: 3 * L * (8 * D * D + 11 * D)
    ),
    "Did you give each of the P places a transformer and a LayerNorm? All four share one.": _block_with(
        lambda C, D, L: 3 * (L * (8 * D * D + 11 * D) + 2 * D)
    ),
    "Does the fusion read C channels? It reads x and y side by side: 2C.": _block_with(
        lambda C, D, L: -9 * C * C
    ),
    "Does the fusion write 2C channels? It writes C, or the next stage could not read it.": _block_with(
        lambda C, D, L: 18 * C * C + 2 * C
    ),
    "Did you forget the LayerNorm behind the transformer?": _block_with(lambda C, D, L: -2 * D),
    "Did you count the last LayerNorm in every layer? It stands once, behind all L.": _block_with(
        lambda C, D, L: 2 * D * (L - 1)
    ),
    "Has the convolution C → D a BatchNorm? It stands bare: no BatchNorm, no bias.": _block_with(
        lambda C, D, L: 2 * D
    ),
    "Has the convolution C → D a bias? It stands bare: no BatchNorm, no bias.": _block_with(
        lambda C, D, L: D
    ),
    "Did you forget the convolution C → D?": _block_with(lambda C, D, L: -C * D),
    "Did you forget the convolution D → C?": _block_with(lambda C, D, L: -C * D - 2 * C),
    "Did you forget one of the BatchNorms? Three convolutions have one, of 2C numbers each.": _block_with(
        lambda C, D, L: -2 * C
    ),
    "Did you forget the BatchNorms? Three convolutions have one, of 2C numbers each.": _block_with(
        lambda C, D, L: -6 * C
    ),
    "Is that a layer with MLP ratio 4? MobileViT's is 2.": _block_with(
        lambda C, D, L: L * (4 * D * D + 2 * D)
    ),
    "Did you leave out the biases of the linear layers? All four have one.": _block_with(
        lambda C, D, L: -7 * L * D
    ),
    "Did you leave out the two LayerNorms of each layer? 8D² + 11D has them.": _block_with(
        lambda C, D, L: -4 * L * D
    ),
    "Did you leave out a layer's 11D, its biases and its two LayerNorms?": _block_with(
        lambda C, D, L: -11 * L * D
    ),
    "Did you forget the transformer's layers?": _block_with(lambda C, D, L: -L * (8 * D * D + 11 * D)),
    "Is the first convolution depthwise? Here every output channel reads all C.": _block_with(
        lambda C, D, L: 9 * C - 9 * C * C
    ),
    "Did you forget the first 3 × 3 convolution?": _block_with(lambda C, D, L: -9 * C * C - 2 * C),
    "Did you forget the fusion?": _block_with(lambda C, D, L: -18 * C * C - 2 * C),
    "Does the first convolution go from C to D? It stays at C; the 1 × 1 behind it goes to D.": _block_with(
        lambda C, D, L: 9 * C * D + 2 * D - 9 * C * C - 2 * C
    ),
    "Are the fusion's kernels 1 × 1? They are 3 × 3.": _block_with(lambda C, D, L: -16 * C * C),
}


def check_block(block_parameters: Callable) -> None:
    """A small block with unlike numbers; then the first block of XXS and the last of S."""
    cases = {f"C = {C}, D = {D}, L = {L}": (C, D, L) for C, D, L in ((10, 28, 5), (48, 64, 2), (160, 240, 3))}
    counts_like(block_parameters, _block, cases, BLOCK_MISTAKES)


# 07.4


def _up(a: int, b: int) -> int:
    return -(-a // b)


def _attention(
    config: MobileViTConfig,
    H: int,
    W: int,
    one: Count = lambda N, P, D: 2 * P * N * N * D,
    shrink: Count = _up,
    tile: Count = _up,
    strides: Sequence[int] = (8, 16, 32),
    depths: Sequence[int] | None = None,
    patch: Callable[[tuple[int, int]], tuple[int, int]] = lambda patch: patch,
    patches: Count | None = None,
) -> int:
    total = 0
    for i, stride in enumerate(strides):
        ph, pw = patch(config.patch_sizes[i])
        height, width = shrink(H, stride), shrink(W, stride)
        N = patches(height, width, ph * pw) if patches else tile(height, ph) * tile(width, pw)
        total += (depths or config.depths)[i] * one(N, ph * pw, config.dims[i])
    return total


def _doing(**mistake: Any) -> Count:
    return lambda config, H, W: _attention(config, H, W, **mistake)


def _carried(config: MobileViTConfig, H: int, W: int) -> int:
    """The count in which every block hands on its stretched map."""
    total, size = 0, [_up(H, 4), _up(W, 4)]
    for D, L, patch in zip(config.dims, config.depths, config.patch_sizes, strict=True):
        size = [_up(_up(side, 2), p) * p for side, p in zip(size, patch, strict=True)]
        P, pixels = patch[0] * patch[1], size[0] * size[1]
        total += L * 2 * pixels * (pixels // P) * D
    return total


ATTENTION_MISTAKES = {
    "Did you forget P? Each of the P places in a patch has its own N × N products.": _doing(
        one=lambda N, P, D: 2 * N * N * D
    ),
    "Did you multiply by the heads? h heads of width D/h cost as much as one of width D.": _doing(
        one=lambda N, P, D: 8 * P * N * N * D
    ),
    "Did you let all pixels attend to all? A token meets the N tokens of its own place.": _doing(
        one=lambda N, P, D: 2 * (N * P) ** 2 * D
    ),
    "Did you count one of the two products? QKᵀ costs N²·D, and A·V as much.": _doing(
        one=lambda N, P, D: P * N * N * D
    ),
    "Did you swap N and P? Tokens of one place attend to each other, not the pixels of one patch.": _doing(
        one=lambda N, P, D: 2 * N * P * P * D
    ),
    "Did you take N·D² for a product? That is a linear layer; the scores are N × N, of D MACs each.": _doing(
        one=lambda N, P, D: 2 * P * N * D * D
    ),
    "Did you forget D? Each of the N × N scores is a product of D numbers.": _doing(
        one=lambda N, P, D: 2 * P * N * N
    ),
    "Did you add the linear layers, 8·D² a token? Asked for are the two products alone.": _doing(
        one=lambda N, P, D: 2 * P * N * N * D + 8 * P * N * D * D
    ),
    "Did you count multiplications and additions apart? One MAC is both.": _doing(
        one=lambda N, P, D: 4 * P * N * N * D
    ),
    "Did you count one layer per stage? A block has L of them, config.depths.": _doing(depths=(1, 1, 1)),
    "Did you take the first stage three times? Each stage has its own stride.": _doing(strides=(8, 8, 8)),
    "Are these strides 4, 8 and 16? The maps with a block have strides 8, 16 and 32.": _doing(
        strides=(4, 8, 16)
    ),
    "Did you round the number of patches down? A map that the patches do not tile is stretched, to the "
    "next size they do.": _doing(tile=lambda a, b: a // b),
    "Did you round the map's sides down? A stride rounds up: 150 pixels at stride 8 are 19.": _doing(
        shrink=lambda a, b: a // b
    ),
    "Did you swap ph and pw, or H and W? Rows, from H, divide by ph; columns, from W, by pw.": _doing(
        patch=lambda patch: patch[::-1]
    ),
    "Did you carry the stretched map on to the next stage? A block gives it back at its own "
    "size.": lambda config, H, W: _carried(config, H, W),
    "Is N = HW/P also where the patches do not tile? There the map is stretched: round both sides "
    "up.": _doing(patches=lambda h, w, P: h * w // P),
    "Did you round HW/P up as a whole? Rows and columns are stretched each: round up before you "
    "multiply.": _doing(patches=lambda h, w, P: _up(h * w, P)),
    "Did you take P = 4 for granted, with the right N? There are P = ph·pw places.": _doing(
        one=lambda N, P, D: 8 * N * N * D
    ),
    "Are these strides 16, 32 and 64? The maps with a block have strides 8, 16 and 32.": _doing(
        strides=(16, 32, 64)
    ),
    "Did you take P = 4 for granted? config.patch_sizes says what each stage has.": _doing(
        patch=lambda patch: (2, 2)
    ),
    "Did you use H twice? The image need not be square.": lambda config, H, W: _attention(config, H, H),
    "Did you use W twice? The image need not be square.": lambda config, H, W: _attention(config, W, W),
    "Did you count without the blocks' own maps? The image shrinks by 8, 16 and 32 before them.": _doing(
        strides=(1, 1, 1)
    ),
}


def check_attention_macs(attention_macs: Callable) -> None:
    """Square and tiled; not square; not tiled, with patches that differ from stage to stage at last."""
    mixed = replace(XS, patch_sizes=((8, 4), (4, 2), (1, 2)))
    cases = {
        "XXS at 256 × 256": (XXS, 256, 256),
        "S at 128 × 320": (S, 128, 320),
        "XXS at 224 × 224": (XXS, 224, 224),
        "XS at 150 × 260": (XS, 150, 260),
        "XS with patches 8 × 4, 4 × 2 and 1 × 2 at 256 × 384": (mixed, 256, 384),
        "XS with patches 8 × 4, 4 × 2 and 1 × 2 at 150 × 260": (mixed, 150, 260),
    }

    def on_a_copy(config: MobileViTConfig, H: int, W: int) -> int:
        return attention_macs(replace(config), H, W)  # whatever happens to it, ours stays

    counts_like(on_a_copy, _attention, cases, ATTENTION_MISTAKES)


EXERCISES = {
    "07.2": Exercise(
        checker=check_inverted_residual,
        notice="The 3 × 3 kernels own 9·C_mid, few beside the C_mid·(C_in + C_out) of the two 1 × 1.",
        hints=(
            "Three convolutions, each with its own BatchNorm, no biases. Write down for each how many\n"
            "channels come in, how many go out, and how many weights lie between.",
            "expand: C_in → C_mid by 1 × 1. depthwise: C_mid → C_mid by 3 × 3, one kernel per channel.\n"
            "project: C_mid → C_out by 1 × 1. A BatchNorm owns two numbers per channel that it gets.",
            "C_mid = t * C_in\nexpand = ... + 2 * C_mid\ndepthwise = ... + 2 * C_mid\n"
            "project = ... + ...\nreturn expand + depthwise + project",
        ),
        solution=("s07_the_whole_network.py", "inverted_residual_parameters"),
        forbidden=("mvit_lib", "numel", "parameters"),
    ),
    "07.3": Exercise(
        checker=check_block,
        notice="P is not in it: the places share one transformer. Patches change what a block costs, not "
        "what it owns.",
        hints=(
            "Six parts, in forward order: 3 × 3, C → D, the L layers, LayerNorm, D → C, fusion. For each:\n"
            "how many weights, and has it a BatchNorm?",
            "A 3 × 3 convolution from a to b channels owns 9·a·b. The fusion reads x and y, so a = 2C.\n"
            "BatchNorms (2C each) stand behind the two 3 × 3 and behind D → C, none behind C → D.",
            "local = ... + 2 * C + C * D\ntransformer = L * (...) + 2 * D\nproject = D * C + ...\n"
            "fusion = 9 * ... * C + 2 * C\nreturn local + transformer + project + fusion",
        ),
        solution=("s07_the_whole_network.py", "block_parameters"),
        forbidden=("mvit_lib", "numel", "parameters"),
    ),
    "07.4": Exercise(
        checker=check_attention_macs,
        notice="layer_3 does most of it: one stage later P·N² is a sixteenth, and D hardly larger.",
        hints=(
            "For each of the three stages: how large is the map, how many patches N has it, what do the two\n"
            "products of one layer cost, and how many layers are there?",
            "The map is ⌈H/stride⌉ × ⌈W/stride⌉. N = ⌈rows/ph⌉·⌈columns/pw⌉. A layer: 2·P·N²·D. In Python\n"
            "-(-a // b) is a/b rounded up.",
            "total = 0\nfor stride, D, L, (ph, pw) in zip((8, ..., ...), config.dims, ..., ...):\n"
            "    rows, columns = -(-H // stride), ...\n    N = -(-rows // ph) * ...\n"
            "    total += L * ...\nreturn total",
        ),
        solution=("s07_the_whole_network.py", "attention_macs"),
        symptoms={
            "'MobileViTConfig' object is not subscriptable": "a configuration is read by its fields: "
            "config.dims[0], not config[0].",
            "has no attribute": "the fields are channels, dims, depths and patch_sizes.",
            "not enough values to unpack": "zip over the fields of the configuration goes stage by stage.",
            "unsupported operand type(s) for": "dims, depths and patch_sizes are tuples of three: take the "
            "entry of the stage; a patch is a pair (ph, pw).",
        },
        forbidden=("count_macs", "macs_by_module", "mobilevit_cost", "mobilevit_block_cost",
                   "mobilevit_attention_macs", "vit_attention_macs"),
    ),
}  # fmt: skip
