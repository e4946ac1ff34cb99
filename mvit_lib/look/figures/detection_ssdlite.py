"""Pictures of notebook 11: boxes, anchors, what is matched to what, and which finds stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from torch import Tensor

from mvit_lib.heads.boxes import iou, make_anchors, to_xyxy
from mvit_lib.look.attention_grid import to_pil
from mvit_lib.look.style import ACCENT, INK, bare

RIGHT, WRONG = "#0f93a8", ACCENT
COLOURS = ("#0f93a8", "#e0662d", "#8a7be0", "#b08d2f", "#5f8a3a", "#c0504d")
OUTLINE = (patheffects.withStroke(linewidth=3.2, foreground="white"),)
MARKED = {"fontsize": 9, "color": "white", "clip_on": True}


def draw_box(ax: Axes, xyxy: Sequence[float] | Tensor, colour: str, tag: str = "", **style: Any) -> None:
    """A box; its tag stands at an upper corner, a dashed box's at a lower one, where no other tag stands."""
    x0, y0, x1, y1 = (float(x) for x in xyxy)
    outline = {"fill": False, "ec": colour, "lw": 2} | style
    ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, **outline))
    if tag:
        _tag(ax, (x0, y0, x1, y1), tag, colour, outline.get("ls") == "--")


def _tag(ax: Axes, xyxy: tuple[float, float, float, float], tag: str, colour: str, is_low: bool) -> None:
    """Write a tag at the corner of a box, inside or outside, where it covers least of the others' tags."""
    (left, right), (low, high) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    x0, x1 = (min(max(x, left), right) for x in xyxy[::2])
    y0, y1 = (min(max(y, low), high) for y in xyxy[1::2])
    unit = (right - left) / (72 * ax.get_position().width * ax.get_figure().get_figwidth())  # of a point
    width = unit * (TextPath((0, 0), tag, size=MARKED["fontsize"]).get_extents().width + 7)
    height = unit * 16
    taken = [text.place for text in ax.texts if hasattr(text, "place")]

    def cost(corner: tuple[float, float]) -> float:
        """The area of other tags that it would cover; leaving the picture is worse than anything."""
        x, y = corner
        across = [max(0.0, min(x + width, a + w) - max(x, a)) for a, _, w in taken]
        down = [max(0.0, min(y + height, b + height) - max(y, b)) for _, b, _ in taken]
        leaves = x < left or x + width > right or y < low or y + height > high
        return sum(a * d for a, d in zip(across, down, strict=True)) + 1e6 * leaves

    x_places = (x1 - width, x0) if x0 > left + 0.55 * (right - left) else (x0, x1 - width)
    y_places = (y1 - height, y0, y1, y0 - height) if is_low else (y0, y1 - height, y0 - height, y1)
    x, y = min(((x, y) for y in y_places for x in x_places), key=cost)
    pad = {"fc": colour, "ec": "none", "pad": 1.2}
    text = ax.text(x + width / 2, y + height / 2, tag, ha="center", va="center", bbox=pad, **MARKED)
    text.place = (x, y, width)


def pale(image: Tensor) -> np.ndarray:
    """A scene [3, H, W] in light colours and without its noise, to draw boxes on: uint8 [H, W, 3]."""
    smooth = F.avg_pool2d(image[None], 5, 1, 2, count_include_pad=False)[0]  # [3, H, W]
    return (255 * (0.25 + 0.7 * smooth)).byte().permute(1, 2, 0).numpy()


def _scenes(images: Sequence[Tensor], columns: int = 3, is_pale: bool = False) -> tuple[Figure, list[Axes]]:
    """Pictures [3, H, W] side by side, each in axes whose units are its pixels."""
    columns = min(columns, max(2, len(images)))
    rows = -(-len(images) // columns)
    side = 8 / columns
    fig, axes = plt.subplots(rows, columns, figsize=(8, rows * (side + 0.27)), squeeze=False)
    top = 1 - 0.27 / fig.get_figheight()
    fig.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=top, wspace=0.03, hspace=0.27 / side)
    shown = list(axes.flat)
    for ax, image in zip(shown, images, strict=False):
        height, width = image.shape[-2:]
        picture = pale(image) if is_pale else np.asarray(to_pil(image))
        bare(ax).imshow(picture, extent=(0, width, height, 0), interpolation="antialiased")
    for ax in shown[len(images) :]:
        ax.set_axis_off()
    return fig, shown[: len(images)]


def _paper(ax: Axes, size: tuple[int, int]) -> None:
    """Squared paper of (height, width), y downwards."""
    height, width = size
    bare(ax).set_aspect("equal")
    ax.hlines(range(height + 1), 0, width, color=INK, lw=0.5, alpha=0.5)
    ax.vlines(range(width + 1), 0, height, color=INK, lw=0.5, alpha=0.5)
    ax.set_xlim(-0.1, width + 0.1)
    ax.set_ylim(height + 0.1, -0.1)


def fig_two_boxes(a: Tensor, b: Tensor, size: tuple[int, int] = (7, 9)) -> tuple[Figure, dict[str, int]]:
    """Two boxes with whole corners on squared paper; what they share is filled, the union framed in colour.

    data: how many squares lie in "a", in "b", in both ("shared") and in either ("union").
    """
    y, x = (torch.arange(n) + 0.5 for n in size)
    inside = [
        ((x0 < x) & (x < x1)) & ((y0 < y) & (y < y1))[:, None] for x0, y0, x1, y1 in (a.tolist(), b.tolist())
    ]
    both, either = inside[0] & inside[1], inside[0] | inside[1]
    fig, ax = plt.subplots(figsize=(8, 3.5))
    fig.subplots_adjust(left=0.02, right=0.98, bottom=0.09, top=0.99)
    _paper(ax, size)
    for (i, j), is_shared in np.ndenumerate(both.numpy()):
        if either[i, j]:
            fill = {"color": WRONG, "alpha": 0.75} if is_shared else {"color": INK, "alpha": 0.22}
            ax.add_patch(Rectangle((j, i), 1, 1, lw=0, **fill))
    for name, box, colour in (("a", a, RIGHT), ("b", b, COLOURS[2])):
        draw_box(ax, box, colour, lw=3)
        x0, y0, x1, y1 = box.tolist()
        corner = (x0 + 0.12, y0 + 0.55) if name == "a" else (x1 - 0.35, y1 - 0.4)
        ax.text(*corner, name, color=colour, fontsize=13, fontweight="bold")
    ax.set_xticks(range(size[1] + 1))
    ax.set_yticks(range(size[0] + 1))
    ax.tick_params(length=0)
    squares = {"a": inside[0], "b": inside[1], "shared": both, "union": either}
    counts = {name: int(part.sum()) for name, part in squares.items()}
    for y, (name, colour) in zip(
        (1.4, 2.4, 3.4, 4.4), zip(counts, (RIGHT, COLOURS[2], WRONG, INK), strict=True), strict=True
    ):
        ax.text(size[1] + 0.8, y, f"{name}: {counts[name]} squares", color=colour, fontsize=11)
    return fig, counts


def fig_six_anchors(
    image: Tensor, grids: Sequence[tuple[int, int]], level: int, cell: tuple[int, int]
) -> tuple[Figure, Tensor]:
    """The anchors of one cell of one map: together on the scene, and each by itself with its size.

    image [3, H, W]; grids as for `make_anchors`; cell = (row, column). data: the anchors, cxcywh [n, 4].
    """
    anchors = anchors_of_cell(grids, tuple(image.shape[-2:]), level, cell)
    fig = plt.figure(figsize=(8, 3.2))
    grid = fig.add_gridspec(2, 6, left=0.005, right=0.99, bottom=0.01, top=0.91, wspace=0.1, hspace=0.32)
    scene = fig.add_subplot(grid[:, :3])
    height, width = image.shape[-2:]
    bare(scene).imshow(pale(image), extent=(0, width, height, 0))
    _cells(scene, grids[level], (height, width))
    scene.set_title(f"cell {cell} of the {grids[level][0]} × {grids[level][1]} map")
    for i, anchor in enumerate(anchors):
        draw_box(scene, to_xyxy(anchor), COLOURS[i], path_effects=OUTLINE)
        ax = bare(fig.add_subplot(grid[i // 3, 3 + i % 3]))
        ax.set_aspect("equal")
        half = anchors[:, 2:].max().item() / 2 * 1.05
        draw_box(ax, to_xyxy(anchor - anchor * anchor.new_tensor([1, 1, 0, 0])), COLOURS[i], lw=2.5)
        ax.set_xlim(-half, half)
        ax.set_ylim(half, -half)
        ax.set_title(f"{anchor[2]:.0f} × {anchor[3]:.0f}", fontsize=9, color=COLOURS[i])
    return fig, anchors


def anchors_of_cell(
    grids: Sequence[tuple[int, int]], image_size: tuple[int, int], level: int, cell: tuple[int, int]
) -> Tensor:
    """The anchors of one cell, cxcywh [n, 4]: six, on the last map four."""
    anchors = make_anchors(grids, image_size)
    per_cell = [6] * (len(grids) - 1) + [4]
    first = sum(n * rows * columns for n, (rows, columns) in zip(per_cell[:level], grids, strict=False))
    first += per_cell[level] * (cell[0] * grids[level][1] + cell[1])
    return anchors[first : first + per_cell[level]]


def _cells(ax: Axes, grid: tuple[int, int], image_size: tuple[int, int]) -> None:
    (rows, columns), (height, width) = grid, image_size
    line = {"color": "white", "lw": 0.7}
    ax.hlines(np.linspace(0, height, rows + 1), 0, width, **line)
    ax.vlines(np.linspace(0, width, columns + 1), 0, height, **line)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)


def fig_pyramid(image: Tensor, grids: Sequence[tuple[int, int]]) -> tuple[Figure, list[int]]:
    """All maps over the same scene: their cells, and on the one in the middle its smaller square anchor.

    data: how many anchors each map has.
    """
    fig, axes = _scenes([image] * len(grids), is_pale=True)
    counts = []
    for level, (ax, (rows, columns)) in enumerate(zip(axes, grids, strict=True)):
        _cells(ax, (rows, columns), tuple(image.shape[-2:]))
        anchors = anchors_of_cell(grids, tuple(image.shape[-2:]), level, (rows // 2, columns // 2))
        draw_box(ax, to_xyxy(anchors[0]), COLOURS[0], path_effects=OUTLINE, lw=2.5, clip_on=True)
        counts.append(rows * columns * len(anchors))
        ax.set_title(f"{rows} × {columns} cells: {counts[-1]:,} anchors")
    return fig, counts


def fig_matching(
    image: Tensor, boxes: Tensor, names: Sequence[str], anchors: Tensor, matched: Tensor
) -> tuple[Figure, list[Tensor]]:
    """For each object its box, dotted, and the anchors that have to find it; the one it claims is orange.

    boxes xyxy [M, 4]; anchors cxcywh [A, 4]; matched [A], as `match` gives it. data: for every object the
    indices of its anchors.
    """
    fig, axes = _scenes([image] * len(boxes), is_pale=True)
    _matching_key(fig, len(boxes))
    overlap = iou(to_xyxy(anchors)[:, None], boxes)  # [A, M]
    found = []
    for m, (ax, box, name) in enumerate(zip(axes, boxes, names, strict=True)):
        mine = (matched == m).nonzero().flatten()
        best = int(overlap[:, m].argmax())
        draw_box(ax, box, "white", lw=4)
        draw_box(ax, box, "black", lw=1.2, ls=":")
        for a in mine.tolist():
            colour, order = (WRONG, 3) if a == best else (RIGHT, 2)
            draw_box(ax, to_xyxy(anchors[a]), colour, path_effects=OUTLINE, zorder=order)
        plural = "s" if len(mine) != 1 else ""
        ax.set_title(f"{name}: {len(mine)} anchor{plural}, best IoU {overlap[best, m]:.2f}")
        ax.set_xlim(0, image.shape[-1])
        ax.set_ylim(image.shape[-2], 0)
        found.append(mine)
    return fig, found


def _matching_key(fig: Figure, used: int) -> None:
    """Say what the lines of `fig_matching` mean, where a panel is left over."""
    for ax in fig.axes[used : used + 1]:
        key = (
            (INK, "dotted: the animal's box"),
            (WRONG, "orange: the anchor it claims"),
            (RIGHT, "blue: others with IoU ≥ 0.5"),
        )
        for y, (colour, words) in zip((0.65, 0.5, 0.35), key, strict=True):
            ax.text(0.06, y, words, color=colour, fontsize=11, transform=ax.transAxes)


def fig_hardest(
    image: Tensor, boxes: Tensor, anchors: Tensor, surprise: Tensor, positive: Tensor, chosen: Tensor
) -> tuple[Figure, Tensor]:
    """The surprise of all background anchors, sorted, and the three hardest of them on the scene.

    boxes xyxy [M, 4]; surprise [A] of the true class; positive, chosen bool [A]. data: the sorted surprise,
    hardest first.
    """
    order = surprise.masked_fill(positive, -torch.inf).argsort(descending=True)  # [A]
    ordered = surprise[order][: int((~positive).sum())]
    count = int(chosen.sum())
    fig = plt.figure(figsize=(8, 3.3))
    grid = fig.add_gridspec(1, 2, width_ratios=[1.35, 1], left=0.08, right=0.995, bottom=0.14, top=0.91)
    ax = fig.add_subplot(grid[0])
    place = np.arange(1, len(ordered) + 1)
    ax.plot(place, ordered.numpy(), color=INK, lw=2)
    ax.plot(place[:count], ordered[:count].numpy(), color=WRONG, lw=4)
    ax.set_xscale("log")
    ax.set_xlabel("background anchors, hardest first")
    ax.set_ylabel("−log p(background)")
    ax.text(1, 1.02 * ordered[0].item(), f"    the {count} hardest count", color=WRONG, fontsize=10)
    height, width = image.shape[-2:]
    scene = bare(fig.add_subplot(grid[1]))
    scene.imshow(pale(image), extent=(0, width, height, 0))
    for anchor in anchors[order[: min(3, count)]]:
        draw_box(scene, to_xyxy(anchor), WRONG, lw=2.2, path_effects=OUTLINE)
    for box in boxes:
        draw_box(scene, box, RIGHT, lw=1.8, path_effects=OUTLINE)
    scene.set_xlim(0, width)
    scene.set_ylim(height, 0)
    scene.set_title(f"animals: blue; the {min(3, count)} hardest: orange", fontsize=9)
    return fig, ordered


def fig_on_scene(
    image: Tensor, panels: Mapping[str, tuple[Tensor, Sequence[str]]]
) -> tuple[Figure, dict[str, int]]:
    """The same scene several times; each panel's title -> boxes xyxy [n, 4] and their tags ("" for none).

    Boxes of one name have one colour. data: how many boxes each panel shows.
    """
    fig, axes = _scenes([image] * len(panels), columns=len(panels))
    names = sorted({tag.partition(" ")[0] for _, tags in panels.values() for tag in tags} - {""})
    for ax, (title, (boxes, tags)) in zip(axes, panels.items(), strict=True):
        for box, tag in zip(boxes, tags, strict=True):
            name = tag.partition(" ")[0]
            colour = COLOURS[names.index(name) % len(COLOURS)] if name else RIGHT
            draw_box(ax, box, colour, tag, lw=1.6)
        ax.set_title(title)
    return fig, {title: len(boxes) for title, (boxes, _) in panels.items()}


def fig_nms_steps(
    boxes: Tensor, scores: Tensor, threshold: float = 0.5, size: tuple[int, int] = (8, 15)
) -> tuple[Figure, list[tuple[int, list[int]]]]:
    """Non-maximum suppression step by step, on squared paper: the best box left, and those it drops.

    The boxes are numbered from 1.

    data: for every step the box that stays and the boxes it drops.
    """
    overlap, left, steps = iou(boxes[:, None], boxes), scores.argsort(descending=True).tolist(), []
    while left:
        best = left[0]
        steps.append((best, [i for i in left[1:] if overlap[best, i] > threshold]))
        left = [i for i in left[1:] if overlap[best, i] <= threshold]
    fig, axes = plt.subplots(1, len(steps), figsize=(8, 8 / len(steps) * size[0] / size[1] + 0.35))
    fig.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.87, wspace=0.06)
    gone: list[int] = []
    for number, (ax, (best, dropped)) in enumerate(zip(np.atleast_1d(axes), steps, strict=True), start=1):
        _paper(ax, size)
        kept = [stays for stays, _ in steps[: number - 1]]
        for i in [j for j in range(len(boxes)) if j not in gone and j != best] + [best]:
            colour = WRONG if i in dropped else RIGHT if i in (best, *kept) else INK
            style = {"lw": 3 if i == best else 1.6, "ls": "--" if i in dropped else "-"}
            draw_box(ax, boxes[i], colour, **style)
            ax.text(
                *_free_corner(boxes, i),
                i + 1,
                color=colour,
                fontsize=10,
                fontweight="bold",
                ha="center",
                va="center",
            )
        names = " and ".join(str(i + 1) for i in dropped)
        ax.set_title(f"{best + 1} stays" + (f", {names} go" + "es" * (len(dropped) == 1) if names else ""))
        gone += dropped
    return fig, steps


def _free_corner(boxes: Tensor, i: int) -> tuple[float, float]:
    """The middle of the square in that corner of box i which the fewest other boxes cover."""
    x0, y0, x1, y1 = boxes[i].tolist()
    corners = [(x, y) for y in (y0 + 0.5, y1 - 0.5) for x in (x0 + 0.5, x1 - 0.5)]

    def covered(corner: tuple[float, float]) -> int:
        x, y = corner
        inside = (boxes[:, 0] < x) & (x < boxes[:, 2]) & (boxes[:, 1] < y) & (y < boxes[:, 3])
        return int(inside.sum())

    return min(corners, key=covered)


@dataclass(frozen=True)
class Verdicts:
    """Of one picture: a word for each find, best first, and which objects nobody found.

    "right"; "twice": right, but a better find has this object; "class": in place, but of another class;
    "place": of an object's class, IoU with it 0.1 … 0.5; "nothing": none of these.
    """

    finds: tuple[str, ...]
    missed: tuple[int, ...]


def judge(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> Verdicts:
    """What each find is worth at IoU 0.5 by Pascal VOC's rule; boxes xyxy [n, 4] best first and [M, 4].

    Each find asks for the object of its class that it overlaps most, whether that is taken or not.
    """
    taken: set[int] = set()
    words = []
    for box, label in zip(boxes, labels, strict=True):
        shared = iou(box, true_boxes)  # [M]
        same = shared.where(true_labels == label, 0.0)
        which = int(same.argmax()) if len(same) else -1
        if len(same) and same[which] >= 0.5:
            words.append("twice" if which in taken else "right")
            taken.add(which)
        elif len(same) and shared.max() >= 0.5:
            words.append("class")
        else:
            words.append("place" if len(same) and same[which] >= 0.1 else "nothing")
    return Verdicts(tuple(words), tuple(m for m in range(len(true_boxes)) if m not in taken))


def fig_detections(
    images: Sequence[Tensor],
    found: Sequence[Any],
    targets: Sequence[Mapping[str, Tensor]],
    classes: Sequence[str],
    min_score: float = 0.3,
) -> tuple[Figure, list[Verdicts]]:
    """Scenes with what was found: right in blue, wrong in orange with the reason, missed dashed.

    found: as `SSDLite.find` gives it; targets: as PixelZoo gives them; classes: the names of the outputs,
    the first the background. data: the Verdicts of each scene.
    """
    fig, axes = _scenes(images)
    data = []
    for ax, f, target in zip(axes, found, targets, strict=True):
        sure = f.scores >= min_score
        verdicts = judge(f.boxes[sure], f.labels[sure], target["boxes"], target["labels"])
        for m in verdicts.missed:
            name = classes[int(target["labels"][m])]
            draw_box(ax, target["boxes"][m], "#444444", f"missed: {name}", ls="--", lw=1.6)
        for box, label, word in zip(f.boxes[sure], f.labels[sure], verdicts.finds, strict=True):
            name = classes[int(label)]
            tag = name if word == "right" else f"{name}: {word}"
            draw_box(ax, box, RIGHT if word == "right" else WRONG, tag)
        ax.set_title(f"{verdicts.finds.count('right')} of {len(target['labels'])} animals found", fontsize=9)
        data.append(verdicts)
    return fig, data
