"""Solutions of notebook 03."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cut_patches(x: Tensor, patch: tuple[int, int]) -> Tensor:
    # Splitting H into (nH, ph) and W into (nW, pw) moves nothing: it only names the axes we need.
    # What becomes one axis has to stand side by side: patches (nH, nW) first, then (ph, pw, C).
    # C goes last, since a row lists its pixels one after the other, each with all its channels.
    B, C, H, W = x.shape
    ph, pw = patch
    x = x.reshape(B, C, H // ph, ph, W // pw, pw)  # [B, C, nH, ph, nW, pw]
    x = x.permute(0, 2, 4, 3, 5, 1)  # [B, nH, nW, ph, pw, C]
    return x.reshape(B, (H // ph) * (W // pw), ph * pw * C)  # [B, N, P·C]


def kernel_from_projection(weight: Tensor, C: int, patch: tuple[int, int]) -> Tensor:
    # Row d of the weights holds one factor for every number of a patch, in the order of patchify.
    # That order is (ph, pw, C), so the long axis is split in just this order.
    # A convolution's kernel wants the channels in front of its rows and columns.
    ph, pw = patch
    return weight.reshape(len(weight), ph, pw, C).permute(0, 3, 1, 2)  # [D, C, ph, pw]


def vit_parameters(
    image_size: tuple[int, int], patch_size: tuple[int, int], D: int, L: int, r: int, num_classes: int
) -> int:
    # A linear layer from a to b numbers has a·b weights and b biases; a LayerNorm has 2·D.
    # Only the positions know the size of the image: one vector per patch, one for the class token.
    # The number of heads does not appear: it only says how the D numbers are shared out.
    (H, W), (ph, pw) = image_size, patch_size
    N = (H // ph) * (W // pw)
    projection = ph * pw * 3 * D + D
    attention = D * 3 * D + 3 * D + D * D + D
    mlp = D * r * D + r * D + r * D * D + D
    layer = attention + mlp + 2 * 2 * D
    return projection + D + (1 + N) * D + L * layer + 2 * D + D * num_classes + num_classes


def layer_macs(N: int, D: int, r: int) -> tuple[int, int, int]:
    # Per token: D·3D for q, k, v, D·D for the projection behind attention, D·rD and rD·D for the MLP.
    # Every query meets every key in D products, and every weight multiplies D numbers of a value.
    # Equal: (4 + 2r)·N·D² = 2·N²·D. Divide both sides by 2·N·D: what is left is N = (2 + r)·D.
    linear = (4 + 2 * r) * N * D**2
    products = 2 * N**2 * D
    return linear, products, (2 + r) * D


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    # The class token stands nowhere in the picture: its position is kept as it is.
    # The others were counted row by row, so N splits into (nH, nW); interpolate wants D in front.
    # Afterwards everything goes back the same way, and the class token's position to the front.
    first, rest = positions[:, :1], positions[:, 1:]  # [1, 1, D], [1, N, D]
    maps = rest.reshape(1, *old, -1).permute(0, 3, 1, 2)  # [1, D, nH, nW]
    maps = F.interpolate(maps, size=new, mode="bilinear")  # [1, D, nH', nW']
    return torch.cat([first, maps.flatten(2).transpose(1, 2)], dim=1)  # [1, 1 + N', D]
