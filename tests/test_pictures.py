"""Every picture of figures/ is drawn again: its data are those recorded, it looks like the one stored."""

import json
import re
from dataclasses import dataclass

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image
from skimage.metrics import structural_similarity
from thumbnails import SIZE, THUMBNAILS

import figures

EXPLORER = "attention_explorer"
RECORDED = json.loads((figures.FOLDER / "data.json").read_text(encoding="utf-8"))
README = (figures.FOLDER.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def own_style():
    with matplotlib.rc_context():
        plt.switch_backend("agg")
        yield
        plt.close("all")


def on_paper(path):
    """A picture over white and over black, [H, W, 6]; a large one smaller, as pages show it.

    A dithered one still smaller: where one pixel differs by the last bit, all dots after it lie elsewhere.
    """
    picture = Image.open(path)
    factor = 1 if picture.width <= 800 else 4 if picture.mode == "P" else 2
    picture = picture.convert("RGBA").reduce(factor)
    papers = (Image.new("RGBA", picture.size, colour) for colour in ("white", "black"))
    shown = [Image.alpha_composite(paper, picture).convert("RGB") for paper in papers]
    return np.concatenate([np.asarray(image) for image in shown], axis=2)


def likeness(path, other, block=48):
    """Structural similarity of two pictures: the mean, and that of the square least alike.

    Empty paper is alike everywhere, so what is wrong in a corner of a large picture shows in its square.
    Another version of the fonts may cut a pixel more off the empty rim.
    """
    a, b = on_paper(path), on_paper(other)
    assert np.abs(np.subtract(a.shape, b.shape)).max() <= 2, f"{a.shape} and {b.shape}"
    height, width = np.minimum(a.shape, b.shape)[:2]
    a, b = a[:height, :width], b[:height, :width]
    mean, alike = structural_similarity(a, b, channel_axis=-1, data_range=255, full=True)
    squares = [
        square.mean()
        for row in np.array_split(alike, -(-height // block))
        for square in np.array_split(row, -(-width // block), axis=1)
    ]
    return mean, min(squares)


def looks_like_the_stored(figure, name, folder):
    path = folder / f"{name}.png"
    figures.save(figure, path)
    mean, least = likeness(path, figures.FOLDER / f"{name}.png")
    return mean >= 0.98 and least >= 0.93


@pytest.mark.parametrize("name", figures.PICTURES)
def test_a_picture_is_todays(name, tmp_path):
    drawn = figures.draw([name])[name]
    assert figures.is_same_data(figures.record(drawn), RECORDED[name]), "other data: `make figures`"
    assert looks_like_the_stored(drawn[0], name, tmp_path), "it looks different: `make figures`, and look"


def test_the_explorer_of_the_screenshot_is_todays():
    found = figures.record_of_explorer()
    assert figures.is_same_data(found, RECORDED[EXPLORER]), "`make figures`, where there is a Chromium"


def test_every_file_in_figures_has_its_maker():
    stored = {p.relative_to(figures.FOLDER).as_posix() for p in figures.FOLDER.rglob("*") if p.is_file()}
    made = {f"{name}.png" for name in figures.PICTURES}
    assert stored == made | {"data.json", f"{EXPLORER}.html", f"{EXPLORER}.png"}
    assert set(RECORDED) == {*figures.PICTURES, EXPLORER}


def test_every_notebook_of_the_readme_has_a_small_picture():
    rows = re.findall(
        r"^\| (\d\d) \| \[.+\]\(notebooks/(\d\d)_\w+\.ipynb\) \|(.*?) \| ", README, re.MULTILINE
    )
    assert [number for number, _, _ in rows] == list(THUMBNAILS)
    for number, file, picture in rows:
        assert number == file and re.fullmatch(rf"!\[.+\.\]\(figures/thumbnails/{number}\.png\)", picture)
        path = figures.FOLDER / "thumbnails" / f"{number}.png"
        assert Image.open(path).size == SIZE and path.stat().st_size <= 25_000


def change_colour(figure):
    figure.axes[0].patches[3].set_facecolor("#a84483")


def turn_a_map(figure):
    image = figure.axes[3].images[0]
    image.set_data(image.get_array()[::-1])


def lower_a_line(figure):
    line = figure.axes[0].lines[1]
    line.set_ydata(0.9 * line.get_ydata())


@pytest.mark.parametrize(
    ("name", "change"),
    [("course_map", change_colour), ("feature_maps", turn_a_map), ("thumbnails/09", lower_a_line)],
)
def test_a_picture_that_looks_different_is_noticed(name, change, tmp_path):
    figure, _ = figures.draw([name])[name]
    change(figure)
    assert not looks_like_the_stored(figure, name, tmp_path)


def test_a_word_that_differs_is_noticed():
    figure, data = figures.draw(["partners"])["partners"]
    figure.axes[1].set_title("layer_4: 65 partners")
    assert not figures.is_same_data(figures.record((figure, data)), RECORDED["partners"])


@dataclass
class Shown:
    name: str
    where: tuple[int, int]
    weights: torch.Tensor


def test_data_that_differ_are_noticed_and_last_bits_are_not():
    weights = torch.rand(40, 50)
    data = {"a": [Shown("b", (1, 2), weights)], "c": np.arange(6), "d": 0.5, "e": None}
    first = figures.describe(data)
    assert figures.is_same_data(figures.describe(data), json.loads(json.dumps(first)))
    nearly = data | {"a": [Shown("b", (1, 2), weights * (1 + 1e-6 * torch.randn(40, 50)))]}
    assert figures.is_same_data(figures.describe(nearly), first)
    one = weights.clone()
    one[20, 30] += 0.1
    others = [data | {"c": np.arange(6).reshape(2, 3)}, data | {"d": 0.7}, data | {"e": "f"}]
    for shown in (Shown("b", (1, 2), one), Shown("b", (1, 2), weights.flip(0)), Shown("b", (2, 1), weights)):
        others.append(data | {"a": [shown]})
    assert not any(figures.is_same_data(figures.describe(other), first) for other in others)
    with pytest.raises(TypeError, match="set"):
        figures.describe({1, 2})
