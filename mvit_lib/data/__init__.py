"""What the networks are fed with."""

from mvit_lib.data.sampler import Key, MultiScaleSampler

__all__ = ["Key", "MultiScaleSampler"]
