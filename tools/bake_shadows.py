#!/usr/bin/env python3
"""Which part of each direction's light reaches each vertex of the resting head: nose, brow, lip, chin in its way.

    python tools/bake_shadows.py deid/models/morphable/shadows.safetensors

Precomputed radiance transfer of a matt surface (Sloan, Kautz and Snyder 2002): the cosine-weighted visibility of a
vertex, projected on the nine functions of :func:`deid.models.morphable.photo_shading.basis`, beside the same without
anything in the way. Visibility comes from depth maps in many directions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from face_light import seen_from_everywhere
from safetensors.numpy import save_file

from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import IdentityCode
from deid.models.morphable.geometry import Geometry, Part, load_geometry
from deid.models.morphable.photo_reference import load_reference
from deid.models.morphable.photo_samples import TRIPLES
from deid.models.morphable.photo_shading import basis
from deid.models.morphable.photo_surface import sampled, skin_level
from deid.models.morphable.render_model import head_model
from deid.models.morphable.shade import LUMA

_DIRECTIONS = 320
_FACES, _WIDE, _SHARE = 40, 0.9, 0.7


def transfer(geometry: Geometry) -> np.ndarray:
    """float32 (V, 2, 9): with what is in the way, and without; the mean of the basis under the cosine, so that open
    surfaces have 1 in the first place. Vertices that are no skin have nothing in their way."""
    points = geometry.vertices.astype(np.float64)
    triangles = geometry.triangles[geometry.parts <= Part.HEAD]
    seen, total = np.zeros((len(points), 9)), np.zeros((len(points), 9))
    for to, cosine, bare in seen_from_everywhere(points, triangles, geometry.weld, _DIRECTIONS):
        weighted = cosine[:, None] * basis(to)
        seen += weighted * bare[:, None]
        total += weighted
    norm = np.maximum(total[:, :1], 1e-9)
    out = np.stack([seen / norm, total / norm], axis=1)
    out[total[:, 0] <= 0] = np.eye(9)[0]
    return out.astype(np.float32)


def hollows(geometry: Geometry) -> np.ndarray:
    """float32 (V,): factors that skin of average albedo lacks, under its occlusion, to be as light at each place as
    faces on photographs are (:class:`SkinReference`): bags and folds are no part of the head's mesh, and the albedo
    has had its shade taken out. A Gaussian process over the samples, symmetric."""
    reference, appearance, model = load_reference(), load_appearance(), head_model(geometry)
    corners = geometry.triangles[geometry.landmark_triangles]
    at_mesh = (geometry.vertices[corners] * geometry.landmark_weights[:, :, None]).sum(axis=1)
    places = at_mesh[TRIPLES].mean(axis=1).astype(np.float64)
    open_ = (model.occlusion[corners] * geometry.landmark_weights).sum(axis=1)[TRIPLES].mean(axis=1)
    ratios = []
    for seed in range(_FACES):
        code, iris, _ = appearance.sample(np.random.default_rng(seed), gender=1 - 2 * (seed % 2), age=25 + 2 * seed)
        identity = IdentityCode(np.zeros(len(geometry.identity), np.float32), code, seed, iris)
        albedo = appearance.albedo(identity, 256)
        shown = sampled(geometry, albedo / skin_level(geometry, albedo))
        ratios.append(np.log((shown @ LUMA) / (reference.albedo @ LUMA)))
    lacking = -np.median(ratios, axis=0) - np.log(open_)
    mirror = [np.argmin(((places * (-1, 1, 1) - p) ** 2).sum(axis=1)) for p in places]
    lacking = np.clip(0.5 * (lacking + lacking[mirror]), -0.4, 0.4)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        apart = ((a[:, None] - b[None]) ** 2).sum(axis=2)
        return np.asarray(0.2**2 * np.exp(-0.5 * apart / _WIDE**2))

    noise = np.diag(0.6 * reference.spread.astype(np.float64) ** 2)
    height = np.linalg.solve(kernel(places, places) + noise, lacking)
    out = kernel(geometry.vertices.astype(np.float64), places) @ height
    return np.exp(_SHARE * np.clip(out, -0.3, 0.2)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the .safetensors file to write")
    options = parser.parse_args()
    geometry = load_geometry()
    tables = {"transfer": transfer(geometry), "hollows": hollows(geometry)}
    save_file({name: table.astype(np.float16) for name, table in tables.items()}, options.output)


if __name__ == "__main__":
    main()
