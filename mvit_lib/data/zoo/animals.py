"""The ten animals as functions from random numbers to parts; those without fur are drawn here."""

from collections.abc import Callable
from math import pi

import numpy as np
from numpy.random import Generator

from mvit_lib.data.zoo.coats import any_pattern, coat, eyes, legs
from mvit_lib.data.zoo.mammals import SIDES, cat, elephant, giraffe, moved, rabbit
from mvit_lib.data.zoo.shapes import (
    Part,
    between,
    blob,
    chance,
    dot,
    ellipse,
    leaf,
    limb,
    mirrored,
    polygon,
    shrunk,
    symmetric,
    toward,
)


def bird(draw: Generator) -> list[Part]:
    """From the side: finch, gull, heron or chick; perched, or with raised wings."""
    plump, neck, flying = between(draw, 0.8, 1.15), between(draw, 0.0, 0.4), chance(draw, 0.4)
    x, y, r = 0.45 + 0.25 * neck, -0.36 - neck, between(draw, 0.2, 0.28)
    body = [
        ellipse(0, 0, 0.56, 0.38 * plump, -0.3),
        limb(((0.2, -0.1), (x, y)), (0.3 * plump, 0.8 * r)),
        ellipse(x, y, r, 0.95 * r),
    ]
    return [
        *_tail_feathers(draw),
        *([] if flying else _bird_legs(draw, 0.36 * plump)),
        *moved(_beak_and_crest(draw), x, y, r),
        coat(draw, body, "belly" if chance(draw, 0.4) else any_pattern(draw)),
        *eyes(draw, ((x + 0.3 * r, y - 0.2 * r),), 0.26 * r),
        *(_raised_wing(draw) if flying else _folded_wing(draw)),
    ]


def _tail_feathers(draw: Generator) -> list[Part]:
    length, angle, fan = between(draw, 0.35, 0.8), pi + between(draw, -0.5, 0.35), between(draw, 0.1, 0.3)
    upper, lower, middle = (
        leaf((-0.3, 0.1), toward((-0.4, 0.12), length, angle + k * fan), 0.24, 0.6) for k in (-1, 1, 0)
    )
    return [Part((upper, lower), "second_shade"), Part((middle,), "second")]


def _bird_legs(draw: Generator, top: float) -> list[Part]:
    foot, stride = top + between(draw, 0.22, 0.6), between(draw, -0.08, 0.12)
    shins = legs(((-0.08, 0.02 - stride), (0.1, 0.04 + stride)), top - 0.2, foot, (0.04, 0.03))
    toes = [
        limb(((x - 0.08, foot + 0.02), (x, foot - 0.02), (x + 0.16, foot + 0.03)), (0.03,) * 3)
        for x in (-0.06 - stride, 0.14 + stride)
    ]
    return [Part((*shins, *toes), "accent")]


def _beak_and_crest(draw: Generator) -> list[Part]:
    """For a head of radius 1 around the origin."""
    tip, thick, droop = 1.0 + between(draw, 0.9, 2.3), between(draw, 0.38, 0.6), between(draw, -0.2, 0.4)
    gape = between(draw, 0.1, 0.6) if chance(draw, 0.4) else 0.0
    lower = polygon((0.75, 0), (tip - 0.2, gape + droop), (0.55, thick))
    upper = polygon((0.75, -thick), (tip, droop - gape), (0.75, 0.12))
    parts = [Part((lower,), "accent_shade"), Part((upper,), "accent")]
    if chance(draw, 0.35):
        tips = ((-0.9, -1.7), (-0.3, -1.9), (-1.3, -1.2))
        parts.append(Part(tuple(leaf((0, -0.6), tip, 0.5) for tip in tips), "accent"))
    return parts


def _raised_wing(draw: Generator) -> list[Part]:
    return _wing(between(draw, -2.3, -1.5), between(draw, 0.8, 1.1), between(draw, 0.22, 0.3))


def _folded_wing(draw: Generator) -> list[Part]:
    return _wing(pi + between(draw, -0.2, 0.15), between(draw, 0.55, 0.75), between(draw, 0.1, 0.16))


def _wing(angle: float, length: float, spread: float) -> list[Part]:
    """Three layers of feathers from the shoulder."""
    back, middle, front = (
        leaf((0.14, -0.06), toward((0.14, -0.06), size * length, angle - k * spread), 0.38, 0.45)
        for k, size in ((2, 0.78), (1, 0.9), (0, 1.0))
    )
    return [Part((back,), "second_shade"), Part((middle,), "second"), Part((front,), "second_tint")]


def butterfly(draw: Generator) -> list[Part]:
    """From above, wings spread or seen at an angle; round, pointed or swallow-tailed."""
    width, far = between(draw, 0.65, 1.0), between(draw, 0.45, 1.0)
    wings = _butterfly_wings(draw, width)
    rim, role = between(draw, 0.7, 0.84), "second_shade" if chance(draw, 0.5) else "second"
    parts = []
    for wing, field, spots in zip(wings, ("body_shade", "body"), _wing_spots(draw, wings), strict=True):
        spot_roles = zip(spots, ("body_tint", role) * len(spots), strict=False)
        marks = ((shrunk(wing, rim), field), *spot_roles)
        other_side = tuple((mirrored(mark, far), colour) for mark, colour in marks)
        parts += [Part((wing,), role, marks), Part((mirrored(wing, far),), role, other_side)]
    return parts + _butterfly_body(draw, far)


def _butterfly_wings(draw: Generator, width: float) -> tuple[np.ndarray, np.ndarray]:
    """The right lower and upper wing."""
    rise, hind, waist = between(draw, 0.55, 0.95), between(draw, 0.5, 0.85), between(draw, 0.1, 0.25)
    tip, tail = between(draw, -0.15, 0.2), between(draw, 0.3, 0.55) if chance(draw, 0.35) else 0.0
    upper = blob(
        (0.02, -0.12), (0.3 * width, -0.25 - 0.6 * rise), (0.85 * width, -0.2 - 0.75 * rise - tip),
        (width, -0.25 - 0.3 * rise), (0.75 * width, waist - 0.1), (0.03, 0.1),
    )  # fmt: skip
    lower = blob(
        (0.02, 0.0), (0.6 * width, waist - 0.05), (0.85 * width, 0.25), (0.62 * width, hind),
        (0.46 * width, hind + tail), (0.32 * width, hind), (0.04, 0.32),
    )  # fmt: skip
    return lower, upper


def _wing_spots(draw: Generator, wings: tuple[np.ndarray, np.ndarray]) -> list[list[np.ndarray]]:
    """Of the lower and of the upper wing: one large eyespot, a row along the rim, or veins."""
    style, r = draw.integers(3), between(draw, 0.06, 0.1)
    spots = []
    for wing, size in zip(wings, (1.5 * r, 2.0 * r), strict=True):
        middle, rim = 1.15 * wing.mean(), shrunk(wing, 0.8)
        if style == 0:
            spots.append([dot(middle.real, middle.imag, radius) for radius in (size, 0.5 * size)])
        elif style == 1:
            spots.append([dot(rim[k].real, rim[k].imag, 0.75 * r) for k in (9, 11, 13, 16)])
        else:
            spots.append([leaf((0.05, 0.02), (rim[k].real, rim[k].imag), 1.1 * r, 0.6) for k in (8, 12, 16)])
    return spots


def _butterfly_body(draw: Generator, far: float) -> list[Part]:
    thick, bend = between(draw, 0.06, 0.1), between(draw, 0.1, 0.35)
    antennae = []
    for side in (1.0, -far):
        end = (side * bend, between(draw, -0.95, -0.75))
        antennae += [limb(((0, -0.4), (0.35 * side * bend, -0.7), end), (0.022,) * 3), dot(*end, 0.045)]
    trunk = limb(((0, -0.25), (0, 0.1), (0, between(draw, 0.4, 0.6))), (thick, 1.1 * thick, 0.5 * thick))
    return [
        Part((*antennae, trunk, dot(0, -0.36, 1.4 * thick)), "dark"),
        *eyes(draw, ((-0.5 * thick, -0.4), (0.5 * thick, -0.4)), 0.42 * thick),
    ]


def fish(draw: Generator) -> list[Part]:
    """From the side: slim to round, with a forked, round or flowing tail."""
    tall, nose, back = between(draw, 0.28, 0.62), between(draw, 0.55, 0.75), between(draw, -0.45, -0.2)
    body = blob(
        (nose, 0.02), (0.4, -0.68 * tall), (0.0, -tall), (-0.4, -0.6 * tall), (-0.62, -0.06), (-0.62, 0.06),
        (-0.4, 0.6 * tall), (0.0, tall), (0.4, 0.68 * tall),
    )  # fmt: skip
    fin, end = between(draw, 0.08, 0.4), between(draw, 0.5, 1.0)
    dorsal = blob(
        (0.25, -0.7 * tall), (0.1, -tall - fin), (back, -0.8 * tall - fin * end), (-0.4, -0.4 * tall)
    )
    anal = blob((0.05, 0.8 * tall), (back, 0.8 * tall + 0.7 * fin), (-0.4, 0.4 * tall))
    gill = limb(((0.2, -0.42 * tall), (0.12, 0.0), (0.2, 0.42 * tall)), (0.018,) * 3)
    lips = (nose - 0.14, 0.2 * tall + 0.02), (nose - 0.06, 0.1 * tall + between(draw, 0.03, 0.07))
    shoulder = (0.06, 0.15 * tall)
    pectoral = leaf(shoulder, toward(shoulder, 0.38, pi - between(draw, 0.1, 0.9)), 0.22, 0.6)
    return [
        Part((dorsal, anal), "second_shade"),
        _fish_tail(draw),
        coat(draw, [body], any_pattern(draw)),
        Part((gill, limb(lips, (0.018, 0.018))), "body_shade"),
        Part((pectoral,), "second_tint", ((shrunk(pectoral, 0.6), "second"),)),
        *eyes(draw, ((0.37, -0.2 * tall),), between(draw, 0.075, 0.115)),
    ]


def _fish_tail(draw: Generator) -> Part:
    x, spread, kind = -0.55 - between(draw, 0.35, 0.6), between(draw, 0.22, 0.5), draw.integers(3)
    if kind == 0:
        fork = [leaf((-0.46, -0.02 * s), (x, s * spread), 0.28) for s in SIDES]
    elif kind == 1:
        fork = [blob((-0.5, 0), (x + 0.05, -spread), (x + 0.12, 0), (x + 0.05, spread))]
    else:
        fork = [leaf((-0.45, -0.02 * s), (x - 0.12, s * spread), 0.34, 0.5, -0.25 * s) for s in SIDES]
    rays = [limb(((-0.58, 0), (x + 0.1, k * spread)), (0.012, 0.012)) for k in (-0.7, 0.0, 0.7)]
    return Part(tuple(fork), "second", tuple((ray, "second_shade") for ray in rays))


def octopus(draw: Generator) -> list[Part]:
    """A dome with two eyes above five to eight waving arms with suckers."""
    n, wide, tall = int(draw.integers(5, 9)), between(draw, 0.36, 0.5), between(draw, 0.45, 0.75)
    dome = symmetric(
        (0, -tall), (0.75 * wide, -0.8 * tall), (1.05 * wide, -0.25 * tall), (0.7 * wide, 0.18), (0, 0.25)
    )
    arms, suckers = _arms(draw, n, wide)
    order = draw.permutation(n)
    eye, y, smile = between(draw, 0.38, 0.5) * wide, between(draw, -0.2, -0.05), between(draw, -0.02, 0.08)
    mouth = limb(((-0.09, y + 0.19), (0, y + 0.19 + smile), (0.09, y + 0.19)), (0.016,) * 3)
    return [
        Part(tuple(arms[k] for k in order[: n // 2]), "body_shade"),
        coat(draw, [arms[k] for k in order[n // 2 :]]),
        Part(tuple(suckers), "body_tint"),
        coat(draw, [dome], any_pattern(draw)),
        Part((mouth,), "dark"),
        *eyes(draw, ((-eye, y), (eye, y)), between(draw, 0.09, 0.13)),
    ]


def _arms(draw: Generator, n: int, wide: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """n arms side by side below a dome, and suckers along them."""
    swing, curl = between(draw, -0.15, 0.15), between(draw, 0.15, 0.4)
    arms, suckers = [], []
    for k in range(n):
        side, reach = 2 * k / (n - 1) - 1, between(draw, 0.65, 0.95)
        outward = between(draw, 0.5, 1.5) * (1 if side > 0 else -1)
        knee = (0.55 * side * reach, 0.3 + 0.25 * reach)
        end = (side * reach + swing, 0.25 + 0.95 * reach * (1 - 0.6 * abs(side)))
        tip = (end[0] + outward * curl, end[1] - curl * between(draw, -0.3, 1.0))
        arms.append(limb(((0.55 * side * wide, 0.02), knee, end, tip), (0.14, 0.1, 0.07, 0.03)))
        for t, r in ((0.15, 0.034), (0.5, 0.03), (0.85, 0.025)):
            x, y = knee[0] + t * (end[0] - knee[0]), knee[1] + t * (end[1] - knee[1])
            suckers.append(dot(x, y + 0.03, r))
    return arms, suckers


def snail(draw: Generator) -> list[Part]:
    """A foot, two eyes on stalks, and a shell: a coil or a pointed tower."""
    reach, rise = between(draw, 0.55, 0.8), between(draw, 0.2, 0.55)
    x, y = reach + 0.08, 0.2 - rise
    course = ((-0.85, 0.5), (-0.3, 0.42), (0.45, 0.42), (reach, 0.2), (x, y))
    spread, top = between(draw, 0.1, 0.2), y - between(draw, 0.22, 0.4)
    tips = ((x - spread, top), (x + spread + 0.05, top + between(draw, 0.0, 0.1)))
    stalks = [limb(((x + dx, y), tip), (0.045, 0.03)) for dx, tip in zip((-0.06, 0.06), tips, strict=True)]
    feelers = [limb(((x + 0.1, y + 0.05), (x + 0.26, y + end)), (0.03, 0.02)) for end in (0.02, 0.1)]
    smile = limb(((x + 0.02, y + 0.1), (x + 0.08, y + 0.13), (x + 0.13, y + 0.09)), (0.012,) * 3)
    return [
        Part((*stalks, *feelers), "second_shade"),
        coat(draw, [limb(course, (0.03, 0.13, 0.17, 0.15, 0.14))], "plain", "second"),
        Part((smile,), "dark"),
        *([_coiled_shell(draw)] if chance(draw, 0.7) else _tower_shell(draw)),
        *eyes(draw, tips, between(draw, 0.06, 0.085)),
    ]


def _coiled_shell(draw: Generator) -> Part:
    r, x = between(draw, 0.44, 0.58), between(draw, -0.25, -0.05)
    y = 0.42 - 0.85 * r
    shell = ellipse(x, y, r, r * between(draw, 0.88, 1.0), between(draw, -0.4, 0.4))
    t = np.linspace(0, 1, 18)
    angle = between(draw, 0.6, 1.6) + 2 * pi * between(draw, 2.0, 3.0) * t
    line = complex(x, y) + 0.93 * r * (1 - t) ** 0.9 * np.exp(1j * angle)
    spiral = limb(tuple(zip(line.real.tolist(), line.imag.tolist(), strict=True)), tuple(0.045 - 0.02 * t))
    skin = coat(draw, [shell], any_pattern(draw))
    return skin._replace(marks=(*skin.marks, (spiral, "body_shade")))


def _tower_shell(draw: Generator) -> list[Part]:
    """Whorls that get smaller towards the tip, which is drawn first."""
    length, width, turn = between(draw, 0.8, 1.1), between(draw, 0.4, 0.52), pi + between(draw, 0.3, 1.1)
    n, roles = int(draw.integers(4, 6)), ("body", "body_tint" if chance(draw, 0.5) else "body_shade")
    whorls = []
    for k in reversed(range(n)):
        share = 0.85 * k / n
        r = width * (1 - share) ** 0.9
        x, y = toward((0.12, 0.2), length * share, turn)
        whorls.append(Part((ellipse(x, y, 0.7 * r, r, turn),), roles[k % 2]))
    return whorls


def turtle(draw: Generator) -> list[Part]:
    """A land turtle from the side, or a sea turtle from above."""
    return _land_turtle(draw) if chance(draw, 0.6) else _sea_turtle(draw)


def _land_turtle(draw: Generator) -> list[Part]:
    tall, foot, step = between(draw, 0.45, 0.7), between(draw, 0.4, 0.55), between(draw, -0.1, 0.1)
    x, y = between(draw, 0.85, 1.05), between(draw, -0.45, 0.05)
    far = legs(((-0.25, step), (0.4, -step)), 0.1, foot, (0.14, 0.11))
    near = legs(((-0.5, -step), (0.32, step)), 0.1, foot + 0.05, (0.16, 0.13))
    neck = limb(((0.5, 0.12), (0.72, 0.1), (x, y)), (0.16, 0.13, 0.13))
    head = ellipse(x + 0.06, y, between(draw, 0.19, 0.24), 0.165)
    dome = blob(
        (-0.8, 0.18), (-0.62, -0.45 * tall), (-0.3, -0.9 * tall), (0.12, -0.95 * tall), (0.5, -0.6 * tall),
        (0.74, 0.18), (0.0, 0.26),
    )  # fmt: skip
    large = ((-0.42, -0.28), (-0.02, -0.36), (0.36, -0.26))
    small = ((-0.22, -0.78), (0.18, -0.8), (-0.62, 0.08), (-0.22, 0.12), (0.18, 0.12), (0.55, 0.08))
    plates = [ellipse(px, py * tall, 0.2, 0.32 * tall, n=6) for px, py in large]
    plates += [ellipse(px, py * tall, 0.15, 0.13, n=6) for px, py in small]
    return [
        Part((*far, leaf((-0.6, 0.16), (-0.98, 0.25 + step), 0.16, 0.35)), "second_shade"),
        coat(draw, [*near, neck, head], role="second"),
        _shell(draw, dome, plates),
        Part((limb(((-0.76, 0.18), (0.0, 0.26), (0.72, 0.18)), (0.06, 0.07, 0.06)),), "body_tint"),
        Part((limb(((x + 0.12, y + 0.07), (x + 0.2, y + 0.04)), (0.012, 0.012)),), "dark"),
        *eyes(draw, ((x + 0.09, y - 0.05),), 0.055),
    ]


def _shell(draw: Generator, outline: np.ndarray, plates: list[np.ndarray]) -> Part:
    """A turtle's shell with its plates, darker or paler than the rest."""
    skin = coat(draw, [outline], any_pattern(draw) if chance(draw, 0.3) else "plain")
    role = "body_tint" if chance(draw, 0.5) else "body_shade"
    return skin._replace(marks=(*skin.marks, *((plate, role) for plate in plates)))


def _sea_turtle(draw: Generator) -> list[Part]:
    wide, turn = between(draw, 0.48, 0.6), between(draw, -0.15, 0.15)
    shell = blob(
        (0.62, 0), (0.42, -0.78 * wide), (-0.1, -wide), (-0.55, -0.55 * wide), (-0.74, 0),
        (-0.55, 0.55 * wide), (-0.1, wide), (0.42, 0.78 * wide),
    )  # fmt: skip
    skin = [limb(((0.5, 0), (0.85, turn)), (0.14, 0.15)), ellipse(0.88, turn, 0.19, 0.155)]
    for s in SIDES:
        end = (0.3 - between(draw, -0.3, 0.6), s * (wide + 0.62))
        skin.append(leaf((0.3, s * 0.6 * wide), end, 0.3, 0.4, -0.2 * s))
        skin.append(leaf((-0.45, s * 0.4 * wide), (-0.85, s * (0.75 * wide + 0.1)), 0.22))
    plates = [ellipse(x, 0, 0.19, 0.17, n=6) for x in (-0.42, -0.05, 0.32)]
    plates += [ellipse(x, s * 0.58 * wide, 0.15, 0.13, n=6) for x in (-0.25, 0.14) for s in SIDES]
    return [
        Part((leaf((-0.65, 0), (-0.95, -turn), 0.14, 0.4),), "second_shade"),
        coat(draw, skin, "plain", "second"),
        _shell(draw, shell, plates),
        *eyes(draw, ((0.92, turn - 0.09), (0.92, turn + 0.09)), 0.045),
    ]


ANIMALS: dict[str, Callable[[Generator], list[Part]]] = {
    animal.__name__: animal
    for animal in (bird, butterfly, cat, elephant, fish, giraffe, octopus, rabbit, snail, turtle)
}
