"""What is loaded ahead of the second pass is what it would load itself, and changes nothing."""

import numpy as np

from deid.models.morphable import inversion, light
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.fit_basis import fit_basis
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.rehearsal import rehearse
from deid.tracking.records import FaceRecord, RecordFile


def test_a_rehearsal_leaves_the_tables_made():
    geometry = load_geometry()
    rehearse(geometry, load_appearance())
    before = fit_basis.cache_info().misses
    fit_basis(geometry)
    assert fit_basis.cache_info().misses == before
    assert light.load_reference.cache_info().currsize == 1


def test_records_are_read_by_several_threads_at_once():
    from concurrent.futures import ThreadPoolExecutor

    records = RecordFile(np.dtype(np.float32))
    rng = np.random.default_rng(1)
    meshes = rng.uniform(0, 100, (40, 478, 3)).astype(np.float32)
    for frame, points in enumerate(meshes):
        records.append(FaceRecord(frame, points, 1.0, np.float32(frame)))  # type: ignore[arg-type]
    rows = np.arange(40)
    frames = rows.astype(np.int32)
    whole = inversion.Witnessed.of(frames, rows)

    def read(row: int) -> np.ndarray:
        return whole.read(records, np.array([row]), (100, 100))[0].points[0]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, [*range(40)] * 5))
    for row, points in zip([*range(40)] * 5, found, strict=True):
        np.testing.assert_allclose(points, meshes[row], atol=0.02)
    records.close()
