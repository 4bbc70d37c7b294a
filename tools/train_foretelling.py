"""Trains what foretells a recogniser's view of a surrogate (``deid/models/morphable/foretell.py``).

Surrogates are drawn over the whole range of gender and age, composited into portraits as a run would composite them,
and recognised. In each picture the mean over its surrogates is taken off; a ridge regression on all that is left maps
identity codes to recognition codes. Explained variance is printed for portraits left out. Run it again when geometry,
appearance or person traits change.

    python tools/train_foretelling.py ../shared/data/portraits
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))

from deid import pipeline  # noqa: E402
from deid.config import RunConfig  # noqa: E402
from deid.models.morphable.engine import MorphableEngine  # noqa: E402
from deid.models.morphable.foretell import numbers  # noqa: E402
from deid.models.morphable.sampling import draw  # noqa: E402
from deid.models.morphable.surrogate import Likeness, in_place, sketched  # noqa: E402
from deid.people import Person  # noqa: E402
from deid.progress import QuietProgress  # noqa: E402
from deid.recognition.lite import LiteRecogniser  # noqa: E402

_PENALTY = 60.0


def likeness(path: Path) -> Likeness | None:
    """The face in a portrait as a run sees it."""
    config = RunConfig(threads=1, max_height=600)
    engine = MorphableEngine(config, 0)
    try:
        analysis, seconds = pipeline.analyse(path, config, QuietProgress(), engine.observer)
        found = engine.identify(analysis, seconds, QuietProgress())
        shown = [s for person in found.people for s in engine.likenesses(person, found)[:1]]
        return shown[0].likeness if len(shown) == 1 else None
    finally:
        engine.close()


def samples(host: Likeness, number: int, count: int, recogniser: LiteRecogniser) -> tuple[np.ndarray, np.ndarray]:
    """Identity numbers (count, n) and recognition codes (count, 128), both less their means."""
    engine = MorphableEngine(RunConfig(threads=1), 0)
    geometry, appearance = engine._geometry, engine._appearance
    engine.close()
    told, chips = [], []
    for k in range(count):
        rng = np.random.default_rng([number, k, 9])
        person = Person(1, (1,), np.empty((0, 128), np.float32), float(rng.uniform(-1, 1)), float(rng.uniform(20, 78)))
        code = draw(geometry, appearance, rng, person, int(rng.integers(48)))
        told.append(numbers(code))
        chips.append(in_place(geometry, sketched(geometry, appearance, code), host))
    found = recogniser.embed(np.stack(chips)).astype(np.float64)
    x = np.stack(told)
    return x - x.mean(0), found - found.mean(0)


def ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    spread = x.std(0) + 1e-6
    z = x / spread
    solved: np.ndarray = np.linalg.solve(z.T @ z + _PENALTY * np.eye(z.shape[1]), z.T @ y) / spread[:, None]
    return solved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=_ROOT / "deid/models/morphable/foretelling.safetensors")
    parser.add_argument("--hosts", type=int, default=36)
    parser.add_argument("--draws", type=int, default=90, help="in each portrait")
    options = parser.parse_args()
    paths = sorted(options.portraits.glob("*.jpg"))
    recogniser = LiteRecogniser()
    found = []
    for number in np.random.default_rng(2).permutation(len(paths)):
        host = likeness(paths[number])
        if host is not None:
            found.append(samples(host, int(number), options.draws, recogniser))
        if len(found) == options.hosts:
            break
    fold = len(found) // 4
    explained = []
    for k in range(4):
        left_out = range(k * fold, (k + 1) * fold)
        train = [found[i] for i in range(len(found)) if i not in left_out]
        matrix = ridge(np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train]))
        explained += [1 - ((y - x @ matrix) ** 2).sum() / (y**2).sum() for x, y in (found[i] for i in left_out)]
    low, middle, high = np.percentile(explained, [5, 50, 95])
    print(f"of the variance, in {len(explained)} portraits left out: {middle:.2f} ({low:.2f} to {high:.2f})")
    matrix = ridge(np.concatenate([x for x, _ in found]), np.concatenate([y for _, y in found]))
    save_file({"matrix": matrix.astype(np.float16)}, options.output)


if __name__ == "__main__":
    main()
