#!/usr/bin/env python3
"""Are surrogates fictional? Compares many with every portrait that the model was estimated from, and with each other.

    python tools/check_fiction.py ../shared/data/portraits

``--count`` surrogates are drawn over the whole range of gender and age. ``--rendered`` of them are set into ``--hosts``
portraits as a run does it, and shown to dlib's recogniser. What it would make of all the others there is foretold
(``deid/models/morphable/foretell.py``): without the third of the variance that the map does not explain, so they come
out more alike, and nearer to donors, than they are: an upper bound in practice, no proof.

A match is a distance below 0.545, one in a thousand among all portraits. Asked is

* that surrogates match donors (the host of the picture apart) no more often than the portraits match each other;
* that different surrogates of one gender and age band, in different hosts, match no more often than strangers of that
  gender and band do.

Every figure is printed; the last line has the two rates that are asked about, of rendered pictures, beside the
strangers'. Exit status 0 when both hold, 1 when one does not. Portraits' templates are computed anew each time and kept
nowhere.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT), str(_ROOT / "tools"), str(_ROOT / "benchmarks")]

from _portraits import portraits  # noqa: E402
from train_foretelling import likeness  # noqa: E402

from deid.models.morphable.appearance import load_appearance  # noqa: E402
from deid.models.morphable.codes import IdentityCode  # noqa: E402
from deid.models.morphable.foretell import foretold  # noqa: E402
from deid.models.morphable.geometry import load_geometry  # noqa: E402
from deid.models.morphable.sampling import draw  # noqa: E402
from deid.models.morphable.surrogate import Likeness, in_place, sketched  # noqa: E402
from deid.people import Person  # noqa: E402
from deid.recognition.chips import chip_from_picture, cut_chip  # noqa: E402
from deid.recognition.lite import LiteRecogniser  # noqa: E402
from deid.recognition.thresholds import FAR_1E3  # noqa: E402

_BANDS = ((20, 45), (45, 60), (60, 95))  # years
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


def drawn(count: int, seed: int) -> tuple[list[IdentityCode], np.ndarray]:
    """Surrogates of both genders and all ages, and their kinds."""
    geometry, appearance = load_geometry(), load_appearance()
    codes, kinds = [], []
    for number in range(count):
        rng = np.random.default_rng([seed, number, 4])
        female, years = bool(number % 2), float(rng.uniform(22, 80))
        person = Person(0, (), np.empty((0, 128), np.float32), 1.0 if female else -1.0, years)
        codes.append(draw(geometry, appearance, rng, person))
        kinds.append(kind(female, years))
    return codes, np.array(kinds)


def chosen_hosts(paths: list[Path], count: int, seed: int) -> Iterator[tuple[int, Likeness]]:
    found = 0
    for number in np.random.default_rng(seed).permutation(len(paths)):
        host = likeness(paths[number])
        if host is not None:
            yield int(number), host
            found += 1
        if found == count:
            return


def set_in_place(
    codes: list[IdentityCode], kinds: np.ndarray, rendered: int, hosts: list[tuple[int, Likeness]],
    recogniser: LiteRecogniser,
) -> tuple[Faces, Faces]:  # fmt: skip
    """The first ``rendered`` surrogates in every host, as the recogniser sees them; and all of them, foretold."""
    geometry, appearance = load_geometry(), load_appearance()
    told = foretold(codes)
    sitters = [sketched(geometry, appearance, code) for code in codes[:rendered]]
    seen, guessed = [], []
    for _, host in hosts:
        found = recogniser.embed(np.stack([in_place(geometry, sitter, host) for sitter in sitters]))
        seen.append(found)
        guessed.append((found - told[:rendered]).mean(axis=0) + told)

    def faces(stacked: list[np.ndarray], count: int) -> Faces:
        owner = np.repeat([number for number, _ in hosts], count)
        return Faces(
            np.concatenate(stacked).astype(np.float32),
            np.tile(kinds[:count], len(hosts)), np.tile(np.arange(count), len(hosts)), owner,
        )  # fmt: skip

    return faces(seen, rendered), faces(guessed, len(codes))


def to_donors(faces: Faces, known: Faces) -> tuple[float, float, float]:
    """Share of pairs of a picture and a donor, not its host, that match; share of pictures that match any; the least
    distance."""
    matches = pairs = pictures = 0
    least = np.inf
    for code, host in zip(faces.codes, faces.hosts, strict=True):
        apart = np.linalg.norm(known.codes - code, axis=1)[known.who != host]
        matches += int((apart < FAR_1E3).sum())
        pairs += len(apart)
        pictures += bool((apart < FAR_1E3).any())
        least = min(least, float(apart.min()))
    return matches / max(pairs, 1), pictures / max(len(faces.codes), 1), least


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
    found = np.concatenate(apart) if apart else np.empty(0)
    if not len(found):
        return 0.0, float("nan"), 0
    return float((found < FAR_1E3).mean()), float(np.median(found)), len(found)


def all_pairs(codes: np.ndarray) -> float:
    apart = np.concatenate([np.linalg.norm(codes[i + 1 :] - codes[i], axis=1) for i in range(len(codes) - 1)])
    return float((apart < FAR_1E3).mean())


def thinned(faces: Faces, most: int, seed: int) -> Faces:
    if len(faces.codes) <= most:
        return faces
    keep = np.sort(np.random.default_rng(seed).choice(len(faces.codes), most, replace=False))
    return Faces(faces.codes[keep], faces.kinds[keep], faces.who[keep], faces.hosts[keep])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--count", type=int, default=1000, help="surrogates; default 1000")
    parser.add_argument("--rendered", type=int, default=40, help="of them, rendered and not only foretold")
    parser.add_argument("--hosts", type=int, default=8, help="portraits that they are set into")
    parser.add_argument("--donors", type=int, help="compare with so many portraits only, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recogniser = LiteRecogniser()
    known, paths = donors(options.portraits, options.donors, recogniser)
    codes, kinds = drawn(options.count, options.seed)
    hosts = list(chosen_hosts(paths, options.hosts, options.seed))
    seen, guessed = set_in_place(codes, kinds, min(options.rendered, options.count), hosts, recogniser)
    strangers = all_pairs(known.codes)
    print(f"{len(paths)} portraits: {strangers:.4f} of their pairs match")
    for name, faces in (("rendered", seen), ("foretold", guessed)):
        pairs, pictures, least = to_donors(faces, known)
        print(f"{name}: {len(faces.codes)} pictures; with donors {pairs:.5f} of pairs match, nearest {least:.3f}; "
              f"{pictures:.3f} of pictures match some donor, and would be the rejection rate")  # fmt: skip
    alike, middle, count = among(known)
    print(f"strangers of one gender and age band: {alike:.4f} of {count} pairs match, median distance {middle:.3f}")
    for name, faces in (("rendered", seen), ("foretold", thinned(guessed, 4000, options.seed))):
        rate, middle, count = among(faces)
        print(f"different surrogates of one band, {name}: {rate:.4f} of {count} pairs match, median {middle:.3f}")
    with_donors, own = to_donors(seen, known)[0], among(seen)[0]
    holds = with_donors <= strangers and own <= alike
    print(f"{'holds' if holds else 'does not hold'}: with donors {with_donors:.5f} (strangers {strangers:.5f}), "
          f"with each other {own:.4f} (strangers of their band {alike:.4f})")  # fmt: skip
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
