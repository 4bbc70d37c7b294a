"""The thorough search: small faces that the plain one misses, and no face twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid import imaging
from deid.detection import CenterFace
from deid.detection.boxes import iou
from deid.media import Reader
from deid.media.convert import bgr
from deid.tracking.deep import SecondOpinion, search_deep, tiles


@given(width=st.integers(16, 3000), height=st.integers(16, 3000))
def test_tiles_cover_everything_and_share_a_margin(width: int, height: int) -> None:
    parts = list(tiles(width, height))
    assert len({(x1 - x0, y1 - y0) for x0, y0, x1, y1 in parts}) == 1
    assert all(0 <= x0 < x1 <= width and x1 - x0 <= 976 and 0 <= y0 < y1 <= height for x0, y0, x1, y1 in parts)
    for low, high, length in ((0, 2, width), (1, 3, height)):
        spans = sorted({(p[low], p[high]) for p in parts})
        assert spans[0][0] == 0 and spans[-1][1] == length
        assert all(a[1] - b[0] >= 90 for a, b in zip(spans, spans[1:], strict=False))


@pytest.fixture(scope="module")
def small_faces(face_clip) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """A grey picture with eight faces of about 11 pixels, some of them where tiles meet, and their middles."""
    frame = bgr(next(iter(Reader(face_clip, end=0.05))))
    crop = frame[54:234, 135:300]  # the face lies at 185 to 251 and 102 to 185
    small = imaging.resize(np.ascontiguousarray(crop), (22, 24), interpolation=imaging.INTER_AREA)
    picture = np.full((700, 1300, 3), 128, np.uint8)
    places = [(60, 60), (640, 90), (648, 400), (300, 340), (310, 600), (900, 350), (1240, 650), (660, 640)]
    for x, y in places:
        picture[y - 12 : y + 12, x - 11 : x + 11] = small
    return picture, places


def test_it_finds_smaller_faces_and_none_twice(small_faces) -> None:
    picture, places = small_faces
    detector = CenterFace(threshold=0.1, threads=1)
    plain = [d for d in detector.detect(picture) if d.score >= 0.2]
    found = [d for d in search_deep(detector, SecondOpinion(), picture, 0.1) if d.score >= 0.2]
    detector.close()

    def hits(detections) -> int:
        return sum(
            any(d.box[0] < x < d.box[2] and d.box[1] < y < d.box[3] for d in detections) for x, y in places
        )  # fmt: skip

    assert hits(found) == len(places) >= hits(plain)
    overlaps = iou(np.array([d.box for d in found]), np.array([d.box for d in found])) - np.eye(len(found))
    assert overlaps.max() <= 0.4
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
