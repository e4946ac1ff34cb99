"""Killed at twenty random moments, a training ends with the weights of one that was left alone."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import survivor
import torch
from tiny import Colours, tiny_model

from mvit_lib.train import fit

HERE = Path(__file__).parent
KILLS = 20


def start(out: Path) -> subprocess.Popen:
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    command = [sys.executable, HERE / "survivor.py", out]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def kill_while_writing(process: subprocess.Popen, out: Path) -> None:
    """As soon as a half-written checkpoint is seen."""
    deadline = time.monotonic() + 60
    while not list(out.glob("*.tmp")) and process.poll() is None:
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()


def kill_later(process: subprocess.Popen, seconds: float) -> None:
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_twenty_times_it_ends_as_if_left_alone(tmp_path):
    torch.set_num_threads(1)  # the claim is for an equal number of threads
    draw = random.Random(0)
    out = tmp_path / "killed"
    half_written = 0
    for i in range(KILLS):
        process = start(out)
        if i % 2:
            kill_while_writing(process, out)
        else:
            kill_later(process, draw.uniform(0.05, 0.6))
        half_written += bool(list(out.glob("*.tmp")))
        assert process.returncode == -signal.SIGKILL, f"kill {i} came after the end: give it more epochs"
    assert half_written >= KILLS // 4
    last = start(out)
    last.wait(120)
    assert last.returncode == 0
    alone = tiny_model()
    fit(alone, Colours(), survivor.RECIPE, out=tmp_path / "alone")
    killed, whole = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("killed", "alone")
    )
    assert killed["history"]["losses"] == whole["history"]["losses"]
    for part in ("model", "mean"):
        assert all(torch.equal(t, whole[part][name]) for name, t in killed[part].items())
    assert not list(out.glob("*.tmp"))
