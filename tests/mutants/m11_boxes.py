"""Plausible wrong answers to 11.1, 11.2 and 11.3, each with the message that must refuse it."""

import torch

from mvit_lib.heads import boxes as library
from mvit_lib.heads.boxes import iou

# 11.1


def areas(t):
    return (t[:, 2] - t[:, 0]) * (t[:, 3] - t[:, 1])


def shared(a, b):
    low = torch.maximum(a[:, None, :2], b[:, :2])
    high = torch.minimum(a[:, None, 2:], b[:, 2:])
    return (high - low).clamp(min=0).prod(-1)


def right_iou(a, b):
    return shared(a, b) / (areas(a)[:, None] + areas(b) - shared(a, b))


def forgets_to_cut(a, b):
    s = (torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])).prod(-1)
    return s / (areas(a)[:, None] + areas(b) - s)


def cuts_the_product(a, b):
    s = (torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])).prod(-1)
    s = s.clamp(min=0)
    return s / (areas(a)[:, None] + areas(b) - s)


def counts_the_shared_twice(a, b):
    return shared(a, b) / (areas(a)[:, None] + areas(b))


def over_the_first(a, b):
    return shared(a, b) / areas(a)[:, None]


def over_the_smaller(a, b):
    return shared(a, b) / torch.minimum(areas(a)[:, None], areas(b))


def only_shared(a, b):
    return shared(a, b)


def transposed(a, b):
    return right_iou(b, a)


def pixels_inclusive(a, b):
    a, b = (torch.cat([t[:, :2], t[:, 2:] + 1], 1) for t in (a, b))
    return right_iou(a, b)


def centres(a, b):
    a, b = (torch.cat([t[:, :2] - t[:, 2:] / 2, t[:, :2] + t[:, 2:] / 2], 1) for t in (a, b))
    return right_iou(a, b)


def row_by_row(a, b):
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    s = (high - low).clamp(min=0).prod(-1)
    return s / (areas(a) + areas(b) - s)


def without_an_axis(a, b):
    width = torch.minimum(a[:, 2], b[:, 2]) - torch.maximum(a[:, 0], b[:, 0])
    height = torch.minimum(a[:, 3], b[:, 3]) - torch.maximum(a[:, 1], b[:, 1])
    s = (width.clamp(min=0) * height.clamp(min=0))[:, None]
    return s / (areas(a)[:, None] + areas(b) - s)


def as_zip_pairs(a, b):
    return torch.stack([right_iou(x[None], y[None])[0, 0] for x, y in zip(a, b, strict=False)])


def numbers_in_a_list(a, b):
    table = [[right_iou(x[None], y[None]).item() for y in b] for x in a]
    return torch.tensor(table)


def in_double(a, b):
    return torch.tensor(right_iou(a, b).tolist(), dtype=torch.float64)


def gradient_lost(a, b):
    return right_iou(a.detach(), b.detach())


def writes_into_it(a, b):
    table = right_iou(a, b)
    a -= a
    return table


def the_librarys_iou(a, b):
    return iou(a[:, None], b)


# 11.2


def right_match(overlap, threshold=0.5):
    if not overlap.shape[1]:
        return torch.full((len(overlap),), -1)
    most, box = overlap.max(1)
    box[most < threshold] = -1
    box[overlap.argmax(0)] = torch.arange(overlap.shape[1])
    return box


def never_claims(overlap, threshold=0.5):
    most, box = overlap.max(1) if overlap.shape[1] else (torch.zeros(len(overlap)),) * 2
    return box.where(most >= threshold, -1).long()


def claims_only(overlap, threshold=0.5):
    box = torch.full((len(overlap),), -1)
    if overlap.shape[1]:
        box[overlap.argmax(0)] = torch.arange(overlap.shape[1])
    return box


def no_threshold(overlap, threshold=0.5):
    return right_match(overlap, 0)


def threshold_last(overlap, threshold=0.5):
    box = right_match(overlap, 0)
    box[overlap.amax(1) < threshold] = -1
    return box


def claims_above_a_tenth(overlap, threshold=0.5):
    if not overlap.shape[1]:
        return right_match(overlap, threshold)
    most, own = overlap.max(1)
    box = own.where(most >= threshold, -1)
    for m, (share, anchor) in enumerate(zip(*overlap.max(0), strict=True)):
        if share > 0.1:
            box[anchor] = m
    return box


def claim_keeps_its_own(overlap, threshold=0.5):
    most, own = overlap.max(1)
    box = own.where(most >= threshold, -1)
    claimed = overlap.argmax(0)
    box[claimed] = own[claimed]
    return box


def strictly_above(overlap, threshold=0.5):
    return right_match(overlap, threshold + 1e-6)


def always_a_half(overlap, threshold=0.5):
    return right_match(overlap, 0.5)


def background_is_zero(overlap, threshold=0.5):
    return right_match(overlap, threshold).clamp(min=0)


def labels_from_one(overlap, threshold=0.5):
    return right_match(overlap, threshold) + 1


def an_anchor_per_box(overlap, threshold=0.5):
    return overlap.argmax(0)


def forgets_empty(overlap, threshold=0.5):
    most, box = overlap.max(1)
    box[most < threshold] = -1
    box[overlap.argmax(0)] = torch.arange(overlap.shape[1])
    return box


def as_floats(overlap, threshold=0.5):
    return right_match(overlap, threshold).float()


def marks_the_table(overlap, threshold=0.5):
    box = right_match(overlap, threshold)
    overlap[overlap < threshold] = 0
    return box


def the_librarys_match(overlap, threshold=0.5):
    library.match(torch.zeros(0, 4), torch.ones(1, 4))
    return right_match(overlap, threshold)


# 11.3


def bend(offsets, anchors, centre=0.1, size=0.2):
    (t, g), (c, s) = offsets.split(2, -1), anchors.split(2, -1)
    return library.to_xyxy(torch.cat(torch.broadcast_tensors(c + centre * t * s, s * (size * g).exp()), -1))


def stays_centred(offsets, anchors):
    return library.to_cxcywh(bend(offsets, anchors))


def no_variances(offsets, anchors):
    return bend(offsets, anchors, 1, 1)


def variances_divide(offsets, anchors):
    return bend(offsets, anchors, 10, 5)


def variances_swapped(offsets, anchors):
    return bend(offsets, anchors, 0.2, 0.1)


def one_variance(offsets, anchors):
    return bend(offsets, anchors, 0.1, 0.1)


def shift_in_pixels(offsets, anchors):
    (t, g), (c, s) = offsets.split(2, -1), anchors.split(2, -1)
    c, s = c + 0.1 * t, s * (0.2 * g).exp()
    return torch.cat([c - s / 2, c + s / 2], -1)


def without_exp(offsets, anchors):
    (t, g), (c, s) = offsets.split(2, -1), anchors.split(2, -1)
    c, s = c + 0.1 * t * s, s * (1 + 0.2 * g)
    return torch.cat([c - s / 2, c + s / 2], -1)


def log_for_exp(offsets, anchors):
    (t, g), (c, s) = offsets.split(2, -1), anchors.split(2, -1)
    c, s = c + 0.1 * t * s, 0.2 * g * s
    return torch.cat([c - s / 2, c + s / 2], -1)


def starts_at_the_centre(offsets, anchors):
    (t, g), (c, s) = offsets.split(2, -1), anchors.split(2, -1)
    c, s = c + 0.1 * t * s, s * (0.2 * g).exp()
    return torch.cat([c, c + s], -1)


def whole_sides(offsets, anchors):
    (t, g), (c, s) = offsets.split(2, -1), anchors.split(2, -1)
    c, s = c + 0.1 * t * s, s * (0.2 * g).exp()
    return torch.cat([c - s, c + s], -1)


def new_sides(offsets, anchors):
    (t, g), (c, s) = offsets.split(2, -1), anchors.split(2, -1)
    s = s * (0.2 * g).exp()
    c = c + 0.1 * t * s
    return torch.cat([c - s / 2, c + s / 2], -1)


def anchors_as_corners(offsets, anchors):
    return bend(offsets, library.to_cxcywh(anchors))


def first_axis(offsets, anchors):
    t, g = offsets[:, :2], offsets[:, 2:]
    c, s = anchors[:, :2] + 0.1 * t * anchors[:, 2:], anchors[:, 2:] * (0.2 * g).exp()
    return torch.cat([c - s / 2, c + s / 2], 1)


def cuts_at_the_picture(offsets, anchors):
    return bend(offsets, anchors).clamp(min=0)


def width_for_both(offsets, anchors):
    return bend(offsets, anchors[..., [0, 1, 2, 2]])


def bends_in_place(offsets, anchors):
    result = bend(offsets, anchors)
    offsets *= 0.1
    return result


def the_librarys_decode(offsets, anchors):
    return library.decode(offsets, anchors)


MUTANTS = {
    "11.1": {
        forgets_to_cut: "is a negative width times a negative height an area",
        cuts_the_product: "cut width and height, each by itself",
        counts_the_shared_twice: "It holds what they share twice",
        over_the_first: "Did you divide by the area of a?",
        over_the_smaller: "smaller area",
        only_shared: "Is that the shared area?",
        transposed: "Are the axes swapped?",
        pixels_inclusive: "Did you add 1 to the sides?",
        centres: "as centre, width, height",
        row_by_row: "Every box of a meets every box of b",
        as_zip_pairs: "Did you pair the boxes row by row?",
        without_an_axis: "[M] and [N] do not pair up",
        numbers_in_a_list: "given float64 your function returns torch.float32",
        in_double: "no gradient comes back",
        gradient_lost: "no gradient comes back",
        writes_into_it: "changes its first argument",
        the_librarys_iou: "`mvit_lib` does what you are to build",
    },
    "11.2": {
        never_claims: "Did you forget that every box claims its best anchor",
        claims_only: "Did you match the claimed anchors only?",
        no_threshold: "Did you forget the threshold?",
        threshold_last: "Did the threshold have the last word?",
        claims_above_a_tenth: "Did a small IoU stop a claim?",
        claim_keeps_its_own: "A claimed anchor has to find the box that claims it",
        strictly_above: "exactly the threshold count",
        always_a_half: "Did you write 0.5",
        background_is_zero: "Is background 0?",
        labels_from_one: "Are these the labels 0 and 1",
        an_anchor_per_box: "Is that one anchor for every box?",
        forgets_empty: "the table has no column",
        as_floats: "indices are torch.int64",
        marks_the_table: "changes its first argument",
        the_librarys_match: "`mvit_lib` does what you are to build",
    },
    "11.3": {
        stays_centred: "Are these still centre, width, height?",
        no_variances: "Did you forget 0.1 and 0.2?",
        variances_divide: "Did you divide by 0.1 and 0.2?",
        variances_swapped: "Did you swap 0.1 and 0.2?",
        one_variance: "Did you take 0.1 for the sizes too?",
        shift_in_pixels: "Is the shift in pixels?",
        without_exp: "Did you write 1 + 0.2·g",
        log_for_exp: "Did you forget exp?",
        starts_at_the_centre: "Does the box begin at its centre?",
        whole_sides: "It is half of one",
        new_sides: "Did you shift by sides of the new box?",
        anchors_as_corners: "Did you read the anchors as corners?",
        first_axis: "cut along the last axis",
        cuts_at_the_picture: "Did you cut the boxes at 0?",
        width_for_both: "Did you take the width for both axes?",
        bends_in_place: "changes its first argument",
        the_librarys_decode: "`mvit_lib` does what you are to build",
    },
}
