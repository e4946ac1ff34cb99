"""Timing in turns, and the peak memory of a process. Run by run.py, in processes of its own."""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch
from workloads import build, forward_candidates, training_candidates, training_step

WARM_UP = 3


def in_turns(
    candidates: dict[str, Callable[[], object]], rounds: int, device: str
) -> dict[str, dict[str, float]]:
    """Median milliseconds of each, and the median over rounds of first / this, with quartiles."""
    seconds = {name: [] for name in candidates}
    for _ in range(WARM_UP + rounds):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    first = seconds[next(iter(candidates))][WARM_UP:]
    table = {}
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(first, values[WARM_UP:], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        table[name] = {
            "ms": 1000 * statistics.median(values[WARM_UP:]),
            "ratio": middle,
            "ratio_low": low,
            "ratio_high": high,
        }
    return table


def time_forward(size: str, batch: int, rounds: int, device: str) -> dict:
    with torch.inference_mode():
        return in_turns(forward_candidates(size, batch, device), rounds, device)


def time_training(size: str, batch: int, rounds: int, device: str) -> dict:
    return in_turns(training_candidates(size, batch, device), rounds, device)


def peak_memory(size: str, batch: int, name: str) -> dict:
    """MB above the loaded model at the peak of three training steps (RSS of this process)."""
    theirs, ours = build(size)
    model = (theirs if name == "transformers" else ours).train()
    del theirs, ours
    with open("/proc/self/status") as status:
        loaded = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    autocast = name.endswith("autocast")
    step = training_step(model, batch, fused=name != "transformers", autocast=autocast)
    for _ in range(3):
        step()
    return {"peak_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - loaded) / 1024}


def matmul_peak(_: str) -> dict:
    """GFLOP/s of a 2048³ product, best of ten, in fp32 and bf16."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.rand(2048, 2048, dtype=dtype)
        seconds = []
        for _ in range(10):
            start = time.perf_counter()
            a @ a
            seconds.append(time.perf_counter() - start)
        found[str(dtype).removeprefix("torch.")] = 2 * 2048**3 / min(seconds) / 1e9
    return found


if __name__ == "__main__":
    task, *arguments = json.loads(sys.argv[1])
    torch.set_num_threads(min(2, torch.get_num_threads()))
    print("RESULT" + json.dumps(globals()[task](*arguments)))
