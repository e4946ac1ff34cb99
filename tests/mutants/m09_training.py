"""Plausible wrong answers to 09.2 and 09.3, each with the message that must refuse it."""

import math

import torch
import torch.nn.functional as F

from mvit_lib.train import Recipe

# 09.2


def rate(update, epoch, epochs, warmup, start, peak, final):
    if update < warmup:
        return start + update * (peak - start) / warmup
    return final + (peak - final) / 2 * (1 + math.cos(math.pi * epoch / epochs))


def climbs_from_zero(update, epoch, epochs, warmup, start, peak, final):
    return rate(update, epoch, epochs, warmup, 0, peak, final)


def climbs_too_high(update, epoch, epochs, warmup, start, peak, final):
    return (
        start + update * peak / warmup if update < warmup else rate(update, epoch, epochs, 0, 0, peak, final)
    )


def one_update_ahead(update, *rest):
    _, _, warmup, start, peak, _ = rest
    if update < warmup:
        return start + (update + 1) * (peak - start) / warmup
    return rate(update, *rest)


def warms_the_cosine(update, epoch, epochs, warmup, start, peak, final):
    share = min(1, update / max(1, warmup))
    return (share if warmup else 1) * rate(warmup, epoch, epochs, warmup, start, peak, final)


def falls_to_zero(update, epoch, epochs, warmup, start, peak, final):
    if update < warmup:
        return rate(update, epoch, epochs, warmup, start, peak, final)
    return peak / 2 * (1 + math.cos(math.pi * epoch / epochs))


def falls_from_above(update, epoch, epochs, warmup, start, peak, final):
    fallen = peak / 2 * (1 + math.cos(math.pi * epoch / epochs))
    return rate(update, epoch, epochs, warmup, start, peak, final) if update < warmup else final + fallen


def not_halved(update, *rest):
    r, final = rate(update, *rest), rest[-1]
    return r if update < rest[2] else final + 2 * (r - final)


def rises(update, epoch, epochs, warmup, start, peak, final):
    if update < warmup:
        return rate(update, epoch, epochs, warmup, start, peak, final)
    return final + (peak - final) / 2 * (1 - math.cos(math.pi * epoch / epochs))


def without_pi(update, epoch, epochs, warmup, start, peak, final):
    if update < warmup:
        return rate(update, epoch, epochs, warmup, start, peak, final)
    return final + (peak - final) / 2 * (1 + math.cos(epoch / epochs))


def straight_down(update, epoch, epochs, warmup, start, peak, final):
    if update < warmup:
        return rate(update, epoch, epochs, warmup, start, peak, final)
    return peak + (final - peak) * epoch / epochs


def one_epoch_fewer(update, epoch, epochs, *rest):
    return rate(update, epoch, epochs - 1, *rest)


def one_epoch_ahead(update, epoch, *rest):
    return rate(update, epoch + 1, *rest)


def peak_is_reached(update, epoch, epochs, warmup, start, peak, final):
    return peak if update == warmup else rate(update, epoch, epochs, warmup, start, peak, final)


def divides_always(update, epoch, epochs, warmup, start, peak, final):
    climbing = start + update * (peak - start) / warmup
    return climbing if update < warmup else rate(update, epoch, epochs, warmup, start, peak, final)


def start_at_the_end(update, epoch, epochs, warmup, start, peak, final):
    return rate(update, epoch, epochs, warmup, start, peak, start)


def final_at_the_start(update, epoch, epochs, warmup, start, peak, final):
    return rate(update, epoch, epochs, warmup, final, peak, final)


def wave_after_the_climb(update, epoch, epochs, *rest):
    return rate(update, max(0, epoch - 3), epochs - 3, *rest)


def wave_of_updates(update, epoch, epochs, *rest):
    return rate(update, update / 855, epochs, *rest)


def prints_only(*arguments):
    rate(*arguments)


def the_recipes(update, epoch, epochs, warmup, start, peak, final):
    recipe = Recipe(epochs=epochs, warmup_steps=warmup, start_rate=start, rate=peak, final_rate=final)
    return recipe.learning_rate(update, 10**7, epoch)


# 09.3


def loss_of(logits, targets, right, wrong):
    q = torch.full_like(logits, wrong).scatter(1, targets[:, None], right)
    return -(q * logits.log_softmax(1)).sum(1).mean()


def shared_by_the_others(z, y, eps):
    return loss_of(z, y, 1 - eps, eps / (z.shape[1] - 1))


def sums_below_one(z, y, eps):
    return loss_of(z, y, 1 - eps, eps / z.shape[1])


def keeps_its_one(z, y, eps):
    return loss_of(z, y, 1.0, eps / z.shape[1])


def not_smoothed(z, y, eps):
    return loss_of(z, y, 1.0, 0.0)


def eps_for_everybody(z, y, eps):
    return loss_of(z, y, 1 - eps, eps)


def q_of(z, y, eps):
    return (1 - eps) * F.one_hot(y, z.shape[1]) + eps / z.shape[1]


def no_minus(z, y, eps):
    return (q_of(z, y, eps) * z.log_softmax(1)).sum(1).mean()


def sum_of_the_batch(z, y, eps):
    return -(q_of(z, y, eps) * z.log_softmax(1)).sum()


def mean_of_everything(z, y, eps):
    return -(q_of(z, y, eps) * z.log_softmax(1)).mean()


def other_axis(z, y, eps):
    return -(q_of(z, y, eps) * z.log_softmax(0)).sum(1).mean()


def no_logarithm(z, y, eps):
    return -(q_of(z, y, eps) * z.softmax(1)).sum(1).mean()


def no_softmax(z, y, eps):
    return -(q_of(z, y, eps) * z).sum(1).mean()


def log_of_softmax(z, y, eps):
    return -(q_of(z, y, eps) * z.softmax(1).log()).sum(1).mean()


def one_loss_per_image(z, y, eps):
    return -(q_of(z, y, eps) * z.log_softmax(1)).sum(1)


def leaves_the_graph(z, y, eps):
    return -(q_of(z, y, eps) * z.detach().log_softmax(1)).sum(1).mean()


def torchs_loss(z, y, eps):
    return F.cross_entropy(z, y, label_smoothing=eps)


def classes_from_targets(z, y, eps):
    K = int(y.max())
    return -((1 - eps) * F.one_hot(y, K) + eps / K * z.log_softmax(1)).sum(1).mean()


def classes_of_the_batch(z, y, eps):
    q = (1 - eps) * F.one_hot(y) + eps / z.shape[1]
    return -(q * z.log_softmax(1)).sum(1).mean()


def always_a_tenth(z, y, eps):
    return loss_of(z, y, 1 - 0.1 + 0.1 / z.shape[1], 0.1 / z.shape[1])


def plain_number(z, y, eps):
    return -(q_of(z, y, eps) * z.log_softmax(1)).sum(1).mean().item()


MUTANTS = {
    "09.2": {
        climbs_from_zero: "The climb begins at `start`, not at 0",
        climbs_too_high: "it gains only peak − start",
        one_update_ahead: "one update ahead",
        warms_the_cosine: "do not multiply the two",
        falls_to_zero: "ends at `final`, not at 0",
        falls_from_above: "the part that falls is peak − final",
        not_halved: "did you forget to halve it",
        rises: "Does your learning rate rise",
        without_pi: "leave out π",
        straight_down: "a straight line down",
        one_epoch_fewer: "not by epochs − 1",
        one_epoch_ahead: "Is the epoch one ahead",
        peak_is_reached: "`<`, not `<=`",
        divides_always: "A warm-up of 0 updates is allowed",
        start_at_the_end: "`start` belongs to the climb",
        final_at_the_start: "`final` belongs to the wave",
        wave_after_the_climb: "It begins at epoch 0",
        wave_of_updates: "Does your wave count updates",
        prints_only: "got None",
        the_recipes: "`mvit_lib`",
    },
    "09.3": {
        shared_by_the_others: "all K get a share",
        sums_below_one: "Do your targets sum to 1",
        keeps_its_one: "kept its whole 1",
        not_smoothed: "s has no effect",
        eps_for_everybody: "They share it",
        no_minus: "Is the minus missing",
        sum_of_the_batch: "sum over the batch",
        mean_of_everything: "mean over classes too",
        other_axis: "dim 1",
        no_logarithm: "Is the logarithm missing",
        no_softmax: "Is the softmax missing",
        log_of_softmax: "take log_softmax",
        one_loss_per_image: "has shape [4], expected []",
        leaves_the_graph: "no gradient comes back",
        torchs_loss: "`cross_entropy`",
        classes_of_the_batch: "one_hot count the classes in the labels",
        always_a_tenth: "Is s always 0.1",
        plain_number: "returns a plain number",
        classes_from_targets: "K is the number of classes",
    },
}
