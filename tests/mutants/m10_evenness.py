"""Plausible wrong answers to 10.4, each with the message that must refuse it."""

import math

import torch

from mvit_lib.attention_reading import entropy_share


def entropy_itself(rows):
    return -(rows * rows.clamp(min=1e-12).log()).sum(-1)


def in_bits(rows):
    return -(rows * rows.clamp(min=1e-12).log2()).sum(-1)


def mixed_bases(rows):
    return -(rows * rows.clamp(min=1e-12).log2()).sum(-1) / math.log(rows.shape[-1])


def no_minus(rows):
    return (rows * rows.clamp(min=1e-12).log()).sum(-1) / math.log(rows.shape[-1])


def meets_nan(rows):
    return -(rows * rows.log()).sum(-1) / math.log(rows.shape[-1])


def mends_nan_too_late(rows):
    return meets_nan(rows).nan_to_num()


def a_large_clamp(rows):
    return -(rows * rows.clamp(min=1e-3).log()).sum(-1) / math.log(rows.shape[-1])


def length_of_the_first_axis(rows):
    return entropy_itself(rows) / math.log(rows.shape[0])


def over_queries(rows):
    return -(rows * rows.clamp(min=1e-12).log()).sum(-2) / math.log(rows.shape[-2])


def over_N(rows):
    return entropy_itself(rows) / rows.shape[-1]


def unevenness(rows):
    return 1 - entropy_itself(rows) / math.log(rows.shape[-1])


def mean_over_keys(rows):
    return -(rows * rows.clamp(min=1e-12).log()).mean(-1) / math.log(rows.shape[-1])


def one_number(rows):
    return (entropy_itself(rows) / math.log(rows.shape[-1])).mean()


def math_of_a_tensor(rows):
    return -(rows * math.log(rows)).sum(-1)


def calls_entr(rows):
    return torch.special.entr(rows).sum(-1) / math.log(rows.shape[-1])


def calls_categorical(rows):
    return torch.distributions.Categorical(rows).entropy() / math.log(rows.shape[-1])


def calls_the_library(rows):
    return entropy_share(rows)


def clamps_in_place(rows):
    rows += 1e-12 * 0
    rows.clamp_(min=1e-12)
    return -(rows * rows.log()).sum(-1) / math.log(rows.shape[-1])


MUTANTS = {
    "10.4": {
        entropy_itself: "Is that the entropy itself?",
        in_bits: "Is that the entropy in bits?",
        mixed_bases: "Did you divide bits by log N?",
        no_minus: "Is the sign missing?",
        meets_nan: "0 · (−∞) is nan",
        mends_nan_too_late: "Did you replace nan after the sum?",
        a_large_clamp: "Did you write 0.001 inside the logarithm?",
        length_of_the_first_axis: "Did you divide by the logarithm of another axis?",
        over_queries: "Did you add up the queries?",
        over_N: "Did you divide by N?",
        unevenness: "Is that 1 minus the share?",
        mean_over_keys: "Did you take the mean over the keys?",
        one_number: "Is that one number for all rows?",
        math_of_a_tensor: "math.log takes a number",
        calls_entr: "does what you are to build",
        calls_categorical: "does what you are to build",
        calls_the_library: "do what you are to build",
        clamps_in_place: "your function changes its first argument",
    },
}
