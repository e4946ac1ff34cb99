"""Solutions of notebook 09."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def adamw_step(
    w: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    decay: float,
) -> tuple[Tensor, Tensor, Tensor]:
    # m and v are means over the last updates; beginning at 0, after t updates they hold 1 − βᵗ of a mean.
    # Their ratio has no unit: a parameter moves by about lr, however large its gradients are.
    # The decay acts on the parameter itself; inside g it would be divided by √v̂ like everything else.
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g**2
    m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    w = w - lr * decay * w - lr * m_hat / (v_hat.sqrt() + eps)
    return w, m, v


def learning_rate(
    update: int, epoch: int, epochs: int, warmup: int, start: float, peak: float, final: float
) -> float:
    # The line counts updates, the cosine counts epochs: they know nothing of each other.
    # So the cosine has begun before the climb ends, and the learning rate never quite reaches its peak.
    # Where there is no warm-up the first case never happens, and nothing is divided by 0.
    if update < warmup:
        return start + update * (peak - start) / warmup
    return final + (peak - final) / 2 * (1 + math.cos(math.pi * epoch / epochs))


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, s: float) -> Tensor:
    # A share s of the certainty is shared out evenly among all K classes, the right one too.
    # log_softmax never forms a probability that float32 would round to 0.
    # The sum runs over the classes, which belong to one image; the mean over the images.
    K = logits.shape[1]
    q = (1 - s) * F.one_hot(targets, K) + s / K  # [B, K]
    return -(q * logits.log_softmax(dim=1)).sum(dim=1).mean()


def update_mean(mean: nn.Module, model: nn.Module, share: float) -> None:
    # state_dict() gives parameters and buffers; the statistics of a BatchNorm belong to the network.
    # Its tensors share their memory with the module and need no gradient: in place is allowed.
    # A count has no meaningful mean: it is taken over.
    for old, new in zip(mean.state_dict().values(), model.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, share)  # old + share · (new − old)
        else:
            old.copy_(new)


def one_update(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]], optimizer: torch.optim.Optimizer, lr: float
) -> float:
    # backward() adds to the gradients that are there, so they are cleared once, before the first batch.
    # A batch counts by its images: B/total of its mean. Equal shares would favour the images of small ones.
    # Going backward at once frees what the batch kept, so memory holds a single batch at a time.
    total, mean_loss = sum(len(y) for _, y in batches), 0.0
    optimizer.zero_grad()
    for x, y in batches:
        loss = F.cross_entropy(model(x), y) * len(y) / total
        loss.backward()
        mean_loss += loss.item()
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return mean_loss
