"""Exporting from the command line: python -m mvit_lib.export --help"""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from mvit_lib.export import (
    check_export,
    read_coreml,
    to_coreml,
    to_executorch,
    to_onnx,
    zoo_images,
)
from mvit_lib.export.network import PRECISIONS, check_arguments
from mvit_lib.weights import load_weights, shipped_names

TARGETS = {
    "onnx": (to_onnx, ".onnx"),
    "coreml": (to_coreml, ".mlpackage"),
    "executorch": (to_executorch, ".pte"),
}
TOLERANCE = 1e-4
DESCRIPTION = """\
Write a trained network as a file for a phone, and check it against torch.

  for Android and iPhone:  python -m mvit_lib.export --to executorch --weights pixelzoo-xxs
  for Apple's chips:       python -m mvit_lib.export --to coreml --precision float16 --weights …
  for everything else:     python -m mvit_lib.export --to onnx --precision int8 --weights …

The file takes an RGB picture of 8 bits a colour at one fixed size. int8 measures its ranges on PixelZoo's
scenes; a network for other pictures is better calibrated on those, from Python."""


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    p = argparse.ArgumentParser(
        "python -m mvit_lib.export", None, DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = p.add_argument
    add("--to", required=True, choices=list(TARGETS), help="the runtime")
    add(
        "--weights",
        required=True,
        metavar="NAME",
        help=f"a file, a hub repository, or one of {', '.join(shipped_names())}",
    )
    add("--precision", choices=PRECISIONS, default="float32", help="of weights and arithmetic")
    add("--size", metavar="PX", help="side of the picture, or HEIGHTxWIDTH; default: the weights' own")
    add("--out", metavar="FILE", help="default: the name of the weights, the precision and the suffix")
    add("--images", type=int, default=50, metavar="N", help="pictures to compare on; 0: none; default: 50")
    add("--version", action="version", version=f"mvit_lib {version('mvit_lib')}")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Export as the command line says; 1 if a float32 file answers otherwise than torch."""
    args = parser().parse_args(arguments)
    model = load_weights(args.weights)
    sides = tuple(int(side) for side in args.size.split("x")) if args.size else None
    size = check_arguments(model, sides * 2 if sides and len(sides) == 1 else sides, args.precision)
    export, suffix = TARGETS[args.to]
    path = Path(args.out or f"{Path(args.weights).stem}-{args.precision}{suffix}")
    export(model, path, size, args.precision)
    print(f"{path}: {size_on_disk(path) / 1e6:.2f} MB, pictures of {size[0]} × {size[1]}")
    if args.to == "coreml":
        program = read_coreml(path)
        print(", ".join(f"{count} {name}" for name, count in program.operators.most_common()))
        print(f"{program.inputs} -> {program.outputs}; only macOS can run it")
        return 0
    if not args.images:
        return 0
    agreement = check_export(model, path, zoo_images(size, args.images, "test"))
    print(f"against torch in float32, {agreement}")
    return int(args.precision == "float32" and (agreement.error > TOLERANCE or agreement.same < 1))


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a folder (as an .mlpackage is)."""
    return sum(p.stat().st_size for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, TypeError, FileNotFoundError, ModuleNotFoundError, OSError) as error:
        sys.exit(f"error: {error}")
