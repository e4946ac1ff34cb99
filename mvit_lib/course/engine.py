"""`check`, `hint`, `solution` and `progress`: what stands under every exercise."""

import os
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from mvit_lib.course.guard import TooLong, time_limit, watched
from mvit_lib.course.picture import show_side_by_side
from mvit_lib.course.probes import Wrong
from mvit_lib.course.solved import remember, show


def checker_modules() -> list[str]:
    """The modules of course/checks that hold exercises, cNN_<topic>, in reading order."""
    folder = import_module("mvit_lib.course.checks").__path__
    return sorted(m.name for m in pkgutil.iter_modules(folder) if re.match(r"c\d\d_", m.name))


@dataclass(frozen=True)
class Exercise:
    """One exercise: its checker, what to notice when it is solved, its hints, its solution's place.

    checker: takes the learner's function and raises `Wrong` with what is wrong, or returns.
    hints: three steps, the last a skeleton. symptoms: words of an error message -> what they mean here.
    forbidden: what the function may not call while it runs, see guard.calls_noted; the checker itself
    may. solution: (file in solutions/, function or class in it).
    """

    checker: Callable[[Callable], None]
    notice: str
    hints: tuple[str, str, str]
    solution: tuple[str, str]
    symptoms: Mapping[str, str] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()


def exercises() -> dict[str, Exercise]:
    """All exercises by number."""
    found: dict[str, Exercise] = {}
    for module in checker_modules():
        found |= getattr(import_module(f"mvit_lib.course.checks.{module}"), "EXERCISES", {})
    return found


def exercise(number: str) -> Exercise:
    """The exercise of that number; KeyError naming those there are."""
    found = exercises()
    if number not in found:
        raise KeyError(f"there is no exercise {number!r}: expected one of {sorted(found)}")
    return found[number]


def check(number: str, answer: Callable) -> None:
    """Try the learner's function and print ✓, or what is wrong with it and where.

    Never raises for what the function does, unless the environment variable MVIT_CHECK is "strict". A
    function that runs for more than ten seconds is stopped.
    """
    task = exercise(number)
    problem, wrong = _problem(number, task, answer)
    if problem is None:
        remember(number, is_right=True)
        print(f"{number}  ✓  {task.notice}")
        return
    if wrong is not None:
        remember(number, is_right=False)
    print(f"{number}  {problem}")
    if isinstance(wrong, Wrong) and wrong.yours is not None:
        show_side_by_side(wrong.yours, wrong.expected)
    if os.environ.get("MVIT_CHECK") == "strict":
        raise AssertionError(f"{number}  {problem}")


def _problem(number: str, task: Exercise, answer: Any) -> tuple[str | None, BaseException | None]:
    """What to print, and what was raised; (None, None) for a right answer."""
    if not callable(answer):
        return f"✗  expected a function, got {type(answer).__name__}", None
    called: list[str] = []
    try:
        with time_limit():
            task.checker(watched(answer, task.forbidden, called))
    except NotImplementedError as error:
        if error.args:  # PyTorch raises it too, with a message
            return f"✗  your function stopped with NotImplementedError: {error}", error
        return f'not attempted yet.   Stuck?  hint("{number}")', None
    except Wrong as wrong:
        return f"✗  {wrong}", wrong
    except TooLong as error:
        return f"✗  {error}: is there a loop that never ends?", error
    except (Exception, SystemExit) as error:
        return f"✗  your function stopped with {type(error).__name__}: {error}{_meaning(task, error)}", error
    if called:
        names = " and ".join(f"`{name}`" for name in called)
        verb = "do" if len(called) > 1 else "does"
        wrong = Wrong(f"the values are right, but {names} {verb} what you are to build: do it without.")
        return f"✗  {wrong}", wrong
    return None, None


def _meaning(task: Exercise, error: BaseException) -> str:
    """What an error message means in this exercise, if that is known."""
    said = f"{type(error).__name__}: {error}"
    meanings = [meaning for symptom, meaning in task.symptoms.items() if symptom in said]
    return f"\n      {meanings[0]}" if meanings else ""


def hint(number: str, step: int | str = 1) -> None:
    """Print one of three hints, the third a skeleton; or, given an error message, what it means here."""
    task = exercise(number)
    if isinstance(step, str):
        meanings = [
            meaning for symptom, meaning in task.symptoms.items() if symptom in step or step in symptom
        ]
        known = "\n".join(f'  "{symptom}"' for symptom in task.symptoms) or "  none"
        print(meanings[0] if meanings else f"Messages known to this exercise:\n{known}")
        return
    if step not in (1, 2, 3):
        print(f'There are hints 1, 2 and 3. The whole answer:  solution("{number}")')
        return
    print(task.hints[step - 1])
    if step < 3:
        print(f'\nMore:  hint("{number}", {step + 1})')
    if step == 1 and task.symptoms:
        print(f'An error message?  hint("{number}", "words of the message")')


def solution(number: str) -> None:
    """Print the source of the solution, with the lines that say why."""
    file, name = exercise(number).solution
    source = _solutions_folder().joinpath(file).read_text(encoding="utf-8")
    start = min(i for i in (source.find(f"def {name}("), source.find(f"class {name}(")) if i >= 0)
    end = source.find("\n\n\n", start)
    print(source[start : end if end > 0 else None].rstrip())


def progress() -> None:
    """Print which exercises are solved (●), tried (◐) and untouched (○), a line per notebook."""
    show(list(exercises()))


def _solutions_folder() -> Any:
    """The folder inside the installed package, or beside it in a checkout."""
    inside = files("mvit_lib") / "solutions"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "solutions"
