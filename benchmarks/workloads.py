"""What is timed: the same weights, inputs and threads for every candidate."""

from collections.abc import Callable

import torch
from peer_configs import HF_CHANGES
from torch import Tensor, nn
from transformers import MobileViTConfig, MobileViTForImageClassification

from mvit_lib import mobilevit_s, mobilevit_xs, mobilevit_xxs
from mvit_lib.attention import record_attention
from mvit_lib.weights import convert_state_dict

BUILDERS = {"XXS": mobilevit_xxs, "XS": mobilevit_xs, "S": mobilevit_s}
PIXELS = 256


class Logits(nn.Module):
    """transformers' model with logits as its only output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).logits


def build(size: str) -> tuple[nn.Module, nn.Module]:
    """(transformers, ours) with the same weights, in eval mode."""
    torch.manual_seed(0)
    ours = BUILDERS[size]().eval()
    config = MobileViTConfig(num_labels=1000, **HF_CHANGES[size.lower()])
    theirs = MobileViTForImageClassification(config).eval()
    theirs.load_state_dict(convert_state_dict(ours.state_dict(), "mvit", "hf", flip_stem=False))
    return Logits(theirs), ours


def build_timm(size: str, ours: nn.Module) -> nn.Module | None:
    """timm's model with the same weights, where timm can be imported."""
    try:
        import timm
    except Exception:
        return None
    model = timm.create_model(f"mobilevit_{size.lower()}").eval()
    model.load_state_dict(convert_state_dict(ours.state_dict(), "mvit", "timm"))
    return model


def forward_candidates(size: str, batch: int, device: str) -> dict[str, Callable[[], object]]:
    """transformers first: it is what the others are divided by."""
    theirs, ours = (model.to(device) for model in build(size))
    x = torch.rand(batch, 3, PIXELS, PIXELS, device=device)
    folded, half = ours.fuse(), ours.fuse().bfloat16()
    x_half = x.bfloat16()

    def recorded() -> None:
        with record_attention(ours):
            ours(x)

    candidates = {
        "transformers": lambda: theirs(x),
        "ours": lambda: ours(x),
        "ours, recording attention": recorded,
        "ours, folded": lambda: folded(x),
        "ours, folded, bf16": lambda: half(x_half),
    }
    if (timm := build_timm(size, ours)) is not None:
        timm = timm.to(device)
        x_last = x.contiguous(memory_format=torch.channels_last)
        candidates |= {"timm": lambda: timm(x), "timm, channels-last": lambda: timm(x_last)}
    if device == "cuda":
        compiled = torch.compile(half)
        candidates["ours, folded, bf16, compiled"] = lambda: compiled(x_half)
    return candidates


def training_candidates(size: str, batch: int, device: str) -> dict[str, Callable[[], object]]:
    """One step each: forward, loss, backward, AdamW. Ours uses the fused AdamW, as `fit` does."""
    theirs, ours = (model.to(device).train() for model in build(size))
    half = build(size)[1].to(device).train()
    return {
        "transformers": training_step(theirs, batch, fused=False),
        "ours": training_step(ours, batch, fused=True),
        "ours, bf16 autocast": training_step(half, batch, fused=True, autocast=True),
    }


def training_step(model: nn.Module, batch: int, *, fused: bool, autocast: bool = False) -> Callable[[], None]:
    device = next(model.parameters()).device
    x = torch.rand(batch, 3, PIXELS, PIXELS, device=device)
    y = torch.randint(0, 1000, (batch,), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=fused or None)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            logits = model(x)
        nn.functional.cross_entropy(logits.float(), y).backward()
        optimizer.step()

    return step
