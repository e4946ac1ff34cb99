"""Solutions of notebook 10."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def split_sequences(weights: Tensor, B: int) -> Tensor:
    # The block lays the P sequences of image 0 first, then those of image 1: sequence b·P + p.
    # So the first axis is a number with two digits, b the slow one; cutting it moves nothing in memory.
    # P is what B leaves over: a patch need not have four pixels.
    P = len(weights) // B
    return weights.reshape(B, P, *weights.shape[1:])  # [B, P, h, N, N]


def token_of_pixel(
    y: int, x: int, image_size: tuple[int, int], map_size: tuple[int, int], patch: tuple[int, int]
) -> tuple[int, int]:
    # The image is cut into as many bands as the map has rows; the band of y is its row of the map.
    # Multiply before dividing: a stride need not be a whole number, nor the same for both axes.
    # Then as in unfold: the remainders tell the place in the patch, the quotients tell the patch.
    (H, W), (map_H, map_W), (ph, pw) = image_size, map_size, patch
    i, j = y * map_H // H, x * map_W // W
    return pw * (i % ph) + j % pw, map_W // pw * (i // ph) + j // pw


def paint(rows: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    # Tokens are numbered like the words of a page, so a reshape lays them out as the grid.
    # Every pixel looks up its own cell; no value is made that attention has not given.
    # Rows are picked first, then columns: [..., i, j] in one go would pair i with j.
    (nH, nW), (H, W) = grid, size
    table = rows.reshape(*rows.shape[:-1], nH, nW)  # [..., nH, nW]
    i, j = torch.arange(H) * nH // H, torch.arange(W) * nW // W  # [H], [W]
    return table[..., i, :][..., j]  # [..., H, W]


def evenness(rows: Tensor) -> Tensor:
    # Entropy is log N for N equal weights and 0 for a single one; the share makes layers comparable.
    # A weight of 0 adds 0, but log 0 is −∞: clamp keeps the logarithm finite, the factor 0 does the rest.
    # Any base will do, if it is the same above and below.
    logarithms = rows.clamp(min=1e-12).log()  # [..., N]
    return -(rows * logarithms).sum(-1) / math.log(rows.shape[-1])  # [...]


def deletion_curve(
    probability: Callable[[Tensor], Tensor],
    image: Tensor,
    blurred: Tensor,
    scores: Tensor,
    counts: list[int],
) -> Tensor:
    # Rank the cells once: rank 0 is the most attended; then "the k best" is rank < k, for any k.
    # Every picture is made from the whole image again, so nothing of an earlier one is left in it.
    # torch.where takes each pixel from one of two pictures and writes into neither.
    # One batch for all k: the network is asked once.
    (nH, nW), (H, W) = scores.shape, image.shape[1:]
    ranks = scores.flatten().argsort(descending=True).argsort().reshape(nH, nW)  # [nH, nW]
    i, j = torch.arange(H) * nH // H, torch.arange(W) * nW // W
    ranks = ranks[i][:, j]  # [H, W]
    pictures = [torch.where(ranks < k, blurred, image) for k in counts]  # [C, H, W] each
    return probability(torch.stack(pictures))  # [len(counts)]
