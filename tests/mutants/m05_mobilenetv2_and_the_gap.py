"""Plausible wrong answers to 05.1 to 05.3, each with the message that must refuse it."""

import torch
import torch.nn.functional as F

from mvit_lib.cost import conv_cost
from mvit_lib.layers import InvertedResidual
from mvit_lib.patches import conv2d_by_matmul

# 05.1


def halved(n, stride):
    return -(-n // stride)


def counted(separable, pixels=lambda H, W, s: halved(H, s) * halved(W, s)):
    """Right but for the weights of the separable convolution, or for the pixels."""

    def call(C, out, K, stride, size):
        area, weights = pixels(*size, stride), separable(C, out, K)
        return K * K * C * out, K * K * C * out * area, weights, weights * area

    return call


def right(C, out, K):
    return K * K * C + C * out


def without_pointwise(*arguments):
    return counted(lambda C, out, K: K * K * C)(*arguments)


def depthwise_kernels_are_deep(*arguments):
    return counted(lambda C, out, K: K * K * C * C + C * out)(*arguments)


def depthwise_makes_all_outputs(*arguments):
    return counted(lambda C, out, K: K * K * out + C * out)(*arguments)


def multiplies_the_parts(*arguments):
    return counted(lambda C, out, K: K * K * C * C * out)(*arguments)


def pixels_of_the_input(*arguments):
    return counted(right, lambda H, W, s: H * W)(*arguments)


def rounds_down(*arguments):
    return counted(right, lambda H, W, s: (H // s) * (W // s))(*arguments)


def one_stride_only(*arguments):
    return counted(right, lambda H, W, s: H * W // s)(*arguments)


def pointwise_on_the_large_map(C, out, K, stride, size):
    full, macs, separable, _ = counted(right)(C, out, K, stride, size)
    return full, macs, separable, K * K * C * macs // full + C * out * size[0] * size[1]


def weights_first(*arguments):
    full, macs, separable, separable_macs = counted(right)(*arguments)
    return full, separable, macs, separable_macs


def with_biases(C, out, K, stride, size):
    full, macs, separable, separable_macs = counted(right)(C, out, K, stride, size)
    return full + out, macs, separable + C + out, separable_macs


def height_for_both(*arguments):
    return counted(right, lambda H, W, s: halved(H, s) ** 2)(*arguments)


def floats(C, out, K, stride, size):
    full, macs, separable, _ = counted(right)(C, out, K, stride, size)
    return full, macs, separable, separable * (size[0] / stride) * (size[1] / stride)


def divides_the_pair(C, out, K, stride, size):
    H, W = size // stride
    return counted(right)(C, out, K, 1, (H, W))


def returns_two(*arguments):
    return counted(right)(*arguments)[::2]


def asks_the_library(C, out, K, stride, size):
    pixels = halved(size[0], stride) * halved(size[1], stride)
    full = conv_cost(C, out, K, pixels)
    both = conv_cost(C, C, K, pixels, groups=C) + conv_cost(C, out, 1, pixels)
    return full.parameters, full.macs, both.parameters, both.macs


# 05.2


def shifted_copies(x, weight, stride, *, padding=None, cell=None, collect=True, step=None):
    """K² slices, each times a weight, with room for mistakes."""
    (H, W), K = x.shape[2:], weight.shape[-1]
    p = K // 2 if padding is None else padding
    oH, oW = ((n + 2 * p - K) // stride + 1 for n in (H, W))
    x = F.pad(x, (p, p, p, p))
    cell, step = cell or (lambda u, v: weight[:, 0, u, v].view(-1, 1, 1)), step or stride
    y = x.new_zeros(x.shape[0], x.shape[1], oH, oW)
    for u in range(K):
        for v in range(K):
            rows, columns = slice(u, u + step * (oH - 1) + 1, step), slice(v, v + step * (oW - 1) + 1, step)
            term = x[:, :, rows, columns] * cell(u, v)
            y = y + term if collect else term
    return y


def first_kernel_for_all(x, weight, stride):
    return shifted_copies(x, weight, stride, cell=lambda u, v: weight[0, 0, u, v])


def without_padding(x, weight, stride):
    return shifted_copies(x, weight, stride, padding=0)


def pads_by_one(x, weight, stride):
    return shifted_copies(x, weight, stride, padding=1)


def slices_padded_by_one(x, weight, stride):
    return slices_without_padding(x, weight, stride, padding=1)


def slices_without_padding(x, weight, stride, padding=0):
    """As many outputs as there should be, whatever the padding."""
    (H, W), K = x.shape[2:], weight.shape[-1]
    y = x.new_zeros(*x.shape[:2], halved(H, stride), halved(W, stride))
    x = F.pad(x, (padding,) * 4)
    for u in range(K):
        for v in range(K):
            y = y + x[:, :, u : u + H : stride, v : v + W : stride] * weight[:, 0, u, v].view(-1, 1, 1)
    return y


def rolls_the_map(x, weight, stride):
    p, y = weight.shape[-1] // 2, 0
    for u in range(2 * p + 1):
        for v in range(2 * p + 1):
            y = y + x.roll((p - u, p - v), (2, 3)) * weight[:, 0, u, v].view(-1, 1, 1)
    return y[:, :, ::stride, ::stride]


def loops_to_three(x, weight, stride):
    return shifted_copies(x, F.pad(weight[:, :, :3, :3], (0, weight.shape[-1] - 3) * 2), stride)


def swaps_u_and_v(x, weight, stride):
    return shifted_copies(x, weight, stride, cell=lambda u, v: weight[:, 0, v, u].view(-1, 1, 1))


def turns_the_kernel(x, weight, stride):
    return shifted_copies(x, weight, stride, cell=lambda u, v: weight[:, 0, -1 - u, -1 - v].view(-1, 1, 1))


def ignores_stride(x, weight, stride):
    return shifted_copies(x, weight, 1)


def one_apart(x, weight, stride):
    return shifted_copies(x, weight, stride, step=1)


def keeps_the_last(x, weight, stride):
    return shifted_copies(x, weight, stride, collect=False)


def adds_up_channels(x, weight, stride):
    return shifted_copies(x, weight, stride).sum(1, keepdim=True).expand_as(x[:, :, ::stride, ::stride])


def weights_along_the_columns(x, weight, stride):
    return shifted_copies(x, weight, stride, cell=lambda u, v: weight[:, 0, u, v])


def always_float(x, weight, stride):
    return shifted_copies(x.float(), weight.float(), stride)


def cuts_the_gradient(x, weight, stride):
    return shifted_copies(x, weight.detach(), stride)


def returns_nothing(x, weight, stride):
    print(end="")


def asks_torch(x, weight, stride):
    return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight))


def asks_torch_in_three_dimensions(x, weight, stride):
    steps, padding = (1, stride, stride), (0, *[weight.shape[-1] // 2] * 2)
    return F.conv3d(x[:, :, None], weight[:, :, None], None, steps, padding, 1, len(weight))[:, :, 0]


def asks_below_torch(x, weight, stride):
    padding, rest = [weight.shape[-1] // 2] * 2, ([1, 1], False, [0, 0], len(weight))
    return torch.ops.aten.convolution(x, weight, None, [stride, stride], padding, *rest)


def asks_the_matmul(x, weight, stride):
    return conv2d_by_matmul(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight))


# 05.3


def three_steps(x, expand, depthwise, project, stride, *, acts=(F.silu, F.silu, None), strides=None):
    """Expand, depthwise, project: what the block does before the residual."""
    first, second, third = strides or (1, stride, 1)
    y = F.conv2d(x, expand, stride=first)
    y = acts[0](y) if acts[0] else y
    y = F.conv2d(y, depthwise, stride=second, padding=1, groups=len(depthwise))
    y = acts[1](y) if acts[1] else y
    y = F.conv2d(y, project, stride=third)
    return acts[2](y) if acts[2] else y


def with_rule(x, y, stride):
    return x + y if stride == 1 and x.shape == y.shape else y


def activates_the_end(x, e, d, p, stride):
    return with_rule(x, three_steps(x, e, d, p, stride, acts=(F.silu, F.silu, F.silu)), stride)


def activates_the_sum(x, e, d, p, stride):
    return F.silu(with_rule(x, three_steps(x, e, d, p, stride), stride))


def forgets_the_second_activation(x, e, d, p, stride):
    return with_rule(x, three_steps(x, e, d, p, stride, acts=(F.silu, None, None)), stride)


def forgets_the_first_activation(x, e, d, p, stride):
    return with_rule(x, three_steps(x, e, d, p, stride, acts=(None, F.silu, None)), stride)


def uses_relu(x, e, d, p, stride):
    return with_rule(x, three_steps(x, e, d, p, stride, acts=(F.relu, F.relu, None)), stride)


def uses_relu6(x, e, d, p, stride):
    return with_rule(x, three_steps(x, e, d, p, stride, acts=(F.relu6, F.relu6, None)), stride)


def adds_only_where_it_widens(x, e, d, p, stride):
    y = three_steps(x, e, d, p, stride)
    return x + y if stride == 1 and x.shape[1] == y.shape[1] != len(e) else y


def leaves_out_a_square_first(x, e, d, p, stride):
    y = x if e.shape[0] == e.shape[1] else F.silu(F.conv2d(x, e))
    y = F.silu(F.conv2d(y, d, stride=stride, padding=1, groups=len(d)))
    return with_rule(x, F.conv2d(y, p), stride)


def groups_of_the_input(x, e, d, p, stride):
    y = F.silu(F.conv2d(x, e))
    return F.conv2d(F.silu(F.conv2d(y, d, stride=stride, padding=1, groups=x.shape[1])), p)


def never_adds(x, e, d, p, stride):
    return three_steps(x, e, d, p, stride)


def adds_when_widths_agree(x, e, d, p, stride):
    y = three_steps(x, e, d, p, stride)
    return x + y if x.shape[1] == y.shape[1] else y


def adds_when_stride_is_one(x, e, d, p, stride):
    y = three_steps(x, e, d, p, stride)
    return x + y if stride == 1 else y


def adds_one_channel_to_many(x, e, d, p, stride):
    y = three_steps(x, e, d, p, stride)
    return x + y if stride == 1 and x.shape[1] in (1, y.shape[1]) else y


def compares_shapes(x, e, d, p, stride):
    y = three_steps(x, e, d, p, stride)
    return x + y if x.shape == y.shape else y


def adds_where_it_broadcasts(x, e, d, p, stride):
    y = three_steps(x, e, d, p, stride)
    try:
        return x + y
    except RuntimeError:
        return y


def strides_first(x, e, d, p, stride):
    return with_rule(x, three_steps(x, e, d, p, stride, strides=(stride, 1, 1)), stride)


def writes_into_x(x, e, d, p, stride):
    y = three_steps(x, e, d, p, stride)
    return x.add_(y) if stride == 1 and x.shape == y.shape else y


def forgets_the_padding(x, e, d, p, stride):
    y = F.silu(F.conv2d(F.silu(F.conv2d(x, e)), d, stride=stride, groups=len(d)))
    y = F.conv2d(y, p)
    return x + y if stride == 1 and x.shape[1] == y.shape[1] else y


def forgets_the_padding_and_compares_shapes(x, e, d, p, stride):
    y = F.silu(F.conv2d(F.silu(F.conv2d(x, e)), d, stride=stride, groups=len(d)))
    return with_rule(x, F.conv2d(y, p), stride)


def forgets_groups(x, e, d, p, stride):
    return F.conv2d(F.silu(F.conv2d(F.silu(F.conv2d(x, e)), d, stride=stride, padding=1)), p)


def asks_the_block(x, e, d, p, stride):
    block = InvertedResidual(x.shape[1], len(p), stride=stride, expansion=len(e) / x.shape[1])
    block.eval().to(x.dtype)(x)
    return with_rule(x, three_steps(x, e, d, p, stride), stride)


MUTANTS = {
    "05.1": {
        without_pointwise: "Did you forget the 1 × 1 convolution",
        depthwise_kernels_are_deep: "Is your depthwise kernel C channels deep?",
        depthwise_makes_all_outputs: "Does your depthwise convolution make O maps?",
        multiplies_the_parts: "Did you multiply the two parts?",
        pixels_of_the_input: "Did you multiply by the pixels of the input?",
        rounds_down: "Did you round the output's size down?",
        one_stride_only: "Did you divide the pixels by the stride once?",
        pointwise_on_the_large_map: "Does your 1 × 1 run on the large map?",
        weights_first: "Are the numbers in another order?",
        with_biases: "Do you count biases?",
        height_for_both: "Did you take H for both sides?",
        floats: "expected a whole number, got 2880.0: `/` gives a float.",
        divides_the_pair: "size is a pair",
        returns_two: "expected four numbers, got (216, 60)",
        asks_the_library: "what you are to build",
    },
    "05.2": {
        first_kernel_for_all: "Does every channel use the first kernel?",
        without_padding: "Did you leave out the padding?",
        pads_by_one: "Do you pad by one pixel?",
        slices_without_padding: "It is K // 2.",
        slices_padded_by_one: "It is K // 2.",
        rolls_the_map: "come in again on the other?",
        loops_to_three: "Do your loops end at 3?",
        swaps_u_and_v: "Did you swap u and v?",
        turns_the_kernel: "Did you turn the kernel around?",
        ignores_stride: "Did you leave out the stride?",
        one_apart: "Do your windows start one pixel apart?",
        keeps_the_last: "Does the last product overwrite the sum?",
        adds_up_channels: "Did you add up the channels?",
        weights_along_the_columns: "view(-1, 1, 1) gives them two",
        always_float: "given float64 your function returns torch.float32",
        cuts_the_gradient: "no gradient comes back",
        returns_nothing: "did you forget `return`?",
        asks_torch: "what you are to build",
        asks_torch_in_three_dimensions: "`conv3d` does what you are to build",
        asks_below_torch: "`convolution` does what you are to build",
        asks_the_matmul: "what you are to build",
    },
    "05.3": {
        activates_the_end: "Is there an activation after the last 1 × 1?",
        activates_the_sum: "Is there an activation after the sum?",
        forgets_the_second_activation: "Is the activation after the depthwise convolution missing?",
        forgets_the_first_activation: "Is the activation after `expand` missing?",
        uses_relu: "Is it ReLU?",
        uses_relu6: "Is it ReLU6, as in MobileNetV2 itself?",
        adds_only_where_it_widens: "Did you forget to add x?",
        leaves_out_a_square_first: "Did you leave out the first 1 × 1 where it does not widen?",
        groups_of_the_input: "The depthwise kernel is [hidden, 1, 3, 3]: groups=hidden.",
        never_adds: "Did you forget to add x?",
        adds_when_widths_agree: "x and the result differ in shape: here x must not be added.",
        adds_when_stride_is_one: "x and the result differ in shape: here x must not be added.",
        adds_one_channel_to_many: "Do you add x whenever the stride is 1?",
        compares_shapes: "Do you compare shapes?",
        adds_where_it_broadcasts: "Do you add x",
        strides_first: "Is the stride in the first convolution?",
        writes_into_x: "your function changes its first argument",
        forgets_the_padding: "The depthwise convolution must keep the size: padding 1.",
        forgets_the_padding_and_compares_shapes: "Is the padding missing?",
        forgets_groups: "The depthwise kernel is [hidden, 1, 3, 3]: groups=hidden.",
        asks_the_block: "what you are to build",
    },
}
