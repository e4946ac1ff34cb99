"""From a dataset to batches: whatever dataset it is, ours, a part of ours, or any other."""

import copy
import signal
from collections.abc import Sequence
from typing import Any

from torch import Generator
from torch.utils.data import DataLoader, Dataset, Subset

from mvit_lib.data.items import Items, collate
from mvit_lib.data.sampler import Key
from mvit_lib.train.distributed import rank_and_size
from mvit_lib.transforms import Transform


class Keyed(Dataset):
    """A dataset that is asked by Keys, around one that may only know indices.

    Datasets of this library, and `Subset`s of them, get the whole Key, and `transform` if they have
    none of their own. Any other dataset gets the index and must give images of one size.
    """

    def __init__(self, dataset: Dataset, transform: Transform) -> None:
        inner, self.indices = dataset, range(len(dataset))
        while isinstance(inner, Subset):
            self.indices, inner = [inner.indices[i] for i in self.indices], inner.dataset
        self.takes_keys = isinstance(inner, Items)
        if self.takes_keys and inner.transform is None:
            inner = copy.copy(inner)
            inner.transform = transform
        self.inner = inner

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: Key) -> Any:
        index = self.indices[key.index]
        return self.inner[key._replace(index=index) if self.takes_keys else index]


def _leave_interrupts_to_the_parent(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the training's own, which a fork inherits


def make_loader(data: Keyed, batches: Any, task: str, workers: int, pin_memory: bool = False) -> DataLoader:
    """A DataLoader over `batches` of Keys, whose workers leave PyTorch's random numbers alone."""
    return DataLoader(
        data,
        batch_sampler=batches,
        collate_fn=collate(task),
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_leave_interrupts_to_the_parent,
        generator=Generator(),
        persistent_workers=workers > 0,
    )


def evaluation_batches(num_samples: int, size: tuple[int, int], batch: int) -> Sequence[list[Key]]:
    """This rank's share of all samples, in order, each of `size` = (height, width)."""
    rank, world_size = rank_and_size()
    keys = [Key(i, *size, 0) for i in range(rank, num_samples, world_size)]
    return [keys[i : i + batch] for i in range(0, len(keys), batch)]
