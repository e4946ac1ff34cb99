"""What differs between the tasks: their augmentation, their loss, their evaluation."""

import random
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mvit_lib.augment import CutMix, Mixup, PhotometricDistortion, RandAugment
from mvit_lib.heads.deeplabv3 import resize_mask
from mvit_lib.heads.ssdlite import ssd_anchors, ssd_loss
from mvit_lib.train.average_precision import DetectionCounter, DetectionResult
from mvit_lib.train.distributed import sum_over_ranks
from mvit_lib.train.metrics import (
    IGNORE,
    Classification,
    ClassificationCounter,
    SegmentationCounter,
    SegmentationResult,
    check_classes,
)
from mvit_lib.train.recipe import Recipe
from mvit_lib.transforms import (
    CenterCrop,
    Compose,
    EvalTransform,
    RandomFlip,
    RandomResizedCrop,
    RandomScaleCrop,
    Resize,
    ResizeImage,
    SSDCrop,
    Transform,
)

# Any hue: what something is, its colour does not tell.
ANY_COLOUR = PhotometricDistortion(hue=0.5)
# A recipe's crop_scale that leaves out the crops of detection and segmentation.
WHOLE = (1.0, 1.0)


class Task(Protocol):
    """All that the loop knows of a task.

    classes: the names of all outputs; first_classes: those that no dataset names. joint_norms: whether
    ranks on GPUs share the statistics of their BatchNorms, because each sees few images.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    first_classes: tuple[str, ...]
    joint_norms: bool

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
    first_classes: ClassVar[tuple[str, ...]] = ()
    joint_norms: ClassVar[bool] = False

    def train_transform(self) -> Transform:
        basic = (RandomResizedCrop(scale=self.recipe.crop_scale), RandomFlip(self.recipe.flip))
        more = {"basic": (), "photometric": (ANY_COLOUR,), "advanced": (RandAugment(),)}
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


@dataclass(frozen=True)
class Detect:
    """Boxes around objects, by SSDLite: its loss; average precision."""

    recipe: Recipe
    classes: tuple[str, ...]
    first_classes: ClassVar[tuple[str, ...]] = ("background",)
    joint_norms: ClassVar[bool] = True

    def train_transform(self) -> Transform:
        crop = () if self.recipe.crop_scale == WHOLE else (SSDCrop(),)
        colours = _colours(self.recipe, basic=PhotometricDistortion())
        return Compose((*crop, Resize(), colours, RandomFlip(self.recipe.flip)))

    def eval_transform(self, transform: EvalTransform) -> Transform:
        return Resize()

    def loss(self, model: nn.Module, batch: tuple[Tensor, list[dict]], draw: random.Random) -> Tensor:
        images, targets = batch
        return ssd_loss(*model(images), targets, ssd_anchors(tuple(images.shape[-2:])))

    @torch.inference_mode()
    def evaluate(self, model: nn.Module, loader: DataLoader) -> DetectionResult:
        counter = DetectionCounter()
        device = next(model.parameters()).device
        for images, targets in loader:
            counter.add(model.find(images.to(device)), targets, tuple(images.shape[-2:]))
        return counter.result(self.classes)


@dataclass(frozen=True)
class Segment:
    """A class for every pixel, by DeepLabv3: cross-entropy; mean IoU at the size of the masks."""

    recipe: Recipe
    classes: tuple[str, ...]
    first_classes: ClassVar[tuple[str, ...]] = ("background",)
    joint_norms: ClassVar[bool] = True

    def train_transform(self) -> Transform:
        crop = Resize() if self.recipe.crop_scale == WHOLE else RandomScaleCrop()
        colours = _colours(self.recipe, basic=None)
        steps = (crop, RandomFlip(self.recipe.flip), colours)
        return Compose(tuple(step for step in steps if step))

    def eval_transform(self, transform: EvalTransform) -> Transform:
        return ResizeImage()

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor], draw: random.Random) -> Tensor:
        images, masks = batch
        check_classes(masks, len(self.classes))
        smoothing = {"label_smoothing": self.recipe.label_smoothing, "ignore_index": IGNORE}
        total = F.cross_entropy(model(images), masks, reduction="sum", **smoothing)
        # A batch in which all is to be ignored has nothing to teach.
        return total / (masks != IGNORE).sum().clamp(min=1)

    @torch.inference_mode()
    def evaluate(self, model: nn.Module, loader: DataLoader) -> SegmentationResult:
        counter = SegmentationCounter(len(self.classes))
        device = next(model.parameters()).device
        for images, masks in loader:
            found = model(images.to(device)).max(1).indices  # [B, H, W]; argmax takes longer
            for one, mask in zip(found, masks, strict=True):
                counter.add(resize_mask(one, tuple(mask.shape)).cpu(), mask)
        counter.counts = sum_over_ranks(counter.counts)
        return counter.result(self.classes)


def _colours(recipe: Recipe, basic: Transform | None) -> Transform | None:
    """What the recipe's augmentation does to the colours of a picture with boxes or a mask.

    Raises: ValueError for "advanced", which moves pictures without them.
    """
    if recipe.augmentation == "advanced":
        raise ValueError('augmentation="advanced" is for classification: expected "basic" or "photometric"')
    return ANY_COLOUR if recipe.augmentation == "photometric" else basic


TASKS: dict[str, type[Task]] = {"classify": Classify, "detect": Detect, "segment": Segment}
