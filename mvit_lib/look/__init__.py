"""Pictures of what the networks do. Needs the extra "course"."""

from importlib import import_module
from typing import Any

# Found when they are first asked for: matplotlib and the page are loaded only then.
_HOMES = {
    "plot_attention": "mvit_lib.look.attention_grid",
    "attention_explorer": "mvit_lib.look.explorer",
}

__all__ = ["attention_explorer", "plot_attention"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
