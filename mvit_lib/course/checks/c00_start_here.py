"""The checker of notebook 00."""

from collections.abc import Callable

from mvit_lib.course.engine import Exercise, Wrong

CASES = (((0, 0), (4, 4), (2, 2)), ((3, 2), (4, 6), (2, 2)), ((1, 5), (6, 8), (3, 2)))


def check_partners(partners: Callable) -> None:
    """The same place in every patch: the first wrong pixel is named with its place."""
    for (y, x), (H, W), (ph, pw) in CASES:
        where = f"on a {H} × {W} map, patch ({ph}, {pw}), pixel ({y}, {x}):"
        answer = partners(y, x, (H, W), (ph, pw))
        try:
            found = [(int(row), int(column)) for row, column in answer]
        except (TypeError, ValueError):
            raise Wrong(f"{where} expected a list of (row, column) pairs, got {answer!r:.60}") from None
        expected = {(r, c) for r in range(H) for c in range(W) if (r % ph, c % pw) == (y % ph, x % pw)}
        first = min(set(found) ^ expected, default=None)
        if first is None and len(found) != len(expected):
            raise Wrong(f"{where} some pixels are listed twice: {len(found)} for {len(expected)}")
        if first is not None:
            raise Wrong(f"{where} {_diagnose(first, found, (y, x), (H, W), (ph, pw), len(expected))}")


def _diagnose(
    first: tuple[int, int],
    found: list[tuple[int, int]],
    query: tuple[int, int],
    size: tuple[int, int],
    patch: tuple[int, int],
    count: int,
) -> str:
    place = (first[0] % patch[0], first[1] % patch[1])
    wanted = (query[0] % patch[0], query[1] % patch[1])
    counts = f"{len(found)} pixels listed, {count} expected.\n      First wrong: {first}."
    if not (0 <= first[0] < size[0] and 0 <= first[1] < size[1]):
        return f"{counts} It lies outside the map."
    if first == query:
        return f"{counts} A pixel is its own partner too: attention lets it listen to itself."
    if first not in found:
        return f"{counts} It is missing, though its place in its patch is {place}, as the pixel's."
    return (
        f"{counts} Its place in its patch is {place}, the pixel's is {wanted}: "
        "did you take pixels of the same patch, or mix up rows and columns?"
    )


EXERCISES = {
    "00.1": Exercise(
        checker=check_partners,
        notice="N = HW/P partners: 16/4 = 4, 24/4 = 6, 48/6 = 8. A larger patch leaves fewer.",
        hints=(
            "Where does a pixel stand inside its patch? The rest of a division tells:\n"
            "row 5 with patches 2 high lies in row 5 % 2 = 1 of its patch.",
            "The partners' rows are ph apart, and so all have the same rest: y % ph, y % ph + ph, …\n"
            "Which call of range(start, stop, step) counts them? The columns go the same way.",
            "return [\n    (row, column)\n    for row in range(..., H, ...)\n"
            "    for column in range(..., W, ...)\n]",
        ),
        solution=("s00_start_here.py", "partners"),
    ),
}
