"""Pictures of notebook 03: patches as rows, the crossing, what training gave."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mvit_lib.cost import transformer_layer_cost, vit_attention_macs
from mvit_lib.look.style import ACCENT, INK, bare, ring
from mvit_lib.patches import Pair, as_pair, patchify

LINEAR, ATTENTION = "#7d72d6", ACCENT
HALO = [patheffects.withStroke(linewidth=4.5, foreground="white")]


def _as_picture(image: Tensor) -> np.ndarray:
    """[3, H, W] in [0, 1] -> [H, W, 3]."""
    return image.detach().permute(1, 2, 0).clamp(0, 1).numpy()


def fig_patches(
    image: Tensor, patch_size: Pair, marked: Sequence[int] = (0, 17, 31)
) -> tuple[Figure, dict[str, Tensor]]:
    """The photo cut into patches, and some rows of the table [N, P·C] in which every patch is a row.

    image [1, 3, H, W] in [0, 1]; marked: patches, in rising order, that are framed on the left and
    whose rows are drawn on the right.
    data: "rows", the table; "corners", int [len(marked), 2], top and left pixel of each marked patch.
    """
    ph, pw = as_pair(patch_size, "patch_size")
    rows = patchify(image, (ph, pw))[0]  # [N, P·C]
    H, W = image.shape[-2:]
    corners = torch.tensor([(n // (W // pw) * ph, n % (W // pw) * pw) for n in marked])
    fig = plt.figure(figsize=(8, 3.5))
    grid = fig.add_gridspec(
        len(marked),
        2,
        width_ratios=(1, 1.25),
        left=0.01,
        right=0.99,
        top=0.9,
        bottom=0.1,
        wspace=0.14,
        hspace=0.5,
    )
    left = bare(fig.add_subplot(grid[:, 0]))
    left.imshow(_as_picture(image[0]), extent=(0, W, H, 0))
    left.hlines(range(0, H + 1, ph), 0, W, color="white", lw=1)
    left.vlines(range(0, W + 1, pw), 0, H, color="white", lw=1)
    left.set_title(f"{H // ph} × {W // pw} patches")
    for line, (n, (top, start)) in enumerate(zip(marked, corners.tolist(), strict=True)):
        frame = {"fill": False, "ec": ACCENT, "lw": 2.5, "clip_on": False, "path_effects": HALO, "zorder": 5}
        left.add_patch(Rectangle((start, top), pw, ph, **frame))
        left.text(start + 3, top + 3, n, color="white", va="top", fontsize=9, fontweight="bold",
                  bbox={"fc": "black", "ec": "none", "alpha": 0.6, "pad": 1.5})  # fmt: skip
        strip = bare(fig.add_subplot(grid[line, 1]))
        strip.imshow(rows[n : n + 1].numpy(), aspect="auto", vmin=0, vmax=1, interpolation="antialiased")
        strip.set_ylabel(n, color=ACCENT, fontsize=11, rotation=0, ha="right", va="center")
        if line == 0:
            strip.set_title(f"{len(marked)} rows of [N, P·C] = [{len(rows)}, {rows.shape[1]}]")
    strip.set_xlabel("one row: pixel after pixel, each red, green, blue", fontsize=9)
    return fig, {"rows": rows, "corners": corners}


def fig_crossing(
    dim: int, mlp_ratio: int, patch: int, sides: Sequence[int]
) -> tuple[Figure, dict[str, np.ndarray | float]]:
    """MACs of one layer against the side of a square image: linear layers and N × N products.

    data: "tokens", "linear", "attention" by side, and "crossing", the side in pixels where both are equal.
    """
    tokens = np.array([(side // patch) ** 2 for side in sides])
    linear = np.array([transformer_layer_cost(dim, mlp_ratio, int(n), 0).macs for n in tokens])
    attention = np.array([vit_attention_macs(int(n), dim) for n in tokens])
    crossing = patch * ((2 + mlp_ratio) * dim) ** 0.5
    fig, ax = plt.subplots(figsize=(8, 3.6))
    fig.subplots_adjust(left=0.1, right=0.79, top=0.96, bottom=0.14)
    lines = (
        (linear, LINEAR, f"linear layers\n{4 + 2 * mlp_ratio}·N·D²"),
        (attention, ATTENTION, "N × N products\n2·N²·D"),
    )
    for macs, colour, name in lines:
        ax.plot(sides, macs / 1e9, "-o", ms=4, color=colour)
        ax.annotate(name, (sides[-1], macs[-1] / 1e9), (8, 0), textcoords="offset points", color=colour,
                    va="center", annotation_clip=False)  # fmt: skip
    height = 2 * ((2 + mlp_ratio) * dim) ** 2 * dim / 1e9
    ring(ax, crossing, height)
    ax.annotate(
        f"N = {2 + mlp_ratio}·D = {(2 + mlp_ratio) * dim}\n{crossing:.0f} × {crossing:.0f} pixels",
        (crossing, height), (-12, 10), textcoords="offset points", ha="right",
    )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sides, labels=[str(side) for side in sides])
    ax.minorticks_off()
    ax.set_yticks([0.01, 0.1, 1, 10], labels=["0.01", "0.1", "1", "10"])
    ax.set_xlabel(f"side of the image in pixels (patches of {patch} × {patch})")
    ax.set_ylabel("billion MACs, one layer")
    return fig, {"tokens": tokens, "linear": linear, "attention": attention, "crossing": crossing}


def fig_samples(
    rows: Mapping[str, Tensor], labels: Tensor, names: Sequence[str]
) -> tuple[Figure, dict[str, int]]:
    """The picture with the largest animal of every class, once for each kind of picture in `rows`.

    rows: kind -> [B, 3, H, W], the first on a black background; labels [B] of all kinds.
    data: for each class the index of the picture shown.
    """
    covered = (next(iter(rows.values())).amax(1) > 0).sum((1, 2))  # [B] pixels that are not black
    largest = {name: int((covered * (labels == k)).argmax()) for k, name in enumerate(names)}
    fig, axes = plt.subplots(len(rows), len(names), figsize=(8, 1.62 * len(rows) + 0.25), squeeze=False)
    fig.subplots_adjust(left=0.06, right=0.99, top=1 - 0.1 / len(rows), bottom=0.01, wspace=0.05, hspace=0.05)
    for line, (kind, images) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(kind)
        for ax, (name, index) in zip(line, largest.items(), strict=True):
            bare(ax).imshow(_as_picture(images[index]))
            if ax in axes[0]:
                ax.set_title(name)
    return fig, largest


def fig_accuracy(scores: Mapping[str, float], chance: float) -> tuple[Figure, dict[str, float]]:
    """One bar per network: the share of test pictures it names rightly, and what guessing would give.

    data: the scores.
    """
    fig, ax = plt.subplots(figsize=(8, 0.55 * len(scores) + 1))
    fig.subplots_adjust(left=0.27, right=0.97, top=0.88, bottom=0.13)
    colours = [ATTENTION if "ViT" in name else LINEAR for name in scores]
    ax.barh(list(scores), list(scores.values()), color=colours, height=0.62)
    for row, share in enumerate(scores.values()):
        ax.text(share + 0.01, row, f"{share:.0%}", va="center")
    ax.axvline(chance, color=INK, lw=1.2, ls="--")
    ax.text(chance, -0.62, f"guessing: {chance:.0%}", ha="center", va="bottom", fontsize=9)
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xticks([])
    ax.set_xlabel("share of the test pictures that are named rightly")
    ax.tick_params(left=False)
    for side in ("bottom", "left"):
        ax.spines[side].set_visible(False)
    return fig, dict(scores)
