"""Faint detail is taken off a texture; edges, moles and hairs stay, and so does what footage shows."""

from __future__ import annotations

import numpy as np
import pytest

from deid.models.morphable.pore_match import _finer
from deid.models.morphable.shade_texture import oil


def texture() -> np.ndarray:
    rng = np.random.default_rng(1)
    grey = 1 + 0.03 * rng.standard_normal((256, 256))
    grey[:, 120:136] = 0.15
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


@pytest.mark.parametrize("share", [0.25, 0.6, 1.0])
def test_faint_detail_is_left_by_its_share_and_edges_stay(share: float) -> None:
    skin = texture()
    made = skin * _finer(skin, 10.0, share)
    flat = (slice(None), slice(0, 100))
    assert np.std(np.log(made[flat])) == pytest.approx(share * np.std(np.log(skin[flat])), abs=0.006)
    assert made[flat].mean() == pytest.approx(skin[flat].mean(), rel=0.01)
    assert made[:, 124:132].mean() == pytest.approx(0.15, abs=0.03)
    assert made[:, 100:118].mean() > 0.9


def test_even_oil_is_more_even() -> None:
    skin = np.ones((256, 256, 3), np.float32)
    assert oil(skin, 0.2).std() < 0.5 * oil(skin).std()
