"""Checkpoints: exact both ways between four libraries, and never code."""

import io
import json
import pickle
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import BUILDERS, hf_mobilevit, our_mobilevit
from safetensors.torch import save_file

from mvit_lib import MobileNetV2, MobileViT, ViT, ViTConfig, load_weights, mobilevit_xxs
from mvit_lib.layouts import convert_state_dict, detect_layout
from mvit_lib.mobilevit import MobileViTConfig
from mvit_lib.transforms import EvalTransform
from mvit_lib.weights import save_weights

KEY_LISTS = Path(__file__).parent / "data"


def key_list(layout: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of XXS as the other library has them, written down from its documentation."""
    lines = (KEY_LISTS / f"xxs_{layout}.txt").read_text().splitlines()
    pairs = (line.split() for line in lines)
    return {n: () if s == "scalar" else tuple(map(int, s.split("x"))) for n, s in pairs}


def shapes(state) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in state.items()}


@pytest.mark.parametrize("layout", ["timm", "cvnets"])
def test_names_and_shapes_of_libraries_that_are_not_here(layout):
    state = mobilevit_xxs().state_dict()
    renamed = convert_state_dict(state, "mvit", layout)
    assert shapes(renamed) == key_list(layout)
    assert len(renamed) == 311
    assert detect_layout(renamed) == layout


@pytest.mark.parametrize("size", BUILDERS)
def test_names_and_shapes_of_transformers(size):
    theirs = hf_mobilevit(size).state_dict()
    renamed = convert_state_dict(our_mobilevit(size).state_dict(), "mvit", "hf")
    assert renamed.keys() == theirs.keys()
    assert all(torch.equal(t, renamed[name]) for name, t in theirs.items())
    assert detect_layout(renamed) == "hf"


@pytest.mark.parametrize("size", BUILDERS)
@pytest.mark.parametrize("source", ["mvit", "hf", "timm", "cvnets"])
@pytest.mark.parametrize("target", ["mvit", "hf", "timm", "cvnets"])
def test_there_and_back_is_the_identity(size, source, target):
    start = convert_state_dict(our_mobilevit(size).state_dict(), "mvit", source)
    there = convert_state_dict(start, source, target)
    back = convert_state_dict(there, target, source)
    assert back.keys() == start.keys()
    assert all(torch.equal(t, back[name]) for name, t in start.items())


STEMS = {
    "mvit": "stem.conv.weight",
    "timm": "stem.conv.weight",
    "hf": "mobilevit.conv_stem.convolution.weight",
    "cvnets": "conv_1.block.conv.weight",
}


@pytest.mark.parametrize(
    ("target", "flips"), [("mvit", False), ("timm", False), ("hf", True), ("cvnets", True)]
)
def test_the_stem_turns_between_rgb_and_bgr(target, flips):
    state = mobilevit_xxs().state_dict()
    stem, name = state["stem.conv.weight"], STEMS[target]
    expected = stem[:, [2, 1, 0]] if flips else stem
    assert torch.equal(convert_state_dict(state, "mvit", target)[name], expected)
    assert torch.equal(convert_state_dict(state, "mvit", target, flip_stem=False)[name], stem)
    turned = convert_state_dict(state, "mvit", target, flip_stem=True)[name]
    assert torch.equal(turned, stem[:, [2, 1, 0]])


def test_names_that_do_not_belong_are_listed():
    state = mobilevit_xxs(10).state_dict() | {"intruder.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"1 tensors .*'mvit'.*intruder\.weight"):
        convert_state_dict(state, "mvit", "hf")
    with pytest.raises(ValueError, match="unknown layout 'keras'"):
        convert_state_dict({}, "keras")
    hf = dict(hf_mobilevit("xxs").state_dict())
    del hf["mobilevit.encoder.layer.2.transformer.layer.1.attention.attention.key.bias"]
    with pytest.raises(ValueError, match=r"layer\.1\.attention.*key"):
        convert_state_dict(hf, "hf")


MODELS = {
    "mobilevit": lambda: MobileViT(
        MobileViTConfig(channels=(8,) * 6, dims=(8, 8, 8), num_classes=3, patch_sizes=((4, 2), 2, 1))
    ),
    "vit": lambda: ViT(ViTConfig(image_size=(32, 48), dim=12, depth=2, num_classes=3)),
    "mobilenet": lambda: MobileNetV2(num_classes=3, width=0.5, output_stride=16),
}


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_saved_is_what_is_loaded(kind, tmp_path):
    model = MODELS[kind]().eval()
    model.classes = ("cat", "dog", "Grüße")
    model.eval_transform = EvalTransform(40, 32)
    save_weights(model, tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert (loaded.classes, loaded.eval_transform) == (model.classes, model.eval_transform)
    assert not loaded.training
    x = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


def test_half_precision_files_load_as_float32(tmp_path):
    model = MODELS["mobilevit"]()
    save_weights(model, tmp_path / "full.safetensors")
    save_weights(model, tmp_path / "half.safetensors", dtype=torch.float16)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.75 * sizes[1]
    loaded = load_weights(tmp_path / "half.safetensors")
    for name, t in loaded.state_dict().items():
        assert t.dtype == model.state_dict()[name].dtype
        torch.testing.assert_close(t, model.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_another_number_of_classes_starts_a_new_classifier(tmp_path, capsys):
    model = MODELS["mobilevit"]()
    save_weights(model, tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors", num_classes=7)
    assert loaded.classifier.weight.shape[0] == len(loaded.classes) == 7
    assert "7 classes in place of 3" in capsys.readouterr().out
    for name, t in loaded.state_dict().items():
        if not name.startswith("classifier."):
            assert torch.equal(t, model.state_dict()[name])
    backbone = load_weights(tmp_path / "w.safetensors", num_classes=0)
    assert not hasattr(backbone, "classifier")
    assert load_weights(tmp_path / "w.safetensors", num_classes=3).classifier.out_features == 3
    assert "3 classes" not in capsys.readouterr().out.split("in place of")[0]


@pytest.mark.parametrize("size", BUILDERS)
def test_a_folder_that_transformers_wrote(size, tmp_path):
    theirs = hf_mobilevit(size)
    labels = {i: f"label {i}" for i in range(1000)}
    theirs.config.id2label, theirs.config.label2id = labels, {v: k for k, v in labels.items()}
    theirs.save_pretrained(tmp_path)
    preprocessor = {"size": {"shortest_edge": 288}, "crop_size": {"height": 256, "width": 256}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    ours = load_weights(tmp_path).double()
    assert ours.config == our_mobilevit(size).config
    assert ours.classes[999] == "label 999"
    assert ours.eval_transform == EvalTransform(288, 256)
    x = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x.flip(1)).logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", ["timm", "cvnets", "hf"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_single_files_of_other_libraries(layout, suffix, tmp_path):
    model = our_mobilevit("xs")
    state = convert_state_dict(model.state_dict(), "mvit", layout)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file({name: t.contiguous() for name, t in state.items()}, path)
    loaded = load_weights(path)
    assert loaded.config == model.config
    for name, t in loaded.state_dict().items():
        assert torch.equal(t, model.state_dict()[name].to(t.dtype)), name


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path):
    victim = tmp_path / "executed"
    torch.save({"stem.conv.weight": Bomb(victim)}, tmp_path / "evil.pt")
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(Bomb(victim)))
    for name in ("evil.pt", "evil.bin"):
        with pytest.raises(ValueError, match=f"{name}.*(refused|damaged)"):
            load_weights(tmp_path / name)
    assert not victim.exists()


def damaged(path: Path, kind: str) -> Path:
    model = mobilevit_xxs(10)
    state = {name: t.contiguous() for name, t in model.state_dict().items()}
    metadata = None
    if kind == "missing":
        del state["layer_3.1.fusion.conv.weight"]
    if kind == "unexpected":
        state["surplus"] = torch.zeros(2)
    if kind == "misshapen":
        state["classifier.weight"] = torch.zeros(10, 7)
    if kind in ("missing", "unexpected", "misshapen"):
        save_weights(model, path)
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        save_file(state, path, metadata=metadata)
    elif kind == "truncated":
        save_weights(model, path)
        path.write_bytes(path.read_bytes()[:100_000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>404: not found</html>")
    else:
        torch.save([1, 2], path)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("w.safetensors", "missing", r"1 missing: layer_3\.1\.fusion\.conv\.weight"),
        ("w.safetensors", "unexpected", "1 unexpected: surplus"),
        ("w.safetensors", "misshapen", r"1 misshapen: classifier\.weight \(10, 7\), expected \(10, 320\)"),
        ("w.safetensors", "truncated", r"w\.safetensors is damaged"),
        ("w.safetensors", "empty", r"w\.safetensors is damaged"),
        ("w.safetensors", "text", r"w\.safetensors is damaged"),
        ("w.pt", "empty", r"w\.pt"),
        ("w.pt", "text", r"w\.pt"),
        ("w.pt", "list", r"w\.pt holds no plain dictionary"),
    ],
)
def test_bad_files_say_what_is_wrong(name, kind, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        load_weights(damaged(tmp_path / name, kind))


def test_a_truncated_pytorch_file(tmp_path):
    torch.save(mobilevit_xxs(10).state_dict(), tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes((tmp_path / "w.pt").read_bytes()[:-50_000])
    with pytest.raises(ValueError, match=r"w\.pt is damaged"):
        load_weights(tmp_path / "w.pt")


def test_names_that_lead_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights called 'pixelzo'.*apple/mobilevit-small"):
        load_weights("pixelzo")
    with pytest.raises(FileNotFoundError, match=r"no weights called '.*gone\.safetensors'"):
        load_weights(tmp_path / "gone.safetensors")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_weights(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mobilevit"}))
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load_weights(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ValueError, match="expected MobileViTForImageClassification"):
        load_weights(tmp_path)


def test_a_file_of_another_network(tmp_path):
    save_file({"conv.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors is no MobileViT"):
        load_weights(tmp_path / "other.safetensors")


def test_only_the_courses_networks_are_saved(tmp_path):
    with pytest.raises(ValueError, match="Linear"):
        save_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_new_classifier_does_not_hide_what_is_missing(tmp_path):
    state = convert_state_dict(our_mobilevit("xxs").state_dict(), "mvit", "timm")
    del state["final_conv.conv.weight"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"1 missing: expand\.conv\.weight"):
        load_weights(tmp_path / "w.safetensors", num_classes=5)


def test_a_network_without_classifier_gets_one(tmp_path, capsys):
    save_weights(mobilevit_xxs(0), tmp_path / "w.safetensors")
    model = load_weights(tmp_path / "w.safetensors", num_classes=5)
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 5)
    assert "5 classes in place of 0" in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["timm", "cvnets", "hf"])
def test_a_foreign_file_without_classifier(layout, tmp_path):
    state = convert_state_dict(our_mobilevit("xxs").state_dict(), "mvit", layout)
    headless = {n: t for n, t in state.items() if "classifier" not in n and not n.startswith("head.")}
    save_file(headless, tmp_path / "w.safetensors")
    assert load_weights(tmp_path / "w.safetensors").config.num_classes == 0


def test_converted_tensors_can_be_saved_and_share_no_memory(tmp_path):
    model = mobilevit_xxs(3)
    converted = convert_state_dict(model.state_dict(), "mvit", "timm")
    save_file(converted, tmp_path / "w.safetensors")
    pointers = {t.data_ptr() for t in model.state_dict().values()}
    assert not pointers & {t.data_ptr() for t in converted.values()}


@pytest.mark.parametrize("part", ["query", "key", "value"])
def test_a_missing_part_of_qkv_is_named(part):
    state = dict(hf_mobilevit("xxs").state_dict())
    name = f"mobilevit.encoder.layer.2.transformer.layer.0.attention.attention.{part}.weight"
    del state[name]
    with pytest.raises(ValueError, match=f"{part}.weight is missing"):
        convert_state_dict(state, "hf")


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    model = MODELS["mobilevit"]().eval()
    path = tmp_path / "w.safetensors"
    with pytest.raises(ValueError, match="fused"):
        save_weights(model.fuse(), path)
    with pytest.raises(ValueError, match=r"torch\.int8"):
        save_weights(model, path, dtype=torch.int8)
    model.classes = ("a",)
    with pytest.raises(ValueError, match="1 classes named for 3"):
        save_weights(model, path)
    model.classes = ("a", "b", "c")
    model.stem.norm.running_var[0] = 1e5
    with pytest.raises(ValueError, match=r"stem\.norm\.running_var.*float16"):
        save_weights(model, path, dtype=torch.float16)
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"layer_norm_eps": 0.1}, "layer_norm_eps=0.1"),
        ({"patch_size": None}, "patch_size"),
        ({"neck_hidden_sizes": 7}, "describes no network"),
    ],
)
def test_a_folder_that_asks_for_another_function(change, words, tmp_path):
    hf_mobilevit("xxs").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=words):
        load_weights(tmp_path)


def test_the_folder_says_whether_its_weights_take_bgr(tmp_path):
    hf_mobilevit("xxs").save_pretrained(tmp_path)
    sizes = {"size": {"shortest_edge": 288}, "crop_size": {"height": 256, "width": 256}}
    stems = []
    for flip in (True, False):
        preprocessor = sizes | {"do_flip_channel_order": flip}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
        stems.append(load_weights(tmp_path).stem.conv.weight.detach())
    assert torch.equal(stems[0], stems[1].flip(1))


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_no_damage_to_a_file_raises_anything_but_a_value_error(random):
    data = bytearray(PT_FILE)
    for _ in range(random.randint(1, 8)):
        data[random.randrange(len(data))] = random.randrange(256)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.pt"
        path.write_bytes(data)
        try:
            load_weights(path)
        except ValueError as error:
            assert "w.pt" in str(error)


def small_pt_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"stem.norm.weight": torch.zeros(4), "a": torch.zeros(2, 2)}, buffer)
    return buffer.getvalue()


PT_FILE = small_pt_file()
