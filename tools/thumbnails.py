"""Small pictures for the course map, one for each notebook: a figure of its own, small and without words."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import skimage.data
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageChops, ImageDraw
from torch import Tensor

from mvit_lib import load_weights
from mvit_lib.attention import AttentionMap, attention_rollout, even_attention, record_attention
from mvit_lib.cost import Cost
from mvit_lib.course.tables import load_runs, load_table
from mvit_lib.data import PixelZoo
from mvit_lib.layers import attention_weights
from mvit_lib.look.figures import (
    attention,
    attention_over_pixels,
    convolution_is_unfold_matmul_fold,
    detection_ssdlite,
    mobilenetv2_and_the_gap,
    mobilevit_block,
    multi_scale_sampler,
    segmentation_deeplabv3,
    start_here,
    tensors_that_move_pixels,
    the_whole_network,
    training,
    vit,
)
from mvit_lib.look.style import INK
from mvit_lib.patches import unfold_patches

SIZE, DPI = (288, 180), 100
COLOURS = 128
Drawn = tuple[Figure, Any]


def redraw(drawn: Drawn, *keep: int, window: tuple[float, ...] | None = None, fill: bool = False) -> Drawn:
    """The figure at the size of a thumbnail, on its tile, with only the axes `keep` and no words.

    window: left, right, bottom, top of the part of the first axes that is shown. fill: the picture covers
    the whole tile; otherwise the axes stand side by side, with a margin.
    """
    figure, data = drawn
    figure.set_layout_engine("none")
    figure.set_size_inches(SIZE[0] / DPI, SIZE[1] / DPI)
    axes = [figure.axes[i] for i in keep or (0,)]
    for ax in set(figure.axes) - set(axes):
        ax.remove()
    for text in figure.findobj(Text):
        text.set_text("")  # and not hidden: the arrows of annotations stay
    if window:
        axes[0].set(xlim=window[:2], ylim=window[2:])
    margin, gap = ((0.0, 0.0), 0.0) if fill else ((0.05, 0.08), 0.04)
    width = (1 - 2 * margin[0] - gap * (len(axes) - 1)) / len(axes)
    for i, ax in enumerate(axes):
        ax.set(xticks=[], yticks=[])
        ax.set_position((margin[0] + i * (width + gap), margin[1], width, 1 - 2 * margin[1]))
    return figure, data


def save(figure: Figure, path: Path) -> None:
    """On a tile that is a little darker than a light page and lighter than a dark one, its corners round."""
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=DPI, facecolor=to_rgba(INK, 0.13))
    picture = Image.open(full)
    corners = Image.new("L", (4 * SIZE[0], 4 * SIZE[1]))
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, 4 * SIZE[0] - 1, 4 * SIZE[1] - 1), 4 * 10, fill=255)
    picture.putalpha(ImageChops.multiply(picture.getchannel("A"), corners.resize(SIZE, Image.Resampling.BOX)))
    if len(picture.getcolors(SIZE[0] * SIZE[1])) > 4 * COLOURS:
        picture = picture.quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
    picture.save(path, "PNG", optimize=True)


def recorded(index: int) -> tuple[list[AttentionMap], Tensor]:
    """What the trained network listens to in a scene [3, 256, 256] of PixelZoo."""
    model, scene = load_weights("pixelzoo-xxs"), PixelZoo("test", size=256)[index][0]
    with torch.no_grad(), record_attention(model) as maps:
        model(scene[None])
    return list(maps), scene


def cat_heard() -> Drawn:
    """What the pixel beside the drawn cat listens to, in layer_4."""
    return redraw(start_here.fig_listening(*recorded(335), 100, 112), 1, window=(0, 256, 208, 48), fill=True)


def unfold_against_reshape() -> Drawn:
    """The pixels that come into one row: by reshape a band, by unfold one place of every patch."""
    numbers = torch.arange(64).reshape(8, 8)  # [H, W]
    places = unfold_patches(numbers[None, None], 2)[0, :, :, 0]  # [P, N]
    rows = {"reshape": numbers.reshape(4, 16), "unfold": places}
    return redraw(tensors_that_move_pixels.fig_same_row(numbers, rows, 18, (2, 2)), 0, 1)


def six_tokens() -> Drawn:
    """The table of weights of notebook 02: six colours that ask for one another."""
    x = torch.tensor([[1, 0, 0], [1, 0.5, 0], [0, 1, 0], [0, 0.5, 0], [0, 0, 1], [1, 1, 1]])  # [N, D]
    offered = x @ (3 * torch.eye(3) - 1)
    asked = x @ (3 * torch.eye(3) - 1).roll(1, dims=1)
    weights = attention_weights(asked, offered)  # [N, N]
    return redraw(attention.fig_attention(x, weights, [""] * 6), window=(-1.5, 7.6, 5.6, -1.5))


def photo_in_patches() -> Drawn:
    """A photo cut into patches, three of them marked."""
    photo = torch.from_numpy(skimage.data.chelsea()[30:270, 40:424]) / 255  # [H, W, C]
    patches = vit.fig_patches(photo.permute(2, 0, 1)[None], 48, marked=(9, 19, 29))
    return redraw(patches, 0, fill=True)


def costs_of_s() -> dict[str, Cost]:
    """Parameters and MACs of the stages of S."""
    rows = [row for row in load_table("mobilevit_counts") if row["size"] == "S"]
    return {row["part"]: Cost(row["parameters"], row["macs"]) for row in rows}


def rollout_of_a_butterfly() -> Drawn:
    """A scene and where its answer comes from, against even attention: red is more."""
    maps, scene = recorded(23)
    share = attention_rollout(maps) / attention_rollout(even_attention(maps))  # [H, W]
    return redraw(attention_over_pixels.fig_rollouts([scene], {"rollout ÷ even": [share]}), 0, 1)


def coloured_animals() -> Drawn:
    """A scene and its mask."""
    data = PixelZoo("test", task="segment", size=128)
    scene, mask = data[14]
    rows = {"picture": None, "truth": [mask]}
    return redraw(segmentation_deeplabv3.fig_masks([scene], rows, ("background", *data.classes)), 0, 1)


# One line for each notebook.
THUMBNAILS: dict[str, Callable[[], Drawn]] = {
    "00": cat_heard,
    "01": unfold_against_reshape,
    "02": six_tokens,
    "03": photo_in_patches,
    "04": lambda: redraw(
        convolution_is_unfold_matmul_fold.fig_convolution_matrix(torch.tensor([[1.0, 2], [3, 4]]), (3, 4)),
        window=(1.9, 14.1, 7.7, 1.5),
    ),
    "05": lambda: redraw(
        mobilenetv2_and_the_gap.fig_pyramid([(3, 1), (3, 2), (3, 1)]), window=(-5.5, 5.5, -3.6, 0.35)
    ),
    "06": lambda: redraw(mobilevit_block.fig_places((4, 6), (1, 2)), window=(-0.1, 6.1, 4.1, -0.1)),
    "07": lambda: redraw(the_whole_network.fig_stages(costs_of_s()), 0, 1),
    "08": lambda: redraw(multi_scale_sampler.fig_same_pixels(2, 9, (2, 1)), 0, 1),
    "09": lambda: redraw(training.fig_log(load_runs("log_pixelzoo-xxs"))),
    "10": rollout_of_a_butterfly,
    "11": lambda: redraw(
        detection_ssdlite.fig_two_boxes(torch.tensor([1.0, 1, 5, 4]), torch.tensor([3.0, 2, 7, 6])),
        window=(0.3, 7.7, 6.4, 0.6),
    ),
    "12": coloured_animals,
}
