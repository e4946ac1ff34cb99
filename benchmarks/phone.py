"""MobileViT in the runtimes of phones, on this machine: `make bench ARGS=--phone`. Needs the extra "export".

Writes mvit_lib/assets/tables/phone_latency.csv: XXS, XS and S with patches of (2, 2, 2), (4, 4, 4) and
(8, 4, 2), MobileNetV2 and DeiT-Ti, one picture of 256 × 256 at a time, with one thread and with two. A
network's candidates run in turns in one process, so that a busy minute spoils all alike; every network has
a process of its own. What no phone has is measured beside: torch eager, fused and compiled, and
transformers where it has the network. Ratios are against `transformers` for the three standard networks
(patches of 2), else against torch eager: medians over rounds with their quartiles. `--networks` measures
some again and keeps the other rows of the table.

Beside it stands phone_profile.csv: where ONNX Runtime spends the time of S and of MobileNetV2, kind of
operator by kind, on one thread, in float32 and in int8.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from loop import in_turns, ratio
from torch import nn

from mvit_lib import MobileNetV2, MobileViT, ViT
from mvit_lib.classifier import Classifier
from mvit_lib.cost import count_macs
from mvit_lib.export import load_exported, to_executorch, to_onnx
from mvit_lib.export.network import to_pixels
from mvit_lib.memory import keep_freed_pages
from mvit_lib.mobilevit import XS, XXS, S
from mvit_lib.vit import DEIT_TI

TABLE = Path(__file__).resolve().parents[1] / "mvit_lib" / "assets" / "tables" / "phone_latency.csv"
SIDE, ROUNDS = 256, 100
PATCHES = ((2, 2, 2), (4, 4, 4), (8, 4, 2))
SIZES = {"XXS": XXS, "XS": XS, "S": S}
NAMES = (*(f"{size} {patches}" for size in SIZES for patches in PATCHES), "MobileNetV2", "DeiT-Ti")
PRECISIONS = ("float32", "float16", "int8")
PROFILED = ("S (2, 2, 2)", "MobileNetV2")
COMMAND = "make bench ARGS=--phone"
SAID = "measured:"  # what a process of its own prints before its rows


def build(name: str) -> Classifier:
    """The network of this name, in eval mode, with random weights: time does not depend on them."""
    torch.manual_seed(0)
    if name == "MobileNetV2":
        return MobileNetV2().eval()
    if name == "DeiT-Ti":
        return ViT(replace(DEIT_TI, image_size=SIDE)).eval()
    size, patches = name.split(" ", 1)
    return MobileViT(
        replace(SIZES[size], patch_sizes=PATCHES[[str(p) for p in PATCHES].index(patches)])
    ).eval()


def peer(name: str) -> nn.Module | None:
    """The same network of transformers, if it has it."""
    if not name.endswith(str(PATCHES[0])):
        return None
    from workloads import build as build_pair

    return build_pair(name.split()[0])[0]


def in_torch(model: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    """A function that runs a model of torch once."""

    def call() -> object:
        with torch.inference_mode():
            return model(x)

    return call


def timed(call: Callable[[], object]) -> Callable[[], float]:
    """A function that calls once and returns the seconds."""

    def run() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return run


def noise() -> list[np.ndarray]:
    """Pictures to calibrate on: time does not depend on them either."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8) for _ in range(2)]


def exported(model: Classifier, folder: Path, runtimes: Sequence[str]) -> dict[str, Path]:
    """Candidate -> the file, for every precision."""
    makers = {"ONNX Runtime": (to_onnx, "onnx"), "ExecuTorch": (to_executorch, "pte")}
    files = {}
    for runtime in runtimes:
        make, suffix = makers[runtime]
        for precision in PRECISIONS:
            path = folder / f"{precision}.{suffix}"
            files[f"{runtime}, {precision}"] = make(model, path, SIDE, precision, noise())
    return files


def candidates(
    name: str, model: Classifier, files: dict[str, Path], threads: int, with_compile: bool
) -> dict[str, Callable[[], object]]:
    """What is timed; the first is what the others are divided by."""
    x = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    pixels = to_pixels(x[0])
    theirs, fused = peer(name), model.fuse()
    calls = {} if theirs is None else {"transformers": in_torch(theirs, x)}
    calls |= {"torch eager": in_torch(model, x), "torch fused": in_torch(fused, x)}
    if with_compile:
        calls["torch.compile"] = in_torch(torch.compile(fused, options={"freezing": True}), x)
    for candidate, path in files.items():
        run = load_exported(path, threads)
        calls[candidate] = lambda run=run: run(pixels)
    return calls


def measure_network(name: str, options: dict) -> list[dict[str, object]]:
    """Rows of one network: every candidate with every number of threads."""
    model = build(name)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = exported(model, Path(folder), options["runtimes"])
        size_mb = {candidate: path.stat().st_size / 1e6 for candidate, path in files.items()}
        about = {"network": name, "side": SIDE, "macs": count_macs(model, SIDE)}
        for threads in options["threads"]:
            torch.set_num_threads(threads)
            calls = candidates(name, model, files, threads, options["compile"])
            seconds = in_turns({k: timed(call) for k, call in calls.items()}, options["rounds"])
            first = next(iter(seconds))
            for candidate, values in seconds.items():
                middle, low, high = ratio(seconds[first], values)
                row = about | {"threads": threads, "candidate": candidate}
                row |= {"ms": 1000 * statistics.median(values), "against": first, "ratio": middle}
                row |= {"ratio_low": low, "ratio_high": high, "size_mb": size_mb.get(candidate, "")}
                rows.append(row)
    return rows


def profile_network(name: str, rounds: int) -> list[dict[str, object]]:
    """Rows of one network in ONNX Runtime on one thread: milliseconds of every kind of operator.

    A node's time is its median over the rounds; the nodes of a kind are added up.
    """
    model, rows = build(name), []
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("float32", "int8"):
            path = to_onnx(model, Path(folder) / f"{precision}.onnx", SIDE, precision, noise())
            seconds = nodes_timed(path, rounds)
            count = Counter(kind for kind, _ in seconds)
            ms: Counter[str] = Counter()
            for (kind, _), values in seconds.items():
                ms[kind] += 1000 * statistics.median(values)
            about = {"network": name, "side": SIDE, "precision": precision}
            rows += [about | {"operator": k, "count": count[k], "ms": v} for k, v in ms.most_common()]
    return rows


def nodes_timed(path: Path, rounds: int, warm_up: int = 5) -> dict[tuple[str, str], list[float]]:
    """(kind of operator, name) -> seconds in each round, as ONNX Runtime's own profiler tells."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling, options.profile_file_prefix = True, str(path.with_suffix(""))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for _ in range(warm_up + rounds):
        session.run(None, {"pixels": noise()[0]})
    seconds = defaultdict(list)
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            seconds[event["args"]["op_name"], event["name"]].append(event["dur"] / 1e6)
    return {node: values[warm_up:] for node, values in seconds.items()}


def in_a_process(*task: object) -> list[dict[str, object]]:
    """The rows that another process measures: task = what to call, and its arguments."""
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1] / "tools")}
    command = [sys.executable, __file__, json.dumps(task)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    said = next(line for line in done.stdout.splitlines() if line.startswith(SAID))
    return json.loads(said.removeprefix(SAID))


def main(about: dict[str, str], arguments: Sequence[str] = ()) -> None:
    """Measure all networks, each in a process of its own, and write the table."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--networks", nargs="+", default=list(NAMES), choices=NAMES)
    p.add_argument("--runtimes", nargs="*", default=["ONNX Runtime", "ExecuTorch"])
    p.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    p.add_argument("--rounds", type=int, default=ROUNDS)
    p.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    p.add_argument("--table", type=Path, default=TABLE)
    options = p.parse_args(arguments)
    packages = ("torch", "transformers", "onnxruntime", "executorch")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    where = {"machine": f"{about['processor']}, {os.cpu_count()} cores, {versions}"}
    told = {key: getattr(options, key) for key in ("runtimes", "threads", "rounds", "compile")}
    profile = options.table.with_name("phone_profile.csv")
    for name in options.networks:
        for row in update(options.table, name, in_a_process("measure_network", name, told), where):
            print(f"{name:16} {row['threads']} {row['candidate']:24} {row['ms']:8.2f} ms {row['ratio']:.2f}")
        if name in PROFILED and "ONNX Runtime" in options.runtimes:
            update(profile, name, in_a_process("profile_network", name, options.rounds), where)


def update(table: Path, name: str, rows: list[dict], where: dict[str, str]) -> list[dict[str, object]]:
    """Put a network's rows in the place of its old ones at once, should a later network fail."""
    kept = [row for row in kept_rows(table) if row["network"] != name]
    write(kept + [row | where | {"command": COMMAND} for row in rows], table)
    return rows


def kept_rows(table: Path) -> list[dict[str, object]]:
    """What an earlier call has measured."""
    if not table.exists():
        return []
    with open(table, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(rows: list[dict[str, object]], table: Path) -> None:
    """All rows as CSV."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        rows = sorted(rows, key=lambda row: NAMES.index(row["network"]))
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in r.items()} for r in rows)


if __name__ == "__main__":
    keep_freed_pages()
    task, *given = json.loads(sys.argv[1])
    rows_of = {"measure_network": measure_network, "profile_network": profile_network}[task]
    print(SAID + json.dumps(rows_of(*given)))
