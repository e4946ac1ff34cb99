"""What the first cell of every notebook calls, and the recorded answers that notebooks compare with."""

import builtins
from importlib.resources import as_file, files

import numpy as np
import torch
from torch import Tensor


def setup() -> None:
    """Draw in the course's style, store small pictures, start from the same random numbers every time."""
    from matplotlib.figure import Figure

    from mvit_lib.look.style import compact_png, use_style

    use_style()
    torch.manual_seed(0)
    shell = getattr(builtins, "get_ipython", lambda: None)()
    if hasattr(shell, "kernel"):
        shell.run_line_magic("matplotlib", "inline")
        shell.display_formatter.formatters["image/png"].for_type(Figure, compact_png)


def load_reference(name: str) -> dict[str, Tensor]:
    """Arrays that another library gave, recorded by `make references`.

    Raises: FileNotFoundError naming the records there are.
    """
    folder = files("mvit_lib") / "assets" / "reference"
    record = folder / f"{name}.npz"
    if not record.is_file():
        there = sorted(f.name.removesuffix(".npz") for f in folder.iterdir())
        raise FileNotFoundError(f"no reference called {name!r}: expected one of {there}")
    with as_file(record) as path, np.load(path, allow_pickle=False) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
