"""The checkers of 12.4 and 12.5: the loss of a mask, and IoU per class."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Function,
    Wrong,
    is_tensor,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    normal,
)

IGNORE = 255


def masks(*shape: int, classes: int, ignored: float, seed: int) -> Tensor:
    """Random classes, a share of them 255: int64."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, classes, shape, generator=draw)
    return mask.masked_fill(torch.rand(shape, generator=draw) < ignored, IGNORE)


def pixel_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """The reference of 12.4."""
    total = F.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="sum")
    return total / (mask != IGNORE).sum().clamp(min=1)


def _mean_of_images(logits: Tensor, mask: Tensor) -> Tensor:
    return torch.stack([pixel_loss(z[None], m[None]) for z, m in zip(logits, mask, strict=True)]).mean()


def _softmax_over(dim: int) -> Function:
    def call(logits: Tensor, mask: Tensor) -> Tensor:
        known = mask != IGNORE
        of_class = logits.log_softmax(dim).gather(1, mask.clamp(max=logits.shape[1] - 1)[:, None])[:, 0]
        return -(of_class * known).sum() / known.sum()

    return call


def _without_log(logits: Tensor, mask: Tensor) -> Tensor:
    known = mask != IGNORE
    of_class = logits.softmax(1).gather(1, mask.clamp(max=logits.shape[1] - 1)[:, None])[:, 0]
    return -(of_class * known).sum() / known.sum()


LOSS_SUSPECTS: Mapping[str, Function] = {
    "Did you forget the minus sign? The log of a probability is negative.": lambda z, m: -pixel_loss(z, m),
    "Do you leave out the background? It is a class like the others.": (
        lambda z, m: pixel_loss(z, m.masked_fill(m == 0, IGNORE))
    ),
    "Do you divide by all pixels? Those to ignore do not count.": (
        lambda z, m: pixel_loss(z, m) * (m != IGNORE).float().mean()
    ),
    "Are ignored pixels background to you? They have no class at all.": (
        lambda z, m: F.cross_entropy(z, m.masked_fill(m == IGNORE, 0))
    ),
    "Are ignored pixels the last class to you? They have no class at all.": (
        lambda z, m: F.cross_entropy(z, m.clamp(max=z.shape[1] - 1))
    ),
    "Did you leave out the mean? Divide by the pixels that count.": (
        lambda z, m: F.cross_entropy(z, m, ignore_index=IGNORE, reduction="sum")
    ),
    "Do you take the mean image by image? All pixels of the batch weigh alike.": _mean_of_images,
    "Is the softmax over the rows of the map? It is over the classes, dim 1.": _softmax_over(2),
    "Is the softmax over the columns of the map? It is over the classes, dim 1.": _softmax_over(3),
    "Did you forget the logarithm? It is −log of the probability.": _without_log,
    "Did you divide by the images? The mean is one over pixels.": (
        lambda z, m: F.cross_entropy(z, m, ignore_index=IGNORE, reduction="sum") / len(z)
    ),
}  # fmt: skip


def check_pixel_loss(pixel_loss_by_hand: Function) -> None:
    """12.4: one pixel, many, none; then that 255 has no say, not even in the gradient."""
    one = torch.tensor([0.0, 2.0, -1.0]).reshape(1, 3, 1, 1)
    _same_loss(pixel_loss_by_hand, one, torch.tensor([[[1]]]), "one pixel of class 1, logits 0, 2, −1:")
    for ignored, words in ((0.0, "no pixel to ignore"), (0.4, "four tenths of the pixels 255")):
        mask = masks(2, 4, 5, classes=3, ignored=ignored, seed=1)
        mask[0, 0], mask[1, :3] = 2, IGNORE if ignored else 1  # the images differ in how many count
        where = f"logits [2, 3, 4, 5], {words}:"
        _same_loss(pixel_loss_by_hand, normal(2, 3, 4, 5), mask, where)
    _same_loss(pixel_loss_by_hand, normal(1, 3, 2, 2) + 200, masks(1, 2, 2, classes=3, ignored=0, seed=2),
               "logits near 200:")  # fmt: skip
    sure = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]]).T.reshape(1, 3, 1, 2)
    _same_loss(pixel_loss_by_hand, sure, torch.tensor([[[2, 0]]]), "logits 0 and 200 in one pixel:")
    _same_loss(pixel_loss_by_hand, sure, torch.tensor([[[0, IGNORE]]]), "logits 0 and 200, one pixel 255:")
    example = normal(2, 3, 4, 5), masks(2, 4, 5, classes=3, ignored=0.4, seed=1)
    leaves_alone(pixel_loss_by_hand, *example)
    lets_gradient_flow(pixel_loss_by_hand, *example)
    _nothing_known(pixel_loss_by_hand)
    keeps_dtype(pixel_loss_by_hand, *example)


def _nothing_known(function: Function) -> None:
    """A mask of 255 only: the loss is 0, and a training step can go through it."""
    where = "a mask of 255 only:"
    logits = normal(1, 3, 2, 2).requires_grad_()
    yours = is_tensor(function(logits, torch.full((1, 2, 2), IGNORE)), (), where)
    if not yours.isfinite():
        raise Wrong(
            f"{where} your loss is {yours.item():g}, expected 0. You divide 0 by 0:"
            "\n      let the number to divide by be at least 1, .clamp(min=1)."
        )
    if yours != 0:
        raise Wrong(f"{where} your loss is {yours.item():g}, expected 0.")
    if not yours.requires_grad:
        raise Wrong(
            f"{where} your 0 does not come from the logits, so backward() stops there. Divide by at least 1,"
            "\n      .clamp(min=1), instead of returning a new tensor."
        )


def _same_loss(function: Function, logits: Tensor, mask: Tensor, where: str) -> None:
    expected = pixel_loss(logits, mask)
    yours = is_tensor(
        function(logits.clone(), mask.clone()), (), where, lambda t: ": one number for the whole batch."
    ).detach()
    if not yours.isfinite():
        raise Wrong(
            f"{where} your loss is {yours.item():g}, expected {expected:.4g}: log_softmax is safe where "
            "softmax and log are not."
        )
    if abs(yours - expected) > 1e-4:
        asked = [q for q, f in LOSS_SUSPECTS.items() if torch.isclose(f(logits, mask), yours, atol=1e-5)]
        question = f"\n      {asked[0]}" if asked else ""
        raise Wrong(f"{where} your loss is {yours:.4g}, expected {expected:.4g}.{question}")


def table_of(found: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Pixels by true and found class, those to ignore left out: float [classes, classes]."""
    known = truth != IGNORE
    pairs = num_classes * truth[known] + found[known]
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes).double()


def iou(found: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """The reference of 12.5."""
    table = table_of(found, truth, num_classes)
    both = table.diagonal()
    return both / (table.sum(0) + table.sum(1) - both)


def _nan_where(no_iou: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, int], Tensor]:
    """A mistake in who has no IoU: told by the pixels in both, in truth, in found."""
    return _from_table(
        lambda both, truth, found: (both / (truth + found - both)).masked_fill(
            no_iou(both, truth, found), torch.nan
        )
    )


def _from_table(
    formula: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor, int], Tensor]:
    """A mistake in the formula: of the pixels in both, in truth, in found."""

    def call(found: Tensor, truth: Tensor, num_classes: int) -> Tensor:
        table = table_of(found, truth, num_classes)
        return formula(table.diagonal(), table.sum(1), table.sum(0))

    return call


def _counts_ignored(found: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """255 stays away from the overlap only."""
    both = table_of(found, truth, num_classes).diagonal()
    in_found = found.flatten().bincount(minlength=num_classes)[:num_classes].double()
    in_truth = truth[truth != IGNORE].bincount(minlength=num_classes).double()
    return both / (in_found + in_truth - both)


IOU_SUSPECTS: Mapping[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "Did you count the overlap twice? The union is truth + found − both.": (
        _from_table(lambda both, truth, found: both / (truth + found))
    ),
    "That is 2·both / (truth + found), the Dice score or F1; IoU divides by the union.": (
        _from_table(lambda both, truth, found: 2 * both / (truth + found))
    ),
    "Did you divide by the true pixels only? That is the recall: it forgives what is found too much.": (
        _from_table(lambda both, truth, found: both / truth)
    ),
    "Did you divide by the found pixels only? That is the precision: it forgives what is missed.": (
        _from_table(lambda both, truth, found: both / found)
    ),
    "Does a class that is in neither mask get 0? It says nothing about the network: NaN, from 0 / 0.": (
        lambda *a: iou(*a).nan_to_num(0)
    ),
    "Does a class that is in neither mask get 1? It says nothing about the network: NaN, from 0 / 0.": (
        lambda *a: iou(*a).nan_to_num(1)
    ),
    "Is a class NaN that is not in truth? If it is found all the same, its IoU is 0: only mistakes.": (
        _nan_where(lambda both, truth, found: truth == 0)
    ),
    "Is a class NaN that is not in found? If it is in truth, its IoU is 0: all of it was missed.": (
        _nan_where(lambda both, truth, found: found == 0)
    ),
    "Is a class NaN where nothing overlaps? It is 0, unless the class is in neither mask.": (
        _nan_where(lambda both, truth, found: both == 0)
    ),
    "Does a class that is found but not true get 1? Its IoU is 0: only mistakes.": (
        _from_table(
            lambda both, truth, found: (both / (truth + found - both)).masked_fill(
                (truth == 0) & (found > 0), 1
            )
        )
    ),
    "Is yours in per cent? 1 is perfect.": lambda *a: 100 * iou(*a),
    "Are ignored pixels background to you? They have no class at all.": (
        lambda found, truth, n: iou(found, truth.masked_fill(truth == IGNORE, 0), n)
    ),
    "Do ignored pixels count as found? Leave them out of both masks.": _counts_ignored,
    "Do you take the mean of the pictures? Count over all of them, then divide once.": (
        lambda found, truth, n: torch.stack(
            [iou(f, t, n) for f, t in zip(found, truth, strict=True)]
        ).nanmean(0)
    ),
    "Do you divide by all pixels?": (
        lambda found, truth, n: table_of(found, truth, n).diagonal() / (truth != IGNORE).sum()
    ),
}  # fmt: skip
WRONG_CLASSES = (
    "IoU per class has one number for each class: bincount needs minlength, or the last classes are cut off."
)


def check_iou(iou_per_class: Callable) -> None:
    """12.5: small masks that can be counted by hand, then a batch with 255 and a class that nobody has."""
    truth = torch.tensor([[[0, 0, 1, 1], [0, 1, 1, 1]]])
    _same_iou(iou_per_class, torch.tensor([[[0, 0, 0, 1], [0, 0, 1, 1]]]), truth, 2)
    _same_iou(iou_per_class, torch.tensor([[[0, 1, 1, 1], [1, 1, 1, 1]]]), truth, 3)
    # Classes 2 and 3 are in one of the masks only, 4 in the other only, 5 in neither.
    some, more = torch.tensor([[[0, 0, 1, 1], [0, 1, 4, 1]]]), torch.tensor([[[0, 1, 2, 1], [0, 3, 1, 2]]])
    _same_iou(iou_per_class, more, some, 6)
    _same_iou(iou_per_class, some, more, 6)
    for shape, classes, used, ignored in (
        ((2, 6, 7), 4, 4, 0.0),
        ((2, 6, 7), 4, 4, 0.3),
        ((3, 5, 8), 6, 4, 0.2),
    ):
        truth = masks(*shape, classes=used, ignored=ignored, seed=4)
        found = masks(*shape, classes=used, ignored=0, seed=5).where(
            masks(*shape, classes=2, ignored=0, seed=6) > 0, truth
        )
        found = found.where(truth != IGNORE, 0)
        found[0, 0, 0] = 1  # an ignored pixel may be found to be anything
        _same_iou(iou_per_class, found, truth, classes)
    leaves_alone(iou_per_class, found, truth, classes)


def _same_iou(function: Callable, found: Tensor, truth: Tensor, classes: int) -> None:
    ignored = int((truth == IGNORE).sum())
    where = f"masks {list(truth.shape)}, {classes} classes, {ignored} pixels to ignore:"
    expected = iou(found, truth, classes)
    answer = function(found.clone(), truth.clone(), classes)
    yours = is_tensor(answer, (classes,), where, lambda t: f"\n      {WRONG_CLASSES}").detach()
    if torch.allclose(yours.double(), expected, atol=1e-5, equal_nan=True):
        return
    asked = _asked(yours, found, truth, classes)
    off = (
        (yours.double() - expected)
        .abs()
        .nan_to_num(torch.inf)
        .masked_fill(yours.isnan() & expected.isnan(), 0)
    )
    k = int((off > 1e-5).nonzero()[0])
    raise Wrong(f"{where} class {k} gets {yours[k]:.3g}, expected {expected[k]:.3g}.{asked}")


def _asked(yours: Tensor, found: Tensor, truth: Tensor, classes: int) -> str:
    for question, mistake in IOU_SUSPECTS.items():
        made = mistake(found, truth, classes)
        if torch.allclose(made, yours.double(), atol=1e-5, equal_nan=True):
            return f"\n      {question}"
    return ""


OUTSIDE = "A pixel to ignore asks for class 255, which is not there: leave these pixels out first."
FILE = "s12_segmentation_deeplabv3.py"
LOSSES = ("cross_entropy", "nll_loss", "cross_entropy_loss", "nll_loss2d", "nll_loss_nd")

EXERCISES: dict[str, Exercise] = {
    "12.4": Exercise(
        checker=check_pixel_loss,
        notice="A pixel of 255 adds nothing above the line and nothing below it: no gradient either.",
        hints=(
            "For each pixel: the logarithm of the probability of its true class, with a minus sign.\n"
            "Then the mean over the pixels whose class is known.",
            "log p = logits.log_softmax(1), [B, classes, H, W]. With the classes in the last place,\n"
            ".permute(0, 2, 3, 1), a bool mask picks pixels: log_p[known] is [n, classes], mask[known] [n].",
            "known = mask != 255\nlog_p = logits.log_softmax(1).permute(0, 2, 3, 1)[known]  # [n, classes]\n"
            "of_class = log_p.gather(1, mask[known][:, None])          # [n, 1]\n"
            "return -of_class.sum() / ...",
        ),
        solution=(FILE, "pixel_loss"),
        forbidden=(*LOSSES, "mvit_lib"),
        symptoms={
            "out of bounds": OUTSIDE,
            "must match the size of tensor": "logits have an axis for the classes that the mask lacks: bring "
            "the classes to the\n      end with .permute(0, 2, 3, 1), or give the mask one: mask[:, None].",
            "Index tensor must have the same number of dimensions": "gather wants as many axes in both: "
            "mask[:, None] is [B, 1, H, W].",
            "shape of the mask": "A bool mask [B, H, W] picks from the first three axes: bring the classes "
            "to the end,\n      with .permute(0, 2, 3, 1).",
        },
    ),
    "12.5": Exercise(
        checker=check_iou,
        notice="One count over all pictures, one division at the end; a class that nobody has is NaN, not 0.",
        hints=(
            "Throw away the pixels with truth 255, in both masks. Then number the pairs (true, found):\n"
            "num_classes · truth + found is a different number for each pair.",
            "One bincount(minlength=num_classes²) counts all pairs; view it as [classes, classes]: rows are\n"
            "true classes, columns found ones. The diagonal is in both; a row adds up to truth, a column\n"
            "to found.",
            "known = truth != 255\npairs = num_classes * truth[known] + found[known]\n"
            "table = pairs.bincount(minlength=...).view(num_classes, num_classes)\n"
            "both = table.diagonal()\nreturn both / (... + ... - both)",
        ),
        solution=(FILE, "iou_per_class"),
        forbidden=("mvit_lib", "jaccard_score", "confusion_matrix"),
        symptoms={
            "is invalid for input of size": "bincount stops at the largest pair, or counts 255 too:\n"
            "      minlength=num_classes**2, and leave out the pixels to ignore first.",
            "only supports 1-d": "bincount takes a flat tensor: mask[known] is one, mask.flatten() too.",
            "out of bounds": OUTSIDE,
        },
    ),
}
