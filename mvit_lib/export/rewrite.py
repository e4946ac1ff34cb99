"""The same functions in fewer and plainer operators, as the runtimes of phones want them.

A runtime that meets an operator it has not breaks the network there and copies maps from one half to the
other; a Neural Engine wants four axes with the channels second. Weights are taken over, so every module
here answers as the one it is made from, up to the order of its sums.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvit_lib.layers import Attention, TransformerLayer
from mvit_lib.mobilevit import MobileViTBlock


def replace_modules(
    network: nn.Module, kind: type[nn.Module], make: Callable[[nn.Module], nn.Module]
) -> None:
    """Put `make(module)` in the place of every module of this kind, in `network` itself."""
    for name, module in list(network.named_modules()):
        if isinstance(module, kind):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, make(module))


class SplitAttention(nn.Module):
    """Attention with a linear layer each for query, key and value, and matrix products of three axes.

    The fused kernel would be taken apart with a guard against rows of −∞ that no phone runtime has; heads
    cut out of one qkv cost copies. 1/√d is multiplied into the query's weights.

    Shape: [B, N, D] -> [B, N, D].
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        weights, biases = attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3)
        scale = (attention.proj.in_features // self.num_heads) ** -0.5
        self.query = _linear(weights[0] * scale, biases[0] * scale)
        self.key, self.value = (_linear(weights[i], biases[i]) for i in (1, 2))
        self.proj = attention.proj

    def forward(self, x: Tensor) -> Tensor:
        B, N, D = x.shape
        h, d = self.num_heads, D // self.num_heads
        q = self.query(x).view(B, N, h, d).permute(0, 2, 1, 3).reshape(B * h, N, d)  # [B·h, N, d]
        k = self.key(x).view(B, N, h, d).permute(0, 2, 3, 1).reshape(B * h, d, N)  # [B·h, d, N]
        v = self.value(x).view(B, N, h, d).permute(0, 2, 1, 3).reshape(B * h, N, d)  # [B·h, N, d]
        y = torch.bmm(torch.softmax(torch.bmm(q, k), dim=-1), v)  # [B·h, N, d]
        return self.proj(y.view(B, h, N, d).permute(0, 2, 1, 3).reshape(B, N, D))  # [B, N, D]


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    return layer


class ProductNorm(nn.Module):
    """LayerNorm whose means are matrix products with 1/D, which XNNPACK has; it has no LayerNorm.

    Shape: [..., D] -> [..., D].
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        D = norm.normalized_shape[0]
        self.register_buffer("mean", torch.full((1, D), 1 / D, dtype=norm.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        x = x - F.linear(x, self.mean)  # [..., D]
        variance = F.linear(x * x, self.mean)  # [..., 1]
        return x * torch.rsqrt(variance + self.eps) * self.weight + self.bias  # [..., D]


class ProductSiLU(nn.Module):
    """x·sigmoid(x) written out: converters compute `silu` in float32, with a cast before and after each."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


# For a Neural Engine: tokens stay a map [P, D, 1, N], linear layers are 1×1 convolutions.
# Source: Apple, "Deploying Transformers on the Apple Neural Engine" (2022), principles 1 to 3.


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of a map. Shape: [P, D, 1, N] -> the same."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight, self.bias = (nn.Parameter(p.detach()[:, None, None]) for p in (norm.weight, norm.bias))

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)  # [P, D, 1, N]
        variance = (x * x).mean(1, keepdim=True)  # [P, 1, 1, N]
        return x * torch.rsqrt(variance + self.eps) * self.weight + self.bias  # [P, D, 1, N]


class ChannelTransformerLayer(nn.Module):
    """`TransformerLayer` on a map of tokens. Shape: [P, D, 1, N] -> the same.

    Heads are cut out of the channels, so that nothing has to be transposed: the two matrix products
    read their factors either way round.
    """

    def __init__(self, layer: TransformerLayer) -> None:
        super().__init__()
        attention, mlp = layer.attention, layer.mlp
        self.num_heads, D = attention.num_heads, attention.proj.in_features
        self.scale = (D // self.num_heads) ** -0.5
        self.norm1, self.norm2 = ChannelNorm(layer.norm1), ChannelNorm(layer.norm2)
        weights, biases = attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3)
        self.query = _pointwise(weights[0] * self.scale, biases[0] * self.scale)
        self.key, self.value = (_pointwise(weights[i], biases[i]) for i in (1, 2))
        self.proj, self.fc1, self.fc2 = (
            _pointwise(linear.weight, linear.bias) for linear in (attention.proj, mlp.fc1, mlp.fc2)
        )
        self.activation = mlp.activation

    def forward(self, x: Tensor) -> Tensor:
        P, D, _, N = x.shape
        heads = (P, self.num_heads, D // self.num_heads, N)
        y = self.norm1(x)  # [P, D, 1, N]
        q, k, v = (part(y).view(heads) for part in (self.query, self.key, self.value))  # [P, h, d, N]
        weights = torch.softmax(q.transpose(2, 3) @ k, dim=-1)  # [P, h, N, N]
        y = (v @ weights.transpose(2, 3)).reshape(P, D, 1, N)  # [P, D, 1, N]
        x = x + self.proj(y)  # [P, D, 1, N]
        return x + self.fc2(self.activation(self.fc1(self.norm2(x))))  # [P, D, 1, N]


def _pointwise(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A linear layer as the 1×1 convolution that it is."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    conv.weight = nn.Parameter(weight.detach().clone()[:, :, None, None])
    conv.bias = nn.Parameter(bias.detach().clone())
    return conv


class ChannelBlock(nn.Module):
    """`MobileViTBlock` for one image, channels second throughout, no tensor of more than five axes.

    Shape: [1, C, H, W] -> [1, C, H, W].
    """

    def __init__(self, block: MobileViTBlock) -> None:
        super().__init__()
        self.patch_size, self.tiled_size = block.patch_size, block.tiled_size
        self.before = nn.Sequential(block.local_conv, block.local_project)
        layers = (ChannelTransformerLayer(layer) for layer in block.transformer)
        self.transformer = nn.Sequential(*layers, ChannelNorm(block.norm))
        self.project, self.fusion = block.project, block.fusion

    def forward(self, x: Tensor) -> Tensor:
        local = self.before(x)  # [1, D, H, W]
        size, (ph, pw), D = (x.shape[-2], x.shape[-1]), self.patch_size, local.shape[1]
        H, W = tiled = self.tiled_size(size)
        if tiled != size:
            local = F.interpolate(local, tiled, mode="bilinear", align_corners=False)
        cells = local.reshape(D, H // ph, ph, W // pw, pw).permute(2, 4, 0, 1, 3)  # [ph, pw, D, nH, nW]
        tokens = self.transformer(cells.reshape(ph * pw, D, 1, -1))  # [P, D, 1, N]
        cells = tokens.reshape(ph, pw, D, H // ph, W // pw).permute(2, 3, 0, 4, 1)  # [D, nH, ph, nW, pw]
        y = cells.reshape(1, D, H, W)  # [1, D, H, W]
        if tiled != size:
            y = F.interpolate(y, size, mode="bilinear", align_corners=False)
        return self.fusion(torch.cat([x, self.project(y)], dim=1))  # [1, C, H, W]


def for_xnnpack(network: nn.Module) -> None:
    """Attention, norms and SiLU in operators that XNNPACK has, in `network` itself."""
    replace_modules(network, Attention, SplitAttention)
    replace_modules(network, nn.LayerNorm, ProductNorm)
    replace_modules(network, nn.SiLU, lambda _: ProductSiLU())


def for_neural_engine(network: nn.Module) -> None:
    """MobileViT blocks with the channels second, in `network` itself; other attention split."""
    replace_modules(network, MobileViTBlock, ChannelBlock)
    replace_modules(network, Attention, SplitAttention)
