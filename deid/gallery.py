"""Pictures of people who do not exist: what surrogates look like, before one stands in for anybody.

A sheet has a row a person and a column a state: expressions, turned heads, lights. A turntable is a clip of one person
who turns once to either side, speaks, smiles and blinks. Hair and clothes are only hinted at: in a run they are the
subject's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import Camera, IdentityCode, Light, head_rotation
from deid.models.morphable.finish import soften, to_code
from deid.models.morphable.geometry import Geometry, Part, load_geometry
from deid.models.morphable.painter import Sitter
from deid.models.morphable.sampling import draw
from deid.people import Person
from deid.progress import Progress, QuietProgress

CELL = 256  # pixels a side of a picture in the sheet
TURN_SIZE, TURN_FRAMES, TURN_RATE = 720, 200, 25
_AGES = (20.0, 75.0)
_TONES = np.array(  # linear RGB of skin under white light of 1, from light to dark (ITA 55 to -35 degrees)
    [(0.60, 0.42, 0.33), (0.52, 0.34, 0.24), (0.42, 0.25, 0.165), (0.27, 0.145, 0.09), (0.13, 0.068, 0.043)]
)
_TALL = 24.0  # centimetres that a picture is high
_BACKDROP = np.array((0.50, 0.52, 0.54), np.float32)


@dataclass(frozen=True, slots=True)
class _State:
    """A column: expression weights by name, yaw in degrees, name of the light."""

    name: str
    expression: tuple[tuple[str, float], ...] = ()
    yaw: float = 0.0
    light: str = "soft"


def _both(**weights: float) -> tuple[tuple[str, float], ...]:
    return tuple((f"{name}_{side}", weight) for name, weight in weights.items() for side in "LR")


STATES = (
    _State("neutral"),
    _State("smile", _both(mouthSmile=0.85, cheekSquint=0.45, mouthUpperUp=0.2, eyeSquint=0.2)),
    _State("open mouth", (("jawOpen", 0.65),)),
    _State("blink", _both(eyeBlink=1.0)),
    _State("yaw -35", yaw=-35.0),
    _State("yaw 0", (("browInnerUp_L", 0.4), ("browInnerUp_R", 0.4))),
    _State("yaw +35", yaw=35.0),
    _State("window", light="window"),
    _State("ceiling", light="ceiling"),
    _State("evening", light="evening"),
)
"""The sheet's columns, from left to right."""

_LIGHTS: dict[str, tuple[tuple[float, ...], tuple[float, float, float]]] = {  # harmonics 0-3 and 8; colour of white
    "soft": ((0.66, -0.10, 0.16, 0.44, 0.02), (0.72, 0.71, 0.70)),
    "window": ((0.50, -0.46, 0.12, 0.38, 0.02), (0.66, 0.69, 0.74)),
    "ceiling": ((0.58, 0.02, 0.46, 0.30, 0.03), (0.70, 0.70, 0.66)),
    "evening": ((0.54, 0.34, 0.02, 0.42, 0.02), (0.52, 0.38, 0.26)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A person to be photographed. ``tone``: linear RGB of the skin under white light of 1."""

    sitter: Sitter
    tone: np.ndarray


def people(
    seed: int, count: int, female: float | None = None, age: float | None = None
) -> Iterator[tuple[IdentityCode, np.ndarray]]:
    """``count`` identities and skin tones; the same for the same arguments, and the first few of many are those of few.
    ``female``: -1 (a man) to 1 (a woman), ``age`` in years; by chance when ``None``."""
    geometry, appearance = load_geometry(), load_appearance()
    for number in range(count):
        rng = np.random.default_rng([seed, number, 21])
        gender = float(rng.choice((-1.0, 1.0))) if female is None else female
        years = float(rng.uniform(*_AGES)) if age is None else age
        shade = rng.beta(1.1, 1.6) * (len(_TONES) - 1)
        tone = np.array([np.interp(shade, range(len(_TONES)), channel) for channel in _TONES.T])
        person = Person(1, (), np.empty((0, 128), np.float32), gender, years)
        yield draw(geometry, appearance, rng, person, dark=float(tone.mean()) < 0.2), tone.astype(np.float32)


def sheet(
    seed: int,
    count: int,
    *,
    female: float | None = None,
    age: float | None = None,
    cell: int = CELL,
    progress: Progress | None = None,
) -> np.ndarray:
    """uint8 (count * cell, 10 * cell, 3) BGR: a row a person, columns as in :data:`STATES`."""
    progress = progress or QuietProgress()
    progress.stage("drawing people", count)
    rows = []
    for code, tone in people(seed, count, female, age):
        model = _model(code, tone, 512 if cell <= 300 else 1024)
        rows.append(np.hstack([_photograph(model, state, cell) for state in STATES]))
        progress.advance()
    return np.vstack(rows)


def turntable(
    seed: int,
    *,
    female: float | None = None,
    age: float | None = None,
    size: int = TURN_SIZE,
    frames: int = TURN_FRAMES,
    progress: Progress | None = None,
) -> Iterator[np.ndarray]:
    """``frames`` pictures, uint8 (size, size, 3) BGR, of the first of :func:`people`, 25 a second."""
    progress = progress or QuietProgress()
    progress.stage("turning", frames)
    code, tone = next(people(seed, 1, female, age))
    model = _model(code, tone, 1024)
    for number in range(frames):
        t = number / frames
        speech = max(0.0, np.sin(2 * np.pi * 9 * t)) * _bump(t, 0.62, 0.12)
        expression = (
            ("jawOpen", 0.4 * float(speech)),
            *_both(mouthSmile=0.8 * _bump(t, 0.35, 0.08), cheekSquint=0.4 * _bump(t, 0.35, 0.08)),
            *_both(eyeBlink=max(_bump(t, 0.2, 0.012), _bump(t, 0.5, 0.012), _bump(t, 0.83, 0.012))),
        )
        yaw = 50 * float(np.sin(2 * np.pi * t))
        yield _photograph(model, _State("", expression, yaw), size)
        progress.advance()


def _bump(t: float, middle: float, width: float) -> float:
    return float(np.exp(-(((t - middle) / width) ** 2)))


def _model(code: IdentityCode, tone: np.ndarray, texture: int) -> Model:
    return Model(Sitter.make(load_geometry(), load_appearance(), code, texture), tone)


def _photograph(model: Model, state: _State, size: int) -> np.ndarray:
    """uint8 (size, size, 3), BGR."""
    geometry = load_geometry()
    weights = _weights(geometry, state.expression)
    vertices = geometry.pose(model.sitter.neutral, weights, np.zeros((2, 2), np.float32))
    camera = Camera(head_rotation(state.yaw, 0, 0), size / _TALL, np.array([0.5 * size, 0.49 * size]), 110.0)
    light = _light(state.light, model.tone)
    face = model.sitter.renderer.render(vertices, camera, light, size, size, expression=weights)
    hair = _cropped_hair(face.part == Part.HEAD, camera, size)
    skin = face.rgb * (1 - 0.85 * hair[..., None])
    cover = np.clip(face.alpha + face.head, 0, 1)[..., None]
    picture = to_code(skin) * cover + _BACKDROP * (1 - cover)
    return np.clip(np.rint(soften(picture, 0.45) * 255), 0, 255).astype(np.uint8)[..., ::-1]


def _weights(geometry: Geometry, expression: Sequence[tuple[str, float]]) -> np.ndarray:
    out = np.zeros(len(geometry.expression), np.float32)
    for name, weight in expression:
        out[geometry.expression_names.index(name)] = weight
    return out


def _light(name: str, tone: np.ndarray) -> Light:
    (one, x, y, z, up), white = _LIGHTS[name]
    sh = np.zeros((9, 3), np.float32)
    sh[0], sh[1], sh[2], sh[3], sh[8] = one, x, y, z, up
    colour = np.array(white, np.float32)
    return Light(sh, (tone * colour).astype(np.float32), colour)


def _cropped_hair(head: np.ndarray, camera: Camera, size: int) -> np.ndarray:
    """float32 (size, size), 0 to 1: the part of the head above the hairline."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    up = camera.rotation[:2, 1] * (1, -1) * camera.scale
    above = ((x - camera.translation[0]) * up[0] + (y - camera.translation[1]) * up[1]) / float(up @ up)
    hair = np.clip((above - 3.4) / 1.2, 0, 1).astype(np.float32) * head
    return soften(hair, max(0.8, camera.scale * 0.12))
