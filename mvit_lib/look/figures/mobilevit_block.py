"""Pictures of notebook 06: places and sequences, the block and its shapes, order, stretching, two marks."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor, nn

from mvit_lib import MobileViTBlock
from mvit_lib.look.figures.who_hears_whom import PLAIN, heard_by
from mvit_lib.look.style import ACCENT, INK, POSITION_COLOURS, SEQUENTIAL, bare, ring
from mvit_lib.patches import patchify, unfold_patches, unpatchify

Pair = tuple[int, int]
LETTERS = "#14181c"  # on a coloured square


def _number(ax: Axes, x: float, y: float, value: int, colour: str) -> None:
    ax.add_patch(Rectangle((x, y), 1, 1, fc=colour, ec=INK, lw=0.8))
    ax.text(x + 0.5, y + 0.53, str(value), ha="center", va="center", fontsize=10, color=LETTERS)


def fig_places(size: Pair, query: Pair) -> tuple[Figure, dict[str, Tensor]]:
    """A map of numbered pixels with 2 × 2 patches, and its four sequences of tokens, one colour each.

    Thin lines join the ringed pixel to those it exchanges with.
    data: "sequences" [P, N], the numbers of the pixels; "partners" bool [H, W].
    """
    H, W = size
    numbers = torch.arange(H * W).reshape(1, 1, H, W)
    sequences = unfold_patches(numbers, 2)[0, :, :, 0]  # [P, N]
    P, N = sequences.shape
    own = query[0] % 2 * 2 + query[1] % 2
    partners = torch.isin(numbers[0, 0], sequences[own])  # [H, W]
    left = W + 3.6
    fig, ax = plt.subplots(figsize=(8, 8 * (H + 1.3) / (left + N + 0.3)))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99)
    bare(ax).set_aspect("equal")
    ax.set_xlim(-0.15, left + N + 0.15)
    ax.set_ylim(H + 0.25, -1.05)
    for row in range(H):
        for column in range(W):
            _number(ax, column, row, row * W + column, POSITION_COLOURS[row % 2 * 2 + column % 2])
    for k in range(0, H + 1, 2):
        ax.plot([0, W], [k, k], color=INK, lw=2.6)
    for k in range(0, W + 1, 2):
        ax.plot([k, k], [0, H], color=INK, lw=2.6)
    for row, column in partners.nonzero().tolist():
        if (row, column) != query:
            bend = {"arrowstyle": "-", "color": LETTERS, "lw": 1.1, "shrinkA": 13}
            bend["connectionstyle"] = "arc3,rad=0.28"
            ends = (column + 0.5, row + 0.22), (query[1] + 0.5, query[0] + 0.5)
            ax.annotate("", *ends, arrowprops=bend, zorder=3)
    ring(ax, query[1] + 0.5, query[0] + 0.5, 24)
    for p in range(P):
        ax.text(left - 0.25, p + 0.53, f"p = {p}", ha="right", va="center", fontsize=10)
        for t in range(N):
            _number(ax, left + t, p, int(sequences[p, t]), POSITION_COLOURS[p])
    ring(ax, left + 0.5 + query[0] // 2 * (W // 2) + query[1] // 2, own + 0.5, 24)
    ax.text(0, -0.5, "the map, its patches outlined", va="center", fontsize=10)
    ax.text(left, -0.5, "tokens [P, N]: t = 0, 1, 2, …", va="center", fontsize=10)
    ax.annotate("", (left - 2, H / 2), (W + 0.4, H / 2), arrowprops={"arrowstyle": "-|>", "color": INK})
    ax.text(W + 1, H / 2 - 0.25, "unfold", ha="center", fontsize=10)
    return fig, {"sequences": sequences, "partners": partners}


def shapes_of(block: MobileViTBlock, size: Pair) -> dict[str, tuple[int, ...]]:
    """The shapes, without the batch, of all that the block makes from a map of `size`; read while it runs."""
    seen: dict[str, tuple[int, ...]] = {}
    names = {"local_conv": "local", "local_project": "X_L", "norm": "X_G", "project": "projected",
             "fusion": "Y"}  # fmt: skip
    hooks = [
        getattr(block, part).register_forward_hook(
            lambda module, inputs, output, name=name: seen.__setitem__(name, tuple(output.shape))
        )
        for part, name in names.items()
    ]
    channels = block.local_conv.conv.in_channels
    with torch.no_grad():
        block(torch.zeros(1, channels, *size))
    for hook in hooks:
        hook.remove()
    PN = seen["X_G"]  # [P, N, D], B being 1
    shapes = {"X": (channels, *size), "X_L": seen["X_L"][1:], "X_U": PN, "X_G": PN, "X_F": seen["X_L"][1:]}
    return shapes | {"Y": seen["Y"][1:]}


# A row of the picture is a chain: tensors by name, operations in a box.
CHAINS = (
    ("1 · local", "X", "conv n × n\nC → C", "conv 1 × 1\nC → D", "X_L"),
    ("2 · global", "X_L", "unfold", "X_U", "transformer\nfor each p", "X_G", "fold", "X_F"),
    ("3 · fusion", "X_F", "conv 1 × 1\nD → C", "concat\nX in front", "conv n × n\n2C → C", "Y"),
)
SUBSCRIPTS = {"X_L": "$X_L$", "X_U": "$X_U$", "X_G": "$X_G$", "X_F": "$X_F$", "X": "$X$", "Y": "$Y$"}


def fig_block(block: MobileViTBlock, size: Pair) -> tuple[Figure, dict[str, tuple[int, ...]]]:
    """The block as three chains, with the shape of every tensor for a map of `size`.

    data: name of the tensor -> its shape without the batch, read from a run.
    """
    shapes = shapes_of(block, size)
    fig, ax = plt.subplots(figsize=(8, 3.3))
    fig.subplots_adjust(left=0, right=1, bottom=0, top=1)
    bare(ax).set_xlim(0, 100)
    ax.set_ylim(41, 0)
    for row, (title, *chain) in enumerate(CHAINS):
        y, step = 9 + 13 * row, 84 / (len(chain) - 1)
        ax.text(0.5, y - 6.6, title, fontsize=10, fontweight="bold", va="center")
        for i, word in enumerate(chain):
            x = 8 + i * step
            if word in shapes:
                ax.text(x, y - 1, SUBSCRIPTS[word], ha="center", va="center", fontsize=12, color=INK)
                shape = " × ".join(map(str, shapes[word]))
                ax.text(x, y + 2.9, shape, ha="center", va="center", fontsize=9)
            else:
                heart = word.startswith("transformer")
                _box(ax, x, y, word, ACCENT if heart else INK)
            if i:
                start, end = x - step + _half(chain[i - 1], shapes), x - _half(word, shapes)
                ax.annotate("", (end, y), (start, y), arrowprops={"arrowstyle": "-|>", "color": INK})
    return fig, shapes


def _half(word: str, shapes: Mapping[str, tuple]) -> float:
    """Half the width that a word takes in the picture."""
    return 3.2 if word in shapes else 4.8 if "\n" not in word else 7.2


def _box(ax: Axes, x: float, y: float, word: str, colour: str) -> None:
    half = _half(word, {})
    box = FancyBboxPatch((x - half + 0.8, y - 3), 2 * half - 1.6, 6, boxstyle="round,pad=0.5",
                         fc="none", ec=colour, lw=1.6)  # fmt: skip
    ax.add_patch(box)
    ax.text(x, y, word, ha="center", va="center", fontsize=9.5)


def shuffled(x: Tensor, order: Tensor, patch: int) -> Tensor:
    """Whole patches of a map in another order, patch order[t] where patch t was; [B, C, H, W] stays."""
    return unpatchify(patchify(x, patch)[:, order], (x.shape[2], x.shape[3]), patch)


def fig_order(photo: Tensor, patch: int, order: Tensor) -> tuple[Figure, dict[str, Tensor]]:
    """Shuffle the patches before, or after: does it make a difference? For the transformer, for the block.

    photo [1, 3, H, W]. The differences are in units of the outputs' standard deviation.
    data: name -> largest difference over the channels, [H, W].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = MobileViTBlock(3, 12, 1, patch_size=patch, num_heads=2).double().eval()
    functions = {
        "unfold, transformer, fold": lambda x: block.attend_globally(block.local_project(x)),
        "the whole block": block,
    }
    x, data = photo.double(), {}
    with torch.no_grad():
        for name, function in functions.items():
            before, after = function(shuffled(x, order, patch)), shuffled(function(x), order, patch)
            data[name] = ((before - after).abs() / after.std()).amax(dim=(0, 1))  # [H, W]
    fig, axes = plt.subplots(1, 4, figsize=(8, 2.35), gridspec_kw={"width_ratios": (1, 1, 1, 1)})
    fig.subplots_adjust(left=0.005, right=0.93, bottom=0.01, top=0.8, wspace=0.06)
    for ax, picture in zip(axes, (photo, shuffled(photo, order, patch)), strict=False):
        bare(ax).imshow(picture[0].permute(1, 2, 0).clamp(0, 1).numpy())
    axes[0].set_title("a photo", fontsize=9.5)
    axes[1].set_title("its patches shuffled", fontsize=9.5)
    top = max(values.max().item() for values in data.values())
    for ax, (name, values) in zip(axes[2:], data.items(), strict=True):
        drawn = bare(ax).imshow(values.numpy(), cmap=SEQUENTIAL, vmin=0, vmax=top)
        ax.set_title(f"difference by\n{name}", fontsize=9.5)
    bar = fig.colorbar(drawn, cax=fig.add_axes((0.94, 0.03, 0.015, 0.75)))
    bar.outline.set_visible(False)
    return fig, data


def stretch_and_back(row: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """A row of numbers stretched to `length`, and this back to the old length; linear, as the block does."""
    stretched = F.interpolate(row[None, None], length, mode="linear")[0, 0]
    return stretched, F.interpolate(stretched[None, None], len(row), mode="linear")[0, 0]


def fig_stretch(row: Tensor, patch: int) -> tuple[Figure, dict[str, Tensor]]:
    """One row of a map that patches do not tile: as it is, stretched, and back.

    data: "before", "stretched", "back".
    """
    length = -(-len(row) // patch) * patch
    stretched, back = stretch_and_back(row, length)
    data = {"before": row, "stretched": stretched, "back": back}
    fig, ax = plt.subplots(figsize=(8, 2.6))
    fig.subplots_adjust(left=0.06, right=0.99, bottom=0.1, top=0.97)
    styles = {"before": (INK, "o", 9), "stretched": (PLAIN, "s", 7), "back": (ACCENT, "o", 5)}
    places = {name: (torch.arange(len(v)) + 0.5) / len(v) for name, v in data.items()}
    ax.plot(places["before"], row, color=INK, lw=1)
    for name, values in data.items():
        colour, marker, size = styles[name]
        hollow = name == "before"
        ax.plot(places[name], values, marker, color=colour, ms=size, mfc="none" if hollow else colour)
    for k in range(length + 1):
        lw = 2.2 if k % patch == 0 else 0.6
        ax.axvline(k / length, color=PLAIN, lw=lw, alpha=0.6, zorder=0)
    words = {"before": f"○ {len(row)} pixels", "stretched": f"■ stretched to {length}",
             "back": f"● back to {len(row)}"}  # fmt: skip
    low, high = row.min().item(), row.max().item()
    for i, (name, word) in enumerate(words.items()):
        ax.text(0.02 + 0.2 * i, high + 0.22 * (high - low), word, color=styles[name][0], fontsize=10)
    ax.set_xlim(0, 1)
    ax.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))
    ax.set_xticks([])
    ax.set_yticks(range(round(low), round(high) + 1))
    return fig, data


def fig_supports(
    networks: Mapping[str, nn.Module], picture: Tensor, size: Pair, query: Pair
) -> tuple[Figure, dict[str, Tensor]]:
    """A picture of the task, and for each network those of its pixels that reach the ringed output pixel.

    networks: name -> what makes maps of a picture [1, 3, H, W], in float64. picture [3, H, W].
    data: name -> bool [H, W].
    """
    data = {name: heard_by(network, 3, size, query) for name, network in networks.items()}
    fig, axes = plt.subplots(1, 1 + len(data), figsize=(6.2, 3.9))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.87, wspace=0.1)
    pixels = picture.permute(1, 2, 0)  # [H, W, 3]
    for ax, seen in zip(axes, (torch.ones(size), *data.values()), strict=True):
        bare(ax).imshow(torch.cat([pixels, seen[..., None].to(pixels)], dim=2).numpy())  # unseen: clear
    axes[0].set_title("same or different?", fontsize=9.5)
    for ax, (name, heard) in zip(axes[1:], data.items(), strict=True):
        ax.add_patch(Rectangle((-0.5, -0.5), size[1], size[0], fc="none", ec=INK, lw=1, clip_on=False))
        ring(ax, query[1], query[0], 10)
        ax.set_title(f"{name}:\n{100 * heard.double().mean():.0f} % reach the ring", fontsize=9.5)
    return fig, data


def fig_runs(rows: Sequence[Mapping[str, str | float]]) -> tuple[Figure, dict[str, list[float]]]:
    """Accuracies of recorded trainings, a dot for each seed; one line of dots for each name.

    rows: with "name" and "accuracy" in per cent. data: name -> accuracies.
    """
    data: dict[str, list[float]] = {}
    for row in rows:
        data.setdefault(str(row["name"]), []).append(float(row["accuracy"]))
    fig, ax = plt.subplots(figsize=(8, 0.5 * len(data) + 0.9))
    fig.subplots_adjust(left=0.27, right=0.97, bottom=0.62 / (0.5 * len(data) + 0.9), top=0.98)
    for y, (name, values) in enumerate(data.items()):
        colour = ACCENT if name.startswith("bands") else PLAIN
        ax.plot(values, [y] * len(values), "o", ms=9, color=colour, alpha=0.6, mew=0)
    ax.set_yticks(range(len(data)), list(data))
    ax.set_ylim(len(data) - 0.5, -0.5)
    ax.set_xlim(35, 102)
    ax.axvline(50, color=INK, lw=1, ls="--", zorder=0)
    ax.text(49.3, 0, "guessing", ha="right", va="center", fontsize=9.5)
    ax.set_xlabel("right answers in per cent, five seeds each")
    return fig, data
