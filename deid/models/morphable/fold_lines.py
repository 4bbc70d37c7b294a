"""Where skin folds: the lines of facial anatomy as a relief on the mean head, what folds them, and how deep they stand
in calm faces of an age.

Grooves with raised rims run across the pull of the muscles (Ekman and Friesen, *Facial Action Coding System*, 1978,
names them by action unit). With the years they stay when the muscle rests, about in this order: forehead, corners of
the eyes, between the brows, nose to mouth, below the eyes, mouth to chin (Lemperle et al., *A Classification of Facial
Wrinkles*, 2001). Lengths are centimetres of the mean head; ``x`` is mirrored to its left side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Relief = tuple[np.ndarray, np.ndarray]
"""Height in centimetres, and how much of its light a place loses in a fold, 0 to 1, each (n,)."""
Field = Callable[[np.ndarray, np.ndarray, np.ndarray, float], Relief]
"""The relief at places ``x, y, z`` of the mean head at rest, each (n,); the last is a phase that says whose it is."""
Mask = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Region:
    """``pulls``: expressions, without their side, and how much of the fold each makes. ``mask``: where it is, 0 to 1.
    ``standing``: years, and how deep the fold is in a calm face then, beside one that a whole expression makes.
    ``early``: how deep a whole expression folds it in anyone grown, though smooth otherwise."""

    pulls: tuple[tuple[str, float], ...]
    mask: Mask
    field: Field
    standing: tuple[tuple[float, ...], tuple[float, ...]]
    early: float = 0.0


def step(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _window(x: np.ndarray, low: float, high: float, soft: float) -> np.ndarray:
    """1 between ``low`` and ``high``, 0 from ``soft`` outside of them on."""
    return step(low - soft, low, x) * (1.0 - step(high, high + soft, x))


def _groove(t: np.ndarray, width: float, depth: float) -> np.ndarray:
    """A groove with raised rims, ``t`` centimetres from its line."""
    return -depth * (np.exp(-0.5 * (t / width) ** 2) - 0.4 * np.exp(-0.5 * (t / (2.3 * width)) ** 2))


def _line(t: np.ndarray, width: float, depth: float, dark: float) -> Relief:
    """A groove that loses ``dark`` of its light along its line, and a little beside it."""
    return _groove(t, width, depth), dark * (
        0.75 * np.exp(-0.5 * (t / width) ** 2) + 0.25 * np.exp(-0.5 * (t / (3.0 * width)) ** 2)
    )


def _added(parts: list[Relief]) -> Relief:
    """All of them: heights add, and so does what is dark, up to 1."""
    dark = np.minimum(np.sum([part[1] for part in parts], axis=0), 1.0)
    return np.sum([part[0] for part in parts], axis=0), dark


def _times(relief: Relief, share: np.ndarray) -> Relief:
    return relief[0] * share, relief[1] * share


def _forehead(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> Relief:
    parts = []
    for k, (level, depth) in enumerate(((6.35, 0.65), (6.95, 1.0), (7.55, 0.95), (8.2, 0.6))):
        way = 1.7 * k + phase
        line = level - 0.016 * (x - 2.2) ** 2 + 0.06 * np.sin(1.9 * x + way) + 0.03 * np.sin(4.7 * x + 2.3 * way)
        ends = 1.0 - step(2.5 + 0.5 * np.sin(way), 4.3, x)
        broken = 0.72 + 0.28 * np.sin(1.7 * x + 2.0 * way)
        parts.append(_times(_line(y - line, 0.085, 0.042 * depth, 0.75 * depth), ends * broken))
        # a finer one beside it
        beside = line + 0.27 + 0.05 * np.sin(2.6 * x + way)
        some = ends * np.maximum(np.sin(1.2 * x + 3.1 * way), 0.0)
        parts.append(_times(_line(y - beside, 0.05, 0.016 * depth, 0.32 * depth), some))
    return _added(parts)


def _frown(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> Relief:
    line = 0.52 + 0.11 * (y - 4.7) + 0.04 * np.sin(3.0 * y + phase)
    main = _times(_line(x - line, 0.085, 0.06, 0.65), _window(y, 4.35, 5.45, 0.7))
    second = 1.02 + 0.2 * (y - 4.7) + 0.03 * np.sin(3.7 * y + 2.0 * phase)
    side = _times(_line(x - second, 0.07, 0.03, 0.35), _window(y, 4.8, 5.5, 0.5))
    root = 3.95 + 0.16 * np.cos(1.6 * x)  # where the nose begins skin is pushed down
    across = _times(_line(y - root, 0.08, 0.03, 0.3), 1.0 - step(0.45, 0.95, x))
    return _added([main, side, across])


def _crows_feet(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> Relief:
    across = (x - 4.45) + 0.7 * np.maximum(8.7 - z, 0.0)  # along the skin, which turns back here
    up = y - 3.45
    parts = []
    radius, angle = np.hypot(across, up), np.arctan2(up, np.maximum(across, 1e-3))
    lines = ((-0.72, 0.7, 1.5), (-0.36, 1.0, 1.8), (-0.02, 0.85, 1.7), (0.3, 0.75, 1.5), (0.6, 0.5, 1.2))
    for k, (at, depth, reach) in enumerate(lines):
        bend = at - 0.14 * (radius - 0.8) + 0.04 * np.sin(3.6 * radius + k + phase)
        ends = _window(radius, 0.5, reach, 0.5) * (across > 0)
        parts.append(_times(_line((angle - bend) * radius, 0.06, 0.045 * depth, 0.6 * depth), ends))
    return _added(parts)


def _below_eye(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> Relief:
    """The folds of the lower lid, the bag that fat behind it makes, and the trough along the rim of the orbit."""
    parts = []
    for drop, depth in ((0.36, 0.8), (0.66, 0.6)):
        line = 3.02 - drop + 0.1 * (x - 3.0) ** 2 + 0.03 * np.sin(3.0 * x + phase + 5 * drop)
        parts.append(_times(_line(y - line, 0.055, 0.02, 0.36 * depth), _window(x, 2.2, 3.9, 0.5)))
    trough = 1.93 + 0.17 * (x - 2.75) ** 2 + 0.05 * np.sin(1.4 * x + phase)
    away = y - trough
    ends = _window(x, 1.85, 3.6, 0.75)
    bag = 0.1 * np.exp(-0.5 * ((away - 0.42) / 0.26) ** 2) - 0.05 * np.exp(-0.5 * ((away + 0.05) / 0.2) ** 2)
    dark = 0.42 * np.exp(-0.5 * ((away + 0.02) / 0.15) ** 2) + 0.12 * np.exp(-0.5 * ((away - 0.25) / 0.4) ** 2)
    parts.append(_times((bag, dark), ends))
    return _added(parts)


def _nasolabial(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> Relief:
    """The fold from the nose past the mouth's corner: a crease, and the cheek that hangs over it."""
    line = np.interp(-y, (-0.35, 0.0, 0.6, 1.5, 2.5, 3.4, 4.2), (2.15, 2.3, 2.52, 2.86, 3.2, 3.42, 3.46))
    away = (x - line) * 0.87
    ends = _window(-y, 0.15, 3.0, 0.9)
    outer = np.maximum(away, 0.0)
    cheek = 0.17 * (1.0 - np.exp(-outer / 0.2)) * np.exp(-outer / 0.75)
    height = cheek - 0.045 * np.exp(-0.5 * (away / 0.1) ** 2)
    dark = 0.6 * np.exp(-0.5 * (away / 0.1) ** 2) + 0.22 * np.exp(-0.5 * ((away + 0.12) / 0.3) ** 2)
    return height * ends, dark * ends


def _nose(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> Relief:
    parts = []
    for k in range(3):
        line = 3.15 - 0.42 * k - 0.55 * x + 0.03 * np.sin(6.0 * x + phase + k)
        parts.append(_times(_line((y - line) * 0.87, 0.06, 0.024, 0.4), _window(x, 0.25, 1.0, 0.35)))
    return _added(parts)


def _chin(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> Relief:
    rough = np.sin(9.0 * x + 2.0 * np.sin(4.0 * y)) * np.sin(8.0 * y + 1.5 * np.sin(5.0 * x + 1.0))
    return 0.022 * rough, 0.3 * np.maximum(-rough, 0.0)


def _mouth_to_chin(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> Relief:
    """The fold below the mouth's corner, and the jowl beside it."""
    down = -3.7 - y
    line = 2.82 + 0.05 * down + 0.09 * down**2 + 0.05 * np.sin(2.3 * down + phase)
    away = x - line
    ends = _window(down, 0.15, 1.0, 0.9) * (0.85 + 0.15 * np.sin(3.0 * down + phase))
    outer = np.maximum(away, 0.0)
    jowl = 0.11 * (1.0 - np.exp(-outer / 0.25)) * np.exp(-outer / 0.8)
    dark = 0.42 * np.exp(-0.5 * (away / 0.1) ** 2) + 0.2 * np.exp(-0.5 * ((away + 0.1) / 0.3) ** 2)
    return (jowl - 0.04 * np.exp(-0.5 * (away / 0.11) ** 2)) * ends, dark * ends


def _above_lip(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> Relief:
    parts = []
    for k in range(5):
        line = 0.55 + 0.42 * k + 0.05 * np.sin(2.0 * k + phase) + 0.09 * k * (y + 2.6) * -0.35
        depth = 0.6 + 0.4 * np.sin(2.4 * k + 2.0 * phase)
        ends = _window(-y, 2.0 + 0.12 * k, 2.85 + 0.08 * k, 0.35)
        parts.append(_times(_line(x - line, 0.05, 0.018 * depth, 0.34 * depth), ends))
    return _added(parts)


def _cheek(x: np.ndarray, y: np.ndarray, z: np.ndarray, phase: float) -> Relief:
    """Arcs beside the fold of the cheek, which long smiles leave."""
    parts = []
    for k, (at, depth) in enumerate(((4.15, 1.0), (4.95, 0.6))):
        line = at - 0.11 * (y + 2.3) ** 2 + 0.09 * np.sin(1.9 * y + 2.0 * k + phase)
        ends = _window(-y, 1.7 + 0.4 * k, 2.9, 1.0) * (0.7 + 0.3 * np.sin(2.9 * y + 3.0 * k + phase))
        parts.append(_times(_line(x - line, 0.14, 0.01 * depth, 0.24 * depth), ends))
    return _added(parts)


_NEVER = (0.0,), (0.0,)
NASOLABIAL = 3  # place among the regions
REGIONS: tuple[Region, ...] = (
    Region(
        (("browInnerUp", 1.0), ("browOuterUp", 0.9)),
        lambda x, y, z: _window(y, 6.2, 8.7, 0.35) * (1.0 - step(4.0, 5.0, x)),
        _forehead,
        ((34.0, 50.0, 65.0, 80.0), (0.0, 0.24, 0.48, 0.66)),
        0.6,
    ),
    Region(
        (("browDown", 0.9), ("noseSneer", 0.3)),
        lambda x, y, z: _window(y, 3.7, 5.7, 0.4) * (1.0 - step(1.1, 1.6, x)),
        _frown,
        ((36.0, 50.0, 65.0, 80.0), (0.0, 0.16, 0.34, 0.5)),
        0.9,
    ),
    Region(
        (("cheekSquint", 1.0), ("cheekRaiser", 1.0), ("eyeSquint", 0.7), ("mouthSmile", 0.8)),
        lambda x, y, z: _window(y, 2.0, 4.9, 0.4) * step(4.1, 4.6, x),
        _crows_feet,
        ((34.0, 48.0, 62.0, 80.0), (0.0, 0.3, 0.62, 0.9)),
    ),
    Region(
        (("mouthSmile", 1.0), ("noseSneer", 0.7), ("mouthUpperUp", 0.6), ("cheekSquint", 0.4), ("mouthStretch", 0.4)),
        lambda x, y, z: _window(y, -3.9, 0.1, 0.4) * _window(x, 1.9, 3.75, 0.3),
        _nasolabial,
        ((30.0, 42.0, 55.0, 68.0, 80.0), (0.05, 0.25, 0.5, 0.75, 0.9)),
        0.6,
    ),
    Region(
        (("noseSneer", 1.0), ("cheekRaiser", 0.3)),
        lambda x, y, z: _window(y, 1.6, 3.2, 0.4) * (1.0 - step(1.1, 1.5, x)) * step(0.1, 0.3, x),
        _nose,
        _NEVER,
        0.6,
    ),
    Region(
        (("mouthShrugLower", 0.9), ("mouthPucker", 0.5), ("mouthFrown", 0.5)),
        lambda x, y, z: _window(y, -6.6, -5.4, 0.5) * (1.0 - step(1.2, 1.9, x)),
        _chin,
        _NEVER,
    ),
    Region(
        (("cheekSquint", 0.7), ("eyeSquint", 0.5), ("mouthSmile", 0.45)),
        lambda x, y, z: _window(y, 1.2, 3.0, 0.25) * _window(x, 1.5, 3.8, 0.35),
        _below_eye,
        ((32.0, 45.0, 60.0, 75.0), (0.05, 0.35, 0.75, 1.0)),
    ),
    Region(
        (("mouthFrown", 0.8), ("mouthPress", 0.3), ("mouthShrugLower", 0.3)),
        lambda x, y, z: _window(-y, 3.9, 5.6, 0.35) * _window(x, 2.3, 4.2, 0.35),
        _mouth_to_chin,
        ((40.0, 55.0, 68.0, 80.0), (0.0, 0.35, 0.7, 0.95)),
    ),
    Region(
        (("mouthPucker", 0.5), ("mouthFunnel", 0.3)),
        lambda x, y, z: _window(-y, 1.9, 3.1, 0.2) * (1.0 - step(2.0, 2.5, x)),
        _above_lip,
        ((58.0, 68.0, 80.0), (0.0, 0.35, 0.7)),
    ),
    Region(
        (("mouthSmile", 0.5),),
        lambda x, y, z: _window(-y, 0.9, 3.9, 0.5) * _window(x, 4.05, 5.7, 0.25),
        _cheek,
        ((48.0, 62.0, 80.0), (0.0, 0.3, 0.7)),
    ),
)
