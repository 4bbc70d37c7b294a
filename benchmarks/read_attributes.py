"""How well is H read? Rendered faces that it never saw, what a generator makes of the same numbers, and photographs.

    python benchmarks/read_attributes.py --count 256 --portraits ../shared/data/portraits --json result.json

Of photographs gender and year of birth are known, and no more: for these the share of genders that are right, and how
well age goes with the years (correlation, and the mean error once scale and level are fitted on the other half).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import torch

from deid import imaging
from deid.errors import DeidError
from deid.models.checkpoints import build, open_checkpoint
from deid.models.editing.latent import Reader
from deid.models.editing.names import INDEX, NAMES
from deid.models.editing.regressor import Regressor, load_regressor
from deid.models.stylegan.networks import SHIPPED
from deid.models.stylegan.portraits import aligned_face
from deid.training.faces import Studio
from deid.training.scene import draw_how, draw_who

TAKEN = 2014  # when most of the photographs were


def rendered(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures uint8 (n, 128, 128, 3), their labels, and what they were made from; a person each."""
    studio, rng = Studio(128), np.random.default_rng((seed, 77))
    made = []
    for _ in range(count):
        model = studio.cast(draw_who(studio.geometry, studio.appearance, rng))
        made.append(studio.shoot(model, draw_how(studio.geometry, rng, model.who)))
    return (
        np.stack([one.pixels[..., :3] for one in made]), np.stack([one.labels for one in made]),
        np.stack([one.parameters for one in made]),
    )  # fmt: skip


def photographs(folder: Path, regressor: Regressor, every: int) -> dict[str, float]:
    """What is known of portraits against what H says."""
    told, female, years = [], [], []
    for row in list(csv.DictReader((folder / "index.csv").read_text("utf-8").splitlines()))[::every]:
        picture = imaging.decoded((folder / row["file"]).read_bytes())
        try:
            told.append(regressor.read(aligned_face(picture, 128).picture[None])[0])
        except DeidError:
            continue
        female.append(row["gender"] == "female")
        years.append(TAKEN - float(row["birth_year"] or "nan"))
    seen, woman, age = np.stack(told), np.array(female), np.array(years)
    reads = seen[:, INDEX["gender"]]
    order = (reads[woman][:, None] > reads[~woman][None]).mean()
    known = np.isfinite(age)
    old, is_ = seen[known, INDEX["age"]], age[known]
    half = np.arange(len(is_)) % 2 == 0
    off = []
    for learn, judge in ((half, ~half), (~half, half)):
        line = np.polyfit(old[learn], is_[learn], 1)
        off.append(np.abs(np.polyval(line, old[judge]) - is_[judge]))
    return {
        "photographs": len(seen), "women": int(woman.sum()),
        "gender right": float(((reads > 0.5) == woman).mean()),
        "a woman reads more as one than a man": float(order),
        "age correlation": float(np.corrcoef(old, is_)[0, 1]), "age off (years)": float(np.concatenate(off).mean()),
        "age off, guessing the mean": float(np.abs(is_ - is_.mean()).mean()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regressor", type=Path)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--portraits", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only every so many portraits")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    regressor = load_regressor(options.regressor)
    pictures, labels, parameters = rendered(options.count, options.seed)
    generator = build.generator(open_checkpoint(SHIPPED / "generator.safetensors"))
    with torch.no_grad():
        made = Reader(generator, regressor)(generator.codes(torch.from_numpy(parameters))).numpy()
    off, of_made = np.abs(regressor.read(pictures) - labels).mean(0), np.abs(made - labels).mean(0)
    guess = np.abs(labels - labels.mean(0)).mean(0)
    out = {"count": options.count, "attributes": {}}
    print("| attribute | rendered | generated | guessing the mean |\n|---|---|---|---|")
    for number, name in enumerate(NAMES):
        numbers = [round(float(column[number]), 3) for column in (off, of_made, guess)]
        out["attributes"][name] = dict(zip(("rendered", "generated", "guessing"), numbers, strict=True))
        print(f"| {name} | {numbers[0]:.3f} | {numbers[1]:.3f} | {numbers[2]:.3f} |")
    print(f"| all | {off.mean():.3f} | {of_made.mean():.3f} | {guess.mean():.3f} |")
    if options.portraits is not None:
        out["portraits"] = photographs(options.portraits, regressor, options.every)
        for name, value in out["portraits"].items():
            print(f"{name}: {value:.3g}" if isinstance(value, float) else f"{name}: {value}", file=sys.stderr)
    if options.json is not None:
        options.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
