"""The checker of 08.4, the steps of one rank among several."""

import builtins
import inspect
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from mvit_lib.course.checks.c08_multi_scale_sampler import Batches, Step, has_full_batches, steps_of
from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Wrong

SMALL: Batches = {(64, 64): 1, (48, 64): 2, (32, 32): 4}
WIDE: Batches = {(64, 64): 3, (48, 48): 5, (32, 32): 12}
OTHER_SALT = 0x5EED


def _standing() -> str:
    """Where the generators stand that everybody may draw from: Python's, torch's, NumPy's."""
    _, numbers, *rest = np.random.get_state()
    return repr((random.getstate(), torch.get_rng_state().tolist(), numbers.tolist(), rest))


@contextmanager
def _global_generator(seed: int) -> Iterator[None]:
    """Everybody's generators at a known place; afterwards they are where they were."""
    before = random.getstate(), torch.get_rng_state(), np.random.get_state()
    random.seed(seed)
    torch.manual_seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        torch.set_rng_state(before[1])
        np.random.set_state(before[2])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, tuple) and all(map(_is_number, value)))


@contextmanager
def _other_process(function: Callable) -> Iterator[None]:
    """`hash` in the function's module as in another process: Python salts all but numbers anew."""
    true, module = builtins.hash, getattr(inspect.unwrap(function), "__globals__", {})

    def salted(value: Any) -> int:
        is_asked_here = sys._getframe(1).f_globals is module
        return true(value) ^ OTHER_SALT if is_asked_here and not _is_number(value) else true(value)

    builtins.hash = salted
    try:
        yield
    finally:
        builtins.hash = true


def check_steps_of_rank(steps_of_rank: Callable) -> None:
    """Private and repeatable, alike on all ranks, shares that cover everything; seed and epoch matter."""

    def take(number: int, batches: Batches, seed: int, epoch: int, rank: int, world: int) -> list[Step]:
        where = f"{number} images, seed {seed}, epoch {epoch}, rank {rank} of {world}:"
        return steps_of(steps_of_rank, where, number, dict(batches), seed, epoch, rank, world)

    with _global_generator(0):
        _is_private(take, steps_of_rank)
        for epoch in range(12):
            with _global_generator(0):
                _ranks_agree([take(50, SMALL, 3, epoch, rank, 3) for rank in range(3)], epoch)
        for number, world in ((50, 3), (23, 1), (40, 4)):
            ranks = [take(number, WIDE, 1, 2, rank, world) for rank in range(world)]
            _ranks_agree(ranks, 2)
            for rank, steps in enumerate(ranks):
                has_full_batches(steps, WIDE, f"{number} images, rank {rank} of {world}:")
            _shares_cover(ranks, number)
        _seed_and_epoch_matter(take)
        _all_are_shuffled_before_the_deal(take)
        _sizes_are_equally_likely(take(3000, SMALL, 0, 0, 0, 1))


def _is_private(take: Callable[..., list[Step]], function: Callable) -> None:
    """Nothing outside shifts the draws, not even the process, and the draws shift nothing outside."""
    arguments = (50, WIDE, 1, 2, 0, 2)
    with _global_generator(1):
        before = _standing()
        first = take(*arguments)
        after = _standing()
    with _global_generator(1):
        again = take(*arguments)
    with _global_generator(2):
        other = take(*arguments)
    if first != again:
        raise Wrong(
            "the same arguments give other steps the second time: did you build a generator without a seed? "
            "Then every rank draws as it likes."
        )
    if first != other:
        raise Wrong(
            "a stray draw from everybody's generator, and your steps are others: draw from a generator of "
            "your own, random.Random(…), not from `random`, torch's default or np.random."
        )
    if before != after:
        raise Wrong(
            "your function seeds or moves everybody's generator. Whoever draws from it while your steps are "
            "taken shifts your sizes, and you shift theirs: use one of your own, random.Random(…)."
        )

    with _other_process(function):
        if first != take(*arguments):
            raise Wrong(
                "`hash` of a text is another number in every process, so each rank would draw its own sizes: "
                "give random.Random the text itself."
            )


def _ranks_agree(ranks: Sequence[Sequence[Step]], epoch: int) -> None:
    """All ranks take equally many steps, of equal sizes and batches."""
    first = [size for size, _ in ranks[0]]
    for rank, steps in enumerate(ranks[1:], 1):
        sizes = [size for size, _ in steps]
        both = list(zip(first, sizes, strict=False))
        i = next((i for i, (a, b) in enumerate(both) if a != b), None)
        if i is not None:
            raise Wrong(
                f"in epoch {epoch}, step {i} is {first[i]} on rank 0 and {sizes[i]} on rank {rank}: the "
                "ranks have to draw alike. Does the rank, or its share, go into the seed of the sizes?"
            )
        if len(first) != len(sizes):
            raise Wrong(
                f"in epoch {epoch}, rank 0 takes {len(first)} steps and rank {rank} takes {len(sizes)}: one "
                "waits for ever.\n      Has every rank equally many indices? "
                "Deal ⌈num_samples / world_size⌉ to each."
            )


def _shares_cover(ranks: Sequence[Sequence[Step]], number: int) -> None:
    """A rank holds its share and no more; together they hold every index."""
    share = -(-number // len(ranks))
    held = [{index for _, indices in steps for index in indices} for steps in ranks]
    together = set().union(*held)
    strange = sorted(together - set(range(number)))
    if strange:
        raise Wrong(f"{number} images have the indices 0 … {number - 1}, but a step holds {strange[0]}.")
    if len(ranks) > 1 and held[0] == set(range(number)):
        raise Wrong(
            f"rank 0 of {len(ranks)} takes all {number} indices; its share is {share}: deal them out, "
            "order[rank::world_size]."
        )
    missing = sorted(set(range(number)) - together)
    if missing:
        message = f"index {missing[0]} comes on no rank, nor do {len(missing) - 1} others of {number}."
        if len(missing) < len(ranks):
            message += (
                "\n      Did you drop what does not come out even? Give some ranks a first index again."
            )
        else:
            message += (
                "\n      Did every rank shuffle on its own? All have to deal from one and the same order."
            )
        raise Wrong(message)
    if max(map(len, held)) > share:
        raise Wrong(f"a rank takes {max(map(len, held))} different indices: a share of {number} is {share}.")


def _seed_and_epoch_matter(take: Callable[..., list[Step]]) -> None:
    """Other sizes and another order in every epoch and for every seed."""
    sizes_of: dict[tuple, tuple[int, int]] = {}
    order_of: dict[tuple, tuple[int, int]] = {}
    for seed in (0, 1, 2, 11):
        for epoch in (*range(121), 1000):
            steps = take(60, SMALL, seed, epoch, 0, 1)
            sizes = tuple(size for size, _ in steps)
            order = tuple(index for _, indices in steps for index in indices)[:60]
            if list(order) == sorted(order):
                raise Wrong("the indices come in their own order, 0, 1, 2, …: shuffle them.")
            old = sizes_of.setdefault(sizes, (seed, epoch)), order_of.setdefault(order, (seed, epoch))
            for earlier, verb in zip(old, ("draw the same sizes", "shuffle alike"), strict=True):
                if earlier != (seed, epoch):
                    raise Wrong(_mixed_up(*earlier, seed, epoch, verb))


def _mixed_up(seed: int, epoch: int, other_seed: int, other_epoch: int, verb: str) -> str:
    """What to say when two pairs of seed and epoch give the same."""
    if seed == other_seed:
        return f"epochs {epoch} and {other_epoch} {verb}: both seed and epoch have to go into the generator."
    if epoch == other_epoch:
        return f"seeds {seed} and {other_seed} {verb}: both seed and epoch have to go into the generator."
    message = f"seed {seed} in epoch {epoch} and seed {other_seed} in epoch {other_epoch} {verb}: "
    if int(f"{seed}{epoch}") == int(f"{other_seed}{other_epoch}"):
        return message + "did you write the two side by side? Put a space between them."
    return message + "did you add or multiply the two? A second training would repeat parts of the first."


def _all_are_shuffled_before_the_deal(take: Callable[..., list[Step]]) -> None:
    """A rank's share is another set of images in every epoch."""
    held = [{i for _, indices in take(60, SMALL, 0, epoch, 1, 3) for i in indices} for epoch in range(3)]
    if held[0] == held[1] == held[2]:
        raise Wrong(
            "rank 1 of 3 has the same images in every epoch: did you deal first and shuffle each share? "
            "Shuffle all the indices, then deal."
        )


def _sizes_are_equally_likely(steps: Sequence[Step]) -> None:
    """Each size has its share of many steps, within five standard deviations."""
    for size, count in Counter(size for size, _ in steps).items():
        share = 1 / len(SMALL)
        if abs(count / len(steps) - share) > 5 * (share * (1 - share) / len(steps)) ** 0.5:
            raise Wrong(
                f"of {len(steps)} steps {count / len(steps):.0%} are of size {size}, expected {share:.0%}: "
                "all sizes are equally likely, draw.choice(list(batches))."
            )


EXERCISES = {
    "08.4": Exercise(
        checker=check_steps_of_rank,
        notice="No rank has sent a word to another: equal seeds do it, as long as nobody else draws.",
        hints=(
            "Two things are random: the order of the indices and the sizes. Both come from one generator of\n"
            "your own that is equal on all ranks. Only the dealing knows the rank.",
            "Seed it with seed and epoch, as section 5 does. Shuffle all indices first, deal afterwards, as\n"
            "cards are dealt; where the last round is not full, go on with the first cards. Then as in 08.3.",
            "draw = random.Random(...)\norder = list(range(num_samples))\ndraw.shuffle(order)\n"
            "share = -(-num_samples // world_size)\n"
            "mine = [order[(rank + i * ...) % ...] for i in range(share)]\n"
            "# then the loop of 08.3 over `mine`",
        ),
        solution=("s08_multi_scale_sampler.py", "steps_of_rank"),
        symptoms={
            "The only supported seed types": "random.Random takes one number or one string: write both into "
            'a string, random.Random(f"{seed} {epoch}").',
            "list index out of range": "a share, or the last batch, reaches past the end: "
            "i % len(…) begins again.",
            "'dict_keys' object is not subscriptable": "choice needs a list: draw.choice(list(batches)).",
            "KeyError": "choice needs a list of the sizes: draw.choice(list(batches)).",
            "object of type 'NoneType' has no len": "shuffle works in place and returns None: call it on its "
            "own line.",
            "'NoneType' object is not": "shuffle works in place and returns None: call it on its own line.",
        },
        forbidden=("mvit_lib",),
    ),
}
