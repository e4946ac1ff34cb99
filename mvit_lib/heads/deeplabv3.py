"""DeepLabV3 (Chen et al. 2017) on a light backbone: a class for every pixel."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mvit_lib.classifier import ConvBackbone, evaluating
from mvit_lib.heads.head import Head
from mvit_lib.layers import ConvNormAct, Dropout, init_weights
from mvit_lib.transforms import to_rgb


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: every pixel is looked at in five surroundings at once.

    A 1×1 convolution sees the pixel alone, three 3×3 ones reach `rates` pixels to each side through
    the gaps in their kernels, and the mean over the map is told to all. A 1×1 convolution merges them.

    Shape: [B, in_channels, H, W] -> [B, channels, H, W].
    Source: Section 3.3 of Chen et al. 2017; rates, ReLU and dropout from the official configuration.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 256,
        rates: tuple[int, ...] = (6, 12, 18),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                ConvNormAct(in_channels, channels, activation=nn.ReLU),
                *(ConvNormAct(in_channels, channels, 3, dilation=r, activation=nn.ReLU) for r in rates),
            ]
        )
        self.pool = ConvNormAct(in_channels, channels, activation=nn.ReLU)
        self.project = ConvNormAct((len(rates) + 2) * channels, channels, activation=nn.ReLU)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        branches = [conv(x) for conv in self.convs]  # each [B, channels, H, W]
        mean = self.pool(x.mean((2, 3), keepdim=True))  # [B, channels, 1, 1]
        # To stretch one pixel bilinearly is to repeat it.
        branches.append(mean.expand_as(branches[0]))  # [B, channels, H, W]
        return self.dropout(self.project(torch.cat(branches, dim=1)))  # [B, channels, H, W]


class DeepLabV3(Head):
    """A backbone, ASPP on its layer_5, and a 1×1 convolution that names the class of every pixel.

    The official network is MobileViT with `output_stride=16`: 1,854,853, 2,944,069 and 6,357,941
    parameters for XXS, XS and S with 21 classes. Stride 8 looks twice as closely, with the same rates.
    `classes` names the outputs. `eval_transform.crop` is the side of the square to which `segment`
    stretches a picture.

    Shape: RGB float images [B, 3, H, W] in [0, 1] -> logits [B, num_classes, H, W].
    In training B must be at least 2: BatchNorm cannot normalise the single mean of a single image.
    Raises: TypeError if the backbone is no MobileViT or MobileNetV2; ValueError if it has a classifier
    or an output stride of 32, or num_classes is below 2.
    Source: the official configuration of DeepLabv3 on MobileViT (Table 2 of its paper).
    """

    def __init__(self, backbone: ConvBackbone, num_classes: int = 21) -> None:
        super().__init__(backbone, num_classes, output_strides=(16, 8), side=512)
        self.aspp = ASPP(backbone.feature_info["layer_5"][0]).apply(init_weights)
        self.dropout = nn.Dropout2d(0.1)
        self.classifier = nn.Conv2d(256, num_classes, 1)
        nn.init.trunc_normal_(self.classifier.weight, std=0.02)  # at first, all classes are as likely
        nn.init.zeros_(self.classifier.bias)
        self.to(memory_format=torch.channels_last)

    def forward_logits(self, x: Tensor) -> Tensor:
        """Logits as the head computes them, [B, num_classes, ⌈H/stride⌉, ⌈W/stride⌉].

        Raises: as `forward_features` of the backbone.
        """
        y = self.backbone.forward_features(x)["layer_5"]  # [B, C5, H/16, W/16]
        y = self.dropout(self.aspp(y))  # [B, 256, H/16, W/16]
        return self.classifier(y)  # [B, num_classes, H/16, W/16]

    def forward(self, x: Tensor) -> Tensor:
        """Logits stretched bilinearly to the size of the images, [B, num_classes, H, W]."""
        logits = self.forward_logits(x)  # [B, num_classes, H/16, W/16]
        if self.training:
            logits = logits.contiguous()  # the loss of the stretched map takes half the time so
        return F.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False)

    def segment(self, image: Image.Image) -> "Segmentation":
        """The likeliest class of every pixel of a PIL image of any mode and size.

        The picture is stretched to a square as `eval_transform` says, and the classes found there are
        stretched back to its own size (nearest pixel), as the official evaluation does. Runs in eval mode
        whatever mode the model is in, and leaves the mode as it was.
        """
        image = to_rgb(image)
        with evaluating(self), torch.inference_mode():
            logits = self(self.preprocess(image))  # [1, num_classes, S, S]
        mask = resize_mask(logits[0].argmax(0).cpu(), (image.height, image.width))  # [H, W]
        return Segmentation(image, mask, self.classes)


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Classes [S, S] stretched to size = (H, W), the nearest pixel's each: int64 [H, W]."""
    if tuple(mask.shape) == size:
        return mask
    return F.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0].long()  # [H, W]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What `segment` found: the upright RGB picture, int64 `mask` [H, W] of classes, names of all classes."""

    image: Image.Image
    mask: Tensor
    classes: tuple[str, ...]

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The picture with every pixel but the background's tinted in the colour of its class.

        opacity: 0 leaves the picture, 1 shows the colours alone; ValueError outside.
        """
        if not 0 <= opacity <= 1:
            raise ValueError(f"opacity={opacity}: expected a number in 0 … 1")
        colours = Image.fromarray(class_colours(int(self.mask.max()) + 1)[self.mask.numpy()])
        is_object = Image.fromarray((self.mask > 0).numpy())
        return Image.composite(Image.blend(self.image, colours, opacity), self.image, is_object)


def class_colours(num_classes: int) -> np.ndarray:
    """A colour for each class: RGB uint8 [num_classes, 3], all different, black for class 0.

    The bits of the class number are dealt to red, green, blue in turn, each filled from its highest bit.
    Source: the colour map of Pascal VOC's masks.
    """
    number = np.arange(num_classes)[:, None, None]  # [K, 1, 1]
    bit, channel = np.arange(8)[:, None], np.arange(3)  # [8, 1], [3]
    bits = number >> (3 * bit + channel) & 1  # [K, 8, 3]
    return (bits << (7 - bit)).sum(1).astype(np.uint8)  # [K, 3]
