"""Tables of numbers that notebooks draw: published with their source, measured, recorded by trainings."""

import csv
from importlib.resources import files
from importlib.resources.abc import Traversable

Row = dict[str, str | int | float]


def load_table(name: str) -> list[Row]:
    """The rows of assets/tables/<name>.csv; what looks like a number is one.

    Raises: FileNotFoundError naming the tables there are.
    """
    folder = files("mvit_lib") / "assets" / "tables"
    table = folder / f"{name}.csv"
    if not table.is_file():
        there = sorted(f.name.removesuffix(".csv") for f in folder.iterdir())
        raise FileNotFoundError(f"no table called {name!r}: expected one of {there}")
    return _rows(table)


def load_runs(name: str) -> list[Row]:
    """The trainings that `make runs` has recorded so far in assets/runs/<name>.csv; none yet gives []."""
    table = files("mvit_lib") / "assets" / "runs" / f"{name}.csv"
    return _rows(table) if table.is_file() else []


def _rows(table: Traversable) -> list[Row]:
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return [{key: _value(text) for key, text in row.items()} for row in rows]


def _value(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
