"""MobileViT, MobileNetV2 and ViT of equal size on equal data, as rows of `make runs` (notebook 09)."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch.utils.data import Subset
from trainings import HANDS, Result, train

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


def centred(vit: ViT) -> ViT:
    """The same ViT on pixels from -1 to 1, as its authors train it; without a BatchNorm nothing else
    takes the mean brightness away."""
    vit.patch_embedding.register_forward_pre_hook(lambda _, images: 2 * images[0] - 1)  # [B, C, H, W]
    return vit


def vit_config(classes: int) -> ViTConfig:
    return ViTConfig(image_size=SIZE, patch_size=8, dim=124, depth=5, num_heads=4, num_classes=classes)


# 954,234, 948,810 and 964,234 parameters with ten classes.
NETWORKS: dict[str, Callable[[int], Classifier]] = {
    "MobileViT": lambda classes: mobilevit_xxs(num_classes=classes),
    "MobileNetV2": lambda classes: MobileNetV2(num_classes=classes, width=0.6),
    "ViT": lambda classes: centred(ViT(vit_config(classes))),
}
# What centring is worth to a ViT, "rates" tells.
TRIED_NETWORKS = NETWORKS | {"ViT on 0 to 1": lambda classes: ViT(vit_config(classes))}
# Learning rates tried, until the best was not at an end, and the best of them for each network: the
# table "rates" says so, and a test.
TRIED = {
    "MobileViT": (3e-4, 1e-3, 3e-3, 1e-2),
    "MobileNetV2": (3e-4, 1e-3, 3e-3, 1e-2),
    "ViT": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "ViT on 0 to 1": (3e-4, 1e-3, 3e-3),
}
RATES = {"MobileViT": 1e-3, "MobileNetV2": 3e-3, "ViT": 1e-4}
# Animals that fill most of the picture: at 64 px smaller ones are a few pixels.
LARGEST = (0.7, 0.85)


def zoo(test_seed: int = 0) -> tuple[Items, Items]:
    options = {"size": SIZE, "scales": LARGEST}
    return PixelZoo("train", length=4000, cache=True, **options), PixelZoo("test", seed=test_seed, **options)


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


def learn(
    name: str, network: str, parts: tuple[Items, Items], per_cent: int, recipe: Recipe, seed: int
) -> Result:
    """One network from scratch on a part of the training data; top-1 on the test data in per cent."""
    data, test = parts
    length = len(data) * per_cent // 100
    # The same part for every network; another for another seed.
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)
    model = TRIED_NETWORKS[network](len(data.classes))
    recipe = replace(recipe, epochs=round(IMAGES_SEEN / length))
    result = train(name.replace(" ", "-"), model, Subset(data, order[:length].tolist()), recipe, seed)
    top1 = 100 * evaluate(model, test).top1
    return {"train_images": length, "test_images": len(test)} | result | {"top1_test": f"{top1:.2f}"}


def try_rate(network: str, rate: float) -> Callable[[int], Result]:
    """One network with one learning rate on all of PixelZoo's part, tested on scenes of its own."""

    def run(seed: int) -> Result:
        recipe = replace(Recipe.small(1, batch=32, size=SIZE), rate=rate, **DATA["PixelZoo"][1])
        return learn(f"rates/{network}-{rate:g}-{seed}", network, zoo(test_seed=1), 100, recipe, seed)

    return run


def compare_networks(
    network: str, data_name: str, per_cent: int, augmentation: str
) -> Callable[[int], Result]:
    """One network on a part of one of the datasets, with its learning rate of RATES."""

    def run(seed: int) -> Result:
        load, changes = DATA[data_name]
        recipe = replace(Recipe.small(1, batch=32, size=SIZE), rate=RATES[network], **changes)
        recipe = replace(recipe, augmentation=augmentation)
        folder = f"networks/{network}-{data_name}-{per_cent}-{augmentation}-{seed}"
        return learn(folder, network, load(), per_cent, recipe, seed)

    return run
