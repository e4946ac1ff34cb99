"""Plausible wrong answers to exercises 02.3 to 02.5, each with the message that must refuse it."""

import math

import torch
import torch.nn.functional as F

from mvit_lib.layers import Attention, attention_weights

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


def table(q, k):
    return q @ k.transpose(-2, -1)


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


def split_first_turned(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(F.linear(x, W), h) for W in (W_q, W_k, W_v))
    return merge(attend(q, k, v)) @ W_o


def last_turned(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return F.linear(merge(attend(q, k, v)), W_o)


def scaled_by_d(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(torch.softmax(table(q, k) / q.shape[-1], dim=-1) @ v) @ W_o


def queries_for_keys(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(attend(k, q, v)) @ W_o


def values_for_queries(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(attend(v, k, q)) @ W_o


def weights_of_the_library(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(attention_weights(q, k) @ v) @ W_o


def for_two_images_of_width_six(x, W_q, W_k, W_v, W_o, h):
    q, k, v = ((x @ W).reshape(2, x.shape[1], h, 6 // h).transpose(1, 2) for W in (W_q, W_k, W_v))
    return attend(q, k, v).transpose(1, 2).flatten(2) @ W_o


def heads_interleaved(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return attend(q, k, v).permute(0, 2, 3, 1).flatten(2) @ W_o


def heads_not_put_back(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return attend(q, k, v) @ W_o


def heads_before_the_matrices(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x, h) @ W for W in (W_q, W_k, W_v))
    return merge(attend(q, k, v)) @ W_o


def blocks_of_the_matrices(x, W_q, W_k, W_v, W_o, h):
    parts = []
    for i in range(h):
        own = slice(i * x.shape[-1] // h, (i + 1) * x.shape[-1] // h)
        parts.append(attend(*(x[..., own] @ W[own, own] for W in (W_q, W_k, W_v))))
    return torch.cat(parts, dim=-1) @ W_o


def values_without_a_matrix(x, W_q, W_k, W_v, W_o, h):
    q, k, v = split(x @ W_q, h), split(x @ W_k, h), split(x, h)
    return merge(attend(q, k, v)) @ W_o


def softmax_along_the_heads(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(torch.softmax(table(q, k) / math.sqrt(q.shape[-1]), dim=1) @ v) @ W_o


def scaled_by_root_of_n(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(torch.softmax(table(q, k) / math.sqrt(x.shape[1]), dim=-1) @ v) @ W_o


def scaled_by_root_of_h(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(torch.softmax(table(q, k) / math.sqrt(h), dim=-1) @ v) @ W_o


def output_matrix_at_the_left(x, W_q, W_k, W_v, W_o, h):
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return W_o @ merge(attend(q, k, v))


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


def all_zero(f, x, order):
    return torch.zeros_like(x)


def the_same_twice(f, x, order):
    return f(x[:, order]) - f(x[:, order])


def order_turned_round(f, x, order):
    return f(x[:, order.argsort()]) - f(x)[:, order.argsort()]


def difference_shuffled(f, x, order):
    return (f(x) - f(x[:, order]))[:, order]


def only_if_the_first_moves(f, x, order):
    return f(x[:, order]) - f(x)[:, order] if order[0] != 0 else x


def only_the_largest(f, x, order):
    return (f(x[:, order]) - f(x)[:, order]).abs().max()


def says_equal(f, x, order):
    return torch.allclose(f(x[:, order]), f(x)[:, order])


MUTANTS = {
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
        split_first_turned: "Did you turn W_q, W_k and W_v",
        last_turned: "Did you turn W_o",
        scaled_by_d: "Did you divide by D/h? It is its root",
        queries_for_keys: "Did you swap W_q and W_k",
        values_for_queries: "Do your values come from W_v",
        weights_of_the_library: "`attention_weights` does what you are to build",
        for_two_images_of_width_six: "a reshape multiply to another count than the tensor has",
        heads_interleaved: "Are the heads' numbers interleaved",
        heads_not_put_back: "Are the heads side by side",
        heads_before_the_matrices: "x @ W_q before the split",
        blocks_of_the_matrices: "Does a head see only its own numbers of x",
        values_without_a_matrix: "Did you forget W_v",
        softmax_along_the_heads: "Is your softmax along the heads",
        scaled_by_root_of_n: "Did you take the root of N",
        scaled_by_root_of_h: "Did you take the root of h",
        output_matrix_at_the_left: "y @ W_o after the way back",
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
        all_zero: "All is zero",
        the_same_twice: "something minus itself",
        order_turned_round: "Is your order the way back",
        difference_shuffled: "Did you shuffle the difference",
        only_if_the_first_moves: "order [0, 2, 1, 4, 3]: the largest difference",
        only_the_largest: "your result has shape [], expected [2, 4, 4]",
        says_equal: "expected a tensor, got bool",
    },
}
