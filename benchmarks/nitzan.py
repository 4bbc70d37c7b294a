"""The results of Nitzan et al. 2020 on this project's own generator: tables, sheets, ablations, two references.

    python benchmarks/nitzan.py [--people 12] [--sheets FOLDER] [--json nitzan.json]
    python benchmarks/nitzan.py --generator G --mapper M [--ablation "no adversary=FILE" ...]

People and attributes are rendered by the morphable model, each person under each set of attributes, so that what a
perfect method would give is known. None of them was trained on: they are drawn from another seed. Each method gets two
pictures, one for the identity and one for everything else, and nothing else:

* mapper: the engine's way, w = M(E_id, E_attr).
* plain encoder: the same two encoders, read by a linear regression into the numbers the generator's own mapping network
  takes, those of the identity swapped; no mapper is trained.
* morphable: the other engine on the same pictures, its own inversion of both.
* rendered: the truth itself, for what measuring alone costs.

By dlib's network, with which the shipped mapper was trained: "by the training recogniser". Intervals are 95 %, over
people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from _nitzan_measure import SIGNALS, Read, Reader, interval, landmark_error, likeness
from _nitzan_methods import Method, Pairs, ablated, mapped, morphable, plain, rendered

from deid import imaging
from deid.models.stylegan.networks import Networks

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
            add("nearer to the person, share", j, float(own < other))
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


def sheet(pairs: Pairs, made: np.ndarray, most: int = 8) -> np.ndarray:
    """A composition table, uint8 BGR: identities in the top row, attributes in the left column."""
    n, side = min(most, len(made)), pairs.pixels[0][0].shape[0]
    own = [pairs.pixels[k][k] for k in range(n)]
    lines = [np.hstack([np.full((side, side, 3), 255, np.uint8), *own])]
    lines += [np.hstack([own[i], *(made[i, j] for j in range(n))]) for i in range(n)]
    return np.ascontiguousarray(np.vstack(lines)[..., ::-1])


def between(networks: Networks, pairs: Pairs, steps: int = 7, count: int = 6) -> np.ndarray:
    """Interpolations, uint8 BGR: in odd rows of identity alone, in even rows of attributes alone."""
    who, how = pairs.codes(networks)
    lines = []
    for k in range(min(count, len(who) - 1)):
        share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        moved = who[k] * (1 - share) + who[k + 1] * share, how[k] * (1 - share) + how[k + 1] * share
        for one, other in (
            (moved[0], np.repeat(how[k][None], steps, 0)),
            (np.repeat(who[k][None], steps, 0), moved[1]),
        ):
            lines.append(np.hstack(list(pairs.shown(networks, networks.mapped(one, other)))))
    return np.ascontiguousarray(np.vstack(lines)[..., ::-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("generator", "encoder", "mapper", "identity-encoder"):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help="default: the shipped one")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--ablation", action="append", default=[], metavar="NAME=FILE", help="another mapper's file")
    parser.add_argument("--no-morphable", action="store_true")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    networks = Networks.load(args.generator, args.encoder, args.mapper, args.identity_encoder)
    pairs, reader = Pairs.rendered(networks.generator.shape.size, args.seed, args.people), Reader()
    truth = [[reader(pairs.pixels[i][j], pairs.points[i][j]) for j in range(args.people)] for i in range(args.people)]
    methods: dict[str, Callable[[], Method]] = {
        "mapper": lambda: mapped(networks),
        "plain encoder": lambda: plain(networks, args.seed + 1),
        "rendered": lambda: rendered,
    }
    if not args.no_morphable:
        methods["morphable"] = morphable
    for words in args.ablation:
        name, _, file = words.partition("=")
        methods[name] = lambda file=file: ablated(networks, Path(file))  # type: ignore[misc]
    results = {}
    for name, method in methods.items():
        made = method()(pairs)
        results[name] = measure(pairs, made, reader, truth)
        if args.sheets is not None:
            args.sheets.mkdir(parents=True, exist_ok=True)
            imaging.imwrite(str(args.sheets / f"composed-{name.replace(' ', '-')}.png"), sheet(pairs, made))
        print(f"{name} done", flush=True)
    if args.sheets is not None:
        imaging.imwrite(str(args.sheets / "between.png"), between(networks, pairs))
    print(table(results))
    if args.json is not None:
        args.json.write_text(json.dumps({"people": args.people, "files": networks.files, "results": results}, indent=1))


if __name__ == "__main__":
    main()
