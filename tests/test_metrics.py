"""Counting equals scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics

from mvit_lib.train.metrics import ClassificationCounter

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
