"""Pictures of notebook 11 about the head: the maps it answers from, and an anchor bent into a box."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mvit_lib.heads.boxes import encode, to_xyxy
from mvit_lib.look.figures.detection_ssdlite import RIGHT, WRONG, draw_box
from mvit_lib.look.style import INK, bare

NAMES = ("layer_4", "layer_5", "new", "new", "new", "new")


def fig_bend(anchor: Tensor, box: Tensor) -> tuple[Figure, Tensor]:
    """An anchor, dashed, and the box it is bent into, with what the network has to say.

    anchor, box: cxcywh [4]. data: the four numbers t_x, t_y, g_w, g_h.
    """
    answer = encode(to_xyxy(box), anchor)
    fig, ax = plt.subplots(figsize=(8, 3.4))
    fig.subplots_adjust(left=0.06, right=0.99, bottom=0.1, top=0.98)
    ax.set_aspect("equal")
    for cxcywh, colour, name, style in ((anchor, INK, "anchor", "--"), (box, RIGHT, "box", "-")):
        draw_box(ax, to_xyxy(cxcywh), colour, lw=2.5, ls=style)
        x, y, w, h = cxcywh.tolist()
        ax.plot(x, y, "o", ms=6, color=colour)
        where = {"va": "bottom", "xytext": (0, 4)} if name == "anchor" else {"va": "top", "xytext": (0, -4)}
        edge = y - h / 2 if name == "anchor" else y + h / 2
        ax.annotate(f"{name}: {w:g} wide, {h:g} high", (x, edge), textcoords="offset points", ha="center",
                    color=colour, **where)  # fmt: skip
    ends = {"xy": box[:2].tolist(), "xytext": anchor[:2].tolist()}
    ax.annotate("", **ends, arrowprops={"arrowstyle": "->", "color": WRONG, "lw": 2})
    corners = to_xyxy(anchor).tolist(), to_xyxy(box).tolist()
    left, right = min(c[0] for c in corners), max(c[2] for c in corners)
    top, bottom = min(c[1] for c in corners), max(c[3] for c in corners)
    names = ("t_x", "t_y", "g_w", "g_h")
    for i, (name, number) in enumerate(zip(names, answer.tolist(), strict=True)):
        y = top + (bottom - top) * (0.2 + 0.2 * i)
        ax.text(right + 3, y, f"${name}$ = {number:.2f}", fontsize=12, color=WRONG, va="center")
    ax.set_xlim(left - 2, right + 12)
    ax.set_ylim(bottom + 4, top - 3)
    return fig, answer


def fig_head(
    maps: Sequence[tuple[int, int, int]], per_cell: Sequence[int], num_classes: int
) -> tuple[Figure, list[tuple[int, int]]]:
    """The six maps side by side, what leads from each to its answers, and how many anchors answer.

    maps: (channels, rows, columns) of each; per_cell: anchors on a cell. data: (channels of the answer,
    anchors) of each map.
    """
    fig, ax = plt.subplots(figsize=(8, 3.5))
    fig.subplots_adjust(left=0, right=1, bottom=0, top=1)
    bare(ax)
    answers, x, centres = [], 0.0, []
    for i, ((channels, rows, columns), n, name) in enumerate(zip(maps, per_cell, NAMES, strict=True)):
        side, colour = (rows * columns) ** 0.25 / 3, WRONG if i < 2 else INK
        centre = x + 0.9
        x += 1.85
        centres.append((centre, side))
        wide = 1.15 * side  # the axes are a little flat
        square = Rectangle((centre - wide / 2, 2.7 - side / 2), wide, side, fc=colour, alpha=0.8, lw=0)
        ax.add_patch(square)
        ax.text(centre, 3.75, name, ha="center", color=colour, fontsize=10)
        ax.text(
            centre, 1.55, f"{rows} × {columns}\n{channels} channels", ha="center", va="center", fontsize=9
        )
        ax.annotate(
            "", (centre, 0.75), (centre, 1.2), arrowprops={"arrowstyle": "->", "color": RIGHT, "lw": 2}
        )
        answers.append((n * (4 + num_classes), rows * columns * n))
        ax.text(centre, 0.5, f"{n} · (4 + {num_classes})", ha="center", va="center", fontsize=10, color=RIGHT)
        ax.text(centre, 0.1, f"{answers[-1][1]:,} anchors", ha="center", va="center", fontsize=9)
    for (a, s), (b, t) in pairwise(centres):
        ends = {"xy": (b - 0.575 * t - 0.05, 2.7), "xytext": (a + 0.575 * s + 0.05, 2.7)}
        ax.annotate("", **ends, arrowprops={"arrowstyle": "->", "color": INK})
    ax.set_xlim(0, x)
    ax.set_ylim(-0.15, 4.05)
    return fig, answers
