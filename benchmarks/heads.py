"""What detection and segmentation cost beside the bare network: `make bench ARGS=--heads`. Writes heads.md.

Comparisons run in turns in one process; ratios are medians over rounds with their quartiles.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from loop import in_turns, ratio

from mvit_lib import load_weights, mobilevit_xxs
from mvit_lib.classifier import evaluating
from mvit_lib.data import PixelZoo
from mvit_lib.heads import DeepLabV3, SSDLite
from mvit_lib.heads.boxes import nms
from mvit_lib.memory import keep_freed_pages
from mvit_lib.train import evaluate
from mvit_lib.transforms import EvalTransform
from mvit_lib.weights import shipped_names

HERE = Path(__file__).resolve().parent
ANCHORS, CLASSES = 3232, 80
IMAGES, SIZE = 100, 256


def shipped(name: str, build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """The trained network; an untrained one where there is none yet."""
    return load_weights(name) if name in shipped_names() else build().eval()


def candidates(count: int, classes: int, above: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes of a 320 px picture and scores, of which `above` are above 0.01: as a trained network's lie."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.rand(count, 2, generator=draw) * 320
    sides = 10 + torch.rand(count, 2, generator=draw) * 100
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=1)  # [N, 4]
    scores = torch.zeros(count * classes)
    chosen = torch.randperm(count * classes, generator=draw)[:above]
    scores[chosen] = 0.02 + 0.9 * torch.rand(above, generator=draw)
    return boxes, scores.view(count, classes)  # [N, 4], [N, K]


def nms_milliseconds(above: int, rounds: int) -> list[float]:
    """Of every round, after a first one."""
    boxes, scores = candidates(ANCHORS, CLASSES, above)
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        nms(boxes, scores, min_score=0.01)
        seconds.append(1000 * (time.perf_counter() - start))
    return seconds[1:]


def highest_memory() -> int:
    """KB; getrusage would tell the highest of the process that started this one, if that is more."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def print_memory() -> None:
    """Run by a process of its own: MB that NMS of everything takes above what was there before."""
    nms(*candidates(10, 3, 5), min_score=0.01)
    boxes, scores = candidates(ANCHORS, CLASSES, ANCHORS * CLASSES)
    before = highest_memory()
    nms(boxes, scores, min_score=0.01)
    print((highest_memory() - before) / 1024)


def detection(rounds: int) -> dict[str, list[float]]:
    """Seconds for 16 pictures one by one: the backbone, the network, `detect` from picture to boxes."""
    model = shipped("pixelzoo-xxs-ssdlite", lambda: SSDLite(mobilevit_xxs(0), 11))
    zoo = PixelZoo("test", task="detect", size=model.eval_transform.crop)
    pictures = [zoo.load(i, zoo.size).image for i in range(16)]
    inputs = [model.preprocess(picture) for picture in pictures]

    def timed(call: Callable[[int], object]) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            with torch.inference_mode():
                for i in range(len(pictures)):
                    call(i)
            return time.perf_counter() - start

        return run

    with evaluating(model):
        return in_turns(
            {
                "backbone": timed(lambda i: model.backbone.forward_features(inputs[i])),
                "network": timed(lambda i: model(inputs[i])),
                "detect": timed(lambda i: model.detect(pictures[i])),
            },
            rounds,
        )


def trained_candidates() -> tuple[float, int]:
    """Scores above 0.01, which NMS has to sort, on 100 test pictures: median and most."""
    model = load_weights("pixelzoo-xxs-ssdlite")
    zoo = PixelZoo("test", task="detect", length=IMAGES, size=model.eval_transform.crop)
    counts = []
    with evaluating(model), torch.inference_mode():
        for i in range(IMAGES):
            logits = model(zoo[i][0][None])[1]  # [1, A, K]
            counts.append(int((logits.softmax(-1)[..., 1:] > 0.01).sum()))
    return statistics.median(counts), max(counts)


def segmentation(rounds: int, batch: int = 10) -> dict[str, list[float]]:
    """Seconds for 100 pictures of 256 px: the network alone on batches that are there, and `evaluate`."""
    model = shipped("pixelzoo-xxs-deeplabv3", lambda: DeepLabV3(mobilevit_xxs(0, 16), 11))
    model.eval_transform = EvalTransform(SIZE, SIZE)
    model.classes = ("background", *PixelZoo.classes)
    zoo = PixelZoo("test", task="segment", length=IMAGES, size=SIZE, cache=True)
    inputs = torch.stack([zoo[i][0] for i in range(IMAGES)]).split(batch)

    def bare() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for x in inputs:
                model(x)
        return time.perf_counter() - start

    def whole() -> float:
        start = time.perf_counter()
        evaluate(model, zoo, task="segment", batch=batch)
        return time.perf_counter() - start

    return in_turns({"bare": bare, "evaluate": whole}, rounds)


def measure() -> list[tuple[str, str, str]]:
    """All rows: what, value, note."""
    rows = []

    def add(what: str, value: str, note: str = "") -> None:
        rows.append((what, value, note))
        print(*rows[-1], sep="   ", flush=True)

    few, all_of_them = nms_milliseconds(1000, 51), nms_milliseconds(ANCHORS * CLASSES, 5)
    add("NMS, 1,000 candidates", f"{statistics.median(few):.1f} ms", "of 3,232 boxes × 80 classes")
    add("NMS, every box in every class", f"{statistics.median(all_of_them) / 1000:.2f} s", "3,232 × 80")
    megabytes = subprocess.run(
        [sys.executable, __file__, "--memory"], capture_output=True, text=True, check=True
    ).stdout
    add("the same, memory", f"{float(megabytes):.0f} MB")
    middle, most = trained_candidates()
    add("candidates of the trained detector", f"{middle:.0f}", f"median of {IMAGES} pictures; at most {most}")
    turns = detection(15)
    for name in ("network", "detect"):
        middle, low, high = ratio(turns[name], turns["backbone"])
        milliseconds = 1000 * statistics.median(turns[name]) / 16
        add(
            f"detection, {name} / bare backbone",
            f"{middle:.2f}",
            f"{low:.2f} to {high:.2f}; {milliseconds:.1f} ms",
        )
    turns = segmentation(5)
    middle, low, high = ratio(turns["evaluate"], turns["bare"])
    add("evaluation of 100 masks / bare network", f"{middle:.2f}", f"{low:.2f} to {high:.2f}; {SIZE} px")
    return rows


def main(about: dict[str, str]) -> None:
    """Measure and write the table."""
    keep_freed_pages()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    trained = [name for name in ("pixelzoo-xxs-ssdlite", "pixelzoo-xxs-deeplabv3") if name in shipped_names()]
    lines = [
        "# What detection and segmentation cost beside the network",
        "",
        "`make bench ARGS=--heads`: MobileViT-XXS, 2 threads, pages kept.",
        f"Trained weights: {', '.join(trained) or 'none'}.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        "",
        "| what | value | |",
        "|---|---|---|",
        *(f"| {what} | **{value}** | {note} |" for what, value, note in measure()),
    ]
    (HERE / "heads.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    print_memory()
