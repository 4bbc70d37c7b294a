"""Does inversion capture identity? Faces inverted to their own identity code and rendered, beside their surrogates.

    python benchmarks/self_reconstruction.py [--people 24] [--sheet own.png] [--json own.json] [--recogniser FILE]

Each face of ``--least`` pixels and more in photographs that the model was not made from (by default those in
``../shared/photos`` and the first moments of ``../shared/clips``; or any files and folders named) becomes a
fixed-length code (:mod:`deid.models.morphable.own_code`), is rendered in its own place, and shown to recognisers,
aligned as the original was. Four shares of matches at one false match in a thousand, with exact intervals (Clopper and
Pearson):

* own code: at least 70 % is wanted. It shows that inversion captures identity, and that the swap removes it.
* own code, another picture: the code found in one picture of a clip, in another picture of the same person.
* somebody else's own code in the same picture: what hair, light and surroundings give away by themselves. If this
  were high, the first number would say nothing about the code.
* surrogate: what a run would put there.

dlib's network guides the inversion and judges it; ``--recogniser`` adds an uninvolved one at its own threshold.
``--donors N`` adds as many portraits that the model was made from, as a set of their own.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _attack_numbers import exact
from _likenesses import Face, faces_of, faces_of_picture, unstretched
from _portraits import FOLDER
from _recall_poses import clips_in

from deid import imaging
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.own_code import length, own_code
from deid.models.morphable.painter import Sitter
from deid.models.morphable.surrogate import Likeness, choose, in_place
from deid.recognition.custom import Dlib, Recogniser, load
from deid.recognition.lite import LiteRecogniser

KINDS = ("own code", "own code, another picture", "somebody else's own code", "surrogate")
_TEXTURE = 512
_TURNED = 0.35  # of a second picture, difference of rotation matrices (Frobenius norm), from which on it is another


@dataclass(slots=True)
class Distances:
    """From the original, by recogniser and kind, one a face; ``pictures``: of the sheet."""

    by: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    pictures: list[np.ndarray] = field(default_factory=list)

    def add(self, recogniser: str, kind: str, distance: float) -> None:
        self.by.setdefault(recogniser, {}).setdefault(kind, []).append(distance)


class Studio:
    """Puts identities into pictures, at the quality of a run."""

    def __init__(self, judges: Sequence[Recogniser], seed: int) -> None:
        self.geometry, self.appearance = load_geometry(), load_appearance()
        self.guide, self.judges, self.seed = LiteRecogniser(), judges, seed

    def rendered(self, code: IdentityCode, likeness: Likeness) -> np.ndarray:
        return in_place(self.geometry, Sitter.make(self.geometry, self.appearance, code, _TEXTURE), likeness)

    def apart(self, judge: Recogniser, picture: np.ndarray, likeness: Likeness) -> float:
        """Of a rendering from the original; both are cut at the original's landmarks."""
        chips = np.stack([judge.cut(chip, likeness.points) for chip in (likeness.chip, picture)])
        a, b = judge.codes(chips)
        return float(np.linalg.norm(a - b))

    def measure(self, faces: Iterator[Face], people: int) -> Distances:
        found, before = Distances(), None
        for number, face in enumerate(faces):
            own = own_code(self.geometry, self.appearance, face.shape, face.likenesses[0], self.guide.embed).code
            shown = [face.likenesses[0].chip]
            for kind, code, likeness in self._renderings(face, own, before):
                picture = self.rendered(code, likeness)
                for judge in self.judges:
                    found.add(judge.name, kind, self.apart(judge, picture, likeness))
                if likeness is face.likenesses[0]:
                    shown.append(picture)
            shown += [np.zeros_like(shown[0])] * (4 - len(shown))
            found.pictures.append(np.hstack(shown))
            before = own
            last = found.by[self.judges[0].name]
            print(f"{face.name}: {last['own code'][-1]:.3f}, surrogate {last['surrogate'][-1]:.3f}", file=sys.stderr,
                  flush=True)  # fmt: skip
            if number + 1 == people:
                break
        return found

    def _renderings(
        self, face: Face, own: IdentityCode, before: IdentityCode | None
    ) -> Iterator[tuple[str, IdentityCode, Likeness]]:
        first = face.likenesses[0]
        yield "own code", own, first
        chosen = choose(
            self.geometry, self.appearance, self.seed, face.person, face.likenesses[:1], (), self.guide.embed
        )
        yield "surrogate", chosen.code, first
        if before is not None:
            yield "somebody else's own code", before, first
        for other in face.likenesses[1:]:
            turn = other.attributes.camera.rotation - first.attributes.camera.rotation
            if np.linalg.norm(turn) > _TURNED or other is face.likenesses[-1]:
                yield "own code, another picture", own, other
                return


def held_out(photos: Path, clips: Path, least: float, seconds: float) -> Iterator[Face]:
    """Labelled photographs at the aspect they had, and clips, one file of each in turn, largest faces first."""
    groups = sorted((photos / "groups").glob("*.jpg")) if photos.is_dir() else []
    videos = clips_in(clips) if clips.is_dir() else []
    for k in range(max(len(groups), len(videos))):
        for path in (*groups[k : k + 1], *videos[k : k + 1]):
            yield from sorted(faces_of(path, least, seconds if path in videos else None), key=lambda f: -f.height)
    table = photos / "crowds" / "boxes.csv"
    if not table.is_file():
        return
    sizes, tallest = {}, {}
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            sizes[row["file"]] = (float(row["orig_w"]), float(row["orig_h"]))
            height = float(row["y2"]) - float(row["y1"])
            tallest[row["file"]] = max(tallest.get(row["file"], 0.0), height)
    wanted = {name: size for name, size in sizes.items() if tallest[name] >= 0.9 * least}
    for name, picture in unstretched(photos / "crowds", wanted):
        yield from faces_of_picture(name, picture, least)


def named(places: Sequence[Path], least: float, seconds: float) -> Iterator[Face]:
    for place in places:
        for path in sorted(p for p in place.iterdir() if p.is_file()) if place.is_dir() else [place]:
            yield from faces_of(path, least, seconds)


def share(distances: Sequence[float], threshold: float) -> dict[str, float]:
    """How many match, with the exact 95 % interval."""
    matching = float((np.array(distances) < threshold).mean())
    low, high = exact(matching, len(distances))
    middle = float(np.median(distances))
    return {"faces": len(distances), "match": matching, "low": low, "high": high, "median distance": middle}


def summary(found: Distances, judges: Sequence[Recogniser]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        judge.name: {k: share(found.by[judge.name][k], judge.threshold) for k in KINDS if k in found.by[judge.name]}
        for judge in judges
        if judge.name in found.by
    }


def table(name: str, of: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [f"| {name} | faces | match the original, % (95 %) | median distance |", "|---|---|---|---|"]
    for judge, kinds in of.items():
        for kind, row in kinds.items():
            text = f"{100 * row['match']:.0f} ({100 * row['low']:.0f}-{100 * row['high']:.0f})"
            lines.append(f"| {kind}, by {judge} | {row['faces']} | {text} | {row['median distance']:.2f} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", type=Path, help="held-out photographs, clips, folders of them")
    shared = FOLDER.parents[1]
    parser.add_argument("--photos", type=Path, default=shared / "photos")
    parser.add_argument("--clips", type=Path, default=shared / "clips")
    parser.add_argument("--people", type=int, default=24, help="faces at most (default: %(default)s)")
    parser.add_argument("--donors", type=int, default=0, metavar="N", help="portraits of the model, too")
    parser.add_argument("--portraits", type=Path, default=FOLDER)
    parser.add_argument("--least", type=float, default=64, help="pixels of a face's height (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each clip (default: %(default)s)")
    parser.add_argument("--recogniser", type=Path, action="append", default=[], help="an uninvolved one; repeat")
    parser.add_argument("--seed", type=int, default=1, help="of the surrogates")
    parser.add_argument("--sheet", type=Path, help="PNG: original | own code | surrogate | somebody else's own code")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    judges = [Dlib(), *(load(path) for path in options.recogniser)]
    studio = Studio(judges, options.seed)
    size = length(studio.geometry, studio.appearance)
    if options.sources:
        faces = named(options.sources, options.least, options.seconds)
    else:
        faces = held_out(options.photos, options.clips, options.least, options.seconds)
    sets = {"held out": studio.measure(faces, options.people)}
    if options.donors:
        paths = sorted(options.portraits.glob("*.jpg"))
        order = np.random.default_rng(options.seed).permutation(len(paths))
        donors = (face for i in order for face in faces_of(paths[i], options.least)[:1])
        sets["donors"] = studio.measure(donors, options.donors)
    report = {name: summary(found, judges) for name, found in sets.items() if found.pictures}
    if not report:
        raise SystemExit("no face: name photographs or clips with larger ones, or lower --least")
    print(f"Identity codes of {size} numbers\n")
    for name, of in report.items():
        print(table(name, of) + "\n")
    machine = f"seed {options.seed}; {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(machine)
    if options.sheet:
        rows = [row for found in sets.values() for row in found.pictures]
        rows += [np.zeros_like(rows[0])] * (len(rows) % 2)
        picture = np.vstack([np.hstack(rows[k : k + 2]) for k in range(0, len(rows), 2)])
        imaging.imwrite(str(options.sheet), np.ascontiguousarray(picture[..., ::-1]))
    if options.json:
        options.json.write_text(json.dumps({"numbers": size, "machine": machine, "sets": report}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
