"""What a training is made of: numbers only, so that two recipes can be compared and one can be stored."""

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mvit_lib.data.sampler import RULES, MultiScaleSampler
from mvit_lib.patches import Pair

PRECISIONS = ("float32", "bfloat16")
AUGMENTATIONS = ("basic", "photometric", "advanced")


@dataclass(frozen=True)
class Recipe:
    """A training in numbers; the defaults are the paper's for ImageNet-1k.

    epochs: passes over the data. batch: images per step and rank, for the rule of the
    sampler. sizes: of the images in training, one or several (then the multi-scale sampler draws one per
    step). accumulate: batches per update.

    The learning rate climbs from `start_rate` to `rate` on a line, then falls to `final_rate` on a
    cosine that is constant within an epoch (`cosine_by` "epoch") or goes on step by step ("step"). The
    climb takes `warmup_steps` updates or, where `warmup_share` is not 0, that share of all updates. The
    new layers of a head learn `head_rate` times faster than the backbone.

    weight_decay: on every parameter. label_smoothing: in training only. ema: how much of the weights
    goes into their running mean at every update, buffers included; 0 for no mean.

    augmentation: "basic" is RandomResizedCrop of `crop_scale` (share of the area) and a flip with
    probability `flip`; "photometric" adds other light and any other hue, "advanced" adds RandAugment, and
    Mixup or CutMix. Detection and segmentation have crops of their own; crop_scale = (1, 1) leaves their
    pictures whole. Evaluation resizes the shorter side to `eval_resize` and takes the central `eval_crop`.

    precision: "float32", or "bfloat16" by autocast. compile: with torch.compile.

    Raises: ValueError naming the field that cannot be meant.
    Source: Section 4.1; warm-up, per-epoch cosine, decay on all parameters and the mean over buffers as
    in the official code behind the paper's weights.
    """

    epochs: int = 300
    batch: int = 128
    sizes: tuple[Pair, ...] = (160, 192, 256, 288, 320)
    rule: str = "cvnets-v0.1"
    accumulate: int = 1
    start_rate: float = 2e-4
    rate: float = 2e-3
    final_rate: float = 2e-4
    warmup_steps: int = 3000
    warmup_share: float = 0.0
    cosine_by: str = "epoch"
    head_rate: float = 1.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    label_smoothing: float = 0.1
    ema: float = 0.0005
    augmentation: str = "basic"
    crop_scale: tuple[float, float] = (0.08, 1.0)
    flip: float = 0.5
    eval_resize: int = 288
    eval_crop: int = 256
    precision: str = "bfloat16"
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {"rule": RULES, "precision": PRECISIONS, "augmentation": AUGMENTATIONS}
        for name, allowed in (choices | {"cosine_by": ("epoch", "step")}).items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {sorted(allowed)}")
        shares = ("warmup_share", "label_smoothing", "ema", "flip")
        at_least = {"epochs": 1, "batch": 1, "accumulate": 1, "eval_crop": 1} | dict.fromkeys(shares, 0)
        at_most = dict.fromkeys(shares, 1)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in (int, float):
                low, high = at_least.get(field.name, 0), at_most.get(field.name, math.inf)
                if not isinstance(value, int | float) or not low <= value <= high or value == math.inf:
                    raise ValueError(f"{field.name}={value!r}: expected a number from {low} to {high}")
        if not self.sizes:
            raise ValueError(f"sizes={self.sizes!r}: expected at least one")

    @classmethod
    def imagenet(cls) -> Self:
        """The paper's recipe for ImageNet-1k, meant for 8 ranks."""
        return cls()

    @classmethod
    def coco_ssdlite(cls) -> Self:
        """The paper's recipe for SSDLite on MS-COCO, meant for 4 ranks."""
        return cls(
            epochs=200, batch=32, sizes=(320,), rule="paper", start_rate=9e-5, rate=9e-4, final_rate=1e-6,
            warmup_steps=500, label_smoothing=0, eval_resize=320, eval_crop=320,
        )  # fmt: skip

    @classmethod
    def voc_deeplab(cls) -> Self:
        """The paper's recipe for DeepLabv3 on Pascal VOC 2012, meant for 4 ranks."""
        return cls(
            epochs=50, batch=32, sizes=(512,), rule="paper", start_rate=9e-5, rate=9e-4, final_rate=1e-6,
            warmup_steps=500, head_rate=10, label_smoothing=0, eval_resize=512, eval_crop=512,
        )  # fmt: skip

    @classmethod
    def small(cls, epochs: int, batch: int, size: int = 128) -> Self:
        """For thousands of images on a small machine: short warm-up, smooth cosine, mean over 30 steps."""
        return cls(
            epochs=epochs, batch=batch, sizes=(size,), rule="paper", final_rate=1e-5, warmup_share=0.05,
            cosine_by="step", ema=0.03, crop_scale=(0.35, 1.0), eval_resize=size, eval_crop=size,
            precision="float32",
        )  # fmt: skip

    def sampler(self, num_samples: int, rank: int = 0, world_size: int = 1) -> MultiScaleSampler:
        """The sampler of this recipe; a single size makes it the ordinary one."""
        return MultiScaleSampler(
            num_samples, self.sizes, self.batch, self.rule, self.seed, rank=rank, world_size=world_size
        )

    def warmup(self, updates: int) -> int:
        """Updates of the climb, when there are `updates` in all.

        Raises: ValueError if the climb takes half of them or more.
        """
        warmup = round(self.warmup_share * updates) if self.warmup_share else self.warmup_steps
        if warmup and 2 * warmup >= updates:
            raise ValueError(
                f"the warm-up takes {warmup} of {updates} updates, half or more: train for more epochs, "
                "or set warmup_steps, or warmup_share=0.05 for 5 % of the updates"
            )
        return warmup

    def learning_rate(self, update: int, updates: int, epoch: int) -> float:
        """Of update number `update` (from 0) of `updates`, in epoch `epoch` (from 0)."""
        warmup = self.warmup(updates)
        if update < warmup:
            return self.start_rate + update * (self.rate - self.start_rate) / warmup
        progress = epoch / self.epochs if self.cosine_by == "epoch" else update / updates
        fall = 0.5 * (self.rate - self.final_rate) * (1 + math.cos(math.pi * progress))
        return round(self.final_rate + fall, 8)

    def optimizer(self, model: nn.Module) -> torch.optim.AdamW:
        """AdamW over all parameters that learn; what is not in `model.backbone` has `head_rate`.

        Raises: ValueError if nothing learns.
        """
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not learning:
            raise ValueError("no parameter of the model requires a gradient: nothing to train")
        if self.head_rate == 1:
            groups = [{"params": list(learning.values()), "scale": 1.0}]
        else:
            head = [p for name, p in learning.items() if not name.startswith("backbone.")]
            backbone = [p for name, p in learning.items() if name.startswith("backbone.")]
            groups = [{"params": backbone, "scale": 1.0}, {"params": head, "scale": self.head_rate}]
        return torch.optim.AdamW(
            groups, lr=self.start_rate, betas=self.betas, weight_decay=self.weight_decay, fused=True
        )

    def mean_of_weights(self, model: nn.Module) -> AveragedModel:
        """The running mean of all weights and buffers; begins as a copy of the model."""
        mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(1 - self.ema), use_buffers=True)
        mean.n_averaged += 1  # without this the first update would copy the model instead of averaging
        return mean
