"""Preparing layers for 8-bit integers: nothing but the rounding changes what they compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid.detection import _rounding as module
from deid.detection import centerface
from deid.detection._onnx import Layer
from deid.detection._rounding import RANGES, even_channels, read_ranges, round_bias, round_weights, rounded
from deid.errors import ModelError


def block(seed: int = 0) -> list[Layer]:
    """An expansion, a depthwise layer and a projection."""
    rng = np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        return rng.normal(0, 1, shape).astype(np.float32)

    return [
        Layer("conv", ("in",), "a", some(6, 3, 1, 1), some(6), relu=True),
        Layer("depthwise", ("a",), "b", some(6, 1, 3, 3), some(6), stride=2, relu=True),
        Layer("conv", ("b",), "c", some(2, 6, 1, 1), some(2)),
    ]


def computed(layers: list[Layer], x: np.ndarray) -> np.ndarray:
    """The block's output at one place, for one pixel's surroundings x (3, 3, 3)."""
    a = np.maximum(np.einsum("oi,iyx->oyx", layers[0].weights[:, :, 0, 0], x) + layers[0].bias[:, None, None], 0)
    b = np.maximum((layers[1].weights[:, 0] * a).sum((1, 2)) + layers[1].bias, 0)
    return layers[2].weights[:, :, 0, 0] @ b + layers[2].bias


RANGES_OF_BLOCK = {
    "a": np.array([4, 1, 0.5, 2, 0, 3], np.float32),
    "b": np.array([0, 6], np.float32),
    "c": np.array([-3, 5], np.float32),
}


@given(st.integers(0, 1000))
def test_evening_channels_out_changes_nothing(seed: int) -> None:
    layers = block(seed)
    after, _ = rounded(layers, RANGES_OF_BLOCK)
    x = np.random.default_rng(seed + 1).normal(0, 1, (3, 3, 3))
    np.testing.assert_allclose(computed(after, x), computed(layers, x), rtol=1e-4, atol=1e-4)
    assert np.abs(after[0].weights).max() > np.abs(layers[0].weights).max(), "quiet channels were made louder"


def test_only_what_one_depthwise_layer_reads_is_evened_out() -> None:
    layers = block()
    assert even_channels(layers) == {"a"}
    assert even_channels([*layers, Layer("add", ("a", "b"), "d")]) == frozenset()


def test_steps_hold_the_range_and_a_true_zero() -> None:
    steps = rounded(block(), RANGES_OF_BLOCK)[1]
    assert steps["a"].zero == 0, "what is padded with zeros must store zero as 0"
    assert steps["a"].scale * 127 == pytest.approx(4)
    assert steps["b"].zero == -128
    c = steps["c"]
    assert c.scale * (-128 - c.zero) == pytest.approx(-3, abs=c.scale)
    assert c.scale * (127 - c.zero) == pytest.approx(5, abs=c.scale)


@given(st.integers(0, 1000), st.sampled_from([0, 3]))
def test_weights_are_rounded_to_the_nearest_step_of_their_channel(seed: int, axis: int) -> None:
    weights = np.random.default_rng(seed).normal(0, 1, (4, 3, 3, 5)).astype(np.float32)
    values, scales = round_weights(weights, axis)
    spread = scales.reshape([-1 if i == axis else 1 for i in range(4)])
    assert values.dtype == np.int8
    assert values.min() >= -127
    assert (np.abs(values * spread - weights) <= spread * 0.5001).all()


def test_a_bias_keeps_to_32_bits() -> None:
    assert round_bias(np.array([1.0, 1e30]), np.array([0.5, 1e-9])).tolist() == [2, 2**30]


def test_every_tensor_but_the_heads_was_measured() -> None:
    layers = centerface._read_weights(centerface.weights_path()).layers
    digest, ranges = read_ranges()
    assert ranges.keys() == {x.output for x in layers} - set(centerface._HEADS)
    assert digest == module.digest(centerface.weights_path().read_bytes())
    assert RANGES.stat().st_size < 100_000
    assert all(np.isfinite(v).all() and v.max() > 0 for v in ranges.values())


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_ranges_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ranges.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"ranges\.safetensors"):
        read_ranges(path)


def test_bytes_reach_an_integer_network_as_they_are() -> None:
    from deid.detection._mediapipe import Graph, floats, network_graph
    from deid.detection._rounding import PICTURE
    from deid.detection._tflite import ModelWriter

    picture = np.random.default_rng(5).integers(0, 256, (65, 97, 3)).astype(np.uint8)
    picture.setflags(write=False)
    writer = ModelWriter()
    source, flat = writer.tensor((1, *picture.shape), PICTURE), writer.tensor((1, picture.size, 1, 1))
    writer.reshape(writer.stored_as(source, None), flat)
    end = 'calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:output" output_stream: "FLOATS:seen"'
    graph = Graph(network_graph("seen", end, 1, (97, 65)), ("seen",), {"model": writer.finish(source, flat)})
    try:
        np.testing.assert_array_equal(floats(graph.run(picture)["seen"]).reshape(picture.shape), picture)
    finally:
        graph.close()
