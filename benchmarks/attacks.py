"""Attacks on what deid releases: who is it, and are these two clips of one person? Every number beside its chance.

Each of ``--people`` portraits is filmed twice (``_attack_clips.filmed``): two recordings, A and B, in other light, at
another distance, but of one photograph, so that hair, expression and background are the same in both. What these give
away is in every number here: an upper bound for two real recordings. With ``--clips`` the recordings are the beginning
and the end of every clip of a folder in which one face is shown. deid processes the recordings with each option; an
attacker compares mean recognition codes of the faces of a clip (six frames; of a longer clip eight).

* control: nothing was done. Shows that the attacker would succeed.
* enrolment: the attacker has named photographs (recording A, untouched, and ``--strangers`` further portraits) and
  asks whose face is in a released B. *Trained*: the attacker ran deid on three quarters of the people themselves,
  learned to foretell the original's code from the output's (ridge regression), and attacks the others.
* the very recording: the attacker even has B as it was before.
* linkage: the attacker has two releases only: is one person in both? With ``--scope video`` and with different keys
  the face should not tell; with one key, or in one batch, the same face is the purpose. *What is around the face
  alone*: the untouched recordings with the face cut out: so much hair and background tell, whatever the face. *Faces
  alone*: everything outside the face in one colour: so much the face tells.
* parrot: the attacker has two de-identified clips of A under other seeds, with the name, and asks who is in a released
  B (E. Newton, L. Sweeney, B. Malin, *Preserving Privacy by De-identifying Face Images*, 2005). *Trained*: they have
  learned from other people what deid changes from clip to clip, and make little of that.
* blur, pixelate, solid: enrolment and parrot on what obscures; the attacker knows where every eye was.
  ``--obscuring N`` adds the attacks of ``attack_obscuring.py`` on single pictures, two face heights, N people.

Rank-1: how often the right one comes first; chance is one in the gallery. TAR at FAR: how often right pairs are nearer
than a limit that so few pairs of strangers reach, chosen on these very scores; chance is FAR. AUC: 50 is chance.
Intervals: bootstrap over people, 95 %. dlib's network took part in choosing surrogates: an uninvolved one
(``--recogniser FILE``, repeat it) tells more.

    python benchmarks/attacks.py --people 36 --json attacks.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from _attack_clips import Gathered, Subject, Templates, from_clips, from_portraits, treated
from _attack_numbers import FARS, Attack, between, led_back, measured, whitened
from _portraits import FOLDER, portraits

from deid.keys import new_key
from deid.personas import Memory
from deid.recognition.custom import Dlib, Recogniser, load

OBSCURING = ("blur", "pixelate", "solid")
AROUND = "untouched, face cut out"
ALONE = ", face alone"
LINKED = ("seed 1", "seed 3", "key")  # treatments of which the face by itself is looked at, too
VIDEO_SUFFIXES = {".mp4", ".mkv", ".avi", ".mov", ".webm", ".gif", ".m4v"}
_OBSCURED_HEIGHTS = (48, 128)
_LEAST_PEOPLE = 4


def treatments(work: Path, seed: int, left_out: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """What is done to each recording, by name: options of a run. Seeds stand for those that a run draws anew."""
    keys = [work / "one.key", work / "other.key"]
    for key in keys:
        new_key(key)
    found: dict[str, dict[str, Any]] = {f"seed {k}": {"seed": 1000 * seed + k} for k in (1, 2, 3)}
    found |= {"batch": {"seed": 1000 * seed + 4}, "key": {"key": keys[0]}, "other key": {"key": keys[1]}}
    found |= {mode: {"engine": mode, "seed": 1000 * seed + 5} for mode in OBSCURING}
    return {name: options for name, options in found.items() if name not in left_out}


NEEDED = {  # which recordings of each treatment an attack looks at
    "seed 1": (0,), "seed 2": (0,), "seed 3": (1,), "batch": (0, 1), "key": (0, 1), "other key": (1,),
    **dict.fromkeys(OBSCURING, (0, 1)),
}  # fmt: skip


def seen_of(
    subject: Subject, templates: Templates, options: dict[str, dict[str, Any]], book: Memory, work: Path
) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """One person's templates, by treatment and recording, then by recogniser."""
    found = {}
    for take, clip in enumerate(subject.clips):
        found["untouched", take] = templates.of(subject, take, clip)
        found[AROUND, take] = templates.of(subject, take, clip, looks_at="surroundings")
        found[f"untouched{ALONE}", take] = templates.of(subject, take, clip, looks_at="face")
    for name in options:
        for take in NEEDED[name]:
            output = work / "output.mp4"
            made = treated(subject.clips[take], output, book if name == "batch" else None, **options[name])
            found[name, take] = templates.of(subject, take, output, name in OBSCURING) if made else {}
            if name in LINKED:
                found[f"{name}{ALONE}", take] = templates.of(subject, take, output, looks_at="face") if made else {}
    return found


def gathered(
    subjects: list[Subject], recognisers: list[Recogniser], work: Path, seed: int, left_out: Collection[str] = ()
) -> Gathered:
    """Templates of every recording, untouched and treated; of fewer people after Ctrl-C."""
    templates = Templates(recognisers)
    options, book = treatments(work, seed, left_out), Memory()
    seen: list[dict[tuple[str, int], dict[str, np.ndarray]]] = []
    for number, subject in enumerate(subjects):
        try:
            seen.append(seen_of(subject, templates, options, book, work))
        except KeyboardInterrupt:
            break
        print(f"{number + 1} of {len(subjects)}: {subject.name}", file=sys.stderr, flush=True)
    templates.close()
    if len(seen) < _LEAST_PEOPLE:
        raise SystemExit(f"{len(seen)} people with two recordings; {_LEAST_PEOPLE} are the least")
    out = Gathered([s.name for s in subjects[: len(seen)]])
    for recogniser in (r.name for r in recognisers):
        width = len(seen[0]["untouched", 0][recogniser])
        missing = np.full(width, np.nan)
        out.templates[recogniser] = {
            clip: np.array([s[clip].get(recogniser, missing) for s in seen]) for clip in seen[0]
        }
    return out


Clip = tuple[str, int]  # what was done, and to which recording


def attacks(of: dict[Clip, np.ndarray], strangers: np.ndarray, seed: int) -> dict[str, Attack]:
    """``of``: templates by treatment and recording, NaN for who has none; ``strangers``: (m, d), further untouched
    portraits. Who lacks a clip that an attack needs is left out of it; what nobody has is not attacked."""
    plain: Clip = ("untouched", 0)
    again: Clip = ("untouched", 1)
    probe: Clip = ("seed 3", 1)
    known: list[Clip] = [("seed 1", 0), ("seed 2", 0)]
    found: dict[str, Attack] = {}

    def against(name: str, clips: list[Clip], distances: Callable[..., np.ndarray]) -> None:
        if all(clip in of for clip in clips):
            rows = [of[clip] for clip in clips]
            whole = ~np.any([np.isnan(r).any(axis=1) for r in rows], axis=0)
            if whole.sum() >= _LEAST_PEOPLE:
                found[name] = measured(distances(*(r[whole] for r in rows)), seed)

    def named(probes: np.ndarray, gallery: np.ndarray) -> np.ndarray:
        return between(probes, np.concatenate([gallery, strangers]))

    against("control: untouched B, photographs", [again, plain], named)
    against("enrolment, replaced", [probe, plain], named)
    against("enrolment, replaced, trained", [probe, plain, *known], lambda p, g, *k: led_back(p, g, np.stack(k)))
    against("the very recording, replaced", [probe, again], between)
    against("linkage, what is around the face alone", [(AROUND, 1), (AROUND, 0)], between)
    against("linkage, untouched faces alone", [(f"untouched{ALONE}", 1), (f"untouched{ALONE}", 0)], between)
    against("linkage, scope video, faces alone", [(f"seed 3{ALONE}", 1), (f"seed 1{ALONE}", 0)], between)
    against("linkage, one key, faces alone (by design)", [(f"key{ALONE}", 1), (f"key{ALONE}", 0)], between)
    against("linkage, scope video", [probe, known[0]], between)
    against("linkage, two keys", [("other key", 1), ("key", 0)], between)
    against("linkage, one batch (by design)", [("batch", 1), ("batch", 0)], between)
    against("linkage, one key (by design)", [("key", 1), ("key", 0)], between)
    against("parrot, replaced", [probe, *known], lambda p, *k: between(p, np.mean(k, axis=0)))
    against(
        "parrot, replaced, trained",
        [probe, *known],
        lambda p, *k: whitened((p, np.mean(k, axis=0)), np.stack([*k, p])),
    )
    for mode in OBSCURING:
        against(f"enrolment, {mode}", [(mode, 1), plain], named)
        against(f"parrot, {mode}", [(mode, 1), (mode, 0)], between)
    return found


def more_strangers(folder: Path, count: int, taken: set[str], recogniser: Recogniser) -> np.ndarray:
    """(m, d): further portraits, none of ``taken``."""
    faces = [p for p in portraits(folder, count + len(taken)) if Path(p.name).stem not in taken][:count]
    if not faces:
        return np.empty((0, 128))
    chips = np.stack([recogniser.cut(face.picture, face.mesh) for face in faces])
    return recogniser.codes(chips).astype(np.float64)


def single_pictures(folder: Path, count: int) -> list[dict[str, Any]]:
    """The attacks of ``attack_obscuring.py`` at two heights."""
    from attack_obscuring import DlibRecogniser, attack, hidden, stack_attack

    recogniser = DlibRecogniser(threads=1)
    faces = list(portraits(folder, count))
    originals = recogniser.embed(np.stack([recogniser.chip(face.picture, face.mesh) for face in faces]))
    rows = []
    for mode in OBSCURING:
        for height in _OBSCURED_HEIGHTS:
            found = attack(faces, hidden(mode), height, recogniser, originals)
            if height == _OBSCURED_HEIGHTS[-1]:
                found |= stack_attack(faces, hidden(mode), height, recogniser, originals)
            for kind, (first, match) in found.items():
                rows.append({"mode": mode, "height": height, "attack": kind, "rank_1": first, "match": match})
    return rows


def table(found: dict[str, Attack]) -> str:
    """Markdown; shares in percent with their intervals, chance in brackets behind rank-1."""
    head = [
        "attack",
        "rank-1 (interval) [chance]",
        *(f"TAR at FAR {far:g} [{100 * far:g}]" for far in FARS),
        "AUC [50]",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, attack in found.items():
        first = f"{attack.rank_1.text()} [{100 * attack.chance['rank_1']:.1f}]"
        cells = [name, first, *(attack.tar[far].text() for far in FARS), attack.auc.text()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def single_table(rows: list[dict[str, Any]], count: int) -> str:
    lines = ["| mode | face height | attack | rank-1 | match at FAR 0.001 |", "|---|---|---|---|---|"]
    for row in rows:
        shares = f"{100 * row['rank_1']:.0f} | {100 * row['match']:.0f}"
        lines.append(f"| {row['mode']} | {row['height']} | {row['attack']} | {shares} |")
    return f"Single pictures, {count} people; chance {100 / count:.1f} and 0.1, in percent.\n\n" + "\n".join(lines)


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def subjects_of(options: argparse.Namespace, work: Path) -> list[Subject]:
    if options.clips is not None:
        paths = sorted(p for p in options.clips.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
        return list(from_clips(paths, work, options.seconds))
    paths = sorted(options.portraits.glob("*.jpg"))
    if not paths:
        raise SystemExit(f"no portraits in {options.portraits}: name their folder with --portraits")
    order = np.random.default_rng(options.seed).permutation(len(paths))
    return list(from_portraits([paths[i] for i in order], options.people, work, options.seed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=36, help="portraits to film (default: %(default)s)")
    parser.add_argument("--portraits", type=Path, default=FOLDER, help="folder of JPEG portraits, one person each")
    parser.add_argument("--clips", type=Path, help="a folder of clips of one person each, in place of portraits")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each end of a clip (default: %(default)s)")
    parser.add_argument("--strangers", type=int, default=200, help="further photographs (default: %(default)s)")
    parser.add_argument("--recogniser", type=Path, action="append", default=[], help="an uninvolved one; repeat")
    parser.add_argument("--recogniser-bgr", action="store_true", help="ONNX networks take BGR from 0 to 255")
    parser.add_argument(
        "--leave-out", action="append", default=[], choices=["batch", *OBSCURING], help="to save time; repeat"
    )
    parser.add_argument("--obscuring", type=int, default=0, metavar="N", help="attack single obscured pictures, too")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--markdown", type=Path, help="write the tables here, too")
    options = parser.parse_args()
    recognisers = [Dlib(), *(load(path, raw=options.recogniser_bgr) for path in options.recogniser)]
    with tempfile.TemporaryDirectory() as folder:
        subjects = subjects_of(options, Path(folder))
        everything = gathered(subjects, recognisers, Path(folder), options.seed, options.leave_out)
    report: dict[str, Any] = {"machine": machine(), "seed": options.seed, "attacks": {}}
    text = []
    taken = {s.name for s in subjects}
    for recogniser in recognisers:
        of = everything.templates[recogniser.name]
        strangers = more_strangers(options.portraits, options.strangers, taken, recogniser)
        found = attacks(of, strangers, options.seed)
        report["attacks"][recogniser.name] = {name: attack.as_json() for name, attack in found.items()}
        people = max(attack.people for attack in found.values())
        text += [f"## {recogniser.name}: {people} people, {len(strangers)} strangers; in percent, 95 % intervals", ""]
        text += [table(found), ""]
    if options.obscuring:
        rows = single_pictures(options.portraits, options.obscuring)
        report["single pictures"] = {"people": options.obscuring, "rows": rows}
        text += [single_table(rows, options.obscuring), ""]
    text.append(f"Seed {options.seed}; {machine()}.")
    print("\n".join(text))
    if options.markdown:
        options.markdown.write_text("\n".join(text) + "\n")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
