"""What nbval cannot see: sizes, tags, metadata, alt text, the set-up cell, the anatomy of a notebook."""

import ast
import json
import re
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from notebooks import KERNEL, badge, repository, setup_cell

ROOT = Path(__file__).resolve().parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KNOWN_TAGS = re.compile(r"nbval-ignore-output|explorer|exercise:\d\d\.\d+")
CHECKS = re.compile(r"\b(compare|check)\(")
every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def test_the_notebooks_are_numbered_in_reading_order():
    assert [path.name[:2] for path in PATHS] == [f"{i:02d}" for i in range(len(PATHS))]


@every_notebook
def test_metadata_is_minimal(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata == KERNEL
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
        assert all(KNOWN_TAGS.fullmatch(tag) for tag in tags(cell)), tags(cell)


@every_notebook
def test_every_code_cell_was_run_in_order_without_error(path):
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for output in (output for cell in cells for output in cell.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        assert not output.get("metadata")


@every_notebook
def test_sizes(path):
    has_explorer = False
    for cell in code_cells(read(path)):
        is_explorer = "explorer" in tags(cell)
        has_explorer |= is_explorer
        limit = 1_200_000 if is_explorer else 150_000
        for output in cell.outputs:
            assert len(json.dumps(output)) <= limit, cell.source[:60]
        assert len(cell.source.splitlines()) <= 25, cell.source[:60]
    assert path.stat().st_size < (2_000_000 if has_explorer else 1_000_000)


@every_notebook
def test_no_path_of_any_machine(path):
    text = path.read_text(encoding="utf-8")
    own = [str(ROOT), str(Path.home()), tempfile.gettempdir(), sys.prefix]
    assert not any(folder in text for folder in own)
    assert not re.search(r"/home/|/Users/|[A-Z]:\\\\", text)


@every_notebook
def test_the_first_cell_is_the_same_everywhere(path):
    notebook = read(path)
    assert code_cells(notebook)[0].source == setup_cell(repository())
    assert badge(repository(), path.name) in notebook.cells[0].source


@every_notebook
def test_every_picture_has_one_line_of_alt_text(path):
    cells = read(path).cells
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        shows = any("image/png" in output.get("data", {}) for output in cell.get("outputs", ()))
        if shows:
            assert following is not None
            assert following.source.startswith("*Picture: "), cell.source


@every_notebook
def test_explanations_are_short(path):
    """At most 120 words a paragraph-run between two headings, formulas and tables apart."""
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for part in re.split(r"^#+ .*$|^\*\*(?:What to keep|Can you answer).*$", cell.source, flags=re.M):
                prose = re.sub(r"^\|.*$|^\d\. .*$|\$\$.*?\$\$", "", part, flags=re.M | re.S)
                assert len(prose.split()) <= 120, f"{len(prose.split())} words: {prose[:80]!r}"


@every_notebook
def test_few_outputs_are_ignored(path):
    cells = code_cells(read(path))
    ignored = sum("nbval-ignore-output" in tags(cell) for cell in cells)
    assert ignored <= 0.15 * len(cells)


@every_notebook
def test_no_attention_explorer_is_compared(path):
    """It holds every weight in eight bits: another processor rounds some of them to the other side."""
    for cell in code_cells(read(path)):
        if cell.source.startswith("attention_explorer("):
            assert {"explorer", "nbval-ignore-output"} <= set(tags(cell))


@pytest.mark.parametrize(
    "path",
    [p for p in PATHS if "01" <= p.name[:2] <= "07"] or [None],
    ids=lambda p: getattr(p, "stem", "none"),
)
def test_the_derivations_check_themselves(path):
    if path is not None:
        cells = code_cells(read(path))
        assert sum(bool(CHECKS.search(cell.source)) for cell in cells) >= 0.4 * len(cells)


@every_notebook
def test_every_exercise_is_a_stub_with_its_check_below(path):
    cells = read(path).cells
    exercises = 0
    for i, cell in enumerate(cells):
        numbers = [tag.split(":")[1] for tag in tags(cell) if tag.startswith("exercise:")]
        if not numbers:
            continue
        (number,) = numbers
        exercises += 1
        assert number.startswith(path.name[:2] + ".")
        assert re.match(rf"# EXERCISE {number} .*[●○]{{5}} .*about \d+ minutes\n", cell.source), cell.source
        (function,) = [n for n in ast.parse(cell.source).body if isinstance(n, ast.FunctionDef)]
        assert ast.get_docstring(function)
        assert "raise NotImplementedError" in cell.source
        assert f'check("{number}", {function.name})' in cells[i + 1].source
        stored = "".join(output.text for output in cells[i + 1].outputs)
        assert stored == f'{number}  not attempted yet.   Stuck?  hint("{number}")\n'
    assert exercises >= 1


@every_notebook
def test_what_a_message_tells_to_type_is_imported(path):
    imported = set()
    for cell in code_cells(read(path)):
        if "mvit_lib.course" in cell.source and "%pip" not in cell.source:
            nodes = ast.walk(ast.parse(cell.source))
            imported |= {a.name for node in nodes if isinstance(node, ast.ImportFrom) for a in node.names}
    assert {"check", "hint", "solution"} <= imported


@every_notebook
def test_the_end_has_formulas_and_five_questions(path):
    last = read(path).cells[-1].source
    assert "**What to keep**" in last
    questions = last.split("**Can you answer without looking?**")[1].split("**Next")[0]
    assert len(re.findall(r"^\d\. .*\?$", questions, re.MULTILINE)) == 5
