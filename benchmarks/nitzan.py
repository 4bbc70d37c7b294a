"""The results of Nitzan et al. 2020 on this project's own generator: tables, sheets, ablations, two references.

    python benchmarks/nitzan.py [--people 16] [--sheets FOLDER] [--json nitzan.json]
    python benchmarks/nitzan.py --generator G --mapper M [--ablation "no adversary=FILE" ...]
    python benchmarks/nitzan.py --ablate FOLDER --faces FACES --landmarks FILE [--pictures 80000]

People and attributes are rendered by the morphable model, each person under each set of attributes, so that what a
perfect method would give is known. None of them was trained on: they are drawn from another seed. Each method gets two
pictures, one for the identity and one for everything else, and nothing else:

* mapper: the engine's way, w = M(E_id, E_attr).
* plain encoder: the same two encoders, read by a linear regression into the numbers the generator's own mapping network
  takes, those of the identity swapped; no mapper is trained.
* morphable: the other engine on the same pictures, its own inversion of both.
* told: the generator's mapping network told the true numbers of both pictures: what the generator can show at best.
* rendered: the truth itself, for what measuring alone costs.

Who a picture shows is asked in two ways. Against the two pictures that the method was given: there hair, skin tone and
light, which are the attributes', speak for the wrong person, and the truth itself is often taken for them. And against
galleries, as recognition is done: the mean code of each of the two people under all other attributes, the same for
both. By dlib's network, with which the shipped mapper was trained: "by the training recogniser". Intervals are 95 %,
over people.

``--ablate`` trains the mapper four times, with all losses, without the adversary, without landmarks, without crossing,
with equal numbers of pictures, and adds the results to the table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from _nitzan_ablations import trained
from _nitzan_measure import SIGNALS, Read, Reader, interval, landmark_error, likeness
from _nitzan_methods import Method, Pairs, ablated, mapped, morphable, plain, rendered, told
from _nitzan_sheets import between, composed, deidentified, held

from deid import imaging
from deid.models.stylegan.networks import SHIPPED, Networks

_SEED = 20_201_105


def measure(pairs: Pairs, made: np.ndarray, reader: Reader, truth: Sequence[Sequence[Read]]) -> dict[str, object]:
    """``made``: uint8 (n, n, S, S, 3), by row the attributes, by column the identity."""
    count = len(made)
    rows: dict[str, list[float]] = {}
    groups: dict[str, list[int]] = {}

    def add(name: str, person: int, value: float) -> None:
        rows.setdefault(name, []).append(value)
        groups.setdefault(name, []).append(person)

    shown, wanted = [], []
    for i in range(count):
        for j in range(count):
            read = reader(made[i, j], pairs.points[i][j])
            own = float(np.linalg.norm(read.code - truth[j][j].code))
            if i == j:
                add("distance to the person, reconstructed", j, own)
                add("structural similarity, reconstructed", j, likeness(made[i, i], pairs.pixels[i][i]))
                continue
            other = float(np.linalg.norm(read.code - truth[i][i].code))
            add("distance to the person", j, own)
            add("distance to the attributes' person (the leak)", j, other)
            add("nearer to the person's picture, share", j, float(own < other))
            if count > 2:
                near, far = (gallery(truth, person, (i, j)) for person in (j, i))
                own, other = (float(np.linalg.norm(read.code - code)) for code in (near, far))
                add("nearer to the person's gallery, share", j, float(own < other))
            add("face seen, share", j, float(read.mesh is not None))
            mesh = truth[i][j].mesh
            if read.mesh is None or mesh is None:
                continue
            add("landmarks off, percent", j, landmark_error(read.mesh, mesh))
            for axis, name in enumerate(("yaw", "pitch", "roll")):
                add(f"{name} off, degrees", j, abs(float(read.pose[axis] - truth[i][j].pose[axis])))
            shown.append(read.signals)
            wanted.append(truth[i][j].signals)
    out: dict[str, object] = {
        name: {
            "mean": round(float(np.mean(values)), 4),
            "interval": [round(x, 4) for x in interval(values, groups[name])],
        }
        for name, values in rows.items()
    }
    a, b = np.array(shown), np.array(wanted)
    r = [float(np.corrcoef(a[:, k], b[:, k])[0, 1]) for k in range(len(SIGNALS))] if len(a) > 2 else []
    out["expression r"] = {"mean": round(float(np.mean(r)), 4) if r else None} | dict(
        zip(SIGNALS, np.round(r, 3).tolist(), strict=False)
    )
    return out


def gallery(truth: Sequence[Sequence[Read]], person: int, without: Collection[int]) -> np.ndarray:
    """float32 (128,): the mean code of ``person`` under all attributes but those ``without``."""
    codes = [row[person].code for k, row in enumerate(truth) if k not in without]
    return np.asarray(np.mean(codes, axis=0), np.float32)


def table(results: dict[str, dict[str, object]]) -> str:
    """Markdown: a row a measure, a column a method."""
    names = list(next(iter(results.values())))
    lines = ["| | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for name in names:
        cells = []
        for found in results.values():
            entry = found.get(name)
            if not isinstance(entry, dict) or entry.get("mean") is None:
                cells.append("-")
                continue
            spread = entry.get("interval")
            cells.append(f"{entry['mean']:.3g}" + (f" ({spread[0]:.3g} to {spread[1]:.3g})" if spread else ""))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def methods_of(args: argparse.Namespace, networks: Networks) -> dict[str, Callable[[], Method]]:
    """What is compared, by name; each is made ready when its turn comes."""
    out: dict[str, Callable[[], Method]] = {"mapper": lambda: mapped(networks)}
    if not args.no_plain:
        out["plain encoder"] = lambda: plain(networks, args.seed + 1)
    if not args.no_morphable:
        out["morphable"] = morphable
    out["told"] = lambda: told(networks)
    out["rendered"] = lambda: rendered
    others = [words.partition("=")[::2] for words in args.ablation]
    if args.ablate is not None:
        made_by = args.generator or SHIPPED / "generator.safetensors"
        files = trained(args.ablate, made_by, args.faces, args.landmarks, args.pictures, args.told)
        others += [(name, str(file)) for name, file in files.items()]
    for name, file in others:
        out[name] = lambda file=file: ablated(networks, Path(file))  # type: ignore[misc]
    return out


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("generator", "encoder", "mapper", "identity-encoder"):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help="default: the shipped one")
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--ablation", action="append", default=[], metavar="NAME=FILE", help="another mapper's file")
    parser.add_argument("--ablate", type=Path, metavar="FOLDER", help="train the ablations there")
    parser.add_argument("--faces", type=Path, metavar="FOLDER", help="for --ablate: of deid train faces")
    parser.add_argument("--landmarks", type=Path, metavar="FILE", help="for --ablate: of deid train attributes")
    parser.add_argument("--pictures", type=int, default=80_000, help="for --ablate: of each training")
    parser.add_argument("--told", type=float, default=0.75, help="for --ablate: share of each that is told codes")
    parser.add_argument("--no-plain", action="store_true")
    parser.add_argument("--no-morphable", action="store_true")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.ablate is not None and (args.faces is None or args.landmarks is None):
        parser.error("--ablate needs --faces and --landmarks")
    return args


def main() -> None:
    args = options()
    networks = Networks.load(args.generator, args.encoder, args.mapper, args.identity_encoder)
    pairs, reader = Pairs.rendered(networks.generator.shape.size, args.seed, args.people), Reader()
    truth = [[reader(pairs.pixels[i][j], pairs.points[i][j]) for j in range(args.people)] for i in range(args.people)]
    results = {}
    for name, method in methods_of(args, networks).items():
        made = method()(pairs)
        results[name] = measure(pairs, made, reader, truth)
        if args.sheets is not None:
            args.sheets.mkdir(parents=True, exist_ok=True)
            imaging.imwrite(str(args.sheets / f"composed-{name.replace(' ', '-')}.png"), composed(pairs, made))
        print(f"{name} done", flush=True)
    if args.sheets is not None:
        for name, draw in (("between", between), ("deidentified", deidentified), ("held", held)):
            imaging.imwrite(str(args.sheets / f"{name}.png"), draw(networks, pairs))
    print(table(results))
    if args.json is not None:
        args.json.write_text(json.dumps({"people": args.people, "files": networks.files, "results": results}, indent=1))


if __name__ == "__main__":
    main()
