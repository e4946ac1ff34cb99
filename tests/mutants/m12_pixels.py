"""Plausible wrong answers to 12.4 and 12.5, each with the message that must refuse it."""

import torch
import torch.nn.functional as F

from mvit_lib.train.metrics import SegmentationCounter

# 12.4


def log_probabilities(logits, mask, dim=1):
    """log p of the true class of every pixel [B, H, W], whatever it is where the mask says 255."""
    log_p = logits.log_softmax(dim)
    return log_p.gather(1, mask.clamp(max=logits.shape[1] - 1)[:, None])[:, 0]


def looks_up_255(logits, mask):
    known = mask != 255
    of_class = logits.log_softmax(1).gather(1, mask[:, None])[:, 0]
    return -of_class[known].mean()


def over_all_pixels(logits, mask):
    return -(log_probabilities(logits, mask) * (mask != 255)).mean()


def background_for_255(logits, mask):
    return -log_probabilities(logits, mask.masked_fill(mask == 255, 0)).mean()


def clamps_255(logits, mask):
    return -log_probabilities(logits, mask).mean()


def nan_for_nothing(logits, mask):
    return -log_probabilities(logits, mask)[mask != 255].mean()


def image_by_image(logits, mask):
    losses = [
        -log_probabilities(z[None], m[None])[m[None] != 255].mean() for z, m in zip(logits, mask, strict=True)
    ]
    return torch.stack(losses).mean()


def without_minus(logits, mask):
    return log_probabilities(logits, mask)[mask != 255].mean()


def softmax_of_rows(logits, mask):
    return -log_probabilities(logits, mask, dim=2)[mask != 255].mean()


def without_logarithm(logits, mask):
    return -log_probabilities(logits, mask).exp()[mask != 255].mean()


def log_after_softmax(logits, mask):
    p = logits.softmax(1).log().gather(1, mask.clamp(max=logits.shape[1] - 1)[:, None])[:, 0]
    return -p[mask != 255].sum() / (mask != 255).sum().clamp(min=1)


def without_background(logits, mask):
    kept = (mask != 255) & (mask != 0)
    return -log_probabilities(logits, mask)[kept].sum() / kept.sum().clamp(min=1)


def a_plain_zero(logits, mask):
    known = mask != 255
    return -log_probabilities(logits, mask)[known].mean() if known.any() else 0.0


def a_new_zero(logits, mask):
    known = mask != 255
    return -log_probabilities(logits, mask)[known].mean() if known.any() else torch.tensor(0.0)


def log_of_softmax(logits, mask):
    p = (logits.exp() / logits.exp().sum(1, keepdim=True)).log()
    p = p.gather(1, mask.clamp(max=logits.shape[1] - 1)[:, None])[:, 0]
    return -p[mask != 255].sum() / (mask != 255).sum().clamp(min=1)


def a_sum(logits, mask):
    return -log_probabilities(logits, mask)[mask != 255].sum()


def a_map(logits, mask):
    return -log_probabilities(logits, mask)


def a_number(logits, mask):
    known = mask != 255
    return torch.tensor((-log_probabilities(logits, mask)[known].sum() / known.sum().clamp(min=1)).item())


def picks_before_permuting(logits, mask):
    return -logits.log_softmax(1)[mask != 255].mean()


def asks_pytorch(logits, mask):
    total = F.cross_entropy(logits, mask, ignore_index=255, reduction="sum")
    return total / (mask != 255).sum().clamp(min=1)


# 12.5


def counted(found, truth, n):
    known = truth != 255
    table = (n * truth[known] + found[known]).bincount(minlength=n * n).view(n, n)
    return table.diagonal(), table.sum(1), table.sum(0)


def union_with_overlap_twice(found, truth, n):
    both, t, f = counted(found, truth, n)
    return both / (t + f)


def dice(found, truth, n):
    both, t, f = counted(found, truth, n)
    return 2 * both / (t + f)


def recall(found, truth, n):
    both, t, _ = counted(found, truth, n)
    return both / t


def precision(found, truth, n):
    both, _, f = counted(found, truth, n)
    return both / f


def zero_for_absent(found, truth, n):
    both, t, f = counted(found, truth, n)
    return both / (t + f - both).clamp(min=1)


def one_for_absent(found, truth, n):
    both, t, f = counted(found, truth, n)
    return (both / (t + f - both)).nan_to_num(1)


def nan_if_not_true(found, truth, n):
    both, t, f = counted(found, truth, n)
    return (both / (t + f - both)).masked_fill(t == 0, torch.nan)


def nan_if_not_found(found, truth, n):
    both, t, f = counted(found, truth, n)
    return (both / (t + f - both)).masked_fill(f == 0, torch.nan)


def nan_if_nothing_overlaps(found, truth, n):
    both, t, f = counted(found, truth, n)
    return (both / (t + f - both)).masked_fill(both == 0, torch.nan)


def one_if_found_but_not_true(found, truth, n):
    both, t, f = counted(found, truth, n)
    return (both / (t + f - both)).masked_fill((t == 0) & (f > 0), 1)


def per_cent(found, truth, n):
    return 100 * zero_over_zero(found, truth, n)


def ignored_as_background(found, truth, n):
    return zero_over_zero(found, truth.masked_fill(truth == 255, 0), n)


def zero_over_zero(found, truth, n):
    both, t, f = counted(found, truth, n)
    return both / (t + f - both)


def by_masks_with_ignored(found, truth, n):
    both = torch.stack([((found == k) & (truth == k)).sum() for k in range(n)])
    either = torch.stack([((found == k) | (truth == k)).sum() for k in range(n)])
    return both / either


def picture_by_picture(found, truth, n):
    return torch.stack([zero_over_zero(f, t, n) for f, t in zip(found, truth, strict=True)]).nanmean(0)


def counts_255(found, truth, n):
    table = (n * truth + found).flatten().bincount(minlength=n * n).view(n, n)
    return table.diagonal() / (table.sum(0) + table.sum(1) - table.diagonal())


def without_minlength(found, truth, n):
    known = truth != 255
    both = found[known][found[known] == truth[known]].bincount()
    t, f = truth[known].bincount(), found[known].bincount()
    size = max(len(both), len(t), len(f))
    both, t, f = (F.pad(v, (0, size - len(v))) for v in (both, t, f))
    return both / (t + f - both)


def the_mean(found, truth, n):
    return zero_over_zero(found, truth, n).nanmean()


def asks_the_library(found, truth, n):
    counter = SegmentationCounter(n)
    for f, t in zip(found, truth, strict=True):
        counter.add(f, t)
    return counter.result(range(n)).iou


MUTANTS = {
    "12.4": {
        looks_up_255: "A pixel to ignore asks for class 255",
        over_all_pixels: "Do you divide by all pixels?",
        background_for_255: "Are ignored pixels background to you?",
        clamps_255: "Are ignored pixels the last class to you?",
        nan_for_nothing: "You divide 0 by 0",
        image_by_image: "Do you take the mean image by image?",
        without_minus: "Did you forget the minus sign?",
        softmax_of_rows: "Is the softmax over the rows",
        without_logarithm: "Did you forget the logarithm?",
        log_of_softmax: "log_softmax is safe",
        log_after_softmax: "logits 0 and 200 in one pixel: your loss is inf",
        without_background: "Do you leave out the background?",
        a_plain_zero: "a mask of 255 only: expected a tensor, got float",
        a_new_zero: "backward() stops there",
        a_sum: "Did you leave out the mean?",
        a_map: "one number for the whole batch",
        a_number: "no gradient comes back",
        picks_before_permuting: "bring the classes",
        asks_pytorch: "`cross_entropy`",
    },
    "12.5": {
        union_with_overlap_twice: "Did you count the overlap twice?",
        dice: "the Dice score or F1",
        recall: "That is the recall",
        precision: "That is the precision",
        zero_for_absent: "in neither mask get 0?",
        one_for_absent: "in neither mask get 1?",
        nan_if_not_true: "Is a class NaN that is not in truth?",
        nan_if_not_found: "Is a class NaN that is not in found?",
        nan_if_nothing_overlaps: "Is a class NaN where nothing overlaps?",
        one_if_found_but_not_true: "found but not true get 1?",
        per_cent: "in per cent?",
        ignored_as_background: "Are ignored pixels background to you?",
        by_masks_with_ignored: "Do ignored pixels count as found?",
        picture_by_picture: "Do you take the mean of the pictures?",
        counts_255: "leave out the pixels to ignore first",
        without_minlength: "bincount needs minlength",
        the_mean: "one number for each class",
        asks_the_library: "`mvit_lib`",
    },
}
