"""What the training loop costs beside the network: `make bench ARGS=--loop`. Writes training.csv and .md.

Every comparison runs in turns in one process; ratios are medians over rounds with their quartiles.
"""

import csv
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from mvit_lib import mobilevit_xxs
from mvit_lib.cost import count_macs
from mvit_lib.data import MultiScaleSampler, PixelZoo
from mvit_lib.memory import keep_freed_pages
from mvit_lib.train import Recipe
from mvit_lib.train.distributed import process_group, rank_and_size
from mvit_lib.train.loaders import Keyed, make_loader
from mvit_lib.train.loop import Run
from mvit_lib.train.tasks import Classify

HERE = Path(__file__).resolve().parent
SIZE, BATCH, IMAGES = 128, 64, 1280
SAID = "measured:"  # what a process of its own prints before its numbers
MULTI_SCALE = (80, 96, 128, 144, 160)
RECIPE = Recipe.small(epochs=100, batch=BATCH, size=SIZE)


def zoo(size: int = SIZE) -> PixelZoo:
    return PixelZoo("train", length=IMAGES, size=size, cache=True)


def epochs(recipe: Recipe, workers: int) -> Callable[[], float]:
    """A function that trains the next epoch as `fit` does and returns its seconds."""
    run = Run(mobilevit_xxs(num_classes=10), zoo(160), recipe, "classify", None, None, workers)

    def epoch() -> float:
        start = time.perf_counter()
        for batches in run.updates_of(run.epoch):
            run.take_step(batches)
        seconds = time.perf_counter() - start
        run.epoch, run.step = run.epoch + 1, 0
        return seconds

    return epoch


def bare_steps() -> Callable[[], float]:
    """As many steps as an epoch has, on one batch that is already there: forward, loss, backward, AdamW."""
    model = mobilevit_xxs(num_classes=10).to(memory_format=torch.channels_last).train()
    optimizer = RECIPE.optimizer(model)
    images = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % 10

    def steps() -> float:
        start = time.perf_counter()
        for _ in range(IMAGES // BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels, label_smoothing=0.1).backward()
            optimizer.step()
        return time.perf_counter() - start

    return steps


def in_turns(candidates: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every round, the first one (warm-up) left out."""
    seconds = {name: [] for name in candidates}
    for i in range(rounds + 1):
        for name, call in candidates.items():
            taken = call()
            if i:
                seconds[name].append(taken)
    return seconds


def ratio(above: list[float], below: list[float]) -> tuple[float, float, float]:
    """Median of above / below over the rounds, with quartiles."""
    low, middle, high = statistics.quantiles([a / b for a, b in zip(above, below, strict=True)], n=4)
    return middle, low, high


def loading(multi_scale: bool, rounds: int = 5) -> list[float]:
    """Images per second of one process that only loads and augments, and CPU time is what counts."""
    recipe = replace(RECIPE, sizes=MULTI_SCALE) if multi_scale else RECIPE
    data = Keyed(zoo(), Classify(recipe, PixelZoo.classes).train_transform())
    rates = []
    for epoch in range(rounds):
        sampler = recipe.sampler(IMAGES)
        sampler.set_epoch(epoch)
        start = time.process_time()
        images = sum(len(labels) for _, labels in make_loader(data, sampler, "classify", 0))
        rates.append(images / (time.process_time() - start))
    return rates


def drawing(animals: tuple[int, int], scenes: int = 300) -> float:
    """Scenes drawn per CPU second at 128 px."""
    data = PixelZoo("train", task="detect", animals=animals, size=SIZE)
    start = time.process_time()
    for index in range(scenes):
        data.load(index, (SIZE, SIZE))
    return scenes / (time.process_time() - start)


def print_core_rates() -> None:
    """Run by a process of its own with one thread, since CPU time of a thread that waits counts too."""
    rows = []
    for name, multi_scale in (("128 px", False), ("multi-scale", True)):
        found = sorted(loading(multi_scale))
        note = "images per CPU second of one core"
        rows.append(
            (f"loading and augmentation, {name}", statistics.median(found), found[0], found[-1], note)
        )
    for animals in ((1, 1), (1, 6)):
        found = sorted(drawing(animals) for _ in range(3))
        what = f"drawing, {animals[0]} to {animals[1]} animals"
        rows.append((what, found[1], found[0], found[-1], "scenes per CPU second of one core"))
    print(SAID, json.dumps(rows))


def sampler_seconds() -> float:
    """Seconds that the sampler takes for one ImageNet epoch on one of 8 ranks."""
    sampler = MultiScaleSampler(1_281_167, rank=3, world_size=8)
    start = time.perf_counter()
    for _ in sampler:
        pass
    return time.perf_counter() - start


def predicted(sampler: MultiScaleSampler, epoch: int) -> float:
    """Multiply-accumulates of an epoch."""
    model = mobilevit_xxs(num_classes=10)
    macs = {size: count_macs(model, size) for size in sampler.batches}
    sampler.set_epoch(epoch)
    return sum(batch * macs[size] for size, batch in sampler.plan())


def rank_rate() -> None:
    """One rank of the distributed measurement: prints images per second of all ranks."""
    with process_group():
        recipe = replace(RECIPE, batch=BATCH // rank_and_size()[1])
        epoch = epochs(recipe, workers=0)
        epoch()
        seconds = [epoch() for _ in range(3)]
        if rank_and_size()[0] == 0:
            print(SAID, json.dumps(IMAGES / statistics.median(seconds)))


def distributed(ranks: int, threads: int) -> float:
    """Images per second of `ranks` processes with `threads` threads each; the joint batch is 64."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    if ranks > 1:
        env |= {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks_env = [env | ({"RANK": str(r)} if ranks > 1 else {}) for r in range(ranks)]
    return said_by([start("--rank", env) for env in ranks_env])


def start(role: str, env: dict[str, str]) -> subprocess.Popen:
    """This file as a process of its own, in another role."""
    return subprocess.Popen([sys.executable, __file__, role], env=env, stdout=subprocess.PIPE, text=True)


def said_by(processes: list[subprocess.Popen]) -> Any:
    """What the first of them prints after SAID, when all have ended."""
    outputs = [process.communicate()[0] for process in processes]
    return json.loads(outputs[0].rpartition(SAID)[2])


def measure() -> list[dict[str, object]]:
    """All rows: what, value, its quartiles, what it is measured against."""
    rows = []

    def add(what: str, middle: float, low: float | str = "", high: float | str = "", note: str = "") -> None:
        rows.append({"what": what, "value": middle, "low": low, "high": high, "note": note})
        print(rows[-1], flush=True)

    turns = in_turns({"bare": bare_steps(), "0": epochs(RECIPE, 0), "1": epochs(RECIPE, 1)}, rounds=5)
    for workers in ("0", "1"):
        note = f"images/s as a share of the bare step's, {workers} workers"
        add("throughput of fit", *ratio(turns["bare"], turns[workers]), note)
    multi = replace(RECIPE, sizes=MULTI_SCALE)
    turns = in_turns({"fixed": epochs(RECIPE, 1), "multi": epochs(multi, 1)}, rounds=7)
    add("epoch time, multi-scale / fixed", *ratio(turns["multi"], turns["fixed"]))
    shares = [predicted(multi.sampler(IMAGES), e) / predicted(RECIPE.sampler(IMAGES), e) for e in range(1, 8)]
    add("the same, predicted from multiply-accumulates", statistics.median(shares))
    for row in said_by([start("--core", os.environ | {"OMP_NUM_THREADS": "1"})]):
        add(*row)
    add("sampler, one ImageNet epoch", sampler_seconds(), note="seconds on one of 8 ranks")
    rates = {(r, t): distributed(r, t) for r, t in ((1, 1), (1, 2), (2, 1))}
    for (ranks, threads), rate in rates.items():
        add(f"{ranks} process(es) with {threads} thread(s)", rate, note="images/s, joint batch 64")
    return rows


def report(rows: list[dict[str, object]], about: dict[str, str]) -> str:
    """The rows as a table for people."""
    lines = [
        "# What the training loop costs beside the network",
        "",
        "`make bench ARGS=--loop`: MobileViT-XXS at 128 px, batch 64, PixelZoo from its cache,",
        "pages kept, 2 threads.",
        "Comparisons ran in turns in one process; the value is the median over rounds, with quartiles.",
        "The bare step is forward, loss, backward and AdamW on one batch that is already in memory.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        "",
        "| what | value | | |",
        "|---|---|---|---|",
    ]
    for row in rows:
        spread = f"{row['low']:.3g} to {row['high']:.3g}" if row["low"] != "" else ""
        lines.append(f"| {row['what']} | **{row['value']:.3g}** | {spread} | {row['note']} |")
    return "\n".join(lines) + "\n"


def main(about: dict[str, str]) -> None:
    """Measure and write both files."""
    keep_freed_pages()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    rows = measure()
    with open(HERE / "training.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in r.items()} for r in rows)
    text = report(rows, about)
    (HERE / "training.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    keep_freed_pages()
    {"--rank": rank_rate, "--core": print_core_rates}[sys.argv[1]]()
