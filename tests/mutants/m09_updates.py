"""Plausible wrong answers to 09.4 and 09.5, each with the message that must refuse it."""

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mvit_lib.train.loop import to_device

# 09.4


def states(mean, model):
    return zip(mean.state_dict().values(), model.state_dict().values(), strict=True)


@torch.no_grad()
def parameters_only(mean, model, share):
    for old, new in zip(mean.parameters(), model.parameters(), strict=True):
        old.lerp_(new, share)


@torch.no_grad()
def buffers_copied(mean, model, share):
    parameters_only(mean, model, share)
    for old, new in zip(mean.buffers(), model.buffers(), strict=True):
        old.copy_(new)


def shares_exchanged(mean, model, share):
    for old, new in states(mean, model):
        old.lerp_(new, 1 - share) if old.is_floating_point() else old.copy_(new)


def takes_the_last(mean, model, share):
    mean.load_state_dict(model.state_dict())


def adds_only(mean, model, share):
    for old, new in states(mean, model):
        old.add_(new * share) if old.is_floating_point() else old.copy_(new)


def half_and_half(mean, model, share):
    for old, new in states(mean, model):
        old.lerp_(new, 0.5) if old.is_floating_point() else old.copy_(new)


def renames_only(mean, model, share):
    for old, new in states(mean, model):
        old = old + share * (new - old)


def changes_the_model(mean, model, share):
    for old, new in states(model, mean):
        old.lerp_(new, share) if old.is_floating_point() else old.copy_(new)


def mean_of_counts(mean, model, share):
    for old, new in states(mean, model):
        old.copy_(old + share * (new - old))


def count_forgotten(mean, model, share):
    for old, new in states(mean, model):
        if old.is_floating_point():
            old.lerp_(new, share)


def single_precision_only(mean, model, share):
    for old, new in states(mean, model):
        old.lerp_(new, share) if old.dtype == torch.float32 else old.copy_(new)


def with_gradients(mean, model, share):
    for old, new in zip(mean.parameters(), model.parameters(), strict=True):
        old.mul_(1 - share).add_(new * share)


def lerps_the_count(mean, model, share):
    for old, new in states(mean, model):
        old.lerp_(new, share)


def one_and_the_same(mean, model, share):
    for old, new in states(mean, model):
        old.lerp_(new, share) if old.is_floating_point() else old.copy_(new)
    mean[1].num_batches_tracked = model[1].num_batches_tracked


def torchs_own(mean, model, share):
    helper = AveragedModel(mean, multi_avg_fn=get_ema_multi_avg_fn(1 - share), use_buffers=True)
    helper.module = mean
    helper.n_averaged += 1
    helper.update_parameters(model)
    mean[1].num_batches_tracked.copy_(model[1].num_batches_tracked)


# 09.5


def update(model, batches, optimizer, rate, *, weight=None, clear=True, start=None, back=None):
    total, mean_loss = sum(len(y) for _, y in batches), 0.0
    if clear:
        optimizer.zero_grad()
    for x, y in batches:
        share = weight(len(y), total, len(batches)) if weight else len(y) / total
        if start:
            start()
        loss = F.cross_entropy(model(x), y) * share
        (back or torch.Tensor.backward)(loss)
        mean_loss += loss.item()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return mean_loss


def equal_batches(*arguments):
    return update(*arguments, weight=lambda B, total, n: 1 / n)


def adds_the_means(*arguments):
    return update(*arguments, weight=lambda B, total, n: 1)


def sum_of_images(*arguments):
    return update(*arguments, weight=lambda B, total, n: B)


def divides_by_batches(*arguments):
    return update(*arguments, weight=lambda B, total, n: B / n)


def divides_twice(*arguments):
    return update(*arguments, weight=lambda B, total, n: 1 / total)


def never_clears(*arguments):
    return update(*arguments, clear=False)


def clears_every_time(model, batches, optimizer, rate):
    return update(model, batches, optimizer, rate, start=optimizer.zero_grad)


def uphill(*arguments):
    return update(*arguments, back=lambda loss: (-loss).backward())


def steps_every_time(model, batches, optimizer, rate):
    total, mean_loss = sum(len(y) for _, y in batches), 0.0
    for group in optimizer.param_groups:
        group["lr"] = rate
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        mean_loss += loss.item() * len(y) / total
    return mean_loss


def never_steps(model, batches, optimizer, rate):
    optimizer.zero_grad()
    for x, y in batches:
        F.cross_entropy(model(x), y).backward()


def rate_forgotten(model, batches, optimizer, rate):
    total = sum(len(y) for _, y in batches)
    optimizer.zero_grad()
    for x, y in batches:
        (F.cross_entropy(model(x), y) * len(y) / total).backward()
    optimizer.step()
    return 0.0


def first_group_only(model, batches, optimizer, rate):
    optimizer.param_groups[0]["lr"] = rate
    return rate_forgotten(model, batches, optimizer, rate)


def all_at_once(model, batches, optimizer, rate):
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return update(model, [(x, y)], optimizer, rate)


def backward_at_the_end(model, batches, optimizer, rate):
    total = sum(len(y) for _, y in batches)
    loss = sum(F.cross_entropy(model(x), y) * len(y) / total for x, y in batches)
    optimizer.zero_grad()
    loss.backward()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return loss.item()


def in_eval_mode(model, *rest):
    model.eval()
    return update(model, *rest)


def loss_as_tensor(model, batches, optimizer, rate):
    return torch.tensor(update(model, batches, optimizer, rate))


def loss_of_the_last(model, batches, optimizer, rate):
    update(model, batches, optimizer, rate)
    return 1.0


def nothing_back(*arguments):
    update(*arguments)


def backward_on_a_number(model, batches, optimizer, rate):
    return update(model, batches, optimizer, rate, back=lambda loss: loss.item().backward())


def growing_sum(model, batches, optimizer, rate):
    total, loss = sum(len(y) for _, y in batches), 0
    optimizer.zero_grad()
    for x, y in batches:
        loss = loss + F.cross_entropy(model(x), y) * len(y) / total
        loss.backward()
    optimizer.step()


def the_librarys(model, batches, optimizer, rate):
    return update(model, to_device(batches, torch.device("cpu")), optimizer, rate)


MUTANTS = {
    "09.4": {
        parameters_only: "Did you go through parameters()",
        buffers_copied: "Average buffers too",
        shares_exchanged: "The shares are exchanged",
        takes_the_last: "not a mean",
        adds_only: "The two shares have to sum to 1",
        half_and_half: "the middle of both",
        renames_only: "It has not moved at all. `a = …` only renames",
        changes_the_model: "Only the mean moves",
        mean_of_counts: "a mean of counts has no meaning",
        count_forgotten: "a count of batches: take the model's over",
        single_precision_only: "knows every kind",
        with_gradients: "work under torch.no_grad()",
        lerps_the_count: "is a whole number",
        one_and_the_same: "one and the same tensor",
        torchs_own: "`update_parameters`",
    },
    "09.5": {
        equal_batches: "Did you give every batch the same share",
        adds_the_means: "add the batches' means up",
        sum_of_images: "sum over the images",
        divides_by_batches: "divide by the number of batches",
        divides_twice: "divide by the images twice",
        never_clears: "clear them first",
        clears_every_time: "Only the last batch has had an effect",
        uphill: "The parameters go uphill",
        steps_every_time: "was called 3 times",
        never_steps: "never called",
        rate_forgotten: "stepped with the learning rates 0.05 and 0.05",
        first_group_only: "stepped with the learning rates 0.3 and 0.05",
        all_at_once: "one forward pass of all images at once",
        backward_at_the_end: "all forward passes come first",
        in_eval_mode: "into eval mode",
        loss_as_tensor: "comes back as a tensor",
        loss_of_the_last: "Did you return that of one batch",
        nothing_back: "returns None",
        backward_on_a_number: ".item() comes after it",
        growing_sum: "Each batch has a graph of its own",
        the_librarys: "`mvit_lib` does what you are to build",
    },
}
