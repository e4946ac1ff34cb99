"""Plausible wrong answers to 10.1 to 10.3, each with the message that must refuse it."""

import torch
import torch.nn.functional as F

from mvit_lib.attention_reading import _paint
from mvit_lib.patches import unfold_patches

# 10.1


def places_before_images(weights, B):
    return weights.reshape(len(weights) // B, B, *weights.shape[1:])


def images_are_fast(weights, B):
    return weights.reshape(len(weights) // B, B, *weights.shape[1:]).transpose(0, 1)


def places_first(weights, B):
    return weights.reshape(B, -1, *weights.shape[1:]).transpose(0, 1)


def heads_first(weights, B):
    return weights.reshape(B, -1, *weights.shape[1:]).transpose(1, 2)


def four_places(weights, B):
    return weights.reshape(-1, 4, *weights.shape[1:])


def mean_of_heads(weights, B):
    return weights.reshape(B, -1, *weights.shape[1:]).mean(2)


def keys_before_queries(weights, B):
    return weights.reshape(B, -1, *weights.shape[1:]).transpose(-1, -2)


def first_image(weights, B):
    return weights[: len(weights) // B]


def divides_to_a_float(weights, B):
    return weights.reshape(B, len(weights) / B, *weights.shape[1:])


def forgets_the_heads(weights, B):
    return weights.reshape(B, len(weights) // B, *weights.shape[2:])


def through_numpy(weights, B):
    return torch.tensor(weights.detach().numpy().reshape(B, -1, *weights.shape[1:]))


def in_place(weights, B):
    weights *= 1
    return weights.reshape(B, -1, *weights.shape[1:])


def by_the_library(weights, B):
    unfold_patches(torch.zeros(1, 1, 2, 2), 2)
    return weights.reshape(B, -1, *weights.shape[1:])


# 10.2


def ordinary(y, x, image, size, patch):
    i, j = y * size[0] // image[0], x * size[1] // image[1]
    return i, j, *patch, size[1] // patch[1]


def without_the_map(y, x, image, size, patch):
    (ph, pw) = patch
    return y % ph * pw + x % pw, y // ph * (image[1] // pw) + x // pw


def rows_are_columns(y, x, image, size, patch):
    i, j, ph, pw, nW = ordinary(x, y, image, size, patch)
    return i % ph * pw + j % pw, i // ph * nW + j // pw


def token_first(y, x, image, size, patch):
    i, j, ph, pw, nW = ordinary(y, x, image, size, patch)
    return i // ph * nW + j // pw, i % ph * pw + j % pw


def map_width(y, x, image, size, patch):
    i, j, ph, pw, _ = ordinary(y, x, image, size, patch)
    return i % ph * pw + j % pw, i // ph * size[1] + j // pw


def patches_by_column(y, x, image, size, patch):
    i, j, ph, pw, _ = ordinary(y, x, image, size, patch)
    return i % ph * pw + j % pw, j // pw * (size[0] // ph) + i // ph


def times_nH(y, x, image, size, patch):
    i, j, ph, pw, _ = ordinary(y, x, image, size, patch)
    return i % ph * pw + j % pw, i // ph * (size[0] // ph) + j // pw


def times_ph(y, x, image, size, patch):
    i, j, ph, pw, nW = ordinary(y, x, image, size, patch)
    return i % ph * ph + j % pw, i // ph * nW + j // pw


def patch_of_two(y, x, image, size, patch):
    i, j, *_ = ordinary(y, x, image, size, patch)
    return i % 2 * 2 + j % 2, i // 2 * (size[1] // 2) + j // 2


def one_stride(y, x, image, size, patch):
    stride = image[0] // size[0]
    i, j, (ph, pw) = y // stride, x // stride, patch
    return i % ph * pw + j % pw, i // ph * (size[1] // pw) + j // pw


def rounded_strides(y, x, image, size, patch):
    i, j, (ph, pw) = y // (image[0] // size[0]), x // (image[1] // size[1]), patch
    return i % ph * pw + j % pw, i // ph * (size[1] // pw) + j // pw


def strides_rounded_up(y, x, image, size, patch):
    i, j, (ph, pw) = y // -(-image[0] // size[0]), x // -(-image[1] // size[1]), patch
    return i % ph * pw + j % pw, i // ph * (size[1] // pw) + j // pw


def to_the_nearest(y, x, image, size, patch):
    i, j, (ph, pw) = round(y * size[0] / image[0]), round(x * size[1] / image[1]), patch
    return i % ph * pw + j % pw, i // ph * (size[1] // pw) + j // pw


def divides_first(y, x, image, size, patch):
    i, j, (ph, pw) = int(y * (size[0] / image[0])), int(x * (size[1] / image[1])), patch
    return i % ph * pw + j % pw, i // ph * (size[1] // pw) + j // pw


def divides_by_the_stride(y, x, image_size, map_size, patch_size):
    (H, W), (H_map, W_map), (ph, pw) = image_size, map_size, patch_size
    i, j = int(y / (H / H_map)), int(x / (W / W_map))
    return i % ph * pw + j % pw, i // ph * (W_map // pw) + j // pw


def middle_of_the_pixel(y, x, image, size, patch):
    i, j = int((y + 0.5) * size[0] / image[0]), int((x + 0.5) * size[1] / image[1])
    ph, pw = patch
    return i % ph * pw + j % pw, i // ph * (size[1] // pw) + j // pw


def a_fraction(y, x, image, size, patch):
    i, j, ph, pw, nW = ordinary(y, x, image, size, patch)
    return i % ph * pw + j % pw, i / ph * nW + j / pw


def place_only(y, x, image, size, patch):
    i, j, ph, pw, _ = ordinary(y, x, image, size, patch)
    return i % ph * pw + j % pw


def pairs_as_numbers(y, x, image, size, patch):
    return y % patch, x % patch


def asks_unfold(y, x, image, size, patch):
    numbers = torch.arange(size[0] * size[1]).reshape(1, 1, *size)
    tokens = unfold_patches(numbers, patch)[0, :, :, 0]
    i, j, *_ = ordinary(y, x, image, size, patch)
    p, t = (tokens == i * size[1] + j).nonzero()[0].tolist()
    return p, t


# 10.3


def smooth(rows, grid, size):
    table = rows.reshape(1, -1, *grid)
    return F.interpolate(table, size, mode="bilinear").reshape(*rows.shape[:-1], *size)


def grid_turned(rows, grid, size):
    table = rows.reshape(*rows.shape[:-1], *grid[::-1])
    i, j = torch.arange(size[0]) * grid[1] // size[0], torch.arange(size[1]) * grid[0] // size[1]
    return table[..., i, :][..., j]


def by_columns(rows, grid, size):
    table = rows.reshape(*rows.shape[:-1], *grid[::-1]).mT
    i, j = torch.arange(size[0]) * grid[0] // size[0], torch.arange(size[1]) * grid[1] // size[1]
    return table[..., i, :][..., j]


def tiles(rows, grid, size):
    table = rows.reshape(*rows.shape[:-1], *grid)
    return table[..., torch.arange(size[0]) % grid[0], :][..., torch.arange(size[1]) % grid[1]]


def only_the_grid(rows, grid, size):
    return rows.reshape(*rows.shape[:-1], *grid)


def scaled(rows, grid, size):
    return _paint_all(rows / rows.amax(-1, keepdim=True), grid, size)


def shares_of_the_sum(rows, grid, size):
    return _paint_all(rows / rows.sum(-1, keepdim=True), grid, size)


def the_last_takes_the_rest(rows, grid, size):
    i = (torch.arange(size[0]) // (size[0] // grid[0])).clamp(max=grid[0] - 1)
    j = (torch.arange(size[1]) // (size[1] // grid[1])).clamp(max=grid[1] - 1)
    return rows.reshape(*rows.shape[:-1], *grid)[..., i, :][..., j]


def one_row(rows, grid, size):
    return _paint_all(rows.flatten(0, -2)[0], grid, size)


def sides_swapped(rows, grid, size):
    return _paint_all(rows, grid, size[::-1])


def pairs_up(rows, grid, size):
    table = rows.reshape(*rows.shape[:-1], *grid)
    return table[..., torch.arange(size[0]) * grid[0] // size[0], torch.arange(size[1]) * grid[1] // size[1]]


def nearest_middle(rows, grid, size):
    table = rows.reshape(1, -1, *grid)
    return F.interpolate(table, size, mode="nearest-exact").reshape(*rows.shape[:-1], *size)


def whole_blocks(rows, grid, size):
    table = rows.reshape(*rows.shape[:-1], *grid)
    return table.repeat_interleave(size[0] // grid[0], -2).repeat_interleave(size[1] // grid[1], -1)


def large_blocks_cut_off(rows, grid, size):
    table = rows.reshape(*rows.shape[:-1], *grid)
    H, W = -(-size[0] // grid[0]), -(-size[1] // grid[1])
    return table.repeat_interleave(H, -2).repeat_interleave(W, -1)[..., : size[0], : size[1]]


def square_grids_on_their_side(rows, grid, size):
    return by_columns(rows, grid, size) if grid[0] == grid[1] else _paint_all(rows, grid, size)


def lets_the_library_paint(rows, grid, size):
    flat = rows.reshape(-1, *grid)
    return torch.stack([_paint(table, size) for table in flat]).reshape(*rows.shape[:-1], *size)


def _paint_all(rows, grid, size):
    table = rows.reshape(*rows.shape[:-1], *grid)
    i, j = torch.arange(size[0]) * grid[0] // size[0], torch.arange(size[1]) * grid[1] // size[1]
    return table[..., i, :][..., j]


MUTANTS = {
    "10.1": {
        places_before_images: "Is that [P, B, …]?",
        images_are_fast: "Are these the sequences of one place, not of one image?",
        places_first: "Did you put P first?",
        heads_first: "Did you put the heads before the places?",
        four_places: "Did you take a patch of 4 pixels for granted?",
        mean_of_heads: "Did you average the heads?",
        keys_before_queries: "Did queries and keys change sides?",
        first_image: "Is that only the first image?",
        divides_to_a_float: "// divides to an int",
        forgets_the_heads: "are h, N and N all there?",
        through_numpy: "no gradient comes back",
        in_place: "write nothing into `weights`",
        by_the_library: "`mvit_lib` does what you are to build",
    },
    "10.2": {
        without_the_map: "Did you stay among the pixels of the image?",
        rows_are_columns: "Did you swap rows and columns?",
        token_first: "Is the order (t, p)?",
        map_width: "Did you multiply by the map's width?",
        patches_by_column: "Did you number the patches by columns?",
        times_nH: "Did you multiply by the patches in a column?",
        times_ph: "Did you multiply by ph?",
        patch_of_two: "Did you write 2",
        one_stride: "Did you take one stride for rows and columns?",
        rounded_strides: "Did you divide by a rounded stride?",
        strides_rounded_up: "Did you round the stride up?",
        to_the_nearest: "Did you round to the nearest?",
        divides_first: "Did you divide first?",
        divides_by_the_stride: "Did you divide by the stride?",
        middle_of_the_pixel: "Did you take the middle of the pixel",
        a_fraction: "expected whole numbers",
        place_only: "expected a pair (p, t)",
        pairs_as_numbers: "take them apart first",
        asks_unfold: "`mvit_lib` does what you are to build",
    },
    "10.3": {
        smooth: "Did you smooth?",
        grid_turned: "Did you swap the sides of the grid?",
        by_columns: "Did you fill the grid column by column?",
        tiles: "Did you lay the grid side by side",
        only_the_grid: "Is that the grid, not yet enlarged?",
        scaled: "Did you scale the weights?",
        shares_of_the_sum: "Did you divide by the sum?",
        the_last_takes_the_rest: "give the last one the rest?",
        one_row: "Did you paint the first row only?",
        sides_swapped: "Did you swap height and width of the picture?",
        pairs_up: "table[..., i, j] pairs up i and j",
        nearest_middle: "Did you round to the nearest cell?",
        whole_blocks: "They need not be: pixel row y",
        large_blocks_cut_off: "and cut off what is too much?",
        square_grids_on_their_side: "Did you fill the grid column by column?",
        lets_the_library_paint: "`mvit_lib` does what you are to build",
    },
}
