"""Speed and memory against transformers: `make bench`. Writes results.csv and results.md beside this file."""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import against_vit
import heads
import loop
import torch

from mvit_lib.cost import count_macs
from mvit_lib.mobilevit import XS, XXS, MobileViT, S

HERE = Path(__file__).resolve().parent
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}
PAGES = {"default": {}, "kept": KEPT}
FIELDS = ("size", "task", "batch", "pages", "candidate", "ms", "ratio", "ratio_low", "ratio_high", "peak_mb")


def measure(*task: object, pages: str = "default") -> dict:
    """One measurement in a process of its own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "OMP_"))}
    env["PYTHONPATH"] = str(HERE.parent / "tools")
    command = [sys.executable, str(HERE / "measure.py"), json.dumps(task)]
    done = subprocess.run(command, env=env | PAGES[pages], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not lines:
        raise RuntimeError(f"{task}: {done.stderr[-2000:]}")
    return json.loads(lines[0].removeprefix("RESULT"))


IMPORT = "import time, torch; t = time.perf_counter(); import mvit_lib; print(time.perf_counter() - t)"


def import_seconds(rounds: int = 7) -> float:
    """What `import mvit_lib` takes once torch is there: median over fresh processes."""
    command = [sys.executable, "-c", IMPORT]
    runs = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(rounds))
    return statistics.median(float(done.stdout) for done in runs)


def machine() -> dict[str, str]:
    """Processor, features that matter here, and versions."""
    found = {"processor": platform.processor() or platform.machine(), "features": ""}
    if Path("/proc/cpuinfo").exists():
        info = Path("/proc/cpuinfo").read_text()
        found["processor"] = info.split("model name\t: ")[1].split("\n")[0] if "model name" in info else ""
        flags = set(info.split("flags\t\t: ")[1].split("\n")[0].split()) if "flags\t" in info else set()
        wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
        found["features"] = ", ".join(f"{f} {'yes' if f in flags else 'no'}" for f in wanted)
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    packages = ("torch", "transformers")
    return found | {"versions": ", ".join(f"{p} {version(p)}" for p in packages)}


def time_all(sizes: list[str], device: str) -> list[dict]:
    rows = []
    tasks = [("forward", 1, 30), ("forward", 16, 11), ("training", 8, 9)]
    for size in sizes:
        for pages in PAGES if device == "cpu" else ["default"]:
            for task, batch, rounds in tasks:
                if device == "cuda":
                    batch, rounds = (batch if batch == 1 else 128), 30
                found = measure(f"time_{task}", size, batch, rounds, device, pages=pages)
                for candidate, values in found.items():
                    row = {"size": size, "task": task, "batch": batch, "pages": pages}
                    rows.append(row | {"candidate": candidate} | values)
                    print({k: v for k, v in rows[-1].items() if k != "ratio_low"}, flush=True)
    return rows


def memory_table(sizes: list[str]) -> list[tuple[str, str, float]]:
    names = ("transformers", "ours", "ours, bf16 autocast")
    return [(s, n, measure("peak_memory", s, 8, n)["peak_mb"]) for s in sizes for n in names]


def peak_share(row: dict, peak: dict[str, float]) -> str:
    """Share of the measured matmul peak that a forward pass reaches: 2 FLOP per MAC."""
    if row["task"] != "forward":
        return ""
    configs = {"XXS": XXS, "XS": XS, "S": S}
    flops = 2 * count_macs(MobileViT(configs[row["size"]]), 256) * row["batch"]
    dtype = "bfloat16" if "bf16" in row["candidate"] else "float32"
    return f"{flops / row['ms'] * 1e-6 / peak[dtype]:.0%}"


def report(rows: list[dict], memory: list, peak: dict, added: float, sizes: list[str]) -> str:
    about = machine()
    lines = [
        "# Speed and memory",
        "",
        "`make bench` on one machine; random weights, 256 × 256 pixels, 2 threads. The candidates of one",
        "block ran in turns in one process. **Ratio** is the time of transformers (eager, fp32) over the",
        "candidate's, the median over rounds with its quartiles: above 1 is faster. Machines differ; ratios",
        "travel better than milliseconds. *Pages kept* asks glibc to keep freed memory, for all candidates.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        f"- matmul peak measured: {peak['float32']:.0f} GFLOP/s fp32, {peak['bfloat16']:.0f} bf16",
        f"- `import mvit_lib` adds {added:.2f} s to `import torch`",
        "",
    ]
    for size in sizes:
        lines += [f"## MobileViT-{size}", ""]
        lines += ["| task | pages | candidate | ms | ratio | share of peak |", "|---|---|---|---|---|---|"]
        for row in (row for row in rows if row["size"] == size):
            ratio = f"**{row['ratio']:.2f}** ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
            start = f"| {row['task']}, batch {row['batch']} | {row['pages']} | {row['candidate']} "
            lines.append(start + f"| {row['ms']:.1f} | {ratio} | {peak_share(row, peak)} |")
        lines.append("")
    if memory:
        lines += ["## Peak memory of a training step, batch 8, above the loaded model", ""]
        lines += ["| size | candidate | MB | against transformers |", "|---|---|---|---|"]
        base = {size: mb for size, name, mb in memory if name == "transformers"}
        lines += [f"| {s} | {name} | {mb:.0f} | {mb / base[s]:.2f} |" for s, name, mb in memory]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["S", "XS", "XXS"], choices=["S", "XS", "XXS"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--loop", action="store_true", help="measure the training loop instead")
    parser.add_argument("--heads", action="store_true", help="measure detection and segmentation instead")
    parser.add_argument("--vit", action="store_true", help="measure MobileViT against DeiT-Ti instead")
    parser.add_argument(
        "--phone", nargs=argparse.REMAINDER, metavar="…", help="measure the runtimes of phones instead"
    )
    parser.add_argument("--phone-accuracy", action="store_true", help="measure what fewer bits cost instead")
    options = parser.parse_args()
    if options.phone_accuracy:
        import phone_accuracy  # with the extra "export" only

        phone_accuracy.main(machine())
        return
    if options.phone is not None:
        import phone  # with the extra "export" only

        phone.main(machine(), options.phone)
        return
    if options.vit:
        against_vit.main(machine())
        return
    if options.heads:
        heads.main(machine())
        return
    if options.loop:
        loop.main(machine())
        return
    peak = measure("matmul_peak", "")
    added = import_seconds()
    rows = time_all(options.sizes, options.device)
    memory = memory_table(options.sizes) if options.device == "cpu" else []
    with open(options.out.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in r.items()} for r in rows)
        for size, name, mb in memory:
            row = {"size": size, "task": "training", "batch": 8, "pages": "default", "candidate": name}
            writer.writerow(row | {"peak_mb": f"{mb:.4g}"})
    text = report(rows, memory, peak, added, options.sizes)
    options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
