"""MobileViT and the networks beside it: models to build, load, run and take apart.

All take RGB images [B, 3, H, W] in [0, 1] of any size.
"""

from mvit_lib.mobilenet import MobileNetV2
from mvit_lib.mobilevit import (
    MobileViT,
    MobileViTBlock,
    MobileViTConfig,
    mobilevit_s,
    mobilevit_xs,
    mobilevit_xxs,
)
from mvit_lib.vit import ViT, ViTConfig
from mvit_lib.weights import load_weights

__all__ = [
    "MobileNetV2",
    "MobileViT",
    "MobileViTBlock",
    "MobileViTConfig",
    "ViT",
    "ViTConfig",
    "load_weights",
    "mobilevit_s",
    "mobilevit_xs",
    "mobilevit_xxs",
]
