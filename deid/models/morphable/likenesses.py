"""Pictures of people as a surrogate is tried on: who they are of, and what they wear before the eyes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from deid.models.morphable.casting import JUDGED, Shown
from deid.models.morphable.codes import AttributeCode
from deid.models.morphable.eyewear import Eyewear
from deid.models.morphable.eyewear_sheet import eyes_of, unrolled
from deid.models.morphable.eyewear_style import eyewear_of
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.inversion import TrackCodes, code_at
from deid.models.morphable.painter import Sitter
from deid.models.morphable.surrogate import Likeness, in_chip
from deid.models.morphable.tone_match import toned_like
from deid.people import Person
from deid.recognition.chips import chip_from_picture
from deid.released import reach
from deid.tracking.observe import Chip

_TONED = 2  # frames of a track that tell in how much haze a surrogate is tried on
_GLASSES_TO = 32.0  # degrees of yaw to which pictures tell of glasses: from the side a brow or a temple looks like them
_GLASSES_ASIDE = 60.0  # the same where nothing better is seen, and only for what is very clear

_STRONG, _DARK = 0.09, 0.2  # half thickness from which on, and reflectance below which, rims are strong
_THIN, _SILVER = 0.05, (0.5, 0.5, 0.5)  # half thickness, centimetres, and reflectance of the plainest rims

Points = Callable[[TrackCodes, int], np.ndarray]
"""The mesh, float32 (478, 3) in frame pixels, of a row of codes."""
Worn = Callable[[], Eyewear | None]


def best_of(
    geometry: Geometry,
    person: Person,
    codes: Mapping[int, TrackCodes],
    shown: Mapping[int, list[Chip]],
    points: Points,
    worn: Worn | None = None,
) -> list[Shown]:
    """The person's best pictures of ``shown``, by track, with codes in their pixels. ``worn``: tells the glasses to be
    drawn."""
    best = sorted(
        ((chip, track) for track in person.tracks for chip in shown[track]), key=lambda x: (-x[0].quality, x[1])
    )
    out = []
    hazes: dict[int, _Haze] = {}
    for chip, track in best[:JUDGED]:
        of = codes[track]
        row = of.attributes.row_of(chip.frame)
        if row is not None:
            haze = hazes.setdefault(track, _Haze(geometry, of))
            likeness = likeness_of(geometry, of, row, points(of, row), chip.picture, worn, haze)
            out.append(Shown(likeness, track, row))
    return out


class _Haze:
    """Tells how a sitter is shown in a track: in the haze and glow of the finished frames, which are found by rendering
    some of them. Tried on without, surrogates came out .05 to .1 nearer to their subjects and to one another in haze
    than they had been chosen to be."""

    def __init__(self, geometry: Geometry, of: TrackCodes) -> None:
        self._geometry, self._of = geometry, of
        self._last: tuple[Sitter, TrackCodes] | None = None

    def __call__(self, sitter: Sitter) -> TrackCodes:
        if self._last is None or self._last[0] is not sitter:
            self._last = sitter, toned_like(self._geometry, sitter, self._of, self._of.attributes, _TONED)
        return self._last[1]


def likeness_of(
    geometry: Geometry,
    of: TrackCodes,
    row: int,
    points: np.ndarray,
    picture: np.ndarray,
    worn: Worn | None,
    haze: Callable[[Sitter], TrackCodes] | None = None,
) -> Likeness:
    """``picture``: the aligned face, uint8 (150, 150, 3) RGB, of a row whose mesh is ``points`` in the frame. ``haze``:
    the track's codes as a sitter is shown with them; found where it is not given."""
    haze = haze or _Haze(geometry, of)
    transform = chip_from_picture(points)
    local = points.copy()
    local[:, :2] = points[:, :2] @ transform[:, :2].T + transform[:, 2]
    local[:, 2] *= float(np.hypot(transform[0, 0], transform[1, 0]))

    def shown(codes: TrackCodes) -> AttributeCode:
        return in_chip(code_at(codes, codes.attributes, row), transform)

    neutral = geometry.neutral(of.identity.shape)
    loses = reach(float(np.ptp(points[:468, 1])))
    return Likeness(picture, local, shown(of), neutral, worn, lambda sitter: shown(haze(sitter)), loses)


def glasses_of(
    geometry: Geometry,
    person: Person,
    codes: Mapping[int, TrackCodes],
    shown: Mapping[int, list[Chip]],
    points: Points,
) -> Eyewear | None:
    """What kind of glasses the person's pictures show; those from the side count where there are no others."""
    sheets: list[np.ndarray] = []
    aside: list[np.ndarray] = []
    for track in person.tracks:
        of = codes[track]
        middle = eyes_of(geometry, geometry.neutral(of.identity.shape))
        for chip in shown[track]:
            row = of.attributes.row_of(chip.frame)
            if row is not None and abs(chip.yaw) <= _GLASSES_ASIDE:
                seen = in_chip(code_at(of, of.attributes, row), chip_from_picture(points(of, row)))
                kept = sheets if abs(chip.yaw) <= _GLASSES_TO else aside
                kept.append(unrolled(chip.picture, seen.camera, middle))
    return eyewear_of(np.array(sheets or aside, np.uint8), aside=not sheets)


def wearing(worn: Eyewear | None) -> Worn:
    """Tells ``worn``."""
    return lambda: worn


def plainer(worn: Eyewear) -> Eyewear:
    """The plainest pair of this size: thin and silver. In small and dim pictures strong rims tell a recogniser more
    than a face does, and it takes those who wear them for one another."""
    lens = np.maximum(worn.lens, np.float32(0.96))
    return replace(worn, rim=_THIN, colour=np.array(_SILVER, np.float32), metal=True, lens=lens, wire=None)


def is_plain(worn: Eyewear | None) -> bool:
    """Whether a plainer pair would look much the same."""
    return worn is None or (worn.rim < _STRONG and float(worn.colour.mean()) > _DARK)
