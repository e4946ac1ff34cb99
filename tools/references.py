"""Record the answers of other libraries that the notebooks show: `make references`."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
import torch
from peer_configs import HF_CHANGES
from PIL import Image

from mvit_lib import MobileViTBlock, mobilevit_xxs
from mvit_lib.layers import init_weights
from mvit_lib.transforms import EvalTransform
from mvit_lib.weights import convert_state_dict, set_formula_weights

FOLDER = Path(__file__).resolve().parents[1] / "mvit_lib" / "assets" / "reference"


def mobilevit_xxs_on_chelsea() -> dict[str, np.ndarray]:
    """transformers' MobileViT-XXS with formula weights on the photo of notebook 00, in float64."""
    from transformers import MobileViTConfig, MobileViTForImageClassification

    ours = mobilevit_xxs().eval()
    set_formula_weights(ours)
    theirs = MobileViTForImageClassification(MobileViTConfig(num_labels=1000, **HF_CHANGES["xxs"])).eval()
    theirs.load_state_dict(convert_state_dict(ours.state_dict(), "mvit", "hf"))
    x = ours.preprocess(Image.fromarray(skimage.data.chelsea())).double()
    with torch.no_grad():
        logits = theirs.double()(x.flip(1)).logits  # theirs takes BGR
    return {"logits": logits.numpy()}


def tiny_mobilevit_of_transformers() -> dict[str, np.ndarray]:
    """All tensors of a very small MobileViT under transformers' names, and its logits for a small cat."""
    from transformers import MobileViTConfig, MobileViTForImageClassification

    widths = {"neck_hidden_sizes": [8, 8, 8, 12, 16, 16, 64], "hidden_sizes": [8, 8, 12]}
    model = MobileViTForImageClassification(MobileViTConfig(num_labels=5, expand_ratio=2.0, **widths)).eval()
    set_formula_weights(model)
    with torch.no_grad():
        for i, (name, tensor) in enumerate(model.state_dict().items()):
            if tensor.dim() == 1:  # no two alike, so that none can be mistaken for another
                factor = "norm" in name and name.endswith(("weight", "var"))
                tensor.copy_(0.3 * torch.sin(torch.arange(len(tensor)) + i) + factor)
            if name.endswith("running_var"):
                tensor.mul_(0.5)
            if tensor.is_floating_point():
                tensor.mul_(256).round_().div_(256)  # few digits make a small file
    x = EvalTransform(resize=64, crop=64)(Image.fromarray(skimage.data.chelsea()))[None]  # [B, C, H, W]
    with torch.no_grad():
        logits = model(x.flip(1)).logits  # it takes BGR
    return {name: t.numpy() for name, t in model.state_dict().items()} | {"logits": logits.numpy()}


BLOCK_SIZES = ((8, 8), (7, 7), (5, 9))  # the patches tile the first only


def mobilevit_block_of_transformers() -> dict[str, np.ndarray]:
    """transformers' MobileViT block with formula weights, in float64, on a map of each size."""
    from transformers import MobileViTConfig
    from transformers.models.mobilevit.modeling_mobilevit import MobileViTLayer

    block = MobileViTBlock(16, 32, 2).double().apply(init_weights)  # biases 0
    set_formula_weights(block)
    ours = {f"layer_3.1.{name}": tensor for name, tensor in block.state_dict().items()}
    beginning = "mobilevit.encoder.layer.2."
    state = {name.removeprefix(beginning): t for name, t in convert_state_dict(ours, "mvit", "hf").items()}
    theirs = MobileViTLayer(MobileViTConfig(), 16, 16, 1, hidden_size=32, num_stages=2).double().eval()
    theirs.load_state_dict(state)
    arrays = {}
    for i, (H, W) in enumerate(BLOCK_SIZES):
        draw = torch.Generator().manual_seed(i)
        x = torch.randint(-9, 10, (1, 16, H, W), generator=draw).double()  # [B, C, H, W]
        with torch.no_grad():
            arrays |= {f"x{i}": x.numpy().astype(np.int8), f"y{i}": theirs(x).numpy()}
    return arrays


# Three small pictures, 12 wide and 8 high, with the objects of one class, and what a detector found there:
# the picture, x0, y0, x1, y1 and, of a find, its score.
OBJECTS = (
    (0, 1, 1, 5, 5), (0, 7, 2, 11, 6),
    (1, 1, 2, 7, 6), (1, 8, 1, 12, 5),
    (2, 2, 1, 8, 4), (2, 8, 4, 12, 8),
)  # fmt: skip
FINDS = (
    (0, 1, 1, 5, 5, 0.95), (0, 1, 1, 5, 4, 0.9), (1, 2, 2, 7, 6, 0.85), (0, 6, 2, 11, 7, 0.8),
    (2, 0, 5, 4, 8, 0.7), (2, 2, 1, 7, 4, 0.6), (2, 7, 5, 11, 8, 0.5), (1, 1, 0, 4, 2, 0.45),
    (1, 8, 2, 11, 5, 0.4), (1, 1, 2, 5, 6, 0.2),
)  # fmt: skip


def ten_finds_of_pycocotools() -> dict[str, np.ndarray]:
    """Ten finds, six objects, and pycocotools' precision at 101 recalls for IoU 0.5, 0.55, … 0.95."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    objects, finds = np.array(OBJECTS, np.float64), np.array(FINDS, np.float64)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i, "height": 8, "width": 12} for i in range(3)],
            "categories": [{"id": 1, "name": "thing"}],
            "annotations": [
                {"id": n, "image_id": int(i), "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0],
                 "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
                for n, (i, x0, y0, x1, y1) in enumerate(objects.tolist(), start=1)
            ],
        }  # fmt: skip
        truth.createIndex()
        answers = [
            {"image_id": int(i), "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
            for i, x0, y0, x1, y1, score in finds.tolist()
        ]
        evaluation = COCOeval(truth, truth.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        "objects": objects,
        "finds": finds,
        "precision": evaluation.eval["precision"][:, :, 0, 0, -1],  # [IoU, recall]
        "ap": evaluation.stats[:3],  # at 0.5 … 0.95, at 0.5, at 0.75
    }


def iou_of_scikit_learn() -> dict[str, np.ndarray]:
    """Three random masks with pixels to ignore, as true and as found, and the IoU of classes 0 … 3.

    Class 4 occurs in no mask.
    """
    from sklearn.metrics import jaccard_score

    draw = np.random.default_rng(0)
    truth = draw.integers(0, 4, (3, 12, 17), dtype=np.uint8)
    found = np.where(draw.random(truth.shape) < 0.6, truth, draw.integers(0, 4, truth.shape, dtype=np.uint8))
    truth[draw.random(truth.shape) < 0.1] = 255
    known = truth != 255
    iou = jaccard_score(truth[known], found[known], labels=range(4), average=None)
    return {"found": found, "truth": truth, "iou": iou}


REFERENCES: dict[str, Callable[[], dict[str, np.ndarray]]] = {
    "iou_of_scikit_learn": iou_of_scikit_learn,
    "mobilevit_block_of_transformers": mobilevit_block_of_transformers,
    "mobilevit_xxs_on_chelsea": mobilevit_xxs_on_chelsea,
    "ten_finds_of_pycocotools": ten_finds_of_pycocotools,
    "tiny_mobilevit_of_transformers": tiny_mobilevit_of_transformers,
}

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, record in REFERENCES.items():
        np.savez_compressed(FOLDER / f"{name}.npz", **record())
        print(f"{name}.npz  {(FOLDER / f'{name}.npz').stat().st_size:,} bytes")
