"""Boxes against pixel counting, pycocotools, transformers and plain loops; NMS against its definition."""

import itertools
import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask
from torch import Tensor
from transformers.image_transforms import center_to_corners_format, corners_to_center_format

from mvit_lib.heads.boxes import area, decode, encode, iou, make_anchors, match, nms, to_cxcywh, to_xyxy

GRIDS_320 = [(20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]


def random_boxes(n: int, side: float = 100) -> Tensor:
    """float64 xyxy [n, 4] with corners anywhere in the square, the right way round."""
    corners = torch.rand(n, 2, 2, dtype=torch.float64).sort(1).values * side
    return corners.flatten(1)


def drawn_box(side: int = 8, least: int = 0) -> st.SearchStrategy[list[int]]:
    """A box on a coarse grid, so that equal, nested and touching boxes are common."""
    span = st.integers(0, side - least).flatmap(lambda a: st.tuples(st.just(a), st.integers(a + least, side)))
    return st.tuples(span, span).map(lambda s: [s[0][0], s[1][0], s[0][1], s[1][1]])


def drawn_boxes(least: int = 0, most: int = 12) -> st.SearchStrategy[Tensor]:
    rows = st.lists(drawn_box(least=1), min_size=least, max_size=most)
    return rows.map(lambda r: torch.tensor(r, dtype=torch.float64).view(-1, 4))


def pixels(box: list[int]) -> set[tuple[int, int]]:
    return set(itertools.product(range(box[0], box[2]), range(box[1], box[3])))


@given(drawn_box(), drawn_box())
def test_iou_counts_pixels(a, b):
    """Corners on whole numbers, some boxes without area: the definition is a matter of sets."""
    union = pixels(a) | pixels(b)
    expected = len(pixels(a) & pixels(b)) / len(union) if union else 0
    a, b = (torch.tensor(box, dtype=torch.float64) for box in (a, b))
    assert iou(a, b).item() == iou(b, a).item() == expected
    assert iou(a, a).item() == (area(a) > 0)


def test_iou_equals_pycocotools():
    a, b = random_boxes(40), random_boxes(30)
    xywh = [torch.cat([t[:, :2], t[:, 2:] - t[:, :2]], dim=1).numpy() for t in (a, b)]
    expected = torch.from_numpy(mask.iou(*xywh, np.zeros(30)))
    torch.testing.assert_close(iou(a[:, None], b), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(iou(a.float()[:, None], b.float()).double(), expected, rtol=0, atol=1e-5)


def test_iou_has_no_unit_and_boxes_the_wrong_way_round_no_area():
    a, b = random_boxes(50), random_boxes(50)
    stretch, shift = torch.tensor([3, 0.2, 3, 0.2]), torch.tensor([5, -7, 5, -7])
    torch.testing.assert_close(iou(a * stretch + shift, b * stretch + shift), iou(a, b), rtol=0, atol=1e-12)
    torch.testing.assert_close(iou(a * 1e-6, b * 1e-6), iou(a, b), rtol=0, atol=1e-12)
    assert (iou(a[:, [2, 3, 0, 1]], b) == 0).all()


def test_corners_and_centres_equal_transformers():
    boxes = random_boxes(50)
    torch.testing.assert_close(to_cxcywh(boxes), torch.as_tensor(corners_to_center_format(boxes.numpy())))
    torch.testing.assert_close(to_xyxy(boxes), center_to_corners_format(boxes))
    torch.testing.assert_close(to_xyxy(to_cxcywh(boxes)), boxes, rtol=0, atol=1e-12)


SIZES = [  # smallest and largest square per map, as the fact sheet rounds them
    (0.1, 0.1607), (0.2583, 0.3281), (0.4167, 0.4895), (0.575, 0.6494), (0.7333, 0.8086), (0.8917, 0.9676),
]  # fmt: skip


@pytest.mark.parametrize(
    ("grids", "size"),
    [(GRIDS_320, (320, 320)), ([(8, 5), (4, 3), (2, 2), (1, 1), (1, 1), (1, 1)], (128, 80))],
)
def test_anchors_are_the_official_ones(grids, size):
    expected = []
    for i, (rows, columns) in enumerate(grids):
        small, large = SIZES[i]
        for y, x in itertools.product(range(rows), range(columns)):
            shapes = [(small, small), (large, large)]
            for r in (2, 3) if i < 5 else (2,):
                shapes += [(small * math.sqrt(r), small / math.sqrt(r))]
                shapes += [(small / math.sqrt(r), small * math.sqrt(r))]
            for w, h in shapes:
                expected.append([(x + 0.5) / columns, (y + 0.5) / rows, min(w, 1), min(h, 1)])
    relative = make_anchors(grids, size) / torch.tensor([size[1], size[0]] * 2)
    torch.testing.assert_close(relative, torch.tensor(expected), rtol=0, atol=1e-4)


def test_there_are_3232_anchors_at_320():
    anchors = make_anchors(GRIDS_320, (320, 320))
    assert anchors.shape == (3232, 4)
    assert anchors.dtype == torch.float32
    assert anchors[0].tolist() == [8, 8, 32, 32]
    counts = [h * w * n for (h, w), n in zip(GRIDS_320, (6, 6, 6, 6, 6, 4), strict=True)]
    assert counts == [2400, 600, 150, 54, 24, 4]


@given(drawn_boxes(least=1), st.sampled_from([torch.float32, torch.float64]))
def test_decode_inverts_encode(boxes, dtype):
    anchors = make_anchors(GRIDS_320, (320, 320))[:: 3232 // len(boxes)][: len(boxes)].to(dtype)
    boxes = (boxes * 40).to(dtype)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(decode(encode(boxes, anchors), anchors), boxes, rtol=0, atol=tolerance)


def test_offsets_are_the_closed_form():
    anchor = torch.tensor([100.0, 50, 20, 10], dtype=torch.float64)
    box = torch.tensor([94.0, 48, 114, 68], dtype=torch.float64)  # centre (104, 58), 20 × 20
    expected = torch.tensor([4 / 20 / 0.1, 8 / 10 / 0.1, 0, math.log(2) / 0.2], dtype=torch.float64)
    torch.testing.assert_close(encode(box, anchor), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(decode(torch.zeros(4).double(), anchor), to_xyxy(anchor))


def match_by_hand(boxes: Tensor, anchors: Tensor) -> list[int]:
    """The rules one after the other, in plain Python."""
    overlap = [[iou(to_xyxy(a), b).item() for b in boxes] for a in anchors]
    found = []
    for row in overlap:
        best = max(range(len(row)), key=lambda m: row[m], default=-1)
        found.append(best if row and row[best] >= 0.5 else -1)
    claims = {}
    for m in range(len(boxes)):
        a = max(range(len(anchors)), key=lambda a: overlap[a][m])
        if overlap[a][m] > 0:
            claims.setdefault(a, []).append(m)
    for a, claimants in claims.items():
        found[a] = max(claimants, key=lambda m: overlap[a][m])
    return found


@given(drawn_boxes(most=6), drawn_boxes(least=1, most=8))
def test_match_equals_the_rules_by_hand(boxes, anchors):
    anchors = to_cxcywh(anchors)
    assert match(boxes, anchors).tolist() == match_by_hand(boxes, anchors)


def test_match_on_real_anchors():
    anchors = make_anchors(GRIDS_320, (320, 320)).double()
    boxes = torch.cat([random_boxes(8, 320), torch.tensor([[160.0, 160, 161, 161], [0, 0, 320, 320]])])
    found = match(boxes, anchors)
    assert set(found.tolist()) == {-1, *range(10)}  # each box is found, the tiny one too
    overlap = iou(to_xyxy(anchors)[:, None], boxes)
    clear = overlap.max(1).values >= 0.5
    forced = (found >= 0) & ~clear
    assert (found == 8).sum() == 1
    assert 0 < forced.sum() <= 10
    order = torch.randperm(10)
    shuffled = match(boxes[order], anchors)
    assert torch.equal(torch.where(shuffled < 0, -1, order[shuffled]), found)


def test_of_two_boxes_that_claim_an_anchor_the_nearer_gets_it():
    anchors = torch.tensor([[50.0, 50, 40, 40], [500, 500, 40, 40]])
    boxes = to_xyxy(torch.tensor([[50.0, 50, 10, 10], [50, 50, 20, 20], [50, 50, 15, 15]]))
    assert match(boxes, anchors).tolist() == [1, -1]
    assert match(boxes[:0], anchors).tolist() == [-1, -1]
    far_or_flat = torch.tensor([[900.0, 900, 910, 910], [50, 50, 50, 60]])
    assert match(far_or_flat, anchors).tolist() == [-1, -1]


def nms_by_hand(boxes, scores, min_score, iou_threshold, top_k):
    """Every pair compared in plain Python: [(score, box, class), …], best first."""
    chosen = []
    for k in range(scores.shape[1]):
        ranked = sorted((-s, b) for s, b in zip(scores[:, k].tolist(), boxes.tolist(), strict=True))
        kept = []
        for negative, box in ranked:
            clear = all(iou(*torch.tensor([box, b]).double()).item() <= iou_threshold for _, b in kept)
            if -negative > min_score and clear:
                kept.append((negative, box))
        chosen += [(negative, box, k) for negative, box in kept[:top_k]]
    return sorted(chosen)


def as_rows(boxes, scores, box, label):
    triples = zip((-scores[box, label]).tolist(), boxes[box].tolist(), label.tolist(), strict=True)
    return list(triples)


@st.composite
def candidates(draw):
    """Boxes of which many overlap, three classes, and scores of which many are equal."""
    boxes = draw(drawn_boxes())
    rows = st.lists(st.integers(0, 6), min_size=3, max_size=3)
    scores = draw(st.lists(rows, min_size=len(boxes), max_size=len(boxes)))
    return boxes, torch.tensor(scores, dtype=torch.float64).view(-1, 3) / 6


@given(candidates(), st.sampled_from([0, 1 / 3, 0.5, 1]), st.integers(1, 4), st.randoms())
def test_nms_equals_the_loop_in_any_order_and_twice(drawn, iou_threshold, top_k, random):
    boxes, scores = drawn
    rules = {"min_score": 1 / 6, "iou_threshold": iou_threshold, "top_k": top_k}
    box, label = nms(boxes, scores, **rules)
    found = as_rows(boxes, scores, box, label)
    assert found == nms_by_hand(boxes, scores, **rules)

    order = list(range(len(boxes)))
    random.shuffle(order)
    assert as_rows(boxes[order], scores[order], *nms(boxes[order], scores[order], **rules)) == found

    survivors = torch.zeros(len(box), 3, dtype=torch.float64)
    survivors[torch.arange(len(box)), label] = scores[box, label]
    assert as_rows(boxes[box], survivors, *nms(boxes[box], survivors, **rules)) == found


def test_nms_of_all_anchors_and_classes_at_once_is_fast():
    """What an untrained network answers: 258,560 candidates. A loop over them would take minutes of CPU."""
    anchors = make_anchors(GRIDS_320, (320, 320))
    boxes, scores = decode(torch.randn(3232, 4), anchors), torch.rand(3232, 80)
    start = time.process_time()
    box, label = nms(boxes, scores)
    assert time.process_time() - start < 5
    assert (label.bincount() == 200).all()
    assert (scores[box, label].diff() <= 0).all()


def test_nms_does_not_stumble_over_bad_boxes():
    nan, flat = [math.nan] * 4, [5.0, 5, 5, 9]
    boxes = torch.tensor([nan, flat, flat, [0, 0, 10, 10], [-math.inf, 0, math.inf, 10]])
    box, _ = nms(boxes, torch.tensor([[math.nan], [0.4], [0.4], [0.9], [0.1]]), top_k=9)
    assert box.tolist()[:3] in ([3, 1, 2], [3, 2, 1])
    assert [t.tolist() for t in nms(boxes[:0], torch.zeros(0, 3))] == [[], []]


@pytest.mark.parametrize(
    ("boxes", "scores", "rules", "words"),
    [
        ((3, 4), (2, 5), {}, r"\(3, 4\) and \(2, 5\)"),
        ((3, 4), (3,), {}, r"scores \[N, K\]"),
        ((3, 4), (3, 2), {"iou_threshold": 1.5}, "iou_threshold=1.5"),
        ((3, 4), (3, 2), {"top_k": 0}, "top_k=0"),
    ],
)
def test_nms_names_what_is_wrong(boxes, scores, rules, words):
    with pytest.raises(ValueError, match=words):
        nms(torch.zeros(boxes), torch.zeros(scores), **rules)
