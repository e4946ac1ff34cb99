"""Pictures of notebook 05: what neighbours know, what ReLU loses, how far a pixel sees, two marks."""

from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from torch import Tensor, nn

from mvit_lib.look.style import ACCENT, INK, SEQUENTIAL, bare, ring

PLAIN = "#8aa4c4"
# Lines that must be told apart; told by their labels too, and by their dashes.
LINES = ("#2f8fd8", ACCENT, "#12a279", "#c9609f", "#b08900")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def pixel_correlation(image: Tensor, distance: int) -> float:
    """Correlation of two pixels `distance` columns apart, over all such pairs of an image [H, W]."""
    pairs = torch.stack([image[:, :-distance].flatten(), image[:, distance:].flatten()])  # [2, pairs]
    return torch.corrcoef(pairs)[0, 1].item()


def fig_correlation(
    photos: Mapping[str, Tensor], shuffled: Mapping[str, Tensor], distances: Sequence[int]
) -> tuple[Figure, dict[str, dict[str, list[float]]]]:
    """The first photo and its shuffled twin, and the correlation against the distance for all photos.

    photos, shuffled: name -> grey image [H, W]. data: {"photos" | "shuffled": {name: correlations}}.
    """
    data = {
        kind: {name: [pixel_correlation(image, d) for d in distances] for name, image in images.items()}
        for kind, images in (("photos", photos), ("shuffled", shuffled))
    }
    fig = plt.figure(figsize=(8, 3.6))
    first = next(iter(photos))
    for row, (word, images) in enumerate({first: photos, "shuffled": shuffled}.items()):
        ax = bare(fig.add_axes((0.0, 0.53 - 0.5 * row, 0.2, 0.4)))
        ax.imshow(images[first].numpy(), cmap="gray", vmin=0, vmax=1)
        ax.set_title(word, pad=3)
    ax = fig.add_axes((0.31, 0.15, 0.53, 0.8))
    ends = {name: values[-1] for name, values in data["photos"].items()}
    heights = dict(zip(sorted(ends, key=ends.get), _spread(sorted(ends.values()), 0.09), strict=True))
    for i, (name, values) in enumerate(data["photos"].items()):
        ax.plot(distances, values, color=LINES[i], ls=DASHES[i], lw=2)
        ax.text(distances[-1] * 1.1, heights[name], name, color=LINES[i], va="center")
    for values in data["shuffled"].values():
        ax.plot(distances, values, color=INK, lw=1)
    ax.text(distances[0], -0.08, "all four, shuffled", va="center", fontsize=9.5)
    ax.set_xscale("log", base=2)
    ax.set_xticks(distances, [str(d) for d in distances])
    ax.set_ylim(-0.28, 1.02)
    ax.set_xlabel("distance of the two pixels")
    ax.set_ylabel("correlation")
    return fig, data


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Rising heights, the later ones moved up so that all lie at least `gap` apart."""
    spread: list[float] = []
    for height in heights:
        spread.append(max(height, spread[-1] + gap) if spread else height)
    return spread


def fig_shift(
    changes: Mapping[str, Sequence[float]], marked: Sequence[int] = (16, 32)
) -> tuple[Figure, Mapping[str, Sequence[float]]]:
    """How much the mean feature changes when the photo is shifted by 0, 1, 2, … pixels.

    changes: name -> one number per shift. data: the same.
    """
    fig, axes = plt.subplots(1, len(changes), figsize=(8, 2.9), sharey=True)
    fig.subplots_adjust(left=0.095, right=0.99, bottom=0.17, top=0.86, wspace=0.12)
    for ax, (name, values) in zip(axes, changes.items(), strict=True):
        ax.plot(range(len(values)), values, color=PLAIN, lw=2)
        ax.plot(range(len(values)), values, ".", color=PLAIN, ms=5)
        for shift in marked:
            if shift < len(values):
                ax.plot(shift, values[shift], "o", color=ACCENT, ms=7, clip_on=False)
        ax.set_title(name)
        ax.set_xticks([0, *marked])
        ax.set_xlabel("shift in pixels")
    axes[0].set_ylabel("change of the mean\n(to another photo: 1)")
    axes[0].set_ylim(-0.04, None)
    return fig, changes


def fig_block(widths: Sequence[int], size: int) -> tuple[Figure, dict[str, int]]:
    """The inverted residual drawn by its widths: narrow, wide, wide, narrow, and the way around it.

    widths: channels of the input, after expand, after depthwise and of the output, on a map of
    size × size. data: the numbers of each of the three convolutions' weights.
    """
    C, hidden, filtered, out = widths
    data = {"expand 1 × 1": C * hidden, "depthwise 3 × 3": 9 * hidden, "project 1 × 1": filtered * out}
    fig, ax = plt.subplots(figsize=(8, 3.1))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99)
    bare(ax)
    scale, middle, places = 2.6 / max(widths), 1.9, (0.6, 3.6, 6.6, 9.6)
    for x, width in zip(places, widths, strict=True):
        height = width * scale
        corner = (x - 0.2, middle - height / 2)
        ax.add_patch(Rectangle(corner, 0.4, height, fc=PLAIN, ec=INK, lw=1))
        ax.text(x, middle - height / 2 - 0.2, f"{width}", ha="center", va="center", fontsize=10)
    for (word, weights), left, right in zip(data.items(), range(3), range(1, 4), strict=True):
        a, b = places[left], places[right]
        top, bottom = widths[left] * scale / 2, widths[right] * scale / 2
        corners = [(a + 0.2, middle - top), (a + 0.2, middle + top)]
        corners += [(b - 0.2, middle + bottom), (b - 0.2, middle - bottom)]
        ax.add_patch(Polygon(corners, fc=PLAIN, alpha=0.13, ec="none"))
        ends = "linear" if left == 2 else "then an activation"
        lines = f"{word}\n{weights:,} weights\n{ends}"
        ax.text((a + b) / 2, middle, lines, ha="center", va="center", fontsize=9.5)
    if C == out:
        style = {"arrowstyle": "-|>", "color": ACCENT, "lw": 2, "connectionstyle": "arc3,rad=-0.32"}
        start, end = (places[0], middle + C * scale / 2), (places[3], middle + out * scale / 2)
        ax.annotate("", end, start, arrowprops=style)
        ax.text(5.1, 3.55, "x, added to the result", ha="center", color=ACCENT, fontsize=10)
    ax.text(5.1, 0.02, f"channels of a {size} × {size} map", ha="center", fontsize=9.5)
    ax.set_xlim(0, 10.2)
    ax.set_ylim(-0.1, 4.15)
    return fig, data


def survivors(points: Tensor, directions: Tensor) -> Tensor:
    """Which points [M, d] can be computed back after ReLU(points @ directions): bool [M].

    A channel that ReLU lets pass tells one number of the point; d independent ones are needed.
    """
    passed = points @ directions > 0  # [M, n]
    ranks = [torch.linalg.matrix_rank(directions[:, row]).item() for row in passed]
    return torch.tensor(ranks) == points.shape[1]


def spiral(count: int = 300) -> Tensor:
    """Points [count, 2] along three turns of a spiral."""
    t = torch.linspace(0.15, 1, count)
    angle = 6 * torch.pi * t
    return torch.stack([t * angle.cos(), t * angle.sin()], 1)


def fig_spiral(channels: Sequence[int] = (2, 3, 6, 12), seed: int = 28) -> tuple[Figure, dict[int, Tensor]]:
    """A spiral sent through n random channels with ReLU: what can be computed back, what is lost.

    data: {n: bool [points], what survives}.
    """
    points = spiral()
    draw = torch.Generator().manual_seed(seed)
    fig, axes = plt.subplots(1, len(channels), figsize=(8, 2.4))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.86, wspace=0.05)
    data = {}
    for ax, n in zip(axes, channels, strict=True):
        data[n] = kept = survivors(points, torch.randn(2, n, generator=draw))
        bare(ax).set_aspect("equal")
        ax.plot(*points[~kept].T, ".", color=ACCENT, ms=3)
        ax.plot(*points[kept].T, ".", color="#2f8fd8", ms=7)
        ax.set_xlim(-1.1, 1.1)
        ax.set_ylim(-1.1, 1.1)
        ax.set_title(f"{n} channels: {kept.float().mean():.0%} kept")
    return fig, data


def levels_of(layers: Sequence[tuple[int, int]], place: int = 0) -> list[list[int]]:
    """The pixels that reach output pixel `place`, level by level, from the output down to the input.

    layers: (kernel, stride) in forward order, along one axis, centred kernels.
    """
    levels = [[place]]
    for kernel, stride in reversed(layers):
        reach = range(-(kernel // 2), kernel // 2 + 1)
        levels.append(sorted({stride * pixel + step for pixel in levels[-1] for step in reach}))
    return levels


def fig_pyramid(layers: Sequence[tuple[int, int]]) -> tuple[Figure, list[list[int]]]:
    """One axis, a stack of convolutions: which pixels of each level reach the top one.

    layers: (kernel, stride) in forward order. data: the pixels of each level, from the top down.
    """
    data = levels_of(layers)
    jumps = [1]
    for _, stride in layers:
        jumps.append(jumps[-1] * stride)
    reach = max(map(abs, data[-1])) + 1
    fig, ax = plt.subplots(figsize=(8, 0.95 * len(data) + 0.1))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99)
    bare(ax)
    for level, pixels in enumerate(data):
        jump, y = jumps[-1 - level], -1.1 * level
        for pixel in range(-(reach // jump), reach // jump + 1):
            lit = pixel in pixels
            colour = ACCENT if lit and level == 0 else PLAIN if lit else "none"
            ax.add_patch(Rectangle((pixel * jump - 0.38, y - 0.2), 0.76, 0.4, fc=colour, ec=INK, lw=0.8))
        if level:
            kernel, stride = layers[-level]
            for above in data[level - 1]:
                for step in range(-(kernel // 2), kernel // 2 + 1):
                    x = (above * stride + step) * jump, above * jump * stride
                    ax.plot(x, (y + 0.2, y + 0.9), color=INK, lw=0.8)
        words = f"after 3 × 3, stride {layers[-1 - level][1]}" if level < len(layers) else "input"
        many = f"{len(pixels)} pixel{'s' * (len(pixels) > 1)}"
        ax.text(reach + 1, y, f"{words}: {many}, jump {jump}", va="center", fontsize=9.5)
    ax.set_xlim(-reach - 0.6, reach + 9.2)
    ax.set_ylim(-1.1 * len(data) + 0.7, 0.35)
    return fig, data


def field_of(network: nn.Module) -> int:
    """Receptive field along one axis of all convolutions in `network`, run one after the other."""
    seen, jump = 1, 1
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            seen += module.dilation[1] * (module.kernel_size[1] - 1) * jump
            jump *= module.stride[1]
    return seen


def pixel_gradient(
    network: Callable[[Tensor], Tensor], images: Tensor, place: tuple[int, int] | None = None
) -> Tensor:
    """How strongly each input pixel acts on one output pixel: mean of |∂|, [H, W].

    images [B, C, H, W]; network gives [B, O, h, w]; place (row, column) of the output, by default its
    middle. The O outputs are mixed with random weights, so that they cannot cancel each other.
    """
    x = images.detach().clone().requires_grad_()
    y = network(x)
    row, column = place if place is not None else (y.shape[2] // 2, y.shape[3] // 2)
    mixture = torch.randn(y.shape[:2], generator=torch.Generator().manual_seed(0), dtype=y.dtype)
    (gradient,) = torch.autograd.grad((y[:, :, row, column] * mixture).sum(), x)
    return gradient.abs().sum(1).mean(0)  # [H, W]


def share_holding(gradient: Tensor, part: float = 0.9) -> float:
    """The smallest share of all pixels that holds `part` of the whole gradient [H, W]."""
    sorted_sums = gradient.flatten().sort(descending=True).values.cumsum(0)
    needed = int((sorted_sums < part * sorted_sums[-1]).sum()) + 1
    return needed / gradient.numel()


def fig_reach(
    gradients: Mapping[str, Mapping[str, Tensor]], fields: Mapping[str, Mapping[str, int]]
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """Where the gradient of the middle output pixel lies, a row per network and a column per stage.

    gradients: network -> stage -> [H, W]. fields: network -> stage -> side of the square that theory
    says is seen, or none where it sees everything. data: the share of pixels holding 90 % of it.
    """
    columns = max(map(len, gradients.values()))
    fig, axes = plt.subplots(len(gradients), columns, figsize=(8, 2.1 * len(gradients)), squeeze=False)
    fig.subplots_adjust(left=0.04, right=0.9, bottom=0.01, top=0.94, wspace=0.06, hspace=0.2)
    data: dict[str, dict[str, float]] = {}
    for row, (network, stages) in zip(axes, gradients.items(), strict=True):
        data[network] = {}
        row[0].set_ylabel(network, fontsize=10)
        for ax, (stage, gradient) in zip(row, stages.items(), strict=True):
            data[network][stage] = share = share_holding(gradient)
            bare(ax)
            size = gradient.shape[0]
            shown = (gradient / gradient.max()).clamp_min(1e-5).log10()
            image = ax.imshow(shown.numpy(), cmap=SEQUENTIAL, vmin=-4, vmax=0)
            digits = 0 if share > 0.1 else 1
            ax.set_title(f"{stage}: 90 % in {100 * share:.{digits}f} %", fontsize=9.5)
            side = fields.get(network, {}).get(stage)
            if side is not None and side < size:
                corner = (size - side) / 2
                ax.add_patch(Rectangle((corner, corner), side, side, fill=False, ec=ACCENT, lw=1.6))
    bar = fig.colorbar(image, cax=fig.add_axes((0.915, 0.1, 0.015, 0.75)), ticks=range(-4, 1))
    bar.ax.set_yticklabels(["1/10,000", "1/1,000", "1/100", "1/10", "largest"])
    bar.outline.set_visible(False)
    return fig, data


def fig_marks(
    images: Tensor,
    labels: Tensor,
    field: int,
    places: Sequence[tuple[int, int]],
    columns: Sequence[tuple[int, int]],
) -> tuple[Figure, list[Tensor]]:
    """Some pictures of the task, each with the square that one output pixel sees.

    images [M, 3, H, W], labels [M]; field: side r of the square; places: (row, column) of its middle;
    columns: of both marks, whose distance is Δ. data: what each square holds, [3, h, w].
    """
    fig, axes = plt.subplots(len(images), 1, figsize=(8, 1.95 * len(images)))
    fig.subplots_adjust(left=0.01, right=0.85, bottom=0.01, top=0.99, hspace=0.02)
    data = []
    drawn = zip(axes, images, labels.tolist(), places, columns, strict=True)
    for ax, image, label, (row, column), (first, second) in drawn:
        bare(ax).imshow(image.permute(1, 2, 0).numpy())
        H, W = image.shape[1:]
        top, left = max(0, row - field // 2), max(0, column - field // 2)
        bottom, right = min(H, row + field // 2 + 1), min(W, column + field // 2 + 1)
        data.append(image[:, top:bottom, left:right])
        outline = [patheffects.withStroke(linewidth=4.5, foreground="white")]
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=ACCENT,
                               lw=2.2, path_effects=outline, clip_on=False))  # fmt: skip
        ring(ax, column, row, 9)
        _bracket(ax, (first - 0.5, second - 0.5), -0.85, -0.25, f"Δ = {second - first}")
        _bracket(ax, (left - 0.5, right - 0.5), H - 0.15, 0.25, f"r = {field}", ACCENT)
        ax.set_ylim(H + 0.75, -1.75)
        ax.text(W + 0.2, (H - 1) / 2, ("different", "same")[label], va="center", fontsize=10)
    return fig, data


def _bracket(
    ax: Axes, ends: tuple[float, float], y: float, tick: float, words: str, colour: str = INK
) -> None:
    """A line from end to end at height y, its ends turned back by `tick`, with words in the middle."""
    (a, b), middle = ends, sum(ends) / 2
    ax.plot((a, a, b, b), (y - tick, y, y, y - tick), color=colour, lw=1.3, clip_on=False)
    ax.text(middle, y + 1.8 * tick, words, ha="center", va="center", color=colour, fontsize=10)


def fig_cliff(
    accuracies: Mapping[str, Mapping[int, float]], fields: Mapping[str, int]
) -> tuple[Figure, dict[str, list[int]]]:
    """Accuracy against the distance of the marks, with the receptive field of each network drawn in.

    accuracies: name -> {distance: share of right answers}. fields: name -> receptive field in pixels.
    data: for each network the distances at which one pixel can see both marks.
    """
    fig, ax = plt.subplots(figsize=(8, 3.3))
    fig.subplots_adjust(left=0.09, right=0.98, bottom=0.16, top=0.9)
    data = {}
    for i, (name, shares) in enumerate(accuracies.items()):
        colour, field = LINES[i], fields[name]
        data[name] = [distance for distance in shares if distance <= field]
        ax.axvline(field, color=colour, lw=1.2, ls=":")
        ax.text(field + 0.12, 1.06, f"{name}: sees {field} pixels", color=colour, fontsize=9.5)
        ax.plot(list(shares), list(shares.values()), "os"[i % 2], ls=DASHES[i], color=colour, ms=7, lw=2)
    _guessing(ax)
    ax.set_ylim(0.22, 1.04)
    ax.set_xticks(sorted({distance for shares in accuracies.values() for distance in shares}))
    ax.set_yticks([0.25, 0.5, 0.75, 1], ["25 %", "50 %", "75 %", "100 %"])
    ax.set_xlabel("distance of the two marks in pixels")
    ax.set_ylabel("right answers")
    return fig, data


def _guessing(ax: Axes) -> None:
    ax.axhline(0.5, color=INK, lw=0.9)
    ax.text(2, 0.44, "guessing", va="center", fontsize=9.5)
