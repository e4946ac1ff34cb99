"""Plausible wrong answers to 09.1 … 09.3, each with the message that must refuse it."""

import math

import torch
import torch.nn.functional as F

from mvit_lib.train import Recipe

# 09.1


def step_of(w, g, m, v, t, lr, betas, eps, decay, *, gain=None, square=None, at=0, grow=None):
    m = betas[0] * m + (gain or (1 - betas[0])) * g
    v = betas[1] * v + (1 - betas[1]) * (square(g, m) if square else g**2)
    m_hat, v_hat = m / (1 - betas[0] ** (t + at)), v / (1 - betas[1] ** (t + at))
    shrunk = grow(w, lr, decay) if grow else w - lr * decay * w
    return shrunk - lr * m_hat / (v_hat.sqrt() + eps), m, v


def no_correction(w, g, m, v, t, lr, betas, eps, decay):
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g**2
    return w - lr * decay * w - lr * m / (v.sqrt() + eps), m, v


def counts_from_zero(*arguments):
    return step_of(*arguments, at=1)


def decay_in_the_gradient(w, g, m, v, t, lr, betas, eps, decay):
    return step_of(w, g + decay * w, m, v, t, lr, betas, eps, 0)


def decay_in_the_step(w, g, m, v, t, lr, betas, eps, decay):
    _, m, v = step_of(w, g, m, v, t, lr, betas, eps, decay)
    return step_of(w, g + decay * w, m, v, t, lr, betas, eps, 0)[0], m, v


def no_decay(*arguments):
    return step_of(*arguments, grow=lambda w, lr, decay: w)


def decay_without_rate(*arguments):
    return step_of(*arguments, grow=lambda w, lr, decay: w - decay * w)


def growing(*arguments):
    return step_of(*arguments, grow=lambda w, lr, decay: w + lr * decay * w)


def gradient_added_whole(*arguments):
    return step_of(*arguments, gain=1)


def betas_exchanged(w, g, m, v, t, lr, betas, eps, decay):
    return step_of(w, g, m, v, t, lr, betas[::-1], eps, decay)


def shares_exchanged(w, g, m, v, t, lr, betas, eps, decay):
    return step_of(w, g, m, v, t, lr, (1 - betas[0], 1 - betas[1]), eps, decay)


def not_squared(*arguments):
    return step_of(*arguments, square=lambda g, m: g)


def squares_m(*arguments):
    return step_of(*arguments, square=lambda g, m: m**2)


def first_beta_twice(w, g, m, v, t, lr, betas, eps, decay):
    return step_of(w, g, m, v, t, lr, (betas[0], betas[0]), eps, decay)


def eps_inside(w, g, m, v, t, lr, betas, eps, decay):
    _, m, v = step_of(w, g, m, v, t, lr, betas, eps, decay)
    m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    return w - lr * decay * w - lr * m_hat / (v_hat + eps).sqrt(), m, v


def no_root(w, g, m, v, t, lr, betas, eps, decay):
    _, m, v = step_of(w, g, m, v, t, lr, betas, eps, decay)
    m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    return w - lr * decay * w - lr * m_hat / (v_hat + eps), m, v


def returns_corrected(w, g, m, v, t, lr, betas, eps, decay):
    w, m, v = step_of(w, g, m, v, t, lr, betas, eps, decay)
    return w, m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)


def moves_first(w, g, m, v, t, lr, betas, eps, decay):
    m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    moved = w - lr * decay * w - lr * m_hat / (v_hat.sqrt() + eps)
    return moved, betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g**2


def uphill(w, g, m, v, t, lr, betas, eps, decay):
    new, m, v = step_of(w, g, m, v, t, lr, betas, eps, decay)
    return 2 * (w - lr * decay * w) - new, m, v


def only_w(*arguments):
    return step_of(*arguments)[0]


def in_place(w, g, m, v, t, lr, betas, eps, decay):
    new, m, v = step_of(w, g, m, v, t, lr, betas, eps, decay)
    return w.copy_(new), m, v


def single_precision(*arguments):
    return tuple(x.float() for x in step_of(*arguments))


def nothing_back(*arguments):
    step_of(*arguments)


def torchs_own(w, g, m, v, t, lr, betas, eps, decay):
    p = torch.nn.Parameter(w.clone())
    p.grad = g.clone()
    optimizer = torch.optim.AdamW([p], lr, betas, eps, decay)
    optimizer.state[p] = {"step": torch.tensor(float(t - 1)), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}
    optimizer.step()
    return p.detach(), optimizer.state[p]["exp_avg"], optimizer.state[p]["exp_avg_sq"]


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


MUTANTS = {
    "09.1": {
        no_correction: "leave out the division by 1 − βᵗ",
        counts_from_zero: "Is t one too large",
        decay_in_the_gradient: "Does the decay go into the gradient",
        decay_in_the_step: "w: the largest difference",
        no_decay: "The decay is missing",
        decay_without_rate: "without the learning rate",
        growing: "The weight grows by its decay",
        gradient_added_whole: "Did you add g whole",
        betas_exchanged: "Are the two βs exchanged",
        shares_exchanged: "β and 1 − β are exchanged",
        not_squared: "v takes the gradient squared",
        squares_m: "not m squared",
        first_beta_twice: "Is β₁ in v",
        eps_inside: "Is ε inside the root",
        no_root: "Is the root missing",
        returns_corrected: "Return m before its division",
        moves_first: "the m and v of before",
        uphill: "Do you walk uphill",
        only_w: "expected three tensors w, m, v",
        in_place: "changes its first argument",
        single_precision: "given float64",
        nothing_back: "got None: did you forget `return w, m, v`",
        torchs_own: "`step`",
    },
    "09.2": {
        climbs_from_zero: "The climb begins at `start`, not at 0",
        climbs_too_high: "it gains only peak − start",
        one_update_ahead: "one update ahead",
        warms_the_cosine: "do not multiply the two",
        falls_to_zero: "ends at `final`, not at 0",
        falls_from_above: "the part that falls is peak − final",
        not_halved: "did you forget to halve it",
        rises: "Does your rate rise",
        without_pi: "leave out π",
        straight_down: "a straight line down",
        one_epoch_fewer: "not by epochs − 1",
        one_epoch_ahead: "Is the epoch one ahead",
        peak_is_reached: "`<`, not `<=`",
        divides_always: "A warm-up of 0 updates is allowed",
        prints_only: "got None",
        the_recipes: "`mvit_lib`",
    },
    "09.3": {
        shared_by_the_others: "all K get a share",
        sums_below_one: "Do your targets sum to 1",
        keeps_its_one: "kept its whole 1",
        not_smoothed: "ε has no effect",
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
        classes_from_targets: "K is the number of classes",
    },
}
