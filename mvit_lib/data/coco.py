"""COCO's layout, for detection."""

import json
from pathlib import Path
from typing import Any

from mvit_lib.data.folders import FAR, AnnotatedItems, Annotation, annotate
from mvit_lib.data.image_files import existing
from mvit_lib.patches import Pair
from mvit_lib.transforms import Transform


class CocoDetection(AnnotatedItems):
    """Detection from a folder of images and an instances_*.json.

    COCO's category ids have gaps: labels 1 … K take them in ascending order, `classes[label - 1]` is the
    name and `category_ids[label - 1]` the id in the file. Images come in ascending order of their id,
    also those without objects; `image_id(index)` is that id. `samples` lists (image file, Annotation).

    bbox (x, y, width, height) becomes xyxy, iscrowd becomes crowd. Boxes are cut at the image's border,
    and left out with one warning where nothing remains. A picture is turned as its EXIF data says where
    the size in the file fits that.

    size: the paper's SSDLite takes 320. transform: None is the whole picture, stretched;
    seed: of what a transform draws.

    Raises: FileNotFoundError if the file or an image is missing; ValueError naming the file if it is
    not of this form, uses an id twice, or has an object of an unknown image or category.
    Source: Lin et al., Microsoft COCO.
    """

    def __init__(
        self,
        images: str | Path,
        annotations: str | Path,
        *,
        size: Pair = 320,
        transform: Transform | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(size, transform, seed)
        path = existing(Path(annotations))
        content = _parse(path)
        categories = _by_id(content, "categories", path)
        self.category_ids = tuple(categories)
        self.classes = tuple(str(_get(record, "name", path)) for record in categories.values())
        records = _by_id(content, "images", path)
        objects = _objects(_list(content, "annotations", path), records, self.category_ids, path)
        self.samples = [_sample(Path(images), record, objects[key], path) for key, record in records.items()]
        if not self.samples:
            raise ValueError(f"{path} lists no images")
        self._warn_of_lost_boxes()


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error


def _get(record: Any, key: str, path: Path) -> Any:
    if not isinstance(record, dict) or key not in record:
        raise ValueError(f"{path}: {str(record)[:100]} lacks {key!r}")
    return record[key]


def _list(content: Any, key: str, path: Path) -> list[Any]:
    records = _get(content, key, path)
    if not isinstance(records, list):
        raise ValueError(f"{path}: {key!r} is {str(records)[:100]}, expected a list")
    return records


def _by_id(content: Any, key: str, path: Path) -> dict[int, Any]:
    """The records of a list by their id, in ascending order."""
    found: dict[int, Any] = {}
    for record in _list(content, key, path):
        number = _get(record, "id", path)
        if not isinstance(number, int) or number in found:
            raise ValueError(f"{path}: id {number!r} in {key!r} is no whole number, or used twice")
        found[number] = record
    return dict(sorted(found.items()))


def _objects(
    annotations: list[Any], images: dict[int, Any], category_ids: tuple[int, ...], path: Path
) -> dict[int, list[tuple]]:
    """(xyxy, label, crowd) of every object, by image id."""
    labels = {number: label for label, number in enumerate(category_ids, start=1)}
    objects: dict[int, list[tuple]] = {number: [] for number in images}
    for record in annotations:
        image, category = _get(record, "image_id", path), _get(record, "category_id", path)
        if not isinstance(image, int) or image not in objects:
            raise ValueError(f"{path}: annotation {record.get('id')} is for the unknown image {image!r}")
        if not isinstance(category, int) or category not in labels:
            raise ValueError(f"{path}: annotation {record.get('id')} has the unknown category {category!r}")
        objects[image].append((_corners(record, path), labels[category], bool(record.get("iscrowd", 0))))
    return objects


def _corners(record: dict[str, Any], path: Path) -> tuple[float, float, float, float]:
    box = _get(record, "bbox", path)
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_pixels, box))):
        raise ValueError(
            f"{path}: annotation {record.get('id')} has bbox {box!r}, expected [x, y, width, height]"
        )
    x, y, width, height = box
    return x, y, x + width, y + height


def _is_pixels(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < FAR


def _sample(
    images: Path, record: dict[str, Any], objects: list[tuple], path: Path
) -> tuple[Path, Annotation]:
    size = _get(record, "width", path), _get(record, "height", path)
    if not all(isinstance(side, int) and side >= 1 for side in size):
        raise ValueError(f"{path}: image {record['id']} has {size[0]!r} × {size[1]!r} pixels")
    image = existing(images / str(_get(record, "file_name", path)))
    return image, annotate(path, record["id"], size, objects)
