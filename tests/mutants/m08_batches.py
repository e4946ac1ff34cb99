"""Plausible wrong answers to 08.1 and 08.2, each with the message that must refuse it."""

import math

import torch

from mvit_lib.data import MultiScaleSampler

# 08.1


def always_b(size, sizes, b):
    return b


def divides_sides(size, sizes, b):
    return max(H for H, _ in sizes) * b // size[0]


def upside_down(size, sizes, b):
    return size[0] * size[1] * b // max(H * W for H, W in sizes)


def rounds_up(size, sizes, b):
    return math.ceil(max(H * W for H, W in sizes) * b / (size[0] * size[1]))


def rounds(size, sizes, b):
    return round(max(H * W for H, W in sizes) * b / (size[0] * size[1]))


def divides_first(size, sizes, b):
    return max(H * W for H, W in sizes) // (size[0] * size[1]) * b


def last_is_largest(size, sizes, b):
    H, W = sizes[-1]
    return H * W * b // (size[0] * size[1])


def largest_by_height(size, sizes, b):
    H, W = max(sizes)
    return H * W * b // (size[0] * size[1])


def both_maxima(size, sizes, b):
    return max(H for H, _ in sizes) * max(W for _, W in sizes) * b // (size[0] * size[1])


def only_heights(size, sizes, b):
    return max(H * H for H, _ in sizes) * b // (size[0] ** 2)


def b_of_the_smallest(size, sizes, b):
    return min(H * W for H, W in sizes) * b // (size[0] * size[1])


def b_at_256(size, sizes, b):
    return 256 * 256 * b // (size[0] * size[1])


def without_b(size, sizes, b):
    return max(H * W for H, W in sizes) // (size[0] * size[1])


def a_fraction(size, sizes, b):
    return max(H * W for H, W in sizes) * b / (size[0] * size[1])


def squares_the_height(size, sizes, b):
    return max(H * W for H, W in sizes) * b // size[0] ** 2


def largest_side_squared(size, sizes, b):
    return max(max(size) for size in sizes) ** 2 * b // (size[0] * size[1])


def largest_by_side(size, sizes, b):
    H, W = max(sizes, key=max)
    return H * W * b // (size[0] * size[1])


def largest_by_sum(size, sizes, b):
    H, W = max(sizes, key=sum)
    return H * W * b // (size[0] * size[1])


def cuts_a_fraction_off(size, sizes, b):
    return int(max(H * W for H, W in sizes) / (size[0] * size[1]) * b)


def asks_the_library(size, sizes, b):
    return MultiScaleSampler(1, sizes, b).batches[size]


def a_pair_as_a_number(size, sizes, b):
    return max(sizes) * b // (size * size)


# 08.2


def plain_mean(batches):
    return sum(H * W for H, W in batches) / len(batches)


def per_step(batches):
    return sum(H * W * b for (H, W), b in batches.items()) / len(batches)


def harmonic(batches):
    return len(batches) / sum(1 / (H * W) for H, W in batches)


def mean_side_squared(batches):
    return (sum(H * b for (H, _), b in batches.items()) / sum(batches.values())) ** 2


def heights_twice(batches):
    return sum(H * H * b for (H, _), b in batches.items()) / sum(batches.values())


def images_per_pixel(batches):
    return sum(batches.values()) / sum(H * W * b for (H, W), b in batches.items())


def rounded_down(batches):
    return sum(H * W * b for (H, W), b in batches.items()) // sum(batches.values())


def all_pixels(batches):
    return sum(H * W * b for (H, W), b in batches.items())


def without_items(batches):
    return sum(H * W * b for (H, W), b in batches)


def two_places(batches):
    return round(sum(H * W * b for (H, W), b in batches.items()) / sum(batches.values()), 2)


def the_side(batches):
    return math.sqrt(sum(H * W * b for (H, W), b in batches.items()) / sum(batches.values()))


def mean_batch(batches):
    return sum(batches.values()) / len(batches)


def pixels_once(batches):
    return sum(H * W for H, W in batches) / sum(batches.values())


def a_tensor_of_all(batches):
    return torch.tensor([H * W * b for (H, W), b in batches.items()])


MUTANTS = {
    "08.1": {
        always_b: "Is every batch b?",
        divides_sides: "Did you divide the sides?",
        upside_down: "Is the fraction upside down?",
        rounds_up: "Did you round up?",
        rounds: "Did you round to the nearest?",
        divides_first: "Did you round too early?",
        last_is_largest: "Did you take the last of the sizes",
        largest_by_height: "Did you use max(sizes)?",
        both_maxima: "No image has both",
        only_heights: "Did you use H twice?",
        b_of_the_smallest: "the batch of the smallest size?",
        b_at_256: "Is 256 × 256 the size of b?",
        without_b: "Did you forget b?",
        a_fraction: "expected an int, got float: // divides to an int",
        squares_the_height: "Did you square the height of `size`?",
        largest_side_squared: "Did you square the longest side?",
        largest_by_side: "the size with the longest side?",
        largest_by_sum: "Did you compare H + W?",
        cuts_a_fraction_off: "cut the fraction off at the end?",
        asks_the_library: "`mvit_lib` does what you are to build",
        a_pair_as_a_number: "a size is a pair: take it apart first",
    },
    "08.2": {
        plain_mean: "Is that the plain mean over the sizes?",
        per_step: "Are these pixels per step?",
        harmonic: "Is that the harmonic mean?",
        mean_side_squared: "Did you take the mean side and square it?",
        heights_twice: "Did you use H twice?",
        images_per_pixel: "Is the fraction upside down?",
        rounded_down: "Did you round down with //?",
        all_pixels: "not yet divided?",
        without_items: "batches.items() gives ((H, W), b)",
        two_places: "Did you round the mean to two places?",
        the_side: "Is that the side?",
        mean_batch: "Is that a mean batch?",
        pixels_once: "Does each size count its pixels only once?",
        a_tensor_of_all: "expected a number, got Tensor",
    },
}
