"""Every test starts from the same random numbers; property tests may take their time."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("course", deadline=None)
settings.load_profile("course")


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)
