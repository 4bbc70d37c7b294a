"""Networks that go together are used together, and others are refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.errors import ModelError
from deid.models.checkpoints import native
from deid.models.checkpoints.bundle import Network
from deid.models.mapping.mapper import Mapper, MapperShape
from deid.models.stylegan import networks as module
from deid.models.stylegan.networks import Networks, normalised


@pytest.fixture(scope="module")
def loaded(small_files) -> Networks:
    return Networks.load(small_files.generator, None, small_files.mapper)


def test_a_generator_without_its_mapper_is_refused(small_files) -> None:
    with pytest.raises(ModelError, match="--mapper"):
        Networks.load(small_files.generator)


def test_a_missing_file_is_named(small_files, tmp_path) -> None:
    with pytest.raises(ModelError, match="nowhere.safetensors"):
        Networks.load(tmp_path / "nowhere.safetensors", None, small_files.mapper)


def test_a_mapper_for_another_generator_is_refused(small_files, tmp_path) -> None:
    mapper = Mapper(MapperShape(128, 12, (16,), 40))
    other = tmp_path / "other.safetensors"
    other.write_bytes(native.write({"mapper": Network(mapper.shape.numbers(), mapper.state_dict())}))
    with pytest.raises(ModelError, match=r"24 numbers.*for 40"):
        Networks.load(small_files.generator, small_files.mapper, other)


def test_one_code_gives_one_picture_whatever_the_batch(loaded) -> None:
    codes = loaded.generator.mapping(torch.randn(20, 24)).detach().numpy()
    whole = loaded.pictures(codes)
    assert whole.shape == (20, 32, 32, 4) and whole.min() >= 0 and whole.max() <= 1
    np.testing.assert_allclose(loaded.pictures(codes[7:8])[0], whole[7], atol=1e-5)


def test_codes_far_from_the_generators_own_are_drawn_in(loaded) -> None:
    identities = np.random.default_rng(0).normal(0, 30, (5, 128)).astype(np.float32)
    codes = loaded.mapped(identities, np.zeros((5, 12), np.float32))
    away = (codes - loaded.mapper.mean.numpy()) / loaded.mapper.scale.numpy()
    assert np.sqrt((away**2).mean(axis=1)).max() <= module._FARTHEST * 1.001


@given(st.floats(0.5, 4), st.floats(-50, 50), st.integers(16, 128))
@settings(max_examples=25, deadline=None)
def test_meshes_are_told_in_the_crops_own_unit(scale: float, shift: float, side: int) -> None:
    rng = np.random.default_rng(1)
    inside = rng.uniform(0, side - 1, (1, 478, 3))
    frame = inside * scale + shift
    crop_from_frame = np.array([[[1 / scale, 0, -shift / scale], [0, 1 / scale, -shift / scale]]])
    told = normalised(frame, crop_from_frame, side)
    np.testing.assert_allclose(told[..., :2], (2 * inside[..., :2] + 1) / side - 1, atol=1e-4)
    assert abs(told[0, :468, 2].mean()) < 1e-4 and np.abs(told).max() < 2.01


def test_a_gpu_that_is_not_there_is_told_and_a_device_is_taken(
    small_files, loaded: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="no GPU that torch can use"):
        Networks.load(small_files.generator, None, small_files.mapper, device="cuda")
    other = Networks.load(small_files.generator, None, small_files.mapper, device="cpu:0")
    codes = np.zeros((1, loaded.generator.shape.width), np.float32)
    assert np.array_equal(other.pictures(codes), loaded.pictures(codes))
