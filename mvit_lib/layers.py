"""The bricks: the four layers from which every network of the course is built."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of `divisor`, never down by more than 10 %.

    Source: MobileNetV2's rule for width multipliers.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class SiLU(nn.SiLU):
    """x·sigmoid(x). Inside `torch.inference_mode()` it overwrites its input, which nothing needs again.

    Memory traffic, not arithmetic, is what an activation costs.
    """

    def forward(self, x: Tensor) -> Tensor:
        overwrite = not torch.compiler.is_compiling() and torch.is_inference_mode_enabled()
        return F.silu(x, inplace=self.inplace or overwrite)


class ConvNormAct(nn.Module):
    """Convolution without bias, BatchNorm, activation; padded so that stride 1 keeps the size.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ⌈H/stride⌉, ⌈W/stride⌉].
    `activation=None` leaves the result linear.
    Raises: ValueError if kernel_size is not odd and at least 1: only odd kernels have a middle.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None = SiLU,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and at least 1, got {kernel_size}")
        padding = dilation * (kernel_size - 1) // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = activation() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))  # [B, out_channels, H/stride, W/stride]


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen by 1×1, filter each channel by 3×3, narrow by a linear 1×1.

    The input is added to the output exactly when both have the same shape: stride 1 and equal widths.
    `expansion=1` has no widening convolution.

    Shape: [B, in_channels, H, W] -> [B, out_channels, ⌈H/stride⌉, ⌈W/stride⌉].
    Source: Sandler et al. 2018, Table 1; "MV2" in Figure 1 of the MobileViT paper.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        expansion: float = 4,
        dilation: int = 1,
        activation: Callable[[], nn.Module] = SiLU,
    ) -> None:
        super().__init__()
        hidden = make_divisible(in_channels * expansion) if expansion != 1 else in_channels
        self.expand = (
            ConvNormAct(in_channels, hidden, activation=activation) if expansion != 1 else nn.Identity()
        )
        self.depthwise = ConvNormAct(
            hidden,
            hidden,
            3,
            stride=stride,
            dilation=dilation,
            groups=hidden,
            activation=activation,
        )
        self.project = ConvNormAct(hidden, out_channels, activation=None)
        self.has_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(x)  # [B, hidden, H, W]
        y = self.depthwise(y)  # [B, hidden, H/stride, W/stride]
        y = self.project(y)  # [B, out_channels, H/stride, W/stride]
        return x + y if self.has_residual else y


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """softmax(q kᵀ / √d): how much each query listens to each key.

    Shape: q, k [..., N, d] -> [..., N, N]; every row is non-negative and sums to 1.
    Source: Vaswani et al. 2017, equation 1.
    """
    return torch.softmax(q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1), dim=-1)  # [..., N, N]


class Attention(nn.Module):
    """Multi-head self-attention with biases.

    `mix(q, k, v)` is the step that lets tokens exchange what they hold. It is PyTorch's fused kernel,
    which never writes the weights to memory; `mvit_lib.attention` puts an explicit one in its place
    while it records.

    Shape: [B, N, D] -> [B, N, D].
    Raises: ValueError if `num_heads` does not divide `dim`.
    """

    mix: Callable[[Tensor, Tensor, Tensor], Tensor] = staticmethod(F.scaled_dot_product_attention)

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or dim < 1 or dim % num_heads:
            raise ValueError(f"num_heads {num_heads} does not divide the width {dim}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        B, N, D = x.shape
        qkv = self.qkv(x).view(B, N, 3, self.num_heads, D // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()  # each [B, h, N, D/h]
        x = self.mix(q, k, v)  # [B, h, N, D/h]
        return self.proj(x.transpose(1, 2).reshape(B, N, D))  # [B, N, D]

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles mix by the fused kernel, also if made while this layer is recorded."""
        return {name: value for name, value in super().__getstate__().items() if name != "mix"}


class Dropout(nn.Dropout):
    """`nn.Dropout`, with a cheaper draw on CPUs: four 16-bit numbers out of every 64 random bits.

    There the chance to drop is p rounded to a multiple of 2⁻¹⁶. Drawing the mask of every element
    on its own takes 8 % of MobileViT-S's training step (see benchmarks/).
    """

    def forward(self, x: Tensor) -> Tensor:
        draws = self.training and 0 < self.p < 1 and not self.inplace
        if not draws or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        bits = words.random_(-(2**63), None).view(torch.int16)[: x.numel()].view(x.shape)
        keep = bits >= round(self.p * 2**16) - 2**15  # a bool is what backward has to remember
        return (x * keep).mul_(1 / (1 - self.p))


class FeedForward(nn.Module):
    """Two linear layers with an activation between, on each token alone.

    Shape: [B, N, D] -> [B, N, D].
    """

    def __init__(self, dim: int, hidden: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.activation = activation()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))  # [B, N, D]


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer: tokens exchange, then each token thinks for itself.

    Shape: [B, N, D] -> [B, N, D].
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        *,
        activation: Callable[[], nn.Module] = SiLU,
        dropout: float = 0.0,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, norm_eps)
        self.attention = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, norm_eps)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio), activation)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))  # [B, N, D]
        return x + self.dropout(self.mlp(self.norm2(x)))  # [B, N, D]


def fold_batchnorm(model: nn.Module) -> None:
    """Multiply every BatchNorm of the ConvNormActs in `model` into the convolution before it, in place.

    In eval mode BatchNorm is x·a + b per channel, and a convolution is linear: one does the work of
    both. For inference only; the activations then overwrite their input, which saves memory traffic.
    """
    for module in model.modules():
        if isinstance(module, ConvNormAct) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = nn.utils.fusion.fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
            if hasattr(module.activation, "inplace"):
                module.activation.inplace = True


def init_weights(module: nn.Module) -> None:
    """Initialise one layer as the official configuration does; use as `model.apply(init_weights)`.

    Convolutions: normal, variance 2 / fan-out (a depthwise one's fan-out is not divided by its
    groups). Linear layers: normal with σ = 0.02 cut at ±2, bias 0. Norms keep γ = 1, β = 0.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
