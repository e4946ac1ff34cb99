"""Plausible wrong answers to the exercises of notebook 02, each with the message that must refuse it."""

import math

import torch
import torch.nn.functional as F

from mvit_lib.layers import Attention, attention_weights

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


def asks_pytorch(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


def asks_the_library(q, k, v):
    return attention_weights(q, k) @ v


# 02.3


def reshape_alone(x, h):
    B, N, D = x.shape
    return x.reshape(B, h, N, D // h)


def every_hth_number(x, h):
    B, N, D = x.shape
    return x.reshape(B, N, D // h, h).permute(0, 3, 1, 2)


def no_transpose(x, h):
    B, N, D = x.shape
    return x.reshape(B, N, h, D // h)


def heads_before_the_batch(x, h):
    return torch.stack(x.chunk(h, dim=-1))


def two_heads_always(x, h):
    B, N, D = x.shape
    return x.reshape(B, N, 2, D // 2).transpose(1, 2)


def a_float_axis(x, h):
    B, N, D = x.shape
    return x.reshape(B, N, h, D / h).transpose(1, 2)


def reversed_heads(x, h):
    return torch.stack(x.chunk(h, dim=-1)[::-1], dim=1)


def leaves_the_graph(x, h):
    return torch.tensor([[[t.tolist() for t in head] for head in row.chunk(h, dim=-1)] for row in x])


def batch_mixed_with_heads(x, h):
    B, N, D = x.shape
    return x.reshape(h, B, N, D // h).transpose(0, 1)


def forgets_return(x, h):
    B, N, D = x.shape
    x.reshape(B, N, h, D // h).transpose(1, 2)


# 02.4


def split(x, h):
    B, N, D = x.shape
    return x.reshape(B, N, h, D // h).transpose(1, 2)


def merge(y):
    B, h, N, d = y.shape
    return y.transpose(1, 2).reshape(B, N, h * d)


def attend(q, k, v):
    return torch.softmax(table(q, k) / math.sqrt(q.shape[-1]), dim=-1) @ v


def merged_by_reshape(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return attend(q, k, v).reshape(x.shape) @ W_o


def split_and_merged_by_reshape(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (reshape_alone(x @ W, h) for W in (W_q, W_k, W_v))
    return attend(q, k, v).reshape(x.shape) @ W_o


def split_by_reshape(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (reshape_alone(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(attend(q, k, v)) @ W_o


def merged_by_view(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return attend(q, k, v).transpose(1, 2).view(x.shape) @ W_o


def scaled_by_the_whole_width(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(torch.softmax(table(q, k) / math.sqrt(x.shape[-1]), dim=-1) @ v) @ W_o


def no_output_matrix(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(attend(q, k, v))


def one_head_only(x, W_q, W_k, W_v, W_o, h):
    return attend(x @ W_q, x @ W_k, x @ W_v) @ W_o


def matrices_turned(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(F.linear(x, W), h) for W in (W_q, W_k, W_v))
    return F.linear(merge(attend(q, k, v)), W_o)


def heads_interleaved(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return attend(q, k, v).permute(0, 2, 3, 1).flatten(2) @ W_o


def heads_not_put_back(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return attend(q, k, v) @ W_o


def fused_kernel(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(F.scaled_dot_product_attention(q, k, v)) @ W_o


def attention_of_the_library(x, W_q, W_k, W_v, W_o, h):
    layer = Attention(x.shape[-1], h).to(x.dtype)
    zero = x.new_zeros
    state = {"qkv.weight": torch.cat((W_q.T, W_k.T, W_v.T)), "qkv.bias": zero(3 * x.shape[-1])}
    state |= {"proj.weight": W_o.T, "proj.bias": zero(x.shape[-1])}
    return torch.func.functional_call(layer, state, (x,))


# 02.5


def asks_for_invariance(f, x, order):
    return f(x[:, order]) - f(x)


def input_not_shuffled(f, x, order):
    return f(x) - f(x)[:, order]


def shuffles_back(f, x, order):
    return f(x[:, order]) - f(x)[:, order.argsort()]


def shuffles_the_batch(f, x, order):
    return f(x[order]) - f(x)[order]


def shuffles_the_numbers(f, x, order):
    return f(x[..., order]) - f(x)[..., order]


def shuffled_twice(f, x, order):
    return f(x[:, order])[:, order] - f(x)[:, order]


def other_way_round(f, x, order):
    return f(x)[:, order] - f(x[:, order])


def takes_the_size(f, x, order):
    return (f(x[:, order]) - f(x)[:, order]).abs()


def only_the_largest(f, x, order):
    return (f(x[:, order]) - f(x)[:, order]).abs().max()


def says_equal(f, x, order):
    return torch.allclose(f(x[:, order]), f(x)[:, order])


MUTANTS = {
    "02.1": {
        overflows: "out[0, 0] is nan. Take the row's largest score away",
        all_numbers_share_one: "Did you add up all the numbers",
        along_the_last_axis_but_one: "along the last axis but one",
        no_exponential: "leave out the exponential",
        not_divided: "forget to divide by the sum",
        powers_of_two: "powers of 2",
        keepdim_forgotten: "with keepdim=True it stays",
        max_gives_two_things: "x.amax(dim) gives the values alone",
        largest_of_the_tensor: "is yours that of the whole tensor",
        cuts_off: "Did you cut the scores off",
        hides_nan: "or replace nan",
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
        only_the_weights: "your result has shape [2, 3, 3], expected [2, 3, 4]",
        keys_not_turned: "The keys have to lie on their side",
        root_of_a_number: "math.sqrt(d) or d**0.5",
        one_image_only: "your result has shape [3, 4], expected [2, 3, 4]",
        asks_pytorch: "`scaled_dot_product_attention` does what you are to build",
        asks_the_library: "`mvit_lib` does what you are to build",
    },
    "02.3": {
        reshape_alone: "Did you reshape straight to [B, h, N, D/h]",
        every_hth_number: "every h-th number",
        no_transpose: "your result has shape [2, 5, 3, 2], expected [2, 3, 5, 2]",
        heads_before_the_batch: "your result has shape [3, 2, 5, 2], expected [2, 3, 5, 2]",
        two_heads_always: "your result has shape [2, 2, 5, 3], expected [2, 3, 5, 2]",
        a_float_axis: "An axis needs an integer: D // h",
        reversed_heads: "Is the first head in the last place",
        leaves_the_graph: "did you make a new tensor without",
        batch_mixed_with_heads: "Did you mix the batch with the heads",
        forgets_return: "did you forget `return`",
    },
    "02.4": {
        merged_by_reshape: "Did you put the heads back by reshape alone",
        split_and_merged_by_reshape: "Did you split and put back by reshape alone",
        split_by_reshape: "Did you split by reshape alone",
        merged_by_view: "view cannot copy. reshape can",
        scaled_by_the_whole_width: "Did you divide by √D",
        no_output_matrix: "Did you forget W_o",
        one_head_only: "Did you split at all",
        matrices_turned: "Did you turn the matrices",
        heads_interleaved: "Are the heads' numbers interleaved",
        heads_not_put_back: "Are the heads side by side",
        fused_kernel: "`scaled_dot_product_attention` does what you are to build",
        attention_of_the_library: "`mvit_lib` and `scaled_dot_product_attention` do what you are to build",
    },
    "02.5": {
        asks_for_invariance: "Did you compare f(shuffled) with f(x) itself",
        input_not_shuffled: "forget to shuffle what goes into f",
        shuffles_back: "Did you shuffle back",
        shuffles_the_batch: "picks along the first axis, the batch",
        shuffles_the_numbers: "shuffle the D numbers inside each token",
        shuffled_twice: "a second time",
        other_way_round: "Right up to the sign",
        takes_the_size: "Did you take the absolute value",
        only_the_largest: "your result has shape [], expected [2, 4, 4]",
        says_equal: "expected a tensor, got bool",
    },
}
