"""MobileViT (Mehta & Rastegari, ICLR 2022), in the order in which the course derives it."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvit_lib.classifier import ConvBackbone, check_config
from mvit_lib.layers import ConvNormAct, InvertedResidual, TransformerLayer, init_weights
from mvit_lib.patches import Pair, as_pair, fold_patches, unfold_patches
from mvit_lib.transforms import EvalTransform


class MobileViTBlock(nn.Module):
    """A convolution whose matrix product is replaced by a transformer.

    A convolution unfolds, multiplies by a matrix and folds. This block unfolds, runs a transformer
    over the pixels that share a place inside their patch, and folds; a convolution before tells each
    pixel of its neighbours, one after merges the result with the input. It needs no positions, since
    folding puts every token back where it came from.

    Shape: [B, C, H, W] -> [B, C, H, W], any H and W: a map that the patches do not tile is stretched
    to the next size they do, and back.
    Raises: ValueError if patch_size, kernel_size or depth is below 1, kernel_size is even, or num_heads
    does not divide dim.
    Source: Section 3.1 and Figure 1b of the paper.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        depth: int,
        *,
        patch_size: Pair = 2,
        kernel_size: int = 3,
        num_heads: int = 4,
        mlp_ratio: float = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self.patch_size = as_pair(patch_size, "patch_size")
        self.local_conv = ConvNormAct(channels, channels, kernel_size)
        self.local_project = nn.Conv2d(channels, dim, 1, bias=False)
        self.transformer = nn.Sequential(
            *(TransformerLayer(dim, num_heads, mlp_ratio, dropout=dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(dim)
        self.project = ConvNormAct(dim, channels)
        self.fusion = ConvNormAct(2 * channels, channels, kernel_size)

    def tiled_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The smallest (H, W) that is at least `size` and that the patches tile."""
        (H, W), (ph, pw) = size, self.patch_size
        return -(-H // ph) * ph, -(-W // pw) * pw

    def forward(self, x: Tensor) -> Tensor:
        local = self.local_project(self.local_conv(x))  # [B, D, H, W]
        y = self.attend_globally(local)  # [B, D, H, W]
        y = self.project(y)  # [B, C, H, W]
        return self.fusion(torch.cat([x, y], dim=1))  # [B, 2C, H, W] -> [B, C, H, W]

    def attend_globally(self, local: Tensor) -> Tensor:
        """Unfold X_L, let the tokens of each pixel position attend to each other, fold: X_F.

        Shape: [B, D, H, W] -> [B, D, H, W].
        """
        size = (local.shape[-2], local.shape[-1])
        tiled = self.tiled_size(size)
        if tiled != size:
            local = F.interpolate(local, tiled, mode="bilinear", align_corners=False)
        tokens = unfold_patches(local, self.patch_size)  # [B, P, N, D]
        mixed = self.norm(self.transformer(tokens.flatten(0, 1)))  # [B·P, N, D]
        y = fold_patches(mixed.view(tokens.shape), tiled, self.patch_size)  # [B, D, H', W']
        if tiled != size:
            y = F.interpolate(y, size, mode="bilinear", align_corners=False)
        return y  # [B, D, H, W]


@dataclass(frozen=True)
class MobileViTConfig:
    """The numbers that make one MobileViT; the default is S.

    channels: widths of the stem and of layer_1 … layer_5. dims, depths, patch_sizes: width D, number
    of transformer layers and patch (an int or (height, width)) in the blocks of layer_3, 4, 5.
    expansion: of the inverted residuals. dropout: after attention and after the MLP.
    num_classes 0 builds no classifier. output_stride 8, 16 or 32: image pixels per pixel of layer_5.
    Raises: ValueError naming the field that cannot be meant.
    Source: Table 4 of the paper; four heads and the dropouts are in the official configuration only.
    """

    channels: tuple[int, ...] = (16, 32, 64, 96, 128, 160)
    dims: tuple[int, ...] = (144, 192, 240)
    depths: tuple[int, ...] = (2, 4, 3)
    patch_sizes: tuple[Pair, ...] = (2, 2, 2)
    expansion: float = 4
    kernel_size: int = 3
    num_heads: int = 4
    mlp_ratio: float = 2
    dropout: float = 0.1
    classifier_dropout: float = 0.1
    num_classes: int = 1000
    output_stride: int = 32

    def __post_init__(self) -> None:
        for name, length in {"channels": 6, "dims": 3, "depths": 3, "patch_sizes": 3}.items():
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != length:
                raise ValueError(f"{name}={value!r}: expected a tuple of {length}")
        check_config(self)
        patches = tuple(as_pair(patch, "patch_sizes") for patch in self.patch_sizes)
        object.__setattr__(self, "patch_sizes", patches)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={self.kernel_size}: expected an odd number")
        if any(not isinstance(dim, int) or dim % self.num_heads for dim in self.dims):
            raise ValueError(f"num_heads={self.num_heads} does not divide each of dims={self.dims}")
        if self.output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride={self.output_stride}: expected 8, 16 or 32")


XXS = MobileViTConfig(channels=(16, 16, 24, 48, 64, 80), dims=(64, 80, 96), expansion=2, dropout=0.05)
XS = MobileViTConfig(channels=(16, 32, 48, 64, 80, 96), dims=(96, 120, 144))
S = MobileViTConfig()


class MobileViT(ConvBackbone):
    """The whole network: a stem, two stages of inverted residuals, three with MobileViT blocks.

    Shape: RGB float images [B, 3, H, W] in [0, 1], sides of at least the output stride
    -> logits [B, num_classes].
    Source: Figure 1b and Table 4 of the paper.
    """

    def __init__(self, config: MobileViTConfig) -> None:
        super().__init__(config, EvalTransform(resize=288, crop=256))
        stem, *stages = config.channels
        self.stage_channels = tuple(stages)
        c1, c2, c3, c4, c5 = stages
        stride_4 = 2 if config.output_stride >= 16 else 1
        stride_5 = 2 if config.output_stride == 32 else 1
        dilation_5 = 2 if config.output_stride == 8 else 1
        t = config.expansion

        self.stem = ConvNormAct(3, stem, 3, stride=2)
        self.layer_1 = nn.Sequential(InvertedResidual(stem, c1, expansion=t))
        self.layer_2 = nn.Sequential(
            InvertedResidual(c1, c2, stride=2, expansion=t),
            InvertedResidual(c2, c2, expansion=t),
            InvertedResidual(c2, c2, expansion=t),
        )
        self.layer_3 = nn.Sequential(InvertedResidual(c2, c3, stride=2, expansion=t), self._block(0))
        self.layer_4 = nn.Sequential(InvertedResidual(c3, c4, stride=stride_4, expansion=t), self._block(1))
        self.layer_5 = nn.Sequential(
            InvertedResidual(c4, c5, stride=stride_5, expansion=t, dilation=dilation_5),
            self._block(2),
        )
        if config.num_classes:
            self.expand = ConvNormAct(c5, min(4 * c5, 960))
            self.dropout = nn.Dropout(config.classifier_dropout)
            self.classifier = nn.Linear(min(4 * c5, 960), config.num_classes)
        self.apply(init_weights)
        self.to(memory_format=torch.channels_last)

    def _block(self, i: int) -> MobileViTBlock:
        c = self.config
        return MobileViTBlock(
            c.channels[i + 3],
            c.dims[i],
            c.depths[i],
            patch_size=c.patch_sizes[i],
            kernel_size=c.kernel_size,
            num_heads=c.num_heads,
            mlp_ratio=c.mlp_ratio,
            dropout=c.dropout,
        )


def mobilevit_xxs(num_classes: int = 1000, output_stride: int = 32) -> MobileViT:
    """MobileViT-XXS: 1,272,024 parameters with 1,000 classes."""
    return MobileViT(replace(XXS, num_classes=num_classes, output_stride=output_stride))


def mobilevit_xs(num_classes: int = 1000, output_stride: int = 32) -> MobileViT:
    """MobileViT-XS: 2,317,848 parameters with 1,000 classes."""
    return MobileViT(replace(XS, num_classes=num_classes, output_stride=output_stride))


def mobilevit_s(num_classes: int = 1000, output_stride: int = 32) -> MobileViT:
    """MobileViT-S: 5,578,632 parameters with 1,000 classes."""
    return MobileViT(replace(S, num_classes=num_classes, output_stride=output_stride))
