"""Plausible wrong answers to the exercises 01.1 and 01.2, each with the message that must refuse it."""

import math

import torch

# --- 01.1


def adds_instead_of_multiplying(index, strides):
    return sum(index) + sum(strides)


def strides_reversed(index, strides):
    return sum(i * s for i, s in zip(index, strides[::-1], strict=True))


def multiplies_all(index, strides):
    return math.prod(i * s for i, s in zip(index, strides, strict=True))


def two_axes_only(index, strides):
    return index[0] * strides[0] + index[1] * strides[1]


def last_stride_is_one(index, strides):
    return sum(i * s for i, s in zip(index[:-1], strides[:-1], strict=True)) + index[-1]


def forgets_the_last_axis(index, strides):
    return sum(i * s for i, s in zip(index[:-1], strides[:-1], strict=True))


def two_axes_or_four(index, strides):
    if len(index) == 2:
        return index[0] * strides[0] + index[1] * strides[1]
    return sum(index[k] * strides[k] for k in (0, 1, 2, 3))


def up_to_four_axes(index, strides):
    return sum(index[k] * strides[k] for k in range(4) if k < len(index))


def names_four_axes(index, strides):
    (b, c, y, x), (sb, sc, sy, sx) = index, strides
    return b * sb + c * sc + y * sy + x * sx


def multiplies_tuples(index, strides):
    return index * strides


def returns_the_steps(index, strides):
    return [i * s for i, s in zip(index, strides, strict=True)]


def forgets_return(*args):
    pass


# --- 01.2


def pairs(shape, strides):
    return [strides[k] == shape[k + 1] * strides[k + 1] for k in range(len(shape) - 1)]


def counts_length_one(shape, strides):
    return all(pairs(shape, strides))


def skips_pairs_with_one(shape, strides):
    fits = pairs(shape, strides)
    return all(fits[k] for k in range(len(fits)) if shape[k] != 1 and shape[k + 1] != 1)


def wants_a_last_stride_of_one(shape, strides):
    return strides[-1] == 1 and all(pairs(shape, strides))


def without_ones(shape, strides):
    kept = [(n, s) for n, s in zip(shape, strides, strict=True) if n > 1]
    return [n for n, _ in kept], [s for _, s in kept]


def contiguous_but_for_ones(shape, strides):
    shape, strides = without_ones(shape, strides)
    return strides[-1] == 1 and all(pairs(shape, strides))


def takes_the_outer_length(shape, strides):
    return all(strides[k] == shape[k] * strides[k + 1] for k in range(len(shape) - 1))


def last_pair_only(shape, strides):
    return strides[-2] == shape[-1] * strides[-1]


def first_pair_only(shape, strides):
    return strides[0] == shape[1] * strides[1]


def first_two_pairs_only(shape, strides):
    return all(pairs(shape, strides)[:2])


def outermost_axis_only(shape, strides):
    return strides[0] == math.prod(shape[1:]) * strides[-1]


def outermost_axis_without_ones(shape, strides):
    shape, strides = without_ones(shape, strides)
    return not shape or strides[0] == math.prod(shape[1:]) * strides[-1]


def two_pairs_without_ones(shape, strides):
    return all(pairs(*without_ones(shape, strides))[:2])


def spans_without_ones(shape, strides):
    shape, strides = without_ones(shape, strides)
    last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    return not shape or last == strides[-1] * (math.prod(shape) - 1)


def wants_two_long_axes(shape, strides):
    shape, strides = without_ones(shape, strides)
    return strides[-2] == shape[-1] * strides[-1] and all(pairs(shape, strides))


def divides_strides(shape, strides):
    shape, strides = without_ones(shape, strides)
    return all(strides[k] / strides[k + 1] == shape[k + 1] for k in range(len(shape) - 1))


def always_false(shape, strides):
    return False


def always_true(shape, strides):
    return True


def any_pair(shape, strides):
    return any(pairs(shape, strides))


def falling_strides(shape, strides):
    return list(strides) == sorted(strides, reverse=True)


def lists_the_pairs(shape, strides):
    return pairs(shape, strides)


def one_pair_too_many(shape, strides):
    return all(strides[k] == shape[k + 1] * strides[k + 1] for k in range(len(shape)))


def asks_view(shape, strides):
    try:
        torch.zeros(500).as_strided(shape, strides).view(-1)
    except RuntimeError:
        return False
    return True


MUTANTS = {
    "01.1": {
        adds_instead_of_multiplying: "Did you add index and stride",
        strides_reversed: "strides in reverse order",
        multiplies_all: "Did you multiply the walks",
        two_axes_only: "Did you use only the first two axes",
        last_stride_is_one: "Did you take the last stride for 1",
        forgets_the_last_axis: "Did you forget the last axis",
        two_axes_or_four: "There can be any number of axes",
        up_to_four_axes: "five axes",
        names_four_axes: "There can be any number of axes",
        multiplies_tuples: "multiply them pair by pair",
        returns_the_steps: "expected a whole number, got [60, 40, 5, 3]",
        forgets_return: "did you forget `return`",
    },
    "01.2": {
        counts_length_one: "Did you count axes of length 1",
        skips_pairs_with_one: "Did you skip every pair with a length of 1",
        wants_a_last_stride_of_one: "Did you ask for a last stride of 1",
        contiguous_but_for_ones: "one walk too, in steps of 2",
        takes_the_outer_length: "Did you take the length of the outer axis",
        last_pair_only: "Did you look at the last two axes only",
        first_pair_only: "Did you look at the first two axes only",
        first_two_pairs_only: "Did you look at the first three axes only",
        outermost_axis_only: "Did you look only at the outermost axis",
        outermost_axis_without_ones: "although 12 = 3 · 4 · 1",
        two_pairs_without_ones: "4 ≠ 2 · 1",
        spans_without_ones: "3 ≠ 2 · 3",
        wants_two_long_axes: "one axis or none is left",
        divides_strides: "A stride can be 0",
        always_false: "a step down is a full walk along the row",
        always_true: "A step down is 1 further",
        any_pair: "Did you ask whether any two neighbours fit",
        falling_strides: "Did you ask whether the strides fall",
        lists_the_pairs: "expected True or False, got [True]",
        one_pair_too_many: "let k run to the last axis but one",
        asks_view: "`as_strided` and `view` do what you are to build",
        forgets_return: "did you forget `return`",
    },
}
