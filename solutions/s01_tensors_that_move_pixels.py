"""Solutions of notebook 01."""

import math
from collections.abc import Callable

import torch


def offset(index: tuple[int, ...], strides: tuple[int, ...]) -> int:
    # A stride says how far apart in the line two neighbours along an axis lie.
    # index[k] steps along axis k are therefore index[k] · strides[k] numbers.
    # The axes are walked one after the other, so their steps add up.
    return sum(i * s for i, s in zip(index, strides, strict=True))


def one_walk(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    # Nobody walks along an axis of length 1, so its stride says nothing: leave it out first.
    # After a full walk along the inner axis, the next step must be the outer stride.
    # If all neighbours fit, the last stride is the step of the whole walk; it need not be 1.
    lengths = [n for n in shape if n > 1]
    steps = [s for n, s in zip(shape, strides, strict=True) if n > 1]
    return all(steps[k] == lengths[k + 1] * steps[k + 1] for k in range(len(steps) - 1))


def came_from(move: "Callable", shape: tuple[int, ...], place: tuple[int, ...]) -> tuple[int, ...]:
    # Numbers that are all different are name tags: the move carries them along.
    # The tag found at `place` counts the input's elements in reading order.
    # The last axis runs fastest, so dividing by its length leaves the last index as the remainder.
    x = torch.arange(math.prod(shape)).reshape(shape)
    number = int(move(x)[place])
    index = []
    for n in reversed(shape):
        number, remainder = divmod(number, n)
        index.append(remainder)
    return tuple(reversed(index))


def unfold(x: torch.Tensor, patch: tuple[int, int]) -> torch.Tensor:
    # Only a permute can bring pixels together that lie apart; the split before it makes the axes to permute.
    # Places (ph, pw) come first, patches (nH, nW) next: each sequence is one place in all patches.
    # D goes last, so that the numbers of one pixel stay side by side as one token.
    B, D, H, W = x.shape
    ph, pw = patch
    x = x.reshape(B, D, H // ph, ph, W // pw, pw)  # [B, D, nH, ph, nW, pw]
    x = x.permute(0, 3, 5, 2, 4, 1)  # [B, ph, pw, nH, nW, D]
    return x.reshape(B, ph * pw, -1, D)  # [B, P, N, D]


def fold(tokens: torch.Tensor, size: tuple[int, int], patch: tuple[int, int]) -> torch.Tensor:
    # The steps of unfold backwards: split what was merged, permute back, merge what was split.
    # N alone does not say how many patches stand in a row; that is why `size` must be given.
    # In H the in-patch row runs faster than the patch row: (nH, ph), not (ph, nH).
    B, _, _, D = tokens.shape
    (H, W), (ph, pw) = size, patch
    x = tokens.reshape(B, ph, pw, H // ph, W // pw, D)  # [B, ph, pw, nH, nW, D]
    x = x.permute(0, 5, 3, 1, 4, 2)  # [B, D, nH, ph, nW, pw]
    return x.reshape(B, D, H, W)  # [B, D, H, W]
