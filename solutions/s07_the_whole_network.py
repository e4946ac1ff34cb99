"""Solutions of notebook 07."""

import torch
from torch import Tensor

from mvit_lib import MobileViTConfig


def configuration(name: str) -> MobileViTConfig:
    # The six channels are what the stem and the five stages write; `expand` follows from the last.
    # D and L exist only where a block stands, so these tuples have three entries.
    # All that the three sizes share is a default, and depths are the same in all: only XXS breaks rules.
    depths = (2, 4, 3)
    if name == "XXS":
        channels, dims = (16, 16, 24, 48, 64, 80), (64, 80, 96)
        return MobileViTConfig(channels, dims, depths, expansion=2, dropout=0.05)
    if name == "XS":
        return MobileViTConfig((16, 32, 48, 64, 80, 96), (96, 120, 144), depths)
    return MobileViTConfig((16, 32, 64, 96, 128, 160), (144, 192, 240), depths)


def inverted_residual_parameters(C_in: int, C_out: int, t: int) -> int:
    # No convolution has a bias: the BatchNorm behind it adds a β of its own, one per channel.
    # The depthwise kernel reads one channel each, so it has 9·C_mid weights and not 9·C_mid².
    # Adding the input back, where the shapes allow it, owns nothing.
    C_mid = t * C_in
    expand = C_in * C_mid + 2 * C_mid
    depthwise = 9 * C_mid + 2 * C_mid
    project = C_mid * C_out + 2 * C_out
    return expand + depthwise + project


def block_parameters(C: int, D: int, L: int) -> int:
    # The P places share one transformer, as all windows of a convolution share one matrix.
    # A layer with MLP ratio 2 owns 8D² + 11D; one more LayerNorm stands behind all L.
    # The fusion reads x and y side by side, 2C channels: it is the dearest convolution of the block.
    local = 9 * C * C + 2 * C + C * D
    transformer = L * (8 * D * D + 11 * D) + 2 * D
    project = D * C + 2 * C
    fusion = 9 * 2 * C * C + 2 * C
    return local + transformer + project + fusion


def attention_macs(config: MobileViTConfig, H: int, W: int) -> int:
    # Strides round up: a map of 7 × 7 comes from 224 pixels at stride 32, and from 200 too.
    # Where patches do not tile the map it is stretched, so that the number of patches rounds up as well.
    # Each of the P places has its own products, QKᵀ and A·V, of N² · D MACs each.
    total = 0
    stages = zip((8, 16, 32), config.dims, config.depths, config.patch_sizes, strict=True)
    for stride, D, L, (ph, pw) in stages:
        rows, columns = -(-H // stride), -(-W // stride)
        N = -(-rows // ph) * -(-columns // pw)
        total += L * 2 * (ph * pw) * N**2 * D
    return total


def rename_layer(state: dict[str, Tensor]) -> dict[str, Tensor]:
    # Whole names are looked up: replacing pieces would find "output.dense" in "attention.output.dense".
    # Our qkv is one matrix that makes q, k and v in turn, so their rows go one below the other.
    # Tensors are handed on as they are, into a new dictionary: the caller keeps theirs.
    names = {
        "layernorm_before": "norm1",
        "attention.output.dense": "attention.proj",
        "layernorm_after": "norm2",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    renamed = {}
    for end in ("weight", "bias"):
        for theirs, ours in names.items():
            renamed[f"{ours}.{end}"] = state[f"{theirs}.{end}"]
        parts = [state[f"attention.attention.{part}.{end}"] for part in ("query", "key", "value")]
        renamed[f"attention.qkv.{end}"] = torch.cat(parts)  # [3D, D] or [3D]
    return renamed
