"""Every curve of a recipe equals its closed form."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_model, tiny_recipe
from torch import nn

from mvit_lib import mobilevit_s
from mvit_lib.train import Recipe
from mvit_lib.train.plan import plan, saved_bytes

IMAGENET = Recipe.imagenet()
UPDATES = 257_200


def test_the_default_is_the_papers():
    assert IMAGENET == Recipe()
    assert (IMAGENET.epochs, IMAGENET.batch, IMAGENET.warmup_steps) == (300, 128, 3000)
    assert IMAGENET.sizes == (160, 192, 256, 288, 320)
    assert (IMAGENET.weight_decay, IMAGENET.label_smoothing, IMAGENET.ema) == (0.01, 0.1, 0.0005)
    assert (IMAGENET.eval_resize, IMAGENET.eval_crop) == (288, 256)


@given(st.integers(0, 2999))
def test_imagenet_warms_up_on_a_line(update):
    expected = 2e-4 + update * (1.8e-3 / 3000)
    assert IMAGENET.learning_rate(update, UPDATES, update // 850) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 299), st.integers(3000, UPDATES - 1))
def test_imagenet_falls_on_a_cosine_that_is_constant_within_an_epoch(epoch, update):
    expected = 2e-4 + 0.9e-3 * (1 + math.cos(math.pi * epoch / 300))
    assert IMAGENET.learning_rate(update, UPDATES, epoch) == pytest.approx(expected, abs=5.1e-9)


def test_imagenet_at_three_epochs_known_from_the_official_schedule():
    rates = [IMAGENET.learning_rate(3000, UPDATES, epoch) for epoch in (3, 150, 299)]
    assert rates == [0.00199956, 0.0011, 0.00020005]


@given(st.integers(20, 5000), st.data())
def test_small_warms_up_for_a_twentieth_and_falls_step_by_step(updates, data):
    recipe = Recipe.small(epochs=5, batch=64)
    update = data.draw(st.integers(0, updates - 1))
    warmup = round(updates / 20)
    rate = recipe.learning_rate(update, updates, epoch=0)
    if update < warmup:
        assert rate == pytest.approx(2e-4 + update / warmup * 1.8e-3, rel=1e-12)
    else:
        share = 0.5 * (1 + math.cos(math.pi * update / updates))
        assert rate == pytest.approx(1e-5 + (2e-3 - 1e-5) * share, abs=5.1e-9)


@pytest.mark.parametrize(
    ("recipe", "highest", "last", "epochs"),
    [(Recipe.coco_ssdlite(), 9e-4, 1e-6, 200), (Recipe.voc_deeplab(), 9e-4, 1e-6, 50)],
    ids=["coco_ssdlite", "voc_deeplab"],
)
def test_detection_and_segmentation_rise_to_their_rate_and_fall(recipe, highest, last, epochs):
    updates = epochs * 100
    assert recipe.learning_rate(0, updates, 0) == 9e-5
    assert recipe.learning_rate(250, updates, 2) == pytest.approx((9e-5 + highest) / 2)
    expected = last + (highest - last) / 2 * (1 + math.cos(math.pi * (epochs - 1) / epochs))
    assert recipe.learning_rate(updates - 1, updates, epochs - 1) == pytest.approx(expected, abs=5.1e-9)


def test_a_warm_up_of_half_the_updates_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"3000 of 6000 updates"):
        IMAGENET.warmup(6000)
    assert IMAGENET.warmup(6001) == 3000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("batch", 0), ("sizes", ()), ("rule", "mine"), ("accumulate", 0), ("rate", -1.0),
        ("rate", math.nan), ("rate", math.inf), ("warmup_share", 1.5), ("cosine_by", "day"), ("ema", 2.0),
        ("label_smoothing", -0.1), ("flip", 1.1), ("augmentation", "much"), ("precision", "float16"),
        ("eval_crop", 0), ("rate", "fast"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_meant_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        Recipe(**{field: value})


def test_weight_decay_is_on_every_parameter_and_the_optimizer_is_adamw():
    model = tiny_model()
    optimizer = IMAGENET.optimizer(model)
    assert isinstance(optimizer, torch.optim.AdamW)
    (group,) = optimizer.param_groups
    assert (group["weight_decay"], group["betas"], group["eps"]) == (0.01, (0.9, 0.999), 1e-8)
    assert {id(p) for p in group["params"]} == {id(p) for p in model.parameters()}


class BackboneAndHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Linear(2, 3), nn.Linear(3, 4)


def test_a_head_learns_ten_times_faster_in_segmentation():
    model = BackboneAndHead()
    groups = Recipe.voc_deeplab().optimizer(model).param_groups
    assert [(group["scale"], len(group["params"])) for group in groups] == [(1.0, 2), (10, 2)]
    assert groups[1]["params"][0] is model.head.weight


def test_frozen_parameters_are_not_trained_and_all_frozen_is_an_error():
    model = BackboneAndHead()
    model.backbone.requires_grad_(False)
    (group,) = IMAGENET.optimizer(model).param_groups
    assert len(group["params"]) == 2
    with pytest.raises(ValueError, match="nothing to train"):
        IMAGENET.optimizer(model.requires_grad_(False))


@given(st.floats(0.0001, 1), st.lists(st.floats(-5, 5), min_size=1, max_size=20))
def test_the_mean_of_weights_equals_its_closed_form_buffers_included(momentum, values):
    """mean_t = (1 − m)^t w_0 + Σ m (1 − m)^(t−s) w_s; the first update is an average, not a copy."""
    model = nn.BatchNorm1d(1, dtype=torch.float64)
    mean = tiny_recipe(ema=momentum).mean_of_weights(model)
    for value in values:
        model.running_mean.fill_(value)
        model.weight.data.fill_(1 + value)
        mean.update_parameters(model)
    t = len(values)
    weights = [momentum * (1 - momentum) ** (t - s) for s in range(1, t + 1)]
    expected = sum(w * v for w, v in zip(weights, values, strict=True))
    assert mean.module.running_mean.item() == pytest.approx(expected, abs=1e-9)
    assert mean.module.weight.item() == pytest.approx(1 + expected, abs=1e-9)


def test_the_plan_counts_what_the_samplers_say():
    """ImageNet on 8 ranks: the updates of the official rule, known from its own code."""
    recipe, model = IMAGENET, tiny_model()
    reckoned = plan(model, recipe, recipe.sampler(1_281_167, rank=3, world_size=8))
    assert abs(reckoned.updates / UPDATES - 1) < 0.005
    assert reckoned.warmup == 3000
    assert reckoned.batches[256, 256] == 128
    assert abs(reckoned.images / (300 * 1_281_167) - 1) < 0.005
    parameters = sum(p.nbytes for p in model.parameters())
    assert 5 * parameters <= reckoned.state_bytes <= 5.5 * parameters
    assert "updates in all" in str(reckoned)


def test_the_readme_says_what_the_plan_says():
    """Every number of the two ImageNet plans; memory may differ a little between versions of PyTorch."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for batch, world_size in ((128, 8), (64, 16)):
        recipe = replace(IMAGENET, batch=batch)
        reckoned = plan(mobilevit_s(), recipe, recipe.sampler(1_281_167, world_size=world_size))
        lines = str(reckoned).splitlines()
        start = text.index(lines[0])
        shown = text[start:].splitlines()[: len(lines)]
        assert shown[:-1] == lines[:-1]
        total = int(re.search(r"(\d+) MiB", shown[-1])[1])
        assert abs(total - (reckoned.state_bytes + reckoned.activation_bytes) / 2**20) < 0.05 * total


def test_saved_bytes_of_a_known_network():
    """conv keeps its input, BatchNorm its input and two numbers per channel, ReLU its output."""

    class Three(nn.Sequential):
        pass

    model = Three(nn.Conv2d(3, 5, 1, bias=False), nn.BatchNorm2d(5), nn.ReLU()).train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    recipe = tiny_recipe()
    per_pixel = 4 * (3 + 5 + 5)
    found = saved_bytes(model, (32, 32), recipe)
    assert per_pixel * 1024 <= found <= per_pixel * 1024 + 200
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert model.training
