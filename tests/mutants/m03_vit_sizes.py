"""Plausible wrong answers to 03.3, 03.4 and 03.5, each with the message that must refuse it."""

import torch
import torch.nn.functional as F

# 03.3


def _vit(image, patch, D, L, r, num_classes, *, N=None, channels=3, bias=True, norms=True, **parts):
    (H, W), (ph, pw) = image, patch
    N = (H // ph) * (W // pw) if N is None else N
    b = int(bias)
    qkv = parts.get("qkv", 3) * D * D + 3 * D * b
    mlp = parts.get("mlp", 2 * r * D * D + (r * D + D) * b)
    layer = qkv + parts.get("behind", D * D + D * b) + mlp + (4 * D if norms else 0)
    layer -= parts.get("norms_missing", 0)
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


def no_positions_at_all(*case):
    return _vit(*case, N=0, first=0)


def one_norm_in_a_layer(image, patch, D, *rest):
    return _vit(image, patch, D, *rest, norms_missing=2 * D)


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


def h_twice(image, patch, *rest):
    return _vit(image, patch, *rest, N=(image[0] // patch[0]) * (image[0] // patch[1]))


def h_squared(image, patch, *rest):
    return _vit(image, patch, *rest, N=(image[0] // patch[0]) ** 2)


def patch_swapped(image, patch, *rest):
    return _vit(image, patch, *rest, N=(image[0] // patch[1]) * (image[1] // patch[0]))


def four_times_as_wide(image, patch, D, L, r, num_classes):
    return _vit(image, patch, D, L, 4, num_classes)


def a_float(*case):
    return float(_vit(*case))


def a_tensor(*case):
    return torch.tensor(_vit(*case))


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


def flops(N, D, r):
    return 2 * (4 + 2 * r) * N * D**2, 4 * N**2 * D, (2 + r) * D


def flops_of_the_products(N, D, r):
    return (4 + 2 * r) * N * D**2, 4 * N**2 * D, (2 + r) * D


def one_more_token(N, D, r):
    return (4 + 2 * r) * (N + 1) * D**2, 2 * (N + 1) ** 2 * D, (2 + r) * D


def wrong_order(N, D, r):
    return 2 * N**2 * D, (4 + 2 * r) * N * D**2, (2 + r) * D


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


def new_grid_swapped(positions, old, new):
    return _with(positions, old, new[::-1])


def old_grid_turned(positions, old, new):
    maps = positions[:, 1:].reshape(1, *old, -1).permute(0, 3, 2, 1)
    return torch.cat([positions[:, :1], _grow(maps, new).flatten(2).transpose(1, 2)], dim=1)


def reshapes_on_the_way_in(positions, old, new):
    maps = _grow(positions[:, 1:].reshape(1, -1, *old), new)
    return torch.cat([positions[:, :1], maps.flatten(2).transpose(1, 2)], dim=1)


def forgets_to_permute(positions, old, new):
    maps = _grow(positions[:, 1:].reshape(1, *old, -1), new)
    return torch.cat([positions[:, :1], maps.flatten(2).transpose(1, 2)], dim=1)


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
    "03.3": {
        no_biases: "Did you leave out all biases",
        no_norms: "Did you leave out the LayerNorms",
        no_class_token: "the class token, or of the position of the class token",
        no_class_token_at_all: "Did you leave out the class token and its position",
        no_last_norm: "the last LayerNorm",
        no_positions: "That is the size of the positions of the patches",
        no_positions_at_all: "Did you leave out the positions",
        one_norm_in_a_layer: "Did you count one LayerNorm per layer",
        one_matrix_for_qkv: "There are three.",
        nothing_behind_attention: "Did you forget the linear layer behind attention",
        grey_pixels: "Did you forget that a pixel has 3 channels",
        short_mlp: "It has two: D → r·D → D",
        mlp_biases_equal: "The first layer has r·D",
        one_layer: "Did you count one layer instead of L",
        positions_for_pixels: "Is that the number of all pixels",
        positions_in_every_layer: "They are added once",
        counts_the_classifier_twice: "Did you count twice: the weights of the classifier",
        h_twice: "Did you use H twice",
        h_squared: "Did you square H // ph",
        patch_swapped: "Did you swap ph and pw",
        four_times_as_wide: "Did you take r = 4 for granted",
        a_float: "expected an int, got float",
        a_tensor: "expected an int, got a tensor",
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
        flops: "One MAC is both",
        flops_of_the_products: "One MAC is both",
        one_more_token: "N counts all tokens",
        wrong_order: "The linear layers come first",
        two_numbers: "expected three numbers",
    },
    "03.5": {
        reshapes_to_channels_first: "Did you reshape to [1, D, nH, nW] and back",
        reshapes_back: "Did you reshape back without moving D",
        stretches_the_list: "Did you stretch the sequence of tokens",
        stretches_the_class_token_too: "Did you stretch the class token's position along",
        nearest: "interpolate's default mode is 'nearest'",
        corners_aligned: "Did you set align_corners=True",
        bicubic: "Is that bicubic",
        old_grid_swapped: "Did you swap nH and nW of the old grid",
        new_grid_swapped: "of the new grid",
        old_grid_turned: "Did you turn the old grid",
        reshapes_on_the_way_in: "Did you reshape to [1, D, nH, nW]? That",
        forgets_to_permute: "Did you permute to [1, D, nH, nW] before interpolate",
        class_token_last: "Is the class token's position at the end",
        class_token_zero: "Did you set the class token's position to zero",
        class_token_lost: "expected [1, 49, 6]",
        without_the_map: "Give it a map [1, D, nH, nW]",
        class_token_left_in: "did you take the class token off first",
        forgets_to_flatten: "a map has one axis too many",
        cuts_the_gradient: "no gradient comes back",
    },
}
