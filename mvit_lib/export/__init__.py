"""Networks for phones: ONNX, Core ML and ExecuTorch files that take a picture's bytes, each one checked."""

from mvit_lib.export.check import Agreement, check_export, load_exported
from mvit_lib.export.coreml import CoreMLProgram, read_coreml, to_coreml
from mvit_lib.export.executorch import to_executorch
from mvit_lib.export.network import ConversionError, zoo_images
from mvit_lib.export.onnx import to_onnx

__all__ = [
    "Agreement",
    "ConversionError",
    "CoreMLProgram",
    "check_export",
    "load_exported",
    "read_coreml",
    "to_coreml",
    "to_executorch",
    "to_onnx",
    "zoo_images",
]
