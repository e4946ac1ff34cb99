"""Widgets without a browser: set the slider, read what it has written."""

import io
import re

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_model

from mvit_lib import ViT, ViTConfig
from mvit_lib.attention import attention_from_pixel, record_attention
from mvit_lib.look.widgets import (
    attention_panel,
    attention_picture,
    attention_words,
    temperature_bars,
    temperature_slider,
)

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


def recorded(height: int = 64, width: int = 96):
    x, tiny = torch.rand(1, 3, height, width), tiny_model().eval()
    with torch.no_grad(), record_attention(tiny) as maps:
        tiny(x)
    pixels = (x[0] * 255).byte().permute(1, 2, 0).numpy()
    return maps, Image.fromarray(pixels)


def test_the_picture_is_brightest_where_the_weight_is_largest():
    maps, _ = recorded()
    grey = Image.new("RGB", (96, 64), (128, 128, 128))
    picture = attention_picture(maps, grey, 9, 50, ("layer_3", 0), head=1, stretch=True)
    assert picture.size == (192, 128)
    seen = attention_from_pixel(maps, 9, 50, ("layer_3", 0), head=1)
    cells = np.asarray(picture)[1::32, 1::32].astype(int)  # a corner of every patch, free of the ring
    best = divmod(int(seen.weights.argmax()), 6)
    yellow = cells[..., 0] - cells[..., 2]
    assert np.unravel_index(yellow.argmax(), yellow.shape) == best
    # Equal weights are equal colours, and the ring is drawn around the pixel.
    ring = np.asarray(picture)[19 - 10 : 19 + 11, 101 - 10 : 101 + 11].reshape(-1, 3)
    assert (ring == (224, 102, 45)).all(1).any()


def test_on_the_layers_scale_nearly_equal_weights_look_alike():
    maps, _ = recorded()
    grey = Image.new("RGB", (96, 64), (128, 128, 128))
    calm, lively = (
        np.asarray(attention_picture(maps, grey, 9, 50, stretch=stretch))[1::32, 1::32].astype(int)
        for stretch in (False, True)
    )
    assert np.ptp(calm, axis=(0, 1)).max() < np.ptp(lively, axis=(0, 1)).max()


def test_words_tell_the_numbers():
    maps, _ = recorded()
    seen = attention_from_pixel(maps, 9, 50)
    words = attention_words(seen)
    assert f"place {seen.position} of patch {seen.token}" in words
    assert f"{100 * seen.weights.max().item():.3g} %" in words
    assert "class token" not in words
    vit = ViT(ViTConfig(image_size=32, patch_size=16, dim=12, depth=1, num_classes=3)).eval()
    with torch.no_grad(), record_attention(vit) as maps:
        vit(torch.rand(1, 3, 32, 32))
    assert "on the class token" in attention_words(attention_from_pixel(maps, 0, 0))


def test_moving_a_control_redraws_picture_and_words():
    model, x = tiny_model(), torch.rand(3, 64, 96)
    panel = attention_panel(model, x)
    row, column, layer, head, stretch, picture, words = panel.children
    assert (row.max, column.max) == (63, 95)
    assert [value for _, value in head.options] == ["mean", 0, 1]
    with torch.no_grad(), record_attention(model.eval()) as maps:
        model(x[None])
    photo = Image.fromarray((x * 255).round().byte().permute(1, 2, 0).numpy())
    for control, value in ((row, 3), (column, 90), (layer, 1), (head, 1), (stretch, True)):
        control.value = value
        state = [c.value for c in (row, column, layer, head, stretch)]
        expected = np.asarray(attention_picture(maps, photo, *state))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.value))), expected)
        assert words.value == attention_words(attention_from_pixel(maps, *state[:4]))


def test_the_panel_is_made_of_core_widgets():
    panel = attention_panel(tiny_model(), torch.rand(3, 64, 64))
    kinds = ["IntSlider", "IntSlider", "Dropdown", "Dropdown", "Checkbox", "Image", "HTML"]
    assert [type(child).__name__ for child in panel.children] == kinds
    assert all(type(child).__module__.startswith("ipywidgets.") for child in panel.children)
