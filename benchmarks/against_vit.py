"""MobileViT's time against DeiT-Ti's over image sizes: `make bench ARGS=--vit`.

Writes mvit_lib/assets/tables/latency_against_vit.csv, which notebook 07 draws. One image at a time, in
inference mode, MobileViT with its BatchNorms folded (a ViT has none). At each size the networks run in
turns in one process; ratios are medians over rounds with their quartiles. A busy machine spoils times
more than ratios, and ratios too: record on a quiet one.
"""

import csv
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from loop import in_turns, ratio
from torch import nn

from mvit_lib import MobileViT, ViT
from mvit_lib.memory import keep_freed_pages
from mvit_lib.mobilevit import XS, XXS, S
from mvit_lib.vit import DEIT_TI

TABLE = Path(__file__).resolve().parents[1] / "mvit_lib" / "assets" / "tables" / "latency_against_vit.csv"
SIDES = (64, 128, 192, 256, 384, 512)
ROUNDS = 31


def networks(side: int) -> dict[str, nn.Module]:
    """DeiT-Ti, by which the others are divided, first; all in eval mode, for images of `side`."""
    torch.manual_seed(0)
    ours = {name: MobileViT(config).fuse() for name, config in (("XXS", XXS), ("XS", XS), ("S", S))}
    return {"DeiT-Ti": ViT(replace(DEIT_TI, image_size=side)).eval()} | ours


def timed(model: nn.Module, x: torch.Tensor) -> Callable[[], float]:
    """A function that runs the model once and returns its seconds."""

    def call() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            model(x)
        return time.perf_counter() - start

    return call


def measure(sides: Sequence[int] = SIDES, rounds: int = ROUNDS) -> list[dict[str, object]]:
    """A row per network and side: median milliseconds, and DeiT-Ti's time over this one's."""
    rows = []
    for side in sides:
        x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        seconds = in_turns({name: timed(model, x) for name, model in networks(side).items()}, rounds)
        for name, values in seconds.items():
            middle, low, high = ratio(seconds["DeiT-Ti"], values)
            row = {"network": name, "side": side, "ms": 1000 * statistics.median(values)}
            rows.append(row | {"ratio": middle, "ratio_low": low, "ratio_high": high})
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    return rows


def main(about: dict[str, str]) -> None:
    """Measure all sizes and write the table; every row names machine and command."""
    keep_freed_pages()
    torch.set_num_threads(min(2, os.cpu_count() or 1, torch.get_num_threads()))
    where = {
        "threads": torch.get_num_threads(),
        "machine": f"{about['processor']}, {os.cpu_count()} cores, torch {torch.__version__}",
        "command": "make bench ARGS=--vit",
    }
    rows = [row | where for row in measure()]
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with open(TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in r.items()} for r in rows)
    print(f"{len(rows)} rows in {TABLE.name}")
