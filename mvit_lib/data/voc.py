"""Pascal VOC's layout, for detection and segmentation."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from mvit_lib.data.folders import FAR, AnnotatedItems, Annotation, FileItems, annotate
from mvit_lib.data.image_files import existing, is_image_name, read_annotated_image, read_mask
from mvit_lib.patches import Pair
from mvit_lib.transforms import Sample, Transform

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VOCDetection(AnnotatedItems):
    """Detection from Annotations/*.xml, ImageSets/Main/{split}.txt and JPEGImages.

    root: the folder that holds these three, or one that holds it as VOC2012 or VOCdevkit/VOC2012 (of any
    year; `year` says which where there are several). classes: the names of labels 1 … K; None takes all
    names in Annotations (of all splits), sorted. size: the paper's SSDLite takes 320. transform: None
    is the whole picture, stretched; seed: of what a transform draws. `samples` lists (image file,
    Annotation).

    VOC counts pixels from 1 and names a box by its first and last pixel: (xmin, ymin, xmax, ymax)
    becomes (xmin − 1, ymin − 1, xmax, ymax). An object marked difficult becomes crowd=True, to be left
    aside in training and evaluation. Boxes are cut at the image's border, and left out with one
    warning where nothing remains. All annotations are read at once. A picture is turned as
    its EXIF data says where the annotated size fits that.

    Raises: FileNotFoundError if a folder, list, image or annotation is missing; ValueError naming the
    file that cannot be meant. Source: Everingham et al., The Pascal Visual Object Classes Challenge.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        year: int | None = None,
        classes: Sequence[str] | None = VOC_CLASSES,
        size: Pair = 320,
        transform: Transform | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(size, transform, seed)
        folder = _voc_folder(Path(root), year)
        annotations = folder / "Annotations"
        self.classes = tuple(_class_names(annotations) if classes is None else classes)
        labels = {name: label for label, name in enumerate(self.classes, start=1)}
        self.samples = [
            (image, _annotation(annotations / f"{name}.xml", i, labels))
            for i, (name, image) in enumerate(_listed_images(folder, "Main", split))
        ]
        self._warn_of_lost_boxes()


class VOCSegmentation(FileItems):
    """Segmentation from SegmentationClass/*.png, ImageSets/Segmentation/{split}.txt and JPEGImages.

    Masks are palette PNGs, read by index: 0 background, 1 … K in the order of `classes`, 255 ignore.
    root, year, transform, seed: as in VOCDetection. size: the paper's DeepLabv3 takes 512. `samples`
    lists (image file, mask file).

    Raises: FileNotFoundError if a folder, list, image or mask is missing; and when a sample is loaded,
    ValueError if its mask holds colours or an unknown class, or has another size than its image.
    """

    task = "segment"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        year: int | None = None,
        classes: Sequence[str] = VOC_CLASSES,
        size: Pair = 512,
        transform: Transform | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(size, transform, seed)
        folder = _voc_folder(Path(root), year)
        self.classes = tuple(classes)
        self.samples = [
            (image, existing(folder / "SegmentationClass" / f"{name}.png"))
            for name, image in _listed_images(folder, "Segmentation", split)
        ]

    def load(self, index: int, size: tuple[int, int]) -> Sample:
        path, mask_path = self.samples[index]
        mask = read_mask(mask_path, len(self.classes))
        return Sample(read_annotated_image(path, mask.size, mask_path), mask=mask)


def _voc_folder(root: Path, year: int | None) -> Path:
    places = [root, *sorted(root.glob("VOC[0-9]*")), *sorted(root.glob("VOCdevkit/VOC[0-9]*"))]
    found = [place for place in places if (place / "JPEGImages").is_dir()]
    if year is not None:
        found = [place for place in found if place.name == f"VOC{year}"]
    if not found:
        there = f"{root / 'JPEGImages'}, or {root / 'VOCdevkit' / f'VOC{year or 2012}' / 'JPEGImages'}"
        raise FileNotFoundError(f"{root} holds no Pascal VOC data: expected {there}")
    if len(found) > 1:
        raise ValueError(f"{root} holds {[place.name for place in found]}: say which by year=")
    return found[0]


def _listed_images(folder: Path, task: str, split: str) -> Iterator[tuple[str, Path]]:
    """(name, image file) for every line of a split's list."""
    listing = folder / "ImageSets" / task / f"{split}.txt"
    if not listing.is_file():
        there = sorted(path.stem for path in listing.parent.glob("*.txt"))
        raise FileNotFoundError(f"{listing} is missing: the splits are {there}")
    names = listing.read_text(encoding="utf-8", errors="replace").split("\n")
    names = [name.strip() for name in names if name.strip()]
    if not names:
        raise ValueError(f"{listing} lists no image")
    images = {path.stem: path for path in (folder / "JPEGImages").iterdir() if is_image_name(path.name)}
    for name in names:
        yield name, existing(images.get(name, folder / "JPEGImages" / f"{name}.jpg"))


def _class_names(folder: Path) -> list[str]:
    files = sorted(path for path in folder.glob("*.xml") if not path.name.startswith("."))
    objects = [item for path in files for item in _parse(path).findall("object")]
    if not objects:
        raise ValueError(f"{folder} holds no object to take class names from: give classes=")
    return sorted({_name(item) for item in objects})


def _annotation(path: Path, image_id: int, labels: dict[str, int]) -> Annotation:
    root = _parse(existing(path))
    width, height = (int(_number(root, f"size/{side}", path)) for side in ("width", "height"))
    if min(width, height) < 1:
        raise ValueError(f"{path} is for an image of {width} × {height} pixels: expected at least 1 × 1")
    objects = []
    for item in root.findall("object"):
        name = _name(item)
        if name not in labels:
            raise ValueError(f"{path} has an object {name!r}: expected one of classes={tuple(labels)}")
        x0, y0, x1, y1 = (_number(item, f"bndbox/{side}", path) for side in ("xmin", "ymin", "xmax", "ymax"))
        difficult = item.findtext("difficult", "0").strip() == "1"
        objects.append(((x0 - 1, y0 - 1, x1, y1), labels[name], difficult))
    return annotate(path, image_id, (width, height), objects)


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # not XML, or in no known encoding
        raise ValueError(f"{path} cannot be read as XML: {error}") from error


def _name(item: ElementTree.Element) -> str:
    return item.findtext("name", "").strip()


def _number(element: ElementTree.Element, name: str, path: Path) -> float:
    text = element.findtext(name)
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not abs(number) < FAR:
        raise ValueError(f"{path}: {name} is {text!r}, expected a number")
    return number
