"""Source, output and their difference, enlarged, face by face: the picture to look at.

Each row is one face in one frame: source crop, output crop, absolute difference twice as strong.

    python benchmarks/contact_sheet.py clip.mp4 out.mp4 -o sheet.png                 evenly spaced, every track
    python benchmarks/contact_sheet.py clip.mp4 out.mp4 -o sheet.png --track 0 --rows 8
    python benchmarks/contact_sheet.py clip.mp4 out.mp4 -o sheet.png --frames 40-52  consecutive, for flicker
    python benchmarks/contact_sheet.py clip.mp4 out.mp4 -o sheet.png --worst result.json --measure identity

``--worst`` takes the JSON of ``replacement.py`` and shows the frames that are worst in one of its measures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _portraits import OVAL
from _replacement_faces import FaceTrack, by_frame, frame_pairs, observe

from deid import imaging
from deid.detection.landmarks import FaceLandmarker, Roi
from deid.media.convert import bgr

CACHE = Path.home() / ".cache" / "deid-bench" / "faces"
_GAIN = 2
_LINE = 20
# Closed and open lines of MediaPipe's mesh: lids, irises, outer and inner lips, brows, outline.
_LINES = [
    ([33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246], True),
    ([263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466], True),
    ([469, 470, 471, 472], True),
    ([474, 475, 476, 477], True),
    ([61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185], True),
    ([78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191], True),
    ([70, 63, 105, 66, 107], False),
    ([336, 296, 334, 293, 300], False),
    (OVAL, True),
]


def parse_frames(text: str) -> list[int]:
    """``"3,10-12"`` as ``[3, 10, 11, 12]``."""
    out: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        out += range(int(first), int(last or first) + 1)
    return out


def spread(track: FaceTrack, count: int) -> list[int]:
    """``count`` rows of the track, evenly spaced."""
    return sorted({int(row) for row in np.linspace(0, len(track) - 1, count).round()})


def worst(result: dict, measure: str, tracks: Sequence[FaceTrack], count: int) -> list[tuple[FaceTrack, int]]:
    """The faces with the largest values of one per-frame measure, one in five frames at most."""
    found = []
    for entry in result["frames"]:
        value = entry.get(measure)
        if value is not None and np.isfinite(value):
            found.append((float(value), int(entry["track"]), int(entry["frame"])))
    chosen: list[tuple[FaceTrack, int]] = []
    taken: set[tuple[int, int]] = set()
    for _, number, frame in sorted(found, reverse=True):
        if len(chosen) < count and (number, frame // 5) not in taken:
            taken.add((number, frame // 5))
            track = tracks[number]
            chosen.append((track, int(np.searchsorted(track.frames, frame))))
    return chosen


def crop(picture: np.ndarray, box: np.ndarray, side: int, margin: float) -> np.ndarray:
    """The square around a face box ``cx cy w h roll``, ``margin`` heights wide, upright, as (side, side, 3)."""
    size = margin * float(box[3])
    scale = size / side
    matrix = np.array([[scale, 0, box[0] - size / 2 + scale / 2], [0, scale, box[1] - size / 2 + scale / 2]])
    how = imaging.INTER_CUBIC if scale < 1 else imaging.INTER_AREA
    if scale > 1.5:  # sampling one pixel in several would alias
        reduced = max(1, round(scale))
        height, width = (max(1, n // reduced) for n in picture.shape[:2])
        picture = imaging.resize(
            picture[: height * reduced, : width * reduced], (width, height), interpolation=imaging.INTER_AREA
        )
        matrix[:, 2] -= (reduced - 1) / 2
        matrix /= reduced
        how = imaging.INTER_LINEAR
    return imaging.warp_affine(
        picture, matrix, (side, side), flags=how | imaging.WARP_INVERSE_MAP, borderMode=imaging.BORDER_REPLICATE
    )


def drawn(cell: np.ndarray, points: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """The crop around ``box`` with eyes, irises, lips and outline of a mesh drawn over it."""
    out, size = cell.copy(), margin * float(box[3])
    at = (points[:, :2] - (box[:2] - size / 2)) * (len(cell) / size) - 0.5
    for line, closed in _LINES:
        imaging.polylines(out, [at[line].round().astype(np.int32)], closed, (80, 255, 80), 1, imaging.LINE_AA)
    return out


def row_of(
    source: np.ndarray,
    output: np.ndarray,
    box: np.ndarray,
    side: int,
    margin: float,
    text: str,
    meshes: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """One row of the sheet: (side + line, 3 * side, 3). ``meshes``: drawn over the source and over the output."""
    before, after = crop(source, box, side, margin), crop(output, box, side, margin)
    difference = np.abs(before.astype(np.int16) - after).astype(np.float32) * _GAIN
    if meshes is not None:
        before, after = (drawn(c, m, box, margin) for c, m in zip((before, after), meshes, strict=True))
    cells = np.hstack([before, after, np.clip(difference, 0, 255).astype(np.uint8)])
    line = np.full((_LINE, cells.shape[1], 3), 30, np.uint8)
    imaging.put_text(line, text, (6, 15), 0, 0.45, (235, 235, 235), 1, imaging.LINE_AA)
    return np.vstack([line, cells])


def sheet(
    source: Path,
    output: Path,
    tracks: Sequence[FaceTrack],
    wanted: Sequence[tuple[FaceTrack, int]],
    side: int,
    margin: float,
    mesh: bool = False,
) -> np.ndarray:
    """The picture for the wanted (track, row) pairs, by track and frame; uint8 BGR."""
    places = by_frame(list(tracks))
    chosen = {(track.id, int(track.frames[row])) for track, row in wanted}
    last = max((frame for _, frame in chosen), default=-1)
    landmarker = FaceLandmarker() if mesh else None
    rows: list[tuple[int, int, np.ndarray]] = []
    for index, before, after in frame_pairs(source, output):
        if index > last:
            break
        here = [(track, row) for track, row in places.get(index, []) if (track.id, index) in chosen]
        if here:
            a, b = bgr(before), bgr(after)
            for track, row in here:
                yaw, pitch, roll = (round(float(v)) for v in track.poses[row])
                text = (
                    f"frame {index}  track {track.id}  {track.boxes[row][3]:.0f} px  yaw {yaw} pitch {pitch} "
                    f"roll {roll}    {source.name} | {output.name} | difference x {_GAIN}"
                )
                meshes = None
                if landmarker is not None:
                    found = landmarker.run(b, Roi(*track.rois[row]))
                    meshes = track.points[row], track.points[row] if found is None else found.points
                rows.append((track.id, index, row_of(a, b, track.boxes[row], side, margin, text, meshes)))
    if not rows:
        raise SystemExit("no face at the chosen frames")
    return np.vstack([row for _, _, row in sorted(rows, key=lambda item: item[:2])])


def choose(options: argparse.Namespace, tracks: list[FaceTrack]) -> list[tuple[FaceTrack, int]]:
    """The faces that the command line asks for; largest and longest tracks first where rows are short."""
    if options.track is not None:
        tracks = [track for track in tracks if track.id in options.track]
    if options.worst is not None:
        results = json.loads(options.worst.read_text())
        name = options.source.name
        result = results if isinstance(results, dict) else next((r for r in results if r["source"] == name), None)
        if result is None:
            raise SystemExit(f"{options.worst} does not judge {name}")
        return worst(result, options.measure, tracks, options.rows)
    if options.frames:
        numbers = set(options.frames)
        return [(t, row) for t in tracks for row, index in enumerate(t.frames) if int(index) in numbers]
    ranked = sorted(tracks, key=lambda t: -len(t) * float(np.median(t.boxes[:, 3])))[: options.rows]
    shares = [options.rows // len(ranked) + (k < options.rows % len(ranked)) for k in range(len(ranked))]
    return [(t, row) for t, share in zip(ranked, shares, strict=True) for row in spread(t, share)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("-o", "--sheet", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--rows", type=int, default=6, help="faces to show (default: %(default)s)")
    parser.add_argument("--track", type=int, action="append", help="only this track; repeat for several")
    parser.add_argument("--frames", type=parse_frames, help="these frames: 3,10-12")
    parser.add_argument("--worst", type=Path, metavar="JSON", help="the frames that are worst in a result")
    parser.add_argument(
        "--measure", default="identity", help="of the result's per-frame measures (default: %(default)s)"
    )
    parser.add_argument("--side", type=int, default=380, help="pixels of a crop (default: %(default)s)")
    parser.add_argument("--margin", type=float, default=1.6, help="side in face heights (default: %(default)s)")
    parser.add_argument(
        "--mesh", action="store_true", help="draw eyes, irises, lips and outline as MediaPipe sees them"
    )
    parser.add_argument("--columns", type=int, default=1, help="rows side by side (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where faces found are kept (default: %(default)s)")
    options = parser.parse_args()
    tracks = observe(options.source, cache=options.cache)
    if not tracks:
        raise SystemExit(f"no face in {options.source}")
    picture = sheet(
        options.source, options.output, tracks, choose(options, tracks), options.side, options.margin, options.mesh
    )
    imaging.imwrite(str(options.sheet), folded(picture, options.side + _LINE, options.columns))
    spans = ", ".join(f"{t.id}: {t.frames[0]}-{t.frames[-1]} ({np.median(t.boxes[:, 3]):.0f} px)" for t in tracks)
    print(f"wrote {options.sheet}; tracks {spans}")


def folded(picture: np.ndarray, height: int, columns: int) -> np.ndarray:
    """The rows of a sheet, each ``height`` tall, laid out in ``columns``."""
    rows = picture.reshape(-1, height, *picture.shape[1:])
    short = -len(rows) % columns
    rows = np.concatenate([rows, np.zeros((short, *rows.shape[1:]), np.uint8)])
    return np.vstack([np.hstack(list(rows[k : k + columns])) for k in range(0, len(rows), columns)])


if __name__ == "__main__":
    main()
