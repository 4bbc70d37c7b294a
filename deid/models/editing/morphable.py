"""The same attributes on the everyday engine's codes, where they are what the model is made of: no network, and exact.

Expressions, gaze, pose and light are numbers of a frame's code. Age and gender are the labelled directions of the
skin's and of the heads' statistics; named shapes are ratios of distances, reached in the way in which heads differ (the
least squares step in units of the population's spread that changes one ratio and no other). Beard and glasses are
drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from deid.errors import UsageError
from deid.models.editing.names import ATTRIBUTES, NAMES
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.brows import COUNT, BrowStyle
from deid.models.morphable.codes import AttributeCode, IdentityCode, head_rotation
from deid.models.morphable.eyewear import Eyewear, Outline
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.painter import Sitter
from deid.models.morphable.population import load_population
from deid.training import labels
from deid.training.hair import bearded
from deid.training.scene import AGES, PITCH, YAW

ELSEWHERE = ("baldness", "hair_length", "hair_lightness")
"""What this engine leaves as the picture has it: hair is not a part of the face."""

_MANNISH = 1.5  # how much more heads differ by gender and age than fitted ones
_STEPS, _FARTHEST = (
    4,
    2.5,
)  # looks on the way to a shape; standard deviations, of the mean square's root over components
_COMPANIONS = {
    "smile": (("cheekSquint_L", "cheekSquint_R"), 0.45),
    "brows_lowered": (("eyeSquint_L", "eyeSquint_R"), 0.3),
}
_TURN, _NOD = 18.0, 12.0  # degrees by which a head may be turned in a picture whose hair stays
_THICK = 3 - COUNT
_LIGHTEST = 0.8
_GLASSES = 0.15  # from which on there is a pair


def allowed(names: tuple[str, ...] | list[str]) -> None:
    """Raises :class:`UsageError` for attributes that this engine cannot change."""
    for name in names:
        if name in ELSEWHERE:
            raise UsageError(
                f"{name} is not part of the face, which is all that engine morphable changes; add --engine stylegan."
            )


def edit_person(
    geometry: Geometry, appearance: Appearance, code: IdentityCode, changes: Mapping[str, float]
) -> IdentityCode:
    """``code`` with age, gender, shapes and brows changed by as much as ``changes`` say, in units of the attributes;
    what they name beside that is nothing of a person's code."""
    years = changes.get("age", 0.0) * (AGES[1] - AGES[0])
    female = 2 * changes.get("gender", 0.0)
    heads = load_population()
    skin = code.appearance.astype(np.float64) + years / 10 * appearance.age + female * appearance.gender
    skin[_THICK] += 4 * changes.get("brow_thickness", 0.0)
    shape = code.shape.astype(np.float64) + _MANNISH * (years * heads.age + female * heads.gender)
    asked = {name: changes[name] for name in labels.SHAPES if changes.get(name)}
    if asked:
        shape = _reshaped(geometry, shape, code.shape.astype(np.float64), asked)
    return replace(code, shape=shape.astype(np.float32), appearance=skin.astype(np.float32))


def _reshaped(geometry: Geometry, shape: np.ndarray, was: np.ndarray, changes: Mapping[str, float]) -> np.ndarray:
    """The head ``shape`` with each named ratio at the rank that it had in ``was``, changed by as much as is asked, and
    the other ratios as they are."""
    wanted = _scores(geometry, shape)
    before = labels.rank_of(_scores(geometry, was))
    for number, name in enumerate(labels.SHAPES):
        if name in changes:
            rank = np.clip(before[number] + changes[name], 0.02, 0.98)
            wanted[number] = np.log(rank / (1 - rank)) / 1.702
    root, back = _ways(geometry)
    x = np.zeros(root.shape[1])
    for _ in range(_STEPS):
        x += back @ (wanted - _scores(geometry, shape + root @ x))
        size = float(np.sqrt(np.square(x).mean()))
        x *= min(1.0, _FARTHEST / max(size, 1e-9))
    found: np.ndarray = shape + root @ x
    return found


def _scores(geometry: Geometry, shape: np.ndarray) -> np.ndarray:
    return labels.shape_scores(geometry, geometry.neutral(shape.astype(np.float32)))


@lru_cache(maxsize=1)
def _ways(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Components of heads in standard deviations, (K, K), and what of each changes the ratios by one, (K, S)."""
    heads = load_population()
    middle, step = heads.mean(0.0, float("nan")), 0.5
    at = _scores(geometry, middle)
    slopes = np.stack([(_scores(geometry, middle + step * way) - at) / step for way in heads.root.T], axis=1)
    return heads.root, np.linalg.pinv(slopes, rcond=1e-2)


def read_moment(geometry: Geometry, code: AttributeCode) -> dict[str, float]:
    """What a frame's code shows of pose, expression and light: by name, 0 to 1."""
    yaw, pitch, _ = angles(code.camera.rotation)
    lit, gaze = code.light.sh.mean(axis=1).astype(np.float64), code.gaze.mean(axis=0)
    weights = dict(zip(geometry.expression_names, code.expression.tolist(), strict=True))
    white, tone = code.light.white.astype(np.float64), code.light.tone.astype(np.float64)
    out = {
        "yaw": 0.5 + yaw / (2 * YAW), "pitch": 0.5 + pitch / (2 * PITCH),
        "gaze_across": 0.5 + float(gaze[0]), "gaze_up": 0.5 + float(gaze[1]),
        **{name: float(np.mean([weights[one] for one in group])) for name, group in labels.EXPRESSIONS.items()},
        **{
            name: 0.5 + (weights[left] - weights[right]) / 2
            for name, (left, right) in labels.SIDED.items()
        },
        "brightness": 1 / (1 + np.exp(-2.0 * (np.log(max(float(white.mean()), 1e-3)) + 0.6))),
        "light_from_left": 0.5 - 0.9 * lit[1] / max(lit[0], 0.2),
        "light_from_above": 0.35 + 0.45 * lit[2] / max(lit[0], 0.2),
        "light_contrast": float(np.linalg.norm(lit[1:4])) / max(lit[0] * 1.6, 0.2),
        "light_warmth": 0.5 + float(np.log(white[0] / max(white[2], 1e-4))) / 1.2,
        "skin_lightness": (float(np.log((tone / np.maximum(white, 1e-3)).mean())) + 2.6) / 2.0,
    }  # fmt: skip
    return {name: float(np.clip(value, 0, 1)) for name, value in out.items()}


def read_person(geometry: Geometry, appearance: Appearance, code: IdentityCode) -> dict[str, float]:
    """What an identity's code shows: by name, 0 to 1."""
    female, years = appearance.traits(code.appearance)
    ranks = labels.rank_of(_scores(geometry, code.shape.astype(np.float64)))
    thick = 0.5 + float(code.appearance[_THICK]) / 4
    out = {"age": (years - AGES[0]) / (AGES[1] - AGES[0]), "gender": (female + 1) / 2, "brow_thickness": thick}
    out |= dict(zip(labels.SHAPES, ranks.tolist(), strict=True))
    return {name: float(np.clip(value, 0, 1)) for name, value in out.items()}


def plain(name: str) -> float:
    """What an attribute is where nothing is known of it: no beard, no glasses, the middle."""
    return ATTRIBUTES[NAMES.index(name)].rest


def edit_moment(geometry: Geometry, code: AttributeCode, changes: Mapping[str, float]) -> AttributeCode:
    """``code`` with pose, gaze, expression and light changed by as much as ``changes`` say."""
    code = replace(code, expression=_expressed(geometry, code.expression, changes))
    if "gaze_across" in changes or "gaze_up" in changes:
        turn = np.array([changes.get("gaze_across", 0.0), changes.get("gaze_up", 0.0)], np.float32)
        code = replace(code, gaze=np.clip(code.gaze + turn, -0.7, 0.7))
    if "yaw" in changes or "pitch" in changes:
        yaw, pitch, roll = angles(code.camera.rotation)
        yaw += float(np.clip(changes.get("yaw", 0.0) * 2 * YAW, -_TURN, _TURN))
        pitch += float(np.clip(changes.get("pitch", 0.0) * 2 * PITCH, -_NOD, _NOD))
        code = replace(code, camera=replace(code.camera, rotation=head_rotation(yaw, pitch, roll)))
    return _lit(code, changes)


def _expressed(geometry: Geometry, weights: np.ndarray, changes: Mapping[str, float]) -> np.ndarray:
    """Expression weights: a named one moves with what goes with it, each side by as much."""
    out = weights.astype(np.float64)
    place = {name: number for number, name in enumerate(geometry.expression_names)}
    for name, group in labels.EXPRESSIONS.items():
        if change := changes.get(name, 0.0):
            more, share = _COMPANIONS.get(name, ((), 0.0))
            for one, part in [(one, 1.0) for one in group] + [(one, share) for one in more]:
                out[place[one]] += change * part
    for name, (left, right) in labels.SIDED.items():
        if change := changes.get(name, 0.0):
            out[place[left]] += max(change, 0) * 2
            out[place[right]] += max(-change, 0) * 2
    return np.clip(out, 0, 1).astype(np.float32)


def _lit(code: AttributeCode, changes: Mapping[str, float]) -> AttributeCode:
    light = code.light
    sh, tone, white = (np.array(value, np.float64) for value in (light.sh, light.tone, light.white))
    level = np.maximum(sh[0], 0.2)
    sh[1] -= changes.get("light_from_left", 0.0) / 0.9 * level
    sh[2] += changes.get("light_from_above", 0.0) / 0.45 * level
    if change := changes.get("light_contrast", 0.0):
        size = float(np.linalg.norm(sh[1:4].mean(axis=1)))
        aim = max(size + change * 1.6 * float(level.mean()), 0.0)
        sh[1:] *= min(aim / max(size, 0.05), 3.0)
    if change := changes.get("light_warmth", 0.0):
        tint = np.exp(np.array([0.6, 0.0, -0.6]) * change)
        tone, white = tone * tint, white * tint
    if change := changes.get("brightness", 0.0):
        now = read_brightness(white)
        aim = np.clip(now + change, 0.03, 0.97)
        more = np.exp((np.log(aim / (1 - aim)) - np.log(now / (1 - now))) / 2.0)
        tone, white = tone * more, white * more
    if change := changes.get("skin_lightness", 0.0):
        tone = np.minimum(tone * np.exp(2.0 * change), _LIGHTEST * np.maximum(white, tone))
    if not any(changes.get(name) for name in _LIGHTS):
        return code
    made = replace(light, sh=sh.astype(np.float32), tone=tone.astype(np.float32), white=white.astype(np.float32))
    return replace(code, light=made)


_LIGHTS = tuple(a.name for a in ATTRIBUTES if a.group == "light") + ("skin_lightness",)


def read_brightness(white: np.ndarray) -> float:
    """The attribute of that name of the light's colour and strength, (3,), 0.03 to 0.97."""
    found = 1 / (1 + np.exp(-2.0 * (np.log(max(float(white.mean()), 1e-3)) + 0.6)))
    return float(np.clip(found, 0.03, 0.97))


def angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees; the way back of :func:`~deid.models.morphable.codes.head_rotation`."""
    yaw = np.degrees(np.arcsin(np.clip(-rotation[2, 0], -1, 1)))
    pitch = np.degrees(np.arctan2(-rotation[2, 1], rotation[2, 2]))
    roll = -np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0]))
    return float(yaw), float(pitch), float(roll)


def with_beard(sitter: Sitter, appearance: Appearance, beard: float) -> Sitter:
    """``sitter`` with a beard, 0 none, 0.3 stubble, 1 full, of the colour of the brows."""
    if beard <= 0 or sitter.skin is None:
        return sitter
    gender, _ = appearance.traits(sitter.code.appearance)
    dark = 0.8 * BrowStyle.of(sitter.code.appearance[-COUNT:], gender).dark
    albedo = sitter.skin[0]
    grown = bearded(albedo, min(beard, 1.0), np.full(3, dark), np.ones(3), sitter.code.detail)
    return sitter.recoloured((grown / np.maximum(albedo, 1e-4)).astype(np.float32))


def pair_of(glasses: float) -> Eyewear | None:
    """A generic pair, from thin to heavy; ``None`` below :data:`_GLASSES`."""
    if glasses < _GLASSES:
        return None
    pair = Outline(3.35, -0.2, 2.4, 1.7, 2.8, 0.06, 0.12)
    grey = np.float32(0.45 if glasses < 0.4 else 0.04)
    return Eyewear(
        pair, None, 0.05 + 0.11 * min(glasses, 1.0), 1.0, np.full(3, grey), glasses < 0.4, np.full(3, np.float32(0.95))
    )
