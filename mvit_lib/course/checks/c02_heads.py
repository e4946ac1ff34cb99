"""The checkers of notebook 02: several heads, and the order of the tokens."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mvit_lib.course.checks.c02_attention import FUSED, NO_DOTS, SQRT_OF_A_NUMBER, attend
from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Function,
    agrees,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    normal,
    numbered,
)


def _split(x: Tensor, h: int) -> Tensor:
    B, N, D = x.shape
    return x.reshape(B, N, h, D // h).transpose(1, 2)


def _reshape_only(x: Tensor, h: int) -> Tensor:
    return x.reshape(len(x), h, x.shape[1], -1)


def _every_hth(x: Tensor, h: int) -> Tensor:
    return x.reshape(*x.shape[:2], -1, h).permute(0, 3, 1, 2)


SPLIT_SUSPECTS = {
    "Did you reshape straight to [B, h, N, D/h]? That gives each head whole tokens, not a slice of every "
    "token. Cut the last axis first, then move the new one.": _reshape_only,
    "Does a head take every h-th number of a token? It takes D/h that stand side by side.": _every_hth,
    "Did you mix the batch with the heads? Each image keeps its own.": lambda x, h: x.reshape(
        h, len(x), x.shape[1], -1
    ).transpose(0, 1),
    "Is the first head in the last place?": lambda x, h: _split(x, h).flip(1),
}


def check_split_heads(split_heads: Callable) -> None:
    """Every number is found where the head's slice has it."""
    moves_like(split_heads, _split, (2, 5, 6), 3, suspects=SPLIT_SUSPECTS)
    moves_like(split_heads, _split, (2, 3, 8), 2, suspects=SPLIT_SUSPECTS)
    moves_like(split_heads, _split, (1, 4, 3), 1, suspects=SPLIT_SUSPECTS)
    leaves_alone(split_heads, normal(2, 5, 6), 3)
    keeps_dtype(split_heads, normal(2, 5, 6), 3)
    lets_gradient_flow(split_heads, normal(2, 5, 6), 3)


Steps = Callable[[Tensor], Tensor]


def _multi_head(
    x: Tensor,
    W_q: Tensor,
    W_k: Tensor,
    W_v: Tensor,
    W_o: Tensor,
    h: int,
    *,
    split: Callable[[Tensor, int], Tensor] = _split,
    mix: Function = attend,
    merge: Steps = lambda y: y.transpose(1, 2).flatten(2),
) -> Tensor:
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(mix(q, k, v)) @ W_o


def _with(**mistake: Callable) -> Function:
    return lambda *arguments: _multi_head(*arguments, **mistake)


def _permuted(*places: int) -> Function:
    """W_q, W_k and W_v taken for one another."""
    return lambda x, *rest: _multi_head(x, *(rest[i] for i in places), *rest[3:])


def _turned(*places: int) -> Function:
    """Some of the four matrices transposed."""
    return lambda x, *rest: _multi_head(
        x, *(W.mT if i in places else W for i, W in enumerate(rest[:4])), rest[4]
    )


def _reshape_back(y: Tensor) -> Tensor:
    return y.reshape(len(y), y.shape[2], -1)


def _own_numbers_only(x: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, W_o: Tensor, h: int) -> Tensor:
    """x is cut into heads before the matrices."""
    own = torch.block_diag(*[torch.ones(len(W_q) // h, len(W_q) // h)] * h)
    return _multi_head(x, W_q * own, W_k * own, W_v * own, W_o, h)


HEADS_SUSPECTS = {
    "Did you put the heads back by reshape alone? First move their axis behind the tokens.": _with(
        merge=_reshape_back
    ),
    "Did you split by reshape alone, as in 02.3?": _with(split=_reshape_only),
    "Did you split and put back by reshape alone? It fits, and mixes tokens with heads.": _with(
        split=_reshape_only, merge=_reshape_back
    ),
    "Does a head take every h-th number of a token? It takes D/h that stand side by side.": _with(
        split=_every_hth
    ),
    "Are the heads' numbers interleaved in the result? Head 0 comes whole, then head 1.": _with(
        merge=lambda y: y.permute(0, 2, 3, 1).flatten(2)
    ),
    "Did you divide by √D? A head is D/h wide: divide by √(D/h).": _with(mix=partial(attend, root="D")),
    "Did you forget to divide the scores by √(D/h)?": _with(mix=partial(attend, root=1)),
    "Did you take the root of N, the number of tokens? It is that of D/h.": _with(
        mix=partial(attend, root="N")
    ),
    "Did you take the root of h, the number of heads? It is that of D/h.": _with(
        mix=lambda q, k, v: attend(q, k, v, root=q.shape[1] ** 0.5)
    ),
    "Is your softmax along the queries? One query's weights add up to 1: dim=-1.": _with(
        mix=partial(attend, dim=-2)
    ),
    "Is your softmax along the heads? One query's weights lie along the last axis: dim=-1.": _with(
        mix=partial(attend, dim=1)
    ),
    "Does a head see only its own numbers of x? First the whole token times W_q, W_k, W_v, then the cut.": (
        _own_numbers_only
    ),
    "Did you forget W_v? v = x @ W_v.": lambda x, W_q, W_k, W_v, W_o, h: _multi_head(
        x, W_q, W_k, torch.eye(len(W_v)), W_o, h
    ),
    "Did you divide by D/h? It is its root.": _with(mix=lambda q, k, v: attend(q, k, v, root=q.shape[-1])),
    "Do your values come from W_v? v = x @ W_v.": _permuted(2, 1, 0),
    "Do your keys come from W_k, your values from W_v?": _permuted(0, 2, 1),
    "Did you swap W_q and W_k? The rows of the table are the queries.": _permuted(1, 0, 2),
    "Did you forget W_o, the last product?": lambda x, W_q, W_k, W_v, W_o, h: _multi_head(
        x, W_q, W_k, W_v, torch.eye(len(W_o)), h
    ),
    "Did you turn the matrices? x stands at their left, and they stay as they are: x @ W_q.": _turned(
        0, 1, 2, 3
    ),
    "Did you turn W_q, W_k and W_v? They stay as they are: x @ W_q.": _turned(0, 1, 2),
    "Did you turn W_o? It stays as it is.": _turned(3),
    "Is one head doing all the work? Did you split at all?": lambda *a: _multi_head(*a[:5], 1),
}


def check_multi_head(multi_head: Callable) -> None:
    """Where everybody listens to all alike, the mean comes back; then the whole, with heads."""
    eye, none = torch.eye(6), torch.zeros(6, 6)
    where = "where all weights are equal (W_q = 0) and W_v, W_o change nothing:"
    arguments = (numbered(2, 5, 6), none, eye, eye, eye, 3)
    agrees(multi_head, _multi_head, *arguments, where=where, tol=1e-3, suspects=HEADS_SUSPECTS)
    for B, N, D, h in ((2, 5, 6, 3), (2, 5, 6, 1), (2, 4, 6, 2), (3, 7, 8, 2)):
        matrices = (normal(D, D, seed=seed) / 2 for seed in range(4))
        arguments = (normal(B, N, D, seed=9), *matrices, h)
        where = f"on tokens [{B}, {N}, {D}] with h = {h}:"
        agrees(multi_head, _multi_head, *arguments, where=where, suspects=HEADS_SUSPECTS)
    leaves_alone(multi_head, *arguments)
    keeps_dtype(multi_head, *arguments)
    lets_gradient_flow(multi_head, *arguments)


def _gap(f: Steps, x: Tensor, order: Tensor) -> Tensor:
    return f(x[:, order]) - f(x)[:, order]


def _running_sum(x: Tensor) -> Tensor:
    """Column c counts c + 1 times: so it knows the order of the tokens and that of their numbers."""
    return x.cumsum(1) * numbered(x.shape[2]).to(x.dtype).add(1)


def _attention_of_x(x: Tensor) -> Tensor:
    return attend(x, x, x)


GAP_SUSPECTS = {
    "All is zero. Did you take something minus itself? f meets the shuffled tokens in one term only.": (
        lambda f, x, order: torch.zeros_like(x)
    ),
    "Did you compare f(shuffled) with f(x) itself? Nobody asks the outputs to stay where they were: "
    "shuffle f(x) too.": lambda f, x, order: f(x[:, order]) - f(x),
    "Did you forget to shuffle what goes into f?": lambda f, x, order: f(x) - f(x)[:, order],
    "Did you shuffle back? The same order goes on both sides.": lambda f, x, order: (
        f(x[:, order]) - f(x)[:, order.argsort()]
    ),
    "Is your order the way back? Place n holds token order[n]: x[:, order], without argsort.": (
        lambda f, x, order: _gap(f, x, order.argsort())
    ),
    "Did you shuffle the difference? f(shuffled) stays as it is; only f(x) is shuffled.": (
        lambda f, x, order: (f(x) - f(x[:, order]))[:, order]
    ),
    "Did you shuffle the result of f(shuffled) a second time?": lambda f, x, order: (
        f(x[:, order])[:, order] - f(x)[:, order]
    ),
    "Did you shuffle the D numbers inside each token? The tokens are the middle axis.": lambda f, x, order: (
        f(x[..., order % x.shape[2]]) - f(x)[..., order % x.shape[2]]
    ),
    "Right up to the sign: f of the shuffled tokens comes first.": lambda *a: -_gap(*a),
    "Did you take the absolute value? Give back the difference itself.": lambda *a: _gap(*a).abs(),
}


def check_order_gap(order_gap: Callable) -> None:
    """Layers that know the order and one that does not."""
    x, order = numbered(2, 4, 4), torch.tensor([2, 0, 3, 1])
    layers = {"a running sum over the tokens (times 1, 2, 3, 4)": _running_sum, "attention": _attention_of_x}
    for name, f in layers.items():
        where = f"for {name}, tokens [2, 4, 4], order {order.tolist()}:"
        agrees(order_gap, _gap, f, x / 8, order, where=where, suspects=GAP_SUSPECTS)
    for order in (torch.tensor([4, 2, 0, 1, 3]), torch.tensor([0, 2, 1, 4, 3])):
        where = f"for a running sum (times 1, 2), tokens [3, 5, 2], order {order.tolist()}:"
        agrees(order_gap, _gap, _running_sum, normal(3, 5, 2), order, where=where, suspects=GAP_SUSPECTS)
    leaves_alone(order_gap, _running_sum, x, torch.tensor([2, 0, 3, 1]))


FLOAT_AXIS = "D / h is a float in Python. An axis needs an integer: D // h."
OTHER_COUNT = "the numbers of a reshape multiply to another count than the tensor has:"

INNER_SIZES = (
    "x @ W_q before the split, y @ W_o after the way back: each matrix stands at the right of whole tokens\n"
    "      of D numbers. Are the heads side by side? Do the keys lie on their side, k.transpose(-2, -1)?"
)

EXERCISES = {
    "02.3": Exercise(
        checker=check_split_heads,
        notice="cut the last axis, then move the new one: no number is computed, all are found again.",
        hints=(
            "Take one token, its numbers 0 1 2 3 4 5, and h = 3: head 0 gets 0 1, head 1 gets 2 3, head 2\n"
            "gets 4 5. Cutting an axis of D numbers into h pieces of D/h is a reshape of that axis alone.",
            "After the cut the tensor is [B, N, h, D/h]: right numbers, axes in the wrong order.\n"
            "Which two axes have to swap to give [B, h, N, D/h]?",
            "B, N, D = x.shape\nx = x.reshape(B, N, ...)  # [B, N, h, D/h]\nreturn x.transpose(..., ...)",
        ),
        solution=("s02_attention.py", "split_heads"),
        symptoms={
            "is invalid for input": f"{OTHER_COUNT} B · N · h · (D/h) is right.",
            "failed to unpack": FLOAT_AXIS,
        },
        forbidden=("mvit_lib",),
    ),
    "02.4": Exercise(
        checker=check_multi_head,
        notice="h does not change the size of any matrix, nor the number of multiplications.",
        hints=(
            "Five steps: q, k, v by their matrices; split each into heads; attend (the formula of 02.2, all\n"
            "heads at once); put the heads back side by side; W_o. Write the shape behind each line.",
            "Putting back is the split read backwards: first move the axis of the heads behind the tokens,\n"
            "[B, h, N, D/h] → [B, N, h, D/h], then make the last two axes one, [B, N, D].",
            "B, N, D = x.shape\n"
            "q, k, v = [(x @ W).reshape(B, N, h, D // h).transpose(1, 2) for W in (W_q, W_k, W_v)]\n"
            "weights = torch.softmax(...)          # [B, h, N, N]\n"
            "y = weights @ v                       # [B, h, N, D/h]\n"
            "return y.transpose(...).reshape(...) @ ...",
        ),
        solution=("s02_attention.py", "multi_head_attention"),
        symptoms={
            "view size": "after transpose the numbers no longer lie in the order of the "
            "axes, and view cannot copy. reshape can.",
            "is invalid for input": f"{OTHER_COUNT} after the heads B · N · D is right again.",
            "mat1 and mat2": INNER_SIZES,
            "of batch2": INNER_SIZES,
            "no ellipsis was given": NO_DOTS,
            "failed to unpack": FLOAT_AXIS,
            "Tensor, not int": SQRT_OF_A_NUMBER,
        },
        forbidden=FUSED,
    ),
    "02.5": Exercise(
        checker=check_order_gap,
        notice="for attention it is 0, for the running sum not: it tells whether a layer knows the order.",
        hints=(
            "x[:, order] takes the tokens in a new order and leaves each token whole.\n"
            "Shuffle before f in one term and after f in the other.",
            "Say the two sentences aloud: 'f of the shuffled tokens' and 'the shuffled f of the tokens'.\n"
            "Their difference is asked for, the first minus the second.",
            "shuffled_first = f(x[...])\nshuffled_last = f(x)[...]\nreturn ...",
        ),
        solution=("s02_attention.py", "order_gap"),
        symptoms={
            "out of bounds": "x[order] picks along the first axis, the batch. The tokens are the second: "
            "x[:, order].",
        },
    ),
}
