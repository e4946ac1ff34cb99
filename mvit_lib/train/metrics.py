"""How good a classifier is: counted, never averaged over batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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
