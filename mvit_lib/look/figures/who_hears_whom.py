"""Pictures of notebook 06: which pixels reach which, by formula and by autograd; the living picture."""

import html
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mvit_lib import MobileViTBlock
from mvit_lib.look.style import INK, POSITION_COLOURS, bare, ring

if TYPE_CHECKING:
    from IPython.display import HTML

Pair = tuple[int, int]
PALE = 0.45  # opacity of what only a neighbour has told
PLAIN = "#7d9cc4"  # where no place in a patch is meant
PALE_PLAIN = "#c5d2e6"  # under a dark number, on light and on dark pages


def heard_along(place: int, length: int, patch: int, kernel: int) -> Tensor:
    """Which pixels of one axis reach pixel `place`: its partners, one in each patch, and their windows.

    Shape: bool [length]; kernel odd.
    """
    pixels = torch.arange(length)
    partners = pixels[place % patch :: patch]
    return ((pixels[:, None] - partners).abs() <= kernel // 2).any(dim=1)


def hears(y: int, x: int, size: Pair, patch: Pair, kernel: int) -> Tensor:
    """Which pixels reach (y, x) through convolution, unfold, transformer and fold: bool [H, W].

    The patches tile the map of `size` = (H, W); zeros are laid around it.
    """
    rows = heard_along(y, size[0], patch[0], kernel)
    columns = heard_along(x, size[1], patch[1], kernel)
    return rows[:, None] & columns


def coverage(size: Pair, patch: Pair, kernel: int, fused: bool = False) -> Tensor:
    """The share of the map that reaches each pixel: [H, W], float64, between 0 and 1.

    fused: at the end of the block, after the last convolution, instead of after the fold.
    """
    shares = []
    for length, side in zip(size, patch, strict=True):
        heard = torch.stack([heard_along(i, length, side, kernel) for i in range(length)])  # [to, from]
        if fused:
            pixels = torch.arange(length)
            near = (pixels[:, None] - pixels).abs() <= kernel // 2  # [to, through]
            heard = near.double() @ heard.double() > 0
        shares.append(heard.double().mean(dim=1))
    return shares[0][:, None] * shares[1]


def loudness(function: Callable[[Tensor], Tensor], x: Tensor, listener: Pair) -> Tensor:
    """The share of each pixel of the map x [1, C, H, W] in the gradient of the output pixel `listener`.

    Asks autograd for the gradient of a random mix of the output pixel's channels; its absolute values,
    added over the channels, sum to 1 over the map. Shape: [H, W], of the dtype of x.
    """
    x = x.detach().clone().requires_grad_()
    pixel = function(x)[0, :, listener[0], listener[1]]
    mix = torch.randn(len(pixel), generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    (gradient,) = torch.autograd.grad((pixel * mix).sum(), x)
    size_of = gradient[0].abs().sum(dim=0)  # [H, W]
    return size_of / size_of.sum()


def heard_by(function: Callable[[Tensor], Tensor], channels: int, size: Pair, listener: Pair) -> Tensor:
    """Which pixels of a map [1, channels, H, W] can change the output pixel `listener`: bool [H, W]."""
    draw = torch.Generator().manual_seed(0)
    return loudness(function, torch.randn(1, channels, *size, generator=draw).double(), listener) > 0


def small_block(patch: Pair, kernel: int = 3) -> MobileViTBlock:
    """A MobileViT block of eight channels in float64 and eval mode, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = MobileViTBlock(8, 8, 1, patch_size=patch, kernel_size=kernel, num_heads=2)
    return block.double().eval()


def after_fold(block: MobileViTBlock, x: Tensor) -> Tensor:
    """X_F, the block up to its fold: [B, C, H, W] -> [B, D, H, W]."""
    return block.attend_globally(block.local_project(block.local_conv(x)))


def _square(ax: Axes, x: float, y: float, colour: str = "none") -> None:
    ax.add_patch(Rectangle((x, y), 1, 1, fc=colour, ec=INK, lw=0.7))


def _canvas(ax: Axes, width: float, height: float) -> Axes:
    bare(ax).set_aspect("equal")
    ax.set_xlim(-0.15, width + 0.15)
    ax.set_ylim(height + 0.15, -0.15)
    return ax


def _grid(ax: Axes, heard: Tensor, partners: Tensor, listener: Pair, colour: str) -> None:
    """A map: partners in full colour, what only a neighbour has told pale, the listening pixel ringed."""
    H, W = heard.shape
    picture = torch.zeros(H, W, 4)
    picture[..., :3] = torch.tensor(to_rgb(colour))
    picture[..., 3] = torch.where(partners, 1.0, PALE * heard)
    bare(ax).imshow(picture.numpy(), extent=(0, W, H, 0))
    lw = 6 / max(H, W)
    ax.hlines(range(H + 1), 0, W, color=INK, lw=lw)
    ax.vlines(range(W + 1), 0, H, color=INK, lw=lw)
    ax.set_xlim(-0.15, W + 0.15)
    ax.set_ylim(H + 0.15, -0.15)
    ring(ax, listener[1] + 0.5, listener[0] + 0.5, max(6, 78 / max(H, W)))


def fig_axis(cases: Sequence[tuple[int, int, int]], kernel: int = 3) -> tuple[Figure, dict[Pair, Tensor]]:
    """One axis: which pixels reach a pixel, told by its partners and their windows.

    cases: (length, patch, pixel). data: (patch, pixel) -> bool [length].
    """
    data = {(patch, pixel): heard_along(pixel, n, patch, kernel) for n, patch, pixel in cases}
    fig, axes = plt.subplots(len(cases), 1, figsize=(8, 0.95 * len(cases)), squeeze=False)
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.98, hspace=0.1)
    for ax, (length, patch, pixel) in zip(axes[:, 0], cases, strict=True):
        heard = data[patch, pixel]
        _canvas(ax, 16, 1.5).set_anchor("W")
        for i in range(length):
            partner = i % patch == pixel % patch
            _square(ax, 3.6 + i, 0.3, PLAIN if partner else PALE_PLAIN if heard[i] else "none")
            ax.text(4.1 + i, 0.82, str(i), ha="center", va="center", fontsize=10,
                    color="#14181c" if heard[i] else INK)  # fmt: skip
        for edge in range(0, length + 1, patch):
            ax.plot([3.6 + edge] * 2, [0.05, 1.55], color=INK, lw=2.2)
        ring(ax, 4.1 + pixel, 0.8, 21)
        missed = (~heard).nonzero().flatten().tolist()
        words = f"misses {', '.join(map(str, missed))}" if missed else "misses none"
        ax.text(0, 0.8, f"patches of {patch},\npixel {pixel} hears", va="center", fontsize=10)
        ax.text(4.1 + length, 0.8, words, va="center", fontsize=10)
    return fig, data


def fig_coverage(
    size: Pair, patches: Sequence[int], kernels: Sequence[int], listener: Pair
) -> tuple[Figure, dict[Pair, Tensor]]:
    """What reaches the ringed pixel after the fold, for square patches and kernels; asked of autograd.

    data: (patch, kernel) -> bool [H, W].
    """
    fig, axes = plt.subplots(len(kernels), len(patches), figsize=(8, 2.2 * len(kernels)), squeeze=False)
    fig.subplots_adjust(left=0.09, right=0.995, bottom=0.005, top=0.945, hspace=0.16, wspace=0.06)
    data = {}
    for row, kernel in zip(axes, kernels, strict=True):
        row[0].text(-0.06, 0.5, f"kernel\n{kernel} × {kernel}", transform=row[0].transAxes, ha="right",
                    va="center", fontsize=10)  # fmt: skip
        for ax, side in zip(row, patches, strict=True):
            block = small_block((side, side), kernel)
            heard = heard_by(lambda x, block=block: after_fold(block, x), 8, size, listener)
            partners = hears(*listener, size, (side, side), 1)
            _grid(ax, heard, partners, listener, PLAIN)
            title = f"patch {side} × {side}\n" if kernel == kernels[0] else ""
            ax.set_title(f"{title}{100 * heard.double().mean():.3g} %", fontsize=10, pad=3)
            data[side, kernel] = heard
    return fig, data


def reach_page(size: Pair = (12, 12)) -> str:
    """A self-contained HTML page: point at a pixel and see its partners and what they bring along."""
    settings = {"size": size, "patches": [1, 2, 3, 4], "kernels": [1, 3, 5]}
    settings |= {"colours": POSITION_COLOURS, "plain": PLAIN, "pale": PALE}
    template = (files("mvit_lib.look") / "mobilevit_block.html").read_text(encoding="utf-8")
    return template.replace("/* DATA */", json.dumps(settings, separators=(",", ":")))


def explore_reach(size: Pair = (12, 12), height: int = 480) -> "HTML":
    """`reach_page` in a frame `height` pixels high, for a notebook."""
    from IPython.display import HTML

    page = html.escape(reach_page(size), quote=True)
    style = f"width:100%;max-width:800px;height:{height}px;border:0"
    return HTML(f'<div><iframe title="Who hears whom" style="{style}" srcdoc="{page}"></iframe></div>')
