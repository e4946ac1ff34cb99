"""The data behind the pictures of notebook 11 and its table, against truths found another way."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from sklearn.metrics import precision_recall_curve

from mvit_lib import mobilevit_s, mobilevit_xs, mobilevit_xxs
from mvit_lib.cost import count_parameters
from mvit_lib.course import load_reference
from mvit_lib.course.tables import load_table
from mvit_lib.data import PixelZoo
from mvit_lib.heads import SSDLite
from mvit_lib.heads.boxes import iou, make_anchors, match, nms, to_xyxy
from mvit_lib.heads.ssdlite import Found, ssd_anchors
from mvit_lib.look.anchors import anchor_panel, anchor_picture
from mvit_lib.look.figures import detection_head as heads
from mvit_lib.look.figures import detection_results as results
from mvit_lib.look.figures import detection_ssdlite as figures
from mvit_lib.train.average_precision import DetectionCounter

GRIDS = [(20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def zoo():
    return PixelZoo("test", task="detect", size=96)


def rectangles(ax) -> list[tuple[float, ...]]:
    """xyxy of all boxes drawn in the axes, rounded."""
    drawn = [p for p in ax.patches if isinstance(p, Rectangle)]
    corners = [(p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height()) for p in drawn]
    return [tuple(round(float(x), 2) for x in corner) for corner in corners]


def tags(fig, ax) -> list:
    """Where the texts in the axes stand, in pixels."""
    fig.canvas.draw()
    return [text.get_window_extent() for text in ax.texts]


def rounded(boxes: torch.Tensor) -> list[tuple[float, ...]]:
    return [tuple(round(x, 2) for x in box) for box in boxes.tolist()]


@pytest.mark.parametrize("a", [[1, 1, 5, 4], [0, 0, 2, 2], [3, 3, 4, 7]])
def test_squares_are_counted(a):
    b = [3, 2, 7, 6]
    sets = [set(itertools.product(range(x0, x1), range(y0, y1))) for x0, y0, x1, y1 in (a, b)]
    _, counts = figures.fig_two_boxes(torch.tensor(a).float(), torch.tensor(b).float())
    shared, union = sets[0] & sets[1], sets[0] | sets[1]
    assert list(counts.values()) == [len(sets[0]), len(sets[1]), len(shared), len(union)]


def test_the_anchors_of_a_cell_have_its_centre_and_all_cells_make_all_anchors():
    every = []
    for level, (rows, columns) in enumerate(GRIDS):
        for row, column in itertools.product(range(rows), range(columns)):
            some = figures.anchors_of_cell(GRIDS, (320, 160), level, (row, column))
            centre = torch.tensor([(column + 0.5) / columns * 160, (row + 0.5) / rows * 320])
            assert torch.allclose(some[:, :2], centre.expand(len(some), 2))
            every.append(some)
    assert torch.equal(torch.cat(every), make_anchors(GRIDS, (320, 160)))


def test_six_anchors_are_drawn_as_they_are():
    fig, six = figures.fig_six_anchors(torch.rand(3, 320, 320), GRIDS, 2, (2, 3))
    assert rectangles(fig.axes[0]) == rounded(to_xyxy(six))
    titles = [ax.get_title() for ax in fig.axes[1:]]
    assert titles == [f"{w:.0f} × {h:.0f}" for _, _, w, h in six.tolist()]


def test_the_pyramid_counts_all_anchors():
    fig, counts = figures.fig_pyramid(torch.rand(3, 64, 64), GRIDS)
    assert counts == [2400, 600, 150, 54, 24, 4]
    assert sum(counts) == len(ssd_anchors((320, 320)))
    for level, (ax, (rows, columns)) in enumerate(zip(fig.axes, GRIDS, strict=True)):
        anchors = figures.anchors_of_cell(GRIDS, (64, 64), level, (rows // 2, columns // 2))
        assert rectangles(ax) == rounded(to_xyxy(anchors[:1]))


def test_matching_shows_every_positive_once(zoo):
    image, target = zoo[1]
    anchors = ssd_anchors((96, 96))
    matched = match(target["boxes"], anchors)
    names = [zoo.classes[label - 1] for label in target["labels"]]
    fig, found = figures.fig_matching(image, target["boxes"], names, anchors, matched)
    assert sorted(torch.cat(found).tolist()) == (matched >= 0).nonzero().flatten().tolist()
    assert [len(ax.texts) for ax in fig.axes] == [0] * 5 + [3]
    for m, (ax, mine) in enumerate(zip(fig.axes, found, strict=False)):
        assert rectangles(ax)[2:] == rounded(to_xyxy(anchors[mine]))
        best = iou(to_xyxy(anchors), target["boxes"][m]).max()
        assert ax.get_title().startswith(f"{names[m]}: {len(mine)} anchor")
        assert ax.get_title().endswith(f"{best:.2f}")


def test_the_hardest_are_the_most_surprising_background(zoo):
    image, target = zoo[1]
    anchors = ssd_anchors((96, 96))
    surprise = torch.rand(len(anchors))
    positive = torch.rand(len(anchors)) < 0.02
    chosen = torch.zeros_like(positive)
    chosen[np.argsort(-surprise.numpy() + 9 * positive.numpy())[:12]] = True
    fig, ordered = figures.fig_hardest(image, target["boxes"], anchors, surprise, positive, chosen)
    assert ordered.tolist() == sorted(surprise[~positive].tolist(), reverse=True)
    drawn = rectangles(fig.axes[1])
    three = surprise.masked_fill(positive, -1).topk(3).indices
    assert drawn == rounded(torch.cat([to_xyxy(anchors[three]), target["boxes"]]))


def test_the_steps_are_those_of_nms():
    corners = torch.rand(8, 2, 2).sort(1).values.flatten(1) * 8
    scores = torch.rand(8)
    _, steps = figures.fig_nms_steps(corners, scores, 0.2)
    index, _ = nms(corners, scores[:, None], iou_threshold=0.2)
    assert [best for best, _ in steps] == index.tolist()
    assert sorted([i for best, dropped in steps for i in (best, *dropped)]) == list(range(8))


def test_a_number_stands_in_the_corner_of_its_box_that_no_other_covers():
    boxes = torch.tensor([[1.0, 1, 6, 6], [2, 1, 7, 6], [9, 1, 13, 6], [9, 2, 13, 7]])
    fig, _ = figures.fig_nms_steps(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]))
    places = {text.get_text(): text.get_position() for text in fig.axes[0].texts}
    assert places == {"1": (1.5, 1.5), "2": (6.5, 1.5), "3": (9.5, 1.5), "4": (9.5, 6.5)}


def test_panels_show_their_boxes():
    boxes = torch.tensor([[1.0, 2, 30, 40], [5, 6, 50, 60]])
    panels = {"both": (boxes, ["", ""]), "one": (boxes[:1], ["cat"])}
    fig, numbers = figures.fig_on_scene(torch.rand(3, 64, 64), panels)
    assert numbers == {"both": 2, "one": 1}
    assert [rectangles(ax) for ax in fig.axes] == [rounded(boxes), rounded(boxes[:1])]


OBJECTS = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [0, 20, 10, 30]])
FINDS = {  # box, label -> verdict; objects are of classes 1, 2 and 1
    (0, 0, 10, 9): (1, "right"),
    (0, 0, 10, 8): (1, "twice"),
    (20, 0, 30, 11): (1, "class"),
    (0, 24, 10, 35): (1, "place"),
    (40, 40, 50, 50): (2, "nothing"),
    (22, 0, 40, 10): (3, "nothing"),
}


def test_every_verdict_has_its_case():
    boxes = torch.tensor([*FINDS], dtype=torch.float32)
    labels, words = zip(*FINDS.values(), strict=True)
    verdicts = figures.judge(boxes, torch.tensor(labels), OBJECTS, torch.tensor([1, 2, 1]))
    assert verdicts == figures.Verdicts(words, (1, 2))
    nothing = figures.judge(boxes, torch.tensor(labels), torch.zeros(0, 4), torch.zeros(0).long())
    assert nothing == figures.Verdicts(("nothing",) * 6, ())


def test_right_finds_are_those_of_the_library(zoo):
    """The area under our staircase of right finds is the library's average precision."""
    draw = torch.Generator().manual_seed(5)
    counter, scored, objects = DetectionCounter(), [], 0
    for i in range(6):
        _, target = zoo[i]
        M = len(target["boxes"])
        boxes = target["boxes"].repeat(3, 1) + 5 * torch.randn(3 * M, 4, generator=draw)
        scores = torch.rand(3 * M, generator=draw).sort(descending=True).values
        one = target | {"labels": torch.ones(M, dtype=torch.int64)}
        found = Found(boxes, scores, torch.ones(3 * M, dtype=torch.int64))
        counter.add([found], [one], (96, 96))
        words = figures.judge(boxes, found.labels, one["boxes"], one["labels"]).finds
        scored += zip(scores.tolist(), [word == "right" for word in words], strict=True)
        objects += M
    right = torch.tensor([r for _, r in sorted(scored, reverse=True)])
    assert 0.1 < right.double().mean() < 0.9
    expected = counter.result(("background", "animal")).voc_map()
    assert results.staircase_area(right, objects) == pytest.approx(expected, abs=1e-9)


def test_detections_are_drawn_and_counted(zoo):
    (image, target), classes = zoo[1], ("background", *zoo.classes)
    boxes = torch.cat([target["boxes"][1:], target["boxes"][1:2] + 40])
    labels = torch.cat([target["labels"][1:], target["labels"][:1]])
    found = Found(boxes, torch.linspace(0.9, 0.1, len(boxes)), labels)
    fig, (verdicts,) = figures.fig_detections([image], [found], [target], classes, min_score=0.05)
    assert verdicts.finds.count("right") == len(boxes) - 1
    assert verdicts.missed == (0,)
    assert len(rectangles(fig.axes[0])) == len(boxes) + 1
    assert all(not a.overlaps(b) for a, b in itertools.combinations(tags(fig, fig.axes[0]), 2))
    _, (none,) = figures.fig_detections([image], [found], [target], classes, min_score=0.95)
    assert none == figures.Verdicts((), tuple(range(len(target["labels"]))))


def test_the_curve_is_sklearns_and_its_area_that_of_steps():
    right = torch.rand(30) < 0.4
    objects = int(right.sum()) + 3
    _, data = results.fig_precision_recall(right, objects)
    precision, recall, _ = precision_recall_curve(right.numpy(), np.arange(30, 0, -1))
    recall = recall * int(right.sum()) / objects  # sklearn knows only of what was found
    theirs = {(round(r, 9), round(p, 9)) for p, r in zip(precision, recall, strict=True) if r > 0}
    assert theirs <= {(round(r, 9), round(p, 9)) for r, p in data["points"]}
    area = sum(max(precision[recall >= k / objects]) for k in range(1, int(right.sum()) + 1)) / objects
    assert data["area"] == pytest.approx(area)
    assert results.staircase_area(right[:0], 3) == 0


def test_ten_finds_are_numbered_by_their_score():
    reference = load_reference("ten_finds_of_pycocotools")
    fig, shown = results.fig_ten_finds(reference["objects"], reference["finds"], torch.ones(10).bool())
    assert (reference["finds"][:, 5].diff() < 0).all()
    assert sorted(itertools.chain(*shown.values())) == list(range(1, 11))
    for picture, numbers in shown.items():
        drawn = rectangles(fig.axes[picture])[2:]
        assert drawn == rounded(reference["finds"][[n - 1 for n in numbers], 1:5])


def test_the_coco_table_names_sources_and_counts_our_detectors():
    rows = load_table("coco_detection")
    assert all(row["source"] for row in rows)
    own = {(row["model"], row["params_m"]) for row in rows if row["model"].startswith("MobileViT")}
    backbones = {"XXS": mobilevit_xxs, "XS": mobilevit_xs, "S": mobilevit_s}
    counted = {
        (f"MobileViT-{name}", round(count_parameters(SSDLite(make(num_classes=0), 81)) / 1e6, 1))
        for name, make in backbones.items()
    }
    assert own == counted
    _, points = results.fig_coco(rows)
    assert points == [(row["model"], row["params_m"], row["ap"]) for row in rows]


def test_the_head_is_drawn_as_the_network_has_it():
    detector = SSDLite(mobilevit_xxs(num_classes=0), 7).eval()
    with torch.no_grad():
        maps = detector.forward_maps(torch.zeros(1, 3, 128, 96))
        given = [head(m) for head, m in zip(detector.heads, maps, strict=True)]
    _, answers = heads.fig_head([tuple(m.shape[1:]) for m in maps], [6] * 5 + [4], 7)
    assert [channels for channels, _ in answers] == [y.shape[1] for y in given]
    assert sum(anchors for _, anchors in answers) == len(ssd_anchors((128, 96)))
    assert sum(y.numel() for y in given) == sum(n for _, n in answers) * (4 + 7)


def test_a_bent_anchor_is_the_closed_form():
    fig, answer = heads.fig_bend(torch.tensor([50.0, 40, 10, 20]), torch.tensor([52.0, 37, 20, 10]))
    assert torch.allclose(answer, torch.tensor([2, -1.5, 5 * np.log(2), -5 * np.log(2)]).float())
    assert rectangles(fig.axes[0]) == [(45, 30, 55, 50), (42, 32, 62, 42)]


def recorded(name: str, seed: int, ap: float | str) -> dict:
    return {"name": name, "seed": seed, "ap": ap, "ap_shift": ""}


@pytest.mark.parametrize("count", [0, 1, 4])
def test_recordings_of_any_number_are_sorted_by_name(count):
    rows = [
        recorded("PixelZoo, MobileViT-XXS", 0, 40.0),
        recorded("PixelZoo, MobileNetV2", 0, 38.5),
        recorded("BCCD, scratch", 1, 50.0),
        recorded("PixelZoo, MobileViT-XXS", 1, 42.0),
    ][:count]
    panels = {name: results.scores_by_name(rows, name) for name in ("PixelZoo", "BCCD")}
    assert sum(len(v) for parts in panels.values() for v in parts.values()) == count
    assert results.scores_by_name(rows, "BCCD", "ap_shift") == {}
    if count == 4:
        expected = {"MobileViT-XXS": [40.0, 42.0], "MobileNetV2": [38.5]}
        assert panels == {"PixelZoo": expected, "BCCD": {"scratch": [50.0]}}


def test_the_browser_shows_the_chosen_cell():
    image = torch.full((3, 80, 64), 0.5)
    panel = anchor_panel(image, GRIDS)
    level, row, column, picture = panel.children
    level.value, row.value, column.value = 1, 4, 7
    assert (row.max, column.max) == (9, 9)
    chosen = picture.value
    level.value = 5
    assert (row.value, column.value) == (0, 0)
    assert picture.value != chosen
    pixels = np.asarray(anchor_picture(image, GRIDS, 1, (4, 7)))
    box = to_xyxy(figures.anchors_of_cell(GRIDS, (80, 64), 1, (4, 7)))[5]
    x, y = round(box[0].item()), round((box[1] + box[3]).item() / 2)
    colour = tuple(int(figures.COLOURS[5][i : i + 2], 16) for i in (1, 3, 5))
    assert colour in {tuple(p) for p in pixels[y, x - 1 : x + 3].tolist()}
    assert "move once this cell is run" in repr(panel)
