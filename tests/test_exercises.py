"""Solutions pass, stubs are not attempted, every mutant is refused by the message meant for it."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from mvit_lib.course import check, compare, hint, load_reference, solution
from mvit_lib.course.engine import exercise, exercises

ROOT = Path(__file__).resolve().parents[1]


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXERCISES = exercises()
MUTANTS = {
    number: mutants
    for path in sorted((ROOT / "tests" / "mutants").glob("m*.py"))
    for number, mutants in load(path).MUTANTS.items()
}
CASES = [(number, f, words) for number, mutants in MUTANTS.items() for f, words in mutants.items()]


def test_every_exercise_has_at_least_five_mutants():
    assert MUTANTS.keys() == EXERCISES.keys()
    assert all(len(mutants) >= 5 for mutants in MUTANTS.values())


@pytest.mark.parametrize("number", EXERCISES)
def test_the_solution_passes_and_says_why(number, capsys):
    file, function = EXERCISES[number].solution
    check(number, getattr(load(ROOT / "solutions" / file), function))
    assert capsys.readouterr().out == f"{number}  ✓  {EXERCISES[number].notice}\n"
    solution(number)
    shown = capsys.readouterr().out
    assert shown.startswith(f"def {function}(")
    assert shown.count("    # ") >= 3


@pytest.mark.parametrize(("number", "mutant", "words"), CASES, ids=lambda c: getattr(c, "__name__", None))
def test_a_mutant_is_refused_by_the_message_meant_for_it(number, mutant, words, capsys):
    check(number, mutant)
    out = capsys.readouterr().out
    assert out.startswith(f"{number}  ✗")
    assert words in out


@pytest.mark.parametrize("number", EXERCISES)
def test_a_stub_is_not_attempted_and_a_crash_is_reported(number, capsys):
    def stub(*args):
        raise NotImplementedError

    def crash(*args):
        return {}["nothing"]

    check(number, stub)
    assert capsys.readouterr().out == f'{number}  not attempted yet.   Stuck?  hint("{number}")\n'
    check(number, crash)
    assert "KeyError: 'nothing'" in capsys.readouterr().out
    check(number, lambda *args: torch.softmax(torch.arange(3), 0))
    assert f"{number}  ✗  your function stopped with NotImplementedError: " in capsys.readouterr().out
    check(number, lambda *args: sys.exit())
    assert "stopped with SystemExit" in capsys.readouterr().out
    check(number, 7)
    assert "expected a function, got int" in capsys.readouterr().out


def test_strict_mode_raises(monkeypatch):
    monkeypatch.setenv("MVIT_CHECK", "strict")
    with pytest.raises(AssertionError, match=r"00\.1  ✗"):
        check("00.1", lambda *args: [])


@pytest.mark.parametrize("number", EXERCISES)
def test_hints_come_in_three_steps(number, capsys):
    for step in (1, 2, 3):
        hint(number, step)
        out = capsys.readouterr().out
        assert EXERCISES[number].hints[step - 1] in out
        assert (f'hint("{number}", {step + 1})' in out) == (step < 3)
    hint(number, 4)
    assert f'solution("{number}")' in capsys.readouterr().out


def test_an_unknown_exercise_is_named():
    for call in (exercise, lambda number: check(number, print)):
        with pytest.raises(KeyError, match=r"99\.9.*00\.1"):
            call("99.9")


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (torch.ones(2), torch.ones(2), "max|diff| = 0   ✓ equal\n"),
        (torch.ones(2), torch.ones(2) + 3e-6, "max|diff| ≤ 1e-05   ✓\n"),
        (
            torch.zeros(2, 3),
            torch.tensor([[0, 0, 0], [0, 0.5, 0]]),
            "✗  max|diff| = 0.5 > 1e-05, at [1, 1]: 0 and 0.5\n",
        ),
        (torch.zeros(2), torch.zeros(3), "✗  shapes differ: (2,) and (3,)\n"),
        (torch.tensor([0.0, torch.nan]), torch.zeros(2), "✗  max|diff| = nan > 1e-05, at [1]: nan and 0\n"),
        (torch.zeros(0), torch.zeros(0), "max|diff| = 0   ✓ equal\n"),
        (torch.tensor([-torch.inf]), torch.tensor([-torch.inf]), "max|diff| = 0   ✓ equal\n"),
        (
            torch.tensor([2**62 + 1]),
            torch.tensor([2**62]),
            "✗  max|diff| = 1 > 1e-05, at [0]: 4.612e+18 and 4.612e+18\n",
        ),
        (torch.tensor([1 + 2j]), torch.tensor([1 + 3j]), "✗  max|diff| = 1 > 1e-05, at [0]: 1+2j and 1+3j\n"),
    ],
)
def test_compare_says_what_differs(a, b, said, capsys):
    compare(a, b)
    assert capsys.readouterr().out == said


def test_references_are_what_transformers_says():
    from references import REFERENCES

    folder = ROOT / "mvit_lib" / "assets" / "reference"
    assert {path.stem for path in folder.iterdir()} == REFERENCES.keys()
    for name, record in REFERENCES.items():
        stored = load_reference(name)
        fresh = record()
        assert fresh.keys() == stored.keys()
        for key, array in fresh.items():
            torch.testing.assert_close(stored[key], torch.from_numpy(array), rtol=0, atol=2e-6)


def test_an_unknown_reference_is_named():
    with pytest.raises(FileNotFoundError, match=r"'nothing'.*mobilevit_xxs_on_chelsea"):
        load_reference("nothing")
