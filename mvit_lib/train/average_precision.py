"""How good a detector is: all it found beside all there is, and the average precision of VOC and COCO."""

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mvit_lib.heads.boxes import iou
from mvit_lib.heads.ssdlite import Found
from mvit_lib.train.distributed import gather_from_ranks

# What pycocotools measures, in its order.
COCO_NAMES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ImageResult:
    """One image: its number in the dataset's files, (height, width), what was found and what is there.

    boxes: float64 [n, 4] xyxy in pixels of the original image, best first; scores [n]; labels [n] from 1.
    true_boxes [M, 4], true_labels [M], crowd bool [M]: what counts neither as found nor as missed.
    """

    image_id: int
    size: tuple[int, int]
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    true_boxes: Tensor
    true_labels: Tensor
    crowd: Tensor


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """The result of an evaluation: all images, and the names of labels 1 … K (0 is the background)."""

    images: tuple[ImageResult, ...]
    classes: tuple[str, ...]

    def scores(self) -> dict[str, float]:
        """The numbers that a log holds."""
        return {"voc_ap50": self.voc_map()}

    def voc_map(self, iou_threshold: float = 0.5) -> float:
        """Mean of `voc_ap` over the classes that have objects, 0 … 1."""
        return self.voc_ap(iou_threshold).nanmean().item()

    def voc_ap(self, iou_threshold: float = 0.5) -> Tensor:
        """Average precision of each class, float64 [K], 0 … 1; NaN where a class has no object.

        A find is right if, of all objects of its class in its image, the one it shares most with has at
        least this IoU, and no better find took that object. Objects that are crowd count neither way.
        Precision is made monotone and summed over every step of recall.
        Source: the development kit of Pascal VOC 2010 and later.
        """
        best = [_best_object(image) for image in self.images]
        first = torch.tensor([0] + [len(image.true_labels) for image in self.images]).cumsum(0)
        scores = torch.cat([image.scores for image in self.images])  # [n]
        labels = torch.cat([image.labels for image in self.images])  # [n]
        shared = torch.cat([share for share, _ in best])  # [n]
        taken = torch.cat([which + f for (_, which), f in zip(best, first, strict=False)])  # [n]
        true_labels = torch.cat([image.true_labels for image in self.images])  # [M]
        # One more at the end, for finds in pictures without objects.
        crowd = torch.cat([*(image.crowd for image in self.images), torch.tensor([False])])  # [M + 1]
        order = scores.argsort(descending=True, stable=True)
        labels, shared, taken = labels[order], shared[order], taken[order]
        found = []
        for label in range(1, len(self.classes)):
            mine = labels == label
            objects = int(((true_labels == label) & ~crowd[:-1]).sum())
            hit = shared[mine] >= iou_threshold
            found.append(_average_precision(taken[mine], hit, crowd, objects))
        return torch.tensor(found, dtype=torch.float64)

    def coco(self) -> dict[str, float]:
        """COCO's twelve numbers by pycocotools, 0 … 1, or −1 where there is nothing to measure: "ap" is
        the mean over IoU 0.5 … 0.95, "ap50" that at 0.5.

        The area of an object is that of its box.
        Raises: ModuleNotFoundError without pycocotools.
        """
        try:
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("COCO's numbers need pycocotools: pip install pycocotools") from error
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = self._coco_truth()
            truth.createIndex()
            answers = self.coco_results()
            if not answers:
                return dict.fromkeys(COCO_NAMES, 0.0)
            evaluation = COCOeval(truth, truth.loadRes(answers), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return dict(zip(COCO_NAMES, evaluation.stats.tolist(), strict=True))

    def coco_results(self, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """All finds as COCO stores results; category_ids: those of labels 1 … K, or the labels themselves."""
        ids = category_ids or range(1, len(self.classes))
        return [
            {"image_id": image.image_id, "category_id": ids[label - 1], "bbox": box, "score": score}
            for image in self.images
            for box, score, label in zip(
                _xywh(image.boxes), image.scores.tolist(), image.labels.tolist(), strict=True
            )
        ]

    def write_coco(self, path: str | Path, category_ids: Sequence[int] | None = None) -> None:
        """Write `coco_results` as JSON, for pycocotools or COCO's server."""
        Path(path).write_text(json.dumps(self.coco_results(category_ids)), encoding="utf-8")

    def _coco_truth(self) -> dict[str, list[dict[str, Any]]]:
        objects = [
            {
                "image_id": image.image_id,
                "category_id": label,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(crowd),
            }
            for image in self.images
            for box, label, crowd in zip(
                _xywh(image.true_boxes), image.true_labels.tolist(), image.crowd.tolist(), strict=True
            )
        ]
        return {
            "images": [
                {"id": image.image_id, "height": image.size[0], "width": image.size[1]}
                for image in self.images
            ],
            "categories": [{"id": i, "name": name} for i, name in enumerate(self.classes) if i],
            "annotations": [record | {"id": i} for i, record in enumerate(objects, start=1)],
        }

    def __str__(self) -> str:
        width = max(len(name) for name in self.classes)
        counts = torch.cat([image.true_labels for image in self.images]).bincount(minlength=len(self.classes))
        lines = [f"{'class':{width}}  objects  VOC AP50"]
        for name, count, ap in zip(
            self.classes[1:], counts[1:].tolist(), self.voc_ap().tolist(), strict=True
        ):
            lines.append(f"{name:{width}}  {count:7}  {ap:8.1%}")
        lines.append(f"mean VOC AP50 {self.voc_map():.2%} over {len(self.images)} images")
        return "\n".join(lines)


class DetectionCounter:
    """Collects the results of all images, image by image."""

    def __init__(self) -> None:
        self.images: list[ImageResult] = []

    def add(self, found: Sequence[Found], targets: Sequence[dict[str, Any]], size: tuple[int, int]) -> None:
        """One batch of pictures of `size` = (height, width); boxes are brought back to the original ones."""
        for f, target in zip(found, targets, strict=True):
            height, width = target["original_size"]
            scale = torch.tensor([width / size[1], height / size[0]] * 2, dtype=torch.float64)
            order = f.scores.argsort(descending=True, stable=True).cpu()
            true = (target[name].cpu() for name in ("boxes", "labels", "crowd"))
            true_boxes, true_labels, crowd = true
            self.images.append(
                ImageResult(
                    target["image_id"],
                    (height, width),
                    f.boxes.cpu().double()[order] * scale,
                    f.scores.cpu().double()[order],
                    f.labels.cpu()[order],
                    true_boxes.double() * scale,
                    true_labels,
                    crowd,
                )
            )

    def result(self, classes: Sequence[str]) -> DetectionResult:
        """All images of all ranks."""
        return DetectionResult(tuple(gather_from_ranks(self.images)), tuple(classes))


def _best_object(image: ImageResult) -> tuple[Tensor, Tensor]:
    """For every find the greatest IoU with an object of its class, [n], and which object that is, [n]."""
    if not len(image.true_labels):
        return torch.zeros(len(image.labels)).double(), torch.zeros_like(image.labels)
    shared = iou(image.boxes[:, None], image.true_boxes)  # [n, M]
    shared = shared.where(image.labels[:, None] == image.true_labels, 0.0)  # [n, M]
    best = shared.max(1)
    return best.values, best.indices


def _average_precision(taken: Tensor, hit: Tensor, crowd: Tensor, objects: int) -> float:
    """Of one class. taken [n]: the object of each find, best find first; hit [n]: whether it counts."""
    if not objects:
        return float("nan")
    place = torch.arange(len(taken))  # [n]
    earliest = torch.full((len(crowd),), len(taken)).scatter_reduce(0, taken[hit], place[hit], "amin")
    right = hit & (earliest[taken] == place)  # [n]
    right = right[~(hit & crowd[taken])]  # [n']
    true_positives = right.cumsum(0).double()  # [n']
    precision = true_positives / torch.arange(1, len(right) + 1)  # [n']
    monotone = precision.flip(0).cummax(0).values.flip(0) if len(right) else precision  # [n']
    return (monotone * right).sum().item() / objects


def _xywh(boxes: Tensor) -> list[list[float]]:
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist()  # [n, 4]
