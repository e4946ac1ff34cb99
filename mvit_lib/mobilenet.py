"""MobileNetV2 (Sandler et al., 2018): the light CNN that the course compares MobileViT with."""

from dataclasses import dataclass

import torch
from torch import nn

from mvit_lib.classifier import ConvBackbone, check_config
from mvit_lib.layers import ConvNormAct, InvertedResidual, init_weights, make_divisible
from mvit_lib.transforms import EvalTransform

# Expansion, width, repeats, stride of each row of Table 2, grouped into five stages by their stride.
TABLE_2 = {
    "layer_1": ((1, 16, 1, 1),),
    "layer_2": ((6, 24, 2, 2),),
    "layer_3": ((6, 32, 3, 2),),
    "layer_4": ((6, 64, 4, 2), (6, 96, 3, 1)),
    "layer_5": ((6, 160, 3, 2), (6, 320, 1, 1)),
}


@dataclass(frozen=True)
class MobileNetV2Config:
    """Width multiplier, classifier and output stride (8, 16 or 32) of a MobileNetV2.

    Raises: ValueError naming the field that cannot be meant.
    """

    width: float = 1.0
    classifier_dropout: float = 0.2
    num_classes: int = 1000
    output_stride: int = 32

    def __post_init__(self) -> None:
        check_config(self)
        if self.output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride={self.output_stride}: expected 8, 16 or 32")


class MobileNetV2(ConvBackbone):
    """Seventeen inverted residuals with ReLU6, in five stages; 3,504,872 parameters at width 1.

    With an output stride of 16 or 8 the stages that no longer shrink the map widen the gaps of their
    3×3 kernels instead, from the second block on.

    Shape: RGB float images [B, 3, H, W] in [0, 1] -> logits [B, num_classes].
    Raises: ValueError if width, num_classes or output_stride cannot be meant.
    Source: Table 2 of Sandler et al. 2018.
    """

    def __init__(self, num_classes: int = 1000, output_stride: int = 32, width: float = 1.0) -> None:
        config = MobileNetV2Config(width, num_classes=num_classes, output_stride=output_stride)
        super().__init__(config, EvalTransform(resize=256, crop=224))
        channels = make_divisible(32 * width)
        self.stem = ConvNormAct(3, channels, 3, stride=2, activation=nn.ReLU6)
        stage_channels = []
        total_stride, dilation = 2, 1
        for stage, rows in TABLE_2.items():
            blocks = []
            for expansion, base_width, repeats, stride in rows:
                out_channels = make_divisible(base_width * width)
                for repeat in range(repeats):
                    shrinks = repeat == 0 and stride == 2
                    may_shrink = total_stride < output_stride
                    blocks.append(
                        InvertedResidual(
                            channels,
                            out_channels,
                            stride=2 if shrinks and may_shrink else 1,
                            expansion=expansion,
                            dilation=dilation,
                            activation=nn.ReLU6,
                        )
                    )
                    if shrinks and may_shrink:
                        total_stride *= 2
                    elif shrinks:
                        dilation *= 2
                    channels = out_channels
            setattr(self, stage, nn.Sequential(*blocks))
            stage_channels.append(channels)
        self.stage_channels = tuple(stage_channels)
        if num_classes:
            head_channels = make_divisible(1280 * max(1.0, width))
            self.expand = ConvNormAct(channels, head_channels, activation=nn.ReLU6)
            self.dropout = nn.Dropout(config.classifier_dropout)
            self.classifier = nn.Linear(head_channels, num_classes)
        self.apply(init_weights)
        self.to(memory_format=torch.channels_last)
