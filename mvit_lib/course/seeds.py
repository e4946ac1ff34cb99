"""When two groups of trainings differ: the course's one rule, derived in notebook 08."""

from collections.abc import Sequence
from statistics import mean


def half_range(values: Sequence[float]) -> float:
    """Half the distance between the largest and the smallest value: how much seeds alone move a result."""
    return (max(values) - min(values)) / 2


def verdict(reference: Sequence[float], other: Sequence[float]) -> str:
    """Whether `other` differs from `reference`, each a result of every seed.

    "better" or "worse" where the means lie farther apart than both half ranges together, else "no clear
    difference"; "too few seeds" with fewer than three on a side. None of them told apart is no proof that
    both are equal. Of equal groups of three, 9 % come out as "better" or "worse" by chance.
    """
    if min(len(reference), len(other)) < 3:
        return "too few seeds"
    lead, doubt = mean(other) - mean(reference), half_range(reference) + half_range(other)
    return "no clear difference" if abs(lead) <= doubt else "better" if lead > 0 else "worse"
