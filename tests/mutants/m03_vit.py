"""Plausible wrong answers to 03.1 and 03.2, each with the message that must refuse it."""

import torch
import torch.nn.functional as F

from mvit_lib import patches


def _split(x, patch):
    B, C, H, W = x.shape
    ph, pw = patch
    return x.reshape(B, C, H // ph, ph, W // pw, pw)


def _rows(x, patch):
    return len(x), x.shape[2] // patch[0] * (x.shape[3] // patch[1]), -1


# 03.1


def reshape_in_one_go(x, patch):
    return x.reshape(*_rows(x, patch))


def channels_first_in_the_row(x, patch):
    return _split(x, patch).permute(0, 2, 4, 1, 3, 5).reshape(*_rows(x, patch))


def channels_between(x, patch):
    return _split(x, patch).permute(0, 2, 4, 3, 1, 5).reshape(*_rows(x, patch))


def in_patch_axes_swapped(x, patch):
    return _split(x, patch).permute(0, 2, 4, 5, 3, 1).reshape(*_rows(x, patch))


def patch_swapped(x, patch):
    return patchify_right(x, patch[::-1])


def patches_column_by_column(x, patch):
    return _split(x, patch).permute(0, 4, 2, 3, 5, 1).reshape(*_rows(x, patch))


def groups_by_place(x, patch):
    return _split(x, patch).permute(0, 3, 5, 2, 4, 1).reshape(*_rows(x, patch))


def splits_the_wrong_way(x, patch):
    B, C, H, W = x.shape
    ph, pw = patch
    x = x.reshape(B, C, ph, H // ph, pw, W // pw)
    return x.permute(0, 3, 5, 2, 4, 1).reshape(B, (H // ph) * (W // pw), -1)


def by_unfold(x, patch):
    return F.unfold(x, patch, stride=patch)


def by_unfold_and_reorder(x, patch):
    columns = F.unfold(x, patch, stride=patch)
    B, _, N = columns.shape
    return columns.reshape(B, x.shape[1], -1, N).permute(0, 3, 2, 1).reshape(B, N, -1)


def keeps_pixels_apart(x, patch):
    return _split(x, patch).permute(0, 2, 4, 3, 5, 1).flatten(1, 2).flatten(2, 3)


def square_patches_only(x, patch):
    return patchify_right(x, (patch[0], patch[0]))


def patchify_right(x, patch):
    return _split(x, patch).permute(0, 2, 4, 3, 5, 1).reshape(*_rows(x, patch))


def loses_the_gradient(x, patch):
    return patchify_right(x.detach(), patch)


def always_float32(x, patch):
    return patchify_right(x, patch).float()


def view_after_permute(x, patch):
    return _split(x, patch).permute(0, 2, 4, 3, 5, 1).view(*_rows(x, patch))


def permutes_too_early(x, patch):
    return x.permute(0, 2, 4, 3, 5, 1)


def divides_to_floats(x, patch):
    B, C, H, W = x.shape
    return x.reshape(B, C, H / patch[0], patch[0], W / patch[1], patch[1])


def bands_of_pixels(x, patch):
    return x.permute(0, 2, 3, 1).reshape(*_rows(x, patch))


def forgets_a_dimension(x, patch):
    return _split(x, patch).permute(0, 2, 4, 3, 5, 1).reshape(_rows(x, patch)[1], -1, len(x), 7)


def the_librarys(x, patch):
    return patches.patchify(x, patch)


# 03.2


def kernel_reshape_in_one_go(weight, C, patch):
    return weight.reshape(-1, C, *patch)


def kernel_wrong_split(weight, C, patch):
    return weight.reshape(-1, C, *patch).permute(0, 2, 3, 1).reshape(-1, C, *patch)


def kernel_patch_swapped(weight, C, patch):
    return weight.reshape(-1, *patch[::-1], C).permute(0, 3, 2, 1)


def kernel_right(weight, C, patch):
    return weight.reshape(-1, *patch, C).permute(0, 3, 1, 2)


def kernel_flipped(weight, C, patch):
    return kernel_right(weight, C, patch).flip(2, 3)


def kernel_channels_reversed(weight, C, patch):
    return kernel_right(weight, C, patch).flip(1)


def kernel_of_the_transposed(weight, C, patch):
    return kernel_right(weight.T.reshape(weight.shape), C, patch)


def kernel_rows_and_columns_out_of_place(weight, C, patch):
    return weight.reshape(-1, *patch, C).permute(0, 3, 2, 1)


def kernel_channels_last(weight, C, patch):
    return weight.reshape(-1, *patch, C)


def kernel_not_split(weight, C, patch):
    return weight.permute(0, 3, 1, 2)


def kernel_through_numpy(weight, C, patch):
    return torch.from_numpy(kernel_right(weight, C, patch).detach().numpy().copy())


MUTANTS = {
    "03.1": {
        reshape_in_one_go: "Did you reshape in one go",
        channels_first_in_the_row: "Did you put the channels before the pixels",
        channels_between: "Did you put the channels between rows and columns",
        patch_swapped: "Did you swap ph and pw",
        in_patch_axes_swapped: "Did you swap rows and columns inside the patch",
        patches_column_by_column: "Did you count the patches column by column",
        groups_by_place: "Did you gather the same place of all patches",
        splits_the_wrong_way: "Did you split H into (ph, nH)",
        by_unfold: "your result has shape [2, 18, 12], expected [2, 12, 18]",
        by_unfold_and_reorder: "`unfold` and `im2col` do what you are to build",
        keeps_pixels_apart: "expected [2, 12, 18]",
        square_patches_only: "Did you use ph twice",
        loses_the_gradient: "no gradient comes back",
        always_float32: "given float64 your function returns torch.float32",
        view_after_permute: "view cannot copy them. reshape can",
        permutes_too_early: "split the axes by reshape first",
        divides_to_floats: "An axis needs //",
        bands_of_pixels: "Did you cut the picture's rows into pieces",
        forgets_a_dimension: "(input [2, 3, 6, 12], (2, 3))",
        the_librarys: "does what you are to build",
    },
    "03.2": {
        kernel_reshape_in_one_go: "Did you reshape straight to [D, C, ph, pw]",
        kernel_wrong_split: "Did you split P·C into (C, ph, pw)",
        kernel_patch_swapped: "Did you swap ph and pw",
        kernel_flipped: "Did you turn the kernel around",
        kernel_channels_reversed: "Did you reverse the channels",
        kernel_of_the_transposed: "Did you read the weights by columns",
        kernel_rows_and_columns_out_of_place: "your result has shape [5, 3, 3, 2], expected [5, 3, 2, 3]",
        kernel_channels_last: "your result has shape [5, 2, 3, 3], expected [5, 3, 2, 3]",
        kernel_not_split: "split the axes by reshape first",
        kernel_through_numpy: "no gradient comes back",
    },
}
