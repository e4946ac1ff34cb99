"""A scene -> pixels: the picture, the mask and the boxes, all from the same alpha maps."""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mvit_lib.data.zoo.backgrounds import paint
from mvit_lib.data.zoo.scenes import Light, Scene
from mvit_lib.data.zoo.sprites import Sprite, bounds

SUPERSAMPLING = 3
NOISE_SIDE = 256


@dataclass(frozen=True, eq=False)
class Picture:
    """A scene in pixels.

    image: RGB. mask: uint8 [H, W], class 1…10, 0 background. boxes: float32 [M, 4] xyxy, the tight bounds
    of every animal that has pixels, ends exclusive. labels: int64 [M], 1…10.
    """

    image: Image.Image
    mask: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def render(scene: Scene, height: int, width: int) -> Picture:
    """Draw a scene at a size of at least 32 × 32 pixels; image, mask and boxes come from one composition.

    Blur and noise change the image, not the mask.
    """
    canvas, instances = compose(scene, height, width)
    classes = np.array([0, *(animal.label + 1 for animal in scene.animals)], dtype=np.uint8)
    boxes, labels = _boxes(instances, classes)
    return Picture(_develop(canvas, scene.light), classes[instances], boxes, labels)


def compose(scene: Scene, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The colours float32 [3, H, W] before light and camera, and who owns each pixel, uint8 [H, W].

    A pixel belongs to the animal of which it shows half or more: 1 + its place in `scene.animals`, 0 if
    there is none. Sizes that are not square pull the places of the animals apart, not the animals.
    """
    canvas = paint(scene.background, height, width)  # [3, H, W]
    instances = np.zeros((height, width), dtype=np.uint8)
    visible = np.zeros((height, width), dtype=np.float32)  # of the pixel's owner
    for number, sprite in enumerate((*scene.animals, *scene.foreground), start=1):
        owner = number if sprite.label is not None else 0
        if (layer := draw_sprite(sprite, height, width)) is not None:
            region, colour, alpha = layer
            _lay_over(canvas[:, *region], colour, alpha)
            _claim(instances[region], visible[region], alpha, owner)
    return canvas, instances


def draw_sprite(
    sprite: Sprite, height: int, width: int
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray] | None:
    """Where a sprite lies, its colour times alpha [3, h, w] and its alpha [h, w]; None if outside."""
    points = sprite.place(height, width)  # [n]
    left, top, right, bottom = bounds(points[: sprite.solid])
    x0, y0 = max(floor(left), 0), max(floor(top), 0)
    x1, y1 = min(ceil(right) + 1, width), min(ceil(bottom) + 1, height)
    if x0 >= x1 or y0 >= y1:
        return None
    corners = (points - complex(x0, y0)) * SUPERSAMPLING - complex(0.5, 0.5)
    corners = np.rint(corners.view(np.float64)).astype(int).tolist()  # x and y in turn
    tile = _draw_tile(sprite, corners, ((x1 - x0) * SUPERSAMPLING, (y1 - y0) * SUPERSAMPLING))
    layer = np.asarray(tile.reduce(SUPERSAMPLING)).transpose(2, 0, 1).astype(np.float32, order="C")
    layer *= np.float32(1 / 255)  # [4, h, w]
    return (slice(y0, y1), slice(x0, x1)), layer[:3], layer[3]


def _draw_tile(sprite: Sprite, corners: list[int], size: tuple[int, int]) -> Image.Image:
    """The sprite's polygons; four plain channels, so that reducing gives colour times alpha."""
    tile = Image.new("RGBX", size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(tile)
    for piece in sprite.pieces:
        for start, stop in piece.outlines:
            pen.polygon(corners[start:stop], fill=(*sprite.palette[piece.role], 255))
        if piece.marks:
            inside = Image.new("1", size)
            stencil = ImageDraw.Draw(inside)
            for start, stop in piece.outlines:
                stencil.polygon(corners[start:stop], fill=1)
            marked = tile.copy()
            brush = ImageDraw.Draw(marked)
            for (start, stop), role in piece.marks:
                brush.polygon(corners[start:stop], fill=(*sprite.palette[role], 255))
            tile.paste(marked, mask=inside)
    return tile


def _lay_over(canvas: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> None:
    """Put a layer over the canvas; its upper part is a little lighter than its lower part."""
    height = colour.shape[1]
    fall = 1.06 - np.arange(height, dtype=np.float32)[:, None] * np.float32(0.16 / height)
    canvas *= 1 - alpha
    canvas += colour * fall


def _claim(instances: np.ndarray, visible: np.ndarray, alpha: np.ndarray, owner: int) -> None:
    """Give the pixels of which half shows the new layer to it, and take those away that it covers half."""
    visible *= 1 - alpha
    np.copyto(instances, 0, where=visible < 0.5)
    gained = alpha >= 0.5
    np.copyto(instances, owner, where=gained)
    np.copyto(visible, alpha, where=gained)


def _boxes(instances: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tight boxes [M, 4] and classes [M] of the instances that have pixels."""
    boxes, labels = [], []
    for number in range(1, len(classes)):
        own = instances == number
        columns, rows = np.flatnonzero(own.any(0)), np.flatnonzero(own.any(1))
        if len(rows):
            boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
            labels.append(classes[number])
    return np.array(boxes, dtype=np.float32).reshape(-1, 4), np.array(labels, dtype=np.int64)


@lru_cache(maxsize=8)
def _noise(height: int, width: int) -> np.ndarray:
    """One tile of Gaussian noise, repeated to NOISE_SIDE more than the size: float32 [3, …, …]."""
    draw = np.random.default_rng(20211005)
    tile = draw.standard_normal((3, NOISE_SIDE, NOISE_SIDE), dtype=np.float32)
    return np.tile(tile, (1, 1 + -(-height // NOISE_SIDE), 1 + -(-width // NOISE_SIDE)))


def _develop(canvas: np.ndarray, light: Light) -> Image.Image:
    """Light, blur and noise: float [3, H, W] -> RGB."""
    height, width = canvas.shape[1:]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    dx, dy = light.slope
    gain = light.contrast * (1 + np.float32(dx) * x + np.float32(dy) * y)  # [H, W]
    canvas *= np.float32(light.tint)[:, None, None] * gain
    canvas += np.float32(0.5 * (1 - light.contrast) + light.brightness)
    if light.blur:
        blurred = ImageFilter.GaussianBlur(light.blur * min(height, width))
        canvas = np.asarray(_to_image(canvas).filter(blurred)).transpose(2, 0, 1) * np.float32(1 / 255)
    if light.noise:
        row, column = light.grain
        grain = _noise(height, width)[:, row : row + height, column : column + width]
        canvas += np.float32(light.noise) * grain
    return _to_image(canvas)


def _to_image(canvas: np.ndarray) -> Image.Image:
    """float [3, H, W], 0 black and 1 white -> RGB."""
    levels = canvas * np.float32(255) + np.float32(0.5)
    np.clip(levels, 0, 255, out=levels)
    return Image.fromarray(np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 0)))
