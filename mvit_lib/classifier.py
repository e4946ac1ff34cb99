"""What the networks share: checked input, named classes, `predict`, folding for inference."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor, nn

from mvit_lib.layers import ConvNormAct, fold_batchnorm
from mvit_lib.transforms import EvalTransform


def check_config(config: Any) -> None:
    """Raise ValueError naming the first field of a configuration that cannot be meant.

    Fields declared float take numbers above 0, all others whole numbers of at least 1 (or tuples of
    them); num_classes may be 0, and a dropout is a probability below 1.
    """

    def numbers(value: Any) -> list[Any]:
        return [n for v in value for n in numbers(v)] if isinstance(value, tuple) else [value]

    for field in fields(config):
        value, kinds = getattr(config, field.name), int
        expected, lowest, below = "whole numbers, at least 1", 1, math.inf
        if field.name == "num_classes":
            expected, lowest = "a whole number, at least 0", 0
        elif field.type is float:
            kinds = int | float
            expected, lowest = "a finite number above 0", 1e-12
            if "dropout" in field.name:
                expected, lowest, below = "a probability in [0, 1)", 0, 1
        for number in numbers(value):
            meant = isinstance(number, kinds) and not isinstance(number, bool)
            if not meant or not lowest <= number < below:
                raise ValueError(f"{field.name}={value!r}: expected {expected}")


def check_images(x: Tensor, smallest: int) -> None:
    """Raise unless `x` is a float batch [B, 3, H, W] with both sides at least `smallest`."""
    if not isinstance(x, Tensor):
        raise TypeError(f"expected a tensor [B, 3, H, W], got {type(x).__name__}")
    if x.dim() != 4:
        raise ValueError(
            f"expected images [B, 3, H, W], got shape {tuple(x.shape)}"
            + (": add the batch axis with x[None]" if x.dim() == 3 else "")
        )
    if x.shape[1] != 3:
        raise ValueError(f"expected 3 channels (RGB), got {x.shape[1]} in shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"expected float images in [0, 1], got {x.dtype}: use x.float() / 255")
    if min(x.shape[-2:]) < smallest:
        raise ValueError(
            f"images of {x.shape[-2]} × {x.shape[-1]} pixels are too small: "
            f"this network needs at least {smallest} × {smallest}"
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in eval mode inside, and in its own mode again after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class Network(nn.Module):
    """Base of all that can be trained and saved: `classes` names the outputs, `eval_transform` the size."""

    classes: tuple[str, ...]
    eval_transform: EvalTransform

    @property
    def is_fused(self) -> bool:
        """Whether its BatchNorms were folded by `fuse`."""
        pairs = (module.norm for module in self.modules() if isinstance(module, ConvNormAct))
        return any(isinstance(norm, nn.Identity) for norm in pairs)

    def fuse(self) -> Self:
        """A copy for inference: eval mode, every BatchNorm folded into its convolution.

        The model itself stays as it is. Outputs agree within 1e-5 of their size (fp32).
        """
        fused = copy.deepcopy(self).eval()
        fold_batchnorm(fused)
        return fused


class Classifier(Network):
    """Base of the classifiers: RGB float images [B, 3, H, W] in [0, 1] -> logits [B, num_classes].

    `config` is the frozen dataclass it was built from, `classes` names the outputs and
    `eval_transform` is the crop that `preprocess` takes.
    """

    def __init__(self, config: Any, eval_transform: EvalTransform) -> None:
        super().__init__()
        self.config = config
        self.classes = tuple(f"class {i}" for i in range(config.num_classes))
        self.eval_transform = eval_transform

    def preprocess(self, image: Image.Image) -> Tensor:
        """PIL image of any mode and size -> float32 [1, 3, crop, crop] in [0, 1]."""
        return self.eval_transform(image)[None]  # [1, 3, crop, crop]

    @torch.inference_mode()
    def predict(self, image: Image.Image, k: int = 5) -> list[tuple[str, float]]:
        """The `k` likeliest classes of a PIL image with their probabilities, likeliest first.

        Runs in eval mode whatever mode the model is in, and leaves the mode as it was.
        Raises: ValueError if the model was built with num_classes=0 or k is below 1.
        """
        if not self.classes or k < 1:
            raise ValueError(f"cannot name {k} of {len(self.classes)} classes")
        parameter = next(self.parameters())
        with evaluating(self):
            logits = self(self.preprocess(image).to(parameter.device, parameter.dtype))  # [1, num_classes]
        best = logits[0].float().softmax(0).topk(min(k, len(self.classes)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(self.classes[i], p) for i, p in pairs]


class ConvBackbone(Classifier):
    """A network of five stages, layer_1 … layer_5, between a stem and a classifier.

    Subclasses build `stem`, `layer_1` … `layer_5` and, unless num_classes is 0, `expand`, `dropout`
    and `classifier`. Maps are kept channels-last from end to end, which CPUs and GPUs convolve faster.
    """

    stages = ("layer_1", "layer_2", "layer_3", "layer_4", "layer_5")
    stage_channels: tuple[int, ...]

    @property
    def stage_strides(self) -> tuple[int, ...]:
        return tuple(min(stride, self.config.output_stride) for stride in (2, 4, 8, 16, 32))

    @property
    def feature_info(self) -> dict[str, tuple[int, int]]:
        """For every stage: (channels, stride), stride in pixels of the image."""
        pairs = zip(self.stage_channels, self.stage_strides, strict=True)
        return dict(zip(self.stages, pairs, strict=True))

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """The maps after the five stages: "layer_1" … "layer_5" -> [B, channels, ⌈H/stride⌉, ⌈W/stride⌉].

        Raises: ValueError or TypeError if `x` is not a float batch [B, 3, H, W] with sides of at least
        the output stride.
        """
        check_images(x, self.config.output_stride)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))  # [B, C, H/2, W/2]
        features = {}
        for stage in self.stages:
            x = features[stage] = getattr(self, stage)(x)  # [B, channels, H/stride, W/stride]
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes]; with num_classes=0 the mean of layer_5's map, [B, channels]."""
        x = self.forward_features(x)["layer_5"]  # [B, C5, H/32, W/32]
        if self.config.num_classes == 0:
            return x.mean((2, 3))  # [B, C5]
        x = self.expand(x).mean((2, 3))  # [B, head channels]
        return self.classifier(self.dropout(x))  # [B, num_classes]
