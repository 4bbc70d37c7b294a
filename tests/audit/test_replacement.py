"""The benchmark that judges replacement, on clips and tracks whose verdict is known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deid import imaging
from deid.demo import encode_clip
from deid.media import Reader
from deid.media.convert import bgr
from tests.audit._heads import mesh

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def on_path() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


class Thumbnails:
    """A recogniser that goes by the chip's pixels."""

    name, threshold = "thumbnails", 0.05

    def cut(self, rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
        from deid.recognition.chips import chip_from_picture, cut_chip

        return cut_chip(rgb, chip_from_picture(points))[::10, ::10]

    def codes(self, chips: np.ndarray) -> np.ndarray:
        flat = chips.reshape(len(chips), -1).astype(np.float32)
        flat -= flat.mean(1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where faces found are kept from test to test."""
    return tmp_path_factory.mktemp("found")


def verdict(source: Path, output: Path, cache: Path) -> dict[str, Any]:
    from replacement import judge

    return judge(source, output, [Thumbnails()], cache=cache)


def test_an_untouched_clip_is_a_leak_that_follows_perfectly(face_clip: Path, found: Path) -> None:
    from replacement import failures, table

    result = verdict(face_clip, face_clip, found)
    values = result["values"]
    assert result["weights"]["faces"] == 24
    assert (values["kept"], values["match"], values["replaced_45"]) == (1, 1, 0)
    assert (values["yaw"], values["pitch"], values["roll"]) == pytest.approx((0, 0, 0), abs=1e-6)
    assert values["jitter"] == pytest.approx(1)
    assert values["light"] == 0
    missed = failures([result])
    assert any("matches source" in line for line in missed)
    assert any("untouched" in line for line in missed)
    assert "1.0000 !" in table([result])


def test_a_blurred_face_is_not_replaced(face_clip: Path, found: Path, tmp_path: Path) -> None:
    output = tmp_path / "blurred.mp4"
    with Reader(face_clip) as reader:
        soft = [imaging.gaussian_blur(bgr(frame), (0, 0), 18) for frame in reader]
    encode_clip(output, soft, width=480, height=360, fps=25, seconds=len(soft) / 25)
    result = verdict(face_clip, output, found)
    assert result["values"]["replaced_45"] == 0
    assert result["values"]["kept"] == 0
    assert np.isnan(result["values"]["match"])
    assert result["detail"]["counts"]["yaw to 45"]["obscured"] == 24


def test_clips_of_different_length_are_refused(face_clip: Path, faceless_clip: Path, found: Path) -> None:
    with pytest.raises(ValueError, match="ends after 12 frames"):
        verdict(face_clip, faceless_clip, found)


def made(points: np.ndarray, output: np.ndarray, number: int = 0, codes: np.ndarray | None = None) -> Any:
    """Measures of a track whose faces are all replaced, 200 pixels tall."""
    from _replacement_faces import FaceTrack
    from _replacement_measure import TrackMeasures

    from deid.audit.appearance import Comparison, Touched
    from deid.audit.attributes import head_poses

    n = len(points)
    poses = head_poses(points).astype(np.float32)
    boxes = np.tile(np.array([320, 240, 160, 200, 0], np.float32), (n, 1))
    track = FaceTrack(number, np.arange(n), np.zeros((n, 4)), points, np.ones(n, np.float32), poses, boxes)
    look = Comparison(Touched.REPLACED, 1, 0.5, 20, 2, 1, 1, 0, 0, (0, 0, 0, 0))
    m = TrackMeasures(track, list(range(n)), list(output), [1.0] * n, [look] * n)
    if codes is not None:
        m.codes["thumbnails"] = (np.arange(n), codes, codes + 1)
    return m


def talking(count: int, mouth_gain: float = 1.0, eye_gain: float = 1.0, yaw: float = 0.0, lag: int = 0) -> np.ndarray:
    """A head that speaks, blinks, looks around and turns."""
    t = np.arange(count) - lag
    blink = np.exp(-(((t % 40) - 20) ** 2) / 6)
    return np.stack(
        [
            mesh(
                (0.32 - eye_gain * 0.28 * b, 0.32 - eye_gain * 0.28 * b),
                mouth_gain * 0.1 * (1 + np.sin(k / 3)),
                (0.12 * np.sin(k / 11), 0.08 * np.cos(k / 9)),
                (8 * np.sin(k / 25) + yaw, 0, 0),
            )
            for k, b in zip(t, blink, strict=True)
        ]
    ).astype(np.float32)


def test_expression_that_follows_passes_and_what_lags_or_freezes_does_not() -> None:
    from _replacement_score import TARGETS, score

    aims = {t.key: t for t in TARGETS}
    source = talking(120)
    good = score([made(source, talking(120, mouth_gain=0.8))], [])["values"]
    assert all(aims[k].met(good[k]) for k in ("eye", "mouth", "gaze_x", "gaze_y", "yaw", "pitch", "roll"))
    late = score([made(source, talking(120, lag=3))], [])
    assert not aims["mouth"].met(late["values"]["mouth"])
    assert not aims["eye"].met(late["values"]["eye"])
    assert late["detail"]["tracks"][0]["mouth"]["lag"] == 3
    staring = score([made(source, talking(120, eye_gain=0))], [])["values"]
    assert staring["eye"] == pytest.approx(0, abs=0.3)
    turned = score([made(source, talking(120, yaw=3))], [])
    assert turned["values"]["yaw"] == pytest.approx(3, abs=0.2)
    assert turned["detail"]["pose"]["yaw"]["bias"] == pytest.approx(3, abs=0.2)


def test_two_people_with_one_surrogate_are_found_out() -> None:
    from _replacement_score import score

    rng = np.random.default_rng(0)
    source = talking(60)
    codes = [c + 0.001 * rng.standard_normal((60, 64)) for c in (np.zeros(64), np.full(64, 0.1))]
    apart = [made(source, source, k, c) for k, c in enumerate(codes)]
    values = score(apart, [Thumbnails()])["values"]
    assert (values["match"], values["same"], values["other"]) == (0, 1, 0)
    for m in apart:
        rows, before, _ = m.codes["thumbnails"]
        m.codes["thumbnails"] = (rows, before, np.ones((60, 64)))
    assert score(apart, [Thumbnails()])["values"]["other"] == 1


def test_a_contact_sheet_shows_source_output_and_difference(face_clip: Path, found: Path) -> None:
    from _replacement_faces import observe
    from contact_sheet import folded, parse_frames, sheet, spread

    assert parse_frames("3,10-12") == [3, 10, 11, 12]
    tracks = observe(face_clip, cache=found)
    picture = sheet(face_clip, face_clip, tracks, [(tracks[0], row) for row in spread(tracks[0], 3)], 100, 1.6)
    assert picture.shape == (3 * 120, 300, 3)
    cells = picture.reshape(3, 120, 300, 3)[:, 20:]
    assert np.array_equal(cells[:, :, :100], cells[:, :, 100:200])
    assert cells[:, :, :100].std() > 20
    assert not cells[:, :, 200:].any()
    assert folded(picture, 120, 2).shape == (240, 600, 3)


def test_readings_of_one_picture_are_averaged_and_compared() -> None:
    from _replacement_score import score

    rng = np.random.default_rng(5)
    source = talking(120)
    once = made(source, source)
    often = made(source, source)
    noise = rng.normal(0, 0.6, (120, 2, 3, 478, 3)).astype(np.float32)
    often.readings = list(np.broadcast_to(source[:, None, None], noise.shape) + noise)
    single = made(source, source)
    single.readings = [r[:, :1] for r in often.readings]
    r = {name: score([m], [])["values"]["gaze_x"] for name, m in (("once", once), ("often", often), ("single", single))}
    assert r["once"] > r["often"] > r["single"]
    agree = score([often], [])["detail"]["tracks"][0]["read twice"]
    assert 0 < agree["gaze x"] < r["often"] < 1
