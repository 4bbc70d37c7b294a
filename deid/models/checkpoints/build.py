"""Networks out of bundles, ready to be run."""

from __future__ import annotations

from typing import cast

from torch import nn

from deid.models.checkpoints.bundle import Bundle, fill
from deid.models.mapping.attributes import AttributeEncoder, AttributeShape, LandmarkNet
from deid.models.mapping.mapper import Mapper, MapperShape
from deid.models.mapping.style_encoder import StyleEncoder, StyleEncoderShape
from deid.models.stylegan.generator import Generator, GeneratorShape


def generator(bundle: Bundle) -> Generator:
    """The generator in ``bundle``, frozen. Raises :class:`~deid.errors.ModelError` when it is missing or broken."""
    network = bundle.network("generator")
    made = Generator(GeneratorShape.of(dict(network.shape)))
    fill(made, network, "generator")
    return made.frozen()


def style_encoder(bundle: Bundle) -> StyleEncoder:
    """The pSp or e4e encoder in ``bundle``, frozen; errors as :func:`generator`."""
    network = bundle.network("style_encoder")
    made = StyleEncoder(StyleEncoderShape.of(dict(network.shape)))
    fill(made, network, "encoder")
    return cast(StyleEncoder, _frozen(made))


def landmarks(bundle: Bundle) -> LandmarkNet:
    """The landmark network in ``bundle``, frozen; errors as :func:`generator`."""
    network = bundle.network("landmarks")
    made = LandmarkNet(int(network.shape.get("side", 64)), int(network.shape.get("channels", 24)))
    fill(made, network, "landmark network")
    return cast(LandmarkNet, _frozen(made))


def attributes(bundle: Bundle) -> AttributeEncoder:
    """The attribute encoder in ``bundle``, frozen; errors as :func:`generator`."""
    network = bundle.network("attributes")
    made = AttributeEncoder(AttributeShape.of(dict(network.shape)))
    fill(made, network, "attribute encoder")
    return cast(AttributeEncoder, _frozen(made))


def mapper(bundle: Bundle) -> Mapper:
    """The mapper in ``bundle``, frozen; errors as :func:`generator`."""
    network = bundle.network("mapper")
    made = Mapper(MapperShape.of(dict(network.shape)))
    fill(made, network, "mapper")
    return cast(Mapper, _frozen(made))


def _frozen(module: nn.Module) -> nn.Module:
    module.requires_grad_(False)
    return module.eval()
