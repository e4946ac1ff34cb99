"""The checker of 06.5: the whole block, by the library's names, so that weights load."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mvit_lib import MobileViTBlock
from mvit_lib.course.engine import Exercise
from mvit_lib.course.guard import calls_noted
from mvit_lib.course.probes import Function, Wrong, agrees, lets_gradient_flow, normal
from mvit_lib.course.two_marks import BandBlock
from mvit_lib.weights import set_formula_weights

Pair = tuple[int, int]
SETTINGS = (12, 16, 2, (2, 2))  # C, D, L, patch


def reference_block(channels: int, dim: int, depth: int, patch: tuple[int, int]) -> MobileViTBlock:
    """The library's block with weights and statistics that would show if two were mixed up."""
    block = MobileViTBlock(channels, dim, depth, patch_size=patch, dropout=0.0)
    set_formula_weights(block)
    with torch.no_grad():
        for i, (name, tensor) in enumerate(block.state_dict().items()):
            if tensor.dim() == 1:
                wave = torch.sin(torch.arange(len(tensor)) + i)
                scale = name.endswith(("var", "norm.weight", "norm1.weight", "norm2.weight"))
                tensor.copy_(1 + 0.4 * wave if scale else 0.3 * wave)
    return block.eval()


# What a difference in names and shapes means; the first that fits is asked.
NAMES = {
    "fusion.conv.weight": "The fusion reads X and the projected map, one behind the other: 2C channels in.",
    "local_project.bias": "The 1 × 1 convolution to D has no bias: bias=False.",
    "local_project.": "The 1 × 1 convolution to D stands alone: nn.Conv2d(C, D, 1, bias=False), without "
    "norm and activation.",
    "local_conv.": "The first convolution is 3 × 3 and keeps C: ConvNormAct(C, C, 3). Without the 3, K is 1.",
    "project.": "Behind the fold a 1 × 1 convolution leads back to C: ConvNormAct(D, C).",
    "fusion.": "The fusion is 3 × 3, from 2C to C: ConvNormAct(2 * C, C, 3). K is 1 if it is left out.",
    "norm.": "Behind the last transformer layer stands one more LayerNorm(D), called norm.",
    "transformer.": "transformer is nn.Sequential of L layers: TransformerLayer(D, 4, 2).",
}


def _meaning(name: str) -> str:
    return next((words for beginning, words in NAMES.items() if name.startswith(beginning)), "")


def check_names(block: nn.Module, reference: nn.Module) -> None:
    """Every parameter has its name and its shape."""
    yours, theirs = block.state_dict(), reference.state_dict()
    for name, tensor in theirs.items():
        if name not in yours:
            raise Wrong(f"your block has nothing called {name}.\n      {_meaning(name)}")
        if yours[name].shape != tensor.shape:
            shapes = f"{list(yours[name].shape)}, expected {list(tensor.shape)}"
            part = name.split("weight")[0] if yours[name].shape[2:] != tensor.shape[2:] else name
            raise Wrong(f"{name} has shape {shapes}.\n      {_meaning(part)}")
    for name in yours:
        if name not in theirs:
            raise Wrong(f"your block has {name}, the library's has not.\n      {_meaning(name)}")


def _variant(
    reference: MobileViTBlock, mistake: Callable[[MobileViTBlock, Tensor, Tensor], Tensor]
) -> Function:
    """A block with the same weights and one mistake, told the input and the local map X_L."""

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            return mistake(reference, x, reference.local_project(reference.local_conv(x)))

    return run


def _finish(block: MobileViTBlock, x: Tensor, folded: Tensor) -> Tensor:
    return block.fusion(torch.cat([x, block.project(folded)], dim=1))


def _all_tokens(block: MobileViTBlock, x: Tensor, local: Tensor) -> Tensor:
    """Every pixel attends to every other."""
    mixed = block.norm(block.transformer(local.flatten(2).transpose(1, 2)))
    return _finish(block, x, mixed.transpose(1, 2).view(local.shape))


def _without_norm(block: MobileViTBlock, x: Tensor, local: Tensor) -> Tensor:
    norm, block.norm = block.norm, nn.Identity()
    try:
        return _finish(block, x, block.attend_globally(local))
    finally:
        block.norm = norm


def _resized_at_the_start(block: MobileViTBlock, x: Tensor, local: Tensor) -> Tensor:
    size, how = (x.shape[-2], x.shape[-1]), {"mode": "bilinear", "align_corners": False}
    return F.interpolate(block(F.interpolate(x, block.tiled_size(size), **how)), size, **how)


def _resized_after_projection(block: MobileViTBlock, x: Tensor, local: Tensor) -> Tensor:
    size, how = (x.shape[-2], x.shape[-1]), {"mode": "bilinear", "align_corners": False}
    folded = block.attend_globally(F.interpolate(local, block.tiled_size(size), **how))
    y = F.interpolate(block.project(folded), size, **how)
    return block.fusion(torch.cat([x, y], dim=1))


def _local_of_stretched(block: MobileViTBlock, x: Tensor, local: Tensor) -> Tensor:
    size, how = (x.shape[-2], x.shape[-1]), {"mode": "bilinear", "align_corners": False}
    stretched = F.interpolate(x, block.tiled_size(size), **how)
    folded = block.attend_globally(block.local_project(block.local_conv(stretched)))
    return _finish(block, x, F.interpolate(folded, size, **how))


def _with_patch(change: Callable[[Pair], Pair]) -> Callable[[MobileViTBlock, Tensor, Tensor], Tensor]:
    """The block with the same weights and other patches."""

    def run(block: MobileViTBlock, x: Tensor, local: Tensor) -> Tensor:
        twin = copy.deepcopy(block)
        twin.patch_size = change(block.patch_size)
        return twin(x)

    return run


def _bands(block: MobileViTBlock, x: Tensor, local: Tensor) -> Tensor:
    size = (x.shape[-2], x.shape[-1])
    if block.tiled_size(size) != size:
        return block(x)  # there are no such bands
    return _finish(block, x, BandBlock.attend_globally(block, local))


def _with_heads(heads: int) -> Callable[[MobileViTBlock, Tensor, Tensor], Tensor]:
    """The block with the same weights, but another number of heads in each layer."""

    def run(block: MobileViTBlock, x: Tensor, local: Tensor) -> Tensor:
        twin = copy.deepcopy(block)
        for module in twin.modules():
            if hasattr(module, "num_heads"):
                module.num_heads = heads
        return twin(x)

    return run


MISTAKES = {
    "Has your attention 2 heads? TransformerLayer(D, 4, 2): 4 heads, and 2 is the MLP's ratio.": (
        _with_heads(2)
    ),
    "Has your attention 1 head? TransformerLayer(D, 4, 2): 4 heads, and 2 is the MLP's ratio.": (
        _with_heads(1)
    ),
    "Did you put X last in the concatenation? X comes first: torch.cat([x, y], 1).": lambda b, x, local: (
        b.fusion(torch.cat([b.project(b.attend_globally(local)), x], dim=1))
    ),
    "Did you leave out `norm` behind the transformer?": _without_norm,
    "Did you add X to the result? The block has no sum around it: X goes into the concatenation.": (
        lambda b, x, local: b(x) + x
    ),
    "Do all pixels attend to all in your block? A sequence is one place of one image.": _all_tokens,
    "Did you reshape instead of unfold? Then a sequence is a band of rows.": _bands,
    "Did you leave out the transformer's step? Unfold, transformer, norm, fold.": (
        lambda b, x, local: _finish(b, x, local)
    ),
    "Does the fusion get the local map? It gets X, the input of the block.": lambda b, x, local: b.fusion(
        torch.cat([b.local_conv(x), b.project(b.attend_globally(local))], dim=1)
    ),
    "Did you stretch X at the start? Only the map of D channels is stretched, right before unfold.": (
        _resized_at_the_start
    ),
    "Did you stretch X instead of X_L? Both local convolutions see the map in its true size.": (
        _local_of_stretched
    ),
    "Did you write the patch down as 2? It is an argument.": _with_patch(lambda patch: (2, 2)),
    "Did you swap ph and pw? patch is (ph, pw), rows first.": _with_patch(lambda patch: patch[::-1]),
    "Did you go back to the old size after the 1 × 1 convolution? That comes first: right after fold.": (
        _resized_after_projection
    ),
}


def _suspects(reference: MobileViTBlock) -> dict[str, Function]:
    return {question: _variant(reference, mistake) for question, mistake in MISTAKES.items()}


def check_block(build_block: Callable) -> None:
    """06.5: a module; its names and shapes; its values with the library's weights, at two sizes."""
    block, reference = build_block(*SETTINGS), reference_block(*SETTINGS)
    if not isinstance(block, nn.Module):
        raise Wrong(f"expected an nn.Module, got {type(block).__name__}: return the block itself.")
    if isinstance(block, MobileViTBlock):
        raise Wrong("that is the library's own block: build it from its parts.")
    check_names(block, reference)
    block.load_state_dict(reference.state_dict())
    block.eval()
    with calls_noted(("attend_globally",)) as called:
        block(normal(1, 12, 4, 6))
    if called:
        raise Wrong("`attend_globally` does what you are to build: do it without.")
    for size in ((8, 6), (7, 5)):
        where = f"on a map [2, 12, {size[0]}, {size[1]}] with the library's weights:"
        with torch.no_grad():
            agrees(block, reference, normal(2, 12, *size), where=where, suspects=_suspects(reference))
    other = 8, 12, 1, (3, 2)
    block, reference = build_block(*other), reference_block(*other)
    check_names(block, reference)
    block.load_state_dict(reference.state_dict())
    with torch.no_grad():
        where = "with C = 8, D = 12, L = 1, patch (3, 2), on a map [1, 8, 7, 5]:"
        agrees(block.eval(), reference, normal(1, 8, 7, 5), where=where, suspects=_suspects(reference))
    lets_gradient_flow(block, normal(1, 8, 6, 4))


EXERCISES = {
    "06.5": Exercise(
        checker=check_block,
        notice="Every parameter has its place: official weights run in the block that you built.",
        hints=(
            "Begin with __init__: local_conv, local_project, transformer, norm, project, fusion.\n"
            "Then forward, one line for each arrow of the picture.",
            "forward: local_conv, local_project; stretch if needed; unfold; transformer on [B·P, N, D];\n"
            "norm; fold; back to size; project; torch.cat([x, y], dim=1); fusion.",
            "class Block(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
            "        self.local_conv = ConvNormAct(channels, channels, 3)\n        ...\n"
            "    def forward(self, x):                                    # [B, C, H, W]\n"
            "        y = self.local_project(self.local_conv(x))           # [B, D, H, W]\n"
            "        ...\n        return self.fusion(torch.cat([x, y], dim=1))\nreturn Block()",
        ),
        solution=("s06_mobilevit_block.py", "build_block"),
        forbidden=("attend_globally", "tiled_size"),
        symptoms={
            "does not divide the map": "Stretch the map of D channels before you unfold it (06.4).",
            "too many values to unpack": "TransformerLayer takes [B·P, N, D]: tokens.flatten(0, 1).",
            "channels, but got": "Follow the channels: C, C, D, D, C, then 2C in the concatenation, C.",
            "assign module before Module.__init__": "Call super().__init__() first.",
            "expected a tensor [B, P, N, D]": "fold_patches takes [B, P, N, D]: .view(tokens.shape).",
            'missing the "forward"': "The module needs a method forward(self, x).",
        },
    ),
}
