"""Contact sheets, before | after, of any photographs and clips, by what the faces show: one PNG a group, and an index.

    python benchmarks/sheets.py FOLDER_OR_FILE... -o sheets [--seeds 11,12,13] [--limit 40] [--seconds 3]

Every picture and clip is run through deid as a user would run it. Of every face of ``--least`` pixels and more a few
moments are shown: the middle one, the widest mouth, the most closed eyes, the farthest turn. A face is on every sheet
it belongs on: women and men, younger (under 35) and older (from 60), dark and light skin, glasses, beards, side light,
open mouths, closed eyes, turned (20 to 40 degrees) and turned far. These are the product's own guesses, for sorting
only. In a folder of folders, each folder has a sheet of its own, too. With several ``--seeds`` one more sheet shows
each face before and with every seed.

What to look for: ghosts, casts, seams, a doubled jaw, floating teeth, dead eyes; anything that a viewer would point at.
The sheets show real people beside their surrogates: they are for whoever may see the originals.
"""

from __future__ import annotations

import argparse
import html
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _recall_poses import clips_in
from _replacement_faces import FaceTrack, by_frame, frame_pairs, observe
from _sheet_groups import groups_of, moments, traits_of
from contact_sheet import crop

from deid import imaging
from deid.config import RunConfig
from deid.errors import DeidError
from deid.media.convert import bgr
from deid.models.morphable.geometry import load_geometry
from deid.pipeline import run
from deid.progress import QuietProgress
from deid.recognition.custom import Dlib

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
SEEDS = "one face, several seeds"
_LINE, _MARGIN = 20, 1.7


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One face at one moment. ``cells``: uint8 BGR squares, the source first, then one for each seed."""

    text: str
    groups: tuple[str, ...]
    cells: tuple[np.ndarray, ...]


def sources_of(places: Sequence[Path], limit: int | None) -> list[tuple[Path, str]]:
    """Pictures and clips, each with the name of its folder where that is inside a folder asked for; ``limit`` of each
    folder, spread evenly."""
    found: list[tuple[Path, str]] = []
    for place in places:
        if place.is_file():
            found.append((place, ""))
            continue
        for folder in [place, *sorted(p for p in place.iterdir() if p.is_dir())]:
            files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES) + clips_in(folder)
            if limit is not None and len(files) > limit:
                files = [files[i] for i in np.linspace(0, len(files) - 1, limit).astype(int)]
            found += [(path, "" if folder == place else folder.name) for path in files]
    return found


def made(source: Path, seeds: Sequence[int], seconds: float, work: Path) -> list[Path]:
    """What deid makes of it, one output a seed."""
    picture = source.suffix.lower() in PICTURES
    outputs = []
    for seed in seeds:
        output = work / f"{seed}{'.png' if picture else '.mkv'}"
        config = RunConfig(seed=seed, overwrite=True, end=None if picture else seconds, threads=1)
        run(source, output, config, QuietProgress())
        outputs.append(output)
    return outputs


class Sheets:
    """Collects rows, by group."""

    def __init__(self, side: int, least: float) -> None:
        self.groups: dict[str, list[Row]] = {}
        self._side, self._least = side, least
        self._geometry, self._recogniser = load_geometry(), Dlib()

    def add(self, source: Path, outputs: Sequence[Path], folder: str, most: int) -> int:
        """The faces of a file; how many rows there were."""
        picture = source.suffix.lower() in PICTURES
        tracks = [t for t in observe(source, least=1 if picture else 3) if np.median(t.boxes[:, 3]) >= self._least]
        tracks = sorted(tracks, key=lambda t: -len(t) * float(np.median(t.boxes[:, 3])))[:most]
        count = 0
        for row in self._rows(source, outputs, tracks):
            for group in (*row.groups, *([folder] if folder else []), *([SEEDS] if len(outputs) > 1 else [])):
                self.groups.setdefault(group, []).append(row)
            count += 1
        return count

    def _rows(self, source: Path, outputs: Sequence[Path], tracks: list[FaceTrack]) -> Iterator[Row]:
        wanted = {(track.id, int(track.frames[row])) for track in tracks for row in moments(track)}
        cells: dict[tuple[int, int], list[np.ndarray]] = {}
        about: dict[tuple[int, int], tuple[str, tuple[str, ...]]] = {}
        for output in outputs:
            for frame, before, after in pairs(source, output, {f for _, f in wanted}):
                for track, row in by_frame(tracks).get(frame, []):
                    key = (track.id, frame)
                    if key not in wanted:
                        continue
                    if key not in about:
                        about[key] = self._about(source, before, track, row)
                        cells[key] = [crop(before, track.boxes[row], self._side, _MARGIN)]
                    cells[key].append(crop(after, track.boxes[row], self._side, _MARGIN))
        for key in sorted(about):
            text, groups = about[key]
            yield Row(text, groups, tuple(cells[key]))

    def _about(self, source: Path, before: np.ndarray, track: FaceTrack, row: int) -> tuple[str, tuple[str, ...]]:
        rgb = np.ascontiguousarray(before[..., ::-1])
        code = self._recogniser.codes(self._recogniser.cut(rgb, track.points[row])[None])[0]
        traits = traits_of(rgb, track, row, self._geometry, code)
        text = f"{source.stem[:24]} {int(track.frames[row])}  {track.boxes[row][3]:.0f} px  yaw {traits.yaw:.0f}"
        return text, tuple(groups_of(traits))


def pairs(source: Path, output: Path, frames: set[int]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The wanted frames of both, BGR; a clip that was cut short is read as far as it goes."""
    last = max(frames, default=-1)
    if source.suffix.lower() in PICTURES:
        a, b = imaging.imread(str(source)), imaging.imread(str(output))
        if a is not None and b is not None:
            yield 0, a, b
        return
    try:
        for index, before, after in frame_pairs(source, output):
            if index in frames:
                yield index, bgr(before), bgr(after)
            if index >= last:
                return
    except ValueError:
        return  # the output ends sooner: --seconds


def drawn(rows: Sequence[Row], cells: int, columns: int) -> np.ndarray:
    """A sheet: ``columns`` rows beside each other, each with its first ``cells`` pictures; uint8 BGR."""
    strips = []
    for row in rows:
        shown = np.hstack(row.cells[:cells])
        line = np.full((_LINE, shown.shape[1], 3), 30, np.uint8)
        imaging.put_text(line, row.text, (5, 14), 0, 0.42, (235, 235, 235), 1, imaging.LINE_AA)
        strips.append(np.vstack([line, shown]))
    while len(strips) % columns:
        strips.append(np.zeros_like(strips[0]))
    return np.vstack([np.hstack(strips[k : k + columns]) for k in range(0, len(strips), columns)])


def spread(rows: Sequence[Row], most: int) -> list[Row]:
    """At most so many, evenly over those there are."""
    return [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int))]


def write(groups: dict[str, list[Row]], folder: Path, most: int, columns: int, heading: str) -> list[Path]:
    """The sheets and ``index.html``; their places."""
    folder.mkdir(parents=True, exist_ok=True)
    written, parts = [], []
    for name in sorted(groups):
        rows = spread(groups[name], most if name != SEEDS else max(1, most // 2))
        path = folder / f"{name.replace(' ', '_').replace(',', '')}.png"
        several = name == SEEDS
        imaging.imwrite(str(path), drawn(rows, len(rows[0].cells) if several else 2, 1 if several else columns))
        written.append(path)
        shown = html.escape(f"{name}: {len(rows)} of {len(groups[name])}")
        parts.append(f'<h2>{shown}</h2>\n<img src="{html.escape(path.name)}" alt="{shown}" style="max-width:100%">')
    page = f"<!doctype html>\n<meta charset=utf-8>\n<title>Before and after</title>\n<p>{html.escape(heading)}</p>\n"
    (folder / "index.html").write_text(page + "\n".join(parts) + "\n", "utf-8")
    return [*written, folder / "index.html"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="photographs, clips, folders of them")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the sheets")
    parser.add_argument("--seeds", default="11", help="for the runs, with commas (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="files of each folder at most, spread evenly")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each clip (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=16, help="on a sheet at most (default: %(default)s)")
    parser.add_argument("--people", type=int, default=4, help="of a picture or clip at most (default: %(default)s)")
    parser.add_argument("--least", type=float, default=64, help="pixels of a face's height (default: %(default)s)")
    parser.add_argument("--side", type=int, default=320, help="pixels of a cell (default: %(default)s)")
    parser.add_argument("--columns", type=int, default=2, help="pairs beside each other (default: %(default)s)")
    options = parser.parse_args()
    seeds = [int(word) for word in options.seeds.split(",")]
    sheets = Sheets(options.side, options.least)
    for source, folder in sources_of(options.sources, options.limit):
        with tempfile.TemporaryDirectory() as work:
            try:
                outputs = made(source, seeds, options.seconds, Path(work))
                count = sheets.add(source, outputs, folder, options.people)
            except DeidError as problem:
                print(f"{source.name}: {problem}", file=sys.stderr)
                continue
        print(f"{source.name}: {count} rows", file=sys.stderr, flush=True)
    if not sheets.groups:
        raise SystemExit("no face to show: name pictures or clips with larger ones, or lower --least")
    heading = f"Seeds {options.seeds}; {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    for path in write(sheets.groups, options.output, options.rows, options.columns, heading):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
