"""Two recordings of each of many people, what deid makes of them, and what recognisers make of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _portraits import OVAL
from _replacement_faces import FaceTrack, frame_pairs, observe

from deid import imaging
from deid.config import RunConfig
from deid.demo import encode_clip
from deid.detection.landmarks import FaceLandmarker, roi_from_landmarks
from deid.errors import DeidError
from deid.media import Reader
from deid.media.convert import bgr
from deid.personas import Book
from deid.pipeline import run
from deid.progress import QuietProgress
from deid.recognition.custom import Recogniser

SIDE, FPS, FRAMES = 448, 25, 6
_FACES = 8  # of a clip that a template is the mean of
_LEAST_SECONDS = 1.2


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """Somebody with two recordings. ``tracks``: their face in each, found and followed in the untouched clip."""

    name: str
    clips: tuple[Path, Path]
    tracks: tuple[FaceTrack, FaceTrack]


@dataclass(slots=True, eq=False)
class Gathered:
    """``templates``: by recogniser, treatment and recording, float64 (n, d), one a person; NaN where there is none."""

    people: list[str]
    templates: dict[str, dict[tuple[str, int], np.ndarray]] = field(default_factory=dict)


def filmed(picture: np.ndarray, take: int, seed: int) -> Iterator[np.ndarray]:
    """One photograph, BGR, as a hand-held camera shows it: :data:`FRAMES` pictures of :data:`SIDE` squared. Another
    ``take`` has another distance, height and lean, and light of another strength, colour and direction; hair,
    expression and what is behind stay, so that two takes are more alike than two recordings of a person are."""
    rng = np.random.default_rng([seed, take, 31])
    height, width = picture.shape[:2]
    zoom = SIDE / min(height, width) * float(np.exp(rng.uniform(-0.12, 0.12)))
    lean, drift = np.radians(rng.uniform(-5, 5)), np.radians(rng.uniform(-0.3, 0.3))
    aim = np.array([width / 2, 0.47 * height]) + rng.normal(0, 0.015, 2) * width
    v, u = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE - 0.5
    slope = rng.normal(0, 0.3, 2)
    light = np.exp(slope[0] * u + slope[1] * v)[..., None] * np.exp(rng.normal(0, 0.08, 3) + rng.normal(0, 0.12))
    gamma = float(np.exp(rng.normal(0, 0.1)))
    for k in range(FRAMES):
        scale, angle = zoom * (1 + 0.004 * k), lean + drift * k
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = np.hstack([turn, (np.full(2, SIDE / 2) - turn @ aim)[:, None]])
        seen = imaging.warp_affine(
            picture, matrix, (SIDE, SIDE), flags=imaging.INTER_AREA, borderMode=imaging.BORDER_REPLICATE
        )
        lit = 255 * (seen.astype(np.float32) / 255) ** gamma * light
        yield np.clip(lit, 0, 255).astype(np.uint8)


def from_portraits(paths: Sequence[Path], count: int, work: Path, seed: int) -> Iterator[Subject]:
    """The first ``count`` of ``paths`` whose face is followed in both takes."""
    found = 0
    for number, path in enumerate(paths):
        picture = imaging.imread(str(path))
        if picture is None or found == count:
            continue
        clips = (work / f"{path.stem}.a.mp4", work / f"{path.stem}.b.mp4")
        for take, clip in enumerate(clips):
            pictures = filmed(picture, take, seed + number)
            encode_clip(clip, pictures, width=SIDE, height=SIDE, fps=FPS, seconds=0)
        subject = _subject(path.stem, clips)
        if subject is not None:
            found += 1
            yield subject


def from_clips(paths: Sequence[Path], work: Path, seconds: float) -> Iterator[Subject]:
    """The beginning and the end of each clip in which one face is by far the most seen."""
    for path in paths:
        with suppress(DeidError), Reader(path) as reader:
            info = reader.info
            frames = [bgr(frame) for frame in reader]
            rate = len(frames) / max(float(info.duration or len(frames) / 25), 1e-3)
            part = min(round(seconds * rate), len(frames) // 2)
            if part < _LEAST_SECONDS * rate:
                continue
            clips = (work / f"{path.stem}.a.mp4", work / f"{path.stem}.b.mp4")
            height, width = (n // 2 * 2 for n in frames[0].shape[:2])
            for clip, some in zip(clips, (frames[:part], frames[-part:]), strict=True):
                pictures = (np.ascontiguousarray(f[:height, :width]) for f in some)
                encode_clip(clip, pictures, width=width, height=height, fps=max(round(rate), 1), seconds=0)
            subject = _subject(path.stem, clips)
            if subject is not None:
                yield subject


def _subject(name: str, clips: tuple[Path, Path]) -> Subject | None:
    tracks = []
    for clip in clips:
        seen = sorted(observe(clip), key=lambda t: -len(t) * float(np.median(t.boxes[:, 3])))
        if not seen or (len(seen) > 1 and len(seen[1]) > 0.5 * len(seen[0])):
            return None
        tracks.append(seen[0])
    return Subject(name, clips, (tracks[0], tracks[1]))


def treated(clip: Path, target: Path, book: Book | None = None, **options: Any) -> bool:
    """Whether deid made ``target``; a run that fails leaves nothing to attack."""
    config = RunConfig(threads=1, overwrite=True, **options)
    try:
        run(clip, target, config, QuietProgress(), book)
    except DeidError as problem:
        print(f"{clip.name}: {problem}")
        return False
    return True


def levelled(rgb: np.ndarray, points: np.ndarray, inside: bool) -> np.ndarray:
    """The picture with everything inside the mesh, or else everything outside, in its mean colour."""
    mask = np.zeros(rgb.shape[:2], np.uint8)
    imaging.fill_convex_poly(mask, np.rint(points[OVAL, :2]).astype(np.int32), 1)
    part = (mask > 0) == inside
    out = rgb.copy()
    if part.any():
        out[part] = rgb[part].mean(axis=0).round().astype(np.uint8)
    return out


class Templates:
    """Mean codes of a person's face in a clip, at places that the untouched clip tells. The attacker aligns on the
    landmarks of what they see, or, where no face is to be seen, on the untouched clip's: obscuring is attacked by one
    who knows where every eye was."""

    def __init__(self, recognisers: Sequence[Recogniser]) -> None:
        self._recognisers = recognisers
        self._landmarker = FaceLandmarker()

    def of(
        self, subject: Subject, take: int, output: Path, obscured: bool = False, looks_at: str = "everything"
    ) -> dict[str, np.ndarray]:
        """By recogniser, float64 (d,). ``obscured``: there is no face to be seen. ``looks_at``: ``"surroundings"`` or
        ``"face"`` when the attacker sees only that; the rest has one colour, its mean."""
        track = subject.tracks[take]
        rows = np.unique(np.linspace(0, len(track) - 1, min(len(track), _FACES)).round().astype(int))
        wanted = {int(track.frames[row]): int(row) for row in rows}
        chips: dict[str, list[np.ndarray]] = {r.name: [] for r in self._recognisers}
        for index, _, after in frame_pairs(subject.clips[take], output):
            if index not in wanted:
                continue
            rgb = np.ascontiguousarray(bgr(after)[..., ::-1])
            points = track.points[wanted[index]]
            if not obscured:
                seen = self._landmarker.run(rgb, roi_from_landmarks(points), rgb=True)
                points = points if seen is None or seen.presence < 0.5 else seen.points
            if looks_at != "everything":
                rgb = levelled(rgb, points, inside=looks_at == "surroundings")
            for recogniser in self._recognisers:
                chips[recogniser.name].append(recogniser.cut(rgb, points))
        return {
            r.name: r.codes(np.stack(chips[r.name])).astype(np.float64).mean(axis=0)
            for r in self._recognisers
            if chips[r.name]
        }

    def close(self) -> None:
        self._landmarker.close()
