"""The checkers of notebook 05, second half: how far a pixel sees."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mvit_lib.course.checks.c05_mobilenetv2_and_the_gap import explains_all, is_whole
from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Function, Wrong, is_tensor, normal

FIELD_CASES = tuple(
    (case,)
    for case in (
        [(3, 1, 1)],
        [(3, 1, 1), (3, 1, 1)],
        [(3, 2, 1), (3, 1, 1)],
        [(3, 2, 1), (1, 1, 1), (5, 1, 1), (3, 2, 1), (3, 1, 1)],
        [(3, 1, 2), (3, 1, 1)],
        [(2, 2, 1), (3, 2, 2), (3, 1, 3)],
        [],
    )
)


def field(layers: Sequence[tuple[int, int, int]], seen: int = 1) -> int:
    """The reference, from the output down: a window of n outputs needs (n − 1)·s + d(K − 1) + 1 inputs."""
    for kernel, stride, dilation in reversed(layers):
        seen = (seen - 1) * stride + dilation * (kernel - 1) + 1
    return seen


def _recursion(step: Callable[[int, int, int, int, int], tuple[int, int]], r: int = 1) -> Function:
    """(r, j, K, s, d) -> the next (r, j), from (r, 1) on."""

    def call(layers: Sequence[tuple[int, int, int]]) -> int:
        last, jump = r, 1
        for layer in layers:
            last, jump = step(last, jump, *layer)
        return last

    return call


def _pixels_read(layers: Sequence[tuple[int, int, int]]) -> int:
    """Only the pixels that are read, without those skipped in between."""
    read = {0}
    for kernel, stride, dilation in reversed(layers):
        read = {stride * place + dilation * cell for place in read for cell in range(kernel)}
    return len(read)


FIELD_SUSPECTS = {
    "Do you count only the pixels that are read? Those skipped in between count too.": _pixels_read,
    "Did you leave out the strides? A step on this map is j pixels of the picture.": (
        _recursion(lambda r, j, K, s, d: (r + d * (K - 1), j))
    ),
    "Did you multiply j by this layer's stride too early? Its window lies on the map before it.": (
        _recursion(lambda r, j, K, s, d: (r + d * (K - 1) * j * s, j * s))
    ),
    "Did you leave out the dilation?": _recursion(lambda r, j, K, s, d: (r + (K - 1) * j, j * s)),
    "Do you add K per layer? The first pixel of the window is there already: K − 1.": (
        _recursion(lambda r, j, K, s, d: (r + d * K * j, j * s))
    ),
    "Do you start at 0? Without any layer a pixel sees itself: 1.": (
        _recursion(lambda r, j, K, s, d: (r + d * (K - 1) * j, j * s), r=0)
    ),
    "Do you use the last stride only? j is the product of all strides so far.": (
        _recursion(lambda r, j, K, s, d: (r + d * (K - 1) * j, s))
    ),
    "Do you add up the strides? j is their product.": (
        _recursion(lambda r, j, K, s, d: (r + d * (K - 1) * j, j + s - 1))
    ),
    "Do you multiply the windows? Each layer adds to what is seen.": (
        _recursion(lambda r, j, K, s, d: (r * (d * (K - 1) + 1), j))
    ),
}


ONLY_R = "return r alone.\n      It stays whole: nothing is divided."


def check_field(receptive_field: Callable) -> None:
    """05.4: whole numbers, from one layer to strides and dilation; nothing at all sees one pixel."""
    answers = []
    for (layers,) in FIELD_CASES:
        given = list(layers)
        answers.append(is_whole(receptive_field(given), f"layers {layers}:", ONLY_R))
        if given != list(layers):
            raise Wrong("your function changes the list it is given: make a new one instead.")
    for (layers,), answer in zip(FIELD_CASES, answers, strict=True):
        if answer != field(layers):
            question = explains_all(FIELD_SUSPECTS, FIELD_CASES, answers)
            raise Wrong(f"layers {layers}: you find {answer}, expected {field(layers)}.{question}")


def reach(network: Callable, image: Tensor, row: int, column: int) -> Tensor:
    """The reference: one output channel after the other, so that nothing can cancel."""
    x = image.clone().requires_grad_()
    outputs = network(x)[0, :, row, column]
    gradients = [torch.autograd.grad(y, x, retain_graph=True)[0][0] for y in outputs]
    return torch.stack(gradients).abs().sum((0, 1)) > 0  # [H, W]


def _reach_of(pick: Callable[[Tensor, int, int], Tensor], combine: Callable[[Tensor], Tensor]) -> Function:
    """One gradient [C, H, W] of whatever is picked, combined to a mask."""

    def call(network: Callable, image: Tensor, row: int, column: int) -> Tensor:
        x = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(pick(network(x), row, column), x)
        return combine(gradient[0])

    return call


def _any(g: Tensor) -> Tensor:
    return (g != 0).any(0)


def _pixel(y: Tensor, i: int, j: int) -> Tensor:
    return y[0, :, i, j].sum()


def _union(g: Callable[[Tensor], Tensor]) -> Function:
    """One output after the other, each gradient [C, H, W] made a mask."""

    def call(network: Callable, image: Tensor, row: int, column: int) -> Tensor:
        x = image.clone().requires_grad_()
        outputs = network(x)[0, :, row, column]
        masks = [g(torch.autograd.grad(y, x, retain_graph=True)[0][0]) for y in outputs]
        return torch.stack(masks).any(0)

    return call


ZERO = "a convolution minus a copy of its result: 0, with a gradient"
POSITIVE = "Do you count only positive gradients? A pixel that pulls the output down is seen too: != 0."
REACH_SUSPECTS = {
    "Do you measure on another image? What is seen may depend on the image: start from image.clone().": (
        lambda network, image, *place: reach(network, torch.zeros_like(image), *place)
    ),
    "Is there a threshold? However small a gradient is, if it is not 0 the pixel is seen.": (
        _union(lambda g: (g.abs() > 1e-12).any(0))
    ),
    POSITIVE: _union(lambda g: (g > 0).any(0)),
    "Do you square the outputs, or take them .abs()? Where an output is 0, that has gradient 0.": (
        _reach_of(lambda y, i, j: y[0, :, i, j].square().sum(), _any)
    ),
    "Did you add up the output channels? Two of them can cancel. Take each by itself, or mix them with\n"
    "      random weights.": _reach_of(_pixel, _any),
    "Did you take the first output channel only?": _reach_of(lambda y, i, j: y[0, 0, i, j], _any),
    "Did you take the gradient of the whole output? Here one pixel of it asks.": (
        _reach_of(lambda y, i, j: y.square().sum(), _any)
    ),
    "Did you add up the input channels' gradients? Plus and minus cancel: take .abs() first.": (
        lambda *a: _reach_of(lambda y, i, j: _mixed(y[0, :, i, j]), lambda g: g.sum(0) != 0)(*a)
    ),
    "Did you look at the first input channel only?": (
        _reach_of(lambda y, i, j: _mixed(y[0, :, i, j]), lambda g: g[0] != 0)
    ),
    "Did you swap row and column?": lambda n, x, i, j: _transposed(n, x, i, j),
}  # fmt: skip


def _mixed(outputs: Tensor) -> Tensor:
    return (outputs * torch.linspace(1, 2.5, len(outputs)).sqrt()).sum()


def _transposed(network: Callable, image: Tensor, row: int, column: int) -> Tensor:
    try:
        return reach(network, image, column, row)
    except IndexError:  # there is no such pixel
        return torch.zeros(image.shape[2:], dtype=torch.bool)


class _Vanishing(nn.Module):
    """The layer's result minus a copy that autograd does not see: 0, but not its gradient."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return y - y.detach()


def networks() -> dict[str, tuple[nn.Module, tuple[int, int]]]:
    """What the checker looks through, with the pixel that asks: each tempts to another mistake."""
    plain = nn.Conv2d(2, 2, 3, padding=1)
    plain.weight.data = normal(2, 2, 3, 3)
    deep = nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.SiLU(), nn.Conv2d(3, 2, 3, 1, 1))
    for k, layer in enumerate((deep[0], deep[2])):
        layer.weight.data = normal(*layer.weight.shape, seed=k)
    outputs, inputs, second = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(3))
    outputs.weight.data = normal(1, 2, 3, 3).repeat(2, 1, 1, 1) * torch.tensor([1.0, -1]).view(2, 1, 1, 1)
    inputs.weight.data = normal(2, 1, 3, 3).repeat(1, 2, 1, 1) * torch.tensor([1.0, -1]).view(2, 1, 1)
    second.weight.data = torch.zeros(2, 2, 3, 3)
    second.weight.data[0, 1, 1, 1] = 1
    second.weight.data[1, 1] = 1
    faint = nn.Conv2d(2, 2, 3, padding=1)
    faint.weight.data = 1e-15 * (2 + normal(2, 2, 3, 3).tanh())
    gate = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1))
    for k, layer in enumerate((gate[0], gate[2])):
        layer.weight.data, layer.bias.data = (
            normal(*layer.weight.shape, seed=k),
            torch.full_like(layer.bias, -3),
        )
    return {
        "a 3 × 3 convolution": (plain, (1, 4)),
        "two convolutions, the first with stride 2": (deep, (2, 3)),
        "a convolution whose two outputs are y and −y": (outputs, (3, 2)),
        "a convolution that subtracts its two input channels": (inputs, (3, 2)),
        "a convolution that reads the second channel only": (second, (0, 0)),
        "a convolution with weights of about 1e-15": (faint, (4, 5)),
        ZERO: (_Vanishing(plain), (2, 2)),
        "two convolutions, ReLU between them, shut or open as the image has it": (gate, (3, 3)),
    }


def _misseen(answer: Tensor, expected: Tensor, where: str, case: tuple) -> Wrong:
    """What to say of a wrong mask: how many pixels, and the question whose mistake gives just this mask."""
    missed, extra = (expected & ~answer).sum().item(), (answer & ~expected).sum().item()
    asked = [question for question, f in REACH_SUSPECTS.items() if torch.equal(f(*case), answer)]
    if not asked and missed and not extra:
        asked = [
            "Does something cancel, or do you count only positive gradients? A pixel is seen if any is != 0."
        ]
    question = f"\n      {asked[0]}" if asked else ""
    return Wrong(
        f"{where}\n      {missed} pixels missed, {extra} marked too many.{question}", answer, expected
    )


def _state(network: nn.Module) -> list[tuple]:
    """What a measurement must leave as it was: modes, flags, weights."""
    modes = [(module.training,) for module in network.modules()]
    return modes + [(p.requires_grad, p.detach().sum().item()) for p in network.parameters()]


def _left_alone(network: nn.Module, before: list[tuple]) -> None:
    """Nothing of the network may be other than before."""
    if any(parameter.grad is not None for parameter in network.parameters()):
        raise Wrong(
            "after your measurement the network's weights hold gradients: .backward() writes them\n"
            "      everywhere. torch.autograd.grad(scalar, x) gives only the one you ask for."
        )
    if _state(network) != before:
        raise Wrong(
            "after your measurement the network is not as before (its weights, their requires_grad,\n"
            "      or .eval()): the gradient of x needs none of that."
        )


def check_reach(seen_by: Callable) -> None:
    """05.5: one network after the other; then what a measurement must leave as it was."""
    image = normal(1, 2, 7, 8)
    for words, (network, place) in networks().items():
        where = f"{words}, an image of 7 × 8, output pixel {place}:"
        before = _state(network)
        answer = is_tensor(seen_by(network, image.clone(), *place), (7, 8), where)
        if answer.dtype != torch.bool:
            raise Wrong(f"{where} expected a tensor of bool, got {answer.dtype}: compare with 0.")
        expected = reach(network, image, *place)
        if not torch.equal(answer, expected):
            raise _misseen(answer, expected, where, (network, image, *place))
        _left_alone(network, before)
    given = image.clone()
    seen_by(network, given, 0, 0)
    if given.requires_grad or given.grad is not None or not torch.equal(given, image):
        raise Wrong("your function leaves its mark on the image: work on image.clone().requires_grad_().")


FILE = "s05_mobilenetv2_and_the_gap.py"

EXERCISES = {
    "05.4": Exercise(
        checker=check_field,
        notice="Strides make the later layers reach far: the last 3 × 3 of MobileNetV2 adds 64 pixels.",
        hints=(
            "Keep two numbers: r, what is seen so far, and j, how many pixels of the picture lie between\n"
            "neighbours on the map that the layer reads. Before any layer both are 1.",
            "The first and the last pixel of a window lie d·(K − 1) steps apart, each j pixels long.\n"
            "Add that to r. Then, for the next layer, multiply j by the stride.",
            "r, j = 1, 1\nfor kernel, stride, dilation in layers:\n    r = r + ...\n    j = ...\nreturn r",
        ),
        solution=(FILE, "receptive_field"),
        forbidden=("mvit_lib", "backward", "grad"),
        symptoms={
            "values to unpack": "Each layer has three numbers: (kernel, stride, dilation).",
            "cannot unpack non-iterable": "Loop over `layers`; each element is (kernel, stride, dilation).",
        },
    ),
    "05.5": Exercise(
        checker=check_reach,
        notice="No formula was asked: this works for every network through which gradients flow.",
        hints=(
            "A pixel is seen if a small change of it changes the output: if its gradient is not 0.\n"
            "The gradient of which number, with respect to what?",
            "Make x = image.clone().requires_grad_().\n"
            "The output pixel has O numbers, y = network(x)[0, :, row, column].\n"
            "Added up they may cancel; mixed with random weights they will not.",
            "x = image.clone().requires_grad_()\ny = network(x)[0, :, row, column]              # [O]\n"
            "mixture = (y * torch.randn(len(y))).sum()\n(gradient,) = torch.autograd.grad(..., ...)\n"
            "return gradient[0]...                          # [C, H, W] -> [H, W]",
        ),
        solution=(FILE, "seen_by"),
        forbidden=("mvit_lib",),
        symptoms={
            "does not require grad": "Nothing remembers the way back to the image: give the network "
            "image.clone().requires_grad_(), and no torch.no_grad().",
            "backward through the graph a second time": "Asking once frees the way back.\n"
            "      Keep it with retain_graph=True, or mix the outputs with random weights and ask once.",
            "implicitly created only for scalar outputs": "Gradients belong to one number.\n"
            "      Mix the O outputs into one, or take them one by one.",
            "appears to not have been used in the graph": "Ask for the gradient of the tensor that you gave "
            "the network.",
        },
    ),
}
