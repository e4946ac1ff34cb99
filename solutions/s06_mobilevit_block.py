"""Solutions of notebook 06."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvit_lib.layers import ConvNormAct, TransformerLayer
from mvit_lib.patches import fold_patches, unfold_patches


def exchange(x: Tensor, layer: Callable[[Tensor], Tensor], patch: tuple[int, int]) -> Tensor:
    # A sequence is one place of one image: B, ph and pw tell the sequences apart, so they stand in front.
    # reshape only joins axes that stand side by side; therefore the permutation has to come before it.
    # One call with B·P sequences does the same as P calls with B, and the weights are the same anyway.
    (B, D, H, W), (ph, pw) = x.shape, patch
    cells = x.reshape(B, D, H // ph, ph, W // pw, pw).permute(0, 3, 5, 2, 4, 1)  # [B, ph, pw, nH, nW, D]
    mixed = layer(cells.reshape(B * ph * pw, -1, D))  # [B·P, N, D]
    return mixed.reshape(cells.shape).permute(0, 5, 3, 1, 4, 2).reshape(x.shape)  # [B, D, H, W]


def who_hears(y: int, x: int, size: tuple[int, int], patch: tuple[int, int], kernel: int) -> Tensor:
    # Partners stand at the same place of every patch: start at the rest of the division, step by a patch.
    # The convolution came first, so each partner brings its window along, r pixels to each side.
    # max(0, …) cuts the window at the near edge; a slice that is too long ends at the far one by itself.
    (H, W), (ph, pw), r = size, patch, kernel // 2
    heard = torch.zeros(H, W, dtype=torch.bool)
    for row in range(y % ph, H, ph):
        for column in range(x % pw, W, pw):
            heard[max(0, row - r) : row + r + 1, max(0, column - r) : column + r + 1] = True
    return heard  # [H, W]


def kernel_needed(patch: tuple[int, int]) -> int:
    # Inside the map two partners share the gap between them. At the border there is only one.
    # The worst case is a pixel at one end of its patch: the other end is h − 1 pixels away.
    # A kernel reaches r = (n − 1) / 2 pixels, so r = h − 1, for the longer of the two sides.
    return 2 * (max(patch) - 1) + 1


def at_any_size(x: Tensor, function: Callable[[Tensor], Tensor], patch: tuple[int, int]) -> Tensor:
    # Rounding up is rounding down of the negative number: -(-H // ph).
    # A map that the patches tile keeps its values in any case; asking first saves two copies of it.
    # The way back uses the old size itself; a scale factor could round to another one.
    (H, W), (ph, pw) = x.shape[2:], patch
    tiled = -(-H // ph) * ph, -(-W // pw) * pw
    if tiled == (H, W):
        return function(x)
    y = function(F.interpolate(x, tiled, mode="bilinear", align_corners=False))  # [B, D, H', W']
    return F.interpolate(y, (H, W), mode="bilinear", align_corners=False)  # [B, D, H, W]


def build_block(channels: int, dim: int, depth: int, patch: tuple[int, int]) -> nn.Module:
    # Names are part of the work: load_state_dict finds a weight by its name and by nothing else.
    # Only the map of D channels is stretched, so that both 3 × 3 convolutions see the true pixels.
    # X goes in front in the concatenation: the first C input channels of the fusion belong to it.
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.local_conv = ConvNormAct(channels, channels, 3)
            self.local_project = nn.Conv2d(channels, dim, 1, bias=False)
            self.transformer = nn.Sequential(*(TransformerLayer(dim, 4, 2) for _ in range(depth)))
            self.norm = nn.LayerNorm(dim)
            self.project = ConvNormAct(dim, channels)
            self.fusion = ConvNormAct(2 * channels, channels, 3)

        def exchange(self, x: Tensor) -> Tensor:
            tokens = unfold_patches(x, patch)  # [B, P, N, D]
            mixed = self.norm(self.transformer(tokens.flatten(0, 1)))  # [B·P, N, D]
            return fold_patches(mixed.view(tokens.shape), x.shape[2:], patch)  # [B, D, H, W]

        def forward(self, x: Tensor) -> Tensor:
            y = self.local_project(self.local_conv(x))  # [B, D, H, W]
            size = x.shape[2:]
            tiled = [-(-n // p) * p for n, p in zip(size, patch, strict=True)]
            if tiled != list(size):
                y = F.interpolate(y, tiled, mode="bilinear", align_corners=False)
            y = self.exchange(y)  # [B, D, H', W']
            if tiled != list(size):
                y = F.interpolate(y, size, mode="bilinear", align_corners=False)
            return self.fusion(torch.cat([x, self.project(y)], dim=1))  # [B, C, H, W]

    return Block()
