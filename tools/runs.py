"""The runs table: every row is trained once and recorded as one CSV line: `make runs`.

Rows that are recorded are skipped; a finished row is written at once. Hours are of two CPU cores.
Several `make runs` may go on side by side: each takes a row that no other is busy with.
`make runs ARGS="multi_scale: TrashNet"` does only the rows whose "table: name" begins like that.
"""

import csv
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
import torch
from contest import ENTRIES, OTHER_RATES, compete
from dense_trainings import BACKBONES, BCCD_STARTS, blood_cells, ship_detector, ship_segmenter, swap_backbone
from network_trainings import NETWORKS, SETTINGS, TRIED, compare_networks, try_rate
from PIL import Image
from torch import nn
from trainings import (
    COMPARED,
    MARKS,
    SAMPLERS,
    SHIPPED,
    STARTS,
    UNFOLDS,
    compare_marks,
    compare_samplers,
    locked,
    ship,
    transfer,
)

from mvit_lib import mobilevit_xxs
from mvit_lib.memory import keep_freed_pages
from mvit_lib.transforms import image_to_tensor

FOLDER = Path(__file__).resolve().parents[1] / "mvit_lib" / "assets" / "runs"


@dataclass(frozen=True)
class Row:
    """One training: the file it is recorded in, its name and seed, what it costs, how it is run."""

    file: str
    name: str
    seed: int
    hours: float
    run: Callable[[int], dict[str, object]]

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.file}.csv"


def recorded(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV; none if it does not exist yet."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def record(row: Row, result: dict[str, object]) -> None:
    """Append one row, writing to a temporary name first so that a crash leaves the old file whole."""
    line = {"name": row.name, "seed": row.seed} | result
    FOLDER.mkdir(parents=True, exist_ok=True)
    temporary = row.path.with_suffix(".tmp")
    with locked("record", wait=True):
        rows = [*recorded(row.path), line]
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(line), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, row.path)


def photo_crops(seed: int, count: int = 64, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Square crops of four photos, each with the number of its photo: [count, 3, side, side], [count]."""
    names = ("astronaut", "chelsea", "coffee", "rocket")
    photos = [image_to_tensor(Image.fromarray(getattr(skimage.data, name)())) for name in names]
    draw = np.random.default_rng(seed)
    crops, labels = [], []
    for i in range(count):
        photo = photos[i % len(photos)]
        y, x = (int(draw.integers(0, n - 2 * side)) for n in photo.shape[1:])
        crops.append(photo[:, y : y + 2 * side : 2, x : x + 2 * side : 2])
        labels.append(i % len(photos))
    return torch.stack(crops), torch.tensor(labels)


def draw_normal(model: nn.Module, norms_too: bool) -> None:
    """transformers' initialisation of MobileViT: all weights, and the BatchNorms' too, normal, σ = 0.02."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) or (norms_too and isinstance(module, nn.BatchNorm2d)):
            nn.init.normal_(module.weight, std=0.02)


INITIALISATIONS: dict[str, Callable[[nn.Module], None]] = {
    "official": lambda model: None,
    "normal 0.02": lambda model: draw_normal(model, norms_too=False),
    "normal 0.02, BatchNorm too": lambda model: draw_normal(model, norms_too=True),
}


def initialisation(name: str, steps: int = 120) -> Callable[[int], dict[str, object]]:
    """XXS from scratch on 64 crops of four photos: the loss after `steps` steps of AdamW."""

    def run(seed: int) -> dict[str, object]:
        torch.manual_seed(seed)
        model = mobilevit_xxs(num_classes=4)
        INITIALISATIONS[name](model)
        images, labels = photo_crops(seed)
        with torch.no_grad():
            before = model.eval()(images).std(dim=0).mean().item()
        optimizer = torch.optim.AdamW(model.train().parameters(), lr=2e-4, weight_decay=0.01)
        for _ in range(steps):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"steps": steps, "logit_std_before": f"{before:.1e}", "loss": f"{loss.item():.4f}"}

    return run


SEEDS = (0, 1, 2)
ROWS = [
    *(
        Row("initialisation", name, seed, 0.01, initialisation(name))
        for name in INITIALISATIONS
        for seed in SEEDS
    ),
    *(Row("contest", entry, seed, 0.005, compete(entry)) for entry in ENTRIES for seed in range(5)),
    *(
        Row("contest", f"{entry}, learning rate {rate:g}", 0, 0.005, compete(entry, rate))
        for entry in ("ViT", "CNN")
        for rate in OTHER_RATES
    ),
    *(Row("shipped", name, 0, hours, ship(name)) for name, hours in SHIPPED.items()),
    *(
        Row("multi_scale", f"{data}, {sampler}", seed, 0.13, compare_samplers(data, sampler))
        for seed in SEEDS
        for data in COMPARED
        for sampler in SAMPLERS
    ),
    *(
        Row("rates", f"{net}, {rate:g}", max(SEEDS) + 1, 0.03, try_rate(net, rate))
        for net, tried in TRIED.items()
        for rate in tried
    ),
    *(
        Row(
            "networks",
            f"{data} {share} %, {augmentation}, {net}",
            seed,
            0.03,
            compare_networks(net, data, share, augmentation),
        )
        for seed in SEEDS
        for data, share, augmentation in SETTINGS
        for net in NETWORKS
    ),
    Row("detection", "pixelzoo-xxs-ssdlite", 0, 2.4, ship_detector),
    Row("segmentation", "pixelzoo-xxs-deeplabv3", 0, 6.5, ship_segmenter),
    *(
        Row("detection", f"BCCD, {start}", seed, 0.25, blood_cells(start))
        for seed in SEEDS
        for start in BCCD_STARTS
    ),
    *(
        Row(file, f"PixelZoo, {backbone}", seed, 0.12, swap_backbone(task, backbone))
        for seed in SEEDS
        for file, task in (("detection", "detect"), ("segmentation", "segment"))
        for backbone in BACKBONES
    ),
    *(Row("transfer", start, seed, 0.2, transfer(start)) for seed in SEEDS for start in STARTS),
    *(
        Row("two_marks", f"{unfold}, {where}", seed, 0.001, compare_marks(unfold, where))
        for unfold in UNFOLDS
        for where in MARKS
        for seed in range(5)
    ),
]


def is_recorded(row: Row) -> bool:
    return any((r["name"], r["seed"]) == (row.name, str(row.seed)) for r in recorded(row.path))


def main() -> None:
    keep_freed_pages()
    beginning = sys.argv[1] if len(sys.argv) > 1 else ""
    wanted = [row for row in ROWS if not is_recorded(row) and f"{row.file}: {row.name}".startswith(beginning)]
    hours = sum(row.hours for row in wanted)
    print(f"{len(wanted)} of {len(ROWS)} rows to run, about {hours:.2f} hours on 2 cores", flush=True)
    for row in wanted:
        with locked(f"{row.file}-{row.name}-{row.seed}") as ours:
            if not ours or is_recorded(row):
                continue
            start = time.perf_counter()
            print(f"{row.file}: {row.name}, seed {row.seed}", flush=True)
            result = row.run(row.seed)
            record(row, result)
            print(f"{time.perf_counter() - start:.0f} s  {result}", flush=True)


if __name__ == "__main__":
    main()
