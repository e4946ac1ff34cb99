"""One rank of the distributed tests: python rank.py MODE OUT, with torchrun's variables set."""

import os
import signal
import sys
from pathlib import Path

import torch
from tiny import Colours, tiny_model, tiny_recipe

from mvit_lib.train import fit
from mvit_lib.train.distributed import process_group, rank_and_size
from mvit_lib.train.loop import Run, set_training

BATCHES = 20
RECIPE = tiny_recipe(sizes=(32,), ema=0, label_smoothing=0.1)


def batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sixteen images and their classes in float64, the same everywhere."""
    draw = torch.Generator().manual_seed(number)
    images = torch.rand(16, 3, 32, 32, generator=draw, dtype=torch.float64)
    return images, torch.randint(0, 3, (16,), generator=draw)


def shard(number: int, rank: int, world_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = batch(number)
    return images[rank::world_size], labels[rank::world_size]


def steps(training_norm: bool, count: int = BATCHES) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """This rank's gradients after the first batch and its weights after `count` of them."""
    rank, world_size = rank_and_size()
    run = Run(tiny_model(dropout=0).double(), Colours(), RECIPE, "classify", None, None, 0)
    run.net.eval()
    if training_norm:
        set_training(run.net)
    for number in range(count):
        run.optimizer.zero_grad()
        run.add_gradient(shard(number, rank, world_size), None, batches=1, is_last=True)
        if number == 0:
            gradients = [p.grad.clone() for p in run.model.parameters()]
        run.optimizer.step()
    return gradients, [p.detach().clone() for p in run.model.parameters()]


class Deadly(Colours):
    """Kills the process while an image of the third step is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded = 0

    def load(self, index, size):
        self.loaded += 1
        if self.loaded == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(index, size)


def main(mode: str, out: Path) -> None:
    with process_group():
        rank, _ = rank_and_size()
        if mode in ("eval", "train"):
            torch.save(steps(training_norm=mode == "train"), out / f"{rank}.pt")
        elif mode == "fit":
            model = tiny_model()
            data = Colours()
            history = fit(
                model, data, tiny_recipe(warmup_steps=2), val_data=Colours(31, seed=1), out=out / "run"
            )
            torch.save((model.state_dict(), history.rows), out / f"{rank}.pt")
        elif mode == "die":
            fit(tiny_model(), Deadly() if rank == 1 else Colours(), tiny_recipe(epochs=50))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
