"""MobileViT, MobileNetV2 and ViT of equal size on equal data, as rows of `make runs` (notebook 09)."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch.utils.data import Subset
from trainings import HANDS, LARGE, Result, train

from mvit_lib import MobileNetV2, ViT, ViTConfig, mobilevit_xxs
from mvit_lib.classifier import Classifier
from mvit_lib.data import ImageFolder, PixelZoo
from mvit_lib.data.download import fetch
from mvit_lib.data.folders import split_by_hash
from mvit_lib.data.items import Items
from mvit_lib.train import Recipe, evaluate

SIZE = 64
# About 48,000 images are seen in every training, whatever the number of different ones.
IMAGES_SEEN = 48_000
# 954,234, 948,810 and 964,234 parameters with ten classes.
NETWORKS: dict[str, Callable[[int], Classifier]] = {
    "MobileViT": lambda classes: mobilevit_xxs(num_classes=classes),
    "MobileNetV2": lambda classes: MobileNetV2(num_classes=classes, width=0.6),
    "ViT": lambda classes: ViT(
        ViTConfig(image_size=SIZE, patch_size=8, dim=124, depth=5, num_heads=4, num_classes=classes)
    ),
}


def zoo() -> tuple[Items, Items]:
    options = {"size": SIZE, "scales": LARGE}
    return PixelZoo("train", length=4000, cache=True, **options), PixelZoo("test", **options)


def photos(name: str) -> tuple[Items, Items]:
    return split_by_hash(ImageFolder(fetch(name), size=SIZE))


# Name -> training and test data, what its pictures ask of the recipe.
DATA: dict[str, tuple[Callable[[], tuple[Items, Items]], dict[str, object]]] = {
    "PixelZoo": (zoo, {"crop_scale": (0.8, 1.0)}),
    "Sign Language Digits": (lambda: photos("sign-digits"), HANDS),
    "TrashNet": (lambda: photos("trashnet"), {}),
}
# (data, per cent of it, augmentation)
SETTINGS = (
    ("PixelZoo", 10, "basic"),
    ("PixelZoo", 30, "basic"),
    ("PixelZoo", 100, "basic"),
    ("PixelZoo", 100, "advanced"),
    ("Sign Language Digits", 100, "basic"),
    ("Sign Language Digits", 100, "advanced"),
    ("TrashNet", 100, "basic"),
    ("TrashNet", 100, "advanced"),
)


def compare_networks(
    network: str, data_name: str, per_cent: int, augmentation: str
) -> Callable[[int], Result]:
    """One network from scratch at 64 px; top-1 on the test split in per cent."""

    def run(seed: int) -> Result:
        load, changes = DATA[data_name]
        data, test = load()
        length = len(data) * per_cent // 100
        # The same part for every network; another for another seed.
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)
        model = NETWORKS[network](len(data.classes))
        recipe = Recipe.small(round(IMAGES_SEEN / length), batch=32, size=SIZE)
        recipe = replace(recipe, rate=1e-3, augmentation=augmentation, **changes)
        folder = f"networks/{network}-{data_name}-{per_cent}-{augmentation}-{seed}".replace(" ", "-")
        part = Subset(data, order[:length].tolist())
        result = train(folder, model, part, recipe, seed)
        top1 = 100 * evaluate(model, test).top1
        return {"train_images": length, "test_images": len(test)} | result | {"top1_test": f"{top1:.2f}"}

    return run
