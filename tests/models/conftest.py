"""Networks of the StyleGAN engine, of a size that means nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from deid.models.checkpoints import native
from deid.models.checkpoints.bundle import Network
from deid.models.mapping.attributes import AttributeEncoder, AttributeShape
from deid.models.mapping.mapper import Mapper, MapperShape
from deid.models.stylegan.generator import Generator, GeneratorShape


@dataclass(frozen=True, slots=True)
class Files:
    """Networks that go together, of a size that means nothing."""

    generator: Path
    mapper: Path


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A generator of 32 pixels with opacity, an attribute encoder and a mapper, of random weights, as files."""
    torch.manual_seed(11)
    folder = tmp_path_factory.mktemp("networks")
    made = Generator(GeneratorShape(32, (16, 16, 16, 12), latent=24, width=24, depth=2, colours=4))
    encoder, mapper = AttributeEncoder(AttributeShape(16, 8, 12)), Mapper(MapperShape(128, 12, (32,), 24))
    encoder.know(torch.rand(64, 478, 3) * 2 - 1)
    mapper.know(torch.randn(64, 128) * 0.1, torch.randn(64, 12), made.mapping(torch.randn(64, 24)))
    mapper.net[-1].weight.data.normal_(0, 0.4)
    last = made.synthesis.blocks[-1].picture
    last.bias.data[3] = 3.0  # opaque, so that there is something to see
    files = Files(folder / "generator.safetensors", folder / "mapper.safetensors")
    files.generator.write_bytes(native.write({"generator": Network(made.shape.numbers(), made.state_dict())}))
    files.mapper.write_bytes(
        native.write(
            {
                "attributes": Network(encoder.shape.numbers(), encoder.state_dict()),
                "mapper": Network(mapper.shape.numbers(), mapper.state_dict()),
            }
        )
    )
    return files
