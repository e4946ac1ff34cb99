"""Plausible wrong answers to 04.4 and 04.5, each with the message that must refuse it."""

import torch
import torch.nn.functional as F

from mvit_lib.patches import col2im, conv2d_by_matmul, im2col, output_size

# 04.4


def by_matmul(x, weight, stride, padding, groups, prepare=lambda t: t, finish=lambda t: t):
    """The right way, with a mistake before or after it."""
    x = prepare(x)
    B, (out_channels, per_group, kh, kw) = len(x), weight.shape
    columns = im2col(x, (kh, kw), stride, padding).reshape(B, groups, per_group * kh * kw, -1)
    y = weight.reshape(groups, -1, per_group * kh * kw) @ columns
    return finish(y).reshape(B, out_channels, *output_size(x.shape[2:], (kh, kw), stride, padding))


def cards(t, axis, groups):
    return t.unflatten(axis, (-1, groups)).transpose(axis, axis + 1).flatten(axis, axis + 1)


def only_the_first_group(x, weight, stride, padding, groups):
    return by_matmul(x[:, : weight.shape[1]], weight, stride, padding, 1)


def deals_channels(x, weight, stride, padding, groups):
    return by_matmul(x, weight, stride, padding, groups, prepare=lambda t: cards(t, 1, groups))


def interleaves_outputs(x, weight, stride, padding, groups):
    return by_matmul(x, weight, stride, padding, groups, finish=lambda t: t.transpose(1, 2))


def deals_weights(x, weight, stride, padding, groups):
    return by_matmul(x, cards(weight, 0, groups), stride, padding, groups)


def forgets_groups(x, weight, stride, padding, groups):
    B, (out_channels, _, kh, kw) = len(x), weight.shape
    y = weight.reshape(out_channels, -1) @ im2col(x, (kh, kw), stride, padding)
    return y.reshape(B, out_channels, *output_size(x.shape[2:], (kh, kw), stride, padding))


def no_group_axis_on_the_matrix(x, weight, stride, padding, groups):
    B, (out_channels, per_group, kh, kw) = len(x), weight.shape
    columns = im2col(x, (kh, kw), stride, padding).reshape(B, groups, per_group * kh * kw, -1)
    y = weight.reshape(out_channels, -1) @ columns
    return y.reshape(B, out_channels, *output_size(x.shape[2:], (kh, kw), stride, padding))


def forgets_stride(x, weight, stride, padding, groups):
    return by_matmul(x, weight, 1, padding, groups)


def forgets_padding(x, weight, stride, padding, groups):
    return by_matmul(x, weight, stride, 0, groups)


def group_axis_first(x, weight, stride, padding, groups):
    B, (out_channels, per_group, kh, kw) = len(x), weight.shape
    columns = im2col(x, (kh, kw), stride, padding).reshape(B, groups, per_group * kh * kw, -1)
    y = weight.reshape(groups, 1, -1, per_group * kh * kw) @ columns
    return y.reshape(B, out_channels, *output_size(x.shape[2:], (kh, kw), stride, padding))


def keeps_the_size(x, weight, stride, padding, groups):
    B, (out_channels, per_group, kh, kw) = len(x), weight.shape
    columns = im2col(x, (kh, kw), stride, padding).reshape(B, groups, per_group * kh * kw, -1)
    return (weight.reshape(groups, -1, per_group * kh * kw) @ columns).reshape(B, out_channels, *x.shape[2:])


def detaches(x, weight, stride, padding, groups):
    return by_matmul(x, weight.detach(), stride, padding, groups)


def calls_the_library(x, weight, stride, padding, groups):
    return conv2d_by_matmul(x, weight, None, stride, padding, 1, groups)


def calls_torch(x, weight, stride, padding, groups):
    return F.conv2d(x, weight, None, stride, padding, 1, groups)


# 04.5


def writes(columns, size, kernel_size, stride, add=True, rows_inside=False):
    (H, W), (kh, kw) = size, kernel_size
    oH, oW = (H - kh) // stride + 1, (W - kw) // stride + 1
    B, C = len(columns), columns.shape[1] // (kh * kw)
    if rows_inside:
        cells = columns.reshape(B, kh * kw, C, oH, oW).transpose(1, 2)
    else:
        cells = columns.reshape(B, C, kh * kw, oH, oW)
    x = columns.new_zeros(B, C, H, W)
    for k in range(kh * kw):
        u, v = divmod(k, kw)
        rows = slice(u, u + stride * (oH - 1) + 1, stride)
        cols = slice(v, v + stride * (oW - 1) + 1, stride)
        x[:, :, rows, cols] = cells[:, :, k] + (x[:, :, rows, cols] if add else 0)
    return x


def window_by_window_without_adding(columns, size, kernel_size, stride):
    (_, W), (kh, kw) = size, kernel_size
    oW = (W - kw) // stride + 1
    B, C = len(columns), columns.shape[1] // (kh * kw)
    x = columns.new_zeros(B, C, *size)
    for position in range(columns.shape[2]):
        i, j = position // oW * stride, position % oW * stride
        x[:, :, i : i + kh, j : j + kw] = columns[:, :, position].reshape(B, C, kh, kw)
    return x


def cell_by_cell_without_adding(columns, size, kernel_size, stride):
    return writes(columns, size, kernel_size, stride, add=False)


def starts_one_apart(columns, size, kernel_size, stride):
    (H, W), (kh, kw) = size, kernel_size
    oH, oW = (H - kh) // stride + 1, (W - kw) // stride + 1
    cells = columns.reshape(len(columns), -1, kh * kw, oH, oW)
    x = columns.new_zeros(len(columns), cells.shape[1], H, W)
    for k in range(kh * kw):
        x[:, :, k // kw : k // kw + oH, k % kw : k % kw + oW] += cells[:, :, k]
    return x


def counts_down_the_map(columns, size, kernel_size, stride):
    oH = (size[0] - kernel_size[0]) // stride + 1
    return writes(columns.unflatten(2, (-1, oH)).transpose(2, 3).flatten(2), size, kernel_size, stride)


def adds_to_empty(columns, size, kernel_size, stride):
    y = writes(columns, size, kernel_size, stride)
    return torch.empty_like(y) + y


def as_many_windows_as_steps(columns, size, kernel_size, stride):
    (H, W), (kh, kw) = size, kernel_size
    return columns.reshape(len(columns), -1, kh * kw, H // stride, W // stride)


def mean_of_overlaps(columns, size, kernel_size, stride):
    counts = writes(torch.ones_like(columns), size, kernel_size, stride)
    return writes(columns, size, kernel_size, stride) / counts.clamp(min=1)


def adds_by_index(columns, size, kernel_size, stride):
    B, C = len(columns), columns.shape[1] // (kernel_size[0] * kernel_size[1])
    pixels = torch.arange(size[0] * size[1]).reshape(1, 1, *size)
    places = im2col(pixels, kernel_size, stride).flatten()
    x = columns.new_zeros(B, C, size[0] * size[1])
    x[:, :, places] += columns.reshape(B, C, -1)
    return x.reshape(B, C, *size)


def by_autograd(columns, size, kernel_size, stride):
    C = columns.shape[1] // (kernel_size[0] * kernel_size[1])
    x = columns.new_zeros(len(columns), C, *size).requires_grad_()
    return torch.autograd.grad(im2col(x, kernel_size, stride), x, columns)[0]


def rows_pixel_by_pixel(columns, size, kernel_size, stride):
    return writes(columns, size, kernel_size, stride, rows_inside=True)


def covered(columns, size, kernel_size, stride):
    """Only as many pixels as windows reach."""
    reach = [(n - k) // stride * stride + k for n, k in zip(size, kernel_size, strict=True)]
    return writes(columns, reach, kernel_size, stride)


def unread_pixels_first(columns, size, kernel_size, stride):
    x = covered(columns, size, kernel_size, stride)
    return F.pad(x, (size[1] - x.shape[3], 0, size[0] - x.shape[2], 0))


def adds_to_open_slices(columns, size, kernel_size, stride):
    (H, W), (kh, kw) = size, kernel_size
    oH, oW = (H - kh) // stride + 1, (W - kw) // stride + 1
    cells = columns.reshape(len(columns), -1, kh * kw, oH, oW)
    x = columns.new_zeros(len(columns), cells.shape[1], H, W)
    for k in range(kh * kw):
        x[:, :, k // kw :: stride, k % kw :: stride] += cells[:, :, k]
    return x


def one_channel_only(columns, size, kernel_size, stride):
    (H, W), (kh, kw) = size, kernel_size
    return columns.reshape(len(columns), kh * kw, (H - kh) // stride + 1, (W - kw) // stride + 1)


def fills_with_float32(columns, size, kernel_size, stride):
    return writes(columns, size, kernel_size, stride).float()


def calls_fold(columns, size, kernel_size, stride):
    return F.fold(columns, size, kernel_size, stride=stride)


def calls_col2im(columns, size, kernel_size, stride):
    return col2im(columns, size, kernel_size, stride)


MUTANTS = {
    "04.4": {
        only_the_first_group: "Do all your outputs read the channels of the first group?",
        deals_channels: "Did you deal the channels out like cards?",
        interleaves_outputs: "Are your outputs interleaved?",
        deals_weights: "Did you split the matrix the other way round?",
        forgets_groups: "The matrix needs a column for each row of the columns",
        group_axis_first: "Put the group axis right before the last two",
        no_group_axis_on_the_matrix: "Then M has no group axis",
        forgets_stride: "Did you leave out the stride?",
        forgets_padding: "Did you leave out the padding?",
        keeps_the_size: "is oH·oW the L that im2col gave?",
        detaches: "no gradient comes back",
        calls_the_library: "`conv2d_by_matmul` does what you are to build",
        calls_torch: "`conv2d` does what you are to build",
    },
    "04.5": {
        window_by_window_without_adding: "Did you write with = ? The next window",
        cell_by_cell_without_adding: "Did you write with = ? The next cell",
        mean_of_overlaps: "Did you take the mean?",
        starts_one_apart: "Do your windows start one pixel apart?",
        counts_down_the_map: "Do your columns run down the map first?",
        adds_to_empty: "Begin with new_zeros",
        rows_pixel_by_pixel: "Do you read the rows as kh·kw cells with C channels inside?",
        covered: "your result has shape [2, 3, 6, 7], expected [2, 3, 6, 8]",
        unread_pixels_first: "goes to another pixel than the one unfold reads for it",
        adds_to_open_slices: "More or fewer numbers than fit",
        one_channel_only: "Let -1 find C",
        as_many_windows_as_steps: "Is oH·oW the L of the columns?",
        adds_by_index: "there it needs x.index_add_",
        by_autograd: "only with create_graph=True",
        fills_with_float32: "here it is columns.dtype",
        calls_fold: "`fold` and `col2im` do what you are to build",
        calls_col2im: "`col2im` does what you are to build",
    },
}
