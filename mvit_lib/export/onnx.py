"""ONNX: files that ONNX Runtime and most other runtimes read."""

import ast
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mvit_lib.classifier import Network
from mvit_lib.export.network import (
    FromPixels,
    calibration_images,
    check_arguments,
    example,
    naming_the_operator,
    needs,
)
from mvit_lib.export.rewrite import SplitAttention, replace_modules
from mvit_lib.layers import Attention
from mvit_lib.patches import Pair

if TYPE_CHECKING:
    import onnx

# What int8 leaves in float, by parts of module names. On pixelzoo-xxs the greatest error of a logit falls
# from 1.64 to 0.34, and no answer changes.
KEPT_IN_FLOAT = ("stem", "layer_1", "layer_2")


def to_onnx(
    model: Network,
    path: str | Path,
    size: Pair | None = None,
    precision: str = "float32",
    calibration: Iterable[np.ndarray] | None = None,
    *,
    kept_in_float: tuple[str, ...] = KEPT_IN_FLOAT,
    per_channel: bool = True,
) -> Path:
    """Write a network as an ONNX file; its input is called "pixels".

    In and out as `FromPixels` says: uint8 RGB [1, H, W, 3] -> answers in float32. The names of the classes
    travel as metadata, one per line.
    size: pixels, an int or (height, width); default the model's evaluation crop. precision: of weights
    and arithmetic, "float32", "float16" or "int8" (static, after training). calibration: uint8 images
    [H, W, 3] or [1, H, W, 3] of that size, on which int8 measures its ranges; default 64 of PixelZoo.
    kept_in_float: parts of module names that int8 leaves alone. per_channel: one scale per output channel
    of a weight instead of one for all.
    Raises: ConversionError naming the operator that ONNX lacks; TypeError or ValueError if an argument
    cannot be meant; ModuleNotFoundError without the extra "export".
    """
    size = check_arguments(model, size, precision)
    needs("ONNX", lambda: [__import__(name) for name in ("onnx", "onnxscript", "onnxruntime")])
    import onnx

    network = FromPixels(model, size)
    replace_modules(network, Attention, SplitAttention)
    if precision == "float16":
        network.network.half()
    images = calibration_images(calibration, size) if precision == "int8" else []
    with naming_the_operator("ONNX"), torch.no_grad():
        program = torch.export.export(network, (example(size),))
        names = {"input_names": ["pixels"], "output_names": list(network.names)}
        file = torch.onnx.export(program, dynamo=True, verbose=False, **names).model_proto
        if precision == "int8":
            file = quantized(file, images, kept_in_float, per_channel)
    for node in file.graph.node:
        del node.metadata_props[:]  # the paths of this machine's source files
    onnx.helper.set_model_props(file, {"classes": "\n".join(model.classes)})
    onnx.save(file, path)
    return Path(path)


def quantized(
    file: "onnx.ModelProto",
    images: Iterable[np.ndarray],
    kept_in_float: tuple[str, ...] = KEPT_IN_FLOAT,
    per_channel: bool = True,
) -> "onnx.ModelProto":
    """The file with int8 layers and activations, ranges measured on the images.

    In float stay what is outside the network (boxes, probabilities), norms, and attention's two products
    with the softmax between them: in int8 they take twice the time.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    batches = iter(images)
    weights = {tensor.name for tensor in file.graph.initializer}

    def in_float(node: onnx.NodeProto) -> bool:
        modules = _modules(node)
        attends = node.op_type == "MatMul" and not weights & set(node.input)
        return attends or "network" not in modules or bool(modules & set(kept_in_float))

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            pixels = next(batches, None)
            return None if pixels is None else {"pixels": pixels}

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        quantize_static(
            file, target, Reader(), per_channel=per_channel,
            op_types_to_quantize=["Conv", "MatMul", "Gemm", "Add", "Sigmoid", "Mul"],
            nodes_to_exclude=[node.name for node in file.graph.node if in_float(node)],
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(target)


def _modules(node: "onnx.NodeProto") -> set[str]:
    """The names of the modules around an operator and their parts: {"network", "layer_3", "1", …}."""
    found = (p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes")
    return {part for scope in ast.literal_eval(next(found, "[]")) for part in scope.split(".")}
