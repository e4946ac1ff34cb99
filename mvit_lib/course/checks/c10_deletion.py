"""The checker of 10.5, a deletion curve."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Wrong, is_tensor, leaves_alone, normal

Probability = Callable[[Tensor], Tensor]
GRID, SIZE = (3, 4), (6, 12)
# A score for each of the 12 cells, all different: the order is 7, 2, 9, 4, …
SCORES = torch.tensor([3.0, 5, 11, 0, 9, 2, 4, 12, 1, 10, 6, 8]).reshape(GRID) / 20
COUNTS = [0, 1, 3, 7, 12]


def _cells(size: Sequence[int], grid: Sequence[int]) -> Tensor:
    """The number of the cell that every pixel lies in: [H, W]."""
    (H, W), (nH, nW) = size, grid
    return nW * (torch.arange(H) * nH // H)[:, None] + torch.arange(W) * nW // W


def _cells_by_height(size: Sequence[int], grid: Sequence[int]) -> Tensor:
    (H, W), (nH, nW) = size, grid
    cells = nH * (torch.arange(H) * nH // H)[:, None] + torch.arange(W) * nW // W
    return cells.clamp(max=nH * nW - 1)


def _equal_cells(size: Sequence[int], grid: Sequence[int]) -> Tensor:
    (H, W), (nH, nW) = size, grid
    i, j = torch.arange(H) // (H // nH), torch.arange(W) // (W // nW)
    return (nW * i[:, None] + j).clamp(max=nH * nW - 1)


def _cut_too_early(size: Sequence[int], grid: Sequence[int]) -> Tensor:
    """Cell row a from ⌊a·H/nH⌋ on, as slices cut it, or where the last cell takes the rest."""
    i, j = (
        (torch.arange(n)[:, None] >= torch.arange(1, of) * n // of).sum(1)
        for n, of in zip(size, grid, strict=True)
    )
    return grid[1] * i[:, None] + j


def _ranks(scores: Tensor) -> Tensor:
    return scores.flatten().argsort(descending=True).argsort()  # [nH·nW]


def _curve(
    probability: Probability,
    image: Tensor,
    blurred: Tensor,
    scores: Tensor,
    counts: Sequence[int],
    gone: Callable[[Tensor, int, int], Tensor] = lambda ranks, k, at: ranks < k,
    cells_of: Callable[[Sequence[int], Sequence[int]], Tensor] = _cells,
) -> Tensor:
    """The reference; `gone` says which ranks are replaced: (ranks [H, W], k, at = its place in counts)."""
    ranks = _ranks(scores)[cells_of(image.shape[1:], scores.shape)]  # [H, W]
    pictures = [torch.where(gone(ranks, k, at), blurred, image) for at, k in enumerate(counts)]
    return probability(torch.stack(pictures))


def _side_by_side(
    probability: Probability, image: Tensor, blurred: Tensor, scores: Tensor, counts: list[int]
) -> Tensor:
    """The order of a grid whose rows and columns were exchanged."""
    nH, nW = scores.shape
    return _curve(probability, image, blurred, scores.reshape(nW, nH).mT, counts)


Suspect = Callable[[Probability, Tensor, Tensor, Tensor, Sequence[int]], Tensor]
SUSPECTS: Mapping[str, Suspect] = {
    "Did you begin with the least attended? The highest score goes first.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, -s, counts)
    ),
    "Did you take the largest only, or the new ones only? All of the first k are replaced together.": (
        lambda p, x, blur, s, counts: _curve(
            p, x, blur, s, counts, lambda r, k, at: (r < k) & (r >= (counts[at - 1] if at else 0))
        )
    ),
    "Did you replace the k-th alone? All of the first k are replaced together.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, s, counts, lambda r, k, at: r == k - 1)
    ),
    "Did you replace one cell alone, and count from 0? The first k cells have the ranks below k.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, s, counts, lambda r, k, at: r == k)
    ),
    "Did you replace one too many? With k = 0 the image is whole.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, s, counts, lambda r, k, at: r <= k)
    ),
    "Did you insert instead of delete? The first k are blurred, all others stay whole.": (
        lambda p, x, blur, s, counts: _curve(p, blur, x, s, counts)
    ),
    "Did you paint with black? Take the pixels of `blurred`.": (
        lambda p, x, blur, s, counts: _curve(p, x, 0 * blur, s, counts)
    ),
    "Did you swap the sides of the grid? scores is [nH, nW], read like a page.": _side_by_side,
    "Did you compare scores with k? k counts cells: rank them first.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, s, [0] * len(counts))
    ),
    "Did you go on from the picture before? counts may fall: every k begins with the whole image.": (
        lambda p, x, blur, s, counts: _curve(
            p, x, blur, s, counts, lambda r, k, at: r < max(counts[: at + 1])
        )
    ),
    "Did you sort counts? The answers come in the order of `counts`.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, s, sorted(counts))
    ),
    "Did you number the cells with nH? A row of the grid has nW cells: nW·i + j.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, s, counts, cells_of=_cells_by_height)
    ),
    "Did you make all cells equally large? They need not be: pixel row y lies in cell row ⌊y·nH/H⌋.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, s, counts, cells_of=_equal_cells)
    ),
    "Does your cell row a begin at ⌊a·H/nH⌋? Pixel row y lies in ⌊y·nH/H⌋: cell row a begins at ⌈a·H/nH⌉.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, s, counts, cells_of=_cut_too_early)
    ),
    "Did you compare with the score at place k − 1? With k = 0 that is the last one: compare ranks with k.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, s, counts, lambda r, k, at: r <= (k - 1) % s.numel())
    ),
    "Is k the place in `counts`? It is the number that stands there.": (
        lambda p, x, blur, s, counts: _curve(p, x, blur, s, list(range(len(counts))))
    ),
    "Did you confuse order and rank? argsort names the first cell, the second, …; sort that again to get "
    "each cell's rank.": lambda p, x, blur, s, counts: _curve(
        p, x, blur, -s.flatten().argsort(descending=True).view(s.shape).float(), counts
    ),
}


def check_deletion_curve(deletion_curve: Callable) -> None:
    """A sum that tells which cells are left; any picture; counts that fall; cells that are not alike."""
    _deletes_the_right_cells(deletion_curve)
    leaves_alone(lambda *a: deletion_curve(_mean, *a), *_inputs(), COUNTS)
    for size, grid, counts in ((SIZE, GRID, range(13)), (SIZE, GRID, [7, 0, 3]), ((7, 10), (2, 3), range(7))):
        image, blurred = normal(3, *size), normal(3, *size, seed=1)
        scores, code = normal(*grid, seed=2), normal(3, *size, seed=3)

        def total(x: Tensor, code: Tensor = code) -> Tensor:
            return (x * code).sum((1, 2, 3))

        _same_curve(deletion_curve, total, image, blurred, scores, counts=list(counts))


def _mean(x: Tensor) -> Tensor:
    return x.mean((1, 2, 3))


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    """A whole image is 2 everywhere, a blurred one 1."""
    return torch.full((3, *SIZE), 2.0), torch.ones(3, *SIZE), SCORES.clone()


def _deletes_the_right_cells(deletion_curve: Callable) -> None:
    """Cell c that is whole adds 2^c to the "probability", a blurred one 0: the sum names the cells."""
    cells = _cells(SIZE, GRID)
    code = 2.0**cells / torch.bincount(cells.flatten())[cells] / 3  # [H, W]

    def left(x: Tensor) -> Tensor:
        if x.dim() != 4:
            raise Wrong(f"`probability` takes pictures [B, 3, H, W], you gave it {list(x.shape)}")
        return ((x - 1) * code).sum((1, 2, 3))

    where = f"on a grid of {GRID[0]} × {GRID[1]}, counts {COUNTS}:"
    yours = is_tensor(deletion_curve(left, *_inputs(), list(COUNTS)), (len(COUNTS),), where).detach()
    expected = _curve(left, *_inputs(), COUNTS)
    wrong = ((yours - expected).abs() > 1e-3).nonzero().flatten()
    if len(wrong):
        at = int(wrong[0])
        said = _first_cell(yours[at].item(), COUNTS[at])
        raise Wrong(f"{where}\n      for k = {COUNTS[at]}: {said}{_asked(left, yours, *_inputs())}")


def _first_cell(found: float, k: int) -> str:
    """Read a sum of powers of two: the first cell that should be blurred and is not, or the reverse."""
    number = round(found)
    if abs(found - number) > 1e-3 or not 0 <= number < 2**12:
        return "some cells are neither whole nor `blurred`, or only in part."
    for cell, rank in enumerate(_ranks(SCORES).tolist()):
        whole = bool(number >> cell & 1)
        if whole == (rank < k):
            i, j = divmod(cell, GRID[1])
            state = "still whole" if whole else "blurred"
            return f"cell ({i}, {j}) is {state}; its score is the {_nth(rank + 1)}highest."
    return "the number of answers is right, their order is not."


def _nth(n: int) -> str:
    return {1: "", 2: "second ", 3: "third "}.get(n, f"{n}th ")


def _same_curve(
    deletion_curve: Callable, probability: Probability, *inputs: Tensor, counts: list[int]
) -> None:
    where = f"on an image of {list(inputs[0].shape)}, scores {list(inputs[-1].shape)}, counts {counts}:"
    yours = is_tensor(
        deletion_curve(probability, *(t.clone() for t in inputs), list(counts)), (len(counts),), where
    )
    expected = _curve(probability, *inputs, counts)
    if not torch.allclose(yours.detach().double(), expected.double(), atol=1e-4):
        at = int((yours.detach() - expected).abs().argmax())
        message = f"{where}\n      for k = {counts[at]} you get {yours[at]:.4g}, expected {expected[at]:.4g} "
        message += "(`probability` is a sum over all pixels here, so any number may come)."
        raise Wrong(message + _asked(probability, yours.detach(), *inputs, counts=counts))


def _asked(probability: Probability, yours: Tensor, *inputs: Tensor, counts: list[int] | None = None) -> str:
    for question, mistake in SUSPECTS.items():
        made = mistake(probability, *inputs, counts or COUNTS)
        if torch.allclose(made.double(), yours.double(), atol=1e-3):
            return f"\n      {question}"
    return ""


EXERCISES = {
    "10.5": Exercise(
        checker=check_deletion_curve,
        notice="The curve asks the network, not the picture: it can refuse an order that looks convincing.",
        hints=(
            "Which cells are the first k? Give each cell its rank: 0 for the highest score, 1 for the next.\n"
            "Then a cell goes if its rank is below k.",
            "scores.flatten().argsort(descending=True) names the cells in order; .argsort() of that gives\n"
            "each cell's rank. Enlarge the ranks to [H, W] as in 10.3; then torch.where(ranks < k, blurred,\n"
            "image) is the picture for k.",
            "ranks = scores.flatten().argsort(descending=True).argsort().reshape(...)\n"
            "i, j = torch.arange(H) * ... // H, ...\nranks = ranks[i][:, j]\n"
            "pictures = [torch.where(..., ..., ...) for k in counts]\n"
            "return probability(torch.stack(pictures))",
        ),
        solution=("s10_attention_over_pixels.py", "deletion_curve"),
        symptoms={
            "must match the size of tensor": "ranks are [nH, nW], the picture is [3, H, W]: enlarge the "
            "ranks to [H, W] first, as in 10.3.",
            "stack(): argument 'tensors'": "torch.stack takes a list of pictures, one for each k.",
            "takes pictures [B, 3, H, W]": "put the pictures together first: torch.stack(pictures).",
            "expected Tensor as element": "the list is to hold pictures, tensors [3, H, W].",
            "IndexError": "an index is too large. Cells need not be equally large: row y lies in cell row "
            "⌊y·nH/H⌋. And where k is the number of cells there is no next score: compare ranks with k.",
        },
        forbidden=("mvit_lib",),
    ),
}
