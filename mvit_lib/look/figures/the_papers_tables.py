"""Pictures of notebook 07 drawn from the paper's tables: accuracy against parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mvit_lib.look.style import ACCENT, INK

CNN, VIT = "#0f93a8", "#7d72d6"
Row = Mapping[str, Any]
# Where a name stands beside its point, in points to the right and up.
OFFSETS = {
    "MobileNetV1": (7, -4), "MobileNetV2": (7, 2), "MobileNetV3": (7, -3), "ShuffleNetV2": (-7, 7),
    "ESPNetv2": (-7, -8), "ResNet-101": (-3, -14), "ResNet-101-SE": (-2, 8), "DenseNet-169": (8, -3),
    "EfficientNet-B0": (8, -6), "MobileViT-XXS": (0, -15), "MobileViT-XS": (8, 4),
    "MobileViT-S": (8, 4),
}  # fmt: skip
NAMED = {
    "R1": (9, 0), "R3": (9, -4), "R4": (9, -5), "R6": (0, 11), "R7": (9, 0), "R8": (10, 4), "R10": (9, -5),
    "R17": (9, -7), "R19": (-4, 12), "R20": (-10, 5),
}  # fmt: skip


def fig_against_cnns(rows: Sequence[Row]) -> tuple[Figure, list[tuple[str, float, float]]]:
    """Accuracy against parameters of light and heavy CNNs and of MobileViT.

    data: (model, parameters in millions, top-1), row by row.
    """
    fig, ax = _axes(rows)
    for row in rows:
        is_ours = "MobileViT" in row["model"]
        ax.plot(row["params_m"], row["top1"], "o", ms=8 if is_ours else 6, color=ACCENT if is_ours else CNN)
        _name(ax, row, row["model"], OFFSETS[row["model"]], ACCENT if is_ours else CNN)
    return fig, [(row["model"], row["params_m"], row["top1"]) for row in rows]


def fig_against_vits(
    rows: Sequence[Row], named: Mapping[str, tuple[float, float]] = NAMED
) -> tuple[Figure, list[tuple[str, float, float]]]:
    """Accuracy against parameters of ViTs; a key tells basic augmentation, full, from advanced, hollow.

    named: row of the paper's table ("R1") -> offset of its name in points; the others stay unnamed.
    data: (row, parameters in millions, top-1).
    """
    fig, ax = _axes(rows)
    for row in rows:
        is_ours, is_basic = "MobileViT" in row["model"], row["augmentation"] == "basic"
        colour = ACCENT if is_ours else VIT
        ax.plot(row["params_m"], row["top1"], "o", ms=8 if is_ours else 6.5, mec=colour, mew=1.6,
                mfc=colour if is_basic else "none")  # fmt: skip
        if row["row"] in named:
            offset = named[row["row"]]
            text = row["model"] if is_ours else f"{row['model']}, {row['params_m']:g} M"
            _name(ax, row, text, offset, colour)
    for y, word, fill in ((0.12, "basic augmentation", VIT), (0.05, "advanced", "none")):
        ax.scatter(0.72, y, 42, transform=ax.transAxes, facecolor=fill, edgecolor=VIT, linewidth=1.6)
        ax.text(0.74, y, word, transform=ax.transAxes, va="center", fontsize=9, color=VIT)
    return fig, [(row["row"], row["params_m"], row["top1"]) for row in rows]


def _name(ax: Axes, row: Row, text: str, offset: tuple[float, float], colour: str) -> None:
    """Text beside a point, `offset` points away: to its left where that is negative."""
    ax.annotate(text, (row["params_m"], row["top1"]), offset, textcoords="offset points", va="center",
                ha="right" if offset[0] < 0 else "left", fontsize=9, color=colour)  # fmt: skip


def _axes(rows: Sequence[Row]) -> tuple[Figure, Axes]:
    fig, ax = plt.subplots(figsize=(8, 3.9))
    fig.subplots_adjust(left=0.08, right=0.98, top=0.97, bottom=0.13)
    ax.set_xscale("log")
    ticks = [t for t in (2, 3, 5, 10, 20, 50) if t < 1.5 * max(row["params_m"] for row in rows)]
    ax.set_xticks(ticks, labels=[str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(
        min(1.25, 0.85 * min(row["params_m"] for row in rows)), 1.6 * max(row["params_m"] for row in rows)
    )
    ax.set_ylim(min(row["top1"] for row in rows) - 1, max(row["top1"] for row in rows) + 1)
    ax.set_xlabel("parameters in millions")
    ax.set_ylabel("top-1 in %, ImageNet")
    ax.tick_params(colors=INK)
    return fig, ax
