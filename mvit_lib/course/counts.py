"""The probe for answers that are a whole number: a wrong count is traced to the mistake that gives it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from mvit_lib.course.probes import Wrong

Count = Callable[..., float]


def counts_like(
    function: Callable,
    reference: Count,
    cases: Mapping[str, Sequence[Any]],
    mistakes: Mapping[str, Count],
) -> None:
    """The function's whole number is the reference's; cases: what a case is called -> its arguments.

    mistakes: question -> what the count would be, if the answer to the question were yes. Two are asked
    where two fit; none that an earlier case has already ruled out.
    """
    passed: list[Sequence[Any]] = []
    for name, case in cases.items():
        found, expected = _whole(function(*case), f"for {name}:"), reference(*case)
        if found == expected:
            passed.append(case)
            continue
        few = "few" if found < expected else "many"
        message = f"for {name}: you get {found:,}, expected {expected:,}: "
        message += f"{abs(found - expected):,} too {few}."
        asked = [
            question
            for question, mistake in mistakes.items()
            if mistake(*case) == found and all(mistake(*old) == reference(*old) for old in passed)
        ]
        raise Wrong(message + "".join(f"\n      {question}" for question in asked[:2]))


def _whole(answer: Any, where: str) -> int:
    """The answer, if it is an int and not only worth one."""
    if answer is None:
        raise Wrong(f"{where} got None: did you forget `return`?")
    if type(answer) is not int:
        kind = "a tensor: count with plain numbers" if isinstance(answer, Tensor) else type(answer).__name__
        kind += ": // divides to an int, / never does" if isinstance(answer, float) else ""
        raise Wrong(f"{where} expected an int, got {kind}")
    return answer
