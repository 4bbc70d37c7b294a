"""Who stands in for whom: surrogates drawn from the model until one is a stranger to the subject and to all others.

A draw is judged as the output will be: it is composited into the subject's own best pictures, and both are shown to
the recogniser. So hair, ears and the shape of the neck, which stay, count as well. Which draws are worth that is
foretold from their codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deid.blending import Compositor
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.codes import AttributeCode, Camera, IdentityCode
from deid.models.morphable.foretell import foretold
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.painter import Sitter, paint_picture
from deid.models.morphable.photo_surface import skin_level
from deid.models.morphable.render import Renderer
from deid.people import Person, traits
from deid.recognition.chips import CHIP
from deid.recognition.thresholds import FAR_1E3, SAME_PERSON, STRANGERS

_DRAWS, _LOOKS = 192, 5  # draws that are compared, and how many of them are looked at, at most
_STRICT, _YEARS_OFF = 64, 9.0  # draws that keep to age and gender, and how far off the others may be
_NEARLY = 0.05  # so little less than wanted will do when one was looked at
_OTHERS = 0.80  # mean distance from other surrogates in the clip that is wanted
_UNLIKE = 0.8  # of the usual difference between draws, how much two surrogates of a clip differ at least, if they can
_UNLIKE_ELSEWHERE = 0.5  # the same for people elsewhere: less, so that who was there before hardly ever matters
_CAUTION = 0.015  # by how much what is foretold must be better than wanted
_MARGIN = 0.03  # beyond the match threshold, for the frames that are not among the pictures
_SHAPE_SPREAD, _WIDER = 0.92, 0.0025  # of the identity modes' standard deviations, and how much more with every draw
_WIDEST = 120  # the draw from which on it is no more
_SHAPE_LIMIT = 2.2
_MEAN_AGE = 57.0  # of the portraits that the traits were learned from
_DRAW_TEXTURE = 256  # texture samples a side while draws are judged: a chip shows no more

_DARK = 0.3  # reflectance

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
    geometry: Geometry,
    appearance: Appearance,
    rng: np.random.Generator,
    person: Person,
    number: int = 0,
    dark: bool = False,
) -> IdentityCode:
    """One random identity of the subject's apparent age and gender; the ``number``-th draw, from 0: later ones come
    from further out, for subjects whom faces of the middle resemble, and late ones may be some years off. ``dark``: the
    subject's skin is."""
    female = float(rng.choice((-1.0, 1.0))) if np.isnan(person.female) else person.female
    years = person.age
    if number >= _STRICT:
        female, years = female * 0.7, years + float(rng.uniform(-_YEARS_OFF, _YEARS_OFF))
    skin, iris, detail = appearance.sample(rng, gender=female, age=None if np.isnan(years) else years, dark=dark)
    spread = _SHAPE_SPREAD + _WIDER * min(number, _WIDEST)
    shape = np.clip(rng.normal(0, spread, len(geometry.identity)), -_SHAPE_LIMIT, _SHAPE_LIMIT)
    shape = shape + typical_shape(len(shape), female, years)
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
    taken: Sequence[IdentityCode] = (),
) -> Surrogate:
    """The first draw that is farther from the subject than the median stranger, and far from every surrogate in
    ``others``; failing that, the best of those looked at. ``taken``: surrogates of people elsewhere, who are kept clear
    of where a draw comes very near. What is looked at next is foretold from what was seen
    (:mod:`.foretell`). Depends on ``seed`` and the arguments only."""
    dark = skin_is_dark(likenesses)
    codes = [
        draw(geometry, appearance, np.random.default_rng([seed, person.id, number]), person, number, dark)
        for number in range(_DRAWS)
    ]
    told = foretold(codes)
    apart = _apart(told, foretold([o.code for o in others]) if others else told[:0])
    if taken:
        apart = np.minimum(apart, _apart(told, foretold(taken), _UNLIKE_ELSEWHERE))
    if not likenesses:
        nothing = np.empty((0, 128), np.float32), np.empty((0, CHIP, CHIP, 3), np.uint8)
        return Surrogate(codes[_first(apart)], None, None, *nothing, 1, True)
    before = recognise(np.stack([likeness.chip for likeness in likenesses]))
    number = _first(apart)
    tried = in_place(geometry, sketched(geometry, appearance, codes[number]), likenesses[0])
    offsets = [recognise(tried[None]) - told[number]]
    looked: dict[int, Surrogate] = {}
    scores: dict[int, float] = {}
    for _ in range(_LOOKS):
        offset = np.mean(offsets, axis=0)
        seen = before[: len(offset)]
        hoped = np.array([min(_score(seen, offset + t, others), float(a)) for t, a in zip(told, apart, strict=True)])
        hoped[list(looked)] = -np.inf
        number = _first(hoped - _CAUTION)
        if scores and max(scores.values()) > min(float(hoped[number]) - _CAUTION, -_NEARLY) and _any_safe(looked):
            break
        found = _judged(geometry, appearance, codes[number], likenesses, before, others, recognise, len(looked) + 1)
        looked[number] = found
        scores[number] = min(_score(before, found.codes, others), float(apart[number]))
        if found.safe and scores[number] >= 0:
            break
        offsets = [of.codes - told[n] for n, of in looked.items()]
    best = max(looked, key=lambda n: (looked[n].safe, scores[n]))
    return replace(looked[best], draws=len(looked) + 1)


def again(
    geometry: Geometry,
    appearance: Appearance,
    code: IdentityCode,
    likenesses: Sequence[Likeness],
    recognise: Recognise,
) -> tuple[Surrogate, tuple[int, ...]]:
    """A surrogate that its person has had elsewhere, and the places of the likenesses in which it matches them. It is
    safe while it is a stranger to most of what is seen of them here."""
    if not likenesses:
        nothing = np.empty((0, 128), np.float32), np.empty((0, CHIP, CHIP, 3), np.uint8)
        return Surrogate(code, None, None, *nothing, 0, True), ()
    before = recognise(np.stack([likeness.chip for likeness in likenesses]))
    found = _judged(geometry, appearance, code, likenesses, before, (), recognise, 0)
    own = np.linalg.norm(before - found.codes, axis=1)
    match = tuple(int(i) for i in np.flatnonzero(own <= FAR_1E3 + _MARGIN))
    return replace(found, safe=float(own.mean()) > SAME_PERSON and 2 * len(match) < len(own)), match


def _any_safe(looked: dict[int, Surrogate]) -> bool:
    return any(found.safe for found in looked.values())


def skin_is_dark(likenesses: Sequence[Likeness]) -> bool:
    """Whether the skin reflects so little that light irises would be rare."""
    lights = [likeness.attributes.light for likeness in likenesses]
    reflectances = [float(np.mean(light.tone / np.maximum(light.white, 1e-3))) for light in lights]
    return bool(reflectances) and float(np.median(reflectances)) < _DARK


def _first(scores: np.ndarray) -> int:
    """The first that is good enough, or the best."""
    good = np.flatnonzero(scores >= 0)
    return int(good[0] if len(good) else np.argmax(scores))


def _apart(told: np.ndarray, others: np.ndarray, unlike: float = _UNLIKE) -> np.ndarray:
    """(n,): how much more than enough each draw differs from every other surrogate by itself, without the pictures."""
    if not len(others):
        return np.full(len(told), np.inf)
    distances: np.ndarray = np.linalg.norm(told[:, None] - others[None], axis=-1)
    return distances.min(axis=1) - unlike * _usual(told)


def _usual(told: np.ndarray) -> float:
    """How far two draws differ as a rule."""
    return float(np.median(np.linalg.norm(told[1:] - told[:-1], axis=1)))


def _score(before: np.ndarray, after: np.ndarray, others: Sequence[Surrogate]) -> float:
    """At least 0 when codes ``after``, (n, 128), are as far from the subject's, in the same pictures, and from all
    other surrogates' as is wanted."""
    own = np.linalg.norm(before - after, axis=1)
    scores = [float(own.mean()) - STRANGERS, float(own.min()) - FAR_1E3 - _MARGIN]
    for other in others:
        if len(other.codes):
            between = np.linalg.norm(other.codes[:, None] - after[None], axis=-1)
            scores += [float(between.mean()) - _OTHERS, float(between.min()) - SAME_PERSON - _MARGIN]
    return min(scores)


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
    sitter = sketched(geometry, appearance, code)
    chips = np.stack([in_place(geometry, sitter, likeness) for likeness in likenesses])
    after = recognise(chips)
    apart = np.linalg.norm(before[:, None] - after[None], axis=-1)
    distance, nearest = float(np.diagonal(apart).mean()), float(np.diagonal(apart).min())
    beside = [float(np.linalg.norm(o.codes[:, None] - after[None], axis=-1).mean()) for o in others if len(o.codes)]
    safe = nearest > FAR_1E3 + _MARGIN and min([distance, *beside]) > SAME_PERSON
    return Surrogate(code, distance, nearest, after, chips, draws, safe)


def sketched(geometry: Geometry, appearance: Appearance, code: IdentityCode) -> Sitter:
    """A sitter as fine as a chip shows."""
    albedo = appearance.draft(code, _DRAW_TEXTURE)
    gloss = appearance.gloss(_DRAW_TEXTURE)
    renderer = Renderer(geometry, albedo / skin_level(geometry, albedo), gloss, code.iris)
    return Sitter(code, geometry.neutral(code.shape), renderer)


def in_place(geometry: Geometry, sitter: Sitter, likeness: Likeness) -> np.ndarray:
    """A likeness with a surrogate in it, uint8 (150, 150, 3)."""
    picture = likeness.chip.astype(np.float32) / np.float32(255)
    placed = sitter.in_place_of(geometry, likeness.neutral)
    made = paint_picture(picture, likeness.points, placed, geometry, likeness.attributes, Compositor(), seed=0, frame=0)
    return np.rint(np.clip(made.rgb, 0, 1) * 255).astype(np.uint8)


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
