"""A picture of PixelZoo: every class in several variations, and crowded scenes with their targets."""

from dataclasses import dataclass
from itertools import count

import numpy as np
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mvit_lib.data import PixelZoo
from mvit_lib.data.zoo.render import Picture, render
from mvit_lib.data.zoo.scenes import any_scene
from mvit_lib.look.style import bare

CROWDED = 3
SMALL, LARGE = 96, 288  # pixels
CLASS_COLOURS = colormaps["tab10"].colors


@dataclass(frozen=True, eq=False)
class ContactSheet:
    """What a contact sheet shows.

    indices: int [rows, 10], the scenes with one animal by row and class. crowded: scenes with more.
    """

    indices: np.ndarray
    crowded: list[Picture]


def fig_contact_sheet(
    split: str = "train", rows: int = 5, least_scale: float = 0.45, seed: int = 0
) -> tuple[Figure, ContactSheet]:
    """The first `rows` scenes of every class whose animal is large enough, above crowded scenes.

    least_scale: the least longer side of the animal, as a share of the picture (0.15 shows every scene).
    Boxes and outlines of the masks are drawn in the crowded scenes, in the colour of the class.
    data: the ContactSheet.
    Raises: ValueError if rows is below 1, the split is unknown, or the scale lies outside 0 … 0.8.
    """
    if rows < 1:
        raise ValueError(f"rows={rows}: expected at least 1")
    if not 0 <= least_scale <= 0.8:
        raise ValueError(f"least_scale={least_scale}: expected 0 … 0.8, the largest animals have 0.85")
    zoo = PixelZoo(split, size=SMALL, seed=seed)
    indices = _first_large(zoo, rows, least_scale)  # [rows, class]
    crowds = PixelZoo(split, task="segment", animals=(3, 6), seed=seed)
    pictures = [render(crowds.scene(index), LARGE, LARGE) for index in range(CROWDED)]

    fig = plt.figure(figsize=(8, 0.8 * rows + 8 / CROWDED + 0.3))
    height = fig.get_figheight()
    sides = {"left": 0, "right": 1, "wspace": 0.03, "hspace": 0.03}
    upper = fig.add_gridspec(rows, 10, top=1 - 0.25 / height, bottom=(8 / CROWDED + 0.05) / height, **sides)
    for row, label in np.ndindex(rows, 10):
        ax = bare(fig.add_subplot(upper[row, label]))
        ax.imshow(zoo.load(int(indices[row, label]), (SMALL, SMALL)).image, interpolation="antialiased")
        if row == 0:
            ax.set_title(zoo.classes[label], fontsize=9, pad=3)
    lower = fig.add_gridspec(1, CROWDED, top=8 / CROWDED / height, bottom=0, **sides)
    for place, picture in zip(lower, pictures, strict=True):
        _draw_targets(bare(fig.add_subplot(place)), picture, zoo.classes)
    return fig, ContactSheet(indices, pictures)


def _first_large(zoo: PixelZoo, rows: int, least_scale: float) -> np.ndarray:
    """The first indices of every class whose animal has the least scale, int [rows, 10]."""
    found: list[list[int]] = [[] for _ in zoo.classes]
    for index in count():
        (animal,) = any_scene(zoo.split, zoo.seed, index, (1, 1)).animals
        if animal.scale >= least_scale:
            found[animal.label].append(index)
        if min(map(len, found)) >= rows:
            break
    return np.array([indices[:rows] for indices in found]).T


def _draw_targets(ax: Axes, picture: Picture, names: tuple[str, ...]) -> None:
    """The scene with the outlines of its mask and its boxes, in the colours of the classes."""
    ax.imshow(picture.image, interpolation="antialiased")
    for (x0, y0, x1, y1), label in zip(picture.boxes, picture.labels, strict=True):
        colour = CLASS_COLOURS[label - 1]
        ax.contour(picture.mask == label, levels=[0.5], colors=[colour], linewidths=0.8)
        corner = (x0 - 0.5, y0 - 0.5)
        ax.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, ec=colour, lw=1.2))
        above = "bottom" if y0 > LARGE / 16 else "top"  # inside the box where there is no room above it
        tag = {"fc": colour, "ec": "none", "pad": 1}
        ax.text(*corner, names[label - 1], fontsize=7, color="white", va=above, clip_on=True, bbox=tag)
