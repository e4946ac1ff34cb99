"""Every test starts from the same random numbers; property tests may take their time."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("course", deadline=None)
settings.load_profile("course")

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
# The last two are the front end that speaks with ipywidgets 7.
COLAB = {"ipywidgets": "==7.7.1", "matplotlib": "==3.10.0", "numpy": "==2.1.3", "ipython": "==7.34.0",
         "jupyterlab_widgets": ">=1,<2", "widgetsnbextension": ">=3.6,<4"}  # fmt: skip


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def colab_versions() -> dict[str, str]:
    """Colab's versions of what notebooks and widgets use, as far as they differ from constraints.txt."""
    return COLAB


@pytest.fixture(scope="session")
def new_venv(tmp_path_factory) -> Iterator[Callable]:
    """A function that makes an environment and gives its Python; all are removed at the end, 1 GB each."""
    folder = tmp_path_factory.mktemp("venvs")

    def create(name: str, *packages: str, other: dict[str, str], python: str = sys.executable) -> Path:
        """The versions are those of constraints.txt, but for the `other` ones; "" leaves one open."""
        pins = CONSTRAINTS.read_text(encoding="utf-8")
        for package, version in other.items():
            pins = re.sub(rf"^{package}==.*\n", "", pins, flags=re.MULTILINE | re.IGNORECASE)
            pins += f"{package}{version}\n" if version else ""
        (folder / f"{name}.txt").write_text(pins, encoding="utf-8")
        subprocess.run([python, "-m", "venv", str(folder / name)], check=True)
        inside = folder / name / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        install = [str(inside), "-m", "pip", "install", "--quiet", "-c", str(folder / f"{name}.txt")]
        subprocess.run([*install, *packages], check=True)
        return inside

    yield create
    shutil.rmtree(folder)
