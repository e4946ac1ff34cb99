"""The checkers of 08.1, the batch of a size, and 08.2, the pixels of a mean image: numbers by formula."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mvit_lib.course.counts import counts_like
from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Wrong

Size = tuple[int, int]
PAPER = tuple((side, side) for side in (160, 192, 256, 288, 320))

# 08.1


def _pixels(size: Size) -> int:
    return size[0] * size[1]


def _largest(sizes: Sequence[Size]) -> int:
    return max(map(_pixels, sizes))


def _batch_at(size: Size, sizes: Sequence[Size], b: int) -> int:
    return _largest(sizes) * b // (size[0] * size[1])


BATCH_MISTAKES: dict[str, Callable[..., float]] = {
    "Did you forget b?": lambda size, sizes, b: _largest(sizes) // (size[0] * size[1]),
    "Is every batch b? b belongs to the largest size; a smaller image leaves room for more.": (
        lambda size, sizes, b: b
    ),
    "Did you divide the sides? Twice the side is four times the pixels: H · W.": lambda size, sizes, b: (
        max(H for H, _ in sizes) * b // size[0]
    ),
    "Is the fraction upside down? The smaller the image, the larger the batch.": lambda size, sizes, b: (
        size[0] * size[1] * b // _largest(sizes)
    ),
    "Did you round up? That is more pixels than the largest step has, and memory is bought for that one.": (
        lambda size, sizes, b: -(-_largest(sizes) * b // (size[0] * size[1]))
    ),
    "Did you round to the nearest? Round down, or the step exceeds the largest one.": lambda size, sizes, b: (
        round(_largest(sizes) * b / (size[0] * size[1]))
    ),
    "Did you round too early? Multiply first, divide last: (H_n·W_n // (H_t·W_t))·b loses a lot.": (
        lambda size, sizes, b: _largest(sizes) // (size[0] * size[1]) * b
    ),
    "Did you take the last of the sizes for the largest? They come in any order.": lambda size, sizes, b: (
        sizes[-1][0] * sizes[-1][1] * b // (size[0] * size[1])
    ),
    "Did you take the first of the sizes for the largest? They come in any order.": lambda size, sizes, b: (
        sizes[0][0] * sizes[0][1] * b // (size[0] * size[1])
    ),
    "Did you take b for the batch of the smallest size? It belongs to the largest.": lambda size, sizes, b: (
        min(H * W for H, W in sizes) * b // (size[0] * size[1])
    ),
    "Did you use max(sizes)? It compares heights first; the largest has the most pixels, H · W.": (
        lambda size, sizes, b: max(sizes)[0] * max(sizes)[1] * b // (size[0] * size[1])
    ),
    "Did you combine the largest height with the largest width? No image has both.": lambda size, sizes, b: (
        max(H for H, _ in sizes) * max(W for _, W in sizes) * b // (size[0] * size[1])
    ),
    "Did you use H twice? An image need not be square.": lambda size, sizes, b: (
        max(H * H for H, _ in sizes) * b // (size[0] * size[0])
    ),
    "Did you use W twice? An image need not be square.": lambda size, sizes, b: (
        max(W * W for _, W in sizes) * b // (size[1] * size[1])
    ),
    "Did you square the height of `size`? An image need not be square: H · W.": lambda size, sizes, b: (
        _largest(sizes) * b // size[0] ** 2
    ),
    "Did you square the width of `size`? An image need not be square: H · W.": lambda size, sizes, b: (
        _largest(sizes) * b // size[1] ** 2
    ),
    "Did you square the longest side? No size has these pixels; the largest has the most, H · W.": (
        lambda size, sizes, b: max(map(max, sizes)) ** 2 * b // (size[0] * size[1])
    ),
    "Did you take the size with the longest side? The largest has the most pixels, H · W.": (
        lambda size, sizes, b: _pixels(max(sizes, key=max)) * b // (size[0] * size[1])
    ),
    "Did you compare H + W? The largest has the most pixels, H · W.": lambda size, sizes, b: (
        _pixels(max(sizes, key=sum)) * b // (size[0] * size[1])
    ),
    "Did you divide first and cut the fraction off at the end? It misses a whole number by a hair:\n"
    "      multiply first, then //.": lambda size, sizes, b: int(_largest(sizes) / _pixels(size) * b),
    "Is 256 × 256 the size of b? That is the code's rule, section 6; the paper's is the largest size.": (
        lambda size, sizes, b: 256 * 256 * b // (size[0] * size[1])
    ),
}


def check_batch_at(batch_at: Callable) -> None:
    """The paper's sizes; then in another order; then not square; then what fractions miss by a hair."""
    mixed = ((288, 288), (320, 320), (160, 160))
    oblong = ((96, 320), (192, 256), (256, 128), (64, 352))
    long = ((100, 100), (10, 300))
    # 158.02 images, then 355.6: the first tells rounding up, the second rounding to the nearest.
    cases = {
        f"{side} × {side} of the paper's sizes, b = 128": ((side, side), PAPER, 128) for side in (288, 192)
    }
    cases |= {f"{H} × {W} of the paper's sizes, b = 10": ((H, W), PAPER, 10) for H, W in PAPER}
    cases |= {f"{H} × {W} of {mixed}, b = 32": ((H, W), mixed, 32) for H, W in mixed}
    cases |= {f"{H} × {W} of {oblong}, b = 24": ((H, W), oblong, 24) for H, W in oblong}
    cases |= {f"{H} × {W} of {long}, b = 7": ((H, W), long, 7) for H, W in long}
    halves = ((112, 112), (256, 256))
    cases |= {f"112 × 112 of {halves}, b = 49": (halves[0], halves, 49)}

    def answer(size: Size, sizes: Sequence[Size], b: int) -> Any:
        return batch_at(size, list(sizes), b)

    counts_like(answer, _batch_at, cases, BATCH_MISTAKES)


# 08.2

Batches = Mapping[Size, int]


def _mean_pixels(batches: Batches) -> float:
    return sum(H * W * b for (H, W), b in batches.items()) / sum(batches.values())


def _harmonic(batches: Batches) -> float:
    return len(batches) / sum(1 / (H * W) for H, W in batches)


PIXEL_MISTAKES: dict[str, Callable[[Batches], float]] = {
    "Is that the plain mean over the sizes? A step at a small size holds more images: weigh by the batch.": (
        lambda batches: sum(H * W for H, W in batches) / len(batches)
    ),
    "Are these pixels per step? Divide by the images, not by the number of sizes.": lambda batches: (
        sum(H * W * b for (H, W), b in batches.items()) / len(batches)
    ),
    "Is that all pixels, not yet divided?": lambda batches: sum(H * W * b for (H, W), b in batches.items()),
    "Is that the harmonic mean? It holds where every step has equally many pixels: not here.": (_harmonic),
    "Did you take the mean side and square it? Pixels are what is to be averaged.": lambda batches: (
        (sum(H * b for (H, _), b in batches.items()) / sum(batches.values())) ** 2
    ),
    "Did you use H twice? An image need not be square.": lambda batches: (
        sum(H * H * b for (H, _), b in batches.items()) / sum(batches.values())
    ),
    "Did you use W twice? An image need not be square.": lambda batches: (
        sum(W * W * b for (_, W), b in batches.items()) / sum(batches.values())
    ),
    "Is the fraction upside down? These are images per pixel.": lambda batches: 1 / _mean_pixels(batches),
    "Did you weigh by 1 / b_i? The more images a size has, the more it counts.": lambda batches: (
        sum(H * W / b for (H, W), b in batches.items()) / sum(1 / b for b in batches.values())
    ),
    "Did you leave the batch out of the sum below? It counts images: Σ b_i.": lambda batches: (
        sum(H * W * b for (H, W), b in batches.items()) / sum(H * W for H, W in batches)
    ),
    "Did you round down with //? A mean need not be a whole number.": lambda batches: (
        sum(H * W * b for (H, W), b in batches.items()) // sum(batches.values())
    ),
    "Did you round the mean? Leave it as it is.": lambda batches: round(_mean_pixels(batches)),
    "Did you round the mean to two places? Leave it as it is.": lambda batches: round(
        _mean_pixels(batches), 2
    ),
    "Is that the side? The pixels of the mean image are asked for, without the root.": lambda batches: (
        _mean_pixels(batches) ** 0.5
    ),
    "Is that a mean batch? Divide pixels by images.": lambda batches: sum(batches.values()) / len(batches),
    "Does each size count its pixels only once? A step at a size has H_i · W_i · b_i.": lambda batches: (
        sum(H * W for H, W in batches) / sum(batches.values())
    ),
}


def check_pixels_per_image(pixels_per_image: Callable) -> None:
    """A tiny case with equal pixels in every step; unequal ones; not square."""
    cases: dict[str, Batches] = {
        "{(4, 4): 3, (2, 2): 9}": {(4, 4): 3, (2, 2): 9},
        "{(2, 4): 2, (6, 3): 5}": {(2, 4): 2, (6, 3): 5},
        "the sizes and batches of the code, 328 … 128": dict(
            zip(PAPER, (328, 224, 128, 128, 128), strict=True)
        ),
    }
    passed: list[Batches] = []
    for name, batches in cases.items():
        found, expected = _number(pixels_per_image(dict(batches)), name), _mean_pixels(batches)
        if abs(found - expected) <= 1e-6 * expected:
            passed.append(batches)
            continue
        message = f"for {name}: you get {found:,.6g}, expected {expected:,.6g}."
        for question, mistake in PIXEL_MISTAKES.items():
            fits_here = abs(mistake(batches) - found) <= 1e-9 * abs(found)
            if fits_here and all(abs(mistake(old) - _mean_pixels(old)) < 1e-9 for old in passed):
                message += f"\n      {question}"
                break
        raise Wrong(message)


def _number(answer: Any, name: str) -> float:
    """The answer as a float: any number will do, a tensor of one number too."""
    if answer is None:
        raise Wrong(f"for {name}: got None: did you forget `return`?")
    try:
        if not isinstance(answer, bool | str):
            return float(answer)
    except (TypeError, ValueError, RuntimeError):
        pass
    raise Wrong(f"for {name}: expected a number, got {type(answer).__name__}")


EXERCISES = {
    "08.1": Exercise(
        checker=check_batch_at,
        notice="No batch is ever smaller than b: the largest size has the fewest images.",
        hints=(
            "A step at the largest size has H_n · W_n · b pixels. How many images of H_t × W_t make as many?",
            "Which size is the largest? The one with the most pixels: max(H * W for H, W in sizes).\n"
            "Then divide by the pixels of `size`. // divides whole numbers and rounds down.",
            "H, W = size\nlargest = max(... for ... in sizes)\nreturn largest * ... // ...",
        ),
        solution=("s08_multi_scale_sampler.py", "batch_at"),
        symptoms={
            "can't multiply sequence by non-int": "a size is a pair: take it apart first, H, W = size.",
            "unsupported operand type(s) for": "a size is a pair: its pixels are size[0] * size[1].",
            "not supported between instances": "all sizes are pairs here: compare their pixels, H * W.",
        },
        forbidden=("mvit_lib",),
    ),
    "08.2": Exercise(
        checker=check_pixels_per_image,
        notice="The small sizes have the many images, so the mean lies below the middle of the sizes.",
        hints=(
            "Think of one step at every size. How many images are these together, and how many pixels?",
            "Images: the sum of all b_i. Pixels: the sum of H_i · W_i · b_i. In a long training every size\n"
            "comes equally often, so the ratio stays.",
            "pixels = sum(... for (H, W), b in batches.items())\nimages = sum(...)\nreturn ... / ...",
        ),
        solution=("s08_multi_scale_sampler.py", "pixels_per_image"),
        symptoms={
            "cannot unpack non-iterable int": "`for … in batches` gives the sizes alone; "
            "batches.items() gives ((H, W), b).",
            "too many values to unpack": "batches.items() gives pairs whose first half is a pair: "
            "for (H, W), b in batches.items().",
            "unsupported operand type(s) for": "batches.values() are all at once: add them by sum(…).",
        },
        forbidden=("mvit_lib",),
    ),
}
