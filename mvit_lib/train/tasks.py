"""What differs between the tasks: their augmentation, their loss, their evaluation."""

import random
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mvit_lib.augment import CutMix, Mixup, PhotometricDistortion, RandAugment
from mvit_lib.train.distributed import sum_over_ranks
from mvit_lib.train.metrics import Classification, ClassificationCounter
from mvit_lib.train.recipe import Recipe
from mvit_lib.transforms import (
    CenterCrop,
    Compose,
    EvalTransform,
    RandomFlip,
    RandomResizedCrop,
    Transform,
)


class Task(Protocol):
    """All that the loop knows of a task."""

    recipe: Recipe
    classes: tuple[str, ...]

    def train_transform(self) -> Transform:
        """The recipe's augmentation."""

    def eval_transform(self, transform: EvalTransform) -> Transform:
        """What a model's own `eval_transform` means for a dataset."""

    def loss(self, model: nn.Module, batch: Any, draw: random.Random) -> Tensor:
        """The mean loss of a batch that lies on the model's device."""

    def evaluate(self, model: nn.Module, loader: DataLoader) -> Any:
        """The result over all batches of all ranks; has `.scores() -> dict[str, float]`."""


@dataclass(frozen=True)
class Classify:
    """One class per image: cross-entropy with label smoothing; top-1 and top-5."""

    recipe: Recipe
    classes: tuple[str, ...]

    def train_transform(self) -> Transform:
        basic = (RandomResizedCrop(scale=self.recipe.crop_scale), RandomFlip(self.recipe.flip))
        # Any hue: what something is, its colour does not tell.
        colours = PhotometricDistortion(hue=0.5)
        more = {"basic": (), "photometric": (colours,), "advanced": (RandAugment(),)}
        return Compose((*basic, *more[self.recipe.augmentation]))

    def eval_transform(self, transform: EvalTransform) -> Transform:
        return CenterCrop(transform.crop / transform.resize)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor], draw: random.Random) -> Tensor:
        images, targets = batch
        if self.recipe.augmentation == "advanced":
            one_hot = F.one_hot(targets, len(self.classes)).to(images.dtype)  # [B, K]
            images, targets = draw.choice((Mixup(), CutMix()))(images, one_hot, draw)
        return F.cross_entropy(model(images), targets, label_smoothing=self.recipe.label_smoothing)

    @torch.inference_mode()
    def evaluate(self, model: nn.Module, loader: DataLoader) -> Classification:
        counter = ClassificationCounter(len(self.classes))
        device = next(model.parameters()).device
        for images, labels in loader:
            counter.add(model(images.to(device)), labels)
        counter.counts = sum_over_ranks(counter.counts)
        return counter.result(self.classes)


TASKS: dict[str, type[Task]] = {"classify": Classify}
