"""The pure tensor moves: pictures into patches and back, convolutions into matrix products.

Nothing here has a parameter. Every function only moves numbers, so each one can be checked with
`torch.arange`: follow a number and you know where its pixel went.
"""

from operator import index

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = int | tuple[int, int]


def as_pair(value: Pair, name: str, minimum: int = 1) -> tuple[int, int]:
    """Return `value` as (vertical, horizontal); an int stands for both.

    Raises: TypeError if it is no int or pair of ints, ValueError if one is below `minimum`.
    """
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or any(isinstance(v, bool) or not hasattr(v, "__index__") for v in pair):
        raise TypeError(f"{name} must be an int or a pair of ints, got {value!r}")
    if min(pair) < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return index(pair[0]), index(pair[1])


def _grid(size: tuple[int, int], patch: tuple[int, int]) -> tuple[int, int]:
    """Patches per column and row; raises ValueError if the patches do not tile the map."""
    if size[0] % patch[0] or size[1] % patch[1]:
        raise ValueError(
            f"patch_size {patch} does not divide the map {size}: resize the map first, as MobileViTBlock does"
        )
    return size[0] // patch[0], size[1] // patch[1]


def _expect_dims(x: Tensor, dims: int, layout: str) -> None:
    if x.dim() != dims:
        raise ValueError(f"expected a tensor {layout}, got shape {tuple(x.shape)}")


def patchify(x: Tensor, patch_size: Pair) -> Tensor:
    """Cut a picture into patches and write each patch as one row of numbers.

    Shape: [B, C, H, W] -> [B, N, P·C], patches row by row; inside a row pixel by pixel, each pixel
    with its C channels together.
    Raises: TypeError or ValueError if the patches do not tile the picture.
    Source: Section 3.1 of the paper, x_f of the standard ViT.
    """
    _expect_dims(x, 4, "[B, C, H, W]")
    ph, pw = as_pair(patch_size, "patch_size")
    B, C, H, W = x.shape
    nH, nW = _grid((H, W), (ph, pw))
    x = x.reshape(B, C, nH, ph, nW, pw)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, nH * nW, ph * pw * C)  # [B, N, P·C]


def unpatchify(patches: Tensor, size: Pair, patch_size: Pair) -> Tensor:
    """Put the patches of `patchify` back into a picture of `size` = (H, W).

    Shape: [B, N, P·C] -> [B, C, H, W].
    Raises: TypeError or ValueError if the number of patches or their length does not fit.
    """
    _expect_dims(patches, 3, "[B, N, P·C]")
    (ph, pw), size = as_pair(patch_size, "patch_size"), as_pair(size, "size")
    nH, nW = _grid(size, (ph, pw))
    B, N, length = patches.shape
    if nH * nW != N or length % (ph * pw):
        raise ValueError(
            f"patches {tuple(patches.shape)} do not fill a map {size} with patch_size {(ph, pw)}: "
            f"expected [B, {nH * nW}, {ph * pw}·C]"
        )
    C = length // (ph * pw)
    x = patches.reshape(B, nH, nW, ph, pw, C)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, C, *size)  # [B, C, H, W]


def unfold_patches(x: Tensor, patch_size: Pair) -> Tensor:
    """Sort the pixels of a map by their place inside the patch.

    Sequence p = ph_row·pw + ph_column holds, for every patch, the pixel at that place; its token t
    counts the patches row by row. One copy (none where nothing moves); for a channels-last map it moves
    whole rows of D numbers.

    Shape: [B, D, H, W] -> [B, P, N, D] with P = ph·pw and N = HW / P.
    Raises: TypeError or ValueError if the patches do not tile the map.
    Source: Section 3.1, X_L -> X_U.
    """
    _expect_dims(x, 4, "[B, D, H, W]")
    ph, pw = as_pair(patch_size, "patch_size")
    B, D, H, W = x.shape
    nH, nW = _grid((H, W), (ph, pw))
    x = x.permute(0, 2, 3, 1).reshape(B, nH, ph, nW, pw, D)  # [B, nH, ph, nW, pw, D]
    return x.permute(0, 2, 4, 1, 3, 5).reshape(B, ph * pw, nH * nW, D)  # [B, P, N, D]


def fold_patches(tokens: Tensor, size: Pair, patch_size: Pair) -> Tensor:
    """Put every token of `unfold_patches` back where its pixel came from.

    Shape: [B, P, N, D] -> [B, D, H, W], stored channels-last.
    Raises: TypeError or ValueError if P or N does not fit `size` and `patch_size`.
    Source: Section 3.1, X_G -> X_F.
    """
    _expect_dims(tokens, 4, "[B, P, N, D]")
    (ph, pw), size = as_pair(patch_size, "patch_size"), as_pair(size, "size")
    nH, nW = _grid(size, (ph, pw))
    B, P, N, D = tokens.shape
    if (ph * pw, nH * nW) != (P, N):
        raise ValueError(
            f"tokens {tuple(tokens.shape)} do not fill a map {size} with patch_size {(ph, pw)}: "
            f"expected [B, {ph * pw}, {nH * nW}, D]"
        )
    x = tokens.reshape(B, ph, pw, nH, nW, D).permute(0, 3, 1, 4, 2, 5)  # [B, nH, ph, nW, pw, D]
    return x.reshape(B, *size, D).permute(0, 3, 1, 2)  # [B, D, H, W]


def output_size(
    size: Pair,
    kernel_size: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> tuple[int, int]:
    """Height and width of a convolution's output: ⌊(H + 2·padding − dilation·(K − 1) − 1) / stride⌋ + 1.

    Raises: TypeError or ValueError if the kernel is larger than the padded map.
    """
    kernel, step = as_pair(kernel_size, "kernel_size"), as_pair(stride, "stride")
    pad, gap = as_pair(padding, "padding", 0), as_pair(dilation, "dilation")
    size = as_pair(size, "size")
    spans = [n + 2 * p - d * (k - 1) - 1 for n, p, d, k in zip(size, pad, gap, kernel, strict=True)]
    if min(spans) < 0:
        raise ValueError(
            f"kernel_size {kernel} with dilation {gap} does not fit a map {size} with padding {pad}"
        )
    return spans[0] // step[0] + 1, spans[1] // step[1] + 1


def im2col(x: Tensor, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1) -> Tensor:
    """Write the window under every position of the kernel as one column.

    Shape: [B, C, H, W] -> [B, C·K², L], L output positions row by row (K² = kh·kw).
    Raises: TypeError or ValueError if the kernel does not fit.
    Equals `torch.nn.functional.unfold`.
    """
    _expect_dims(x, 4, "[B, C, H, W]")
    oH, oW = output_size(x.shape[-2:], kernel_size, stride, padding, dilation)
    kh, kw = as_pair(kernel_size, "kernel_size")
    pad_y, pad_x = as_pair(padding, "padding", 0)
    x = F.pad(x, (pad_x, pad_x, pad_y, pad_y))
    windows = [
        x[:, :, rows, cols]  # [B, C, oH, oW]: what kernel cell (i, j) sees at every position
        for rows, cols in _kernel_cells((kh, kw), (oH, oW), stride, dilation)
    ]
    B, C = x.shape[:2]
    return torch.stack(windows, dim=2).reshape(B, C * kh * kw, oH * oW)  # [B, C·K², L]


def col2im(
    columns: Tensor,
    size: Pair,
    kernel_size: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Tensor:
    """Add every column of `im2col` back onto the pixels it was read from: im2col's adjoint.

    A pixel read by m windows receives m numbers, so col2im(im2col(x)) = m·x, not x.

    Shape: [B, C·K², L] -> [B, C, H, W] with `size` = (H, W).
    Raises: TypeError or ValueError if the columns do not fit `size`.
    Equals `torch.nn.functional.fold`.
    """
    _expect_dims(columns, 3, "[B, C·K², L]")
    size = as_pair(size, "size")
    oH, oW = output_size(size, kernel_size, stride, padding, dilation)
    kh, kw = as_pair(kernel_size, "kernel_size")
    pad_y, pad_x = as_pair(padding, "padding", 0)
    B, rows, L = columns.shape
    if rows % (kh * kw) or oH * oW != L:
        raise ValueError(
            f"columns {tuple(columns.shape)} do not fit a map {size}: expected [B, C·{kh * kw}, {oH * oW}]"
        )
    C = rows // (kh * kw)
    cells = columns.reshape(B, C, kh * kw, oH, oW)  # [B, C, K², oH, oW]
    x = columns.new_zeros(B, C, size[0] + 2 * pad_y, size[1] + 2 * pad_x)
    for cell, (rows, cols) in enumerate(_kernel_cells((kh, kw), (oH, oW), stride, dilation)):
        x[:, :, rows, cols] += cells[:, :, cell]
    return x[:, :, pad_y : pad_y + size[0], pad_x : pad_x + size[1]]  # [B, C, H, W]


def _kernel_cells(
    kernel: tuple[int, int], output: tuple[int, int], stride: Pair, dilation: Pair
) -> list[tuple[slice, slice]]:
    """For each cell of the kernel, row by row: the rows and columns of the map that it visits."""
    (step_y, step_x), (gap_y, gap_x) = as_pair(stride, "stride"), as_pair(dilation, "dilation")

    def visited(cell: int, gap: int, step: int, count: int) -> slice:
        return slice(cell * gap, cell * gap + step * (count - 1) + 1, step)

    return [
        (visited(i, gap_y, step_y, output[0]), visited(j, gap_x, step_x, output[1]))
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]


def conv2d_by_matmul(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve in three steps: unfold to columns, one matrix product per group, fold to a map.

    Shape: x [B, C, H, W], weight [O, C/groups, kh, kw], bias [O] -> [B, O, oH, oW].
    Raises: TypeError or ValueError if channels, groups and weight do not fit together.
    Equals `torch.nn.functional.conv2d`.
    """
    _expect_dims(x, 4, "[B, C, H, W]")
    _expect_dims(weight, 4, "[O, C/groups, kh, kw]")
    (B, C, H, W), (out_channels, per_group, kh, kw) = x.shape, weight.shape
    if groups < 1 or per_group * groups != C or out_channels % groups:
        raise ValueError(
            f"groups {groups} does not fit {C} input channels and weight {tuple(weight.shape)}: "
            "expected weight [O, C/groups, kh, kw] with O divisible by groups"
        )
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(f"expected a bias [{out_channels}], got shape {tuple(bias.shape)}")
    oH, oW = output_size((H, W), (kh, kw), stride, padding, dilation)
    columns = im2col(x, (kh, kw), stride, padding, dilation)  # [B, C·K², L]
    columns = columns.reshape(B, groups, per_group * kh * kw, oH * oW)  # [B, groups, C/groups·K², L]
    matrix = weight.reshape(groups, out_channels // groups, per_group * kh * kw)
    y = (matrix @ columns).reshape(B, out_channels, oH, oW)  # [B, O, oH, oW]
    return y if bias is None else y + bias[:, None, None]
