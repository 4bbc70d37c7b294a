"""Does a face look filmed? Colour by region, light by band, features beside the skin: source against output.

    python benchmarks/looks.py clip.mp4 out.mp4 [clip2.mp4 out2.mp4 ...] [--every 12] [--json result.json]

Faces of the source are brought onto the mean face by an affine map of their mesh; the output's pixels there
are compared with them. One row a clip:

    E          root mean square Lab difference of skin at 359 places (means over 0.4 cm): its light and its colour
    L a b      output less source, median over skin
    corr, sd   correlation of lightness over the skin, and the ratio of its standard deviations: the shape of the light
    forehead, cheeks, nose, chin   lightness, output less source
    bands      contrast, output over source, of details from 0 to .12, .25, .5, 1 and 2 cm on inner skin
    eyes, whites, under, lips      lightness beside the cheeks', output less source: both eyes' mean, their 85th
                                   percentile, the skin below, the lips; and ``red``, the lips' a*

An output that ends early is judged as far as it goes. Obscured faces have hardly any fine bands; leave such clips out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from _replacement_faces import FaceTrack, by_frame, observe
from contact_sheet import CACHE

from deid import imaging
from deid.media import Reader
from deid.media.convert import bgr
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.photo_samples import TRIPLES

_PER_CM, _SIZE = 8.0, (160, 192)
_BANDS = (0.12, 0.25, 0.5, 1.0, 2.0)
_EYES = ([33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
         [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466])  # fmt: skip
_LIPS = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
_INSIDE = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]
_CHEEKS, _UNDER = (50, 280, 117, 346), (119, 348, 230, 450)
_COLUMNS = ("E", "L", "a", "b", "corr", "sd", "forehead", "cheeks", "nose", "chin",
            "band1", "band2", "band3", "band4", "band5", "eyes", "whites", "under", "lips", "red")  # fmt: skip


class _Place:
    """The mean face, flattened: where its mesh, its samples and its inner skin lie in pixels."""

    def __init__(self) -> None:
        geometry = load_geometry()
        corners = geometry.triangles[geometry.landmark_triangles]
        mesh = (geometry.vertices[corners] * geometry.landmark_weights[:, :, None]).sum(axis=1)[:, :2]
        mesh = mesh - mesh.mean(axis=0)
        self.mesh = mesh * (_PER_CM, -_PER_CM) + np.array(_SIZE) / 2
        self.samples = np.rint(self.mesh[TRIPLES].mean(axis=1)).astype(int)
        at = mesh[TRIPLES].mean(axis=1)
        x, y = at[:, 0] / np.abs(mesh[:, 0]).max(), at[:, 1] / np.abs(mesh[:, 1]).max()
        self.regions = {
            "forehead": y > 0.6, "cheeks": (abs(x) > 0.35) & (abs(y) < 0.35),
            "nose": (abs(x) < 0.3) & (y > -0.1) & (y < 0.45), "chin": (y < -0.6) & (abs(x) < 0.4),
        }  # fmt: skip
        inner = np.zeros(_SIZE[::-1], np.uint8)
        for (px, py), central in zip(self.samples, (x / 0.75) ** 2 + (y / 0.75) ** 2 < 1, strict=True):
            if central:
                inner[py - 3 : py + 4, px - 3 : px + 4] = 1
        self.inner = inner > 0

    def affine(self, points: np.ndarray) -> np.ndarray:
        """(2, 3): brings the mesh ``points`` here."""
        known = np.column_stack([points[:468, :2], np.ones(468)])
        return np.asarray(np.linalg.lstsq(known, self.mesh, rcond=None)[0].T)

    def flattened(self, picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Lab, float32 (192, 160, 3), of a picture moved by :meth:`affine`."""
        size = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        if size < 0.7:  # fewer pixels: each the mean of those it stands for
            picture = imaging.gaussian_blur(picture, (0, 0), 0.45 / size)
        flat = imaging.warp_affine(picture, matrix, _SIZE, flags=imaging.INTER_LINEAR)
        return np.asarray(lab(flat[..., ::-1].astype(np.float32) / 255))


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB code values 0 to 1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ (matrix / matrix.sum(axis=1, keepdims=True)).T
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def contrast(lightness: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(5,): standard deviations of bands of detail inside ``mask``."""
    out, finer = [], lightness.astype(np.float32)
    for sigma in _BANDS:
        coarser = imaging.gaussian_blur(lightness.astype(np.float32), (0, 0), sigma * _PER_CM)
        out.append(float((finer - coarser)[mask].std()))
        finer = coarser
    return np.maximum(out, 0.05)


def compare(place: _Place, before: np.ndarray, after: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """One row of :data:`_COLUMNS` of two flattened faces; ``mesh``: the first one's, (468, 2) there."""
    skins = []
    for picture in (before, after):
        soft = imaging.gaussian_blur(np.ascontiguousarray(picture, np.float32), (0, 0), 1.2)
        skins.append(soft[place.samples[:, 1], place.samples[:, 0]])
    apart = skins[1] - skins[0]
    row = [float(np.sqrt((apart**2).sum(axis=1).mean())), *np.median(apart, axis=0)]
    row += [np.corrcoef(skins[0][:, 0], skins[1][:, 0])[0, 1], skins[1][:, 0].std() / max(skins[0][:, 0].std(), 0.1)]
    row += [float(np.median(apart[region, 0])) for region in place.regions.values()]
    row += list(contrast(after[..., 0], place.inner) / contrast(before[..., 0], place.inner))
    looks = [_features(mesh, picture) for picture in (before, after)]
    return np.array([*row, *(looks[1] - looks[0])])


def _features(mesh: np.ndarray, picture: np.ndarray) -> np.ndarray:
    def around(points: tuple[int, ...]) -> np.ndarray:
        spots = np.rint(mesh[list(points)]).astype(int)
        return np.median([picture[y - 2 : y + 3, x - 2 : x + 3].mean(axis=(0, 1)) for x, y in spots], axis=0)

    def inside(*loops: list[int]) -> np.ndarray:
        mask = np.zeros(_SIZE[::-1], np.uint8)
        imaging.fill_poly(mask, [np.rint(mesh[loop]).astype(np.int32) for loop in loops], 1)
        return picture[mask > 0]

    cheeks, eyes, lips = around(_CHEEKS), inside(*_EYES)[:, 0], np.median(inside(_LIPS, _INSIDE), axis=0)
    return np.array([
        eyes.mean() - cheeks[0], np.percentile(eyes, 85) - cheeks[0], around(_UNDER)[0] - cheeks[0],
        lips[0] - cheeks[0], lips[1] - cheeks[1],
    ])  # fmt: skip


def judge(source: Path, output: Path, tracks: list[FaceTrack], every: int = 12) -> dict[str, Any]:
    """Medians over the faces of every ``every``-th frame."""
    place, seen, rows = _Place(), by_frame(tracks), []
    with Reader(source, threads=1) as a, Reader(output, threads=1) as b:
        for left, right in zip(a, b, strict=False):
            if left.index % every or left.index not in seen:
                continue
            before, after = bgr(left), bgr(right)
            for track, row in seen[left.index]:
                matrix = place.affine(track.points[row])
                mesh = track.points[row][:468, :2] @ matrix[:, :2].T + matrix[:, 2]
                pictures = (place.flattened(picture, matrix) for picture in (before, after))
                rows.append(compare(place, *pictures, mesh))
    middle = np.median(rows, axis=0) if rows else np.full(len(_COLUMNS), np.nan)
    values = dict(zip(_COLUMNS, np.round(middle, 3).tolist(), strict=True))
    return {"source": source.name, "output": output.name, "faces": len(rows), "values": values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path, help="sources and outputs by turns")
    parser.add_argument("--every", type=int, default=12, help="frames between those that are compared")
    parser.add_argument("--json", type=Path, help="write all of it")
    options = parser.parse_args()
    if len(options.clips) % 2:
        parser.error("give a source and its output by turns")
    results = []
    print(f"{'clip':24s} faces " + " ".join(f"{name:>8s}" for name in _COLUMNS))
    for source, output in zip(options.clips[::2], options.clips[1::2], strict=True):
        results.append(judge(source, output, observe(source, cache=CACHE), options.every))
        values = " ".join(f"{value:8.2f}" for value in results[-1]["values"].values())
        print(f"{source.name[:24]:24s} {results[-1]['faces']:5d} {values}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
