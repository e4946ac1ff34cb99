"""Judge the paper again: run notebook 14 and write its verdicts as a table, `make claims`."""

import contextlib
import io
from pathlib import Path

import matplotlib
import nbformat
import torch
from IPython.core.inputtransformer2 import TransformerManager
from matplotlib import pyplot as plt

from mvit_lib.course.trial import Trial, write_claims

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "14_the_paper_on_trial.ipynb"
TABLE = ROOT / "mvit_lib" / "assets" / "tables" / "claims.csv"


def judged() -> Trial:
    """The trial as the notebook's code cells leave it, exercises unsolved; nothing is printed or shown."""
    names: dict[str, object] = {"__name__": "__main__"}
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    threads = torch.get_num_threads()
    matplotlib.use("agg")
    with contextlib.redirect_stdout(io.StringIO()), matplotlib.rc_context():
        for i, cell in enumerate(cells):
            source = TransformerManager().transform_cell(cell.source)
            exec(compile(source, f"{NOTEBOOK.name}, code cell {i + 1}", "exec"), names)
    torch.set_num_threads(threads)
    plt.close("all")
    return names["trial"]  # type: ignore[return-value]


if __name__ == "__main__":
    rows = judged().rows()
    write_claims(rows, TABLE)
    print(f"{len(rows)} claims in {TABLE.relative_to(ROOT)}; `make notebooks ARGS=14` shows them")
