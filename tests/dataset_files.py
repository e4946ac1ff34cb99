"""Small datasets on disk, in the layouts of Pascal VOC and COCO."""

import json

import numpy as np
from PIL import Image


def photo(width=12, height=8, seed=0):
    """A picture of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def voc_xml(size=(12, 8), objects=()):
    """size: (width, height); objects: (name, (xmin, ymin, xmax, ymax), difficult)."""
    items = "".join(
        f"<object><name>{name}</name><difficult>{int(difficult)}</difficult><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box, difficult in objects
    )
    width, height = size
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{items}</annotation>"


def write_voc(root, samples, split="train"):
    """samples: {name: (image, XML text or mask)}; masks go to SegmentationClass."""
    for folder in (
        "JPEGImages",
        "Annotations",
        "SegmentationClass",
        "ImageSets/Main",
        "ImageSets/Segmentation",
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, (image, target) in samples.items():
        image.save(root / f"JPEGImages/{name}.png")
        (root / f"JPEGImages/{name}.png").rename(root / f"JPEGImages/{name}.jpg")  # told by content anyway
        if isinstance(target, Image.Image):
            target.save(root / f"SegmentationClass/{name}.png")
        else:
            (root / f"Annotations/{name}.xml").write_text(target, encoding="utf-8")
    for task in ("Main", "Segmentation"):
        (root / f"ImageSets/{task}/{split}.txt").write_text("".join(f"{name}\n" for name in samples))
    return root


def coco_content(objects=(), images=((3, "a.png"),), size=(12, 8), categories=((1, "cat"), (90, "mug"))):
    """objects: (image id, category id, [x, y, width, height], iscrowd)."""
    return {
        "images": [
            {"id": number, "file_name": name, "width": size[0], "height": size[1]} for number, name in images
        ],
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd, "area": 1}
            for i, (image, category, box, crowd) in enumerate(objects, start=1)
        ],
    }


def write_coco(root, content):
    """Write instances.json, and a picture for every entry that has none; gives CocoDetection's arguments."""
    for entry in content["images"]:
        path = root / "images" / entry["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            photo(entry["width"], entry["height"], seed=entry["id"]).save(path)
    (root / "instances.json").write_text(json.dumps(content))
    return root / "images", root / "instances.json"
