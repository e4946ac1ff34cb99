"""Plausible wrong answers to 09.1, each with the message that must refuse it."""

import torch


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


def decay_after_the_step(w, g, m, v, t, lr, betas, eps, decay):
    new, m, v = step_of(w, g, m, v, t, lr, betas, eps, 0)
    return new - lr * decay * new, m, v


def betas_of_the_recipe(w, g, m, v, t, lr, betas, eps, decay):
    return step_of(w, g, m, v, t, lr, (0.9, 0.999), eps, decay)


def second_beta_of_the_recipe(w, g, m, v, t, lr, betas, eps, decay):
    return step_of(w, g, m, v, t, lr, (betas[0], 0.999), eps, decay)


MUTANTS = {
    "09.1": {
        no_correction: "leave out the division by 1 − βᵗ",
        counts_from_zero: "Is t one too large",
        decay_in_the_gradient: "Does the decay go into the gradient",
        decay_in_the_step: "w: the largest difference",
        decay_after_the_step: "taken off after the step",
        betas_of_the_recipe: "Is that 0.9",
        second_beta_of_the_recipe: "Is that 0.999",
        no_decay: "The decay is missing",
        decay_without_rate: "without the learning rate",
        growing: "The parameter grows by its decay",
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
}
