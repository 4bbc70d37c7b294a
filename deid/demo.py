"""The demonstration: build a clip, de-identify it, and put before and after side by side.

The clip is made on the spot from photographs that ship inside dependencies, so that nothing of a person has to be
stored in the project and the whole road is walked on any machine, offline.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deid import imaging
from deid.config import DEFAULT_ENGINE, RunConfig
from deid.errors import OutputError, OutputExists
from deid.progress import Progress, QuietProgress
from deid.virtual_camera import COLLINS, HOPPER, Pose, ShotPlan, film, hang

if TYPE_CHECKING:
    from deid.report import RunReport

WIDTH, HEIGHT, FPS = 1280, 720, 25
TONE_HZ = 440

_NAMES = {
    "before": "before.mp4",
    "after": "after.mp4",
    "before-and-after picture": "before-after.png",
    "before-and-after video": "before-after.mp4",
    "talker before": "talker.mp4",
    "talker after": "talker-after.mp4",
    "talker's before-and-after picture": "talker-before-after.png",
    "talker's before-and-after video": "talker-before-after.mp4",
    "what is true in the talker's frames": "talker-truth.json",
}
TALKER_FRAMES = 125
_TALKER_SHOWN = (6, 24, 47, 70, 96, 118)  # frames of the talker's picture


@dataclass(frozen=True, slots=True)
class Demo:
    """What :func:`make_demo` made: ``folder`` holds the files, ``report`` and ``talker`` tell what the runs did with
    the filmed photographs and with the person that the engine rendered."""

    folder: Path
    report: RunReport
    talker: RunReport

    def files(self) -> dict[str, str]:
        """Path of each file by what it is."""
        return {what: str(self.folder / name) for what, name in _NAMES.items()}


def shots() -> list[ShotPlan]:
    """The demo's three shots, 200 frames in all: one person, a cut to a second, and both in one picture."""
    hopper, collins, both = hang([HOPPER]), hang([COLLINS]), hang([HOPPER, COLLINS])
    return [
        ShotPlan(hopper, (Pose(0, 310, 310, 690, -2), Pose(1.8, 240, 240, 440, 2), Pose(3.2, 270, 250, 520, 0)), 80),
        ShotPlan(collins, (Pose(0, 170, 170, 330, 3), Pose(1.3, 250, 140, 380, -3), Pose(2.4, 260, 190, 560, 0)), 60),
        ShotPlan(both, (Pose(0, 480, 280, 640, 1), Pose(2.4, 590, 240, 580, -1.5)), 60),
    ]


def make_demo(
    folder: Path, *, engine: str = DEFAULT_ENGINE, overwrite: bool = False, progress: Progress | None = None
) -> Demo:
    """Make the demo's files in ``folder`` (made if missing).

    Raises :class:`~deid.errors.OutputExists` when an earlier demo's files are there and ``overwrite`` is false, and
    whatever a run raises. Files appear under their names only when all of them are finished.
    """
    progress = progress or QuietProgress()
    plan = shots()
    with _workplace(folder, overwrite) as work:
        paths = {what: work / name for what, name in _NAMES.items()}
        progress.stage("making the demo clip", sum(shot.frames for shot in plan))
        faces = _film_clip(paths["before"], plan, progress)
        from deid.pipeline import run

        report = run(paths["before"], paths["after"], RunConfig(engine=engine), progress)
        progress.stage("comparing")
        sheet = contact_sheet(paths["before"], paths["after"], _sheet_rows(plan), faces)
        if not imaging.imwrite(str(paths["before-and-after picture"]), sheet):
            raise OutputError(f"the picture cannot be written into {folder}; choose another folder with -o.")
        side_by_side(paths["before"], paths["after"], paths["before-and-after video"])
        talker = _make_talker(paths, engine, folder, progress)
        for path in paths.values():
            os.replace(path, folder / path.name)
    return Demo(folder, report, talker)


def _make_talker(paths: dict[str, Path], engine: str, folder: Path, progress: Progress) -> RunReport:
    """The second clip: somebody who does not exist, rendered, talking and blinking; all that moves is known."""
    from deid import puppet
    from deid.models.morphable.geometry import load_geometry
    from deid.pipeline import run

    progress.stage("rendering a talker", TALKER_FRAMES)
    truths = []

    def pixels() -> Iterator[np.ndarray]:
        for picture, truth in puppet.film(TALKER_FRAMES, FPS, WIDTH, HEIGHT):
            truths.append(truth)
            progress.advance()
            yield picture

    before, after = paths["talker before"], paths["talker after"]
    encode_clip(before, pixels(), width=WIDTH, height=HEIGHT, fps=FPS, seconds=TALKER_FRAMES / FPS)
    puppet.write_truth(paths["what is true in the talker's frames"], load_geometry(), truths)
    report = run(before, after, RunConfig(engine=engine), progress)
    progress.stage("comparing")
    faces = [puppet.face_box(truth) for truth in truths]
    sheet = contact_sheet(before, after, [(frame, 0) for frame in _TALKER_SHOWN], faces)
    if not imaging.imwrite(str(paths["talker's before-and-after picture"]), sheet):
        raise OutputError(f"the picture cannot be written into {folder}; choose another folder with -o.")
    side_by_side(before, after, paths["talker's before-and-after video"])
    return report


@contextlib.contextmanager
def _workplace(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder inside ``folder``; on failure nothing stays, not even a ``folder`` made here."""
    there = [name for name in _NAMES.values() if os.path.lexists(folder / name)]
    if there and not overwrite:
        raise OutputExists(f"{folder / there[0]} exists; choose another folder with -o, or add --overwrite.")
    fresh = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = tempfile.mkdtemp(prefix=".demo-", dir=folder)
    except OSError as error:
        raise OutputError(f"cannot write into {folder} ({error.strerror}); choose another folder with -o.") from error
    try:
        yield Path(work)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        if fresh:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    shutil.rmtree(work, ignore_errors=True)


def _film_clip(path: Path, plan: Sequence[ShotPlan], progress: Progress) -> list[np.ndarray]:
    """Encode the clip; returns each frame's face boxes, float64 (n, 4)."""
    faces = []

    def pixels() -> Iterator[np.ndarray]:
        for picture in film(plan, width=WIDTH, height=HEIGHT, fps=FPS):
            faces.append(picture.faces)
            progress.advance()
            yield picture.pixels

    frames = sum(shot.frames for shot in plan)
    encode_clip(path, pixels(), width=WIDTH, height=HEIGHT, fps=FPS, seconds=frames / FPS)
    return faces


def _sheet_rows(plan: Sequence[ShotPlan]) -> list[tuple[int, int]]:
    """(frame, face) of the contact sheet's rows: a moment in, both sides of the cuts, and everyone at the end."""
    ends = np.cumsum([shot.frames for shot in plan])
    last = int(ends[-1] - plan[-1].frames // 4)
    cuts = [(int(end) + side, 0) for end in ends[:-1] for side in (-1, 0)]
    return [(plan[0].frames // 4, 0), *cuts, *((last, face) for face in range(len(plan[-1].scene.faces)))]


def contact_sheet(
    before: Path, after: Path, rows: Sequence[tuple[int, int]], faces: Sequence[np.ndarray], cell: int = 270
) -> np.ndarray:
    """One row a (frame, face): the frame before and after, then the face enlarged before and after.

    ``faces``: each frame's boxes, float64 (n, 4), ``x0 y0 x1 y1``. Returns H x W x 3 uint8, BGR.
    """
    numbers = [frame for frame, _ in rows]
    read = [_frames_of(path, numbers) for path in (before, after)]
    lines = []
    for frame, face in rows:
        pair = [pictures[frame] for pictures in read]
        height, width = pair[0].shape[:2]
        size = (round(cell * width / height), cell)
        wide = [imaging.resize(picture, size, interpolation=imaging.INTER_AREA) for picture in pair]
        lines.append(np.hstack(wide + [enlarge(picture, faces[frame][face], cell) for picture in pair]))
    return np.vstack(lines)


def enlarge(picture: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """The square around ``box`` (``x0 y0 x1 y1``) with some air, resampled to ``size`` x ``size``."""
    side = 2.0 * max(box[2] - box[0], box[3] - box[1])
    scale = size / side
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    matrix = np.array([[scale, 0, (size - 1) / 2 - scale * x], [0, scale, (size - 1) / 2 - scale * y]])
    return imaging.warp_affine(
        picture, matrix, (size, size), flags=imaging.INTER_CUBIC, borderMode=imaging.BORDER_REPLICATE
    )


def _frames_of(path: Path, numbers: Sequence[int]) -> dict[int, np.ndarray]:
    """The chosen frames, H x W x 3 uint8, BGR."""
    from deid.media import Reader
    from deid.media.convert import bgr

    with Reader(path) as reader:
        return {frame.index: bgr(frame) for frame in reader if frame.index in set(numbers)}


def encode_clip(
    path: Path, pictures: Iterable[np.ndarray], *, width: int, height: int, fps: int, seconds: float, crf: int = 18
) -> None:
    """Encode ``height`` x ``width`` x 3 uint8 BGR pictures as H.264, tagged BT.709, with a tone of ``seconds``, or
    none if that is 0."""
    colour = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
    tone = f"sine=frequency={TONE_HZ}:sample_rate=48000:duration={seconds}"
    command = [
        *("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"),
        *(("-f", "lavfi", "-i", tone) if seconds else ()),
        *("-vf", f"scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,{colour}"),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf), "-c:a", "aac", "-b:a", "96k"),
        *("-movflags", "+faststart", str(path)),
    ]
    _ffmpeg(command, pictures)


def side_by_side(left: Path, right: Path, path: Path) -> None:
    """One video of both, half size each, with the sound of ``right``."""
    filters = ";".join(f"[{n}:v]scale=iw*3/4:-2[{name}]" for n, name in enumerate("lr")) + ";[l][r]hstack[v]"
    encoding = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-c:a", "copy", "-movflags", "+faststart"]
    inputs = ["-i", str(left), "-i", str(right)]
    _ffmpeg([*inputs, "-filter_complex", filters, "-map", "[v]", "-map", "1:a?", *encoding, str(path)])


def _ffmpeg(arguments: Sequence[str], pictures: Iterable[np.ndarray] = ()) -> None:
    """Run ffmpeg, fed with raw pictures. In a session of its own, so that Ctrl-C reaches us alone and we end it."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *arguments]
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, start_new_session=True) as process:
            assert process.stdin is not None
            try:
                with contextlib.suppress(BrokenPipeError):
                    for picture in pictures:
                        process.stdin.write(np.ascontiguousarray(picture).data)
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                code = process.wait()
            except BaseException:
                process.kill()
                raise
        log.seek(0)
        reason = " ".join(log.read().decode("utf-8", "replace").split())
    if code != 0 or not Path(arguments[-1]).is_file():
        raise OutputError(f"ffmpeg could not write {Path(arguments[-1]).name} ({reason or f'exit code {code}'}).")
