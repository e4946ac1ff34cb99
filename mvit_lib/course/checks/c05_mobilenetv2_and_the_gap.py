"""The checkers of notebook 05, first half: depthwise convolutions and the inverted residual."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import (
    Function,
    Wrong,
    agrees,
    explained,
    keeps_dtype,
    leaves_alone,
    lets_gradient_flow,
    moves_like,
    normal,
)

PADDING = "a 0 of the padding"  # what a 0 in the result is, where every pixel has a number


def is_whole(answer: Any, where: str, advice: str = "`//` divides and rounds down.") -> int:
    """The answer, if it is a whole number."""
    if answer is None:
        raise Wrong(f"{where} got None: did you forget `return`?")
    if isinstance(answer, bool) or not hasattr(answer, "__index__"):
        raise Wrong(f"{where} expected a whole number, got {answer!r}: {advice}")
    return int(answer)


@contextmanager
def on_case(words: str, zero: str = "0") -> Iterator[None]:
    """Say first on which case an answer is wrong; in an error message, last."""
    try:
        with explained(words, zero):
            yield
    except Wrong as wrong:
        said = str(wrong).removesuffix(f"\n      ({words}.)")
        raise Wrong(f"{words}:\n      {said}", wrong.yours, wrong.expected) from None


def explains_all(suspects: Mapping[str, Function], cases: Sequence[tuple], answers: Sequence[Any]) -> str:
    """The question whose mistake gives all these answers, if there is one."""
    asked = [q for q, f in suspects.items() if [f(*case) for case in cases] == list(answers)]
    return f"\n      {asked[0]}" if asked else ""


# C, O, K, stride, (H, W)
COST_CASES = ((4, 6, 3, 1, (6, 8)), (5, 3, 5, 1, (4, 7)), (4, 6, 3, 2, (6, 8)), (3, 8, 3, 2, (7, 9)))
ROUND_UP = "`/` gives a float.\n      Here the size is rounded up: -(-H // stride), since `//` rounds down."
COST_NAMES = (
    "full: weights",
    "full: MACs",
    "separable: weights",
    "separable: MACs",
)


def costs(C: int, out: int, K: int, stride: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The reference: weights, and weights times the pixels of the output."""
    pixels = -(-size[0] // stride) * -(-size[1] // stride)
    full, separable = K * K * C * out, K * K * C + C * out
    return full, full * pixels, separable, separable * pixels


def _costs(separable: Callable | None = None, pixels: Callable | None = None) -> Function:
    """Costs with another count of the separable weights, or of the pixels."""

    def call(C: int, out: int, K: int, stride: int, size: tuple[int, int]) -> tuple[int, ...]:
        full, _, right, _ = costs(C, out, K, stride, size)
        weights = separable(C, out, K) if separable else right
        area = pixels(*size, stride) if pixels else -(-size[0] // stride) * -(-size[1] // stride)
        return full, full * area, weights, weights * area

    return call


def _large_map(C: int, out: int, K: int, stride: int, size: tuple[int, int]) -> tuple[int, ...]:
    """The 1 × 1 in front of the stride."""
    full, full_macs, weights, macs = costs(C, out, K, stride, size)
    small = full_macs // full
    return full, full_macs, weights, macs + C * out * (size[0] * size[1] - small)


def _with_biases(C: int, out: int, K: int, stride: int, size: tuple[int, int]) -> tuple[int, ...]:
    """One more weight per output channel of each of the three convolutions."""
    full, full_macs, weights, macs = costs(C, out, K, stride, size)
    return full + out, full_macs, weights + C + out, macs


COST_SUSPECTS = {
    "Do you count biases? Here the convolutions have none.": _with_biases,
    "Does your 1 × 1 run on the large map? The stride is in the depthwise one, before it.": _large_map,
    "Are the numbers in another order? Full: weights, MACs; then separable: the same two.": (
        lambda *case: tuple(costs(*case)[i] for i in (0, 2, 1, 3))
    ),
    "Did you forget the 1 × 1 convolution behind the depthwise one?": _costs(lambda C, out, K: K * K * C),
    "Is your depthwise kernel C channels deep? It has one channel: K² weights for each of C maps.": (
        _costs(lambda C, out, K: K * K * C * C + C * out)
    ),
    "Does your depthwise convolution make O maps? It keeps its C maps; the 1 × 1 makes O of them.": (
        _costs(lambda C, out, K: K * K * out + C * out)
    ),
    "Did you multiply the two parts? One runs after the other: their weights add up.": (
        _costs(lambda C, out, K: K * K * C * C * out)
    ),
    "Did you multiply by the pixels of the input? Every output pixel costs its products once.": (
        _costs(pixels=lambda H, W, s: H * W)
    ),
    "Did you round the output's size down? With padding K // 2 it is ⌈H / stride⌉.": (
        _costs(pixels=lambda H, W, s: (H // s) * (W // s))
    ),
    "Did you take H for both sides? The map has H rows and W columns.": (
        _costs(pixels=lambda H, W, s: (-(-H // s)) ** 2)
    ),
    "Did you divide the pixels by the stride once? Rows and columns are both thinned out.": (
        _costs(pixels=lambda H, W, s: H * W // s)
    ),
}


def check_costs(convolution_costs: Callable) -> None:
    """05.1: four whole numbers per case; a mistake is named if it explains all answers."""
    answers = []
    for case in COST_CASES:
        where = "C = {}, O = {}, K = {}, stride {}, size {}:".format(*case)
        answer = convolution_costs(*case)
        if answer is None:
            raise Wrong(f"{where} got None: did you forget `return`?")
        if not isinstance(answer, tuple | list) or len(answer) != 4:
            raise Wrong(f"{where} expected four numbers, got {answer!r}")
        answers.append(tuple(is_whole(number, where, ROUND_UP) for number in answer))
    for case, answer in zip(COST_CASES, answers, strict=True):
        for name, number, expected in zip(COST_NAMES, answer, costs(*case), strict=True):
            if number != expected:
                raise Wrong(
                    "C = {}, O = {}, K = {}, stride {}, size {}:".format(*case)
                    + f" {name}: you count {number:,}, expected {expected:,}."
                    + explains_all(COST_SUSPECTS, COST_CASES, answers)
                )


def depthwise(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The reference, in float64, where whole numbers stay whole."""
    K = weight.shape[-1]
    return F.conv2d(x.double(), weight.double(), None, stride, K // 2, 1, len(weight)).to(x.dtype)


def _one_apart(x: Tensor, w: Tensor, stride: int) -> Tensor:
    """As many windows as there should be, but side by side."""
    expected = depthwise(x, w, stride)
    return depthwise(x, w, 1)[:, :, : expected.shape[2], : expected.shape[3]]


def _around(x: Tensor, w: Tensor, stride: int) -> Tensor:
    """What leaves the map on one side comes in again on the other."""
    p = w.shape[-1] // 2
    return F.conv2d(F.pad(x, (p, p, p, p), mode="circular"), w, None, stride, 0, 1, len(w))


def _three_cells(x: Tensor, w: Tensor, stride: int) -> Tensor:
    """Padded as it should be, but only the upper left 3 × 3 cells of each kernel."""
    K = w.shape[-1]
    return depthwise(x, F.pad(w[:, :, :3, :3], (0, K - 3) * 2), stride)


DEPTHWISE_SUSPECTS = {
    "Does every channel use the first kernel? Channel c has its own: weight[c, 0].": (
        lambda x, w, s: depthwise(x, w[:1].expand_as(w), s)
    ),
    "Did you leave out the padding? K // 2 rows and columns of zeros go around the map.": (
        lambda x, w, s: F.conv2d(x, w, None, s, 0, 1, len(w))
    ),
    "Does what leaves the map on one side come in again on the other? Around it lie zeros: F.pad.": _around,
    "Do your loops end at 3? The kernel is K × K: weight.shape[-1].": _three_cells,
    "Did you swap u and v? The kernel's row u moves down the map.": (
        lambda x, w, s: depthwise(x, w.transpose(2, 3), s)
    ),
    "Did you turn the kernel around? Its cell (0, 0) meets the window's top left pixel.": (
        lambda x, w, s: depthwise(x, w.flip(2, 3), s)
    ),
    "Did you leave out the stride? Windows start `stride` apart.": lambda x, w, s: depthwise(x, w, 1),
    "Do your windows start one pixel apart? They start `stride` apart.": _one_apart,
    "Did you add up the channels? Depthwise, each stays by itself.": (
        lambda x, w, s: depthwise(x, w, s).sum(1, keepdim=True).expand(-1, len(w), -1, -1)
    ),
    "Does the last product overwrite the sum? Collect with +=.": (
        lambda x, w, s: depthwise(x, F.pad(w[:, :, -1:, -1:], (w.shape[-1] - 1, 0) * 2), s)
    ),
    "Do you pad by one pixel? With a kernel of K the padding is K // 2.": (
        lambda x, w, s: F.conv2d(x, w, None, s, 1, 1, len(w))
    ),
}


def check_depthwise(depthwise_convolution: Callable) -> None:
    """05.2: kernels with a single 1, another cell in every channel, tell where pixels go; then all of it."""
    suspects = DEPTHWISE_SUSPECTS
    for K, stride in ((3, 1), (3, 2), (5, 1)):
        weight = torch.zeros(3, 1, K, K)
        for c, cell in enumerate((1, K, K * K - 2)):
            weight[c, 0].view(-1)[cell] = 1
        with on_case(f"K = {K}, a single 1 in each kernel, stride {stride}", zero=PADDING):
            moves_like(depthwise_convolution, depthwise, (2, 3, 5, 7), weight, stride, suspects=suspects)
    for K, stride in ((3, 2), (5, 1)):
        example = normal(2, 4, 6, 5), normal(4, 1, K, K, seed=1), stride
        with on_case(f"K = {K}, stride {stride}"):
            agrees(depthwise_convolution, depthwise, *example, suspects=suspects)
    leaves_alone(depthwise_convolution, *example)
    keeps_dtype(depthwise_convolution, *example)
    lets_gradient_flow(depthwise_convolution, *example)


def block(
    x: Tensor,
    expand: Tensor,
    filters: Tensor,
    project: Tensor,
    stride: int,
    *,
    adds: Callable[[Tensor, Tensor, int], bool] = lambda x, y, s: s == 1 and x.shape[1] == y.shape[1],
    activations: tuple[Callable, Callable, Callable] = (F.silu, F.silu, lambda y: y),
    strides: Callable[[int], tuple[int, int, int]] = lambda s: (1, s, 1),
    padding: int = 1,
    last: Callable = lambda y: y,
) -> Tensor:
    """The reference, and with other rules the mistakes."""
    first, second, third = strides(stride)
    y = activations[0](F.conv2d(x, expand, stride=first))
    y = activations[1](F.conv2d(y, filters, stride=second, padding=padding, groups=len(filters)))
    y = activations[2](F.conv2d(y, project, stride=third))
    return last(x + y if adds(x, y, stride) else y)


def _mistaken(**rules: Any) -> Function:
    return lambda *arguments: block(*arguments, **rules)


def _fits(x: Tensor, y: Tensor) -> bool:
    return all(a == b or 1 in (a, b) for a, b in zip(x.shape, y.shape, strict=True))


def _unpadded(x: Tensor, *rest: Any) -> Tensor:
    return block(x, *rest, padding=0 if min(x.shape[2:]) > 2 else 1, adds=lambda *_: False)


def _skips_square(x: Tensor, expand: Tensor, *rest: Any) -> Tensor:
    """No widening where it would not widen."""
    if expand.shape[0] != expand.shape[1]:
        return block(x, expand, *rest)
    same = torch.eye(len(expand)).to(x)[:, :, None, None]
    return block(x, same, *rest, activations=(lambda y: y, F.silu, lambda y: y))


BLOCK_SUSPECTS = {
    "Is the padding missing? The depthwise convolution must keep the size: padding 1.": _unpadded,
    "Is there an activation after the last 1 × 1? That one is linear.": (
        _mistaken(activations=(F.silu, F.silu, F.silu))
    ),
    "Is there an activation after the sum? The result stays linear.": _mistaken(last=F.silu),
    "Is the activation after the depthwise convolution missing?": (
        _mistaken(activations=(F.silu, lambda y: y, lambda y: y))
    ),
    "Is the activation after `expand` missing?": (_mistaken(activations=(lambda y: y, F.silu, lambda y: y))),
    "Is it ReLU? Here the activation is F.silu.": _mistaken(activations=(F.relu, F.relu, lambda y: y)),
    "Is it ReLU6, as in MobileNetV2 itself? Here the activation is F.silu, as in MobileViT.": (
        _mistaken(activations=(F.relu6, F.relu6, lambda y: y))
    ),
    "Did you leave out the first 1 × 1 where it does not widen? Its weights are given.": _skips_square,
    "Did you forget to add x?": _mistaken(adds=lambda x, y, s: False),
    "Do you compare shapes? With stride 2 a map of 1 × 1 keeps its shape, and yet there is no residual.": (
        _mistaken(adds=lambda x, y, s: x.shape == y.shape)
    ),
    "Do you add x whenever the widths agree? With stride 2 there is no residual, even if the shapes fit.": (
        _mistaken(adds=lambda x, y, s: x.shape[1] == y.shape[1] and _fits(x, y))
    ),
    "Do you add x whenever the stride is 1? Here the widths differ; broadcasting hides it.": (
        _mistaken(adds=lambda x, y, s: s == 1 and _fits(x, y))
    ),
    "Do you add x in every case? Broadcasting makes it fit where it should not.": _mistaken(
        adds=lambda x, y, s: _fits(x, y)
    ),
    "Is the stride in the first convolution? It belongs to the depthwise one.": (
        _mistaken(strides=lambda s: (s, 1, 1))
    ),
}
# C, hidden, O, stride, (H, W), words
BLOCK_CASES = (
    (4, 6, 4, 1, (5, 6), "stride 1, equal widths: with residual"),
    (4, 6, 3, 1, (5, 6), "stride 1, other width: no residual"),
    (4, 6, 4, 2, (5, 6), "stride 2, equal widths: no residual"),
    (1, 6, 4, 1, (5, 6), "stride 1, from 1 channel to 4: no residual"),
    (4, 6, 4, 2, (2, 2), "stride 2 on a 2 × 2 map: no residual"),
    (4, 6, 4, 2, (1, 1), "stride 2 on a 1 × 1 map: no residual"),
    (4, 4, 4, 1, (5, 6), "stride 1, equal widths, and no wider inside: with residual"),
)


def block_arguments(C: int, hidden: int, out: int, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """x, and the weights of the three convolutions."""
    shapes = (2, C, *size), (hidden, C, 1, 1), (hidden, 1, 3, 3), (out, hidden, 1, 1)
    return tuple(normal(*shape, seed=seed) for seed, shape in enumerate(shapes))


def check_block(inverted_residual: Callable) -> None:
    """05.3: case by case, the rule of the residual in each; then the properties of every layer."""
    for C, hidden, out, stride, size, words in BLOCK_CASES:
        arguments = block_arguments(C, hidden, out, size)
        with on_case(words):
            agrees(inverted_residual, block, *arguments, stride, suspects=BLOCK_SUSPECTS, tol=1e-4)
    example = *block_arguments(4, 6, 4, (5, 6)), 1
    leaves_alone(inverted_residual, *example)
    keeps_dtype(inverted_residual, *example)
    lets_gradient_flow(inverted_residual, *example)


CONVOLUTIONS = (
    *(f"{kind}{n}d" for kind in ("conv", "conv_transpose") for n in (1, 2, 3)),
    *("convolution", "_convolution", "mkldnn_convolution"),
)
SLICE_END = "Each slice has oH rows and oW columns: rows end at u + stride · (oH − 1) + 1."
FILE = "s05_mobilenetv2_and_the_gap.py"

EXERCISES = {
    "05.1": Exercise(
        checker=check_costs,
        notice="separable / full is 1/O + 1/K², whatever the map's size: with K = 3 a little over a ninth.",
        hints=(
            "Weights first: a kernel is [O, C/groups, K, K]. What are groups and O for the depthwise one?\n"
            "Then: every weight is used once for each pixel of the output.",
            "Depthwise: C kernels of K² weights. 1 × 1: a matrix of O · C. The full one: O · C · K².\n"
            "The stride is in the depthwise one, so the 1 × 1 already meets the smaller map.",
            "pixels = -(-H // stride) * ...\nfull = ...\nseparable = K * K * C + ...\n"
            "return full, full * pixels, separable, ...",
        ),
        solution=(FILE, "convolution_costs"),
        forbidden=("mvit_lib",),
        symptoms={
            "for //: 'tuple' and 'int'": "size is a pair: (H, W) = size, and each is divided by itself.",
            "bad operand type for unary -": "size is a pair: (H, W) = size, and each is divided by itself.",
        },
    ),
    "05.2": Exercise(
        checker=check_depthwise,
        notice="K² shifted copies of the map, each times one weight per channel: no channel meets another.",
        hints=(
            "What cell (u, v) of the kernel sees at all positions is one slice of the padded map (04.3).\n"
            "In channel c this slice is multiplied by one number.",
            "F.pad(x, (p, p, p, p)) puts p zeros on all four sides.\n"
            "The slice begins at row u and column v and has a step of `stride`.\n"
            "weight[:, 0, u, v] holds C numbers; they need two more axes.",
            "p = K // 2\nx = F.pad(x, (p, p, p, p))\nfor u in range(K):\n    for v in range(K):\n"
            "        seen = x[:, :, u : u + stride * (oH - 1) + 1 : stride, ...]   # [B, C, oH, oW]\n"
            "        y = y + seen * weight[:, 0, u, v].view(-1, 1, 1)\nreturn y",
        ),
        solution=(FILE, "depthwise_convolution"),
        forbidden=("mvit_lib", "einsum", "unfold", "as_strided", "sliding_window_view", *CONVOLUTIONS),
        symptoms={
            "must match the size of tensor": "C weights against a map [B, C, oH, oW]: view(-1, 1, 1) gives "
            "them two more axes.\n      Or the padding is missing, or always 1. It is K // 2.\n"
            f"      Or the slices differ in length. {SLICE_END}",
            "is out of bounds for dimension": "Did you pad before slicing? The map then has H + 2 · (K // 2) "
            "rows.",
        },
    ),
    "05.3": Exercise(
        checker=check_block,
        notice="Stride 1 and equal widths, both: only then the block may pass x on and learn the difference.",
        hints=(
            "Three convolutions. Which kernel size and how many groups has each? Its weight's shape tells.\n"
            "Two of the three are followed by an activation.",
            "The depthwise one has groups = hidden and padding 1, and it alone has the stride.\n"
            "The last one is linear. The rule for adding x stands above the exercise; it asks for no shapes.",
            "# x is added if the stride is 1 and x and y have the same number of channels.\n"
            "y = F.silu(F.conv2d(x, expand))\ny = F.silu(F.conv2d(y, depthwise, stride=..., padding=..., "
            "groups=...))\ny = ...\nreturn x + y if ... and ... else y",
        ),
        solution=(FILE, "inverted_residual"),
        forbidden=("mvit_lib",),
        symptoms={
            "Given groups=": "The depthwise kernel is [hidden, 1, 3, 3]: groups=hidden.",
            "dimension 3 (stride 1, equal widths": "The depthwise convolution must keep the size: padding 1.",
            "must match the size of tensor": "x and the result differ in shape: here x must not be added.",
        },
    ),
}
