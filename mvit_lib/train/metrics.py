"""How good a classifier is, of whole pictures or of pixels: counted, never averaged over batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORE = 255


@dataclass(frozen=True)
class Classification:
    """The result of an evaluation.

    confusion: int64 [K, K], row = true class, column = predicted class. in_top5: how many images have
    their class among the five likeliest. loss: mean cross-entropy, without label smoothing.
    """

    confusion: Tensor
    in_top5: int
    loss: float
    classes: tuple[str, ...]

    @property
    def images(self) -> int:
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Share of images whose likeliest class is right, 0 … 1."""
        return self.confusion.trace().item() / self.images

    @property
    def top5(self) -> float:
        """Share of images whose class is among the five likeliest, 0 … 1."""
        return self.in_top5 / self.images

    def scores(self) -> dict[str, float]:
        """The numbers that a log holds."""
        return {"val_loss": self.loss, "top1": self.top1, "top5": self.top5}

    def per_class(self) -> list[dict[str, str | int | float]]:
        """For each class: images, recall, precision and F1; 0 where there is nothing to divide by."""
        right = self.confusion.diagonal()  # [K]
        true, predicted = self.confusion.sum(1), self.confusion.sum(0)  # [K] each
        recall = right / true.clamp(min=1)
        precision = right / predicted.clamp(min=1)
        f1 = 2 * right / (true + predicted).clamp(min=1)
        columns = (true.tolist(), recall.tolist(), precision.tolist(), f1.tolist())
        names = ("class", "images", "recall", "precision", "f1")
        return [dict(zip(names, row, strict=True)) for row in zip(self.classes, *columns, strict=True)]

    def __str__(self) -> str:
        width = max(len(name) for name in self.classes)
        lines = [f"{'class':{width}}  images  recall  precision     F1"]
        for row in self.per_class():
            lines.append(
                f"{row['class']:{width}}  {row['images']:6}  {row['recall']:6.1%}  {row['precision']:9.1%}"
                f"  {row['f1']:5.1%}"
            )
        lines.append(f"top-1 {self.top1:.2%}, top-5 {self.top5:.2%} of {self.images} images")
        return "\n".join(lines)


class ClassificationCounter:
    """Counts batch by batch, without looking at single images from Python."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        # Confusion matrix row by row, then: in the top five, sum of the losses.
        self.counts = torch.zeros(num_classes**2 + 2, dtype=torch.float64)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """One batch: logits [B, K], labels [B]."""
        logits, labels = logits.float().cpu(), labels.cpu()
        cells = labels * self.num_classes + logits.argmax(1)  # [B]
        self.counts[:-2] += torch.bincount(cells, minlength=self.num_classes**2)
        best = logits.topk(min(5, self.num_classes)).indices  # [B, 5]
        self.counts[-2] += (best == labels[:, None]).sum()
        self.counts[-1] += torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

    def result(self, classes: Sequence[str]) -> Classification:
        """What was counted."""
        confusion = self.counts[:-2].long().view(self.num_classes, self.num_classes)
        loss = self.counts[-1].item() / int(confusion.sum())
        return Classification(confusion, int(self.counts[-2]), loss, tuple(classes))


@dataclass(frozen=True)
class SegmentationResult:
    """The result of an evaluation.

    confusion: int64 [K, K], pixels by true class (row) and predicted class (column), those to ignore left
    out. near_truth, near_found: int64 [K, 2], border pixels of each class as predicted and as true: how
    many lie near a border of the same class on the other side, and how many there are.
    """

    confusion: Tensor
    near_truth: Tensor
    near_found: Tensor
    classes: tuple[str, ...]

    @property
    def pixel_accuracy(self) -> float:
        """Share of pixels whose class is right, 0 … 1."""
        return self.confusion.trace().item() / max(1, int(self.confusion.sum()))

    @property
    def iou(self) -> Tensor:
        """Of each class, float64 [K]: pixels that are it in both, over those in either; NaN if in none."""
        right = self.confusion.diagonal().double()  # [K]
        return right / (self.confusion.sum(0) + self.confusion.sum(1) - right)

    @property
    def miou(self) -> float:
        """Mean of `iou` over the classes that occur, the background among them, 0 … 1."""
        return self.iou.nanmean().item()

    @property
    def boundary_f(self) -> Tensor:
        """Of each class, float64 [K]: F1 of its border pixels; NaN where neither side has any.

        A border pixel counts as right if one of the same class lies in the other mask at most 0.75 % of the
        picture's diagonal away (and at least one pixel), along rows and along columns.
        Source: Csurka et al. 2013, with one count over all pictures.
        """
        precision, recall = (n[:, 0] / n[:, 1] for n in (self.near_truth.double(), self.near_found.double()))
        f = 2 * precision * recall / (precision + recall)
        borders = self.near_truth[:, 1] + self.near_found[:, 1]  # [K]
        return f.nan_to_num(0).where(borders > 0, torch.nan)

    def scores(self) -> dict[str, float]:
        """The numbers that a log holds."""
        boundary = self.boundary_f.nanmean().item()
        return {"miou": self.miou, "pixel_accuracy": self.pixel_accuracy, "boundary_f": boundary}

    def __str__(self) -> str:
        width = max(len(name) for name in self.classes)
        lines = [f"{'class':{width}}     IoU  boundary F"]
        for name, iou, f in zip(self.classes, self.iou.tolist(), self.boundary_f.tolist(), strict=True):
            lines.append(f"{name:{width}}  {iou:6.1%}  {f:10.1%}")
        lines.append(f"mean IoU {self.miou:.2%}, pixel accuracy {self.pixel_accuracy:.2%}")
        return "\n".join(lines)


class SegmentationCounter:
    """Counts mask by mask at the masks' own size, without looking at single pixels from Python."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        # Confusion matrix row by row, then two [K, 2] of border pixels.
        self.counts = torch.zeros(num_classes * (num_classes + 4), dtype=torch.int64)

    def add(self, found: Tensor, truth: Tensor) -> None:
        """One mask as predicted and as it is, int64 [H, W] each; 255 in truth is ignored.

        Raises: ValueError if truth has a class that is not there.
        """
        K = self.num_classes
        check_classes(truth, K)
        found, truth = found.to(torch.uint8), truth.to(torch.uint8)  # bytes are compared eight times as fast
        found = found.where(truth != IGNORE, IGNORE)  # [H, W]
        pairs = (256 * truth.int() + found).flatten().bincount(minlength=256 * 256)  # [256·256]
        confusion = pairs.view(256, 256)[:K, :K]  # [K, K]
        a, b = _border(found), _border(truth)
        near = torch.cat([_near(a, b, K), _near(b, a, K)])  # [2·K, 2]
        self.counts += torch.cat([confusion.flatten(), near.flatten()])

    def result(self, classes: Sequence[str]) -> SegmentationResult:
        """What was counted."""
        K = self.num_classes
        confusion, near = self.counts.split([K * K, 4 * K])
        near_truth, near_found = near.view(2, K, 2)
        return SegmentationResult(confusion.view(K, K), near_truth, near_found, tuple(classes))


def check_classes(masks: Tensor, num_classes: int) -> None:
    """Raise ValueError naming a class in int64 masks that is neither in 0 … num_classes − 1 nor 255."""
    wrong = masks[((masks < 0) | (masks >= num_classes)) & (masks != IGNORE)]
    if len(wrong):
        raise ValueError(f"class {wrong[0]} in a mask: expected 0 … {num_classes - 1}, or {IGNORE} to ignore")


def _border(mask: Tensor) -> Tensor:
    """The mask [H, W] at pixels beside another class, 255 at all others."""
    is_border = torch.zeros_like(mask, dtype=torch.bool)  # [H, W]
    for axis in (0, 1):
        a, b = mask.narrow(axis, 0, mask.shape[axis] - 1), mask.narrow(axis, 1, mask.shape[axis] - 1)
        differ = (a != b) & (a != IGNORE) & (b != IGNORE)
        is_border.narrow(axis, 0, differ.shape[axis]).logical_or_(differ)
        is_border.narrow(axis, 1, differ.shape[axis]).logical_or_(differ)
    return mask.where(is_border, IGNORE)


def _near(border: Tensor, other: Tensor, num_classes: int) -> Tensor:
    """For each class: its pixels in `border` that have one of `other` near, and all of them, [K, 2]."""
    H, W = border.shape
    radius = max(1, round(0.0075 * math.hypot(H, W)))
    y, x = (border != IGNORE).nonzero(as_tuple=True)  # [n] each
    labels = border[y, x]  # [n]
    padded = torch.nn.functional.pad(other, (radius,) * 4, value=IGNORE)  # [H + 2r, W + 2r]
    steps = torch.arange(2 * radius + 1)
    around = padded[(y[:, None] + steps)[:, :, None], (x[:, None] + steps)[:, None]]  # [n, 2r + 1, 2r + 1]
    is_near = (around == labels[:, None, None]).flatten(1).any(1)  # [n]
    return torch.stack(
        [labels[is_near].bincount(minlength=num_classes), labels.bincount(minlength=num_classes)], 1
    )
