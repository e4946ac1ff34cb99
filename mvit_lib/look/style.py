"""One look for every picture: readable at 800 px, on light and on dark pages, for every eye."""

import io

import numpy as np
from matplotlib import patheffects, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

SMALL_PNG, LARGE_PNG = 60_000, 100_000  # bytes
OPAQUE_COLOURS = (224, 112, 64)  # one palette after the other, until the picture is not large
INK = "#737981"
ACCENT = "#e0662d"
SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"
# The place of a pixel inside its patch, row by row; the same colours in the whole course.
POSITION_COLOURS = ("#2f8fd8", "#e69f00", "#12a279", "#c9609f")

RC = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.cmap": SEQUENTIAL,
    "image.interpolation": "nearest",
}


def use_style() -> None:
    """Make matplotlib draw every later picture in the course's style."""
    rcParams.update(RC)


def compact_png(figure: Figure) -> bytes:
    """The picture as a PNG; a large one, a photo as a rule, in 256 colours and a third of the size."""
    full = io.BytesIO()
    figure.savefig(full, format="png", bbox_inches="tight", dpi=figure.dpi)
    if full.tell() <= SMALL_PNG:
        return full.getvalue()
    for count in OPAQUE_COLOURS:
        small = io.BytesIO()
        fewer_colours(Image.open(full), count).save(small, "PNG", optimize=True)
        if small.tell() <= LARGE_PNG:
            break
    return small.getvalue()


def fewer_colours(picture: Image.Image, count: int = 224) -> Image.Image:
    """The picture with a palette of `count` colours for what is opaque, and 32 for the rest.

    Pillow's one method that knows transparency merges the low end of a colour scale into a single colour.
    So it gets the half-transparent rims of letters alone, and `MEDIANCUT` all the rest.
    """
    rgba = np.asarray(picture.convert("RGBA"))  # [H, W, 4]
    opaque = rgba[..., 3] == 255  # [H, W]
    index, colours = np.empty(opaque.shape, np.uint8), []
    for where, mode, size, method in (
        (opaque, "RGB", count, Image.Quantize.MEDIANCUT),
        (~opaque, "RGBA", 32, Image.Quantize.FASTOCTREE),
    ):
        if where.any():
            pixels = np.ascontiguousarray(rgba[where][None, :, : len(mode)])  # [1, n, 3] or [1, n, 4]
            part = Image.fromarray(pixels).quantize(size, method=method, kmeans=1)
            index[where] = np.asarray(part)[0] + len(colours)
            colours += np.reshape(part.getpalette("RGBA"), (-1, 4))[: np.max(part) + 1].tolist()
    reduced = Image.fromarray(index, "P")
    reduced.putpalette(np.uint8(colours).tobytes(), "RGBA")
    return reduced


def bare(ax: Axes) -> Axes:
    """Take away ticks and frame: the axes hold a picture."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def ring(ax: Axes, x: float, y: float, size: float = 11) -> None:
    """Ring the query pixel at (x, y), the same way in every picture of the course."""
    outline = [patheffects.withStroke(linewidth=4.5, foreground="white")]
    ax.plot(x, y, "o", ms=size, mfc="none", mec=ACCENT, mew=2.2, path_effects=outline, zorder=10)
