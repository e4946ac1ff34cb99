"""Pictures of notebook 02: six pixels that listen to each other, and what the scale, heads and sums do."""

from collections.abc import Callable, Sequence

import torch
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

from mvit_lib.look.style import ACCENT, INK, POSITION_COLOURS, SEQUENTIAL, bare

BLUE = POSITION_COLOURS[0]


def _swatch(ax: Axes, x: float, y: float, colour: Tensor, size: float = 0.8) -> None:
    """A square in a token's own colour, [3] in [0, 1], centred at (x, y)."""
    corner = (x - size / 2, y - size / 2)
    ax.add_patch(Rectangle(corner, size, size, fc=colour.clamp(0, 1).tolist(), ec=INK, lw=1))


def _weights_table(ax: Axes, weights: Tensor, tokens: Tensor) -> None:
    """Numbers on colours from 0 to 1, a row per query; the tokens' swatches stand at the left and on top."""
    N = len(weights)
    colours = colormaps[SEQUENTIAL]
    for i in range(N):
        _swatch(ax, -1, i, tokens[i], 0.62)
        _swatch(ax, i, -1, tokens[i], 0.62)
        for j in range(N):
            value = weights[i, j].item()
            ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=colours(value), lw=0))
            dark = value < 0.6
            ax.text(j, i, f"{value:.2f}".lstrip("0"), ha="center", va="center",
                    fontsize=9, color="white" if dark else "black")  # fmt: skip
    ax.set_aspect("equal")


def fig_attention(tokens: Tensor, weights: Tensor, names: Sequence[str]) -> tuple[Figure, dict[str, Tensor]]:
    """Who listens to whom: the table of weights between coloured tokens, and the colours they become.

    tokens [N, 3] in [0, 1], drawn in their own colours; weights [N, N], a row per listening token.
    data: weights, and output = weights @ tokens.
    """
    N, output = len(tokens), weights @ tokens
    fig, ax = plt.subplots(figsize=(8, 3.9))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99)
    _weights_table(bare(ax), weights, tokens)
    for i, name in enumerate(names):
        ax.text(-1.5, i, name, ha="right", va="center")
        ax.add_patch(
            FancyArrowPatch((N - 0.35, i), (N + 0.35, i), arrowstyle="-|>", mutation_scale=10, color=INK)
        )
        _swatch(ax, N + 0.85, i, output[i])
        shown = "  ".join(f"{number:.2f}" for number in output[i].tolist())
        ax.text(N + 1.45, i, shown, va="center", fontsize=9.5)
    ax.text((N - 1) / 2, -1.62, "… listens to", ha="center", va="center")
    ax.text(-1.5, -1, "this pixel …", ha="right", va="center")
    ax.text(N + 0.45, -1, "and becomes", va="center")
    ax.set_xlim(-4.4, N + 4.6)
    ax.set_ylim(N - 0.4, -1.95)
    return fig, {"weights": weights, "output": output}


def fig_heads(
    tokens: Tensor, weights: Tensor, names: Sequence[str], titles: Sequence[str]
) -> tuple[Figure, Tensor]:
    """The tables of several heads side by side.

    tokens [N, 3] in [0, 1]; weights [h, N, N]. data: weights.
    """
    h, N = weights.shape[:2]
    fig, axes = plt.subplots(1, h, figsize=(8, round(8 / h + 0.35, 2)), gridspec_kw={"wspace": 0.03})
    fig.subplots_adjust(left=0.1, right=0.995, bottom=0.01, top=0.92)
    for head, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        _weights_table(bare(ax), weights[head], tokens)
        ax.set_title(title)
        ax.text((N - 1) / 2, -1.72, "… listens to", ha="center", va="center", fontsize=9)
        ax.set_xlim(-1.5, N - 0.45)
        ax.set_ylim(N - 0.45, -2.0)
    axes[0].text(-1.45, -1, "this pixel …", ha="right", va="center", fontsize=9)
    for i, name in enumerate(names):
        axes[0].text(-1.45, i, name, ha="right", va="center", fontsize=9)
    return fig, weights


def fig_saturation(
    widths: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256), keys: int = 64, queries: int = 500
) -> tuple[Figure, dict[str, Tensor]]:
    """What softmax makes of dot products of random vectors, with and without the division by √d.

    data: for "plain" and "divided" the mean largest weight, and for "plain answer" and "divided answer"
    the mean over queries of Σ A(1 − A), how much the weights still answer to their scores; all [widths].
    """
    generator = torch.Generator().manual_seed(0)
    rows: dict[str, list[Tensor]] = {"plain": [], "divided": [], "plain answer": [], "divided answer": []}
    for d in widths:
        q = torch.randn(queries, d, generator=generator)
        k = torch.randn(queries, keys, d, generator=generator)
        scores = (k @ q[:, :, None])[:, :, 0]  # [queries, keys]
        for name, scaled in (("plain", scores), ("divided", scores / d**0.5)):
            weights = torch.softmax(scaled, dim=-1)
            rows[name].append(weights.amax(-1).mean())
            rows[f"{name} answer"].append((weights * (1 - weights)).sum(-1).mean())
    data = {name: torch.stack(values) for name, values in rows.items()}
    fig, axes = plt.subplots(1, 2, figsize=(8, 2.9), gridspec_kw={"wspace": 0.25})
    fig.subplots_adjust(left=0.07, right=0.98, bottom=0.17, top=0.88)
    titles = (f"largest of {keys} weights", "how much the weights answer: Σ A(1 − A)")
    for ax, suffix, title, (low, high) in zip(
        axes, ("", " answer"), titles, ((0.16, 0.72), (0.84, 0.27)), strict=True
    ):
        ax.plot(widths, data["plain" + suffix], "o-", color=ACCENT, ms=4)
        ax.plot(widths, data["divided" + suffix], "s-", color=BLUE, ms=4)
        ax.text(widths[-1], high, "q·k", ha="right", color=ACCENT, fontsize=11)
        ax.text(widths[-1], low, "q·k / √d", ha="right", color=BLUE, fontsize=11)
        ax.set_xscale("log", base=2)
        ax.set_xticks(widths, [str(d) for d in widths])
        ax.set_ylim(0, 1.05)
        ax.set_xlabel("width d")
        ax.set_title(title)
    return fig, data


def fig_temperatures(
    scores: Tensor, tokens: Tensor, names: Sequence[str], temperatures: Sequence[float]
) -> tuple[Figure, Tensor]:
    """softmax(scores / T) for several temperatures T, a bar per token in its own colour.

    scores [N], tokens [N, 3] in [0, 1]. data: the weights [temperatures, N].
    """
    weights = torch.stack([torch.softmax(scores / T, dim=-1) for T in temperatures])
    fig, axes = plt.subplots(
        1, len(temperatures), figsize=(8, 2.6), sharey=True, gridspec_kw={"wspace": 0.08}
    )
    fig.subplots_adjust(left=0.06, right=0.995, bottom=0.25, top=0.89)
    for ax, T, row in zip(axes, temperatures, weights, strict=True):
        bars = ax.bar(range(len(row)), row.tolist(), color=tokens.tolist(), edgecolor=INK, width=0.8)
        for bar, value in zip(bars, row.tolist(), strict=True):
            middle = bar.get_x() + bar.get_width() / 2
            ax.text(middle, value + 0.02, f"{value:.2f}".lstrip("0"), ha="center", fontsize=9)
        ax.set_xticks(range(len(row)), names, rotation=60)
        ax.tick_params(axis="x", length=0)
        ax.set_title(f"T = {T:.3g}")
    axes[0].set_ylim(0, 1.1)
    return fig, weights


def fig_order(
    tokens: Tensor, layer: Callable[[Tensor], Tensor], order: Tensor, names: Sequence[str]
) -> tuple[Figure, dict[str, Tensor]]:
    """Tokens and what a layer makes of them, as they stand and shuffled.

    tokens [N, 3] in [0, 1]; layer: [N, 3] -> [N, 3], also in [0, 1]. data: output, shuffled output.
    """
    data = {"output": layer(tokens), "shuffled": layer(tokens[order])}
    fig, axes = plt.subplots(1, 2, figsize=(8, 2.0), gridspec_kw={"wspace": 0.05})
    fig.subplots_adjust(left=0.06, right=0.99, bottom=0.02, top=0.86)
    sides = (("as they stand", torch.arange(len(tokens)), "output"), ("shuffled", order, "shuffled"))
    for ax, (title, places, key) in zip(axes, sides, strict=True):
        bare(ax).set_title(title)
        for column, i in enumerate(places.tolist()):
            ax.text(column, -0.72, names[i], ha="center", va="center", fontsize=9)
            _swatch(ax, column, 0, tokens[i])
            ax.add_patch(
                FancyArrowPatch((column, 0.48), (column, 1.02), arrowstyle="-|>", mutation_scale=9, color=INK)
            )
            _swatch(ax, column, 1.5, data[key][column])
        ax.set_xlim(-0.6, len(tokens) - 0.4)
        ax.set_ylim(2.0, -1.0)
        ax.set_aspect("equal")
    axes[0].text(-0.75, 0, "in", ha="right", va="center")
    axes[0].text(-0.75, 1.5, "out", ha="right", va="center")
    return fig, data


def fig_depth(
    tokens: Tensor, layer: Callable[[Tensor], Tensor], depth: int = 4
) -> tuple[Figure, dict[str, Tensor]]:
    """The same layer again and again, its output in place of the tokens or added: what keeps them apart?

    tokens [N, 3]. A square is a token's difference from the mean of all: grey for none; one scale for all.
    data: for "replace" and "add" the tokens after 0 … depth layers, [depth + 1, N, 3], and under
    "replace distance" and "add distance" that of the two tokens farthest apart, [depth + 1].
    """
    data = {}
    for key, step in (("replace", layer), ("add", lambda x: x + layer(x))):
        states = [tokens]
        for _ in range(depth):
            states.append(step(states[-1]))
        data[key] = torch.stack(states)
        data[f"{key} distance"] = torch.stack([torch.pdist(state).max() for state in states])
    differences = {key: data[key] - data[key].mean(1, keepdim=True) for key in ("replace", "add")}
    largest = max(difference.abs().max() for difference in differences.values())
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.5), gridspec_kw={"wspace": 0.14})
    fig.subplots_adjust(left=0.11, right=0.93, bottom=0.02, top=0.92)
    titles = ("y = attention(x)", "y = x + attention(x)")
    for ax, (key, difference), title in zip(axes, differences.items(), titles, strict=True):
        bare(ax).set_title(title)
        ax.text(len(tokens) - 0.35, -0.72, "farthest\ntwo", va="center", fontsize=9)
        for row, state in enumerate(0.5 + difference / (2 * largest)):
            for i, colour in enumerate(state):
                _swatch(ax, i, row, colour, 0.86)
            distance = data[f"{key} distance"][row]
            ax.text(len(tokens) - 0.35, row, f"{distance:.2f}", va="center", fontsize=9)
            if ax is axes[0]:
                label = "tokens" if row == 0 else f"{row} layer{'s' if row > 1 else ''}"
                ax.text(-0.65, row, label, ha="right", va="center", fontsize=9)
        ax.set_xlim(-0.5, len(tokens) + 0.6)
        ax.set_ylim(depth + 0.5, -1.1)
        ax.set_aspect("equal")
    return fig, data
