"""The checkers of notebook 02."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Function,
    Wrong,
    agrees,
    is_tensor,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    normal,
    numbered,
)


def _share(x: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    return x.exp() / x.exp().sum(dim, keepdim=True)


SOFTMAX_SUSPECTS = {
    "Did you add up all the numbers? Only those of one row, along the last axis, share one.": lambda x: (
        _share(x, tuple(range(x.dim())))
    ),
    "Did you add up along the first axis? The last one is meant: dim=-1.": lambda x: _share(x, 0),
    "Did you add up along the last axis but one? The last one is meant: dim=-1.": lambda x: _share(x, -2),
    "Did you leave out the exponential?": lambda x: x / x.sum(-1, keepdim=True),
    "Did you forget to divide by the sum?": lambda x: (x - x.amax(-1, keepdim=True)).exp(),
    "Did you take the exponential and forget to divide by the sum?": lambda x: x.exp(),
    "Did you take powers of 2? The base is e: torch.exp.": lambda x: _share(x * torch.log(torch.tensor(2.0))),
    "Did you give back the logarithm?": lambda x: _share(x).log(),
}


def check_softmax(softmax: Callable) -> None:
    """One row's share of one; then rows of huge and of very low scores."""
    agrees(
        softmax,
        _reference_softmax,
        numbered(2, 3, 4) / 5,
        where="on scores [2, 3, 4]:",
        suspects=SOFTMAX_SUSPECTS,
    )
    leaves_alone(softmax, normal(2, 3, 4))
    keeps_dtype(softmax, normal(2, 3, 4))
    lets_gradient_flow(softmax, normal(2, 3, 4))
    _survives(softmax, [[1000.0, 1001.0, 1002.0]], "Take the row's largest score away from all.")
    low = [[1000.0, 1001.0, 1002.0], [-1000.0, -1001.0, -1002.0]]
    _survives(softmax, low, "Each row has a largest score of its own: is yours that of the whole tensor?")
    agrees(softmax, _reference_softmax, 5 * normal(7))


def _reference_softmax(x: Tensor) -> Tensor:
    return _share(x - x.amax(-1, keepdim=True))  # written out: calls of torch's own are noted here too


def _survives(softmax: Callable, scores: list[list[float]], advice: str) -> None:
    x = torch.tensor(scores)
    expected = _reference_softmax(x)
    yours = is_tensor(softmax(x.clone()), expected.shape, f"on scores {scores}:").detach()
    if not yours.isfinite().all():
        place = (~yours.isfinite()).nonzero()[0].tolist()
        number = yours[tuple(place)].item()
        raise Wrong(f"on scores {scores}:\n      out{place} is {number}. {advice}", yours, expected)
    if (yours - expected).abs().max() > 1e-5:
        raise Wrong(
            f"on scores {scores}: the result is finite, but wrong.\n      Did you cut the scores off, or "
            "replace nan? Shift them instead: then the differences stay.",
            yours,
            expected,
        )


def _attend(q: Tensor, k: Tensor, v: Tensor, *, root: float | str = "d", dim: int = -1) -> Tensor:
    """softmax(q kᵀ / root) v; other roots and axes are the mistakes."""
    divisor = {"d": q.shape[-1] ** 0.5, "D": (q.shape[1] * q.shape[-1]) ** 0.5, "N": q.shape[-2] ** 0.5}
    return torch.softmax(q @ k.mT / (divisor[root] if isinstance(root, str) else root), dim=dim) @ v


_not_scaled, _along_queries = partial(_attend, root=1), partial(_attend, dim=-2)
_scaled_by_whole_width = partial(_attend, root="D")

ATTEND_SUSPECTS = {
    "Did you forget to divide the scores by √d?": _not_scaled,
    "Did you divide by d? It is its root.": lambda q, k, v: _attend(q, k, v, root=q.shape[-1]),
    "Did you take the root of N, the number of tokens? It is that of d, the last axis.": partial(
        _attend, root="N"
    ),
    "Is your softmax along the queries? One query's weights add up to 1: dim=-1.": _along_queries,
    "Did you divide after the softmax? The scores are divided, before it.": lambda q, k, v: (
        _not_scaled(q, k, v) / q.shape[-1] ** 0.5
    ),
    "Did you leave out the softmax?": lambda q, k, v: q @ k.mT / q.shape[-1] ** 0.5 @ v,
    "Did you swap queries and keys, or turn the table of weights?": lambda q, k, v: _attend(k, q, v),
    "Did you turn the table of weights? Row i belongs to query i.": lambda q, k, v: _attend(k, q, v, dim=-2),
    "Did you add up the keys? What is passed on are the values.": lambda q, k, v: _attend(q, k, k),
}


def check_attend(attend: Callable) -> None:
    """Where each query fits one key, its value comes back; then the formula, and one head among several."""
    k = 40 * torch.eye(3, 4).expand(2, 3, 4)
    q, v = k[:, [2, 0, 1]], numbered(2, 3, 4)
    where = "where query 0 fits only key 2, query 1 key 0 and query 2 key 1:"
    agrees(attend, _attend, q, k, v, where=where, tol=1e-3, suspects=ATTEND_SUSPECTS)
    q, k, v = (normal(2, 5, 3, seed=seed) for seed in range(3))
    agrees(attend, _attend, q, k, v, where="on q, k, v of shape [2, 5, 3]:", suspects=ATTEND_SUSPECTS)
    leaves_alone(attend, q, k, v)
    keeps_dtype(attend, q, k, v)
    lets_gradient_flow(attend, q, k, v)
    for shape in ((7, 2), (2, 3, 5, 4)):
        q, k, v = (normal(*shape, seed=seed) for seed in range(3))
        agrees(
            attend, _attend, q, k, v, where=f"on q, k, v of shape {list(shape)}:", suspects=ATTEND_SUSPECTS
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
    attend: Function = _attend,
    merge: Steps = lambda y: y.transpose(1, 2).flatten(2),
) -> Tensor:
    q, k, v = (split(x @ W, h) for W in (W_q, W_k, W_v))
    return merge(attend(q, k, v)) @ W_o


def _with(**mistake: Callable) -> Function:
    return lambda *arguments: _multi_head(*arguments, **mistake)


def _reshape_back(y: Tensor) -> Tensor:
    return y.reshape(len(y), y.shape[2], -1)


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
    "Did you divide by √D? A head is D/h wide: divide by √(D/h).": _with(attend=_scaled_by_whole_width),
    "Did you forget to divide the scores by √(D/h)?": _with(attend=_not_scaled),
    "Is your softmax along the queries? One query's weights add up to 1: dim=-1.": _with(
        attend=_along_queries
    ),
    "Did you forget W_o, the last product?": lambda x, W_q, W_k, W_v, W_o, h: _multi_head(
        x, W_q, W_k, W_v, torch.eye(len(W_o)), h
    ),
    "Did you turn the matrices? x stands at their left as it is: x @ W_q.": lambda x, *rest: _multi_head(
        x, *(W.mT for W in rest[:4]), rest[4]
    ),
    "Is one head doing all the work? Did you split at all?": lambda *a: _multi_head(*a[:5], 1),
}


def check_multi_head(multi_head: Callable) -> None:
    """Where everybody listens to all alike, the mean comes back; then the whole, with heads."""
    D, eye, none = 6, torch.eye(6), torch.zeros(6, 6)
    where = "where all weights are equal (W_q = 0) and W_v, W_o change nothing:"
    arguments = (numbered(2, 5, D), none, eye, eye, eye, 3)
    agrees(multi_head, _multi_head, *arguments, where=where, tol=1e-3, suspects=HEADS_SUSPECTS)
    for N, h in ((5, 1), (5, 3), (4, 2)):
        matrices = (normal(D, D, seed=seed) / 2 for seed in range(4))
        arguments = (normal(2, N, D, seed=9), *matrices, h)
        where = f"on tokens [2, {N}, {D}] with h = {h}:"
        agrees(multi_head, _multi_head, *arguments, where=where, suspects=HEADS_SUSPECTS)
    leaves_alone(multi_head, *arguments)
    keeps_dtype(multi_head, *arguments)
    lets_gradient_flow(multi_head, *arguments)


def _gap(f: Steps, x: Tensor, order: Tensor) -> Tensor:
    return f(x[:, order]) - f(x)[:, order]


def _running_sum(x: Tensor) -> Tensor:
    return x.cumsum(1)


def _attention_of_x(x: Tensor) -> Tensor:
    return _attend(x, x, x)


GAP_SUSPECTS = {
    "Did you compare f(shuffled) with f(x) itself? Nobody asks the outputs to stay where they were: "
    "shuffle f(x) too.": lambda f, x, order: f(x[:, order]) - f(x),
    "Did you forget to shuffle what goes into f?": lambda f, x, order: f(x) - f(x)[:, order],
    "Did you shuffle back? The same order goes on both sides.": lambda f, x, order: (
        f(x[:, order]) - f(x)[:, order.argsort()]
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
    layers = {"a running sum over the tokens": _running_sum, "attention": _attention_of_x}
    for name, f in layers.items():
        where = f"for {name}, tokens [2, 4, 4], order {order.tolist()}:"
        agrees(order_gap, _gap, f, x / 8, order, where=where, suspects=GAP_SUSPECTS)
    order = torch.tensor([4, 2, 0, 1, 3])
    where = "for a running sum, tokens [3, 5, 2], order [4, 2, 0, 1, 3]:"
    agrees(order_gap, _gap, _running_sum, normal(3, 5, 2), order, where=where, suspects=GAP_SUSPECTS)
    leaves_alone(order_gap, _running_sum, x, torch.tensor([2, 0, 3, 1]))
    keeps_dtype(order_gap, _running_sum, x, torch.tensor([2, 0, 3, 1]))


SQRT_OF_A_NUMBER = "torch.sqrt wants a tensor; the width is a plain number: write math.sqrt(d) or d**0.5."
SOFTMAXES = ("softmax", "_softmax", "special_softmax", "log_softmax", "logsumexp", "softmin", "mvit_lib")
FUSED = (
    "scaled_dot_product_attention", "multi_head_attention_forward", "_native_multi_head_attention", "mvit_lib"
)  # fmt: skip
FLOAT_AXIS = "D / h is a float in Python. An axis needs an integer: D // h."
OTHER_COUNT = "the numbers of a reshape multiply to another count than the tensor has:"
TOKENS_TIMES_KEYS = (
    "The keys have to lie on their side, [..., d, N]: k.transpose(-2, -1), the last two axes swapped."
)

EXERCISES = {
    "02.1": Exercise(
        checker=check_softmax,
        notice="the largest score becomes e⁰ = 1, so nothing can overflow, and the sum is at least 1.",
        hints=(
            "Softmax does not change if the same number is taken away from all scores of a row.\n"
            "Which number makes the largest exponential harmless?",
            "x.amax(dim=-1, keepdim=True) is the largest score of each row; keepdim leaves an axis of\n"
            "length 1, so that PyTorch can subtract it from the whole row. The sum needs keepdim too.",
            "x = x - x.amax(dim=-1, keepdim=True)\npowers = torch.exp(...)\n"
            "return powers / ...sum(dim=..., keepdim=...)",
        ),
        solution=("s02_attention.py", "softmax"),
        symptoms={
            "torch.return_types.max": "x.max(dim) gives two things, the values and where they stand. "
            "x.amax(dim) gives the values alone.",
            "must match the size of tensor b": "a sum or maximum lost its axis: with keepdim=True it stays, "
            "with length 1, and fits every row.",
        },
        forbidden=SOFTMAXES,
    ),
    "02.2": Exercise(
        checker=check_attend,
        notice="two products and one softmax; axes in front of [N, d] come along, however many there are.",
        hints=(
            "Three lines: scores, weights, and the weighted sum of the values. Write the shapes first:\n"
            "[..., N, d] times [..., d, N] gives [..., N, N]; times [..., N, d] gives [..., N, d].",
            "k.transpose(-2, -1) swaps the last two axes, whatever stands in front.\n"
            "d is q.shape[-1]. Each query's weights add up to 1, and a query is a row: dim=-1.",
            "scores = q @ ... / math.sqrt(...)         # [..., N, N]\n"
            "weights = torch.softmax(scores, dim=...)  # [..., N, N]\nreturn weights @ ...",
        ),
        solution=("s02_attention.py", "attend"),
        symptoms={
            "first two dimensions of batch2": TOKENS_TIMES_KEYS,
            "mat1 and mat2 shapes": TOKENS_TIMES_KEYS,
            "must match the size of tensor b": "k.T turns all axes around, the batch too. Swap only the last "
            "two: k.transpose(-2, -1).",
            "must be Tensor, not int": SQRT_OF_A_NUMBER,
        },
        forbidden=FUSED,
    ),
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
            "is invalid for input of size": f"{OTHER_COUNT} B · N · h · (D/h) is right.",
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
            "view size is not compatible": "after transpose the numbers no longer lie in the order of the "
            "axes, and view cannot copy. reshape can.",
            "is invalid for input of size": f"{OTHER_COUNT} after the heads B · N · D is right again.",
            "mat1 and mat2": "W_o is [D, D] and wants tokens of D numbers. Are the heads side by side?",
            "failed to unpack": FLOAT_AXIS,
            "must be Tensor, not int": SQRT_OF_A_NUMBER,
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
