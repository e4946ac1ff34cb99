"""Plausible wrong answers to 08.3 and 08.4, each with the message that must refuse it."""

import random
from itertools import cycle

import numpy as np
import torch

from mvit_lib.data import MultiScaleSampler

# 08.3


def epoch(order, batches, draw, *, size=None, start=0, past=None, more=0):
    taken = start
    past = past or (lambda i: order[i % len(order)])
    while taken < len(order) + more:
        chosen = size(draw) if size else draw.choice(list(batches))
        yield chosen, [past(i) for i in range(taken, taken + batches[chosen])]
        taken += batches[chosen]


def drops_the_last(order, batches, draw):
    taken = 0
    while True:
        size = draw.choice(list(batches))
        if taken + batches[size] > len(order):
            return
        yield size, order[taken : taken + batches[size]]
        taken += batches[size]


def short_last(order, batches, draw):
    taken = 0
    while taken < len(order):
        size = draw.choice(list(batches))
        yield size, order[taken : taken + batches[size]]
        taken += batches[size]


def always_from_the_start(order, batches, draw):
    taken = 0
    while taken < len(order):
        size = draw.choice(list(batches))
        yield size, order[: batches[size]]
        taken += batches[size]


def places_for_indices(order, batches, draw):
    return epoch(order, batches, draw, past=lambda i: i % len(order))


def with_replacement(order, batches, draw):
    other = random.Random(0)
    return epoch(order, batches, draw, past=lambda i: other.choice(order))


def everybodys_generator(order, batches, draw):
    return epoch(order, batches, random.Random(99))


def sizes_in_turn(order, batches, draw):
    turn = cycle(batches)
    return epoch(order, batches, draw, size=lambda draw: next(turn))


def one_size_an_epoch(order, batches, draw):
    once = draw.choice(list(batches))
    return epoch(order, batches, draw, size=lambda draw: once)


def draws_twice(order, batches, draw):
    return epoch(order, batches, draw, size=lambda draw: (draw.random(), draw.choice(list(batches)))[1])


def shuffles_again(order, batches, draw):
    return epoch(random.Random(0).sample(order, len(order)), batches, draw)


def empties_the_list(order, batches, draw):
    while order:
        size = draw.choice(list(batches))
        yield size, [order.pop(0) for _ in range(min(len(order), batches[size]))]


def pads_once(order, batches, draw):
    taken = 0
    while taken < len(order):
        size = draw.choice(list(batches))
        part = order[taken : taken + batches[size]]
        yield size, part + order[: batches[size] - len(part)]
        taken += batches[size]


def repeats_the_last(order, batches, draw):
    return epoch(order, batches, draw, past=lambda i: order[min(i, len(order) - 1)])


def one_step_more(order, batches, draw):
    return epoch(order, batches, draw, more=1)


def never_stops(order, batches, draw):
    return epoch(order, batches, draw, more=10**9)


def only_indices(order, batches, draw):
    return [indices for _, indices in epoch(order, batches, draw)]


def runs_past_the_end(order, batches, draw):
    return epoch(order, batches, draw, past=lambda i: order[i])


def chooses_from_keys(order, batches, draw):
    return epoch(order, batches, draw, size=lambda draw: draw.choice(batches.keys()))


def chooses_from_a_dictionary(order, batches, draw):
    return epoch(order, batches, draw, size=lambda draw: draw.choice(batches))


def lets_the_library(order, batches, draw):
    for step in MultiScaleSampler(len(order), tuple(batches), min(batches.values())):
        yield (step[0].height, step[0].width), [key.index for key in step]


def returns_it(order, batches, draw):
    return list(MultiScaleSampler(len(order), tuple(batches), min(batches.values())))


def yields_nothing(order, batches, draw):
    list(epoch(order, batches, draw))


# 08.4


def shared(number, world, draw, order=None):
    order = list(range(number)) if order is None else order
    draw.shuffle(order)
    share = -(-number // world)
    return [[order[(rank + i * world) % number] for i in range(share)] for rank in range(world)]


def rank_in_the_seed(number, batches, seed, epoch_, rank, world):
    mine = shared(number, world, random.Random(f"{seed} {epoch_}"))[rank]
    return epoch(mine, batches, random.Random(f"{seed} {epoch_} {rank}"))


def own_order_on_every_rank(number, batches, seed, epoch_, rank, world):
    mine = shared(number, world, random.Random(f"{seed} {epoch_} {rank}"))[rank]
    return epoch(mine, batches, random.Random(f"{seed} {epoch_}"))


def seeds_everybodys_generator(number, batches, seed, epoch_, rank, world):
    random.seed(f"{seed} {epoch_}")
    return epoch(shared(number, world, random)[rank], batches, random)


def uses_everybodys_generator(number, batches, seed, epoch_, rank, world):
    return list(epoch(shared(number, world, random)[rank], batches, random))


def uses_torchs_default(number, batches, seed, epoch_, rank, world):
    order = torch.randperm(number).tolist()
    mine = [order[(rank + i * world) % number] for i in range(-(-number // world))]
    return epoch(mine, batches, random.Random(f"{seed} {epoch_}"))


def without_a_seed(number, batches, seed, epoch_, rank, world):
    draw = random.Random()
    return epoch(shared(number, world, draw)[rank], batches, draw)


def everything_on_every_rank(number, batches, seed, epoch_, rank, world):
    draw = random.Random(f"{seed} {epoch_}")
    return epoch(shared(number, 1, draw)[0], batches, draw)


def uneven_shares(number, batches, seed, epoch_, rank, world):
    draw = random.Random(f"{seed} {epoch_}")
    order = list(range(number))
    draw.shuffle(order)
    return epoch(order[rank::world], batches, draw)


def drops_the_rest(number, batches, seed, epoch_, rank, world):
    draw = random.Random(f"{seed} {epoch_}")
    order = list(range(number))
    draw.shuffle(order)
    share = number // world
    return epoch(order[rank * share : (rank + 1) * share], batches, draw)


def leaves_the_last_short(number, batches, seed, epoch_, rank, world):
    draw = random.Random(f"{seed} {epoch_}")
    return short_last(shared(number, world, draw)[rank], batches, draw)


def forgets_the_epoch(number, batches, seed, epoch_, rank, world):
    draw = random.Random(seed)
    return epoch(shared(number, world, draw)[rank], batches, draw)


def forgets_the_seed(number, batches, seed, epoch_, rank, world):
    draw = random.Random(epoch_)
    return epoch(shared(number, world, draw)[rank], batches, draw)


def adds_seed_and_epoch(number, batches, seed, epoch_, rank, world):
    draw = random.Random(seed + epoch_)
    return epoch(shared(number, world, draw)[rank], batches, draw)


def one_order_for_all_epochs(number, batches, seed, epoch_, rank, world):
    mine = shared(number, world, random.Random(seed))[rank]
    return epoch(mine, batches, random.Random(f"{seed} {epoch_}"))


def no_shuffle(number, batches, seed, epoch_, rank, world):
    mine = [(rank + i * world) % number for i in range(-(-number // world))]
    return epoch(mine, batches, random.Random(f"{seed} {epoch_}"))


def from_a_generator(words):
    """A function that is right but for what its generator is made from."""

    def steps(number, batches, seed, epoch_, rank, world):
        draw = random.Random(words(seed, epoch_))
        return epoch(shared(number, world, draw)[rank], batches, draw)

    return steps


hashes_a_text = from_a_generator(lambda seed, epoch: hash(f"{seed} {epoch}"))
hashes_a_pair_of_texts = from_a_generator(lambda seed, epoch: hash((str(seed), str(epoch))))
writes_them_side_by_side = from_a_generator(lambda seed, epoch: f"{seed}{epoch}")
a_hundred_epochs_a_seed = from_a_generator(lambda seed, epoch: 100 * seed + epoch)
even_and_odd_epochs = from_a_generator(lambda seed, epoch: f"{seed} {epoch % 2}")


def seeds_numpys_default(number, batches, seed, epoch_, rank, world):
    np.random.seed(1000 * seed + epoch_)
    order = np.random.permutation(number).tolist()
    mine = [order[(rank + i * world) % number] for i in range(-(-number // world))]
    return list(epoch(mine, batches, random.Random(f"{seed} {epoch_}")))


def deals_before_it_shuffles(number, batches, seed, epoch_, rank, world):
    draw = random.Random(f"{seed} {epoch_}")
    mine = [(rank + i * world) % number for i in range(-(-number // world))]
    draw.shuffle(mine)
    return epoch(mine, batches, draw)


def likes_large_batches(number, batches, seed, epoch_, rank, world):
    draw = random.Random(f"{seed} {epoch_}")
    mine = shared(number, world, draw)[rank]
    weights = list(batches.values())
    return epoch(mine, batches, draw, size=lambda draw: draw.choices(list(batches), weights)[0])


def counts_from_one(number, batches, seed, epoch_, rank, world):
    draw = random.Random(f"{seed} {epoch_}")
    return epoch(shared(number, world, draw, list(range(1, number + 1)))[rank], batches, draw)


def seeds_with_a_pair(number, batches, seed, epoch_, rank, world):
    draw = random.Random((seed, epoch_))
    return epoch(shared(number, world, draw)[rank], batches, draw)


def keeps_what_shuffle_returns(number, batches, seed, epoch_, rank, world):
    draw = random.Random(f"{seed} {epoch_}")
    order = draw.shuffle(list(range(number)))
    return epoch(order[rank::world], batches, draw)


def leaves_it_to_the_library(number, batches, seed, epoch_, rank, world):
    sampler = MultiScaleSampler(number, tuple(batches), 3, seed=seed, rank=rank, world_size=world)
    sampler.batches = dict(batches)
    sampler.set_epoch(epoch_)
    return [((step[0].height, step[0].width), [key.index for key in step]) for step in sampler]


MUTANTS = {
    "08.3": {
        drops_the_last: "Did you drop the last batch",
        short_last: "Did you leave the last batch short?",
        always_from_the_start: "Does every step begin at the first index?",
        places_for_indices: "take order[i], not i",
        with_replacement: "Some indices come twice and others never",
        everybodys_generator: "Nobody has drawn from `draw`",
        sizes_in_turn: "Do you take the sizes in turn?",
        one_size_an_epoch: "All steps have one size",
        draws_twice: "call draw.choice(list(batches)) once in each step",
        shuffles_again: "Did you shuffle again?",
        empties_the_list: "changes the list of indices it was given",
        pads_once: "Did you fill it up only once?",
        repeats_the_last: "begin again at order[0]",
        one_step_more: "one step too many",
        never_stops: "there is no end",
        only_indices: "expected a pair ((H, W), indices)",
        runs_past_the_end: "the last batch reaches past the end",
        chooses_from_keys: "choice needs a list: draw.choice(list(batches))",
        chooses_from_a_dictionary: "it looks up a place number in it",
        lets_the_library: "a function of mvit_lib takes the steps for you",
        returns_it: "step 0: expected a pair",
        yields_nothing: "got None: did you forget `yield`",
    },
    "08.4": {
        rank_in_the_seed: "the ranks have to draw alike",
        own_order_on_every_rank: "Did every rank shuffle on its own?",
        seeds_everybodys_generator: "seeds or moves everybody's generator",
        uses_everybodys_generator: "a stray draw from everybody's generator",
        uses_torchs_default: "a stray draw from everybody's generator",
        without_a_seed: "did you build a generator without a seed?",
        everything_on_every_rank: "rank 0 of 3 takes all 50 indices",
        uneven_shares: "Has every rank equally many indices?",
        drops_the_rest: "Did you drop what does not come out even?",
        leaves_the_last_short: "Did you leave the last batch short?",
        forgets_the_epoch: "epochs 0 and 1 draw the same sizes",
        forgets_the_seed: "seeds 0 and 1 draw the same sizes",
        adds_seed_and_epoch: "did you add or multiply the two?",
        one_order_for_all_epochs: "epochs 0 and 1 shuffle alike",
        hashes_a_text: "`hash` of a text is another number in every process",
        hashes_a_pair_of_texts: "`hash` of a text is another number in every process",
        writes_them_side_by_side: "Put a space between them",
        a_hundred_epochs_a_seed: "did you add or multiply the two?",
        even_and_odd_epochs: "epochs 0 and 2 draw the same sizes",
        seeds_numpys_default: "seeds or moves everybody's generator",
        deals_before_it_shuffles: "did you deal first and shuffle each share?",
        likes_large_batches: "all sizes are equally likely",
        no_shuffle: "the indices come in their own order",
        counts_from_one: "but a step holds 50",
        seeds_with_a_pair: "random.Random takes one number or one string",
        keeps_what_shuffle_returns: "shuffle works in place and returns None",
        leaves_it_to_the_library: "`mvit_lib` does what you are to build",
    },
}
