"""The readers against what was drawn into the files, brute force, and pycocotools."""

import contextlib
import io
import json
import random
import warnings

import numpy as np
import pytest
import torch
from dataset_files import coco_content, photo, voc_xml, write_coco, write_voc
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from torch.utils.data import DataLoader

from mvit_lib.data import (
    CocoDetection,
    ImageFolder,
    MultiScaleSampler,
    VOCDetection,
    VOCSegmentation,
    collate,
)
from mvit_lib.data.folders import annotate, split_by_hash
from mvit_lib.data.voc import VOC_CLASSES

RED = (255, 0, 0)


def save(root, *names, image=None):
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (image or photo(seed=i)).save(root / name, "PNG")


def test_class_folders_are_read_in_plain_order(tmp_path):
    save(tmp_path, "b/2.png", "b/10.jpg", "a/deep/er/x.JPEG", "a/z.Png", "10/1.bmp", "2/1.webp")
    data = ImageFolder(str(tmp_path), size=(6, 4))
    assert data.classes == ("10", "2", "a", "b")
    found = [(path.relative_to(tmp_path).as_posix(), label) for path, label in data.samples]
    assert found == [
        ("10/1.bmp", 0),
        ("2/1.webp", 1),
        ("a/deep/er/x.JPEG", 2),
        ("a/z.Png", 2),
        ("b/10.jpg", 3),
        ("b/2.png", 3),
    ]
    image, label = data[5]
    assert (image.shape, label) == ((3, 6, 4), 3)


def test_images_come_unchanged_at_their_own_size(tmp_path):
    save(tmp_path, "a/x.png", "b/y.png")
    for index, (image, label) in enumerate(ImageFolder(tmp_path, size=(8, 12))):
        assert label == index
        expected = np.asarray(photo(seed=index)).transpose(2, 0, 1) / np.float32(255)
        torch.testing.assert_close(image, torch.from_numpy(expected), rtol=0, atol=1e-7)


def test_hidden_things_and_other_files_are_skipped(tmp_path):
    save(tmp_path, "a/x.png", "a/._y.png", "a/.cache/z.png", ".git/w.png", "stray.png")
    (tmp_path / "a/notes.txt").write_text("about a")
    (tmp_path / "a/folder.png").mkdir()
    save(tmp_path, "a/folder.png/v.png")
    data = ImageFolder(tmp_path)
    assert data.classes == ("a",)
    assert [path.name for path, _ in data.samples] == ["v.png", "x.png"]


def test_the_classes_wanted_are_read_in_their_order(tmp_path):
    save(tmp_path, "a/x.png", "b/y.png", "c/z.png")
    data = ImageFolder(tmp_path, classes=["c", "a"])
    assert data.classes == ("c", "a")
    assert [(path.name, label) for path, label in data.samples] == [("z.png", 0), ("x.png", 1)]


def test_linked_folders_are_followed(tmp_path):
    save(tmp_path / "elsewhere", "x.png", "deep/y.png")
    (tmp_path / "root/b").mkdir(parents=True)
    (tmp_path / "root/a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/b/inside").symlink_to(tmp_path / "elsewhere/deep")
    found = [(path.name, label) for path, label in ImageFolder(tmp_path / "root").samples]
    assert found == [("y.png", 0), ("x.png", 0), ("y.png", 1)]


@settings(max_examples=40)
@given(st.data())
def test_a_voc_box_holds_exactly_the_pixels_that_were_drawn(tmp_path_factory, data):
    """VOC names the first and the last pixel, counted from 1; ours are corners, counted from 0."""
    width, height = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    xmin, ymin = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    xmax, ymax = data.draw(st.integers(xmin, width)), data.draw(st.integers(ymin, height))
    image = Image.new("RGB", (width, height))
    ImageDraw.Draw(image).rectangle((xmin - 1, ymin - 1, xmax - 1, ymax - 1), fill=RED)
    root = tmp_path_factory.getbasetemp() / "drawn"
    write_voc(root, {"x": (image, voc_xml((width, height), [("cat", (xmin, ymin, xmax, ymax), False)]))})
    pixels, target = VOCDetection(root, size=(height, width))[0]
    x0, y0, x1, y1 = target["boxes"][0].int().tolist()
    assert pixels[0, y0:y1, x0:x1].bool().all()
    assert pixels[0].sum() == (y1 - y0) * (x1 - x0)
    assert target["original_size"] == (height, width)


def test_voc_labels_follow_the_classes_and_difficult_is_crowd(tmp_path):
    objects = [("tvmonitor", (1, 1, 4, 4), True), ("aeroplane", (2, 2, 5, 6), False)]
    write_voc(tmp_path, {"2007_000032": (photo(), voc_xml(objects=objects))})
    _, target = VOCDetection(tmp_path)[0]
    assert target["labels"].tolist() == [20, 1]
    assert target["crowd"].tolist() == [True, False]
    assert len(VOC_CLASSES) == 20
    assert VOCDetection(tmp_path, classes=("tvmonitor", "aeroplane"))[0][1]["labels"].tolist() == [1, 2]


def test_classes_that_are_looked_for_are_those_of_all_splits(tmp_path):
    write_voc(tmp_path, {"x": (photo(), voc_xml(objects=[("RBC", (1, 1, 4, 4), False)]))}, "train")
    objects = [("WBC", (1, 1, 4, 4), False), ("Platelets", (1, 1, 4, 4), False)]
    write_voc(tmp_path, {"y": (photo(), voc_xml(objects=objects))}, "test")
    (tmp_path / "Annotations/._x.xml").write_text("left behind by an archive")
    for split, labels in (("train", [2]), ("test", [3, 1])):
        data = VOCDetection(tmp_path, split, classes=None)
        assert data.classes == ("Platelets", "RBC", "WBC")
        assert data[0][1]["labels"].tolist() == labels


def test_voc_is_found_inside_its_devkit(tmp_path):
    sample = {"x": (photo(), voc_xml())}
    write_voc(tmp_path / "VOCdevkit/VOC2012", sample)
    for root in (tmp_path, tmp_path / "VOCdevkit", tmp_path / "VOCdevkit/VOC2012"):
        assert len(VOCDetection(root)) == len(VOCDetection(root, year=2012)) == 1
    write_voc(tmp_path / "VOCdevkit/VOC2007", sample | {"y": (photo(), voc_xml())})
    assert len(VOCDetection(tmp_path, year=2007)) == 2
    with pytest.raises(ValueError, match="'VOC2007', 'VOC2012'.*year="):
        VOCDetection(tmp_path)
    with pytest.raises(FileNotFoundError, match="VOC2009"):
        VOCDetection(tmp_path, year=2009)


def test_images_of_a_voc_list_may_have_dots_spaces_and_other_extensions(tmp_path):
    write_voc(tmp_path, {name: (photo(seed=i), voc_xml()) for i, name in enumerate(("a.v1", "b c", "d"))})
    (tmp_path / "JPEGImages/d.jpg").rename(tmp_path / "JPEGImages/d.PNG")
    (tmp_path / "ImageSets/Main/train.txt").write_bytes(b"d\r\n\r\nb c \r\na.v1")
    data = VOCDetection(tmp_path, size=(8, 12))
    assert [path.name for path, _ in data.samples] == ["d.PNG", "b c.jpg", "a.v1.jpg"]
    for index, seed in enumerate((2, 1, 0)):
        expected = torch.from_numpy(np.asarray(photo(seed=seed)) / np.float32(255)).permute(2, 0, 1)
        torch.testing.assert_close(data[index][0], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("seed", range(2))
def test_masks_are_read_by_index_whatever_their_colours(tmp_path, seed):
    ids = np.random.default_rng(0).choice([0, 1, 7, 20, 255], (8, 12)).astype(np.uint8)
    mask = Image.fromarray(ids)
    mask.putpalette(np.random.default_rng(seed).integers(0, 256, 768).tolist())
    assert mask.mode == "P"
    write_voc(tmp_path, {"x": (photo(), mask), "y": (photo(), Image.fromarray(ids))})
    data = VOCSegmentation(tmp_path, size=(8, 12))
    assert [path.name for path, _ in data.samples] == ["x.jpg", "y.jpg"]
    for _, target in data:
        assert torch.equal(target, torch.from_numpy(ids.astype(np.int64)))
    small = VOCSegmentation(tmp_path, size=(4, 6))[0][1]
    assert set(small.unique().tolist()) <= {0, 1, 7, 20, 255}


def random_coco(seed):
    """Sparse category ids, images in no order, some without objects."""
    draw = random.Random(seed)
    categories = [(number, f"class {number}") for number in draw.sample(range(1, 91), 12)]
    images = [(number, f"{number:012}.png") for number in draw.sample(range(1, 600_000), 9)]
    objects = []
    for _ in range(40):
        x, y = draw.randrange(0, 100) / 10, draw.randrange(0, 70) / 10
        box = [x, y, draw.randrange(1, int(120 - 10 * x)) / 10, draw.randrange(1, int(80 - 10 * y)) / 10]
        image, category = draw.choice(images[:7]), draw.choice(categories)
        objects.append((image[0], category[0], box, draw.randrange(2)))
    return coco_content(objects, images, categories=categories)


@pytest.mark.parametrize("seed", range(3))
def test_coco_is_what_pycocotools_reads(tmp_path, seed):
    folder, annotations = write_coco(tmp_path, random_coco(seed))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(annotations)
    data = CocoDetection(folder, annotations, size=(8, 12))
    assert [data.image_id(i) for i in range(len(data))] == sorted(coco.getImgIds())
    assert list(data.category_ids) == sorted(coco.getCatIds())
    assert [record["name"] for record in coco.loadCats(data.category_ids)] == list(data.classes)
    for index, (image, target) in enumerate(data):
        number = target["image_id"]
        entry, records = coco.loadImgs(number)[0], coco.loadAnns(coco.getAnnIds(number))
        assert data.image_id(index) == number
        assert target["original_size"] == (entry["height"], entry["width"])
        assert data.samples[index][0].name == entry["file_name"]
        assert [data.category_ids[label - 1] for label in target["labels"]] == [
            record["category_id"] for record in records
        ]
        assert target["crowd"].tolist() == [bool(record["iscrowd"]) for record in records]
        x0, y0, x1, y1 = target["boxes"].unbind(1)
        boxes = torch.stack([x0, y0, x1 - x0, y1 - y0], 1)
        expected = torch.tensor([record["bbox"] for record in records]).view(-1, 4)
        torch.testing.assert_close(boxes, expected, rtol=0, atol=2e-6)
        expected = torch.from_numpy(np.asarray(photo(seed=number)) / np.float32(255)).permute(2, 0, 1)
        torch.testing.assert_close(image, expected, rtol=0, atol=1e-7)


def test_coco_images_may_lie_deeper_and_have_no_objects_at_all(tmp_path):
    data = CocoDetection(*write_coco(tmp_path, coco_content(images=[(8, "train/a.png"), (2, "b.png")])))
    assert [data.image_id(i) for i in range(2)] == [2, 8]
    assert data[1][1]["boxes"].shape == (0, 4)
    assert data[1][1]["labels"].dtype == torch.int64


@given(st.lists(st.tuples(*[st.integers(-15, 25)] * 4), max_size=6))
def test_boxes_are_cut_to_the_pixels_they_share_with_the_image(corners):
    """Against counting pixels one by one."""
    width, height = 9, 6
    found = annotate("file", 0, (width, height), [(box, 1 + i, False) for i, box in enumerate(corners)])
    kept = {}
    for i, (x0, y0, x1, y1) in enumerate(corners, start=1):
        inside = [(x, y) for x in range(width) for y in range(height) if x0 <= x < x1 and y0 <= y < y1]
        if inside:
            xs, ys = zip(*inside, strict=True)
            kept[i] = [min(xs), min(ys), max(xs) + 1, max(ys) + 1]
    assert dict(zip(found.boxes.labels.tolist(), found.boxes.xyxy.tolist(), strict=True)) == kept
    assert found.num_lost == len(corners) - len(kept)


BOX = ("cat", (1, 1, 4, 4), False)
WITHOUT_AREA = {
    "outside": [(13, 1, 15, 4), (-5, 1, 0, 4), (1, 9, 4, 12)],
    "inverted": [(4, 1, 1, 4), (1, 7, 4, 2), (5, 5, 4, 6)],
}


@pytest.mark.parametrize("kind", WITHOUT_AREA)
def test_voc_boxes_without_area_are_left_out_with_one_warning(kind, tmp_path):
    objects = [BOX, *(("dog", box, False) for box in WITHOUT_AREA[kind]), ("cow", (10, 6, 99, 99), False)]
    write_voc(tmp_path, {"x": (photo(), voc_xml(objects=[BOX])), "y": (photo(), voc_xml(objects=objects))})
    with pytest.warns(UserWarning, match=r"^3 boxes without area .*y\.jpg$") as caught:
        data = VOCDetection(tmp_path, size=(8, 12))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert data[1][1]["boxes"].tolist() == [[0, 0, 4, 4], [9, 5, 12, 8]]
    assert data[1][1]["labels"].tolist() == [8, 10]


def test_coco_boxes_without_area_are_left_out_with_one_warning(tmp_path):
    boxes = [[1, 1, 0, 4], [1, 1, 4, -1], [12, 0, 5, 5], [1, 1, 2, 2], [-3, -3, 5, 6]]
    files = write_coco(tmp_path, coco_content([(3, 90, box, 0) for box in boxes]))
    with pytest.warns(UserWarning, match=r"^3 boxes without area .*a\.png$") as caught:
        data = CocoDetection(*files, size=(8, 12))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert data[0][1]["boxes"].tolist() == [[1, 1, 3, 3], [0, 0, 2, 3]]


def test_an_image_without_boxes_is_kept(tmp_path):
    write_voc(tmp_path, {"x": (photo(), voc_xml())})
    target = VOCDetection(tmp_path)[0][1]
    assert (target["boxes"].shape, target["labels"].shape, target["crowd"].shape) == ((0, 4), (0,), (0,))


TURNED = {  # EXIF orientation -> how the file's pixels are got from the upright picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def save_turned(path, upright, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright.transpose(TURNED[orientation])
    stored.save(path, "PNG", exif=exif)
    return stored


@pytest.mark.parametrize("orientation", TURNED)
def test_a_turned_photo_is_upright_in_a_class_folder(tmp_path, orientation):
    (tmp_path / "a").mkdir()
    save_turned(tmp_path / "a/x.png", photo(), orientation)
    image, _ = ImageFolder(tmp_path, size=(8, 12))[0]
    expected = torch.from_numpy(np.asarray(photo()) / np.float32(255)).permute(2, 0, 1)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("before", [False, True], ids=["annotated upright", "annotated as stored"])
@pytest.mark.parametrize("orientation", TURNED)
def test_the_size_tells_how_a_turned_photo_was_annotated(tmp_path, orientation, before):
    folder, annotations = write_coco(tmp_path, coco_content(size=(8, 12) if before else (12, 8)))
    stored = save_turned(folder / "a.png", photo(12, 8), orientation)
    data = CocoDetection(folder, annotations, size=(12, 8) if before else (8, 12))
    if orientation >= 5:
        expected = torch.from_numpy(np.array(stored if before else photo(12, 8)) / np.float32(255))
        torch.testing.assert_close(data[0][0], expected.permute(2, 0, 1), rtol=0, atol=1e-7)
    else:  # the size is the same before and after
        with pytest.raises(ValueError, match=r"a\.png" if before else r"a\.png is turned by its EXIF"):
            data[0]


def test_a_photo_is_turned_the_way_its_mask_was_drawn(tmp_path):
    write_voc(tmp_path, {"x": (photo(12, 8), Image.new("L", (8, 12)))})
    stored = save_turned(tmp_path / "JPEGImages/x.jpg", photo(12, 8), 6)
    image, mask = VOCSegmentation(tmp_path, size=(12, 8))[0]
    assert image.shape[1:] == mask.shape == (12, 8)
    expected = torch.from_numpy(np.array(stored) / np.float32(255)).permute(2, 0, 1)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-7)


def test_annotated_datasets_are_split_by_hash_and_keep_their_ids(tmp_path):
    data = CocoDetection(*write_coco(tmp_path, random_coco(0)))
    parts = split_by_hash(data, 0.5)
    for part in parts:
        for index in range(len(part)):
            assert part[index][1]["image_id"] == part.image_id(index)
    ids = [part.image_id(i) for part in parts for i in range(len(part))]
    assert sorted(ids) == [data.image_id(i) for i in range(len(data))]


def test_batches_of_all_sizes_come_through_workers(tmp_path):
    data = CocoDetection(*write_coco(tmp_path, random_coco(1)))
    sampler = MultiScaleSampler(len(data), sizes=(16, (24, 32)), base_batch=2)
    seen = set()
    for images, targets in DataLoader(
        data, batch_sampler=sampler, collate_fn=collate("detect"), num_workers=1
    ):
        height, width = images.shape[2:]
        for target in targets:
            seen.add(target["image_id"])
            limit = torch.tensor([width, height, width, height])
            assert ((target["boxes"] >= 0) & (target["boxes"] <= limit)).all()
    assert seen == {data.image_id(i) for i in range(len(data))}


def test_reading_good_files_warns_of_nothing(tmp_path):
    folder, annotations = write_coco(tmp_path, random_coco(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(CocoDetection(folder, annotations, size=8))
    assert json.loads(annotations.read_text())["images"]
