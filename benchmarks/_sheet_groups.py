"""What a face shows, so that sheets can put like with like: guesses of the product's own measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from _replacement_faces import FaceTrack

from deid.audit.appearance import lab, typology_angle
from deid.audit.attributes import eye_opening, mouth_opening
from deid.detection.landmarks import FaceLandmarks
from deid.models.morphable import fit
from deid.models.morphable.eyewear_find import likely
from deid.models.morphable.eyewear_sheet import eyes_of, unrolled
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.tracks import Observations
from deid.people import describe
from deid.recognition.chips import chip_from_picture, cut_chip

YOUNG, OLD = 35.0, 60.0  # years
DARK, LIGHT = 10.0, 41.0  # typology angle, degrees
TURNED, FAR = 20.0, 40.0  # degrees
OPEN, SHUT = 0.16, 0.14  # of the outer eye distance; of an eye's width
SIDE_LIT, BEARDED = 14.0, 8.0  # of CIELAB's lightness, between cheeks, and between cheeks and chin
_CHEEKS = (slice(82, 104), slice(30, 52)), (slice(82, 104), slice(98, 120))
_CHIN = (slice(122, 136), slice(58, 92))


@dataclass(frozen=True, slots=True)
class Traits:
    """Of one face in one picture. ``female``: -1 to 1; ``age``: years; ``tone``: typology angle, degrees; ``side``:
    difference of lightness between the cheeks; ``beard``: how much darker the chin is than the cheeks; ``glasses``: log
    odds; ``yaw``: degrees; ``mouth``, ``eyes``: openings."""

    female: float
    age: float
    tone: float
    side: float
    beard: float
    glasses: float
    yaw: float
    mouth: float
    eyes: float


def groups_of(of: Traits) -> list[str]:
    """The sheets that a face belongs on: several, as a rule."""
    found = ["women" if of.female > 0 else "men"]
    kinds = {
        "younger": of.age < YOUNG,
        "older": of.age >= OLD,
        "dark skin": of.tone < DARK,
        "light skin": of.tone >= LIGHT,
        "glasses": of.glasses > 0,
        "beards": of.beard > BEARDED and of.female < 0,
        "side light": of.side > SIDE_LIT,
        "open mouths": of.mouth > OPEN,
        "closed eyes": of.eyes < SHUT,
        "turned": TURNED <= abs(of.yaw) < FAR,
        "turned far": abs(of.yaw) >= FAR,
    }
    return found + [name for name, there in kinds.items() if there]


def moments(track: FaceTrack) -> list[int]:
    """Rows of a track worth a row of a sheet, in order: the middle one, and those with the widest mouth, the most
    closed eyes and the farthest turn."""
    mouths, eyes = mouth_opening(track.points), eye_opening(track.points).mean(axis=-1)
    chosen = {len(track) // 2}
    if mouths.max() > OPEN:
        chosen.add(int(np.argmax(mouths)))
    if eyes.min() < SHUT:
        chosen.add(int(np.argmin(eyes)))
    if np.abs(track.poses[:, 0]).max() >= TURNED:
        chosen.add(int(np.argmax(np.abs(track.poses[:, 0]))))
    return sorted(chosen)


def traits_of(rgb: np.ndarray, track: FaceTrack, row: int, geometry: Geometry, code: np.ndarray) -> Traits:
    """``rgb``: the picture of ``row``. ``code``: the face's recognition code there, (128,)."""
    points = track.points[row]
    chip = cut_chip(rgb, chip_from_picture(points))
    female, age = describe(code[None])
    light = lab(chip)[..., 0]
    cheeks = [float(np.median(light[place])) for place in _CHEEKS]
    eyes = eye_opening(points)
    return Traits(
        female, age, typology_angle(chip), abs(cheeks[0] - cheeks[1]), min(cheeks) - float(np.median(light[_CHIN])),
        _glasses(rgb, track, row, geometry), float(track.poses[row, 0]), float(mouth_opening(points)),
        float(eyes.mean()),
    )  # fmt: skip


def _glasses(rgb: np.ndarray, track: FaceTrack, row: int, geometry: Geometry) -> float:
    size = rgb.shape[1], rgb.shape[0]
    one = Observations(
        np.zeros(1, np.int32), track.points[row : row + 1], np.ones(1, np.float32), size
    )  # a picture by itself
    identity = fit.fit_identity(geometry, one)
    posed = fit.fit_attributes(
        geometry, identity.shape, identity.distance, one, offsets=identity.offsets, scale=identity.scale
    )
    neutral = geometry.neutral(identity.shape)
    return likely(unrolled(rgb, posed.camera(0), eyes_of(geometry, neutral))[None])


def face_of(track: FaceTrack, row: int) -> FaceLandmarks:
    return FaceLandmarks.from_points(track.points[row], float(track.presence[row]))
