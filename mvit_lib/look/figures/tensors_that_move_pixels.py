"""Pictures of notebook 01: where did each number go? Every cell keeps the colour of its origin.

`fig_provenance` draws any move of numbers, whatever made it; `fig_storage` shows the line of numbers
behind tensors; `fig_same_row` shows on a map which pixels end up in one row; `fig_lists` shows the
token lists of a photo as small photos.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from matplotlib import colormaps, colors
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from torch import Tensor

from mvit_lib.look.style import INK, POSITION_COLOURS, SEQUENTIAL, bare, ring

WIDTH = 8.0  # inches, the widest a figure gets
CELL = 0.36
GAP = 0.2  # between the tables of one tensor
CUT = 0.08  # between the patches of a map
SPACE = 0.45  # between tensors
LINE = 0.19  # height of a line of text
MARGIN = 0.34  # width of the names of rows


def origins(source: Tensor, moved: Tensor) -> Tensor:
    """For every element of `moved` the flat index of its value in `source`, -1 if it is not in there.

    Shape: any; the result has the shape of `moved`.
    Raises: ValueError if two elements of the source are equal, since then nobody can tell them apart.
    """
    numbers = source.detach().flatten().tolist()
    place = {number: i for i, number in enumerate(numbers)}
    if len(place) != len(numbers):
        raise ValueError("the source must hold a different number in every element, as torch.arange gives")
    found = [place.get(number, -1) for number in moved.detach().flatten().tolist()]
    return torch.tensor(found, dtype=torch.int64).reshape(moved.shape)


def place_colours(source: Tensor, patch: tuple[int, int] | None) -> list[str]:
    """A colour for every element of the source, in its reading order.

    With a patch, by its place inside the patch of the last two axes; otherwise from dark to light.
    """
    places = torch.arange(source.numel())
    count = source.numel()
    if patch is not None:
        H, W = source.shape[-2:]
        place = (torch.arange(H) % patch[0])[:, None] * patch[1] + torch.arange(W) % patch[1]  # [H, W]
        places, count = place.expand(source.shape).flatten(), math.prod(patch)
    if patch is not None and count <= len(POSITION_COLOURS):
        return [POSITION_COLOURS[p] for p in places.tolist()]
    ramp = colormaps[SEQUENTIAL]
    return [colors.to_hex(ramp(p / max(1, count - 1))) for p in places.tolist()]


@dataclass
class Panel:
    """One tensor on the page: title, cells (x, y, text, colour or None) and bare notes (x, y, text).

    A panel that is `alone` has its stretch of the page to itself.
    """

    title: str
    width: float
    height: float
    cells: list[tuple[float, float, str, str | None]] = field(default_factory=list)
    notes: list[tuple[float, float, str]] = field(default_factory=list)
    alone: bool = False

    @property
    def total_width(self) -> float:
        return max(self.width, TextPath((0, 0), self.title, size=10).get_extents().width / 72)


def _panel(
    title: str, numbers: Tensor, origin: Tensor, colour: Sequence[str], patch: tuple[int, int] | None = None
) -> Panel:
    """Lay a tensor out: the last two axes are a table, the third last goes right, the fourth last down.

    With a patch the tables are cut where a patch ends.
    """
    while numbers.dim() < 2:
        numbers, origin = numbers[None], origin[None]
    for axis in range(numbers.dim() - 1, -1, -1):
        if numbers.dim() > 2 and numbers.shape[axis] == 1:
            numbers, origin = numbers.squeeze(axis), origin.squeeze(axis)
    if numbers.dim() > 4:
        raise ValueError(f"{title!r}: a picture shows at most four axes longer than 1, got {numbers.dim()}")
    while numbers.dim() < 4:
        numbers, origin = numbers[None], origin[None]
    down, right, rows, columns = numbers.shape
    ph, pw = patch or (rows, columns)
    high = rows * CELL + (math.ceil(rows / ph) - 1) * CUT + GAP
    wide = columns * CELL + (math.ceil(columns / pw) - 1) * CUT + GAP
    panel = Panel(title, right * wide - GAP, down * high - GAP)
    for (i, j, y, x), number, place in zip(
        torch.cartesian_prod(*map(torch.arange, numbers.shape)).tolist(),
        numbers.flatten().tolist(),
        origin.flatten().tolist(),
        strict=True,
    ):
        at = (j * wide + x * CELL + x // pw * CUT, i * high + y * CELL + y // ph * CUT)
        panel.cells.append((*at, f"{number:g}", colour[place] if place >= 0 else None))
    return panel


def _name_tables(panel: Panel, numbers: Tensor, name: str) -> None:
    """Write "name 0", "name 1", … under the tables of a panel, which stand side by side."""
    count = math.prod(numbers.shape[:-2])
    step = (panel.width + GAP) / count
    panel.notes += [((i + 0.5) * step - GAP / 2, panel.height + 0.13, f"{name} {i}") for i in range(count)]
    panel.height += 0.22


def _name_rows_and_columns(panel: Panel, names: tuple[str, str]) -> None:
    """Write the index beside every row and above every column of a panel that is one table."""
    rows, columns = round(panel.height / CELL), round(panel.width / CELL)
    panel.cells = [(x + MARGIN, y + LINE, text, colour) for x, y, text, colour in panel.cells]
    panel.notes += [(MARGIN / 2 - 0.02, LINE + (i + 0.5) * CELL, f"{names[0]}={i}") for i in range(rows)]
    panel.notes += [(MARGIN + (j + 0.5) * CELL, LINE / 2, f"{names[1]}={j}") for j in range(columns)]
    panel.width, panel.height = panel.width + MARGIN, panel.height + LINE


def _ink_on(colour: str) -> str:
    """Black or white, whichever has the higher contrast (WCAG's relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(colour)]
    return (
        "black"
        if sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) > 0.179
        else "white"
    )


def _draw_cell(ax: Axes, corner: tuple[float, float], text: str, colour: str | None) -> None:
    face, edge = (colour, "white") if colour else ("none", INK)
    ax.add_patch(Rectangle(corner, CELL, CELL, fc=face, ec=edge, lw=0.8))
    ink = _ink_on(colour) if colour else INK
    ax.text(corner[0] + CELL / 2, corner[1] + CELL / 2, text, color=ink, fontsize=9.5,
            ha="center", va="center")  # fmt: skip


def _arrange(panels: Sequence[Panel]) -> tuple[list[tuple[float, float]], float]:
    """Corners of the panels, set side by side and wrapped like words; and the height of the page."""
    corners, x, y, row = [], 0.0, 0.0, []
    for panel in panels:
        if row and (x + panel.total_width > WIDTH or panel.alone or row[-1].alone):
            y += max(p.height for p in row) + LINE + SPACE
            x, row = 0.0, []
        row.append(panel)
        corners.append((x, y))
        x += panel.total_width + SPACE
    return corners, y + max(p.height for p in row) + LINE


def _page(panels: Sequence[Panel], rings: Collection[str] = ()) -> Figure:
    """Draw panels into one axes whose unit is the inch."""
    corners, height = _arrange(panels)
    height = round(height + 0.12, 2)
    right = max(left + panel.total_width for panel, (left, _) in zip(panels, corners, strict=True))
    width = min(WIDTH, math.ceil(2 * right + 0.1) / 2)  # half inches: a font's last pixel does not count
    fig = plt.figure(figsize=(width, height))
    ax = bare(fig.add_axes((0, 0, 1, 1)))
    ax.set_xlim(-0.03, width - 0.03)
    ax.set_ylim(height - 0.06, -0.06)
    for panel, (left, top) in zip(panels, corners, strict=True):
        below = top + LINE + 0.04
        ax.text(left, below - 0.07, panel.title, va="baseline", fontsize=10)
        for x, y, text, colour in panel.cells:
            _draw_cell(ax, (left + x, below + y), text, colour)
            if text in rings:
                ring(ax, left + x + CELL / 2, below + y + CELL / 2, size=21)
        for x, y, text in panel.notes:
            ax.text(left + x, below + y, text, fontsize=9, ha="center", va="center")
    return fig


def fig_provenance(
    source: Tensor,
    moved: Mapping[str, Tensor],
    patch: tuple[int, int] | None = None,
    *,
    name: str = "x",
    rings: Collection[int] = (),
    axes: Mapping[str, tuple[str, str]] | tuple[str, str] | None = None,
) -> tuple[Figure, dict[str, Tensor]]:
    """A numbered tensor and what moves made of it: each cell keeps the colour of the cell it came from.

    source: any shape with at most four axes longer than 1, every element a different number; the last
    two axes are drawn as tables, one further axis goes right, another down. moved: title -> tensor made
    from the source. patch = (ph, pw) colours by the place inside the patches of the source's last two
    axes. rings: numbers to ring wherever they stand. axes: names for the rows and columns of every table
    made, or title -> names for that one. A number that the source does not hold (a padding zero) gets an
    empty cell.
    data: for every title the flat index in the source of each element, -1 for those from nowhere.
    Raises: ValueError if two elements of the source are equal, or a tensor has too many axes.
    """
    colour = place_colours(source, patch)
    data = {title: origins(source, tensor) for title, tensor in moved.items()}
    panels = [_panel(name, source, origins(source, source), colour, patch)]
    panels += [_panel(title, tensor, data[title], colour) for title, tensor in moved.items()]
    names = dict.fromkeys(moved, axes) if isinstance(axes, tuple) else axes or {}
    for panel in panels:
        if panel.title in names:
            _name_rows_and_columns(panel, names[panel.title])
    return _page(panels, {f"{number:g}" for number in rings}), data


def line_of_numbers(tensor: Tensor) -> Tensor:
    """The memory behind a tensor, in the order in which it lies there. Shape: any -> [numbers]."""
    return torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())


def offsets(tensor: Tensor) -> Tensor:
    """For every element its offset in the line of numbers, from strides alone. Shape: that of `tensor`."""
    found = torch.full(tensor.shape, tensor.storage_offset())
    for axis, (length, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        steps = torch.arange(length) * stride
        found = found + steps.reshape([-1 if a == axis else 1 for a in range(tensor.dim())])
    return found


def fig_storage(tensors: Mapping[str, Tensor], tables: str = "") -> tuple[Figure, dict[str, Tensor]]:
    """Numbered tensors below the line of numbers that they read; views share one line.

    tensors: name -> tensor; every line must hold different numbers. Under each cell of a line stands
    its offset, unless every number of every line is its own; equal numbers have equal colours throughout.
    tables: what the tables of a tensor are called, for example "channel".
    data: name -> offset of every element, in the tensor's shape.
    """
    lines: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        lines.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    panels, memory = [], [line_of_numbers(tensors[names[0]]) for names in lines.values()]
    is_counted = all(line.tolist() == list(range(len(line))) for line in memory)
    for names, line in zip(lines.values(), memory, strict=True):
        numbers = line.sort().values
        colour = place_colours(numbers, None)
        where = f"in memory: the line of {' and '.join(names)}"
        where += "" if is_counted else ", offsets below"
        strip = _panel(where, line, origins(numbers, line), colour)
        strip.alone = True
        if not is_counted:
            strip.notes = [(x + CELL / 2, 1.3 * CELL, f"{i}") for i, (x, *_) in enumerate(strip.cells)]
            strip.height = 1.4 * CELL
        panels.append(strip)
        for name in names:
            tensor = tensors[name]
            title = f"{name}   shape {list(tensor.shape)}, strides {tensor.stride()}"
            panels.append(_panel(title, tensor, origins(numbers, tensor), colour))
            if tables:
                _name_tables(panels[-1], tensor, tables)
    return _page(panels), {name: offsets(tensor) for name, tensor in tensors.items()}


def fig_same_row(
    source: Tensor, rows: Mapping[str, Tensor], number: int, patch: tuple[int, int]
) -> tuple[Figure, dict[str, Tensor]]:
    """On the map: which pixels stand in the same row of [P, N] as one pixel, for several ways to fill it.

    source [H, W], numbered. rows: title -> numbers [P, N]. number: the pixel asked about, ringed.
    Filled squares share its row; the colour tells the place inside the patch, for P up to 4.
    data: title -> bool [H, W].
    Raises: ValueError if `number` is not in a table, or the source's numbers are not all different.
    """
    H, W = source.shape
    colour = place_colours(source, patch)
    fig, axes = plt.subplots(1, len(rows), figsize=(WIDTH, WIDTH / len(rows) * H / W * 0.92 + 0.3))
    data = {}
    for ax, (title, table) in zip(axes.flat if len(rows) > 1 else [axes], rows.items(), strict=True):
        hits = (table == number).nonzero()
        if len(hits) == 0:
            raise ValueError(f"{title!r} does not hold the pixel {number}")
        shared = origins(source, table[hits[0, 0]])
        data[title] = torch.zeros(H * W, dtype=torch.bool).index_fill(0, shared, True).reshape(H, W)
        bare(ax).set_title(title)
        for i in range(H * W):
            is_in = bool(data[title].flatten()[i])
            face, edge = (colour[i], "white") if is_in else ("none", INK)
            ax.add_patch(Rectangle((i % W, i // W), 1, 1, fc=face, ec=edge, lw=0.7 if is_in else 0.3))
        place = int(origins(source, torch.tensor(number)))
        ring(ax, place % W + 0.5, place // W + 0.5, size=14)
        ax.set(xlim=(-0.1, W + 0.1), ylim=(H + 0.1, -0.1), aspect="equal")
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=1 - 0.3 / fig.get_figheight(), wspace=0.06)
    return fig, data


def fig_lists(image: Tensor, lists: Mapping[str, Tensor]) -> tuple[Figure, dict[str, Tensor]]:
    """A photo, and beside it, over an equal area, each token list drawn as a picture.

    image [1, 3, H, W] in [0, 1]. lists: title -> the P lists of a map as pictures [P, h, w, 3] with
    P·h·w = H·W: each is set in as many columns as fill the photo's area.
    data: for every title the pictures as drawn, [P, h, w, 3].
    """
    H, W = image.shape[-2:]
    wide = WIDTH / (1 + len(lists)) - 0.1
    fig = plt.figure(figsize=(WIDTH, round(wide * H / W + 0.75, 1)))
    groups = fig.add_gridspec(1, 1 + len(lists), wspace=0.06)
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.25 / fig.get_figheight())
    whole = bare(fig.add_subplot(groups[0]))
    whole.imshow(image[0].permute(1, 2, 0).numpy())
    whole.set_title(f"{H} × {W} pixels", loc="left")
    whole.set_anchor("N")
    for group, (title, pictures) in zip(list(groups)[1:], lists.items(), strict=True):
        P, h, _, _ = pictures.shape
        rows = H // h
        cells = group.subgridspec(rows, P // rows, wspace=0.06, hspace=0.3 * rows / 4)
        for p, picture in enumerate(pictures):
            ax = bare(fig.add_subplot(cells[p // (P // rows), p % (P // rows)]))
            ax.imshow(picture.numpy())
            ax.set_title(f"{title}, p = 0" if p == 0 else f"p = {p}", loc="left", pad=3)
            ax.set_anchor("N")
    return fig, dict(lists)
