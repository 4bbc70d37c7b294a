"""Replaced, obscured or kept; colour, seams and flicker, on drawn faces with known changes."""

from __future__ import annotations

import numpy as np
import pytest

from deid import imaging
from deid.audit.appearance import SECTORS, Flicker, Look, Step, Touched, compare, looks, seam_steps
from deid.recognition.chips import chip_from_picture
from tests.audit._heads import mesh

SKIN = np.array([200, 150, 125], np.float32)


def face(seed: int = 0, grain: float = 2.0, light: float = 1.0) -> np.ndarray:
    """A drawn face as a look, uint8 (150, 150, 3): skin with shading, eyes, nose and lips that ``seed`` places."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:150, 0:150].astype(np.float32)
    picture = SKIN * (0.8 + 0.3 * np.exp(-(((x - 60) / 60) ** 2)))[..., None]

    def blot(cx: float, cy: float, rx: float, ry: float, depth: float) -> None:
        inside = np.exp(-((((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) ** 2))
        picture[...] *= (1 - depth * inside)[..., None]

    move = rng.uniform(-5, 5, 10)
    for side in (48, 102):
        blot(side + move[0], 46 + move[1], 9 + move[2], 5, 0.7)
        blot(side + move[3], 33 + move[4], 14, 3 + abs(move[5]) / 2, 0.5)
    blot(75 + move[6], 82, 10, 5, 0.3)
    blot(75, 105 + move[7], 20 + move[8], 5 + abs(move[9]) / 2, 0.5)
    noise = grain * np.random.default_rng(seed + 100).standard_normal((150, 150, 1))
    return np.clip(light * picture + noise, 0, 255).astype(np.uint8)


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    return imaging.gaussian_blur(picture, (0, 0), sigma)


def judged(source: np.ndarray, output: np.ndarray) -> Touched:
    return compare(Look.of(source), Look.of(output)).touched


def test_the_same_face_encoded_again_was_kept() -> None:
    source = face()
    coarse = (source // 6 * 6 + 3).astype(np.uint8)
    assert judged(source, source) is Touched.KEPT
    assert judged(source, coarse) is Touched.KEPT
    assert judged(source, blurred(source, 1.2)) is Touched.KEPT


def test_blur_and_one_colour_are_obscured() -> None:
    assert judged(face(), blurred(face(), 16)) is Touched.OBSCURED
    assert judged(face(), np.full((150, 150, 3), 128, np.uint8)) is Touched.OBSCURED


@pytest.mark.parametrize("seed", range(1, 6))
def test_another_face_is_a_replacement(seed: int) -> None:
    assert judged(face(), face(seed)) is Touched.REPLACED


@pytest.mark.parametrize("width", [150, 110, 85])
def test_the_border_of_a_picture_is_no_structure_of_a_face(width: int) -> None:
    points = mesh().astype(np.float64)
    transform = chip_from_picture(points)
    points[:, :2] = points[:, :2] @ transform[:, :2].T + transform[:, 2]  # a look's pixels are the picture's

    def seen(output: np.ndarray) -> Touched:
        return compare(*looks(face()[:, :width], output[:, :width], points)).touched

    assert seen(blurred(face(), 16)) is Touched.OBSCURED
    assert seen(np.full((150, 150, 3), 128, np.uint8)) is Touched.OBSCURED
    assert seen(face(3)) is Touched.REPLACED
    assert seen(face()) is Touched.KEPT


def test_a_changeover_is_neither() -> None:
    mixed = (0.25 * face(2).astype(np.float32) + 0.75 * blurred(face(), 16)).astype(np.uint8)
    assert judged(face(), mixed) is Touched.CHANGING


def test_softness_grain_and_tone_know_their_direction() -> None:
    source = Look.of(face(grain=4))
    soft = compare(source, Look.of(blurred(face(1, grain=0), 4)))
    assert soft.grain < 0.3
    assert soft.softness < 0.8
    rough = compare(source, Look.of(face(1, grain=9)))
    assert rough.grain == pytest.approx(9 / 4, rel=0.25)
    assert compare(source, source).tone == 0
    assert compare(source, source).ghost == pytest.approx(1)
    assert abs(soft.ghost) < 0.2
    assert compare(source, Look.of(face(1, grain=4, light=0.7))).tone > 10


def test_what_was_left_of_the_source_is_found() -> None:
    source, other = face(), face(2)
    half = other.copy()
    half[75:] = source[75:]
    assert compare(Look.of(source), Look.of(source)).left == 1
    assert compare(Look.of(source), Look.of(other)).left < 0.15
    assert 0.25 < compare(Look.of(source), Look.of(half)).left < 0.75
    assert judged(source, half) is Touched.REPLACED


def scene(inside: float, outside: float, softness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose face area is brighter by ``inside``, and the mesh of that face, its outline an ellipse."""
    points = mesh()
    outline = np.array([10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
                        148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109])  # fmt: skip
    angle = 2 * np.pi * np.arange(36) / 36
    points[outline, 0] = 320 + 85 * np.sin(angle)
    points[outline, 1] = 260 - 105 * np.cos(angle)
    y, x = np.mgrid[0:480, 0:640]
    within = (((x - 320) / 85) ** 2 + ((y - 260) / 105) ** 2 <= 1).astype(np.float32)
    shade = outside + (inside - outside) * imaging.gaussian_blur(within, (0, 0), softness)
    return np.repeat(shade[..., None], 3, axis=2).astype(np.uint8), points


def test_a_step_at_the_outline_is_a_seam_and_a_source_with_one_is_none() -> None:
    plain, points = scene(140, 140)
    edged, _ = scene(160, 140)
    seams = seam_steps(plain, edged, points)
    assert len(seams) == len(SECTORS)
    assert min(seams) > 3
    assert max(np.abs(seam_steps(edged, edged, points))) == 0
    assert max(seam_steps(edged, plain, points)) < 0
    assert max(seam_steps(plain, scene(160, 140, softness=25)[0], points)) < 0.6 * min(seams)


def test_flicker_of_light_and_of_structure() -> None:
    rng = np.random.default_rng(0)
    stills = [Look.of(face(0, grain=0)) for _ in range(2)]
    assert Step.of(*stills) == Step(0, 0, 0, 0)

    def steps(light: float, grain: float) -> list[Step]:
        looks = []
        for n in range(12):
            picture = face(0, grain=0).astype(np.float32) + light * (-1) ** n
            picture += grain * rng.standard_normal((150, 150, 1))
            looks.append(Look.of(np.clip(picture, 0, 255).astype(np.uint8)))
        return [Step.of(a, b) for a, b in zip(looks, looks[1:], strict=False)]

    source = steps(0, 4)
    assert Flicker.of(source, source) == Flicker(0.0, 1.0, 1.0, 1.0)
    blinking = Flicker.of(source, steps(3, 4))
    assert blinking.light == pytest.approx(6, abs=0.5)
    assert blinking.fine == pytest.approx(1, abs=0.1)
    assert Flicker.of(source, steps(0, 1)).fine < 0.5
    assert Flicker.of(source, steps(0, 8)).fine > 1.5
    assert np.isnan(Flicker.of([], []).light)
