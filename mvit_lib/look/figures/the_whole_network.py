"""Pictures of notebook 07: the network at a glance, where its cost lies, who meets whom, all its shapes."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from mvit_lib.cost import Cost
from mvit_lib.look.style import ACCENT, INK, POSITION_COLOURS, bare
from mvit_lib.mobilevit import MobileViT, MobileViTConfig
from mvit_lib.patches import Pair, as_pair, patchify, unfold_patches

CONVOLUTIONS, BLOCKS = "#7d72d6", ACCENT
NETWORK_COLOURS = {"DeiT-Ti": INK, "XXS": "#7d72d6", "XS": "#0f93a8", "S": ACCENT}
STAGES = ("stem", "layer_1", "layer_2", "layer_3", "layer_4", "layer_5", "expand")
HAS_BLOCK = STAGES[3:6]


def maps_of(config: MobileViTConfig, side: int) -> dict[str, tuple[int, int]]:
    """(channels, side) of the map that leaves each stage, for a square image."""
    strides = (2, 2, 4, *(min(stride, config.output_stride) for stride in (8, 16, 32, 32)))
    channels = (*config.channels, min(4 * config.channels[-1], 960))
    triples = zip(STAGES, channels, strides, strict=True)
    return {stage: (C, -(-side // stride)) for stage, C, stride in triples}


def fig_architecture(
    configs: Mapping[str, MobileViTConfig], side: int = 256
) -> tuple[Figure, dict[str, dict[str, tuple[int, int]]]]:
    """The stages as slabs: height the root of the map's side, thickness that of the last config's channels.

    data: name -> stage -> (channels, side of the map).
    """
    data = {name: maps_of(config, side) for name, config in configs.items()}
    drawn = list(data.values())[-1]
    fig, ax = plt.subplots(figsize=(8, 4.6))
    fig.subplots_adjust(left=0.01, right=0.995, top=0.98, bottom=0.01)
    bare(ax)
    for x, (stage, (C, size)) in enumerate(drawn.items()):
        height, width = 2.4 * (size / 128) ** 0.5, 0.78 * (C / 640) ** 0.5
        colour = BLOCKS if stage in HAS_BLOCK else CONVOLUTIONS
        ax.add_patch(Rectangle((x - width / 2, -height / 2), width, height, color=colour, alpha=0.85, lw=0))
        ax.text(x, 1.62, stage, ha="center", fontweight="bold")
        ax.text(x, 1.34, f"{size} × {size}", ha="center", fontsize=9)
    for row, (name, config) in enumerate(configs.items()):
        y = -2.02 - 0.42 * row
        ax.text(-0.72, y, name, ha="right", va="center", fontweight="bold")
        for x, (stage, (C, _)) in enumerate(data[name].items()):
            D = f", D {config.dims[x - 3]}" if stage in HAS_BLOCK else ""
            ax.text(x, y, f"{C}{D}", ha="center", va="center", fontsize=9.5)
    blocks = [f"MV2, block\nL = {L}" for L in list(configs.values())[-1].depths]
    for x, parts in enumerate(("conv 3 × 3", "MV2", "3 × MV2", *blocks, "conv 1 × 1")):
        ax.text(x, -1.46, parts, ha="center", va="center", fontsize=9, color=BLOCKS if "L" in parts else INK)
    ax.set_xlim(-1.25, 6.6)
    ax.set_ylim(-3.15, 1.9)
    return fig, data


def fig_stages(costs: Mapping[str, Cost]) -> tuple[Figure, dict[str, tuple[float, float]]]:
    """Each stage's share of the parameters, to the left, and of the MACs, to the right.

    data: stage -> (share of the parameters, share of the MACs).
    """
    total = sum(costs.values(), Cost())
    shares = {name: (c.parameters / total.parameters, c.macs / total.macs) for name, c in costs.items()}
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
    fig.subplots_adjust(left=0.02, right=0.98, top=0.88, bottom=0.02, wspace=0.24)
    for side, (ax, title) in enumerate(((left, "share of the parameters"), (right, "share of the MACs"))):
        values = [pair[side] for pair in shares.values()]
        colours = [BLOCKS if name in HAS_BLOCK else CONVOLUTIONS for name in shares]
        bare(ax).barh(range(len(values)), values, color=colours, height=0.7)
        ax.invert_yaxis()
        ax.set_title(title)
        ax.set_xlim(*((0.52, 0) if side == 0 else (0, 0.52)))
        for y, value in enumerate(values):
            offset, align = ((-5, 0), "right") if side == 0 else ((5, 0), "left")
            text = f"{value:.0%}" if value >= 0.005 else "< 1%"
            ax.annotate(text, (value, y), offset, textcoords="offset points", va="center", ha=align)
    for y, name in enumerate(shares):
        left.text(-0.062, y, name, va="center", ha="center")  # between the two
    return fig, shares


def meetings(size: tuple[int, int], patch: Pair) -> dict[str, Tensor]:
    """Which tokens meet in a product QKᵀ, [tokens, tokens], for the pixels of a map of `size`.

    In the middle one a number tells the place inside the patch, counted from 1; 0 is no meeting.
    """
    H, W = size
    pixels = torch.arange(H * W).reshape(1, 1, H, W)
    places = torch.zeros(H * W, H * W, dtype=torch.int64)
    for p, tokens in enumerate(unfold_patches(pixels, as_pair(patch, "patch"))[0, :, :, 0], start=1):
        places[tokens[:, None], tokens] = p
    N = patchify(pixels, as_pair(patch, "patch")).shape[1]
    return {
        "all pixels": torch.ones(H * W, H * W, dtype=torch.int64),
        "MobileViT": places,
        "ViT": torch.ones(N, N, dtype=torch.int64),
    }


def fig_meetings(size: tuple[int, int] = (4, 4), patch: Pair = 2) -> tuple[Figure, dict[str, Tensor]]:
    """The scores that attention computes: among all pixels, in a MobileViT block, in a ViT of equal N.

    data: the three matrices of `meetings`.
    """
    data = meetings(size, patch)
    fig, axes = plt.subplots(1, 3, figsize=(8, 3.1))
    fig.subplots_adjust(left=0.01, right=0.99, top=0.86, bottom=0.1, wspace=0.06)
    side = len(data["all pixels"])
    for ax, (name, matrix) in zip(axes, data.items(), strict=True):
        tokens, count = len(matrix), int((matrix > 0).sum())
        colours = POSITION_COLOURS if name == "MobileViT" else (CONVOLUTIONS,)
        picture = matrix.double().masked_fill(matrix == 0, torch.nan).numpy()
        a, b = (side - tokens) / 2, (side + tokens) / 2  # the small one stands in the middle
        bare(ax).imshow(picture, cmap=ListedColormap(colours), extent=(a, b, b, a))
        at, lines = np.linspace(a, b, tokens + 1), {"color": INK, "lw": 0.4}
        ax.hlines(at, a, b, **lines)
        ax.vlines(at, a, b, **lines)
        ax.set_title(f"{name}: {count} scores")
        ax.set_xlim(-0.3, side + 0.3)
        ax.set_ylim(side + 0.3, -0.3)
        kind = "patches" if name == "ViT" else "pixels"
        ax.text(side / 2, b + 0.4, f"{tokens} {kind}", ha="center", va="top", fontsize=9)
    return fig, data


def fig_against_vit(
    gmacs: Mapping[str, Sequence[float]],
    ratios: Mapping[str, Sequence[Sequence[float]]],
    sides: Sequence[int],
) -> tuple[Figure, dict[str, dict[str, np.ndarray]]]:
    """MACs (left) and DeiT-Ti's time over theirs (right) against the image's side, all axes logarithmic.

    ratios: network -> by side (middle, low, high); a band goes from low to high.
    data: "MACs" -> network -> [side]; "ratio" -> network -> [side, 3].
    """
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.6))
    fig.subplots_adjust(left=0.075, right=0.93, top=0.9, bottom=0.14, wspace=0.42)
    data = {"MACs": gmacs, "ratio": ratios}
    data = {kind: {name: np.array(v) for name, v in lines.items()} for kind, lines in data.items()}
    for name, values in data["MACs"].items():
        style = "--o" if "DeiT" in name else "-o"
        axes[0].plot(sides, values, style, ms=4, color=NETWORK_COLOURS[name])
    for name, values in data["ratio"].items():
        axes[1].plot(sides, values[:, 0], "-o", ms=4, color=NETWORK_COLOURS[name])
        axes[1].fill_between(sides, values[:, 1], values[:, 2], color=NETWORK_COLOURS[name], alpha=0.25, lw=0)
    axes[1].plot((sides[0], sides[-1]), (1, 1), "--", color=NETWORK_COLOURS["DeiT-Ti"])
    for ax, ticks in zip(axes, ((0.01, 0.1, 1, 10, 100), (0.5, 0.7, 1, 1.5, 2, 3)), strict=True):
        ax.set_xscale("log")
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        inside = [tick for tick in ticks if low < tick < high]
        ax.set_xticks(sides, labels=[str(side) for side in sides])
        ax.set_yticks(inside, labels=[f"{tick:g}" for tick in inside])
        ax.minorticks_off()
        ax.set_xlabel("side of the image in pixels")
    axes[0].set_title("billion MACs, counted")
    axes[1].set_title("DeiT-Ti's time over theirs")
    _label_ends(axes[0], sides[-1], {name: values[-1] for name, values in data["MACs"].items()})
    _label_ends(axes[1], sides[-1], {"DeiT-Ti": 1} | {n: v[-1, 0] for n, v in data["ratio"].items()})
    return fig, data


def _label_ends(ax: Axes, x: float, ends: Mapping[str, float]) -> None:
    """Names behind the last points; two that would touch move apart, each by half of what is missing."""
    low, high = np.log(ax.get_ylim())
    names = sorted(ends, key=lambda name: ends[name])
    heights = np.log([ends[name] for name in names])
    for _ in range(50):
        missing = np.maximum(0.06 * (high - low) - np.diff(heights), 0) / 2
        heights[:-1] -= missing
        heights[1:] += missing
    for name, height in zip(names, heights, strict=True):
        ax.annotate(name, (x, np.exp(height)), (7, 0), textcoords="offset points", va="center",
                    color=NETWORK_COLOURS[name], annotation_clip=False)  # fmt: skip


# The shape trace


def trace(model: MobileViT, image: Tensor, inside: str = "layer_3") -> dict[str, Tensor]:
    """Every tensor on the way from image to logits, in order; the block of one stage part by part."""
    found: dict[str, Tensor] = {"photo": image}
    handles = []

    def keep(name: str, module: nn.Module) -> None:
        handles.append(module.register_forward_hook(lambda m, i, out: found.update({name: out.detach()})))

    for stage in STAGES[:6]:
        module = getattr(model, stage)
        if stage == inside:
            keep(f"{stage}.0", module[0])
            for part in ("local_conv", "local_project", "transformer", "norm", "project", "fusion"):
                keep(part, getattr(module[1], part))
        else:
            keep(stage, module)
    keep("expand", model.expand)
    keep("classifier", model.classifier)
    try:
        with torch.no_grad():
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    return _with_moves(found, getattr(model, inside)[1].patch_size)


def _with_moves(found: dict[str, Tensor], patch: tuple[int, int]) -> dict[str, Tensor]:
    """The same with what no module makes: the unfolded tokens, the two maps side by side, the mean."""
    ordered: dict[str, Tensor] = {}
    before = next(name for name in found if name.endswith(".0"))
    for name, tensor in found.items():
        if name == "fusion":
            ordered["x and y"] = torch.cat([found[before], found["project"]], dim=1)  # [B, 2C, H, W]
        if name not in ("norm", "classifier"):
            ordered[name] = tensor
        if name == "local_project":
            ordered["unfold"] = unfold_patches(tensor, patch)  # [B, P, N, D]
        if name == "norm":
            ordered["transformer"] = tensor.view(ordered["unfold"].shape)  # [B, P, N, D]
        if name == "expand":
            ordered["mean"] = tensor.mean((2, 3))  # [B, C]
            ordered["logits"] = found["classifier"]
    return ordered


def fig_shape_trace(model: MobileViT, image: Tensor, columns: int = 6) -> tuple[Figure, dict[str, Tensor]]:
    """One image through the whole network: every tensor's shape, and a thumbnail of what it holds.

    A map shows the channel that varies most, "x and y" one of x beside one of y; tokens show one sequence
    per in-patch place, a row per token; vectors are bars.
    data: name -> the whole tensor, in forward order.
    """
    data = trace(model, image)
    rows = -(-len(data) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(8, 1.86 * rows))
    fig.subplots_adjust(left=0.01, right=0.99, top=0.93, bottom=0.01, wspace=0.12, hspace=0.42)
    for ax in axes.flat:
        bare(ax)
    for ax, (name, tensor) in zip(axes.flat, data.items(), strict=False):
        x_and_y = tensor.chunk(2, dim=1) if name == "x and y" else (tensor,)
        _thumbnail(ax, *x_and_y)
        shape = " × ".join(str(n) for n in tensor.shape[1:])
        title = "project: y" if name == "project" else name
        ax.set_title(f"{title}\n{shape}", fontsize=9, color=BLOCKS if _is_inside(name) else INK)
    return fig, data


def _is_inside(name: str) -> bool:
    return name in ("local_conv", "local_project", "unfold", "transformer", "project", "x and y", "fusion")


def _thumbnail(ax: Axes, tensor: Tensor, *beside: Tensor) -> None:
    if tensor.dim() == 2:  # a vector
        numbers = tensor[0].numpy()
        ax.fill_between(range(len(numbers)), numbers, step="mid", color=CONVOLUTIONS, lw=0)
        ax.set_box_aspect(1)
    elif tensor.shape[1] == 3:
        ax.imshow(tensor[0].permute(1, 2, 0).clamp(0, 1).numpy())
    elif tensor.shape[2] > 4 * tensor.shape[1] and tensor.shape[1] <= 4:  # [B, P, N, D]
        gap = torch.full((tensor.shape[1], tensor.shape[2], 12), torch.nan)
        table = torch.cat([tensor[0], gap], dim=2)  # [P, N, D + gap]
        ax.imshow(table.permute(1, 0, 2).flatten(1)[:, :-12].numpy(), aspect="auto")
    else:
        maps = [_liveliest(maps[0]) for maps in (tensor, *beside)]
        gap = torch.full((len(maps[0]), 2), torch.nan)
        line = [part for one in maps for part in (gap, one)][1:]
        ax.imshow(torch.cat(line, dim=1).numpy(), vmin=0, vmax=1)


def _liveliest(maps: Tensor) -> Tensor:
    """The channel that varies most, [C, H, W] -> [H, W], its inner pixels from 0 to 1."""
    inner = maps[:, 1:-1, 1:-1] if min(maps.shape[1:]) > 2 else maps  # the border answers to padding
    best = inner.flatten(1).var(dim=1, correction=0).argmax()
    low, high = inner[best].min(), inner[best].max()
    return (maps[best] - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)
