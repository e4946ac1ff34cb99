"""ExecuTorch: .pte files for PyTorch's runtime on phones, with XNNPACK's kernels for their processors."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import fx, nn

from mvit_lib.classifier import Network
from mvit_lib.export.network import (
    FromPixels,
    calibration_images,
    check_arguments,
    example,
    naming_the_operator,
    needs,
)
from mvit_lib.export.rewrite import ProductNorm, ProductSiLU, for_xnnpack
from mvit_lib.patches import Pair

# What int8 leaves in float, by parts of module names. On pixelzoo-xxs that halves the greatest error of a
# logit (0.83 to 0.35). XNNPACK refuses to reshape the int8 answers of SSDLite's heads.
KEPT_IN_FLOAT = ("stem", "layer_1", "layer_2", "heads")


def to_executorch(
    model: Network,
    path: str | Path,
    size: Pair | None = None,
    precision: str = "float32",
    calibration: Iterable[np.ndarray] | None = None,
    *,
    kept_in_float: tuple[str, ...] = KEPT_IN_FLOAT,
    per_channel: bool = True,
) -> Path:
    """Write a network as an ExecuTorch program (.pte) that runs in XNNPACK.

    In and out as `FromPixels` says: uint8 RGB [1, H, W, 3] -> answers in float32.
    size: pixels, an int or (height, width); default the model's evaluation crop. precision: of weights
    and arithmetic, "float32", "float16" or "int8" (static, after training). calibration: uint8 images
    [H, W, 3] or [1, H, W, 3] of that size, on which int8 measures its ranges; default 64 of PixelZoo.
    kept_in_float: parts of module names that int8 leaves alone. per_channel: one scale per output channel
    of a weight instead of one for all.
    Raises: ConversionError naming the operator that XNNPACK or ExecuTorch lacks; TypeError or ValueError
    if an argument cannot be meant; ModuleNotFoundError without the extra "export".
    Source: https://docs.pytorch.org/executorch (backends/xnnpack).
    """
    size = check_arguments(model, size, precision)
    needs("ExecuTorch", lambda: __import__("executorch.exir"))
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    network: nn.Module = FromPixels(model, size)
    for_xnnpack(network)
    if precision == "float16":
        network.network.half()
    images = calibration_images(calibration, size) if precision == "int8" else []
    with naming_the_operator("ExecuTorch"), torch.no_grad():
        if precision == "int8":
            network = quantized(network, images, kept_in_float, per_channel)
        program = torch.export.export(network, (example(size),))
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        file = edge.to_executorch().buffer
    Path(path).write_bytes(file)
    return Path(path)


def quantized(
    network: FromPixels,
    images: Iterable[np.ndarray],
    kept_in_float: tuple[str, ...] = KEPT_IN_FLOAT,
    per_channel: bool = True,
) -> fx.GraphModule:
    """The network with int8 weights and activations where XNNPACK has kernels for them, as a graph.

    It still runs in torch, rounding as the phone will: uint8 [1, H, W, 3] -> the same answers.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    # The means of a norm are no layer, their weights 1/D are not to be rounded; XNNPACK cannot pool a map of
    # a single pixel in int8; a SiLU's product would be rounded twice.
    kinds = ProductNorm | ProductSiLU | nn.AdaptiveAvgPool2d
    never = [name for name, module in network.named_modules() if isinstance(module, kinds)]

    def is_quantized(node: fx.Node) -> bool:
        modules = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
        if modules and modules[-1] in ("", "network"):
            return False  # between and after the layers: answers joined, boxes, probabilities
        return not any(name in never or set(name.split(".")) & set(kept_in_float) for name in modules)

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=per_channel))
    quantizer.set_filter_function(is_quantized)
    graph = torch.export.export(network, (example(network.size),)).module()
    graph = prepare_pt2e(graph, quantizer)
    for pixels in images:
        graph(torch.from_numpy(pixels))
    return convert_pt2e(graph)
