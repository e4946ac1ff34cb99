"""Cat, elephant, giraffe and rabbit; y points down, the units are free."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator

from mvit_lib.data.zoo.coats import any_pattern, coat, eyes, legs
from mvit_lib.data.zoo.shapes import (
    Part,
    between,
    blob,
    chance,
    dot,
    ellipse,
    leaf,
    limb,
    placed,
    polygon,
    shrunk,
    symmetric,
)

SIDES = (-1, 1)


def cat(draw: Generator) -> list[Part]:
    """Sitting and facing us, or walking; thin or fat, tail up, curled or low."""
    pattern = any_pattern(draw)
    return _sitting_cat(draw, pattern) if chance(draw, 0.5) else _walking_cat(draw, pattern)


def _sitting_cat(draw: Generator, pattern: str) -> list[Part]:
    fat, curl, lift = between(draw, 0.85, 1.2), between(draw, 0.55, 0.85), between(draw, -0.5, 0.35)
    course = ((0.25, 0.75), (curl, 0.75), (curl + 0.12, lift + 0.2), (curl - 0.1, lift))
    body = symmetric((0, -0.3), (0.28 * fat, 0.0), (0.46 * fat, 0.55), (0.3 * fat, 0.86))
    parts = [
        Part((limb(course, (0.09, 0.1, 0.09, 0.08)),), "body_shade"),
        coat(draw, [body], pattern),
        coat(draw, legs(((-0.14, -0.02), (0.14, 0.02)), 0.3, 0.8, (0.1, 0.11))),
        Part(tuple(ellipse(side * 0.17, 0.86, 0.15, 0.09) for side in SIDES), "body_tint"),
    ]
    return parts + _cat_head(draw, between(draw, -0.08, 0.08), -0.42, between(draw, 0.34, 0.42), pattern)


def _walking_cat(draw: Generator, pattern: str) -> list[Part]:
    long, fat, foot = between(draw, 0.42, 0.62), between(draw, 0.22, 0.32), between(draw, 0.45, 0.62)
    step, rise, sway = between(draw, -0.18, 0.18), between(draw, -0.85, -0.1), between(draw, -0.45, 0.2)
    tail = limb(
        ((-long, -0.05), (-long - 0.32, 0.3 * rise), (-long - 0.3 + 0.3 * sway, rise),
         (-long - 0.1 + sway, rise - 0.12)), (0.09, 0.08, 0.08, 0.06),
    )  # fmt: skip
    far = legs(((0.2 - long, step), (long - 0.2, -step)), 0.05, foot, (0.11, 0.08))
    near = legs(((-long, -step), (long - 0.05, step)), 0.05, foot + 0.05, (0.13, 0.09))
    body = limb(((-long, 0), (0, 0.02), (long, -0.05)), (1.05 * fat, fat, 1.1 * fat))
    parts = [Part((tail, *far), "body_shade"), coat(draw, [*near, body], pattern)]
    head = long + 0.16, between(draw, -0.47, -0.2), between(draw, 0.3, 0.38)
    return parts + _cat_head(draw, *head, pattern)


def _cat_head(draw: Generator, x: float, y: float, r: float, pattern: str) -> list[Part]:
    """A face towards us, of radius about r around (x, y)."""
    tall, wide = between(draw, 1.1, 1.5), between(draw, 0.75, 0.95)
    ears = [polygon((s * 0.12, -0.75), (s * wide, -tall), (s * 0.98, -0.1)) for s in SIDES]
    skull, *muzzle = _cat_face()
    face = [
        Part(tuple(ears), "body"),
        Part(tuple(shrunk(ear, 0.55) for ear in ears), "blush"),
        skull._replace(marks=()) if pattern == "plain" else skull,
        *muzzle,
        *eyes(draw, ((-0.42, -0.08), (0.42, -0.08)), between(draw, 0.17, 0.22)),
    ]
    return moved(face, x, y, r)


@lru_cache
def _cat_face() -> tuple[Part, ...]:
    """What all cats have in common: a skull with a striped brow, cheeks, whiskers, nose and mouth."""
    skull = symmetric((0, -0.82), (0.75, -0.55), (1.08, 0.2), (0.6, 0.75), (0, 0.85))
    brow = tuple((leaf((k * 0.28, -1), (k * 0.2, -0.3), 0.2), "second") for k in (-1, 0, 1))
    whiskers = [
        limb(((s * 0.45, 0.38 + 0.12 * k), (s * 1.35, 0.3 + 0.25 * k)), (0.032, 0.025))
        for s in SIDES
        for k in (-1, 0, 1)
    ]
    nose = polygon((-0.13, 0.2), (0.13, 0.2), (0, 0.36))
    mouth = limb(((-0.22, 0.44), (-0.1, 0.53), (0, 0.42), (0.1, 0.53), (0.22, 0.44)), (0.025,) * 5)
    return (
        Part((skull,), "body", brow),
        Part(tuple(ellipse(s * 0.2, 0.42, 0.28, 0.22) for s in SIDES), "body_tint"),
        Part((*whiskers, nose, mouth), "dark"),
    )


def moved(parts: list[Part], x: float, y: float, size: float) -> list[Part]:
    """All parts, `size` times as large, with their origin at (x, y)."""
    there = complex(x, y)
    return [
        Part(
            tuple([outline * size + there for outline in part.outlines]),
            part.role,
            tuple([(mark * size + there, role) for mark, role in part.marks]),
        )
        for part in parts
    ]


def elephant(draw: Generator) -> list[Part]:
    """From the side: big or small ears, with or without tusks; the trunk hangs, reaches or trumpets."""
    fat, foot, step = between(draw, 0.42, 0.52), between(draw, 0.5, 0.72), between(draw, -0.12, 0.12)
    far = legs(((-0.25, step), (0.42, -step)), 0.2, foot, (0.16, 0.14))
    near = legs(((-0.45, -step), (0.2, step)), 0.2, foot + 0.06, (0.18, 0.16))
    toes = [(x, foot + 0.18) for x in (-0.45 - step, -0.35 - step, 0.2 + step, 0.3 + step)]
    tail = limb(((-0.55, -0.15), (-0.75, 0.05), (-0.72, 0.35)), (0.05, 0.03, 0.025))
    parts = [
        Part((*far, tail), "body_shade"),
        Part((leaf((-0.73, 0.28), (-0.7, 0.52), 0.12),), "dark"),
        coat(draw, [ellipse(-0.08, 0, 0.62, fat), *near], any_pattern(draw)),
        Part(tuple(dot(*toe, 0.05) for toe in toes), "body_tint"),
    ]
    return parts + moved(_elephant_head(draw), 0.56, between(draw, -0.42, -0.2), 1.0)


TRUNKS = (
    ((0.5, 0.35), (0.48, 0.75), (0.62, 0.95)),
    ((0.52, 0.25), (0.75, 0.5), (0.98, 0.3)),
    ((0.6, 0.15), (0.85, -0.2), (0.75, -0.6)),
    ((0.48, 0.4), (0.4, 0.75), (0.15, 0.72)),
)


def _elephant_head(draw: Generator) -> list[Part]:
    r, course = between(draw, 0.32, 0.38), TRUNKS[draw.integers(len(TRUNKS))]
    course = np.array([(0.2, 0.0), *course]) + draw.uniform(-0.06, 0.06, (4, 2))
    trunk = limb(tuple(course.tolist()), (0.2, 0.14, 0.1, 0.085))
    x, y = course[1]
    folds = [
        limb(((x - 0.1 + d, y + 6 * d), (x + 0.1 + d, y - 0.02 + 6 * d)), (0.012,) * 2) for d in (0, 0.02)
    ]
    parts = [
        coat(draw, [ellipse(0, 0, r, 1.05 * r), trunk]),
        Part((trunk,), "body", tuple((fold, "body_shade") for fold in folds)),
    ]
    if chance(draw, 0.65):
        length = between(draw, 0.25, 0.5)
        curve = ((0.2, 0.2), (0.2 + 0.5 * length, 0.38), (0.22 + length, 0.3))
        parts.append(Part((limb(curve, (0.065, 0.05, 0.015)),), "white"))
    ear = blob((0.02, -0.3), (-0.25, -0.42), (-0.5, -0.25), (-0.52, 0.1), (-0.32, 0.42), (-0.12, 0.36),
               (-0.02, 0.1))  # fmt: skip
    ear = placed(ear, -0.02, 0, between(draw, 0.75, 1.2), between(draw, -0.35, 0.3))
    inner = "body_tint" if chance(draw, 0.5) else "blush"
    parts += [Part((ear,), "body_shade"), Part((shrunk(ear, 0.84),), inner)]
    return parts + eyes(draw, ((0.16, -0.1),), 0.065)


def giraffe(draw: Generator) -> list[Part]:
    """From the side: neck upright or leaning, legs striding; the patches may be missing."""
    neck, lean, bend = between(draw, 0.7, 1.15), between(draw, 0.0, 0.65), between(draw, -0.1, 0.08)
    foot, step = between(draw, 0.7, 0.95), between(draw, -0.16, 0.16)
    head = (0.38 + lean, -0.15 - neck)
    course = ((0.25, -0.1), (0.36 + 0.4 * lean + bend, -0.12 - 0.5 * neck), head)
    nape = tuple((x - 0.09, y + 0.02) for x, y in course)
    tail = limb(((-0.52, 0.0), (-0.66, 0.2), (-0.62 + step, 0.5)), (0.035, 0.022, 0.02))
    tuft = leaf((-0.62 + step, 0.44), (-0.6 + step, 0.68), 0.11)
    skin = [
        *_giraffe_legs(((-0.36, -step), (0.2, step)), foot + 0.05, (0.1, 0.06, 0.045)),
        limb(((-0.32, 0.04), (0.25, -0.06)), (0.24, 0.25)),
        limb(course, (0.2, 0.12, 0.09)),
    ]
    far = _giraffe_legs(((-0.24, step), (0.3, -step)), foot, (0.09, 0.05, 0.04))
    parts = [
        Part((*far, tail), "body_shade"),
        Part((limb(nape, (0.14, 0.08, 0.06)), tuft), "second_shade"),
        coat(draw, skin, ("patches", "spots")[draw.integers(2)] if chance(draw, 0.7) else any_pattern(draw)),
        Part(tuple(ellipse(x, foot + 0.07, 0.07, 0.055) for x in (-0.36 - step, 0.2 + step)), "dark"),
    ]
    return parts + moved(_giraffe_head(draw), *head, 1.0)


def _giraffe_legs(
    places: tuple[tuple[float, float], ...], foot: float, radii: tuple[float, ...]
) -> list[np.ndarray]:
    """Legs with knees, from height 0.05 to height `foot`."""
    return [limb(((x, 0.05), (x + 0.6 * d, 0.5 * foot), (x + d, foot)), radii) for x, d in places]


def _giraffe_head(draw: Generator) -> list[Part]:
    droop, horn, ear = between(draw, -0.02, 0.16), between(draw, 0.16, 0.26), between(draw, 0.18, 0.26)
    horns = [limb(((x, -0.05), (x - 0.03, -horn)), (0.025, 0.025)) for x in (-0.05, 0.06)]
    knobs = [dot(x, -horn - 0.01, 0.045) for x in (-0.08, 0.03)]
    skull = limb(((0, 0), (0.16, 0.05 + 0.5 * droop), (0.3, 0.07 + droop)), (0.14, 0.11, 0.09))
    mouth = limb(((0.24, 0.13 + droop), (0.36, 0.12 + droop)), (0.01, 0.01))
    return [
        Part((*horns, *knobs), "dark"),
        Part((leaf((-0.05, -0.06), (-0.05 - ear, -0.06 - 0.5 * ear), 0.12),), "body_shade"),
        Part((skull,), "body"),
        Part((ellipse(0.33, 0.08 + droop, 0.1, 0.085),), "body_tint"),
        Part((dot(0.37, 0.05 + droop, 0.016), mouth), "dark"),
        *eyes(draw, ((0.06, -0.03),), 0.05),
    ]


def rabbit(draw: Generator) -> list[Part]:
    """Sitting sideways or facing us; ears upright, apart, or one of them flopped."""
    pattern = any_pattern(draw)
    return _facing_rabbit(draw, pattern) if chance(draw, 0.5) else _sideways_rabbit(draw, pattern)


def _upright_ear(draw: Generator, x: float, y: float, lean: float) -> list[Part]:
    length = between(draw, 0.6, 0.9)
    ear = leaf((x, y + 0.1), (x + lean * length, y - length), between(draw, 0.2, 0.28), 0.6)
    return [Part((ear,), "body"), Part((shrunk(ear, 0.62),), "blush")]


def _flopped_ear(draw: Generator, x: float, y: float, side: int) -> list[Part]:
    top = y - between(draw, 0.24, 0.36)
    course = ((x, y), (x + side * 0.12, top), (x + side * 0.4, top), (x + side * 0.5, y))
    inner = limb(course[1:], (0.03, 0.06, 0.03))
    return [Part((limb(course, (0.08, 0.1, 0.12, 0.08)),), "body"), Part((inner,), "blush")]


def _facing_rabbit(draw: Generator, pattern: str) -> list[Part]:
    fat, r, lean = between(draw, 0.85, 1.15), between(draw, 0.32, 0.38), between(draw, 0.05, 0.35)
    body = symmetric((0, -0.2), (0.32 * fat, 0.1), (0.44 * fat, 0.55), (0.25 * fat, 0.85))
    parts = [
        Part((dot(0.42 * fat, 0.62, 0.16),), "body_tint"),
        coat(draw, [body], pattern),
        coat(draw, [ellipse(s * 0.3 * fat, 0.86, 0.22, 0.11, s * 0.15) for s in SIDES]),
        Part(tuple(legs(((-0.22, 0.1), (0.22, -0.1)), 0.2, 0.42, (0.08, 0.085))), "body"),
    ]
    flopped = int(draw.integers(5))  # 0 both, 1 one, none otherwise
    for side in SIDES:
        if flopped == 0 or (flopped == 1 and side == 1):
            parts += _flopped_ear(draw, side * 0.14, -0.62, side)
        else:
            parts += _upright_ear(draw, side * 0.14, -0.62, side * lean)
    head = symmetric((0, -0.42 - r), (0.8 * r, -0.42 - 0.6 * r), (1.05 * r, -0.3), (0.55 * r, -0.38 + r))
    whiskers = [
        limb(((s * 0.14, -0.2), (s * 0.46, y)), (0.011, 0.008)) for s in SIDES for y in (-0.24, -0.14)
    ]
    return [
        *parts,
        Part((head,), "body"),
        Part(tuple(ellipse(s * 0.09, -0.2, 0.11, 0.09) for s in SIDES), "body_tint"),
        Part((polygon((-0.04, -0.13), (0.04, -0.13), (0.04, -0.04), (-0.04, -0.04)),), "white"),
        Part((ellipse(0, -0.28, 0.055, 0.04), *whiskers), "dark"),
        *eyes(draw, ((-0.17, -0.42), (0.17, -0.42)), between(draw, 0.06, 0.08)),
    ]


def _sideways_rabbit(draw: Generator, pattern: str) -> list[Part]:
    long, arch, lean = between(draw, 0.42, 0.56), between(draw, 0.3, 0.4), between(draw, -0.7, 0.0)
    x, y = long + between(draw, -0.02, 0.1), between(draw, -0.45, -0.2)
    body = blob(
        (-long - 0.08, 0.3), (-long + 0.1, -0.15), (-0.05, -arch), (long - 0.05, -0.3), (long + 0.1, 0.1),
        (long - 0.05, 0.45), (-0.1, 0.52), (-long + 0.1, 0.52),
    )  # fmt: skip
    hind = limb(((-long + 0.15, 0.5), (-long + 0.5, 0.52)), (0.08, 0.08))
    flopped = chance(draw, 0.2)
    return [
        Part((dot(-long - 0.1, 0.25, between(draw, 0.13, 0.18)),), "body_tint"),
        coat(draw, [body], pattern),
        coat(draw, [ellipse(-long + 0.28, 0.24, 0.28, 0.27), hind]),
        Part((limb(((long - 0.1, 0.25), (long + 0.02, 0.52)), (0.11, 0.08)),), "body"),
        *_upright_ear(draw, x - 0.04, y - 0.18, lean - between(draw, 0.1, 0.35)),
        *(_flopped_ear(draw, x, y - 0.18, -1) if flopped else _upright_ear(draw, x, y - 0.18, lean)),
        *moved(_rabbit_profile(draw), x, y, between(draw, 0.25, 0.3)),
    ]


def _rabbit_profile(draw: Generator) -> list[Part]:
    """A head of radius 1 that looks to the right."""
    return [*_rabbit_face(), *eyes(draw, ((0.35, -0.2),), between(draw, 0.2, 0.25))]


@lru_cache
def _rabbit_face() -> tuple[Part, ...]:
    """What all rabbits in profile have in common: head, cheek, nose and whiskers."""
    head = blob((-1, 0), (-0.5, -0.85), (0.4, -0.75), (1.08, 0.1), (0.95, 0.5), (0, 0.85), (-0.8, 0.6))
    whiskers = [limb(((0.8, 0.35), (0.3, end)), (0.035, 0.025)) for end in (0.35, 0.7)]
    return (
        Part((head,), "body"),
        Part((ellipse(0.3, 0.45, 0.3, 0.22),), "body_tint"),
        Part((ellipse(1.05, 0.18, 0.13, 0.11), *whiskers), "dark"),
    )
