"""Plausible wrong answers to the exercises of notebook 00, each with the message that must refuse it."""


def same_patch(y, x, size, patch):
    (ph, pw) = patch
    top, left = y // ph * ph, x // pw * pw
    return [(r, c) for r in range(top, top + ph) for c in range(left, left + pw)]


def axes_swapped(y, x, size, patch):
    (H, W), (ph, pw) = size, patch
    return [(r, c) for r in range(x % pw, H, pw) for c in range(y % ph, W, ph)]


def forgets_itself(y, x, size, patch):
    (H, W), (ph, pw) = size, patch
    pixels = [(r, c) for r in range(y % ph, H, ph) for c in range(x % pw, W, pw)]
    return [pixel for pixel in pixels if pixel != (y, x)]


def only_its_row(y, x, size, patch):
    return [(y, c) for c in range(x % patch[1], size[1], patch[1])]


def starts_at_the_pixel(y, x, size, patch):
    (H, W), (ph, pw) = size, patch
    return [(r, c) for r in range(y, H, ph) for c in range(x, W, pw)]


def runs_over_the_edge(y, x, size, patch):
    (H, W), (ph, pw) = size, patch
    return [(r, c) for r in range(y % ph, H + ph, ph) for c in range(x % pw, W + pw, pw)]


def patch_always_two(y, x, size, patch):
    (H, W) = size
    return [(r, c) for r in range(y % 2, H, 2) for c in range(x % 2, W, 2)]


def lists_twice(y, x, size, patch):
    (H, W), (ph, pw) = size, patch
    return [(r, c) for r in range(y % ph, H, ph) for c in range(x % pw, W, pw)] * 2


def patch_axes_swapped(y, x, size, patch):
    return [
        (r, c) for r in range(y % patch[1], size[0], patch[1]) for c in range(x % patch[0], size[1], patch[0])
    ]


def empty(y, x, size, patch):
    return []


def returns_a_count(y, x, size, patch):
    return size[0] * size[1] // (patch[0] * patch[1])


def forgets_return(y, x, size, patch):
    [(r, c) for r in range(y % patch[0], size[0], patch[0]) for c in range(size[1])]


def columns_always_two(y, x, size, patch):
    return [(r, c) for r in range(y % patch[0], size[0], patch[0]) for c in range(x % 2, size[1], 2)]


def starts_always_two(y, x, size, patch):
    return [(r, c) for r in range(y % 2, size[0], patch[0]) for c in range(x % 2, size[1], patch[1])]


def starts_by_the_other_side(y, x, size, patch):
    (H, W), (ph, pw) = size, patch
    return [(r, c) for r in range(y % pw, H, ph) for c in range(x % pw, W, pw)]


def sign_of_the_column(y, x, size, patch):
    (H, W), (ph, pw) = size, patch
    return [(r, c) for r in range(y % ph, H, ph) for c in range(W) if (c + x) % pw == 0]


MUTANTS = {
    "00.1": {
        same_patch: "one patch instead of one pixel of every patch",
        axes_swapped: "mix up rows and columns",
        patch_axes_swapped: "mix up rows and columns",
        empty: "Your list is empty",
        forgets_itself: "A pixel is its own partner too",
        only_its_row: "It is missing, though its place in its patch is",
        starts_at_the_pixel: "It is missing, though its place in its patch is",
        runs_over_the_edge: "lies outside the map",
        columns_always_two: "rows count by the patch's height ph",
        starts_always_two: "rows count by the patch's height ph",
        starts_by_the_other_side: "rows count by the patch's height ph",
        sign_of_the_column: "It is missing, though its place in its patch is",
        patch_always_two: "Did you write 2",
        lists_twice: "listed twice",
        returns_a_count: "expected a list of (row, column) pairs",
        forgets_return: "got None: did you forget to return",
    }
}
