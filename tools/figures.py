"""Draw the pictures of figures/ again, their data.json and the attention explorer's page: `make figures`."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import thumbnails
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from thumbnails import THUMBNAILS, Drawn
from torch import Tensor

from mvit_lib import MobileViT, load_weights
from mvit_lib.data import PixelZoo
from mvit_lib.look import attention_explorer
from mvit_lib.look.figures.pixelzoo import fig_contact_sheet
from mvit_lib.look.figures.start_here import fig_course_map, fig_feature_maps, fig_partners
from mvit_lib.look.style import use_style

FOLDER = Path(__file__).resolve().parents[1] / "figures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# The pixel, stage and layer that the screenshot shows; the pixel is that of notebook 00.
PIXEL, STAGE, LAYER = (100, 112), 1, 2
WAVES = 8


def subject() -> tuple[MobileViT, Tensor]:
    """The network and the scene [3, 256, 256] of notebook 00."""
    return load_weights("pixelzoo-xxs"), PixelZoo("test", size=256)[335][0]


def feature_maps() -> Drawn:
    """What the stages make of the scene."""
    model, scene = subject()
    with torch.no_grad():
        features = model.forward_features(scene[None])
    return fig_feature_maps(scene[None], features)


def partners() -> Drawn:
    """With whom the pixel exchanges."""
    model, scene = subject()
    return fig_partners(scene[None], *PIXEL, model)


LARGE: dict[str, Callable[[], Drawn]] = {
    "course_map": fig_course_map,
    "feature_maps": feature_maps,
    "partners": partners,
    "pixelzoo": fig_contact_sheet,
}
PICTURES = LARGE | {f"thumbnails/{number}": make for number, make in THUMBNAILS.items()}


def draw(names: Iterable[str] = LARGE) -> dict[str, Drawn]:
    """Pictures and their data by file name; by default those that are no thumbnails."""
    use_style()
    return {name: PICTURES[name]() for name in names}


def save(figure: Figure, path: Path) -> None:
    """As a transparent PNG; a thumbnail on its tile, the noisy sheet of PixelZoo in fewer colours."""
    path.parent.mkdir(exist_ok=True)
    if path.parent.name == "thumbnails":
        thumbnails.save(figure, path)
    elif path.stem == "pixelzoo":
        save_sheet(figure, path)
    else:
        figure.savefig(path, bbox_inches="tight", metadata={"Software": None})


def record(drawn: Drawn) -> dict[str, Any]:
    """What stands in data.json of a picture: its data, and the words that are written into it."""
    figure, data = drawn
    return describe([data, [text.get_text() for text in figure.findobj(Text)]])


def record_of_explorer() -> dict[str, Any]:
    """What stands there of the screenshot: the recorded attention, and the page that shows it."""
    frame = (files("mvit_lib.look") / "explorer.html").read_text(encoding="utf-8")
    return describe([attention_explorer(*subject()).maps, frame])


def leaves(data: Any) -> Iterator[Any]:
    """Keys, values and fields of nested data, in order; arrays as NumPy's."""
    if is_dataclass(data):
        data = {field.name: getattr(data, field.name) for field in fields(data)}
    if isinstance(data, Mapping):
        data = [part for pair in data.items() for part in pair]
    if isinstance(data, Tensor | np.ndarray | Image.Image | float):
        yield np.asarray(data)
    elif isinstance(data, list | tuple):
        for part in data:
            yield from leaves(part)
    elif isinstance(data, str | int | None):
        yield data
    else:
        raise TypeError(f"a {type(data).__name__} in the data of a picture: expected numbers, words, arrays")


def describe(data: Any) -> dict[str, Any]:
    """A short account of all data, to compare with `is_same_data`.

    exact: a digest of words, whole numbers and shapes. norm, waves: of all other numbers in a row, their
    length as a vector and their products with waves. Those tell a change of any of them, and unlike a
    digest they tell it from the last bit, which is another on another processor.
    """
    exact, measured = hashlib.sha256(), [np.zeros(0)]
    for leaf in leaves(data):
        is_measured = isinstance(leaf, np.ndarray) and (leaf.dtype.kind == "f" or leaf.dtype == np.uint8)
        if is_measured:  # bytes are pixels
            measured.append(leaf.astype(np.float64).ravel())
        said = leaf.shape if is_measured else leaf.tolist() if isinstance(leaf, np.ndarray) else leaf
        exact.update(f"{said!r};".encode())
    values = np.concatenate(measured)
    places = np.arange(1, len(values) + 1)
    waves = [values @ np.cos(places * (k + 0.5) ** 0.5) for k in range(WAVES)]
    norm, *waves = (float(f"{number:.7g}") for number in (np.linalg.norm(values), *waves))
    return {"exact": exact.hexdigest()[:16], "norm": norm, "waves": waves}


def is_same_data(found: Mapping[str, Any], recorded: Mapping[str, Any], tolerance: float = 1e-4) -> bool:
    """Whether two records of `describe` are of equal data, but for the last bits of measured numbers."""
    a, b = ([record["norm"], *record["waves"]] for record in (found, recorded))
    return found["exact"] == recorded["exact"] and np.allclose(
        a, b, rtol=0, atol=tolerance * recorded["norm"]
    )


def save_sheet(figure: Figure, path: Path) -> None:
    """A sheet of noisy pictures, in 256 dithered colours: a quarter of the size."""
    full = io.BytesIO()
    figure.savefig(full, bbox_inches="tight", facecolor="white", dpi=130)
    picture = Image.open(full).convert("RGB")
    picture.quantize(palette=picture.quantize(256)).save(path, "PNG", optimize=True)


def photograph(page: Path, picture: Path, chromium: str) -> None:
    """A screenshot of the explorer's page with the pointer on `PIXEL`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=FLAGS)
        tab = browser.new_page(viewport={"width": 1000, "height": 800}, device_scale_factor=1.6)
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready=yes]")
        tab.locator(f"#stages button[value='{STAGE}']").click()
        tab.locator(f"#layers button[value='{LAYER}']").click()
        box = tab.locator("#stage").bounding_box()
        across, down = ((i + 0.5) / 256 for i in PIXEL[::-1])
        tab.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
        tab.locator("main").screenshot(path=picture, omit_background=True, animations="disabled")
        browser.close()


def explorer() -> bool:
    """Write the attention explorer's page and, if there is a Chromium, a screenshot of it; tell whether."""
    page = attention_explorer(*subject()).save(FOLDER / "attention_explorer.html")
    print(f"figures/{page.name}")
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        print(f"figures/{page.stem}.png  SKIPPED, stays as it was: none of {BROWSERS} is installed")
        return False
    photograph(page, page.with_suffix(".png"), chromium)
    print(f"figures/{page.stem}.png")
    return True


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / "data.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    records = {}
    for name in PICTURES:
        drawn = draw([name])[name]
        records[name] = record(drawn)
        save(drawn[0], FOLDER / f"{name}.png")
        plt.close(drawn[0])
        print(f"figures/{name}.png")
    page = "attention_explorer"
    if explorer():
        records[page] = record_of_explorer()
    elif page in before:
        records[page] = before[page]
    lines = (f"{json.dumps(name)}: {json.dumps(record)}" for name, record in records.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
