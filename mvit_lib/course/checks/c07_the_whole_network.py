"""The checkers of 07.1, a configuration read from a table, and 07.5, a layer under foreign names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from mvit_lib.course.engine import Exercise
from mvit_lib.course.probes import Wrong
from mvit_lib.mobilevit import XS, XXS, MobileViTConfig, S

# 07.1

SIZES = {"XXS": XXS, "XS": XS, "S": S}
ENTRIES = {
    "channels": ("the stem", "layer_1", "layer_2", "layer_3", "layer_4", "layer_5"),
    "dims": ("layer_3", "layer_4", "layer_5"),
    "depths": ("layer_3", "layer_4", "layer_5"),
}
RULES = {
    "expansion": "the MV2 expand by 4, in XXS by 2",
    "dropout": "that of the transformers is 0.1, in XXS 0.05",
    "kernel_size": "all kernels are 3 × 3",
    "num_heads": "there are four heads",
    "mlp_ratio": "the MLP is twice as wide as D",
    "patch_sizes": "patches are 2 × 2 in all blocks",
    "classifier_dropout": "it is 0.1",
    "num_classes": "there are 1,000 classes",
    "output_stride": "it is 32",
}


def check_configuration(configuration: Callable) -> None:
    """Field by field against the table, smallest size first."""
    answers = {name: configuration(name) for name in SIZES}
    for name, answer in answers.items():
        if answer is None:
            raise Wrong(f'configuration("{name}") gives None: did you forget `return`?')
        if isinstance(answer, type) or not isinstance(answer, MobileViTConfig):
            kind = answer.__name__ if isinstance(answer, type) else type(answer).__name__
            raise Wrong(f'configuration("{name}"): expected a MobileViTConfig, got {kind}')
        if any(answer is config for config in SIZES.values()):
            raise Wrong(
                f'configuration("{name}") hands over the library\'s own plan: read the table and build '
                "one of your own."
            )
    if len(set(answers.values())) == 1:
        raise Wrong("all three sizes are the same: did you forget to look at `name`?")
    for name, answer in answers.items():
        for field in fields(MobileViTConfig):
            found, expected = getattr(answer, field.name), getattr(SIZES[name], field.name)
            if found != expected:
                raise Wrong(_difference(name, field.name, found, expected))


def _difference(name: str, field: str, found: Any, expected: Any) -> str:
    """The first entry that is not the table's, and whose it is instead."""
    where = f'configuration("{name}"): {field}'
    if field not in ENTRIES:
        return f"{where} is {found}, but the rules say: {RULES[field]}."
    owners = [size for size, config in SIZES.items() if getattr(config, field) == found]
    i = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
    message = f"{where}[{i}], for {ENTRIES[field][i]}, is {found[i]}; the table says otherwise."
    if owners:
        return message + f"\n      Did you read the column of {owners[0]}?"
    if field == "channels" and found[2:5] == expected[1:4]:
        return message + "\n      Did you leave a stage out, or start one too early? The stem comes first."
    if sorted(found) == sorted(expected):
        return message + "\n      The right numbers in another order: stages go from layer_3 to layer_5."
    if field == "dims" and found == SIZES[name].channels[3:]:
        return message + "\n      Did you take the channels C for the width D of the transformer?"
    if field == "channels" and found[3:] == SIZES[name].dims:
        return message + "\n      Did you take the width D of the transformer for the channels C?"
    return message


# 07.5

PAIRS = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attention.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
PARTS = ("query", "key", "value")


def _foreign_layer(D: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """transformers' state of one layer: every element has its own number in the whole state, from 1."""
    shapes = {"layernorm_before": (D,)}
    shapes |= {f"attention.attention.{part}": (D, D) for part in PARTS}
    shapes |= {"attention.output.dense": (D, D), "intermediate.dense": (2 * D, D)}
    shapes |= {"output.dense": (D, 2 * D), "layernorm_after": (D,)}
    state, count = {}, 1
    for module, shape in shapes.items():
        for name, size in ((f"{module}.weight", shape), (f"{module}.bias", shape[:1])):
            numbers = torch.arange(count, count + torch.Size(size).numel(), dtype=dtype)
            state[name] = numbers.reshape(size)
            count += numbers.numel()
    return state


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for end in ("weight", "bias"):
        for theirs, ours in PAIRS.items():
            found[f"{ours}.{end}"] = state[f"{theirs}.{end}"]
        parts = [state[f"attention.attention.{part}.{end}"] for part in PARTS]
        found[f"attention.qkv.{end}"] = torch.cat(parts)
    return found


def check_rename_layer(rename_layer: Callable) -> None:
    """Names; shapes; where every number came from; then the same at the width of a real layer."""
    state = _foreign_layer(4)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    answer = rename_layer(state)
    if state.keys() != kept.keys() or any(not torch.equal(state[name], kept[name]) for name in kept):
        raise Wrong(
            "your function changes the dictionary it is given. Whoever called it still needs that: make a "
            "new one."
        )
    if answer is None:
        raise Wrong("got None: did you forget `return`?")
    if not isinstance(answer, dict):
        raise Wrong(f"expected a dictionary, got {type(answer).__name__}")
    expected = _renamed(state)
    _check_names(answer, expected)
    for name in expected:
        _check_tensor(name, answer[name], expected[name], state)
    double = rename_layer(_foreign_layer(4, torch.float64))
    if any(tensor.dtype != torch.float64 for tensor in double.values()):
        raise Wrong("given float64 your function returns another type: the tensors only change their names.")
    _check_width(rename_layer)


def _check_names(answer: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    missing = [name for name in expected if name not in answer]
    extra = [name for name in answer if name not in expected]
    if not missing and not extra:
        return
    message = "the names are not those of our layer."
    message += f"\n      Missing: {_some(missing)}." if missing else ""
    message += f"\n      Not ours: {_some(extra)}." if extra else ""
    if any("attention.mlp" in str(name) for name in extra):
        message += (
            '\n      "attention.output.dense" contains "output.dense": did you replace the short name first?'
        )
    elif any(part in str(name) for name in extra for part in PARTS):
        message += (
            "\n      query, key and value become one tensor: did you leave them apart, or keep them too?"
        )
    elif extra and all(str(name).startswith(("attention.attention", "layernorm", "inter")) for name in extra):
        message += "\n      Did you leave some names as they were?"
    elif missing and all(name.endswith("bias") for name in missing):
        message += "\n      Did you forget the biases?"
    elif missing and all(name.endswith("weight") for name in missing):
        message += "\n      Did you forget the weights?"
    raise Wrong(message)


def _some(names: Sequence[Any]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(str, names[:3])) + more


def _check_tensor(name: str, yours: Tensor, expected: Tensor, state: Mapping[str, Tensor]) -> None:
    """Shape, then the origin of the first number that is not where it belongs."""
    if not isinstance(yours, Tensor):
        raise Wrong(f"{name}: expected a tensor, got {type(yours).__name__}")
    if yours.shape != expected.shape:
        message = f"{name} has shape {list(yours.shape)}, expected {list(expected.shape)}."
        if "qkv" in name and yours.numel() == expected.numel():
            message += "\n      The rows of q, k and v stand one below the other: torch.cat along axis 0."
        elif yours.shape == expected.shape[::-1]:
            message += "\n      Did you transpose it, or swap fc1 and fc2?"
        raise Wrong(message)
    wrong = (yours != expected).nonzero()
    if len(wrong) == 0:
        return
    place = tuple(wrong[0].tolist())
    origin, right = _whose(yours[place], state), _whose(expected[place], state)
    if origin == right:
        message = f"{name}{list(place)} holds another number of {origin}: did you transpose or turn it?"
    else:
        message = f"{name}{list(place)} holds a number of {origin}; expected one of {right}."
    if "qkv" in name and origin != right:
        message += (
            "\n      The order is q, k, v: all D rows of q first, then all of k, then all of v; not head by "
        )
        message += "head."
    elif origin in state and origin != right:
        message += f"\n      Did you swap {right} and {origin}?"
    raise Wrong(message, yours, expected)


def _whose(value: Tensor, state: Mapping[str, Tensor]) -> str:
    owners = [name for name, tensor in state.items() if (tensor == value).any()]
    return owners[0] if owners else "no tensor of the state"


def _check_width(rename_layer: Callable, D: int = 96) -> None:
    """All again at the width of layer_5 of XXS, where four rows, or 64, are not all."""
    state = _foreign_layer(D)
    expected, answer = _renamed(state), rename_layer(state)
    for name, tensor in expected.items():
        if name not in answer or not torch.equal(answer[name], tensor):
            raise Wrong(f"right for D = 4, but not for D = {D}, at {name}: did you take a width for granted?")


EXERCISES = {
    "07.1": Exercise(
        checker=check_configuration,
        notice="Eight widths, one expansion, one dropout: all that tells the three sizes apart.",
        hints=(
            "Go down a column of the table. Which rows have a number of channels, which have a D?",
            "channels has six entries: stem, layer_1 … layer_5. dims and depths have three: layer_3, 4, 5.\n"
            "What the rules say of all sizes is already the default of MobileViTConfig.",
            'if name == "XXS":\n    return MobileViTConfig(\n        channels=(16, 16, 24, ..., ..., ...), '
            "dims=(64, ..., ...),\n        depths=(2, ..., ...), expansion=..., dropout=...)\n"
            'if name == "XS":\n    ...',
        ),
        solution=("s07_the_whole_network.py", "configuration"),
        symptoms={
            "=[": "this is a list; write round brackets.",
            "expected a tuple of 6": "channels are the stem's and those of layer_1 … layer_5. What `expand` "
            "makes, four times the last, is not among them.",
            "expected a tuple of 3": "dims and depths belong to the three stages with a block.",
            "does not divide each of dims": "every D is divided among the four heads. Did you write channels "
            "in place of dims?",
            "unexpected keyword argument": "the fields are channels, dims, depths, expansion and dropout.",
            "KeyError": 'it is asked for "XXS", "XS" and "S", in capital letters: each needs its plan.',
        },
        forbidden=("mobilevit_xxs", "mobilevit_xs", "mobilevit_s", "load_weights"),
    ),
    "07.5": Exercise(
        checker=check_rename_layer,
        notice="Not a number was computed: two libraries own the same layer, under other names.",
        hints=(
            "Make a new dictionary. Five of the modules only change their name; query, key and value have\n"
            "to become one. Every module has a weight and a bias.",
            "For the five: a dictionary from their name to ours, and two loops, over it and over\n"
            '("weight", "bias"). For the three: torch.cat([q, k, v]) puts rows below rows.',
            'names = {"layernorm_before": "norm1", "attention.output.dense": ..., ...}\nrenamed = {}\n'
            'for end in ("weight", "bias"):\n    for theirs, ours in names.items():\n'
            '        renamed[f"{ours}.{end}"] = state[f"{theirs}.{end}"]\n'
            '    parts = [state[f"attention.attention.{part}.{end}"] for part in (...)]\n'
            '    renamed[f"attention.qkv.{end}"] = ...\nreturn renamed',
        ),
        solution=("s07_the_whole_network.py", "rename_layer"),
        symptoms={
            "dictionary changed size during iteration": "a loop over a dictionary does not allow adding to "
            "it: write into a new one.",
            "dictionary keys changed during iteration": "write into a new dictionary, not into `state`.",
            "Sizes of tensors must match": "cat along axis 0 wants equal numbers of columns: did you mix "
            "weights with biases, or with another module?",
            "must have same number of dimensions": "weights have two axes, biases one: join like with like.",
            "KeyError": "there is no such name in the state. print(list(state)) shows those there are.",
        },
        forbidden=("convert_state_dict", "mvit_lib"),
    ),
}
