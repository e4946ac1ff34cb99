"""Plausible wrong answers to 12.1 to 12.3, each with the message that must refuse it."""

import math

import torch
import torch.nn.functional as F

from mvit_lib.heads.deeplabv3 import ASPP

# 12.1


def slices(x, K, step, pad):
    H, W = x.shape[2:]
    wide = F.pad(x, pad)
    return [wide[:, :, u * step : u * step + H, v * step : v * step + W] for u in range(K) for v in range(K)]


def merged(cells, x, dim=2):
    return torch.stack(cells, dim).reshape(x.shape[0], x.shape[1] * len(cells), -1)


def no_gaps(x, K, dilation):
    return merged(slices(x, K, 1, (K // 2,) * 4), x)


def starts_ungapped(x, K, dilation):
    (H, W), p = x.shape[2:], dilation * (K // 2)
    wide = F.pad(x, (p, p, p, p))
    return merged([wide[:, :, u : u + H, v : v + W] for u in range(K) for v in range(K)], x)


def one_gap_too_many(x, K, dilation):
    return merged(slices(x, K, dilation + 1, ((dilation + 1) * (K // 2),) * 4), x)


def padding_of_dilation_one(x, K, dilation):
    return merged(slices(x, K, dilation, (K // 2,) * 4), x)


def pixel_by_pixel(x, K, dilation):
    return merged(slices(x, K, dilation, (dilation * (K // 2),) * 4), x, dim=1)


def mixes_the_batch(x, K, dilation):
    return merged(slices(x, K, dilation, (dilation * (K // 2),) * 4), x, dim=0)


def columns_first(x, K, dilation):
    cells = slices(x, K, dilation, (dilation * (K // 2),) * 4)
    return merged([cells[K * v + u] for u in range(K) for v in range(K)], x)


def rolls(x, K, dilation):
    steps = [dilation * (cell - K // 2) for cell in range(K)]
    return merged([x.roll((-u, -v), (2, 3)) for u in steps for v in steps], x)


def rolls_backwards(x, K, dilation):
    p = dilation * (K // 2)
    return merged(slices(x, K, dilation, (p, p, p, p))[::-1], x)


def from_the_corner(x, K, dilation):
    p = 2 * dilation * (K // 2)
    return merged(slices(x, K, dilation, (0, p, 0, p)), x)


def forgets_padding(x, K, dilation):
    (H, W), span = x.shape[2:], dilation * (K - 1)
    cells = [
        x[:, :, u * dilation : u * dilation + H - span, v * dilation : v * dilation + W - span]
        for u in range(K)
        for v in range(K)
    ]
    return merged(cells, x)


def windows_as_rows(x, K, dilation):
    return merged(slices(x, K, dilation, (dilation * (K // 2),) * 4), x).transpose(1, 2)


def unfolds(x, K, dilation):
    return F.unfold(x, K, dilation=dilation, padding=dilation * (K // 2))


# 12.2


def steps_of(K, dilation):
    return [dilation * cell for cell in range(-(K // 2), K // 2 + 1)]


def fills_the_holes(K, dilations):
    reach = sum(dilations) * (K // 2)
    return list(range(-reach, reach + 1))


def union_only(K, dilations):
    return sorted({0}.union(*(steps_of(K, dilation) for dilation in dilations)))


def steps_of_the_smallest(K, dilations):
    reach = sum(dilations) * (K // 2)
    return list(range(-reach, reach + 1, min(dilations, default=1)))


def steps_of_the_divisor(K, dilations):
    reach = sum(dilations) * (K // 2)
    return list(range(-reach, reach + 1, math.gcd(*dilations) or 1))


def empties_the_list(K, dilations):
    places = {0}
    while dilations:
        places = {p + s for p in places for s in steps_of(K, dilations[-1])}
        dilations.pop()
    return sorted(places)


def nothing_of_nothing(K, dilations):
    return sorted(a_set(K, dilations)) if dilations else []


def multiplies(K, dilations):
    product = 1
    for dilation in dilations:
        product *= dilation
    return sorted(set(steps_of(K, product)))


def one_side(K, dilations):
    places = {0}
    for dilation in dilations:
        places = {p + dilation * cell for p in places for cell in range(K // 2 + 1)}
    return sorted(places)


def from_the_first_cell(K, dilations):
    places = {0}
    for dilation in dilations:
        places = {p + dilation * cell for p in places for cell in range(K)}
    return sorted(places)


def every_way(K, dilations):
    places = [0]
    for dilation in dilations:
        places = [p + s for p in places for s in steps_of(K, dilation)]
    return sorted(places)


def a_set(K, dilations):
    places = {0}
    for dilation in dilations:
        places = {p + s for p in places for s in steps_of(K, dilation)}
    return places


def unsorted(K, dilations):
    return sorted(a_set(K, dilations), key=abs)


def always_three(K, dilations):
    return sorted(a_set(3, dilations))


def without_gaps(K, dilations):
    return sorted(a_set(K, [1] * len(dilations)))


def asks_a_convolution(K, dilations):
    n = 2 * sum(dilations) * (K // 2) + 1
    x = torch.zeros(1, 1, n)
    x[..., n // 2] = 1
    for dilation in dilations:
        x = F.conv1d(x, torch.ones(1, 1, K), padding=dilation * (K // 2), dilation=dilation)
    return sorted((x[0, 0].nonzero().flatten() - n // 2).tolist())


# 12.3


def five(x, one, atrous, pool, merge, dilations, act=torch.relu, pooled=None, padding=None):
    branches = [F.conv2d(x, one)]
    for w, r in zip(atrous, dilations, strict=True):
        branches.append(F.conv2d(x, w, padding=r if padding is None else padding, dilation=r))
    mean = F.conv2d(x.mean((2, 3), keepdim=True) if pooled is None else pooled, pool)
    branches.append(mean.expand_as(branches[0]))
    return [act(branch) for branch in branches]


def finish(branches, merge):
    return F.conv2d(torch.cat(branches, 1), merge).relu()


def without_inner_relu(x, one, atrous, pool, merge, dilations):
    return finish(five(x, one, atrous, pool, merge, dilations, act=lambda b: b), merge)


def without_last_relu(x, one, atrous, pool, merge, dilations):
    return F.conv2d(torch.cat(five(x, one, atrous, pool, merge, dilations), 1), merge)


def without_relu_of_the_mean(x, one, atrous, pool, merge, dilations):
    branches = five(x, one, atrous, pool, merge, dilations)
    mean = F.conv2d(x.mean((2, 3), keepdim=True), pool)
    return finish([*branches[:-1], mean.expand_as(branches[0])], merge)


def padding_of_one(x, one, atrous, pool, merge, dilations):
    return finish(five(x, one, atrous, pool, merge, dilations, padding=1), merge)


def forgets_the_dilation(x, one, atrous, pool, merge, dilations):
    branches = five(x, one, atrous, pool, merge, dilations)
    plain = [F.conv2d(x, w, padding=1).relu() for w in atrous]
    return finish([branches[0], *plain, branches[-1]], merge)


def mean_first(x, one, atrous, pool, merge, dilations):
    branches = five(x, one, atrous, pool, merge, dilations)
    return finish([branches[-1], *branches[:-1]], merge)


def mean_over_the_batch(x, one, atrous, pool, merge, dilations):
    pooled = x.mean((0, 2, 3), keepdim=True).expand(len(x), -1, 1, 1)
    return finish(five(x, one, atrous, pool, merge, dilations, pooled=pooled), merge)


def largest_for_the_mean(x, one, atrous, pool, merge, dilations):
    return finish(five(x, one, atrous, pool, merge, dilations, pooled=x.amax((2, 3), keepdim=True)), merge)


def forgets_to_repeat(x, one, atrous, pool, merge, dilations):
    branches = five(x, one, atrous, pool, merge, dilations)
    return finish([*branches[:-1], branches[-1][:, :, :1, :1]], merge)


def adds_the_branches(x, one, atrous, pool, merge, dilations):
    return F.conv2d(sum(five(x, one, atrous, pool, merge, dilations)), merge).relu()


def same_kernel_for_all(x, one, atrous, pool, merge, dilations):
    return finish(five(x, one, [atrous[0]] * len(dilations), pool, merge, dilations), merge)


def relu_before_the_mean(x, one, atrous, pool, merge, dilations):
    pooled = x.relu().mean((2, 3), keepdim=True)
    return finish(five(x, one, atrous, pool, merge, dilations, pooled=pooled), merge)


def always_the_usual_dilations(x, one, atrous, pool, merge, dilations):
    return finish(five(x, one, atrous, pool, merge, (6, 12, 18)), merge)


def always_these_dilations(x, one, atrous, pool, merge, dilations):
    return finish(five(x, one, atrous, pool, merge, (2, 3, 4, 5)[: len(dilations)]), merge)


def sorts_the_dilations(x, one, atrous, pool, merge, dilations):
    return finish(five(x, one, atrous, pool, merge, sorted(dilations)), merge)


def three_dilations_only(x, one, atrous, pool, merge, dilations):
    return finish(five(x, one, atrous[:3], pool, merge, dilations[:3]), merge)


def takes_the_library(x, one, atrous, pool, merge, dilations):
    ASPP(x.shape[1], 8, tuple(dilations)).eval()(x)
    return finish(five(x, one, atrous, pool, merge, dilations), merge)


MUTANTS = {
    "12.1": {
        starts_ungapped: "Do your slices start at u and v?",
        no_gaps: "Are your cells neighbours?",
        one_gap_too_many: "Do you leave `dilation` pixels between two cells?",
        padding_of_dilation_one: "Pad by dilation · (K // 2)",
        pixel_by_pixel: "Do your rows run pixel by pixel?",
        mixes_the_batch: "in front of the batch",
        columns_first: "Does u run faster than v?",
        rolls: "come in again on the other side",
        rolls_backwards: "Did you turn the kernel round?",
        from_the_corner: "Does the kernel's first cell lie on the output pixel?",
        forgets_padding: "Did you leave out the padding?",
        windows_as_rows: "Are your windows rows?",
        unfolds: "`unfold`",
    },
    "12.2": {
        fills_the_holes: "Did you fill the holes?",
        union_only: "Did you take each kernel for itself?",
        steps_of_the_smallest: "in steps of the smallest dilation?",
        steps_of_the_divisor: "in steps of the dilations' common divisor?",
        empties_the_list: "changes the list",
        nothing_of_nothing: "sees the output pixel itself",
        multiplies: "Did you multiply the dilations?",
        one_side: "Did you look to one side only?",
        from_the_first_cell: "Do your kernels start on the pixel?",
        every_way: "Do you count every way?",
        a_set: "expected a list, got set",
        unsorted: "sort them",
        always_three: "Is K always 3 with you?",
        without_gaps: "Did you forget the gaps?",
        asks_a_convolution: "`conv1d`",
    },
    "12.3": {
        without_inner_relu: "Did you forget its ReLU?",
        without_last_relu: "Did you forget the ReLU at the end?",
        without_relu_of_the_mean: "Did you forget the ReLU after the mean?",
        padding_of_one: "keeps it with padding = dilation",
        forgets_the_dilation: "Did you leave out the dilation?",
        mean_first: "Does the branch of the mean stand in its place?",
        mean_over_the_batch: "Did you take the mean over the batch too?",
        largest_for_the_mean: "the largest instead of the mean",
        forgets_to_repeat: "repeat it with .expand_as",
        adds_the_branches: "`merge` takes (len(dilations) + 2) · O",
        same_kernel_for_all: "Does every dilation have the same kernel?",
        relu_before_the_mean: "Did you take the ReLU before the mean?",
        always_the_usual_dilations: "Are your dilations fixed at 6, 12 and 18?",
        always_these_dilations: "Are your dilations fixed?",
        sorts_the_dilations: "Do you sort the dilations?",
        three_dilations_only: "4 dilations, [5, 1, 2, 4]",
        takes_the_library: "`mvit_lib`",
    },
}
