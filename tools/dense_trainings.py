"""The trainings of detectors and segmenters, as rows of `make runs`."""

from collections.abc import Callable
from dataclasses import replace

import torch
from trainings import WEIGHTS, Result, Stage, added, train, trained, write_card, write_log

from mvit_lib import load_weights, mobilevit_xxs
from mvit_lib.data import PixelZoo, VOCDetection
from mvit_lib.data.download import fetch
from mvit_lib.data.items import Items
from mvit_lib.heads import DeepLabV3, SSDLite
from mvit_lib.heads.head import Head
from mvit_lib.train import Recipe, evaluate
from mvit_lib.weights import load_backbone, save_weights

OUTPUTS = 1 + len(PixelZoo.classes)


def dense_recipe(epochs: int, size: int, rate: float, **changes: object) -> Recipe:
    """A small recipe for a head: no label smoothing, as in the paper's."""
    return replace(Recipe.small(epochs, 16, size), rate=rate, label_smoothing=0.0, **changes)


def drawn(task: str, size: int) -> Items:
    """Scenes of one to six animals, as many as a training of hours can see several times."""
    return PixelZoo("train", task=task, length=20_000, size=size, cache=True)


# Drawn scenes are random enough as they are: cropped, they would be larger than those of the tests.
DRAWN = {"crop_scale": (1.0, 1.0), "augmentation": "photometric"}
# A trained backbone keeps what it knows where the new head learns eight times faster.
TUNED = DRAWN | {"head_rate": 8.0}
# On a processor that multiplies bfloat16, updates at stride 8 take four fifths of the time.
HALVED = TUNED | {"precision": "bfloat16"}


def detection_scores(model: SSDLite, data: Items, where: str = "") -> Result:
    """COCO's AP at IoU 0.5 … 0.95 and at 0.5, in per cent."""
    numbers = evaluate(model, data, task="detect").coco()
    return {f"{name}{where}": f"{100 * numbers[name]:.2f}" for name in ("ap", "ap50")}


def segmentation_scores(model: DeepLabV3, data: Items, where: str = "") -> Result:
    """Mean IoU, pixel accuracy and boundary F, in per cent."""
    scores = evaluate(model, data, task="segment").scores()
    return {f"{name}{where}": f"{100 * value:.2f}" for name, value in scores.items()}


# The weights that come with the package, on PixelZoo's scenes of one to six animals


def at_stride_8(model: DeepLabV3) -> DeepLabV3:
    """The same parameters on a map twice as fine: 32 × 32 for 256 pixels, as the paper's for 512."""
    finer = DeepLabV3(load_backbone("pixelzoo-xxs", 8), OUTPUTS)
    finer.load_state_dict(model.state_dict())
    return finer


STAGES = {
    "pixelzoo-xxs-ssdlite": (
        Stage("small", lambda: drawn("detect", 128), dense_recipe(10, 128, 4e-4, **TUNED)),
        Stage("scenes", lambda: drawn("detect", 192), dense_recipe(7, 192, 3e-4, **TUNED)),
        Stage("fine", lambda: drawn("detect", 256), dense_recipe(4, 256, 3e-4, **TUNED)),
    ),
    "pixelzoo-xxs-deeplabv3": (
        Stage("small", lambda: drawn("segment", 128), dense_recipe(6, 128, 4e-4, **TUNED)),
        Stage("scenes", lambda: drawn("segment", 256), dense_recipe(4, 256, 3e-4, **TUNED)),
        Stage("fine", lambda: drawn("segment", 256), dense_recipe(3, 256, 3e-4, **TUNED), at_stride_8),
        Stage("last", lambda: drawn("segment", 256), dense_recipe(3, 256, 3e-4, **HALVED)),
    ),
}
ZOO = (
    "PixelZoo, drawn by this library: split `train` with one to six animals per scene; `test` has other "
    "scenes before other regions of the same photos, `shift` other hues, textures and photos."
)
CARDS = {
    "pixelzoo-xxs-ssdlite": {
        "network": "SSDLite on MobileViT-XXS",
        "purpose": "finding PixelZoo's ten animals, at 256 px",
        "data": f"{ZOO} The backbone starts from `pixelzoo-xxs`.",
        "limits": "It has seen drawings only. On photographs its answers mean nothing before fine-tuning.",
        "licence": "MIT, like the library.",
    },
    "pixelzoo-xxs-deeplabv3": {
        "network": "DeepLabv3 on MobileViT-XXS",
        "purpose": "naming every pixel of PixelZoo's scenes, at 256 px",
        "data": f"{ZOO} The backbone starts from `pixelzoo-xxs`. Output stride 16, in the last two stages 8.",
        "limits": "It has seen drawings only. On photographs its answers mean nothing before fine-tuning.",
        "licence": "MIT, like the library.",
    },
}


def ship(name: str, task: str, model: Head, seed: int, measure: Callable[..., Result]) -> Result:
    """Train a head on PixelZoo, store it, measure what is stored."""
    parts = []
    for stage in STAGES[name]:
        data = stage.data()
        if stage.change:
            model = stage.change(model)
        parts.append(train(f"shipped/{name}/{stage.name}", model, data, stage.recipe, seed, task))
    file = WEIGHTS / f"{name}.safetensors"
    save_weights(model, file, torch.float16)
    model = load_weights(file)
    write_log(name, STAGES[name])
    size = data.size
    tests = {split: PixelZoo(split, task=task, size=size) for split in ("test", "shift")}
    result: Result = {"train_images": len(data), "test_images": len(tests["test"])} | added(parts)
    for split, items in tests.items():
        result |= measure(model, items, "" if split == "test" else "_shift")
    return result


def ship_detector(seed: int) -> Result:
    """SSDLite on XXS, its backbone from the classifier."""
    name = "pixelzoo-xxs-ssdlite"
    torch.manual_seed(seed)
    model = SSDLite(load_backbone("pixelzoo-xxs"), OUTPUTS)
    result = ship(name, "detect", model, seed, detection_scores)
    measured = (
        f"AP {result['ap']} %, AP50 {result['ap50']} % on `test`, AP50 {result['ap50_shift']} % on `shift`"
    )
    write_card(name, f"detection: {name}", STAGES[name], CARDS[name], seed, result, measured)
    return result


def ship_segmenter(seed: int) -> Result:
    """DeepLabv3 on XXS, its backbone from the classifier."""
    name = "pixelzoo-xxs-deeplabv3"
    torch.manual_seed(seed)
    model = DeepLabV3(load_backbone("pixelzoo-xxs", 16), OUTPUTS)
    result = ship(name, "segment", model, seed, segmentation_scores)
    measured = f"Mean IoU {result['miou']} % on `test`, {result['miou_shift']} % on `shift`"
    write_card(name, f"segmentation: {name}", STAGES[name], CARDS[name], seed, result, measured)
    return result


# BCCD: blood cells on photos, from scratch and from PixelZoo

BCCD_STARTS = {"scratch": None, "pixelzoo-xxs-ssdlite": "pixelzoo-xxs-ssdlite"}


def blood_cells(start: str) -> Callable[[int], Result]:
    """SSDLite on XXS at 256 px, trained on the lists train and val, measured on test."""

    def run(seed: int) -> Result:
        root = fetch("bccd")
        data, test = (VOCDetection(root, split, classes=None, size=256) for split in ("trainval", "test"))
        outputs = 1 + len(data.classes)
        torch.manual_seed(seed)
        weights = BCCD_STARTS[start]
        model = load_weights(weights, num_classes=outputs) if weights else SSDLite(mobilevit_xxs(0), outputs)
        recipe = dense_recipe(80, 256, 1e-3)
        result = train(f"detection/bccd-{start}-{seed}", model, data, recipe, seed, "detect")
        lengths = {"train_images": len(data), "test_images": len(test)}
        empty = {"ap_shift": "", "ap50_shift": ""}
        return lengths | result | detection_scores(model, test) | empty

    return run


# The same head on two backbones, each trained as a classifier by the same recipe

BACKBONES = {"MobileViT-XXS": "pixelzoo-xxs", "MobileNetV2": "pixelzoo-mobilenetv2"}


def swap_backbone(task: str, backbone: str) -> Callable[[int], Result]:
    """SSDLite or DeepLabv3 at 96 px, as many images whichever the backbone."""

    def run(seed: int) -> Result:
        data, weights = drawn(task, 128), trained(BACKBONES[backbone])
        torch.manual_seed(seed)  # after a training that `trained` may need
        if task == "detect":
            model, epochs = SSDLite(load_backbone(weights), OUTPUTS), 4
        else:
            model, epochs = DeepLabV3(load_backbone(weights, 16), OUTPUTS), 2
        folder = f"{task}/{backbone}-{seed}"
        result = train(folder, model, data, dense_recipe(epochs, 96, 4e-4, **TUNED), seed, task)
        measure = detection_scores if task == "detect" else segmentation_scores
        result = {"train_images": len(data), "test_images": 1000} | result
        for split, where in (("test", ""), ("shift", "_shift")):
            result |= measure(model, PixelZoo(split, task=task, size=96), where)
        return result

    return run
