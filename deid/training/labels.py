"""Named attributes of a rendered face, each from 0 to 1, and its landmarks: exact, since everything is known."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from deid.models.morphable.brows import COUNT
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.render_model import head_model
from deid.models.morphable.shade_eyes import posed_eyes
from deid.training.scene import AGES, PITCH, YAW, How, Who

EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "smile": ("mouthSmile_L", "mouthSmile_R"),
    "frown": ("mouthFrown_L", "mouthFrown_R"),
    "mouth_open": ("jawOpen",),
    "pucker": ("mouthPucker", "mouthFunnel"),
    "lips_pressed": ("mouthPress_L", "mouthPress_R", "mouthRollLower", "mouthRollUpper"),
    "mouth_stretched": ("mouthStretch_L", "mouthStretch_R"),
    "upper_lip_raised": ("mouthUpperUp_L", "mouthUpperUp_R"),
    "brows_raised": ("browInnerUp_L", "browInnerUp_R", "browOuterUp_L", "browOuterUp_R"),
    "brows_lowered": ("browDown_L", "browDown_R"),
    "eyes_closed": ("eyeBlink_L", "eyeBlink_R"),
    "eyes_wide": ("eyeWide_L", "eyeWide_R"),
    "squint": ("eyeSquint_L", "eyeSquint_R", "cheekSquint_L", "cheekSquint_R"),
    "sneer": ("noseSneer_L", "noseSneer_R"),
    "cheeks_puffed": ("cheekPuff_L", "cheekPuff_R"),
}
SIDED: dict[str, tuple[str, str]] = {
    "smile_side": ("mouthSmile_L", "mouthSmile_R"),
    "wink": ("eyeBlink_L", "eyeBlink_R"),
}
_SHAPES: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {  # distances of mesh points, one over the other
    "face_width": ((234, 454), (10, 152)),
    "jaw_width": ((172, 397), (234, 454)),
    "chin_height": ((17, 152), (10, 152)),
    "nose_length": ((168, 2), (10, 152)),
    "nose_width": ((64, 294), (234, 454)),
    "mouth_width": ((61, 291), (234, 454)),
    "lip_thickness": ((0, 17), (10, 152)),
    "eye_size": ((33, 133), (234, 454)),
    "eye_spacing": ((133, 362), (234, 454)),
    "brow_height": ((105, 159), (10, 152)),
}
NAMES: tuple[str, ...] = (
    "yaw", "pitch", "gaze_across", "gaze_up",
    *EXPRESSIONS, *SIDED,
    "brightness", "light_from_left", "light_from_above", "light_contrast", "light_warmth",
    "skin_lightness", "age", "gender", *_SHAPES, "brow_thickness",
    "baldness", "hair_length", "hair_lightness", "beard", "glasses",
)  # fmt: skip
"""In the order of :func:`measure`."""

_GAZE = 0.5  # radians
_IRIS = 0.37


def measure(geometry: Geometry, neutral: np.ndarray, who: Who, how: How) -> np.ndarray:
    """float32 (A,), 0 to 1: the attributes of a picture of ``who``, whose head at rest is ``neutral``, (V, 3). For
    sides, lights and angles 0.5 is the middle; shapes are ranks among heads."""
    lit = np.asarray(how.harmonics, np.float64)
    expression = {name: float(how.expression[index]) for name, index in _names(geometry).items()}
    out = [
        0.5 + how.yaw / (2 * YAW),
        0.5 + how.pitch / (2 * PITCH),
        0.5 + float(how.gaze[0]) / (2 * _GAZE),
        0.5 + float(how.gaze[1]) / (2 * _GAZE),
        *(float(np.mean([expression[name] for name in group])) for group in EXPRESSIONS.values()),
        *(0.5 + (expression[left] - expression[right]) / 2 for left, right in SIDED.values()),
        1 / (1 + np.exp(-2.0 * (np.log(float(how.white.mean()) * max(lit[0] + 0.5 * lit[3], 0.05)) + 0.6))),
        0.5 - 0.9 * lit[1] / max(lit[0], 0.2),
        0.35 + 0.9 * lit[2] / max(lit[0], 0.2) * 0.5,
        float(np.linalg.norm(lit[1:4])) / max(lit[0] * 1.6, 0.2),
        0.5 + float(np.log(how.white[0] / how.white[2])) / 1.2,
        (float(np.log(who.tone.mean())) + 2.6) / 2.0,
        (who.age - AGES[0]) / (AGES[1] - AGES[0]),
        (who.female + 1) / 2,
        *_ranks(geometry, neutral),
        0.5 + float(who.code.appearance[3 - COUNT]) / 4,
        how.bald,
        how.length,
        (float(np.log(how.hair.mean())) + 4.6) / 4.0,
        how.beard,
        how.glasses,
    ]
    return np.clip(np.array(out, np.float32), 0, 1)


@lru_cache(maxsize=1)
def _names(geometry: Geometry) -> dict[str, int]:
    return {name: index for index, name in enumerate(geometry.expression_names)}


def _ratios(geometry: Geometry, neutral: np.ndarray) -> np.ndarray:
    mesh = surface_points(geometry, neutral)
    found = [
        np.linalg.norm(mesh[a] - mesh[b]) / np.linalg.norm(mesh[c] - mesh[d]) for (a, b), (c, d) in _SHAPES.values()
    ]
    return np.array(found)


@lru_cache(maxsize=1)
def _usual(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Means and spreads of the ratios over heads of the model's own statistics."""
    rng = np.random.default_rng(11)
    shapes = np.clip(rng.normal(0, 1, (200, len(geometry.identity))), -2.2, 2.2).astype(np.float32)
    found = np.stack([_ratios(geometry, geometry.neutral(shape)) for shape in shapes])
    return found.mean(axis=0), found.std(axis=0)


def shape_scores(geometry: Geometry, neutral: np.ndarray) -> np.ndarray:
    """float64 (S,): by how many standard deviations each of the named shapes of the head ``neutral``, (V, 3) at rest,
    differs from the usual; :func:`rank_of` says what attribute that is."""
    mean, spread = _usual(geometry)
    out: np.ndarray = (_ratios(geometry, neutral) - mean) / spread
    return out


def rank_of(scores: np.ndarray) -> np.ndarray:
    """0 to 1: a logistic curve near the normal one's."""
    out: np.ndarray = 1 / (1 + np.exp(-1.702 * scores))
    return out


SHAPES: tuple[str, ...] = tuple(_SHAPES)


def _ranks(geometry: Geometry, neutral: np.ndarray) -> list[float]:
    """Where this head lies among heads."""
    ranks: list[float] = rank_of(shape_scores(geometry, neutral)).tolist()
    return ranks


def irises(geometry: Geometry, vertices: np.ndarray) -> np.ndarray:
    """float32 (10, 3), head space: centre and four points of the rim of the subject's right iris, then of the left, as
    MediaPipe has them."""
    eyes = posed_eyes(geometry, head_model(geometry).eyes, vertices)
    out = []
    for eye in (1, 0):
        x, y, z = eyes.axes[eye]
        radius, rim = geometry.eye_radius, float(eyes.span[eye, 2])
        middle = eyes.centres[eye] + radius * np.sqrt(1 - rim * rim) * z
        ways = (0 * x, x, y, -x, -y)
        out += [middle + radius * rim * way for way in ways]
    return np.array(out, np.float32)
