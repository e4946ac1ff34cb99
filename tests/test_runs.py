"""The runs table: recorded rows are skipped, a crash leaves the file whole, a small row repeats."""

import sys
import threading

import network_trainings
import pytest
import runs
import torch
import trainings


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Locks and checkpoints of a test in a folder of its own."""
    monkeypatch.setattr(trainings, "CHECKPOINTS", tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def test_what_is_recorded_stands_in_the_table_and_once():
    for path in set(runs.FOLDER.glob("*.csv")) - set(runs.FOLDER.glob("log_*.csv")):
        recorded = [(r["name"], r["seed"]) for r in runs.recorded(path)]
        assert len(set(recorded)) == len(recorded), path.name
        assert set(recorded) <= {(row.name, str(row.seed)) for row in runs.ROWS if row.path == path}


@pytest.mark.slow
def test_every_row_of_the_table_is_recorded():
    missing = [f"{row.file}: {row.name}, seed {row.seed}" for row in runs.ROWS if not runs.is_recorded(row)]
    assert not missing, "run `make runs`"


def test_each_network_has_the_learning_rate_that_served_it_best():
    tried = {
        tuple(r["name"].split(", ")): float(r["top1_test"]) for r in runs.recorded(runs.FOLDER / "rates.csv")
    }
    for network, chosen in network_trainings.RATES.items():
        found = {rate: tried[network, f"{rate:g}"] for rate in network_trainings.TRIED[network]}
        assert found[chosen] == max(found.values()), network
        assert min(found) < chosen < max(found), "the best may lie beyond what was tried"


def test_a_centred_vit_sees_pixels_from_minus_one_to_one():
    torch.manual_seed(0)
    plain = network_trainings.TRIED_NETWORKS["ViT on 0 to 1"](5).eval()
    centred = network_trainings.NETWORKS["ViT"](5).eval()
    centred.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(centred(images), plain(2 * images - 1))
        assert not torch.allclose(centred(images), plain(images), atol=1e-3)


def test_two_processes_never_work_on_one_row(checkpoints):
    with runs.locked("a") as first, runs.locked("a") as second, runs.locked("b") as third:
        assert (first, second, third) == (True, False, True)
    with runs.locked("a") as again:
        assert again


def test_who_waits_for_a_lock_gets_it_when_it_is_free(checkpoints):
    order = []

    def second():
        with runs.locked("a", wait=True) as ours:
            order.append(("second", ours))

    with runs.locked("a"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.1)
        order.append(("first", True))
    thread.join()
    assert order == [("first", True), ("second", True)]


def test_weights_that_are_not_here_are_trained_once(checkpoints, monkeypatch):
    calls = []

    def ship(name):
        def run(seed):
            calls.append((name, seed))
            trainings.weights_of(name).write_bytes(b"")

        return run

    monkeypatch.setattr(trainings, "ship", ship)
    file = trainings.trained("pixelzoo-mobilenetv2")
    assert (
        file == trainings.trained("pixelzoo-mobilenetv2") == checkpoints / "pixelzoo-mobilenetv2.safetensors"
    )
    assert calls == [("pixelzoo-mobilenetv2", 0)]


def test_a_recorded_row_is_skipped_and_a_new_one_appended(tmp_path, checkpoints, monkeypatch, capsys):
    monkeypatch.setattr(runs, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["runs.py"])
    calls = []

    def run(seed):
        calls.append(seed)
        return {"loss": f"{seed}.5"}

    rows = [runs.Row("table", "a", 0, 0.1, run), runs.Row("table", "a", 1, 0.1, run)]
    monkeypatch.setattr(runs, "ROWS", rows[:1])
    runs.main()
    monkeypatch.setattr(runs, "ROWS", rows)
    runs.main()
    assert calls == [0, 1]
    assert (tmp_path / "table.csv").read_text() == "name,seed,loss\na,0,0.5\na,1,1.5\n"
    assert "1 of 2 rows to run" in capsys.readouterr().out


def test_a_crash_while_writing_leaves_the_file_whole(tmp_path, checkpoints, monkeypatch):
    monkeypatch.setattr(runs, "FOLDER", tmp_path)
    row = runs.Row("table", "a", 0, 0.1, lambda seed: {})
    runs.record(row, {"loss": "1"})
    monkeypatch.setattr(runs.os, "replace", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runs.record(row, {"loss": "2"})
    assert (tmp_path / "table.csv").read_text() == "name,seed,loss\na,0,1\n"


def test_a_small_row_repeats():
    """The trap of near-zero BatchNorm weights, and the cure, once more."""
    stored = {(r["name"], r["seed"]): r for r in runs.recorded(runs.ROWS[0].path)}
    fresh = runs.ROWS[0].run(0)
    assert float(fresh["loss"]) == pytest.approx(float(stored["official", "0"]["loss"]), abs=0.02)
    for (name, _), row in stored.items():
        assert (float(row["loss"]) > 1) == name.endswith("BatchNorm too")
