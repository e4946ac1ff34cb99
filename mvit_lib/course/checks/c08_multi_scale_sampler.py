"""The checkers of 08.3, the steps of one epoch, and 08.4, the steps of one rank among several."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import torch

from mvit_lib.course.engine import Exercise
from mvit_lib.course.guard import calls_noted
from mvit_lib.course.probes import Wrong

Size = tuple[int, int]
Step = tuple[Size, list[int]]
Batches = Mapping[Size, int]
TOO_MANY = 2000  # steps: far more than any case has


def steps_of(function: Callable, where: str, *arguments: Any) -> list[Step]:
    """All steps that a function returns or yields, each a (size, indices); Wrong if they are none.

    A generator works only while it is read: calls into the library are looked for here.
    """
    with calls_noted(("mvit_lib",)) as noted:
        answer = function(*arguments)
        if answer is None:
            raise Wrong(f"{where} got None: did you forget `yield`, or `return`?")
        try:
            steps = list(islice(answer, TOO_MANY))
        except TypeError as error:
            if hasattr(answer, "__iter__"):  # raised inside the generator
                raise
            raise Wrong(f"{where} expected the steps, got {type(answer).__name__}") from error
    if len(steps) == TOO_MANY:
        raise Wrong(
            f"{where} after {TOO_MANY} steps there is no end. Stop when every index has been in a step."
        )
    if noted:
        raise Wrong("a function of mvit_lib takes the steps for you: do it without.")
    return [_step(step, i, where) for i, step in enumerate(steps)]


def _step(step: Any, i: int, where: str) -> Step:
    try:
        (H, W), indices = step
        return (int(H), int(W)), [int(index) for index in indices]
    except (TypeError, ValueError):
        raise Wrong(f"{where} step {i}: expected a pair ((H, W), indices), got {step!r:.60}") from None


def has_full_batches(steps: Sequence[Step], batches: Batches, where: str) -> None:
    """Every step has a size that is allowed, and as many images as belong to it."""
    for i, (size, indices) in enumerate(steps):
        if size not in batches:
            raise Wrong(f"{where} step {i} has size {size}: expected one of {list(batches)}")
        if len(indices) != batches[size]:
            message = f"{where} step {i} is of size {size} and holds {len(indices)} images, "
            message += f"expected {batches[size]}."
            is_last = i == len(steps) - 1 and len(indices) < batches[size]
            ask = "\n      Did you leave the last batch short? Fill it up from the beginning of the order."
            if is_last and i == 0:
                ask += "\n      Where the order is shorter than what is missing, it has to go round again."
            raise Wrong(message + (ask if is_last else ""))


# 08.3

EPOCHS: tuple[tuple[int, Batches], ...] = (
    (23, {(64, 64): 4, (32, 32): 6}),
    (40, {(64, 96): 2, (48, 64): 4, (32, 32): 12}),
    (12, {(64, 64): 4}),
    (3, {(32, 32): 8}),
)


def expected_steps(order: Sequence[int], batches: Batches, draw: random.Random) -> list[Step]:
    """What 08.3 asks for."""
    steps, taken = [], 0
    while taken < len(order):
        size = draw.choice(list(batches))
        steps.append((size, [order[i % len(order)] for i in range(taken, taken + batches[size])]))
        taken += batches[size]
    return steps


def check_one_epoch(one_epoch: Callable) -> None:
    """Form, batches, coverage in order, the end, the sizes; the order it was given stays as it was."""
    for count, batches in EPOCHS:
        where = f"with {count} indices and {len(batches)} size{'s' * (len(batches) > 1)}:"
        order = random.Random(count).sample(range(100, 100 + count), count)
        given = list(order)
        steps = steps_of(one_epoch, where, given, dict(batches), random.Random(5))
        if given != order:
            raise Wrong(
                f"{where} your function changes the list of indices it was given: read it with order[i]."
            )
        has_full_batches(steps, batches, where)
        _follows_the_order(steps, order, where)
        _sizes_are_drawn(steps, expected_steps(order, batches, random.Random(5)), batches, where)


def _follows_the_order(steps: Sequence[Step], order: Sequence[int], where: str) -> None:
    """One index after the other; then, from the first on, what fills the last batch; then the end."""
    flat = [(i, index) for i, (_, indices) in enumerate(steps) for index in indices]
    for place, (i, index) in enumerate(flat):
        wanted = order[place % len(order)]
        if index == wanted:
            continue
        if place >= len(order):
            ask = f"the last batch is filled up with {index}, expected {wanted}: begin again at order[0]."
        else:
            ask = f"step {i} takes index {index} where {wanted} is next in the order."
            if i and index == order[0]:
                ask += "\n      Does every step begin at the first index? Go on where the step before ended."
            elif index not in order:
                ask += "\n      That index is not in the order at all: take order[i], not i."
            elif sorted(index for _, index in flat[: len(order)]) != sorted(order):
                ask += "\n      Some indices come twice and others never: take the order as it lies."
            else:
                ask += "\n      Did you shuffle again? The order is shuffled already."
        raise Wrong(f"{where} {ask}")
    if len(flat) < len(order):
        raise Wrong(
            f"{where} the steps end after {len(flat)} indices: {order[len(flat)]} never comes.\n"
            "      Did you drop the last batch because it is not full? Fill it up instead."
        )
    if steps and len(flat) - len(steps[-1][1]) >= len(order):
        raise Wrong(
            f"{where} one step too many: before the last one, every index has been in a step already."
        )


def _sizes_are_drawn(steps: Sequence[Step], expected: Sequence[Step], batches: Batches, where: str) -> None:
    """The sizes are those that draw.choice gives, one draw a step."""
    found, wanted = [size for size, _ in steps], [size for size, _ in expected]
    if found == wanted:
        return
    i = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), len(wanted))
    message = f"{where} the sizes go {_sides(found)}, but draw gives {_sides(wanted)}."
    sizes = list(batches)
    if len(set(found)) == 1:
        message += "\n      All steps have one size: draw anew in each."
    elif found == [sizes[i % len(sizes)] for i in range(len(found))]:
        message += "\n      Do you take the sizes in turn? Draw them."
    else:
        message += f"\n      They part at step {i}: "
        message += "call draw.choice(list(batches)) once in each step, no other draw."
    raise Wrong(message)


def _sides(sizes: Sequence[Size]) -> str:
    words = " ".join(str(H) for H, _ in sizes[:8])
    return words + (" …" if len(sizes) > 8 else "")


# 08.4

SMALL: Batches = {(64, 64): 1, (48, 64): 2, (32, 32): 4}
WIDE: Batches = {(64, 64): 3, (48, 48): 5, (32, 32): 12}


@contextmanager
def _global_generator(seed: int) -> Iterator[None]:
    """Everybody's generator at a known place; afterwards it is where it was."""
    before = random.getstate(), torch.get_rng_state()
    random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        torch.set_rng_state(before[1])


def check_steps_of_rank(steps_of_rank: Callable) -> None:
    """Private and repeatable, alike on all ranks, shares that cover everything; seed and epoch matter."""

    def take(number: int, batches: Batches, seed: int, epoch: int, rank: int, world: int) -> list[Step]:
        where = f"{number} images, seed {seed}, epoch {epoch}, rank {rank} of {world}:"
        return steps_of(steps_of_rank, where, number, dict(batches), seed, epoch, rank, world)

    with _global_generator(0):
        _is_private(take)
        for epoch in range(12):
            with _global_generator(0):
                _ranks_agree([take(50, SMALL, 3, epoch, rank, 3) for rank in range(3)], epoch)
        for number, world in ((50, 3), (23, 1), (40, 4)):
            ranks = [take(number, WIDE, 1, 2, rank, world) for rank in range(world)]
            _ranks_agree(ranks, 2)
            for rank, steps in enumerate(ranks):
                has_full_batches(steps, WIDE, f"{number} images, rank {rank} of {world}:")
            _shares_cover(ranks, number)
        _seed_and_epoch_matter(partial(take, 200, WIDE))


def _is_private(take: Callable[..., list[Step]]) -> None:
    """Nothing outside shifts the draws, and the draws shift nothing outside."""
    arguments = (50, WIDE, 1, 2, 0, 2)
    with _global_generator(1):
        before = random.getstate(), torch.get_rng_state()
        first = take(*arguments)
        after = random.getstate(), torch.get_rng_state()
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
            "your own, random.Random(…), not from `random` or torch's default."
        )
    if before[0] != after[0] or not torch.equal(before[1], after[1]):
        raise Wrong(
            "your function seeds or moves everybody's generator. Whoever draws from it while your steps are "
            "taken shifts your sizes, and you shift theirs: use one of your own, random.Random(…)."
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
    one = take(0, 0, 0, 1)
    indices = [index for _, part in one for index in part]
    if indices[:50] == sorted(indices[:50]):
        raise Wrong("the indices come in their own order, 0, 1, 2, …: shuffle them.")
    for words, seed, epoch in (("epochs 0 and 1", 0, 1), ("seeds 0 and 1", 1, 0)):
        other = take(seed, epoch, 0, 1)
        if [size for size, _ in one] == [size for size, _ in other]:
            raise Wrong(f"{words} draw the same sizes: both seed and epoch have to go into the generator.")
        if indices[:50] == [index for _, part in other for index in part][:50]:
            raise Wrong(f"{words} shuffle alike: both seed and epoch have to go into the generator.")
    if take(0, 1, 0, 1) == take(1, 0, 0, 1):
        raise Wrong(
            "seed 0 in epoch 1 and seed 1 in epoch 0 take the same steps: did you add or multiply the two? "
            "A second training would repeat the first, an epoch late."
        )


EXERCISES = {
    "08.3": Exercise(
        checker=check_one_epoch,
        notice="That is the whole sampler for one process: a training takes these steps one by one.",
        hints=(
            "Keep one number: how many indices have been taken. While that is fewer than there are, draw a\n"
            "size and take as many as belong to it.",
            "The indices of a step are order[taken], order[taken + 1], … Past the end they begin again:\n"
            "order[i % len(order)] does that for every i.",
            "steps, taken = [], 0\nwhile taken < ...:\n    size = draw.choice(list(batches))\n    b = ...\n"
            "    steps.append((size, [order[...] for i in range(taken, ...)]))\n"
            "    taken += ...\nreturn steps",
        ),
        solution=("s08_multi_scale_sampler.py", "one_epoch"),
        symptoms={
            "list index out of range": "the last batch reaches past the end of the order: "
            "i % len(order) begins again.",
            "'dict_keys' object is not subscriptable": "choice needs a list: draw.choice(list(batches)).",
            "KeyError": "choice needs a list of the sizes: draw.choice(list(batches)); given the "
            "dictionary it looks up a place number in it.",
        },
        forbidden=("mvit_lib",),
    ),
    "08.4": Exercise(
        checker=check_steps_of_rank,
        notice="No rank has sent a word to another: equal seeds do it, as long as nobody else draws.",
        hints=(
            "Two things are random: the order of the indices and the sizes. Both come from one generator of\n"
            "your own that is equal on all ranks. Only the dealing knows the rank.",
            'draw = random.Random(f"{seed} {epoch}") begins alike everywhere. Shuffle all indices with it,\n'
            "then deal: rank takes order[rank], order[rank + world_size], …, ⌈num_samples / world_size⌉ of\n"
            "them, going round at the end. Then as in 08.3.",
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
