import numpy as np
import pytest

from deid.errors import ModelError
from deid.recognition.lite import LiteRecogniser


@pytest.fixture(scope="module")
def recogniser():
    found = LiteRecogniser()
    yield found
    found.close()


def test_codes_are_those_of_the_torch_network(recogniser):
    torch_net = pytest.importorskip("deid.recognition.dlib_net")
    noise = np.random.default_rng(1).integers(0, 256, (3, 150, 150, 3), dtype=np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, 150).astype(np.uint8)[:, None], (150, 150, 3)[:2])
    chips = np.concatenate([noise, np.repeat(ramp[None, :, :, None], 3, axis=3)])
    assert np.abs(recogniser.embed(chips) - torch_net.DlibRecogniser(threads=1).embed(chips)).max() < 1e-5


def test_no_chips_give_no_codes(recogniser):
    assert recogniser.embed(np.empty((0, 150, 150, 3), np.uint8)).shape == (0, 128)


@pytest.mark.parametrize("chips", [np.zeros((1, 150, 150, 3), np.float32), np.zeros((150, 150, 3), np.uint8)])
def test_other_shapes_and_types_are_refused(recogniser, chips):
    with pytest.raises(ValueError, match="chips must be uint8"):
        recogniser.embed(chips)


def test_damaged_weights_are_named(tmp_path):
    path = tmp_path / "weights.dat"
    path.write_bytes(b"no network")
    with pytest.raises(ModelError, match="damaged"):
        LiteRecogniser(weights=path)
