"""Plausible wrong answers to the exercises 01.3 to 01.5, each with the message that must refuse it."""

import math

import torch
import torch.nn.functional as F

from mvit_lib.patches import fold_patches, unfold_patches

# --- 01.3


def forgets_return(*args):
    pass


def the_place_itself(move, shape, place):
    return place


def the_number_itself(move, shape, place):
    return int(move(torch.arange(math.prod(shape)).reshape(shape))[place])


def backwards(move, shape, place):
    number = the_number_itself(move, shape, place)
    index = []
    for n in reversed(shape):
        number, remainder = divmod(number, n)
        index.append(remainder)
    return tuple(index)


def first_axis_first(move, shape, place):
    number = the_number_itself(move, shape, place)
    index = []
    for n in shape:
        number, remainder = divmod(number, n)
        index.append(remainder)
    return tuple(index)


def divides_by_the_output(move, shape, place):
    x = torch.arange(math.prod(shape)).reshape(shape)
    number, index = int(move(x)[place]), []
    for n in reversed(move(x).shape):
        number, remainder = divmod(number, n)
        index.append(remainder)
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


def swaps_quotient_and_remainder(move, shape, place):
    number = the_number_itself(move, shape, place)
    index = []
    for n in reversed(shape):
        quotient, number = divmod(number, n)
        index.append(quotient)
    return tuple(reversed(index))


def two_axes_of_three(move, shape, place):
    return divmod(the_number_itself(move, shape, place), shape[-1])


def found_by_nonzero(move, shape, place):
    x = torch.arange(math.prod(shape)).reshape(shape)
    return (x == move(x)[place]).nonzero()


def gives_a_list(move, shape, place):
    return found_by_nonzero(move, shape, place)[0].tolist()


def gives_a_tensor(move, shape, place):
    return found_by_nonzero(move, shape, place)[0]


def by_strides(move, shape, place):
    moved = move(torch.zeros(shape))
    at = moved.storage_offset() + sum(i * s for i, s in zip(place, moved.stride(), strict=True))
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(at), shape))


def three_axes_at_most(move, shape, place):
    number = the_number_itself(move, shape, place)
    n, m = (1, 1, *shape)[-2:]
    index = number // (n * m), number // m % n, number % m
    return index[3 - len(shape) :] if len(shape) < 3 else index


def numbers_in_uint8(move, shape, place):
    x = torch.arange(math.prod(shape)).reshape(shape)
    number = int(move(x.to(torch.uint8))[place])
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(number), shape))


def arange_of_a_tuple(move, shape, place):
    return move(torch.arange(shape))[place]


# --- 01.4


def split(x, patch):
    B, C, H, W = x.shape
    return x.reshape(B, C, H // patch[0], patch[0], W // patch[1], patch[1])


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


def patches_as_lists(x, patch):
    return right_unfold(x, patch).transpose(1, 2)


def channels_before_tokens(x, patch):
    return right_unfold(x, patch).transpose(2, 3)


def tokens_of_vit(x, patch):
    return right_unfold(x, patch).transpose(1, 2).flatten(2)


def right_unfold(x, patch):
    return split(x, patch).permute(0, 3, 5, 2, 4, 1).reshape(token_shape(x, patch))


def views_the_permuted(x, patch):
    return split(x, patch).permute(0, 3, 5, 2, 4, 1).view(token_shape(x, patch))


def divides_with_one_slash(x, patch):
    (B, D, H, W), (ph, pw) = x.shape, patch
    return x.reshape(B, D, H / ph, ph, W / pw, pw)


def forgets_an_axis(x, patch):
    return split(x, patch).permute(0, 3, 5, 2, 4)


def in_float32(x, patch):
    return right_unfold(x, patch).float()


def loses_the_gradient(x, patch):
    return torch.from_numpy(right_unfold(x, patch).detach().numpy())


def clears_its_input(x, patch):
    result = right_unfold(x, patch).clone()
    x.zero_()
    return result


def unfold_by_own_strides(x, patch):
    (B, D, H, W), (ph, pw) = x.shape, patch
    lengths = (B, ph, pw, H // ph, W // pw, D)
    return x.as_strided(lengths, (D * H * W, W, 1, ph * W, pw, H * W)).reshape(token_shape(x, patch))


def by_torch(x, patch):
    columns = F.unfold(x, patch, stride=patch)
    return columns.reshape(len(x), x.shape[1], patch[0] * patch[1], -1).permute(0, 2, 3, 1)


def by_pixel_unshuffle(x, patch):
    (B, D, H, W), (ph, pw) = x.shape, patch
    square = x.repeat_interleave(pw, 2).repeat_interleave(ph, 3)
    moved = F.pixel_unshuffle(square, ph * pw).reshape(B, D, ph * pw, ph * pw, H // ph, W // pw)
    return moved[:, :, ::pw, ::ph].permute(0, 2, 3, 4, 5, 1).reshape(token_shape(x, patch))


def by_convolution(x, patch):
    (B, D, H, W), P = x.shape, patch[0] * patch[1]
    kernels = torch.eye(P, dtype=x.dtype).reshape(P, 1, *patch)
    moved = F.conv2d(x.reshape(B * D, 1, H, W), kernels, stride=patch)
    return moved.reshape(B, D, P, -1).permute(0, 2, 3, 1)


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
unfold_once_more = fold_from("rsij", (0, 3, 5, 2, 4, 1))
patch_after_patch = fold_from("rsij", (0, 5, 3, 4, 1, 2))
leaves_d_last = fold_from("rsij", (0, 3, 1, 4, 2, 5))


gives_n_swapped_lengths = fold_from("rsji", (0, 5, 3, 1, 4, 2))
puts_pw_beside_rows = fold_from("rsij", (0, 5, 3, 2, 4, 1))


def patch_as_width_and_height(tokens, size, patch):
    return right_fold(tokens, size, patch[::-1])


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
    x = tokens.reshape(len(tokens), *patch, side, side, -1).permute(0, 5, 3, 1, 4, 2)
    return x.reshape(len(tokens), -1, side * patch[0], side * patch[1])


def squares_inside(tokens, size, patch):
    return only_squares(tokens, size, patch).reshape(len(tokens), -1, *size)


def size_as_width_and_height(tokens, size, patch):
    return right_fold(tokens, (size[1], size[0]), patch)


def one_column_of_patches(tokens, size, patch):
    return tokens.reshape(len(tokens), *patch, size[0], size[1], -1)


def fold_by_own_strides(tokens, size, patch):
    (B, P, N, D), (H, W), (ph, pw) = tokens.shape, size, patch
    lengths = (B, D, H // ph, ph, W // pw, pw)
    x = tokens.as_strided(lengths, (P * N * D, 1, W // pw * D, pw * N * D, D, N * D))
    return x.reshape(B, D, H, W)


def fold_in_place(tokens, size, patch):
    x = right_fold(tokens, size, patch).clone()
    tokens *= 0
    return x


def fold_by_the_library(tokens, size, patch):
    return fold_patches(tokens, size, patch)


MUTANTS = {
    "01.3": {
        the_place_itself: "That is the place in the output",
        the_number_itself: "turn it into one index per axis",
        backwards: "The index is backwards",
        first_axis_first: "Did you divide by the first axis first",
        divides_by_the_output: "Did you divide by the output's axes",
        numbers_the_output: "Did you number the output",
        where_it_goes: "where the input's element goes to",
        reads_the_input: "That is the place in the output",
        swaps_quotient_and_remainder: "Did you swap quotient and remainder",
        two_axes_of_three: "expected 3 indices, got 2",
        found_by_nonzero: "nonzero() gives a row for every hit",
        gives_a_list: "expected a tuple of 3 indices, got the list",
        gives_a_tensor: "expected a tuple of 3 indices, got the Tensor",
        by_strides: "Did you follow strides",
        three_axes_at_most: "expected 5 indices, got 3",
        numbers_in_uint8: "uint8 ends at 255",
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
        patches_as_lists: "a sequence is a place",
        channels_before_tokens: "The D numbers of a token stand last",
        tokens_of_vit: "what ViT wants",
        views_the_permuted: "view cannot merge axes",
        divides_with_one_slash: "divide with // instead of /",
        forgets_an_axis: "permute wants every axis exactly once",
        in_float32: "given float64 your function returns torch.float32",
        loses_the_gradient: "no gradient comes back",
        clears_its_input: "changes its first argument",
        unfold_by_own_strides: "Did you compute strides from the lengths",
        by_torch: "`unfold` does what you are to build",
        by_pixel_unshuffle: "`pixel_unshuffle` does what you are to build",
        by_convolution: "`conv2d` does what you are to build",
        patch_always_two: "is invalid for input of size",
        unpacks_three: "unpack it into as many names",
        by_the_library: "`mvit_lib` does what you are to build",
    },
    "01.5": {
        fold_by_reshape: "Did you reshape in one go",
        fold_bands: "lands in a band of rows",
        fold_axes_swapped: "Did you swap the two in-patch axes",
        splits_n_the_wrong_way: "Did you split N into (nW, nH)",
        gives_n_swapped_lengths: "Did you give N the lengths (nW, nH)",
        puts_pw_beside_rows: "Did you put pw beside nH",
        patch_as_width_and_height: "Did you read patch as (pw, ph)",
        merges_ph_before_rows: "Did you merge (ph, nH) into H",
        leaves_d_last: "The numbers of one token fall on neighbours",
        returns_channels_last: "bring D in front of H and W",
        swaps_rows_and_columns: "Rows and columns are swapped",
        forgets_the_last_merge: "merge (nH, ph) into H",
        unfold_once_more: "Did you use unfold's own permute",
        patch_after_patch: "Did you write patch after patch",
        only_squares: "take √N patches per row",
        squares_inside: "take √N patches per row",
        size_as_width_and_height: "Did you read size as (W, H)",
        one_column_of_patches: "rows first; N splits into nH",
        fold_by_own_strides: "Did you compute strides from the lengths",
        fold_in_place: "changes its first argument",
        fold_by_the_library: "`mvit_lib` does what you are to build",
    },
}
