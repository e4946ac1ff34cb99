"""A scene -> pixels: the picture, the mask and the boxes, all from the same alpha maps."""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor

import numpy as np
from PIL import Image, ImageFilter

from mvit_lib.data.zoo.backgrounds import channels_of, paint
from mvit_lib.data.zoo.scenes import Light, Scene
from mvit_lib.data.zoo.shapes import bounds
from mvit_lib.data.zoo.sprites import Sprite, corners_of, pen_on, picture_of

SUPERSAMPLING = 3
NOISE_SIDE = 256
WINDOW = 255  # no colour's number: where marks are to be seen


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
    return Picture(_develop(canvas, scene.light), classes.take(instances), boxes, labels)


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
            rest = 1 - alpha
            _lay_over(canvas[:, *region], colour, rest)
            _claim(instances[region], visible[region], alpha, rest, owner)
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
    corners = corners_of((points - complex(x0, y0)) * SUPERSAMPLING - (0.5 + 0.5j))
    tile = _draw_tile(sprite, corners, (y1 - y0) * SUPERSAMPLING, (x1 - x0) * SUPERSAMPLING)
    layer = _reduced(tile, [(0, 0, 0, 0), *((*colour, 255) for colour in sprite.palette.values())])
    return (slice(y0, y1), slice(x0, x1)), layer[:3], layer[3]


def _draw_tile(sprite: Sprite, corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """The number of its colour in the sprite's palette, from 1, for every pixel; 0 outside: uint8 [H, W]."""
    tile, marked = np.zeros((2, height, width), dtype=np.uint8)
    pen, brush = pen_on(tile), pen_on(marked)
    ink = {role: number for number, role in enumerate(sprite.palette, start=1)}
    for piece in sprite.pieces:
        colour = WINDOW if piece.marks else ink[piece.role]
        for outline in piece.outlines:
            pen.draw_polygon(corners[outline], colour, 1)
        if piece.marks:  # drawn on a sheet of their own, which lies behind the window
            marked.fill(ink[piece.role])
            for mark, role in piece.marks:
                brush.draw_polygon(corners[mark], ink[role], 1)
            # Much faster than copying where a mask is true: the mask becomes 255, each bit is exchanged.
            tile ^= (tile ^ marked) & -(tile == WINDOW).view(np.uint8)
    return tile


def _reduced(tile: np.ndarray, colours: list[tuple[int, ...]]) -> np.ndarray:
    """The mean colour of 3 × 3 pixels each: numbers of colours [3·h, 3·w] -> float32 [4, h, w] in [0, 1].

    To the bit what Pillow's `reduce` makes of four plain channels; the first three come out times alpha.
    The four are added all at once, as parts of one number, and those of three rows looked up in a table.
    """
    ink, n = np.array(colours, dtype=np.uint16).view(np.uint64)[:, 0], len(colours)
    sums_of_three = (ink[:, None, None] + ink[:, None] + ink).reshape(-1)  # [n³]
    three = tile[::3].astype(np.uint16)
    for row in (tile[1::3], tile[2::3]):
        three *= n
        three += row
    rows = sums_of_three.take(three)  # [h, 3·w]
    sums = (rows[:, ::3] + rows[:, 1::3] + rows[:, 2::3])[..., None].view(np.uint16)  # [h, w, 4]
    # Pillow multiplies by a little less than 1/9 instead of dividing, which rounds 5/9 down.
    return channels_of((sums + 3) // 9)


@lru_cache(maxsize=256)
def _fall(height: int) -> np.ndarray:
    """How light an animal is from its upper to its lower edge: float32 [height, 1]."""
    return 1.06 - np.arange(height, dtype=np.float32)[:, None] * np.float32(0.16 / height)


def _lay_over(canvas: np.ndarray, colour: np.ndarray, rest: np.ndarray) -> None:
    """Put a layer over the `rest` of the canvas; its upper part is a little lighter than its lower part."""
    canvas *= rest
    canvas += colour * _fall(colour.shape[1])


def _claim(
    instances: np.ndarray, visible: np.ndarray, alpha: np.ndarray, rest: np.ndarray, owner: int
) -> None:
    """Give the pixels of which half shows the new layer to it, and take those away that it covers half."""
    visible *= rest
    np.copyto(instances, 0, where=visible < 0.5)
    gained = alpha >= 0.5
    np.copyto(instances, owner, where=gained)
    np.copyto(visible, alpha, where=gained)


def _boxes(instances: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tight boxes [M, 4] and classes [M] of the instances that have pixels."""
    boxes, labels = [], []
    for number in range(1, len(classes)):
        if box := picture_of((instances == number).view(np.uint8)).getbbox():
            boxes.append(box)
            labels.append(classes[number])
    return np.array(boxes, dtype=np.float32).reshape(-1, 4), np.array(labels, dtype=np.int64)


@lru_cache(maxsize=8)
def _noise(height: int, width: int) -> np.ndarray:
    """One tile of Gaussian noise, repeated to NOISE_SIDE more than the size: float32 [3, …, …]."""
    draw = np.random.default_rng(20211005)
    tile = draw.standard_normal((3, NOISE_SIDE, NOISE_SIDE), dtype=np.float32)
    return np.tile(tile, (1, 1 + -(-height // NOISE_SIDE), 1 + -(-width // NOISE_SIDE)))


@lru_cache(maxsize=64)
def _ramp(n: int) -> np.ndarray:
    return np.linspace(-0.5, 0.5, n, dtype=np.float32)  # [n]


def _develop(canvas: np.ndarray, light: Light) -> Image.Image:
    """Light, blur and noise: float [3, H, W] -> RGB."""
    height, width = canvas.shape[1:]
    dx, dy = light.slope
    gain = light.contrast * (1 + np.float32(dx) * _ramp(width) + np.float32(dy) * _ramp(height)[:, None])
    canvas *= np.float32(light.tint)[:, None, None] * gain
    canvas += np.float32(0.5 * (1 - light.contrast) + light.brightness)
    if light.blur:
        blurred = ImageFilter.GaussianBlur(light.blur * min(height, width))
        canvas = channels_of(np.asarray(_to_image(canvas).filter(blurred)))
    if light.noise:
        row, column = light.grain
        grain = _noise(height, width)[:, row : row + height, column : column + width]
        canvas += np.float32(light.noise) * grain
    return _to_image(canvas)


def _to_image(canvas: np.ndarray) -> Image.Image:
    """float [3, H, W], 0 black and 1 white -> RGB; the canvas is used up."""
    canvas *= np.float32(255)
    canvas += np.float32(0.5)
    np.clip(canvas, 0, 255, out=canvas)
    return Image.merge("RGB", [picture_of(plane) for plane in canvas.astype(np.uint8)])
