"""The training loop, and what makes it survive: exact resuming, clean stopping, errors that say where."""

import math
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset, Subset

from mvit_lib.classifier import Network, evaluating
from mvit_lib.data.sampler import MultiScaleSampler
from mvit_lib.train.checkpoint import Checkpoints, describe
from mvit_lib.train.distributed import rank_and_size, share_buffers
from mvit_lib.train.loaders import Keyed, evaluation_batches, make_loader
from mvit_lib.train.metrics import Classification
from mvit_lib.train.progress import History, Progress, Stopwatch
from mvit_lib.train.recipe import Recipe
from mvit_lib.train.tasks import TASKS, Task
from mvit_lib.transforms import EvalTransform
from mvit_lib.weights import save_weights


def fit(
    model: nn.Module,
    train_data: Dataset,
    recipe: Recipe | None = None,
    *,
    task: str = "classify",
    val_data: Dataset | None = None,
    sampler: MultiScaleSampler | None = None,
    out: str | Path | None = None,
    workers: int = 0,
    quiet: bool = False,
) -> History:
    """Train `model` where it lies (CPU or GPU) and leave it in eval mode with the mean of its weights.

    train_data, val_data: datasets of this library, `Subset`s of them, or any that give (image, target)
    for an index. Those of this library without a transform get the recipe's augmentation, and for
    evaluation the model's `eval_transform`. recipe: the paper's for ImageNet if None. sampler: the
    recipe's own if None. out: a folder for checkpoint, log.csv and, at the end, the model; a training
    that was stopped there goes on, to the last bit as if it had never stopped (on a CPU, with an equal
    number of threads). workers: processes that load images; results do not depend on them. quiet: show
    no bar, curve or line.

    Interrupting it (the stop button, Ctrl-C, SIGTERM) ends it after the running step with all it has;
    a second time ends it at once. Under torchrun the ranks share the work.

    Raises: ValueError if arguments do not fit together, the warm-up takes half of all updates or more,
    or `out` belongs to another training; FloatingPointError at a loss that is not finite, naming
    update, learning rate and batch; OSError if a checkpoint cannot be written.
    Source: Section 4.1.
    """
    run = Run(model, train_data, recipe or Recipe.imagenet(), task, sampler, out, workers)
    run.resume()
    with stopping() as stop, run.own_seeds(), Progress(run.updates, run.history, quiet) as progress:
        for epoch in range(run.epoch, run.recipe.epochs):
            for batches in run.updates_of(epoch):
                progress.update(run.take_step(batches))
                if stop.is_set():
                    return run.finish(stopped=True)
                if run.checkpoints.is_due:
                    run.save()
            scores = run.evaluate(val_data) if val_data is not None else {}
            progress.epoch(run.end_epoch(scores))
    return run.finish(stopped=False)


def evaluate(
    model: nn.Module,
    data: Dataset,
    *,
    task: str = "classify",
    size: int | None = None,
    batch: int = 64,
    workers: int = 0,
) -> Classification:
    """How good `model` is on `data`; deterministic, and the model's mode is left as it was.

    size: evaluate at another size than the model's `eval_transform`, with the same share cut off.
    Raises: ValueError if the classes of model and dataset do not fit.
    """
    job = make_task(task, Recipe.imagenet(), model, data)
    transform = getattr(model, "eval_transform", EvalTransform())
    if size is not None:
        transform = EvalTransform(round(size * transform.resize / transform.crop), size)
    keyed = Keyed(data, job.eval_transform(transform))
    batches = evaluation_batches(len(keyed), (transform.crop, transform.crop), batch)
    with evaluating(model):
        return job.evaluate(model, make_loader(keyed, batches, task, workers))


class Run:
    """One training: what `fit` was given, and everything that changes while it goes on.

    epoch: how many are finished; step: batches taken since; update: updates in all.
    """

    def __init__(
        self,
        model: nn.Module,
        train_data: Dataset,
        recipe: Recipe,
        task: str,
        sampler: MultiScaleSampler | None,
        out: str | Path | None,
        workers: int,
    ) -> None:
        rank, world_size = rank_and_size()
        self.task_name, self.recipe, self.workers = task, recipe, workers
        self.out = None if out is None else Path(out)
        self.model = model.to(memory_format=torch.channels_last)
        self.device = next(model.parameters()).device
        self.task = make_task(task, recipe, model, train_data)
        if self.task.joint_norms and world_size > 1 and self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        model.classes = self.task.classes
        model.eval_transform = EvalTransform(recipe.eval_resize, recipe.eval_crop)
        self.data = Keyed(train_data, self.task.train_transform())
        self.sampler = sampler or recipe.sampler(len(self.data), rank, world_size)
        check_sampler(self.sampler, self.data, rank, world_size)
        self.loader = make_loader(self.data, self.sampler, task, workers, self.device.type == "cuda")
        self.updates = sum(map(self.updates_in, range(recipe.epochs)))
        recipe.warmup(self.updates)
        self.mean = recipe.mean_of_weights(model) if recipe.ema else None
        self.optimizer = recipe.optimizer(model)
        self.net = wrap(model, recipe, world_size)
        self.checkpoints = Checkpoints(out, describe(model, recipe, task, len(self.data)))
        self.epoch, self.step, self.update, self.stopwatch = 0, 0, 0, Stopwatch()
        self.history = History()

    def updates_in(self, epoch: int) -> int:
        """How many updates a whole epoch makes."""
        self.sampler.load_state_dict({"epoch": epoch, "step": 0})
        return -(-len(self.sampler) // self.recipe.accumulate)

    # One update

    def updates_of(self, epoch: int) -> Iterator[list[Any]]:
        """The batches of each update that is left of the epoch."""
        set_training(self.net)
        self.sampler.load_state_dict({"epoch": epoch, "step": self.step})
        batches = iter(self.loader)
        self.stopwatch.start()
        while group := list(islice(batches, self.recipe.accumulate)):
            yield group

    def take_step(self, batches: list[Any]) -> float:
        """One update from one or several batches; returns their mean loss."""
        rate = self.recipe.learning_rate(self.update, self.updates, self.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad()
        # Dropout and mixing follow from (seed, rank, update) alone: that is what makes resuming exact.
        draw = random.Random(f"{self.recipe.seed} {self.sampler.rank} {self.update}")
        torch.manual_seed(draw.getrandbits(63))
        loss = sum(
            self.add_gradient(batch, draw, len(batches), is_last=batch is batches[-1]) for batch in batches
        )
        if not math.isfinite(loss):
            raise FloatingPointError(self.what_happened(loss, rate))
        self.optimizer.step()
        if self.mean is not None:
            self.mean.update_parameters(self.model)
        self.step, self.update = self.step + len(batches), self.update + 1
        self.stopwatch.lap()
        return loss

    def add_gradient(self, batch: Any, draw: random.Random, batches: int, is_last: bool) -> float:
        """Add one batch's gradient, 1 / `batches` of it; ranks exchange theirs after the last batch."""
        waits = isinstance(self.net, DistributedDataParallel) and not is_last
        with self.net.no_sync() if waits else nullcontext():
            with torch.autocast(self.device.type, torch.bfloat16, self.recipe.precision == "bfloat16"):
                loss = self.task.loss(self.net, to_device(batch, self.device), draw) / batches
            loss.backward()
        return loss.item()

    def what_happened(self, loss: float, rate: float) -> str:
        """All that helps to find out why a loss is not finite."""
        self.sampler.load_state_dict({"epoch": self.epoch, "step": self.step})
        keys = next(iter(self.sampler))
        indices = [self.data.indices[key.index] for key in keys]
        path = self.checkpoints.path
        kept = f"{path} holds the last good state" if path and path.exists() else "Nothing was saved yet"
        return (
            f"the loss is {loss} at update {self.update} (epoch {self.epoch + 1}), learning rate {rate:g}, "
            f"batch of {len(keys)} images of {keys[0].height} × {keys[0].width} pixels, samples {indices}. "
            f"{kept}. Look at these samples, or lower the rate"
        )

    # One epoch

    def evaluate(self, data: Dataset) -> dict[str, float]:
        """The scores of the mean of the weights, or of the weights where there is no mean."""
        model = self.model if self.mean is None else self.mean.module
        model.eval_transform = self.model.eval_transform
        share_buffers(model)
        return evaluate(model, data, task=self.task_name, workers=self.workers).scores()

    def end_epoch(self, scores: dict[str, float]) -> dict[str, float]:
        """Record the epoch that was finished and save; returns its row."""
        losses = self.history.losses[-self.updates_in(self.epoch) :]
        images = sum(batch for _, batch in self.sampler.plan()) * self.sampler.world_size
        rate = self.recipe.learning_rate(self.update - 1, self.updates, self.epoch)
        row = {"epoch": self.epoch + 1, "updates": self.update, "images": images} | self.stopwatch.spent
        row |= {"rate": rate, "loss": sum(losses) / len(losses)} | scores
        self.history.rows.append(row)
        self.epoch, self.step, self.stopwatch = self.epoch + 1, 0, Stopwatch()
        self.save()
        return row

    # Stopping and going on

    def own_seeds(self) -> AbstractContextManager:
        """The training sets the seed at every update; the caller's random numbers are put back after it."""
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def save(self) -> None:
        """Write checkpoint and log; on the first rank, all hold the same."""
        if self.sampler.rank == 0 and self.out is not None:
            self.checkpoints.save(
                {
                    "model": self.model.state_dict(),
                    "mean": self.mean.state_dict() if self.mean is not None else {},
                    "optimizer": self.optimizer.state_dict(),
                    "place": {"epoch": self.epoch, "step": self.step, "update": self.update},
                    "spent": self.stopwatch.spent,
                    "history": {"rows": self.history.rows, "losses": self.history.losses},
                }
            )
            self.history.write_csv(self.out / "log.csv")

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        state = self.checkpoints.load()
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        if self.mean is not None:
            self.mean.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in state["place"].items():
            setattr(self, name, value)
        self.stopwatch = Stopwatch(state["spent"])
        self.history = History(**state["history"])

    def finish(self, stopped: bool) -> History:
        """Save what there is and leave the mean of the weights in the model, in eval mode."""
        self.history.stopped = stopped
        if stopped:
            self.save()
        if self.mean is not None:
            share_buffers(self.mean.module)
            self.model.load_state_dict(self.mean.module.state_dict())
        self.model.eval()
        if self.out is not None and self.sampler.rank == 0 and isinstance(self.model, Network):
            save_weights(self.model, self.out / "model.safetensors")
        return self.history


# The parts


def make_task(name: str, recipe: Recipe, model: nn.Module, data: Dataset) -> Task:
    """The task for the classes of the dataset, or of the model where the dataset names none.

    Raises: ValueError if there is no such task, or dataset and model do not have equally many classes.
    """
    if name not in TASKS:
        raise ValueError(f"task={name!r}: expected one of {sorted(TASKS)}")
    while isinstance(data, Subset):
        data = data.dataset
    kind, classes = TASKS[name], tuple(getattr(model, "classes", ()))
    outputs = len(classes)
    if hasattr(data, "classes"):
        classes = (*kind.first_classes, *data.classes)
    if not classes:
        raise ValueError(
            "neither dataset nor model names its classes: set dataset.classes to a tuple of names"
        )
    if outputs and len(classes) != outputs:
        background = " with the background" if kind.first_classes else ""
        raise ValueError(
            f"the dataset has {len(classes)} classes{background}, the model {outputs} outputs: "
            f"build the model with num_classes={len(classes)}"
        )
    return kind(recipe, classes)


def check_sampler(sampler: MultiScaleSampler, data: Keyed, rank: int, world_size: int) -> None:
    """Raise ValueError unless the sampler is meant for these ranks and the dataset can give its sizes."""
    here = (len(data), rank, world_size)
    if (sampler.num_samples, sampler.rank, sampler.world_size) != here:
        raise ValueError(
            f"the sampler is for {sampler.num_samples} samples on rank {sampler.rank} of "
            f"{sampler.world_size}: here are {here[0]} samples on rank {rank} of {world_size}"
        )
    if len(sampler.sizes) > 1 and not data.takes_keys:
        raise ValueError(
            f"this dataset cannot give images of {len(sampler.sizes)} sizes: "
            "use one of mvit_lib.data, or a single size"
        )


def wrap(model: nn.Module, recipe: Recipe, world_size: int) -> nn.Module:
    """The model as the loop calls it: compiled, and distributed where there are several ranks."""
    net = torch.compile(model) if recipe.compile else model
    return DistributedDataParallel(net) if world_size > 1 else net


def set_training(net: nn.Module) -> None:
    """Training mode, except for modules of which every parameter is frozen: they keep their statistics."""
    net.train()
    for module in net.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


def freeze(model: nn.Module, part: str) -> None:
    """Let nothing in `part` learn: the name of a child, or "backbone" for all but the classifier.

    Raises: ValueError if there is no such part.
    """
    children = dict(model.named_children())
    if part == "backbone" and part not in children:
        chosen = [child for name, child in children.items() if name != "classifier"]
    elif part in children:
        chosen = [children[part]]
    else:
        raise ValueError(f"no part {part!r}: expected 'backbone' or one of {sorted(children)}")
    for child in chosen:
        child.requires_grad_(False)


def to_device(batch: Any, device: torch.device) -> Any:
    """Every tensor of a batch on the device, however they are nested."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C, the notebook's stop button or SIGTERM sets; the second time interrupts.

    Several ranks cannot stop at the same step on a signal: there, and outside the main thread, signals
    keep their meaning.
    """
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread() or rank_and_size()[1] > 1:
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
