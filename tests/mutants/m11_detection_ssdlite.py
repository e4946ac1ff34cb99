"""Plausible wrong answers to 11.4, 11.5 and 11.6, each with the message that must refuse it."""

import torch

from mvit_lib.heads import ssdlite
from mvit_lib.heads.boxes import nms as librarys_nms
from mvit_lib.train import average_precision as librarys_ap

# 11.4


def ranks(surprise, positive):
    return surprise.masked_fill(positive, -torch.inf).argsort(1, descending=True).argsort(1)


def right_negatives(surprise, positive, ratio=3):
    return (ranks(surprise, positive) < ratio * positive.sum(1, keepdim=True)) & ~positive


def with_objects(surprise, positive, ratio=3):
    return right_negatives(surprise, positive, ratio) | positive


def easiest(surprise, positive, ratio=3):
    return right_negatives(-surprise, positive, ratio)


def one_list_for_the_batch(surprise, positive, ratio=3):
    flat = right_negatives(surprise.reshape(1, -1), positive.reshape(1, -1), ratio)
    return flat.view_as(surprise)


def one_number_for_the_batch(surprise, positive, ratio=3):
    return (ranks(surprise, positive) < ratio * positive.sum()) & ~positive


def always_three(surprise, positive, ratio=3):
    return right_negatives(surprise, positive, 3)


def three_per_image(surprise, positive, ratio=3):
    return (ranks(surprise, positive) < ratio) & ~positive


def one_too_many(surprise, positive, ratio=3):
    return (ranks(surprise, positive) <= ratio * positive.sum(1, keepdim=True)) & ~positive


def objects_take_places(surprise, positive, ratio=3):
    rank = surprise.argsort(1, descending=True).argsort(1)
    return (rank < ratio * positive.sum(1, keepdim=True)) & ~positive


def sorts_once(surprise, positive, ratio=3):
    order = surprise.masked_fill(positive, -torch.inf).argsort(1, descending=True)
    return (order < ratio * positive.sum(1, keepdim=True)) & ~positive


def runs_into_objects(surprise, positive, ratio=3):
    return ranks(surprise, positive) < ratio * positive.sum(1, keepdim=True)


def ranks_all(surprise, positive, ratio=3):
    chosen = torch.zeros_like(positive)
    for b in range(len(surprise)):
        count = min(ratio * int(positive[b].sum()), surprise.shape[1])
        chosen[b, surprise[b].topk(count).indices] = True
    return chosen


def topk_of_too_many(surprise, positive, ratio=3):
    chosen = torch.zeros_like(positive)
    for b in range(len(surprise)):
        hardness = surprise[b].masked_fill(positive[b], -torch.inf)
        chosen[b, hardness.topk(ratio * int(positive[b].sum())).indices] = True
    return chosen


def one_at_least(surprise, positive, ratio=3):
    limit = (ratio * positive.sum(1, keepdim=True)).clamp(min=1)
    return (ranks(surprise, positive) < limit) & ~positive


def as_numbers(surprise, positive, ratio=3):
    return right_negatives(surprise, positive, ratio).float()


def without_keepdim(surprise, positive, ratio=3):
    return (ranks(surprise, positive) < ratio * positive.sum(1)) & ~positive


def fills_in_place(surprise, positive, ratio=3):
    result = right_negatives(surprise, positive, ratio)
    surprise[positive] = -torch.inf
    return result


def the_librarys_negatives(surprise, positive, ratio=3):
    return ssdlite.hard_negatives(surprise, positive, ratio)


# 11.5


def order(scores):
    return scores.argsort(descending=True).tolist()


def right_nms(overlap, scores, threshold=0.5, ranking=None):
    stays = []
    for i in ranking or order(scores):
        if all(overlap[i, j] <= threshold for j in stays):
            stays.append(i)
    return stays


def the_dropped_drop(overlap, scores, threshold=0.5):
    o = order(scores)
    return [i for n, i in enumerate(o) if all(overlap[i, j] <= threshold for j in o[:n])]


def as_they_come(overlap, scores, threshold=0.5):
    return right_nms(overlap, scores, threshold, list(range(len(scores))))


def worst_first(overlap, scores, threshold=0.5):
    return right_nms(overlap, scores, threshold, order(scores)[::-1])


def order_of_the_input(overlap, scores, threshold=0.5):
    return sorted(right_nms(overlap, scores, threshold))


def places_in_the_sorted_list(overlap, scores, threshold=0.5):
    o = order(scores)
    return [o.index(i) for i in right_nms(overlap, scores, threshold)]


def drops_at_the_threshold(overlap, scores, threshold=0.5):
    return right_nms(overlap, scores, threshold - 1e-6)


def always_a_half(overlap, scores, threshold=0.5):
    return right_nms(overlap, scores)


def only_the_best_drops(overlap, scores, threshold=0.5):
    best = scores.argmax() if len(scores) else -1
    return [i for i in order(scores) if i == best or overlap[i, best] <= threshold]


def drops_itself(overlap, scores, threshold=0.5):
    return [i for i in order(scores) if (overlap[i] <= threshold).all()]


def asks_the_last_only(overlap, scores, threshold=0.5):
    stays = []
    for i in order(scores):
        if not stays or overlap[i, stays[-1]] <= threshold:
            stays.append(i)
    return stays


def keeps_the_dropped(overlap, scores, threshold=0.5):
    stays = right_nms(overlap, scores, threshold)
    return [i for i in order(scores) if i not in stays]


def only_the_best(overlap, scores, threshold=0.5):
    return order(scores)[:1]


def gives_scores(overlap, scores, threshold=0.5):
    return scores[right_nms(overlap, scores, threshold)]


def forgets_return(overlap, scores, threshold=0.5):
    right_nms(overlap, scores, threshold)


def maximum_of_nothing(overlap, scores, threshold=0.5):
    left, stays = scores.clone(), []
    while True:
        best = left.max(0).indices.item()
        if left[best] == -torch.inf:
            return stays
        stays.append(best)
        left[overlap[best] > threshold] = -torch.inf


def uses_up_the_scores(overlap, scores, threshold=0.5):
    stays = right_nms(overlap, scores, threshold)
    scores.zero_()
    return stays


def the_librarys_nms(overlap, scores, threshold=0.5):
    librarys_nms(torch.rand(2, 4), torch.rand(2, 1))
    return right_nms(overlap, scores, threshold)


# 11.6


def steps(scores, is_right):
    right = is_right[scores.argsort(descending=True)].double()
    precision = right.cumsum(0) / torch.arange(1, len(right) + 1)
    return right, precision, precision.flip(0).cummax(0).values.flip(0) if len(right) else precision


def right_ap(scores, is_right, objects):
    right, _, envelope = steps(scores, is_right)
    return (envelope * right).sum() / objects


def not_sorted(scores, is_right, objects):
    return right_ap(-torch.arange(len(scores)), is_right, objects)


def lowest_first(scores, is_right, objects):
    return right_ap(-scores, is_right, objects)


def raw_precision(scores, is_right, objects):
    right, precision, _ = steps(scores, is_right)
    return (precision * right).sum() / objects


def best_so_far(scores, is_right, objects):
    right, precision, _ = steps(scores, is_right)
    return (precision.cummax(0).values * right).sum() / objects


def over_those_found(scores, is_right, objects):
    right, _, envelope = steps(scores, is_right)
    return (envelope * right).sum() / right.sum()


def over_the_finds(scores, is_right, objects):
    right, _, envelope = steps(scores, is_right)
    return (envelope * right).sum() / len(right)


def mean_over_finds(scores, is_right, objects):
    return steps(scores, is_right)[2].mean()


def wrong_ones_step_too(scores, is_right, objects):
    return steps(scores, is_right)[2].sum() / objects


def final_recall(scores, is_right, objects):
    return is_right.sum() / objects


def final_precision(scores, is_right, objects):
    return is_right.double().mean()


def trapezoids(scores, is_right, objects):
    right, _, envelope = steps(scores, is_right)
    heights = envelope[right > 0]
    return torch.trapezoid(torch.cat([heights[:1], heights]), dx=1 / objects)


def under_the_zigzag(scores, is_right, objects):
    right, precision, _ = steps(scores, is_right)
    return torch.trapezoid(precision, right.cumsum(0) / objects)


def a_hundred_and_one_readings(scores, is_right, objects):
    right, precision, _ = steps(scores, is_right)
    recall = right.cumsum(0) / objects
    heights = [precision[recall >= t].tolist() for t in torch.linspace(0, 1, 101, dtype=torch.float64)]
    return sum(max(height, default=0) for height in heights) / 101


def forgets_to_divide(scores, is_right, objects):
    return right_ap(scores, is_right, 1)


def gives_all_steps(scores, is_right, objects):
    right, _, envelope = steps(scores, is_right)
    return envelope * right / objects


def needs_a_find(scores, is_right, objects):
    right, precision, _ = steps(scores, is_right)
    best = precision.tolist()
    best = [max(best[i:]) for i in range(len(best))]
    return sum(b * r for b, r in zip(best, right.tolist(), strict=True)) / objects + 0 * best[0]


def sorts_in_place(scores, is_right, objects):
    result = right_ap(scores, is_right, objects)
    scores.copy_(scores.sort().values)
    return result


def the_librarys_ap(scores, is_right, objects):
    librarys_ap._xywh(torch.zeros(1, 4))
    return right_ap(scores, is_right, objects)


MUTANTS = {
    "11.4": {
        with_objects: "Are the objects' anchors in it too?",
        easiest: "Did you take the easiest?",
        one_list_for_the_batch: "Did the batch share one list?",
        one_number_for_the_batch: "Did the batch share one number?",
        always_three: "Did you write 3",
        three_per_image: "Is that `ratio` per image?",
        one_too_many: "Is that one too many?",
        objects_take_places: "take places in the ranking?",
        sorts_once: "Did you confuse order and rank?",
        runs_into_objects: "Then the ranks go on into those with an object",
        ranks_all: "Did you rank all anchors?",
        topk_of_too_many: "fewer background anchors than asked for",
        one_at_least: "Did you keep one at least?",
        as_numbers: "expected torch.bool",
        without_keepdim: "keepdim=True makes [B, 1]",
        fills_in_place: "changes its first argument",
        the_librarys_negatives: "`mvit_lib` does what you are to build",
    },
    "11.5": {
        the_dropped_drop: "Did a dropped box drop another?",
        as_they_come: "Did you go through the boxes as they come?",
        worst_first: "Did you begin with the worst?",
        order_of_the_input: "in the order of the input?",
        places_in_the_sorted_list: "Are these places in the sorted list?",
        drops_at_the_threshold: "Is exactly the threshold too much?",
        always_a_half: "Did you write 0.5",
        only_the_best_drops: "Did only the best box drop others?",
        drops_itself: "Did a box drop itself?",
        asks_the_last_only: "Did you look at the next better box only?",
        keeps_the_dropped: "Did you keep what overlaps",
        only_the_best: "Is that only the best box?",
        gives_scores: "Are these scores?",
        forgets_return: "did you forget `return`",
        maximum_of_nothing: "a maximum of nothing does not exist",
        uses_up_the_scores: "changes its second argument",
        the_librarys_nms: "do what you are to build",
    },
    "11.6": {
        not_sorted: "Did you forget to sort?",
        lowest_first: "Did you begin with the lowest score?",
        raw_precision: "Is that the precision itself?",
        best_so_far: "Did you take the best precision so far?",
        over_those_found: "Did you divide by the objects that were found?",
        over_the_finds: "Did you divide by the number of finds?",
        mean_over_finds: "Is that the mean over all finds?",
        wrong_ones_step_too: "Did you let wrong finds add steps too?",
        final_recall: "Is that the recall at the end?",
        final_precision: "Is that the precision at the end?",
        trapezoids: "slanting lines",
        under_the_zigzag: "Is that the area under the zigzag?",
        a_hundred_and_one_readings: "Is that the mean of 101 readings",
        forgets_to_divide: "not yet divided by the number of objects",
        gives_all_steps: "expected one number, got a tensor",
        needs_a_find: "there may be no find at all",
        sorts_in_place: "changes its first argument",
        the_librarys_ap: "`mvit_lib` does what you are to build",
    },
}
