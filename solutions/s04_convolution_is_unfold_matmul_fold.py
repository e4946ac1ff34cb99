"""Solutions of notebook 04."""

import torch

from mvit_lib.patches import im2col, output_size


def output_length(n: int, kernel_size: int, stride: int, padding: int, dilation: int) -> int:
    # K pixels with gaps between them span dilation·(K − 1) + 1 pixels, not dilation·K.
    # Padding adds pixels at both ends; what the span leaves over is room to move.
    # The first position needs no room, every further one needs `stride`; // drops the rest.
    span = dilation * (kernel_size - 1) + 1
    room = n + 2 * padding - span
    return room // stride + 1


def convolve_one_channel(x: torch.Tensor, kernel: torch.Tensor, stride: int, dilation: int) -> torch.Tensor:
    # One loop for each letter of the formula: (i, j) walks over the output, (u, v) over the kernel.
    # The window starts at (i·stride, j·stride); its pixels lie `dilation` apart.
    # new_zeros takes the type of x, and += collects the products of one window.
    (H, W), (kh, kw) = x.shape, kernel.shape
    oH = (H - dilation * (kh - 1) - 1) // stride + 1
    oW = (W - dilation * (kw - 1) - 1) // stride + 1
    y = x.new_zeros(oH, oW)
    for i in range(oH):
        for j in range(oW):
            for u in range(kh):
                for v in range(kw):
                    y[i, j] += kernel[u, v] * x[i * stride + u * dilation, j * stride + v * dilation]
    return y  # [oH, oW]


def windows_to_columns(x: torch.Tensor, kernel_size: tuple[int, int], stride: int) -> torch.Tensor:
    # A loop over the kh·kw cells is short; a loop over the L windows would be long.
    # What cell (u, v) sees at all positions is one slice of the map: start u, step `stride`, oH rows.
    # Stacked behind the channel axis, rows run channel by channel, as weight.reshape(O, -1) does.
    (B, C, H, W), (kh, kw) = x.shape, kernel_size
    oH, oW = (H - kh) // stride + 1, (W - kw) // stride + 1
    cells = [
        x[:, :, u : u + stride * (oH - 1) + 1 : stride, v : v + stride * (oW - 1) + 1 : stride]
        for u in range(kh)
        for v in range(kw)
    ]  # each [B, C, oH, oW]
    return torch.stack(cells, dim=2).reshape(B, C * kh * kw, oH * oW)  # [B, C·kh·kw, L]


def convolve_in_groups(
    x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int, groups: int
) -> torch.Tensor:
    # Rows of the columns run channel by channel, so a group of channels is a block of rows: a reshape.
    # The outputs are split in the same way, and @ multiplies each block by its own matrix.
    # No zeros are stored or multiplied: M has O·C/groups·kh·kw numbers.
    (B, _, H, W), (out_channels, per_group, kh, kw) = x.shape, weight.shape
    columns = im2col(x, (kh, kw), stride, padding)  # [B, C·kh·kw, L]
    columns = columns.reshape(B, groups, per_group * kh * kw, -1)  # [B, groups, C/groups·kh·kw, L]
    matrix = weight.reshape(groups, -1, per_group * kh * kw)  # [groups, O/groups, C/groups·kh·kw]
    size = output_size((H, W), (kh, kw), stride, padding)
    return (matrix @ columns).reshape(B, out_channels, *size)  # [B, O, oH, oW]


def columns_to_pixels(
    columns: torch.Tensor, size: tuple[int, int], kernel_size: tuple[int, int], stride: int
) -> torch.Tensor:
    # The same slices as in windows_to_columns, but written to instead of read from.
    # Windows overlap, so a pixel gets several numbers: += adds them up, = would keep the last.
    # Within one slice no pixel occurs twice, so adding a whole slice at once is safe.
    (H, W), (kh, kw) = size, kernel_size
    oH, oW = (H - kh) // stride + 1, (W - kw) // stride + 1
    B = columns.shape[0]
    cells = columns.reshape(B, -1, kh * kw, oH, oW)  # [B, C, kh·kw, oH, oW]
    x = columns.new_zeros(B, cells.shape[1], H, W)  # [B, C, H, W]
    for k in range(kh * kw):
        u, v = divmod(k, kw)
        rows = slice(u, u + stride * (oH - 1) + 1, stride)
        x[:, :, rows, v : v + stride * (oW - 1) + 1 : stride] += cells[:, :, k]
    return x  # [B, C, H, W]
