"""Plausible wrong answers to the exercises of notebook 01, each with the message that must refuse it."""

import math

import torch
import torch.nn.functional as F

from mvit_lib.patches import fold_patches, unfold_patches

# --- 01.1


def adds_instead_of_multiplying(index, strides):
    return sum(index) + sum(strides)


def strides_reversed(index, strides):
    return sum(i * s for i, s in zip(index, strides[::-1], strict=True))


def multiplies_all(index, strides):
    return math.prod(i * s for i, s in zip(index, strides, strict=True))


def two_axes_only(index, strides):
    return index[0] * strides[0] + index[1] * strides[1]


def last_stride_is_one(index, strides):
    return sum(i * s for i, s in zip(index[:-1], strides[:-1], strict=True)) + index[-1]


def forgets_the_last_axis(index, strides):
    return sum(i * s for i, s in zip(index[:-1], strides[:-1], strict=True))


def multiplies_tuples(index, strides):
    return index * strides


def returns_the_steps(index, strides):
    return [i * s for i, s in zip(index, strides, strict=True)]


def forgets_return(*args):
    pass


# --- 01.2


def split(x, patch):
    B, C, H, W = x.shape
    return x.reshape(B, C, H // patch[0], patch[0], W // patch[1], patch[1])


def depth_shape(x, patch):
    return len(x), -1, x.shape[2] // patch[0], x.shape[3] // patch[1]


def depth_by_reshape(x, patch):
    return x.reshape(depth_shape(x, patch))


def channel_before_place(x, patch):
    return split(x, patch).permute(0, 1, 3, 5, 2, 4).reshape(depth_shape(x, patch))


def places_column_by_column(x, patch):
    return split(x, patch).permute(0, 5, 3, 1, 2, 4).reshape(depth_shape(x, patch))


def patches_column_by_column(x, patch):
    return split(x, patch).permute(0, 3, 5, 1, 4, 2).reshape(depth_shape(x, patch))


def splits_the_wrong_way(x, patch):
    (B, C, H, W), (ph, pw) = x.shape, patch
    x = x.reshape(B, C, ph, H // ph, pw, W // pw).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(B, ph * pw * C, H // ph, W // pw)


def patches_into_channels(x, patch):
    x = split(x, patch).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(len(x), -1, *patch)


def forgets_to_merge(x, patch):
    return split(x, patch).permute(0, 3, 5, 1, 2, 4)


def leaves_channels_last(x, patch):
    return split(x, patch).permute(0, 2, 4, 3, 5, 1).flatten(3)


def views_the_permuted(x, patch):
    return split(x, patch).permute(0, 3, 5, 1, 2, 4).view(depth_shape(x, patch))


def divides_with_one_slash(x, patch):
    (B, C, H, W), (ph, pw) = x.shape, patch
    return x.reshape(B, C, H / ph, ph, W / pw, pw)


def forgets_an_axis(x, patch):
    return split(x, patch).permute(0, 3, 5, 2, 4)


def in_float32(x, patch):
    return right_depth(x, patch).float()


def right_depth(x, patch):
    return split(x, patch).permute(0, 3, 5, 1, 2, 4).reshape(depth_shape(x, patch))


def loses_the_gradient(x, patch):
    return torch.from_numpy(right_depth(x, patch).detach().numpy())


def clears_its_input(x, patch):
    result = right_depth(x, patch).clone()
    x.zero_()
    return result


def by_pixel_unshuffle(x, patch):
    if patch[0] != patch[1]:  # works for square patches only
        F.pixel_unshuffle(x, 1)
        return right_depth(x, patch)
    B, C, H, W = x.shape
    x = F.pixel_unshuffle(x, patch[0]).reshape(B, C, -1, H // patch[0], W // patch[1])
    return x.transpose(1, 2).reshape(depth_shape(x, patch))


# --- 01.3


def the_place_itself(move, shape, place):
    return place


def the_number_itself(move, shape, place):
    return int(move(torch.arange(math.prod(shape)).reshape(shape))[place])


def backwards(move, shape, place):
    number = the_number_itself(move, shape, place)
    index = []
    for n in reversed(shape):
        number, rest = divmod(number, n)
        index.append(rest)
    return tuple(index)


def first_axis_first(move, shape, place):
    number = the_number_itself(move, shape, place)
    index = []
    for n in shape:
        number, rest = divmod(number, n)
        index.append(rest)
    return tuple(index)


def divides_by_the_output(move, shape, place):
    x = torch.arange(math.prod(shape)).reshape(shape)
    number, index = int(move(x)[place]), []
    for n in reversed(move(x).shape):
        number, rest = divmod(number, n)
        index.append(rest)
    return tuple(reversed(index))


def numbers_the_output(move, shape, place):
    moved = move(torch.zeros(shape))
    number = torch.arange(moved.numel()).reshape(moved.shape)[place]
    return tuple(int(i) for i in torch.unravel_index(number, shape))


def where_it_goes(move, shape, place):
    x = torch.arange(math.prod(shape)).reshape(shape)
    return tuple((move(x) == x[place]).nonzero()[0].tolist())


def reads_the_input(move, shape, place):
    x = torch.arange(math.prod(shape)).reshape(shape)
    return tuple(int(i) for i in torch.unravel_index(x[place], shape))


def arange_of_a_tuple(move, shape, place):
    return move(torch.arange(shape))[place]


# --- 01.4


def token_shape(x, patch):
    P = patch[0] * patch[1]
    return len(x), P, x.shape[2] * x.shape[3] // P, x.shape[1]


def unfold_by_reshape(x, patch):
    return x.reshape(token_shape(x, patch))


def bands_of_rows(x, patch):
    return x.permute(0, 2, 3, 1).reshape(token_shape(x, patch))


def unfold_axes_swapped(x, patch):
    return split(x, patch).permute(0, 5, 3, 2, 4, 1).reshape(token_shape(x, patch))


def counts_patches_by_column(x, patch):
    return split(x, patch).permute(0, 3, 5, 4, 2, 1).reshape(token_shape(x, patch))


def merges_before_moving_d(x, patch):
    return split(x, patch).permute(0, 3, 5, 1, 2, 4).reshape(token_shape(x, patch))


def patches_before_places(x, patch):
    return split(x, patch).permute(0, 2, 4, 3, 5, 1).reshape(token_shape(x, patch))


def unfold_splits_the_wrong_way(x, patch):
    (B, D, H, W), (ph, pw) = x.shape, patch
    x = x.reshape(B, D, ph, H // ph, pw, W // pw).permute(0, 2, 4, 3, 5, 1)
    return x.reshape(B, ph * pw, -1, D)


def patches_as_sequences(x, patch):
    return right_unfold(x, patch).transpose(1, 2)


def channels_before_tokens(x, patch):
    return right_unfold(x, patch).transpose(2, 3)


def tokens_of_vit(x, patch):
    return right_unfold(x, patch).transpose(1, 2).flatten(2)


def right_unfold(x, patch):
    return split(x, patch).permute(0, 3, 5, 2, 4, 1).reshape(token_shape(x, patch))


def patch_always_two(x, patch):
    return right_unfold(x, (2, 2))


def unpacks_three(x, patch):
    C, H, W = x.shape
    return x.reshape(patch[0] * patch[1], H * W // (patch[0] * patch[1]), C)


def by_the_library(x, patch):
    return unfold_patches(x, patch)


# --- 01.5


def fold_by_reshape(tokens, size, patch):
    return tokens.reshape(len(tokens), -1, *size)


def fold_bands(tokens, size, patch):
    return tokens.permute(0, 3, 1, 2).reshape(len(tokens), -1, *size)


def fold_from(axes, order):
    def mistake(tokens, size, patch):
        length = dict(zip("ijrs", (size[0] // patch[0], size[1] // patch[1], *patch), strict=True))
        x = tokens.reshape(len(tokens), *(length[axis] for axis in axes), -1)
        return x.permute(order).reshape(len(tokens), -1, *size)

    return mistake


fold_axes_swapped = fold_from("srij", (0, 5, 3, 2, 4, 1))
splits_n_the_wrong_way = fold_from("rsji", (0, 5, 4, 1, 3, 2))
merges_ph_before_rows = fold_from("rsij", (0, 5, 1, 3, 2, 4))
leaves_d_last = fold_from("rsij", (0, 3, 1, 4, 2, 5))


def returns_channels_last(tokens, size, patch):
    return right_fold(tokens, size, patch).permute(0, 2, 3, 1)


def swaps_rows_and_columns(tokens, size, patch):
    return right_fold(tokens, size, patch).transpose(2, 3)


def right_fold(tokens, size, patch):
    return fold_from("rsij", (0, 5, 3, 1, 4, 2))(tokens, size, patch)


def forgets_the_last_merge(tokens, size, patch):
    return split(right_fold(tokens, size, patch), patch)


def only_squares(tokens, size, patch):
    side = int(tokens.shape[2] ** 0.5)
    return tokens.reshape(len(tokens), *patch, side, side, -1)


def fold_in_place(tokens, size, patch):
    x = right_fold(tokens, size, patch).clone()
    tokens *= 0
    return x


def fold_by_the_library(tokens, size, patch):
    return fold_patches(tokens, size, patch)


MUTANTS = {
    "01.1": {
        adds_instead_of_multiplying: "Did you add index and stride",
        strides_reversed: "strides in reverse order",
        multiplies_all: "Did you multiply the walks",
        two_axes_only: "Did you use only the first two axes",
        last_stride_is_one: "Did you take the last stride for 1",
        forgets_the_last_axis: "Did you forget the last axis",
        multiplies_tuples: "multiply them pair by pair",
        returns_the_steps: "expected a whole number, got [60, 40, 5, 3]",
        forgets_return: "did you forget `return`",
    },
    "01.2": {
        depth_by_reshape: "Did you reshape in one go",
        channel_before_place: "PyTorch's order of channels",
        places_column_by_column: "Did you swap the two in-patch axes",
        patches_column_by_column: "Did you swap nH and nW",
        splits_the_wrong_way: "Did you split H into (ph, nH)",
        patches_into_channels: "patches in the channels, places in the map",
        forgets_to_merge: "merge the three of the channels",
        leaves_channels_last: "The channels stand last here",
        views_the_permuted: "view cannot walk a permuted tensor",
        divides_with_one_slash: "divide with // instead of /",
        forgets_an_axis: "permute wants every axis exactly once",
        in_float32: "given float64 your function returns torch.float32",
        loses_the_gradient: "no gradient comes back",
        clears_its_input: "changes its first argument",
        by_pixel_unshuffle: "`pixel_unshuffle` does what you are to build",
        forgets_return: "did you forget `return`",
    },
    "01.3": {
        the_place_itself: "That is the place in the output",
        the_number_itself: "turn it into one index per axis",
        backwards: "The index is backwards",
        first_axis_first: "Did you divide by the first axis first",
        divides_by_the_output: "Did you divide by the output's axes",
        numbers_the_output: "Did you number the output",
        where_it_goes: "where the input's element goes to",
        reads_the_input: "That is the place in the output",
        arange_of_a_tuple: "arange wants a count",
        forgets_return: "did you forget `return`",
    },
    "01.4": {
        unfold_by_reshape: "Did you reshape in one go",
        bands_of_rows: "a band of the map's rows",
        unfold_axes_swapped: "Did you swap the two in-patch axes",
        counts_patches_by_column: "Did you count the patches column by column",
        merges_before_moving_d: "That cuts through the tokens",
        patches_before_places: "Did you put patches before places",
        unfold_splits_the_wrong_way: "Did you split H into (ph, nH)",
        patches_as_sequences: "a sequence is a place",
        channels_before_tokens: "The D numbers of a token stand last",
        tokens_of_vit: "what ViT wants",
        patch_always_two: "is invalid for input of size",
        unpacks_three: "unpack it into as many names",
        by_the_library: "`mvit_lib` does what you are to build",
    },
    "01.5": {
        fold_by_reshape: "Did you reshape in one go",
        fold_bands: "lands in a band of rows",
        fold_axes_swapped: "Did you swap the two in-patch axes",
        splits_n_the_wrong_way: "Did you split N into (nW, nH)",
        merges_ph_before_rows: "Did you merge (ph, nH) into H",
        leaves_d_last: "The numbers of one token fall on neighbours",
        returns_channels_last: "bring D in front of H and W",
        swaps_rows_and_columns: "Rows and columns are swapped",
        forgets_the_last_merge: "merge (nH, ph) into H",
        only_squares: "is invalid for input of size",
        fold_in_place: "changes its first argument",
        fold_by_the_library: "`mvit_lib` does what you are to build",
    },
}
