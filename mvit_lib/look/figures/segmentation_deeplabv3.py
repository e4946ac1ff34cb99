"""Pictures of notebook 12: masks, kernels with gaps, the five views of ASPP, overlaps, recorded results."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mvit_lib.look.style import ACCENT, INK, SEQUENTIAL, bare, ring
from mvit_lib.train.metrics import IGNORE

Row = Mapping[str, Any]
# For classes 1 … 10: told apart by every eye, and none of them a colour of the in-patch places.
CLASS_COLOURS = (
    "#cc6677", "#5566cc", "#ddcc77", "#117733", "#88ccee",
    "#aa3377", "#44aa99", "#99aa22", "#ee8866", "#bb99dd",
)  # fmt: skip
CNN = "#7d72d6"
# Where a name stands beside its point, in points to the right and up: to its left where that is negative.
OFFSETS = {
    ("VOC 2012", "MobileNetV2"): (2, 10), ("VOC 2012", "ResNet-101"): (-7, 0),
    ("VOC 2012", "MobileViT-XS"): (8, 3),
}  # fmt: skip
OUTLINE = [patheffects.withStroke(linewidth=2.5, foreground="#202020")]
MEASURES = {
    "miou": "mean IoU, new scenes", "miou_shift": "mean IoU, shift",
    "boundary_f": "boundary F, new scenes", "boundary_f_shift": "boundary F, shift",
}  # fmt: skip


# Masks


def fig_masks(
    pictures: Sequence[Tensor],
    rows: Mapping[str, Sequence[Tensor] | None],
    classes: Sequence[str],
    titles: Sequence[str] = (),
) -> tuple[Figure, dict[str, list[dict[str, int]]]]:
    """A column for each picture [3, H, W] in [0, 1], a row for each kind of mask int [H, W] of it.

    rows: name -> masks, one for each picture, or None for the pictures themselves. Classes 1 … 10 lie in
    their colours over the picture in grey, named where they have room; a class that has room nowhere is
    named below. 255 is white.
    data: row -> for each picture: class -> pixels; nothing for a row of pictures.
    """
    ratio = max(p.shape[1] / p.shape[2] for p in pictures)
    left, gap, top = 0.3, 0.06, 0.25 if titles else 0.04
    width = (8 - left) / len(pictures)
    small = _small_classes([mask for masks in rows.values() if masks is not None for mask in masks])
    bottom = 0.3 if small else 0
    height = top + len(rows) * width * ratio + bottom
    fig, axes = plt.subplots(len(rows), len(pictures), figsize=(8, height), squeeze=False)
    fig.subplots_adjust(left / 8, bottom / height, 1, 1 - top / height, gap, gap)
    for i, k in enumerate(small):
        at = ((left + 1.1 * i) / 8, 0.08 / height)
        fig.text(*at, f"■ {classes[k]}", color=CLASS_COLOURS[k - 1], fontsize=9.5, ha="left")
    data: dict[str, list[dict[str, int]]] = {}
    for line, (name, masks) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name)
        data[name] = []
        for i, (ax, picture) in enumerate(zip(line, pictures, strict=True)):
            bare(ax).imshow(
                (picture if masks is None else painted(picture, masks[i])).permute(1, 2, 0).numpy()
            )
            if masks is not None:
                data[name].append(_named(ax, masks[i], classes, 0.005 * len(pictures)))
    for ax, title in zip(axes[0], titles, strict=False):
        ax.set_title(title)
    return fig, data


def painted(picture: Tensor, mask: Tensor) -> Tensor:
    """The picture [3, H, W] in a few greys without noise, the classes of the mask [H, W] in their colours.

    255 is white. Few greys leave room for all other colours in the palette of the stored picture.
    """
    colours = torch.ones(IGNORE + 1, 3)
    colours[1 : len(CLASS_COLOURS) + 1] = torch.tensor([to_rgb(c) for c in CLASS_COLOURS])
    layer = colours[mask].permute(2, 0, 1)  # [3, H, W]
    smooth = F.avg_pool2d(picture.mean(0, keepdim=True)[None], 3, 1, 1, count_include_pad=False)[
        0
    ]  # [1, H, W]
    grey = (0.25 + 0.6 * (12 * smooth).round() / 12).expand_as(picture)  # [3, H, W]
    return torch.where(mask == 0, grey, 0.15 * grey + 0.85 * layer)


def _named(ax: Axes, mask: Tensor, classes: Sequence[str], margin: float) -> dict[str, int]:
    """Write each class where its area is thickest, `margin` of the width a letter from the edge."""
    found, taken = {}, []
    (H, W), high = mask.shape, 4 * margin * mask.shape[1]  # of a line of text
    for k in mask.unique().tolist():
        area = mask == k
        found["ignore" if k == IGNORE else classes[k]] = int(area.sum())
        if _has_room(area, k):
            y, x = innermost(area)
            room = min(0.5 * W, margin * len(classes[k]) * W)  # half of the name
            x = min(max(x, room), W - room)
            for v, u, other in sorted(taken):  # from above: another name may be there
                if abs(y - v) < high and abs(x - u) < room + other:
                    y = v + high if v + high < H else v - high
            taken.append((y, x, room))
            ax.text(x, y, classes[k], ha="center", va="center", fontsize=9, color="white",
                    path_effects=OUTLINE, clip_on=True)  # fmt: skip
    return found


def _has_room(area: Tensor, k: int) -> bool:
    return 0 < k < IGNORE and area.float().mean().item() > 0.008


def _small_classes(masks: Sequence[Tensor]) -> list[int]:
    """The classes that can be seen in a mask somewhere, and nowhere have room for a name."""
    shares = [(mask == k).float().mean().item() for mask in masks for k in range(1, len(CLASS_COLOURS) + 1)]
    most = torch.tensor(shares).view(len(masks), -1).amax(0) if masks else torch.zeros(0)  # [classes − 1]
    return [k for k, share in enumerate(most.tolist(), start=1) if 0.0002 < share <= 0.008]


def innermost(area: Tensor) -> tuple[int, int]:
    """Row and column of a pixel of the bool area [H, W] that lies farthest from its edge."""
    left = F.pad(area[None].float(), (1, 1, 1, 1))  # outside the picture is outside the area
    depth = torch.zeros_like(left)
    while left.any():
        depth += left
        left = -F.max_pool2d(-left, 3, 1, 1)  # peel off one layer of pixels
        left[:, [0, -1]] = 0
        left[:, :, [0, -1]] = 0
    y, x = divmod(int(depth[0, 1:-1, 1:-1].flatten().argmax()), area.shape[1])
    return y, x


# Kernels with gaps


def taps(size: int, centre: int, kernel_size: int, dilation: int) -> Tensor:
    """The pixels of an axis of `size` that a kernel with gaps reads at `centre`: bool [size]."""
    at = centre + dilation * (torch.arange(kernel_size) - kernel_size // 2)
    read = torch.zeros(size, dtype=torch.bool)
    read[at[(at >= 0) & (at < size)]] = True
    return read


def paths(dilations: Sequence[int], kernel_size: int = 3) -> Tensor:
    """In how many ways each pixel reaches the middle through stacked kernels with gaps: int64 [n, n]."""
    line = torch.ones(1, dtype=torch.int64)
    for dilation in dilations:
        wide = line.new_zeros(len(line) + dilation * (kernel_size - 1))
        for tap in range(kernel_size):
            wide[tap * dilation : tap * dilation + len(line)] += line
        line = wide
    return line[:, None] * line


def fig_gridding(stacks: Sequence[Sequence[int]]) -> tuple[Figure, dict[tuple[int, ...], Tensor]]:
    """The pixels that reach the middle through three kernels, a panel for each stack; holes are empty.

    data: dilations -> number of ways, int64 [n, n].
    """
    fig, axes = plt.subplots(1, len(stacks), figsize=(8, 8 / len(stacks) + 0.1))
    fig.subplots_adjust(left=0.03, right=0.97, top=0.92, bottom=0.01, wspace=0.1)
    data = {}
    for ax, dilations in zip(axes, stacks, strict=True):
        ways = data[tuple(dilations)] = paths(dilations)
        shown = np.ma.masked_equal(ways.numpy(), 0)
        image = bare(ax).imshow(shown, cmap=SEQUENTIAL, vmin=1)
        n = len(ways)
        ax.hlines(np.arange(n + 1) - 0.5, -0.5, n - 0.5, color=INK, lw=0.4)
        ax.vlines(np.arange(n + 1) - 0.5, -0.5, n - 0.5, color=INK, lw=0.4)
        ring(ax, n // 2, n // 2)
        ax.set_title(f"dilations {', '.join(map(str, dilations))}: {int((ways > 0).sum())} of {n * n} pixels")
        fig.colorbar(image, ax=ax, shrink=0.7, label="ways to the middle")
    return fig, data


def fig_views(
    sides: Sequence[int] = (32, 8),
    dilations: Sequence[int] = (6, 12, 18),
    at: Sequence[tuple[int, int]] = ((22, 13), (6, 1)),
) -> tuple[Figure, dict[tuple[int, str], Tensor]]:
    """What the branches of ASPP read for one pixel; a row for each side of the map, all at one scale.

    Full dots are read, hollow ones lie outside, where there are only zeros. data: (side, branch) -> bool
    [side, side].
    """
    branches = {"1 × 1": 0} | {f"dilation {dilation}": dilation for dilation in dilations} | {"mean": None}
    fig, axes = plt.subplots(len(sides), len(branches), figsize=(8, 1.75 * len(sides) + 0.2), squeeze=False)
    fig.subplots_adjust(left=0.05, right=1, top=0.91, bottom=0.01, wspace=0.04, hspace=0.16)
    reach, data = max(dilations) + 2, {}
    for line, side, (y, x) in zip(axes, sides, at, strict=True):
        line[0].set_ylabel(f"{side} × {side}")
        for ax, (name, dilation) in zip(line, branches.items(), strict=True):
            data[side, name] = _draw_view(bare(ax), side, (y, x), dilation)
            low, high = side / 2 - max(sides) / 2 - reach / 2, side / 2 + max(sides) / 2 + reach / 2
            ax.set(xlim=(low, high), ylim=(high, low), aspect="equal")
    for ax, name in zip(axes[0], branches, strict=True):
        ax.set_title(name)
    return fig, data


def _draw_view(ax: Axes, side: int, at: tuple[int, int], dilation: int | None) -> Tensor:
    """One branch at one pixel: dilation None reads all, 0 the pixel alone. Returns what is read."""
    y, x = at
    face = ACCENT if dilation is None else "none"
    ax.add_patch(Rectangle((0, 0), side, side, fc=face, alpha=0.75, lw=0))
    ax.add_patch(Rectangle((0, 0), side, side, fill=False, ec=INK, lw=1.2))
    if dilation is None:
        return torch.ones(side, side, dtype=torch.bool)
    size = 3 if dilation else 1
    read = taps(side, y, size, dilation)[:, None] & taps(side, x, size, dilation)
    steps = (-1, 0, 1) if dilation else (0,)
    for v, u in ((y + a * dilation, x + b * dilation) for a in steps for b in steps):
        inside = 0 <= v < side and 0 <= u < side
        ax.plot(u + 0.5, v + 0.5, "o", ms=5, mec=ACCENT, mfc=ACCENT if inside else "none", mew=1.1)
    ring(ax, x + 0.5, y + 0.5, 9 if side > 8 else 7)
    return read


# Back to the size of the picture, and overlaps


def fig_align(cells: int = 3, stride: int = 4) -> tuple[Figure, dict[str, Tensor]]:
    """Where on the axis of the cells each pixel reads, if the centres are aligned or the corners.

    data: "centres" and "corners" -> place in cells, [cells·stride].
    """
    last = cells * stride - 1
    fine = torch.arange(2 * last + 1) / 2  # every half pixel: the bends lie between two of them
    centres = ((fine + 0.5) / stride - 0.5).clamp(0, cells - 1)
    lines = {"centres": centres, "corners": fine * (cells - 1) / last}
    x, data = fine[::2], {name: places[::2] for name, places in lines.items()}
    fig, ax = plt.subplots(figsize=(8, 2.7))
    fig.subplots_adjust(left=0.09, right=0.98, top=0.97, bottom=0.19)
    for cell in range(cells):
        ax.axvspan(
            cell * stride - 0.5, (cell + 1) * stride - 0.5, color=INK, alpha=0.06 + 0.12 * (cell % 2), lw=0
        )
        ring(ax, (cell + 0.5) * stride - 0.5, cell)
    for (name, places), colour, place in zip(
        data.items(), (ACCENT, CNN), ((0.4, 0.62), (2.6, 0.05)), strict=True
    ):
        ax.plot(fine, lines[name], color=colour)
        ax.plot(x, places, "o", color=colour, ms=5)
        ax.text(*place, f"{name} aligned", color=colour)
    ax.set_xticks(x.int().tolist())
    ax.set_yticks(range(cells))
    ax.set(xlabel="pixel of the picture", ylabel="read at, in cells")
    ax.set(xlim=(-0.5, len(x) - 0.5), ylim=(-0.25, cells - 0.7))
    return fig, data


def fig_overlap(found: Tensor, truth: Tensor, k: int, num_classes: int) -> tuple[Figure, dict[str, Tensor]]:
    """Class k of two small masks [H, W], pixel by pixel, and the table of all pairs, row and column k lit.

    data: "both", "truth only", "found only" -> bool [H, W]; "table" -> int64 [classes, classes].
    """
    kinds = {"both": (found == k) & (truth == k), "truth only": (found != k) & (truth == k)}
    kinds["found only"] = (found == k) & (truth != k) & (truth != IGNORE)
    valid = truth != IGNORE
    table = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for t, f in zip(truth[valid].tolist(), found[valid].tolist(), strict=True):
        table[t, f] += 1
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.9), gridspec_kw={"width_ratios": [1.6, 1]})
    fig.subplots_adjust(left=0.01, right=0.99, top=0.83, bottom=0.02, wspace=0.15)
    colours = dict(zip(kinds, (ACCENT, CLASS_COLOURS[4], CLASS_COLOURS[6]), strict=True))
    for y, x in np.ndindex(tuple(truth.shape)):
        name = next((kind for kind, area in kinds.items() if area[y, x]), "")
        pair = f"{truth[y, x]} → {found[y, x]}\n{name if valid[y, x] else 'ignore'}"
        _cell(left, y, x, pair.strip(), colours.get(name))
    for t, f in np.ndindex(num_classes, num_classes):
        kind = "both" if t == f == k else "truth only" if t == k else "found only" if f == k else ""
        _cell(right, t, f, str(int(table[t, f])), colours.get(kind))
    left.set(
        xlim=(-0.5, truth.shape[1] - 0.5),
        ylim=(truth.shape[0] - 0.5, -0.5),
        title=f"truth → found, and class {k}",
    )
    right.set(
        xlim=(-1, num_classes - 0.5),
        ylim=(num_classes - 0.5, -0.5),
        title="the table: rows truth, columns found",
    )
    for ax in (left, right):
        bare(ax).set_aspect("equal" if ax is right else "auto")
    return fig, kinds | {"table": table}


def _cell(ax: Axes, y: int, x: int, text: str, colour: str | None) -> None:
    ax.add_patch(Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, fc=colour or "none", ec=INK, lw=0.8))
    ax.text(x, y, text, ha="center", va="center", fontsize=9.5, color="black" if colour else INK)


# Results


def fig_per_class(
    ious: Mapping[str, Tensor], classes: Sequence[str]
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """IoU of every class in per cent, a dot for each split; classes from the best to the worst of the first.

    data: class -> split -> per cent.
    """
    first = next(iter(ious.values()))
    order = first.argsort(descending=True).tolist()
    data = {classes[k]: {split: 100 * iou[k].item() for split, iou in ious.items()} for k in order}
    fig, ax = plt.subplots(figsize=(8, 0.29 * len(classes) + 0.75))
    fig.subplots_adjust(left=0.13, right=0.97, top=0.93, bottom=0.17)
    for y, (name, line) in enumerate(data.items()):
        ax.plot([min(line.values()), max(line.values())], [y, y], color=INK, lw=0.8)
        for value, colour in zip(line.values(), (ACCENT, CNN), strict=False):
            ax.plot(value, y, "o", ms=8, color=colour)
        ax.text(-0.01, y, name, transform=ax.get_yaxis_transform(), ha="right", va="center")
    for i, (split, colour) in enumerate(zip(ious, (ACCENT, CNN), strict=False)):
        ax.text(0.02 + 0.25 * i, 1.01, f"● {split}", color=colour, transform=ax.transAxes, va="bottom")
    ax.set(xlim=(0, 100), ylim=(len(classes) - 0.4, -0.6), xlabel="IoU in %", yticks=[])
    return fig, data


def fig_voc(rows: Sequence[Row]) -> tuple[Figure, dict[str, list[tuple[str, float, float]]]]:
    """Mean IoU against parameters of the paper's tables, a panel for each dataset.

    rows: of assets/tables/voc_segmentation.csv; those of a `weights` other than "paper" stay out.
    data: dataset -> (model, parameters in millions, mean IoU).
    """
    data: dict[str, list[tuple[str, float, float]]] = {}
    for row in rows:
        if row["weights"] == "paper":
            data.setdefault(row["dataset"], []).append((row["model"], row["params_m"], row["miou"]))
    fig, axes = plt.subplots(1, len(data), figsize=(8, 3.6), squeeze=False)
    fig.subplots_adjust(left=0.07, right=0.98, top=0.91, bottom=0.14, wspace=0.2)
    for ax, (dataset, points) in zip(axes[0], data.items(), strict=True):
        for model, millions, miou in points:
            colour = ACCENT if model.startswith("MobileViT") else CNN
            ax.plot(millions, miou, "o", ms=7, color=colour)
            x, y = OFFSETS.get((dataset, model), (7, 0))
            ax.annotate(
                model, (millions, miou), (x, y), textcoords="offset points", va="center",
                ha="right" if x < 0 else "left", fontsize=9, color=colour,
            )  # fmt: skip
        ticks = [t for t in (2, 5, 10, 20, 50) if t < 1.2 * max(p[1] for p in points)]
        ax.set_xscale("log")
        ax.set_xticks(ticks, [str(t) for t in ticks])
        ax.minorticks_off()
        low, high = min(p[1] for p in points), max(p[1] for p in points)
        ax.set(xlim=(low * 0.85, max(high * 1.3, low * 8)), xlabel="parameters in millions", title=dataset)
        ax.set_ylim(min(p[2] for p in points) - 1.2, max(p[2] for p in points) + 1.2)
    axes[0, 0].set_ylabel("mean IoU in %")
    return fig, data


def scores_of(rows: Sequence[Row], network: str, measure: str) -> list[float]:
    """What the recorded trainings of DeepLabv3 on this backbone reach, in per cent, one for each seed."""
    return [row[measure] for row in rows if row["name"] == f"PixelZoo, {network}"]
