"""Checkpoints: saving and loading, also of files that other libraries wrote.

A weight file is data, never code: safetensors, or PyTorch's format read with weights_only=True.
"""

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mvit_lib.classifier import Classifier, ConvBackbone, Network
from mvit_lib.heads import DeepLabV3, SSDLite
from mvit_lib.heads.head import Head
from mvit_lib.layouts import State, convert_state_dict, detect_layout
from mvit_lib.mobilenet import MobileNetV2
from mvit_lib.mobilevit import XS, XXS, MobileViT, MobileViTConfig, S
from mvit_lib.transforms import EvalTransform
from mvit_lib.vit import ViT, ViTConfig

__all__ = [
    "convert_state_dict",
    "load_backbone",
    "load_state",
    "load_weights",
    "save_weights",
    "set_formula_weights",
    "shipped_names",
]

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
ARCHITECTURES = {
    "MobileViT": lambda config: MobileViT(MobileViTConfig(**config)),
    "ViT": lambda config: ViT(ViTConfig(**config)),
    "MobileNetV2": lambda config: MobileNetV2(
        config["num_classes"], config["output_stride"], config["width"]
    ),
}


HEADS: dict[str, type[Head]] = {"SSDLite": SSDLite, "DeepLabV3": DeepLabV3}


def save_weights(model: Network, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write a model to a safetensors file, with all that is needed to build it again as metadata.

    dtype: stores floating-point tensors in this type (float16 halves the file).
    Raises: ValueError if the model is not one of the course's networks or was fused, `classes` does not
    name every output, dtype is no floating-point type, or a number does not fit into it.
    """
    if type(model).__name__ not in (ARCHITECTURES | HEADS):
        raise ValueError(f"cannot save a {type(model).__name__}: expected {[*ARCHITECTURES, *HEADS]}")
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"cannot store weights as {dtype}: expected a floating-point type")
    if len(model.classes) != _outputs(model):
        raise ValueError(f"{len(model.classes)} classes named for {_outputs(model)} outputs")
    if model.is_fused:
        raise ValueError("cannot save a fused model: save the model it was made from")
    description = _architecture(model) | {
        "classes": model.classes,
        "eval_transform": asdict(model.eval_transform),
        "colour_order": "RGB",
    }
    state = {
        name: (t.to(dtype) if dtype and t.is_floating_point() else t).contiguous()
        for name, t in model.state_dict().items()
    }
    spoilt = [name for name, t in state.items() if not t.isfinite().all()]
    if spoilt:
        raise ValueError(f"numbers in {spoilt[:5]} are not finite or do not fit into {dtype}")
    save_file(state, path, metadata={"mvit_lib": json.dumps(description)})


def load_weights(
    name_or_path: str | Path, *, num_classes: int | None = None, map_location: str | torch.device = "cpu"
) -> Network:
    """Build a model in eval mode from a shipped name, a file, a folder or a Hugging Face repository.

    name_or_path: a file written by `save_weights`; a checkpoint of MobileViT or DeepLabV3 as
    transformers, timm or the official code name its tensors (.safetensors, .pt, .bin); a folder written
    by transformers' `save_pretrained`; or a repository such as "apple/mobilevit-small" (needs the extra
    "hub"). num_classes: another number of outputs (a head's with the background) starts a new
    classifier, and says so.

    Raises: FileNotFoundError if there is nothing of that name; ValueError if the file is damaged, is
    no MobileViT, wants to run code, or its tensors do not fit, naming those that are missing,
    unexpected or misshapen; for a repository, ModuleNotFoundError without the extra "hub",
    ConnectionError if it was never downloaded and cannot be now, huggingface_hub's own errors else.
    """
    path = Path(name_or_path).expanduser()
    if str(name_or_path) in shipped_names():
        with as_file(files("mvit_lib") / "assets" / "weights" / f"{name_or_path}.safetensors") as asset:
            model, state = _read(asset)
    elif path.exists():
        model, state = _read(path)
    elif re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(name_or_path)) and path.suffix not in SUFFIXES:
        model, state = _read(_download(str(name_or_path)))
    else:
        raise FileNotFoundError(
            f"no weights called {str(name_or_path)!r}: expected a file, a folder, a Hugging Face "
            f"repository such as 'apple/mobilevit-small', or one of {shipped_names()}"
        )
    old = _outputs(model)
    if num_classes is not None and num_classes != old:
        renew = _with_new_outputs if isinstance(model, Head) else _with_new_classifier
        model, state = renew(model, state, num_classes)
    load_state(model, state, str(name_or_path))
    if _outputs(model) != old:
        print(f"new classifier: {num_classes} classes in place of {old}, not trained yet")
    return model.to(map_location).eval()


def load_backbone(name_or_path: str | Path, output_stride: int = 32) -> ConvBackbone:
    """The network behind a classifier's or a head's weights, without either, at this output stride.

    Raises: ValueError if it is a ViT, which is no backbone for a head; and as `load_weights`.
    """
    model = load_weights(name_or_path)
    if isinstance(model, Head):
        model = model.backbone
    if not isinstance(model, ConvBackbone):
        raise ValueError(f"{name_or_path} is a {type(model).__name__}: expected a MobileViT or MobileNetV2")
    config = replace(model.config, num_classes=0, output_stride=output_stride)
    backbone = ARCHITECTURES[type(model).__name__](asdict(config)).eval()
    parts = ("expand.", "classifier.")
    backbone.load_state_dict({n: t for n, t in model.state_dict().items() if not n.startswith(parts)})
    return backbone


def shipped_names() -> list[str]:
    """The names of the weights that come with the package."""
    folder = files("mvit_lib") / "assets" / "weights"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(Path(f.name).stem for f in found if f.name.endswith(".safetensors"))


def load_state(model: nn.Module, state: State, source: str) -> None:
    """Copy `state` into `model`; ValueError lists every tensor that is missing, unexpected, misshapen."""
    wanted = model.state_dict()
    problems = {
        "missing": sorted(wanted.keys() - state.keys()),
        "unexpected": sorted(state.keys() - wanted.keys()),
        "misshapen": [
            f"{name} {tuple(state[name].shape)}, expected {tuple(wanted[name].shape)}"
            for name in wanted
            if name in state and state[name].shape != wanted[name].shape
        ],
    }
    found = [f"{len(v)} {kind}: {', '.join(v)}" for kind, v in problems.items() if v]
    if found:
        raise ValueError(f"{source} does not fit {type(model).__name__}: " + "; ".join(found))
    model.load_state_dict(state)


def _architecture(model: Network) -> dict[str, Any]:
    """What a file says of a network's build; `_build` reads it."""
    about: dict[str, Any] = {"architecture": type(model).__name__}
    if isinstance(model, Head):
        return about | {"num_classes": model.num_classes, "backbone": _architecture(model.backbone)}
    return about | {"config": asdict(model.config)}


def _build(about: dict[str, Any]) -> Network:
    if "backbone" in about:
        return HEADS[about["architecture"]](_build(about["backbone"]), about["num_classes"])
    return ARCHITECTURES[about["architecture"]](_tuples(about["config"]))


def _outputs(model: Network) -> int:
    """How many classes it tells apart, a head's background among them."""
    return model.num_classes if isinstance(model, Head) else model.config.num_classes


def _with_new_outputs(model: Head, state: State, num_classes: int) -> tuple[Head, State]:
    """The same head for `num_classes`; what has another shape for it starts afresh in model and state."""
    fresh = type(model)(_build(_architecture(model.backbone)), num_classes)
    fresh.eval_transform = model.eval_transform
    old, start = model.state_dict(), fresh.state_dict()
    new = {name: start[name] for name in start if start[name].shape != old[name].shape}
    return fresh, dict(state) | new


def _with_new_classifier(model: Classifier, state: State, num_classes: int) -> tuple[Classifier, State]:
    """The same network with a fresh classifier of `num_classes` (0: none) in model and state."""
    config = replace(model.config, num_classes=num_classes)
    fresh = ARCHITECTURES[type(model).__name__](asdict(config))
    fresh.eval_transform = model.eval_transform
    start = fresh.state_dict()
    if model.config.num_classes:
        state = {name: t for name, t in state.items() if not name.startswith("classifier.")}
    new = ("classifier.",) if model.config.num_classes else ("classifier.", "expand.")
    head = [name for name in start if name.startswith(new)]
    kept = {name: t for name, t in state.items() if name in start or not name.startswith("expand.")}
    return fresh, {name: start[name] for name in head} | kept


@torch.no_grad()
def set_formula_weights(model: nn.Module) -> None:
    """Give every matrix and kernel of `model` weights by a formula, in place of random ones.

    So two libraries on two machines can be handed the same network without a file. The multiples of
    the golden ratio, cut to their fraction, fill the range evenly; the variance is 1 / fan-in.
    """
    for i, parameter in enumerate(model.parameters()):
        if parameter.dim() >= 2:
            steps = torch.arange(parameter.numel(), dtype=torch.float64)
            even = (steps * 0.6180339887498949 + i * 0.37) % 1 - 0.5  # variance 1/12
            fan_in = parameter.numel() // parameter.shape[0]
            parameter.copy_(even.mul_((12 / fan_in) ** 0.5).view(parameter.shape))


# Reading files


def _read(path: Path) -> tuple[Network, State]:
    """Network and tensors of a file or folder; whatever is wrong with it is a ValueError with its name."""
    try:
        return _read_transformers_folder(path) if path.is_dir() else _read_file(path)
    except (ValueError, FileNotFoundError) as error:
        if path.name in str(error):
            raise
        raise ValueError(f"{path.name}: {error}") from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path.name} describes no network of this library: {error!r}") from error


def _read_file(path: Path) -> tuple[Network, State]:
    state, metadata = _read_tensors(path)
    if "mvit_lib" not in metadata:
        return _from_foreign_state(state, path.name)
    about = json.loads(metadata["mvit_lib"])
    model = _build(about)
    if about["colour_order"] != "RGB" or len(about["classes"]) != _outputs(model):
        raise ValueError("expected RGB weights and a name for every class")
    model.classes = tuple(about["classes"])
    model.eval_transform = EvalTransform(**about["eval_transform"])
    return model, state


def _tuples(value: Any) -> Any:
    """JSON knows no tuples; configurations know no lists."""
    if isinstance(value, dict):
        return {key: _tuples(v) for key, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file, never running code from it."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path.name} was refused: it is no plain weight file, or wants to run code"
        ) from error
    except Exception as error:  # a damaged file can stop the readers in any way
        raise ValueError(f"{path.name} is damaged or no weight file: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"{path.name} holds no plain dictionary of tensors")
    return dict(state), {}


def _from_foreign_state(state: State, source: str) -> tuple[Network, State]:
    """A MobileViT XXS, XS or S, or a DeepLabV3 on one, whose tensors carry another library's names."""
    converted = convert_state_dict(state, detect_layout(state, source))
    is_deeplab = any(name.startswith("aspp.") for name in converted)
    norm = "backbone." * is_deeplab + "layer_3.1.norm.weight"
    width = converted[norm].shape[0] if norm in converted else 0
    configs = {config.dims[0]: config for config in (XXS, XS, S)}
    if width not in configs:
        raise ValueError(f"{source} is no MobileViT-XXS, XS or S: width {width} in layer_3")
    classes = converted.get("classifier.bias", torch.empty(0)).shape[0]
    if is_deeplab:
        return _deeplab_on(configs[width], classes), _without_expand(converted)
    return MobileViT(replace(configs[width], num_classes=classes)), _without_expand(converted, not classes)


def _deeplab_on(config: MobileViTConfig, num_classes: int) -> DeepLabV3:
    stride = min(16, config.output_stride)
    return DeepLabV3(MobileViT(replace(config, num_classes=0, output_stride=stride)), num_classes)


def _without_expand(state: State, is_so: bool = True) -> State:
    """Networks without classifier have no last expansion; other libraries store it all the same."""
    names = ("expand.", "backbone.expand.")
    return {name: t for name, t in state.items() if not (is_so and name.startswith(names))}


def _read_transformers_folder(folder: Path) -> tuple[Network, State]:
    """What transformers' `save_pretrained` wrote, or a repository of the same shape."""
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise FileNotFoundError(f"{folder} holds no config.json")
    about = json.loads(config_file.read_text(encoding="utf-8"))
    if about.get("model_type") != "mobilevit":
        raise ValueError(
            f"{folder.name} holds a {about.get('architectures') or about.get('model_type')}: expected "
            "MobileViTForImageClassification or MobileViTForSemanticSegmentation"
        )
    names = ("model.safetensors", "pytorch_model.bin")
    weights = next((folder / name for name in names if (folder / name).is_file()), None)
    if weights is None:
        raise FileNotFoundError(f"{folder} holds neither {names[0]} nor {names[1]}")
    preprocessor = folder / "preprocessor_config.json"
    pixels = json.loads(preprocessor.read_text(encoding="utf-8")) if preprocessor.is_file() else {}
    is_bgr = pixels.get("do_flip_channel_order", True)
    state = convert_state_dict(_read_tensors(weights)[0], "hf", flip_stem=is_bgr)
    classes = state["classifier.bias"].shape[0] if "classifier.bias" in state else 0
    if any(name.startswith("aspp.") for name in state):
        model: Network = _deeplab_on(_config_of(about, classes), classes)
    else:
        model = MobileViT(_config_of(about, classes))
    labels = {int(key): name for key, name in about.get("id2label", {}).items()}
    if classes and len(labels) == classes:
        model.classes = tuple(labels[i] for i in range(classes))
    if pixels:
        model.eval_transform = EvalTransform(pixels["size"]["shortest_edge"], pixels["crop_size"]["height"])
    return model, _without_expand(state, isinstance(model, Head) or not classes)


def _config_of(about: Mapping[str, Any], num_classes: int) -> MobileViTConfig:
    """transformers' config.json in our words; ValueError if it asks for another function."""
    ours_are = {
        "layer_norm_eps": 1e-5, "hidden_act": "silu", "qkv_bias": True, "aspp_out_channels": 256,
        "atrous_rates": [6, 12, 18],
    }  # fmt: skip
    for name, ours in ours_are.items():
        if about.get(name, ours) != ours:
            raise ValueError(f"{name}={about[name]!r} is another network: expected {ours!r}")
    return MobileViTConfig(
        channels=tuple(about["neck_hidden_sizes"][:6]),
        dims=tuple(about["hidden_sizes"]),
        patch_sizes=(about["patch_size"],) * 3,
        expansion=about["expand_ratio"],
        kernel_size=about["conv_kernel_size"],
        num_heads=about["num_attention_heads"],
        mlp_ratio=about["mlp_ratio"],
        dropout=about["hidden_dropout_prob"],
        classifier_dropout=about["classifier_dropout_prob"],
        num_classes=num_classes,
        output_stride=about["output_stride"],
    )


def _download(repository: str) -> Path:
    """The folder of huggingface_hub's cache that holds the repository's configuration and weights."""
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"loading {repository!r} needs huggingface_hub: pip install 'mvit_lib[hub]'"
        ) from error

    unreachable: Exception | None = None
    try:  # one question before the downloads, which would repeat theirs for half a minute
        get_hf_file_metadata(hf_hub_url(repository, "config.json"))
    except HfHubHTTPError:
        pass  # the hub answered: the download tells better what is wrong
    except Exception as error:  # of whichever HTTP library the hub's client uses
        unreachable = error

    def fetch(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name, local_files_only=unreachable is not None))
        except LocalEntryNotFoundError:  # offline, which says nothing about the repository
            if unreachable is None:
                raise
            return None
        except EntryNotFoundError:
            return None

    config = fetch("config.json")
    if config is None and unreachable is not None:
        raise ConnectionError(
            f"{repository!r} must be downloaded once, and the hub cannot be reached ({unreachable}). "
            f"Without a network there are {shipped_names()}"
        ) from unreachable
    fetch("preprocessor_config.json")
    if fetch("model.safetensors") is None:
        fetch("pytorch_model.bin")
    if config is None:
        raise FileNotFoundError(f"{repository!r} holds no config.json")
    return config.parent
