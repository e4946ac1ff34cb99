"""The multi-scale sampler: every step has its own image size, and its batch fits that size."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch

from mvit_lib.layers import make_divisible
from mvit_lib.patches import Pair, as_pair

REFERENCE = 256 * 256  # the size at which the official code states its batch


class Key(NamedTuple):
    """What a dataset needs to make one item: which one, how large, and the epoch for its random draws."""

    index: int
    height: int
    width: int
    epoch: int


def paper_batch(pixels: int, largest: int, base_batch: int, world_size: int) -> int:
    """⌊H_n·W_n·b / (H_t·W_t)⌋ with b at the largest size: every step sees about as many pixels.

    Source: Section 3.2.
    """
    return max(1, largest * base_batch // pixels)


def cvnets_v01_batch(pixels: int, largest: int, base_batch: int, world_size: int) -> int:
    """The code behind the paper's weights: b at 256², never below it, rounded to the number of ranks."""
    return make_divisible(max(base_batch, REFERENCE * base_batch // pixels), world_size)


def cvnets_head_batch(pixels: int, largest: int, base_batch: int, world_size: int) -> int:
    """The official code since its version 0.3: b at 256², above and below."""
    return max(1, REFERENCE * base_batch // pixels)


RULES: dict[str, Callable[[int, int, int, int], int]] = {
    "paper": paper_batch,
    "cvnets-v0.1": cvnets_v01_batch,
    "cvnets-head": cvnets_head_batch,
}


class MultiScaleSampler:
    """Batches of Keys for a DataLoader's `batch_sampler`, one image size per step.

    All ranks draw the same sequence of sizes from a private generator seeded by (seed, epoch), which
    nothing outside can shift; the indices are shuffled from the same seed and dealt out to the ranks,
    the first ones twice where they do not come out even. A rank's last batch is filled up with its
    own first indices, so that all ranks take equally many steps of equal batches.

    num_samples: length of the dataset. sizes: ints or (height, width), in pixels. base_batch: images
    per step and rank, at the largest size for rule "paper", at 256 × 256 for "cvnets-v0.1" and
    "cvnets-head". A single size with "paper" is the ordinary sampler.

    Raises: ValueError naming the argument that cannot be meant.
    Source: Section 3.2 and Appendix B.
    """

    def __init__(
        self,
        num_samples: int,
        sizes: tuple[Pair, ...] = (160, 192, 256, 288, 320),
        base_batch: int = 128,
        rule: str = "paper",
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if rule not in RULES:
            raise ValueError(f"rule={rule!r}: expected one of {sorted(RULES)}")
        if num_samples < 1 or base_batch < 1 or not sizes:
            raise ValueError(
                f"num_samples={num_samples}, base_batch={base_batch}, sizes={sizes}: "
                "expected at least one of each"
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank} must lie in 0 … world_size − 1 = {world_size - 1}")
        self.num_samples, self.seed, self.rank, self.world_size = num_samples, seed, rank, world_size
        self.sizes = tuple(as_pair(size, "sizes") for size in sizes)
        largest = max(height * width for height, width in self.sizes)
        self.batches = {
            (height, width): RULES[rule](height * width, largest, base_batch, world_size)
            for height, width in self.sizes
        }
        self.epoch = 0
        self.first_step = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw another sequence from the next pass on; a new epoch starts at its first step."""
        if epoch != self.epoch:
            self.epoch, self.first_step = epoch, 0

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on inside an epoch: {"epoch": …, "step": how many of its steps were consumed}.

        Raises: ValueError if the epoch does not have that many steps.
        """
        self.epoch, self.first_step = state["epoch"], 0
        if not 0 <= state["step"] <= len(self):
            raise ValueError(f"step={state['step']}: epoch {self.epoch} has {len(self)} steps")
        self.first_step = state["step"]

    @property
    def samples_per_rank(self) -> int:
        return -(-self.num_samples // self.world_size)

    def plan(self) -> list[tuple[tuple[int, int], int]]:
        """((height, width), batch) of every step of this epoch; the same on every rank."""
        draws = random.Random(f"sizes {self.seed} {self.epoch}")
        steps, covered = [], 0
        while covered < self.samples_per_rank:
            size = draws.choice(self.sizes)
            steps.append((size, self.batches[size]))
            covered += self.batches[size]
        return steps

    def __len__(self) -> int:
        """The number of steps that the next pass takes."""
        return len(self.plan()) - self.first_step

    def _indices(self) -> list[int]:
        """This rank's share of the shuffled dataset, as many on every rank."""
        generator = torch.Generator()
        generator.manual_seed(random.Random(f"indices {self.seed} {self.epoch}").getrandbits(63))
        order = torch.randperm(self.num_samples, generator=generator).tolist()
        dealt = range(self.rank, self.samples_per_rank * self.world_size, self.world_size)
        return [order[i % self.num_samples] for i in dealt]

    def __iter__(self) -> Iterator[list[Key]]:
        indices, taken = self._indices(), 0
        first_step, self.first_step = self.first_step, 0
        for step, ((height, width), batch) in enumerate(self.plan()):
            if step >= first_step:
                chosen = (indices[i % len(indices)] for i in range(taken, taken + batch))
                yield [Key(index, height, width, self.epoch) for index in chosen]
            taken += batch
