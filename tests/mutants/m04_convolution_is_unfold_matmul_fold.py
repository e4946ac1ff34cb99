"""Plausible wrong answers to the exercises of notebook 04, each with the message that must refuse it."""

import torch
import torch.nn.functional as F

from mvit_lib.patches import col2im, conv2d_by_matmul, im2col, output_size

# 04.1


def forgets_plus_one(n, kernel_size, stride, padding, dilation):
    return (n + 2 * padding - dilation * (kernel_size - 1) - 1) // stride


def pads_one_end(n, kernel_size, stride, padding, dilation):
    return (n + padding - dilation * (kernel_size - 1) - 1) // stride + 1


def ignores_dilation(n, kernel_size, stride, padding, dilation):
    return (n + 2 * padding - kernel_size) // stride + 1


def span_without_gaps(n, kernel_size, stride, padding, dilation):
    return (n + 2 * padding - dilation * kernel_size) // stride + 1


def rounds_up(n, kernel_size, stride, padding, dilation):
    return -(-(n + 2 * padding - dilation * (kernel_size - 1) - 1) // stride) + 1


def divides_n(n, kernel_size, stride, padding, dilation):
    return n // stride


def divides_with_slash(n, kernel_size, stride, padding, dilation):
    return (n + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1


def returns_nothing(n, kernel_size, stride, padding, dilation):
    print(end="")


def asks_the_library(n, kernel_size, stride, padding, dilation):
    return output_size((n, n), kernel_size, stride, padding, dilation)[0]


# 04.2


def loops(x, kernel, stride, dilation, term, collect=True):
    (H, W), (kh, kw) = x.shape, kernel.shape
    oH = (H - dilation * (kh - 1) - 1) // stride + 1
    oW = (W - dilation * (kw - 1) - 1) // stride + 1
    y = x.new_zeros(oH, oW)
    for i in range(oH):
        for j in range(oW):
            for u in range(kh):
                for v in range(kw):
                    value = term(i, j, u, v)
                    y[i, j] = y[i, j] + value if collect else value
    return y


def overwrites(x, kernel, stride, dilation):
    def term(i, j, u, v):
        return kernel[u, v] * x[i * stride + u * dilation, j * stride + v * dilation]

    return loops(x, kernel, stride, dilation, term, collect=False)


def flips_the_kernel(x, kernel, stride, dilation):
    def term(i, j, u, v):
        return kernel[-1 - u, -1 - v] * x[i * stride + u * dilation, j * stride + v * dilation]

    return loops(x, kernel, stride, dilation, term)


def forgets_stride(x, kernel, stride, dilation):
    return loops(
        x, kernel, stride, dilation, lambda i, j, u, v: kernel[u, v] * x[i + u * dilation, j + v * dilation]
    )


def forgets_dilation(x, kernel, stride, dilation):
    return loops(
        x, kernel, stride, dilation, lambda i, j, u, v: kernel[u, v] * x[i * stride + u, j * stride + v]
    )


def output_as_large_as_input(x, kernel, stride, dilation):
    (H, W), (kh, kw) = x.shape, kernel.shape
    y = torch.zeros(H, W)
    for i in range(H):
        for j in range(W):
            for u in range(kh):
                for v in range(kw):
                    y[i, j] += kernel[u, v] * x[i * stride + u * dilation, j * stride + v * dilation]
    return y


def swaps_kernel_axes(x, kernel, stride, dilation):
    def term(i, j, u, v):
        return kernel[v, u] * x[i * stride + u * dilation, j * stride + v * dilation]

    return loops(x, kernel, stride, dilation, term)


def slice_without_dilation_step(x, kernel, stride, dilation):
    (H, W), (kh, kw) = x.shape, kernel.shape
    oH, oW = (H - dilation * (kh - 1) - 1) // stride + 1, (W - dilation * (kw - 1) - 1) // stride + 1
    y = x.new_zeros(oH, oW)
    for i in range(oH):
        for j in range(oW):
            a, b = i * stride, j * stride
            y[i, j] = (kernel * x[a : a + dilation * kh, b : b + dilation * kw]).sum()
    return y


def float_size(x, kernel, stride, dilation):
    for _ in range((x.shape[0] - kernel.shape[0]) / stride + 1):
        pass


def through_item(x, kernel, stride, dilation):
    return loops(x, kernel, stride, dilation, lambda i, j, u, v: (
        kernel[u, v].item() * x[i * stride + u * dilation, j * stride + v * dilation].item()))  # fmt: skip


def calls_conv2d(x, kernel, stride, dilation):
    return F.conv2d(x[None, None], kernel[None, None], stride=stride, dilation=dilation)[0, 0]


# 04.3


def windows_of(x, kernel_size, stride):
    """[B, C, oH, oW, kh, kw], with no call that is forbidden."""
    columns = right_columns(x, kernel_size, stride)
    oH, oW = ((n - k) // stride + 1 for n, k in zip(x.shape[2:], kernel_size, strict=True))
    return columns.reshape(*x.shape[:2], *kernel_size, oH, oW).permute(0, 1, 4, 5, 2, 3)


def right_columns(x, kernel_size, stride):
    (B, C, H, W), (kh, kw) = x.shape, kernel_size
    oH, oW = (H - kh) // stride + 1, (W - kw) // stride + 1
    cells = [
        x[:, :, u : u + stride * (oH - 1) + 1 : stride, v : v + stride * (oW - 1) + 1 : stride]
        for u in range(kh)
        for v in range(kw)
    ]
    return torch.stack(cells, dim=2).reshape(B, C * kh * kw, oH * oW)


def pixel_by_pixel(x, kernel_size, stride):
    return windows_of(x, kernel_size, stride).permute(0, 4, 5, 1, 2, 3).flatten(4).flatten(1, 3)


def columns_of_the_kernel_first(x, kernel_size, stride):
    return windows_of(x, kernel_size, stride).permute(0, 1, 5, 4, 2, 3).flatten(4).flatten(1, 3)


def windows_as_rows(x, kernel_size, stride):
    return right_columns(x, kernel_size, stride).transpose(1, 2)


def reshaped_rows(x, kernel_size, stride):
    columns = right_columns(x, kernel_size, stride)
    return columns.transpose(1, 2).reshape(columns.shape)


def stacked_in_front(x, kernel_size, stride):
    columns = right_columns(x, kernel_size, stride)
    cells = windows_of(x, kernel_size, stride).permute(4, 5, 0, 1, 2, 3)
    return cells.reshape(columns.shape)


def stacks_windows_and_reshapes(x, kernel_size, stride):
    columns = right_columns(x, kernel_size, stride)
    return torch.stack(columns.unbind(2)).reshape(columns.shape)


def forgets_the_stride(x, kernel_size, stride):
    return right_columns(x, kernel_size, 1)


def starts_one_apart(x, kernel_size, stride):
    (kh, kw) = kernel_size
    oH, oW = ((n - k) // stride + 1 for n, k in zip(x.shape[2:], kernel_size, strict=True))
    windows = [x[:, :, i : i + kh, j : j + kw].flatten(1) for i in range(oH) for j in range(oW)]
    return torch.stack(windows, dim=2)


def open_slices(x, kernel_size, stride):
    (B, C, _, _), (kh, kw) = x.shape, kernel_size
    cells = [x[:, :, u::stride, v::stride] for u in range(kh) for v in range(kw)]
    return torch.stack(cells, dim=2).reshape(B, C * kh * kw, -1)


def forgets_channels(x, kernel_size, stride):
    columns = right_columns(x, kernel_size, stride)
    return columns.reshape(len(x), kernel_size[0] * kernel_size[1], columns.shape[2])


def through_numpy(x, kernel_size, stride):
    return torch.from_numpy(right_columns(x, kernel_size, stride).detach().numpy())


def calls_im2col(x, kernel_size, stride):
    return im2col(x, kernel_size, stride)


def calls_unfold(x, kernel_size, stride):
    windows = x.unfold(2, kernel_size[0], stride).unfold(3, kernel_size[1], stride)
    return windows.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)


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


def mean_of_overlaps(columns, size, kernel_size, stride):
    counts = writes(torch.ones_like(columns), size, kernel_size, stride)
    return writes(columns, size, kernel_size, stride) / counts.clamp(min=1)


def adds_by_index(columns, size, kernel_size, stride):
    B, C = len(columns), columns.shape[1] // (kernel_size[0] * kernel_size[1])
    pixels = torch.arange(size[0] * size[1]).reshape(1, 1, *size)
    places = right_columns(pixels, kernel_size, stride).flatten()
    x = columns.new_zeros(B, C, size[0] * size[1])
    x[:, :, places] += columns.reshape(B, C, -1)
    return x.reshape(B, C, *size)


def by_autograd(columns, size, kernel_size, stride):
    C = columns.shape[1] // (kernel_size[0] * kernel_size[1])
    x = columns.new_zeros(len(columns), C, *size).requires_grad_()
    return torch.autograd.grad(right_columns(x, kernel_size, stride), x, columns)[0]


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
    "04.1": {
        forgets_plus_one: "Did you forget the + 1?",
        pads_one_end: "It stands at both ends",
        ignores_dilation: "Did you leave out the dilation?",
        span_without_gaps: "Between K pixels lie K − 1 gaps",
        rounds_up: "Did you round up?",
        divides_n: "Did you divide n by the stride?",
        divides_with_slash: "expected a whole number, got 5.0: `//` divides",
        returns_nothing: "got None: did you forget `return`?",
        asks_the_library: "`mvit_lib` does what you are to build",
    },
    "04.2": {
        overwrites: "Does the last product overwrite the sum?",
        flips_the_kernel: "Did you turn the kernel around?",
        forgets_stride: "Do your windows start one pixel apart?",
        forgets_dilation: "Are the pixels of your window neighbours?",
        swaps_kernel_axes: "You read outside the kernel [2, 3]",
        output_as_large_as_input: "A window runs over the edge",
        slice_without_dilation_step: "Slice and kernel differ in shape",
        float_size: "`//` divides and rounds down",
        through_item: "no gradient comes back",
        calls_conv2d: "`conv2d` does what you are to build",
    },
    "04.3": {
        pixel_by_pixel: "Do your rows run pixel by pixel?",
        columns_of_the_kernel_first: "Does u run faster than v?",
        windows_as_rows: "Are your windows rows?",
        reshaped_rows: "Did you reshape where you wanted to swap axes?",
        stacked_in_front: "Is the new axis of your stack in front of the batch?",
        stacks_windows_and_reshapes: "Did you stack the windows in front and reshape?",
        forgets_the_stride: "Did you leave out the stride?",
        starts_one_apart: "Do your windows start one pixel apart?",
        open_slices: "Your slices differ in length",
        forgets_channels: "Are there C·K² rows and oH·oW columns in it?",
        through_numpy: "no gradient comes back",
        calls_im2col: "`mvit_lib` does what you are to build",
        calls_unfold: "`unfold` does what you are to build",
    },
    "04.4": {
        only_the_first_group: "Do all your outputs read the channels of the first group?",
        deals_channels: "Did you deal the channels out like cards?",
        interleaves_outputs: "Are your outputs interleaved?",
        deals_weights: "Did you split the matrix the other way round?",
        forgets_groups: "The matrix needs a column for each row of the columns",
        group_axis_first: "Put the group axis right before the last two",
        keeps_the_size: "Is oH·oW the L that im2col gave?",
        detaches: "no gradient comes back",
        calls_the_library: "`conv2d_by_matmul` does what you are to build",
        calls_torch: "`conv2d` does what you are to build",
    },
    "04.5": {
        window_by_window_without_adding: "Did you write with = ? The next window",
        cell_by_cell_without_adding: "Did you write with = ? The next cell",
        mean_of_overlaps: "Did you take the mean?",
        rows_pixel_by_pixel: "Do you read the rows as K² cells with C channels inside?",
        covered: "your result has shape [2, 3, 6, 7], expected [2, 3, 6, 8]",
        unread_pixels_first: "goes to another pixel than the one unfold reads for it",
        adds_to_open_slices: "More or fewer numbers than fit",
        one_channel_only: "Let -1 find C",
        adds_by_index: "there it needs x.index_add_",
        by_autograd: "only with create_graph=True",
        fills_with_float32: "here it is columns.dtype",
        calls_fold: "`fold` does what you are to build",
        calls_col2im: "`mvit_lib` does what you are to build",
    },
}
