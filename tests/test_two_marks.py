"""The task of notebooks 05 and 06: what its pictures hold, and what a sum over pixels cannot know."""

import pytest
import torch

from mvit_lib.course.two_marks import COLOURS, accuracy, learn, light_network, mark_positions, two_marks


def test_positions_are_all_pairs_of_marks_that_do_not_overlap():
    def cells(y, x):
        return {(y + i, x + j) for i in range(2) for j in range(2)}

    expected = {
        (y1, x1, y2, x2)
        for y1 in range(3)
        for x1 in range(4)
        for y2 in range(3)
        for x2 in range(4)
        if (y1, x1) < (y2, x2) and not cells(y1, x1) & cells(y2, x2)
    }
    found = [tuple(row) for row in mark_positions((4, 5)).tolist()]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_the_label_says_whether_the_marks_have_one_colour():
    positions = torch.tensor([[0, 0, 3, 5]])
    images, labels = two_marks(200, (5, 7), positions, torch.Generator().manual_seed(0))
    first, second = images[:, :, 0, 0], images[:, :, 3, 5]
    assert (labels == (first == second).all(dim=1)).all()
    assert 60 < labels.sum() < 140
    assert all(bool((colour == COLOURS).all(dim=1).any()) for colour in torch.cat([first, second]))
    for y, x in ((0, 0), (3, 5)):
        assert (images[:, :, y : y + 2, x : x + 2] == images[:, :, y, x, None, None]).all()
    assert images.min() >= 0 and images.max() <= 1


def test_one_mark_alone_says_nothing():
    images, labels = two_marks(4000, (4, 6), torch.tensor([[0, 0, 2, 4]]), torch.Generator().manual_seed(1))
    red = images[:, 0, 0, 0] > 0.5
    assert abs(labels[red].float().mean() - labels[~red].float().mean()) < 0.05


def test_impossible_places_are_named():
    with pytest.raises(ValueError, match="empty"):
        two_marks(1, (4, 4), torch.empty(0, 4, dtype=torch.int64), torch.Generator())
    with pytest.raises(ValueError, match="outside"):
        two_marks(1, (4, 4), torch.tensor([[0, 0, 3, 0]]), torch.Generator())


@pytest.mark.slow
def test_convolutions_compare_marks_inside_their_receptive_field_only():
    """Depth 3 sees 9 pixels each way: marks 8 apart meet in one pixel, marks 10 apart never do."""
    size = (8, 20)
    positions = mark_positions(size)
    in_one_row = positions[positions[:, 0] == positions[:, 2]]
    apart = in_one_row[:, 3] - in_one_row[:, 1]
    torch.manual_seed(0)
    model = light_network(depth=3)
    learn(model, size, in_one_row[apart % 2 == 0], batch=64)
    assert accuracy(model, size, in_one_row[apart == 6]) > 0.95
    assert accuracy(model, size, in_one_row[apart == 10]) < 0.6
    assert accuracy(model, size, in_one_row[apart == 14]) < 0.6
