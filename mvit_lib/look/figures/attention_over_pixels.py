"""Pictures of notebook 10: from a raw tensor to what a pixel hears, and whether the picture is true."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mvit_lib.attention import AttentionMap, attention_from_pixel
from mvit_lib.attention_reading import entropy_share, find_map, of_head
from mvit_lib.look.attention_grid import blend, blended_colours, grey_photo, to_pil
from mvit_lib.look.style import DIVERGING, INK, POSITION_COLOURS, SEQUENTIAL, bare, ring
from mvit_lib.patches import fold_patches

CURVE_COLOURS = ("#2f8fd8", "#d0741c", "#12a279", "#c9609f", "#8a7be0", "#b08d2f")


def blur(image: Tensor, sigma: float) -> Tensor:
    """The image smoothed by a Gaussian of `sigma` pixels; beyond its edge the edge goes on. [C, H, W]"""
    r = round(3 * sigma)
    bell = (-((torch.arange(-r, r + 1) / sigma) ** 2) / 2).exp()
    bell = (bell / bell.sum())[None, None]  # [1, 1, 2r + 1]
    for _ in range(2):  # along the rows, then along the columns
        lines = F.pad(image, (r, r), mode="replicate").flatten(0, 1)[:, None]  # [C·H, 1, W + 2r]
        image = F.conv1d(lines, bell.to(image)).view(*image.shape).mT
    return image


def cell_means(picture: Tensor, grid: tuple[int, int]) -> Tensor:
    """The mean of a picture over each of nH × nW cells: [H, W] -> [nH, nW]."""
    return F.adaptive_avg_pool2d(picture[None].double(), grid)[0]


def deletion_curve(
    probability: Callable[[Tensor], Tensor],
    image: Tensor,
    blurred: Tensor,
    scores: Tensor,
    counts: Sequence[int],
) -> Tensor:
    """The probability after the k cells with the highest scores were blurred, for every k of `counts`.

    probability: [B, C, H, W] -> [B]; image, blurred [C, H, W]; scores [nH, nW]. Shape: [len(counts)].
    """
    return probability(torch.stack(deleted(image, blurred, scores, counts)))


def deleted(image: Tensor, blurred: Tensor, scores: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """The pictures behind `deletion_curve`: for every k the image with its k first cells blurred."""
    (nH, nW), (H, W) = scores.shape, image.shape[1:]
    ranks = scores.flatten().argsort(descending=True).argsort().view(nH, nW)
    ranks = ranks[torch.arange(H) * nH // H][:, torch.arange(W) * nW // W]  # [H, W]
    return [torch.where(ranks < k, blurred, image) for k in counts]


def area(curve: Tensor, shares: Sequence[float]) -> float:
    """The area under a curve over shares 0 … 1, by trapezoids."""
    return torch.trapezoid(curve.double(), torch.tensor(shares, dtype=torch.float64)).item()


def fig_sequences(B: int, P: int) -> tuple[Figure, list[tuple[int, int]]]:
    """The first axis of [B·P, h, N, N], sequence by sequence, and the same sequences as B groups of P.

    Colours are the places in the patch (P is at most 4). data: for every sequence (image, place).
    """
    rows = [divmod(row, P) for row in range(B * P)]
    fig, ax = plt.subplots(figsize=(8, 0.34 * (B * P + B) + 0.35))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99)
    bare(ax)
    for row, (b, p) in enumerate(rows):
        for left, y in ((0, row + (B - 1) / 2), (5, row + b)):
            ax.add_patch(Rectangle((left, y), 2.6, 0.82, color=POSITION_COLOURS[p]))
            ax.text(left + 1.3, y + 0.42, "h × N × N", ha="center", va="center", color="black", fontsize=9)
        ax.text(-0.15, row + (B - 1) / 2 + 0.42, f"sequence {row}", ha="right", va="center", fontsize=9)
        ax.text(7.75, row + b + 0.42, f"image {b}, place {p}", va="center", fontsize=9)
        ends = {"xy": (4.9, row + b + 0.42), "xytext": (2.75, row + (B - 1) / 2 + 0.42)}
        ax.annotate("", **ends, arrowprops={"arrowstyle": "->", "color": INK})
    ax.text(1.3, -0.35, "[B·P, h, N, N]", ha="center")
    ax.text(6.3, -0.35, "[B, P, h, N, N]", ha="center")
    ax.set_xlim(-1.35, 9.8)
    ax.set_ylim(B * P + B - 1 + 0.1, -0.75)
    return fig, rows


def fig_row_to_picture(
    maps: Sequence[AttentionMap], image: Tensor, y: int, x: int, layer: int | tuple[str, int]
) -> tuple[Figure, dict[str, Tensor]]:
    """One row of weights three times: as N numbers, as the grid of patches, over the photo.

    All three in the colours of the picture. data: "row" [N], "grid" [nH, nW], "picture" [H, W], in which
    no number is new.
    """
    seen = attention_from_pixel(maps, y, x, layer)
    scale = Normalize(0, seen.weights.max().item())
    fig, axes = plt.subplots(1, 3, figsize=(8, 2.9), width_ratios=[1.25, 1, 1], layout="constrained")
    row, palette = seen.weights.flatten(), blended_colours()
    axes[0].bar(
        range(len(row)), (100 * row).tolist(), color=palette(scale(row.numpy())), edgecolor=INK, lw=0.4
    )
    axes[0].set_xlabel("patch t")
    axes[0].set_xlim(-0.6, len(row) - 0.4)
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_title("a row: N weights, in %")
    bare(axes[1]).imshow(seen.weights.numpy(), cmap=palette, norm=scale)
    for (i, j), weight in np.ndenumerate(seen.weights.numpy()):
        axes[1].text(j, i, f"{100 * weight:.1f}", ha="center", va="center", fontsize=9, color="black")
    axes[1].set_title(f"the grid: {' × '.join(map(str, seen.weights.shape))} patches")
    bare(axes[2]).imshow(blend(grey_photo(image, maps[0].image_size), seen.on_image, scale))
    ring(axes[2], x, y)
    axes[2].set_title(f"the picture: {' × '.join(map(str, seen.on_image.shape))}")
    axes[2].set_xlabel(f"largest: {scale.vmax * len(row):.2g} × even", fontsize=9)
    return fig, {"row": row, "grid": seen.weights, "picture": seen.on_image}


def fig_four_places(
    maps: Sequence[AttentionMap], image: Tensor, y: int, x: int, layer: int | tuple[str, int]
) -> tuple[Figure, dict[str, Tensor]]:
    """What the four pixels of one patch hear, the patch of pixel (y, x), and the four folded into one.

    In the fifth picture every pixel of the map has the weight that its own place's query gives it.
    data: "weights" [P, nH, nW]; "folded" [H', W'] of the map; "distances" [P, P], half the sum of the
    absolute differences of two rows: 0 alike, 1 nothing in common.
    """
    m = find_map(maps, layer)
    seen = attention_from_pixel(maps, y, x, layer)
    rows = of_head(m)[:, m.num_prefix + seen.token]  # [P, N]
    size = (m.grid[0] * m.patch_size[0], m.grid[1] * m.patch_size[1])
    folded = fold_patches(rows[None, ..., None], size, m.patch_size)[0, 0]  # [H', W']
    photo, scale = grey_photo(image, m.image_size), Normalize(0, rows.max().item())
    shape = photo.shape[0] / photo.shape[1]
    fig, (*axes, bar) = plt.subplots(1, 6, figsize=(8, 1.4 * shape + 0.55), width_ratios=[1] * 5 + [0.07])
    fig.subplots_adjust(left=0.01, right=0.93, bottom=0.17, top=0.86, wspace=0.07)
    for p, (ax, row) in enumerate(zip(axes, rows.view(-1, *m.grid), strict=False)):
        _over(ax, photo, row, scale)
        _frame(ax, POSITION_COLOURS[p])
        ax.set_title(f"place {p}", color=POSITION_COLOURS[p])
        ax.set_xlabel(f"entropy {100 * entropy_share(rows[p]).item():.3g} %", fontsize=9)
    _over(axes[4], photo, folded, scale)
    _frame(axes[4], INK)
    axes[4].set_title("all four, folded")
    _mark_patch(axes, seen.token, m, photo.shape)
    _scale_bar(fig, scale, bar)
    distances = (rows[:, None] - rows).abs().sum(-1) / 2
    return fig, {"weights": rows.view(-1, *m.grid), "folded": folded, "distances": distances}


def _over(ax: Axes, photo: np.ndarray, values: Tensor, scale: Normalize) -> None:
    """Values of a grid over a photo, every cell a block."""
    (H, W), (nH, nW) = photo.shape[:2], values.shape
    whole = values[torch.arange(H) * nH // H][:, torch.arange(W) * nW // W]  # [H, W]
    bare(ax).imshow(blend(photo, whole, scale))


def _frame(ax: Axes, colour: str) -> None:
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=3)


def _mark_patch(axes: Sequence[Axes], token: int, m: AttentionMap, shape: tuple[int, ...]) -> None:
    """Ring the middle of a patch in every picture."""
    i, j = divmod(token, m.grid[1])
    for ax in axes:
        ring(ax, (j + 0.5) * shape[1] / m.grid[1], (i + 0.5) * shape[0] / m.grid[0], 9)


def _scale_bar(fig: Figure, scale: Normalize, ax: Axes) -> None:
    """A colour bar in `ax`, in the colours that weights have over a photo."""
    bar = fig.colorbar(ScalarMappable(scale, blended_colours()), cax=ax)
    bar.set_ticks([scale.vmin, scale.vmax], labels=[f"{100 * v:.2g} %" for v in (scale.vmin, scale.vmax)])
    bar.ax.tick_params(labelsize=9, length=0)
    bar.outline.set_visible(False)


def fig_two_scales(
    found: Mapping[str, Sequence[AttentionMap]], image: Tensor, y: int, x: int, layer: int | tuple[str, int]
) -> tuple[Figure, dict[str, tuple[float, float, float]]]:
    """The same weights twice, for each network: colours from least to most, and colours from 0.

    found: network -> its maps. The honest scale is common to all and goes from 0 to the largest weight.
    data: network -> (least weight, largest weight, entropy share).
    """
    seen = {name: attention_from_pixel(maps, y, x, layer) for name, maps in found.items()}
    top = max(s.weights.max().item() for s in seen.values())
    fig, axes = plt.subplots(1, 2 * len(seen), figsize=(8, 2.6), layout="constrained")
    data = {}
    for (name, s), pair in zip(seen.items(), axes.reshape(-1, 2), strict=True):
        least, most = s.weights.min().item(), s.weights.max().item()
        photo = grey_photo(image, s.on_image.shape)
        for ax, low, high, words in ((pair[0], least, most, "least to most"), (pair[1], 0, top, "from 0")):
            bare(ax).imshow(blend(photo, s.on_image, Normalize(low, high)))
            ring(ax, x, y, 9)
            ax.set_title(f"{name}\n{words}")
            ax.set_xlabel(f"{100 * low:.3g} … {100 * high:.3g} %", fontsize=9)
        data[name] = (least, most, s.entropy)
    return fig, data


def fig_evenness(
    shares: Mapping[str, Mapping[str, Tensor]],
) -> tuple[Figure, dict[str, dict[str, tuple[float, float, float]]]]:
    """How even the rows of every layer are, for several networks: median, and the middle 90 %.

    shares: network -> layer -> entropy shares of its rows.
    data: network -> layer -> (5 %, median, 95 %).
    """
    fig, ax = plt.subplots(figsize=(8, 3.1), layout="constrained")
    data: dict[str, dict[str, tuple[float, float, float]]] = {}
    for k, (network, layers) in enumerate(shares.items()):
        colour, data[network] = CURVE_COLOURS[k], {}
        for i, (layer, values) in enumerate(layers.items()):
            flat = values.flatten().double()
            low, middle, high = (torch.quantile(flat, q).item() for q in (0.05, 0.5, 0.95))
            data[network][layer] = (low, middle, high)
            at = i + 0.14 * (2 * k - len(shares) + 1)
            ends = [100 * low, 100 * high]
            ax.plot([at, at], ends, color=colour, lw=3, alpha=0.5, solid_capstyle="butt")
            ax.plot(at, 100 * middle, "o", color=colour, ms=7)
        last = list(data[network].values())[-1][1]
        ax.text(len(layers) - 0.62, 100 * last, network, color=colour, va="center", fontsize=10)
    names = next(iter(shares.values()))
    ax.set_xticks(range(len(names)), list(names))
    ax.set_xlim(-0.5, len(names) + 0.25)
    ax.set_ylabel("entropy, % of its maximum")
    ax.hlines(100, -0.5, len(names) - 0.7, color=INK, lw=0.8, ls=":")
    return fig, data


def fig_rollouts(
    images: Sequence[Tensor], columns: Mapping[str, Sequence[Tensor]], most: float = 4
) -> tuple[Figure, dict[str, list[Tensor]]]:
    """A line for each image: the photo, then its shares [H, W], one column after the other.

    A column whose name holds "÷" shows ratios on a logarithmic scale from 1/most to most, white at 1;
    any other shows shares in units of their mean, from 0 to most, or to most/2 if that is enough.
    data: column -> what is drawn, [H, W] each.
    """
    width = min(7.6 / (len(columns) + 1), 1.9)
    fig, axes = plt.subplots(
        len(images) + 1,
        len(columns) + 1,
        figsize=(width * (len(columns) + 1) + 0.4, width * len(images) + 0.9),
        squeeze=False,
        layout="constrained",
        height_ratios=[1] * len(images) + [0.06],
    )
    bare(axes[-1, 0])
    for image, ax in zip(images, axes[:-1, 0], strict=True):
        bare(ax).imshow(to_pil(image))
    drawn: dict[str, list[Tensor]] = {}
    for (name, pictures), line in zip(columns.items(), axes.T[1:], strict=True):
        is_ratio = "÷" in name
        drawn[name] = [v.detach() if is_ratio else v.detach() / v.mean() for v in pictures]
        top = max(v.max().item() for v in drawn[name])
        high = most if is_ratio or top > most / 2 else most / 2
        norm = LogNorm(1 / most, most, clip=True) if is_ratio else Normalize(0, high, clip=True)
        for values, ax in zip(drawn[name], line[:-1], strict=True):
            bare(ax).imshow(values.numpy(), norm=norm, cmap=DIVERGING if is_ratio else SEQUENTIAL)
        line[0].set_title(name.replace(" ÷", "\n÷"), fontsize=9.5)
        _share_bar(fig, line[-1], norm, is_ratio, is_clipped=top > high)
    return fig, drawn


def _share_bar(fig: Figure, ax: Axes, norm: Normalize, is_ratio: bool, is_clipped: bool) -> None:
    """A colour bar below a column; 1 is an even share, or what even attention gives."""
    colours = ScalarMappable(norm, DIVERGING if is_ratio else SEQUENTIAL)
    bar = fig.colorbar(colours, cax=ax, orientation="horizontal")
    ticks = [norm.vmin, 1, norm.vmax]
    above = "≥" if is_clipped else ""
    bar.set_ticks(ticks, labels=[f"{ticks[0]:.2g}×", "1×", f"{above}{ticks[2]:.2g}×"])
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=9, length=0)
    bar.outline.set_visible(False)
    for label, where in zip(bar.ax.get_xticklabels()[:: len(ticks) - 1], ("left", "right"), strict=True):
        label.set_horizontalalignment(where)


def fig_deleting(
    image: Tensor, blurred: Tensor, scores: Tensor, counts: Sequence[int], probabilities: Tensor
) -> tuple[Figure, list[Tensor]]:
    """The image with more and more cells blurred, and what the network still thinks of its class.

    data: the pictures [C, H, W].
    """
    pictures = deleted(image, blurred, scores, counts)
    fig, axes = plt.subplots(1, len(counts), figsize=(8, 8 / len(counts) + 0.5), layout="constrained")
    for ax, picture, k, p in zip(axes, pictures, counts, probabilities.tolist(), strict=True):
        bare(ax).imshow(to_pil(picture))
        ax.set_title(f"{k} of {scores.numel()} cells")
        ax.set_xlabel(f"probability {p:.2f}", fontsize=9)
    return fig, pictures


def fig_curves(
    deletion: Mapping[str, Tensor], insertion: Mapping[str, Tensor], shares: Sequence[float]
) -> tuple[Figure, dict[str, tuple[float, float]]]:
    """Mean deletion and insertion curves of several orders, and the areas under both.

    deletion, insertion: order -> probability at each share of the cells, [len(shares)].
    data: order -> (area under its deletion curve, area under its insertion curve).
    """
    areas = {name: (area(deletion[name], shares), area(insertion[name], shares)) for name in deletion}
    fig, axes = plt.subplots(1, 3, figsize=(8, 3.2), layout="constrained", width_ratios=[1, 1, 1.25])
    for ax, curves, words in zip(axes, (deletion, insertion), ("blurred", "put back"), strict=False):
        for name, colour in zip(curves, _colours(list(curves)), strict=True):
            dashes = "--" if name.startswith(("random", "untrained")) else "-"
            ax.plot(
                [100 * s for s in shares], curves[name].tolist(), dashes, color=colour, lw=2, marker="o", ms=3
            )
        ax.set_xlabel(f"cells {words}, %")
        ax.set_ylim(0, 1)
    axes[0].set_ylabel("probability of the class")
    axes[0].set_title("deletion: low is good")
    axes[1].set_title("insertion: high is good")
    _area_table(axes[2], areas)
    return fig, areas


def _area_table(ax: Axes, areas: Mapping[str, tuple[float, float]]) -> None:
    """The areas as text, each order in the colour of its curves; best deletion on top."""
    bare(ax).set_xlim(0, 1)
    ax.set_ylim(-len(areas) - 0.3, 0.8)
    ax.text(0, 0, "area", fontsize=9, va="center")
    ax.text(0.78, 0, "del.", fontsize=9, ha="right", va="center")
    ax.text(1, 0, "ins.", fontsize=9, ha="right", va="center")
    colours = dict(zip(areas, _colours(list(areas)), strict=True))
    for k, (name, (lost, won)) in enumerate(sorted(areas.items(), key=lambda pair: pair[1])):
        style = {"color": colours[name], "fontsize": 9, "va": "center"}
        ax.text(0, -k - 1, name, **style)
        ax.text(0.78, -k - 1, f"{lost:.2f}", ha="right", **style)
        ax.text(1, -k - 1, f"{won:.2f}", ha="right", **style)


def fig_distances(
    found: Mapping[str, Mapping[str, float]],
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """How different the rows of two queries are, layer by layer, for several ways to choose the two.

    found: which queries -> layer -> distance (0 the same weights, 1 nothing in common). data: the same.
    """
    fig, ax = plt.subplots(figsize=(8, 2.9), layout="constrained")
    for k, (pair, layers) in enumerate(found.items()):
        values = list(layers.values())
        ax.plot(range(len(values)), values, "o-", color=CURVE_COLOURS[k], lw=2)
        ax.text(len(values) - 0.8, values[-1], pair, color=CURVE_COLOURS[k], va="center", fontsize=10)
    names = next(iter(found.values()))
    ax.set_xticks(range(len(names)), list(names))
    ax.set_xlim(-0.3, len(names) + 0.8)
    ax.set_ylim(0, 1)
    ax.set_ylabel("distance of two rows")
    return fig, {pair: dict(layers) for pair, layers in found.items()}


def _colours(names: list[str]) -> list[str]:
    colours = iter(CURVE_COLOURS)
    return [INK if name.startswith("random order") else next(colours) for name in names]
