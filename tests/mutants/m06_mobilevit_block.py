"""Wrong answers to the exercises of notebook 06, each with words of the message meant for it."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from mvit_lib import MobileViTBlock
from mvit_lib.layers import ConvNormAct, TransformerLayer
from mvit_lib.look.figures.who_hears_whom import hears
from mvit_lib.patches import fold_patches, unfold_patches

# 06.1


def all_exchange(x, layer, patch):
    tokens = unfold_patches(x, patch)
    return fold_patches(layer(tokens.flatten(1, 2)).view(tokens.shape), x.shape[2:], patch)


def inside_a_patch(x, layer, patch):
    tokens = unfold_patches(x, patch).transpose(1, 2)
    mixed = layer(tokens.flatten(0, 1)).view(tokens.shape)
    return fold_patches(mixed.transpose(1, 2), x.shape[2:], patch)


def images_exchange(x, layer, patch):
    tokens = unfold_patches(x, patch).transpose(0, 1)
    mixed = layer(tokens.flatten(1, 2)).view(tokens.shape)
    return fold_patches(mixed.transpose(0, 1), x.shape[2:], patch)


def reshapes(x, layer, patch):
    B, D, H, W = x.shape
    mixed = layer(x.permute(0, 2, 3, 1).reshape(B * patch[0] * patch[1], -1, D))
    return mixed.reshape(B, H, W, D).permute(0, 3, 1, 2)


def first_place_only(x, layer, patch):
    tokens = unfold_patches(x, patch).clone()
    tokens[:, 0] = layer(tokens[:, 0])
    return fold_patches(tokens, x.shape[2:], patch)


def place_by_place(x, layer, patch):
    tokens = unfold_patches(x, patch)
    mixed = [layer(tokens[:, p]) for p in range(tokens.shape[1])]
    return fold_patches(torch.stack(mixed, dim=1), x.shape[2:], patch)


def four_axes(x, layer, patch):
    return fold_patches(layer(unfold_patches(x, patch)), x.shape[2:], patch)


def splits_the_other_way(x, layer, patch):
    tokens = unfold_patches(x, patch)
    B, P, N, D = tokens.shape
    mixed = layer(tokens.flatten(0, 1)).reshape(P, B, N, D).transpose(0, 1)
    return fold_patches(mixed, x.shape[2:], patch)


def forgets_the_layer(x, layer, patch):
    return fold_patches(unfold_patches(x, patch), x.shape[2:], patch)


def places_first(x, layer, patch):
    tokens = unfold_patches(x, patch)
    mixed = layer(tokens.transpose(0, 1).flatten(0, 1))
    return fold_patches(mixed.view(tokens.shape), x.shape[2:], patch)


def folds_across(x, layer, patch):
    tokens = unfold_patches(x, patch)
    mixed = layer(tokens.flatten(0, 1)).view(tokens.shape)
    return fold_patches(mixed, x.shape[2:], patch[::-1])


def two_by_two(x, layer, patch):
    tokens = unfold_patches(x, 2)
    return fold_patches(layer(tokens.flatten(0, 1)).view(tokens.shape), x.shape[2:], 2)


def adds_a_residual(x, layer, patch):
    tokens = unfold_patches(x, patch)
    return x + fold_patches(layer(tokens.flatten(0, 1)).view(tokens.shape), x.shape[2:], patch)


def forgets_to_split(x, layer, patch):
    return fold_patches(layer(unfold_patches(x, patch).flatten(0, 1)), x.shape[2:], patch)


def detaches(x, layer, patch):
    tokens = unfold_patches(x, patch)
    return fold_patches(layer(tokens.flatten(0, 1)).detach().view(tokens.shape), x.shape[2:], patch)


def asks_for_the_unfold(x, layer, patch):
    tokens = unfold_patches(x, patch)
    return fold_patches(layer(tokens.flatten(0, 1)).view(tokens.shape), x.shape[2:], patch)


def views_after_permuting(x, layer, patch):
    (B, D, H, W), (ph, pw) = x.shape, patch
    cells = x.view(B, D, H // ph, ph, W // pw, pw).permute(0, 3, 5, 2, 4, 1)
    return layer(cells.view(B * ph * pw, -1, D))


def permutes_four_axes(x, layer, patch):
    return layer(x.permute(0, 3, 5, 2, 4, 1))


def turns_the_channels(x, layer, patch):
    return asks_for_the_unfold(x.flip(1), layer, patch).flip(1)


def computes_in_float32(x, layer, patch):
    return asks_for_the_unfold(x.float(), layer, patch).to(x.dtype)


def goes_around_the_layer(x, layer, patch):
    return asks_for_the_unfold(x, lambda t: t + layer(t) - t.detach(), patch)


def lets_the_block_do_it(x, layer, patch):
    parts = SimpleNamespace(
        patch_size=patch, tiled_size=lambda size: size, transformer=layer, norm=lambda t: t
    )
    return MobileViTBlock.attend_globally(parts, x)


# 06.2


def partners_only(y, x, size, patch, kernel):
    heard = torch.zeros(size, dtype=torch.bool)
    heard[y % patch[0] :: patch[0], x % patch[1] :: patch[1]] = True
    return heard


def windows(y, x, size, patch, before, behind):
    heard = torch.zeros(size, dtype=torch.bool)
    for row in range(y % patch[0], size[0], patch[0]):
        for column in range(x % patch[1], size[1], patch[1]):
            heard[max(0, row - before) : row + behind, max(0, column - before) : column + behind] = True
    return heard


def own_window(y, x, size, patch, kernel):
    r, heard = kernel // 2, torch.zeros(size, dtype=torch.bool)
    heard[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1] = True
    return heard


def partners_and_own_window(y, x, size, patch, kernel):
    return partners_only(y, x, size, patch, kernel) | own_window(y, x, size, patch, kernel)


def whole_kernel_each_way(y, x, size, patch, kernel):
    return windows(y, x, size, patch, kernel, kernel + 1)


def slice_ends_early(y, x, size, patch, kernel):
    return windows(y, x, size, patch, kernel // 2, kernel // 2)


def around_the_edge(y, x, size, patch, kernel):
    (H, W), r, heard = size, kernel // 2, torch.zeros(size, dtype=torch.bool)
    for row in range(y % patch[0], H, patch[0]):
        for column in range(x % patch[1], W, patch[1]):
            for i in range(-r, r + 1):
                for j in range(-r, r + 1):
                    heard[(row + i) % H, (column + j) % W] = True
    return heard


def over_the_edge(y, x, size, patch, kernel):
    r, heard = kernel // 2, torch.zeros(size, dtype=torch.bool)
    for row in range(y % patch[0], size[0], patch[0]):
        for column in range(x % patch[1], size[1], patch[1]):
            for i in range(row - r, row + r + 1):
                for j in range(column - r, column + r + 1):
                    heard[i, j] = True
    return heard


def slices_from_minus_one(y, x, size, patch, kernel):
    r, heard = kernel // 2, torch.zeros(size, dtype=torch.bool)
    for row in range(y % patch[0], size[0], patch[0]):
        for column in range(x % patch[1], size[1], patch[1]):
            heard[row - r : row + r + 1, column - r : column + r + 1] = True
    return heard


def wraps_before(y, x, size, patch, kernel):
    (H, W), r, heard = size, kernel // 2, torch.zeros(size, dtype=torch.bool)
    for row in range(y % patch[0], H, patch[0]):
        for column in range(x % patch[1], W, patch[1]):
            for i in range(row - r, row + r + 1):
                for j in range(column - r, column + r + 1):
                    if i < H and j < W:
                        heard[i, j] = True
    return heard


def swaps_y_and_x(y, x, size, patch, kernel):
    return windows(x, y, size, patch, kernel // 2, kernel // 2 + 1)


def starts_at_zero(y, x, size, patch, kernel):
    return windows(0, 0, size, patch, kernel // 2, kernel // 2 + 1)


def swaps_sides(y, x, size, patch, kernel):
    return windows(y, x, size, patch[::-1], kernel // 2, kernel // 2 + 1)


def own_patch(y, x, size, patch, kernel):
    heard, (i, j) = torch.zeros(size, dtype=torch.bool), (y // patch[0], x // patch[1])
    heard[i * patch[0] : (i + 1) * patch[0], j * patch[1] : (j + 1) * patch[1]] = True
    return heard


def begins_at_the_pixel(y, x, size, patch, kernel):
    r, heard = kernel // 2, torch.zeros(size, dtype=torch.bool)
    for row in range(y, size[0], patch[0]):
        for column in range(x, size[1], patch[1]):
            heard[max(0, row - r) : row + r + 1, max(0, column - r) : column + r + 1] = True
    return heard


def windows_behind(y, x, size, patch, kernel):
    return windows(y, x, size, patch, 0, kernel)


def windows_before(y, x, size, patch, kernel):
    return windows(y, x, size, patch, kernel - 1, 1)


def rows_or_columns(y, x, size, patch, kernel):
    both = windows(y, x, size, patch, kernel // 2, kernel // 2 + 1)
    return both.any(dim=1)[:, None] | both.any(dim=0)


def counts(y, x, size, patch, kernel):
    return windows(y, x, size, patch, kernel // 2, kernel // 2 + 1).int()


def asks_the_library(y, x, size, patch, kernel):
    return hears(y, x, size, patch, kernel)


# 06.3


def papers_condition(patch):
    return max(patch) + 1 - max(patch) % 2


def even_kernels(patch):
    return max(patch)


def one_too_wide(patch):
    return 2 * max(patch) + 1


def returns_reach(patch):
    return max(patch) - 1


def shorter_side(patch):
    return 2 * min(patch) - 1


def height_only(patch):
    return 2 * patch[0] - 1


def width_only(patch):
    return 2 * patch[1] - 1


def sum_of_sides(patch):
    return patch[0] + patch[1] - 1


def a_float(patch):
    return 2.0 * max(patch) - 1


def by_trying_the_library(patch):
    size = 3 * patch[0], 3 * patch[1]
    places = [(y, x) for y in range(patch[0]) for x in range(patch[1])]
    return next(n for n in range(1, 40, 2) if all(hears(*p, size, patch, n).all() for p in places))


# 06.4


def resized(x, function, target, **how):
    how = how or {"mode": "bilinear", "align_corners": False}
    return F.interpolate(function(F.interpolate(x, target, **how)), x.shape[2:], **how)


def up(n, p):
    return -(-n // p) * p


def rounds_down(x, function, patch):
    H, W = x.shape[2:]
    return resized(x, function, (H // patch[0] * patch[0], W // patch[1] * patch[1]))


def always_one_more(x, function, patch):
    H, W = x.shape[2:]
    return resized(x, function, ((H // patch[0] + 1) * patch[0], (W // patch[1] + 1) * patch[1]))


def swaps_patch(x, function, patch):
    return resized(x, function, (up(x.shape[2], patch[1]), up(x.shape[3], patch[0])))


def leaves_the_size(x, function, patch):
    return function(x)


def forgets_the_way_back(x, function, patch):
    target = up(x.shape[2], patch[0]), up(x.shape[3], patch[1])
    return function(F.interpolate(x, target, mode="bilinear", align_corners=False))


def repeats_pixels(x, function, patch):
    return resized(x, function, (up(x.shape[2], patch[0]), up(x.shape[3], patch[1])), mode="nearest")


def pins_corners(x, function, patch):
    target = up(x.shape[2], patch[0]), up(x.shape[3], patch[1])
    return resized(x, function, target, mode="bilinear", align_corners=True)


def pads_with_zeros(x, function, patch):
    H, W = x.shape[2:]
    padded = F.pad(x, (0, up(W, patch[1]) - W, 0, up(H, patch[0]) - H))
    return function(padded)[:, :, :H, :W]


def calls_twice(x, function, patch):
    function(x)
    return resized(x, function, (up(x.shape[2], patch[0]), up(x.shape[3], patch[1])))


def divides_with_slash(x, function, patch):
    return resized(x, function, (-(-x.shape[2] / patch[0]) * patch[0], x.shape[3]))


def asks_the_block(x, function, patch):
    target = MobileViTBlock(1, 4, 1, patch_size=patch).tiled_size(tuple(x.shape[2:]))
    return function(x) if target == tuple(x.shape[2:]) else resized(x, function, target)


# 06.5


class Right(nn.Module):
    """The block, in pieces that mutants exchange."""

    def __init__(self, channels, dim, depth, patch):
        super().__init__()
        self.patch = patch
        self.local_conv = ConvNormAct(channels, channels, 3)
        self.local_project = nn.Conv2d(channels, dim, 1, bias=False)
        self.transformer = nn.Sequential(*(TransformerLayer(dim, 4, 2) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.project = ConvNormAct(dim, channels)
        self.fusion = ConvNormAct(2 * channels, channels, 3)

    def mix(self, y):
        tokens = unfold_patches(y, self.patch)
        mixed = self.norm(self.transformer(tokens.flatten(0, 1)))
        return fold_patches(mixed.view(tokens.shape), y.shape[2:], self.patch)

    def anywhere(self, y):
        target = [up(n, p) for n, p in zip(y.shape[2:], self.patch, strict=True)]
        return self.mix(y) if target == list(y.shape[2:]) else resized(y, self.mix, target)

    def join(self, x, y):
        return self.fusion(torch.cat([x, self.project(y)], dim=1))

    def forward(self, x):
        return self.join(x, self.anywhere(self.local_project(self.local_conv(x))))


def mutant(name):
    """Turns a class into a function that builds it, as the exercise asks."""

    def decorate(block):
        def build(channels, dim, depth, patch):
            return block(channels, dim, depth, patch)

        build.__name__ = name
        return build

    return decorate


@mutant("concatenates_the_other_way")
class _Behind(Right):
    def join(self, x, y):
        return self.fusion(torch.cat([self.project(y), x], dim=1))


@mutant("skips_the_last_norm")
class _NoNorm(Right):
    def mix(self, y):
        tokens = unfold_patches(y, self.patch)
        return fold_patches(
            self.transformer(tokens.flatten(0, 1)).view(tokens.shape), y.shape[2:], self.patch
        )


@mutant("adds_the_input")
class _Sum(Right):
    def forward(self, x):
        return x + super().forward(x)


@mutant("everyone_attends_to_everyone")
class _Everyone(Right):
    def mix(self, y):
        tokens = unfold_patches(y, self.patch)
        mixed = self.norm(self.transformer(tokens.flatten(1, 2)))
        return fold_patches(mixed.view(tokens.shape), y.shape[2:], self.patch)


@mutant("makes_bands")
class _Bands(Right):
    def mix(self, y):
        B, D, H, W = y.shape
        tokens = y.permute(0, 2, 3, 1).reshape(B * self.patch[0] * self.patch[1], -1, D)
        return self.norm(self.transformer(tokens)).reshape(B, H, W, D).permute(0, 3, 1, 2)


@mutant("fuses_the_local_map")
class _Local(Right):
    def forward(self, x):
        local = self.local_conv(x)
        return self.join(local, self.anywhere(self.local_project(local)))


@mutant("tiled_maps_only")
class _Tiled(Right):
    def anywhere(self, y):
        return self.mix(y)


@mutant("stretches_the_input")
class _Early(Right):
    def forward(self, x):
        target = [up(n, p) for n, p in zip(x.shape[2:], self.patch, strict=True)]
        return resized(x, super().forward, target) if target != list(x.shape[2:]) else super().forward(x)


@mutant("stretches_x_for_the_local_map")
class _LocalEarly(Right):
    def forward(self, x):
        target = [up(n, p) for n, p in zip(x.shape[2:], self.patch, strict=True)]
        how = {"mode": "bilinear", "align_corners": False}
        local = self.local_project(self.local_conv(F.interpolate(x, target, **how)))
        return self.join(x, F.interpolate(self.mix(local), x.shape[2:], **how))


@mutant("writes_the_patch_down")
class _TwoByTwo(Right):
    def __init__(self, channels, dim, depth, patch):
        super().__init__(channels, dim, depth, (2, 2))


@mutant("swaps_the_patch")
class _Swapped(Right):
    def __init__(self, channels, dim, depth, patch):
        super().__init__(channels, dim, depth, patch[::-1])


@mutant("fuses_one_by_one")
class _OneByOne(Right):
    def __init__(self, channels, dim, depth, patch):
        super().__init__(channels, dim, depth, patch)
        self.fusion = ConvNormAct(2 * channels, channels)


@mutant("no_concatenation")
class _Narrow(Right):
    def __init__(self, channels, dim, depth, patch):
        super().__init__(channels, dim, depth, patch)
        self.fusion = ConvNormAct(channels, channels, 3)


@mutant("bias_in_the_projection")
class _Bias(Right):
    def __init__(self, channels, dim, depth, patch):
        super().__init__(channels, dim, depth, patch)
        self.local_project = nn.Conv2d(channels, dim, 1)


@mutant("norm_in_the_projection")
class _Dressed(Right):
    def __init__(self, channels, dim, depth, patch):
        super().__init__(channels, dim, depth, patch)
        self.local_project = ConvNormAct(channels, dim)


@mutant("widens_too_early")
class _Wide(Right):
    def __init__(self, channels, dim, depth, patch):
        super().__init__(channels, dim, depth, patch)
        self.local_conv = ConvNormAct(channels, dim, 3)


@mutant("two_heads")
class _TwoHeads(Right):
    def __init__(self, channels, dim, depth, patch):
        super().__init__(channels, dim, depth, patch)
        self.transformer = nn.Sequential(*(TransformerLayer(dim, 2, 2) for _ in range(depth)))


@mutant("two_of_four_axes")
class _FourAxes(Right):
    def mix(self, y):
        return fold_patches(
            self.norm(self.transformer(unfold_patches(y, self.patch))), y.shape[2:], self.patch
        )


def forgets_super(channels, dim, depth, patch):
    class Block(nn.Module):
        def __init__(self):
            self.local_conv = ConvNormAct(channels, channels, 3)

    return Block()


def returns_the_class(channels, dim, depth, patch):
    return Right


def the_librarys_block(channels, dim, depth, patch):
    return MobileViTBlock(channels, dim, depth, patch_size=patch)


@mutant("borrows_a_method")
class _Borrower(Right):
    tiled_size = MobileViTBlock.tiled_size

    def anywhere(self, y):
        self.patch_size = self.patch
        return MobileViTBlock.attend_globally(self, y)


MUTANTS = {
    "06.1": {
        all_exchange: "Did you put P and N into one axis?",
        inside_a_patch: "Do the pixels inside one patch exchange?",
        images_exchange: "Do the images of the batch exchange?",
        reshapes: "Did you reshape the map into tokens?",
        first_place_only: "Does only the first place pass the layer?",
        place_by_place: "you call the layer 4 times",
        four_axes: "Put B and P into one axis",
        splits_the_other_way: "Did you split the answer's first axis into [P, B]?",
        forgets_the_layer: "Did you leave out the layer?",
        places_first: "Did you merge P and B, P first?",
        folds_across: "Did you unfold with (ph, pw) and fold with (pw, ph)?",
        two_by_two: "Did you write the patch down as 2?",
        adds_a_residual: "Did you add x to the result?",
        forgets_to_split: "split B·P again",
        detaches: "no gradient comes back",
        lets_the_block_do_it: "`attend_globally` and `unfold_patches` and `fold_patches` do what you are",
        asks_for_the_unfold: "`unfold_patches` and `fold_patches` do what you are to build",
        views_after_permuting: "After a permute `view` cannot do it",
        permutes_four_axes: "permute names every axis once",
        turns_the_channels: "Did you turn the channels round before the layer?",
        computes_in_float32: "Do you compute in float32 inside?",
        goes_around_the_layer: "the gradient does not come back through the layer alone",
    },
    "06.2": {
        partners_only: "forget what the convolution has written into them?",
        own_window: "Did you mark the window and forget the partners?",
        partners_and_own_window: "Every partner has a window",
        whole_kernel_each_way: "It reaches (kernel − 1) / 2",
        slice_ends_early: "Does the end of your slice leave out a pixel?",
        around_the_edge: "Does your window go on at the other edge?",
        slices_from_minus_one: "A slice from −1 starts at the last pixel",
        over_the_edge: "A window reaches over the edge: cut it there.",
        wraps_before: "Row −1 is the last: start at max(0, …)",
        swaps_y_and_x: "Did you swap y and x?",
        starts_at_zero: "Did you start the partners at 0?",
        swaps_sides: "Did you swap ph and pw?",
        own_patch: "Did you mark the pixel's own patch?",
        begins_at_the_pixel: "Do your partners begin at (y, x)?",
        windows_behind: "Does your window lie to one side of its partner?",
        windows_before: "Does your window end at its partner?",
        rows_or_columns: "A pixel is heard if both fit",
        counts: "expected a tensor of torch.bool",
        asks_the_library: "`hears` and `heard_along` do what you are to build",
    },
    "06.3": {
        papers_condition: "That is the paper's condition",
        even_kernels: "Must the kernel be odd?",
        one_too_wide: "Is 2 · h − 1 enough already?",
        returns_reach: "Did you return r, the reach to one side?",
        shorter_side: "Did you look at the shorter side?",
        height_only: "one side only, the height?",
        width_only: "one side only, the width?",
        sum_of_sides: "Did you add the sides?",
        a_float: "expected a whole number, got 1.0",
        by_trying_the_library: "`hears` and `heard_along` do what you are to build",
    },
    "06.4": {
        rounds_down: "Did you round down?",
        always_one_more: "Did you add a patch to every size?",
        swaps_patch: "Did you swap ph and pw?",
        leaves_the_size: "Did you give the function the map as it is?",
        forgets_the_way_back: "Did you forget the way back to the old size?",
        repeats_pixels: "Did you leave `mode` out?",
        pins_corners: "align_corners=True pins the corner pixels",
        pads_with_zeros: "Did you pad with zeros and cut them off?",
        calls_twice: "calls `function` 2 times, expected once",
        divides_with_slash: "`//` divides and rounds down",
        asks_the_block: "`tiled_size` does what you are to build",
    },
    "06.5": {
        _Behind: "Did you put X last in the concatenation?",
        _TwoHeads: "Has your attention 2 heads?",
        _NoNorm: "Did you leave out `norm` behind the transformer?",
        _Sum: "Did you add X to the result?",
        _Everyone: "Do all pixels attend to all in your block?",
        _Bands: "Did you reshape instead of unfold?",
        _Local: "Does the fusion get the local map?",
        _Tiled: "Stretch the map of D channels before you unfold it",
        _Early: "Did you stretch X at the start?",
        _LocalEarly: "Did you stretch X instead of X_L?",
        _TwoByTwo: "Did you write the patch down as 2?",
        _Swapped: "Did you swap ph and pw?",
        _OneByOne: "The fusion is 3 × 3, from 2C to C",
        _Narrow: "one behind the other: 2C channels in",
        _Bias: "has no bias: bias=False",
        _Dressed: "stands alone: nn.Conv2d(C, D, 1, bias=False)",
        _Wide: "The first convolution is 3 × 3 and keeps C",
        _FourAxes: "TransformerLayer takes [B·P, N, D]",
        forgets_super: "Call super().__init__() first",
        returns_the_class: "return the block itself",
        the_librarys_block: "that is the library's own block",
        _Borrower: "`attend_globally` does what you are to build",
    },
}
