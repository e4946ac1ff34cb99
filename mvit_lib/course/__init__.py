"""The engine of the notebooks: comparing, checking, hinting. Needs the extra "course"."""

from mvit_lib.course.compare import compare
from mvit_lib.course.engine import check, hint, progress, solution
from mvit_lib.course.setup import load_reference, setup

__all__ = ["check", "compare", "hint", "load_reference", "progress", "setup", "solution"]
