"""Plausible wrong answers to 05.4 and 05.5, each with the message that must refuse it."""

import torch
from torch import nn

from mvit_lib.look.figures.mobilenetv2_and_the_gap import pixel_gradient

# 05.4


def ignores_strides(layers):
    return 1 + sum(dilation * (kernel - 1) for kernel, _, dilation in layers)


def own_stride_too_early(layers):
    r, j = 1, 1
    for kernel, stride, dilation in layers:
        j *= stride
        r += dilation * (kernel - 1) * j
    return r


def ignores_dilation(layers):
    r, j = 1, 1
    for kernel, stride, _ in layers:
        r += (kernel - 1) * j
        j *= stride
    return r


def adds_the_kernel(layers):
    r, j = 1, 1
    for kernel, stride, dilation in layers:
        r += dilation * kernel * j
        j *= stride
    return r


def starts_at_zero(layers):
    r, j = 0, 1
    for kernel, stride, dilation in layers:
        r += dilation * (kernel - 1) * j
        j *= stride
    return r


def last_stride_only(layers):
    r, j = 1, 1
    for kernel, stride, dilation in layers:
        r += dilation * (kernel - 1) * j
        j = stride
    return r


def adds_strides(layers):
    r, j = 1, 1
    for kernel, stride, dilation in layers:
        r += dilation * (kernel - 1) * j
        j += stride - 1
    return r


def multiplies_windows(layers):
    r = 1
    for kernel, _, dilation in layers:
        r *= dilation * (kernel - 1) + 1
    return r


def counts_pixels_read(layers):
    read = {0}
    for kernel, stride, dilation in reversed(layers):
        read = {i * stride + k * dilation for i in read for k in range(kernel)}
    return len(read)


def empties_the_list(layers):
    r, j = 1, 1
    while layers:
        kernel, stride, dilation = layers.pop(0)
        r += dilation * (kernel - 1) * j
        j *= stride
    return r


def returns_both(layers):
    r, j = 1, 1
    for kernel, stride, dilation in layers:
        r, j = r + dilation * (kernel - 1) * j, j * stride
    return r, j


def divides(layers):
    r, j = 1, 1
    for kernel, stride, dilation in layers:
        r, j = r + dilation * (kernel - 1) / 2 * j * 2, j * stride
    return r


def forgets_there_is_dilation(layers):
    r, j = 1, 1
    for kernel, stride in layers:
        r, j = r + (kernel - 1) * j, j * stride
    return r


def prints_it(layers):
    print(end="")


def measures_with_autograd(layers):
    x = torch.zeros(1, 1, 1, 99, requires_grad=True)
    y = x
    for kernel, stride, dilation in layers:
        y = nn.functional.conv2d(y, torch.ones(1, 1, 1, kernel), None, (1, stride), 0, (1, dilation))
    return int(torch.autograd.grad(y[0, 0, 0, 0], x)[0].flatten().nonzero().max()) + 1


# 05.5


def gradient_of(pick, network, image):
    x = image.clone().requires_grad_()
    return torch.autograd.grad(pick(network(x)), x)[0][0]  # [C, H, W]


def mixed(y):
    return (y * torch.randn(len(y), generator=torch.Generator().manual_seed(1))).sum()


def sums_the_outputs(network, image, row, column):
    return (gradient_of(lambda y: y[0, :, row, column].sum(), network, image) != 0).any(0)


def first_output_only(network, image, row, column):
    return (gradient_of(lambda y: y[0, 0, row, column], network, image) != 0).any(0)


def whole_output(network, image, row, column):
    return (gradient_of(lambda y: y.square().sum(), network, image) != 0).any(0)


def sums_the_inputs(network, image, row, column):
    return gradient_of(lambda y: mixed(y[0, :, row, column]), network, image).sum(0).abs() > 1e-7


def first_input_only(network, image, row, column):
    return gradient_of(lambda y: mixed(y[0, :, row, column]), network, image)[0] != 0


def positive_only(network, image, row, column):
    return (gradient_of(lambda y: mixed(y[0, :, row, column]), network, image) > 0).any(0)


def positive_one_by_one(network, image, row, column):
    x = image.clone().requires_grad_()
    outputs = network(x)[0, :, row, column]
    grads = [torch.autograd.grad(y, x, retain_graph=True)[0][0] for y in outputs]
    return (torch.stack(grads) > 0).any(0).any(0)


def positive_after_adding_up(network, image, row, column):
    x = image.clone().requires_grad_()
    outputs = network(x)[0, :, row, column]
    return sum(torch.autograd.grad(y, x, retain_graph=True)[0][0] for y in outputs).sum(0) > 0


def asks_twice(network, image, row, column):
    x = image.clone().requires_grad_()
    outputs = network(x)[0, :, row, column]
    return torch.stack([(torch.autograd.grad(y, x)[0][0] != 0).any(0) for y in outputs]).any(0)


def measures_on_zeros(network, image, row, column):
    return (gradient_of(lambda y: mixed(y[0, :, row, column]), network, torch.zeros_like(image)) != 0).any(0)


def measures_on_noise(network, image, row, column):
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(5))
    return (gradient_of(lambda y: mixed(y[0, :, row, column]), network, noise) != 0).any(0)


def with_a_threshold(network, image, row, column):
    return (gradient_of(lambda y: mixed(y[0, :, row, column]), network, image).abs() > 1e-3).any(0)


def with_a_small_threshold(network, image, row, column):
    return (gradient_of(lambda y: mixed(y[0, :, row, column]), network, image).abs() > 1e-9).any(0)


def squares_the_outputs(network, image, row, column):
    return (gradient_of(lambda y: y[0, :, row, column].square().sum(), network, image) != 0).any(0)


def sums_sizes(network, image, row, column):
    return (gradient_of(lambda y: mixed(y[0, :, row, column].abs()), network, image) != 0).any(0)


def leaves_eval_mode(network, image, row, column):
    network.eval()
    return (gradient_of(lambda y: mixed(y[0, :, row, column]), network, image) != 0).any(0)


def freezes_the_weights(network, image, row, column):
    network.requires_grad_(False)
    return (gradient_of(lambda y: mixed(y[0, :, row, column]), network, image) != 0).any(0)


def swaps_row_and_column(network, image, row, column):
    return (gradient_of(lambda y: mixed(y[0, :, column, row]), network, image) != 0).any(0)


def keeps_the_channels(network, image, row, column):
    return gradient_of(lambda y: mixed(y[0, :, row, column]), network, image) != 0


def gives_the_gradient(network, image, row, column):
    return gradient_of(lambda y: mixed(y[0, :, row, column]), network, image).abs().sum(0)


def walks_through_the_weights(network, image, row, column):
    x = image.clone().requires_grad_()
    mixed(network(x)[0, :, row, column]).backward()
    return (x.grad[0] != 0).any(0)


def marks_the_image(network, image, row, column):
    image.requires_grad_()
    y = mixed(network(image)[0, :, row, column])
    return (torch.autograd.grad(y, image)[0][0] != 0).any(0)


def forgets_requires_grad(network, image, row, column):
    y = mixed(network(image.clone())[0, :, row, column])
    return (torch.autograd.grad(y, image)[0][0] != 0).any(0)


def many_outputs_at_once(network, image, row, column):
    return (gradient_of(lambda y: y[0, :, row, column], network, image) != 0).any(0)


def asks_the_library(network, image, row, column):
    return pixel_gradient(network, image, (row, column)) > 0


MUTANTS = {
    "05.4": {
        ignores_strides: "Did you leave out the strides?",
        own_stride_too_early: "Did you multiply j by this layer's stride too early?",
        ignores_dilation: "Did you leave out the dilation?",
        adds_the_kernel: "Do you add K per layer?",
        starts_at_zero: "Do you start at 0?",
        last_stride_only: "Do you use the last stride only?",
        adds_strides: "Do you add up the strides?",
        multiplies_windows: "Do you multiply the windows?",
        counts_pixels_read: "Do you count only the pixels that are read?",
        empties_the_list: "your function changes the list it is given",
        returns_both: "expected a whole number, got (3, 1): return r alone.",
        divides: "It stays whole: nothing is divided.",
        forgets_there_is_dilation: "Each layer has three numbers",
        prints_it: "did you forget `return`?",
        measures_with_autograd: "what you are to build",
    },
    "05.5": {
        sums_the_outputs: "Did you add up the output channels?",
        first_output_only: "Did you take the first output channel only?",
        whole_output: "Did you take the gradient of the whole output?",
        sums_the_inputs: "Did you add up the input channels' gradients?",
        first_input_only: "Did you look at the first input channel only?",
        positive_only: "do you count only positive gradients?",
        positive_one_by_one: "Do you count only positive gradients?",
        positive_after_adding_up: "do you count only positive gradients?",
        asks_twice: "Asking once frees the way back.",
        measures_on_zeros: "Do you measure on another image?",
        measures_on_noise: "shut or open as the image has it",
        with_a_threshold: "Is there a threshold?",
        with_a_small_threshold: "Is there a threshold?",
        squares_the_outputs: "Do you square the outputs",
        sums_sizes: "Do you square the outputs",
        leaves_eval_mode: "the network is not as before",
        freezes_the_weights: "the network is not as before",
        swaps_row_and_column: "Did you swap row and column?",
        keeps_the_channels: "your result has shape [2, 7, 8], expected [7, 8]",
        gives_the_gradient: "expected a tensor of bool",
        walks_through_the_weights: "the network's weights hold gradients",
        marks_the_image: "your function leaves its mark on the image",
        forgets_requires_grad: "Nothing remembers the way back to the image",
        many_outputs_at_once: "Gradients belong to one number",
        asks_the_library: "what you are to build",
    },
}
