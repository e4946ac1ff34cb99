"""Reference networks of transformers, with weights that exercise every parameter."""

import functools

import torch
from peer_configs import HF_CHANGES
from torch import nn
from transformers import MobileViTConfig, MobileViTForImageClassification

from mvit_lib import MobileViT, mobilevit_s, mobilevit_xs, mobilevit_xxs
from mvit_lib.layouts import convert_state_dict

BUILDERS = {"xxs": mobilevit_xxs, "xs": mobilevit_xs, "s": mobilevit_s}


def randomise(model: nn.Module) -> None:
    """Give norms, biases and running statistics values that would show if one were mixed up."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.3)
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.3)


@functools.cache
def hf_mobilevit(size: str) -> MobileViTForImageClassification:
    """transformers' MobileViT of a size in eval mode and float64."""
    torch.manual_seed(1)
    model = MobileViTForImageClassification(MobileViTConfig(num_labels=1000, **HF_CHANGES[size]))
    randomise(model)
    return model.double().eval()


@functools.cache
def our_mobilevit(size: str) -> MobileViT:
    """Ours with the same weights."""
    model = BUILDERS[size]().double().eval()
    model.load_state_dict(convert_state_dict(hf_mobilevit(size).state_dict(), "hf"))
    return model
