"""What checkers are made of: each probe tests one class of property and says first what helps most."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Called with the same arguments as the learner's function.
Function = Callable[..., Any]


class Wrong(Exception):
    """The learner's function gave a wrong answer; the message says which and asks why.

    yours, expected: two tensors to draw side by side, where a picture helps.
    """

    def __init__(self, message: str, yours: Tensor | None = None, expected: Tensor | None = None) -> None:
        super().__init__(message)
        self.yours, self.expected = yours, expected


def numbered(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor in which every element is its own number, so that it can be found again."""
    return torch.arange(torch.Size(shape).numel(), dtype=dtype).reshape(shape)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normal random numbers, the same in every run."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def is_tensor(
    answer: Any, shape: Sequence[int], where: str, question: Callable[[Tensor], str] = lambda answer: ""
) -> Tensor:
    """The answer, if it is a tensor of this shape; `question` says what to ask about another shape."""
    if answer is None:
        raise Wrong(f"{where} got None: did you forget `return`?")
    if not isinstance(answer, Tensor):
        raise Wrong(f"{where} expected a tensor, got {type(answer).__name__}")
    if tuple(answer.shape) != tuple(shape):
        raise Wrong(
            f"{where} your result has shape {list(answer.shape)}, expected {list(shape)}{question(answer)}"
        )
    return answer


def moves_like(
    function: Function,
    reference: Function,
    shape: Sequence[int],
    *arguments: Any,
    suspects: Mapping[str, Function] | None = None,
) -> None:
    """The function puts every element of a numbered tensor where the reference puts it.

    suspects: question -> what the function would be, if the answer to the question were yes.
    """
    x = numbered(*shape) + 1  # so that a 0 is nobody's element
    where = f"on a tensor of shape {list(shape)}{_listed(arguments)}:"
    expected = reference(x.clone(), *arguments)
    ask = partial(_question, suspects, x, *arguments)
    yours = is_tensor(function(x.clone(), *arguments), expected.shape, where, ask)
    wrong = (yours.detach() != expected).nonzero()
    if len(wrong) == 0:
        return
    place = tuple(wrong[0].tolist())
    message = (
        f"{where} {len(wrong)} of {expected.numel()} elements are in the wrong place.\n"
        f"      First wrong: out{list(place)} holds {_origin(yours[place], x)}; "
        f"expected {_origin(expected[place], x)}."
    )
    raise Wrong(message + ask(yours), yours.detach(), expected)


def _origin(value: Tensor, x: Tensor) -> str:
    """Where a value comes from in the tensor x, which is numbered from 1."""
    number = value.item()
    if not 1 <= number <= x.numel() or number != int(number):
        return f"{number:g}, which is none of the input's elements"
    place = [int(i) for i in np.unravel_index(int(number) - 1, x.shape)]
    return f"the element from {place}"


@contextmanager
def explained(words: str, zero: str = "0, which is none of the input's elements") -> Iterator[None]:
    """Name the arguments under a wrong answer and in an error message; `zero` tells what a 0 is here."""
    try:
        yield
    except Wrong as wrong:
        said = str(wrong).replace(" 0, which is none of the input's elements", f" {zero}")
        raise Wrong(f"{said}\n      ({words}.)", wrong.yours, wrong.expected) from None
    except (IndexError, RuntimeError) as error:
        if type(error) not in (IndexError, RuntimeError):  # NotImplementedError says: not attempted
            raise
        raise type(error)(f"{error} ({words})") from error


def agrees(
    function: Function,
    reference: Function,
    *arguments: Any,
    where: str = "",
    tol: float = 1e-5,
    suspects: Mapping[str, Function] | None = None,
) -> None:
    """The function's values are the reference's, within `tol`."""
    where = where or f"on {_listed(arguments).removeprefix(', ')}:"
    expected = reference(*map(_copy, arguments))
    ask = partial(_question, suspects, *arguments)
    yours = is_tensor(function(*map(_copy, arguments)), expected.shape, where, ask).detach()
    difference = (yours.double() - expected.double()).abs().nan_to_num(torch.inf)
    if difference.max() <= tol:
        return
    # not torch.unravel_index: its first call imports sympy, and the time limit must not strike inside that
    place = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), expected.shape))
    message = (
        f"{where} the largest difference is {difference.max():.3g}.\n"
        f"      out{list(place)} is {yours[place]:.4g}; expected {expected[place]:.4g}."
    )
    raise Wrong(message + ask(yours), yours, expected)


def _question(suspects: Mapping[str, Function] | None, *arguments_and_answer: Any) -> str:
    """The question whose mistake gives exactly this answer, if there is one."""
    *arguments, yours = arguments_and_answer
    for question, mistake in (suspects or {}).items():
        made = mistake(*map(_copy, arguments))
        if made.shape == yours.shape and torch.allclose(made.double(), yours.detach().double(), atol=1e-6):
            return f"\n      {question}"
    return ""


def leaves_alone(function: Function, *arguments: Any) -> None:
    """No tensor among the arguments is changed."""
    copies = [_copy(argument) for argument in arguments]
    function(*copies)
    for i, (before, after) in enumerate(zip(arguments, copies, strict=True)):
        if isinstance(before, Tensor) and not torch.equal(before, after):
            raise Wrong(
                f"your function changes its {_ordinal(i)} argument. Whoever called it still needs "
                "that tensor: make a new one instead of writing into it."
            )


def keeps_dtype(function: Function, *arguments: Any) -> None:
    """Doubles in, doubles out."""
    doubles = [a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments]
    result = function(*map(_copy, doubles))
    if result.dtype != torch.float64:
        raise Wrong(
            f"given float64 your function returns {result.dtype}: did you make a new tensor without passing "
            "on the dtype of what you were given?"
        )


def lets_gradient_flow(function: Function, *arguments: Any) -> None:
    """The gradient of the result's sum of squares reaches every floating-point argument."""
    copies = [_copy(argument) for argument in arguments]
    inputs = [a.requires_grad_() for a in copies if isinstance(a, Tensor) and a.is_floating_point()]
    result = function(*copies)
    if result.requires_grad:
        gradients = torch.autograd.grad(result.square().sum(), inputs, allow_unused=True)
        if all(gradient is not None for gradient in gradients):
            return
    raise Wrong(
        "no gradient comes back through your function: did you leave PyTorch on the way (NumPy, .item(), "
        ".data, torch.tensor(…))?"
    )


def _copy(argument: Any) -> Any:
    return argument.clone() if isinstance(argument, Tensor) else argument


def _listed(arguments: Sequence[Any]) -> str:
    """Arguments in words, each after a comma: tensors by their shape."""
    words = [f"a tensor {list(a.shape)}" if isinstance(a, Tensor) else f"{a!r}" for a in arguments]
    return "".join(f", {word}" for word in words)


def _ordinal(i: int) -> str:
    return ("first", "second", "third", "fourth", "fifth")[i]
