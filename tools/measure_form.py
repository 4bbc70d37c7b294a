#!/usr/bin/env python3
"""What rendered faces lack of form: folds beside nose and mouth, corners, lid edges, where photographs are darker.

    python tools/measure_form.py ../shared/data/portraits deid/models/morphable/shadows.safetensors

Faces in portraits are replaced as in a run. The mesh is found in the picture before and after; both are brought onto
the mean face, and the logarithms of their luminance, each less its cheeks', compared: the median over people, symmetric
and smooth, says how much too light a place is. Eyes, the lips' red and brows are left out, which have colours of their
own; below the nose women alone are looked at, since moustaches are no form. A share of it goes into the factors
``hollows`` of the file. Run it after ``bake_shadows.py``; again, it measures what is left.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT), str(_ROOT / "benchmarks")]

from _portraits import OVAL  # noqa: E402

from deid import imaging, pipeline  # noqa: E402
from deid.config import RunConfig  # noqa: E402
from deid.detection.landmarks import FaceLandmarker, roi_from_box  # noqa: E402
from deid.media import Reader  # noqa: E402
from deid.media.convert import bgr  # noqa: E402
from deid.models.morphable.engine import MorphableEngine  # noqa: E402
from deid.models.morphable.finish import CODE_TO_LINEAR8  # noqa: E402
from deid.models.morphable.geometry import Geometry, Part, load_geometry  # noqa: E402
from deid.plan import FaceAt  # noqa: E402
from deid.progress import QuietProgress  # noqa: E402

_PER_CM, _WIDE, _HIGH = 24.0, 360, 480
_LUMA = np.array([0.0722, 0.7152, 0.2126])  # blue, green, red
_LIPS = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146]
_EYES = ([33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
         [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466])  # fmt: skip
_BROWS = [70, 63, 105, 66, 107, 55, 65, 52, 53, 46], [300, 293, 334, 296, 336, 285, 295, 282, 283, 276]
_UNDER_NOSE, _BEARD_FADES = 2, 10.0  # a point of the mesh; pixels over which women alone come to count
_CHEEKS, _CORNERS = (50, 280, 101, 330, 205, 425), (61, 291)
_SHARE, _MORE_NEAR = 0.5, 0.2  # portraits smile; what lids and corners lack they lack at rest as well
_MOST = (-0.35, 0.75)
_BOUNDS = (0.52, 1.32)  # of the factors in the end


class MeanFace:
    """The mean head's mesh in pixels, and which of its triangles each pixel lies in."""

    def __init__(self, geometry: Geometry) -> None:
        from scipy.spatial import Delaunay

        corners = geometry.triangles[geometry.landmark_triangles]
        mesh = (geometry.vertices[corners] * geometry.landmark_weights[:, :, None]).sum(axis=1)
        self.centre, self.back = mesh[:, :2].mean(axis=0), float(mesh[:, 2].min())
        self.mesh = self.pixels(mesh)
        net = Delaunay(self.mesh)
        places = np.stack(np.meshgrid(np.arange(_WIDE), np.arange(_HIGH)), axis=-1).reshape(-1, 2)
        inside = net.find_simplex(places)
        change = net.transform[inside]
        two = np.einsum("nij,nj->ni", change[:, :2], places - change[:, 2])
        self._corners, self._weights = net.simplices[inside], np.column_stack([two, 1 - two.sum(axis=1)])

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) of head-space points (n, 3)."""
        found: np.ndarray = (points[:, :2] - self.centre) * (_PER_CM, -_PER_CM) + (_WIDE / 2, _HIGH / 2)
        return found

    def relief(self, picture: np.ndarray, mesh: np.ndarray) -> np.ndarray:
        """float32 (480, 360): log luminance of ``picture``, uint8 BGR, less the cheeks'. ``mesh``: (468, 2)."""
        at = (mesh[self._corners] * self._weights[..., None]).sum(axis=1).astype(np.float32).reshape(_HIGH, _WIDE, 2)
        light = (CODE_TO_LINEAR8[picture] @ _LUMA).astype(np.float32)
        size = float(np.ptp(mesh[:, 1]) / np.ptp(self.mesh[:, 1]))
        if size > 1:
            light = imaging.gaussian_blur(light, (0, 0), 0.4 * size)
        log = np.log(np.maximum(imaging.remap(light, at[..., 0], at[..., 1], imaging.INTER_LINEAR), 0.004))
        places = np.rint(self.mesh[list(_CHEEKS)]).astype(int)
        return np.asarray(log - np.median([log[y - 4 : y + 5, x - 4 : x + 5].mean() for x, y in places]))

    def inside(self, ids: list[int], grown: int = 0) -> np.ndarray:
        """float32 (480, 360): 1 inside a ring of mesh points, grown or, below 0, shrunk by so many pixels."""
        mask = np.zeros((_HIGH, _WIDE), np.uint8)
        imaging.fill_poly(mask, [np.rint(self.mesh[ids]).astype(np.int32)], 1)
        kernel = np.ones((2 * abs(grown) + 1,) * 2, np.uint8)
        return (imaging.dilate if grown > 0 else imaging.erode)(mask, kernel).astype(np.float32)


def replaced(path: Path, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The picture before and after, uint8 BGR, and the box of the face in it, unless it wears glasses."""
    config, quiet = RunConfig(threads=1, max_height=900), QuietProgress()
    engine = MorphableEngine(config, seed)
    try:
        analysis, seconds = pipeline.analyse(path, config, quiet, engine.observer)
        done = engine.invert(analysis, seconds, quiet)
        with Reader(path, max_height=900) as reader:
            frame = next(iter(reader))
        for track in analysis.tracks:
            if track.id in done and engine._casts[track.id].sitter.eyewear is None and done[track.id].weights[0] > 0:
                x, y, w, h = track.box_at(0)[:4]
                box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
                yield bgr(frame), bgr(engine.paint(frame, [FaceAt(track.id, int(done[track.id].rows[0]))])), box
    finally:
        engine.close()


def women_of(folder: Path) -> set[str]:
    """Names of the portraits of women, out of the folder's table."""
    with next(iter(sorted(folder.glob("*.csv")))).open(newline="") as table:
        return {row["file"] for row in csv.DictReader(table) if row["gender"] == "female"}


def lacking(face: MeanFace, paths: list[Path], women: set[str]) -> np.ndarray:
    """float32 (480, 360): how much lighter, in logarithms, rendered faces are than photographed ones."""
    found, shaven = [], []
    with FaceLandmarker() as landmarker:
        for number, path in enumerate(paths):
            for before, after, box in replaced(path, number):
                meshes = [landmarker.run(picture, roi_from_box(box)) for picture in (before, after)]
                if all(mesh is not None and mesh.presence > 0.5 for mesh in meshes):
                    old, new = (
                        face.relief(picture, mesh.points[:468, :2].astype(np.float64))  # type: ignore[union-attr]
                        for picture, mesh in zip((before, after), meshes, strict=True)
                    )
                    found.append(new - old)
                    shaven.append(path.name in women)
            print(f"{number + 1} of {len(paths)}: {len(found)} faces", file=sys.stderr)
    both = np.stack(found)
    both = (both + both[:, :, ::-1]) / 2
    nose = face.mesh[_UNDER_NOSE, 1]
    below = np.clip((np.arange(_HIGH) - nose) / _BEARD_FADES, 0.0, 1.0)[:, None]
    everybody, smooth = np.median(both, axis=0), np.median(both[np.array(shaven)], axis=0)
    return np.asarray(everybody + below * (smooth - everybody), np.float32)


def form(face: MeanFace, light: np.ndarray) -> np.ndarray:
    """float32 (480, 360): the share of ``light`` that is taken off, as smooth as skin is there."""
    eyes, brows = (sum(face.inside(ids, grown) for ids in both) for both, grown in ((_EYES, 0), (_BROWS, 9)))
    places = np.stack(np.meshgrid(np.arange(_WIDE), np.arange(_HIGH)), axis=-1)
    apart = np.linalg.norm(places[:, :, None] - face.mesh[list(_CORNERS)], axis=3).min(axis=2)
    corners = (apart < 9).astype(np.float32)
    own = np.maximum(np.maximum(face.inside(_LIPS, -2), eyes), np.maximum(brows, 1 - face.inside(OVAL, -14)))
    bare = np.where(corners > 0, 1, 1 - np.minimum(own, 1)).astype(np.float32)

    def smooth(sigma: float) -> np.ndarray:
        weight = np.maximum(imaging.gaussian_blur(bare, (0, 0), sigma), 0.05)
        return np.asarray(imaging.gaussian_blur(light * bare, (0, 0), sigma) / weight)

    rims = sum(face.inside(ids, 8) for ids in _EYES)
    near = imaging.gaussian_blur(np.minimum(rims + corners, 1).astype(np.float32), (0, 0), 2.0)
    taken = np.clip(near * smooth(1.5) + (1 - near) * smooth(4.0), *_MOST) * (_SHARE + _MORE_NEAR * near)
    hair = sum(face.inside(ids, 6) for ids in _BROWS) + face.inside(_LIPS, -3)
    hair = imaging.gaussian_blur(np.minimum(hair, 1).astype(np.float32), (0, 0), 2.0)
    return np.asarray(taken * imaging.gaussian_blur(face.inside(OVAL, -26), (0, 0), 9.0) * (1 - hair))


def at_vertices(geometry: Geometry, face: MeanFace, taken: np.ndarray) -> np.ndarray:
    """float32 (V,): factors on the light of the face's skin, of what is taken off its logarithm."""
    at = face.pixels(geometry.vertices).astype(np.float32)[None]
    factors = np.exp(-imaging.remap(taken.astype(np.float32), at[..., 0], at[..., 1], imaging.INTER_LINEAR)[0])
    skin = np.zeros(len(geometry.vertices), bool)
    skin[geometry.triangles[geometry.parts <= Part.HEAD]] = True
    factors[~skin | (geometry.vertices[:, 2] < face.back)] = 1.0
    return np.asarray(factors, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("shadows", type=Path, help="the .safetensors file to change")
    parser.add_argument("--count", type=int, default=60, help="portraits, spread evenly (default 60)")
    options = parser.parse_args()
    geometry = load_geometry()
    face = MeanFace(geometry)
    every = sorted(options.portraits.glob("*.jpg"))
    paths = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, options.count).astype(int))]
    taken = form(face, lacking(face, paths, women_of(options.portraits)))
    factors = at_vertices(geometry, face, taken)
    tables = load_file(options.shadows)
    # measuring again and again must not pile up where something else is missing
    tables["hollows"] = np.clip(tables["hollows"].astype(np.float32) * factors, *_BOUNDS).astype(np.float16)
    save_file(tables, options.shadows)
    print(f"factors from {factors.min():.2f} to {factors.max():.2f} on {len(factors)} vertices")


if __name__ == "__main__":
    main()
