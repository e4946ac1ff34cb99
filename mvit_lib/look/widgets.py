"""Widgets of the notebooks: core ipywidgets only, and each is driven by a plain function.

They run under ipywidgets 7.7 and 8: observers set `HTML.value`, nothing is printed or redrawn.
"""

from collections.abc import Sequence
from html import escape

import ipywidgets
import torch
from torch import Tensor

from mvit_lib.look.style import INK


def temperature_bars(scores: Tensor, tokens: Tensor, names: Sequence[str], temperature: float) -> str:
    """softmax(scores / temperature) as HTML: a bar per token, in the token's own colour.

    scores [N]; tokens [N, 3] in [0, 1], their colours. Raises: ValueError if temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature is above 0, got {temperature}")
    weights = torch.softmax(scores.double() / temperature, dim=-1)
    rows = []
    for name, weight, colour in zip(names, weights.tolist(), tokens.tolist(), strict=True):
        red, green, blue = (round(255 * channel) for channel in colour)
        bar = (
            f'<div style="width:{320 * weight:.0f}px;min-width:2px;height:16px;border:1px solid {INK};'
            f'background:rgb({red},{green},{blue})"></div>'
        )
        label = f'<td style="text-align:right">{escape(name)}</td>'
        rows.append(f'<tr>{label}<td style="width:330px">{bar}</td><td>{weight:.3f}</td></tr>')
    return f'<table style="border-spacing:6px 2px;font-size:14px">{"".join(rows)}</table>'


class _Panel(ipywidgets.VBox):
    """A column of widgets that shows a sentence where no kernel runs (GitHub, HTML)."""

    def __repr__(self) -> str:
        return "(a slider: it moves once this cell is run)"


def temperature_slider(
    scores: Tensor, tokens: Tensor, names: Sequence[str], temperature: float = 1.0
) -> ipywidgets.VBox:
    """A slider for the temperature T, 1/32 to 32, over the bars of softmax(scores / T).

    scores [N]; tokens [N, 3] in [0, 1], drawn in their own colours.
    """
    slider = ipywidgets.FloatLogSlider(
        value=temperature, base=2, min=-5, max=5, step=0.1, description="T", readout_format=".2f"
    )
    bars = ipywidgets.HTML(temperature_bars(scores, tokens, names, slider.value))

    def redraw(change: dict) -> None:
        bars.value = temperature_bars(scores, tokens, names, change["new"])

    slider.observe(redraw, names="value")
    return _Panel([slider, bars])
