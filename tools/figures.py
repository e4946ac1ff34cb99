"""Draw the pictures of figures/ again, and the attention explorer's page: `make figures`."""

import io
import shutil
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
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


def subject() -> tuple[MobileViT, Tensor]:
    """The network and the scene [3, 256, 256] of notebook 00."""
    return load_weights("pixelzoo-xxs"), PixelZoo("test", size=256)[335][0]


def draw() -> dict[str, Figure]:
    """Every drawn picture by its file name."""
    use_style()
    model, scene = subject()
    x = scene[None]  # [1, 3, 256, 256]
    with torch.no_grad():
        features = model.forward_features(x)
    return {
        "course_map": fig_course_map()[0],
        "feature_maps": fig_feature_maps(x, features)[0],
        "partners": fig_partners(x, *PIXEL, model)[0],
        "pixelzoo": fig_contact_sheet()[0],
    }


def save(figure: Figure, path: Path) -> None:
    """As a transparent PNG; `pixelzoo`, a sheet of noisy pictures, in fewer colours."""
    if path.stem == "pixelzoo":
        save_sheet(figure, path)
    else:
        figure.savefig(path, bbox_inches="tight", metadata={"Software": None})


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


def explorer() -> None:
    """The page of the attention explorer and, where there is a Chromium, a screenshot of it."""
    page = attention_explorer(*subject()).save(FOLDER / "attention_explorer.html")
    print(f"figures/{page.name}")
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        print(f"figures/{page.stem}.png  SKIPPED, stays as it was: none of {BROWSERS} is installed")
        return
    photograph(page, page.with_suffix(".png"), chromium)
    print(f"figures/{page.stem}.png")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, figure in draw().items():
        save(figure, FOLDER / f"{name}.png")
        plt.close(figure)
        print(f"figures/{name}.png")
    explorer()
