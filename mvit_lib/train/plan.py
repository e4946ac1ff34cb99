"""What a training will take, reckoned before it starts."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mvit_lib.data.sampler import MultiScaleSampler
from mvit_lib.train.recipe import Recipe

MIB = 2**20


@dataclass(frozen=True)
class Plan:
    """Steps and memory of a training.

    batches: (height, width) -> images per step and rank. steps: fewest and most of an epoch. updates:
    of the whole training, `warmup` of them climbing. images: seen by all ranks in all epochs.
    state_bytes: per rank for weights, gradients, optimizer and mean of the weights. activation_bytes:
    per rank, what the forward pass of the largest step keeps for the backward pass.
    """

    batches: dict[tuple[int, int], int]
    steps: tuple[int, int]
    updates: int
    warmup: int
    images: int
    state_bytes: int
    activation_bytes: int

    def __str__(self) -> str:
        sizes = ", ".join(f"{h} × {w}: {batch}" for (h, w), batch in sorted(self.batches.items()))
        few, many = self.steps
        steps = f"{few}" if few == many else f"{few} … {many}"
        state, kept = self.state_bytes / MIB, self.activation_bytes / MIB
        return (
            f"images per step and rank   {sizes}\n"
            f"steps per epoch            {steps}\n"
            f"updates in all             {self.updates}, {self.warmup} of them warm-up\n"
            f"images seen                {self.images}\n"
            f"memory per rank            {state + kept:.0f} MiB: {state:.0f} for weights, gradients, "
            f"optimizer and mean, {kept:.0f} for the largest step"
        )


def plan(model: nn.Module, recipe: Recipe, sampler: MultiScaleSampler) -> Plan:
    """Reckon what training `model` by `recipe` with `sampler` takes; the model stays as it is.

    Raises: ValueError if the warm-up takes half of all updates or more.
    """
    steps, images = [], 0
    for epoch in range(recipe.epochs):
        sampler.load_state_dict({"epoch": epoch, "step": 0})
        batches = [batch for _, batch in sampler.plan()]
        steps.append(len(batches))
        images += sum(batches) * sampler.world_size
    updates = sum(-(-n // recipe.accumulate) for n in steps)
    learning = [p for p in model.parameters() if p.requires_grad]
    weights = sum(t.nbytes for t in model.state_dict().values())
    # Gradient and Adam's two moments for what learns; a second copy of all weights for their mean.
    state = weights * (2 if recipe.ema else 1) + 3 * sum(p.nbytes for p in learning)
    kept = {size: saved_bytes(model, size, recipe) * batch for size, batch in sampler.batches.items()}
    return Plan(
        dict(sampler.batches), (min(steps), max(steps)), updates, recipe.warmup(updates), images, state,
        max(kept.values()),
    )  # fmt: skip


def saved_bytes(model: nn.Module, size: tuple[int, int], recipe: Recipe) -> int:
    """Bytes that a forward pass in training keeps for the backward pass, per image; weights not counted."""
    device = next(model.parameters()).device
    weights = {t.untyped_storage().data_ptr() for t in model.state_dict().values()}
    kept: dict[int, int] = {}
    holding: list[Tensor] = []  # so that no storage is given to another tensor while we count

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            holding.append(tensor)
        return tensor

    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    was_training = model.training
    images = torch.zeros(2, 3, *size, device=device)  # [2, 3, H, W]
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast(device.type, torch.bfloat16, recipe.precision == "bfloat16"),
    ):
        model.train()(images)
    model.train(was_training)
    for name, buffer in model.named_buffers():
        buffer.data.copy_(statistics[name])
    return sum(kept.values()) // 2
