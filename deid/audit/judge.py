"""One frame of two clips: what became of each face, and what a second detector finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deid import imaging
from deid.audit.appearance import Look, Touched, compare, looks, seam_steps, typology_angle
from deid.audit.faces import PRESENT, SEARCH_PIXELS, Sighting, overlap, upright
from deid.audit.notes import NOTES, RECOGNISED, STATES, Bad, Kept, Stray
from deid.audit.sheet import crop_of
from deid.detection import CenterFace
from deid.detection.landmarks import FaceLandmarker, roi_from_box
from deid.detection.mtcnn import Mtcnn
from deid.people import readable
from deid.recognition.chips import CHIP
from deid.recognition.custom import Recogniser
from deid.tracking.records import FaceRecord
from deid.types import Detection

SECOND_SCORE = 0.6
"""Score of MTCNN's last network from which a finding counts; its own default is 0.7."""

_STEPS = 12000.0
_SECOND_STAGES = (0.6, 0.7, SECOND_SCORE)
_SECOND_SIZE = 24  # pixels of the smallest face, of the picture as searched
_LARGE_EVERY, _LARGE_PIXELS = 6, 2.1e6  # so often a large picture is searched at such a size
_AGREES = 0.3  # score of CenterFace on what the second detector found
_BLOB = 22.0  # pixels of a chip: standard deviation of a blur that leaves nobody


@dataclass(frozen=True, slots=True, eq=False)
class Noted:
    """One face judged. ``codes``: source's and output's, by recogniser. ``clear``: whether source and output show
    enough for codes to tell people apart."""

    sighting: Sighting
    record: FaceRecord
    codes: dict[str, tuple[np.ndarray, np.ndarray]]
    clear: tuple[bool, bool]
    bad: Bad


class Judge:
    """Looks at one face after the other, in a thread of its own."""

    def __init__(self, recognisers: Sequence[Recogniser], kept: Kept) -> None:
        self._recognisers, self._is_kept = recognisers, kept
        self._mesh = FaceLandmarker()

    def close(self) -> None:
        self._mesh.close()

    def faces(
        self, frame: int, seconds: float, pair: tuple[np.ndarray, np.ndarray], seen: Sequence[Sighting]
    ) -> list[Noted]:
        a, b = (np.ascontiguousarray(picture[..., ::-1]) for picture in pair)
        return [self._face(frame, seconds, a, b, sighting) for sighting in seen]

    def _face(self, frame: int, seconds: float, a: np.ndarray, b: np.ndarray, sighting: Sighting) -> Noted:
        points, note = sighting.mesh.points, np.zeros((), NOTES)
        found = self._mesh.run(b, sighting.roi, rgb=True)
        middle = (points.min(0) + points.max(0)) / 2
        step = max(float(np.ptp(points[:, :2], axis=0).max()) / _STEPS, 1e-6)  # as the record file has it
        if found is not None:
            note["output"] = np.clip(np.rint((found.points - middle) / step), -32767, 32767)
            note["presence"] = found.presence
        before, after = looks(a, b, points)
        seen = compare(before, after, seam_steps(a, b, points))
        note["box"], note["pose"] = sighting.mesh.box, _pose(sighting)
        note["state"] = STATES.index(seen.touched.value)
        note["kept"] = self._is_kept(frame, sighting.mesh.box)
        note["tone"], note["left"], note["seam"] = seen.tone, seen.left, max(seen.seams)
        note["softness"], note["likeness"] = seen.softness, seen.likeness
        note["skin"] = typology_angle(before.rgb)
        hidden = seen.touched is Touched.OBSCURED
        codes = self._codes(a, b, points, float(sighting.mesh.box[3]), (before, after), hidden)
        note["distance"] = note["other"] = np.nan
        for name, (own, new) in codes.items():
            note["distance" if name == "dlib" else "other"] = float(np.linalg.norm(own - new))
        if "dlib" in codes:
            note["code"] = codes["dlib"][1]
        return Noted(
            sighting,
            FaceRecord(frame, points, sighting.mesh.presence, note),  # type: ignore[arg-type]
            codes,
            (readable(before.rgb), readable(after.rgb)) if codes else (False, False),
            self._badness(frame, seconds, b, points, note),
        )

    def _codes(
        self, a: np.ndarray, b: np.ndarray, points: np.ndarray, height: float, pair: tuple[Look, Look], hidden: bool
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        if height < RECOGNISED:
            return {}
        out = {}
        for r in self._recognisers:
            chips = [look.rgb for look in pair] if r.name == "dlib" else [r.cut(a, points), r.cut(b, points)]
            own, new = r.codes(np.stack(chips))
            if float(np.linalg.norm(own - new)) < r.threshold and (
                _is_blob(r, chips[0], own) or (hidden and _is_blob(r, chips[1], own))
            ):
                continue  # the original is too dark or blurred to know anybody by, or an empty disc is as near to it
            out[r.name] = own, new
        return out

    def _badness(self, frame: int, seconds: float, b: np.ndarray, points: np.ndarray, note: np.ndarray) -> Bad:
        state = Touched(STATES[int(note["state"])])
        limits = [(r.threshold, float(note["distance" if r.name == "dlib" else "other"])) for r in self._recognisers]
        nearness = max((1 - d / limit for limit, d in limits if np.isfinite(d)), default=0.0)
        if note["kept"]:
            score, why = 0.0, "kept as asked"
        elif state is Touched.KEPT:
            score, why = 10.0, "as it was"
        elif nearness > 0:
            score, why = 5.0 + nearness, "still recognised"
        elif state is Touched.OBSCURED:
            score, why = 0.05, "obscured"
        else:
            parts = {
                "no clear face": 1 - float(note["presence"]),
                "source shows through": float(note["left"]),
                "edge": float(note["seam"]) / 12,
                "tone": float(note["tone"]) / 15,
                "near the source": 0.5 + nearness,
            }
            why = max(parts, key=lambda k: parts[k])
            score = parts[why]
            why = why if score > 0.25 else "nothing special"
        return Bad(score, frame, seconds, why, crop_of(b, points, hidden=score >= 5.0 or bool(note["kept"])))


def _is_blob(recogniser: Recogniser, chip: np.ndarray, code: np.ndarray) -> bool:
    """Whether the recogniser takes a picture for the face that ``code`` is of when everything is blurred out of it:
    then it does not look at the face, and its matches mean nothing."""
    blurred = imaging.gaussian_blur(chip, (0, 0), _BLOB * chip.shape[0] / CHIP)
    return float(np.linalg.norm(recogniser.codes(blurred[None])[0] - code)) < recogniser.threshold


def _pose(sighting: Sighting) -> tuple[float, float, float]:
    mesh = sighting.mesh
    return mesh.yaw, mesh.pitch, float(np.degrees(mesh.roll))


class Second:
    """The second detector, in a thread of its own."""

    def __init__(self, kept: Kept) -> None:
        self._is_kept = kept
        self._detector = Mtcnn(thresholds=_SECOND_STAGES, min_size=_SECOND_SIZE, threads=1)
        self._mesh = FaceLandmarker()
        self._first = CenterFace()

    def close(self) -> None:
        self._detector.close()
        self._mesh.close()
        self._first.close()

    def search(
        self, frame: int, pair: tuple[np.ndarray, np.ndarray], seen: Sequence[Sighting]
    ) -> tuple[list[bool], list[Stray]]:
        """Which of ``seen`` show a face in the output, and what else is as it was."""
        source, output = pair
        pixels = _LARGE_PIXELS if frame % _LARGE_EVERY == 0 else SEARCH_PIXELS
        scale = min(1.0, (pixels / (output.shape[0] * output.shape[1])) ** 0.5)
        found = self._detector.detect(output, scale=scale)
        boxes = [upright(s.mesh) for s in seen]
        again = [any(_touch(box, d.box) for d in found) for box in boxes]
        away = [d for d in found if not any(_touch(box, d.box) for box in boxes)]
        bare = [d for d in away if not self._is_kept(frame, _centred(d.box)) and _unchanged(source, output, d)]
        strays = [self._stray(frame, source, d) for d in bare]
        return again, strays

    def _stray(self, frame: int, source: np.ndarray, d: Detection) -> Stray:
        mesh = self._mesh.run(source, roi_from_box(d.box))
        sure = mesh is not None and mesh.presence >= PRESENT and overlap(upright(mesh), d.box) > 0.25
        if sure:
            near = self._first.detect_region(source, d.box, threshold=_AGREES)
            sure = any(overlap(n.box, d.box) > 0.25 for n in near)
        return Stray(frame, d.box, d.score, sure)


def _centred(box: np.ndarray) -> np.ndarray:
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1], 0.0])


def _touch(a: np.ndarray, b: np.ndarray) -> bool:
    apart = float(np.hypot(*((a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2)))
    return overlap(a, b) > 0.2 or apart < 0.35 * float(max(a[3] - a[1], b[3] - b[1]))


def _unchanged(source: np.ndarray, output: np.ndarray, d: Detection) -> bool:
    """Whether the place is as it was."""
    if d.points is None or float(np.ptp(d.points, axis=0).max()) < 3:
        return False
    x0, y0, x1, y1 = np.r_[np.floor(1.5 * d.box[:2] - 0.5 * d.box[2:]), np.ceil(1.5 * d.box[2:] - 0.5 * d.box[:2])]
    x0, y0 = max(int(x0), 0), max(int(y0), 0)
    a, b = (np.ascontiguousarray(p[y0 : int(y1), x0 : int(x1), ::-1]) for p in (source, output))
    if min(a.shape[:2]) < 8:
        return False
    return compare(*looks(a, b, d.points - (x0, y0))).touched is Touched.KEPT
