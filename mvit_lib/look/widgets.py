"""Widgets of the notebooks: core ipywidgets only, and each is driven by a plain function.

They run under ipywidgets 7.7 and 8: observers set `HTML.value`, nothing is printed or redrawn.
"""

import io
from collections.abc import Sequence
from html import escape

import ipywidgets
import torch
from matplotlib.colors import Normalize
from PIL import Image, ImageDraw
from torch import Tensor, nn

from mvit_lib.attention import AttentionMap, PixelAttention, attention_from_pixel
from mvit_lib.attention_reading import find_map, of_head
from mvit_lib.look.attention_grid import blend, grey_photo
from mvit_lib.look.explorer import attention_explorer
from mvit_lib.look.style import ACCENT, INK


def temperature_bars(scores: Tensor, tokens: Tensor, names: Sequence[str], temperature: float) -> str:
    """softmax(scores / temperature) as HTML: a bar per token, in the token's own colour.

    scores [N]; tokens [N, 3] in [0, 1], their colours. Raises: ValueError if temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature is above 0, got {temperature}")
    weights = torch.softmax(scores.double() / temperature, dim=-1)
    rows = []
    for name, weight, colour in zip(names, weights.tolist(), tokens.tolist(), strict=True):
        red, green, blue = (round(255 * channel) for channel in colour)
        bar = (
            f'<div style="width:{320 * weight:.0f}px;min-width:2px;height:16px;border:1px solid {INK};'
            f'background:rgb({red},{green},{blue})"></div>'
        )
        label = f'<td style="text-align:right">{escape(name)}</td>'
        rows.append(f'<tr>{label}<td style="width:330px">{bar}</td><td>{weight:.3f}</td></tr>')
    return f'<table style="border-spacing:6px 2px;font-size:14px">{"".join(rows)}</table>'


class _Panel(ipywidgets.VBox):
    """A column of widgets that shows a sentence where no kernel runs (GitHub, HTML)."""

    def __repr__(self) -> str:
        return "(a slider: it moves once this cell is run)"


def temperature_slider(
    scores: Tensor, tokens: Tensor, names: Sequence[str], temperature: float = 1.0
) -> ipywidgets.VBox:
    """A slider for the temperature T, 1/32 to 32, over the bars of softmax(scores / T).

    scores [N]; tokens [N, 3] in [0, 1], drawn in their own colours.
    """
    slider = ipywidgets.FloatLogSlider(
        value=temperature, base=2, min=-5, max=5, step=0.1, description="T", readout_format=".2f"
    )
    bars = ipywidgets.HTML(temperature_bars(scores, tokens, names, slider.value))

    def redraw(change: dict) -> None:
        bars.value = temperature_bars(scores, tokens, names, change["new"])

    slider.observe(redraw, names="value")
    return _Panel([slider, bars])


def attention_picture(
    maps: Sequence[AttentionMap],
    photo: Image.Image,
    y: int,
    x: int,
    layer: int | tuple[str, int] = 0,
    head: int | str = "mean",
    stretch: bool = False,
) -> Image.Image:
    """The photo under the weights that pixel (y, x) gives to its patches, twice as large, the pixel ringed.

    The colours go from 0 to the largest weight of any pixel in this layer (in any head, or in the mean
    over them); with `stretch` from the least to the largest weight of this picture.
    Raises: ValueError as `attention_from_pixel`, or if the photo is not of the size the network saw.
    """
    m = find_map(maps, layer)
    seen = attention_from_pixel(maps, y, x, layer, head)
    heads = ["mean"] if head == "mean" else range(m.weights.shape[2])
    top = max(of_head(m, h)[..., m.num_prefix :].max().item() for h in heads)
    scale = Normalize(seen.weights.min().item(), seen.weights.max().item()) if stretch else Normalize(0, top)
    colours = (255 * blend(grey_photo(photo, m.image_size), seen.on_image, scale)).round()  # [H, W, 3]
    picture = Image.fromarray(colours.astype("uint8"))
    picture = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)
    draw, (across, down) = ImageDraw.Draw(picture), (2 * x + 1, 2 * y + 1)
    for radius, colour, width in ((10, "white", 5), (9, ACCENT, 3)):
        draw.ellipse((across - radius, down - radius, across + radius, down + radius), None, colour, width)
    return picture


def attention_words(seen: PixelAttention) -> str:
    """What `attention_picture` shows, in a sentence of HTML."""
    best = int(seen.weights.argmax())
    row, column = divmod(best, seen.weights.shape[1])
    prefix = f", {100 * seen.prefix:.3g} % on the class token" if seen.prefix else ""
    return (
        f"place {seen.position} of patch {seen.token}; most weight on patch {best} (row {row}, column "
        f"{column}): <b>{100 * seen.weights.max().item():.3g} %</b>{prefix}; entropy "
        f"<b>{100 * seen.entropy:.3g} %</b> of its maximum"
    )


def attention_panel(model: nn.Module, image: Image.Image | Tensor) -> ipywidgets.VBox:
    """Sliders for a pixel's row and column, layer and head to choose, over `attention_picture`.

    The explorer for those who want Python in the loop: every move runs here, in the kernel.
    model, image: as for `attention_explorer`.
    """
    explorer = attention_explorer(model, image)
    maps, (H, W) = explorer.maps, explorer.maps[0].image_size
    row = ipywidgets.IntSlider(value=H // 2, min=0, max=H - 1, description="row y")
    column = ipywidgets.IntSlider(value=W // 2, min=0, max=W - 1, description="column x")
    layers = [(f"{m.stage}, {m.layer}", i) for i, m in enumerate(maps)]
    layer = ipywidgets.Dropdown(options=layers, value=0, description="layer")
    heads = ["mean", *range(maps[0].weights.shape[2])]
    head = ipywidgets.Dropdown(options=[(str(h), h) for h in heads], value="mean", description="head")
    stretch = ipywidgets.Checkbox(value=False, description="stretch this map")
    picture, words = ipywidgets.Image(format="png"), ipywidgets.HTML()
    controls = [row, column, layer, head, stretch]

    def redraw(change: dict | None = None) -> None:
        y, x, at, which, stretched = (control.value for control in controls)
        stored = io.BytesIO()
        attention_picture(maps, explorer.photo, y, x, at, which, stretched).save(stored, "PNG")
        picture.value = stored.getvalue()
        words.value = attention_words(attention_from_pixel(maps, y, x, at, which))

    for control in controls:
        control.observe(redraw, names="value")
    redraw()
    return _Panel([*controls, picture, words])
