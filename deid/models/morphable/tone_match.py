"""Features no stronger than the footage shows: haze and glow by analysis through synthesis.

What a cheap lens, a haze, or a codec that spends few bits takes from a face is contrast: eyes, nostrils, lips and the
edges of brows stand out less than they do in a sharp picture, long before their edges look soft. A face rendered with
all of its contrast then looks pasted, whatever its mean colour. Some frames are rendered as they are going to be shown,
measured as the subject's were (:mod:`.photo_structure`), and what is too strong is taken off in two ways: as a veil, as
far as the darkest things around the face say that there is one, and beyond that as glow, which spreads a share of the
light over its surroundings, as the wide foot of a lens's point spread does (Nakamae et al., *A Lighting Model Aiming at
Drive Simulators*, SIGGRAPH 1990, section 3.3): small dark things lose contrast, and broad ones keep it.

Two numbers a track come of it, so that nothing flickers and nobody is told by them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from deid import imaging
from deid.blending import Composite
from deid.models.morphable.codes import AttributeCode
from deid.models.morphable.finish import GLOW_REACH, scattered, thicker
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.photo_structure import measure_structure, window_of
from deid.models.morphable.side_by_side import side_by_side
from deid.models.morphable.tracks import AttributeTrack, evenly
from deid.models.morphable.trial import Trial, tried

if TYPE_CHECKING:
    from deid.models.morphable.eyewear_draw import Fitted
    from deid.models.morphable.inversion import TrackCodes
    from deid.models.morphable.painter import Sitter

_ROWS = 5
_MOST_YAW = 45.0  # degrees
_LEAST, _MOST = 1.5, 12.0  # pixels a centimetre: what can be measured, and as many as are rendered
_HEAD = 22.0  # centimetres that the pictures are high
_FLOOR = 0.3  # code values: contrasts below that are rounding
_PEOPLE = (5.0, 14.0), (1.02, 1.35)
"""Pixels a centimetre, and by how much people's features may differ: all that a clear picture shows is theirs, while
of a small or smeared face mostly the camera's work is left."""
_HAZES = (0.0, 0.04, 0.08, 0.13, 0.19, 0.26)  # share of the skin's light
_GLOWS = (0.0, 0.06, 0.12, 0.18, 0.24, 0.3, 0.36)
_FAINT = 0.03  # of glow: less does not show


def toned_like(
    geometry: Geometry, sitter: Sitter, of: TrackCodes, track: AttributeTrack, most: int = _ROWS
) -> TrackCodes:
    """``of`` with a haze and a glow in which ``sitter`` has no more contrast than the subject. ``track``: the
    attributes that it is to be shown with, one row for each of the subject's. ``most``: frames that are looked at."""
    lights = of.lights
    if not len(lights.structure):
        return of
    usable = of.trust.trusted & (np.abs(of.attributes.yaw_pitch_roll()[:, 0]) < _MOST_YAW)
    rows = np.flatnonzero(usable & (lights.structure[:, 2] > 0) & (of.attributes.scale > _LEAST))
    if not len(rows):
        return of
    rows = evenly(rows, most)
    room = float(np.median(lights.darkest[rows] - (lights.veil / np.maximum(lights.tone, 1e-6)).mean(axis=1)[rows]))
    hazes = [haze for haze in _HAZES if haze <= max(room, 0.0)]

    def strengths(row: int) -> np.ndarray:
        return _strengths(geometry, sitter, of, track, row, hazes)

    # (hazes, glows): how much more contrast there is than in the subject, in the middle of the frames
    excess = np.median(np.log(np.array(list(side_by_side(strengths, rows.tolist())))), axis=0)
    allowed = float(np.log(np.interp(np.median(of.attributes.scale[rows]), *_PEOPLE)))
    haze = _least(excess[:, 0], np.array(hazes), allowed)
    share = _least(excess[-1], np.array(_GLOWS), allowed) if excess[-1, 0] > allowed else 0.0
    if haze <= 0 and share < _FAINT:
        return of
    veil = thicker(lights.veil, lights.tone, haze)
    glow = np.full(len(lights), share if share >= _FAINT else 0.0, np.float32)
    return replace(of, lights=replace(lights, veil=veil.astype(np.float32), glow=glow))


def _least(excess: np.ndarray, steps: np.ndarray, allowed: float) -> float:
    """The least of ``steps``, or between two of them, at which ``excess``, which falls with them, is ``allowed``; the
    last one where it never is."""
    enough = np.flatnonzero(excess <= allowed)
    if not len(enough):
        return float(steps[-1])
    k = int(enough[0])
    if k == 0:
        return float(steps[0])
    part = (excess[k - 1] - allowed) / max(excess[k - 1] - excess[k], 1e-6)
    return float(steps[k - 1] + part * (steps[k] - steps[k - 1]))


def _strengths(
    geometry: Geometry, sitter: Sitter, of: TrackCodes, track: AttributeTrack, row: int, hazes: list[float]
) -> np.ndarray:
    """float64 (hazes, glows): contrast of middle and coarse detail in a row, over the subject's."""
    lights, own = of.lights, float(of.attributes.scale[row])
    scale = min(own, _MOST)
    size = round(_HEAD * scale)
    trial = tried(geometry, sitter, of, track, row, scale, size)
    window = window_of(trial.mesh, size, size)
    wanted = np.maximum(lights.structure[row].astype(float), _FLOOR)
    out = np.ones((len(hazes), len(_GLOWS)))
    if window is None:
        return out
    zoom = scale / own
    glasses = None if sitter.eyewear is None else _fitted(sitter, geometry, trial, of, row, zoom)
    for i, haze in enumerate(hazes):
        shown = lights.filmed(row, trial.linear, scale, zoom, haze)
        shares = _GLOWS if i == len(hazes) - 1 else _GLOWS[:1]
        wide = scattered(shown, GLOW_REACH * scale) if len(shares) > 1 else shown
        for j, share in enumerate(shares):
            spread = np.asarray(imaging.add_weighted(shown, 1.0 - share, wide, share, 0.0)) if share > 0 else shown
            if glasses is not None:
                spread = _worn(spread, sitter, glasses, trial, track, row, of, zoom, haze)
            made = np.maximum(measure_structure(spread[window] * np.float32(255)), _FLOOR)
            out[i, j] = np.sqrt(np.prod(made[1:] / wanted[1:]))
    return out


def _fitted(
    sitter: Sitter, geometry: Geometry, trial: Trial, of: TrackCodes, row: int, zoom: float
) -> Fitted | None:
    """The glasses that ``sitter`` wears, as the subject wears theirs: rims are contrast, too."""
    from deid.models.morphable.eyewear_draw import fitted

    assert sitter.eyewear is not None
    size, blur = trial.linear.shape[:2], float(of.lights.blur[row]) * zoom
    return fitted(sitter.eyewear, geometry, sitter.neutral, trial.vertices, trial.camera, blur, size)


def _worn(
    picture: np.ndarray, sitter: Sitter, glasses: Fitted, trial: Trial, track: AttributeTrack, row: int,
    of: TrackCodes, zoom: float, haze: float,
) -> np.ndarray:  # fmt: skip
    """``picture`` with ``glasses`` in a light that has so much more ``haze``."""
    from deid.models.morphable.eyewear_draw import laid

    assert sitter.eyewear is not None
    light = of.lights.light(row)
    light = replace(light, veil=thicker(light.veil, light.tone, haze))
    blur = float(of.lights.blur[row]) * zoom
    code = AttributeCode(track.expression[row], track.gaze[row], trial.camera, light, blur, 0.0)
    result = Composite(picture.copy(), np.zeros(picture.shape[:2], np.bool_))
    return laid(result, sitter.eyewear, glasses, code, seed=0, frame=0).rgb
