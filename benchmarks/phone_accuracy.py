"""What fewer bits cost on PixelZoo: `make bench ARGS=--phone-accuracy`. Needs the extra "export".

Writes mvit_lib/assets/tables/phone_accuracy.csv: for each trained network every runtime in float32,
float16 and int8; int8 as exported, with all layers but the stem rounded, with every layer rounded, and so
with one scale per weight tensor. The score in per cent against the truth, top-1 of classifiers, average
precision at IoU 0.5 of the detector, mean IoU of the segmenter; the share of decisions (of a picture, an
anchor, a pixel) equal to those of torch in float32; and the greatest difference of any answer. XXS comes
along; XS and S come from `make runs ARGS=shipped`, and are left out where they are not.
"""

import csv
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from mvit_lib import load_weights
from mvit_lib.classifier import Network
from mvit_lib.data import PixelZoo
from mvit_lib.export import load_exported, to_executorch, to_onnx
from mvit_lib.export.network import FromPixels, to_pixels
from mvit_lib.heads.ssdlite import choose_boxes
from mvit_lib.train.average_precision import DetectionCounter
from mvit_lib.train.metrics import SegmentationCounter

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "mvit_lib" / "assets" / "tables" / "phone_accuracy.csv"
TRAINED = ROOT / ".checkpoints"  # where tools/trainings.py keeps what is not shipped
# Name -> its weights, the task, how many test scenes.
NETWORKS = {
    "XXS": ("pixelzoo-xxs", "classify", 1000),
    "XS": (TRAINED / "pixelzoo-xs.safetensors", "classify", 1000),
    "S": (TRAINED / "pixelzoo-s.safetensors", "classify", 1000),
    "XXS, SSDLite": ("pixelzoo-xxs-ssdlite", "detect", 200),
    "XXS, DeepLabv3": ("pixelzoo-xxs-deeplabv3", "segment", 200),
}
RUNTIMES = {"ONNX Runtime": (to_onnx, "onnx"), "ExecuTorch": (to_executorch, "pte")}
VARIANTS = {
    "float32": {"precision": "float32"},
    "float16": {"precision": "float16"},
    "int8": {"precision": "int8"},
    "int8, all but the stem": {"precision": "int8", "kept_in_float": ("stem", "heads")},
    "int8, all layers": {"precision": "int8", "kept_in_float": ("heads",)},
    "int8, all layers, per tensor": {"precision": "int8", "kept_in_float": ("heads",), "per_channel": False},
}
Answers = tuple[np.ndarray, ...]


def answered(run: Callable[[np.ndarray], Answers], scenes: PixelZoo) -> Iterator[Answers]:
    """The answers to all scenes, one after another."""
    for i in range(len(scenes)):
        yield run(to_pixels(scenes[i][0]))


def in_torch(model: Network, side: int) -> Callable[[np.ndarray], Answers]:
    """The network in torch, with the interface of an exported one."""
    network = FromPixels(model, (side, side))

    def run(pixels: np.ndarray) -> Answers:
        with torch.inference_mode():
            return tuple(answer.numpy() for answer in network(torch.from_numpy(pixels)))

    return run


def compared(
    task: str, classes: tuple[str, ...], scenes: PixelZoo, exact: Iterable[Answers], found: Iterable[Answers]
) -> dict[str, str]:
    """Score, share of decisions as in torch, and greatest difference."""
    detections, masks, right = DetectionCounter(), SegmentationCounter(len(classes)), 0
    same = decided = error = 0
    for i, (theirs, ours) in enumerate(zip(exact, found, strict=True)):
        target = scenes[i][1]
        error = max(error, *(float(np.abs(a - b).max()) for a, b in zip(theirs, ours, strict=True)))
        axis = 1 if ours[-1].ndim == 4 else -1  # where the classes are
        equal = theirs[-1].argmax(axis) == ours[-1].argmax(axis)  # [1], [1, A] or [1, H, W]
        same, decided = same + int(equal.sum()), decided + equal.size
        if task == "classify":
            right += int(ours[0].argmax() == int(target))
        elif task == "detect":
            boxes, probabilities = (torch.from_numpy(answer[0]) for answer in ours)
            detections.add([choose_boxes(boxes, probabilities, scenes.size)], [target], scenes.size)
        else:
            masks.add(torch.from_numpy(ours[0][0]).argmax(0), target)
    score = {
        "classify": lambda: right / len(scenes),
        "detect": lambda: detections.result(classes).voc_map(),
        "segment": lambda: masks.result(classes).miou,
    }[task]()
    return {
        "score": f"{100 * score:.1f}", "same": f"{100 * same / decided:.1f}", "error": f"{error:.2g}"
    }  # fmt: skip


def main(about: dict[str, str]) -> None:
    """Measure all networks, runtimes and variants; write the table."""
    rows = []
    for name, (weights, task, count) in NETWORKS.items():
        if isinstance(weights, Path) and not weights.exists():
            continue
        model = load_weights(weights)
        side = model.eval_transform.crop
        scenes = PixelZoo("test", task=task, size=side, length=count)
        exact = list(answered(in_torch(model, side), scenes))
        found = {("torch", "float32"): ("", exact)}
        with tempfile.TemporaryDirectory() as folder:
            for runtime, (make, suffix) in RUNTIMES.items():
                for variant, options in VARIANTS.items():
                    path = make(model, Path(folder) / f"{len(found)}.{suffix}", side, **options)
                    found[runtime, variant] = (
                        f"{path.stat().st_size / 1e6:.2f}", answered(load_exported(path, 1), scenes)
                    )  # fmt: skip
            for (runtime, variant), (size_mb, answers) in found.items():
                row = {"network": name, "task": task, "runtime": runtime, "variant": variant}
                row |= {"size_mb": size_mb} | compared(task, model.classes, scenes, exact, answers)
                rows.append(row | {"images": count, "machine": about["processor"]})
                print(*row.values(), sep="  ", flush=True)
    with open(TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
