"""Reading attention: from a pixel of the image to what it listens to, and back onto the image.

Pure functions of recorded maps; `mvit_lib.attention` records them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from mvit_lib.patches import fold_patches, unfold_patches


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """The attention weights of one layer, and what is needed to find a pixel in them.

    weights: [B, P, h, N, N]; the row of a query sums to 1 over the keys (ViT: P = 1, N includes the
    prefix). stage, layer: where the layer stands, e.g. ("layer_3", 0). patch_size: (ph, pw) in pixels
    of the map. grid: (nH, nW), patches per column and row. map_size: (H, W) of the map before it is
    stretched to fit the patches. stride: image pixels per map pixel. image_size: (H, W) of the tensor
    given to the network. num_prefix: tokens before the patches (ViT's class token). kernel_size: side of
    the convolution before the transformer (to ViT it means nothing).
    """

    weights: Tensor = field(repr=False)
    stage: str
    layer: int
    patch_size: tuple[int, int]
    grid: tuple[int, int]
    map_size: tuple[int, int]
    stride: int
    image_size: tuple[int, int]
    num_prefix: int = 0
    kernel_size: int = 3


@dataclass(frozen=True, eq=False)
class PixelAttention:
    """What one pixel of the image listens to in one layer.

    pixel: (row, column) in the map that the patches tile. position, token: its place p in its patch, and
    this patch t. weights: [nH, nW], one per patch: how much the pixel at place p there is listened to.
    prefix: the weight on tokens before the patches (ViT's class token); weights and prefix sum to 1.
    entropy: of all these weights, as a share of its maximum: 1 if they are equal, 0 if one has all.
    on_image: [H, W], every image pixel with the weight of the patch it lies in.
    """

    pixel: tuple[int, int]
    position: int
    token: int
    weights: Tensor = field(repr=False)
    prefix: float
    entropy: float
    on_image: Tensor = field(repr=False)


def find_map(maps: Sequence[AttentionMap], layer: int | tuple[str, int]) -> AttentionMap:
    """The map of `layer`: an index into the list, or (stage, number in the stage).

    Raises: ValueError naming the layers there are.
    """
    names = [(m.stage, m.layer) for m in maps]
    if isinstance(layer, int) and -len(maps) <= layer < len(maps):
        return maps[layer]
    if layer not in names:
        raise ValueError(f"layer={layer!r}: expected an index below {len(maps)} or one of {names}")
    return maps[names.index(layer)]


def of_head(m: AttentionMap, head: int | str = "mean", image: int = 0) -> Tensor:
    """The weights of one head, or their mean over all: [P, N, N], for one image of the batch.

    Raises: ValueError if there is no such head or image.
    """
    B, _, h = m.weights.shape[:3]
    if not 0 <= image < B:
        raise ValueError(f"image={image}: expected an index below {B}, the size of the batch")
    weights = m.weights[image].detach()  # [P, h, N, N]
    if head == "mean":
        return weights.mean(1)  # [P, N, N]
    if not isinstance(head, int) or not 0 <= head < h:
        raise ValueError(f'head={head!r}: expected 0 … {h - 1} or "mean"')
    return weights[:, head]  # [P, N, N]


def entropy_share(rows: Tensor) -> Tensor:
    """The entropy of each row over log N, its maximum: 1 all alike, 0 all in one token. [..., N] -> [...]"""
    return torch.special.entr(rows).sum(-1) / max(math.log(rows.shape[-1]), 1e-9)


def cells_of_image(m: AttentionMap) -> tuple[Tensor, Tensor]:
    """For every row and every column of the image: the row or column of the tiled map it belongs to.

    Image pixel y lies in map pixel i = ⌊y·H_map / H⌋: the image is cut into as many equal bands as the
    map has rows. (A convolution with stride s and padding looks from pixel s·i on, the first of the band.)
    Where the block stretches its map to H' rows, i belongs to the row that its middle falls into.
    Shape: int64 [H], [W].
    """
    found = []
    for length, size, n, side in zip(m.image_size, m.map_size, m.grid, m.patch_size, strict=True):
        own = torch.arange(length) * size // length  # [H]
        found.append((2 * own + 1) * (n * side) // (2 * size))  # [H]
    return found[0], found[1]


def find_token(m: AttentionMap, y: int, x: int) -> tuple[tuple[int, int], int, int]:
    """Where pixel (y, x) of the image stands: its pixel of the tiled map, its place p and its patch t.

    Raises: ValueError if the image has no such pixel.
    """
    (H, W), (ph, pw) = m.image_size, m.patch_size
    if not (0 <= y < H and 0 <= x < W):
        raise ValueError(f"pixel ({y}, {x}) lies outside the image of {H} × {W}")
    rows, columns = cells_of_image(m)
    row, column = int(rows[y]), int(columns[x])
    place = row % ph * pw + column % pw if m.weights.shape[1] > 1 else 0  # to ViT a patch is one token
    return (row, column), place, row // ph * m.grid[1] + column // pw


def attention_from_pixel(
    maps: Sequence[AttentionMap],
    y: int,
    x: int,
    layer: int | tuple[str, int] = 0,
    head: int | str = "mean",
    *,
    image: int = 0,
) -> PixelAttention:
    """Follow pixel (y, x) of the image to its token in `layer` and read what this token listens to.

    maps: as `record_attention` yields them. layer: an index, or (stage, number in it). head: an int or
    "mean". image: which one of the batch. For the way to the token see `cells_of_image`; back, every
    patch is painted with its weight, without smoothing, though only its pixel at place p is meant.
    Raises: ValueError if the pixel, layer, head or image does not exist.
    """
    m = find_map(maps, layer)
    (row, column), position, token = find_token(m, y, x)
    weights = of_head(m, head, image)[position, m.num_prefix + token]  # [prefix + N]
    patches = weights[m.num_prefix :].view(m.grid)  # [nH, nW]
    rows, columns = cells_of_image(m)
    return PixelAttention(
        (row, column),
        position,
        token,
        patches,
        weights[: m.num_prefix].sum().item(),
        entropy_share(weights).item(),
        patches[rows // m.patch_size[0]][:, columns // m.patch_size[1]],  # [H, W]
    )


def attention_through_convolution(m: AttentionMap, seen: PixelAttention) -> Tensor:
    """The weights of `seen` handed on to the pixels that the convolution before the transformer looks at.

    The weight of each partner (the pixel at place p of each patch) is shared out evenly over the n × n
    window around it, as far as this lies in the map: the convolution's own weights are not asked.
    Returns [H', W'], the tiled map; it sums to 1. Raises: ValueError for a ViT, which has no such
    convolution.
    """
    if m.num_prefix:
        raise ValueError(f"expected a map of a MobileViT: there is no such convolution in {m.stage!r}")
    tokens = seen.weights.new_zeros(1, m.weights.shape[1], seen.weights.numel(), 1)
    tokens[0, seen.position, :, 0] = seen.weights.flatten()
    tiled = _tiled(m)
    return _spread(fold_patches(tokens, tiled, m.patch_size)[:, 0], tiled, m.kernel_size)[0]  # [H', W']


def even_attention(maps: Sequence[AttentionMap]) -> list[AttentionMap]:
    """The same maps with all weights alike, 1/N: the control that shows what geometry does by itself."""
    return [replace(m, weights=torch.full_like(m.weights, 1 / m.weights.shape[-1])) for m in maps]


def attention_rollout(
    maps: Sequence[AttentionMap],
    y: int | None = None,
    x: int | None = None,
    *,
    image: int = 0,
) -> Tensor:
    """How the last map's pixel at (y, x), or the mean over all, is made of the first map's pixels.

    It begins with 1 on that pixel (without y and x: 1/HW on each, since the classifier averages them; a
    ViT's class token) and goes from the last layer back to the first. A layer is ½(A + I), A the mean over
    the heads, for each place p on its own. A block is the fusion's n × n window, then one half as it is
    (the branch of X), the other half unfolded, through the layers, folded, and through the local
    convolution's n × n window, with the block's own stretching before and after where it stretches. From
    block to block stands a 3 × 3 window with the maps' stride. A window hands its share on evenly to what
    of it lies in the map: so the places p mix where convolutions mix them. Values, MLPs and the
    convolutions' own weights are not asked, nor is what lies before the first block.

    Strides and borders alone favour some pixels up to five times over others. Divide by the rollout of
    `even_attention(maps)` to see what attention adds.

    Shape: float64 [H, W] of the image, every pixel with the share of its pixel of the first map (a ViT's:
    of its patch); the shares of the map sum to 1, less what a ViT's class token keeps.
    Raises: ValueError as `attention_from_pixel`.
    Source: Abnar & Zuidema 2020, for one class token and no convolutions.
    """

    def layer(shares: Tensor, weights: Tensor) -> Tensor:
        return (shares + _listen(shares, weights)) / 2  # [1, P, N]

    start = _start(find_map(maps, -1), y, x)  # [H, W] of the last map
    weights = [of_head(m, "mean", image).double().cpu() for m in maps]
    return _paint(_roll_back(maps, weights, layer, start[None])[0], maps[0].image_size)


def class_rollout(maps: Sequence[AttentionMap], *, image: int = 0) -> Tensor:
    """Which pixels speak for a class: a rollout that weighs every weight by what it does to the logit.

    Record with `keep_grad=True`, then call `model(x)[0, c].backward()` inside the context. As
    `attention_rollout` from the mean over all pixels, but in place of A stands the mean over the heads of
    max(0, A · ∂logit/∂A), a layer is I + A, and only what has passed at least one A is kept. Rows are not
    scaled back, only the end is. Shape: float64 [H, W] of the image, ≥ 0; the shares of the first map sum to
    1, or are 0 if nothing speaks for the class. For a picture divide as after `attention_rollout`.
    Test it before you trust it: on `pixelzoo-xxs` it finds what matters no better than chance (notebook 10).
    Raises: ValueError if a weight has no gradient.
    Source: Chefer et al. 2021, equations 5 and 6, for one class token and no convolutions.
    """
    start = _start(find_map(maps, -1))  # [H, W] of the last map
    if any(m.weights.grad is None for m in maps):
        raise ValueError("no gradients: record with keep_grad=True and call logits[0, c].backward() first")

    def layer(shares: Tensor, weights: Tensor) -> Tensor:
        silent, heard = shares[:1], shares[1:]  # [1, P, N] each: what has passed no A yet, and the rest
        return torch.cat([silent, heard + _listen(silent + heard, weights)])  # [2, P, N]

    weights = [
        (m.weights.detach() * m.weights.grad)[image].clamp(min=0).mean(1).double().cpu()  # [P, N, N]
        for m in maps
    ]
    heard = _roll_back(maps, weights, layer, torch.stack([start, 0 * start]))[1]
    return _paint(heard / heard.sum().clamp(min=1e-300), maps[0].image_size)


def _tiled(m: AttentionMap) -> tuple[int, int]:
    return m.grid[0] * m.patch_size[0], m.grid[1] * m.patch_size[1]


def _start(m: AttentionMap, y: int | None = None, x: int | None = None) -> Tensor:
    """The shares with which a rollout begins: [H, W] of the last map, of a ViT [1, prefix + N]."""
    if (y is None) != (x is None):
        raise ValueError(f"expected both y and x or neither, got y={y} and x={x}")
    if y is None or x is None:
        if not m.num_prefix:
            return torch.full(m.map_size, 1 / math.prod(m.map_size), dtype=torch.float64)
        token, (h, w) = 0, (0, 0)
    else:
        token = m.num_prefix + find_token(m, y, x)[2]
        h, w = (at * n // length for at, n, length in zip((y, x), m.map_size, m.image_size, strict=True))
    start = torch.zeros((1, m.weights.shape[-1]) if m.num_prefix else m.map_size, dtype=torch.float64)
    start[(0, token) if m.num_prefix else (h, w)] = 1
    return start


def _roll_back(
    maps: Sequence[AttentionMap],
    weights: Sequence[Tensor],
    layer: Callable[[Tensor, Tensor], Tensor],
    shares: Tensor,
) -> Tensor:
    """Carry shares [S, H, W] of the last map back to the first; of a ViT [S, 1, prefix + N] -> [S, nH, nW].

    layer: takes the tokens' shares [S, P, N] and the weights of a layer [P, N, N] to the shares before it.
    """
    if maps[0].num_prefix:
        for A in reversed(weights):
            shares = layer(shares, A)  # [S, 1, prefix + N]
        return shares[..., maps[0].num_prefix :].reshape(-1, *maps[0].grid)  # [S, nH, nW]
    pairs = zip(maps, weights, strict=True)
    blocks = [list(block) for _, block in groupby(pairs, key=lambda pair: pair[0].stage)]
    for i, block in enumerate(reversed(blocks)):
        m, tiled = block[0][0], _tiled(block[0][0])
        if i > 0:
            shares = _spread(shares, m.map_size, 3)  # [S, H, W]: before the 3 × 3 with the maps' stride
        shares = _spread(shares, m.map_size, m.kernel_size)  # [S, H, W]: before the fusion
        inside = _unstretch(shares, tiled)  # [S, H', W']
        tokens = unfold_patches(inside[:, None], m.patch_size)[..., 0]  # [S, P, N]
        for _, A in reversed(block):
            tokens = layer(tokens, A)  # [S, P, N]
        inside = fold_patches(tokens[..., None], tiled, m.patch_size)[:, 0]  # [S, H', W']
        inside = _spread(_unstretch(inside, m.map_size), m.map_size, m.kernel_size)  # [S, H, W]
        shares = (shares + inside) / 2
    return shares


def _listen(shares: Tensor, weights: Tensor) -> Tensor:
    """Hand the shares of queries on to the keys: [S, P, N], [P, N, N] -> [S, P, N]."""
    return torch.einsum("spq,pqk->spk", shares, weights)


def _spread(shares: Tensor, size: tuple[int, int], kernel: int) -> Tensor:
    """Hand the shares of a convolution's outputs on to its inputs, evenly over each window.

    Shape: [S, h, w] -> [S, H, W] with `size` = (H, W); the stride is H / h, rounded.
    """
    axes = []
    for outputs, inputs in zip(shares.shape[1:], size, strict=True):
        centres = round(inputs / outputs) * torch.arange(outputs)
        window = ((torch.arange(inputs) - centres[:, None]).abs() <= kernel // 2).to(shares)
        axes.append(window / window.sum(1, keepdim=True))  # [outputs, inputs]
    return torch.einsum("yi,syx,xj->sij", axes[0], shares, axes[1])  # [S, H, W]


def _unstretch(shares: Tensor, size: tuple[int, int]) -> Tensor:
    """Hand the shares of a bilinearly resized map on to the map before it: [S, h, w] -> [S, H, W]."""
    axes = []
    for outputs, inputs in zip(shares.shape[1:], size, strict=True):
        units = torch.eye(inputs, dtype=shares.dtype)
        axes.append(F.interpolate(units[None], outputs, mode="linear")[0])  # [inputs, outputs]
    return torch.einsum("iy,syx,jx->sij", axes[0], shares, axes[1])  # [S, H, W]


def _paint(values: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Every pixel of the image with the value of its pixel of the map: [h, w] -> [H, W], nothing smoothed."""
    (h, w), (H, W) = values.shape, image_size
    return values[torch.arange(H) * h // H][:, torch.arange(W) * w // W]  # [H, W]
