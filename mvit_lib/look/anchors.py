"""A browser for anchors: choose a map and a cell, see its anchors over the picture."""

import io
from collections.abc import Sequence

import ipywidgets
from PIL import Image, ImageDraw
from torch import Tensor

from mvit_lib.heads.boxes import to_xyxy
from mvit_lib.look.attention_grid import to_pil
from mvit_lib.look.figures.detection_ssdlite import COLOURS, anchors_of_cell


class AnchorPanel(ipywidgets.VBox):
    """A column of widgets that shows a sentence where no kernel runs (GitHub, HTML)."""

    def __repr__(self) -> str:
        return "(two sliders over the picture: they move once this cell is run)"


def anchor_picture(
    image: Tensor, grids: Sequence[tuple[int, int]], level: int, cell: tuple[int, int]
) -> Image.Image:
    """The image, its cells at this level and the anchors of one of them; image [3, H, W]."""
    picture = to_pil(image)
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    rows, columns = grids[level]
    for k in range(rows + 1):
        draw.line((0, k * height // rows, width, k * height // rows), "white")
    for k in range(columns + 1):
        draw.line((k * width // columns, 0, k * width // columns, height), "white")
    for box, colour in zip(
        to_xyxy(anchors_of_cell(grids, (height, width), level, cell)), COLOURS, strict=False
    ):
        draw.rectangle(box.tolist(), outline="white", width=4)
        draw.rectangle(box.tolist(), outline=colour, width=2)
    return picture


def anchor_panel(image: Tensor, grids: Sequence[tuple[int, int]]) -> ipywidgets.VBox:
    """A map to choose and sliders for a cell's row and column, over `anchor_picture`.

    image [3, H, W] in [0, 1]; grids: (rows, columns) of every map.
    """
    names = [(f"{rows} × {columns}", level) for level, (rows, columns) in enumerate(grids)]
    level = ipywidgets.Dropdown(options=names, value=min(2, len(grids) - 1), description="map")
    row, column = (ipywidgets.IntSlider(value=0, min=0, max=0, description=d) for d in ("row", "column"))
    picture = ipywidgets.Image(format="png")

    def redraw(change: dict | None = None) -> None:
        rows, columns = grids[level.value]
        row.max, column.max = rows - 1, columns - 1
        stored = io.BytesIO()
        anchor_picture(image, grids, level.value, (row.value, column.value)).save(stored, "PNG")
        picture.value = stored.getvalue()

    for control in (level, row, column):
        control.observe(redraw, names="value")
    redraw()
    return AnchorPanel([level, row, column, picture])
