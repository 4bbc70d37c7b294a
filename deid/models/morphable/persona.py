"""A surrogate in bytes, so that another run makes the very same face."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from deid.errors import DamagedRegistry
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.features import places
from deid.models.morphable.geometry import Geometry

_HEAD = struct.Struct("<B8sqHH3f")
_VERSION = 1


def model_mark(geometry: Geometry, appearance: Appearance) -> bytes:
    """8 bytes that change when the face model does: then the same numbers are another face."""
    words = hashlib.sha256()
    for array in (geometry.identity[:, ::29], geometry.vertices, appearance.spread, appearance.centre, places()):
        words.update(np.ascontiguousarray(array).tobytes())
    return words.digest()[:8]


def to_bytes(code: IdentityCode, mark: bytes) -> bytes:
    """``mark``: of the model that ``code`` belongs to."""
    shape, skin = np.asarray(code.shape, "<f4"), np.asarray(code.appearance, "<f4")
    head = _HEAD.pack(_VERSION, mark, code.detail, len(shape), len(skin), *map(float, code.iris))
    return head + shape.tobytes() + skin.tobytes()


def from_bytes(words: bytes, geometry: Geometry, appearance: Appearance) -> tuple[IdentityCode, bytes]:
    """The code, bit for bit, and the mark of the model that it was made with. Raises :class:`DamagedRegistry` when this
    model cannot use it."""
    if len(words) < _HEAD.size or words[0] != _VERSION:
        raise DamagedRegistry("the registry holds surrogates in a form that this version of deid does not know.")
    _, mark, detail, shapes, skins, *iris = _HEAD.unpack_from(words)
    numbers = np.frombuffer(words, "<f4", offset=_HEAD.size)
    if shapes != len(geometry.identity) or skins != len(appearance.spread) or len(numbers) != shapes + skins:
        raise DamagedRegistry(
            "the registry's surrogates belong to another version of the face model; use that version of deid, or a new "
            "registry."
        )
    numbers = numbers.astype(np.float32)
    return IdentityCode(numbers[:shapes], numbers[shapes:], int(detail), np.array(iris, np.float32)), mark
