"""The checker of notebook 00."""

from collections.abc import Callable

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Wrong

CASES = (
    ((0, 0), (4, 4), (2, 2)),
    ((3, 2), (4, 6), (2, 2)),
    ((1, 5), (6, 8), (3, 2)),
    # Here a 2, the other side and a wrong sign each give another start.
    ((7, 4), (12, 15), (4, 3)),
)


def check_partners(partners: Callable) -> None:
    """The same place in every patch: the first wrong pixel is named with its place."""
    for query, size, patch in CASES:
        where = f"on a {size[0]} × {size[1]} map, patch {patch}, pixel {query}:"
        answer = partners(*query, size, patch)
        if answer is None:
            raise Wrong(f"{where} got None: did you forget to return the list?")
        try:
            found = [(int(row), int(column)) for row, column in answer]
        except (TypeError, ValueError):
            raise Wrong(f"{where} expected a list of (row, column) pairs, got {answer!r:.60}") from None
        expected = same_place(query, size, patch)
        first = min(set(found) ^ expected, default=None)
        if first is not None:
            counts = f"{len(found)} pixels listed, {len(expected)} expected.\n      First wrong: {first}."
            raise Wrong(f"{where} {counts} {_why(first, set(found), query, size, patch)}")
        if len(found) != len(expected):
            raise Wrong(f"{where} some pixels are listed twice: {len(found)} for {len(expected)}")


def same_place(query: tuple[int, int], size: tuple[int, int], patch: tuple[int, int]) -> set[tuple[int, int]]:
    """All pixels of the map whose place in their patch is the query's."""
    (H, W), (ph, pw) = size, patch
    place = (query[0] % ph, query[1] % pw)
    return {(row, column) for row in range(H) for column in range(W) if (row % ph, column % pw) == place}


def _why(
    first: tuple[int, int],
    found: set[tuple[int, int]],
    query: tuple[int, int],
    size: tuple[int, int],
    patch: tuple[int, int],
) -> str:
    """What the first wrong pixel tells about the mistake."""
    place = (first[0] % patch[0], first[1] % patch[1])
    wanted = (query[0] % patch[0], query[1] % patch[1])
    if not found:
        return "Your list is empty."
    outside = [p for p in sorted(found) if not (0 <= p[0] < size[0] and 0 <= p[1] < size[1])]
    if outside:
        return f"{outside[0]} lies outside the map."
    if found == same_place(query, size, patch) - {query}:
        return "A pixel is its own partner too: it is the one of its own patch."
    if patch != (2, 2) and found == same_place(query, size, (2, 2)):
        return f"Did you write 2 where the patch size {patch} belongs?"
    if found == same_place(query, size, patch[::-1]) or query[::-1] in found - {query}:
        return "Did you mix up rows and columns?"
    if first not in found:
        return f"It is missing, though its place in its patch is {place}, the same as the pixel's."
    if len({(row // patch[0], column // patch[1]) for row, column in found}) == 1:
        advice = "did you take the pixels of one patch instead of one pixel of every patch?"
    else:
        advice = "rows count by the patch's height ph, columns by its width pw."
    return f"Its place in its patch is {place}, the pixel's is {wanted}: {advice}"


EXERCISES = {
    "00.1": Exercise(
        checker=check_partners,
        notice="N = HW/P partners: 16/4 = 4, 24/4 = 6, 48/6 = 8, 180/12 = 15. A larger patch leaves fewer.",
        hints=(
            "Where does a pixel stand inside its patch? The rest of a division tells:\n"
            "row 5 with patches 2 high lies in row 5 % 2 = 1 of its patch.",
            "The partners' rows are ph apart, and so all have the same remainder: y % ph, y % ph + ph, …\n"
            "Which call of range(start, stop, step) counts them? The columns go the same way.",
            "return [\n    (row, column)\n    for row in range(..., H, ...)\n"
            "    for column in range(..., W, ...)\n]",
        ),
        solution=("s00_start_here.py", "partners"),
    ),
}
