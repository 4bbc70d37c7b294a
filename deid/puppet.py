"""A fictional person who talks, blinks and looks about, rendered by the morphable engine, with everything known.

What a real clip cannot give: the true expression, gaze and pose in every frame, of somebody who does not exist. The
demo shows it and the tests measure against it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deid import imaging
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import Camera, IdentityCode, Light, head_rotation
from deid.models.morphable.creases import depth_at
from deid.models.morphable.finish import to_code
from deid.models.morphable.geometry import Geometry, Part, load_geometry
from deid.models.morphable.mouths import relaxed
from deid.models.morphable.render import GeneratedFace, Renderer

_AGE = 45.0  # years
_SYLLABLES = 4.3  # a second
_BLINK_EVERY = 2.6  # seconds, on average
_BLINK = np.array([0.0, 0.55, 1.0, 1.0, 0.75, 0.4, 0.15, 0.0])  # closed fast, opened slowly, at 25 frames a second
_VISEMES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.42, "mouthLowerDown_L": 0.25, "mouthLowerDown_R": 0.25},
    {"jawOpen": 0.22, "mouthFunnel": 0.55, "mouthPucker": 0.25},
    {"jawOpen": 0.12, "mouthStretch_L": 0.35, "mouthStretch_R": 0.35, "mouthUpperUp_L": 0.2, "mouthUpperUp_R": 0.2},
    {"mouthPress_L": 0.4, "mouthPress_R": 0.4, "mouthClose": 0.05},
    {"jawOpen": 0.3, "mouthSmile_L": 0.2, "mouthSmile_R": 0.2},
    {"jawOpen": 0.08, "mouthPucker": 0.6},
)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is known of one frame. ``expression``: float32 (E,). ``gaze``: float32 (2, 2), radians, as in
    :class:`~deid.models.morphable.codes.AttributeCode`. ``camera``: in frame pixels. ``angles``: yaw, pitch, roll of
    the head in degrees, positive to the viewer's right, backwards, clockwise."""

    expression: np.ndarray
    gaze: np.ndarray
    camera: Camera
    angles: tuple[float, float, float]


def act(geometry: Geometry, frames: int, fps: float, width: int, height: int, seed: int = 7) -> list[Truth]:
    """Speech, blinks, glances, a one-sided smile and a turning head. Smooth, repeatable."""
    rng = np.random.default_rng(seed)
    times = np.arange(frames) / fps
    expression = np.zeros((frames, len(geometry.expression)), np.float32)
    index = {name: i for i, name in enumerate(geometry.expression_names)}
    _speak(expression, index, times, rng)
    _blink(expression, index, times, rng)
    lift = np.clip(np.sin(2 * np.pi * times / 5.3), 0, 1) ** 2
    for name, weight in (("browInnerUp_L", 0.5), ("browInnerUp_R", 0.5), ("browOuterUp_L", 0.3)):
        expression[:, index[name]] += weight * lift
    smile = np.clip(np.sin(2 * np.pi * (times - 2.0) / 7.1), 0, 1) ** 2
    expression[:, index["mouthSmile_L"]] += 0.7 * smile
    gaze = _glance(times, rng)
    out = []
    for i, t in enumerate(times):
        yaw = 16 * np.sin(2 * np.pi * t / 6.1) + 2.5 * np.sin(2 * np.pi * t / 1.7)
        pitch = 5 * np.sin(2 * np.pi * t / 4.3 + 1) + 1.2 * np.sin(2 * np.pi * t / 1.1)
        roll = 4 * np.sin(2 * np.pi * t / 5.1 + 2)
        place = np.array([width * (0.5 + 0.02 * np.sin(t)), height * 0.47])
        camera = Camera(head_rotation(yaw, pitch, roll), height / 42.0, place, 90.0)
        out.append(Truth(np.clip(expression[i], 0, 1), gaze[i], camera, (float(yaw), float(pitch), float(roll))))
    return out


def _speak(expression: np.ndarray, index: dict[str, int], times: np.ndarray, rng: np.random.Generator) -> None:
    end = float(times[-1]) if len(times) else 0.0
    moment = 0.4
    while moment < end:
        strength = rng.uniform(0.55, 1.0)
        pulse = np.exp(-0.5 * ((times - moment) / 0.075) ** 2) * strength
        for name, weight in _VISEMES[int(rng.integers(len(_VISEMES)))].items():
            expression[:, index[name]] += weight * pulse
        moment += rng.gamma(9.0, 1 / 9.0) / _SYLLABLES + (rng.uniform(0.4, 0.9) if rng.random() < 0.1 else 0.0)


def _blink(expression: np.ndarray, index: dict[str, int], times: np.ndarray, rng: np.random.Generator) -> None:
    end = float(times[-1]) if len(times) else 0.0
    moment = 0.9
    span = np.arange(len(_BLINK)) / 25.0
    while moment < end:
        closure = np.interp(times - moment, span, _BLINK, left=0.0, right=0.0)
        for side in "LR":
            lid = expression[:, index[f"eyeBlink_{side}"]]
            np.maximum(lid, closure, out=lid)
        moment += _BLINK_EVERY * rng.uniform(0.5, 1.5)


def _glance(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 (n, 2, 2): fixations with fast jumps between them."""
    gaze = np.zeros((len(times), 2, 2), np.float32)
    moment, at = 0.0, np.zeros(2)
    for i, t in enumerate(times):
        if t >= moment:
            at = np.array([rng.normal(0, 0.16), rng.normal(0, 0.08)]).clip(-0.35, 0.35)
            moment = t + rng.uniform(0.5, 1.6)
        gaze[i] = at
    return gaze


def film(frames: int, fps: float, width: int, height: int, seed: int = 7) -> Iterator[tuple[np.ndarray, Truth]]:
    """Pictures, uint8 (height, width, 3) BGR, with what is true in them."""
    geometry, appearance = load_geometry(), load_appearance()
    rng = np.random.default_rng(seed)
    skin, iris, detail = appearance.sample(rng, gender=-0.6, age=_AGE)
    shape = np.clip(rng.normal(0, 1.0, len(geometry.identity)), -2.2, 2.2).astype(np.float32)
    code = IdentityCode(shape, skin, detail, iris)
    skin, gloss = appearance.albedo(code, 1024), appearance.gloss(1024)
    renderer = Renderer(geometry, skin, gloss, iris, folds=depth_at(_AGE))
    neutral = relaxed(geometry, geometry.neutral(shape))
    room = _room(width, height)
    light = Light(_key_light(), np.array([0.36, 0.23, 0.17], np.float32), np.array([0.62, 0.58, 0.54], np.float32))
    grain = np.random.default_rng(seed + 1)
    for truth in act(geometry, frames, fps, width, height, seed):
        vertices = geometry.pose(neutral, truth.expression, truth.gaze)
        face = renderer.render(vertices, truth.camera, light, width, height, expression=truth.expression)
        picture = _composed(face, room, truth, width, height)
        picture += grain.normal(0, 1.2, picture.shape).astype(np.float32)
        yield np.clip(np.rint(picture), 0, 255).astype(np.uint8)[..., ::-1], truth


def _key_light() -> np.ndarray:
    """A soft window from the upper left of the picture, float32 (9, 3), warm against a cooler fill."""
    sh = np.zeros((9, 3), np.float32)
    sh[0] = (0.62, 0.64, 0.68)
    sh[1], sh[2], sh[3] = (-0.22, -0.2, -0.17), (0.17, 0.16, 0.16), (0.5, 0.49, 0.47)
    sh[5], sh[8] = -0.05, 0.03
    return sh


def _composed(face: GeneratedFace, room: np.ndarray, truth: Truth, width: int, height: int) -> np.ndarray:
    """Head, cropped hair and shoulders before the room; code values 0 to 255, float32 RGB."""
    camera = truth.camera
    coded = to_code(face.rgb) * 255
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    up = camera.rotation[:2, 1] * (1, -1) * camera.scale
    across = ((x - camera.translation[0]) * up[0] + (y - camera.translation[1]) * up[1]) / float(up @ up)
    hair = np.clip((across - 3.4) / 1.2, 0, 1) * (face.part == Part.HEAD)
    hair = imaging.gaussian_blur(hair.astype(np.float32), (0, 0), max(1.0, camera.scale * 0.12))
    coded = coded * (1 - 0.82 * hair[..., None])
    cover = np.clip(face.alpha + face.head, 0, 1)[..., None]
    head = room * (1 - cover) + coded * cover
    return _dressed(head, camera, x, y)


def _dressed(picture: np.ndarray, camera: Camera, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A dark jersey over shoulders and the end of the neck."""
    s = camera.scale
    cx, cy = camera.translation[0], camera.translation[1]
    u, v = (x - cx) / s, (y - cy) / s
    shoulder = 12.5 + 0.012 * u * u + 0.00035 * np.abs(u) ** 3
    edge = shoulder + np.where(np.abs(u) < 6.5, np.clip(1.4 - 0.03 * u * u, 0, None), 0.0)
    cover = np.clip((v - edge) * s / 2.0 + 0.5, 0, 1)[..., None]
    shade = 1.0 - 0.35 * np.clip(u / 18, -1, 1) * 0.6 - 0.15 * np.clip((v - 16) / 10, 0, 1)
    cloth = np.array([46.0, 58.0, 74.0], np.float32) * shade[..., None].astype(np.float32)
    return (picture * (1 - cover) + cloth * cover).astype(np.float32)


def _room(width: int, height: int) -> np.ndarray:
    """A wall out of focus, with a window's glow and a dark picture; float32 RGB code values."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    glow = np.exp(-(((x / width - 0.12) / 0.25) ** 2 + ((y / height - 0.3) / 0.4) ** 2))
    wall = np.array([118.0, 124.0, 126.0], np.float32) + glow[..., None] * np.array([70.0, 66.0, 58.0], np.float32)
    frame = ((x > width * 0.7) & (x < width * 0.93) & (y > height * 0.12) & (y < height * 0.42)).astype(np.float32)
    wall = wall * (1 - 0.35 * frame[..., None])  # a picture on the wall
    return np.ascontiguousarray(imaging.gaussian_blur(wall, (0, 0), max(2.0, height / 60)))


def face_box(truth: Truth) -> np.ndarray:
    """float64 (1, 4): about where the face is, ``x0 y0 x1 y1`` in frame pixels."""
    x, y = truth.camera.translation
    half = 8.5 * truth.camera.scale
    return np.array([[x - half, y - 0.8 * half, x + half, y + 1.2 * half]])


def write_truth(path: Path, geometry: Geometry, truths: list[Truth]) -> None:
    """JSON: names of the expressions, then for every frame its weights, gaze in radians and angles in degrees."""
    frames = [
        {
            "expression": [round(float(w), 4) for w in t.expression],
            "gaze": np.round(t.gaze, 4).tolist(),
            "yaw_pitch_roll": [round(a, 3) for a in t.angles],
        }
        for t in truths
    ]
    path.write_text(json.dumps({"expression_names": list(geometry.expression_names), "frames": frames}) + "\n")
