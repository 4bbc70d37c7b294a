"""Who stands in for whom: surrogates drawn from the model until one is a stranger to the subject and to all others.

A draw is judged as the output will be: it is composited into the subject's own best pictures, and both are shown to
the recogniser. So hair, ears and the shape of the neck, which stay, count as well. Which draws are worth that is
foretold from their codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from deid.blending import Compositor
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.brow_match import browed, fitting, refitting, weighed
from deid.models.morphable.clear_draws import chance, clear_draws
from deid.models.morphable.codes import AttributeCode, Camera, IdentityCode
from deid.models.morphable.details import detailed
from deid.models.morphable.farther import AT_WORST, WITHIN, Aim, moved
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.foretell import foretold
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.mouths import relaxed
from deid.models.morphable.painter import Sitter, paint_picture, put_in_place
from deid.models.morphable.photo_surface import skin_level
from deid.models.morphable.render import Renderer
from deid.models.morphable.sampling import DRAWS, apparent, draws, oddness, years_shown
from deid.models.morphable.setting import Setting
from deid.models.morphable.side_by_side import side_by_side
from deid.models.morphable.told_apart import crowd, leaning, leans, told_apart
from deid.people import Person
from deid.recognition.chips import CHIP
from deid.recognition.thresholds import FAR_1E3, SAME_PERSON, STRANGERS

_LOOKS, _AT_MOST = 5, 9  # draws that are looked at, and how many when none of these was safe
_NEARLY = 0.05  # so little less than wanted will do when one was looked at
_ALIKE = 0.06  # of mean distance: draws that are foretold so nearly as good as the best are as good
_OTHERS, _FEW = 0.82, 0.08  # mean distance from other surrogates in the clip that is wanted, and more among few
_SMALLER = 2.0  # of what encoding loses, what else lies between a picture that is tried on and poor frames of its size
_SMALL_LOSE, _SMALL_DIFFER = (0.03, 0.08), (1.0, 1.4)  # encoding's loss, and how much more heads differ, from, to
_FEW_PEOPLE = 6  # as many surrogates besides keep a margin from one another
_CAUTION = 0.015  # by how much what is foretold must be better than wanted
_MARGIN = 0.03  # beyond the match threshold, for the frames that are not among the pictures
_BETWEEN = 0.235  # the same between two people of a clip on average, of whose frames one in six is 0.045 nearer
_NEAREST = 0.09  # beyond dlib's own threshold, the same of the nearest pictures of two people of a clip
_LEAST_MEAN, _LEAST_EACH = 0.8, 0.72  # distances from the subject below which the best draw is moved away
_UNUSUAL = 0.56  # distance from the middle of all surrogates below which the same is done; a tenth of people are nearer
_SET, _ILL_SET = 0.25, 0.15  # what it weighs how a head sits, and of distance, what it costs to sit ill
_AGE = 50.0  # years, where it is of no matter
_PIXEL = 0.5  # of the footage's pixels, standard deviation: what these and their enlargement blur
_DRAW_TEXTURE = 256  # texture samples a side while draws are judged: a chip shows no more

_DARK = 0.3  # reflectance

if TYPE_CHECKING:
    from deid.models.morphable.eyewear import Eyewear

Recognise = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """One good picture of a subject: the aligned chip, uint8 (150, 150, 3) RGB, the mesh and the attributes in its
    pixels, and the subject's head at rest, float32 (V, 3). ``wears``: tells the glasses that whoever stands in will
    wear, once they are known: with these drawn, a surrogate is a tenth nearer to a subject with glasses than without.
    ``toned``: tells the attributes with the haze and glow that a sitter is going to be shown in. ``loses``: how much of
    a distance from it may be lost when a face of its size is encoded.
    """

    chip: np.ndarray
    points: np.ndarray
    attributes: AttributeCode
    neutral: np.ndarray
    wears: Callable[[], Eyewear | None] | None = None
    toned: Callable[[Sitter], AttributeCode] | None = None
    loses: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """``code``: the identity that stands in. ``distance``: from the subject, the mean over the pictures compared, each
    before and after, or ``None`` without any. ``nearest``: the least of these. ``codes``: float32 (n, 128), what the
    recogniser makes of it in the subject's place. ``pictures``: uint8 (n, 150, 150, 3), the likenesses with it in them.
    ``draws``: how many were looked at. ``safe``: whether it is a stranger to the subject, in most pictures
    at least, and to everybody before."""

    code: IdentityCode
    distance: float | None
    nearest: float | None
    codes: np.ndarray
    pictures: np.ndarray
    draws: int
    safe: bool


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
    """Of the draws that are foretold to be farther from the subject than the median stranger, and far from every
    surrogate in ``others``, a usual face that leans to where ``seed`` says; failing that, the best of those looked at.
    ``taken``: surrogates of people elsewhere, who are kept clear of where a draw comes very near. What is looked at
    next is foretold from what was seen (:mod:`.foretell`). Depends on ``seed`` and the arguments only."""
    dark = skin_is_dark(likenesses)
    wanted, brows = brow_tone(likenesses)
    clear = clear_draws((seed, person.id), DRAWS, apparent(person))
    rngs = {number: chance(drawn) for number, drawn in enumerate(clear)}
    codes = draws(geometry, appearance, rngs, replace(person, age=years_shown(person)), dark, brows)
    codes = _wider(codes, likenesses)
    told = foretold(codes)
    way, middle = leaning(told, np.random.default_rng([seed, person.id, DRAWS])), crowd(told, apparent(person))
    standing = [o.code for o in others]
    apart = told_apart(told, standing, taken)
    if not likenesses:
        nothing = np.empty((0, 128), np.float32), np.empty((0, CHIP, CHIP, 3), np.uint8)
        return Surrogate(codes[_first(apart)], None, None, *nothing, 1, True)
    setting = Setting.of(geometry, likenesses[0].neutral)
    sits = setting.oddness(np.stack([code.shape for code in codes]))
    before = recognise(np.stack([likeness.chip for likeness in likenesses]))
    number = _first(np.minimum(apart, 1 - sits))
    sitter = sketched(geometry, appearance, codes[number])
    likenesses = toned(sitter, likenesses)
    tried = in_place(geometry, sitter, likenesses[0])
    offsets = [recognise(tried[None]) - told[number]]
    away = offsets[0] + told - before[0]
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    rng = np.random.default_rng([seed, person.id, DRAWS, 1])
    looks = apparent(person), float(np.nan_to_num(years_shown(person), nan=_AGE))
    codes = detailed(codes, told, away, way, looks, rng)
    told = foretold(codes)
    apart, lean = told_apart(told, standing, taken), leans(told, way)
    shade = _shade(geometry, appearance, sitter, tried, likenesses[0])
    looked: dict[int, Surrogate] = {}
    scores: dict[int, float] = {}
    while len(looked) < (_LOOKS if any(_unlike(found) for found in looked.values()) else _AT_MOST):
        offset = np.mean(offsets, axis=0)
        seen = before[: len(offset)]
        placed = offset[None] + told[:, None]
        hoped = np.minimum(_scores(seen, placed, others), apart) - _CAUTION - _ILL_SET * np.maximum(sits - 1, 0)
        hoped[list(looked)] = -np.inf
        number = _fitting(hoped, oddness(codes, appearance, placed.mean(axis=1), seen, person) + _SET * sits**2 - lean)
        if _enough(looked, scores, float(hoped[number])):
            break
        code = fitting(geometry, appearance, codes[number], wanted, shade)
        found = _judged(geometry, appearance, code, likenesses, before, others, recognise, len(looked) + 1)
        looked[number] = found
        scores[number] = min(float(_scores(before, found.codes[None], others)[0]), float(apart[number]))
        if _unlike(found) and scores[number] >= 0:
            break
        offsets = [of.codes - told[n] for n, of in looked.items()]
    best = max(looked, key=lambda n: (looked[n].safe, _unlike(looked[n]), scores[n]))
    found = _browed_again(geometry, appearance, looked[best], likenesses, before, others, recognise)
    chosen = _moved(geometry, appearance, person, found, likenesses, before, others, recognise, setting, middle)
    return replace(chosen, draws=len(looked) + 1)


def _browed_again(
    geometry: Geometry,
    appearance: Appearance,
    best: Surrogate,
    likenesses: Sequence[Likeness],
    before: np.ndarray,
    others: Sequence[Surrogate],
    recognise: Recognise,
) -> Surrogate:
    """``best`` with brows as its own pictures show that they must be: what light does to brows was told by somebody
    else's first, on another forehead. As it is where another would be less safe."""
    head = relaxed(geometry, geometry.neutral(best.code.shape))
    worn = any(likeness.wears is not None and likeness.wears() is not None for likeness in likenesses)
    theirs = [browed(likeness.chip, likeness.points, worn) for likeness in likenesses]
    ours = [
        browed(picture, _mesh_of(geometry, head, likeness), worn)
        for likeness, picture in zip(likenesses, best.pictures, strict=True)
    ]
    code = refitting(geometry, appearance, best.code, theirs, ours, worn)
    if code is best.code:
        return best
    found = _judged(geometry, appearance, code, likenesses, before, others, recognise, best.draws)
    return found if found.safe or not best.safe else best


def _moved(
    geometry: Geometry,
    appearance: Appearance,
    person: Person,
    best: Surrogate,
    likenesses: Sequence[Likeness],
    before: np.ndarray,
    others: Sequence[Surrogate],
    recognise: Recognise,
    setting: Setting,
    middle: np.ndarray,
) -> Surrogate:
    """``best``, or where it is too near to the subject, to others or to the ``middle`` of all surrogates, what it
    becomes when it is moved away."""
    elsewhere = [o.codes for o in others if len(o.codes)]
    aim = Aim(before, _LEAST_MEAN, _LEAST_EACH, elsewhere, FAR_1E3 + _BETWEEN, middle=middle, out=_UNUSUAL)
    found = [best]

    def look(code: IdentityCode) -> np.ndarray:
        found.append(_judged(geometry, appearance, code, likenesses, before, others, recognise, best.draws))
        return found[-1].codes

    if aim.score(best.codes) >= 0:
        return best
    loses = _lost(likenesses)
    for within in (WITHIN, *AT_WORST):  # an odd face there is better than none
        moved(geometry, appearance, best.code, apparent(person), best.codes, aim, look, setting, within)
        best = max(found, key=lambda s: (s.safe, _unlike(s), aim.score(s.codes)))
        if _lasting(best, elsewhere, loses):
            break
    return best


def _lasting(found: Surrogate, elsewhere: Sequence[np.ndarray], loses: float) -> bool:
    """Whether a surrogate is going to be a stranger to its subject, and to others in their places ``elsewhere``, in
    finished frames, which bring faces nearer by what encoding ``loses``."""
    apart = [float(np.linalg.norm(codes[:, None] - found.codes[None], axis=-1).mean()) for codes in elsewhere]
    own = np.inf if found.nearest is None else found.nearest
    crowded = len(apart) > _FEW_PEOPLE
    clear = crowded or min(apart, default=np.inf) > SAME_PERSON + loses
    return found.safe and clear and own > FAR_1E3 + _MARGIN + _SMALLER * loses


def _unlike(found: Surrogate) -> bool:
    """Whether a surrogate is a stranger in every picture; one that is safe may be none in poor ones."""
    return found.safe and (found.nearest is None or found.nearest > FAR_1E3 + _MARGIN)


def _enough(looked: dict[int, Surrogate], scores: dict[int, float], hoped: float) -> bool:
    """Whether none is worth looking at any more: the best so far nearly is what was wanted, or better than hoped."""
    safe = [scores[n] for n, found in looked.items() if _unlike(found)]
    return bool(safe) and max(safe) > min(hoped, -_NEARLY)


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
    if likenesses[0].toned is not None:
        likenesses = toned(sketched(geometry, appearance, code), likenesses)
    found = _judged(geometry, appearance, code, likenesses, before, (), recognise, 0)
    own = np.linalg.norm(before - found.codes, axis=1)
    match = tuple(int(i) for i in np.flatnonzero(own <= FAR_1E3 + _MARGIN))
    return replace(found, safe=float(own.mean()) > SAME_PERSON and 2 * len(match) < len(own)), match


def rejudged(
    geometry: Geometry,
    appearance: Appearance,
    code: IdentityCode,
    likenesses: Sequence[Likeness],
    others: Sequence[Surrogate],
    recognise: Recognise,
    draws: int,
) -> Surrogate:
    """``code``, which a chosen surrogate's was changed to, looked at as any draw is."""
    if not likenesses:
        nothing = np.empty((0, 128), np.float32), np.empty((0, CHIP, CHIP, 3), np.uint8)
        return Surrogate(code, None, None, *nothing, draws, True)
    before = recognise(np.stack([likeness.chip for likeness in likenesses]))
    return _judged(geometry, appearance, code, likenesses, before, others, recognise, draws)


def skin_is_dark(likenesses: Sequence[Likeness]) -> bool:
    """Whether the skin reflects so little that light irises would be rare."""
    lights = [likeness.attributes.light for likeness in likenesses]
    reflectances = [float(np.mean(light.tone / np.maximum(light.white, 1e-3))) for light in lights]
    return bool(reflectances) and float(np.median(reflectances)) < _DARK


def brow_tone(likenesses: Sequence[Likeness]) -> tuple[float, float]:
    """How light the subject's brows are beside the skin, see :func:`~.brow_match.browed`, the median over the pictures;
    NaN without any. Hair stays in the picture, and brows of another colour would look painted on."""
    found = np.array([browed(likeness.chip, likeness.points)[:2] for likeness in likenesses]).reshape(-1, 2)
    found = found[np.isfinite(found).all(axis=1)]
    if not len(found):
        return float("nan"), float("nan")
    mean, darker = np.median(found, axis=0)
    return float(mean), float(darker)


def toned(sitter: Sitter, likenesses: Sequence[Likeness]) -> list[Likeness]:
    """Likenesses in the haze and glow in which ``sitter`` is going to be shown."""
    worn = likenesses[0].wears() if likenesses[0].wears is not None else None
    sitter = replace(sitter, eyewear=worn)
    return [x if x.toned is None else replace(x, attributes=x.toned(sitter)) for x in likenesses]


def _shade(geometry: Geometry, appearance: Appearance, sitter: Sitter, tried: np.ndarray, likeness: Likeness) -> float:
    """What light does to the place of brows in a likeness, from ``tried``, that picture with ``sitter`` in it."""
    points = _mesh_of(geometry, sitter.neutral, likeness)
    ours = browed(tried, points).lit_as(browed(likeness.chip, likeness.points))
    return ours.mean / weighed(geometry, appearance, sitter.code)


def _mesh_of(geometry: Geometry, neutral: np.ndarray, likeness: Likeness) -> np.ndarray:
    """(468, 3): the mesh of the head ``neutral``, float32 (V, 3) at rest, in the pixels of a likeness that it was put
    into."""
    placed, of = put_in_place(geometry, neutral, likeness.neutral), likeness.attributes
    return of.camera.project(surface_points(geometry, geometry.pose(placed, of.expression, of.gaze)))


def _lost(likenesses: Sequence[Likeness]) -> float:
    """What encoding loses of a distance, in the middle."""
    return float(np.median([likeness.loses for likeness in likenesses])) if likenesses else 0.0


def _wider(codes: list[IdentityCode], likenesses: Sequence[Likeness]) -> list[IdentityCode]:
    """``codes`` with heads that differ more among one another, where faces are so small that encoding brings them near
    their subjects': nobody sees there how unusual a head is, and ordinary ones would have to be obscured."""
    factor = float(np.interp(_lost(likenesses), _SMALL_LOSE, _SMALL_DIFFER))
    if factor == 1:
        return codes
    centre = np.mean([code.shape for code in codes], axis=0)
    return [replace(code, shape=(centre + factor * (code.shape - centre)).astype(np.float32)) for code in codes]


def _first(scores: np.ndarray) -> int:
    """The first that is good enough, or the best."""
    good = np.flatnonzero(scores >= 0)
    return int(good[0] if len(good) else np.argmax(scores))


def _fitting(hoped: np.ndarray, odd: np.ndarray) -> int:
    """The least odd of those that are good enough, or of those as good as the best."""
    good = np.flatnonzero(hoped >= min(0.0, float(hoped.max()) - _ALIKE))
    return int(good[np.argmin(odd[good])])


def _scores(before: np.ndarray, after: np.ndarray, others: Sequence[Surrogate]) -> np.ndarray:
    """(n,): at least 0 for draws whose codes ``after``, (n, m, 128), are as far from the subject's ``before``, (m, 128)
    of the same pictures, and from all other surrogates' as is wanted."""
    own = np.linalg.norm(before[None] - after, axis=-1)
    out = np.minimum(own.mean(axis=1) - STRANGERS, own.min(axis=1) - FAR_1E3 - _MARGIN)
    for other in others:
        if len(other.codes):
            between = np.linalg.norm(other.codes[None, :, None] - after[:, None], axis=-1).reshape(len(after), -1)
            out = np.minimum(out, between.mean(axis=1) - _OTHERS - _FEW / len(others))
            out = np.minimum(out, between.min(axis=1) - SAME_PERSON - _NEAREST)
    found: np.ndarray = out
    return found


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
    chips, after = seen_in_places(geometry, sitter, likenesses, recognise)
    apart = np.linalg.norm(before[:, None] - after[None], axis=-1)
    own = np.diagonal(apart)
    distance, nearest = float(own.mean()), float(own.min())
    beside = [float(np.linalg.norm(o.codes[:, None] - after[None], axis=-1).mean()) for o in others if len(o.codes)]
    # In poor pictures everybody is like everybody: finished frames are compared one by one, and some obscured.
    clear = 2 * int((own <= FAR_1E3 + _MARGIN).sum()) < len(own)
    room = SAME_PERSON if len(beside) <= _FEW_PEOPLE else FAR_1E3  # a crowd has not room for all with a margin
    safe = clear and distance > SAME_PERSON and min(beside, default=np.inf) > room
    return Surrogate(code, distance, nearest, after, chips, draws, safe)


def sketched(geometry: Geometry, appearance: Appearance, code: IdentityCode) -> Sitter:
    """A sitter as fine as a chip shows."""
    albedo = appearance.draft(code, _DRAW_TEXTURE)
    gloss = appearance.gloss(_DRAW_TEXTURE)
    renderer = Renderer(geometry, albedo / skin_level(geometry, albedo), gloss, code.iris)
    return Sitter(code, relaxed(geometry, geometry.neutral(code.shape)), renderer)


def in_place(geometry: Geometry, sitter: Sitter, likeness: Likeness) -> np.ndarray:
    """A likeness with a surrogate in it, uint8 (150, 150, 3)."""
    picture = likeness.chip.astype(np.float32) / np.float32(255)
    placed = sitter.in_place_of(geometry, likeness.neutral)
    worn = likeness.wears() if likeness.wears is not None else None
    if worn is not None:
        placed = replace(placed, eyewear=worn.on(geometry, placed.neutral))
    made = paint_picture(picture, likeness.points, placed, geometry, likeness.attributes, Compositor(), seed=0, frame=0)
    return np.rint(np.clip(made.rgb, 0, 1) * 255).astype(np.uint8)


def seen_in_places(
    geometry: Geometry, sitter: Sitter, likenesses: Sequence[Likeness], recognise: Recognise
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`in_place` for each, uint8 (n, 150, 150, 3), and what the recogniser makes of it: of the first while the
    others are painted."""
    painted = side_by_side(lambda likeness: in_place(geometry, sitter, likeness), likenesses)
    seen = [(chip, recognise(chip[None])[0]) for chip in painted]
    return np.stack([chip for chip, _ in seen]), np.stack([code for _, code in seen])


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
    blur = np.hypot(attributes.blur * scale, _PIXEL * np.sqrt(max(scale**2 - 1, 0.0)))
    return replace(attributes, camera=moved, blur=max(float(blur), 0.3))
