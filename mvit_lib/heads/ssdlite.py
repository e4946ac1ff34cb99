"""SSDLite (Liu et al. 2016, Sandler et al. 2018): boxes around objects, all in one look at the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mvit_lib.classifier import ConvBackbone, evaluating
from mvit_lib.heads.boxes import decode, encode, make_anchors, match, nms
from mvit_lib.heads.head import Head
from mvit_lib.layers import ConvNormAct
from mvit_lib.transforms import to_rgb

# Of the first five maps; the sixth is one pixel for the whole image.
STRIDES = (16, 32, 64, 128, 256)


class Found(NamedTuple):
    """The objects of one image, best first: boxes xyxy [n, 4] in its pixels, scores [n], labels [n]."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Detection:
    """One object: the name of its class, a probability, and x0, y0, x1, y1 in pixels of the picture."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class SSDLite(Head):
    """A backbone, four more maps on top of it, and a light convolution on each of the six that answers.

    At every anchor (`ssd_anchors`) it says how to bend it into a box, and of which class that is; 0 is
    the background. With 81 classes: 1,755,050, 2,742,042 and 5,738,826 parameters on MobileViT-XXS, XS
    and S. `classes` names the outputs. `eval_transform.crop` is the side of the square to which `detect`
    stretches a picture.

    Shape: RGB float images [B, 3, H, W] in [0, 1] -> loc [B, A, 4] for `decode` and logits
    [B, A, num_classes]; A is 3,232 at 320 × 320. In training B must be at least 2 if the image has no
    side above 256: BatchNorm cannot normalise a single pixel.
    Raises: TypeError if the backbone is no MobileViT or MobileNetV2; ValueError if it has a classifier
    or an output stride below 32, or num_classes is below 2.
    Source: the official configuration of SSDLite on MobileViT (Table 1 of its paper).
    """

    def __init__(self, backbone: ConvBackbone, num_classes: int = 81) -> None:
        super().__init__(backbone, num_classes, output_strides=(32,), side=320)
        (c4, _), (c5, _) = (backbone.feature_info[stage] for stage in ("layer_4", "layer_5"))
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(128, 64, 1, bias=False), nn.ReLU())
        self.extra_layers = nn.ModuleList(
            [_shrinking_conv(c5, 256), _shrinking_conv(256, 128), _shrinking_conv(128, 128), pool]
        )
        answers = 4 + num_classes
        widths = ((c4, 512), (c5, 256), (256, 256), (128, 128), (128, 128))
        self.heads = nn.ModuleList([_head(*width, 6 * answers) for width in widths])
        self.heads.append(nn.Conv2d(64, 4 * answers, 1))
        self.extra_layers.apply(_init)
        self.heads.apply(_init)
        self.to(memory_format=torch.channels_last)

    def forward_maps(self, x: Tensor) -> list[Tensor]:
        """The six maps, [B, channels, H, W] each; at 320 × 320 of 20, 10, 5, 3, 2 and 1 pixel a side."""
        features = self.backbone.forward_features(x)
        maps = [features["layer_4"], features["layer_5"]]
        for layer in self.extra_layers:
            maps.append(layer(maps[-1]))
        return maps

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """loc [B, A, 4] and logits [B, A, num_classes], in the order of `ssd_anchors`."""
        K, answers = self.num_classes, []
        for features, head in zip(self.forward_maps(x), self.heads, strict=True):
            y = head(features).permute(0, 2, 3, 1)  # [B, H, W, anchors·(4 + K)]
            answers.append(y.flatten(1).unflatten(1, (-1, 4 + K)))  # [B, H·W·anchors, 4 + K]
        loc, logits = torch.cat(answers, dim=1).split([4, K], dim=-1)
        return loc, logits  # [B, A, 4], [B, A, K]

    @torch.inference_mode()
    def find(
        self, images: Tensor, *, min_score: float = 0.01, iou_threshold: float = 0.5, top_k: int = 200
    ) -> list[Found]:
        """The objects in a batch of images [B, 3, H, W], for each image those of all classes together.

        A box is reported for every class whose probability is above `min_score`, unless `nms` drops it;
        it is cut at the image's border. The default finds all that COCO's average precision counts.
        Runs in eval mode whatever mode the model is in, and leaves the mode as it was.
        """
        with evaluating(self):
            loc, logits = self(images)
        height, width = images.shape[-2:]
        boxes = decode(loc.float(), ssd_anchors((height, width)).to(loc.device))  # [B, A, 4]
        probabilities = logits.float().softmax(-1)  # [B, A, K]
        rules = {"min_score": min_score, "iou_threshold": iou_threshold, "top_k": top_k}
        pairs = zip(boxes, probabilities, strict=True)
        return [choose_boxes(b, p, (height, width), **rules) for b, p in pairs]

    def detect(
        self,
        image: Image.Image,
        *,
        min_score: float = 0.3,
        iou_threshold: float = 0.5,
        top_k: int = 200,
    ) -> list[Detection]:
        """The objects in a PIL image of any mode and size, best first; boxes in pixels of the upright image.

        The picture is stretched to a square as `eval_transform` says. min_score: the least probability,
        0 … 1. iou_threshold: of two boxes of a class whose IoU is above it, the worse is dropped. top_k:
        the most boxes of a class.
        """
        image = to_rgb(image)
        rules = {"min_score": min_score, "iou_threshold": iou_threshold, "top_k": top_k}
        (found,) = self.find(self.preprocess(image), **rules)
        side = self.eval_transform.crop
        boxes = found.boxes.double().cpu() / side * torch.tensor(image.size * 2)  # [n, 4]
        rows = zip(found.labels.tolist(), found.scores.tolist(), boxes.tolist(), strict=True)
        return [Detection(self.classes[label], score, tuple(box)) for label, score, box in rows]


def choose_boxes(
    boxes: Tensor,
    probabilities: Tensor,
    image_size: tuple[int, int],
    *,
    min_score: float = 0.01,
    iou_threshold: float = 0.5,
    top_k: int = 200,
) -> Found:
    """What is found in one image among the answers of all anchors, as an exported SSDLite gives them.

    A box is kept for every class but the background whose probability is above `min_score`, unless `nms`
    drops it; it is cut at the image's border. image_size: (height, width) in pixels. The other arguments
    are those of `nms`.

    Shape: boxes xyxy [A, 4] in pixels, probabilities [A, K], class 0 the background -> [n, 4], [n], [n].
    """
    box, label = nms(
        boxes, probabilities[:, 1:], min_score=min_score, iou_threshold=iou_threshold, top_k=top_k
    )  # [n], [n]
    height, width = image_size
    border = boxes.new_tensor([width, height, width, height])
    inside = boxes[box].clamp(min=0).minimum(border)  # [n, 4]
    seen = (inside[:, 2:] > inside[:, :2]).all(1)  # [n]
    return Found(inside[seen], probabilities[box, label + 1][seen], label[seen] + 1)


def ssd_anchors(image_size: tuple[int, int]) -> Tensor:
    """The anchors of SSDLite for images of (height, width): float32 [A, 4], cxcywh in pixels."""
    grids = [tuple(-(-side // stride) for side in image_size) for stride in STRIDES]
    return make_anchors([*grids, (1, 1)], image_size)


def ssd_loss(loc: Tensor, logits: Tensor, targets: Sequence[Mapping[str, Any]], anchors: Tensor) -> Tensor:
    """How wrong the boxes and classes of a batch are, per anchor that has an object to find.

    Smooth L1 (β = 1) of loc at those anchors, cross-entropy there and at the hardest background
    anchors, three per anchor with an object in the same image; all summed, over the number of anchors
    with an object in the batch. A batch without any has nothing to learn from: loss and gradients are 0.

    Shape: loc [B, A, 4], logits [B, A, K], anchors cxcywh [A, 4] in pixels; for each image a target with
    "boxes" xyxy [M, 4] in pixels, "labels" int64 [M] in 1 … K − 1 and "crowd" bool [M], whose boxes are
    left out -> [].
    Raises: ValueError if a label is not among 1 … K − 1.
    Source: SSD, Section 2.2, and the official configuration.
    """
    anchors = anchors.to(loc.device)
    answers, classes = [], []
    for target in targets:
        is_object = ~target["crowd"]  # [M]
        boxes, labels = target["boxes"][is_object].to(anchors), target["labels"][is_object].to(loc.device)
        wrong = labels[(labels < 1) | (labels >= logits.shape[-1])]
        if len(wrong):
            raise ValueError(f"label {wrong[0]}: expected 1 … {logits.shape[-1] - 1}")
        box = match(boxes, anchors)  # [A]
        has_object = box >= 0  # [A]
        answers.append(encode(boxes[box[has_object]], anchors[has_object]))  # [positives, 4]
        classes.append(torch.zeros_like(box).masked_scatter(has_object, labels[box[has_object]]))  # [A]
    classes = torch.stack(classes)  # [B, A]
    positive = classes > 0  # [B, A]
    distance = F.smooth_l1_loss(loc[positive], torch.cat(answers), reduction="sum")
    surprise = F.cross_entropy(logits.flatten(0, 1), classes.flatten(), reduction="none").view_as(classes)
    counted = positive | hard_negatives(surprise, positive)  # [B, A]
    return (distance + surprise[counted].sum()) / positive.sum().clamp(min=1)


def hard_negatives(surprise: Tensor, positive: Tensor, ratio: int = 3) -> Tensor:
    """For each image the background anchors with the greatest −log p(background), `ratio` per positive.

    Shape: surprise [B, A], positive bool [B, A] -> bool [B, A].
    """
    hardness = surprise.masked_fill(positive, -torch.inf)  # [B, A]
    rank = hardness.argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # [B, A]
    return (rank < ratio * positive.sum(1, keepdim=True)) & ~positive


def _depthwise(channels: int, stride: int = 1) -> ConvNormAct:
    return ConvNormAct(channels, channels, 3, stride=stride, groups=channels, activation=None)


def _shrinking_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """[B, in_channels, H, W] -> [B, out_channels, ⌈H/2⌉, ⌈W/2⌉]."""
    mix = ConvNormAct(in_channels, out_channels, activation=nn.ReLU)
    return nn.Sequential(_depthwise(in_channels, stride=2), mix)


def _head(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    """[B, in_channels, H, W] -> [B, out_channels, H, W], by way of `channels`."""
    widen = [ConvNormAct(in_channels, channels, activation=nn.ReLU)] if in_channels != channels else []
    return nn.Sequential(*widen, _depthwise(channels), nn.Conv2d(channels, out_channels, 1))


def _init(module: nn.Module) -> None:
    """Xavier's uniform weights, as the official configuration says; biases 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
