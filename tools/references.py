"""Record the answers of other libraries that the notebooks show: `make references`."""

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
    """transformers' MobileViT-XXS with formula weights on the photo of notebook 00."""
    from transformers import MobileViTConfig, MobileViTForImageClassification

    ours = mobilevit_xxs().eval()
    set_formula_weights(ours)
    theirs = MobileViTForImageClassification(MobileViTConfig(num_labels=1000, **HF_CHANGES["xxs"])).eval()
    theirs.load_state_dict(convert_state_dict(ours.state_dict(), "mvit", "hf"))
    x = ours.preprocess(Image.fromarray(skimage.data.chelsea()))
    with torch.no_grad():
        logits = theirs(x.flip(1)).logits  # theirs takes BGR
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


REFERENCES: dict[str, Callable[[], dict[str, np.ndarray]]] = {
    "mobilevit_block_of_transformers": mobilevit_block_of_transformers,
    "mobilevit_xxs_on_chelsea": mobilevit_xxs_on_chelsea,
    "tiny_mobilevit_of_transformers": tiny_mobilevit_of_transformers,
}

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, record in REFERENCES.items():
        np.savez_compressed(FOLDER / f"{name}.npz", **record())
        print(f"{name}.npz  {(FOLDER / f'{name}.npz').stat().st_size:,} bytes")
