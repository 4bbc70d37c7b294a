"""Attacks what obscuring leaves of a face, with a recogniser. Lower is better; chance is printed beside it.

Every attack knows where the face was: it aligns on the landmarks of the untouched picture.

* naive: the gallery holds original faces, the probe is obscured.
* parrot: the gallery is obscured in the same way (E. Newton, L. Sweeney, B. Malin, *Preserving Privacy by
  De-identifying Face Images*, 2005), from another rendering of the same photograph. Each rendering is turned, scaled,
  exposed and coloured otherwise, is lit from another side, stands before another background and has its region placed
  anew, by about what detection jitters. Two measures: the recogniser, and plain correlation of colours ("parrot,
  colours"), which needs none. Hair style, beard, expression and the soft shadows of the one photograph are the same in
  both renderings, so that this bounds from above what two recordings of a person would give.
* same photograph: the parrot that knows the very photograph, background and light and all; only the region is placed
  anew. Any colour that is kept tells this attacker something.
* stack: 16 obscured frames with known, jittering regions are put together again by iterative back-projection (M. Irani,
  S. Peleg, *Improving resolution by image registration*, 1991), and the result is compared with original faces.

Rank-1 is how often the right person of the gallery comes first. The match rate is how many right pairs fall under the
distance that one wrong pair in a thousand falls under, with that distance chosen on the attacked pictures themselves.
`untouched` and `mosaic 20` (20 cells over the face's height) show that the attacks work.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from _portraits import FOLDER, OVAL, Portrait, frame_from_rgb, portraits, rgb_from_frame

from deid import imaging
from deid.recognition.dlib_net import DlibRecogniser, distance
from deid.redaction import Obscurer, Region, modes, obscure, regions_of
from deid.types import Evidence, Track

SIZES = (24, 32, 48, 64, 128, 256)
STACKED = 16
FAR = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A picture with the box and landmarks of its face. ``picture``: uint8 (H, W, 3) RGB."""

    picture: np.ndarray
    mesh: np.ndarray
    box: np.ndarray

    def region(self, rng: np.random.Generator, jitter: float) -> Region:
        """Where the face is obscured, with the box's centre and size off by ``jitter`` of the face."""
        box = self.box.astype(np.float64).copy()
        box[:2] += rng.normal(0, jitter, 2) * box[3]
        box[2:4] *= np.exp(rng.normal(0, jitter))
        one = np.ones(1, np.float32)
        sure = np.full(1, Evidence.LANDMARKS, np.uint8)
        return regions_of(Track(0, 0, 0, box.astype(np.float32)[None], sure, one, one * np.nan, True))[0]


def rendered(portrait: Portrait, height: float, rng: np.random.Generator | None) -> View:
    """The portrait, scaled so that its face box is ``height`` tall; with ``rng``, all that is not the face anew."""
    cx, cy, _, tall, roll = (float(v) for v in portrait.box)
    turn, scale = (0.0, 1.0) if rng is None else (rng.normal(0, 0.06), float(np.exp(rng.normal(0, 0.05))))
    scale *= height / tall
    side = round(2.2 * height)
    shift = np.zeros(2) if rng is None else rng.normal(0, 0.03, 2) * height
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]])
    matrix = np.hstack([linear, (np.array([side / 2, side / 2]) + shift - linear @ [cx, cy])[:, None]])
    step = max(1, int(1 / scale))
    rows, columns = (n // step for n in portrait.picture.shape[:2])
    small = imaging.resize(portrait.picture, (columns, rows), interpolation=imaging.INTER_AREA)
    by = portrait.picture.shape[1] / columns
    from_small = matrix @ np.array([[by, 0, (by - 1) / 2], [0, by, (by - 1) / 2], [0, 0, 1]])
    picture = imaging.warp_affine(
        small, from_small, (side, side), flags=imaging.INTER_LINEAR, borderMode=imaging.BORDER_REPLICATE
    )
    if rng is not None:
        picture = relit(picture, portrait.mesh[:, :2] @ linear.T + matrix[:, 2], rng)
    mesh = portrait.mesh[:, :2] @ linear.T + matrix[:, 2]
    centre = linear @ [cx, cy] + matrix[:, 2]
    box = np.array([*centre, portrait.box[2] * scale, tall * scale, roll + turn])
    return View(picture, mesh, box)


def relit(picture: np.ndarray, mesh: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The face under another exposure, white balance and direction of light, before a background of one random colour
    that begins a little outside the mesh."""
    side = len(picture)
    y, x = np.mgrid[:side, :side] / side - 0.5
    slope = rng.normal(0, 0.35, 2)
    light = np.exp(slope[0] * x + slope[1] * y)[..., None] * np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.04, 3))
    lit = 255 * (picture / 255) ** np.exp(rng.normal(0, 0.12)) * light
    centre = mesh.mean(0)
    outline = np.rint(centre + 1.12 * (mesh[OVAL] - centre)).astype(np.int32)
    mask = np.zeros((side, side), np.float32)
    imaging.fill_convex_poly(mask, outline, 1.0)
    mask = imaging.gaussian_blur(mask, (0, 0), 0.01 * side)[..., None]
    return np.clip(lit * mask + rng.uniform(20, 230, 3) * (1 - mask), 0, 255).astype(np.uint8)


Hide = Callable[[np.ndarray, Region, int], np.ndarray]


def hidden(mode: str) -> Hide:
    def hide(picture: np.ndarray, region: Region, seed: int) -> np.ndarray:
        return rgb_from_frame(Obscurer(mode, seed).apply(frame_from_rgb(picture), [region]))

    return hide


@contextmanager
def weakened(cells: float) -> Iterator[None]:
    """Runs the obscurer with ``cells`` plain means over the face's height, however small they get."""
    per_region = cells * regions_of_height()
    with mock.patch.multiple(obscure, CELLS=per_region, LEAST_CELL=0.5, _SOFTENING=0.05):
        yield


def regions_of_height() -> float:
    """A region's height over that of the face in it."""
    one = np.ones(1, np.float32)
    track = Track(0, 0, 0, np.float32([[0, 0, 70, 100, 0]]), np.zeros(1, np.uint8), one, one * np.nan, True)
    return regions_of(track)[0].ay * 2 / 100


def rates(distances: np.ndarray) -> tuple[float, float]:
    """Rank-1 and match rate at :data:`FAR` of probes (rows) against a gallery in the same order. Ties count their
    share: a probe that is equally far from everybody has learned nothing."""
    own = np.diag(distances)
    nearest = distances.min(axis=1)
    rank_1 = float(np.mean((own <= nearest) / (distances <= nearest[:, None]).sum(axis=1)))
    wrong = distances[~np.eye(len(distances), dtype=bool)]
    return rank_1, float((own < np.quantile(wrong, FAR)).mean())


def colours(chips: np.ndarray) -> np.ndarray:
    """Chips reduced to 10 x 10 colours of mean 0 and norm 1, so that distances are correlations: (N, 300)."""
    small = chips.reshape(len(chips), 10, 15, 10, 15, 3).mean((2, 4)).reshape(len(chips), -1)
    small = small - small.mean(1, keepdims=True)
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)


def between(probes: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    return distance(probes[:, None], gallery[None])


def attack(faces: list[Portrait], hide: Hide, height: int, recogniser: DlibRecogniser, originals: np.ndarray) -> dict:
    """The naive and the parrot attacks at one size."""
    rng = np.random.default_rng(height)

    def chips(fresh: bool, seed: int) -> np.ndarray:
        views = [rendered(face, height, rng if fresh else None) for face in faces]
        return np.stack([recogniser.chip(hide(v.picture, v.region(rng, 0.02), seed), v.mesh) for v in views])

    probes, gallery, probe, known = chips(True, 1), chips(True, 2), chips(False, 1), chips(False, 2)
    codes = recogniser.embed(probe)
    return {
        "naive": rates(between(codes, originals)),
        "parrot": rates(between(recogniser.embed(probes), recogniser.embed(gallery))),
        "parrot, colours": rates(between(colours(probes), colours(gallery))),
        "same photograph": rates(between(codes, recogniser.embed(known))),
    }


def stacked(view: View, hide: Hide, rng: np.random.Generator, rounds: int = 8) -> np.ndarray:
    """The picture that explains ``STACKED`` obscured frames best: uint8 (H, W, 3)."""
    regions = [view.region(rng, 0.02) for _ in range(STACKED)]
    seen = [hide(view.picture, region, 1).astype(np.float32) for region in regions]
    guess = np.mean(seen, axis=0)
    for _ in range(rounds):
        shown = np.clip(np.rint(guess), 0, 255).astype(np.uint8)
        error = np.mean([s - hide(shown, r, 1) for s, r in zip(seen, regions, strict=True)], axis=0)
        guess = np.clip(guess + 1.5 * error, 0, 255)
    return np.rint(guess).astype(np.uint8)


def stack_attack(
    faces: list[Portrait], hide: Hide, height: int, recogniser: DlibRecogniser, originals: np.ndarray
) -> dict:
    rng = np.random.default_rng(height)
    views = [rendered(face, height, None) for face in faces]
    chips = [recogniser.chip(stacked(view, hide, rng), view.mesh) for view in views]
    return {"stack": rates(between(recogniser.embed(np.stack(chips)), originals))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, default=FOLDER, help="folder of JPEG portraits, one person each")
    parser.add_argument("--count", type=int, default=40, help="people in the gallery (default: %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="face heights in pixels")
    parser.add_argument("--stack", type=int, default=20, help="people for the stack attack; 0 leaves it out")
    parser.add_argument("--stack-size", type=int, default=96, help="face height there (default: %(default)s)")
    parser.add_argument("--cells", type=float, help="cells over the face's height, in place of the shipped strength")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()

    start = time.monotonic()
    recogniser = DlibRecogniser(threads=options.threads)
    faces = list(portraits(options.portraits, options.count))
    originals = recogniser.embed(np.stack([recogniser.chip(face.picture, face.mesh) for face in faces]))

    def run(name: str, hide: Hide, sizes: list[int]) -> None:
        for height in sizes:
            for kind, (rank_1, match) in attack(faces, hide, height, recogniser, originals).items():
                found.append({"mode": name, "height": height, "attack": kind, "rank_1": rank_1, "match": match})
        if options.stack:
            some = slice(0, options.stack)
            done = stack_attack(faces[some], hide, options.stack_size, recogniser, originals[some])
            for kind, (rank_1, match) in done.items():
                row = {"mode": name, "height": options.stack_size, "attack": kind, "rank_1": rank_1, "match": match}
                found.append(row)

    found: list[dict] = []
    with weakened(20):
        run("mosaic 20", hidden("pixelate"), list(options.sizes))
    for mode in modes():
        if options.cells:
            with weakened(options.cells):
                run(f"{mode}, {options.cells:g} cells", hidden(mode), list(options.sizes))
        else:
            run(mode, hidden(mode), list(options.sizes))
    stack = options.stack
    options.stack = 0
    run("untouched", lambda picture, region, seed: picture, list(options.sizes))
    summary = {
        "people": len(faces),
        "people in the stack attack": min(stack, len(faces)),
        "chance rank-1": 1 / len(faces),
        "chance match": FAR,
        "seconds": round(time.monotonic() - start, 1),
        "rows": found,
    }
    print(json.dumps(summary, indent=2) if options.json else table(summary))


def table(summary: dict) -> str:
    kinds = ["naive", "parrot", "parrot, colours", "same photograph", "stack"]
    lines = [
        f"{summary['people']} people ({summary['people in the stack attack']} in the stack attack), "
        f"{summary['seconds']} s. Rank-1 / match rate at FAR {FAR:g}, in percent; "
        f"chance is {100 * summary['chance rank-1']:.1f} / {100 * FAR:.1f}.",
        "",
        "| mode | face height | " + " | ".join(kinds) + " |",
        "|---|---|" + "---|" * len(kinds),
    ]
    cells: dict[tuple[str, int], dict[str, str]] = {}
    for row in summary["rows"]:
        text = f"{100 * row['rank_1']:.0f} / {100 * row['match']:.0f}"
        cells.setdefault((row["mode"], row["height"]), {})[row["attack"]] = text
    for (mode, height), texts in cells.items():
        lines.append(f"| {mode} | {height} | " + " | ".join(texts.get(kind, "") for kind in kinds) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
