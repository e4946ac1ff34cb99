"""What is exported: a network that takes a picture's bytes and answers, all at one fixed size."""

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from mvit_lib.classifier import Network
from mvit_lib.data import PixelZoo
from mvit_lib.heads import DeepLabV3, SSDLite
from mvit_lib.heads.boxes import decode
from mvit_lib.heads.ssdlite import ssd_anchors
from mvit_lib.patches import Pair, as_pair

PRECISIONS = ("float32", "float16", "int8")
CALIBRATION_IMAGES = 64
# An operator as the converters write it: aten.linalg_eig.default, aten::linalg_eig, "op 'linalg_eig'".
OPERATOR = re.compile(r"(?:aten|prims)(?:\.|::)\w+|[Oo]p(?:erator)? '(\w+)'|function for op \W?(\w+)")


class ConversionError(ValueError):
    """A runtime cannot take this network; the message names the operator."""


class FromPixels(nn.Module):
    """A fused network behind its preprocessing: RGB uint8 [1, H, W, 3] -> the answers of its task, float32.

    - a classifier: logits [1, K]
    - SSDLite: boxes xyxy [1, A, 4] in pixels of the input and probabilities [1, A, K], class 0 the
      background, one box per anchor; `mvit_lib.heads.ssdlite.choose_boxes` chooses among them
    - DeepLabV3: logits [1, K, H, W]
    """

    def __init__(self, model: Network, size: tuple[int, int]) -> None:
        super().__init__()
        # XNNPACK's passes refuse channels-last weights; the other converters do not care.
        self.network = model.fuse().cpu().float().to(memory_format=torch.contiguous_format)
        self.requires_grad_(False).eval()
        for module in self.network.modules():
            if hasattr(module, "inplace"):
                module.inplace = False  # an overwriting operator is one more to convert
        self.size, self.names = size, output_names(model)
        anchors = ssd_anchors(size) if isinstance(model, SSDLite) else torch.empty(0, 4)
        self.register_buffer("anchors", anchors)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        dtype = next(self.network.parameters()).dtype
        return self.answer((pixels.to(dtype) / 255).permute(0, 3, 1, 2))  # [1, 3, H, W] -> answers

    def answer(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [1, 3, H, W] in [0, 1] -> the answers."""
        if not isinstance(self.network, SSDLite):
            return (self.network(images).float(),)
        loc, logits = self.network(images)  # [1, A, 4], [1, A, K]
        boxes = decode(loc.float(), self.anchors.float())  # [1, A, 4]
        return boxes, logits.float().softmax(-1)  # [1, A, 4], [1, A, K]


class FromImage(FromPixels):
    """The same for Core ML, which hands over pictures as [1, 3, H, W] in [0, 1]."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.answer(image)


def output_names(model: Network) -> tuple[str, ...]:
    """What the answers of an exported model are called."""
    return ("boxes", "scores") if isinstance(model, SSDLite) else ("logits",)


def check_arguments(model: Network, size: Pair | None, precision: str) -> tuple[int, int]:
    """The (height, width) to export at; by default the model's own evaluation crop.

    Raises: TypeError if the model is none of this library; ValueError if the precision is unknown or a
    classifier names no classes.
    """
    if not isinstance(model, Network):
        raise TypeError(f"expected a network of mvit_lib, got {type(model).__name__}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}: expected one of {PRECISIONS}")
    if not isinstance(model, SSDLite | DeepLabV3) and not model.config.num_classes:
        raise ValueError("num_classes=0: expected a network with a classifier, or a head")
    return as_pair(model.eval_transform.crop if size is None else size, "size")


def example(size: tuple[int, int]) -> Tensor:
    """A picture to trace with: uint8 [1, H, W, 3]."""
    return torch.zeros(1, *size, 3, dtype=torch.uint8)


def zoo_images(
    size: tuple[int, int], count: int = CALIBRATION_IMAGES, split: str = "train"
) -> list[np.ndarray]:
    """The first scenes of a split of PixelZoo: uint8 [1, H, W, 3] each."""
    images = PixelZoo(split, size=size, length=count)
    return [to_pixels(images[i][0]) for i in range(count)]


def to_pixels(image: Tensor) -> np.ndarray:
    """A float image [3, H, W] in [0, 1], as datasets give it -> uint8 [1, H, W, 3]."""
    return (image * 255).round().to(torch.uint8).permute(1, 2, 0)[None].contiguous().numpy()  # [1, H, W, 3]


def calibration_images(images: Iterable[np.ndarray] | None, size: tuple[int, int]) -> list[np.ndarray]:
    """Pictures to measure ranges on, each uint8 [1, H, W, 3]; PixelZoo's if none are given.

    Raises: TypeError or ValueError if one is no uint8 RGB picture of this size.
    """
    checked = []
    for image in zoo_images(size) if images is None else images:
        pixels = np.asarray(image)
        pixels = pixels[None] if pixels.ndim == 3 else pixels  # [1, H, W, 3]
        if pixels.dtype != np.uint8:
            raise TypeError(f"calibration image of {pixels.dtype}: expected uint8")
        if pixels.shape != (1, *size, 3):
            raise ValueError(f"calibration image {pixels.shape}: expected {(1, *size, 3)}")
        checked.append(np.ascontiguousarray(pixels))
    return checked


@contextmanager
def naming_the_operator(runtime: str) -> Iterator[None]:
    """Turn whatever a converter raises inside into a ConversionError that says which operator it was."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the converters speak of their own insides
            logging.disable(logging.WARNING)
            yield
    except (ConversionError, ModuleNotFoundError):
        raise
    except Exception as error:
        chain, text = error, ""
        while chain is not None:
            text, chain = f"{text}\n{chain}", chain.__cause__ or chain.__context__
        found = OPERATOR.search(text)
        name = next((group for group in (found[1], found[2], found[0]) if group), "") if found else ""
        what = f"the operator {name}" if name else "this network"
        reason = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
        raise ConversionError(f"{runtime} cannot take {what}: {reason.strip()[:300]}") from error
    finally:
        logging.disable(logging.NOTSET)


def needs(package: str, load: Callable[[], object]) -> None:
    """Raise ModuleNotFoundError with the command that helps, unless `load` finds the package."""
    try:
        load()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{package} is missing ({error.name}): pip install 'mvit_lib[export]'", name=error.name
        ) from error
