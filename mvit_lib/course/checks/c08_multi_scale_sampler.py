"""The checker of 08.3, the steps of one epoch."""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

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
            if len(set(indices)) < len(indices):
                ask = "\n      Did you fill it up only once? A short order has to go round again and again."
            raise Wrong(message + (ask if is_last else ""))


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
        draw, untouched = random.Random(5), random.Random(5).getstate()
        steps = steps_of(one_epoch, where, given, dict(batches), draw)
        if given != order:
            raise Wrong(
                f"{where} your function changes the list of indices it was given: read it with order[i]."
            )
        has_full_batches(steps, batches, where)
        _follows_the_order(steps, order, where)
        expected = expected_steps(order, batches, random.Random(5))
        _sizes_are_drawn(steps, expected, batches, where, is_asked=draw.getstate() != untouched)


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


def _sizes_are_drawn(
    steps: Sequence[Step], expected: Sequence[Step], batches: Batches, where: str, is_asked: bool
) -> None:
    """The sizes are those that draw.choice gives, one draw a step."""
    found, wanted = [size for size, _ in steps], [size for size, _ in expected]
    if found == wanted:
        return
    i = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), len(wanted))
    message = f"{where} the sizes go {_sides(found)}, but draw gives {_sides(wanted)}."
    sizes = list(batches)
    if found == [sizes[i % len(sizes)] for i in range(len(found))]:
        message += "\n      Do you take the sizes in turn? Draw them."
    elif not is_asked:
        message += "\n      Nobody has drawn from `draw`: call draw.choice(…), not random.choice(…)."
    elif len(set(found)) == 1:
        message += "\n      All steps have one size: draw anew in each."
    else:
        message += f"\n      They part at step {i}: "
        message += "call draw.choice(list(batches)) once in each step, no other draw."
    raise Wrong(message)


def _sides(sizes: Sequence[Size]) -> str:
    words = " ".join(str(H) for H, _ in sizes[:8])
    return words + (" …" if len(sizes) > 8 else "")


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
}
