"""The checker of 12.3: the five branches of ASPP."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Function,
    Wrong,
    agrees,
    explained,
    is_tensor,
    leaves_alone,
    lets_gradient_flow,
    normal,
)


def aspp(
    x: Tensor, one: Tensor, atrous: Sequence[Tensor], pool: Tensor, merge: Tensor, dilations: Sequence[int]
) -> Tensor:
    """The reference of 12.3."""
    return F.conv2d(torch.cat(_branches(x, one, atrous, pool, dilations), 1), merge).relu()


def _branches(
    x: Tensor, one: Tensor, atrous: Sequence[Tensor], pool: Tensor, dilations: Sequence[int]
) -> list[Tensor]:
    views = [F.conv2d(x, one)]
    views += [F.conv2d(x, w, padding=d, dilation=d) for w, d in zip(atrous, dilations, strict=True)]
    views.append(F.conv2d(x.mean((2, 3), keepdim=True), pool).expand_as(views[0]))
    return [view.relu() for view in views]  # each [B, O, H, W]


DILATIONS = (2, 3, 4)
BRANCHES = (
    "the 1 × 1 branch",
    *(f"the branch of dilation {dilation}" for dilation in DILATIONS),
    "the branch of the mean",
)


def _aspp_inputs() -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
    """x [2, 3, 9, 8] and weights to 3 channels; the branch of the mean has both signs before its ReLU."""
    atrous = [normal(3, 3, 3, 3, seed=i) for i in range(3)]
    pool = torch.tensor([[1.0, -0.5, 0.5], [0.3, 1.0, -0.2], [-1.0, 0.2, 0.1]])[:, :, None, None]
    return normal(2, 3, 9, 8, seed=3) + 1, normal(3, 3, 1, 1, seed=7), atrous, pool


def _dilation_suspects(x: Tensor, kernels: Sequence[Tensor], i: int) -> dict[str, Tensor]:
    """The same for branch i of the dilations: another kernel, or a dilation that is not the caller's."""
    usual, dilation = (6, 12, 18)[i], DILATIONS[i]
    return {
        "Are your dilations fixed at 6, 12 and 18? Take those of `dilations`.": (
            F.conv2d(x, kernels[i], padding=usual, dilation=usual).relu()
        ),
        "Does every dilation have the same kernel? Each has its own in `atrous`.": (
            F.conv2d(x, kernels[0], padding=dilation, dilation=dilation).relu()
        ),
    }


def _branch_suspects(x: Tensor, kernel: Tensor, dilation: int, pool: Tensor) -> dict[str, Tensor]:
    """Question -> what a branch would be before it is merged, if the answer were yes."""

    def everywhere(pooled: Tensor) -> Tensor:
        return F.conv2d(pooled.expand(len(x), x.shape[1], 1, 1), pool).relu().expand(-1, -1, *x.shape[2:])

    raw = F.conv2d(x, kernel, padding=dilation, dilation=max(dilation, 1))
    flat = F.conv2d(x.mean((2, 3), keepdim=True), pool).expand(-1, -1, *x.shape[2:])
    return {
        "Did you forget its ReLU? Every branch has one.": raw,
        "Did you forget the ReLU after the mean? Every branch has one.": flat,
        "Did you leave out the dilation?": F.conv2d(x, kernel, padding=min(dilation, 1)).relu(),
        "Did you take the mean over all channels? Each channel keeps its own.": (
            everywhere(x.mean((1, 2, 3), keepdim=True))
        ),
        "Did you take the mean over the batch too? Each image has its own.": (
            everywhere(x.mean((0, 2, 3), keepdim=True))
        ),
        "Did you take the ReLU before the mean? It follows the convolution.": (
            everywhere(x.relu().mean((2, 3), keepdim=True))
        ),
        "Did you sum where the mean is meant?": everywhere(x.sum((2, 3), keepdim=True)),
        "Did you take the largest instead of the mean?": everywhere(x.amax((2, 3), keepdim=True)),
    }


def check_aspp(aspp_views: Function) -> None:
    """12.3: `merge` lets one branch through at a time, so the first wrong branch has a name."""
    x, one, atrous, pool = _aspp_inputs()
    expected = _branches(x, one, atrous, pool, DILATIONS)
    through = torch.cat([torch.eye(3), -torch.eye(3)])  # the last ReLU cannot hide a missing first one
    for i, (name, branch) in enumerate(zip(BRANCHES, expected, strict=True)):
        merge = torch.zeros(6, 15, 1, 1)
        merge[:, 3 * i : 3 * i + 3, 0, 0] = through
        where = f"x {list(x.shape)}, dilations {list(DILATIONS)}, `merge` lets only {name} through:"
        answer = aspp_views(x.clone(), one, atrous, pool, merge, DILATIONS)
        yours = is_tensor(answer, (2, 6, 9, 8), where).detach()
        kernel, dilation = (atrous[i - 1], DILATIONS[i - 1]) if 0 < i < 4 else (one, 0)
        suspects = {
            f"Does {other} stand in its place? The order is 1 × 1, the dilations, the mean.": made
            for other, made in zip(BRANCHES, expected, strict=True)
            if made is not branch
        } | _branch_suspects(x, kernel, dilation, pool)
        if dilation:
            suspects |= _dilation_suspects(x, atrous, i - 1)
        if torch.allclose(torch.cat([branch, -branch], 1), yours, atol=1e-4):
            raise Wrong(f"{where} negative values come out. Did you forget the ReLU at the end?")
        if not _same(branch, yours):
            asked = [question for question, made in suspects.items() if _same(made, yours)]
            question = f"\n      {asked[0]}" if asked else ""
            raise Wrong(f"{where} its values are wrong.{question}")
    _merges(aspp_views, x, one, atrous, pool)
    for dilations in ((3, 1), (5, 1, 2, 4)):
        merge = normal(4, 3 * (len(dilations) + 2), 1, 1, seed=9)
        kernels = [normal(3, 3, 3, 3, seed=i) for i in range(len(dilations))]
        with explained(
            f"{len(dilations)} dilations, {list(dilations)}; `merge` takes {len(dilations) + 2} branches"
        ):
            agrees(aspp_views, aspp, x, one, kernels, pool, merge, dilations,
                   where="other dilations:", tol=1e-4, suspects=OTHER_DILATIONS)  # fmt: skip


def _with(change: Callable[[Sequence[int]], Sequence[int]]) -> Function:
    def call(x: Tensor, one: Tensor, atrous: list, pool: Tensor, merge: Tensor, dilations: tuple) -> Tensor:
        return aspp(x, one, atrous, pool, merge, change(dilations))

    return call


OTHER_DILATIONS: Mapping[str, Function] = {
    "Do you sort the dilations? Kernel i has dilation i of `dilations`.": _with(sorted),
    "Are your dilations fixed? Take those of `dilations`, as many as there are.": (
        _with(lambda dilations: (2, 3, 4, 5)[: len(dilations)])
    ),
}


def _same(branch: Tensor, yours: Tensor) -> bool:
    """Whether this branch, let through by `merge`, gives what the function returned."""
    merged = torch.cat([branch, -branch], 1)  # [B, 2·O, H, W]
    return torch.allclose(merged.relu(), yours, atol=1e-4)


def _merges(aspp_views: Function, x: Tensor, one: Tensor, atrous: list[Tensor], pool: Tensor) -> None:
    merge = normal(4, 15, 1, 1, seed=9)
    arguments = x, one, atrous, pool, merge, DILATIONS
    agrees(aspp_views, aspp, *arguments, where="all branches together:", tol=1e-4)
    leaves_alone(aspp_views, *arguments)
    lets_gradient_flow(lambda *a: aspp_views(a[0], a[1], atrous, a[2], a[3], DILATIONS), x, one, pool, merge)


SIZES = (
    "The branches differ in size. A 3 × 3 kernel keeps it with padding = dilation; the mean is\n"
    "      [B, O, 1, 1]: repeat it with .expand_as(another branch)."
)
FILE = "s12_segmentation_deeplabv3.py"

EXERCISES = {
    "12.3": Exercise(
        checker=check_aspp,
        notice="The branches do not know of each other; only `merge` brings them together.",
        hints=(
            "Five maps of the same size, [B, O, H, W] each, side by side along the channels, then `merge`.\n"
            "F.conv2d takes padding and dilation. Which padding keeps the size at dilation d?",
            "A 3 × 3 kernel of dilation d keeps the size with padding = d. The mean\n"
            "x.mean((2, 3), keepdim=True) is [B, C, 1, 1]; `pool` it, then .expand_as(branches[0]).",
            "branches = [F.conv2d(x, one)]\n"
            "branches += [F.conv2d(x, w, padding=..., dilation=...) for w, d in zip(atrous, dilations)]\n"
            "mean = F.conv2d(x.mean(..., keepdim=True), pool)\n"
            "branches.append(mean.expand_as(...))\n"
            "return F.conv2d(torch.cat([b.relu() for b in branches], dim=...), merge).relu()",
        ),
        solution=(FILE, "aspp_views"),
        forbidden=("mvit_lib",),
        symptoms={
            "Sizes of tensors must match": SIZES,
            "Kernel size can't be greater": SIZES,
            "expected input": "A convolution meets another number of channels than its weight has: `merge` "
            "takes (len(dilations) + 2) · O.",
            "expanded size of the tensor": SIZES,
        },
    ),
}
