"""Drawn microphones before a drawn face stay; beards, lips, shadows, hair and collars do not."""

from __future__ import annotations

import numpy as np
import pytest

from deid import imaging
from deid.blending.objects import objects_before
from deid.blending.outline import OVAL
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.photo_covered import covered
from deid.models.morphable.photo_samples import COUNT
from deid.models.morphable.photometry import RECORD

SIDE = 200
SKIN = np.array([0.78, 0.56, 0.46], np.float32)
SHIRT = np.array([0.30, 0.34, 0.55], np.float32)
FOAM = np.array([0.17, 0.17, 0.19], np.float32)
BEARD = np.array([0.20, 0.135, 0.105], np.float32)


def mesh() -> np.ndarray:
    """float32 (468, 2): the mean head's mesh points, seen from the front."""
    geometry = load_geometry()
    corners = geometry.vertices[geometry.triangles[geometry.landmark_triangles]]
    points = (corners * geometry.landmark_weights[..., None]).sum(axis=1)[:, :2] * (1, -1)
    low, high = points[OVAL].min(axis=0), points[OVAL].max(axis=0)
    return ((points - (low + high) / 2) * 110 / (high - low)[0] + (100, 95)).astype(np.float32)


def scene(light: float = 1.0) -> np.ndarray:
    """A face with lips, brows, nostrils, over a neck and a dark blue shirt; light from the left."""
    points = mesh()
    out = np.broadcast_to(np.array([0.6, 0.62, 0.6], np.float32), (SIDE, SIDE, 3)).copy()
    out[150:] = SHIRT
    out[130:165, 75:125] = 0.8 * SKIN
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    imaging.fill_poly(canvas, [np.round(points[OVAL]).astype(np.int32)], 1)
    out[canvas > 0] = SKIN
    x, y = points[13].astype(int)
    out[y - 3 : y + 7, x - 16 : x + 16] = (0.62, 0.28, 0.26)
    for eye in (105, 334):
        x, y = points[eye].astype(int)
        out[y - 2 : y + 2, x - 12 : x + 12] = (0.2, 0.15, 0.12)
    shade = np.linspace(1.0, 0.55, SIDE, dtype=np.float32)[None, :, None]
    return (out * light * shade).astype(np.float32)


def microphone(picture: np.ndarray, x: int = 100, y: int = 130) -> np.ndarray:
    """bool (h, w): where one was drawn into ``picture``, from below."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    imaging.fill_poly(canvas, [np.array([[x - 9, y], [x + 9, y], [x + 6, SIDE - 1], [x - 6, SIDE - 1]], np.int32)], 1)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    canvas[(xx - x) ** 2 + (yy - y) ** 2 < 144] = 1
    picture[canvas > 0] = FOAM * (0.5 + 0.5 * picture.max())
    return canvas > 0


@pytest.mark.parametrize("light", [1.0, 0.6])
@pytest.mark.parametrize("x", [88, 100, 112])
def test_a_microphone_stays(x: int, light: float) -> None:
    seen = scene(light)
    drawn = microphone(seen, x)
    mask, doubt = objects_before(seen, mesh())
    assert mask is not None and doubt == 0
    face = np.zeros((SIDE, SIDE), np.uint8)
    imaging.fill_poly(face, [np.round(mesh()[OVAL]).astype(np.int32)], 1)
    inside = imaging.erode(drawn.astype(np.uint8), np.ones((5, 5), np.uint8)) & face
    assert mask[inside > 0].mean() > 0.9
    clear = imaging.dilate(drawn.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    assert mask[clear & (face > 0)].mean() < 0.005


def bearded(colour: np.ndarray) -> np.ndarray:
    seen, points = scene(), mesh()
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    jaw = np.concatenate([points[OVAL[9:28]], points[[205, 164, 425]]])
    imaging.fill_poly(canvas, [np.round(jaw).astype(np.int32)], 1)
    seen[canvas > 0] = colour
    return seen


def test_nothing_of_the_person_stays() -> None:
    shadowed = scene()
    shadowed[:, 110:] *= np.array([0.35, 0.28, 0.25], np.float32)
    haired = scene()
    haired[30:160, 45:62] = haired[30:160, 138:155] = (0.10, 0.09, 0.09)
    goatee = scene()
    goatee[135:165, 88:112] = BEARD
    for seen in (scene(), shadowed, haired, goatee, bearded(BEARD), bearded(np.array([0.06, 0.055, 0.05], np.float32))):
        assert objects_before(seen, mesh()) == (None, 0.0)


def test_too_much_is_a_doubt_and_eyes_never_stay() -> None:
    seen = scene()
    seen[60:170, 60:140] = FOAM
    mask, _ = objects_before(seen, mesh())
    assert mask is None


def test_objects_are_told_from_records_over_time() -> None:
    records = np.zeros(60, RECORD)
    records["valid"] = 255
    records["skin"] = np.round(255 * SKIN)
    beard = records.copy()
    times = np.arange(60) / 25
    geometry = load_geometry()
    assert covered(records, times, geometry).max() == 0
    beard["skin"][:, COUNT * 2 // 3 :] = np.round(255 * BEARD)
    assert covered(beard, times, geometry).max() == 0
    records["skin"][25:35, COUNT - 12 :] = np.round(255 * FOAM)
    told = covered(records, times, geometry)
    assert told[27:33].min() == 1 and told[0] == told[-1] == 0
