"""The command line does what `fit` does, and its help reads well."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mvit_lib import load_weights, mobilevit_xxs
from mvit_lib.train import Recipe
from mvit_lib.train import __main__ as cli
from mvit_lib.weights import save_weights

QUICK = ["--epochs", "2", "--batch", "8", "--sizes", "32", "--workers", "0", "--set", "warmup_share=0.2"]


@pytest.fixture
def photos(tmp_path):
    """Thirty noisy pictures in two class folders."""
    draw = np.random.default_rng(0)
    for name, colour in {"blue": (40, 60, 200), "red": (200, 60, 40)}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(15):
            pixels = (np.array(colour) + draw.normal(0, 30, (40, 36, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def test_a_folder_is_split_trained_evaluated_and_saved(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["--data", str(photos), "--out", str(out), *QUICK]) == 0
    said = capsys.readouterr().out
    assert "30" not in said.splitlines()[0]  # some images are held out
    assert "2 classes" in said and "top-1" in said and "finished after" in said
    model = load_weights(out / "model.safetensors")
    assert model.classes == ("blue", "red")
    assert (model.eval_transform.resize, model.eval_transform.crop) == (32, 32)
    assert (out / "log.csv").exists() and (out / "checkpoint.pt").exists()


def test_train_and_val_folders_are_taken_as_they_are(photos, capsys):
    (photos / "train").mkdir()
    (photos / "val").mkdir()
    for name in ("blue", "red"):
        (photos / "val" / name).mkdir()
        for i in range(4):
            (photos / name / f"{i}.png").rename(photos / "val" / name / f"{i}.png")
        (photos / name).rename(photos / "train" / name)
    cli.main(["--data", str(photos), *QUICK])
    assert "22 images to learn from, 8 to check, 2 classes" in capsys.readouterr().out


def test_fine_tuning_starts_from_weights_and_freezes_the_backbone(photos, tmp_path):
    torch.manual_seed(1)
    start = mobilevit_xxs(num_classes=5)
    save_weights(start, tmp_path / "start.safetensors")
    out = tmp_path / "out"
    arguments = ["--init", str(tmp_path / "start.safetensors"), "--freeze", "backbone", "--out", str(out)]
    cli.main(["--data", str(photos), *arguments, *QUICK])
    before, after = start.state_dict(), load_weights(out / "model.safetensors").state_dict()
    changed = {name for name, t in after.items() if not torch.equal(t, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_weights_for_as_many_but_other_classes_get_a_new_classifier(photos, tmp_path, capsys):
    start = mobilevit_xxs(num_classes=2)
    start.classes = ("cat", "dog")
    save_weights(start, tmp_path / "start.safetensors")
    args = cli.parser().parse_args(["--data", str(photos), "--init", str(tmp_path / "start.safetensors")])
    other = cli.choose_model(args, ("blue", "red"))
    same = cli.choose_model(args, start.classes)
    assert torch.equal(same.classifier.weight, start.classifier.weight)
    assert not torch.equal(other.classifier.weight, start.classifier.weight)
    assert torch.equal(other.stem.conv.weight, start.stem.conv.weight)


def test_any_field_of_the_recipe_can_be_set():
    args = ["--data", "x", "--rate", "0.01", "--sizes", "64,96", "--set", "augmentation=advanced"]
    args += ["--set", "crop_scale=(0.5, 1.0)", "--set", "compile=True", "--seed", "3"]
    recipe = cli.choose_recipe(cli.parser().parse_args(args))
    assert (recipe.rate, recipe.sizes, recipe.augmentation) == (0.01, (64, 96), "advanced")
    assert (recipe.crop_scale, recipe.compile, recipe.seed) == ((0.5, 1.0), True, 3)
    assert cli.choose_recipe(cli.parser().parse_args(["--data", "x", "--recipe", "imagenet"])) == Recipe()
    with pytest.raises(ValueError, match="--set speed=9: expected FIELD=VALUE"):
        cli.choose_recipe(cli.parser().parse_args(["--data", "x", "--set", "speed=9"]))


def test_the_plan_trains_nothing(photos, capsys, tmp_path):
    cli.main(["--data", str(photos), "--plan", "--out", str(tmp_path / "out"), *QUICK])
    assert "updates in all" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_help_and_errors_read_well(tmp_path):
    run = [sys.executable, "-m", "mvit_lib.train"]
    shown = subprocess.run([*run, "--help"], capture_output=True, text=True, check=True).stdout
    for word in ("--init", "--freeze", "--task", "torchrun", "pixelzoo", "one folder of images per class"):
        assert word in shown.replace("\n", " "), word
    assert max(map(len, shown.splitlines())) <= 110
    wrong = subprocess.run([*run, "--data", tmp_path / "none"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: ") and "none" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.slow
def test_torchrun_trains_on_two_processes(photos, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += ["-m", "mvit_lib.train", "--data", photos, "--out", out, *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("top-1") == 1  # one rank speaks
    assert load_weights(out / "model.safetensors").classes == ("blue", "red")
