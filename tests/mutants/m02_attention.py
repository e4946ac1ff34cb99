"""Plausible wrong answers to exercises 02.1 and 02.2, each with the message that must refuse it."""

import math

import torch
import torch.nn.functional as F

from mvit_lib.layers import attention_weights

# 02.1


def overflows(x):
    return torch.exp(x) / torch.exp(x).sum(-1, keepdim=True)


def all_numbers_share_one(x):
    powers = torch.exp(x - x.max())
    return powers / powers.sum()


def along_the_last_axis_but_one(x):
    powers = torch.exp(x - x.amax(1, keepdim=True))
    return powers / powers.sum(1, keepdim=True)


def no_exponential(x):
    return x / x.sum(-1, keepdim=True)


def not_divided(x):
    return torch.exp(x - x.amax(-1, keepdim=True))


def powers_of_two(x):
    powers = 2 ** (x - x.amax(-1, keepdim=True))
    return powers / powers.sum(-1, keepdim=True)


def keepdim_forgotten(x):
    powers = torch.exp(x - x.amax(-1, keepdim=True))
    return powers / powers.sum(-1)


def max_gives_two_things(x):
    return torch.exp(x - x.max(-1, keepdim=True))


def largest_of_the_tensor(x):
    powers = torch.exp(x - x.max())
    return powers / powers.sum(-1, keepdim=True)


def cuts_off(x):
    powers = torch.exp(x.clamp(max=80))
    return powers / powers.sum(-1, keepdim=True)


def hides_nan(x):
    return (torch.exp(x) / torch.exp(x).sum(-1, keepdim=True)).nan_to_num(0.0)


def shifted(x, c):
    powers = torch.exp(x - c)
    return powers / powers.sum(-1, keepdim=True)


def minus_the_mean(x):
    return shifted(x, x.mean(-1, keepdim=True))


def minus_the_smallest(x):
    return shifted(x, x.amin(-1, keepdim=True))


def minus_the_median(x):
    return shifted(x, x.median(-1, keepdim=True).values)


def minus_the_first(x):
    return shifted(x, x[..., :1])


def minus_the_last(x):
    return shifted(x, x[..., -1:])


def minus_the_largest_size(x):
    return shifted(x, x.abs().amax(-1, keepdim=True))


def minus_a_hundred(x):
    return shifted(x, 100)


def minus_a_thousand(x):
    return shifted(x, 1000)


def softmax_by_attention(x):
    eye = torch.eye(x.shape[-1], dtype=x.dtype)
    q, v = x.reshape(1, -1, x.shape[-1]), eye[None]
    return F.scaled_dot_product_attention(q, eye[None], v, scale=1.0).reshape(x.shape)


def in_place(x):
    x -= x.amax(-1, keepdim=True)
    return torch.exp(x) / torch.exp(x).sum(-1, keepdim=True)


def in_single_precision(x):
    return overflows((x - x.amax(-1, keepdim=True)).float())


def detached(x):
    return overflows((x - x.amax(-1, keepdim=True)).detach())


def softmax_called(x):
    return torch.softmax(x, dim=-1)


def softmax_method(x):
    return F.log_softmax(x, dim=-1).exp()


# 02.2


def table(q, k):
    return q @ k.transpose(-2, -1)


def not_scaled(q, k, v):
    return torch.softmax(table(q, k), dim=-1) @ v


def scaled_by_d(q, k, v):
    return torch.softmax(table(q, k) / q.shape[-1], dim=-1) @ v


def scaled_by_root_of_n(q, k, v):
    return torch.softmax(table(q, k) / math.sqrt(q.shape[-2]), dim=-1) @ v


def softmax_along_queries(q, k, v):
    return torch.softmax(table(q, k) / math.sqrt(q.shape[-1]), dim=-2) @ v


def softmax_first(q, k, v):
    return torch.softmax(table(q, k), dim=-1) / math.sqrt(q.shape[-1]) @ v


def no_softmax(q, k, v):
    return table(q, k) / math.sqrt(q.shape[-1]) @ v


def table_turned(q, k, v):
    return torch.softmax(table(q, k) / math.sqrt(q.shape[-1]), dim=-1).transpose(-2, -1) @ v


def keys_swapped_with_queries(q, k, v):
    return torch.softmax(table(k, q) / math.sqrt(q.shape[-1]), dim=-1) @ v


def passes_on_the_keys(q, k, v):
    return torch.softmax(table(q, k) / math.sqrt(q.shape[-1]), dim=-1) @ k


def only_the_weights(q, k, v):
    return torch.softmax(table(q, k) / math.sqrt(q.shape[-1]), dim=-1)


def keys_not_turned(q, k, v):
    return torch.softmax(q @ k / math.sqrt(q.shape[-1]), dim=-1) @ v


def root_of_a_number(q, k, v):
    return torch.softmax(table(q, k) / torch.sqrt(q.shape[-1]), dim=-1) @ v


def one_image_only(q, k, v):
    return torch.softmax(q[0] @ k[0].T / math.sqrt(q.shape[-1]), dim=-1) @ v[0]


def turns_axes_1_and_2(q, k, v):
    return torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1) @ v


def root_of_three(q, k, v):
    return torch.softmax(table(q, k) / math.sqrt(3), dim=-1) @ v


def softmax_along_the_batch(q, k, v):
    return torch.softmax(table(q, k) / math.sqrt(q.shape[-1]), dim=0) @ v


def bare_exponentials(q, k, v):
    return overflows(table(q, k) / math.sqrt(q.shape[-1])) @ v


def einsum_for_three_axes(q, k, v):
    scores = torch.einsum("bnd,bmd->bnm", q, k) / math.sqrt(q.shape[-1])
    return torch.softmax(scores, dim=-1) @ v


def asks_pytorch(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


def asks_the_library(q, k, v):
    return attention_weights(q, k) @ v


MUTANTS = {
    "02.1": {
        overflows: "out[0, 0] is nan. e^1000 is too large a number",
        all_numbers_share_one: "Did you add up all the numbers",
        along_the_last_axis_but_one: "along the last axis but one",
        no_exponential: "leave out the exponential",
        not_divided: "forget to divide by the sum",
        powers_of_two: "powers of 2",
        keepdim_forgotten: "with keepdim=True it stays",
        max_gives_two_things: "x.amax(dim) gives the values alone",
        largest_of_the_tensor: "is yours that of the whole tensor",
        minus_the_mean: "Did you take away the row's mean",
        minus_the_smallest: "Did you take away the row's mean, smallest",
        minus_the_median: "Did you take away the row's mean, smallest, middle",
        minus_the_first: "Which one leaves no score above 0",
        minus_the_last: "Which one leaves no score above 0",
        minus_the_largest_size: "Did you take away the largest size, 1002",
        cuts_off: "Did you cut the scores off",
        hides_nan: "or replace nan",
        minus_a_hundred: "Is your c 100, whatever the scores",
        minus_a_thousand: "c must belong to the row",
        softmax_by_attention: "`scaled_dot_product_attention` does what you are to build",
        in_place: "changes its first argument",
        in_single_precision: "given float64 your function returns torch.float32",
        detached: "no gradient comes back",
        softmax_called: "`softmax` does what you are to build",
        softmax_method: "`log_softmax` does what you are to build",
    },
    "02.2": {
        not_scaled: "forget to divide the scores by √d",
        scaled_by_d: "Did you divide by d? It is its root",
        scaled_by_root_of_n: "root of N, the number of tokens",
        softmax_along_queries: "softmax along the queries",
        softmax_first: "Did you divide after the softmax",
        no_softmax: "leave out the softmax",
        table_turned: "turn the table of weights",
        keys_swapped_with_queries: "swap queries and keys",
        passes_on_the_keys: "What is passed on are the values",
        only_the_weights: "Did you leave out the values",
        keys_not_turned: "The keys have to lie on their side",
        root_of_a_number: "math.sqrt(d) or d**0.5",
        one_image_only: "your result has shape [3, 4], expected [2, 3, 4]",
        bare_exponentials: "Is your softmax your own",
        einsum_for_three_axes: "write three dots for the axes in front",
        asks_pytorch: "`scaled_dot_product_attention` does what you are to build",
        turns_axes_1_and_2: "Count from the back: -2 and -1",
        root_of_three: "Did you divide by √3 always",
        softmax_along_the_batch: "Is your softmax along the first axis",
        asks_the_library: "`attention_weights` does what you are to build",
    },
}
