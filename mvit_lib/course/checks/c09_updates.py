"""The checkers of notebook 09, second half: the mean of a network, one update from several batches."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Wrong, normal

# 09.4


def any_network(seed: int) -> nn.Sequential:
    """A convolution, a BatchNorm and a classifier, every tensor its own random numbers, one in float64."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Linear(4, 2, bias=False)
    )
    model[1].running_var = model[1].running_var.double()
    for i, tensor in enumerate(model.state_dict().values()):
        if tensor.is_floating_point():
            tensor.copy_(normal(*tensor.shape, seed=100 * seed + i))
        else:
            tensor.fill_(10 * seed)
    return model


def check_update_mean(update_mean: Callable) -> None:
    """The model is left alone; then every entry: parameters, buffers, the counter; then a second update."""
    for share in (0.25, 0.01):
        mean, first, second = any_network(1), any_network(2), any_network(3)
        for i, model in enumerate((first, second)):
            before, old = copied(model), copied(mean)
            where = f"share {share:g}, update {i + 1}:"
            with _counts_explained(where):
                update_mean(mean, model, share)
            _model_is_as_before(model, before, where)
            for name, tensor in mean.state_dict().items():
                _entry_is_mean(name, tensor, old[name], before[name], share, where)
            _owns_its_tensors(mean, model, where)


@contextmanager
def _counts_explained(where: str) -> Iterator[None]:
    """PyTorch refuses the mean of whole numbers with NotImplementedError, which else means: no answer yet."""
    try:
        yield
    except NotImplementedError as error:
        if "lerp" not in str(error):
            raise
        raise Wrong(
            f"{where} PyTorch says: {error}. num_batches_tracked is a whole number, a count: copy it."
        ) from error


def copied(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer as it is now."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _model_is_as_before(model: nn.Module, before: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor, before[name]):
            raise Wrong(
                f"{where} {name} of the model that is training has changed. Only the mean moves: write into "
                "the tensors of `mean`, read those of `model`."
            )


def _entry_is_mean(name: str, found: Tensor, old: Tensor, new: Tensor, share: float, where: str) -> None:
    """One entry of the state: share of the new one, the rest of the old one; a count is taken over."""
    expected = old + share * (new - old) if old.is_floating_point() else new
    if torch.allclose(found.double(), expected.double(), atol=1e-6):
        return
    is_buffer = "running" in name or "num_batches" in name
    values = f"{name} begins {_first(found)}; expected {_first(expected)} from {_first(old)}, {_first(new)}."
    if torch.equal(found, old) and not old.is_floating_point():
        ask = "That is a whole number, a count of batches: take the model's over, with copy_."
    elif torch.equal(found, old):
        ask = "It has not moved at all."
        if is_buffer:
            ask += " Did you go through parameters()? Buffers are not among them; state_dict() has both."
        else:
            ask += " `a = …` only renames: write into the tensor, with a.lerp_, a.mul_ or a.copy_."
    elif torch.equal(found, new) and old.dtype == torch.float64:
        ask = "It is the model's own, not a mean. It is float64: is_floating_point() knows every kind."
    elif torch.equal(found, new):
        ask = "It is the model's own, not a mean." + (" Average buffers too." if is_buffer else "")
    elif not old.is_floating_point():
        ask = "That one counts batches: take the model's count, a mean of counts has no meaning."
    elif torch.allclose(found, new + share * (old - new), atol=1e-6):
        ask = "The shares are exchanged: `share` belongs to the model that is training, and is small."
    elif torch.allclose(found, old + share * new, atol=1e-6):
        ask = "The two shares have to sum to 1: what is added has to be taken off the old."
    elif torch.allclose(found, (old + new) / 2, atol=1e-6):
        ask = "That is the middle of both: `share` says how much is new."
    else:
        ask = "It is share · new + (1 − share) · old."
    raise Wrong(f"{where} {values}\n      {ask}")


def _first(tensor: Tensor) -> str:
    return f"{tensor.flatten()[0].item():.4g}"


def _owns_its_tensors(mean: nn.Module, model: nn.Module, where: str) -> None:
    theirs = {tensor.data_ptr() for tensor in model.state_dict().values()}
    shared = [name for name, tensor in mean.state_dict().items() if tensor.data_ptr() in theirs]
    if shared:
        raise Wrong(
            f"{where} {shared[0]} of mean and model is now one and the same tensor: the next update of the "
            "model would move the mean as well. Copy values, do not assign tensors."
        )


# 09.5

SIZES = (6, 1, 5)  # images of the batches
RATE = 0.3


@dataclass
class Watch:
    """What happened in the learner's function: passes in order, steps with their learning rates."""

    events: list[str] = field(default_factory=list)
    rates: list[tuple[float, ...]] = field(default_factory=list)
    modes: list[bool] = field(default_factory=list)  # in training mode, at every forward pass


def network_to_watch(watch: Watch) -> nn.Sequential:
    """A small network without BatchNorm, which notes its passes and has gradients from before."""
    model = nn.Sequential(nn.Linear(4, 5), nn.SiLU(), nn.Linear(5, 3))
    for i, p in enumerate(model.parameters()):
        p.data = normal(*p.shape, seed=20 + i)
        p.grad = torch.ones_like(p)
    model.register_forward_hook(lambda module, x, y: watch.events.append(f"forward {len(y)}"))
    model.register_forward_hook(lambda module, x, y: watch.modes.append(module.training))
    model[2].weight.register_hook(lambda gradient: watch.events.append("backward"))
    return model


def optimizer_to_watch(model: nn.Sequential, watch: Watch) -> torch.optim.Optimizer:
    """Plain gradient descent in two groups: what it moves is the learning rate times the gradient."""
    groups = [{"params": list(model[0].parameters())}, {"params": list(model[2].parameters())}]
    optimizer = torch.optim.SGD(groups, lr=0.05)

    def note(*_: Any) -> None:
        watch.rates.append(tuple(group["lr"] for group in optimizer.param_groups))

    optimizer.register_step_pre_hook(note)
    return optimizer


def some_batches() -> list[tuple[Tensor, Tensor]]:
    """Twelve images in batches of unequal size."""
    labels = torch.tensor([0, 2, 1, 1, 0, 2, 2, 0, 0, 1, 2, 1])
    images = normal(len(labels), 4, seed=9)
    return list(zip(images.split(SIZES), labels.split(SIZES), strict=True))


def gradients(weights: Callable[[int, int, int], float]) -> list[Tensor]:
    """Of Σ weights(B, total, number) · mean loss of a batch, by every parameter."""
    model, batches = network_to_watch(Watch()), some_batches()
    total = sum(SIZES)
    losses = [weights(len(y), total, len(batches)) * F.cross_entropy(model(x), y) for x, y in batches]
    return list(torch.autograd.grad(sum(losses), list(model.parameters())))


GRADIENT_SUSPECTS: dict[str, Callable[[int, int, int], float]] = {
    "Did you give every batch the same share? An image of the batch of 1 then counts six times as much as "
    "one of the batch of 6. Weigh with B/total.": lambda B, total, n: 1 / n,
    "Did you add the batches' means up? Weigh each with B/total.": lambda B, total, n: 1,
    "Is that the sum over the images? The loss is their mean.": lambda B, total, n: B,
    "Did you weigh by B and divide by the number of batches? Divide by the images of all of them.": (
        lambda B, total, n: B / n
    ),
    "Did you divide by the images twice? F.cross_entropy is a mean already.": lambda B, total, n: 1 / total,
}


def check_one_update(one_update: Callable) -> None:
    """The answer's form, the steps, lr, one batch at a time; then the gradient, then the loss."""
    watch = Watch()
    model = network_to_watch(watch)
    before = [p.detach().clone() for p in model.parameters()]
    batches, optimizer = some_batches(), optimizer_to_watch(model, watch)
    answer = one_update(model, batches, optimizer, RATE)
    _steps_once(watch)
    _one_batch_at_a_time(watch)
    _stays_in_training_mode(model, watch)
    moved = [(a - p.detach()) / RATE for a, p in zip(before, model.parameters(), strict=True)]
    _moves_by_the_gradient(moved)
    expected = sum(F.cross_entropy(*_forward(before, batch)).item() * len(batch[1]) for batch in batches)
    _tells_the_loss(answer, expected / sum(SIZES))


def _steps_once(watch: Watch) -> None:
    where = f"with batches of {', '.join(map(str, SIZES))} images:"
    if not watch.rates:
        raise Wrong(f"{where} optimizer.step() was never called: the parameters stay as they are.")
    if len(watch.rates) > 1:
        raise Wrong(
            f"{where} optimizer.step() was called {len(watch.rates)} times. The batches together make one "
            "update: step once, after the last one."
        )
    if watch.rates[0] != (RATE, RATE):
        shown = " and ".join(f"{rate:g}" for rate in watch.rates[0])
        raise Wrong(
            f"{where} the optimizer's two groups stepped with the learning rates {shown}, expected {RATE:g} "
            'twice: set group["lr"] of every group in optimizer.param_groups, before the step.'
        )


def _one_batch_at_a_time(watch: Watch) -> None:
    passes = [event for event in watch.events if event.startswith("forward")]
    if passes == [f"forward {sum(SIZES)}"]:
        raise Wrong(
            "one forward pass of all images at once. The values are right, but its memory is what we do not "
            "have: take one batch after the other."
        )
    if passes != [f"forward {B}" for B in SIZES]:
        raise Wrong(
            f"the model was called with {', '.join(p.split()[1] for p in passes) or 'no'} images, expected "
            f"one call for each batch: {', '.join(map(str, SIZES))}."
        )
    if watch.events.count("backward") == 0:
        raise Wrong("there was no backward pass: nothing has a gradient.")
    if watch.events != [event for p in passes for event in (p, "backward")]:
        raise Wrong(
            "all forward passes come first, then the backward pass: what every batch keeps lies in memory at "
            "once. Go backward after each forward; backward() adds to the gradients that are there."
        )


def _stays_in_training_mode(model: nn.Module, watch: Watch) -> None:
    if not all((*watch.modes, model.training)):
        raise Wrong(
            "your function puts the model into eval mode. There a BatchNorm learns no statistics and dropout "
            "is off: an update leaves the mode as it is."
        )


def _moves_by_the_gradient(moved: list[Tensor]) -> None:
    expected = gradients(lambda B, total, n: B / total)
    if _close(moved, expected):
        return
    old = [torch.ones_like(g) for g in expected]
    last = gradients(lambda B, total, n: B / total if B == SIZES[-1] else 0)
    ask = next((q for q, w in GRADIENT_SUSPECTS.items() if _close(moved, gradients(w))), "")
    if _close(moved, [a + b for a, b in zip(expected, old, strict=True)]):
        ask = "Gradients of the update before are still in it: clear them first."
    elif _close(moved, last) or _close(moved, gradients(lambda B, t, n: float(B == SIZES[-1]))):
        ask = "Only the last batch has had an effect: clear the gradients once, before the loop."
    elif _close(moved, [-g for g in expected]):
        ask = "The parameters go uphill."
    i = next(i for i in range(len(moved)) if not _close(moved[i : i + 1], expected[i : i + 1]))
    name = ("0.weight", "0.bias", "2.weight", "2.bias")[i]
    message = f"the step of {name} is not that of the mean loss over all {sum(SIZES)} images: its gradient "
    message += f"begins {_first(moved[i])}, expected {_first(expected[i])}."
    raise Wrong(message + (f"\n      {ask}" if ask else ""), moved[i], expected[i])


def _close(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(a, b, strict=True))


def _forward(weights: list[Tensor], batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    x, y = batch
    return F.silu(x @ weights[0].T + weights[1]) @ weights[2].T + weights[3], y  # [B, 3], [B]


def _tells_the_loss(answer: Any, expected: float) -> None:
    if answer is None:
        raise Wrong("the parameters are right, but your function returns None: return the mean loss.")
    if isinstance(answer, Tensor):
        raise Wrong(
            "the parameters are right, but the loss comes back as a tensor. Whoever keeps a list of such "
            "losses keeps their graphs: return a plain number, loss.item()."
        )
    if not isinstance(answer, float | int) or not math.isclose(answer, expected, rel_tol=1e-4):
        raise Wrong(
            f"the parameters are right, but the loss you return is {answer:.4g}; the mean over all images is "
            f"{expected:.4g}. Did you return that of one batch, or not weigh them?"
        )


EXERCISES = {
    "09.4": Exercise(
        checker=check_update_mean,
        notice="The buffers move with the parameters: a network is tested by both.",
        hints=(
            "Which tensors decide what a network answers? Parameters and buffers: state_dict() has both,\n"
            "in the same order for both networks.",
            "The tensors of state_dict() share their memory with the module, so writing into them changes\n"
            "it: old.lerp_(new, share) is old + share · (new − old), in place.",
            "for old, new in zip(mean.state_dict().values(), model.state_dict().values()):\n"
            "    if old.is_floating_point():\n        old.lerp_(..., ...)\n"
            "    else:                       # a count\n        old.copy_(...)",
        ),
        solution=("s09_training.py", "update_mean"),
        symptoms={
            "a leaf Variable that requires grad": "parameters() need gradients, so they refuse changes in "
            "place: work under torch.no_grad(), or with the tensors of state_dict().",
            "result type Float can't be cast": "num_batches_tracked is a whole number: copy it.",
        },
        forbidden=("mvit_lib", "update_parameters", "ema_update", "swa_update"),
    ),
    "09.5": Exercise(
        checker=check_one_update,
        notice="The gradient of 12 images, with the memory of 6: that is all of gradient accumulation.",
        hints=(
            "Four parts: clear the gradients; for each batch forward, loss, backward; set lr; step.",
            "F.cross_entropy gives the mean of one batch. In the mean over all images it counts B/total:\n"
            "multiply by that *before* backward(), which adds up gradients.",
            "total, mean_loss = sum(len(y) for _, y in batches), 0.0\noptimizer.zero_grad()\n"
            "for x, y in batches:\n"
            "    loss = F.cross_entropy(model(x), y) * ...\n    loss.backward()\n"
            "    mean_loss += loss.item()\n"
            'for group in optimizer.param_groups:\n    group["lr"] = ...\noptimizer.step()\nreturn mean_loss',
        ),
        solution=("s09_training.py", "one_update"),
        symptoms={
            "Trying to backward through the graph a second time": "Each batch has a graph of its own: call "
            "backward() on its loss, not on a sum that still holds those before.",
            "grad can be implicitly created only for scalar outputs": "backward() starts at one number: the "
            "mean of the batch.",
            "does not require grad and does not have a grad_fn": "backward() was called on a plain number: "
            ".item() comes after it.",
            "'float' object has no attribute 'backward'": "backward() was called on a plain number: .item() "
            "comes after it.",
        },
        forbidden=("mvit_lib",),
    ),
}
