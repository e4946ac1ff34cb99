"""What stands in front of the animals: grass, a twig with leaves, a post. Same conventions as animals."""

import numpy as np
from numpy.random import Generator

from mvit_lib.data.zoo.shapes import Part, between, chance, leaf, limb, polygon


def grass(draw: Generator) -> list[Part]:
    """A tuft of blades."""
    n = int(draw.integers(5, 10))
    blades = []
    for x, lean in zip(np.linspace(-0.3, 0.3, n), draw.uniform(-0.35, 0.35, n), strict=True):
        height = between(draw, 0.5, 1.0)
        blades.append(leaf((x, 0.0), (x + 0.8 * x + lean, -height), 0.13, 0.35, 0.3 * lean))
    order = draw.permutation(n)
    return [
        Part(tuple(blades[k] for k in order[: n // 2]), "accent_shade"),
        Part(tuple(blades[k] for k in order[n // 2 :]), "accent"),
    ]


def twig(draw: Generator) -> list[Part]:
    """A stem with leaves on both sides."""
    n, bend = int(draw.integers(3, 6)), between(draw, -0.2, 0.2)
    stem = limb(((0.0, 0.0), (bend, -0.5), (0.0, -1.0)), (0.03, 0.025, 0.015))
    leaves = [[], []]
    for k in range(n):
        y, side = -0.15 - 0.8 * k / n, 1 if k % 2 else -1
        tip = (side * between(draw, 0.3, 0.45) + bend, y - between(draw, 0.05, 0.3))
        leaves[k % 2].append(leaf((bend * (1 - (2 * y + 1) ** 2), y), tip, between(draw, 0.14, 0.22)))
    top = leaf((0.0, -0.95), (0.0, -1.3), 0.18)
    return [Part((stem, *leaves[0]), "accent_shade"), Part((top, *leaves[1]), "accent")]


def post(draw: Generator) -> list[Part]:
    """A wooden post, with or without a board."""
    thick = between(draw, 0.05, 0.09)
    trunk = polygon((-thick, 0.0), (-thick, -0.95), (0.0, -1.0), (thick, -0.95), (thick, 0.0))
    side = polygon((0.3 * thick, 0.0), (0.3 * thick, -1.0), (thick, -1.0), (thick, 0.0))
    parts = [Part((trunk,), "accent", ((side, "accent_shade"),))]
    if chance(draw, 0.5):
        y, half, tilt = between(draw, -1.0, -0.9), between(draw, 0.25, 0.4), between(draw, -0.06, 0.06)
        board = polygon((-half, y - tilt), (half, y + tilt), (half, y + tilt + 0.3), (-half, y - tilt + 0.3))
        parts.append(Part((board,), "accent_tint"))
    return parts


PLANTS = (grass, twig, post)
