"""Core ML: .mlpackage programs for Apple's devices, in the shapes that their Neural Engine likes."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from mvit_lib.classifier import Network
from mvit_lib.export.network import FromImage, check_arguments, naming_the_operator, needs
from mvit_lib.export.rewrite import for_neural_engine
from mvit_lib.patches import Pair


def to_coreml(model: Network, path: str | Path, size: Pair | None = None, precision: str = "float32") -> Path:
    """Write a network as a Core ML program (.mlpackage, iOS 17 or macOS 14 and later).

    Its input "image" is a picture of the camera's kind, RGB with 8 bits; answers are as `FromPixels` says.
    The names of the classes travel as metadata, one per line. It can be written anywhere, but only macOS
    runs it.
    size: pixels, an int or (height, width); default the model's evaluation crop. precision: "float32"
    keeps to CPU and GPU; "float16" is what the Neural Engine computes in; "int8" stores weights in 8 bits,
    one scale per output channel, and computes in float16: it needs no calibration.
    Raises: ConversionError naming the operator that Core ML lacks; TypeError or ValueError if an argument
    cannot be meant or path does not end in .mlpackage; ModuleNotFoundError without the extra "export".
    Source: https://apple.github.io/coremltools, "Converting from PyTorch".
    """
    size = check_arguments(model, size, precision)
    if Path(path).suffix != ".mlpackage":
        raise ValueError(f"path={str(path)!r}: expected one that ends in .mlpackage")
    needs("coremltools", lambda: __import__("coremltools"))
    import coremltools as ct
    from coremltools.optimize import coreml as smaller

    network = FromImage(model, size)
    for_neural_engine(network)
    with naming_the_operator("Core ML"), torch.no_grad():
        program = torch.export.export(network, (torch.zeros(1, 3, *size),)).run_decompositions({})
        picture = ct.ImageType(
            name="image", shape=(1, 3, *size), scale=1 / 255, color_layout=ct.colorlayout.RGB
        )
        exact = precision == "float32"
        written = ct.convert(
            program,
            inputs=[picture],
            outputs=[ct.TensorType(name=name, dtype=float) for name in network.names],
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT32 if exact else ct.precision.FLOAT16,
            skip_model_load=True,
        )
        if precision == "int8":
            rounding = smaller.OpLinearQuantizerConfig(mode="linear_symmetric", granularity="per_channel")
            written = smaller.linear_quantize_weights(
                written, smaller.OptimizationConfig(global_config=rounding)
            )
    written.user_defined_metadata["classes"] = "\n".join(model.classes)
    written.save(str(path))
    return Path(path)


@dataclass(frozen=True)
class CoreMLProgram:
    """What stands in an .mlpackage: how many of each operator (without constants), and the shapes.

    inputs: name -> (height, width) of a picture; outputs: name -> shape; most_axes: of any tensor.
    """

    operators: Counter[str]
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    most_axes: int


def read_coreml(path: str | Path) -> CoreMLProgram:
    """Parse an .mlpackage, on any system.

    Raises: ModuleNotFoundError without the extra "export".
    """
    needs("coremltools", lambda: __import__("coremltools"))
    import coremltools as ct

    spec = ct.models.MLModel(str(path), skip_model_load=True).get_spec()
    main = spec.mlProgram.functions["main"]
    operations = [
        operation
        for operation in main.block_specializations[main.opset].operations
        if operation.type != "const"
    ]
    return CoreMLProgram(
        Counter(operation.type for operation in operations),
        {i.name: (i.type.imageType.height, i.type.imageType.width) for i in spec.description.input},
        {o.name: tuple(o.type.multiArrayType.shape) for o in spec.description.output},
        max(output.type.tensorType.rank for operation in operations for output in operation.outputs),
    )
