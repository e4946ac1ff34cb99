"""Plausible wrong answers to 10.5, each with the message that must refuse it."""

import torch

from mvit_lib.look.figures import attention_over_pixels as figures


def _by_rank(probability, image, blurred, scores, counts, gone):
    (nH, nW), (H, W) = scores.shape, image.shape[1:]
    ranks = scores.flatten().argsort(descending=True).argsort().reshape(nH, nW)
    ranks = ranks[torch.arange(H) * nH // H][:, torch.arange(W) * nW // W]
    return probability(torch.stack([torch.where(gone(ranks, k), blurred, image) for k in counts]))


def least_first(probability, image, blurred, scores, counts):
    return _by_rank(probability, image, blurred, -scores, counts, lambda r, k: r < k)


def one_too_many(probability, image, blurred, scores, counts):
    return _by_rank(probability, image, blurred, scores, counts, lambda r, k: r <= k)


def the_kth_alone(probability, image, blurred, scores, counts):
    return _by_rank(probability, image, blurred, scores, counts, lambda r, k: r == k - 1)


def one_alone_from_zero(probability, image, blurred, scores, counts):
    return _by_rank(probability, image, blurred, scores, counts, lambda r, k: r == k)


def goes_on(probability, image, blurred, scores, counts):
    reached = [max(counts[: i + 1]) for i in range(len(counts))]
    return _by_rank(probability, image, blurred, scores, reached, lambda r, k: r < k)


def sorts_counts(probability, image, blurred, scores, counts):
    return _by_rank(probability, image, blurred, scores, sorted(counts), lambda r, k: r < k)


def _by_cells(probability, image, blurred, scores, counts, cells):
    ranks = scores.flatten().argsort(descending=True).argsort()[cells.clamp(max=scores.numel() - 1)]
    return probability(torch.stack([torch.where(ranks < k, blurred, image) for k in counts]))


def numbers_with_nH(probability, image, blurred, scores, counts):
    (nH, nW), (H, W) = scores.shape, image.shape[1:]
    cells = (torch.arange(H) * nH // H)[:, None] * nH + torch.arange(W) * nW // W
    return _by_cells(probability, image, blurred, scores, counts, cells)


def cells_of_one_size(probability, image, blurred, scores, counts):
    (nH, nW), (H, W) = scores.shape, image.shape[1:]
    cells = (torch.arange(H) // (H // nH))[:, None] * nW + torch.arange(W) // (W // nW)
    return _by_cells(probability, image, blurred, scores, counts, cells)


def slices(probability, image, blurred, scores, counts):
    (nH, nW), (H, W), pictures = scores.shape, image.shape[1:], []
    order = scores.flatten().argsort(descending=True).tolist()
    for k in counts:
        picture = image.clone()
        for a, b in (divmod(cell, nW) for cell in order[:k]):
            rows = slice(a * H // nH, (a + 1) * H // nH)
            columns = slice(b * W // nW, (b + 1) * W // nW)
            picture[:, rows, columns] = blurred[:, rows, columns]
        pictures.append(picture)
    return probability(torch.stack(pictures))


def the_last_takes_the_rest(probability, image, blurred, scores, counts):
    (nH, nW), (H, W) = scores.shape, image.shape[1:]
    i = (torch.arange(H) // (H // nH)).clamp(max=nH - 1)
    j = (torch.arange(W) // (W // nW)).clamp(max=nW - 1)
    return _by_cells(probability, image, blurred, scores, counts, nW * i[:, None] + j)


def score_before(probability, image, blurred, scores, counts):
    (nH, nW), (H, W) = scores.shape, image.shape[1:]
    best = scores.flatten().sort(descending=True).values
    wide = scores[torch.arange(H) * nH // H][:, torch.arange(W) * nW // W]
    return probability(torch.stack([torch.where(wide >= best[k - 1], blurred, image) for k in counts]))


def next_score(probability, image, blurred, scores, counts):
    (nH, nW), (H, W) = scores.shape, image.shape[1:]
    best = scores.flatten().sort(descending=True).values
    wide = scores[torch.arange(H) * nH // H][:, torch.arange(W) * nW // W]
    return probability(torch.stack([torch.where(wide > best[k], blurred, image) for k in counts]))


def keeps_the_first(probability, image, blurred, scores, counts):
    return _by_rank(probability, image, blurred, scores, counts, lambda r, k: r >= k)


def inserts(probability, image, blurred, scores, counts):
    return _by_rank(probability, blurred, image, scores, counts, lambda r, k: r < k)


def black(probability, image, blurred, scores, counts):
    return _by_rank(probability, image, torch.zeros_like(image), scores, counts, lambda r, k: r < k)


def new_ones_only(probability, image, blurred, scores, counts):
    before = dict(zip(counts, [0, *counts], strict=False))
    return _by_rank(probability, image, blurred, scores, counts, lambda r, k: (r < k) & (r >= before[k]))


def order_for_rank(probability, image, blurred, scores, counts):
    order = scores.flatten().argsort(descending=True).reshape(scores.shape)
    return _by_rank(probability, image, blurred, -order.float(), counts, lambda r, k: r < k)


def grid_on_its_side(probability, image, blurred, scores, counts):
    turned = scores.reshape(scores.shape[::-1]).mT
    return _by_rank(probability, image, blurred, turned, counts, lambda r, k: r < k)


def place_in_counts(probability, image, blurred, scores, counts):
    return _by_rank(probability, image, blurred, scores, range(len(counts)), lambda r, k: r < k)


def writes_into_the_image(probability, image, blurred, scores, counts):
    (nH, nW), (H, W), answers = scores.shape, image.shape[1:], []
    order = scores.flatten().argsort(descending=True).tolist()
    rows, columns = torch.arange(H) * nH // H, torch.arange(W) * nW // W
    for k in counts:
        for cell in order[:k]:
            where = (rows == cell // nW)[:, None] & (columns == cell % nW)
            image[:, where] = blurred[:, where]
        answers.append(probability(image[None]))
    return torch.cat(answers)


def whole_cells_only(probability, image, blurred, scores, counts):
    (nH, nW), (H, W) = scores.shape, image.shape[1:]
    ranks = scores.flatten().argsort(descending=True).argsort().reshape(nH, nW)
    ranks = ranks.repeat_interleave(H // nH, 0).repeat_interleave(W // nW, 1)
    return probability(torch.stack([torch.where(ranks < k, blurred, image) for k in counts]))


def one_picture_without_its_axis(probability, image, blurred, scores, counts):
    return torch.stack([probability(image) for k in counts])


def a_list(probability, image, blurred, scores, counts):
    return _by_rank(probability, image, blurred, scores, counts, lambda r, k: r < k).tolist()


def by_the_figures(probability, image, blurred, scores, counts):
    return figures.deletion_curve(probability, image, blurred, scores, counts)


MUTANTS = {
    "10.5": {
        least_first: "Did you begin with the least attended?",
        one_too_many: "Did you replace one too many?",
        the_kth_alone: "Did you replace the k-th alone?",
        one_alone_from_zero: "and count from 0?",
        goes_on: "Did you go on from the picture before?",
        sorts_counts: "Did you sort counts?",
        numbers_with_nH: "Did you number the cells with nH?",
        cells_of_one_size: "Did you make all cells equally large?",
        slices: "cell row a begins at ⌈a·H/nH⌉",
        the_last_takes_the_rest: "cell row a begins at ⌈a·H/nH⌉",
        score_before: "With k = 0 that is the last one",
        next_score: "there is no next score",
        keeps_the_first: "Did you insert instead of delete?",
        inserts: "Did you insert instead of delete?",
        black: "Did you paint with black?",
        new_ones_only: "or the new ones only?",
        order_for_rank: "Did you confuse order and rank?",
        grid_on_its_side: "Did you swap the sides of the grid?",
        place_in_counts: "Is k the place in `counts`?",
        writes_into_the_image: "your function changes its first argument",
        whole_cells_only: "enlarge the ranks to [H, W] first",
        one_picture_without_its_axis: "takes pictures [B, 3, H, W]",
        a_list: "expected a tensor, got list",
        by_the_figures: "`mvit_lib` does what you are to build",
    },
}
