"""What SSDLite and DeepLabv3 share: the backbones they take, and pictures stretched to a square."""

from PIL import Image
from torch import Tensor

from mvit_lib.classifier import ConvBackbone, Network
from mvit_lib.transforms import EvalTransform, image_to_tensor, to_rgb


class Head(Network):
    """Base of the heads: a backbone without classifier, and outputs of which the first is the background.

    `classes` names the outputs. `eval_transform.crop` is the side of the square to which pictures are
    stretched; `num_classes` counts the background.

    Raises: TypeError if the backbone is no MobileViT or MobileNetV2; ValueError if it has a classifier
    or none of `output_strides`, or num_classes is below 2.
    """

    def __init__(
        self, backbone: ConvBackbone, num_classes: int, output_strides: tuple[int, ...], side: int
    ) -> None:
        super().__init__()
        if not isinstance(backbone, ConvBackbone):
            raise TypeError(f"expected a MobileViT or MobileNetV2, got {type(backbone).__name__}")
        config = backbone.config
        if config.num_classes != 0:
            raise ValueError(f"backbone with num_classes={config.num_classes}: build it with num_classes=0")
        if config.output_stride not in output_strides:
            expected = " or ".join(map(str, output_strides))
            raise ValueError(f"backbone with output_stride={config.output_stride}: expected {expected}")
        if num_classes < 2:
            raise ValueError(f"num_classes={num_classes}: expected at least 2, the first is the background")
        self.num_classes = num_classes
        self.classes = ("background", *(f"class {i}" for i in range(1, num_classes)))
        self.eval_transform = EvalTransform(resize=side, crop=side)
        self.backbone = backbone

    def preprocess(self, image: Image.Image) -> Tensor:
        """PIL image of any mode and size -> float [1, 3, crop, crop] in [0, 1], where the weights lie."""
        side, parameter = self.eval_transform.crop, next(self.parameters())
        square = to_rgb(image).resize((side, side), Image.Resampling.BILINEAR)
        x: Tensor = image_to_tensor(square)[None]  # [1, 3, S, S]
        return x.to(parameter.device, parameter.dtype)
