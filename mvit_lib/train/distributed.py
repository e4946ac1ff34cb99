"""Several processes as one: what the training loop has to know about torchrun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# What gloo and nccl say when the other side of a connection is gone.
SIGNS_OF_DEATH = ("closed by peer", "reset by peer", "Broken pipe", "remote process exited")


def rank_and_size() -> tuple[int, int]:
    """(rank, world_size) of this process; (0, 1) when it is alone."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextmanager
def process_group(timeout: timedelta = timedelta(minutes=10)) -> Iterator[torch.device]:
    """Join the processes that torchrun started (nccl on GPUs, gloo elsewhere); gives this one's device.

    Without torchrun it joins nothing. `timeout` is for a rank that hangs.
    Raises: ConnectionError as soon as another rank has died, which closes its connections.
    """
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timeout)
    try:
        yield device
    except RuntimeError as error:
        if not any(sign in str(error) for sign in SIGNS_OF_DEATH):
            raise
        raise ConnectionError(
            f"another rank of this training has ended, so rank {dist.get_rank()} ends too; look at its own "
            "message. Started again with the same `out`, the training goes on from its checkpoint"
        ) from error
    finally:
        dist.destroy_process_group()


def sum_over_ranks(counts: Tensor) -> Tensor:
    """The sum of a CPU tensor over all ranks, on every rank."""
    if rank_and_size()[1] == 1:
        return counts
    total = counts.cuda() if dist.get_backend() == "nccl" else counts.clone()
    dist.all_reduce(total)
    return total.cpu()


def gather_from_ranks(items: list[Any]) -> list[Any]:
    """The items of all ranks, on every rank, the first rank's first."""
    if rank_and_size()[1] == 1:
        return items
    lists: list[list[Any]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(lists, items)
    return [item for part in lists for item in part]


def share_buffers(model: nn.Module) -> None:
    """Give every rank the first one's buffers: each has normalised other images."""
    if rank_and_size()[1] > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)
