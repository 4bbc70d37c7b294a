"""A small generator whose every parameter matters."""

from __future__ import annotations

import pytest
import torch

from deid.models.checkpoints.build import frozen
from deid.models.stylegan.generator import Generator, GeneratorShape


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(3)
    made = Generator(GeneratorShape(32, (24, 20, 16, 12), latent=32, width=32, depth=3))
    for name, parameter in made.named_parameters():
        if name.endswith(("strength", "bias")):
            parameter.data.normal_(0.1, 0.3)
    made.mapping.mean.normal_()
    return frozen(made)
