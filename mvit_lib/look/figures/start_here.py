"""Pictures of notebook 00: maps inside the network, a pixel's partners and weights, the course's map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from mvit_lib.attention import AttentionMap, PixelAttention, attention_from_pixel
from mvit_lib.look.attention_grid import blend, blended_colours, grey_photo
from mvit_lib.look.style import ACCENT, INK, POSITION_COLOURS, bare, ring
from mvit_lib.mobilevit import MobileViT


def _as_picture(image: Tensor) -> np.ndarray:
    """[1, 3, H, W] or [3, H, W] in [0, 1] -> [H, W, 3]."""
    if image.shape[-3] != 3 or image.dim() not in (3, 4) or (image.dim() == 4 and len(image) != 1):
        raise ValueError(f"expected one image [3, H, W] or [1, 3, H, W], got {tuple(image.shape)}")
    return image.reshape(image.shape[-3:]).permute(1, 2, 0).clamp(0, 1).numpy()


def fig_feature_maps(
    image: Tensor, features: dict[str, Tensor], rows: int = 3
) -> tuple[Figure, dict[str, Tensor]]:
    """The image, and the `rows` channels of every stage that vary most inside it.

    image [1, 3, H, W] in [0, 1]; features as `forward_features` gives them. Each small picture is
    stretched from its own least to its own largest value.
    data: for every stage the chosen channels, [rows, h, w].
    """
    chosen = {}
    widths = [2, 0.05, *[1] * len(features)]
    fig = plt.figure(figsize=(8, 1.13 * rows + 0.45))
    grid = fig.add_gridspec(rows, len(widths), width_ratios=widths, wspace=0.08, hspace=0.06)
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.45 / fig.get_figheight())
    whole = bare(fig.add_subplot(grid[:, 0]))
    whole.imshow(_as_picture(image))
    whole.set_title(f"the image\n3 × {image.shape[-2]} × {image.shape[-1]}")
    for column, (stage, maps) in enumerate(features.items(), start=2):
        maps = maps[0].detach()  # [C, h, w]
        inner = maps[:, 1:-1, 1:-1] if min(maps.shape[1:]) > 2 else maps  # the border answers to padding
        strongest = inner.flatten(1).var(dim=1, correction=0).argsort(descending=True)[:rows]
        chosen[stage] = maps[strongest]
        for row, channel in enumerate(chosen[stage]):
            ax = bare(fig.add_subplot(grid[row, column]))
            ax.imshow(channel.numpy())
            if row == 0:
                C, h, w = maps.shape
                ax.set_title(f"{stage}\n{C} × {h} × {w}", fontsize=9.5)
    return fig, chosen


@dataclass(frozen=True)
class Partners:
    """Where a pixel of the image stands at one stage, and whom it exchanges with there.

    row, column: its pixel of the map. position: its place p inside the patch. token: its patch t.
    partners: bool [H, W] of the map, true for the N pixels of the same place (itself included).
    """

    row: int
    column: int
    position: int
    token: int
    partners: Tensor


def partners_of(y: int, x: int, map_size: tuple[int, int], stride: int, patch: tuple[int, int]) -> Partners:
    """Follow image pixel (y, x) to a map of `map_size` whose pixels are `stride` image pixels wide."""
    (H, W), (ph, pw) = map_size, patch
    row, column = y // stride, x // stride
    if not (0 <= row < H and 0 <= column < W):
        raise ValueError(f"pixel ({y}, {x}) lies outside a map of {H} × {W} at stride {stride}")
    partners = torch.zeros(H, W, dtype=torch.bool)
    partners[row % ph :: ph, column % pw :: pw] = True
    token = row // ph * math.ceil(W / pw) + column // pw
    return Partners(row, column, row % ph * pw + column % pw, token, partners)


def fig_partners(image: Tensor, y: int, x: int, model: MobileViT) -> tuple[Figure, dict[str, Partners]]:
    """The partners of the map pixel that covers photo pixel (y, x), in the three MobileViT blocks.

    Squares are pixels of the block's map, drawn where they lie on the photo; lines are its patches; the
    ring is around the pixel itself.
    data: for every stage its `Partners`.
    """
    picture = _as_picture(image)
    found = {}
    fig, axes = plt.subplots(1, 3, figsize=(8, 3.1), gridspec_kw={"wspace": 0.05})
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.08, top=0.92)
    for ax, stage in zip(axes, ("layer_3", "layer_4", "layer_5"), strict=True):
        stride = model.feature_info[stage][1]
        block = getattr(model, stage)[1]
        patch, size = block.patch_size, tuple(math.ceil(side / stride) for side in picture.shape[:2])
        if block.tiled_size(size) != size:
            raise ValueError(
                f"patches of {patch} do not tile the {size} map of {stage}: there the block stretches "
                "the map, and its pixels have no partners of their own; take an image of 256 × 256"
            )
        p = found[stage] = partners_of(y, x, size, stride, patch)
        _draw_partners(bare(ax), picture, p, stride, patch)
        ax.set_title(f"{stage}: {int(p.partners.sum())} partners")
        place = ["top-left", "top-right", "bottom-left", "bottom-right"][p.position % 4]
        where = f", {place}" if patch == (2, 2) else ""
        ax.set_xlabel(f"{stride} × {stride} pixels each{where}", fontsize=9)
    return fig, found


def _draw_partners(ax: Axes, picture: np.ndarray, p: Partners, stride: int, patch: tuple[int, int]) -> None:
    height, width = picture.shape[:2]
    ax.imshow(picture * 0.45 + 0.55, extent=(0, width, height, 0))
    colour = POSITION_COLOURS[p.position % 4]
    for row, column in p.partners.nonzero().tolist():
        corner = (column * stride, row * stride)
        ax.add_patch(Rectangle(corner, stride, stride, color=colour, alpha=0.85, lw=0))
    line = {"color": "white", "lw": min(0.8, stride / 20)}
    ax.hlines(range(0, height + 1, stride * patch[0]), 0, width, **line)
    ax.vlines(range(0, width + 1, stride * patch[1]), 0, height, **line)
    ring(ax, (p.column + 0.5) * stride, (p.row + 0.5) * stride, size=max(9, stride * 0.8))
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)


def fig_listening(
    maps: Sequence[AttentionMap], image: Tensor, y: int, x: int
) -> tuple[Figure, dict[str, PixelAttention]]:
    """How much pixel (y, x) takes from each patch, in the second transformer of each block.

    maps: as `record_attention` yields them; image [1, 3, H, W] or [3, H, W], what the network saw. The
    mean over the heads, laid over the image in grey, each picture in its own colours from 0 to its
    largest weight; the ring is the pixel.
    data: for every stage its `PixelAttention`.
    """
    found = {m.stage: attention_from_pixel(maps, y, x, (m.stage, 1)) for m in maps if m.layer == 1}
    grey = grey_photo(image, maps[0].image_size)
    fig, axes = plt.subplots(1, len(found), figsize=(8, 3.3), squeeze=False, layout="constrained")
    for ax, (stage, seen) in zip(axes[0], found.items(), strict=True):
        scale = Normalize(0, seen.weights.max().item())
        bare(ax).imshow(blend(grey, seen.on_image, scale))
        ring(ax, x, y)
        ax.set_title(f"{stage}: {seen.weights.numel()} weights")
        colours = ScalarMappable(scale, blended_colours())
        bar = fig.colorbar(colours, ax=ax, location="bottom", aspect=22, pad=0.03)
        bar.set_ticks([0, scale.vmax], labels=["0", f"{100 * scale.vmax:.2g} %"])
        bar.ax.tick_params(labelsize=9, length=0)
        for label, side in zip(bar.ax.get_xticklabels(), ("left", "right"), strict=True):
            label.set_horizontalalignment(side)
        bar.outline.set_visible(False)
    return fig, found


# number, short name, storey
COURSE = (
    ("00", "start here", "Begin"),
    ("01", "tensors that\nmove pixels", "Begin"),
    ("02", "attention", "Tokens"),
    ("03", "ViT", "Tokens"),
    ("04", "convolution\ntaken apart", "The block"),
    ("05", "light CNNs\nand the gap", "The block"),
    ("06", "the MobileViT\nblock", "The block"),
    ("07", "the whole\nnetwork", "The block"),
    ("08", "multi-scale\nsampler", "Training"),
    ("09", "training", "Training"),
    ("10", "attention\nover pixels", "Seeing"),
    ("11", "detection\nSSDLite", "Seeing"),
    ("12", "segmentation\nDeepLabv3", "Seeing"),
    ("13", "on the\nphone", "The world"),
    ("14", "the paper\non trial", "The world"),
)
PER_ROW = 5
# Dark enough for white text.
STOREY_COLOURS = ("#1f6fb0", "#a86400", "#0b7a5a", "#a84483", "#6f55bd", "#55702f")


def fig_course_map(here: str = "00") -> tuple[Figure, list[tuple[str, str, tuple[float, float]]]]:
    """The fifteen notebooks as one path; the notebook `here` is marked.

    data: (number, name, (x, y)) of every station, in reading order.
    Raises: ValueError if there is no notebook `here`.
    """
    if here not in {number for number, _, _ in COURSE}:
        raise ValueError(f"there is no notebook {here!r}: expected '00' … '{COURSE[-1][0]}'")
    fig, ax = plt.subplots(figsize=(8, 3.6))
    fig.subplots_adjust(left=0, right=1, bottom=0, top=1)
    bare(ax)
    stations = []
    for i, (number, name, _) in enumerate(COURSE):
        row, step = divmod(i, PER_ROW)
        column = step if row % 2 == 0 else PER_ROW - 1 - step
        stations.append((number, name.replace("\n", " "), (column * 1.62, -row * 1.12)))
    for (_, _, (x0, y0)), (_, _, (x1, y1)) in pairwise(stations):
        right, up = 0.7 * np.sign(x1 - x0), 0.4 * np.sign(y1 - y0)
        ends = (x1 - right, y1 - up), (x0 + right, y0 + up)
        ax.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0})
    storeys = list(dict.fromkeys(storey for _, _, storey in COURSE))
    for (number, name, storey), (_, _, (x, y)) in zip(COURSE, stations, strict=True):
        colour = STOREY_COLOURS[storeys.index(storey)]
        edge = ACCENT if number == here else "none"
        style = "round,pad=0.02,rounding_size=0.12"
        box = FancyBboxPatch((x - 0.66, y - 0.36), 1.32, 0.72, boxstyle=style, fc=colour, ec=edge, lw=3)
        ax.add_patch(box)
        ax.text(x - 0.6, y + 0.2, number, color="white", fontsize=9, fontweight="bold", va="center")
        ax.text(x, y - 0.07, name, color="white", fontsize=9, ha="center", va="center")
    for i, (storey, colour) in enumerate(zip(storeys, STOREY_COLOURS, strict=True)):
        ax.plot(-0.6 + 1.25 * i, -2.95, "s", ms=9, color=colour)
        ax.text(-0.45 + 1.25 * i, -2.95, storey.lower(), fontsize=9, va="center")
    ax.set_xlim(-0.85, 4 * 1.62 + 0.85)
    ax.set_ylim(-3.15, 0.55)
    return fig, stations
