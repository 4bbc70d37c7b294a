"""Latent to Latent beside InterFaceGAN, GANSpace and StyleFlow, on one generator, by the paper's protocol.

    python benchmarks/latent_to_latent.py --markdown table.md --json table.json --picture others.png
    python benchmarks/latent_to_latent.py --faces 8 --strengths 9          a quick look

For each of eight attributes and each face, edits of evenly spaced strengths between the smallest and the largest at
which a detector still finds a face: the published protocol has 50 faces and 41 strengths. No editor is pushed farther
than --farthest times the attribute's range, since a network that ends in a tanh never loses the face; straight lines
go on beyond the six standard deviations at which they stop in use. --state keeps what was measured, some faces of every
editor at a time, and the same call goes on from there.

The recogniser that judges is the one that f was trained with, unless --recogniser names another. FID, KID and the
inception-like score are taken on features of this project (the last hidden layer of H), against unedited pictures; they
are small numbers of another scale than the published ones. An editor that moves nothing keeps everybody, so the fairer
question is who is kept at equal change: the distance where the attribute has moved by one standard deviation over
people the way it was asked to, and how many of the faces, up and down, get there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from _editing_measure import fid, halves, interval, kid, middles_of, score
from _editing_protocol import Judge, Seen, State, at_change, edited, mean_of, unlimited

from deid.models.editing.ganspace import fit_ganspace
from deid.models.editing.interfacegan import InterFaceGan, fit_interfacegan
from deid.models.editing.latent import LatentEditor, colours
from deid.models.editing.latent_to_latent import load_editor
from deid.models.editing.names import ATTRIBUTES, INDEX, NAMES
from deid.models.editing.styleflow import fit_styleflow
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.geometry import load_geometry
from deid.training.scene import draw_how, draw_who, parameters

PROTOCOL = {
    "age": "age", "baldness": "baldness", "beard": "beard", "expression": "smile", "gender": "gender",
    "glasses": "glasses", "pitch": "pitch", "yaw": "yaw",
}  # fmt: skip
PUBLISHED = {  # Khodadadeh et al. 2022, tables 1 and 2: on another generator, by another recogniser
    "InterFaceGAN": {"age": 0.77, "baldness": 0.53, "beard": 0.57, "expression": 0.60, "gender": 0.54, "glasses": 0.59,
                     "pitch": 0.54, "yaw": 0.39, "FID": 43.16, "KID": 0.0118, "ISD": 0.0025, "seconds": 0.1080},
    "StyleFlow": {"age": 0.65, "baldness": 0.64, "beard": 0.55, "expression": 0.21, "gender": 0.52, "glasses": 0.46,
                  "pitch": 0.51, "yaw": 0.46, "FID": 41.64, "KID": 0.0086, "ISD": 0.0014, "seconds": 0.6783},
    "GANSpace": {"age": 0.46, "baldness": 0.46, "beard": 0.53, "expression": 0.23, "gender": 0.58, "glasses": 0.24,
                 "pitch": 0.51, "yaw": 0.41, "FID": 45.44, "KID": 0.0122, "ISD": 0.0044, "seconds": 0.1095},
    "Latent to Latent": {"age": 0.57, "baldness": 0.21, "beard": 0.28, "expression": 0.14, "gender": 0.28,
                         "glasses": 0.25, "pitch": 0.51, "yaw": 0.46, "FID": 39.83, "KID": 0.0062, "ISD": 0.0085,
                         "seconds": 0.1654},
}  # fmt: skip
_AT_A_TIME = 10  # faces
OURS = "Latent to Latent"
_EQUAL = 1.0  # spreads by which an attribute has moved where editors are compared at equal change
_WHOLE = ("got of what was asked", "attributes that move the right way", "own over others", "linearity", "cycle error")
_USUAL = 1.0  # strengths at which all editors still make faces
_APART = 0.3  # the change that is asked for the picture of what else changes


def drawn(judge: Judge, count: int, seed: int) -> torch.Tensor:
    """float32 (count, width): codes of people whom nobody was trained on."""
    shape, rng = judge.generator.shape, np.random.default_rng((seed, 501))
    geometry, appearance = load_geometry(), load_appearance()
    told = []
    for _ in range(count):
        who = draw_who(geometry, appearance, rng)
        told.append(parameters(who, draw_how(geometry, rng, who)))
    if len(told[0]) != shape.latent:
        return judge.generator.codes(torch.from_numpy(rng.normal(size=(count, shape.latent)).astype(np.float32)))
    return judge.generator.codes(torch.from_numpy(np.stack(told)))


def editors(judge: Judge, options: argparse.Namespace, codes: torch.Tensor, shown: torch.Tensor) -> list[LatentEditor]:
    """All four, the baselines fitted to ``codes`` and what they show."""
    width = judge.generator.shape.width
    makers: dict[str, Callable[[], LatentEditor]] = {
        "InterFaceGAN": lambda: fit_interfacegan(codes, shown, judge.reader),
        "StyleFlow": lambda: fit_styleflow(codes, shown, judge.reader, options.flow_steps),
        "GANSpace": lambda: fit_ganspace(codes, shown, judge.reader),
        "Latent to Latent": lambda: load_editor(options.editor, width),
    }
    return [make() for name, make in makers.items() if name in options.methods]


def state_of(options: argparse.Namespace) -> State:
    """What was measured with these options already."""
    asked = (options.strengths, options.seed, options.fitted, options.flow_steps, options.farthest)
    return State(options.state, np.array(asked))


def protocol(
    judge: Judge, editor: LatentEditor, codes: torch.Tensor, options: argparse.Namespace, plain: Seen
) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """The published measures of one editor, and the cases of :func:`at_change` by attribute. ``plain``: unedited
    pictures of many people."""
    out: dict[str, object] = {}
    cases: dict[str, np.ndarray] = {}
    spread, before, pushed = judge_spread(plain), judge.see(codes), unlimited(editor)
    started = time.process_time()
    for label, name in PROTOCOL.items():
        found = state_of(options).taken(judge, pushed, codes, before, name, options.strengths, options.farthest)
        own = found.moved[..., INDEX[name]] / spread[INDEX[name]]
        rate = [np.stack(pair, axis=1) for pair in zip(found.euclidean, np.abs(own), strict=True)]
        out[label] = interval(list(found.cosine), lambda x: float(x.mean()))
        out[f"{label}, euclidean"] = interval(list(found.euclidean), lambda x: float(x.mean()))
        out[f"{label}, per change"] = interval(rate, lambda x: float(x[:, 0].sum() / max(x[:, 1].sum(), 1e-6)))
        out[f"{label}, change reached"] = interval(rate, lambda x: float(x[:, 1].mean()))
        out[f"{label}, strengths"] = np.mean(found.steps[:, [0, -1]], axis=0).round(2).tolist()
        cases[label] = at_change(found.steps, own, found.cosine, _EQUAL)
        out[f"{label}, at equal change"] = measured(mean_of(cases[label]))
        out[f"{label}, reaches it"] = float(np.mean(~np.isnan(cases[label])))
        told = f"{label} {np.mean(found.cosine):.4f}, {time.process_time() - started:.0f} s"
        print(f"{editor.name}, {len(codes)} faces: {told}", flush=True)
    return out, cases


def measured(value: tuple[float, float, float]) -> tuple[float, float, float] | None:
    """Nothing where there was nothing to measure."""
    return value if np.isfinite(value).all() else None


def beside(found: dict[str, dict], cases: dict[str, dict[str, np.ndarray]]) -> None:
    """Adds to each baseline by how much Latent to Latent is nearer at equal change where both reach it, and in what
    share of these cases."""
    ours = cases.get(OURS, {})
    for name in cases.keys() - {OURS}:
        for label in ours.keys() & cases[name].keys():
            gain = cases[name][label] - ours[label]
            both = ~np.isnan(gain)
            found[name][f"{label}, farther than ours"] = measured(mean_of(gain))
            found[name][f"{label}, ours nearer"] = float((gain[both] > 0).mean()) if both.any() else None
            found[name][f"{label}, both reach it"] = int(both.sum())


def quality(judge: Judge, editor: LatentEditor | None, codes: torch.Tensor, plain: Seen) -> dict[str, object]:
    """How far pictures, each of another face and edited in one attribute by up to :data:`_USUAL`, lie from unedited
    ones of other people. Many faces with an edit each, since few faces with many edits tell how few faces there are. No
    editor: what unedited pictures have."""
    rng = np.random.default_rng(9)
    names = list(PROTOCOL.values())
    moved = [
        w[None] if editor is None else editor.edit(w[None], {names[number % 8]: float(rng.uniform(-_USUAL, _USUAL))})
        for number, w in enumerate(codes)
    ]
    features = np.concatenate([judge.see(one).features for one in moved])
    middles, warmth = middles_of(plain.features)
    usual = score(plain.features, middles, warmth)
    return {
        "FID": halves(features, lambda x: fid(x, plain.features)),
        "KID": halves(features, lambda x: kid(x, plain.features)),
        "ISD": halves(features, lambda x: abs(score(x, middles, warmth) - usual)),
    }


def judge_spread(plain: Seen) -> np.ndarray:
    """(A,): how much each attribute differs from picture to picture."""
    return np.maximum(plain.attributes.std(axis=0), 0.05)


def speed(editor: LatentEditor, judge: Judge, codes: torch.Tensor) -> dict[str, float]:
    """Seconds of one core for one edit, without and with the picture; the least of five."""
    edit, both = [], []
    with torch.no_grad():
        for number in range(5):
            began = time.thread_time()
            w = editor.edit(codes[number % len(codes)][None], {"age": 0.2})
            edit.append(time.thread_time() - began)
            judge.generator(w)
            both.append(time.thread_time() - began)
    return {"seconds": min(edit), "seconds with the picture": min(both)}


def apart(judge: Judge, editor: LatentEditor, codes: torch.Tensor, plain: Seen) -> tuple[np.ndarray, dict[str, float]]:
    """(A, A): by how many of its own spreads each attribute (column) changes when one (row) is asked to change by
    :data:`_APART`; and linearity, selectivity and cycle error over all of them."""
    before = judge.reader(codes).numpy()
    spread = judge_spread(plain)
    scale = codes.std(0).clamp_min(1e-4)
    rows, slopes, cycle = [], [], []
    for name in NAMES:
        sides = []
        for side in (1, -1):
            moved = editor.edit(codes, {name: side * _APART})
            sides.append(side * (judge.reader(moved).numpy() - before))
            if moved.ndim == 2:
                back = editor.edit(moved, {name: -side * _APART})
                cycle.append(float(((codes - back) / scale).abs().mean()) if back.ndim == 2 else np.nan)
        rows.append(np.mean(np.abs(np.mean(sides, axis=0)), axis=0) / spread)
        got = np.concatenate([side[:, INDEX[name]] for side in sides])
        slopes.append(float(got.mean()) / _APART)
    whole = np.stack(rows).astype(np.float64)
    own = np.diagonal(whole)
    others = (whole.sum(axis=1) - own) / (len(own) - 1)
    numbers = {
        "got of what was asked": float(np.mean(slopes)),
        "attributes that move the right way": float(np.mean(np.array(slopes) > 0.05)),
        "own over others": float(np.median(own / np.maximum(others, 1e-6))),
        "cycle error": float(np.nanmean(cycle)) if cycle else float("nan"),
    }
    return whole, numbers


def linearity(judge: Judge, editor: LatentEditor, codes: torch.Tensor) -> float:
    """Mean correlation of what is asked for and what comes, from -0.4 to 0.4, over the eight attributes."""
    steps = np.linspace(-0.4, 0.4, 5)
    out = []
    for name in PROTOCOL.values():
        got = [judge.reader(editor.edit(codes, {name: float(step)}))[:, INDEX[name]].numpy() for step in steps]
        told = np.stack(got, axis=1)
        told = told - told.mean(axis=1, keepdims=True)
        size = np.linalg.norm(told, axis=1) * np.linalg.norm(steps)
        out.append(float(np.mean((told @ steps)[size > 1e-6] / size[size > 1e-6])))
    return float(np.mean(out))


def heatmaps(path: Path, found: Mapping[str, np.ndarray]) -> None:
    """The pictures of what else changes, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(9 * len(found), 9), squeeze=False)
    for axis, (name, whole) in zip(axes[0], found.items(), strict=True):
        axis.imshow(whole, vmin=0, vmax=1, cmap="magma")
        axis.set_title(f"{name}: asked (rows), changed (columns), in spreads")
        axis.set_xticks(range(len(NAMES)), NAMES, rotation=90, fontsize=6)
        axis.set_yticks(range(len(NAMES)), NAMES, fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def strips(path: Path, judge: Judge, made: list[LatentEditor], codes: torch.Tensor) -> None:
    """A row an attribute and method: one face from -0.8 to 0.8."""
    from deid import imaging

    rows = []
    for name in PROTOCOL.values():
        for editor in made:
            line = edited(editor, codes[:1], name, np.linspace(-0.8, 0.8, 7))
            with torch.no_grad():
                pictures = colours(judge.generator(line)).permute(0, 2, 3, 1).numpy()
            row = np.hstack((pictures * 255).round().astype(np.uint8))[..., ::-1].copy()
            imaging.put_text(row, f"{name}, {editor.name}", (3, 12), 0, 0.4, (255, 255, 255), 1, imaging.LINE_AA)
            rows.append(row)
    path.write_bytes(imaging.encoded(np.vstack(rows), ".png"))


def told_as(value: object, digits: int) -> str:
    """A number, with its interval where it has one; a dash where nothing could be measured."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return "{:.{d}f} ({:.{d}f}-{:.{d}f})".format(*value, d=digits)
    return f"{value:.{digits}f}"


def markdown(found: Mapping[str, dict], judged_by: str, options: argparse.Namespace) -> str:
    """The tables."""
    names = list(found)
    head = "| | " + " | ".join(names) + " |\n|---|" + "---|" * len(names)

    def line(label: str, key: str, digits: int, published: bool = True) -> str:
        cells = []
        for name in names:
            text = told_as(found[name].get(key), digits)
            known = PUBLISHED[name].get(key) if published else None
            cells.append(f"{text} [{known:g}]" if known is not None else text)
        return f"| {label} | " + " | ".join(cells) + " |"

    def equal(label: str) -> str:
        cells = []
        for name in names:
            numbers = found[name]
            text = told_as(numbers[f"{label}, at equal change"], 3) + f", {numbers[f'{label}, reaches it']:.0%}"
            nearer = numbers.get(f"{label}, ours nearer")
            both = numbers.get(f"{label}, both reach it")
            cells.append(f"{text}; {nearer:.0%} of {both}" if both else text)
        return f"| {label} | " + " | ".join(cells) + " |"

    lines = [
        f"{options.faces} faces, {options.strengths} strengths, identity {judged_by}; 95 % intervals over faces; in "
        "square brackets what the paper has, on another generator, by another recogniser and other features.",
        "", head, *(line(label, label, 4) for label in PROTOCOL),
        *(line(key, key, 4) for key in ("FID", "KID", "ISD")),
        line("seconds", "seconds", 4), line("seconds with the picture", "seconds with the picture", 4, False),
        "", f"Cosine distance where the attribute has moved by {_EQUAL:g} spread the way it was asked to, and how many "
        f"of the {2 * options.faces} faces, up and down, get there; {OURS} nearer in so many of those where both do:",
        "", head, *(equal(label) for label in PROTOCOL),
        "", "Distance of recognition codes for each spread by which the attribute moved:", "", head,
        *(line(label, f"{label}, per change", 3, False) for label in PROTOCOL),
        "", "Spreads by which the attribute moved on average:", "", head,
        *(line(label, f"{label}, change reached", 2, False) for label in PROTOCOL),
        "", "Least and greatest strength at which there is a face, on average:", "", head,
        *(f"| {label} | " + " | ".join("{:.2f} to {:.2f}".format(*found[name][f"{label}, strengths"]) for name in names)
          + " |" for label in PROTOCOL),
        "", f"All {len(ATTRIBUTES)} attributes, each asked to change by {_APART}:", "", head,
        *(line(key, key, 3, False) for key in _WHOLE),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _is_interval(key: str, value: object) -> bool:
    return isinstance(value, list) and not key.endswith("strengths")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=50)
    parser.add_argument("--strengths", type=int, default=41)
    parser.add_argument("--methods", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--fitted", type=int, default=4096, help="codes that the baselines are fitted to")
    parser.add_argument("--flow-steps", type=int, default=3000)
    parser.add_argument("--plain", type=int, default=400, help="unedited pictures to compare with")
    parser.add_argument("--others", type=int, default=12, help="faces for the picture of what else changes")
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--regressor", type=Path)
    parser.add_argument("--editor", type=Path)
    parser.add_argument("--recogniser", type=Path, help="InceptionResnetV1 weights, to judge identity by")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--farthest", type=float, default=2.0, help="strength beyond which nobody is pushed")
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="keep what was measured, and go on from there")
    parser.add_argument("--beside", type=Path, help="results of an earlier call, of other methods, to be shown, too")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--strips", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.state is not None:
        options.state.mkdir(parents=True, exist_ok=True)
    judge = Judge(options)
    with closing(judge.detector):
        fitted = drawn(judge, options.fitted if set(options.methods) - {OURS} else 1, options.seed + 1)
        made = editors(judge, options, fitted, judge.reader(fitted))
        codes, plain = (
            drawn(judge, options.faces, options.seed + 2),
            judge.see(drawn(judge, options.plain, options.seed + 3)),
        )
        if options.strips is not None:
            strips(options.strips, judge, made, codes)
        found: dict[str, dict] = {}
        cases: dict[str, dict[str, np.ndarray]] = {}
        maps, edits = {}, drawn(judge, options.plain, options.seed + 4)
        floor = quality(judge, None, edits, plain)
        print("unedited:", {name: round(value[0], 3) for name, value in floor.items()}, flush=True)  # type: ignore[index]
        for count in range(_AT_A_TIME, options.faces if options.state is not None else 0, _AT_A_TIME):
            for editor in made:  # what is there at any time is alike for all of them
                protocol(judge, editor, codes[:count], options, plain)
        for editor in made:
            found[editor.name], cases[editor.name] = protocol(judge, editor, codes, options, plain)
            found[editor.name] |= speed(editor, judge, codes)
            found[editor.name] |= quality(judge, editor, edits, plain)
            maps[editor.name], numbers = apart(judge, editor, codes[: options.others], plain)
            found[editor.name] |= numbers | {"linearity": linearity(judge, editor, codes[: options.others])}
            if isinstance(editor, InterFaceGan):
                found[editor.name]["length left of normals by projection"] = float(editor.share.mean())
    beside(found, cases)
    if options.beside is not None:
        earlier = json.loads(options.beside.read_text())
        maps = {name: np.array(part) for name, part in earlier["others"].items()} | maps
        found = {
            name: {key: tuple(value) if _is_interval(key, value) else value for key, value in numbers.items()}
            for name, numbers in earlier["methods"].items()
        } | found
    by = "by the user's recogniser" if options.recogniser else "by the training recogniser (dlib)"
    told = markdown(found, by, options)
    print(told)
    if options.markdown is not None:
        options.markdown.write_text(told, encoding="utf-8")
    if options.picture is not None:
        heatmaps(options.picture, maps)
    if options.json is not None:
        out = {
            "faces": options.faces,
            "strengths": options.strengths,
            "farthest": options.farthest,
            "identity": by,
            "methods": found,
            "published": PUBLISHED,
            "unedited": floor,
            "others": {name: np.round(part, 4).tolist() for name, part in maps.items()},
        }
        options.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
