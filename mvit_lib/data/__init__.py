"""What the networks are fed with."""

from mvit_lib.data.items import collate
from mvit_lib.data.sampler import Key, MultiScaleSampler

__all__ = ["Key", "MultiScaleSampler", "collate"]
