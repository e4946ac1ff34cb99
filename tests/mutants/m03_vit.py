"""Plausible wrong answers to the exercises of notebook 03, each with the message that must refuse it."""

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
    return (
        patchify_right(x, (patch[0], patch[0])) if x.shape[3] % patch[0] == 0 else reshape_in_one_go(x, patch)
    )


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


# 03.3


def _vit(image, patch, D, L, r, num_classes, *, N=None, channels=3, bias=True, norms=True, **parts):
    (H, W), (ph, pw) = image, patch
    N = (H // ph) * (W // pw) if N is None else N
    b = int(bias)
    qkv = parts.get("qkv", 3) * D * D + 3 * D * b
    mlp = parts.get("mlp", 2 * r * D * D + (r * D + D) * b)
    layer = qkv + parts.get("behind", D * D + D * b) + mlp + (4 * D if norms else 0)
    total = ph * pw * channels * D + D * b + parts.get("token", D) + (parts.get("first", 1) + N) * D
    total += L * layer + parts.get("last", 2 * D if norms else 0)
    return total + D * num_classes + num_classes * b


def no_biases(*case):
    return _vit(*case, bias=False)


def no_norms(*case):
    return _vit(*case, norms=False)


def no_class_token(*case):
    return _vit(*case, token=0)


def no_class_token_at_all(*case):
    return _vit(*case, token=0, first=0)


def no_last_norm(*case):
    return _vit(*case, last=0)


def no_positions(*case):
    return _vit(*case, N=0)


def one_matrix_for_qkv(*case):
    return _vit(*case, qkv=1)


def nothing_behind_attention(*case):
    return _vit(*case, behind=0)


def grey_pixels(*case):
    return _vit(*case, channels=1)


def short_mlp(image, patch, D, L, r, num_classes):
    return _vit(image, patch, D, L, r, num_classes, mlp=r * D * D + r * D)


def mlp_biases_equal(image, patch, D, L, r, num_classes):
    return _vit(image, patch, D, L, r, num_classes, mlp=2 * r * D * D + 2 * D)


def one_layer(image, patch, D, L, r, num_classes):
    return _vit(image, patch, D, 1, r, num_classes)


def positions_for_pixels(image, *rest):
    return _vit(image, *rest, N=image[0] * image[1])


def positions_in_every_layer(image, patch, D, L, r, num_classes):
    N = (image[0] // patch[0]) * (image[1] // patch[1])
    return _vit(image, patch, D, L, r, num_classes) + (L - 1) * (1 + N) * D


def counts_the_classifier_twice(image, patch, D, L, r, num_classes):
    return _vit(image, patch, D, L, r, num_classes) + D * num_classes


def pairs_multiplied(image, patch, D, L, r, num_classes):
    return image * patch


def returns_nothing(*case):
    _vit(*case)


# 03.4


def forgets_the_projection(N, D, r):
    return (3 + 2 * r) * N * D**2, 2 * N**2 * D, (2 + r) * D


def one_of_qkv(N, D, r):
    return (2 + 2 * r) * N * D**2, 2 * N**2 * D, (2 + r) * D


def half_an_mlp(N, D, r):
    return (4 + r) * N * D**2, 2 * N**2 * D, (2 + r) * D


def biases_counted(N, D, r):
    return N * (D * 3 * D + 3 * D + D * D + D + 2 * r * D * D + r * D + D), 2 * N**2 * D, (2 + r) * D


def for_one_token(N, D, r):
    return (4 + 2 * r) * D**2, 2 * N**2 * D, (2 + r) * D


def always_four(N, D, r):
    return 12 * N * D**2, 2 * N**2 * D, 6 * D


def one_product(N, D, r):
    return (4 + 2 * r) * N * D**2, N**2 * D, (2 + r) * D


def no_width(N, D, r):
    return (4 + 2 * r) * N * D**2, 2 * N**2, (2 + r) * D


def crossing_with_one_product(N, D, r):
    return (4 + 2 * r) * N * D**2, 2 * N**2 * D, (4 + 2 * r) * D


def crossing_always_six(N, D, r):
    return (4 + 2 * r) * N * D**2, 2 * N**2 * D, 6 * D


def crossing_with_n(N, D, r):
    return (4 + 2 * r) * N * D**2, 2 * N**2 * D, (2 + r) * D * N


def a_ratio(N, D, r):
    linear, attention = (4 + 2 * r) * N * D**2, 2 * N**2 * D
    return linear, attention, linear / attention


def two_numbers(N, D, r):
    return (4 + 2 * r) * N * D**2, 2 * N**2 * D


# 03.5


def _grow(maps, new, mode="bilinear", **options):
    return F.interpolate(maps, size=new, mode=mode, **options)


def _with(positions, old, new, mode="bilinear", **options):
    maps = positions[:, 1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    rest = _grow(maps, new, mode, **options).flatten(2).transpose(1, 2)
    return torch.cat([positions[:, :1], rest], dim=1)


def reshapes_to_channels_first(positions, old, new):
    maps = _grow(positions[:, 1:].reshape(1, -1, *old), new)
    return torch.cat([positions[:, :1], maps.reshape(1, new[0] * new[1], -1)], dim=1)


def reshapes_back(positions, old, new):
    maps = positions[:, 1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    rest = _grow(maps, new).reshape(1, new[0] * new[1], -1)
    return torch.cat([positions[:, :1], rest], dim=1)


def stretches_the_list(positions, old, new):
    rest = F.interpolate(positions[:, 1:].transpose(1, 2), size=new[0] * new[1], mode="linear")
    return torch.cat([positions[:, :1], rest.transpose(1, 2)], dim=1)


def stretches_the_class_token_too(positions, old, new):
    return F.interpolate(positions.transpose(1, 2), size=1 + new[0] * new[1], mode="linear").transpose(1, 2)


def nearest(positions, old, new):
    return _with(positions, old, new, "nearest")


def corners_aligned(positions, old, new):
    return _with(positions, old, new, align_corners=True)


def bicubic(positions, old, new):
    return _with(positions, old, new, "bicubic")


def old_grid_swapped(positions, old, new):
    return _with(positions, old[::-1], new)


def class_token_last(positions, old, new):
    return _with(positions, old, new).roll(-1, 1)


def class_token_zero(positions, old, new):
    return torch.cat([torch.zeros_like(positions[:, :1]), _with(positions, old, new)[:, 1:]], dim=1)


def class_token_lost(positions, old, new):
    return _with(positions, old, new)[:, 1:]


def without_the_map(positions, old, new):
    return F.interpolate(positions[:, 1:], size=new, mode="bilinear")


def class_token_left_in(positions, old, new):
    return positions.reshape(1, *old, -1)


def forgets_to_flatten(positions, old, new):
    maps = positions[:, 1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    return torch.cat([positions[:, :1], _grow(maps, new)], dim=1)


def cuts_the_gradient(positions, old, new):
    return _with(positions.detach(), old, new)


MUTANTS = {
    "03.1": {
        reshape_in_one_go: "Did you reshape in one go",
        channels_first_in_the_row: "Did you put the channels before the pixels",
        channels_between: "Did you put the channels between rows and columns",
        in_patch_axes_swapped: "Did you swap rows and columns inside the patch",
        patches_column_by_column: "Did you count the patches column by column",
        groups_by_place: "Did you gather the same place of all patches",
        splits_the_wrong_way: "Did you split H into (ph, nH)",
        by_unfold: "your result has shape [2, 18, 10], expected [2, 10, 18]",
        by_unfold_and_reorder: "`unfold` and `im2col` do what you are to build",
        keeps_pixels_apart: "expected [2, 10, 18]",
        square_patches_only: "are in the wrong place",
        loses_the_gradient: "no gradient comes back",
        always_float32: "given float64 your function returns torch.float32",
        view_after_permute: "view cannot copy them. reshape can",
        permutes_too_early: "split the axes by reshape first",
        divides_to_floats: "An axis needs //",
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
    "03.3": {
        no_biases: "Did you leave out all biases",
        no_norms: "Did you leave out the LayerNorms",
        no_class_token: "the class token, or the position of the class token",
        no_class_token_at_all: "Did you leave out the class token and its position",
        no_last_norm: "the last LayerNorm",
        no_positions: "Just as many has the positions of the patches",
        one_matrix_for_qkv: "There are three.",
        nothing_behind_attention: "Did you forget the linear layer behind attention",
        grey_pixels: "Did you forget that a pixel has 3 channels",
        short_mlp: "It has two: D → r·D → D",
        mlp_biases_equal: "The first layer has r·D",
        one_layer: "Did you count one layer instead of L",
        positions_for_pixels: "Positions belong to patches",
        positions_in_every_layer: "They are added once",
        counts_the_classifier_twice: "Did you count twice: the weights of the classifier",
        pairs_multiplied: "are pairs, (rows, columns)",
        returns_nothing: "did you forget `return`",
    },
    "03.4": {
        forgets_the_projection: "Did you forget the linear layer behind attention",
        one_of_qkv: "They are three products",
        half_an_mlp: "Did you count one of the MLP's two layers",
        biases_counted: "An addition alone is no MAC",
        for_one_token: "Did you count one token instead of N",
        always_four: "Did you take r = 4 for granted",
        one_product: "QKᵀ costs N²·D, and A·V as much",
        no_width: "Each of the N × N scores is a product of D numbers",
        crossing_with_one_product: "Did you count one of the two N × N products",
        crossing_always_six: "Did you take r = 4 for granted",
        crossing_with_n: "Did you leave N in it",
        a_ratio: "Did you give back a ratio",
        two_numbers: "expected three numbers",
    },
    "03.5": {
        reshapes_to_channels_first: "Did you reshape to [1, D, nH, nW]",
        reshapes_back: "Did you reshape back without moving D",
        stretches_the_list: "Did you stretch the list of tokens",
        stretches_the_class_token_too: "Did you stretch the class token's position along",
        nearest: "interpolate's default mode is 'nearest'",
        corners_aligned: "Did you set align_corners=True",
        bicubic: "Is that bicubic",
        old_grid_swapped: "Did you swap nH and nW of the old grid",
        class_token_last: "Is the class token's position at the end",
        class_token_zero: "Did you set the class token's position to zero",
        class_token_lost: "expected [1, 49, 3]",
        without_the_map: "Give it a map [1, D, nH, nW]",
        class_token_left_in: "did you take the class token off first",
        forgets_to_flatten: "a map has one axis too many",
        cuts_the_gradient: "no gradient comes back",
    },
}
