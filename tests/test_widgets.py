"""Widgets without a browser: set the slider, read what it has written."""

import re

import ipywidgets
import pytest
import torch

from mvit_lib.look.widgets import temperature_bars, temperature_slider

SCORES = torch.tensor([0.0, 2.0, 4.0])
COLOURS = torch.tensor([[1.0, 0, 0], [0, 0.5, 0], [1, 1, 1]])
NAMES = ["red", "a < b", "white"]


def weights(html: str) -> list[float]:
    return [float(number) for number in re.findall(r"<td>(\d\.\d{3})</td>", html)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 8.0])
def test_bars_hold_softmax_at_that_temperature(temperature):
    html = temperature_bars(SCORES, COLOURS, NAMES, temperature)
    expected = torch.softmax(SCORES / temperature, 0)
    assert weights(html) == pytest.approx(expected.tolist(), abs=6e-4)
    widths = [int(px) for px in re.findall(r"<div style=\"width:(\d+)px", html)]
    assert widths == pytest.approx((320 * expected).tolist(), abs=1)
    assert "a &lt; b" in html
    assert re.findall(r"rgb\([\d,]+\)", html) == ["rgb(255,0,0)", "rgb(0,128,0)", "rgb(255,255,255)"]


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="above 0"):
        temperature_bars(SCORES, COLOURS, NAMES, temperature)


def test_moving_the_slider_redraws_the_bars():
    panel = temperature_slider(SCORES, COLOURS, NAMES, temperature=2.0)
    slider, bars = panel.children
    assert weights(bars.value) == pytest.approx(torch.softmax(SCORES / 2, 0).tolist(), abs=6e-4)
    slider.value = 0.25
    assert weights(bars.value) == [0.0, 0.0, 1.0]
    slider.value = 32.0
    assert max(weights(bars.value)) < 0.36


def test_the_slider_starts_at_any_temperature_in_its_range():
    assert temperature_slider(SCORES, COLOURS, NAMES, temperature=3**0.5).children[0].value == 3**0.5


def test_only_core_widgets_and_a_readable_repr():
    panel = temperature_slider(SCORES, COLOURS, NAMES)
    slider, bars = panel.children
    assert type(slider) is ipywidgets.FloatLogSlider
    assert type(bars) is ipywidgets.HTML
    # The browser is told of a VBox, whatever the class is called in Python.
    assert (panel._view_name, panel._model_name) == ("VBoxView", "VBoxModel")
    assert repr(panel).startswith("(a slider")
