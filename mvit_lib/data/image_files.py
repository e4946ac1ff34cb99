"""Single image files as strangers make them: read as RGB or as a mask, or refused by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from mvit_lib.transforms import to_rgb

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")


def is_image_name(name: str) -> bool:
    """Whether a file is taken for an image: by its extension, in either case, and not if it is hidden."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def existing(path: Path) -> Path:
    """The path of a file that is there.

    Raises: FileNotFoundError if it is not, is a folder, or a link that leads nowhere.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, a folder, or a link that leads nowhere")
    return path


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file, open; what goes wrong with it becomes an error that names it."""
    try:
        with Image.open(existing(path)) as image:
            yield image
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything when a file is damaged
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def read_image(path: Path) -> Image.Image:
    """The upright RGB picture of an image file; the first one of an animation.

    Raises: FileNotFoundError if there is no such file; ValueError naming it if it is damaged, cut off,
    no image, or larger than Pillow's limit against decompression bombs.
    """
    with _opened(path) as image:
        return to_rgb(image)


def read_annotated_image(path: Path, size: tuple[int, int], annotation: Path) -> Image.Image:
    """The RGB picture as it was when an annotation for `size` = (width, height) pixels was made.

    Some annotation tools turn a picture as its EXIF says and some do not, so the size decides: upright
    where that fits, as the file stores it where only that fits.

    Raises: what read_image raises; ValueError if neither fits, or if both fit and differ.
    """
    with _opened(path) as image:
        stored, turned = image.size, image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
        picture = to_rgb(image)
        upright = picture.size
        if turned and stored == size != upright:
            del image.getexif()[ExifTags.Base.Orientation]
            picture = to_rgb(image)
    if turned and stored == size == upright:
        raise ValueError(
            f"{path} is turned by its EXIF, and the size in {annotation} does not tell whether that was "
            "made before or after the turn: save the image upright, without EXIF"
        )
    if picture.size != size:
        raise ValueError(
            f"{path} has {picture.width} × {picture.height} pixels, "
            f"but {annotation} is for {size[0]} × {size[1]}"
        )
    return picture


def read_mask(path: Path, num_classes: int) -> Image.Image:
    """The class ids of a mask file as an image of mode "L": palette files by index, never by colour.

    Raises: what read_image raises; ValueError if the mask holds colours instead of ids, or an id
    above `num_classes` other than 255.
    """
    with _opened(path) as image:
        mode, ids = image.mode, np.array(image)
    if mode not in ("P", "L"):
        raise ValueError(f"{path} has mode {mode!r}: expected a palette (P) or grey (L) image of class ids")
    wrong = ids[(ids > num_classes) & (ids != 255)]
    if wrong.size:
        raise ValueError(f"{path} holds class {wrong[0]}: expected 0 … {num_classes}, or 255 for ignore")
    return Image.fromarray(ids)
