"""The rule for two groups of seeds, against pairs counted by hand and against chance itself."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit_lib.course.seeds import half_range, verdict

whole = st.integers(-1000, 1000).map(lambda n: 60 * n)  # means of three to six are exact
groups = st.lists(whole, min_size=3, max_size=6)
OPPOSITE = {"better": "worse", "worse": "better", "no clear difference": "no clear difference"}


@pytest.mark.parametrize(
    ("reference", "other", "expected"),
    [
        ([75, 76, 77], [80, 82, 84], "better"),
        ([80, 82, 84], [75, 76, 77], "worse"),
        ([70, 71, 72], [71, 72, 73], "no clear difference"),
        ([70, 71, 72], [72, 73, 74], "no clear difference"),  # as far apart as the doubt: no lead
        ([70, 71, 72], [72, 73, 77], "no clear difference"),  # 3 apart, a doubt of 3.5
        ([5, 5, 5], [5, 5, 5], "no clear difference"),
        ([1, 2], [100, 200, 300], "too few seeds"),
        ([100, 200, 300], [1, 2], "too few seeds"),
        ([], [1, 2, 3], "too few seeds"),
    ],
)
def test_verdicts_counted_by_hand(reference, other, expected):
    assert verdict(reference, other) == expected


@given(st.lists(whole, min_size=1))
def test_the_half_range_is_the_largest_distance_of_any_two_halved(values):
    assert half_range(values) == max(abs(a - b) for a in values for b in values) / 2


@given(groups, groups)
def test_exchanging_the_groups_exchanges_the_words(a, b):
    assert verdict(b, a) == OPPOSITE[verdict(a, b)]


@given(groups, groups, whole, st.randoms())
def test_neither_order_nor_a_common_shift_matters(a, b, shift, draw):
    expected = verdict(a, b)
    assert verdict(draw.sample(a, len(a)), draw.sample(b, len(b))) == expected
    moved = ([x + shift for x in group] for group in (a, b))
    assert verdict(*moved) == expected


@given(groups)
def test_a_group_is_never_better_than_itself(a):
    assert verdict(a, a) == "no clear difference"


@given(groups, groups)
def test_groups_far_apart_are_told_apart(a, b):
    assert verdict(a, [x + 300_000 for x in b]) == "better"


def test_a_verdict_is_the_rule_in_whole_numbers():
    draw = random.Random(0)
    for _ in range(2000):
        a, b = ([draw.randrange(12) for _ in range(3)] for _ in "ab")
        lead, doubt = 2 * (sum(b) - sum(a)), 3 * (max(a) - min(a) + max(b) - min(b))  # both times six
        if doubt < abs(lead):
            assert verdict(a, b) == ("better" if lead > 0 else "worse")
        elif abs(lead) < doubt:
            assert verdict(a, b) == "no clear difference"


def test_equal_groups_are_told_apart_as_seldom_as_notebook_08_says():
    draw = random.Random(1)
    pairs = [[[draw.gauss(0, 1) for _ in range(3)] for _ in "ab"] for _ in range(4000)]
    told = sum(verdict(*pair) != "no clear difference" for pair in pairs) / len(pairs)
    assert math.isclose(told, 0.09, abs_tol=0.015)
