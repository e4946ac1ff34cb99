"""Draw the pictures of figures/ again: `make figures`."""

import io
from pathlib import Path

import skimage.data
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from mvit_lib import mobilevit_xxs
from mvit_lib.look.figures.pixelzoo import fig_contact_sheet
from mvit_lib.look.figures.start_here import fig_course_map, fig_feature_maps, fig_partners
from mvit_lib.look.style import use_style

FOLDER = Path(__file__).resolve().parents[1] / "figures"


def draw() -> dict[str, Figure]:
    """Every picture of the README by its file name."""
    use_style()
    torch.manual_seed(0)
    model = mobilevit_xxs().eval()
    x = model.preprocess(Image.fromarray(skimage.data.chelsea()))
    with torch.no_grad():
        features = model.forward_features(x)
    return {
        "course_map": fig_course_map()[0],
        "feature_maps": fig_feature_maps(x, features)[0],
        "partners": fig_partners(x, 100, 112, model)[0],
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


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, figure in draw().items():
        save(figure, FOLDER / f"{name}.png")
        plt.close(figure)
        print(f"figures/{name}.png")
