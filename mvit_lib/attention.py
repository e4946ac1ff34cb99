"""Recording attention: what every token listened to during a forward pass.

The functions that read the recorded maps live in `mvit_lib.attention_reading` and are imported here.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mvit_lib.attention_reading import (
    AttentionMap,
    PixelAttention,
    attention_from_pixel,
    attention_rollout,
    attention_through_convolution,
    class_rollout,
    entropy_share,
    even_attention,
)
from mvit_lib.classifier import ConvBackbone
from mvit_lib.layers import Attention, attention_weights
from mvit_lib.mobilevit import MobileViTBlock
from mvit_lib.vit import ViT

__all__ = [
    "AttentionMap",
    "PixelAttention",
    "attention_from_pixel",
    "attention_rollout",
    "attention_through_convolution",
    "class_rollout",
    "entropy_share",
    "even_attention",
    "record_attention",
    "replace_mix",
]


@contextmanager
def replace_mix(attention: Attention, mix: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Iterator:
    """Let `attention` mix its tokens by `mix(q, k, v)` for as long as the context lasts."""
    attention.mix = mix
    try:
        yield
    finally:
        del attention.mix


@contextmanager
def record_attention(model: nn.Module, *, keep_grad: bool = False) -> Iterator[list[AttentionMap]]:
    """Record the attention weights of every forward pass of `model` inside the context.

    Yields a list that holds one AttentionMap per transformer layer, in forward order; a new forward
    pass empties it first. Softmax is computed explicitly inside the context and by the fused kernel
    outside it; the results agree within 1e-6 (fp32). With `keep_grad` the weights stay in the graph
    and collect their gradient in `weights.grad`.

    Works for MobileViT, ViT, anything that contains a MobileViTBlock, and fused models. A compiled
    model runs uncompiled inside the context (so does, meanwhile, every other one of the process).
    One thread at a time; copies made inside the context are not recorded.

    Raises: ValueError if the model has no attention layer; RuntimeError if it is being recorded
    already, or if `keep_grad` is set and a forward pass records no gradients.
    """
    stages = _attention_stages(model)
    if not stages:
        raise ValueError(f"{type(model).__name__} has no MobileViTBlock and is no ViT")
    if any("mix" in vars(layer.attention) for _, block, _ in stages for layer in block.transformer):
        raise RuntimeError("this model is being recorded already: close that context")
    session = _Session([], keep_grad)
    with ExitStack() as stack:
        if _is_compiled(model):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for i, entrance in enumerate(_entrances(model)):
            hook = _Hook(session.start if i == 0 else session.note_image)
            stack.callback(entrance.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for name, block, stride in stages:
            recorder = _Recorder(session, name, block, stride)
            hook = _Hook(recorder.note_map)
            stack.callback(block.register_forward_pre_hook(hook, with_kwargs=True).remove)
            for i, layer in enumerate(block.transformer):
                stack.enter_context(replace_mix(layer.attention, recorder.mix(i)))
        yield session.maps


class _Hook:
    """A forward pre-hook that tells `note` the height and width of the first tensor it meets.

    Copies and pickles of the module carry one that does nothing.
    """

    def __init__(self, note: Callable[[tuple[int, int]], None] | None = None) -> None:
        self.note = note

    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.note is not None:
            tensor = next(v for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
            self.note((tensor.shape[-2], tensor.shape[-1]))

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Hook, ()


@dataclass
class _Session:
    """What all recorders of one context share."""

    maps: list[AttentionMap]
    keep_grad: bool
    image_size: tuple[int, int] = (0, 0)

    def start(self, image_size: tuple[int, int]) -> None:
        self.maps.clear()
        self.image_size = image_size

    def note_image(self, image_size: tuple[int, int]) -> None:
        self.image_size = image_size


@dataclass
class _Recorder:
    """Records the layers of one stage; `note_map` sees the geometry before they run."""

    session: _Session
    stage: str
    block: MobileViTBlock | ViT
    stride: int | None
    map_size: tuple[int, int] = (0, 0)

    def note_map(self, size: tuple[int, int]) -> None:
        self.map_size = size

    def mix(self, layer: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            weights = attention_weights(q, k)  # [B·P, h, N, N]
            P = 1 if isinstance(self.block, ViT) else self.block.patch_size[0] * self.block.patch_size[1]
            split = weights.view(len(weights) // P, P, *weights.shape[1:])  # [B, P, h, N, N]
            if self.session.keep_grad:
                if not split.requires_grad:
                    raise RuntimeError("keep_grad=True needs a forward pass that records gradients")
                split.retain_grad()
            self.session.maps.append(self._map(layer, split if self.session.keep_grad else split.detach()))
            return split.flatten(0, 1) @ v  # [B·P, h, N, D/h]

        return explicit

    def _map(self, layer: int, weights: Tensor) -> AttentionMap:
        image = self.session.image_size
        if isinstance(self.block, ViT):
            patch, grid = self.block.config.patch_size, self.block.config.grid
            return AttentionMap(weights, self.stage, layer, patch, grid, self.map_size, 1, image, 1)
        patch, tiled = self.block.patch_size, self.block.tiled_size(self.map_size)
        grid = (tiled[0] // patch[0], tiled[1] // patch[1])
        stride = self.stride or round(image[0] / self.map_size[0])
        convolutions = (part for part in self.block.local_conv.modules() if isinstance(part, nn.Conv2d))
        kernel = next((conv.kernel_size[0] for conv in convolutions), 1)  # 1: taken out by its owner
        return AttentionMap(
            weights, self.stage, layer, patch, grid, self.map_size, stride, image, kernel_size=kernel
        )


def _entrances(model: nn.Module) -> list[nn.Module]:
    """The modules that see the image first: a backbone's stem, a ViT's patches, or the model itself."""
    found: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, ConvBackbone):
            found.append(module.stem)
        elif isinstance(module, ViT):
            found.append(module.patch_embedding)
    return found or [model]


def _attention_stages(model: nn.Module) -> list[tuple[str, MobileViTBlock | ViT, int | None]]:
    """(stage name, block or ViT, stride where a backbone tells it), in forward order."""
    strides: dict[str, int] = {}
    found: list[tuple[str, str, MobileViTBlock | ViT, int | None]] = []
    for path, module in model.named_modules():
        name = ".".join(part for part in path.split(".") if part != "_orig_mod")
        if isinstance(module, ConvBackbone):
            prefix = f"{name}." if name else ""
            strides |= {prefix + stage: stride for stage, (_, stride) in module.feature_info.items()}
        if isinstance(module, ViT):
            found.append(("transformer", name or "transformer", module, None))
        elif isinstance(module, MobileViTBlock):
            parent = name.rpartition(".")[0]
            in_backbone = parent in strides
            short = parent.rpartition(".")[2] if in_backbone else name or "block"
            long = parent if in_backbone else name or "block"
            found.append((short, long, module, strides.get(parent)))
    shorts = [short for short, *_ in found]
    return [
        (short if shorts.count(short) == 1 else long, module, stride) for short, long, module, stride in found
    ]


def _is_compiled(model: nn.Module) -> bool:
    return any("_orig_mod" in m._modules or m._compiled_call_impl is not None for m in model.modules())
