"""Keep the notebooks in order: `execute` runs and stores them, `badges` writes the repository's address."""

import re
import sys
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
KERNEL["language_info"] = {"name": "python"}

# The first code cell of every notebook. Colab lacks torchinfo; everything else is there.
SETUP_CELL = """\
# On Colab this installs the course's library; elsewhere it only imports it.
import importlib.util, sys

if importlib.util.find_spec("mvit_lib") is None:
    if "google.colab" not in sys.modules:
        raise ModuleNotFoundError("mvit_lib: run `make lab`, or see README.md")
    archive = "{archive}"
    %pip install -q --no-deps {{archive}} torchinfo

from mvit_lib.course import setup

setup()"""


def repository() -> str:
    """The address in pyproject.toml: the one place where it stands."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]["urls"]["Repository"]


def setup_cell(address: str) -> str:
    """The source of the first code cell."""
    return SETUP_CELL.format(archive=f"{address}/archive/refs/heads/main.zip")


def badge(address: str, name: str) -> str:
    """The line under a notebook's title that opens it in Colab."""
    target = address.replace("https://github.com/", "https://colab.research.google.com/github/")
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})]({target}/blob/main/notebooks/{name})"


def write_addresses() -> None:
    """Write set-up cell and badge into every notebook; outputs stay as they are."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        first.source = setup_cell(repository())
        title = notebook.cells[0]
        line = badge(repository(), path.name)
        title.source = re.sub(r"^\[!\[Open in Colab\].*$", line, title.source, flags=re.MULTILINE)
        nbformat.write(notebook, path)
        print(path.name)


def execute(path: Path) -> None:
    """Run a notebook from top to bottom and store it with its outputs and minimal metadata."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # a local kernel need not be encrypted
    )
    client.execute()
    notebook.metadata = KERNEL
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        for output in cell.get("outputs", ()):
            output.get("metadata", {}).clear()
    nbformat.write(notebook, path)


def main() -> None:
    command, *numbers = sys.argv[1:]
    if command == "badges":
        write_addresses()
        return
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not numbers or path.name[:2] in numbers:
            execute(path)
            print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
