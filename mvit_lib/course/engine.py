"""`check`, `hint` and `solution`: what stands under every exercise."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

CHECKERS = ("c00_start_here",)


@dataclass(frozen=True)
class Exercise:
    """One exercise: its checker, what to notice when it is solved, three hints, its solution's place.

    checker: takes the learner's function and raises `Wrong` with what is wrong, or returns.
    hints: three steps, the last a skeleton. solution: (file in solutions/, function in it).
    """

    checker: Callable[[Callable], None]
    notice: str
    hints: tuple[str, str, str]
    solution: tuple[str, str]


class Wrong(Exception):
    """The learner's function gave a wrong answer; the message says which and asks why."""


def exercise(number: str) -> Exercise:
    """The exercise of that number; KeyError naming those there are."""
    found: dict[str, Exercise] = {}
    for module in CHECKERS:
        found |= import_module(f"mvit_lib.course.checks.{module}").EXERCISES
    if number not in found:
        raise KeyError(f"there is no exercise {number!r}: expected one of {sorted(found)}")
    return found[number]


def check(number: str, answer: Callable) -> None:
    """Try the learner's function and print ✓, or what is wrong with it.

    Never raises for what the function does, unless the environment variable MVIT_CHECK is "strict".
    """
    task = exercise(number)
    problem = _problem(number, task, answer)
    if problem is None:
        print(f"{number}  ✓  {task.notice}")
        return
    print(f"{number}  {problem}")
    if os.environ.get("MVIT_CHECK") == "strict":
        raise AssertionError(f"{number}  {problem}")


def _problem(number: str, task: Exercise, answer: Any) -> str | None:
    if not callable(answer):
        return f"✗  expected a function, got {type(answer).__name__}"
    try:
        task.checker(answer)
    except NotImplementedError as error:
        if error.args:  # PyTorch raises it too, with a message
            return f"✗  your function stopped with NotImplementedError: {error}"
        return f'not attempted yet.   Stuck?  hint("{number}")'
    except Wrong as wrong:
        return f"✗  {wrong}"
    except (Exception, SystemExit) as error:
        return f"✗  your function stopped with {type(error).__name__}: {error}"
    return None


def hint(number: str, step: int = 1) -> None:
    """Print one of three hints; the third is a skeleton of the solution.

    Raises: ValueError if `step` is not 1, 2 or 3.
    """
    if step not in (1, 2, 3):
        raise ValueError(f"there are hints 1, 2 and 3, not {step!r}")
    print(exercise(number).hints[step - 1])
    if step < 3:
        print(f'\nMore:  hint("{number}", {step + 1})')


def solution(number: str) -> None:
    """Print the source of the solution, with the three lines that say why."""
    file, function = exercise(number).solution
    source = _solutions_folder().joinpath(file).read_text(encoding="utf-8")
    start = source.index(f"def {function}(")
    end = source.find("\n\n\n", start)
    print(source[start : end if end > 0 else None].rstrip())


def _solutions_folder() -> Any:
    """The folder inside the installed package, or beside it in a checkout."""
    inside = files("mvit_lib") / "solutions"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "solutions"
