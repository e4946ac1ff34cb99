"""Yours and expected, side by side: the small picture under a wrong answer."""

import builtins

import torch
from torch import Tensor

LARGEST = 24  # rows and columns that are still readable


def as_table(values: Tensor) -> Tensor:
    """A tensor of any rank as a table: the last axis stays, the others are written one below the other."""
    values = values.detach().double().cpu()
    table = values.reshape(-1, values.shape[-1]) if values.dim() else values.reshape(1, 1)
    return table[:LARGEST, :LARGEST]  # [rows, columns]


def show_side_by_side(yours: Tensor, expected: Tensor) -> None:
    """Draw both as coloured numbers, what differs framed. Outside a notebook it draws nothing."""
    shell = getattr(builtins, "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel"):
        return
    from IPython.display import display

    display(fig_side_by_side(yours, expected)[0])


def fig_side_by_side(yours: Tensor, expected: Tensor):  # noqa: ANN201  matplotlib is imported late
    """(Figure, {"wrong": bool table}) of the two tensors as tables of coloured numbers."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from mvit_lib.look.style import ACCENT, SEQUENTIAL, bare

    left, right = as_table(yours), as_table(expected)
    wrong = ~torch.isclose(left, right, atol=1e-6)
    rows, columns = right.shape
    figure = Figure(figsize=(min(8, 1.2 + 0.8 * columns), min(6, 0.6 + 0.3 * rows)))
    finite = right[right.isfinite()]
    low, high = (finite.min().item(), finite.max().item()) if len(finite) else (0, 1)
    for ax, title, table in zip(figure.subplots(1, 2), ("yours", "expected"), (left, right), strict=True):
        bare(ax).set_title(title)
        ax.imshow(table.numpy(), cmap=SEQUENTIAL, vmin=low, vmax=high, aspect="auto")
        if columns <= 12:
            for row in range(rows):
                for column in range(columns):
                    value = table[row, column].item()
                    dark = value < (low + high) / 2
                    ax.text(column, row, f"{value:.4g}", ha="center", va="center", fontsize=9,
                            color="white" if dark else "black")  # fmt: skip
        for row, column in wrong.nonzero().tolist():
            ax.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, ec=ACCENT, lw=2))
    return figure, {"wrong": wrong}
