"""The checker of 09.1: one update of AdamW."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Function, Wrong, agrees, keeps_dtype, leaves_alone, normal

Settings = tuple[float, tuple[float, float], float, float]  # lr, betas, eps, decay
PAPER: Settings = (2e-3, (0.9, 0.999), 1e-8, 0.01)
LOUD: Settings = (0.1, (0.8, 0.95), 0.5, 0.25)  # every term is large enough to be missed
Step = tuple[Tensor, Tensor, Tensor]


def adamw(
    w: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float, betas: tuple, eps: float, decay: float
) -> Step:
    """What 09.1 asks for."""
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g * g
    step = (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps)
    return w - lr * decay * w - lr * step, m, v


def _corrected(m: Tensor, v: Tensor, t: int, betas: tuple) -> tuple[Tensor, Tensor]:
    return m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)


def _variant(
    *, renewed: bool = True, is_corrected: bool = True, ahead: int = 0, under: Function | None = None
) -> Function:
    """The parameter after an update with another order, correction, count or denominator under(v, eps)."""

    def call(*arguments: Any) -> Tensor:
        w, _, m, v, t, lr, betas, eps, decay = arguments
        if renewed:
            _, m, v = adamw(*arguments)
        if is_corrected:
            m, v = _corrected(m, v, t + ahead, betas)
        denominator = under(v, eps) if under else v.sqrt() + eps
        return w * (1 - lr * decay) - lr * m / denominator

    return call


def _with_decay(other: Callable[[float, float], float]) -> Function:
    """adamw with another share lr·decay."""

    def call(*arguments: Any) -> Tensor:
        *rest, decay = arguments
        return adamw(*rest, 0)[0] - other(arguments[5], decay) * arguments[0]

    return call


def _decay_last(*arguments: Any) -> Tensor:
    """The decay of the parameter that has moved already."""
    *rest, decay = arguments
    return adamw(*rest, 0)[0] * (1 - arguments[5] * decay)


WEIGHT_SUSPECTS = {
    "Did you leave out the division by 1 − βᵗ? m and v begin at 0, too small at first.": _variant(
        is_corrected=False
    ),
    "Is t one too large? The first update is t = 1.": _variant(ahead=1),
    "Do you move by the m and v of before? First renew them with g, then move.": _variant(renewed=False),
    "Does the decay go into the gradient? There √v̂ divides it away again. Take it off w itself.": (
        lambda w, g, m, v, t, lr, b, e, d: adamw(w, g + d * w, m, v, t, lr, b, e, 0)[0]
    ),
    "Is ε inside the root? It is added to the root.": _variant(under=lambda v, eps: (v + eps).sqrt()),
    "Is the root missing? The step is divided by √v̂ + ε.": _variant(under=lambda v, eps: v + eps),
    "The decay is missing: λ times w goes off, times the learning rate.": _with_decay(lambda lr, decay: 0),
    "Is the decay taken off without the learning rate? It is lr · λ · w.": _with_decay(
        lambda lr, decay: decay
    ),
    "The parameter grows by its decay: it is taken off.": _with_decay(lambda lr, decay: -lr * decay),
    "Is the decay taken off after the step? Its share is of the w that was given.": _decay_last,
    "Do you walk uphill? The step is taken off w.": lambda w, g, m, v, t, lr, b, e, d: adamw(
        w, -g, -m, v, t, lr, b, e, d
    )[0],
}
FIRST_SUSPECTS = {
    "β and 1 − β are exchanged: most of the old m stays.": lambda w, g, m, v, t, lr, b, e, d: (
        (1 - b[0]) * m + b[0] * g
    ),
    "Did you add g whole? Its share is 1 − β.": lambda w, g, m, v, t, lr, b, e, d: b[0] * m + g,
    "Return m before its division by 1 − βᵗ: the next update goes on from it.": (
        lambda w, g, m, v, t, lr, b, e, d: _corrected(adamw(w, g, m, v, t, lr, b, e, d)[1], v, t, b)[0]
    ),
    "Does the decay go into the gradient? There √v̂ divides it away again. Take it off w itself.": (
        lambda w, g, m, v, t, lr, b, e, d: b[0] * m + (1 - b[0]) * (g + d * w)
    ),
    "Are the two βs exchanged?": lambda w, g, m, v, t, lr, b, e, d: b[1] * m + (1 - b[1]) * g,
    "Is that 0.9? Take the β that you are given, betas[0].": lambda w, g, m, v, t, lr, b, e, d: (
        0.9 * m + 0.1 * g
    ),
}
SECOND_SUSPECTS = {
    "v takes the gradient squared.": lambda w, g, m, v, t, lr, b, e, d: b[1] * v + (1 - b[1]) * g,
    "v takes the gradient squared, not m squared.": lambda w, g, m, v, t, lr, b, e, d: (
        b[1] * v + (1 - b[1]) * adamw(w, g, m, v, t, lr, b, e, d)[1] ** 2
    ),
    "Is that 0.999? Take the β that you are given, betas[1].": lambda w, g, m, v, t, lr, b, e, d: (
        0.999 * v + 0.001 * g * g
    ),
    "Is β₁ in v? That is β₂'s place.": lambda w, g, m, v, t, lr, b, e, d: b[0] * v + (1 - b[0]) * g * g,
}


def check_adamw_step(adamw_step: Callable) -> None:
    """Form, m, v, w after one update in the middle; then twelve updates beside torch's optimizer."""
    w, g, m, v = normal(2, 3), normal(2, 3, seed=1), normal(2, 3, seed=2), normal(2, 3, seed=3).square()
    for t, settings in ((3, LOUD), (1, PAPER)):
        given = (w, g, m, v) if t > 1 else (w, g, torch.zeros_like(w), torch.zeros_like(w))
        where = f"at update t = {t}, lr {settings[0]:g}, decay {settings[3]:g}:"
        step = _part_of_step(adamw_step, where)
        for i, suspects in ((1, FIRST_SUSPECTS), (2, SECOND_SUSPECTS), (0, WEIGHT_SUSPECTS)):
            named = f"{where} {('w', 'm', 'v')[i]}:"
            agrees(step(i), _reference(i), *given, t, *settings, where=named, suspects=suspects, tol=1e-6)
        leaves_alone(step(0), *given, t, *settings)
    keeps_dtype(step(0), w, g, m, v, 2, *PAPER)
    _trains_like_torch(adamw_step)


def _reference(i: int) -> Function:
    return lambda *arguments: adamw(*arguments)[i]


def _part_of_step(adamw_step: Callable, where: str) -> Callable[[int], Function]:
    """The learner's function, reduced to part i of what it returns."""

    def part(i: int) -> Function:
        def call(*arguments: Any) -> Any:
            answer = adamw_step(*arguments)
            if answer is None:
                raise Wrong(f"{where} got None: did you forget `return w, m, v`?")
            if not isinstance(answer, tuple | list) or len(answer) != 3:
                got = f"{len(answer)} values" if isinstance(answer, tuple | list) else type(answer).__name__
                raise Wrong(
                    f"{where} expected three tensors w, m, v, got {got}: "
                    "the next update needs m and v as well."
                )
            return answer[i]

        return call

    return part


def _trains_like_torch(adamw_step: Callable) -> None:
    """Twelve updates with given gradients, by the learner and by torch.optim.AdamW."""
    w, state = normal(2, 3).double(), [torch.zeros(2, 3).double()] * 2
    parameter = torch.nn.Parameter(w.clone())
    lr, betas, eps, decay = LOUD
    optimizer = torch.optim.AdamW([parameter], lr, betas, eps, decay)
    for t in range(1, 13):
        parameter.grad = normal(2, 3, seed=t).double() * 10 ** (t % 5 - 2)
        optimizer.step()
        w, *state = adamw_step(w, parameter.grad.clone(), *state, t, lr, betas, eps, decay)
        gap = (w - parameter.detach()).abs().max()
        if not gap < 1e-9:
            raise Wrong(f"after {t} updates w differs from torch.optim.AdamW's by {gap:.3g}.")


EXERCISES = {
    "09.1": Exercise(
        checker=check_adamw_step,
        notice="To the last digits torch's AdamW. λ stands outside the fraction: that is the W.",
        hints=(
            "Four lines, in the order of the formulas: m, v, the two divided by 1 − βᵗ, w.",
            "Return m and v as they are *before* the division; only the step uses the divided ones:\n"
            "m_hat = m / (1 - betas[0] ** t), and v_hat with betas[1].",
            "m = betas[0] * m + ... * g\nv = betas[1] * v + ... * g ** 2\n"
            "m_hat, v_hat = m / ..., v / ...\n"
            "w = w - lr * ... * w - lr * m_hat / (v_hat.sqrt() + ...)\nreturn w, m, v",
        ),
        solution=("s09_training.py", "adamw_step"),
        symptoms={
            "unsupported operand type(s) for -: 'int' and 'tuple'": "betas holds two numbers: betas[0] for "
            "m, betas[1] for v.",
            "unsupported operand type(s) for ** or pow(): 'tuple' and 'int'": "betas holds two numbers: "
            "betas[0] for m, betas[1] for v.",
            "only integer tensors of a single element can be converted to an index": "betas "
            "holds two numbers: betas[0] for m, betas[1] for v.",
            "must be Tensor, not float": "torch.sqrt takes a tensor: the root is of v̂, then ε is added.",
        },
        forbidden=("mvit_lib", "step", "adam", "adamw", "_fused_adamw_"),
    ),
}
