"""Files as the world makes them: read right, or refused by their name, in the main process and in workers."""

import io
import json
import re
import warnings
import zlib

import numpy as np
import pytest
import torch
from dataset_files import coco_content, photo, voc_xml, write_coco, write_voc
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mvit_lib.data import CocoDetection, ImageFolder, VOCDetection, VOCSegmentation
from mvit_lib.data.image_files import read_image

BOX = ("cat", (1, 1, 4, 4), False)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def class_folder(root, name, content):
    """A good image and one file more."""
    (root / "a").mkdir()
    photo().save(root / "a/good.png")
    (root / "a" / name).write_bytes(content)
    return lambda: ImageFolder(root, size=8)


def voc(root, annotation):
    write_voc(root, {"good": (photo(), voc_xml(objects=[BOX])), "bad": (photo(), annotation)})
    return lambda: VOCDetection(root, size=8)


def masks(root, mask):
    write_voc(root, {"good": (photo(), Image.new("L", (12, 8), 20)), "bad": (photo(), mask)})
    return lambda: VOCSegmentation(root, size=8)


def coco(root, content):
    folder, annotations = write_coco(root, content)
    return lambda: CocoDetection(folder, annotations, size=8)


def without(make, path):
    path.unlink()
    return make


def bomb():
    """A PNG of 60,000 × 60,000 pixels in 200 bytes: it says so, but need not hold them."""
    small = encoded(Image.new("1", (1, 1)), "PNG")
    header = b"IHDR" + (60_000).to_bytes(4) * 2 + small[24:29]
    return small[:12] + header + zlib.crc32(header).to_bytes(4) + small[33:]


def linked(root):
    make = class_folder(root, "x.jpg", b"")
    (root / "a/x.jpg").unlink()
    (root / "a/x.jpg").symlink_to(root / "gone.jpg")
    return make


def folder_for_a_file(root):
    make = without(voc(root, voc_xml()), root / "JPEGImages/bad.jpg")
    (root / "JPEGImages/bad.jpg").mkdir()
    return make


def file_of_text(root, text):
    folder, annotations = write_coco(root, coco_content())
    annotations.write_text(text)
    return lambda: CocoDetection(folder, annotations, size=8)


def coco_with(root, **changes):
    return file_of_text(root, json.dumps(coco_content([(3, 90, [1, 1, 4, 4], 0)]) | changes))


def coco_box(root, box):
    return coco(root, coco_content([(3, 90, box, 0)]))


def turned_square(root):
    make = voc(root, voc_xml((8, 8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(8, 8).save(root / "JPEGImages/bad.jpg", exif=exif)
    return make


JPEG = encoded(photo(120, 80), "JPEG")
PNG = encoded(photo(120, 80), "PNG")
RECORD = {"id": 1, "image_id": 3, "category_id": 90, "bbox": [1, 1, 4, 4]}
ENTRY = {"id": 3, "file_name": "a.png", "width": 12, "height": 8}

# kind -> (what makes the dataset, what the message must hold: the file's name, and what is wrong with it)
REFUSED = {
    "truncated JPEG": (lambda p: class_folder(p, "x.jpg", JPEG[: len(JPEG) // 2]), r"x\.jpg .*truncated"),
    "truncated PNG": (lambda p: class_folder(p, "x.png", PNG[: len(PNG) // 2]), r"x\.png cannot be read"),
    "zero bytes": (lambda p: class_folder(p, "x.jpg", b""), r"x\.jpg cannot be read"),
    "text named .jpg": (lambda p: class_folder(p, "x.jpg", b"hello"), r"x\.jpg cannot be read"),
    "bit rot in a PNG": (lambda p: class_folder(p, "x.png", PNG[:90] + b"rot" + PNG[93:]), r"x\.png cannot"),
    "decompression bomb": (lambda p: class_folder(p, "x.png", bomb()), r"x\.png .*decompression bomb"),
    "32-bit image": (
        lambda p: class_folder(p, "x.tif", encoded(Image.new("I", (4, 4)), "TIFF")),
        r"x\.tif .*mode 'I'",
    ),
    "broken link": (linked, r"x\.jpg is missing.*link"),
    "unreadable XML": (lambda p: voc(p, "<annotation><size>"), r"bad\.xml cannot be read as XML"),
    "empty XML": (lambda p: voc(p, ""), r"bad\.xml cannot be read as XML"),
    "XML in no encoding": (lambda p: voc(p, '<?xml version="1.0" encoding="x"?><a/>'), r"bad\.xml cannot"),
    "XML without size": (lambda p: voc(p, "<annotation/>"), r"bad\.xml: size/width is None"),
    "XML of size 0": (lambda p: voc(p, voc_xml((0, 0))), r"bad\.xml is for an image of 0 × 0"),
    "XML of another size": (
        lambda p: voc(p, voc_xml((8, 12))),
        r"bad\.jpg has 12 × 8 .*bad\.xml is for 8 × 12",
    ),
    "XML with an unknown class": (
        lambda p: voc(p, voc_xml(objects=[("dragon", (1, 1, 2, 2), False)])),
        r"bad\.xml has an object 'dragon'",
    ),
    "XML object without box": (
        lambda p: voc(p, voc_xml().replace("</size>", "</size><object><name>cat</name></object>")),
        r"bad\.xml: bndbox/xmin is None",
    ),
    "text for a coordinate": (
        lambda p: voc(p, voc_xml(objects=[("cat", (1, "two", 3, 4), False)])),
        r"bad\.xml: bndbox/ymin is 'two'",
    ),
    "NaN for a coordinate": (
        lambda p: voc(p, voc_xml(objects=[("cat", (1, 2, "nan", 4), False)])),
        r"bad\.xml: bndbox/xmax is 'nan'",
    ),
    "image missing": (
        lambda p: without(voc(p, voc_xml()), p / "JPEGImages/bad.jpg"),
        r"bad\.jpg is missing",
    ),
    "annotation missing": (
        lambda p: without(voc(p, voc_xml()), p / "Annotations/bad.xml"),
        r"bad\.xml is missing",
    ),
    "list missing": (
        lambda p: without(voc(p, voc_xml()), p / "ImageSets/Main/train.txt"),
        r"train\.txt is missing",
    ),
    "folder named bad.jpg": (folder_for_a_file, r"bad\.jpg is missing, a folder"),
    "square turned by EXIF": (turned_square, r"bad\.jpg is turned by its EXIF"),
    "mask missing": (
        lambda p: without(masks(p, Image.new("P", (12, 8))), p / "SegmentationClass/bad.png"),
        r"bad\.png is missing",
    ),
    "mask of another size": (
        lambda p: masks(p, Image.new("P", (8, 12))),
        r"bad\.jpg has 12 × 8 .*bad\.png is for 8 × 12",
    ),
    "mask in colours": (lambda p: masks(p, photo()), r"bad\.png has mode 'RGB'"),
    "mask in RGBA": (lambda p: masks(p, photo().convert("RGBA")), r"bad\.png has mode 'RGBA'"),
    "mask of 16 bits": (
        lambda p: masks(p, Image.fromarray(np.zeros((8, 12), np.uint16))),
        r"bad\.png has mode 'I;16'",
    ),
    "mask with an unknown class": (
        lambda p: masks(p, Image.new("L", (12, 8), 21)),
        r"bad\.png holds class 21",
    ),
    "broken JSON": (lambda p: file_of_text(p, '{"images": ['), r"instances\.json cannot be read as JSON"),
    "JSON of another kind": (
        lambda p: file_of_text(p, "[1, 2]"),
        r"instances\.json: \[1, 2\] lacks 'categories'",
    ),
    "JSON with images as a number": (lambda p: coco_with(p, images=7), r"instances\.json: 'images' is 7"),
    "JSON without images": (
        lambda p: coco_with(p, images=[], annotations=[]),
        r"instances\.json lists no im",
    ),
    "COCO image missing": (
        lambda p: without(coco(p, coco_content()), p / "images/a.png"),
        r"a\.png is missing",
    ),
    "COCO image of another size": (
        lambda p: coco_with(p, images=[ENTRY | {"width": 13}]),
        r"a\.png has 12 × 8 .*instances\.json is for 13 × 8",
    ),
    "COCO image without size": (
        lambda p: coco_with(p, images=[ENTRY | {"height": None}]),
        r"instances\.json: image 3 has 12 × None",
    ),
    "COCO image ids used twice": (
        lambda p: coco_with(p, images=[ENTRY, ENTRY | {"file_name": "b.png"}]),
        r"instances\.json: id 3 in 'images' .*twice",
    ),
    "COCO category ids used twice": (
        lambda p: coco_with(p, categories=[{"id": 90, "name": "cat"}, {"id": 90, "name": "mug"}]),
        r"instances\.json: id 90 in 'categories' .*twice",
    ),
    "COCO id in text": (lambda p: coco_with(p, images=[ENTRY | {"id": "3"}]), r"instances\.json: id '3'"),
    "COCO object of an unknown image": (
        lambda p: coco_with(p, annotations=[RECORD | {"image_id": 4}]),
        r"instances\.json: annotation 1 is for the unknown image 4",
    ),
    "COCO object of an unknown category": (
        lambda p: coco_with(p, annotations=[RECORD | {"category_id": 2}]),
        r"instances\.json: annotation 1 has the unknown category 2",
    ),
    "COCO object without bbox": (
        lambda p: coco_with(p, annotations=[{k: v for k, v in RECORD.items() if k != "bbox"}]),
        r"instances\.json: .*lacks 'bbox'",
    ),
    "COCO bbox of three numbers": (
        lambda p: coco_box(p, [1, 2, 3]),
        r"json: annotation 1 has bbox \[1, 2, 3\]",
    ),
    "COCO bbox with text": (lambda p: coco_box(p, [1, 2, 3, "4"]), r"json: annotation 1 has bbox .*'4'"),
    "COCO bbox with NaN": (lambda p: coco_box(p, [1, 2, 3, float("nan")]), r"json: annotation 1 has .*nan"),
    "COCO bbox beyond all numbers": (
        lambda p: coco_box(p, [1, 2, 3, 10**400]),
        r"json: annotation 1 has bbox",
    ),
    "class folder without images": (
        lambda p: ((p / "a").mkdir(), (p / "a/x.txt").touch(), lambda: ImageFolder(p))[-1],
        r"class folder .*a holds no image",
    ),
    "root without class folders": (lambda p: lambda: ImageFolder(p), "holds no class folders"),
    "root missing": (lambda p: lambda: ImageFolder(p / "gone"), "gone is no folder"),
    "root of splits": (
        lambda p: ((p / "train").mkdir(), (p / "val").mkdir(), lambda: ImageFolder(p))[-1],
        r"holds the splits \['train', 'val'\]",
    ),
    "classes= without a folder": (
        lambda p: ((p / "cat").mkdir(), lambda: ImageFolder(p, classes=["dog"]))[-1],
        "'dog' is no folder",
    ),
    "classes= with one twice": (
        lambda p: ((p / "cat").mkdir(), lambda: ImageFolder(p, classes=["cat", "cat"]))[-1],
        "'cat' is no folder .*named twice",
    ),
    "no VOC folder": (lambda p: lambda: VOCDetection(p), "holds no Pascal VOC data"),
}
MISSING = {"broken link", "image missing", "annotation missing", "list missing", "folder named bad.jpg"}
MISSING |= {"mask missing", "COCO image missing", "root missing", "no VOC folder"}


class Readings(Dataset):
    """Item i makes dataset i and reads it from end to end."""

    def __init__(self, makes):
        self.makes = makes

    def __len__(self):
        return len(self.makes)

    def __getitem__(self, index):
        dataset = self.makes[index]()
        return [dataset[i][0] for i in range(len(dataset))]


def read_all(makes, workers):
    """For each: the images, or the type and the text of the error. One worker lives through all of them."""
    items, found = iter(DataLoader(Readings(makes), batch_size=None, num_workers=workers)), []
    while True:
        try:
            found.append(next(items))
        except StopIteration:
            return found
        except Exception as error:
            found.append((type(error), str(error)))


@pytest.fixture(scope="module", params=[0, 1], ids=["here", "in a worker"])
def refusals(request, tmp_path_factory):
    makes = [make(tmp_path_factory.mktemp("refused")) for make, _ in REFUSED.values()]
    return dict(zip(REFUSED, read_all(makes, request.param), strict=True))


@pytest.mark.parametrize("kind", REFUSED)
def test_is_refused_by_name(kind, refusals):
    error_type, said = refusals[kind]
    assert error_type is (FileNotFoundError if kind in MISSING else ValueError)
    assert re.search(REFUSED[kind][1], said), said


def grey(value):
    return Image.new("L", (12, 8), value)


def animation():
    frames = [Image.new("RGB", (12, 8), color) for color in ((255, 0, 0), (0, 0, 255))]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def see_through(mode):
    return encoded(Image.new("RGBA", (12, 8), (255, 0, 0, 128)).convert(mode), "PNG")


def palette_with_transparency():
    image = Image.new("P", (12, 8), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    return encoded(image, "PNG", transparency=bytes([0, 128]))


def turned():
    """Black on the left, white on the right; stored lying on its side."""
    image = Image.new("L", (12, 8))
    image.paste(255, (6, 0, 12, 8))
    exif = Image.Exif()
    exif[0x0112] = 8
    return encoded(image.transpose(Image.Transpose.ROTATE_270), "PNG", exif=exif)


# kind -> (file, the RGB that its left and its right half must have)
READ = {
    "CMYK JPEG": (encoded(Image.new("CMYK", (12, 8), (0, 255, 255, 0)), "JPEG"), (1, 0, 0), (1, 0, 0)),
    "palette PNG": (encoded(Image.new("RGB", (12, 8), (255, 0, 0)).quantize(), "PNG"), (1, 0, 0), (1, 0, 0)),
    "palette with transparency": (palette_with_transparency(), (1, 0, 0), (1, 0, 0)),
    "PNG with transparency": (see_through("RGBA"), (1, 0, 0), (1, 0, 0)),
    "grey with transparency": (see_through("LA"), (0.3, 0.3, 0.3), (0.3, 0.3, 0.3)),
    "16-bit PNG": (
        encoded(Image.fromarray(np.full((8, 12), 39321, np.uint16)), "PNG"),
        (0.6, 0.6, 0.6),
        (0.6, 0.6, 0.6),
    ),
    "grey JPEG": (encoded(grey(102), "JPEG"), (0.4, 0.4, 0.4), (0.4, 0.4, 0.4)),
    "1-bit PNG": (encoded(grey(255).convert("1"), "PNG"), (1, 1, 1), (1, 1, 1)),
    "1 × 1": (encoded(Image.new("RGB", (1, 1), (0, 255, 0)), "PNG"), (0, 1, 0), (0, 1, 0)),
    "very wide": (encoded(Image.new("RGB", (9000, 1), (0, 255, 0)), "PNG"), (0, 1, 0), (0, 1, 0)),
    "turned by EXIF": (turned(), (0, 0, 0), (1, 1, 1)),
    "animated GIF": (animation(), (1, 0, 0), (1, 0, 0)),
}


@pytest.fixture(scope="module", params=[0, 1], ids=["here", "in a worker"])
def readings(request, tmp_path_factory):
    makes = [class_folder(tmp_path_factory.mktemp("read"), "x.jpg", content) for content, *_ in READ.values()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return dict(zip(READ, read_all(makes, request.param), strict=True))


@pytest.mark.parametrize("kind", READ)
def test_is_read_right_and_without_a_warning(kind, readings):
    _, left, right = READ[kind]
    expected = torch.tensor([left, right], dtype=torch.float32).T
    torch.testing.assert_close(readings[kind][1][:, 4, [0, 7]], expected, rtol=0, atol=0.012)


FORMATS = {
    "JPEG": {},
    "progressive JPEG": {"progressive": True},
    "PNG": {},
    "WEBP": {},
    "BMP": {},
    "PPM": {},
    "TIFF": {},
    "LZW TIFF": {"compression": "tiff_lzw"},
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", FORMATS)
def test_no_cut_file_is_read_as_another_picture(kind, tmp_path):
    """Refused by name wherever it is cut, unless the bytes that are gone were of no use."""
    whole = encoded(photo(12, 8), kind.split()[-1], **FORMATS[kind])
    path = tmp_path / "x.img"
    path.write_bytes(whole)
    expected = np.asarray(read_image(path))
    lengths = range(0, len(whole), len(whole) // 100)
    refused = 0
    for length in lengths:
        path.write_bytes(whole[:length])
        try:
            assert np.array_equal(np.asarray(read_image(path)), expected), length
        except ValueError as error:
            assert "x.img" in str(error)
            refused += 1
    assert refused >= 0.9 * len(lengths)


@pytest.mark.parametrize("kind", sorted(MISSING))
def test_what_is_missing_is_told_before_the_first_image_is_read(kind, tmp_path):
    make = REFUSED[kind][0](tmp_path)
    with pytest.raises(FileNotFoundError):
        make()
