"""Plausible wrong answers to 04.1 to 04.3, each with the message that must refuse it."""

import torch
import torch.nn.functional as F

from mvit_lib.patches import im2col, output_size

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


def indexes_by_pixels(x, kernel, stride, dilation):
    (kh, kw), y = kernel.shape, one_channel_zeros(x, kernel, stride, dilation)
    for i in range(0, x.shape[0] - dilation * (kh - 1), stride):
        for j in range(0, x.shape[1] - dilation * (kw - 1), stride):
            window = x[i : i + dilation * (kh - 1) + 1 : dilation, j : j + dilation * (kw - 1) + 1 : dilation]
            y[i, j] = (kernel * window).sum()
    return y


def one_channel_zeros(x, kernel, stride, dilation):
    return x.new_zeros(output_size(x.shape, tuple(kernel.shape), stride, 0, dilation))


def adds_to_empty(x, kernel, stride, dilation):
    y = torch.empty_like(one_channel_zeros(x, kernel, stride, dilation))
    y += loops(x, kernel, stride, dilation, lambda i, j, u, v: (
        kernel[u, v] * x[i * stride + u * dilation, j * stride + v * dilation]))  # fmt: skip
    return y


def slice_over_the_edge(x, kernel, stride, dilation):
    y = x.new_zeros(x.shape)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = (kernel * x[i : i + kernel.shape[0], j : j + kernel.shape[1]]).sum()
    return y


def float_size(x, kernel, stride, dilation):
    for _ in range((x.shape[0] - kernel.shape[0]) / stride + 1):
        pass


def through_item(x, kernel, stride, dilation):
    return loops(x, kernel, stride, dilation, lambda i, j, u, v: (
        kernel[u, v].item() * x[i * stride + u * dilation, j * stride + v * dilation].item()))  # fmt: skip


def calls_convolution(x, kernel, stride, dilation):
    settings = None, (stride, stride), (0, 0), (dilation, dilation), False, (0, 0), 1
    return torch.convolution(x[None, None], kernel[None, None], *settings)[0, 0]


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


def swaps_kernel_size(x, kernel_size, stride):
    return right_columns(x, kernel_size[::-1], stride)


def ends_too_early(x, kernel_size, stride):
    (_, _, H, W), (kh, kw) = x.shape, kernel_size
    corners = [(i, j) for i in range(0, H - kh, stride) for j in range(0, W - kw, stride)]
    return torch.stack([x[:, :, i : i + kh, j : j + kw].flatten(1) for i, j in corners], dim=2)


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
        asks_the_library: "`output_size` does what you are to build",
    },
    "04.2": {
        overwrites: "Does the last product overwrite the sum?",
        flips_the_kernel: "Did you turn the kernel around?",
        forgets_stride: "Do your windows start one pixel apart?",
        forgets_dilation: "Are the pixels of your window neighbours?",
        swaps_kernel_axes: "You read outside the kernel [2, 3]",
        output_as_large_as_input: "does a window run over the edge",
        indexes_by_pixels: "Do i and j count pixels?",
        adds_to_empty: "Begin with new_zeros",
        slice_over_the_edge: "Or does the window stand over the edge?",
        slice_without_dilation_step: "Slice and kernel differ in shape",
        float_size: "`//` divides and rounds down",
        through_item: "no gradient comes back",
        calls_conv2d: "`conv2d` does what you are to build",
        calls_convolution: "`convolution` does what you are to build",
    },
    "04.3": {
        pixel_by_pixel: "Do your rows run pixel by pixel?",
        columns_of_the_kernel_first: "Does u run faster than v?",
        windows_as_rows: "Are your windows rows?",
        reshaped_rows: "Did you reshape where you wanted to swap axes?",
        stacked_in_front: "Is the new axis of your stack in front of the batch?",
        stacks_windows_and_reshapes: "Did you stack the windows in front and reshape?",
        forgets_the_stride: "Did you leave out the stride?",
        swaps_kernel_size: "Did you swap kh and kw?",
        ends_too_early: "Do your windows end too early?",
        starts_one_apart: "Do your windows start one pixel apart?",
        open_slices: "Your slices differ in length",
        forgets_channels: "Are there C·kh·kw rows and oH·oW columns in it?",
        through_numpy: "no gradient comes back",
        calls_im2col: "`im2col` does what you are to build",
        calls_unfold: "`unfold` does what you are to build",
    },
}
