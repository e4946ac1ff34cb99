"""Plausible wrong answers to 07.2, 07.3 and 07.4, each with the message that must refuse it."""

import torch

from mvit_lib.cost import mobilevit_attention_macs

# 07.2


def no_norms(i, o, t):
    h = t * i
    return i * h + 9 * h + h * o


def one_number_per_norm(i, o, t):
    h = t * i
    return i * h + h + 9 * h + h + h * o + o


def buffers_counted(i, o, t):
    h = t * i
    return i * h + 4 * h + 9 * h + 4 * h + h * o + 4 * o


def full_convolution(i, o, t):
    h = t * i
    return i * h + 2 * h + 9 * h * h + 2 * h + h * o + 2 * o


def widens_the_output(i, o, t):
    h = t * o
    return i * h + 2 * h + 9 * h + 2 * h + h * o + 2 * o


def one_by_one_in_the_middle(i, o, t):
    h = t * i
    return i * h + 2 * h + h + 2 * h + h * o + 2 * o


def biases(i, o, t):
    h = t * i
    return i * h + 3 * h + 10 * h + 2 * h + h * o + 3 * o


def last_norm_forgotten(i, o, t):
    h = t * i
    return i * h + 2 * h + 9 * h + 2 * h + h * o


def no_widening(i, o, t):
    h = t * i
    return 9 * h + 2 * h + h * o + 2 * o


def four_always(i, o, t):
    return i * 4 * i + 8 * i + 36 * i + 8 * i + 4 * i * o + 2 * o


def half_a_number(i, o, t):
    h = t * i
    return (2 * i * h + 26 * h + 2 * h * o + 4 * o) / 2


def counts_a_module(i, o, t):
    from mvit_lib.layers import InvertedResidual

    return sum(p.numel() for p in InvertedResidual(i, o, expansion=t).parameters())


def returns_nothing(i, o, t):
    t * i  # and then nothing


# 07.3


def _block(C, D, L, *, fusion=18, layer=None, extra=0):
    layer = 8 * D * D + 11 * D if layer is None else layer
    return 9 * C * C + 2 * C + C * D + L * layer + 2 * D + D * C + 2 * C + fusion * C * C + 2 * C + extra


def one_layer(C, D, L):
    return _block(C, D, 1)


def a_transformer_per_place(C, D, L):
    return _block(C, D, 4 * L)


def thin_fusion(C, D, L):
    return _block(C, D, L, fusion=9)


def wide_fusion(C, D, L):
    return _block(C, D, L, fusion=36, extra=2 * C)


def no_last_norm(C, D, L):
    return _block(C, D, L, extra=-2 * D)


def norm_behind_the_projection(C, D, L):
    return _block(C, D, L, extra=2 * D)


def ratio_four(C, D, L):
    return _block(C, D, L, layer=12 * D * D + 13 * D)


def layers_without_biases(C, D, L):
    return _block(C, D, L, layer=8 * D * D + 4 * D)


def layers_without_norms(C, D, L):
    return _block(C, D, L, layer=8 * D * D + 7 * D)


def layers_of_weights_alone(C, D, L):
    return _block(C, D, L, layer=8 * D * D)


def depthwise_local(C, D, L):
    return _block(C, D, L, extra=9 * C - 9 * C * C)


def no_batch_norms(C, D, L):
    return _block(C, D, L, extra=-6 * C)


def no_fusion(C, D, L):
    return _block(C, D, L, fusion=0, extra=-2 * C)


def a_tensor(C, D, L):
    return torch.tensor(_block(C, D, L))


def counts_a_block(C, D, L):
    from mvit_lib import MobileViTBlock

    return sum(p.numel() for p in MobileViTBlock(C, D, L).parameters())


# 07.4


def _macs(config, H, W, one, divide=lambda a, b: -(-a // b), layers=True, square=False):
    total = 0
    for stride, D, L, (ph, pw) in zip(
        (8, 16, 32), config.dims, config.depths, config.patch_sizes, strict=True
    ):
        rows, columns = divide(H, stride), divide(H if square else W, stride)
        N = divide(rows, ph) * divide(columns, pw)
        total += (L if layers else 1) * one(N, ph * pw, D)
    return total


def forgets_the_places(config, H, W):
    return _macs(config, H, W, lambda N, P, D: 2 * N * N * D)


def all_pixels(config, H, W):
    return _macs(config, H, W, lambda N, P, D: 2 * (N * P) ** 2 * D)


def one_product(config, H, W):
    return _macs(config, H, W, lambda N, P, D: P * N * N * D)


def inside_the_patch(config, H, W):
    return _macs(config, H, W, lambda N, P, D: 2 * N * P * P * D)


def linear_in_n(config, H, W):
    return _macs(config, H, W, lambda N, P, D: 2 * P * N * D * D)


def no_width(config, H, W):
    return _macs(config, H, W, lambda N, P, D: 2 * P * N * N)


def one_layer_each(config, H, W):
    return _macs(config, H, W, lambda N, P, D: 2 * P * N * N * D, layers=False)


def rounds_the_stride_down(config, H, W):
    return _sides(config, H, W, lambda H, W, stride: (H // stride, W // stride))


def _sides(config, H, W, size, turn=1):
    total = 0
    for stride, D, L, patch in zip((8, 16, 32), config.dims, config.depths, config.patch_sizes, strict=True):
        (rows, columns), (ph, pw) = size(H, W, stride), patch[::turn]
        N = -(-rows // ph) * -(-columns // pw)
        total += L * 2 * ph * pw * N * N * D
    return total


def patch_turned(config, H, W):
    return _sides(config, H, W, lambda H, W, stride: (-(-H // stride), -(-W // stride)), turn=-1)


def carries_the_stretched_map_on(config, H, W):
    total, rows, columns = 0, -(-H // 4), -(-W // 4)
    for D, L, (ph, pw) in zip(config.dims, config.depths, config.patch_sizes, strict=True):
        rows, columns = -(-rows // 2), -(-columns // 2)
        rows, columns = -(-rows // ph) * ph, -(-columns // pw) * pw
        N = rows // ph * (columns // pw)
        total += L * 2 * ph * pw * N * N * D
    return total


def rounds_down(config, H, W):
    return _macs(config, H, W, lambda N, P, D: 2 * P * N * N * D, divide=lambda a, b: a // b)


def square_only(config, H, W):
    return _macs(config, H, W, lambda N, P, D: 2 * P * N * N * D, square=True)


def does_not_stretch(config, H, W):
    total = 0
    for stride, D, L, (ph, pw) in zip(
        (8, 16, 32), config.dims, config.depths, config.patch_sizes, strict=True
    ):
        N = -(-H // stride) * -(-W // stride) // (ph * pw)
        total += L * 2 * ph * pw * N * N * D
    return total


def four_places_always(config, H, W):
    total = 0
    for stride, D, L in zip((8, 16, 32), config.dims, config.depths, strict=True):
        N = -(-H // stride // 2) * -(-W // stride // 2)
        total += L * 8 * N * N * D
    return total


def rounds_the_product_up(config, H, W):
    total = 0
    for stride, D, L, (ph, pw) in zip(
        (8, 16, 32), config.dims, config.depths, config.patch_sizes, strict=True
    ):
        N = -(-(-(-H // stride) * -(-W // stride)) // (ph * pw))
        total += L * 2 * ph * pw * N * N * D
    return total


def four_places_and_the_right_n(config, H, W):
    return _macs(config, H, W, lambda N, P, D: 8 * N * N * D)


def strides_doubled(config, H, W):
    return _sides(config, H, W, lambda H, W, stride: (-(-H // (2 * stride)), -(-W // (2 * stride))))


def sides_swapped(config, H, W):
    return _macs(config, W, H, lambda N, P, D: 2 * P * N * N * D)


def changes_the_configuration(config, H, W):
    object.__setattr__(config, "depths", (0, 0, 0))
    return 0


def times_heads(config, H, W):
    return _macs(config, H, W, lambda N, P, D: 2 * P * N * N * D * config.num_heads)


def reads_the_configuration_wrongly(config, H, W):
    return config[0] * H * W


def uses_the_library(config, H, W):
    return _macs(config, H, W, mobilevit_attention_macs)


MUTANTS = {
    "07.2": {
        no_norms: "Did you leave out the BatchNorms",
        one_number_per_norm: "Has a BatchNorm one number per channel",
        buffers_counted: "They are buffers",
        full_convolution: "Each reads only its own",
        widens_the_output: "An MV2 expands what comes in",
        one_by_one_in_the_middle: "Is the depthwise kernel 1 × 1",
        biases: "Have the convolutions biases",
        last_norm_forgotten: "behind the last convolution",
        no_widening: "`expand` and its BatchNorm",
        four_always: "Did you take t = 4 for granted",
        half_a_number: "expected an int, got float",
        counts_a_module: "do what you are to build",
        returns_nothing: "did you forget `return`?",
    },
    "07.3": {
        one_layer: "one transformer layer instead of L",
        a_transformer_per_place: "All four share one",
        thin_fusion: "It reads x and y side by side",
        wide_fusion: "Does the fusion write 2C channels",
        no_last_norm: "Did you forget the LayerNorm behind the transformer",
        norm_behind_the_projection: "Has the convolution C → D a BatchNorm",
        ratio_four: "Is that a layer with MLP ratio 4",
        layers_without_biases: "Did you leave out the biases of the linear layers",
        layers_without_norms: "Did you leave out the two LayerNorms of each layer",
        layers_of_weights_alone: "Did you leave out a layer's 11D",
        depthwise_local: "Is the first convolution depthwise",
        no_batch_norms: "Did you forget the BatchNorms? Three",
        no_fusion: "Did you forget the fusion",
        a_tensor: "expected an int, got a tensor",
        counts_a_block: "do what you are to build",
    },
    "07.4": {
        forgets_the_places: "Did you forget P",
        all_pixels: "A token meets the N tokens of its own place",
        one_product: "Did you count one of the two products",
        inside_the_patch: "Did you swap N and P",
        linear_in_n: "Did you take N·D² for a product",
        no_width: "Did you forget D",
        one_layer_each: "Did you count one layer per stage",
        rounds_down: "Did you round the number of patches down",
        rounds_the_stride_down: "A stride rounds up",
        patch_turned: "Did you swap ph and pw",
        carries_the_stretched_map_on: "Did you carry the stretched map on",
        square_only: "Did you use H twice",
        does_not_stretch: "There the map is stretched",
        four_places_always: "Did you take P = 4 for granted",
        rounds_the_product_up: "Did you round HW/P up as a whole",
        four_places_and_the_right_n: "There are P = ph·pw places",
        strides_doubled: "Are these strides 16, 32 and 64",
        sides_swapped: "or H and W",
        changes_the_configuration: "you get 0, expected 78,184,448",
        times_heads: "Did you multiply by the heads",
        reads_the_configuration_wrongly: "a configuration is read by its fields",
        uses_the_library: "do what you are to build",
    },
}
