"""Record the answers of other libraries that the notebooks show: `make references`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
import torch
from peer_configs import HF_CHANGES
from PIL import Image

from mvit_lib import mobilevit_xxs
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


REFERENCES: dict[str, Callable[[], dict[str, np.ndarray]]] = {
    "mobilevit_xxs_on_chelsea": mobilevit_xxs_on_chelsea,
}

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, record in REFERENCES.items():
        np.savez_compressed(FOLDER / f"{name}.npz", **record())
        print(f"{name}.npz  {(FOLDER / f'{name}.npz').stat().st_size:,} bytes")
