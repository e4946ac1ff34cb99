"""The checkers of 09.2, the learning rate, and 09.3, the smoothed loss."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Function,
    Wrong,
    agrees,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    normal,
)

# 09.2

ROUNDED = 6e-9  # the official rates have eight decimals
Schedule = tuple[int, int, int, int, float, float, float]  # update, epoch, epochs, warmup, start, peak, final
SCHEDULES: tuple[Schedule, ...] = (
    (0, 0, 300, 3000, 2e-4, 2e-3, 2e-4),
    (1500, 1, 300, 3000, 2e-4, 2e-3, 2e-4),
    (2999, 3, 300, 3000, 2e-4, 2e-3, 2e-4),
    (3000, 3, 300, 3000, 2e-4, 2e-3, 2e-4),
    (128_400, 150, 300, 3000, 2e-4, 2e-3, 2e-4),
    (257_000, 299, 300, 3000, 2e-4, 2e-3, 2e-4),
    (600, 5, 20, 500, 9e-5, 9e-4, 1e-6),
    (250, 2, 20, 500, 9e-5, 9e-4, 1e-6),
    (7, 0, 5, 0, 2e-4, 1e-3, 1e-5),
)


def rate_at(
    update: int, epoch: int, epochs: int, warmup: int, start: float, peak: float, final: float
) -> float:
    """What 09.2 asks for."""
    if update < warmup:
        return start + update * (peak - start) / warmup
    return final + (peak - final) / 2 * (1 + math.cos(math.pi * epoch / epochs))


def _rates(climb: Callable | None = None, fall: Callable | None = None) -> Callable[..., float]:
    """rate_at with another climb(update, warmup, start, peak), or another fall(share, peak, final)."""

    def call(*arguments: Any) -> float:
        update, epoch, epochs, warmup, start, peak, final = arguments
        if update < warmup:
            climbing = climb or (lambda u, n, s, p: s + u * (p - s) / n)
            return climbing(update, warmup, start, peak)
        falling = fall or (lambda x, p, f: f + (p - f) / 2 * (1 + math.cos(math.pi * x)))
        return falling(epoch / epochs, peak, final)

    return call


def _at_once(update: int, epoch: int, epochs: int, warmup: int, *rates: float) -> float:
    share = min(1, update / warmup) if warmup else 1
    return share * rate_at(warmup, epoch, epochs, warmup, *rates)


def _epoch_plus(more: int, fewer: int = 0) -> Callable[..., float]:
    def call(update: int, epoch: int, epochs: int, *rest: Any) -> float:
        return rate_at(update, epoch + more, epochs - fewer, *rest)

    return call


RATE_SUSPECTS = {
    "The climb begins at `start`, not at 0.": _rates(climb=lambda u, n, s, p: u * p / n),
    "The climb begins at `start` and ends at `peak`: it gains only peak − start.": _rates(
        climb=lambda u, n, s, p: s + u * p / n
    ),
    "Is the climb one update ahead? Update 0 has the learning rate `start`.": _rates(
        climb=lambda u, n, s, p: s + (u + 1) * (p - s) / n
    ),
    "During the warm-up there is no cosine: do not multiply the two.": _at_once,
    "The cosine ends at `final`, not at 0.": _rates(fall=lambda x, p, f: p / 2 * (1 + math.cos(math.pi * x))),
    "The cosine falls from `peak` to `final`: the part that falls is peak − final.": _rates(
        fall=lambda x, p, f: f + p / 2 * (1 + math.cos(math.pi * x))
    ),
    "1 + cos goes from 2 to 0: did you forget to halve it?": _rates(
        fall=lambda x, p, f: f + (p - f) * (1 + math.cos(math.pi * x))
    ),
    "Does your learning rate rise? 1 + cos falls, 1 − cos rises.": _rates(
        fall=lambda x, p, f: f + (p - f) / 2 * (1 - math.cos(math.pi * x))
    ),
    "Did you leave out π? Half a wave is π · epoch / epochs.": _rates(
        fall=lambda x, p, f: f + (p - f) / 2 * (1 + math.cos(x))
    ),
    "Is it 2π? Half a wave is π · epoch / epochs; a whole one climbs again.": _rates(
        fall=lambda x, p, f: f + (p - f) / 2 * (1 + math.cos(2 * math.pi * x))
    ),
    "That is a straight line down: the fall is half a cosine wave.": _rates(
        fall=lambda x, p, f: p + (f - p) * x
    ),
    "Epochs count from 0, and divide by `epochs`, not by epochs − 1.": _epoch_plus(0, fewer=1),
    "Is the epoch one ahead? It counts from 0.": _epoch_plus(1),
    "The wave ends at `final`; `start` belongs to the climb.": lambda u, e, n, w, start, peak, final: rate_at(
        u, e, n, w, start, peak, start
    ),
    "The climb begins at `start`; `final` belongs to the wave.": lambda u, e, n, w, start, peak, final: (
        rate_at(u, e, n, w, final, peak, final)
    ),
    "The warm-up is over at update = warmup: `<`, not `<=`.": lambda update, *rest: (
        rest[4] if update == rest[2] else rate_at(update, *rest)
    ),
}


def check_learning_rate(learning_rate: Callable) -> None:
    """Numbers at nine places of three schedules; the first wrong one is named."""
    wanted, found = [], []
    for case in SCHEDULES:
        update, epoch, epochs, warmup, *rates = case
        where = f"update {update}, epoch {epoch} of {epochs}, warm-up {warmup}, start, peak, final {rates}:"
        found.append(_number(learning_rate(*case), where))
        wanted.append(rate_at(*case))
    for i, case in enumerate(SCHEDULES):
        if not math.isclose(found[i], wanted[i], rel_tol=1e-6, abs_tol=ROUNDED):
            update, epoch, epochs, warmup, *rates = case
            message = (
                f"update {update}, epoch {epoch} of {epochs}, warm-up {warmup}, start, peak, final {rates}:\n"
            )
            message += f"      got {found[i]:.7g}, expected {wanted[i]:.7g}."
            ask = _explanation(RATE_SUSPECTS, SCHEDULES, found) or _about_the_wave(learning_rate, found)
            raise Wrong(message + ask)


def _about_the_wave(learning_rate: Callable, found: Sequence[float]) -> str:
    """What to ask about a wave that counts updates, or that begins where the climb ends."""
    one, other = (float(learning_rate(u, 150, 300, 3000, 2e-4, 2e-3, 2e-4)) for u in (128_400, 129_200))
    if not math.isclose(one, other, rel_tol=1e-6):
        return "\n      Does your wave count updates? It knows only the epoch: a staircase."
    if math.isclose(found[3], 2e-3, rel_tol=1e-8):
        return "\n      Does your wave begin where the climb ends? It begins at epoch 0."
    return ""


def _number(answer: Any, where: str) -> float:
    if answer is None:
        raise Wrong(f"{where} got None: did you forget `return`?")
    try:
        return float(answer)
    except (TypeError, ValueError):
        raise Wrong(f"{where} expected a number, got {type(answer).__name__}") from None


def _explanation(suspects: Mapping[str, Callable], cases: Sequence[tuple], answers: Sequence[float]) -> str:
    """The question whose mistake gives all these answers, if there is one."""
    for question, mistake in suspects.items():
        made = [mistake(*case) for case in cases]
        if all(math.isclose(a, b, rel_tol=1e-6, abs_tol=ROUNDED) for a, b in zip(made, answers, strict=True)):
            return f"\n      {question}"
    return ""


# 09.3


def smoothed(logits: Tensor, targets: Tensor, eps: float) -> Tensor:
    """What 09.3 asks for."""
    return F.cross_entropy(logits, targets, label_smoothing=eps)


def _with_target(right: Callable[[float, int], float], wrong: Callable[[float, int], float]) -> Function:
    """The loss with other target probabilities for the right class and for each of the others."""

    def call(logits: Tensor, targets: Tensor, eps: float) -> Tensor:
        K = logits.shape[1]
        q = torch.full_like(logits, wrong(eps, K))  # [B, K]
        q.scatter_(1, targets[:, None], right(eps, K))
        return -(q * logits.log_softmax(1)).sum(1).mean()

    return call


LOSS_SUSPECTS = {
    "Is s shared among the K − 1 wrong classes? Here all K get a share, the right one too.": _with_target(
        lambda e, K: 1 - e, lambda e, K: e / (K - 1)
    ),
    "Do your targets sum to 1? The right class gets 1 − s, and s/K like every other.": _with_target(
        lambda e, K: 1 - e, lambda e, K: e / K
    ),
    "Has the right class kept its whole 1? It gives s away.": _with_target(
        lambda e, K: 1, lambda e, K: e / K
    ),
    "The smoothing is missing: s has no effect.": _with_target(lambda e, K: 1, lambda e, K: 0),
    "Does every class get s? They share it: s/K each.": _with_target(lambda e, K: 1 - e, lambda e, K: e),
    "Is the minus missing?": lambda z, y, e: -smoothed(z, y, e),
    "Is that the sum over the batch? The loss is its mean.": lambda z, y, e: smoothed(z, y, e) * len(z),
    "Is s always 0.1? Take the `s` that you are given.": lambda z, y, e: smoothed(z, y, 0.1),
    "Did you take the mean over classes too? Sum over the K classes, then the mean over B.": (
        lambda z, y, e: smoothed(z, y, e) / z.shape[1]
    ),
    "Softmax runs over the classes, dim 1.": lambda z, y, e: (
        -(
            (F.one_hot(y, z.shape[1]) * (1 - e) + e / z.shape[1]) * z.log_softmax(0)
        ).sum(1).mean()
    ),
    "Is the logarithm missing?": lambda z, y, e: (
        -((F.one_hot(y, z.shape[1]) * (1 - e) + e / z.shape[1]) * z.softmax(1)).sum(1).mean()
    ),
    "Is the softmax missing? −log of a probability, not the logit itself.": lambda z, y, e: (
        -((F.one_hot(y, z.shape[1]) * (1 - e) + e / z.shape[1]) * z).sum(1).mean()
    ),
}  # fmt: skip


def check_smoothed_cross_entropy(smoothed_cross_entropy: Callable) -> None:
    """Values with and without s, for few and many classes, far logits, dtype, the gradient."""
    targets = torch.tensor([2, 0, 4, 2])
    if isinstance(smoothed_cross_entropy(normal(4, 5), targets, 0.1), float):
        raise Wrong(
            "your function returns a plain number. The training goes backward from this loss: return the "
            "tensor, without .item()."
        )
    for eps in (0.1, 0.0, 0.5):
        where = f"4 images, 5 classes, s = {eps:g}:"
        agrees(smoothed_cross_entropy, smoothed, normal(4, 5), targets, eps, where=where,
               suspects=LOSS_SUSPECTS)  # fmt: skip
    leaves_alone(smoothed_cross_entropy, normal(4, 5), targets, 0.1)
    _knows_all_classes(smoothed_cross_entropy)
    far = torch.tensor([[0.0, 200.0, -200.0], [300.0, 0.0, 5.0]])
    where = "logits up to 300:"
    if not smoothed_cross_entropy(far.clone(), torch.tensor([1, 2]), 0.1).isfinite():
        raise Wrong(
            f"{where} the loss is not finite. A probability of e⁻³⁰⁰ is 0 in float32, and its logarithm "
            "−∞: take log_softmax, which never forms it."
        )
    agrees(smoothed_cross_entropy, smoothed, far, torch.tensor([1, 2]), 0.1, where=where, tol=1e-3)
    keeps_dtype(lambda z, e: smoothed_cross_entropy(z, targets, e), normal(4, 5), 0.1)
    lets_gradient_flow(lambda z, e: smoothed_cross_entropy(z, targets, e), normal(4, 5), 0.1)


def _knows_all_classes(smoothed_cross_entropy: Callable) -> None:
    """A batch in which the last classes do not occur."""
    where, targets = "5 classes, labels 0, 1, 2:", torch.tensor([0, 1, 2])
    try:
        agrees(smoothed_cross_entropy, smoothed, normal(3, 5), targets, 0.1, where=where)
    except RuntimeError as error:
        raise Wrong(
            f"{where} {error}. Does one_hot count the classes in the labels? A batch need not hold every "
            "class: K is logits.shape[1]."
        ) from None


EXERCISES = {
    "09.2": Exercise(
        checker=check_learning_rate,
        notice="At epoch 3 the rate stands at 0.00199956, not at 0.002: the cosine counts from epoch 0.",
        hints=(
            "Two cases: update < warmup is a line, everything after it is half a cosine wave.",
            "The line goes from `start`, at update 0, towards `peak`, at update = warmup.\n"
            "The wave knows only the epoch: math.cos(math.pi * epoch / epochs) goes from 1 to −1.",
            "if update < warmup:\n    return start + update * (...) / warmup\n"
            "return final + (...) / 2 * (1 + math.cos(...))",
        ),
        solution=("s09_training.py", "learning_rate"),
        symptoms={
            "division by zero": "A warm-up of 0 updates is allowed: divide only where update < warmup.",
            "must be real number, not builtin_function_or_method": "math.cos takes a number: math.cos(...).",
            "argument 'input' (position 1) must be Tensor, not float": "Plain numbers: math.cos, not "
            "torch.cos.",
        },
        forbidden=("mvit_lib",),
    ),
    "09.3": Exercise(
        checker=check_smoothed_cross_entropy,
        notice="With s = 0 it is the old cross-entropy; with s no logits make it 0 any more.",
        hints=(
            "Write the targets as a table q of shape [B, K]: s/K everywhere, and 1 − s more at the right\n"
            "class. Then the formula: −Σ q · log p over the classes, and the mean over the batch.",
            "F.one_hot(targets, K) is 1 at the right class. logits.log_softmax(dim=1) is log p, without\n"
            "a detour over p, which may be 0.",
            "K = logits.shape[1]\nq = (1 - s) * F.one_hot(targets, ...) + ...      # [B, K]\n"
            "return -(q * logits.log_softmax(dim=...)).sum(dim=...).mean()",
        ),
        solution=("s09_training.py", "smoothed_cross_entropy"),
        symptoms={
            "one_hot is only applicable to index tensor": "one_hot takes the class numbers, targets, not "
            "the logits.",
            "must match the size of tensor": "targets [B] against logits [B, K]: make a table [B, K] first, "
            "F.one_hot(targets, K).",
            "Class values must be smaller than num_classes": "K is the number of classes, logits.shape[1].",
        },
        forbidden=("mvit_lib", "cross_entropy", "cross_entropy_loss", "nll_loss", "kl_div"),
    ),
}  # fmt: skip
