#!/usr/bin/env python3
"""Are surrogates fictional? Compares many with every portrait that the model was estimated from, and with each other.

    python tools/check_fiction.py ../shared/data/portraits

``--hosts`` portraits are taken for subjects; for each, ``--seeds`` surrogates are chosen as a run chooses them, by
other seeds, and set into the portrait. dlib's recogniser sees all of these pictures. 1,000 take about twenty minutes.

A match is a distance below 0.545, one in a thousand among all portraits. Asked is

* that surrogates match donors (the host of the picture apart) no more often than the portraits match each other;
* that different surrogates in hosts of one gender and age band match no more often than strangers of that gender and
  band do.

Rates have 95 % intervals, by drawing hosts (portraits for strangers) again with replacement. Told as well is which
share of draws is rejected before any is chosen, because it is foretold to come near a donor (``reject_draws.py``), and
how often two surrogates of one host match, which were chosen by two seeds and share hair and background. Every figure
is printed; the last line has the two rates that are asked about beside the strangers'. Exit status 0 when both hold, 1
when one does not. Portraits' templates are computed anew each time and kept nowhere.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT), str(_ROOT / "tools"), str(_ROOT / "benchmarks")]

from _portraits import portraits  # noqa: E402

from deid import pipeline  # noqa: E402
from deid.config import RunConfig  # noqa: E402
from deid.models.morphable.appearance import load_appearance  # noqa: E402
from deid.models.morphable.clear_draws import clear_share  # noqa: E402
from deid.models.morphable.engine import MorphableEngine  # noqa: E402
from deid.models.morphable.geometry import load_geometry  # noqa: E402
from deid.models.morphable.surrogate import Likeness, choose  # noqa: E402
from deid.people import Person  # noqa: E402
from deid.progress import QuietProgress  # noqa: E402
from deid.recognition.chips import chip_from_picture, cut_chip  # noqa: E402
from deid.recognition.lite import LiteRecogniser  # noqa: E402
from deid.recognition.thresholds import FAR_1E3  # noqa: E402

_BANDS = ((20, 45), (45, 60), (60, 95))  # years
_RESAMPLED = 1000
_TAKEN = 2021  # when the portraits were made, about


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """``codes``: float32 (n, 128). ``kinds``: (n,), gender and age band as one number, -1 unknown. ``who``: (n,), which
    donor or surrogate. ``hosts``: (n,), the donor whose picture it is, -1 for portraits themselves."""

    codes: np.ndarray
    kinds: np.ndarray
    who: np.ndarray
    hosts: np.ndarray


def kind(female: bool, years: float) -> int:
    for number, (low, high) in enumerate(_BANDS):
        if low <= years < high:
            return 2 * number + int(female)
    return -1


def donors(folder: Path, count: int | None, recogniser: LiteRecogniser) -> tuple[Faces, list[Path]]:
    rows = {row["file"]: row for row in csv.DictReader((folder / "index.csv").read_text("utf-8").splitlines())}
    chips, kinds, paths = [], [], []
    for portrait in portraits(folder, count):
        row = rows[portrait.name]
        chips.append(cut_chip(portrait.picture, chip_from_picture(portrait.mesh)))
        kinds.append(kind(row["gender"] == "female", _TAKEN - float(row["birth_year"] or "nan")))
        paths.append(folder / portrait.name)
    numbers = np.arange(len(paths))
    return Faces(recogniser.embed(np.stack(chips)), np.array(kinds), numbers, np.full(len(paths), -1)), paths


def subjects(paths: list[Path], count: int, seed: int) -> Iterator[tuple[int, Person, list[Likeness]]]:
    """Hosts by number, as a run sees them."""
    found, config = 0, RunConfig(threads=1, max_height=600)
    for number in np.random.default_rng(seed).permutation(len(paths)):
        engine = MorphableEngine(config, 0)
        try:
            analysis, seconds = pipeline.analyse(paths[number], config, QuietProgress(), engine.observer)
            seen = engine.identify(analysis, seconds, QuietProgress())
            if len(seen.people) != 1:
                continue
            worn = engine.glasses(seen.people[0], seen)
            shown = engine.likenesses(seen.people[0], seen, lambda glasses=worn: glasses)
        finally:
            engine.close()
        if shown:
            yield int(number), replace(seen.people[0], id=0), [s.likeness for s in shown]
            found += 1
        if found == count:
            return


def chosen(paths: list[Path], hosts: int, seeds: int, seed: int, recogniser: LiteRecogniser) -> Faces:
    """Surrogates as a run chooses them, in their hosts' places."""
    geometry, appearance = load_geometry(), load_appearance()
    codes, kinds, owners = [], [], []
    for number, person, likenesses in subjects(paths, hosts, seed):
        for k in range(seeds):
            own = int(np.random.default_rng([seed, number, k]).integers(2**31))
            found = choose(geometry, appearance, own, person, likenesses, [], recogniser.embed)
            codes.append(found.codes[0])
            kinds.append(kind(person.female > 0, person.age))
            owners.append(number)
    return Faces(np.stack(codes), np.array(kinds), np.arange(len(codes)), np.array(owners))


def to_donors(faces: Faces, known: Faces) -> tuple[float, float, float]:
    """Share of pairs of a picture and a donor, not its host, that match; share of pictures that match any; the least
    distance."""
    matches = pairs = pictures = 0
    least = np.inf
    for code, host in zip(faces.codes, faces.hosts, strict=True):
        apart = np.linalg.norm(known.codes - code, axis=1)
        apart = apart[(known.who != host) & (apart > 0)]  # a portrait is no match of its own
        matches += int((apart < FAR_1E3).sum())
        pairs += len(apart)
        pictures += bool((apart < FAR_1E3).any())
        least = min(least, float(apart.min()))
    return matches / max(pairs, 1), pictures / max(len(faces.codes), 1), least


def interval(faces: Faces, seed: int = 0) -> tuple[float, float]:
    """95 % of the rates of :func:`among` when hosts, or whom portraits show, are drawn again with replacement."""
    owners = np.where(faces.hosts >= 0, faces.hosts, faces.who)
    _, owner = np.unique(owners, return_inverse=True)
    count = int(owner.max()) + 1
    match, pairs = np.zeros((count, count)), np.zeros((count, count))
    for i in range(len(faces.codes) - 1):
        if faces.kinds[i] < 0:
            continue
        other = (faces.kinds[i + 1 :] == faces.kinds[i]) & (owner[i + 1 :] != owner[i])
        other &= faces.who[i + 1 :] != faces.who[i]
        rest = i + 1 + np.flatnonzero(other)
        np.add.at(pairs, (owner[i], owner[rest]), 1)
        near = np.linalg.norm(faces.codes[rest] - faces.codes[i], axis=1) < FAR_1E3
        np.add.at(match, (owner[i], owner[rest]), near)
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(_RESAMPLED):
        times = np.bincount(rng.integers(count, size=count), minlength=count).astype(float)
        rates.append(float(times @ match @ times) / max(float(times @ pairs @ times), 1.0))
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)


def among(faces: Faces) -> tuple[float, float, int]:
    """Share of pairs that match, their median distance, and their number: different people of one kind, in different
    hosts."""
    apart = []
    for number in np.unique(faces.kinds[faces.kinds >= 0]):
        own = np.flatnonzero(faces.kinds == number)
        for place, i in enumerate(own[:-1]):
            rest = own[place + 1 :]
            other = faces.who[rest] != faces.who[i]
            if faces.hosts[i] >= 0:
                other &= faces.hosts[rest] != faces.hosts[i]
            apart.append(np.linalg.norm(faces.codes[rest[other]] - faces.codes[i], axis=1))
    return told(np.concatenate(apart) if apart else np.empty(0))


def of_one_host(faces: Faces) -> tuple[float, float, int]:
    """The same of surrogates chosen for one host by different seeds."""
    apart = []
    for number in np.unique(faces.hosts):
        own = faces.codes[faces.hosts == number]
        apart += [np.linalg.norm(own[i + 1 :] - own[i], axis=1) for i in range(len(own) - 1)]
    return told(np.concatenate(apart) if apart else np.empty(0))


def told(apart: np.ndarray) -> tuple[float, float, int]:
    if not len(apart):
        return 0.0, float("nan"), 0
    return float((apart < FAR_1E3).mean()), float(np.median(apart)), len(apart)


def all_pairs(codes: np.ndarray) -> float:
    apart = np.concatenate([np.linalg.norm(codes[i + 1 :] - codes[i], axis=1) for i in range(len(codes) - 1)])
    return float((apart < FAR_1E3).mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--hosts", type=int, default=250, help="portraits that surrogates are set into; default 250")
    parser.add_argument("--seeds", type=int, default=4, help="surrogates for each; default 4")
    parser.add_argument("--donors", type=int, help="compare with so many portraits only, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recogniser = LiteRecogniser()
    known, paths = donors(options.portraits, options.donors, recogniser)
    faces = chosen(paths, options.hosts, options.seeds, options.seed, recogniser)
    rejected = 1 - clear_share()
    strangers, (alike, middle, count), (low, high) = all_pairs(known.codes), among(known), interval(known)
    some = to_donors(known, known)[1]
    print(f"{len(paths)} portraits: {strangers:.4f} of their pairs match, {some:.3f} of them some other; of one gender "
          f"and age band {alike:.4f} ({low:.4f} to {high:.4f}) of {count} pairs, median {middle:.3f}")  # fmt: skip
    pairs, pictures, least = to_donors(faces, known)
    print(f"{rejected[0]:.3f} of men's draws and {rejected[1]:.3f} of women's are rejected, being near a donor")
    print(f"{len(faces.codes)} surrogates; with donors {pairs:.5f} of pairs match, nearest {least:.3f}; {pictures:.3f} "
          f"of surrogates match some donor, of portraits {some:.3f}")  # fmt: skip
    (own, middle, count), (low, high) = among(faces), interval(faces)
    print(f"different surrogates of one band: {own:.4f} ({low:.4f} to {high:.4f}) of {count} pairs match, "
          f"median {middle:.3f}")  # fmt: skip
    same, middle, count = of_one_host(faces)
    print(f"of one host, by different seeds: {same:.4f} of {count} pairs match, median {middle:.3f}")
    holds = pairs <= strangers and own <= alike
    print(f"{'holds' if holds else 'does not hold'}: with donors {pairs:.5f} (strangers {strangers:.5f}), "
          f"with each other {own:.4f} (strangers of their band {alike:.4f})")  # fmt: skip
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
