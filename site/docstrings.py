"""A Sphinx extension: the library's docstrings, plain English with shapes, become reStructuredText.

They are no markup, so everything is escaped but `names`. A line "Shape:", "Raises:", "Source:" or
"argument:" becomes an entry of a list; so does an argument in the middle of a line, after a full stop.
"""

import inspect
import re
from itertools import pairwise
from typing import Any

from pages import PUBLIC
from sphinx.application import Sphinx

LABELS = ("Shape", "Raises", "Source", "data")
FULL = 88  # a line that ends earlier, with a full stop, was ended on purpose


def escaped(text: str) -> str:
    """Text as reStructuredText: nothing means anything, but `code`, a link if it names something public."""
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([\\*_|])", r"\\\1", parts[i])
    for i in range(1, len(parts), 2):
        target = PUBLIC.get(parts[i].removesuffix("()"))
        code = f":py:obj:`{parts[i]} <{target}>`" if target else f"``{parts[i]}``"
        parts[i] = rf"\ {code}\ "
    return r"\ " + "".join(parts)


def items(paragraph: str, arguments: set[str]) -> list[tuple[str, str]]:
    """The paragraph in parts of (label, text); label "" for ordinary text."""
    names = "|".join(map(re.escape, sorted(arguments, key=len, reverse=True))) or "(?!)"
    several = rf"(?:{names})(?:(?:, | and )(?:{names}))*"
    label = re.compile(rf"(?P<label>{'|'.join(LABELS)}|{several}): ")
    lines = paragraph.splitlines()
    text = lines[0]
    for before, line in pairwise(lines):
        ended = before.endswith((".", ";")) and len(before) + len(line.split()[0]) < FULL
        begins = label.match(line) and not before.endswith(",")  # not the second of two names
        text += ("\n" if ended or begins else " ") + line
    text = re.sub(rf"(?<=[.;]) (?={several}: )", "\n", text)
    found = []
    for line in text.split("\n"):
        start = label.match(line)
        found.append((start["label"], line[start.end() :]) if start else ("", line))
    return found


def to_rst(text: str, arguments: set[str]) -> list[str]:
    """A docstring as lines of reStructuredText."""
    lines = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        for label, words in items(paragraph, arguments):
            if label:
                term = label if label in LABELS else f"``{label}``"
                lines += [term, f"   {escaped(words.rstrip(';'))}", ""]
            else:
                lines += [escaped(words), ""]
    return lines


def arguments_of(thing: Any) -> set[str]:
    """The names a call of it takes."""
    try:
        return set(inspect.signature(thing).parameters) - {"self"}
    except (TypeError, ValueError):
        return set()


def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst("\n".join(lines), arguments_of(thing))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
