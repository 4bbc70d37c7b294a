#!/usr/bin/env python3
"""Which draws of the face model come near somebody whom it was made from: ``clear_draws.safetensors``.

    python tools/reject_draws.py ../shared/data/portraits

Every draw of the pool (``deid/models/morphable/clear_draws.py``) is drawn for both genders and two ages, and what the
recogniser will make of it is foretold (``foretell.py``) for an ordinary picture: the mean of what ``--hosts`` portraits
of that gender add. One that is nearer to any portrait than ``--near`` is rejected. What is foretold varies less than
what is seen, so that at 0.545, the threshold itself, three of four men are rejected, and at the default of 0.5 it is
one in five; what then remains in pictures ``check_fiction.py`` counts. Portraits' templates are computed anew each time
and kept nowhere; the file has a bit a draw, and what the ordinary picture adds. Run it after ``train_foretelling.py``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT), str(_ROOT / "tools")]

import check_fiction  # noqa: E402

from deid.models.morphable.appearance import load_appearance  # noqa: E402
from deid.models.morphable.clear_draws import POOL, chance  # noqa: E402
from deid.models.morphable.foretell import foretold  # noqa: E402
from deid.models.morphable.geometry import load_geometry  # noqa: E402
from deid.models.morphable.sampling import draw, draws  # noqa: E402
from deid.models.morphable.surrogate import in_place, sketched  # noqa: E402
from deid.people import Person  # noqa: E402
from deid.recognition.lite import LiteRecogniser  # noqa: E402

_AGES, _BATCH = (38.0, 60.0), 256


def somebody(female: float, years: float) -> Person:
    return Person(1, (), np.empty((0, 128), np.float32), female, years)


def pictures(paths: list[Path], count: int, recogniser: LiteRecogniser) -> np.ndarray:
    """float64 (2, 128): what portraits of men and of women add to what is foretold, on average."""
    geometry, appearance = load_geometry(), load_appearance()
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for number, person, likenesses in check_fiction.subjects(paths, count, 3):
        side = int(person.female > 0)
        code = draw(geometry, appearance, chance(number), somebody(2.0 * side - 1, person.age))
        seen = recogniser.embed(in_place(geometry, sketched(geometry, appearance, code), likenesses[0])[None])[0]
        found[side].append(seen - foretold([code])[0])
    return np.stack([np.mean(side, axis=0) for side in found])


def nearest(female: float, added: np.ndarray, known: np.ndarray) -> np.ndarray:
    """float64 (POOL,): how near each draw of a gender comes to any of ``known``, (n, 128), at either age."""
    geometry, appearance = load_geometry(), load_appearance()
    out = np.full(POOL, np.inf)
    for years in _AGES:
        for start in range(0, POOL, _BATCH):
            numbers = range(start, start + _BATCH)
            codes = draws(geometry, appearance, {n - start: chance(n) for n in numbers}, somebody(female, years))
            told = foretold(codes) + added
            square = (told**2).sum(1)[:, None] + (known**2).sum(1)[None] - 2 * told @ known.T
            out[start : start + _BATCH] = np.minimum(out[start : start + _BATCH], np.sqrt(square.min(axis=1)))
        print(f"{'women' if female > 0 else 'men'} of {years:.0f}: median {np.median(out):.3f}", file=sys.stderr)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=_ROOT / "deid/models/morphable/clear_draws.safetensors")
    parser.add_argument("--hosts", type=int, default=24, help="portraits for the ordinary picture; default 24")
    parser.add_argument("--near", type=float, default=0.5, help="distance below which a draw is rejected; default 0.5")
    options = parser.parse_args()
    recogniser = LiteRecogniser()
    known, paths = check_fiction.donors(options.portraits, None, recogniser)
    added = pictures(paths, options.hosts, recogniser)
    near = np.stack([nearest(2.0 * k - 1, added[k], known.codes.astype(np.float64)) for k in range(2)]) < options.near
    save_file({"near": np.packbits(near, axis=1), "typical": added.astype(np.float16)}, options.output)
    print(f"rejected: {near[0].mean():.3f} of men, {near[1].mean():.3f} of women")


if __name__ == "__main__":
    main()
