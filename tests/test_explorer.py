"""The attention explorer without a browser: what a page holds, how large it is, what it refuses."""

import base64
import json
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from tiny import tiny_model

from mvit_lib import MobileNetV2, ViT, ViTConfig, mobilevit_s, mobilevit_xxs
from mvit_lib.attention import AttentionMap, attention_from_pixel, entropy_share
from mvit_lib.look import attention_explorer
from mvit_lib.look.explorer import NOTEBOOK_BYTES, PAGE_BYTES, AttentionExplorer


def settings_of(page: str) -> dict:
    return json.loads(re.search(r"const data = (\{.*?\});\n", page, flags=re.DOTALL)[1])


def unpacked(stage: dict) -> list[dict[str, np.ndarray]]:
    """For every layer of a stage: prefix [H, P, Q], entropy [h + 1, P, Q], weights [H, P, Q, N]."""
    data = zlib.decompress(base64.b64decode(stage["data"]))
    N, depth = stage["grid"][0] * stage["grid"][1], len(stage["layers"])
    H = stage["heads"] if stage["form"] == "heads" else 1
    queries, at, parts = (stage["P"], stage["prefix"] + N), 0, []
    for kind, shape in (
        ("<f4", (depth, 3, H, *queries)), ("<u2", (depth, stage["heads"] + 1, *queries)),
        ("u1", (depth, H, *queries, N)),
    ):  # fmt: skip
        parts.append(np.frombuffer(data, kind, int(np.prod(shape)), at).reshape(shape))
        at += parts[-1].nbytes
    assert at == len(data)
    found = []
    for (least, largest, prefix), entropy, rows in zip(*parts, strict=True):
        step = (largest - least)[..., None] / 255
        weights = least[..., None] + rows * step
        found.append({"prefix": prefix, "entropy": entropy / 65535, "weights": weights})
    return found


def expect_rows(found: dict, m: AttentionMap, form: str = "heads") -> None:
    weights = m.weights[0].transpose(0, 1).double()  # [h, P, Q, prefix + N]
    mean = weights.mean(0, keepdim=True)
    held = (weights if form == "heads" else mean)[..., m.num_prefix :].numpy()
    room = np.ptp(held, axis=-1, keepdims=True) / 509 + 1e-7
    assert (np.abs(found["weights"] - held) <= room).all()
    shares = entropy_share(torch.cat([weights, mean])).numpy()
    assert np.abs(found["entropy"] - shares).max() < 1e-5
    prefix = (weights if form == "heads" else mean)[..., : m.num_prefix].sum(-1).numpy()
    assert np.abs(found["prefix"] - prefix).max() < 1e-6


@pytest.mark.parametrize("size", [(64, 96), (70, 50)])
def test_a_page_holds_every_row_of_every_layer_and_head(size):
    explorer = attention_explorer(tiny_model(), torch.rand(3, *size))
    settings = settings_of(explorer.page())
    assert settings["image"] == list(size)
    maps = iter(explorer.maps)
    for stage in settings["stages"]:
        assert stage["form"] == "heads"
        for found, layer in zip(unpacked(stage), stage["layers"], strict=True):
            m = next(maps)
            assert (stage["name"], layer["number"]) == (m.stage, m.layer)
            assert tuple(stage["map"]) == m.map_size
            expect_rows(found, m)
            assert layer["top"] == pytest.approx([m.weights.max().item(), m.weights.mean(2).max().item()])
    assert next(maps, None) is None


def test_a_vit_keeps_the_class_token_apart():
    model = ViT(ViTConfig(image_size=(32, 48), patch_size=16, dim=12, depth=2, num_classes=3))
    explorer = attention_explorer(model, torch.rand(1, 3, 32, 48))
    (stage,) = settings_of(explorer.page())["stages"]
    assert (stage["P"], stage["prefix"], stage["grid"]) == (1, 1, [2, 3])
    for found, m in zip(unpacked(stage), explorer.maps, strict=True):
        expect_rows(found, m)
        np.testing.assert_allclose(found["weights"].sum(-1) + found["prefix"], 1, atol=0.02)


def noise(heads: int = 4) -> AttentionExplorer:
    """What compresses least: XXS at 256 px with weights of pure noise."""
    draw, maps = torch.Generator().manual_seed(0), []
    for stage, side, layers in (("layer_3", 32, 2), ("layer_4", 16, 4), ("layer_5", 8, 3)):
        N = side * side // 4
        for layer in range(layers):
            weights = torch.rand(1, 4, heads, N, N, generator=draw)
            weights /= weights.sum(-1, keepdim=True)
            grid = (side // 2, side // 2)
            maps.append(
                AttentionMap(weights, stage, layer, (2, 2), grid, (side, side), 256 // side, (256, 256))
            )
    return AttentionExplorer(maps, Image.fromarray(skimage.data.astronaut()).resize((256, 256)))


def test_pages_keep_their_limits_and_say_what_they_lack():
    explorer = noise()
    page = explorer.page()
    assert len(page.encode()) <= PAGE_BYTES
    assert [stage["form"] for stage in settings_of(page)["stages"]] == ["heads"] * 3
    cell = explorer._repr_html_()
    assert len(cell.encode()) <= NOTEBOOK_BYTES
    stages = settings_of(explorer.page(NOTEBOOK_BYTES - 20_000))["stages"]
    assert [stage["form"] for stage in stages] == ["mean", "mean", "heads"]
    for found, m in zip(unpacked(stages[0]), explorer.maps[:2], strict=True):
        expect_rows(found, m, "mean")
    least = settings_of(explorer.page(1))["stages"]
    assert {stage["form"] for stage in least} == {"left out"}
    wide = noise(heads=8)
    assert settings_of(wide.page())["stages"][0]["form"] == "mean"
    assert settings_of(wide.page(None))["stages"][0]["form"] == "heads"


@pytest.mark.slow
@pytest.mark.parametrize("build", [mobilevit_xxs, mobilevit_s])
def test_real_networks_at_256_pixels_fit_with_all_their_heads(build, tmp_path):
    explorer = attention_explorer(build().eval(), torch.rand(3, 256, 256))
    path = explorer.save(tmp_path / "page.html")
    assert path.stat().st_size <= PAGE_BYTES
    assert {stage["form"] for stage in settings_of(path.read_text(encoding="utf-8"))["stages"]} == {"heads"}
    assert len(explorer._repr_html_().encode()) <= NOTEBOOK_BYTES


def test_the_model_keeps_its_mode_and_the_photo_is_what_it_saw():
    model = tiny_model().train()
    model.layer_1.eval()
    pixels = torch.rand(3, 64, 64)
    explorer = attention_explorer(model, pixels)
    assert model.training
    assert not model.layer_1.training
    seen = torch.from_numpy(np.array(explorer.photo)).permute(2, 0, 1) / 255
    torch.testing.assert_close(seen, pixels, rtol=0, atol=0.5 / 255 + 1e-6)
    again = attention_explorer(model, pixels)
    assert torch.equal(explorer.maps[0].weights, again.maps[0].weights)


def test_a_pil_image_is_cut_as_the_model_wants_it():
    model = tiny_model()
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    by_photo, by_hand = attention_explorer(model, photo), attention_explorer(model, model.preprocess(photo))
    assert by_photo.page() == by_hand.page()


def test_a_page_is_complete_and_the_same_every_time():
    explorer = attention_explorer(tiny_model(), torch.full((3, 64, 64), 0.5))
    page = explorer.page()
    assert page == explorer.page()
    assert not re.search(r"https?://|src=\"(?!\$)|<link|@import", page)
    assert repr(explorer) == (
        "(the attention explorer: it appears in a notebook; .save('page.html') for anywhere)"
    )


def test_the_page_in_figures_is_todays():
    """Its frame is the template's, its weights are what the model of today says of the scene."""
    import figures

    page = (figures.FOLDER / "attention_explorer.html").read_text(encoding="utf-8")
    assert len(page.encode()) <= PAGE_BYTES
    template = (files("mvit_lib.look") / "explorer.html").read_text(encoding="utf-8")
    assert re.sub(r"const data = \{.*?\};\n", "const data = /* DATA */;\n", page, flags=re.DOTALL) == template
    maps = iter(attention_explorer(*figures.subject()).maps)
    for stage in settings_of(page)["stages"]:
        for found in unpacked(stage):
            weights = next(maps).weights[0].transpose(0, 1).numpy()  # [h, P, N, N]
            assert np.abs(found["weights"] - weights).max() < 5e-3
    assert next(maps, None) is None


def test_make_figures_says_when_there_is_no_browser(monkeypatch, tmp_path, capsys):
    import figures

    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    monkeypatch.setattr(figures, "subject", lambda: (tiny_model(), torch.rand(3, 64, 64)))
    monkeypatch.setattr(figures.shutil, "which", lambda name: None)
    figures.explorer()
    assert "SKIPPED" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["attention_explorer.html"]


def test_it_opens_where_it_is_told():
    model, pixels = tiny_model(), torch.rand(3, 64, 96)
    opens = [
        settings_of(attention_explorer(model, pixels, *at).page())["opens"]
        for at in ((), (21, 50), (0, 95, ("layer_4", 0)), (63, 0, -1))
    ]
    assert opens[0] == {"y": 32, "x": 48, "stage": 0, "layer": 0}
    assert opens[1] == {"y": 21, "x": 50, "stage": 0, "layer": 0}
    assert opens[2] == {"y": 0, "x": 95, "stage": 1, "layer": 0}
    assert opens[3] == {"y": 63, "x": 0, "stage": 2, "layer": 0}


def test_no_name_ends_the_script():
    explorer = attention_explorer(tiny_model(), torch.rand(3, 64, 64))
    named = [replace(m, stage="</script><b>") for m in explorer.maps]
    page = AttentionExplorer(named, explorer.photo).page()
    assert page.count("</script>") == 1
    assert settings_of(page)["stages"][0]["name"] == "</script><b>"


def test_what_cannot_be_shown_is_named():
    with pytest.raises(ValueError, match=r"one image .*\(2, 3, 64, 64\)"):
        attention_explorer(tiny_model(), torch.rand(2, 3, 64, 64))
    with pytest.raises(TypeError, match="ndarray"):
        attention_explorer(tiny_model(), np.zeros((64, 64, 3)))
    with pytest.raises(ValueError, match="MobileNetV2"):
        attention_explorer(MobileNetV2(num_classes=2), torch.rand(3, 64, 64))
    with pytest.raises(ValueError, match=r"\(64, 3\) lies outside the image of 64 × 96"):
        attention_explorer(tiny_model(), torch.rand(3, 64, 96), 64, 3)
    with pytest.raises(ValueError, match="layer_6"):
        attention_explorer(tiny_model(), torch.rand(3, 64, 96), 6, 3, ("layer_6", 0))


def test_the_room_is_light_until_something_is_drawn():
    code = (
        "import sys, mvit_lib.look as look; print('matplotlib' in sys.modules, 'ipywidgets' in sys.modules);"
    )
    code += "look.attention_explorer; look.plot_attention; print('ipywidgets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]
    import mvit_lib.look

    with pytest.raises(AttributeError, match="no attribute 'plot'"):
        _ = mvit_lib.look.plot


def test_rows_are_those_that_attention_from_pixel_reads():
    explorer = attention_explorer(tiny_model(), torch.rand(3, 64, 96))
    stage = settings_of(explorer.page())["stages"][0]
    seen = attention_from_pixel(explorer.maps, 21, 50, ("layer_3", 0), head=1)
    row = unpacked(stage)[0]["weights"][1, seen.position, seen.token]
    np.testing.assert_allclose(row, seen.weights.flatten().numpy(), atol=seen.weights.max().item() / 400)
