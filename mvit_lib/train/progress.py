"""What a training shows while it runs: a bar in terminals, bar and live curve in notebooks, lines in logs."""

import csv
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from tqdm.auto import tqdm

from mvit_lib.train.distributed import rank_and_size

SECONDS_BETWEEN_CURVES = 1.0


@dataclass
class History:
    """What a training went through: a row per epoch, the loss of every update, how long it took.

    rows: epoch (from 1), updates, images, seconds and cpu_seconds (of training, loading included,
    evaluation not), rate, loss (mean of the epoch) and what the evaluation gave. stopped: whether it was
    stopped before its last epoch.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    stopped: bool = False

    @property
    def seconds(self) -> float:
        """Of training alone, without evaluation."""
        return sum(row["seconds"] for row in self.rows)

    def write_csv(self, path: str | Path) -> None:
        """A line per epoch."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        temporary = Path(path).with_suffix(".tmp")
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(temporary, path)

    def __str__(self) -> str:
        return "\n".join(_line(row) for row in self.rows) or "no epoch finished"


class Stopwatch:
    """Seconds by the clock, and of the processor in all threads of this process."""

    def __init__(self, spent: dict[str, float] | None = None) -> None:
        self.spent = spent or {"seconds": 0.0, "cpu_seconds": 0.0}
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self.last = self._now()

    def lap(self) -> None:
        """Add what has passed since the last time."""
        now = self._now()
        self.spent = {name: self.spent[name] + now[name] - self.last[name] for name in now}
        self.last = now

    def _now(self) -> dict[str, float]:
        return {"seconds": time.perf_counter(), "cpu_seconds": time.process_time()}


def _line(row: dict[str, float]) -> str:
    """An epoch in words: scores as percentages, losses as they are."""
    parts = [f"epoch {row['epoch']:g}", f"loss {row['loss']:.3f}"]
    shown = {"val_loss": "{:.3f}"} | dict.fromkeys(("top1", "top5", "voc_ap50", "miou"), "{:.1%}")
    parts += [f"{name} {form.format(row[name])}" for name, form in shown.items() if name in row]
    return "   ".join([*parts, f"{row['images'] / row['seconds']:.0f} images/s"])


def in_notebook() -> bool:
    """Whether a Jupyter or Colab kernel runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class Progress:
    """Shows one training; silent if it is to be quiet, and on every rank but the first."""

    def __init__(self, updates: int, history: History, quiet: bool = False) -> None:
        self.history, self.curve, self.drawn_at = history, None, 0.0
        self.speaks = rank_and_size()[0] == 0 and not quiet
        notebook = in_notebook()
        shown = self.speaks and (notebook or sys.stderr.isatty())
        self.bar = tqdm(
            total=updates, initial=len(history.losses), unit="step", disable=not shown, dynamic_ncols=True
        )
        if notebook and self.speaks:
            self.curve = _show_curve()

    def update(self, loss: float) -> None:
        """One step done."""
        self.history.losses.append(loss)
        self.bar.update()
        if self.bar.disable:
            return
        self.bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        if self.curve is not None and time.monotonic() - self.drawn_at > SECONDS_BETWEEN_CURVES:
            self.draw()

    def draw(self) -> None:
        """Bring the live curve up to date."""
        if self.curve is not None:
            self.curve.value, self.drawn_at = loss_svg(self.history.losses), time.monotonic()

    def epoch(self, row: dict[str, Any]) -> None:
        """One epoch done."""
        if self.speaks and self.curve is None:
            tqdm.write(_line(row))
        self.draw()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.draw()
        self.bar.close()


def _show_curve() -> Any:
    """An empty place under the cell for the curve; None where ipywidgets is missing."""
    try:
        import ipywidgets
        from IPython.display import display
    except ModuleNotFoundError:
        return None
    place = ipywidgets.HTML()
    display(place)
    return place


def smooth(losses: Sequence[float], points: int = 200) -> list[float]:
    """Means over equal stretches: at most `points` of them."""
    values = torch.tensor(losses, dtype=torch.float64)
    return [chunk.mean().item() for chunk in values.tensor_split(min(points, len(losses)))]


def loss_svg(losses: Sequence[float], width: int = 480, height: int = 160) -> str:
    """The losses of all updates as a small line drawing, axes at 0."""
    if not losses:
        return ""
    means, left, bottom = smooth(losses), 40, 22
    top = max(max(means), 1e-9)
    step = (width - left - 8) / max(len(means) - 1, 1)
    line = " ".join(
        f"{left + i * step:.1f},{height - bottom - loss / top * (height - bottom - 12):.1f}"
        for i, loss in enumerate(means)
    )
    ink, base = "#737981", height - bottom
    label = f'fill="{ink}" font-size="12" font-family="sans-serif"'
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="training loss, now {means[-1]:.3f}">'
        f'<path d="M{left} 8V{base}H{width - 8}" stroke="{ink}" fill="none"/>'
        f'<text x="{left - 4}" y="16" text-anchor="end" {label}>{top:.2f}</text>'
        f'<text x="{left - 4}" y="{base}" text-anchor="end" {label}>0</text>'
        f'<text x="{width - 8}" y="{height - 6}" text-anchor="end" {label}>step {len(losses)}</text>'
        f'<text x="{left}" y="{height - 6}" {label}>training loss {means[-1]:.3f}</text>'
        f'<polyline points="{line}" fill="none" stroke="#e0662d" stroke-width="2"/></svg>'
    )
