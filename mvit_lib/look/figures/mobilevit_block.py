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
    ax.text(x + 0.5, y + 0.53, str(value), ha="center", va="center", fontsize=10, color=LETTERS, zorder=6)


def fig_places(size: Pair, listener: Pair) -> tuple[Figure, dict[str, Tensor]]:
    """A map of numbered pixels with 2 × 2 patches, and its four sequences of tokens, one colour each.

    Thin rings mark the pixels that the ringed one exchanges with. In the table a frame around its column
    shows what M would mix, one around its row what attention mixes.
    data: "sequences" [P, N], the numbers of the pixels; "partners" bool [H, W].
    """
    H, W = size
    numbers = torch.arange(H * W).reshape(1, 1, H, W)
    sequences = unfold_patches(numbers, 2)[0, :, :, 0]  # [P, N]
    P, N = sequences.shape
    own = listener[0] % 2 * 2 + listener[1] % 2
    partners = torch.isin(numbers[0, 0], sequences[own])  # [H, W]
    left = W + 3.6
    fig, ax = plt.subplots(figsize=(8, 8 * (H + 1.85) / (left + N + 0.3)))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99)
    bare(ax).set_aspect("equal")
    ax.set_xlim(-0.15, left + N + 0.15)
    ax.set_ylim(H + 0.8, -1.05)
    _map_of_patches(ax, H, W)
    for row, column in partners.nonzero().tolist():
        if (row, column) != listener:
            ax.plot(column + 0.5, row + 0.5, "o", ms=24, mfc="none", mec=LETTERS, mew=1.1)
    ring(ax, listener[1] + 0.5, listener[0] + 0.5, 24)
    for p in range(P):
        ax.text(left - 0.25, p + 0.53, f"p = {p}", ha="right", va="center", fontsize=10)
        for t in range(N):
            _number(ax, left + t, p, int(sequences[p, t]), POSITION_COLOURS[p])
    t = listener[0] // 2 * (W // 2) + listener[1] // 2
    ring(ax, left + 0.5 + t, own + 0.5, 24)
    ax.add_patch(Rectangle((left + t, 0), 1, P, fc="none", ec=LETTERS, lw=3, clip_on=False))
    ax.add_patch(Rectangle((left, own), N, 1, fc="none", ec=ACCENT, lw=3, clip_on=False))
    ax.text(left, P + 0.45, "↓ M: a column", va="center", fontsize=10)
    ax.text(left + N, P + 0.45, "→ attention: a row", ha="right", va="center", fontsize=10, color=ACCENT)
    ax.text(0, -0.5, "the map, its patches outlined", va="center", fontsize=10)
    ax.text(left, -0.5, "tokens [P, N]: t = 0, 1, 2, …", va="center", fontsize=10)
    ax.annotate("", (left - 2, H / 2), (W + 0.4, H / 2), arrowprops={"arrowstyle": "-|>", "color": INK})
    ax.text(W + 1, H / 2 - 0.25, "unfold", ha="center", fontsize=10)
    return fig, {"sequences": sequences, "partners": partners}


def _map_of_patches(ax: Axes, H: int, W: int) -> None:
    """Numbered pixels in the colours of their places, the 2 × 2 patches outlined."""
    for row in range(H):
        for column in range(W):
            _number(ax, column, row, row * W + column, POSITION_COLOURS[row % 2 * 2 + column % 2])
    for k in range(0, H + 1, 2):
        ax.plot([0, W], [k, k], color=LETTERS, lw=3)
    for k in range(0, W + 1, 2):
        ax.plot([k, k], [0, H], color=LETTERS, lw=3)


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


NORMED = "+ BN, SiLU"
# A row of the picture: tensors by their name, operations by their words and the library's name.
CHAINS = (
    ("X", f"conv n × n\nC → C\n{NORMED}\nlocal_conv", "conv 1 × 1\nC → D\nbare\nlocal_project", "X_L"),
    ("X_L", "stretch\nif needed\n", "unfold\n", "X_U", "transformer\nfor each p\ntransformer",
     "LayerNorm\nnorm", "X_G"),
    ("X_G", "fold\n", "back\nif needed\n", "X_F", f"conv 1 × 1\nD → C\n{NORMED}\nproject",
     "concat\n2C = {}\n", f"conv n × n\n2C → C\n{NORMED}\nfusion", "Y"),
)  # fmt: skip
# Where a title stands: row, left end.
TITLES = {
    "1 · local": (0, 3),
    "2 · global": (1, 3),
    "2 · global, the way back": (2, 3),
    "3 · fusion": (2, 52.3),
}
SUBSCRIPTS = {"X_L": "$X_L$", "X_U": "$X_U$", "X_G": "$X_G$", "X_F": "$X_F$", "X": "$X$", "Y": "$Y$"}
HALF = 5.3  # half the width of a box or of a tensor's shape


def fig_block(block: MobileViTBlock, size: Pair) -> tuple[Figure, dict[str, tuple[int, ...]]]:
    """The block as three chains and the branch of X, with the shape of every tensor for a map of `size`.

    data: name of the tensor -> its shape without the batch, read from a run.
    """
    shapes = shapes_of(block, size)
    fig, ax = plt.subplots(figsize=(8, 4.5))
    fig.subplots_adjust(left=0, right=1, bottom=0, top=1)
    bare(ax).set_xlim(0, 100)
    ax.set_ylim(51.2, 0)
    for title, (row, left) in TITLES.items():
        ax.text(left, 2.6 + 16 * row, title, fontsize=10, fontweight="bold", va="center")
    ax.plot([51, 51], [33.2, 47.5], color=INK, lw=1, ls=":")
    for row, chain in enumerate(CHAINS):
        y, step = 10 + 16 * row, 86 / (len(chain) - 1)
        for i, word in enumerate(chain):
            x = 8 + i * step
            if word in shapes:
                ax.text(x, y - 1.2, SUBSCRIPTS[word], ha="center", va="center", fontsize=12)
                shape = " × ".join(map(str, shapes[word]))
                ax.text(x, y + 2.4, shape, ha="center", va="center", fontsize=9)
            else:
                _box(ax, x, y, word.format(2 * shapes["X"][0]))
            if i:
                head = {"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0}
                ax.annotate("", (x - HALF - 0.2, y), (x - step + HALF + 0.2, y), arrowprops=head)
    concat, bottom = 8 + 5 * 86 / 7, 50
    ax.plot([4, 1, 1, concat, concat], [8.8, 8.8, bottom, bottom, 48.4], color=ACCENT, lw=1.8)
    ax.annotate("", (concat, 46.6), (concat, 48.6), arrowprops={"arrowstyle": "-|>", "color": ACCENT})
    ax.text(2.2, bottom - 1.6, "$X$ itself", fontsize=10, color=ACCENT, va="center")
    return fig, shapes


def _box(ax: Axes, x: float, y: float, words: str) -> None:
    """What is done, in a box, and under it the name of the part that does it; dashed: only if needed."""
    *lines, name = words.split("\n")
    box = FancyBboxPatch((x - HALF + 0.5, y - 3.9), 2 * HALF - 1, 7.8, boxstyle="round,pad=0.5", fc="none",
                         ec=INK, lw=3 if name == "transformer" else 1.6,
                         ls="--" if "needed" in words else "-")  # fmt: skip
    ax.add_patch(box)
    ax.text(x, y, "\n".join(lines), ha="center", va="center", fontsize=9)
    ax.text(x, y + 6.3, name, ha="center", va="center", fontsize=9, family="DejaVu Sans Mono")


def shuffled(x: Tensor, order: Tensor, patch: int) -> Tensor:
    """Whole patches of a map in another order, patch order[t] where patch t was; [B, C, H, W] stays."""
    return unpatchify(patchify(x, patch)[:, order], (x.shape[2], x.shape[3]), patch)


def order_differences(photo: Tensor, piece: int, order: Tensor) -> dict[str, Tensor]:
    """Shuffle square pieces before, or after: does it make a difference? For a block with 2 × 2 patches.

    photo [1, 3, H, W]. Asked of its middle and of the whole block, with random weights, in float64.
    Returns: name -> largest difference over the channels, in units of the outputs' standard deviation.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = MobileViTBlock(3, 12, 1, num_heads=2).double().eval()
    functions = {
        "unfold, transformer, fold": lambda x: block.attend_globally(block.local_project(x)),
        "the whole block": block,
    }
    x, data = photo.double(), {}
    with torch.no_grad():
        for name, function in functions.items():
            before, after = function(shuffled(x, order, piece)), shuffled(function(x), order, piece)
            data[name] = ((before - after).abs() / after.std()).amax(dim=(0, 1))  # [H, W]
    return data


def fig_order(photo: Tensor, piece: int, order: Tensor) -> tuple[Figure, dict[str, Tensor]]:
    """A photo, its shuffled pieces, and the two maps of `order_differences`, which are the data."""
    data = order_differences(photo, piece, order)
    fig, axes = plt.subplots(1, 4, figsize=(8, 2.35), gridspec_kw={"width_ratios": (1, 1, 1, 1)})
    fig.subplots_adjust(left=0.005, right=0.91, bottom=0.01, top=0.8, wspace=0.06)
    for ax, picture in zip(axes, (photo, shuffled(photo, order, piece)), strict=False):
        bare(ax).imshow(picture[0].permute(1, 2, 0).clamp(0, 1).numpy())
    axes[0].set_title("a photo", fontsize=9.5)
    axes[1].set_title("its pieces shuffled", fontsize=9.5)
    top = max(values.max().item() for values in data.values())
    for ax, (name, values) in zip(axes[2:], data.items(), strict=True):
        drawn = bare(ax).imshow(values.numpy(), cmap=SEQUENTIAL, vmin=0, vmax=top)
        ax.set_title(f"difference by\n{name}", fontsize=9.5)
    bar = fig.colorbar(drawn, cax=fig.add_axes((0.92, 0.03, 0.015, 0.75)))
    bar.outline.set_visible(False)
    bar.set_label("standard deviations")
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
    fig.subplots_adjust(left=0.06, right=0.99, bottom=0.11, top=0.99)
    styles = {"before": (INK, "o", 9), "stretched": (PLAIN, "s", 7), "back": (ACCENT, "o", 5)}
    places = {name: (torch.arange(len(v)) + 0.5) / len(v) for name, v in data.items()}
    ends = [0, *places["before"].tolist(), 1], [row[0], *row.tolist(), row[-1]]  # flat outside
    ax.plot(*ends, color=INK, lw=1)
    for name, values in data.items():
        colour, marker, size = styles[name]
        hollow = name == "before"
        ax.plot(places[name], values, marker, color=colour, ms=size, mfc="none" if hollow else colour)
    for k in range(length + 1):
        lw = 2.2 if k % patch == 0 else 0.6
        ax.axvline(k / length, ymax=0.8, color=PLAIN, lw=lw, alpha=0.6, zorder=0)
    words = {"before": f"○ {len(row)} pixels", "stretched": f"■ stretched to {length}",
             "back": f"● back to {len(row)}"}  # fmt: skip
    ax.set_xlabel(f"place along the axis; lines: the {length} cells, thick ones the patches")
    ax.set_ylabel("value of the pixel")
    low, high = row.min().item(), row.max().item()
    for i, (name, word) in enumerate(words.items()):
        ax.text(0.02 + 0.2 * i, high + 0.22 * (high - low), word, color=styles[name][0], fontsize=10)
    ax.set_xlim(0, 1)
    ax.set_ylim(low - 0.1 * (high - low), high + 0.4 * (high - low))
    ax.set_xticks([])
    ax.set_yticks(range(round(low), round(high) + 1))
    return fig, data


def fig_supports(
    networks: Mapping[str, nn.Module], picture: Tensor, size: Pair, listener: Pair
) -> tuple[Figure, dict[str, Tensor]]:
    """A picture of the task, and for each network those of its pixels that reach the ringed output pixel.

    networks: name -> what makes maps of a picture [1, 3, H, W], in float64. picture [3, H, W].
    data: name -> bool [H, W].
    """
    data = {name: heard_by(network, 3, size, listener) for name, network in networks.items()}
    fig, axes = plt.subplots(1, 1 + len(data), figsize=(5.0, 3.15))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.87, wspace=0.1)
    pixels = picture.permute(1, 2, 0)  # [H, W, 3]
    for ax, seen in zip(axes, (torch.ones(size), *data.values()), strict=True):
        bare(ax).imshow(torch.cat([pixels, seen[..., None].to(pixels)], dim=2).numpy())  # unseen: clear
    axes[0].set_title("same or different?", fontsize=9.5)
    for ax, (name, heard) in zip(axes[1:], data.items(), strict=True):
        ax.add_patch(Rectangle((-0.5, -0.5), size[1], size[0], fc="none", ec=INK, lw=1, clip_on=False))
        ring(ax, listener[1], listener[0], 10)
        ax.set_title(f"{name}: {heard.any(1).sum()} of {size[0]}\nrows reach the ring", fontsize=9.5)
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
        apart = [y + 0.17 * (i - (len(values) - 1) / 2) for i in range(len(values))]  # so that all show
        ax.plot(values, apart, "o", ms=5.5, color=colour, mew=0)
    ax.set_yticks(range(len(data)), list(data))
    ax.set_ylim(len(data) - 0.4, -0.6)
    ax.set_xlim(35, 102)
    ax.axvline(50, color=INK, lw=1, ls="--", zorder=0)
    ax.text(49.3, 0, "guessing", ha="right", va="center", fontsize=9.5)
    ax.set_xlabel("right answers in per cent, five seeds each")
    return fig, data
