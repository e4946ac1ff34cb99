"""Tables of numbers that notebooks draw: published ones with their source, and measured ones."""

import csv
from importlib.resources import files

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
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return [{key: _value(text) for key, text in row.items()} for row in rows]


def _value(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
