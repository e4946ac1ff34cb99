"""Is an exported network the network? Both look at the same pictures, each in its own runtime."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mvit_lib.classifier import Network
from mvit_lib.export.network import FromPixels, calibration_images, needs

Answers = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Agreement:
    """How an exported network compares with torch in float32.

    images: how many were shown. error: greatest difference of any number of any answer; boxes count in
    shares of the picture's longer side. same: share, 0 … 1, of equal decisions: the likeliest class of a
    picture, an anchor or a pixel.
    """

    images: int
    error: float
    same: float

    def __str__(self) -> str:
        return f"{self.images} images: max|diff| {self.error:.1e}, {self.same:.2%} of decisions equal"


def check_export(model: Network, path: str | Path, images: Iterable[np.ndarray]) -> Agreement:
    """Show the same pictures to `model` in torch and to the file in its own runtime.

    images: uint8 RGB [H, W, 3] or [1, H, W, 3], all of the size exported at; `zoo_images` draws some.
    Raises: as `load_exported`; ValueError if there is no image, TypeError if one is not uint8.
    """
    images = [np.asarray(image) for image in images]
    if not images:
        raise ValueError("no image to compare on")
    size = images[0].shape[-3:-1]
    network, exported = FromPixels(model, size), load_exported(path)
    error, same, decided = 0.0, 0, 0
    for pixels in calibration_images(images, size):
        with torch.no_grad():
            expected = [answer.numpy() for answer in network(torch.from_numpy(pixels))]
        found = exported(pixels)
        for name, a, b in zip(network.names, expected, found, strict=True):
            error = max(error, float(np.abs(a - b).max()) / (max(size) if name == "boxes" else 1))
        axis = 1 if expected[-1].ndim == 4 else -1  # where the classes are
        equal = expected[-1].argmax(axis) == found[-1].argmax(axis)  # [1], [1, A] or [1, H, W]
        same, decided = same + int(equal.sum()), decided + equal.size
    return Agreement(len(images), error, same / decided)


def load_exported(path: str | Path, threads: int | None = None) -> Callable[[np.ndarray], Answers]:
    """A function from uint8 RGB [1, H, W, 3] to the answers of an .onnx or .pte file, in its own runtime.

    threads: how many the runtime may use, default its own choice; ExecuTorch has one pool for all programs
    of a process.
    Raises: ValueError if the suffix is another (an .mlpackage runs on macOS only, see `read_coreml`);
    ModuleNotFoundError without the extra "export".
    """
    path = Path(path)
    if path.suffix not in RUNTIMES:
        raise ValueError(f"cannot run {path.name} here: expected {' or '.join(RUNTIMES)}")
    return RUNTIMES[path.suffix](path, threads)


def _load_onnx(path: Path, threads: int | None) -> Callable[[np.ndarray], Answers]:
    needs("ONNX Runtime", lambda: __import__("onnxruntime"))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pixels: tuple(session.run(None, {"pixels": pixels}))


def _load_executorch(path: Path, threads: int | None) -> Callable[[np.ndarray], Answers]:
    needs("ExecuTorch", lambda: __import__("executorch.runtime"))
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    if threads:
        _unsafe_reset_threadpool(threads)
    program = Runtime.get().load_program(path)
    method = program.load_method("forward")

    def run(pixels: np.ndarray, program: object = program) -> Answers:
        """`program` holds the memory that the method reads."""
        return tuple(
            answer.numpy() for answer in method.execute([torch.from_numpy(np.array(pixels, order="C"))])
        )

    return run


RUNTIMES = {".onnx": _load_onnx, ".pte": _load_executorch}
