"""Training and evaluation of all tasks."""

from mvit_lib.train.loop import evaluate, fit, freeze
from mvit_lib.train.progress import History
from mvit_lib.train.recipe import Recipe

__all__ = ["History", "Recipe", "evaluate", "fit", "freeze"]
