"""The generator against a slow and literal one, and the rules that hold for it."""

from __future__ import annotations

import literal_stylegan
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.errors import ModelError
from deid.models.checkpoints.rosinality import write_generator
from deid.models.stylegan.discriminator import Discriminator
from deid.models.stylegan.generator import Generator, GeneratorShape, measure_mean
from deid.models.stylegan.layers import blur, downsample, upsample


def test_pictures_are_those_of_the_literal_network(generator: Generator) -> None:
    w = torch.randn(3, generator.shape.layers, 32)
    expected = literal_stylegan.picture(write_generator(generator), w)
    assert torch.allclose(generator(w), expected, atol=2e-5)
    assert expected.std() > 0.3


def test_one_code_for_all_layers_is_that_code_in_each(generator: Generator) -> None:
    w = torch.randn(2, 32)
    assert torch.equal(generator(w), generator(w[:, None].repeat(1, generator.shape.layers, 1)))


def test_every_layer_matters(generator: Generator) -> None:
    w = torch.randn(1, generator.shape.layers, 32)
    before = generator(w)
    for layer in range(generator.shape.layers):
        other = w.clone()
        other[:, layer] += 1
        assert (generator(other) - before).abs().max() > 1e-3, layer


def test_noise_is_the_same_unless_it_is_asked_for(generator: Generator) -> None:
    w = torch.randn(1, 32)
    assert torch.equal(generator(w), generator(w))
    assert not torch.equal(generator(w, fresh=True), generator(w, fresh=True))


def test_truncation_draws_codes_towards_the_mean(generator: Generator) -> None:
    z = torch.randn(4, 32)
    assert torch.equal(generator.codes(z, 0.0), generator.mapping.mean.expand(4, -1))
    half = generator.codes(z, 0.5) - generator.mapping.mean
    assert torch.allclose(half * 2, generator.codes(z) - generator.mapping.mean, atol=1e-5)


def test_the_mean_that_is_measured_is_the_mean(generator: Generator) -> None:
    random = torch.Generator().manual_seed(5)
    codes = generator.codes(torch.randn(20_000, 32, generator=random))
    measured = measure_mean(generator)
    assert (measured - codes.mean(0)).abs().max() < 0.1 * codes.std(0).mean()
    assert torch.equal(measured, measure_mean(generator))


def test_four_channels_and_any_size() -> None:
    made = Generator(GeneratorShape(64, (8, 8, 8, 8, 8), latent=5, width=16, depth=2, colours=4))
    assert made(made.codes(torch.randn(2, 5))).shape == (2, 4, 64, 64)


@pytest.mark.parametrize(
    "numbers",
    [
        {"size": 48, "channels": (8, 8, 8, 8)},
        {"size": 4, "channels": (8,)},
        {"size": 8, "channels": (8, 0)},
        {"size": 8, "channels": (8, 8), "colours": 2},
    ],
)
def test_shapes_that_cannot_be(numbers: dict) -> None:
    with pytest.raises(ModelError):
        GeneratorShape(**numbers)
    with pytest.raises(ModelError):
        GeneratorShape.of(numbers)


def test_a_shape_survives_a_header() -> None:
    shape = GeneratorShape(16, (9, 8, 7), latent=3, width=6, depth=2, colours=4)
    assert GeneratorShape.of(shape.numbers()) == shape
    with pytest.raises(ModelError):
        GeneratorShape.of({"size": 16})


@given(st.integers(1, 5), st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_resampling_keeps_what_is_constant(channels: int, half: int) -> None:
    flat = torch.full((1, channels, 2 * half, 2 * half), 3.0)
    assert torch.allclose(upsample(flat)[:, :, 2:-2, 2:-2], torch.tensor(3.0))
    assert torch.allclose(downsample(flat)[:, :, 1:-1, 1:-1], torch.tensor(3.0))
    assert torch.allclose(blur(flat, 2, 1)[:, :, 2:-2, 2:-2], torch.tensor(3.0))


def test_upsampling_and_downsampling_do_not_move_the_picture() -> None:
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    inner = slice(4, -4)
    assert torch.allclose(downsample(ramp)[..., inner, inner], torch.arange(16.0)[inner] * 2 + 0.5, atol=1e-5)
    assert torch.allclose(upsample(ramp)[..., inner, inner], (torch.arange(64.0)[inner] - 0.5) / 2, atol=1e-4)


def test_the_discriminator_tells_a_batch_without_variety() -> None:
    torch.manual_seed(0)
    judge = Discriminator((16, 12, 8), colours=3)
    varied = torch.randn(8, 3, 16, 16)
    same = varied[:1].repeat(8, 1, 1, 1)
    assert judge(varied).shape == (8, 1)
    alone = judge(varied[:1])
    assert torch.allclose(judge(same), alone.expand(8, 1), atol=1e-4)
    assert not torch.allclose(judge(varied)[:1], alone, atol=1e-4)


def test_gradients_of_gradients() -> None:
    torch.manual_seed(0)
    judge = Discriminator((8, 8, 8), colours=3)
    pictures = torch.randn(4, 3, 16, 16, requires_grad=True)
    (slope,) = torch.autograd.grad(judge(pictures).sum(), pictures, create_graph=True)
    slope.square().sum().backward()
    assert all(parameter.grad is not None for name, parameter in judge.named_parameters() if "weight" in name)
