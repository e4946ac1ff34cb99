"""The contest of notebook 03 with five seeds and other learning rates, as rows of `make runs`."""

from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import nbformat
import torch
from network_trainings import centred

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "03_vit.ipynb"
# The cells of the page that import, shuffle, draw the pictures, define the networks and train them.
CELLS = ("03-02", "03-12", "03-21", "03-25", "03-57", "03-60", "03-62")
ENTRIES = (
    "ViT",
    "ViT, pixels from -1 to 1",
    "ViT, 64 epochs",
    "CNN",
    "CNN, patches shuffled",
    "CNN, pixels shuffled",
)
# Of 0.005, the page's own, `ViT` and `CNN` tell.
OTHER_RATES = (5e-4, 1e-3, 2e-3, 1e-2)


@cache
def page() -> dict[str, Any]:
    """What the page's own cells define."""
    cells = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}
    names: dict[str, Any] = {}
    with redirect_stdout(StringIO()):
        for cell in CELLS:
            exec(cells[cell], names)
    return names


def compete(entry: str, rate: float = 5e-3) -> Callable[[int], dict[str, object]]:
    """One network on one view of the pictures; the shares of both splits named rightly, in per cent."""

    def run(seed: int) -> dict[str, object]:
        from_page = page()
        network = from_page["tiny_vit" if entry.startswith("ViT") else "tiny_cnn"](seed)
        if "pixels from" in entry:
            centred(network)
        parts = [from_page["train_x"], from_page["test_x"]]
        if "shuffled" in entry:
            count, patch = (16, (8, 8)) if "patches" in entry else (32 * 32, (1, 1))
            order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
            parts = [from_page["shuffle"](x, order, patch) for x in parts]
        epochs = 64 if "64" in entry else 16
        shares = from_page["train"](network, *parts, epochs=epochs, rate=rate)
        return {
            name: f"{100 * share:.1f}"
            for name, share in zip(("top1_train", "top1_test"), shares, strict=True)
        }

    return run
