"""Solutions of notebook 02."""

import math
from collections.abc import Callable

import torch


def softmax(x: torch.Tensor) -> torch.Tensor:
    # Taking the same number from all scores of a row divides numerator and denominator by the same e^c.
    # With the row's own largest score the powers lie between 0 and 1: none overflows, not all vanish.
    # keepdim leaves an axis of length 1, so that one number per row meets the whole row.
    powers = torch.exp(x - x.amax(dim=-1, keepdim=True))  # [..., N]
    return powers / powers.sum(dim=-1, keepdim=True)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    # Row i of the scores holds the dot products of query i with all keys.
    # A dot product of d numbers varies with √d; divided by it, softmax stays soft at any width.
    # Row i of the weights adds up to 1, so row i of the result is a weighted mean of the values.
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # [..., N, N]
    return torch.softmax(scores, dim=-1) @ v  # [..., N, d]


def split_heads(x: torch.Tensor, h: int) -> torch.Tensor:
    # Only the last axis is cut: reshape keeps the order in memory, so a token's numbers stay together.
    # Now the heads stand behind the tokens; attention works on the last two axes, [N, D/h],
    # so the heads have to move in front, beside the batch.
    B, N, D = x.shape
    return x.reshape(B, N, h, D // h).transpose(1, 2)  # [B, h, N, D/h]


def multi_head_attention(
    x: torch.Tensor, W_q: torch.Tensor, W_k: torch.Tensor, W_v: torch.Tensor, W_o: torch.Tensor, h: int
) -> torch.Tensor:
    # One product gives the queries of all heads: each head owns D/h columns of W_q.
    # The scale is that of a head's own width, D/h, since its dot products have only so many terms.
    # Back: first the heads behind the tokens, then the last two axes become one; the split, reversed.
    B, N, D = x.shape
    q, k, v = [(x @ W).reshape(B, N, h, D // h).transpose(1, 2) for W in (W_q, W_k, W_v)]  # [B, h, N, D/h]
    weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(D // h), dim=-1)  # [B, h, N, N]
    return (weights @ v).transpose(1, 2).reshape(B, N, D) @ W_o  # [B, N, D]


def order_gap(
    f: "Callable[[torch.Tensor], torch.Tensor]", x: torch.Tensor, order: torch.Tensor
) -> torch.Tensor:
    # Left: shuffle, then f. Right: f, then shuffle. The same order, so the same token stands in each place.
    # If f treats every token alike whatever its place, nothing is left over.
    # Comparing with f(x) itself would ask for more: that shuffling changes nothing at all.
    return f(x[:, order]) - f(x)[:, order]  # [B, N, D]
