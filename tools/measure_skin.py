#!/usr/bin/env python3
"""Measure what average skin and usual light look like at the places where photometry measures colours.

    python tools/measure_skin.py ../shared/data/portraits deid/models/morphable/skin.safetensors

On each portrait the face's normals are known from the fitted head; shading is fitted as second-order spherical
harmonics. What is left, in the median over people, is the relative albedo of skin (cheeks redder than the forehead) and
the shade of hollows, how far people differ from it tells how far a place can be trusted, and the shadings themselves
make the prior. Left and right count alike.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from deid import imaging
from deid.detection.landmarks import FaceLandmarker, Roi, roi_from_landmarks
from deid.models.morphable.finish import CODE_TO_LINEAR8
from deid.models.morphable.fit import fit_attributes, fit_identity
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.light import LUMINANCE, weighted_median
from deid.models.morphable.photo_reference import SkinReference
from deid.models.morphable.photo_samples import COUNT, TRIPLES
from deid.models.morphable.photo_shading import basis, normal_equations, robust_weights
from deid.models.morphable.photo_surface import sample_normals
from deid.models.morphable.photometry import observe, stack_records, valid_samples
from deid.models.morphable.tracks import Observations

_SIDE = 512
_MIRROR = np.array([1, -1, 1, 1, -1, -1, 1, 1, 1.0])
_START = np.array([0.9, 0, 0.1, 0.12, 0, 0, 0, 0, 0])
_LOOSE = np.diag([0.5, 4, 4, 4, 25, 25, 25, 40, 60.0])
_WIDER = 12.0
"""Variance of the prior beyond the portraits', whose light is tame: with it one half of a face predicts the other
better, on portraits as on footage."""


def read_portraits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Records (n,), and unit normals float32 (n, N, 3) at the samples in camera space."""
    geometry = load_geometry()
    records, normals = [], []
    with FaceLandmarker() as landmarker:
        for path in sorted(folder.glob("*.jpg")):
            picture = imaging.resize(imaging.imread(str(path)), (_SIDE, _SIDE), interpolation=imaging.INTER_AREA)
            roi, face = Roi(_SIDE / 2, _SIDE / 2, 0.8 * _SIDE), None
            for _ in range(3):
                face = landmarker.run(picture, roi)
                if face is None or face.presence < 0.8:
                    break
                roi = roi_from_landmarks(face.points)
            if face is None or face.presence < 0.8:
                continue
            seen = Observations(np.zeros(1, np.int32), face.points[None], np.ones(1, np.float32), (_SIDE, _SIDE))
            identity = fit_identity(geometry, seen)
            track = fit_attributes(geometry, identity.shape, identity.distance, seen, offsets=identity.offsets)
            surface = sample_normals(geometry, geometry.neutral(identity.shape))
            normals.append(surface.at(track.expression)[0] @ track.rotation[0].T)
            records.append(observe(np.ascontiguousarray(picture[..., ::-1]), face.points))
    return stack_records(records), np.array(normals, np.float32)


def mirrored() -> np.ndarray:
    """(N,): the sample on the other side of the face."""
    geometry = load_geometry()
    corners = geometry.triangles[geometry.landmark_triangles]
    mesh = (geometry.vertices[corners] * geometry.landmark_weights[:, :, None]).sum(axis=1)
    places = mesh[TRIPLES].mean(axis=1)
    return np.array([np.argmin(((places * (-1, 1, 1) - p) ** 2).sum(axis=1)) for p in places])


def measure(records: np.ndarray, normals: np.ndarray, rounds: int = 6) -> SkinReference:
    """The reference, by turns: shading given albedo, albedo given shading, from skin of one colour and soft light."""
    other = mirrored()
    terms = basis(normals)
    linear = CODE_TO_LINEAR8[records["skin"]]
    facing = normals[..., 2]
    seen = np.where(facing > 0.12, np.minimum(1.5 * facing, 1), 0) * valid_samples(records)
    seen = (seen * np.where(records["skin"].max(axis=2) >= 250, 0.3, 1)).astype(np.float32)
    frontal = basis(sample_normals(load_geometry(), load_geometry().vertices).rest.astype(np.float64))
    albedo, spread = np.ones((COUNT, 3)), np.full(COUNT, 0.15)
    mean, precision = _START, _LOOSE
    for _ in range(rounds):
        reference = _reference(albedo, spread, mean, precision, np.eye(4))
        grey = (albedo @ LUMINANCE).astype(np.float32)
        luminance = linear @ LUMINANCE.astype(np.float32)
        level = weighted_median(luminance / grey, seen)[:, None].astype(np.float32)
        flat = np.log(np.maximum(linear / albedo.astype(np.float32), 1e-4))
        tint = flat[..., ::2] - flat[..., 1:2]
        tint -= np.stack([weighted_median(tint[..., k], seen) for k in (0, 1)], axis=-1)[:, None]
        weights, shading, _ = robust_weights(terms * grey[:, None], luminance / level, tint, seen, reference)
        predicted = np.maximum(np.einsum("nij,nj->ni", terms, shading), 0.1)
        residual = np.log(np.maximum(luminance, 1e-4) / (predicted * level * grey))
        known = seen > 0.3
        middle = _symmetric_median(residual, known, other)
        spread = np.clip(1.4826 * _symmetric_median(np.abs(residual - middle), known, other), 0.06, 0.6)
        trust = known.mean(axis=0) / spread**2
        albedo = _updated(
            albedo, middle, [_symmetric_median(tint[..., k], known, other) for k in (0, 1)], trust, frontal
        )
    relative = shading / (shading @ np.average(frontal, axis=0, weights=trust))[:, None]
    mean = np.median(relative, axis=0) * (_MIRROR > 0)
    both = np.concatenate([relative - mean, (relative - mean) * _MIRROR])
    far = np.linalg.norm(both / both.std(axis=0), axis=1)
    precision = np.linalg.inv(_WIDER * np.cov(both[far < np.percentile(far, 97)].T) + 1e-3 * np.eye(9))
    return _reference(albedo, spread, mean, precision, _tint_precision(terms, linear, weights, shading, albedo))


def _reference(
    albedo: np.ndarray, spread: np.ndarray, mean: np.ndarray, precision: np.ndarray, tint: np.ndarray
) -> SkinReference:
    return SkinReference(albedo.astype(np.float32), spread.astype(np.float32), mean, precision, tint)


def _symmetric_median(values: np.ndarray, known: np.ndarray, other: np.ndarray) -> np.ndarray:
    median = np.nanmedian(np.where(known, values, np.nan), axis=0)
    return 0.5 * (median + median[other])


def _updated(
    albedo: np.ndarray, luminance: np.ndarray, tints: list[np.ndarray], trust: np.ndarray, frontal: np.ndarray
) -> np.ndarray:
    """``albedo`` with residuals taken in. What its luminance shares with a frontal face's shading is left to the light:
    the two cannot be told apart."""
    log_grey = np.log(albedo @ LUMINANCE) + luminance
    root = np.sqrt(trust)
    log_grey -= frontal @ np.linalg.lstsq(frontal * root[:, None], log_grey * root, rcond=None)[0]
    ratios = [np.log(albedo[:, c] / albedo[:, 1]) + t for c, t in zip((0, 2), tints, strict=True)]
    red, blue = (np.exp(r - np.average(r, weights=trust)) for r in ratios)
    out = np.stack([red, np.ones_like(red), blue], axis=1)
    out *= (np.exp(log_grey) / (out @ LUMINANCE))[:, None]
    return out / np.average(out, axis=0, weights=trust)


def _tint_precision(
    terms: np.ndarray, linear: np.ndarray, weights: np.ndarray, shading: np.ndarray, albedo: np.ndarray
) -> np.ndarray:
    light = np.einsum("nij,nj->ni", terms, shading)
    found = []
    for c in range(3):
        expected = light * albedo[:, c].astype(np.float32)
        level = (weights * expected * linear[..., c]).sum(axis=1) / (weights * expected**2).sum(axis=1)
        own = np.ascontiguousarray(terms[..., :4]) * albedo[:, c, None].astype(np.float32)
        matrix, vector = normal_equations(own, linear[..., c] / level[:, None] - expected, weights)
        found.append(np.linalg.solve(matrix + np.diag([0.5, 10, 10, 10.0]), vector[..., None])[..., 0])
    spread = 1.4826 * np.median(np.abs(np.concatenate(found)), axis=0)
    return np.diag(1 / np.maximum(spread, 0.01) ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path, help="folder of portraits, JPEG")
    parser.add_argument("output", type=Path, help="file to write")
    options = parser.parse_args()
    records, normals = read_portraits(options.portraits)
    reference = measure(records, normals)
    arrays = {name: np.ascontiguousarray(getattr(reference, name)) for name in SkinReference.__dataclass_fields__}
    save_file(arrays, options.output)
    print(f"{len(records)} portraits; spread of luminance {np.median(reference.spread):.2f}")


if __name__ == "__main__":
    main()
