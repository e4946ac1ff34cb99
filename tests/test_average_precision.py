"""Average precision: VOC's against a count in plain Python, COCO's against pycocotools on its own files."""

import contextlib
import io
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mvit_lib.heads.ssdlite import Found
from mvit_lib.train.average_precision import DetectionCounter, DetectionResult

CLASSES = ("background", "cat", "dog")


def counted(images, size=(100, 100), original=None) -> DetectionResult:
    """images: for each, finds (box, score, label) and objects (box, label, crowd)."""
    counter = DetectionCounter()
    for number, (finds, objects) in enumerate(images):
        boxes = torch.tensor([box for box, _, _ in finds], dtype=torch.float32).view(-1, 4)
        found = Found(
            boxes,
            torch.tensor([s for _, s, _ in finds], dtype=torch.float32),
            torch.tensor([label for *_, label in finds], dtype=torch.int64),
        )
        target = {
            "boxes": torch.tensor([box for box, *_ in objects], dtype=torch.float32).view(-1, 4),
            "labels": torch.tensor([label for _, label, _ in objects], dtype=torch.int64),
            "crowd": torch.tensor([crowd for *_, crowd in objects], dtype=torch.bool),
            "image_id": 7 + 2 * number,
            "original_size": original or size,
        }
        counter.add([found], [target], size)
    return counter.result(CLASSES)


def overlap(a, b) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    area = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return shared / (sum(area) - shared)


def voc_ap(images, label, threshold) -> float:
    """One find after another, best first; the area under the precision that no later one exceeds."""
    finds = [(s, i, box) for i, (found, _) in enumerate(images) for box, s, k in found if k == label]
    objects = [[(box, crowd) for box, k, crowd in there if k == label] for _, there in images]
    total = sum(not crowd for there in objects for _, crowd in there)
    if not total:
        return math.nan
    taken, right = set(), []
    for _, i, box in sorted(finds, key=lambda find: -find[0]):
        shares = [overlap(box, other) for other, _ in objects[i]]
        best = max(range(len(shares)), key=shares.__getitem__, default=None)
        if best is None or shares[best] < threshold:
            right.append(False)
        elif not objects[i][best][1]:
            right.append((i, best) not in taken)
            taken.add((i, best))
    precision = [sum(right[: n + 1]) / (n + 1) for n in range(len(right))]
    return sum(max(precision[n:]) for n, hit in enumerate(right) if hit) / total


corner = st.integers(0, 9)
box = st.builds(
    lambda x, y, w, h: (10.0 * x, 10.0 * y, 10.0 * (x + w), 10.0 * (y + h)),
    corner, corner, st.integers(1, 5), st.integers(1, 5),
)  # fmt: skip
label = st.integers(1, 2)


@st.composite
def scenes(draw):
    """Some finds are objects moved a little; no two scores are equal, so that the order is plain."""
    scores = iter(draw(st.permutations([0.02 * n + 0.01 for n in range(40)])))
    images = []
    for _ in range(draw(st.integers(1, 4))):
        objects = draw(st.lists(st.tuples(box, label, st.booleans()), max_size=3))
        moved = [
            (tuple(c + draw(st.integers(-4, 4)) for c in where), k)
            for where, k, _ in objects
            if draw(st.booleans())
        ]
        finds = moved + draw(st.lists(st.tuples(box, label), max_size=3))
        images.append(([(where, next(scores), k) for where, k in finds], objects))
    return images


@given(scenes(), st.sampled_from([0.3, 0.5, 0.75]))
@settings(max_examples=150)
def test_voc_ap_equals_the_count_by_hand(images, threshold):
    found = counted(images).voc_ap(threshold)
    expected = torch.tensor([voc_ap(images, k, threshold) for k in (1, 2)], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True)


def test_a_small_example_by_hand():
    """Right at 0.9, wrong at 0.8, the same object again at 0.7, right at 0.6; one of three is never found."""
    objects = [((0, 0, 10, 10), 1, False), ((50, 50, 60, 60), 1, False), ((80, 80, 90, 90), 1, False)]
    finds = [
        ((0, 0, 10, 10), 0.9, 1),
        ((20, 20, 30, 30), 0.8, 1),
        ((0, 0, 10, 9), 0.7, 1),
        ((50, 50, 60, 60), 0.6, 1),
    ]
    result = counted([(finds, objects)])
    assert result.voc_ap()[0].item() == pytest.approx((1 + 2 / 4) / 3)
    assert result.voc_ap()[1].isnan()
    assert result.scores() == {"voc_ap50": pytest.approx(0.5)}
    assert "cat" in str(result) and "50.0%" in str(result)
    # COCO reads the precision at 101 recalls: 34 of them up to 1/3, 33 up to 2/3.
    assert result.coco()["ap50"] == pytest.approx((34 * 1 + 33 * 0.5) / 101, abs=1e-6)


def test_boxes_are_measured_in_the_original_picture():
    finds, objects = [((10, 20, 30, 40), 0.9, 1)], [((10, 20, 30, 40), 1, False)]
    (image,) = counted([(finds, objects)], size=(100, 50), original=(300, 200)).images
    assert image.boxes.tolist() == image.true_boxes.tolist() == [[40, 60, 120, 120]]


@given(scenes())
@settings(max_examples=20, deadline=None)
def test_coco_equals_pycocotools_on_files(tmp_path_factory, images):
    """The same objects written down as COCO's files and read by pycocotools from there."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    folder, result, ids = tmp_path_factory.mktemp("coco"), counted(images), (30, 4)
    annotations = [
        {
            "image_id": 7 + 2 * i, "category_id": ids[k - 1], "iscrowd": int(crowd),
            "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0),
        }
        for i, (_, objects) in enumerate(images)
        for (x0, y0, x1, y1), k, crowd in objects
    ]  # fmt: skip
    content = {
        "images": [{"id": 7 + 2 * i} for i in range(len(images))],
        "categories": [{"id": number, "name": "x"} for number in ids],
        "annotations": [record | {"id": n} for n, record in enumerate(annotations, start=1)],
    }
    (folder / "truth.json").write_text(json.dumps(content))
    result.write_coco(folder / "found.json", ids)
    if not json.loads((folder / "found.json").read_text()):
        assert set(result.coco().values()) == {0.0}
        return
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(folder / "found.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert list(result.coco().values()) == pytest.approx(evaluation.stats.tolist(), abs=1e-9)


def test_without_pycocotools_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.coco", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pycocotools"):
        counted([([], [((0, 0, 9, 9), 1, False)])]).coco()
