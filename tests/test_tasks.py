"""Detection and segmentation go through the same loop: they learn, resume exactly, name bad targets."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from dataset_files import photo, voc_xml, write_voc
from PIL import Image
from test_training import assert_equal_states, checkpoint_in
from tiny import tiny_model, tiny_recipe
from torch import nn

from mvit_lib import MobileViT, load_weights
from mvit_lib.data import PixelZoo
from mvit_lib.data.items import Items
from mvit_lib.heads import DeepLabV3, SSDLite
from mvit_lib.heads.deeplabv3 import resize_mask
from mvit_lib.train import Recipe, evaluate, fit
from mvit_lib.train import __main__ as cli
from mvit_lib.train.metrics import SegmentationCounter
from mvit_lib.train.tasks import TASKS, Segment
from mvit_lib.transforms import Boxes, Sample, image_to_tensor
from mvit_lib.weights import load_backbone, save_weights

COLOURS = ((220, 40, 40), (40, 60, 220))


class Squares(Items):
    """A red or a blue square on grey noise, in pictures of their own sizes."""

    classes = ("red", "blue")

    def __init__(self, task: str, length: int = 24, stop_at: int = 0) -> None:
        super().__init__(64, None, 0)
        self.task, self.length, self.left = task, length, stop_at

    def __len__(self) -> int:
        return self.length

    def load(self, index, size):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        draw = np.random.default_rng(index)
        height, width = 60 + index % 5, 70 - index % 3
        pixels = draw.normal(128, 10, (height, width, 3)).clip(0, 255).astype(np.uint8)
        side = int(draw.integers(24, 36))
        y, x = int(draw.integers(0, height - side)), int(draw.integers(0, width - side))
        pixels[y : y + side, x : x + side] = COLOURS[index % 2]
        mask = np.zeros((height, width), np.uint8)
        mask[y : y + side, x : x + side] = 1 + index % 2
        boxes = Boxes(
            np.array([[x, y, x + side, y + side]], np.float32), np.array([1 + index % 2]), np.zeros(1, bool)
        )
        image = Image.fromarray(pixels)
        if self.task == "segment":
            return Sample(image, mask=Image.fromarray(mask))
        return Sample(image, boxes=boxes)


def tiny_backbone(output_stride: int = 32) -> MobileViT:
    torch.manual_seed(0)
    config = tiny_model(0).config
    return MobileViT(type(config)(**(vars(config) | {"output_stride": output_stride})))


def head(task: str, num_classes: int = 3) -> nn.Module:
    if task == "detect":
        return SSDLite(tiny_backbone(), num_classes)
    return DeepLabV3(tiny_backbone(16), num_classes)


def recipe(**changes) -> Recipe:
    numbers = {
        "sizes": (64, 96),
        "label_smoothing": 0.0,
        "eval_resize": 64,
        "eval_crop": 64,
        "warmup_steps": 1,
    }
    return tiny_recipe(**(numbers | changes))


@pytest.mark.parametrize(("task", "score", "gain"), [("detect", "voc_ap50", 0.1), ("segment", "miou", 0.3)])
def test_it_learns(task, score, gain):
    model, data = head(task), Squares(task)
    before = evaluate(model, data, task=task, size=64).scores()[score]
    numbers = recipe(epochs=40, sizes=(64,), rate=8e-3, ema=0.3)
    history = fit(model, data, numbers, task=task, quiet=True)
    assert history.losses[-1] < history.losses[0] / 2
    assert model.classes == ("background", "red", "blue")
    assert evaluate(model, data, task=task).scores()[score] > before + gain


def test_the_log_holds_the_scores_of_every_epoch(tmp_path):
    data = Squares("segment", 8)
    common = {"task": "segment", "val_data": data, "out": tmp_path, "quiet": True}
    history = fit(head("segment"), data, recipe(epochs=2, warmup_steps=0), **common)
    assert {"miou", "pixel_accuracy", "boundary_f", "loss"} <= history.rows[-1].keys()
    assert "miou" in (tmp_path / "log.csv").read_text().splitlines()[0]
    assert "miou" in str(history)


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_stopped_and_resumed_equals_never_stopped(task, tmp_path):
    whole, cut = head(task), head(task)
    fit(whole, Squares(task), recipe(epochs=2), task=task, out=tmp_path / "whole", quiet=True)
    stopped = fit(
        cut, Squares(task, stop_at=30), recipe(epochs=2), task=task, out=tmp_path / "cut", quiet=True
    )
    assert stopped.stopped and not stopped.rows[1:]
    resumed = head(task)
    fit(resumed, Squares(task), recipe(epochs=2), task=task, out=tmp_path / "cut", quiet=True)
    assert_equal_states(checkpoint_in(tmp_path / "cut"), checkpoint_in(tmp_path / "whole"))
    assert_equal_states(resumed.state_dict(), whole.state_dict())


def test_masks_are_scored_at_their_own_size():
    """The evaluation of a batch of differing sizes equals picture by picture, stretched and counted."""
    model, data = head("segment").eval(), Squares("segment", 5)
    with torch.no_grad():
        model.classifier.weight.mul_(20)  # several classes are predicted
    counter = SegmentationCounter(3)
    for i in range(5):
        sample = data.load(i, (64, 64))
        x = image_to_tensor(sample.image.resize((64, 64), Image.Resampling.BILINEAR))[None]
        with torch.no_grad():
            found = resize_mask(model(x)[0].argmax(0), (sample.image.height, sample.image.width))
        counter.add(found, torch.from_numpy(np.array(sample.mask)).long())
    result = evaluate(model, data, task="segment", size=64, batch=2)
    assert torch.equal(result.confusion, counter.result(model.classes).confusion)
    assert (result.confusion.sum(0) > 0).sum() > 1


def test_pixels_to_ignore_teach_nothing_and_unknown_classes_are_named():
    task, model = Segment(recipe(), ("background", "red", "blue")), head("segment")
    images, masks = torch.rand(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.int64)
    masks[:, :20], masks[0, 30:] = 255, 2
    loss = task.loss(model.eval(), (images, masks), None)
    expected = nn.functional.cross_entropy(model(images), masks, ignore_index=255)
    torch.testing.assert_close(loss, expected)
    nothing = task.loss(model, (images, torch.full_like(masks, 255)), None)
    nothing.backward()
    assert nothing == 0
    assert all((p.grad == 0).all() for p in model.parameters() if p.grad is not None)
    masks[1, 5, 5] = 3
    with pytest.raises(ValueError, match="class 3 in a mask: expected 0 … 2, or 255"):
        task.loss(model, (images, masks), None)


class Lines(Squares):
    """Pictures of 10,000 × 10 and 10 × 10,000 pixels: one with an object, one without."""

    def load(self, index, size):
        image = Image.new("RGB", (10_000, 10) if index % 2 else (10, 10_000), COLOURS[0])
        corners = np.array([[2, 2, *image.size]], np.float32)[: index % 2]
        labels, crowd = np.ones(len(corners), np.int64), np.zeros(len(corners), bool)
        if self.task == "segment":
            return Sample(image, mask=Image.new("L", image.size, index % 2))
        return Sample(image, boxes=Boxes(corners, labels, crowd))


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_pictures_that_are_lines_teach_and_are_searched(task):
    model, data = head(task), Lines(task, 4)
    history = fit(model, data, recipe(), task=task, quiet=True)
    assert np.isfinite(history.losses).all()
    assert np.isfinite(
        evaluate(model, data, task=task).scores()[{"detect": "voc_ap50", "segment": "miou"}[task]]
    )
    line = data.load(1, None).image
    if task == "segment":
        assert model.segment(line).mask.shape == (10, 10_000)
    else:
        boxes = torch.tensor([found.box for found in model.detect(line, min_score=0.01)])
        assert len(boxes) > 0
        assert (boxes >= 0).all() and (boxes <= torch.tensor([10_000, 10, 10_000, 10])).all()


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_what_does_not_fit_is_named(task):
    with pytest.raises(
        ValueError, match=r"3 classes with the background, the model 5 outputs.*num_classes=3"
    ):
        fit(head(task, 5), Squares(task), recipe(), task=task)
    with pytest.raises(ValueError, match='augmentation="advanced" is for classification'):
        TASKS[task](recipe(augmentation="advanced"), ("background", "a")).train_transform()


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_training_transforms_keep_pixelzoo_whole(task):
    """Boxes stay inside the picture and masks have its size, at every size the sampler asks for."""
    data = PixelZoo("train", task=task, length=6, size=96)
    data.transform = TASKS[task](recipe(augmentation="photometric"), ()).train_transform()
    for i in range(6):
        image, target = data[i]
        assert image.shape == (3, 96, 96)
        if task == "segment":
            assert target.shape == (96, 96) and set(target.unique().tolist()) <= set(range(11))
        else:
            assert (target["boxes"] >= 0).all() and (target["boxes"] <= 96).all()
            assert len(target["boxes"]) == len(target["labels"])


@pytest.mark.parametrize("task", ["detect", "segment"])
@pytest.mark.parametrize(("crop_scale", "is_whole"), [((1.0, 1.0), True), ((0.35, 1.0), False)])
def test_crop_scale_one_leaves_pictures_whole(task, crop_scale, is_whole):
    whole, data = (PixelZoo("train", task=task, length=8, size=64) for _ in range(2))
    numbers = recipe(crop_scale=crop_scale, flip=0.0)
    data.transform = TASKS[task](numbers, ()).train_transform()
    target = (lambda item: item["boxes"]) if task == "detect" else (lambda item: item)
    pairs = [(target(a[1]), target(b[1])) for a, b in zip(data, whole, strict=True)]
    assert all(torch.equal(a, b) for a, b in pairs) is is_whole


# Weights


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_a_head_is_saved_with_its_backbone(task, tmp_path, capsys):
    model, path = head(task).eval(), tmp_path / "head.safetensors"
    model.classes = ("background", "Grüße", "b")
    save_weights(model, path)
    loaded = load_weights(path)
    assert type(loaded) is type(model) and loaded.classes == model.classes
    assert loaded.eval_transform == model.eval_transform
    assert loaded.backbone.config == model.backbone.config
    assert_equal_states(loaded.state_dict(), model.state_dict())
    other = load_weights(path, num_classes=6)
    assert "new classifier: 6 classes in place of 3" in capsys.readouterr().out
    changed = [n for n, t in other.state_dict().items() if t.shape != model.state_dict()[n].shape]
    assert len(changed) == (12 if task == "detect" else 2)  # weights and biases of the last layers
    for name, t in other.state_dict().items():
        assert name in changed or torch.equal(t, model.state_dict()[name])
    with pytest.raises(ValueError, match="2 classes named for 3 outputs"):
        model.classes = ("background", "a")
        save_weights(model, path)


def test_a_backbone_comes_from_classifiers_and_heads(tmp_path):
    classifier, path = tiny_model(4).eval(), tmp_path / "w.safetensors"
    x = torch.rand(1, 3, 64, 64)
    for model in (classifier, head("segment").eval()):
        save_weights(model, path)
        inner = model if model is classifier else model.backbone
        for stride in (16, 32):
            backbone = load_backbone(path, stride)
            assert (backbone.config.num_classes, backbone.config.output_stride) == (0, stride)
            with torch.no_grad():
                maps, expected = backbone.forward_features(x), inner.forward_features(x)
            torch.testing.assert_close(maps["layer_4"], expected["layer_4"])
            assert maps["layer_5"].shape[-1] == 64 // stride


# The command line


def run(capsys, *arguments: str) -> str:
    common = ("--epochs", "2", "--batch", "8", "--workers", "0", "--set", "warmup_share=0.2")
    assert cli.main([*arguments, *common]) == 0
    return capsys.readouterr().out


@pytest.fixture
def small(monkeypatch):
    """The command line's XXS, but tiny, and a PixelZoo of few scenes."""
    monkeypatch.setitem(cli.MODELS, "xxs", lambda num_classes, output_stride: tiny_backbone(output_stride))
    monkeypatch.setattr("mvit_lib.data.pixelzoo.LENGTHS", {"train": 16, "test": 6, "shift": 6})


def test_a_detector_is_trained_saved_and_tuned_further(small, tmp_path, capsys):
    out = tmp_path / "out"
    pixelzoo = ("--task", "detect", "--data", "pixelzoo", "--sizes", "64")
    said = run(capsys, *pixelzoo, "--out", str(out))
    assert "16 images to learn from, 6 to check, 10 classes" in said
    assert "VOC AP50" in said and "COCO AP " in said
    model = load_weights(out / "model.safetensors")
    assert isinstance(model, SSDLite) and model.classes == ("background", *PixelZoo.classes)
    assert isinstance(json.loads((out / "detections.json").read_text()), list)
    again = run(capsys, *pixelzoo, "--init", str(out / "model.safetensors"), "--freeze", "backbone")
    assert "new head" not in again
    other = run(
        capsys, "--task", "segment", "--data", "pixelzoo", "--sizes", "64", "--init",
        str(out / "model.safetensors"),
    )  # fmt: skip
    assert "new head on the backbone of" in other and "mean IoU" in other


def test_voc_and_coco_folders_are_recognised(small, tmp_path, capsys):
    for split in ("train", "val"):
        one = (photo(40, 32), voc_xml((40, 32), [("cell", (4, 4, 20, 20), 0)]))
        write_voc(tmp_path / "voc", {f"{split}{i}": one for i in range(4)}, split)
    said = run(capsys, "--task", "detect", "--data", str(tmp_path / "voc"), "--sizes", "64")
    assert "4 images to learn from, 4 to check, 1 classes" in said
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (root / split).mkdir()
        images = []
        for i in range(3):
            photo(40, 32).save(root / split / f"{i}.png")
            images.append({"id": i, "file_name": f"{i}.png", "width": 40, "height": 32})
        content = {
            "images": images,
            "categories": [{"id": 90, "name": "mug"}],
            "annotations": [
                {"id": 1, "image_id": 0, "category_id": 90, "bbox": [3, 3, 20, 20], "area": 400, "iscrowd": 0}
            ],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    said = run(capsys, "--task", "detect", "--data", str(root), "--sizes", "64", "--out", str(out))
    assert "3 images to learn from, 3 to check, 1 classes" in said
    found = json.loads((out / "detections.json").read_text())
    assert {record["category_id"] for record in found} <= {90}
