"""A small training that saves after every update: python survivor.py OUT. Made to be killed."""

import os
import sys
import time
from pathlib import Path

from tiny import Colours, tiny_model, tiny_recipe

from mvit_lib.train import checkpoint, fit

RECIPE = tiny_recipe(epochs=6)


def slow_fsync(file: int, fsync=os.fsync) -> None:
    """A disk that takes its time, so that some kills fall into a write."""
    time.sleep(0.02)
    fsync(file)


def main(out: Path) -> None:
    checkpoint.MINUTES_BETWEEN = 0
    checkpoint.os.fsync = slow_fsync
    print("ready", flush=True)
    fit(tiny_model(), Colours(), RECIPE, out=out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
