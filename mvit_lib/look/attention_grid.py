"""One pixel's attention as a still picture: layers × heads over the photo, each with its entropy."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from mvit_lib.attention import AttentionMap, PixelAttention, attention_from_pixel
from mvit_lib.look.style import SEQUENTIAL, bare, ring

Layer = int | tuple[str, int]
Head = int | str


def to_pil(image: Tensor) -> Image.Image:
    """One image [3, H, W] or [1, 3, H, W] in [0, 1] as a PIL image; ValueError for another shape."""
    if image.dim() not in (3, 4) or image.shape[-3] != 3 or (image.dim() == 4 and len(image) != 1):
        raise ValueError(f"expected one image [3, H, W] or [1, 3, H, W], got {tuple(image.shape)}")
    pixels = image.detach().reshape(image.shape[-3:]).float().cpu().clamp(0, 1)  # [3, H, W]
    return Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).numpy())


def grey_photo(image: Image.Image | Tensor, size: tuple[int, int]) -> np.ndarray:
    """The photo in pale grey, to be painted on: uint8 [H, W, 3].

    image: PIL, or [3, H, W] or [1, 3, H, W] in [0, 1].
    Raises: ValueError unless it has the `size` = (H, W) that the network saw.
    """
    if isinstance(image, Tensor):
        image = to_pil(image)
    if image.size != (size[1], size[0]):
        found = f"{image.height} × {image.width}"
        raise ValueError(f"expected the image the network saw, {size[0]} × {size[1]} pixels, got {found}")
    return np.asarray(image.convert("L").convert("RGB"))


def plot_attention(
    maps: Sequence[AttentionMap],
    image: Image.Image | Tensor,
    y: int,
    x: int,
    *,
    layers: Sequence[Layer] | None = None,
    heads: Sequence[Head] | None = None,
    common_scale: bool = False,
) -> tuple[Figure, dict[tuple[Layer, Head], PixelAttention]]:
    """What pixel (y, x) of the image listens to: a row for each layer, a column for each head.

    maps: as `record_attention` yields them; image: what the network saw, PIL or [3, H, W]. layers,
    heads: which ones, all of them and their mean by default. Every picture has its own colours from 0 to
    its largest weight, or all of them one scale. Under it stands the entropy as a share of its maximum:
    at 100 % all patches weigh the same, however lively the colours. The ring is the pixel.
    data: (layer, head) -> `PixelAttention`.
    Raises: ValueError if the image has another size, or the pixel, a layer or a head does not exist.
    """
    layers = list(layers) if layers is not None else [(m.stage, m.layer) for m in maps]
    heads = list(heads) if heads is not None else ["mean", *range(maps[0].weights.shape[2])]
    data = {(row, head): attention_from_pixel(maps, y, x, row, head) for row in layers for head in heads}
    photo = grey_photo(image, maps[0].image_size)
    top = max(seen.weights.max().item() for seen in data.values())
    cell = 7.5 / max(len(heads), 2)
    height = len(layers) * (cell * photo.shape[0] / photo.shape[1] + (0.3 if common_scale else 0.58)) + 0.35
    fig, axes = plt.subplots(
        len(layers), len(heads), figsize=(8, height), squeeze=False, layout="constrained"
    )
    for row, line in zip(layers, axes, strict=True):
        for head, ax in zip(heads, line, strict=True):
            seen = data[row, head]
            scale = Normalize(0, top if common_scale else seen.weights.max().item())
            _draw(ax, photo, seen, scale, (y, x))
            if not common_scale:
                _bar(fig, scale, [ax], "bottom")
        name = row if isinstance(row, int) else f"{row[0]}/{row[1]}"
        line[0].set_ylabel(f"layer {name}" if isinstance(row, int) else name, fontsize=9)
    for head, ax in zip(heads, axes[0], strict=True):
        ax.set_title(head if isinstance(head, str) else f"head {head}", fontsize=10)
    if common_scale:
        _bar(fig, Normalize(0, top), axes.ravel().tolist(), "right")
    return fig, data


def blend(photo: np.ndarray, weights: Tensor, scale: Normalize) -> np.ndarray:
    """The photo under the colours of the weights [H, W]: float [H, W, 3] in [0, 1].

    Small weights cover the photo less, and a weight of 0 leaves it bare.
    """
    u = np.clip(scale(weights.float().cpu().numpy()).filled(0), 0, 1)  # [H, W]
    colours = plt.get_cmap(SEQUENTIAL)(u)[..., :3]  # [H, W, 3]
    cover = 0.85 * np.sqrt(u[..., None])  # [H, W, 1]
    return np.clip(cover * colours + (1 - cover) * photo / 255, 0, 1)  # float32 may pass 1 by a hair


def blended_colours() -> ListedColormap:
    """The colours of `blend` over a white photo, from 0 to the largest weight: for a colour bar beside it."""
    white, ramp = np.full((1, 256, 3), 255), torch.linspace(0, 1, 256)[None]
    return ListedColormap(blend(white, ramp, Normalize(0, 1))[0])


def _draw(ax: Axes, photo: np.ndarray, seen: PixelAttention, scale: Normalize, at: tuple[int, int]) -> None:
    bare(ax).imshow(blend(photo, seen.on_image, scale))
    ring(ax, at[1], at[0], 9)
    ax.set_xlim(-0.5, photo.shape[1] - 0.5)
    ax.set_ylim(photo.shape[0] - 0.5, -0.5)
    ax.set_xlabel(f"entropy {100 * seen.entropy:.3g} %", fontsize=9)


def _bar(fig: Figure, scale: Normalize, axes: list[Axes], side: str) -> None:
    """A colour bar with its ends in per cent."""
    wide = side == "bottom"
    colours = ScalarMappable(scale, blended_colours())
    bar = fig.colorbar(colours, ax=axes, location=side, pad=0.03, fraction=0.05,
                       aspect=22 if wide else 30, shrink=1 if wide else 0.8)  # fmt: skip
    bar.set_ticks([0, scale.vmax], labels=["0", f"{100 * scale.vmax:.3g} %"])
    bar.ax.tick_params(labelsize=9, length=0)
    bar.outline.set_visible(False)
    if wide:
        for label, where in zip(bar.ax.get_xticklabels(), ("left", "right"), strict=True):
            label.set_horizontalalignment(where)
