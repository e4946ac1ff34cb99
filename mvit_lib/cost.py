"""What a network costs: parameters and multiply-accumulates, by formula and by counting.

A MAC is one multiplication with its addition in a convolution or a matrix product. Biases, norms,
activations, softmax, pooling and resizing are not counted, as is usual.
"""

import copy
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mvit_lib.attention import replace_mix
from mvit_lib.layers import Attention, attention_weights, make_divisible
from mvit_lib.mobilevit import MobileViTConfig
from mvit_lib.patches import as_pair
from mvit_lib.vit import ViTConfig


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-accumulates of one part of a network for one image; costs add up."""

    parameters: int = 0
    macs: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.macs + other.macs)


def count_parameters(module: nn.Module) -> int:
    """The number of parameters of a module, each shared one once (buffers are none)."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(model: nn.Module, size: int | tuple[int, int] = 256) -> int:
    """MACs of one image [1, 3, H, W] of `size` = H = W or (H, W), counted as the network runs."""
    return macs_by_module(model, size)[""]


def macs_by_module(model: nn.Module, size: int | tuple[int, int] = 256) -> dict[str, int]:
    """Counted MACs of every module that has any, by its name; "" is the whole model.

    PyTorch's counter watches a copy on the "meta" device, which has shapes but no numbers, so even a
    large image costs no time. Attention is computed explicitly there: the counter does not see the
    products inside the fused kernel.
    """
    from torch.utils.flop_counter import FlopCounterMode

    ghost = copy.deepcopy(model).to("meta").eval()
    counter = FlopCounterMode(display=False, depth=None)
    with ExitStack() as stack:
        for module in ghost.modules():
            module._forward_pre_hooks.clear()
            module._forward_hooks.clear()
            if isinstance(module, Attention):
                stack.enter_context(replace_mix(module, _explicit_mix))
        stack.enter_context(torch.no_grad())
        stack.enter_context(counter)
        ghost(torch.empty(1, 3, *as_pair(size, "size"), device="meta"))
    root = type(ghost).__name__
    macs = {"": sum(counter.get_flop_counts()["Global"].values()) // 2}
    for name, counts in counter.get_flop_counts().items():
        if name.startswith(f"{root}."):
            macs[name.removeprefix(f"{root}.")] = sum(counts.values()) // 2
    return macs


def _explicit_mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention_weights(q, k) @ v  # [B, h, N, D/h]


# Closed forms. Every function below gives what the counters above must find.


def conv_cost(in_channels: int, out_channels: int, kernel_size: int, pixels: int, groups: int = 1) -> Cost:
    """A convolution without bias that writes `pixels` output pixels: K²·C/groups·C' each."""
    weights = kernel_size**2 * in_channels // groups * out_channels
    return Cost(weights, weights * pixels)


def conv_norm_cost(
    in_channels: int, out_channels: int, kernel_size: int, pixels: int, groups: int = 1
) -> Cost:
    """ConvNormAct: the convolution, and two parameters per channel of the BatchNorm."""
    conv = conv_cost(in_channels, out_channels, kernel_size, pixels, groups)
    return conv + Cost(2 * out_channels)


def linear_cost(in_features: int, out_features: int, tokens: int = 1) -> Cost:
    """A linear layer with bias applied to `tokens` tokens."""
    weights = in_features * out_features
    return Cost(weights + out_features, weights * tokens)


def vit_attention_macs(num_tokens: int, dim: int) -> int:
    """QKᵀ and A·V of one layer over N tokens of width D: 2·N²·D, whatever the number of heads."""
    return 2 * num_tokens**2 * dim


def mobilevit_attention_macs(num_patches: int, pixels_per_patch: int, dim: int) -> int:
    """QKᵀ and A·V of one layer in a MobileViT block: P sequences of N tokens, 2·P·N²·D.

    On the same map this is 1/P of what attention among all its HW = N·P pixels costs.
    Source: Section 3.1, O(N²Pd).
    """
    return pixels_per_patch * vit_attention_macs(num_patches, dim)


def transformer_layer_cost(dim: int, mlp_ratio: float, tokens: int, attention_macs: int) -> Cost:
    """One pre-norm layer over `tokens` tokens; at ratio 2: 8D² + 11D parameters, 8D² MACs a token."""
    hidden = int(dim * mlp_ratio)
    norms = Cost(4 * dim)
    attention = linear_cost(dim, 3 * dim, tokens) + linear_cost(dim, dim, tokens)
    mlp = linear_cost(dim, hidden, tokens) + linear_cost(hidden, dim, tokens)
    return norms + attention + mlp + Cost(0, attention_macs)


def inverted_residual_cost(
    in_channels: int, out_channels: int, expansion: float, pixels_in: int, pixels_out: int
) -> Cost:
    """Widen at the input's size, filter and narrow at the output's."""
    hidden = make_divisible(in_channels * expansion) if expansion != 1 else in_channels
    widen = conv_norm_cost(in_channels, hidden, 1, pixels_in) if expansion != 1 else Cost()
    depthwise = conv_norm_cost(hidden, hidden, 3, pixels_out, groups=hidden)
    return widen + depthwise + conv_norm_cost(hidden, out_channels, 1, pixels_out)


def mobilevit_block_cost(config: MobileViTConfig, stage: int, size: tuple[int, int]) -> dict[str, Cost]:
    """The parts of the block in layer_3, 4 or 5 (`stage`) on a map of `size`, by attribute name."""
    C, i = config.channels[stage], stage - 3
    D, K, (ph, pw) = config.dims[i], config.kernel_size, config.patch_sizes[i]
    pixels = size[0] * size[1]
    patches = -(-size[0] // ph) * -(-size[1] // pw)
    attention = mobilevit_attention_macs(patches, ph * pw, D)
    layer = transformer_layer_cost(D, config.mlp_ratio, patches * ph * pw, attention)
    return {
        "local_conv": conv_norm_cost(C, C, K, pixels),
        "local_project": conv_cost(C, D, 1, pixels),
        "transformer": sum([layer] * config.depths[i], Cost()),
        "norm": Cost(2 * D),
        "project": conv_norm_cost(D, C, 1, pixels),
        "fusion": conv_norm_cost(2 * C, C, K, pixels),
    }


def mobilevit_cost(config: MobileViTConfig, size: int | tuple[int, int] = 256) -> dict[str, Cost]:
    """Every part of a MobileViT for one image of `size`, by module name, in forward order.

    The parts do not overlap: `sum(mobilevit_cost(config).values(), Cost())` is the whole network.
    """

    def shrink(size: tuple[int, int], stride: int) -> tuple[int, int]:
        return -(-size[0] // stride), -(-size[1] // stride)

    c, t = config.channels, config.expansion
    strides = (1, 2, 2, 2 if config.output_stride >= 16 else 1, config.output_stride // 16 or 1)
    repeats = (1, 3, 1, 1, 1)
    size = shrink(as_pair(size, "size"), 2)
    parts = {"stem": conv_norm_cost(3, c[0], 3, size[0] * size[1])}
    for stage in range(1, 6):
        before, size = size, shrink(size, strides[stage - 1])
        pixels_in, pixels = before[0] * before[1], size[0] * size[1]
        name = f"layer_{stage}"
        parts[f"{name}.0"] = inverted_residual_cost(c[stage - 1], c[stage], t, pixels_in, pixels)
        for j in range(1, repeats[stage - 1]):
            parts[f"{name}.{j}"] = inverted_residual_cost(c[stage], c[stage], t, pixels, pixels)
        if stage >= 3:
            block = mobilevit_block_cost(config, stage, size)
            parts |= {f"{name}.1.{part}": cost for part, cost in block.items()}
    if config.num_classes:
        head = min(4 * c[5], 960)
        parts["expand"] = conv_norm_cost(c[5], head, 1, pixels)
        parts["classifier"] = linear_cost(head, config.num_classes)
    return parts


def vit_cost(config: ViTConfig) -> dict[str, Cost]:
    """Every part of a ViT for one image of config.image_size, by module name."""
    N, D, (ph, pw) = config.grid[0] * config.grid[1], config.dim, config.patch_size
    tokens = N + 1
    layer = transformer_layer_cost(D, config.mlp_ratio, tokens, vit_attention_macs(tokens, D))
    parts = {
        "patch_embedding": linear_cost(3 * ph * pw, D, N),
        "class_token": Cost(D),
        "positions": Cost(tokens * D),
        "transformer": sum([layer] * config.depth, Cost()),
        "norm": Cost(2 * D),
    }
    if config.num_classes:
        parts["classifier"] = linear_cost(D, config.num_classes)
    return parts
