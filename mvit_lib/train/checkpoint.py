"""Checkpoints that are whole or not there: written beside the old one, then renamed."""

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

MINUTES_BETWEEN = 10


class Checkpoints:
    """The checkpoint of one training, `folder`/checkpoint.pt; with folder None nothing is written.

    about: what the training is made of. A checkpoint that was begun with something else is refused.
    """

    def __init__(self, folder: str | Path | None, about: dict[str, Any]) -> None:
        self.path = None if folder is None else Path(folder) / "checkpoint.pt"
        self.about = about
        self.saved_at = time.monotonic()
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def is_due(self) -> bool:
        """Whether the last one is ten minutes old."""
        return time.monotonic() - self.saved_at > 60 * MINUTES_BETWEEN

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint by `state`; whatever fails, the old one stays whole.

        Raises: OSError naming the file if it cannot be written (a full disk, say).
        """
        self.saved_at = time.monotonic()
        if self.path is None:
            return
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as file:
                torch.save({"about": self.about} | state, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except (OSError, RuntimeError) as error:  # PyTorch reports a short write as a RuntimeError
            temporary.unlink(missing_ok=True)
            kept = "the last one is whole" if self.path.exists() else "there is none yet"
            raise OSError(f"could not write the checkpoint {self.path} ({kept}): {error}") from error

    def load(self) -> dict[str, Any] | None:
        """The state last saved, or None; what a killed process left half-written is removed.

        Raises: ValueError if the file is damaged or belongs to another training, naming what differs.
        """
        if self.path is None:
            return None
        for leftover in self.path.parent.glob(f"{self.path.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            about = state.pop("about")
        except Exception as error:  # a damaged file can stop the reader in any way
            raise ValueError(f"{self.path} is damaged or no checkpoint of this library: {error}") from error
        differing = [
            f"{name} was {about.get(name)!r}, is {self.about.get(name)!r}"
            for name in sorted(about.keys() | self.about.keys())
            if about.get(name) != self.about.get(name)
        ]
        if differing:
            raise ValueError(
                f"{self.path} belongs to another training: {'; '.join(differing)}. "
                "Choose another folder, or delete it to begin anew"
            )
        return state


def describe(model: torch.nn.Module, recipe: Any, task: str, num_samples: int) -> dict[str, Any]:
    """What a training is made of, in plain values that a checkpoint can hold."""
    config = getattr(model, "config", None)
    return {
        "model": type(model).__name__,
        "config": repr(config),
        "learning": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "task": task,
        "num_samples": num_samples,
    } | {f"recipe.{name}": value for name, value in asdict(recipe).items()}
