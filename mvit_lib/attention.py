"""Recording attention: what every token listened to during a forward pass."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mvit_lib.layers import Attention, attention_weights
from mvit_lib.mobilevit import MobileViTBlock
from mvit_lib.vit import ViT


@dataclass(frozen=True)
class AttentionMap:
    """The attention weights of one layer, and what is needed to find a pixel in them.

    weights: [B, P, h, N, N]; the row of a query sums to 1 over the keys (ViT: P = 1, N includes the
    prefix). stage, layer: where the layer stands, e.g. ("layer_3", 0). patch_size: (ph, pw) in pixels
    of the map. grid: (nH, nW), patches per column and row. map_size: (H, W) of the map before it is
    stretched to fit the patches. stride: image pixels per map pixel. image_size: (H, W) of the tensor
    given to the network. num_prefix: tokens before the patches (ViT's class token).
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
    model runs uncompiled inside the context.
    Raises: ValueError if the model has no attention layer, RuntimeError if it is being recorded already.
    """
    stages = list(_attention_stages(model))
    if not stages:
        raise ValueError(f"{type(model).__name__} has no MobileViTBlock and is no ViT")
    maps: list[AttentionMap] = []
    image_size: list[tuple[int, int]] = []

    def start_forward(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        maps.clear()
        image_size[:] = [tuple(inputs[0].shape[-2:])]

    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(start_forward).remove)
        if _is_compiled(model):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for name, module, stride in stages:
            recorder = _Recorder(name, module, stride, maps, image_size, keep_grad)
            stack.callback(module.register_forward_pre_hook(recorder.see_input).remove)
            for i, layer in enumerate(module.transformer):
                if "mix" in vars(layer.attention):
                    raise RuntimeError("this model is being recorded already: close that context")
                stack.enter_context(replace_mix(layer.attention, recorder.mix(i)))
        yield maps


@dataclass
class _Recorder:
    """Records the layers of one stage; `see_input` notes the geometry before they run."""

    stage: str
    module: nn.Module
    stride: int | None
    maps: list[AttentionMap]
    image_size: list[tuple[int, int]]
    keep_grad: bool
    batch: int = 0
    map_size: tuple[int, int] = (0, 0)

    def see_input(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.batch = inputs[0].shape[0]
        self.map_size = tuple(inputs[0].shape[-2:])

    def mix(self, layer: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            weights = attention_weights(q, k)  # [B·P, h, N, N]
            split = weights.view(self.batch, -1, *weights.shape[1:])  # [B, P, h, N, N]
            if self.keep_grad and split.requires_grad:
                split.retain_grad()
            self.maps.append(self._map(layer, split if self.keep_grad else split.detach()))
            return split.flatten(0, 1) @ v  # [B·P, h, N, D/h]

        return explicit

    def _map(self, layer: int, weights: Tensor) -> AttentionMap:
        patch, image = self.module_patch_size, self.image_size[0]
        if isinstance(self.module, ViT):
            grid, stride, num_prefix = self.module.config.grid, 1, 1
        else:
            tiled = self.module.tiled_size(self.map_size)
            grid, num_prefix = (tiled[0] // patch[0], tiled[1] // patch[1]), 0
            stride = self.stride or round(image[0] / self.map_size[0])
        return AttentionMap(weights, self.stage, layer, patch, grid, self.map_size, stride, image, num_prefix)

    @property
    def module_patch_size(self) -> tuple[int, int]:
        is_vit = isinstance(self.module, ViT)
        return self.module.config.patch_size if is_vit else self.module.patch_size


def _attention_stages(model: nn.Module) -> Iterator[tuple[str, nn.Module, int | None]]:
    """(stage name, block or ViT, stride where a backbone tells it), in forward order."""
    strides: dict[str, int] = {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        for stage, (_, stride) in getattr(module, "feature_info", {}).items():
            strides[prefix + stage] = stride
        if isinstance(module, ViT):
            yield name or "transformer", module, None
        elif isinstance(module, MobileViTBlock):
            parent = name.rpartition(".")[0]
            stage = parent.rpartition(".")[2] if parent in strides else name or "block"
            yield stage, module, strides.get(parent)


def _is_compiled(model: nn.Module) -> bool:
    return any(
        hasattr(module, "_orig_mod") or module._compiled_call_impl is not None for module in model.modules()
    )
