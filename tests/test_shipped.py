"""The shipped weights are as good as their cards say, small, and described."""

import re
from pathlib import Path

import pytest
import runs

from mvit_lib import load_weights
from mvit_lib.data import PixelZoo
from mvit_lib.train import evaluate
from mvit_lib.weights import shipped_names

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "mvit_lib" / "assets" / "weights"
# Name -> the table that its training is a row of, and that row.
RECORDED = {
    row["name"]: (table, row)
    for table in ("shipped", "detection", "segmentation")
    for row in runs.recorded(runs.FOLDER / f"{table}.csv")
}
# What the course promises of its weights, in per cent.
TARGETS = {
    "sign-digits-xxs": {"top1_test": 98},
    "pixelzoo-xxs": {"top1_test": 97, "top1_shift": 85},
    "pixelzoo-xxs-ssdlite": {"ap": 55, "ap50": 85},
    "pixelzoo-xxs-deeplabv3": {"miou": 80, "miou_shift": 65},
}
# The numbers that stand in each model card.
IN_CARD = {"shipped": "top1_test", "detection": "ap", "segmentation": "miou"}


def test_all_together_are_small_and_each_has_its_card():
    files = sorted(WEIGHTS.iterdir())
    assert sum(file.stat().st_size for file in files) <= 12_000_000
    assert {file.stem for file in files if file.suffix == ".safetensors"} == set(shipped_names())
    assert {file.stem for file in files if file.suffix == ".md"} == set(shipped_names())


@pytest.mark.parametrize("name", shipped_names())
def test_a_card_tells_data_recipe_command_seed_machine_and_results(name):
    card = (WEIGHTS / f"{name}.md").read_text(encoding="utf-8")
    for word in ("**Data.**", "**Result.**", "**Limits.**", "**Licence.**", "| weight_decay |", "| seed |"):
        assert word in card
    table, row = RECORDED[name]
    assert f'`make runs ARGS="{table}: {name}"`' in card and "CPU seconds" in card
    assert f"{row[IN_CARD[table]]} %" in card
    assert f"{row['updates']} updates" in card and row["images"] in card


@pytest.mark.parametrize("name", shipped_names())
def test_it_loads_with_named_classes_and_its_own_crop(name):
    model = load_weights(name)
    names = [c for c in model.classes if c != "background"]
    assert len(names) == 10 and not any(re.match(r"class \d", c) for c in names)
    assert not model.training
    assert model.eval_transform.crop in (96, 128, 256)


@pytest.mark.skipif("pixelzoo-xxs" not in RECORDED, reason="not trained yet")
@pytest.mark.parametrize("split", ["test", "shift"])
def test_pixelzoo_weights_do_what_their_row_says(split):
    """On 200 of the 1,000 scenes: within four standard deviations of the recorded share."""
    share = float(RECORDED["pixelzoo-xxs"][1][f"top1_{split}"]) / 100
    result = evaluate(load_weights("pixelzoo-xxs"), PixelZoo(split, length=200, size=128))
    spread = (max(share * (1 - share), 0.01) / 200) ** 0.5
    assert abs(result.top1 - share) <= 4 * spread


@pytest.mark.parametrize("name", shipped_names())
def test_the_targets_of_the_course_are_met(name):
    row = RECORDED[name][1]
    assert {
        score: float(row[score]) for score in TARGETS[name] if float(row[score]) < TARGETS[name][score]
    } == {}


@pytest.mark.parametrize("name", shipped_names())
def test_the_readme_tells_what_the_table_holds(name):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    row = RECORDED[name][1]
    assert all(f"{row[score]} %" in line for score in TARGETS[name])
