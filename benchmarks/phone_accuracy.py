"""What fewer bits cost on PixelZoo: `make bench ARGS=--phone-accuracy`. Needs the extra "export".

Writes mvit_lib/assets/tables/phone_accuracy.csv: for each trained network every runtime in float32,
float16 and int8; int8 as exported, with every layer rounded, and so with one scale per weight tensor.
Top-1 in per cent against the labels, the share of answers equal to those of torch in float32, and the
greatest difference of a logit. XXS is the network that comes along; XS and S come from
`make runs ARGS=shipped`, and are left out where they are not.
"""

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mvit_lib import load_weights
from mvit_lib.classifier import Network
from mvit_lib.data import PixelZoo
from mvit_lib.export import load_exported, to_executorch, to_onnx, zoo_images
from mvit_lib.export.network import FromPixels

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "mvit_lib" / "assets" / "tables" / "phone_accuracy.csv"
TRAINED = ROOT / ".checkpoints"  # where tools/trainings.py keeps what is not shipped
SIZE, IMAGES = 128, 1000
RUNTIMES = {"ONNX Runtime": (to_onnx, "onnx"), "ExecuTorch": (to_executorch, "pte")}
VARIANTS = {
    "float32": {"precision": "float32"},
    "float16": {"precision": "float16"},
    "int8": {"precision": "int8"},
    "int8, all layers": {"precision": "int8", "kept_in_float": ()},
    "int8, all layers, per tensor": {"precision": "int8", "kept_in_float": (), "per_channel": False},
}


def networks() -> dict[str, Network]:
    """The trained networks that are there."""
    found = {"XXS": load_weights("pixelzoo-xxs")}
    for name in ("XS", "S"):
        file = TRAINED / f"pixelzoo-{name.lower()}.safetensors"
        if file.exists():
            found[name] = load_weights(file)
    return found


def answers(run: Callable[[np.ndarray], tuple[np.ndarray, ...]], images: list[np.ndarray]) -> np.ndarray:
    """Logits [n, K] of all pictures."""
    return np.concatenate([run(pixels)[0] for pixels in images])  # [n, K]


def in_torch(model: Network) -> Callable[[np.ndarray], tuple[np.ndarray, ...]]:
    """The network in torch, with the interface of an exported one."""
    network = FromPixels(model, (SIZE, SIZE))

    def run(pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.inference_mode():
            return tuple(answer.numpy() for answer in network(torch.from_numpy(pixels)))

    return run


def main(about: dict[str, str]) -> None:
    """Measure all networks, runtimes and variants; write the table."""
    images, scenes = zoo_images((SIZE, SIZE), IMAGES, "test"), PixelZoo("test", size=SIZE)
    truth = np.array([int(scenes[i][1]) for i in range(IMAGES)])  # [n]
    rows = []
    for name, model in networks().items():
        exact = answers(in_torch(model), images)  # [n, K]
        found = {("torch", "float32"): ("", exact)}
        with tempfile.TemporaryDirectory() as folder:
            for runtime, (make, suffix) in RUNTIMES.items():
                for variant, options in VARIANTS.items():
                    path = make(model, Path(folder) / f"x.{suffix}", SIZE, **options)
                    logits = answers(load_exported(path, 1), images)  # [n, K]
                    found[runtime, variant] = f"{path.stat().st_size / 1e6:.2f}", logits
        for (runtime, variant), (size_mb, logits) in found.items():
            row = {"network": name, "runtime": runtime, "variant": variant, "size_mb": size_mb}
            row["top1"] = f"{100 * np.mean(logits.argmax(1) == truth):.1f}"
            row["same"] = f"{100 * np.mean(logits.argmax(1) == exact.argmax(1)):.1f}"
            row["error"] = f"{np.abs(logits - exact).max():.2g}"
            rows.append(row | {"images": IMAGES, "machine": about["processor"]})
            print(*row.values(), sep="  ", flush=True)
    with open(TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
