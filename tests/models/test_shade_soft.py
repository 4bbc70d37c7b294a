"""Light inside a nose: normals that are smooth there, and nowhere else."""

from __future__ import annotations

import numpy as np

from deid.models.morphable.geometry import Part, load_geometry
from deid.models.morphable.raster import vertex_normals
from deid.models.morphable.shade_soft import _nearest, soft_normals, soften


def test_a_nose_turns_from_light_to_shade_softly_and_the_rest_stays() -> None:
    geometry = load_geometry()
    skin = np.unique(geometry.triangles[geometry.parts == Part.SKIN]).astype(np.int32)
    soft = soft_normals(geometry, skin)
    assert np.allclose(soft.weights.sum(axis=1), 1, atol=1e-5)
    assert (soft.weights >= 0).all()
    normals = np.empty_like(geometry.vertices)
    vertex_normals(geometry.vertices, geometry.triangles, geometry.weld, normals)
    out = np.empty_like(normals)
    soften(*soft, normals, out)
    assert np.allclose(np.linalg.norm(out[soft.members], axis=1), 1, atol=1e-4)
    rest = np.ones(len(normals), bool)
    rest[soft.members] = False
    assert np.array_equal(out[rest], normals[rest])
    middle = np.abs(geometry.vertices[soft.members, :2] - (0, 1.4)).max(axis=1) < 1.5

    ahead = middle & (normals[soft.members, 2] > 0.2)

    def rough(shown: np.ndarray) -> float:
        own, near = shown[soft.members[ahead]], shown[soft.around[ahead]]
        return float((soft.weights[ahead] * np.square(near - own[:, None]).sum(axis=2)).sum(axis=1).mean())

    assert rough(out) < 0.92 * rough(normals)
    turned = np.einsum("ij,ij->i", out[soft.members[middle]], normals[soft.members[middle]])
    assert np.percentile(turned, 2) > 0.5  # a nose keeps its form


def test_the_nearest_are_those_that_sorting_all_of_them_gives_with_pairs_in_one_place() -> None:
    rng = np.random.default_rng(0)
    apart = np.repeat(rng.uniform(size=(40, 60)), 2, axis=1)
    places, values = _nearest(apart, 15)
    expected = np.argsort(apart, axis=1, kind="stable")[:, :15]
    assert np.array_equal(places, expected)
    assert np.array_equal(values, np.take_along_axis(apart, expected, axis=1))
