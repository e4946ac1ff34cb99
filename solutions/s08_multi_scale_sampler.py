"""Solutions of notebook 08."""

import random


def batch_at(size: tuple[int, int], sizes: list[tuple[int, int]], b: int) -> int:
    # The largest size is the one with the most pixels, wherever it stands in the list.
    # Its b images are what memory is bought for; no other step may have more pixels, so round down.
    # Whole numbers to the end: // after the product loses less than one image.
    H, W = size
    largest = max(height * width for height, width in sizes)
    return largest * b // (H * W)


def pixels_per_image(batches: dict[tuple[int, int], int]) -> float:
    # One step at each size stands for a long training, in which all sizes come equally often.
    # An image of a size with a large batch is more frequent, so each size counts with its batch.
    # The sum of the batches is the number of images; the pixels are added up the same way.
    pixels = sum(H * W * b for (H, W), b in batches.items())
    images = sum(batches.values())
    return pixels / images


def one_epoch(order: list[int], batches: dict[tuple[int, int], int], draw: random.Random) -> list:
    # The epoch ends by images and not by steps: nobody knows beforehand how many steps it takes.
    # One draw a step, so that whoever has an equal generator has an equal sequence.
    # The remainder lets the last batch begin again at the first index, more than once if need be.
    steps, taken = [], 0
    while taken < len(order):
        size = draw.choice(list(batches))
        b = batches[size]
        steps.append((size, [order[i % len(order)] for i in range(taken, taken + b)]))
        taken += b
    return steps


def steps_of_rank(
    num_samples: int,
    batches: dict[tuple[int, int], int],
    seed: int,
    epoch: int,
    rank: int,
    world_size: int,
) -> list:
    # A generator of our own, seeded alike on all ranks: nobody else's draw can shift it.
    # All shuffle the same order and deal from it; the rank decides only which cards are its own.
    # Every share has the same length, some with a first index again, so that all take equally many steps.
    draw = random.Random(f"{seed} {epoch}")
    order = list(range(num_samples))
    draw.shuffle(order)
    share = -(-num_samples // world_size)
    mine = [order[(rank + i * world_size) % num_samples] for i in range(share)]
    steps, taken = [], 0
    while taken < share:
        size = draw.choice(list(batches))
        b = batches[size]
        steps.append((size, [mine[i % share] for i in range(taken, taken + b)]))
        taken += b
    return steps
