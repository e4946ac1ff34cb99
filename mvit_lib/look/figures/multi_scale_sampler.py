"""Pictures of notebook 08: a step's pixels, an epoch, several ranks, memory, accuracy by size."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import mean
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn import functional as F

from mvit_lib.look.style import ACCENT, INK, bare

Step = tuple[tuple[int, int], int]
Row = Mapping[str, Any]
# From the smallest size to the largest; dark enough for white numbers.
SIZE_COLOURS = ("#3f6fb0", "#6a5fb5", "#94508f", "#a8485f", "#a8511c")
PAPER_SIDES = (160, 192, 256, 288, 320)
SAMPLER_COLOURS = {"fixed": "#7d72d6", "multi-scale": ACCENT}


def size_colours(sides: Sequence[int]) -> dict[int, str]:
    """A colour for each different size, cold for small and warm for large; the paper's keep theirs."""
    ordered = sorted(set(sides))
    if set(ordered) <= set(PAPER_SIDES):
        return {side: SIZE_COLOURS[PAPER_SIDES.index(side)] for side in ordered}
    last = max(1, len(ordered) - 1)
    return {side: SIZE_COLOURS[round(4 * i / last)] for i, side in enumerate(ordered)}


def fig_reading(image: Tensor, answers: Mapping[int, tuple[str, float]]) -> tuple[Figure, dict[int, Tensor]]:
    """One image at several sizes, drawn as large as it is, with the network's answer above each.

    image: [3, H, W] in [0, 1], square. answers: side -> (class, its probability).
    data: side -> the image [side, side, 3] as it is shown.
    """
    fig, ax = plt.subplots(figsize=(8, 2.9))
    fig.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.02)
    bare(ax)
    shown, x, gap = {}, 0, 22
    for side, (name, probability) in answers.items():
        small = resized(image[None], side)[0]  # [3, side, side]
        shown[side] = small.permute(1, 2, 0)
        ax.imshow(shown[side].numpy(), extent=(x, x + side, 0, side))
        middle = x + side / 2
        ax.text(middle, side + 24, f"{side} px", ha="center", fontweight="bold")
        ax.text(middle, side + 6, f"{name} {100 * probability:.0f} %", ha="center")
        x += side + gap
    ax.set_xlim(-4, x - gap + 4)
    ax.set_ylim(-2, max(answers) + 46)
    ax.set_aspect("equal")
    return fig, shown


def resized(images: Tensor, side: int) -> Tensor:
    """Square images [B, 3, H, W] at another size, smoothed where they shrink: [B, 3, side, side]."""
    shape = (side, side)
    return F.interpolate(images, shape, mode="bilinear", antialias=True).clamp(0, 1)


def fig_same_pixels(largest: int, batch: int, sides: Sequence[int]) -> tuple[Figure, dict[int, int]]:
    """A step's pixels as one square, tiled by its images, once for each size.

    largest, batch: side of the largest size, and images of a step there. data: side -> images.
    Raises: ValueError if the pixels form no square that images of every size tile.
    """
    pixels = largest**2 * batch
    whole = round(pixels**0.5)
    if whole**2 != pixels or any(whole % side for side in sides):
        raise ValueError(f"{pixels} pixels form no square that images of {tuple(sides)} pixels tile")
    colours = size_colours(sides)
    fig, axes = plt.subplots(1, len(sides), figsize=(8, 2.95), squeeze=False)
    fig.subplots_adjust(left=0.02, right=0.98, top=0.88, bottom=0.02, wspace=0.12)
    counts = {}
    for ax, side in zip(axes[0], sides, strict=True):
        corners = range(0, whole, side)
        counts[side] = len(corners) ** 2
        for y in corners:
            for x in corners:
                inner = (side - 0.16,) * 2
                ax.add_patch(Rectangle((x + 0.08, y + 0.08), *inner, color=colours[side], lw=0))
        lines = {"color": "white", "lw": 0.5, "alpha": 0.7}
        ax.hlines(range(whole + 1), 0, whole, **lines)
        ax.vlines(range(whole + 1), 0, whole, **lines)
        bare(ax).set_title(f"{counts[side]} images of {side} × {side}")
        ax.set_xlim(0, whole)
        ax.set_ylim(0, whole)
        ax.set_aspect("equal")
    return fig, counts


def fig_timeline(plans: Mapping[str, Sequence[Step]]) -> tuple[Figure, dict[str, tuple[int, int, int]]]:
    """Epochs, one below the other: a bar for each step, as wide as its pixels, as high as its size.

    plans: name -> ((height, width), batch) of every step. The number on a bar is its batch.
    data: name -> (steps, images, pixels).
    """
    fig, axes = plt.subplots(len(plans), 1, figsize=(8, 1.5 * len(plans) + 0.4), sharex=True, squeeze=False)
    fig.subplots_adjust(left=0.09, right=0.99, top=0.93, bottom=0.13, hspace=0.5)
    sides = [height for steps in plans.values() for (height, _), _ in steps]
    colours, data = size_colours(sides), {}
    for ax, (name, steps) in zip(axes[:, 0], plans.items(), strict=True):
        widths = [height * width * batch / 1e6 for (height, width), batch in steps]
        starts = [0, *accumulate(widths)]
        for x, width, ((height, _), batch) in zip(starts[:-1], widths, steps, strict=True):
            ax.add_patch(Rectangle((x, 0), width * 0.94, height, color=colours[height], lw=0))
            ax.text(x + width * 0.47, height + 8, batch, ha="center", fontsize=9)
        images = sum(batch for _, batch in steps)
        data[name] = (len(steps), images, sum(h * w * b for (h, w), b in steps))
        ax.set_title(
            f"{name}: {len(steps)} steps, {data[name][2] / 1e6:.0f} million pixels", loc="left", pad=9
        )
        ax.set_ylim(0, max(sides) * 1.12)
        ax.set_yticks(sorted({min(sides), max(sides)}))
        ax.tick_params(axis="x", length=0 if ax is not axes[-1, 0] else 3)
    axes[-1, 0].set_xlim(0, max(pixels for _, _, pixels in data.values()) / 1e6 * 1.005)
    axes[-1, 0].set_xlabel("pixels so far, in millions")
    axes[len(axes) // 2, 0].set_ylabel("side of the images")
    return fig, data


def fig_ranks(
    drawn: Mapping[str, Sequence[int]], stray: tuple[str, int] | None = None
) -> tuple[Figure, dict[str, list[bool]]]:
    """The sizes that each rank draws, step by step, as coloured and numbered cells.

    drawn: rank -> side at every step. stray: (rank, step) before which one number was drawn too many.
    data: rank -> for each of its steps, whether all ranks have the same size there.
    """
    colours = size_colours([side for sides in drawn.values() for side in sides])
    steps = max(map(len, drawn.values()))
    fig, ax = plt.subplots(figsize=(8, 0.42 * len(drawn) + 1.0))
    fig.subplots_adjust(left=0.08, right=0.99, top=0.84, bottom=0.2)
    bare(ax)
    agree = {
        name: [
            all(i < len(other) and other[i] == side for other in drawn.values())
            for i, side in enumerate(sides)
        ]
        for name, sides in drawn.items()
    }
    for row, (name, sides) in enumerate(drawn.items()):
        ax.text(-0.25, row, name, ha="right", va="center")
        for i, side in enumerate(sides):
            ax.add_patch(Rectangle((i + 0.03, row - 0.44), 0.94, 0.88, color=colours[side], lw=0))
            ax.text(i + 0.5, row, side, ha="center", va="center", color="white", fontsize=9)
        for i in range(len(sides), steps):
            ax.add_patch(Rectangle((i + 0.06, row - 0.4), 0.88, 0.8, fill=False, ec=INK, lw=1, ls=":"))
    if stray:
        row = list(drawn).index(stray[0])
        ax.plot([stray[1]] * 2, [row - 0.5, row + 0.5], color=ACCENT, lw=3, zorder=5)
        ax.plot([stray[1]] * 2, [-0.85, row - 0.5], color=ACCENT, lw=1, zorder=5)
        ax.text(stray[1], -0.9, "one stray draw", color=ACCENT, ha="center", va="bottom", fontsize=9)
    for i in range(0, steps, 5):
        ax.text(i + 0.5, len(drawn) - 0.3, f"step {i}", ha="center", va="top", fontsize=9)
    ax.set_xlim(0, steps)
    ax.set_ylim(len(drawn), -1)
    return fig, agree


def fig_memory(
    kept: Mapping[int, float], batches: Mapping[int, int], batch: int
) -> tuple[Figure, dict[str, dict[int, float]]]:
    """What a training step keeps in memory, by size: with equal batches, and with the sampler's.

    kept: side -> bytes per image. batches: side -> b_t. batch: images of a step with equal batches.
    data: "equal batches" and "b_t" -> side -> gigabytes.
    """
    data = {
        "equal batches": {side: count * batch / 1e9 for side, count in kept.items()},
        "b_t": {side: count * batches[side] / 1e9 for side, count in kept.items()},
    }
    fig, ax = plt.subplots(figsize=(8, 3.3))
    fig.subplots_adjust(left=0.08, right=0.8, top=0.96, bottom=0.15)
    names = {"equal batches": f"{batch} images\nat every size", "b_t": "$b_t$ images"}
    for (name, line), colour in zip(data.items(), SAMPLER_COLOURS.values(), strict=True):
        sides = list(line)
        ax.plot(sides, line.values(), "o-", color=colour, lw=2)
        ax.annotate(names[name], (sides[-1], line[sides[-1]]), (26, 9 if name == "b_t" else -16),
                    textcoords="offset points", color=colour, va="center")  # fmt: skip
        for side in sides:
            count = batches[side] if name == "b_t" else batch
            above = name == "b_t"
            ax.annotate(count, (side, line[side]), (0, 9 if above else -14), textcoords="offset points",
                        ha="center", fontsize=9, color=colour)  # fmt: skip
    ax.set_xticks(list(kept))
    ax.set_ylim(0, 1.25 * max(max(line.values()) for line in data.values()))
    ax.set_xlabel("height = width of the images, in pixels (the small numbers: images per step)")
    ax.set_ylabel("kept by one step, in GB")
    return fig, data


def by_training(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """Recorded rows as dataset -> "fixed" or "multi-scale" -> its rows, one for each seed."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        data, _, sampler = row["name"].rpartition(", ")
        found.setdefault(data, {}).setdefault(sampler, []).append(row)
    return found


def accuracies(rows: Sequence[Row]) -> dict[int, list[float]]:
    """Side -> top-1 in per cent of each row, smallest side first."""
    sides = sorted(int(key.removeprefix("top1_")) for key in rows[0] if key.startswith("top1_"))
    return {side: [row[f"top1_{side}"] for row in rows] for side in sides}


def fig_accuracy_by_size(
    rows: Sequence[Row], fixed: int = 128, sizes: Sequence[int] = (80, 96, 128, 144, 160)
) -> tuple[Figure, dict[str, dict[str, dict[int, list[float]]]]]:
    """Top-1 against the size at which the network is read, a panel for each dataset recorded.

    rows: of assets/runs/multi_scale.csv, any number of them. fixed, sizes: what the networks were trained
    at. A small dot is a seed, a line their mean. data: dataset -> sampler -> side -> top-1 of every seed.
    """
    groups = by_training(rows)
    data = {name: {s: accuracies(part) for s, part in parts.items()} for name, parts in groups.items()}
    fig, axes = plt.subplots(1, max(1, len(data)), figsize=(8, 3.4), squeeze=False)
    fig.subplots_adjust(left=0.08, right=0.98, top=0.91, bottom=0.2, wspace=0.25)
    if not data:
        bare(axes[0, 0]).text(0.5, 0.5, "no training is recorded yet", ha="center", va="center")
    for ax, (name, lines) in zip(axes[0], data.items(), strict=False):
        ax.set_title(name)
        for sampler, line in lines.items():
            _draw_line(ax, sampler, line)
        ax.set_xticks([64, 96, 128, 160, 192])
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        _mark_sizes(ax, fixed, sizes)
    axes[0, 0].set_ylabel("top-1 in %" if data else "")
    handles = [(sampler, SAMPLER_COLOURS[sampler]) for sampler in ("fixed", "multi-scale")]
    for i, (sampler, colour) in enumerate(handles if data else ()):
        words = f"trained at {fixed} only" if sampler == "fixed" else "multi-scale"
        fig.text(0.08 + 0.24 * i, 0.02, f"● {words}", color=colour, fontsize=10)
    if data:
        fig.text(0.98, 0.02, "across: read at … pixels", ha="right")
    return fig, data


def _draw_line(ax: Axes, sampler: str, line: Mapping[int, Sequence[float]]) -> None:
    """The seeds as small dots, their mean as a line."""
    colour = SAMPLER_COLOURS[sampler]
    for side, values in line.items():
        ax.plot([side] * len(values), values, "o", ms=3.5, color=colour, alpha=0.55, mew=0)
    ax.plot(list(line), [mean(values) for values in line.values()], "-", color=colour, lw=1.8)


def _mark_sizes(ax: Axes, fixed: int, sizes: Sequence[int]) -> None:
    """Small marks at the lower edge: where the two trainings had their images."""
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.14 * (high - low), high)
    for sampler, sides, height in (("fixed", (fixed,), 0.075), ("multi-scale", sizes, 0.025)):
        ax.plot(sides, [height] * len(sides), "^", ms=5, color=SAMPLER_COLOURS[sampler], mew=0,
                transform=ax.get_xaxis_transform())  # fmt: skip
