"""Plausible wrong answers to 07.1 and 07.5, each with the message that must refuse it."""

from dataclasses import replace

import torch

import mvit_lib.mobilevit
from mvit_lib import MobileViTConfig, mobilevit_s, mobilevit_xs, mobilevit_xxs
from mvit_lib.layouts import convert_state_dict
from mvit_lib.mobilevit import XS, XXS, S

# 07.1

WIDTHS = {
    "XXS": ((16, 16, 24, 48, 64, 80), (64, 80, 96)),
    "XS": ((16, 32, 48, 64, 80, 96), (96, 120, 144)),
    "S": ((16, 32, 64, 96, 128, 160), (144, 192, 240)),
}


def _configuration(name, **changes):
    channels, dims = WIDTHS[name]
    small = {"expansion": 2, "dropout": 0.05} if name == "XXS" else {}
    return MobileViTConfig(**{"channels": channels, "dims": dims} | small | changes)


def always_s(name):
    return MobileViTConfig()


def columns_swapped(name):
    return _configuration({"XXS": "XS", "XS": "XXS", "S": "S"}[name])


def widens_by_four(name):
    return _configuration(name, expansion=4)


def one_dropout(name):
    return _configuration(name, dropout=0.1)


def depths_in_another_order(name):
    return _configuration(name, depths=(2, 3, 4))


def channels_as_dims(name):
    return _configuration(name, dims=WIDTHS[name][0][3:])


def a_misread_width(name):
    channels = WIDTHS[name][0]
    return _configuration(name, channels=(*channels[:5], channels[5] + 16))


def with_the_expansion(name):
    channels = WIDTHS[name][0]
    return _configuration(name, channels=(*channels, 4 * channels[-1]))


def only_the_blocks(name):
    return _configuration(name, channels=WIDTHS[name][0][3:])


def a_list(name):
    return _configuration(name, channels=list(WIDTHS[name][0]))


def a_dictionary(name):
    return {"channels": WIDTHS[name][0]}


def ten_classes(name):
    return replace(_configuration(name), num_classes=10)


def patches_of_eight(name):
    return _configuration(name, patch_sizes=(8, 4, 2))


def only_one_size(name):
    return {"xxs": _configuration("XXS"), "xs": _configuration("XS"), "s": _configuration("S")}[name]


def the_imported_plans(name):
    return {"XXS": XXS, "XS": XS, "S": S}[name]


def the_plans_by_name(name):
    return getattr(mvit_lib.mobilevit, name)


def asks_the_network(name):
    return {"XXS": mobilevit_xxs, "XS": mobilevit_xs, "S": mobilevit_s}[name]().config


# 07.5

NAMES = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attention.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


def _rename(state, names=NAMES, parts=("query", "key", "value"), join=torch.cat, ends=("weight", "bias")):
    renamed = {}
    for end in ends:
        renamed |= {f"{ours}.{end}": state[f"{theirs}.{end}"] for theirs, ours in names.items()}
        renamed[f"attention.qkv.{end}"] = join([state[f"attention.attention.{p}.{end}"] for p in parts])
    return renamed


def replaces_pieces(state):
    renamed = _rename(state)
    for end in ("weight", "bias"):
        renamed[f"attention.mlp.fc2.{end}"] = renamed.pop(f"attention.proj.{end}")
    return renamed


def key_first(state):
    return _rename(state, parts=("key", "query", "value"))


def value_in_the_middle(state):
    return _rename(state, parts=("query", "value", "key"))


def side_by_side(state):
    return _rename(state, join=lambda parts: torch.cat(parts, dim=-1))


def stacked(state):
    return _rename(state, join=torch.stack)


def head_by_head(state):
    def join(parts):
        D = len(parts[0])
        return torch.stack([part.unflatten(0, (2, D // 2)) for part in parts], 1).flatten(0, 2)

    return _rename(state, join=join)


def left_apart(state):
    renamed = _rename(state)
    for end in ("weight", "bias"):
        del renamed[f"attention.qkv.{end}"]
        for part in ("query", "key", "value"):
            renamed[f"attention.{part}.{end}"] = state[f"attention.attention.{part}.{end}"]
    return renamed


def only_weights(state):
    return _rename(state, ends=("weight",))


def norms_swapped(state):
    return _rename(state, NAMES | {"layernorm_before": "norm2", "layernorm_after": "norm1"})


def fc_swapped(state):
    return _rename(state, NAMES | {"intermediate.dense": "mlp.fc2", "output.dense": "mlp.fc1"})


def transposed(state):
    renamed = _rename(state)
    return renamed | {"attention.proj.weight": renamed["attention.proj.weight"].T}


def half_done(state):
    renamed = _rename(state)
    for end in ("weight", "bias"):
        renamed[f"layernorm_after.{end}"] = renamed.pop(f"norm2.{end}")
    return renamed


def empties_the_state(state):
    renamed = _rename(state)
    state.clear()
    return renamed


def rewrites_in_a_loop(state):
    for name in state:
        state[name.replace("layernorm_before", "norm1")] = state.pop(name)
    return state


def only_64_rows(state):
    return {name: tensor[:64] for name, tensor in _rename(state).items()}


def passes_it_on(state):
    return dict(state)


def in_half_precision(state):
    return {name: tensor.float() for name, tensor in _rename(state).items()}


def returns_nothing(state):
    _rename(state)


def uses_the_converter(state):
    prefix = "mobilevit.encoder.layer.2.transformer.layer.0."
    found = convert_state_dict({f"{prefix}{name}": tensor for name, tensor in state.items()}, "hf")
    return {name.removeprefix("layer_3.1.transformer.0."): tensor for name, tensor in found.items()}


MUTANTS = {
    "07.1": {
        always_s: "did you forget to look at `name`",
        columns_swapped: "Did you read the column of XS",
        widens_by_four: "in XXS by 2",
        one_dropout: "in XXS 0.05",
        depths_in_another_order: "The right numbers in another order",
        channels_as_dims: "Did you take the channels C for the width D",
        a_misread_width: "channels[5], for layer_5, is 96; the table says otherwise",
        with_the_expansion: "What `expand` makes",
        only_the_blocks: "channels are the stem's and those of",
        a_list: "this is a list",
        a_dictionary: "expected a MobileViTConfig, got dict",
        ten_classes: "there are 1,000 classes",
        patches_of_eight: "the rules say: patches are 2 × 2",
        only_one_size: "in capital letters",
        the_imported_plans: "the library's own plan",
        the_plans_by_name: "the library's own plan",
        asks_the_network: "do what you are to build",
    },
    "07.5": {
        replaces_pieces: "did you replace the short name first",
        key_first: "The order is q, k, v",
        value_in_the_middle: "The order is q, k, v",
        side_by_side: "torch.cat along axis 0",
        stacked: "torch.cat along axis 0",
        head_by_head: "not head by head",
        left_apart: "query, key and value become one tensor",
        only_weights: "Did you forget the biases",
        norms_swapped: "Did you swap layernorm_before.weight and layernorm_after.weight?",
        fc_swapped: "swap fc1 and fc2",
        transposed: "did you transpose or turn it",
        half_done: "Did you leave some names as they were",
        empties_the_state: "changes the dictionary it is given",
        rewrites_in_a_loop: "write into",
        only_64_rows: "right for D = 4, but not for D = 96",
        passes_it_on: " and 9 more.",
        in_half_precision: "given float64 your function returns another type",
        returns_nothing: "did you forget `return`?",
        uses_the_converter: "what you are to build",
    },
}
