"""Counting equals scikit-learn, and borders a count pixel by pixel."""

import numpy as np
import pytest
import torch
from sklearn import metrics

from mvit_lib.train.metrics import ClassificationCounter, SegmentationCounter

CLASSES = tuple("abcdefg")


@pytest.fixture
def predictions():
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(200, 7, generator=draw)
    labels = torch.randint(0, 6, (200,), generator=draw)  # class g never occurs
    return logits, labels


def counted(logits, labels, batch=33):
    counter = ClassificationCounter(7)
    for i in range(0, len(labels), batch):
        counter.add(logits[i : i + batch], labels[i : i + batch])
    return counter.result(CLASSES)


def test_confusion_and_scores_equal_scikit_learn(predictions):
    logits, labels = predictions
    result, predicted = counted(*predictions), logits.argmax(1)
    expected = metrics.confusion_matrix(labels, predicted, labels=range(7))
    assert (result.confusion.numpy() == expected).all()
    assert result.top1 == pytest.approx(metrics.accuracy_score(labels, predicted))
    top5 = metrics.top_k_accuracy_score(labels, logits.double(), k=5, labels=range(7))
    assert result.top5 == pytest.approx(top5)
    probabilities = logits.double().softmax(1).numpy()
    assert result.loss == pytest.approx(metrics.log_loss(labels, probabilities, labels=range(7)), rel=1e-5)


def test_per_class_table_equals_scikit_learn(predictions):
    logits, labels = predictions
    table = counted(*predictions).per_class()
    expected = metrics.precision_recall_fscore_support(
        labels, logits.argmax(1), labels=range(7), zero_division=0
    )
    for name, column in zip(("precision", "recall", "f1", "images"), expected, strict=True):
        np.testing.assert_allclose([row[name] for row in table], column, atol=1e-6)
    assert [row["class"] for row in table] == list(CLASSES)


def test_batches_do_not_matter(predictions):
    one, many = counted(*predictions, batch=200), counted(*predictions, batch=7)
    assert torch.equal(one.confusion, many.confusion)
    assert (one.in_top5, one.images) == (many.in_top5, many.images)


def test_the_text_ends_with_the_two_numbers_everyone_asks_for(predictions):
    result = counted(*predictions)
    lines = str(result).splitlines()
    assert lines[-1] == f"top-1 {result.top1:.2%}, top-5 {result.top5:.2%} of 200 images"
    assert [line.split()[0] for line in lines[1:-1]] == list(CLASSES)


# Masks


def masks(seed, shape=(24, 37), classes=4):
    """A mask of blobs and another that resembles it; 255 in some places of the true one."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, classes, (shape[0] // 6 + 1, shape[1] // 6 + 1))
    truth = np.kron(coarse, np.ones((6, 6), dtype=np.int64))[: shape[0], : shape[1]]
    found = np.roll(truth, draw.integers(-2, 3, 2), (0, 1))
    found[draw.random(shape) < 0.05] = draw.integers(0, classes)
    truth = truth.copy()
    truth[draw.random(shape) < 0.1] = 255
    return found, truth


def counted_masks(pairs, classes=4):
    counter = SegmentationCounter(classes)
    for found, truth in pairs:
        counter.add(torch.tensor(found), torch.tensor(truth))
    return counter.result(CLASSES[:classes])


def test_iou_equals_scikit_learn():
    pairs = [masks(seed, (24, 37 + seed)) for seed in range(3)]
    result = counted_masks(pairs, 5)  # class e never occurs
    known = [(f[t != 255], t[t != 255]) for f, t in pairs]
    found, truth = (np.concatenate(parts) for parts in zip(*known, strict=True))
    assert (result.confusion.numpy() == metrics.confusion_matrix(truth, found, labels=range(5))).all()
    expected = metrics.jaccard_score(truth, found, labels=range(4), average=None)
    assert result.iou[:4].tolist() == pytest.approx(expected)
    assert result.iou[4].isnan()
    assert result.miou == pytest.approx(expected.mean())
    assert result.pixel_accuracy == pytest.approx(metrics.accuracy_score(truth, found))
    assert result.scores()["miou"] == result.miou
    assert "mean IoU" in str(result)


def boundary_by_hand(pairs, classes):
    """Pixel by pixel: F1 of border pixels with one of their class at most r rows and columns away."""
    near, count = np.zeros((2, classes)), np.zeros((2, classes))
    for found, truth in pairs:
        H, W = truth.shape
        r = max(1, round(0.0075 * np.hypot(H, W)))
        both = [np.where(truth == 255, 255, found), truth]
        borders = [{}, {}]
        for side, mask in enumerate(both):
            for y in range(H):
                for x in range(W):
                    around = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
                    values = [mask[v, u] for v, u in around if 0 <= v < H and 0 <= u < W]
                    if mask[y, x] != 255 and any(v not in (255, mask[y, x]) for v in values):
                        borders[side][y, x] = mask[y, x]
        for side in (0, 1):
            for (y, x), c in borders[side].items():
                count[side, c] += 1
                window = [(y + dy, x + dx) for dy in range(-r, r + 1) for dx in range(-r, r + 1)]
                near[side, c] += any(borders[1 - side].get(place) == c for place in window)
    scores = []
    for c in range(classes):
        precision, recall = (near[s, c] / count[s, c] if count[s, c] else 0 for s in (0, 1))
        absent = not count[:, c].any()
        scores.append(np.nan if absent else 2 * precision * recall / max(precision + recall, 1e-12))
    return scores


@pytest.mark.parametrize("shape", [(24, 37), (160, 20)])
def test_boundary_f_equals_the_count_by_hand(shape):
    pairs = [masks(seed, shape) for seed in range(2)]
    expected = boundary_by_hand(pairs, 5)
    found = counted_masks(pairs, 5).boundary_f.tolist()
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert 0.1 < np.nanmean(expected) < 0.99


def test_a_perfect_mask_scores_one_and_an_ignored_one_nothing():
    _, truth = masks(0)
    result = counted_masks([(np.where(truth == 255, 0, truth), truth)])
    assert set(result.scores().values()) == {1.0}
    nothing = counted_masks([(truth % 4, np.full_like(truth, 255))])
    assert nothing.confusion.sum() == 0
    assert nothing.iou.isnan().all()


@pytest.mark.parametrize("wrong", [4, 254, -1])
def test_a_class_that_is_not_there_is_named(wrong):
    found, truth = masks(0)
    truth[3, 5] = wrong
    with pytest.raises(ValueError, match=f"class {wrong} in a mask: expected 0 … 3, or 255"):
        counted_masks([(found, truth)])
