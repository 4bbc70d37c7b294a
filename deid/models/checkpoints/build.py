"""Networks out of bundles, ready to be run: frozen, and with their weights. Each raises
:class:`~deid.errors.ModelError` when the network is missing or broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from deid.models.checkpoints.bundle import Bundle, fill
from deid.models.mapping.attributes import AttributeEncoder, AttributeShape, LandmarkNet, LandmarkShape
from deid.models.mapping.mapper import Mapper, MapperShape
from deid.models.mapping.style_encoder import StyleEncoder, StyleEncoderShape
from deid.models.shape import NetworkShape
from deid.models.stylegan.generator import Generator, GeneratorShape

Module = TypeVar("Module", bound=nn.Module)
Shape = TypeVar("Shape", bound=NetworkShape)


def generator(bundle: Bundle) -> Generator:
    """The generator."""
    return _built(bundle, "generator", GeneratorShape, Generator)


def style_encoder(bundle: Bundle) -> StyleEncoder:
    """The pSp or e4e encoder."""
    return _built(bundle, "style_encoder", StyleEncoderShape, StyleEncoder)


def landmarks(bundle: Bundle) -> LandmarkNet:
    """The landmark network."""
    return _built(bundle, "landmarks", LandmarkShape, LandmarkNet)


def attributes(bundle: Bundle) -> AttributeEncoder:
    """The attribute encoder."""
    return _built(bundle, "attributes", AttributeShape, AttributeEncoder)


def mapper(bundle: Bundle) -> Mapper:
    """The mapper."""
    return _built(bundle, "mapper", MapperShape, Mapper)


def frozen(module: Module) -> Module:
    """``module`` as it is used once it is trained."""
    module.requires_grad_(False)
    return module.eval()


def _built(bundle: Bundle, name: str, shape: type[Shape], make: Callable[[Shape], Module]) -> Module:
    network = bundle.network(name)
    made = make(shape.of(network.shape))
    fill(made, network, shape.WHAT)
    return frozen(made)
