"""How the landmark model sees the face model's expressions: what its mesh does when a rendered face makes them.

    python tools/calibrate_expressions.py

MediaPipe's mesh is damped: brows that are drawn together, lips that are pursed and corners that are pulled down move
it less than they move the skin, and some of them move it elsewhere. A fit with the skin's own movements so finds weak
or wrong expressions. This script renders fictional people with known expressions in varied poses and light, reads the
meshes off the pictures, and fits by ridge regression, for every expression shape, how the mesh moves for one unit of
it: the shapes that the inversion looks for. No photograph takes part. Run it again when the geometry or the skin
changes much.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from deid import puppet
from deid.detection.landmarks import FaceLandmarker, roi_from_landmarks
from deid.models.morphable import fit_basis
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import Camera, IdentityCode, Light, head_rotation
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.render import Renderer

PEOPLE, FRAMES, SIZE, TEXTURE = 36, 40, 384, 512
FIRST_SEED = 9_000
RIDGE = 6.0  # frames' worth of evidence for the skin's own movement
MOST_SHAPES = 6  # that move at once
PATH = Path(fit_basis.__file__).with_name("mesh_expressions.safetensors")


def expressions(geometry: Geometry, rng: np.random.Generator) -> np.ndarray:
    """float32 (FRAMES, E): a few shapes at a time, most of them on both sides alike, some on one side only."""
    names = geometry.expression_names
    out = np.zeros((FRAMES, len(names)), np.float32)
    stems = sorted({name.removesuffix("_L").removesuffix("_R") for name in names})
    for row in out[2:]:  # the first two are at rest
        for stem in rng.choice(stems, rng.integers(1, MOST_SHAPES), replace=False):
            weight = rng.uniform(0.15, 1.0) * (
                0.4 if stem in ("jawOpen", "eyeBlink") else 0.6 if stem[:3] == "jaw" else 1.0
            )
            both = [
                i for i, name in enumerate(names) if name.startswith(stem) and name[len(stem) :] in ("", "_L", "_R")
            ]
            shares = rng.choice([0.0, 1.0], 2, p=[0.5, 0.5]) if rng.random() < 0.35 else rng.uniform(0.8, 1.0, 2)
            for i, share in zip(both, shares, strict=False):
                row[i] = weight * (share if len(both) > 1 else 1.0)
        close, jaw = names.index("mouthClose"), names.index("jawOpen")
        row[close] = min(row[close], row[jaw])
    return out


def light(rng: np.random.Generator) -> Light:
    turn, lift, strength = rng.uniform(-1.3, 1.3), rng.uniform(-0.1, 0.7), rng.uniform(0.15, 0.55)
    sh = np.zeros((9, 3), np.float32)
    sh[0] = 0.66
    sh[1], sh[2], sh[3] = strength * np.sin(turn), strength * lift, 0.35 + 0.3 * strength * np.cos(turn)
    level = rng.uniform(0.12, 0.5)
    tone = level * np.array([1.0, rng.uniform(0.62, 0.72), rng.uniform(0.45, 0.58)], np.float32)
    return Light(sh, tone.astype(np.float32), np.full(3, min(0.9, 1.7 * level), np.float32))


def watch(geometry: Geometry, landmarker: FaceLandmarker, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """One person's expressions (E,) and what the mesh shows, (468, 3), head space, centimetres; depth is the truth."""
    rng = np.random.default_rng(seed)
    appearance = load_appearance()
    skin, iris, detail = appearance.sample(rng)
    shape = np.clip(rng.normal(0, 0.85, len(geometry.identity)), -2.0, 2.0).astype(np.float32)
    renderer = Renderer(
        geometry, appearance.albedo(IdentityCode(shape, skin, detail, iris), TEXTURE), appearance.gloss(TEXTURE), iris
    )
    neutral, room = geometry.neutral(shape), puppet._room(SIZE, SIZE)
    weights, meshes = [], []
    for expression in expressions(geometry, rng):
        angles = rng.normal(0, 1, 3) * (9.0, 5.0, 4.0)
        place = np.array([SIZE * 0.5, SIZE * 0.47]) + rng.normal(0, 4, 2)
        camera = Camera(head_rotation(*angles), SIZE / rng.uniform(28, 40), place, rng.uniform(50, 130))
        gaze = np.repeat(rng.normal(0, 1, (1, 2)) * (0.12, 0.06), 2, axis=0).astype(np.float32)
        vertices = geometry.pose(neutral, expression, gaze)
        face = renderer.render(vertices, camera, light(rng), SIZE, SIZE)
        truth = puppet.Truth(expression, gaze, camera, tuple(angles))
        picture = puppet._composed(face, room, truth, SIZE, SIZE) + rng.normal(0, 1.5, (SIZE, SIZE, 3))
        points = fit_basis.surface_points(geometry, vertices).astype(np.float64)
        seen_truth = camera.project(points)
        shown = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        start = np.zeros((478, 3), np.float32)
        start[:468, :2] = seen_truth[:, :2]
        start[468:] = start[:468].mean(axis=0)
        found = landmarker.run(np.ascontiguousarray(shown), roi_from_landmarks(start), rgb=True)
        if found is None or found.presence < 0.8:
            continue
        found = landmarker.run(np.ascontiguousarray(shown), roi_from_landmarks(found.points), rgb=True)
        if found is None or found.presence < 0.8:
            continue
        weights.append(expression)
        meshes.append(in_head(found.points[:468], seen_truth[:, 2], camera))
    return weights, meshes


def in_head(points: np.ndarray, depth: np.ndarray, camera: Camera) -> np.ndarray:
    """Mesh points in the picture, (468, 2+), in head space, (468, 3), given their depths before the camera."""
    near = camera.scale / (1 - depth / camera.distance)
    flat = (points[:, :2].astype(np.float64) - camera.translation) / near[:, None] * (1, -1)
    return np.column_stack([flat, depth]) @ camera.rotation


def regress(basis: np.ndarray, weights: list[np.ndarray], meshes: list[np.ndarray]) -> np.ndarray:
    """(E, 468, 3): movements for one unit of each shape, drawn towards ``basis`` (E, 468, 3). ``weights``, ``meshes``:
    one array a person, (n, E) and (n, 468, 3); people's own means are taken out."""
    size = len(basis)
    normal, right = np.zeros((size, size)), np.zeros((size, 468 * 3))
    flat = basis.reshape(size, -1)
    for own, seen in zip(weights, meshes, strict=True):
        w = own - own.mean(axis=0)
        moved = (seen - seen.mean(axis=0)).reshape(len(seen), -1) - w @ flat
        normal += w.T @ w
        right += w.T @ moved
    return basis + np.linalg.solve(normal + RIDGE * np.eye(size), right).reshape(basis.shape)


def mirrored(moves: np.ndarray, names: tuple[str, ...], mean: np.ndarray) -> np.ndarray:
    """``moves`` (E, 468, 3) as the other side of the face makes them. ``mean``: (468, 3)."""
    flip = np.array([-1.0, 1.0, 1.0])
    points = np.argmin(np.linalg.norm(mean[:, None] * flip - mean[None], axis=2), axis=1)
    other = {"_L": "_R", "_R": "_L", "Left": "Right", "Right": "Left"}
    twins = []
    for name in names:
        ending = next((end for end in other if name.endswith(end)), "")
        twins.append(names.index(name[: len(name) - len(ending)] + other[ending] if ending else name))
    return moves[twins][:, points] * flip


def main() -> None:
    geometry = load_geometry()
    weights, meshes = [], []
    with FaceLandmarker() as landmarker:
        for person in range(PEOPLE):
            own, seen = watch(geometry, landmarker, FIRST_SEED + person)
            weights.append(np.stack(own).astype(np.float64))
            meshes.append(np.stack(seen))
            print(f"person {person + 1} of {PEOPLE}: {len(own)} pictures", flush=True)
    save_file({"seen": calibrated(geometry, weights, meshes)}, PATH)


def calibrated(geometry: Geometry, weights: list[np.ndarray], meshes: list[np.ndarray]) -> np.ndarray:
    """float32 (E, 468, 3), the same on both sides; prints what is left over in people that took no part."""
    basis = fit_basis.surface_points(geometry, geometry.expression).astype(np.float64)
    mean = fit_basis.surface_points(geometry, geometry.vertices).astype(np.float64)

    def symmetric(first: int, last: int) -> np.ndarray:
        moves = regress(basis, weights[first:last], meshes[first:last])
        return (moves + mirrored(moves, geometry.expression_names, mean)) / 2

    half = len(weights) // 2
    for name, moves in (("the skin's own", basis), ("measured", symmetric(0, half))):
        left = [
            ((m - m.mean(axis=0)) - np.tensordot(w - w.mean(axis=0), moves, 1))[..., :2]
            for w, m in zip(weights[half:], meshes[half:], strict=True)
        ]
        print(f"{name} movements leave {np.sqrt(np.mean(np.concatenate(left) ** 2)):.4f} cm in other people's meshes")
    return np.ascontiguousarray(symmetric(0, len(weights)), np.float32)


if __name__ == "__main__":
    main()
