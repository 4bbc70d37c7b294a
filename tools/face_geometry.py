"""Builds ``geometry.safetensors``: topology, mean, bases, and the tables by which lids, lips and eyes move."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from face_eyes import Eyeballs, Strips, build_eyeballs, build_strips
from face_landmarks import Correspondence, correspond
from face_light import occlusion
from face_source import HEAD_END, SOCKET_END, Source, load_source
from face_surface import HEAD, LIP_RINGS, MOUTH, SKIN, TONGUE, TOOTH, Surface, build_surface
from face_weights import lip_weights, region_weights
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.spatial import cKDTree

MODES = 56
_DRAWS, _SPREAD = 4000, 2.5
_CALM = 0.55
_EQUATOR = slice(1 + 32 * 10, 1 + 32 * 11)  # of an eyeball's vertices
_SILENT = 1.5e-3  # centimetres: what an expression moves less than this it does not move
CONTACT = slice(2, 9)  # lip rings (of LIP_RINGS) that can touch the other lip
CONTACT_RING = LIP_RINGS.index(7)
EYE_LEFT, LASHES, FLUID = 4, 6, 8
VERSION = "1"


@dataclass(frozen=True)
class Mesh:
    """Everything in one numbering. ``surface``: vertices 0..n, then per eye: eyeball, tears, lashes."""

    surface: Surface
    balls: Eyeballs
    strips: tuple[Strips, Strips]
    triangles: np.ndarray
    parts: np.ndarray
    uv: np.ndarray
    weld: np.ndarray
    eyes: np.ndarray
    tears: np.ndarray
    lashes: np.ndarray


def assemble(source: Source, surface: Surface) -> Mesh:
    """Number skin, mouth and teeth first, then what belongs to the eyes."""
    balls = build_eyeballs(source)
    strips = (build_strips(42, 0), build_strips(42, 1))
    triangles, parts, uv = [surface.triangles], [surface.parts], [surface.uv]
    start = len(surface.origin)
    groups: dict[str, list[np.ndarray]] = {"eyes": [], "tears": [], "lashes": []}
    for eye in (0, 1):
        strip = strips[eye]
        for name, t, u, part in (
            ("eyes", balls.triangles, balls.uv, EYE_LEFT + eye),
            ("tears", strip.tear_triangles, strip.tear_uv, FLUID),
            ("lashes", strip.lash_triangles, strip.lash_uv, LASHES),
        ):
            mirrored = eye == 1 and name != "eyes"  # columns run the other way round
            triangles.append((t[:, ::-1] if mirrored else t) + start)
            parts.append(np.full(len(t), part, np.uint8))
            uv.append(u)
            groups[name].append(np.arange(start, start + len(u)))
            start += len(u)
    first: dict[int, int] = {}
    weld = [first.setdefault(int(o), i) for i, o in enumerate(surface.origin)]
    weld += range(len(weld), start)
    return Mesh(
        surface,
        balls,
        strips,
        np.concatenate(triangles).astype(np.int32),
        np.concatenate(parts),
        np.concatenate(uv).astype(np.float32),
        np.array(weld, np.int32),
        *(np.stack(groups[n]).astype(np.int32) for n in ("eyes", "tears", "lashes")),
    )


def _spread(mesh: Mesh, values: np.ndarray) -> np.ndarray:
    """Source deltas (k, source vertices, 3) at the mesh's own vertices, zero at the eyes."""
    out = np.zeros((len(values), len(mesh.uv), 3), np.float32)
    out[:, : len(mesh.surface.origin)] = values[:, mesh.surface.origin]
    return out


def mean_and_modes(source: Source, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Mean (V, 3) and all source modes (100, V, 3), eyeballs moved and scaled as wholes."""
    mean = np.zeros((len(mesh.uv), 3))
    mean[: len(mesh.surface.origin)] = source.vertices[mesh.surface.origin]
    modes = _spread(mesh, source.identity)
    for eye in (0, 1):
        mean[mesh.eyes[eye]] = mesh.balls.centres[eye] + mesh.balls.radius * mesh.balls.template
        change = mesh.balls.modes[:, eye]
        modes[:, mesh.eyes[eye]] = change[:, None, :3] + change[:, 3, None, None] * mesh.balls.template
    return mean, modes


def principal(modes: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Own identity basis (MODES, V, 3): principal components, to one standard deviation, of heads that are drawn from
    the source's prior, cut off at ``_SPREAD`` deviations. ``weights``: (V,) area that each vertex stands for."""
    draws = np.clip(rng.normal(size=(_DRAWS, len(modes))), -_SPREAD, _SPREAD)
    flat = modes.reshape(len(modes), -1).astype(np.float64)
    gram = (flat * np.repeat(weights, 3)) @ flat.T
    covariance = np.cov(draws, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values)) @ vectors.T
    energy, axes = np.linalg.eigh(root @ gram @ root)
    order = np.argsort(-energy)[:MODES]
    print(f"{MODES} modes hold {energy[order].sum() / energy.sum():.4%} of the variance")
    basis = (axes[:, order].T @ root) @ flat
    signs = np.sign(basis.sum(axis=1))
    return (basis * np.where(signs == 0, 1, signs)[:, None]).reshape(MODES, -1, 3)


def vertex_areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V,) a third of the area of the triangles round each vertex, square centimetres."""
    p = points[triangles]
    area = np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1) / 6
    return np.bincount(triangles.ravel(), np.repeat(area, 3), len(points))


def _index_of(mesh: Mesh) -> dict[int, int]:
    return {int(o): int(mesh.weld[i]) for i, o in enumerate(mesh.surface.origin)}


LOWER_CHAIN = np.concatenate([np.arange(56, 74), np.arange(0, 19)])  # columns of the lip rings, the viewer's left
UPPER_CHAIN = np.arange(55, 18, -1)  # to right, corner to corner


def _close_lips(mean: np.ndarray, modes: np.ndarray, lips: np.ndarray, region: np.ndarray, weights: np.ndarray) -> None:
    """At rest the lips just touch, for everyone: the gap is taken out of the mean and of each mode, in place.

    ``lips``: (rings, 74) vertices. ``region`` (n,), ``weights`` (n, 74): what follows the columns of the lips.
    """
    lower, upper = lips[CONTACT_RING, LOWER_CHAIN], lips[CONTACT_RING, UPPER_CHAIN]
    xl, xu = mean[lower, 0].copy(), mean[upper, 0].copy()
    for shape, rest in [(mean, 0.004), *((m, 0.0) for m in modes)]:
        yl, yu = shape[lower, 1].copy(), shape[upper, 1].copy()
        move = np.zeros(74)
        move[LOWER_CHAIN] = 0.5 * (np.interp(xl, xu, yu) - yl - rest)
        move[UPPER_CHAIN] = -0.5 * (yu - np.interp(xu, xl, yl) - rest)
        shape[region, 1] += weights @ move


def _calm_lids(mesh: Mesh, mean: np.ndarray, modes: np.ndarray, lids: np.ndarray) -> None:
    """How far eyes stand open at rest differs less between people than in the source, where it mixes with expression:
    take ``_CALM`` of each lid's mean height over the eyeball out of every mode, in place. What an eye does is left to
    blink, squint and wide."""
    skin = mesh.weld[mesh.triangles[mesh.parts <= HEAD]]
    count = lids.shape[2]
    bow = np.sin(np.pi * np.minimum(np.arange(count), count - np.arange(count)) / (count // 2))
    for eye in (0, 1):
        rim, centre = lids[eye, 1], mesh.balls.centres[eye]
        region, weights, _ = region_weights(skin, mean, lids[eye, 2], 1.5, inside=lids[eye, :2].ravel())
        for ring in lids[eye, :2]:
            weights[np.searchsorted(region, ring)] = np.eye(count)
        equator = mesh.eyes[eye][_EQUATOR]
        for mode in modes:
            ball = mode[equator].mean(axis=0)
            growth = ((mode[equator] - ball) * (mean[equator] - centre)).sum() / ((mean[equator] - centre) ** 2).sum()
            rise = (mode[rim] - ball - growth * (mean[rim] - centre))[:, 1]
            shift = np.zeros(count)
            for chain in (slice(1, count // 2), slice(count // 2 + 1, count)):
                shift[chain] = -_CALM * np.average(rise[chain], weights=bow[chain]) * bow[chain] / bow[chain].mean()
            mode[region, 1] += weights @ np.clip(shift, -1, 1)


def expressions(source: Source, mesh: Mesh) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, deltas (E, V, 3) and the lids' share of looking about (2 eyes, in out up down, V, 3)."""
    names = [n for n in source.names if not n.startswith(("eyeLook", "PupilDilate"))]
    every = _spread(mesh, source.expression)
    every[np.linalg.norm(every, axis=2) < _SILENT] = 0
    upper_jaw = np.linalg.norm(every[source.names.index("jawOpen")], axis=1) < 0.3
    rigid = np.isin(np.arange(len(mesh.uv)), np.unique(mesh.triangles[mesh.parts == TOOTH])) & upper_jaw
    every[:, rigid] = 0
    deltas = every[[source.names.index(n) for n in names]]
    looks = [[f"eyeLook{way}_{side}" for way in ("In", "Out", "Up", "Down")] for side in "LR"]
    gaze = np.stack([every[[source.names.index(n) for n in row]] for row in looks])
    return names, deltas, gaze


def _clear_socket(mesh: Mesh, mean: np.ndarray, lips: np.ndarray) -> None:
    """The wall behind lips and chin comes through the skin in wide open mouths: move it back, in place."""
    wall = np.unique(mesh.triangles[mesh.parts == MOUTH])
    wall = wall[(mesh.surface.origin[wall] >= HEAD_END) & (mesh.surface.origin[wall] < SOCKET_END)]
    away = cKDTree(mean[lips[0]]).query(mean[wall])[0]
    mean[wall, 2] -= 0.55 * np.clip((away - 0.15) / 0.6, 0, 1) * np.clip((mean[wall, 2] - 6) / 3, 0, 1)
    mean[wall, 0] *= 1 - 0.06 * np.clip((away - 0.3) / 1.0, 0, 1)


def _lower_tongue(mesh: Mesh, mean: np.ndarray, jaw_open: np.ndarray) -> None:
    """The source's tongue hides the lower teeth when the jaw opens: lay it flatter and further back, in place."""
    tongue = np.unique(mesh.triangles[mesh.parts == TONGUE])
    front = np.clip((mean[tongue, 2] - 3.5) / 4.5, 0, 1)
    mean[tongue, 1] -= 0.22 * front
    jaw_open[tongue, 1] -= 0.45 * front
    jaw_open[tongue, 2] -= 0.35 * front


def index_sets(mesh: Mesh, mean: np.ndarray, found: Correspondence, lids: np.ndarray, lips: np.ndarray) -> dict:
    """The index sets of :class:`deid.models.morphable.geometry.Geometry`."""
    skin = np.unique(mesh.weld[mesh.triangles[mesh.parts <= HEAD]])
    nearest = skin[cKDTree(mean[skin]).query(found.take(mesh.triangles, mean))[1]]

    def at(points: list[int]) -> np.ndarray:
        return nearest[points].astype(np.int32)

    sets = {
        "outline": at(OVAL),
        "jawline": at(OVAL[8:29]),
        "lips_outer": at(LIPS_OUTER),
        "lips_inner": lips[CONTACT_RING].astype(np.int32),
        "brow_left": at(BROW_LEFT),
        "brow_right": at(BROW_RIGHT),
    }
    for eye, side in enumerate(("left", "right")):
        sets[f"lid_upper_{side}"] = lids[eye, 1, :22].astype(np.int32)
        sets[f"lid_lower_{side}"] = lids[eye, 1, [0, *range(41, 20, -1)]].astype(np.int32)
    return sets


OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149]
OVAL += [150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]
LIPS_OUTER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
BROW_LEFT = [276, 283, 282, 295, 285, 336, 296, 334, 293, 300]
BROW_RIGHT = [46, 53, 52, 65, 55, 107, 66, 105, 63, 70]


def build(data: Path, out: Path, portraits: Path | None = None) -> None:
    """Read ``data``/ict, write ``out``. ``portraits``: a folder to refine the landmark correspondence on."""
    source = load_source(data / "ict")
    mesh = assemble(source, build_surface(source))
    mean, modes = mean_and_modes(source, mesh)
    of = _index_of(mesh)
    lids = np.vectorize(of.__getitem__)(source.lid_rings)
    lips = np.vectorize(of.__getitem__)(source.lip_rings[list(LIP_RINGS)])
    move = _with_twins(mesh.weld, *lip_weights(mesh.weld[mesh.triangles[mesh.parts <= MOUTH]], mean, lips))
    _close_lips(mean, modes, lips, *move)
    _calm_lids(mesh, mean, modes, lids)
    skin = mesh.triangles[mesh.parts == SKIN]
    areas = vertex_areas(mean, mesh.triangles)
    behind = np.setdiff1d(np.arange(len(mean)), np.unique(skin))
    areas[behind] *= 0.15
    basis = principal(modes, areas, np.random.default_rng(20))
    names, deltas, gaze = expressions(source, mesh)
    _clear_socket(mesh, mean, lips)
    _lower_tongue(mesh, mean, deltas[names.index("jawOpen")])
    tables = motion_tables(mesh, mean, lids, lips, move, gaze)
    arrays = {
        "vertices": mean[mesh.weld],
        "identity": basis.astype(np.float16),
        "expression": deltas.astype(np.float16),
        "triangles": mesh.triangles,
        "parts": mesh.parts,
        "uv": mesh.uv,
        "weld": mesh.weld,
        "eye_centres": mesh.balls.centres,
        "eye_left": mesh.eyes[0],
        "eye_right": mesh.eyes[1],
        **tables,
    }
    finish(arrays, names, mesh, source, portraits, lids, lips, mean, basis, deltas)
    meta = {"expression_names": json.dumps(names), "eye_radius": f"{mesh.balls.radius:.6f}", "version": VERSION}
    meta["source"] = "ICT-FaceKit, USC Institute for Creative Technologies, MIT licence"
    save_file({k: _stored(v) for k, v in arrays.items()}, out, metadata=meta)
    _hang(out, mesh)
    print(f"{len(mean)} vertices, {len(mesh.triangles)} triangles, {out.stat().st_size / 1e6:.1f} MB")


def _with_twins(weld: np.ndarray, region: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The region with the vertices that share a place with its own, which seams of the texture part."""
    slot = np.full(len(weld), -1)
    slot[region] = np.arange(len(region))
    every = np.flatnonzero(slot[weld] >= 0)
    return every, weights[slot[weld[every]]]


def _hang(path: Path, mesh: Mesh) -> None:
    """Put tears and lashes of the written model where :meth:`Geometry.pose` puts them, and let them go with their
    lids in every identity."""
    from deid.models.morphable.geometry import read_geometry

    model = read_geometry(path)
    posed = model.pose(model.vertices, np.zeros(len(model.expression), np.float32), np.zeros((2, 2)))
    with safe_open(path, framework="numpy") as file:
        meta = file.metadata()
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for eye in (0, 1):
        rings = arrays["lid_rings"][eye]
        for own, lid in (
            (mesh.tears[eye], np.tile(rings[0], 2)),
            (mesh.lashes[eye], np.repeat(rings[-1][arrays["lash_columns"]], 3)),
        ):
            arrays["vertices"][own] = posed[own]
            arrays["identity"][:, own] = arrays["identity"][:, lid]
    save_file(arrays, path, metadata=meta)


def _pair(clear: np.ndarray, region: np.ndarray, rings: np.ndarray) -> None:
    """Columns that close on one point keep one distance from the eyeball, in place."""
    at = np.searchsorted(region, rings)
    other = at[:, (-np.arange(rings.shape[1])) % rings.shape[1]]
    clear[at] = np.minimum(clear[at], clear[other])


def _stored(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.astype(np.float32) if array.dtype == np.float64 else array)


def finish(arrays, names, mesh, source, portraits, lids, lips, mean, basis, deltas) -> None:
    """Landmark correspondence, index sets and occlusion, into ``arrays``."""
    found = correspond(source, mesh, mean, basis, deltas, portraits)
    arrays["landmark_triangles"], arrays["landmark_weights"] = found.triangles, found.weights.astype(np.float32)
    arrays.update(index_sets(mesh, mean, found, lids, lips))
    arrays["occlusion"] = _occlusion(mesh, mean, mean + 0.5 * deltas[names.index("jawOpen")])
    margin = arrays["occlusion"][lids]  # the lids' wet edges are no darker than their outer ones, however they close
    arrays["occlusion"][lids] = np.maximum(margin, margin[:, 2:])


def _occlusion(mesh: Mesh, mean: np.ndarray, opened: np.ndarray) -> np.ndarray:
    """Of the skin with everything in place; of teeth, gums and tongue in the ``opened`` mouth as if there were no
    lips; 1 at the eyes, whose shade depends on the lids."""
    inside = np.isin(mesh.parts, (2, TOOTH, TONGUE))
    out = occlusion(mean, mesh.triangles[mesh.parts < LASHES], mesh.weld)
    rest = np.unique(mesh.triangles[mesh.parts >= HEAD + 3])
    within = np.setdiff1d(np.unique(mesh.triangles[inside]), np.unique(mesh.triangles[mesh.parts <= HEAD]))
    out[np.setdiff1d(rest, within)] = 1
    out[within] = occlusion(opened, mesh.triangles[inside], mesh.weld)[within]
    return out


def motion_tables(mesh: Mesh, mean: np.ndarray, lids: np.ndarray, lips: np.ndarray, move, gaze: np.ndarray) -> dict:
    """What :mod:`deid.models.morphable._motion` needs, by its names."""
    skin = mesh.weld[mesh.triangles[mesh.parts <= HEAD]]
    regions, weights, clearances, looks = [], [], [], []
    for eye in (0, 1):
        region, weight, distance = region_weights(skin, mean, lids[eye, 2], 1.5, inside=lids[eye, :2].ravel())
        offset = mean[region] - mesh.balls.centres[eye]
        far = np.linalg.norm(offset, axis=1)
        reach = mesh.balls.radius * np.interp(
            offset[:, 2] / far, np.linspace(-1, 1, len(mesh.balls.profile)), mesh.balls.profile
        )
        clear = 0.05 + 0.12 * np.clip(distance / 0.8, 0, 1)
        ring = {int(v): r for r in range(3) for v in lids[eye, r]}
        own = [(0.006, 0.03, 0.05)[ring[v]] if v in ring else np.inf for v in region.tolist()]
        clear = np.where(np.isfinite(own), own, clear)
        clear = np.minimum(clear, np.maximum(far - reach, 0.006))
        _pair(clear, region, lids[eye])
        regions.append(region)
        weights.append(weight)
        clearances.append(clear)
        looks.append(gaze[eye][:, region])
    size = {len(r) for r in regions}
    if len(size) != 1:
        raise ValueError(f"the lids' regions differ in size: {size}")
    strips = mesh.strips
    return {
        "lid_rings": lids.astype(np.int32),
        "lid_region": np.stack(regions).astype(np.int32),
        "lid_weights": np.stack(weights).astype(np.float16),
        "lid_clearance": np.stack(clearances),
        "lid_looks": np.stack(looks).astype(np.float16),
        "eye_profile": mesh.balls.profile,
        "eye_equator": mesh.eyes[:, _EQUATOR],
        "tears": mesh.tears,
        "tear_width": strips[0].tear_width,
        "lashes": mesh.lashes,
        "lash_columns": strips[0].columns.astype(np.int32),
        "lash_side": strips[0].reach,
        "lash_length": strips[0].length,
        "lip_lower": lips[CONTACT][:, LOWER_CHAIN].astype(np.int32),
        "lip_upper": lips[CONTACT][:, UPPER_CHAIN].astype(np.int32),
        "lip_region": move[0].astype(np.int32),
        "lip_weights": np.concatenate([move[1][:, LOWER_CHAIN], move[1][:, UPPER_CHAIN]], axis=1).astype(np.float16),
    }
