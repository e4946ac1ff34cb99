"""Pictures of notebook 11 about results: precision and recall, the paper's table; recorded trainings."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from mvit_lib.look.figures.detection_ssdlite import COLOURS, RIGHT, WRONG, _paper, draw_box
from mvit_lib.look.style import ACCENT, INK

Row = Mapping[str, Any]


def fig_ten_finds(
    objects: Tensor, finds: Tensor, is_right: Tensor, size: tuple[int, int] = (8, 12)
) -> tuple[Figure, dict[int, list[int]]]:
    """Small pictures on squared paper: objects dashed, finds numbered from the best score, right or wrong.

    objects [M, 5]: picture, xyxy. finds [n, 6]: picture, xyxy, score, best first. data: the numbers of the
    finds of each picture.
    """
    pictures = sorted({int(row[0]) for row in objects})
    fig, axes = plt.subplots(1, len(pictures), figsize=(8, 2.25))
    fig.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.88, wspace=0.05)
    shown: dict[int, list[int]] = {picture: [] for picture in pictures}
    for ax, picture in zip(axes, pictures, strict=True):
        _paper(ax, size)
        ax.set_title(f"{('first', 'second', 'third')[picture]} picture")
        for row in objects[objects[:, 0] == picture]:
            draw_box(ax, row[1:5], INK, lw=3, ls=(0, (2, 1)))
        for number, (row, right) in enumerate(zip(finds, is_right.tolist(), strict=True), start=1):
            if int(row[0]) == picture:
                colour = RIGHT if right else WRONG
                draw_box(ax, row[1:5], colour, lw=1.8)
                x, y = row[3].item(), row[4].item()
                pad = {"fc": colour, "ec": "none", "pad": 1.2}
                ax.text(
                    x - 0.15, y - 0.2, number, ha="right", va="bottom", color="white", fontsize=9, bbox=pad
                )
                shown[picture].append(number)
    return fig, shown


def staircase(is_right: Tensor) -> tuple[Tensor, Tensor]:
    """Precision of every find, best score first, and the greatest from there on: [n] each."""
    precision = is_right.double().cumsum(0) / torch.arange(1, len(is_right) + 1)
    return precision, precision.flip(0).cummax(0).values.flip(0) if len(is_right) else precision


def staircase_area(is_right: Tensor, objects: int) -> float:
    """Average precision: the area under the staircase. is_right bool [n], best score first."""
    return staircase(is_right)[1][is_right].sum().item() / objects


def fig_precision_recall(is_right: Tensor, objects: int) -> tuple[Figure, dict[str, Any]]:
    """Precision against recall, find by find; the staircase over it; the area under the staircase.

    is_right bool [n], best score first. data: "points", (recall, precision) of every find; "steps", the
    height of the staircase at each right find; "area".
    """
    recall = is_right.cumsum(0) / objects
    precision, envelope = staircase(is_right)
    fig, ax = plt.subplots(figsize=(8, 3.6))
    fig.subplots_adjust(left=0.08, right=0.98, bottom=0.14, top=0.97)
    ax.plot(recall, precision, color=INK, lw=1, zorder=2)
    steps = envelope[is_right].tolist()
    for k, height in enumerate(steps):
        before, after = k / objects, (k + 1) / objects
        ax.fill_between([before, after], height, color=ACCENT, alpha=0.18, lw=0)
        ax.plot([before, after], [height, height], color=ACCENT, lw=2.5)
        ax.text((before + after) / 2, 0.05, f"{height:.2f} · 1/{objects}", ha="center", fontsize=9)
    for number, (r, p, good) in enumerate(zip(recall, precision, is_right.tolist(), strict=True), start=1):
        colour = RIGHT if good else WRONG
        ax.plot(r, p, "o", ms=8, mec=colour, mfc=colour if good else "white", mew=1.8, zorder=3)
        side = {"ha": "right", "xytext": (-8, -4)} if not good else {"ha": "center", "xytext": (0, 9)}
        ax.annotate(number, (r, p), textcoords="offset points", fontsize=9, color=colour, **side)
    ax.set_xlim(-0.01, 1.02)
    ax.set_ylim(0, 1.15)
    ax.set_xlabel("recall: right finds / objects")
    ax.set_ylabel("precision: right finds / finds")
    points = list(zip(recall.tolist(), precision.tolist(), strict=True))
    return fig, {"points": points, "steps": steps, "area": staircase_area(is_right, objects)}


# Where a name stands beside its point, in points to the right and up.
OFFSETS = {
    "MobileNetV3": (8, -6), "MobileNetV2": (-8, -5), "MobileNetV1": (8, 1), "MixNet": (-7, 7),
    "MNASNet": (8, 5), "VGG": (-10, 0), "ResNet-50": (-10, 2), "MobileViT-XXS": (10, 0),
    "MobileViT-XS": (10, 2), "MobileViT-S": (11, 2),
}  # fmt: skip
GROUPS = {"light CNNs": COLOURS[0], "heavy CNNs": COLOURS[2], "MobileViT": ACCENT, "released weights": ACCENT}


def fig_coco(rows: Sequence[Row]) -> tuple[Figure, list[tuple[str, float, float]]]:
    """COCO's AP against the parameters of SSDLite on several backbones; hollow: released weights.

    data: (model, parameters in millions, AP), row by row.
    """
    fig, ax = plt.subplots(figsize=(8, 3.7))
    fig.subplots_adjust(left=0.08, right=0.98, bottom=0.14, top=0.97)
    ax.set_xscale("log")
    named: set[str] = set()
    for row in rows:
        colour = GROUPS[row["group"]]
        fill = "none" if row["group"] == "released weights" else colour
        ax.plot(row["params_m"], row["ap"], "o", ms=8, mec=colour, mfc=fill, mew=1.7)
        if row["model"] not in named:
            offset = OFFSETS[row["model"]]
            place = "right" if offset[0] < 0 else "left"
            ax.annotate(row["model"], (row["params_m"], row["ap"]), offset, textcoords="offset points",
                        ha=place, va="center", fontsize=9, color=colour)  # fmt: skip
            named.add(row["model"])
    ax.text(0.99, 0.04, "open: the weights that the authors released", ha="right", color=ACCENT, fontsize=9,
            transform=ax.transAxes)  # fmt: skip
    ticks = [2, 3, 5, 10, 20, 40]
    ax.set_xticks(ticks, labels=[str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(1.6, 45)
    ax.set_xlabel("parameters of the detector, in millions")
    ax.set_ylabel("AP in %, COCO")
    return fig, [(row["model"], row["params_m"], row["ap"]) for row in rows]


def scores_by_name(rows: Sequence[Row], beginning: str, score: str = "ap") -> dict[str, list[float]]:
    """Recorded rows whose name is "<beginning>, <what>" as what -> its score, one for each seed."""
    found: dict[str, list[float]] = {}
    for row in rows:
        first, _, what = row["name"].partition(", ")
        if first == beginning and isinstance(row[score], int | float):
            found.setdefault(what, []).append(row[score])
    return found
