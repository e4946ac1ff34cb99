"""Long proofs: the wheel alone is enough, and every solution, put into its notebook, earns its ✓."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from mvit_lib.course.engine import exercise

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.slow


def function_source(path: Path, name: str) -> str:
    source = path.read_text(encoding="utf-8")
    nodes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    return ast.get_source_segment(source, nodes[name])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_with_all_solutions_every_check_prints_a_tick(path):
    notebook = nbformat.read(path, as_version=4)
    numbers = []
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("exercise:"):
                numbers.append(tag.split(":")[1])
                file, function = exercise(numbers[-1]).solution
                stub = next(node.name for node in ast.parse(cell.source).body if hasattr(node, "name"))
                assert function == stub
                cell.source = function_source(ROOT / "solutions" / file, function)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    for number in numbers:
        assert f"{number}  ✓" in printed
    assert "✗" not in printed


RUN = """
import sys, nbformat
from nbclient import NotebookClient
for path, number in zip(sys.argv[1::2], sys.argv[2::2]):
    notebook = nbformat.read(path, as_version=4)
    cells = [c for c in notebook.cells if "nbval-ignore-output" not in c.metadata.get("tags", ())]
    told = lambda cell: "".join(o.get("text", "") for o in cell.get("outputs", ()))  # however it was cut
    stored = [told(c) for c in cells]
    NotebookClient(notebook, timeout=120).execute()
    fresh = [told(c) for c in cells]
    assert fresh == stored, (path, fresh, stored)
    from mvit_lib.course import solution
    solution(number)
import mvit_lib
print(mvit_lib.__file__)
"""


def test_the_wheel_alone_runs_notebooks(tmp_path):
    """Built from a copy, installed into an empty environment, with the copy gone."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("mvit_lib", "solutions"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [ROOT / "pyproject.toml", ROOT / "README.md", *ROOT.glob("LICENSE*")]:
        shutil.copy(path, copy)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(copy)], check=True, capture_output=True)
    shutil.rmtree(copy)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*install, f"{wheel}[course]"], check=True)
    wanted = {"00_start_here.ipynb": "00.1", "06_mobilevit_block.ipynb": "06.1"}
    for name in wanted:
        shutil.copy(ROOT / "notebooks" / name, tmp_path)
    arguments = [word for pair in wanted.items() for word in pair]
    done = subprocess.run([str(python), "-c", RUN, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "def partners(" in done.stdout and "def exchange(" in done.stdout
    assert str(tmp_path / "venv") in done.stdout


def test_widgets_work_with_the_ipywidgets_of_colab(tmp_path):
    """Colab has ipywidgets 7.7.1, years older than what a new environment gets."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    subprocess.run([*install, "ipywidgets==7.7.1", "ipython_genutils"], check=True)
    script = "import ipywidgets, pytest, sys; assert ipywidgets.__version__ == '7.7.1'; "
    script += "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', 'tests/test_widgets.py']))"
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
