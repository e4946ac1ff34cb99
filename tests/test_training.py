"""Training goes on where it stopped, to the last bit, and says what went wrong."""

import csv
import os
import resource
import signal
import threading

import pytest
import torch
from tiny import Colours, tiny_model, tiny_recipe
from torch import nn
from torch.utils.data import Subset, TensorDataset

from mvit_lib import load_weights
from mvit_lib.data import MultiScaleSampler
from mvit_lib.train import Recipe, evaluate, fit, freeze, loop
from mvit_lib.train.checkpoint import Checkpoints


class Interrupted(Colours):
    """Asks the training to stop while its n-th image is loaded."""

    def __init__(self, at: int, by: signal.Signals = signal.SIGINT) -> None:
        super().__init__()
        self.left, self.by = at, by

    def load(self, index, size):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.by)
        return super().load(index, size)


def assert_equal_states(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, dict):
            assert_equal_states(value, other[name])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, other[name]), name
        elif name not in ("seconds", "cpu_seconds", "rows"):
            assert value == other[name], name


def checkpoint_in(folder) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def test_it_learns_and_records_every_epoch(tmp_path):
    model = tiny_model()
    history = fit(model, Colours(), tiny_recipe(epochs=8), val_data=Colours(30, seed=1), out=tmp_path)
    assert history.rows[-1]["loss"] < 0.8 * history.rows[0]["loss"]
    assert not history.stopped and not model.training
    assert [row["epoch"] for row in history.rows] == list(range(1, 9))
    assert len(history.losses) == history.rows[-1]["updates"]
    with open(tmp_path / "log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["top1"]) for row in rows] == [row["top1"] for row in history.rows]
    loaded = load_weights(tmp_path / "model.safetensors")
    assert loaded.classes == ("red", "green", "blue")
    assert evaluate(loaded, Colours(30, seed=1)).scores() == evaluate(model, Colours(30, seed=1)).scores()
    assert evaluate(loaded, Colours(30, seed=1)).top1 == history.rows[-1]["top1"]


@pytest.mark.parametrize("image", [3, 40, 49, 100, 140], ids=lambda n: f"image {n}")
def test_stopped_and_resumed_equals_never_stopped(image, tmp_path):
    """Weights, their mean, the optimizer and the losses, bit for bit; dropout and two sizes included."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected, model = tiny_model(), tiny_model()
    fit(expected, Colours(), tiny_recipe(), out=whole)
    history = fit(model, Interrupted(image), tiny_recipe(), out=parts)
    assert history.stopped
    assert len(history.losses) < len(checkpoint_in(whole)["history"]["losses"])
    model = tiny_model()
    assert not fit(model, Colours(), tiny_recipe(), out=parts).stopped
    assert_equal_states(model.state_dict(), expected.state_dict())
    assert_equal_states(checkpoint_in(parts), checkpoint_in(whole))


@pytest.mark.parametrize(
    "changes", [{"augmentation": "advanced"}, {"precision": "bfloat16"}, {"accumulate": 2, "warmup_steps": 2}]
)
def test_other_recipes_resume_exactly_too(changes, tmp_path):
    recipe = tiny_recipe(**changes)
    expected, model, plain = tiny_model(), tiny_model(), tiny_model()
    fit(expected, Colours(), recipe)
    assert fit(model, Interrupted(60), recipe, out=tmp_path).stopped
    fit(model, Colours(), recipe, out=tmp_path)
    assert_equal_states(model.state_dict(), expected.state_dict())
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in model.parameters())
    fit(plain, Colours(), tiny_recipe())
    assert not torch.equal(plain.classifier.weight, model.classifier.weight)


@pytest.mark.slow
def test_a_compiled_training_learns_the_same():
    eager, compiled = tiny_model(dropout=0), tiny_model(dropout=0)
    expected = fit(eager, Colours(), tiny_recipe(sizes=(32,))).losses
    losses = fit(compiled, Colours(), tiny_recipe(sizes=(32,), compile=True)).losses
    assert losses[:4] == pytest.approx(expected[:4], rel=1e-3)
    assert type(compiled) is type(eager)


def test_a_cluster_that_ends_the_job_gets_a_checkpoint_too(tmp_path):
    history = fit(tiny_model(), Interrupted(40, by=signal.SIGTERM), tiny_recipe(), out=tmp_path, workers=0)
    assert history.stopped
    assert len(checkpoint_in(tmp_path)["history"]["losses"]) == len(history.losses) > 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_workers_change_nothing():
    models = [tiny_model() for _ in range(3)]
    for workers, model in enumerate(models):
        fit(model, Colours(), tiny_recipe(), workers=workers)
    for model in models[1:]:
        assert_equal_states(model.state_dict(), models[0].state_dict())


def test_a_finished_training_is_not_trained_again(tmp_path):
    model, again = tiny_model(), tiny_model()
    first = fit(model, Colours(), tiny_recipe(), out=tmp_path)
    second = fit(again, Interrupted(1), tiny_recipe(), out=tmp_path)
    assert second.losses == first.losses and not second.stopped
    assert_equal_states(model.state_dict(), again.state_dict())


def test_interrupting_twice_ends_it_at_once():
    class Impatient(Interrupted):
        def load(self, index, size):
            if self.left == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().load(index, size)

    with pytest.raises(KeyboardInterrupt):
        fit(tiny_model(), Impatient(20), tiny_recipe())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_trains_outside_the_main_thread():
    histories = []
    thread = threading.Thread(target=lambda: histories.append(fit(tiny_model(), Colours(), tiny_recipe())))
    thread.start()
    thread.join()
    assert not histories[0].stopped


def test_the_callers_random_numbers_are_left_alone():
    model = tiny_model()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(model, Colours(), tiny_recipe(epochs=2, warmup_steps=1))
    assert torch.equal(torch.rand(3), expected)


class Breaks(nn.Module):
    """A network whose n-th output is not a number."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.model, self.left = tiny_model(), at

    def forward(self, x):
        self.left -= 1
        return self.model(x) * (float("nan") if self.left == 0 else 1)


def test_a_loss_that_is_not_finite_stops_with_all_that_helps(tmp_path):
    with pytest.raises(FloatingPointError) as caught:
        fit(Breaks(5), Colours(), tiny_recipe(sizes=(32,)), out=tmp_path)
    text = str(caught.value)
    sampler = MultiScaleSampler(48, (32,), 8)
    keys = list(sampler)[4]
    assert f"samples {[key.index for key in keys]}" in text
    assert "loss is nan at update 4 (epoch 1)" in text
    assert "learning rate 0.02" in text and "8 images of 32 × 32" in text and "Nothing was saved" in text
    with pytest.raises(FloatingPointError, match=r"update 8 \(epoch 2\).*checkpoint\.pt holds the last good"):
        fit(Breaks(9), Colours(), tiny_recipe(sizes=(32,)), out=tmp_path)
    assert checkpoint_in(tmp_path)["place"]["update"] == 6
    assert all(t.isfinite().all() for t in checkpoint_in(tmp_path)["model"].values())


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path):
    """A limit on the size of files stands for the full disk: writing stops in the middle."""
    fit(tiny_model(), Interrupted(60), tiny_recipe(), out=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match=r"could not write the checkpoint .*the last one is whole"):
            fit(tiny_model(), Colours(), tiny_recipe(), out=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))
    expected, model = tiny_model(), tiny_model()
    fit(expected, Colours(), tiny_recipe())
    fit(model, Colours(), tiny_recipe(), out=tmp_path)
    assert_equal_states(model.state_dict(), expected.state_dict())


def test_another_training_in_the_same_folder_is_refused_by_what_differs(tmp_path):
    fit(tiny_model(), Interrupted(9), tiny_recipe(), out=tmp_path)
    with pytest.raises(ValueError, match=r"recipe\.rate was 0\.02, is 0\.001"):
        fit(tiny_model(), Colours(), tiny_recipe(rate=0.001), out=tmp_path)
    with pytest.raises(ValueError, match=r"num_samples was 48, is 30"):
        fit(tiny_model(), Colours(30), tiny_recipe(), out=tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_named(content, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged"):
        fit(tiny_model(), Colours(), tiny_recipe(), out=tmp_path)


def test_a_checkpoint_is_due_after_ten_minutes(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("mvit_lib.train.checkpoint.time.monotonic", lambda: now[0])
    checkpoints = Checkpoints(tmp_path, {})
    now[0] += 599
    assert not checkpoints.is_due
    now[0] += 2
    assert checkpoints.is_due
    checkpoints.save({})
    assert not checkpoints.is_due


def test_accumulated_batches_give_the_gradient_of_one_large_batch():
    """In float64, without BatchNorm's batch statistics and dropout."""
    model = tiny_model(dropout=0).double().eval()
    recipe = tiny_recipe(sizes=(32,), label_smoothing=0.1, ema=0)
    run = loop.Run(model, Colours(), recipe, "classify", None, None, 0)
    draw = torch.Generator().manual_seed(0)
    images, labels = torch.rand(16, 3, 32, 32, generator=draw).double(), torch.arange(16) % 3
    for i in range(2):
        part = (images[8 * i : 8 * i + 8], labels[8 * i : 8 * i + 8])
        run.add_gradient(part, None, batches=2, is_last=i == 1)
    halves = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    run.add_gradient((images, labels), None, batches=1, is_last=True)
    for p, grad in zip(model.parameters(), halves, strict=True):
        assert (p.grad - grad).abs().max() <= 1e-12


def test_accumulation_counts_updates_not_batches(tmp_path):
    history = fit(tiny_model(), Colours(), tiny_recipe(sizes=(32,), accumulate=4, warmup_steps=1))
    assert [row["updates"] for row in history.rows] == [2, 4, 6]


def test_frozen_parts_keep_weights_and_statistics():
    model = tiny_model()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    freeze(model, "backbone")
    fit(model, Colours(), tiny_recipe(epochs=2, warmup_steps=1))
    changed = {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    with pytest.raises(ValueError, match=r"no part 'neck'.*'layer_3'"):
        freeze(model, "neck")


def test_any_dataset_of_images_and_labels_will_do():
    images, labels = torch.rand(24, 3, 32, 32), torch.arange(24) % 3
    fit(tiny_model(), TensorDataset(images, labels), tiny_recipe(sizes=(32,), warmup_steps=2))
    with pytest.raises(ValueError, match="cannot give images of 2 sizes"):
        fit(tiny_model(), TensorDataset(images, labels), tiny_recipe())


def test_a_subset_is_trained_at_several_sizes_like_the_dataset_it_is_taken_from():
    whole, part = tiny_model(), tiny_model()
    fit(whole, Colours(24), tiny_recipe(warmup_steps=1))
    fit(part, Subset(Subset(Colours(48), range(30)), range(24)), tiny_recipe(warmup_steps=1))
    assert_equal_states(whole.state_dict(), part.state_dict())


def test_evaluation_is_deterministic_and_leaves_the_mode_alone():
    model = tiny_model().train()
    results = [evaluate(model, Colours(30), batch=batch) for batch in (7, 64)]
    assert torch.equal(results[0].confusion, results[1].confusion)
    assert model.training
    assert evaluate(model, Colours(30), size=64).images == 30


def test_what_does_not_fit_together_is_named():
    with pytest.raises(ValueError, match=r"set dataset\.classes"):
        fit(nn.Linear(2, 3), TensorDataset(torch.rand(4, 2), torch.zeros(4).long()), tiny_recipe())
    with pytest.raises(ValueError, match="3 classes, the model 5 outputs"):
        fit(tiny_model(5), Colours(), tiny_recipe())
    with pytest.raises(ValueError, match=r"task='sort': expected one of \['classify'"):
        fit(tiny_model(), Colours(), tiny_recipe(), task="sort")
    with pytest.raises(ValueError, match="the sampler is for 30 samples.*here are 48"):
        fit(tiny_model(), Colours(), tiny_recipe(), sampler=MultiScaleSampler(30))
    with pytest.raises(ValueError, match="warm-up takes 3000 of"):
        fit(tiny_model(), Colours(), Recipe(epochs=2))
