"""Pictures of notebook 04: windows and columns, the matrices of a convolution, counts, the two blocks."""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mvit_lib.layers import TransformerLayer
from mvit_lib.look.style import ACCENT, INK, POSITION_COLOURS, SEQUENTIAL, bare, ring
from mvit_lib.patches import col2im, conv2d_by_matmul, fold_patches, im2col, output_size, unfold_patches

if TYPE_CHECKING:
    from IPython.display import HTML

# On a coloured cell; the colours are mid-tones, on which dark letters read better than white ones.
LETTERS = "#14181c"
PLAIN = "#8aa4c4"
Point = tuple[float, float]


def cell_colours(cells: int) -> tuple[str, ...]:
    """A colour for every cell of the kernel: the four of the course, or one for all."""
    return POSITION_COLOURS if cells == len(POSITION_COLOURS) else (ACCENT,) * cells


def _cell(ax: Axes, x: float, y: float, text: str = "", colour: str = "none", size: float = 9.5) -> None:
    """A unit square with its top left corner at (x, y)."""
    ax.add_patch(Rectangle((x, y), 1, 1, fc=colour, ec=INK, lw=0.8))
    if text:
        ink = INK if colour == "none" else LETTERS
        ax.text(x + 0.5, y + 0.53, text, ha="center", va="center", fontsize=size, color=ink)


def _table(
    ax: Axes, values: Tensor, corner: tuple[float, float], lit: Mapping[tuple[int, int], str] | None = None
) -> None:
    """Numbers in squares; those in `lit` have a colour."""
    for row, numbers in enumerate(values.tolist()):
        for column, value in enumerate(numbers):
            colour = (lit or {}).get((row, column), "none")
            _cell(ax, corner[0] + column, corner[1] + row, f"{value:g}", colour)


def _canvas(ax: Axes, width: float, height: float) -> Axes:
    """Axes of width × height unit squares, counted from the top left."""
    bare(ax).set_aspect("equal")
    ax.set_xlim(-0.1, width + 0.1)
    ax.set_ylim(height + 0.1, -0.1)
    return ax


def window_pixels(position: int, width: int, kernel: tuple[int, int], stride: int) -> list[tuple[int, int]]:
    """The pixels under the kernel at an output position; `width` is the output's number of columns."""
    i, j = divmod(position, width)
    return [(i * stride + u, j * stride + v) for u in range(kernel[0]) for v in range(kernel[1])]


def fig_three_steps(
    x: Tensor, kernel: Tensor, positions: Sequence[int] = (4,), stride: int = 1
) -> tuple[Figure, dict]:
    """Window, column and output pixel of some positions; the still pictures of `animate_convolution`.

    x [H, W], kernel [kh, kw], small whole numbers. The sums stand where row M and the columns cross.
    data: columns [kh·kw, L], output [oH, oW] and, for every position, the pixels of its window.
    """
    data = steps_of(x, kernel, stride)
    columns, output = data["columns"], data["output"]
    (cells, L), (oH, oW), (H, W) = columns.shape, output.shape, x.shape
    colours = cell_colours(cells)
    middle, sums = max(W, cells) + 2.2, cells + 1.8  # left edge of the columns, upper edge of the sums
    right, top = middle + L + 2.2, sums + 0.5 - oH / 2  # corner of the output
    size = right + oW, max(H + 0.9, sums + 1, top + oH)
    fig, axes = plt.subplots(
        len(positions), 1, figsize=(8, len(positions) * 8 * size[1] / size[0]), squeeze=False
    )
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99, hspace=0.06)
    data["windows"] = {p: window_pixels(p, oW, tuple(kernel.shape), stride) for p in positions}
    for ax, (position, pixels) in zip(axes[:, 0], data["windows"].items(), strict=True):
        _canvas(ax, *size)
        row = middle - cells - 0.4
        _table(ax, x, (0, 0.9), dict(zip(pixels, colours, strict=True)))
        _table(ax, kernel.reshape(1, -1), (row, sums), {(0, k): colours[k] for k in range(cells)})
        _table(ax, columns, (middle, 0.9), {(k, position): colours[k] for k in range(cells)})
        _table(ax, output.reshape(1, -1), (middle, sums), {(0, position): "#c9cdd2"})
        _table(ax, output, (right, top), {divmod(position, oW): "#c9cdd2"})
        words = {"map x": (0, 0.9), "columns": (middle, 0.9), "M": (row, sums)}
        words |= {"M · columns": (middle, sums), "output y": (right, top)}
        for word, (at, y) in words.items():
            ax.text(at, y - 0.4, word, fontsize=9.5, va="center")
        ways = (W, middle, 0.9 + H / 2, "unfold"), (middle + L, right, sums + 0.5, "fold")
        for start, end, y, word in ways:
            _arrow(ax, (start + 0.2, y), (end - 0.2, y), word, ((start + end) / 2, y - 0.25))
    return fig, data


def steps_of(x: Tensor, kernel: Tensor, stride: int = 1) -> dict:
    """The columns [kh·kw, L] and the output [oH, oW] of a convolution with one channel."""
    columns = im2col(x[None, None], tuple(kernel.shape), stride)[0]  # [kh·kw, L]
    size = output_size(tuple(x.shape), tuple(kernel.shape), stride)
    return {"columns": columns, "output": (kernel.reshape(1, -1) @ columns).reshape(size)}


def convolution_page(x: Tensor, kernel: Tensor, stride: int = 1) -> str:
    """A self-contained HTML page in which window, column and output light up together.

    x [H, W], kernel [kh, kw], small whole numbers. The page computes nothing: its numbers come from
    `im2col` and a matrix product.
    """
    steps = steps_of(x, kernel, stride)
    numbers = {name: values.int().tolist() for name, values in steps.items()}
    numbers |= {"x": x.int().tolist(), "kernel": kernel.int().tolist(), "stride": stride}
    numbers |= {"colours": cell_colours(kernel.numel())}
    template = (files("mvit_lib.look") / "convolution.html").read_text(encoding="utf-8")
    return template.replace("/* DATA */", json.dumps(numbers, separators=(",", ":")))


def animate_convolution(x: Tensor, kernel: Tensor, stride: int = 1, height: int = 375) -> "HTML":
    """`convolution_page` in a frame `height` pixels high, for a notebook."""
    from IPython.display import HTML

    page = html.escape(convolution_page(x, kernel, stride), quote=True)
    style = f"width:100%;max-width:800px;height:{height}px;border:0"
    return HTML(
        f'<div><iframe title="A convolution in three steps" style="{style}" srcdoc="{page}"></iframe></div>'
    )


def fig_settings(
    n: int, kernel_size: int, settings: Mapping[str, tuple[int, int, int]]
) -> tuple[Figure, dict[str, Tensor]]:
    """Which pixels of one axis the kernel reads at each position.

    settings: name -> (stride, padding, dilation).
    data: for every name the pixels read, [positions, kernel_size]; below 0 and from n on lies padding.
    """
    data = {}
    for name, (stride, padding, dilation) in settings.items():
        L = output_size((n, n), kernel_size, stride, padding, dilation)[0]
        starts = torch.arange(L)[:, None] * stride - padding
        data[name] = starts + torch.arange(kernel_size) * dilation  # [positions, K]
    tallest = max(map(len, data.values()))
    fig, axes = plt.subplots(1, len(data), figsize=(8, 2.5), squeeze=False)
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.92, wspace=0.08)
    for ax, (name, read) in zip(axes[0], data.items(), strict=True):
        _canvas(ax, n + 2, tallest * 1.25 + 1.6).set_ylim(tallest * 1.25 + 1.7, -1.3)
        ax.set_anchor("N")
        padding = settings[name][1]
        for pixel in range(-padding, n + padding):
            inside = 0 <= pixel < n
            _cell(ax, pixel + 1, 0, str(pixel) if inside else "", "none" if inside else "#c9cdd2", 9)
            if not inside:
                ax.text(pixel + 1.5, -0.35, "pad", ha="center", fontsize=9)
        for position, pixels in enumerate(read.tolist()):
            for pixel in pixels:
                _cell(ax, pixel + 1, 1.6 + 1.25 * position, colour=ACCENT)
        over = n + padding - 1 - read.max().item()
        left = f", {over} left over" if over else ""
        ax.set_title(f"{name}: {len(read)} positions{left}", fontsize=9)
    return fig, data


def fig_weight_matrices(channels: int, kernel_size: int, groups: Sequence[int]) -> tuple[Figure, dict]:
    """Where the matrix M of a convolution with as many outputs as inputs can differ from 0.

    One strip for every number of groups, and one for a 1 × 1 convolution.
    data: title -> bool [O, C·K²].
    """
    data = {}
    for g, K in [*((g, kernel_size) for g in groups), (1, 1)]:
        per_group, cells = channels // g, K * K
        block = torch.ones(per_group, per_group * cells, dtype=torch.bool)
        mask = torch.block_diag(*[block.float()] * g).bool()  # [O, C·K²]
        kind = "depthwise, " if g == channels else ""
        data[f"{K} × {K}, {kind}groups = {g}: {int(mask.sum())} weights"] = mask
    fig, axes = plt.subplots(len(data), 1, figsize=(8, 1.45 * len(data)))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.96, hspace=0.28)
    widest = max(mask.shape[1] for mask in data.values())
    for ax, (title, mask) in zip(axes, data.items(), strict=True):
        _canvas(ax, widest + 3.2, channels + 1).set_anchor("W")
        ax.set_title(title, fontsize=9.5, loc="left")
        for row, column in torch.cartesian_prod(*map(torch.arange, mask.shape)).tolist():
            _cell(ax, column + 3.2, row + 1, colour=ACCENT if mask[row, column] else "none")
        cells = mask.shape[1] // channels
        for c in range(channels):
            ax.text(3, c + 1.53, f"output {c}", ha="right", va="center", fontsize=9)
            word = f"channel {c}" if cells > 1 else str(c)
            ax.text(3.2 + (c + 0.5) * cells, 0.5, word, ha="center", va="center", fontsize=9)
            if c and cells > 1:
                ax.plot([3.2 + c * cells] * 2, [0.9, channels + 1.1], color=INK, lw=2.4)
        if cells == 1:
            ax.text(3.4 + channels, 0.5, "channel", va="center", fontsize=9)
    return fig, data


def convolution_matrix(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """The matrix that turns a map of `size` = (H, W), written as one column, into its convolution.

    Shape: kernel [kh, kw] -> [oH·oW, H·W]. Column q is the convolution of a map that is 1 at pixel q.
    """
    H, W = size
    pixels = torch.eye(H * W, dtype=kernel.dtype).reshape(H * W, 1, H, W)
    return conv2d_by_matmul(pixels, kernel[None, None]).flatten(1).T  # [oH·oW, H·W]


def fig_convolution_matrix(kernel: Tensor, size: tuple[int, int]) -> tuple[Figure, Tensor]:
    """The matrix of a convolution with its repeated weights; heavy lines between rows of the maps.

    data: the matrix, [oH·oW, H·W].
    """
    matrix = convolution_matrix(kernel, size)
    (rows, columns), (oH, oW) = matrix.shape, output_size(size, tuple(kernel.shape))
    colour_of = dict(zip(kernel.flatten().tolist(), cell_colours(kernel.numel()), strict=True))
    fig, ax = plt.subplots(figsize=(8, 8 * (rows + 2) / (columns + 3)))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99)
    _canvas(ax, columns + 2, rows + 1.6)
    for row, numbers in enumerate(matrix.tolist()):
        ax.text(1.8, row + 2.1, f"y {divmod(row, oW)}", ha="right", va="center", fontsize=9.5)
        for column, value in enumerate(numbers):
            _cell(ax, column + 2, row + 1.6, f"{value:g}" if value else "", colour_of.get(value, "none"))
    for column in range(columns):
        place = divmod(column, size[1])
        ax.text(column + 2.5, 1.1, f"{place}".replace(" ", ""), ha="center", fontsize=9)
    ax.text(2, 0.4, "pixel of x (row, column)", fontsize=9.5)
    for i in range(oH + 1):
        ax.plot([2, 2 + columns], [1.6 + i * oW] * 2, color=INK, lw=2.4)
    for i in range(size[0] + 1):
        ax.plot([2 + i * size[1]] * 2, [1.6, 1.6 + rows], color=INK, lw=2.4)
    return fig, matrix


def unfold_matrix(size: tuple[int, int], kernel_size: tuple[int, int], stride: int = 1) -> Tensor:
    """The matrix U of `im2col` on one channel: map as one column -> columns as one column.

    Shape: [kh·kw·L, H·W], rows in the order of `columns.flatten()`; every row holds a single 1.
    """
    H, W = size
    pixels = torch.eye(H * W).reshape(H * W, 1, H, W)
    return im2col(pixels, kernel_size, stride).flatten(1).T  # [kh·kw·L, H·W]


def fig_unfold_matrix(size: tuple[int, int], kernel_size: tuple[int, int]) -> tuple[Figure, Tensor]:
    """The matrix U of ones and zeros, and under it the sum of each of its columns.

    data: the matrix, [kh·kw·L, H·W].
    """
    matrix = unfold_matrix(size, kernel_size)
    rows, columns = matrix.shape
    cells = kernel_size[0] * kernel_size[1]
    L, colours = rows // cells, cell_colours(cells)
    tall = 0.5  # a row is half as high as a column is wide
    fig, ax = plt.subplots(figsize=(8, 8 * (rows * tall + 3.2) / (columns + 4.5)))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99)
    _canvas(ax, columns + 4.2, rows * tall + 3.0)
    for row, column in torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).tolist():
        fill = colours[row // L] if matrix[row, column] else "none"
        ax.add_patch(Rectangle((column + 4, row * tall + 1), 1, tall, fc=fill, ec=INK, lw=0.6))
    for cell in range(cells):
        word = f"window cell {divmod(cell, kernel_size[1])}"
        ax.text(3.8, (cell + 0.5) * L * tall + 1, word, ha="right", va="center", fontsize=9.5)
        ax.plot([4, 4 + columns], [cell * L * tall + 1] * 2, color=INK, lw=2.4)
    for column, total in enumerate(matrix.sum(0).tolist()):
        ax.text(column + 4.5, 0.7, str(column), ha="center", fontsize=9.5)
        _cell(ax, column + 4, rows * tall + 1.6, f"{total:g}", "#c9cdd2")
    ax.text(3.8, 0.6, "pixel", ha="right", va="center", fontsize=9.5)
    ax.text(3.8, rows * tall + 2.1, "ones in this column", ha="right", va="center", fontsize=9.5)
    return fig, matrix


def overlap_counts(size: tuple[int, int], kernel_size: int, stride: int = 1) -> Tensor:
    """How many windows read each pixel of a map of `size`: [H, W]."""
    ones = im2col(torch.ones(1, 1, *size), kernel_size, stride)
    return col2im(ones, size, kernel_size, stride)[0, 0]


def fig_counts(size: tuple[int, int], settings: Sequence[tuple[int, int]]) -> tuple[Figure, dict]:
    """How many windows read each pixel, for pairs (kernel size, stride).

    data: (kernel size, stride) -> [H, W].
    """
    data = {(K, stride): overlap_counts(size, K, stride) for K, stride in settings}
    most = max(counts.max().item() for counts in data.values())
    fig, axes = plt.subplots(
        1, len(data), figsize=(8, 0.55 + 8 / len(data) * size[0] / size[1]), squeeze=False
    )
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.86, wspace=0.08)
    for ax, ((K, stride), counts) in zip(axes[0], data.items(), strict=True):
        bare(ax).imshow(counts.numpy(), cmap=SEQUENTIAL, vmin=0, vmax=most)
        ax.set_title(f"kernel {K} × {K}, stride {stride}")
        for row, column in torch.cartesian_prod(*map(torch.arange, counts.shape)).tolist():
            value = counts[row, column].item()
            ink = "white" if value < 0.6 * most else "black"
            ax.text(column, row, f"{value:g}", ha="center", va="center", fontsize=9, color=ink)
    return fig, data


def seen_from(function: Callable[[Tensor], Tensor], size: tuple[int, int], query: tuple[int, int]) -> Tensor:
    """Which pixels of a map [1, D, H, W] can change the output pixel `query`: bool [H, W].

    function: takes maps with eight channels and keeps H and W.
    """
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, 8, *size, generator=draw, dtype=torch.float64, requires_grad=True)
    pixel = function(x)[0, :, query[0], query[1]]
    (gradient,) = torch.autograd.grad((pixel * torch.randn(8, generator=draw)).sum(), x)
    return gradient[0].abs().sum(0) > 0


def fig_two_blocks(
    size: tuple[int, int] = (6, 8), query: tuple[int, int] = (2, 3)
) -> tuple[Figure, dict[str, Tensor]]:
    """Convolution and MobileViT block: unfold, a middle, fold; and what the ringed pixel sees.

    data: for both the pixels that reach the query, bool [H, W], found by running them.
    """
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 8, 3, 3, generator=draw, dtype=torch.float64)
    layer = TransformerLayer(8, 2, 2).double().eval()

    def transform(x: Tensor) -> Tensor:
        tokens = unfold_patches(x, 2)  # [B, P, N, D]
        mixed = layer(tokens.flatten(0, 1)).view(tokens.shape)  # [B, P, N, D]
        return fold_patches(mixed, size, 2)  # [B, D, H, W]

    data = {
        "convolution": seen_from(lambda x: conv2d_by_matmul(x, weight, padding=1), size, query),
        "unfold, transformer, fold": seen_from(transform, size, query),
    }
    fig, axes = plt.subplots(2, 1, figsize=(8, 5.0))
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.99, hspace=0.04)
    colours = PLAIN, POSITION_COLOURS[query[0] % 2 * 2 + query[1] % 2]
    middles, W = (_draw_columns, _draw_tokens), size[1]
    for ax, middle, colour, (name, seen) in zip(axes, middles, colours, data.items(), strict=True):
        _canvas(ax, 2 * W + 12.4, size[0] + 2.4)
        ax.text(0, 0.4, name, fontsize=10.5, fontweight="bold", va="center")
        only = torch.zeros_like(seen)
        only[query] = True
        for left, lit in ((0, seen), (W + 12.4, only)):
            for row, column in torch.cartesian_prod(*map(torch.arange, size)).tolist():
                _cell(ax, left + column, row + 1, colour=colour if lit[row, column] else "none")
            ring(ax, left + query[1] + 0.5, query[0] + 1.5, 9)
        _arrow(ax, (W + 0.2, 2.4), (W + 1.9, 2.4), "unfold", (W + 1.05, 2.1))
        x, y = middle(ax, W + 6.2, colour, seen, query)
        end = W + 12.4 + query[1] + 0.2, query[0] + 1.8
        _arrow(ax, (x, y), end, "fold", (W + 11.2, 5.9), colour, "angle3,angleA=0,angleB=70")
    return fig, data


def _arrow(
    ax: Axes, start: Point, end: Point, word: str, place: Point, colour: str = INK, way: str = "arc3"
) -> None:
    """An arrow, and its word at `place`."""
    style = {"arrowstyle": "-|>", "color": colour, "lw": 1.4, "connectionstyle": way}
    ax.annotate("", end, start, arrowprops=style, zorder=5)
    ax.text(*place, word, ha="center", fontsize=9.5)


def _draw_columns(ax: Axes, centre: float, colour: str, seen: Tensor, query: tuple[int, int]) -> Point:
    """The query's column with its pixels among some others, each above its own result; the way out."""
    for k in range(-5, 6):
        x = centre + 0.7 * k - 0.3
        for cell in range(9) if k == 0 else ():
            ax.add_patch(Rectangle((x, 1 + 0.46 * cell), 0.6, 0.46, fc=colour, ec=INK, lw=0.8))
        if k:
            ax.add_patch(Rectangle((x, 1), 0.6, 9 * 0.46, fc="none", ec=INK, lw=0.8))
        ax.add_patch(Rectangle((x, 6.1), 0.6, 0.6, fc="none" if k else colour, ec=INK, lw=0.8))
        ax.plot([x + 0.3] * 2, [1.1 + 9 * 0.46, 6], color=INK if k else colour, lw=0.8 if k else 2.4)
    for side in (-1, 1):
        ax.text(centre + side * 4.2, 3, "…", ha="center", va="center", fontsize=10)
    words = f"matrix product: each of {seen.numel()} columns alone"
    ax.text(centre, 7.9, words, ha="center", va="center", fontsize=9.5)
    return centre, 7.15


def _draw_tokens(ax: Axes, centre: float, colour: str, seen: Tensor, query: tuple[int, int]) -> Point:
    """The tokens of the query's place before and after the transformer, all linked; the way out."""
    N, own = int(seen.sum()), query[0] // 2 * (seen.shape[1] // 2) + query[1] // 2
    places = [centre + 0.7 * (t - (N - 1) / 2) for t in range(N)]
    for t, x in enumerate(places):
        for y in (1.4, 6.1):
            lit = y < 2 or t == own
            ax.add_patch(Rectangle((x - 0.3, y), 0.6, 0.6, fc=colour if lit else "none", ec=INK, lw=0.8))
        for end in places:
            mine = end == places[own]
            ax.plot([x, end], [2.1, 6], color=colour, lw=1.6 if mine else 0.3, zorder=1 + mine)
    ax.text(centre, 0.9, f"{N} tokens: the pixels of one place", ha="center", va="center", fontsize=9.5)
    words = f"transformer: each token hears all {N}"
    ax.text(centre, 7.9, words, ha="center", va="center", fontsize=9.5)
    return places[own], 7.15
