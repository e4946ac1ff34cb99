"""The attention explorer: one self-contained page; point at a pixel and see what it listens to."""

import base64
import html
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from matplotlib import colormaps
from PIL import Image
from torch import Tensor, nn

from mvit_lib.attention import AttentionMap, entropy_share, record_attention
from mvit_lib.attention_reading import find_map
from mvit_lib.look.attention_grid import to_pil
from mvit_lib.look.style import ACCENT, POSITION_COLOURS, SEQUENTIAL

NOTEBOOK_BYTES = 1_200_000
PAGE_BYTES = 4_000_000
# How much of a stage a page holds, from all to nothing; what is missing is said in the page.
FORMS = ("heads", "mean", "left out")


@dataclass(frozen=True, eq=False)
class AttentionExplorer:
    """The recorded attention of one image, ready to be shown.

    As the last value of a notebook's cell it becomes a living picture of at most 1.2 MB; `save` writes a
    page that needs no kernel, server or network. maps: recorded, on the CPU. photo: what the network saw.
    y, x, layer: where it opens; without y or x in the middle.
    """

    maps: Sequence[AttentionMap]
    photo: Image.Image
    y: int | None = None
    x: int | None = None
    layer: int | tuple[str, int] = 0

    def page(self, max_bytes: int | None = PAGE_BYTES) -> str:
        """The page as HTML; None: with all heads of all stages, however large.

        Where it would be larger than `max_bytes`, stages hold the mean over their heads only, the largest
        first; if that is still too much, stages are left out. The page says so.
        """
        stages = [list(group) for _, group in groupby(self.maps, key=lambda m: m.stage)]
        forms = [0] * len(stages)
        blobs = [_encode(stage, FORMS[0]) for stage in stages]
        frame = _fill_template(self._settings(stages, forms, [""] * len(stages)))
        while max_bytes and len(frame.encode()) + sum(map(len, blobs)) > max_bytes and any(blobs):
            fullest = [i for i, form in enumerate(forms) if form == min(forms)]
            largest = max(fullest, key=lambda i: len(blobs[i]))
            forms[largest] += 1
            blobs[largest] = _encode(stages[largest], FORMS[forms[largest]])
        return _fill_template(self._settings(stages, forms, blobs))

    def save(self, path: str | Path, max_bytes: int | None = PAGE_BYTES) -> Path:
        """Write `page(max_bytes)` to a file that any browser opens, and return its path."""
        path = Path(path)
        path.write_text(self.page(max_bytes), encoding="utf-8")
        return path

    def _settings(self, stages: list, forms: list[int], blobs: list[str]) -> dict[str, Any]:
        found = []
        for stage, form, blob in zip(stages, forms, blobs, strict=True):
            m = stage[0]
            found.append({
                "name": m.stage, "patch": m.patch_size, "grid": m.grid, "map": m.map_size,
                "stride": m.stride, "prefix": m.num_prefix, "kernel": m.kernel_size,
                "P": m.weights.shape[1], "heads": m.weights.shape[2], "form": FORMS[form], "data": blob,
                "layers": [{"number": m.layer, "top": _tops(m)} for m in stage],
            })  # fmt: skip
        return {
            "image": self.maps[0].image_size,
            "opens": self._opens(),
            "photo": _jpeg(self.photo),
            "stages": found,
            "palette": [[round(255 * c) for c in colormaps[SEQUENTIAL](i)[:3]] for i in range(256)],
            "colours": POSITION_COLOURS,
            "ring": ACCENT,
        }

    def _opens(self) -> dict[str, int]:
        """The state of the page when it opens: pixel, stage and layer, these two by their numbers in it."""
        (H, W), first = self.maps[0].image_size, find_map(self.maps, self.layer)
        y, x = (half if at is None else at for at, half in ((self.y, H // 2), (self.x, W // 2)))
        if not (0 <= y < H and 0 <= x < W):
            raise ValueError(f"pixel ({y}, {x}) lies outside the image of {H} × {W}")
        stages = list(dict.fromkeys(m.stage for m in self.maps))
        layers = [m for m in self.maps if m.stage == first.stage]
        return {"y": y, "x": x, "stage": stages.index(first.stage), "layer": layers.index(first)}

    def _repr_html_(self) -> str:
        # A page in an attribute grows by its escaped quotes.
        page = html.escape(self.page(NOTEBOOK_BYTES - 20_000), quote=True)
        style = "width:100%;max-width:980px;height:760px;border:0"
        return f'<div><iframe title="Attention explorer" style="{style}" srcdoc="{page}"></iframe></div>'

    def __repr__(self) -> str:
        return "(the attention explorer: it appears in a notebook; .save('page.html') for anywhere)"


def attention_explorer(
    model: nn.Module,
    image: Image.Image | Tensor,
    y: int | None = None,
    x: int | None = None,
    layer: int | tuple[str, int] = 0,
) -> AttentionExplorer:
    """Run `model` on one image and show what every pixel listens to, in every layer and head.

    image: a PIL image, cut by `model.preprocess`, or the tensor for the network, [3, H, W] or
    [1, 3, H, W] in [0, 1]. y, x, layer: the pixel and the layer at which it opens, as for
    `attention_from_pixel`; by default the middle and the first. The model runs in eval mode and keeps the
    mode it was in.
    Raises: TypeError or ValueError for another image, a pixel or layer that is not there, or a model
    without attention.
    """
    if isinstance(image, Image.Image):
        image = model.preprocess(image)  # [1, 3, H, W]
    if not isinstance(image, Tensor):
        raise TypeError(f"expected a PIL image or a tensor [3, H, W], got {type(image).__name__}")
    photo, pixels = to_pil(image), image.reshape(1, *image.shape[-3:])  # [1, 3, H, W]
    parameter = next(model.parameters())
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), record_attention(model) as maps:
            model(pixels.to(parameter.device, parameter.dtype))
    finally:
        for module, training in modes:
            module.training = training
    here = [replace(m, weights=m.weights.float().cpu()) for m in maps]
    explorer = AttentionExplorer(here, photo, y, x, layer)
    explorer._opens()  # a pixel or layer that is not there is refused here, not when the page is shown
    return explorer


def _jpeg(photo: Image.Image) -> str:
    stored = io.BytesIO()
    photo.save(stored, "JPEG", quality=90, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(stored.getvalue()).decode()


def _tops(m: AttentionMap) -> tuple[float, float]:
    """The largest weight on a patch in any head of the layer, and in the mean over its heads."""
    weights = m.weights[0, ..., m.num_prefix :].float()  # [P, h, prefix + N, N]
    return weights.max().item(), weights.mean(1).max().item()


def _encode(stage: Sequence[AttentionMap], form: str) -> str:
    """The rows of a stage's layers, each in 255 steps from its least to its largest weight; deflated, base64.

    One part after the other, each for every layer: float32 [3, H, P, Q], least, largest and the prefix's
    weight; uint16 [h + 1, P, Q], entropy shares in 1/65535, the mean over the heads last; uint8 [H, P, Q, N],
    the rows. H is h, or 1 where only the mean is held; Q = prefix + N queries. So even rows of nearly
    equal weights keep their differences.
    """
    if form == "left out":
        return ""
    numbers, entropies, rows = [], [], []
    for m in stage:
        weights = m.weights[0].transpose(0, 1).double().cpu()  # [h, P, Q, prefix + N]
        both = torch.cat([weights, weights.mean(0, keepdim=True)])  # [h + 1, P, Q, prefix + N]
        held = both[:-1] if form == "heads" else both[-1:]  # [H, P, Q, prefix + N]
        patches = held[..., m.num_prefix :]  # [H, P, Q, N]
        least, largest = patches.aminmax(dim=-1)  # [H, P, Q]
        numbers.append(torch.stack([least, largest, held[..., : m.num_prefix].sum(-1)]).float().flatten())
        entropies.append((entropy_share(both).clamp(0, 1) * 65535).round().int().flatten())
        step = ((largest - least) / 255).clamp(min=1e-15)[..., None]  # [H, P, Q, 1]
        rows.append(((patches - least[..., None]) / step).round().byte().flatten())
    parts = (torch.cat(part).numpy() for part in (numbers, entropies, rows))
    kinds = ("<f4", "<u2", "u1")
    data = b"".join(part.astype(kind).tobytes() for part, kind in zip(parts, kinds, strict=True))
    return base64.b64encode(zlib.compress(data, 9)).decode()


def _fill_template(settings: dict[str, Any]) -> str:
    template = (files("mvit_lib.look") / "explorer.html").read_text(encoding="utf-8")
    # A name with "</script>" in it must not end the script.
    data = json.dumps(settings, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace("/* DATA */", data)
