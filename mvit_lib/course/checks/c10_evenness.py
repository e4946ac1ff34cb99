"""The checker of 10.4: how even a row of weights is."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Wrong,
    agrees,
    is_tensor,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    normal,
    numbered,
)


def _evenness(rows: Tensor) -> Tensor:
    return torch.special.entr(rows).sum(-1) / math.log(rows.shape[-1])


EVEN_SUSPECTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Is that the entropy itself? Divide by its maximum, log N.": lambda a: torch.special.entr(a).sum(-1),
    "Is that the entropy in bits? Divide by its maximum; in bits it is log₂ N.": (
        lambda a: torch.special.entr(a).sum(-1) / math.log(2)
    ),
    "Did you divide bits by log N? Take both logarithms to the same base.": (
        lambda a: _evenness(a) / math.log(2)
    ),
    "Is the sign missing? log a is negative: entropy is −Σ a·log a.": lambda a: -_evenness(a),
    "Is that 1 minus the share? 1 is to mean: all alike.": lambda a: 1 - _evenness(a),
    "Did you divide by N? The maximum of the entropy is log N.": (
        lambda a: torch.special.entr(a).sum(-1) / a.shape[-1]
    ),
    "Did you take the mean over the keys? Add them up.": lambda a: _evenness(a) / a.shape[-1],
    "Did you divide by the logarithm of another axis? N is the length of a row.": (
        lambda a: torch.special.entr(a).sum(-1) / math.log(a.shape[-2])
    ),
    "Did you add up the queries? Add up the keys, the last axis.": (
        lambda a: torch.special.entr(a).sum(-2) / math.log(a.shape[-2])
    ),
    "Is that the largest weight?": lambda a: a.amax(-1),
    "Is that one number for all rows? Every row has its own.": lambda a: _evenness(a).mean(),
    "Did you replace nan after the sum? One weight of 0 has made the whole row nan: mend it before.": (
        lambda a: (-(a * a.log()).sum(-1) / math.log(a.shape[-1])).nan_to_num()
    ),
    **{
        f"Did you write {least:g} inside the logarithm? Small weights are below it: take 1e-12.": (
            lambda a, least=least: -(a * a.clamp(min=least).log()).sum(-1) / math.log(a.shape[-1])
        )
        for least in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    },
}


def _no_nan(evenness: Callable) -> None:
    row = torch.tensor([[1.0, 0, 0, 0]])
    answer = is_tensor(evenness(row.clone()), (1,), "on the row [1, 0, 0, 0]:")
    if answer.isnan().any():
        raise Wrong(
            "on the row [1, 0, 0, 0] you get nan; expected 0. log 0 is −∞, and 0 · (−∞) is nan; a key "
            "without weight is to add 0."
        )
    agrees(evenness, _evenness, row, where="on the row [1, 0, 0, 0]:", suspects=EVEN_SUSPECTS)


def check_evenness(evenness: Callable) -> None:
    """All alike, half and half, all in one; softmaxes of other shapes; nearly all in one."""
    hand = torch.tensor([[0.25] * 4, [0.5, 0, 0.5, 0]])
    steep = torch.tensor([[0.999] + [0.001 / 255] * 255])
    smooth = normal(2, 3, 5, 7).softmax(-1)
    alike = hand[:1].expand(3, 4)
    agrees(evenness, _evenness, alike, where="on three rows [¼, ¼, ¼, ¼]:", suspects=EVEN_SUSPECTS)
    agrees(evenness, _evenness, smooth, where="on rows [2, 3, 5, 7]:", suspects=EVEN_SUSPECTS)
    _no_nan(evenness)
    agrees(evenness, _evenness, hand, where="on [¼, ¼, ¼, ¼] and [½, 0, ½, 0]:", suspects=EVEN_SUSPECTS)
    where = "on the row of 0.999 and 255 times 0.001/255:"
    agrees(evenness, _evenness, steep, where=where, suspects=EVEN_SUSPECTS)
    leaves_alone(evenness, smooth)
    leaves_alone(evenness, numbered(2, 4).clamp(max=1))
    keeps_dtype(evenness, smooth)
    lets_gradient_flow(evenness, smooth)


EXERCISES = {
    "10.4": Exercise(
        checker=check_evenness,
        notice="½, 0, ½, 0 has one half: it is as uncertain as a choice among 2, and log 2 is half of log 4.",
        hints=(
            "Entropy is the sum of −a·log a over a row. When all N weights are 1/N it is log N.",
            "A weight may be 0, and log 0 is −∞. Whatever you put in its place inside the logarithm, a = 0\n"
            "in front makes it 0, as long as it is finite: rows.clamp(min=1e-12).log().",
            "logarithms = rows.clamp(min=...).log()\nreturn -(... * ...).sum(-1) / math.log(...)",
        ),
        solution=("s10_attention_over_pixels.py", "evenness"),
        symptoms={
            "log(): argument 'input'": "torch.log takes a tensor; for the number N take math.log.",
            "must be real number, not Tensor": "math.log takes a number; for a tensor take .log().",
            "only one element tensors": "math.log takes a number; for a tensor take .log().",
            "name 'math' is not defined": "import math in a cell of its own.",
            "nan": "log 0 is −∞, and 0 · (−∞) is nan: keep 0 out of the logarithm, not out of the row.",
        },
        forbidden=("mvit_lib", "entr", "special_entr", "entropy"),
    ),
}
