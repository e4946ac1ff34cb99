"""What the networks are fed with."""

from mvit_lib.data.coco import CocoDetection
from mvit_lib.data.folders import ImageFolder
from mvit_lib.data.items import collate
from mvit_lib.data.pixelzoo import PixelZoo
from mvit_lib.data.sampler import Key, MultiScaleSampler
from mvit_lib.data.voc import VOCDetection, VOCSegmentation

__all__ = [
    "CocoDetection",
    "ImageFolder",
    "Key",
    "MultiScaleSampler",
    "PixelZoo",
    "VOCDetection",
    "VOCSegmentation",
    "collate",
]
