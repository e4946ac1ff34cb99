"""Two processes with gloo do what one does, as far as BatchNorm lets them."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rank
import torch
from tiny import Colours

from mvit_lib import load_weights
from mvit_lib.train import evaluate

HERE = Path(__file__).parent


def start_two(mode: str, out: Path) -> list[subprocess.Popen]:
    """Both ranks, without torchrun, so that nothing but the library itself ends the second."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    env = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    env |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    return [
        subprocess.Popen(
            [sys.executable, HERE / "rank.py", mode, out],
            env=env | {"RANK": str(number), "LOCAL_RANK": str(number)},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]


def run_two(mode: str, out: Path) -> list:
    for process in start_two(mode, out):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return [torch.load(out / f"{number}.pt", weights_only=True) for number in range(2)]


def largest_difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(one, other, strict=True))


def test_with_norms_in_eval_mode_two_ranks_train_like_one_with_the_joint_batch(tmp_path):
    ranks = run_two("eval", tmp_path)
    gradients, weights = rank.steps(training_norm=False)
    for rank_gradients, rank_weights in ranks:
        assert largest_difference(rank_gradients, gradients) <= 1e-10
        assert largest_difference(rank_weights, weights) <= 1e-6
    assert all(torch.equal(a, b) for a, b in zip(ranks[0][1], ranks[1][1], strict=True))


def test_with_norms_in_training_the_gradient_is_the_mean_of_the_shards(tmp_path, monkeypatch):
    ranks = run_two("train", tmp_path)
    shards = []
    for number in range(2):
        monkeypatch.setattr(
            rank, "shard", lambda i, r, w, number=number: tuple(t[number::2] for t in rank.batch(i))
        )
        shards.append(rank.steps(training_norm=True, count=1)[0])
    mean = [(a + b) / 2 for a, b in zip(*shards, strict=True)]
    monkeypatch.setattr(rank, "shard", lambda i, r, w: rank.batch(i))
    joint = rank.steps(training_norm=True, count=1)[0]
    for gradients, _ in ranks:
        assert largest_difference(gradients, mean) <= 1e-10
        assert largest_difference(gradients, joint) > 1e-5  # the naive statement is false


def test_fit_on_two_ranks_ends_with_equal_models_and_joint_scores(tmp_path):
    (state, rows), (other, other_rows) = run_two("fit", tmp_path)
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert [row["images"] for row in rows] == [row["images"] for row in other_rows]
    model = load_weights(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())
    result = evaluate(model, Colours(31, seed=1))
    assert result.images == 31
    for row in (rows[-1], other_rows[-1]):
        assert row["top1"] == pytest.approx(result.top1)
        assert row["val_loss"] == pytest.approx(result.loss, rel=1e-5)
    assert (tmp_path / "run" / "log.csv").exists()


def test_when_one_rank_dies_the_other_ends_within_a_minute_and_says_why(tmp_path):
    survivor, victim = start_two("die", tmp_path)
    victim.communicate(timeout=120)
    died = time.monotonic()
    _, errors = survivor.communicate(timeout=60)
    assert time.monotonic() - died < 60
    assert victim.returncode == -9
    assert survivor.returncode not in (0, -9)
    assert "another rank of this training has ended" in errors
