"""What the first pass notes about a face's colours: a record of fixed size for each face and frame.

Colours of skin at fixed places of the face (:mod:`.photo_samples`), of the whites of the eyes and of the teeth; how
soft and how noisy the picture is there (:mod:`.photo_quality`). :mod:`.light` makes light, skin tone and finish of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numba import njit

from deid.tracking.closeup import Closeup

from .photo_lids import of_lids
from .photo_mouth import ROWS, between_lips, of_lips
from .photo_quality import Detail, measure_blur, measure_noise
from .photo_samples import COUNT, TRIPLES
from .photo_structure import measure_structure, window_of

RECORD = np.dtype(
    [
        ("skin", np.uint8, (COUNT, 3)),
        ("valid", np.uint8, ((COUNT + 7) // 8,)),
        ("sclera", np.uint8, (2, 3)),
        ("sclera_pixels", np.uint16, (2,)),
        ("teeth", np.uint8, (3,)),
        ("teeth_pixels", np.uint16),
        ("dark", np.uint8, (3,)),
        ("mouth", np.uint8, (ROWS, 3)),
        ("lips", np.uint8, (2, 3)),
        ("lids", np.uint8, (2, 2, 3)),
        ("scale", np.float32),
        ("blur", np.float32),
        ("edges", np.float32),
        ("noise", np.float32),
        ("coarse_noise", np.float32),
        ("chroma_noise", np.float32),
        ("structure", np.float32, (3,)),
    ]
)
"""One face in one frame, about 1.2 kB; colours are the picture's own sRGB-like code values, 0 to 255.

``skin``: means over boxes of 0.4 cm at ``photo_samples.TRIPLES``. ``valid``: bits (``numpy.packbits``), 1 where that
box lies inside the crop. ``sclera``: bright part of the visible white of the eye at the viewer's left and right;
``sclera_pixels`` how many pixels were looked at (0: shut). ``teeth``, ``teeth_pixels``: the same inside the lips.
``mouth``, ``lips``: between the lips, from the upper one down, and the lips' own, see :mod:`.photo_mouth`; 0 for none.
``lids``: the line at the upper lids' edges and the lids above it, see :mod:`.photo_lids`; 0 for none.
``dark``: mean of the darkest hundredth of the face's box: pupils, lashes, nostrils, hair. ``scale``: pixels a
centimetre. ``blur``: width of the sharpest features, standard deviation in pixels, nan when there
are none; ``edges``: strength of the edges it was measured on, code values a pixel. ``noise``: standard deviation of
the luma's noise, code values; ``coarse_noise``: of means over 2 x 2 pixels (half of it if noise is white);
``chroma_noise``: of blue and red difference, means over 2 x 2. ``structure``: contrast of fine, middle and coarse
detail between eyes and mouth, code values, see :mod:`.photo_structure`; 0 where that is not in the crop.
"""

PhotoRecord = np.void
"""A scalar of :data:`RECORD`."""

_MEAN_RADIUS = 5.65
"""Root mean square distance of the mesh points from their centroid on the mean face, centimetres."""
_BOX = 0.2  # half side of the sampled boxes, centimetres
_EYES = np.array(
    [
        [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
        [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466],
    ]
)
_IRISES = np.array([[468, 469, 470, 471, 472], [473, 474, 475, 476, 477]])
_MOUTH = np.array([78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191])


def note(view: Closeup, points: np.ndarray) -> np.void:
    """Measure one face: a scalar of :data:`RECORD`. ``points``: float32 (478, 3), MediaPipe's mesh in the frame."""
    if view.luma is None or view.blue is None or view.red is None:
        return observe(view.rgb, view.inside(points))
    black, gain, chroma = (0.0, 1.0, 1.0) if view.full_range else (16.0, 255 / 219, 255 / 224)
    detail = Detail(view.luma, view.blue, view.red, black, gain, chroma)
    return _measured(view.rgb, view.inside(points), detail, view.within(points), view.factor)


def observe(crop_rgb: np.ndarray, points: np.ndarray) -> np.void:
    """Measure one face: a scalar of :data:`RECORD`.

    ``crop_rgb``: uint8 (h, w, 3), R first, the face at the frame's own resolution. ``points``: float32 (478, 3),
    MediaPipe's mesh in the crop's pixels. Raises ``ValueError`` for another shape or dtype.
    """
    if crop_rgb.dtype != np.uint8 or crop_rgb.ndim != 3 or crop_rgb.shape[2] != 3:
        raise ValueError(f"a uint8 (h, w, 3) picture is needed, not {crop_rgb.dtype} {crop_rgb.shape}")
    if points.shape != (478, 3):
        raise ValueError(f"478 mesh points are needed, not an array of shape {points.shape}")
    crop = np.ascontiguousarray(crop_rgb)
    mesh = np.ascontiguousarray(points, dtype=np.float32)
    return _measured(crop, mesh, Detail.of_rgb(crop), mesh, 1)


def _measured(crop: np.ndarray, mesh: np.ndarray, detail: Detail, whole: np.ndarray, factor: int) -> np.void:
    """``crop``: RGB, means over ``factor`` x ``factor`` pixels, and ``mesh`` in it; ``detail`` and ``whole``: the same
    at the frame's own resolution."""
    out = np.zeros((), RECORD)
    scale = mesh_scale(mesh)
    out["scale"] = scale * factor
    out["skin"], valid = _sample(crop, mesh, TRIPLES, _BOX * scale)
    out["valid"] = np.packbits(valid)
    for side in range(2):
        centre = mesh[_IRISES[side, 0], :2]
        radius = np.linalg.norm(mesh[_IRISES[side, 1:], :2] - centre, axis=1).max()
        colour, count = _bright_part(crop, mesh[_EYES[side], :2], centre[0], centre[1], 1.1 * radius, 0.5, 0.9)
        out["sclera"][side], out["sclera_pixels"][side] = colour, min(count * factor * factor, 65535)
    out["teeth"], count = _bright_part(crop, mesh[_MOUTH, :2], 0.0, 0.0, 0.0, 0.6, 0.95)
    out["teeth_pixels"] = min(count * factor * factor, 65535)
    out["mouth"], out["lips"] = between_lips(crop, mesh), of_lips(crop, mesh)
    out["lids"] = of_lids(crop, mesh)
    out["dark"] = _darkest(crop, *_box(mesh, crop.shape[1], crop.shape[0]))
    noise, coarse, chroma = measure_noise(detail, whole, scale * factor)
    out["noise"], out["coarse_noise"], out["chroma_noise"] = noise, coarse, chroma
    out["blur"], out["edges"] = measure_blur(detail, whole, scale * factor, noise)
    window = window_of(mesh, crop.shape[1], crop.shape[0])
    if window is not None:
        out["structure"] = measure_structure(crop[window], noise, factor)
    return cast(np.void, out[()])


def stack_records(records: Sequence[np.void]) -> np.ndarray:
    """(n,) array of :data:`RECORD` from what :func:`observe` returned."""
    out = np.zeros(len(records), RECORD)
    for i, record in enumerate(records):
        out[i] = record
    return out


def valid_samples(records: np.ndarray) -> np.ndarray:
    """bool (n, N): which skin samples of each of the (n,) ``records`` lay inside the picture."""
    return np.unpackbits(records["valid"], axis=1, count=COUNT).astype(bool)


def mesh_scale(points: np.ndarray) -> float:
    """Pixels a centimetre, for a head of average size, of a mesh (478, 3); all three axes count, so that a turned
    head keeps its size."""
    mesh = points[:468]
    return float(max(np.sqrt(((mesh - mesh.mean(axis=0)) ** 2).sum(axis=1).mean()) / _MEAN_RADIUS, 0.1))


def _box(mesh: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """The mesh's box with a margin for hair, ``x0 y0 x1 y1`` inside the picture."""
    low, high = mesh[:468, :2].min(axis=0), mesh[:468, :2].max(axis=0)
    margin = 0.08 * (high - low)
    x0, y0 = np.maximum(low - margin, 0).astype(int)
    x1, y1 = np.minimum(high + margin, (width, height)).astype(int)
    return int(x0), int(y0), int(x1), int(y1)


@njit(cache=True, nogil=True)
def _darkest(crop: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:  # pragma: no cover - compiled
    """uint8 (3,): mean colour of the hundredth of the box's pixels that have the least luma."""
    sums = np.zeros((256, 4), np.int64)
    step = max(1, max(x1 - x0, y1 - y0) // 90)
    total = 0
    for y in range(y0, y1, step):
        for x in range(x0, x1, step):
            red, green, blue = int(crop[y, x, 0]), int(crop[y, x, 1]), int(crop[y, x, 2])
            luma = (77 * red + 150 * green + 29 * blue) >> 8
            sums[luma, 0] += red
            sums[luma, 1] += green
            sums[luma, 2] += blue
            sums[luma, 3] += 1
            total += 1
    colour = np.zeros(3, np.uint8)
    seen = np.zeros(4, np.int64)
    for luma in range(256):
        seen += sums[luma]
        if seen[3] >= 0.01 * total and seen[3] > 0:
            for c in range(3):
                colour[c] = seen[c] // seen[3]
            break
    return colour


@njit(cache=True, nogil=True)
def _sample(
    crop: np.ndarray, mesh: np.ndarray, triples: np.ndarray, half: float
) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover - compiled
    """Box means at the samples: uint8 (N, 3), and bool (N,) where the box lies inside. Big boxes are thinned to at most
    9 x 9 pixels: more do not make the mean better than the rounding."""
    height, width = crop.shape[:2]
    count = triples.shape[0]
    colours = np.zeros((count, 3), np.uint8)
    valid = np.zeros(count, np.bool_)
    step = max(1, int(half / 4))
    reach = max(1, int(round(half / step)))
    for k in range(count):
        a, b, c = triples[k]
        x = int(round((mesh[a, 0] + mesh[b, 0] + mesh[c, 0]) / 3))
        y = int(round((mesh[a, 1] + mesh[b, 1] + mesh[c, 1]) / 3))
        r = reach * step
        if x < r or y < r or x >= width - r or y >= height - r:
            continue
        red = green = blue = 0
        for i in range(-reach, reach + 1):
            for j in range(-reach, reach + 1):
                red += crop[y + i * step, x + j * step, 0]
                green += crop[y + i * step, x + j * step, 1]
                blue += crop[y + i * step, x + j * step, 2]
        area = (2 * reach + 1) ** 2
        colours[k, 0] = (red + area // 2) // area
        colours[k, 1] = (green + area // 2) // area
        colours[k, 2] = (blue + area // 2) // area
        valid[k] = True
    return colours, valid


@njit(cache=True, nogil=True)
def _bright_part(
    crop: np.ndarray, polygon: np.ndarray, cx: float, cy: float, radius: float, low: float, high: float
) -> tuple[np.ndarray, int]:  # pragma: no cover - compiled
    """Mean colour, uint8 (3,), of the pixels between two quantiles of luma inside ``polygon`` (n, 2) and outside a
    circle, and how many pixels were inside. Glints lie above the upper quantile, lids and shadow below the lower."""
    height, width = crop.shape[:2]
    sums = np.zeros((256, 4), np.int64)
    count = 0
    n = polygon.shape[0]
    y0, y1 = max(0, int(polygon[:, 1].min()) + 1), min(height - 1, int(polygon[:, 1].max()))
    step = max(1, (y1 - y0) // 24)
    crossing = np.empty(n)
    for y in range(y0, y1 + 1, step):
        found = 0
        for i in range(n):
            xa, ya, xb, yb = polygon[i, 0], polygon[i, 1], polygon[(i + 1) % n, 0], polygon[(i + 1) % n, 1]
            if (ya <= y) != (yb <= y):
                crossing[found] = xa + (y - ya) / (yb - ya) * (xb - xa)
                found += 1
        spans = np.sort(crossing[:found])
        for s in range(0, found - 1, 2):
            for x in range(max(0, int(spans[s]) + 1), min(width - 1, int(spans[s + 1])) + 1, step):
                if (x - cx) ** 2 + (y - cy) ** 2 < radius * radius:
                    continue
                red, green, blue = int(crop[y, x, 0]), int(crop[y, x, 1]), int(crop[y, x, 2])
                luma = (77 * red + 150 * green + 29 * blue) >> 8
                sums[luma, 0] += red
                sums[luma, 1] += green
                sums[luma, 2] += blue
                sums[luma, 3] += 1
                count += 1
    colour = np.zeros(3, np.uint8)
    if count == 0:
        return colour, 0
    below, used = 0, 0
    total = np.zeros(3, np.int64)
    for luma in range(256):
        here = sums[luma, 3]
        if here and low * count <= below + 0.5 * here <= high * count:
            total += sums[luma, :3]
            used += here
        below += here
    for c in range(3):
        colour[c] = total[c] // max(used, 1)
    return colour, min(count * step * step, 65535) if used else 0
