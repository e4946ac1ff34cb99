"""A network and a dataset so small that a training takes a second; importable by other processes."""

import numpy as np
import torch
from PIL import Image

from mvit_lib import MobileViT, MobileViTConfig
from mvit_lib.data.items import Items
from mvit_lib.train import Recipe
from mvit_lib.transforms import Sample

COLOURS = ((200, 60, 50), (60, 170, 60), (50, 80, 200))


class Colours(Items):
    """Noisy pictures of three colours, 32 × 32; the label is the colour."""

    task = "classify"
    classes = ("red", "green", "blue")

    def __init__(self, length: int = 48, seed: int = 0) -> None:
        super().__init__(32, None, seed)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def load(self, index: int, size: tuple[int, int]) -> Sample:
        label = index % 3
        noise = np.random.default_rng([self.seed, index]).normal(0, 60, (40, 36, 3))
        return Sample(Image.fromarray((COLOURS[label] + noise).clip(0, 255).astype(np.uint8)), label)


def tiny_model(num_classes: int = 3, dropout: float = 0.1) -> MobileViT:
    """A MobileViT with every part of the real one, and a thousandth of its work."""
    torch.manual_seed(0)
    config = MobileViTConfig(
        channels=(8, 8, 8, 8, 8, 8), dims=(8, 8, 8), depths=(1, 1, 1), num_heads=2, expansion=2,
        num_classes=num_classes, dropout=dropout, classifier_dropout=dropout,
    )  # fmt: skip
    return MobileViT(config)


def tiny_recipe(**changes: object) -> Recipe:
    """Three epochs of two sizes, with everything that has a state: cosine, mean, dropout."""
    numbers = {
        "epochs": 3, "batch": 8, "sizes": (32, 48), "rule": "paper", "rate": 0.02, "warmup_steps": 3,
        "ema": 0.2, "eval_resize": 32, "eval_crop": 32, "precision": "float32",
    }  # fmt: skip
    return Recipe(**(numbers | changes))
