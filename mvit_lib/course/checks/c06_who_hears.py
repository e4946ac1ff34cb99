"""The checkers of 06.2, who hears whom, and 06.3, the kernel it takes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Wrong,
    is_tensor,
)

Pair = tuple[int, int]


# 06.2


def heard(y: int, x: int, size: Pair, patch: Pair, kernel: int) -> Tensor:
    """The reference, by its definition: a pixel is heard if it lies in the window of some partner."""
    found, r = torch.zeros(size, dtype=torch.bool), kernel // 2
    for row in range(y % patch[0], size[0], patch[0]):
        for column in range(x % patch[1], size[1], patch[1]):
            found[max(0, row - r) : row + r + 1, max(0, column - r) : column + r + 1] = True
    return found


def _wrapping(y: int, x: int, size: Pair, patch: Pair, kernel: int) -> Tensor:
    """Windows that go on at the other edge, as negative indices do."""
    flat, r = heard(y, x, size, patch, 1), kernel // 2
    shifts = [(i, j) for i in range(-r, r + 1) for j in range(-r, r + 1)]
    return torch.stack([flat.roll(shift, (0, 1)) for shift in shifts]).any(0)


def _own_window(y: int, x: int, size: Pair, patch: Pair, kernel: int) -> Tensor:
    found, r = torch.zeros(size, dtype=torch.bool), kernel // 2
    found[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1] = True
    return found


def _wrapping_before(y: int, x: int, size: Pair, patch: Pair, kernel: int) -> Tensor:
    """Windows that go on at the other edge only where an index becomes negative."""
    (H, W), r, found = size, kernel // 2, torch.zeros(size, dtype=torch.bool)
    for row in range(y % patch[0], H, patch[0]):
        for column in range(x % patch[1], W, patch[1]):
            for i in range(row - r, min(row + r + 1, H)):
                for j in range(column - r, min(column + r + 1, W)):
                    found[i, j] = True
    return found


HEAR_SUSPECTS = {
    "Did you mark the partners and forget what the convolution has written into them?": (
        lambda y, x, size, patch, k: heard(y, x, size, patch, 1)
    ),
    "Did you mark the window and forget the partners?": _own_window,
    "Did you mark the partners and the pixel's own window? Every partner has a window.": (
        lambda *a: heard(*a[:4], 1) | _own_window(*a)
    ),
    "Does your window reach `kernel` pixels to each side? It reaches (kernel − 1) / 2.": (
        lambda y, x, size, patch, k: heard(y, x, size, patch, 2 * k + 1)
    ),
    "Does the end of your slice leave out a pixel? A window ends at row + r, and r + 1 is needed there.": (
        lambda *a: _cut_windows(*a)
    ),
    "Do windows at the upper and left edge get lost? A slice from −1 starts at the last pixel: max(0, …).": (
        lambda *a: _lost_windows(*a)
    ),
    "Does your window go on at the other edge? A negative index counts from the end.": _wrapping,
    "Does a window at the first row mark the last one? Row −1 is the last: start at max(0, …).": (
        _wrapping_before
    ),
    "Did you swap y and x? y belongs to ph and H, x to pw and W.": (
        lambda y, x, size, patch, k: heard(x, y, size, patch, k)
    ),
    "Did you start the partners at 0? They start at y % ph and x % pw.": (
        lambda y, x, size, patch, k: heard(0, 0, size, patch, k)
    ),
    "Do your partners begin at (y, x)? There are some above and to the left: start at y % ph, x % pw.": (
        lambda y, x, size, patch, k: _windows((y, x), size, patch, k // 2, k // 2)
    ),
    "Does your window lie to one side of its partner? It reaches r pixels to both sides.": (
        lambda y, x, size, patch, k: _windows((y % patch[0], x % patch[1]), size, patch, 0, k - 1)
    ),
    "Does your window end at its partner? It reaches r pixels to both sides.": (
        lambda y, x, size, patch, k: _windows((y % patch[0], x % patch[1]), size, patch, k - 1, 0)
    ),
    "Did you swap ph and pw?": lambda y, x, size, patch, k: heard(y, x, size, patch[::-1], k),
    "Did you mark the pixel's own patch? Partners lie one in each patch.": (
        lambda y, x, size, patch, k: _own_patch(y, x, size, patch)
    ),
    "Do rows or columns suffice in your function? A pixel is heard if both fit: use & , not | .": (
        lambda *a: _rows_or_columns(*a)
    ),
}  # fmt: skip


def _windows(start: Pair, size: Pair, patch: Pair, before: int, behind: int) -> Tensor:
    """Partners from `start` on, each with a window of `before` pixels before it and `behind` after it."""
    found = torch.zeros(size, dtype=torch.bool)
    for row in range(start[0], size[0], patch[0]):
        for column in range(start[1], size[1], patch[1]):
            rows = slice(max(0, row - before), row + behind + 1)
            found[rows, max(0, column - before) : column + behind + 1] = True
    return found


def _lost_windows(y: int, x: int, size: Pair, patch: Pair, kernel: int) -> Tensor:
    found, r = torch.zeros(size, dtype=torch.bool), kernel // 2
    for row in range(y % patch[0], size[0], patch[0]):
        for column in range(x % patch[1], size[1], patch[1]):
            found[row - r : row + r + 1, column - r : column + r + 1] = True
    return found


def _cut_windows(y: int, x: int, size: Pair, patch: Pair, kernel: int) -> Tensor:
    found, r = torch.zeros(size, dtype=torch.bool), kernel // 2
    for row in range(y % patch[0], size[0], patch[0]):
        for column in range(x % patch[1], size[1], patch[1]):
            found[max(0, row - r) : row + r, max(0, column - r) : column + r] = True
    return found


def _own_patch(y: int, x: int, size: Pair, patch: Pair) -> Tensor:
    found = torch.zeros(size, dtype=torch.bool)
    top, left = y // patch[0] * patch[0], x // patch[1] * patch[1]
    found[top : top + patch[0], left : left + patch[1]] = True
    return found


def _rows_or_columns(*arguments: Any) -> Tensor:
    both = heard(*arguments)
    return both.any(dim=1)[:, None] | both.any(dim=0)


# size, patch, kernel
HEAR_CASES = (
    ((6, 8), (2, 2), 1), ((6, 8), (2, 2), 3), ((9, 6), (3, 3), 3), ((6, 12), (2, 4), 3), ((8, 8), (4, 4), 5),
    ((8, 16), (8, 8), 3),
)  # fmt: skip


def check_who_hears(answer: Callable) -> None:
    """06.2: the corners and the middle of maps that patches cover wholly, partly, and hardly."""
    first: Wrong | None = None
    explained = dict(HEAR_SUSPECTS)
    for size, patch, kernel in HEAR_CASES:
        (H, W), marked = size, []
        for y, x in ((0, 0), (0, W - 1), (H - 1, 0), (H - 1, W - 1), (1, 2), (H // 2, W // 2 + 1)):
            arguments = y, x, size, patch, kernel
            where = f"on a {H} × {W} map, patch {patch}, kernel {kernel}, pixel ({y}, {x}):"
            yours = is_tensor(answer(*arguments), size, where)
            if yours.dtype != torch.bool:
                raise Wrong(f"{where} expected a tensor of torch.bool, got {yours.dtype}")
            expected = heard(*arguments)
            explained = {q: f for q, f in explained.items() if torch.equal(f(*arguments), yours)}
            wrong = (yours != expected).nonzero().tolist()
            if wrong and first is None:
                verb = "is not marked" if expected[tuple(wrong[0])] else "is marked"
                count, right = int(yours.sum()), int(expected.sum())
                but = f"{right} expected" if count != right else "as many as expected, but others"
                first = Wrong(
                    f"{where} {count} pixels marked, {but}.\n      First wrong: {tuple(wrong[0])} {verb}.",
                    yours,
                    expected,
                )
            marked.append(yours)
    if first is not None:
        question = f"\n      {next(iter(explained))}" if explained else ""
        raise Wrong(f"{first}{question}", first.yours, first.expected)


# 06.3

KERNEL_CASES = ((1, 1), (2, 2), (3, 3), (4, 4), (2, 4), (3, 1), (8, 8), (1, 6))


def smallest_kernel(patch: Pair) -> int:
    """By trying: the smallest odd kernel with which every pixel of 3 × 3 patches hears all pixels."""
    size = 3 * patch[0], 3 * patch[1]
    places = [(y, x) for y in range(patch[0]) for x in range(patch[1])]
    kernels = range(1, 2 * max(patch) + 3, 2)
    return next(n for n in kernels if all(heard(y, x, size, patch, n).all() for y, x in places))


def _odd(n: int) -> int:
    return n + 1 - n % 2


KERNEL_SUSPECTS = {
    "That is the paper's condition, h ≤ n. It forgets the borders: try patch 3, kernel 3, pixel 0.": (
        lambda patch: _odd(max(patch))
    ),
    "Must the kernel be odd? Round up to the next odd number; and remember the borders.": (
        lambda patch: max(patch)
    ),
    "Is 2 · h − 1 enough already? From one end of a patch to the other it is h − 1 pixels.": (
        lambda patch: 2 * max(patch) + 1
    ),
    "Did you return r, the reach to one side? The kernel is 2 · r + 1 wide.": lambda patch: max(patch) - 1,
    "Did you look at the shorter side? The longer one asks for more.": lambda patch: 2 * min(patch) - 1,
    "Did you look at one side only, the height? A patch has two.": lambda patch: 2 * patch[0] - 1,
    "Did you look at one side only, the width? A patch has two.": lambda patch: 2 * patch[1] - 1,
    "Did you add the sides? Rows and columns ask each for their own.": lambda patch: sum(patch) - 1,
    "Did you multiply the sides? Rows and columns ask each for their own.": (
        lambda patch: _odd(patch[0] * patch[1])
    ),
}


def check_kernel_needed(answer: Callable) -> None:
    """06.3: whole numbers, and the smallest that are enough; a mistake is named if it explains all."""
    answers = [answer(patch) for patch in KERNEL_CASES]
    for patch, given in zip(KERNEL_CASES, answers, strict=True):
        if given is None:
            raise Wrong(f"patch {patch}: got None: did you forget `return`?")
        if isinstance(given, bool) or not hasattr(given, "__index__"):
            raise Wrong(f"patch {patch}: expected a whole number, got {given!r}")
        expected = smallest_kernel(patch)
        if given != expected:
            asked = [q for q, f in KERNEL_SUSPECTS.items() if [f(p) for p in KERNEL_CASES] == answers]
            question = f"\n      {asked[0]}" if asked else ""
            raise Wrong(f"patch {patch}: you say {given}, expected {expected}.{question}")


EXERCISES = {
    "06.2": Exercise(
        checker=check_who_hears,
        notice="Patch 2, kernel 3: all 48 pixels. Patch 4, kernel 5: not quite; section 5 asks why.",
        hints=(
            "Start without the convolution, kernel = 1: which pixels share the place of (y, x)?\n"
            "Rows y % ph, y % ph + ph, … and columns x % pw, x % pw + pw, …",
            "Then every one of them has a window: r = (kernel - 1) // 2 pixels to each side, cut at the\n"
            "edges of the map. Mark the windows in a map of False.",
            "heard, r = torch.zeros(H, W, dtype=torch.bool), kernel // 2\n"
            "for row in range(y % ph, H, ph):\n    for column in range(...):\n"
            "        heard[max(0, row - r) : row + r + 1, ...] = True\nreturn heard",
        ),
        solution=("s06_mobilevit_block.py", "who_hears"),
        forbidden=("hears", "heard_along", "coverage", "heard_by"),
        symptoms={
            "is out of bounds for dimension": "A window reaches over the edge: cut it there.",
            "'float' object cannot be interpreted": "`/` makes a float: `//` divides and rounds down.",
        },
    ),
    "06.3": Exercise(
        checker=check_kernel_needed,
        notice="For 2 × 2 it is 3: MobileViT's kernel is the smallest that will do.",
        hints=(
            "Think of one axis and of the first pixel of a patch. In the last patch, at the map's edge,\n"
            "its partner is again the first pixel. How far is it from there to the last pixel?",
            "h − 1 pixels, and no further partner comes from the other side. So r = h − 1 is needed.\n"
            "A kernel reaches r = (n − 1) / 2 to each side.",
            "longest = max(...)\nreturn 2 * (...) + 1",
        ),
        solution=("s06_mobilevit_block.py", "kernel_needed"),
        forbidden=("hears", "heard_along", "coverage", "heard_by"),
    ),
}
