"""How transformers, timm and the official code name the tensors of the same network.

The functions are identical, so a checkpoint of one is a checkpoint of all after renaming.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]

# Names. One row per module: ours, transformers', timm's, the official code's (cvnets).
# {k} is the stage 1 … 5, {s} = k − 1, {j} the block of layer_1 and layer_2, {i} the transformer layer,
# {L} the number of transformer layers of the stage.

COLUMNS = ("mvit", "hf", "timm", "cvnets")
BGR_LAYOUTS = ("hf", "cvnets")
CONV_NORM = (
    ("conv", "convolution", "conv", "block.conv"),
    ("norm", "normalization", "bn", "block.norm"),
)
INVERTED_RESIDUAL = (
    ("expand", "expand_1x1", "conv1_1x1", "exp_1x1"),
    ("depthwise", "conv_3x3", "conv2_kxk", "conv_3x3"),
    ("project", "reduce_1x1", "conv3_1x1", "red_1x1"),
)
ENDS = (
    ("stem", "mobilevit.conv_stem", "stem", "conv_1"),
    ("expand", "mobilevit.conv_1x1_exp", "final_conv", "conv_1x1_exp"),
)
EARLY = (
    "layer_{k}.{j}",
    "mobilevit.encoder.layer.{s}.layer.{j}",
    "stages.{s}.{j}",
    "layer_{k}.{j}.block",
)
SHRINKING = (
    "layer_{k}.0",
    "mobilevit.encoder.layer.{s}.downsampling_layer",
    "stages.{s}.0",
    "layer_{k}.0.block",
)
BLOCK = ("layer_{k}.1", "mobilevit.encoder.layer.{s}", "stages.{s}.1", "layer_{k}.1")
BLOCK_CONVS = (
    ("local_conv", "conv_kxk", "conv_kxk", "local_rep.conv_3x3"),
    ("project", "conv_projection", "conv_proj", "conv_proj"),
    ("fusion", "fusion", "conv_fusion", "fusion"),
)
BLOCK_PLAIN = (
    ("local_project", "conv_1x1.convolution", "conv_1x1", "local_rep.conv_1x1.block.conv"),
    ("norm", "layernorm", "norm", "global_rep.{L}"),
)
LAYER = ("transformer.{i}", "transformer.layer.{i}", "transformer.{i}", "global_rep.{i}")
LAYER_PARTS = (
    ("norm1", "layernorm_before", "norm1", "pre_norm_mha.0"),
    ("attention.qkv", "attention.attention.qkv", "attn.qkv", "pre_norm_mha.1.qkv_proj"),
    ("attention.proj", "attention.output.dense", "attn.proj", "pre_norm_mha.1.out_proj"),
    ("norm2", "layernorm_after", "norm2", "pre_norm_ffn.0"),
    ("mlp.fc1", "intermediate.dense", "mlp.fc1", "pre_norm_ffn.1"),
    ("mlp.fc2", "output.dense", "mlp.fc2", "pre_norm_ffn.4"),
)
STEM = dict(zip(COLUMNS, (f"{ENDS[0][c]}.{CONV_NORM[0][c]}" for c in range(4)), strict=True))
CLASSIFIER = ("classifier", "classifier", "head.fc", "classifier.fc")
# DeepLabV3, which timm does not have: what the names of the backbone begin with, and the head's names.
DEEPLAB_BACKBONE = {"mvit": "backbone.", "hf": "", "cvnets": "encoder."}
DEEPLAB_HEAD = {"mvit": "", "hf": "segmentation_head.", "cvnets": "seg_head."}
ASPP = (
    *((f"aspp.convs.{i}", f"aspp.convs.{i}", None, f"aspp.aspp_layer.convs.{i}") for i in range(4)),
    ("aspp.pool", "aspp.convs.4.conv_1x1", None, "aspp.aspp_layer.convs.4.aspp_pool.conv_1x1"),
    ("aspp.project", "aspp.project", None, "aspp.aspp_layer.project"),
)
DEEPLAB_CLASSIFIER = ("classifier", "classifier.convolution", None, "classifier.classifier.block.conv")
VIT_HF = {
    "class_token": "vit.embeddings.cls_token",
    "positions": "vit.embeddings.position_embeddings",
    "patch_embedding": "vit.embeddings.patch_embeddings.projection",
    "norm": "vit.layernorm",
    "classifier": "classifier",
}
VIT_STEM = {"mvit": "patch_embedding", "hf": VIT_HF["patch_embedding"]}
VIT_HF_LAYER = {
    "norm1": "layernorm_before",
    "attention.qkv": "attention.qkv",
    "attention.proj": "attention.o_proj",
    "norm2": "layernorm_after",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


# transformers keeps query, key and value apart: the name of the fused one, and of its three parts.
HF_QKV = {
    "attention.attention.qkv.": tuple(f"attention.attention.{p}." for p in ("query", "key", "value")),
    "attention.qkv.": tuple(f"attention.{p}_proj." for p in "qkv"),
}
# The names in files of a ViT -> those of the network in memory (transformers 5).
VIT_FILE_NAMES = {
    "vit.encoder.layer.": "vit.layers.",
    ".attention.attention.query.": ".attention.q_proj.",
    ".attention.attention.key.": ".attention.k_proj.",
    ".attention.attention.value.": ".attention.v_proj.",
    ".attention.output.dense.": ".attention.o_proj.",
    ".intermediate.dense.": ".mlp.fc1.",
    ".output.dense.": ".mlp.fc2.",
}


def convert_state_dict(
    state: State, source: str, target: str = "mvit", flip_stem: bool | None = None
) -> dict[str, Tensor]:
    """Rename the tensors of a MobileViT between libraries; exact, both ways.

    So it does for a DeepLabV3 on MobileViT ("mvit", "hf" and "cvnets") and for a ViT ("mvit" and "hf").
    source, target: "mvit", "hf" (transformers), "timm" or "cvnets" (the official code). The result
    shares no memory with `state`.
    flip_stem: turn the colour order of the first convolution. By default it is turned between mvit or
    timm, which take RGB, and hf or cvnets, whose weights take BGR. A ViT is RGB everywhere.
    Raises: ValueError if a layout is unknown, does not have this network, or tensors have names that
    the source does not use.
    """
    for layout in (source, target):
        if layout not in COLUMNS:
            raise ValueError(f"unknown layout {layout!r}: expected one of {COLUMNS}")
    is_vit = any(name.startswith(("vit.", "patch_embedding.")) for name in state)
    if source == "hf":
        state = _fuse_qkv(_vit_memory_names(state) if is_vit else state)
    is_deeplab = any("aspp." in name for name in state)
    find_names = _vit_names if is_vit else _deeplab_names if is_deeplab else _mobilevit_names
    table = find_names(state, source, target)
    renamed, unknown = {}, []
    for name, tensor in state.items():
        module, _, suffix = name.rpartition(".")
        copy = tensor.detach().clone(memory_format=torch.contiguous_format)
        if name in table:
            renamed[table[name]] = copy
        elif module in table:
            renamed[f"{table[module]}.{suffix}"] = copy
        else:
            unknown.append(name)
    if unknown:
        shown = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        raise ValueError(f"{len(unknown)} tensors are not named as in {source!r}: {shown}")
    if flip_stem is None:
        flip_stem = not is_vit and (source in BGR_LAYOUTS) != (target in BGR_LAYOUTS)
    stem = (VIT_STEM if is_vit else STEM)[target] + ".weight"
    stem = DEEPLAB_BACKBONE[target] + stem if is_deeplab else stem
    if flip_stem and stem in renamed:
        renamed[stem] = renamed[stem].flip(1)  # [C, 3, K, K]
    return _split_qkv(renamed, is_vit) if target == "hf" else renamed


def detect_layout(state: State, source: str = "this state") -> str:
    """The layout whose names a MobileViT or DeepLabV3 state uses; ValueError if it is none of the four."""
    norms = dict(zip(COLUMNS, (f"{ENDS[0][c]}.{CONV_NORM[1][c]}.weight" for c in range(4)), strict=True))
    found = [k for k, name in norms.items() if {name, DEEPLAB_BACKBONE.get(k, "") + name} & state.keys()]
    if not found:
        raise ValueError(f"{source} is no MobileViT: none of {list(norms.values())} is in it")
    return found[0]


def _mobilevit_names(state: State, source: str, target: str) -> dict[str, str]:
    """Module name in `source` -> module name in `target`."""
    a, b = COLUMNS.index(source), COLUMNS.index(target)
    names: dict[str, str] = {}

    def add(*rows: tuple[str, ...], **numbers: int) -> None:
        """Join the rows with dots, column by column, and fill in the numbers."""
        old, new = (".".join(row[column] for row in rows).format(**numbers) for column in (a, b))
        names[old] = new

    def add_conv_norm(*rows: tuple[str, ...], **numbers: int) -> None:
        for half in CONV_NORM:
            add(*rows, half, **numbers)

    for row in ENDS:
        add_conv_norm(row)
    add(CLASSIFIER)
    for part in INVERTED_RESIDUAL:
        for k, j in ((1, 0), (2, 0), (2, 1), (2, 2)):
            add_conv_norm(EARLY, part, k=k, s=k - 1, j=j)
        for k in (3, 4, 5):
            add_conv_norm(SHRINKING, part, k=k, s=k - 1)
    for k in (3, 4, 5):
        first_norm = ".".join(row[a] for row in (BLOCK, LAYER, LAYER_PARTS[0])) + ".weight"
        L = 0
        while first_norm.format(k=k, s=k - 1, i=L) in state:
            L += 1
        for row in BLOCK_CONVS:
            add_conv_norm(BLOCK, row, k=k, s=k - 1)
        for row in BLOCK_PLAIN:
            add(BLOCK, row, k=k, s=k - 1, L=L)
        for i in range(L):
            for part in LAYER_PARTS:
                add(BLOCK, LAYER, part, k=k, s=k - 1, i=i)
    return names


def _deeplab_names(state: State, source: str, target: str) -> dict[str, str]:
    """Module name of a DeepLabV3 in `source` -> in `target`, for "mvit", "hf" and "cvnets"."""
    if "timm" in (source, target):
        raise ValueError("timm has no DeepLabV3: expected 'mvit', 'hf' and 'cvnets'")
    before = [(DEEPLAB_BACKBONE[layout], DEEPLAB_HEAD[layout]) for layout in (source, target)]
    (old_backbone, old_head), (new_backbone, new_head) = before
    backbone = {name.removeprefix(old_backbone): tensor for name, tensor in state.items()}
    table = _mobilevit_names(backbone, source, target)
    names = {old_backbone + old: new_backbone + new for old, new in table.items()}
    a, b = COLUMNS.index(source), COLUMNS.index(target)
    for row in ASPP:
        for half in CONV_NORM:
            names[f"{old_head}{row[a]}.{half[a]}"] = f"{new_head}{row[b]}.{half[b]}"
    names[old_head + DEEPLAB_CLASSIFIER[a]] = new_head + DEEPLAB_CLASSIFIER[b]
    return names


def _vit_names(state: State, source: str, target: str) -> dict[str, str]:
    """Module or parameter name of a ViT in `source` -> in `target`, for "hf" and "mvit"."""
    if not {source, target} <= {"hf", "mvit"}:
        raise ValueError(f"a ViT converts between 'hf' and 'mvit', not {source!r} and {target!r}")
    names = dict(VIT_HF)
    for i in range(sum(name.endswith("norm1.weight") or "layernorm_before.w" in name for name in state)):
        for ours, theirs in VIT_HF_LAYER.items():
            names[f"transformer.{i}.{ours}"] = f"vit.layers.{i}.{theirs}"
    columns = [list(names) if layout == "mvit" else list(names.values()) for layout in (source, target)]
    return dict(zip(*columns, strict=True))


def _vit_memory_names(state: State) -> dict[str, Tensor]:
    """The names that transformers writes to files, turned into those it has in memory."""
    renamed = {}
    for name, tensor in state.items():
        for old, new in VIT_FILE_NAMES.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed


def _fuse_qkv(state: State) -> dict[str, Tensor]:
    """Stack transformers' separate query, key and value into one qkv."""
    fused = {}
    for name, tensor in state.items():
        found = ((qkv, parts) for qkv, parts in HF_QKV.items() if any(part in name for part in parts))
        qkv, parts = next(found, (None, ()))
        if qkv is None:
            fused[name] = tensor
            continue
        stem, suffix = name.split(next(part for part in parts if part in name))
        names = [f"{stem}{part}{suffix}" for part in parts]
        absent = [part for part in names if part not in state]
        if absent:
            raise ValueError(f"{', '.join(absent)} is missing beside {name}")
        fused[f"{stem}{qkv}{suffix}"] = torch.cat([state[part] for part in names])  # [3D, D] or [3D]
    return fused


def _split_qkv(state: State, is_vit: bool) -> dict[str, Tensor]:
    """Cut every qkv into the query, key and value that transformers keeps apart."""
    qkv, parts = list(HF_QKV.items())[1 if is_vit else 0]
    split = {}
    for name, tensor in state.items():
        if qkv not in name:
            split[name] = tensor
            continue
        stem, suffix = name.split(qkv)
        for part, piece in zip(parts, tensor.chunk(3), strict=True):
            split[f"{stem}{part}{suffix}"] = piece.clone()  # [D, D] or [D]
    return split
