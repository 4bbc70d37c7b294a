"""Who stands in for whom: surrogates drawn from the model until one is a stranger to the subject and to all others.

A draw is judged as the output will be: it is composited into the subject's own best pictures, and both are shown to
the recogniser. So hair, ears and the shape of the neck, which stay, count as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deid.blending import Compositor
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.codes import AttributeCode, Camera, IdentityCode
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.painter import Sitter, paint_picture
from deid.people import Person, traits
from deid.recognition.chips import CHIP
from deid.recognition.thresholds import FAR_1E3, SAME_PERSON, STRANGERS

_DRAWS, _ENOUGH = 24, 10  # draws at most, and from when on one that is good but not as far as a stranger will do
_FAR = 0.7  # mean distance that is good
_MARGIN = 0.03  # beyond the match threshold, for the frames that are not among the pictures
_SHAPE_SPREAD, _WIDER = 0.85, 0.012  # of the identity modes' standard deviations, and how much more with every draw
_SHAPE_LIMIT = 2.2
_MEAN_AGE = 57.0  # of the portraits that the traits were learned from
_DRAW_TEXTURE = 256  # texture samples a side while draws are judged: a chip shows no more

Recognise = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """One good picture of a subject: the aligned chip, uint8 (150, 150, 3) RGB, the mesh and the attributes in its
    pixels, and the subject's head at rest, float32 (V, 3)."""

    chip: np.ndarray
    points: np.ndarray
    attributes: AttributeCode
    neutral: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """``code``: the identity that stands in. ``distance``: from the subject, the mean over the pictures compared, each
    before and after, or ``None`` without any. ``nearest``: the least of these. ``codes``: float32 (n, 128), what the
    recogniser makes of it in the subject's place. ``pictures``: uint8 (n, 150, 150, 3), the likenesses with it in them.
    ``draws``: how many were looked at. ``safe``: whether it is a stranger to the subject and to everybody before."""

    code: IdentityCode
    distance: float | None
    nearest: float | None
    codes: np.ndarray
    pictures: np.ndarray
    draws: int
    safe: bool


def draw(
    geometry: Geometry, appearance: Appearance, rng: np.random.Generator, person: Person, number: int = 0
) -> IdentityCode:
    """One random identity of the subject's apparent age and gender; the ``number``-th draw, from 0: later ones come
    from further out, for subjects whom faces of the middle resemble."""
    age = None if np.isnan(person.age) else person.age
    skin, iris, detail = appearance.sample(rng, gender=person.female, age=age)
    shape = np.clip(rng.normal(0, _SHAPE_SPREAD + _WIDER * number, len(geometry.identity)), -_SHAPE_LIMIT, _SHAPE_LIMIT)
    shape = shape + typical_shape(len(shape), person.female, person.age)
    return IdentityCode(shape.astype(np.float32), skin, detail, iris)


def typical_shape(count: int, female: float, age: float) -> np.ndarray:
    """(K,): how a head of this apparent gender (-1 to 1) and age (years, NaN unknown) differs from the mean head.
    ``count``: K. Learned from portraits of adults; beyond their ages it goes no further."""
    learned = traits()
    if len(learned.get("shape_gender", ())) != count:
        return np.zeros(count)
    years = 0.0 if np.isnan(age) else float(np.clip(age, 30, 80)) - _MEAN_AGE
    return female * learned["shape_gender"] + years * learned["shape_age"]


def choose(
    geometry: Geometry,
    appearance: Appearance,
    seed: int,
    person: Person,
    likenesses: Sequence[Likeness],
    others: Sequence[Surrogate],
    recognise: Recognise,
) -> Surrogate:
    """The first draw that is farther from the subject than the median stranger, and no match of any surrogate in
    ``others``; failing that, after some draws, the farthest of those looked at if it is far enough. Depends on
    ``seed`` and the arguments only."""
    best: Surrogate | None = None
    before = recognise(np.stack([likeness.chip for likeness in likenesses])) if likenesses else np.empty((0, 128))
    for number in range(_DRAWS):
        rng = np.random.default_rng([seed, person.id, number])
        code = draw(geometry, appearance, rng, person, number)
        if not likenesses:
            nothing = np.empty((0, 128), np.float32), np.empty((0, CHIP, CHIP, 3), np.uint8)
            return Surrogate(code, None, None, *nothing, 1, True)
        found = _judged(geometry, appearance, code, likenesses, before, others, recognise, number + 1)
        if best is None or (found.safe, found.distance) > (best.safe, best.distance):
            best = found
        best = replace(best, draws=number + 1)
        wanted = STRANGERS if number + 1 < _ENOUGH else _FAR
        if best.safe and (best.distance or 0.0) >= wanted:
            break
    assert best is not None
    return best


def _judged(
    geometry: Geometry,
    appearance: Appearance,
    code: IdentityCode,
    likenesses: Sequence[Likeness],
    before: np.ndarray,
    others: Sequence[Surrogate],
    recognise: Recognise,
    draws: int,
) -> Surrogate:
    sitter = Sitter.make(geometry, appearance, code, _DRAW_TEXTURE)
    chips = []
    for likeness in likenesses:
        picture = likeness.chip.astype(np.float32) / np.float32(255)
        placed = sitter.in_place_of(geometry, likeness.neutral)
        made = paint_picture(
            picture, likeness.points, placed, geometry, likeness.attributes, Compositor(), seed=0, frame=0
        )
        chips.append(np.rint(np.clip(made.rgb, 0, 1) * 255).astype(np.uint8))
    after = recognise(np.stack(chips))
    apart = np.linalg.norm(before[:, None] - after[None], axis=-1)
    distance, nearest = float(np.diagonal(apart).mean()), float(np.diagonal(apart).min())
    beside = [float(np.linalg.norm(o.codes[:, None] - after[None], axis=-1).mean()) for o in others if len(o.codes)]
    safe = nearest > FAR_1E3 + _MARGIN and min([distance, *beside]) > SAME_PERSON
    return Surrogate(code, distance, nearest, after, np.stack(chips), draws, safe)


def in_chip(attributes: AttributeCode, transform: np.ndarray) -> AttributeCode:
    """Attributes in the pixels of an aligned chip. ``transform``: chip_from_picture, a similarity, 2 x 3."""
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    turn = float(np.arctan2(transform[1, 0], transform[0, 0]))  # clockwise on screen
    c, s = np.cos(turn), np.sin(turn)
    spin = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])  # the same turn with y up
    camera = attributes.camera
    moved = Camera(
        spin @ camera.rotation,
        camera.scale * scale,
        transform[:, :2] @ camera.translation + transform[:, 2],
        camera.distance,
    )
    # The light stays as it is: chips are nearly upright, and what a small turn changes no recogniser sees.
    return replace(attributes, camera=moved, blur=max(attributes.blur * scale, 0.3))
