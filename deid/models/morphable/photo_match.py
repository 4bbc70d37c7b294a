"""Softness, veil and grain by analysis through synthesis: a face is rendered as the footage's is, measured as it was,
and the finish corrected until both measure the same.

What an edge's width tells is little where a face is small, dim or hazy; the contrast of details of several sizes
(:mod:`.photo_structure`) still tells there. Corrections go one way, towards softer and hazier, and stop short of a
tolerance, since people's features differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import finish
from .appearance import load_appearance
from .codes import Camera, IdentityCode, Light
from .fit_basis import surface_points
from .geometry import Geometry
from .photo_local import at_samples, factor, fit_local, soft_floor
from .photo_quality import Detail, measure_noise
from .photo_reference import load_reference
from .photo_samples import TRIPLES
from .photo_shading import basis
from .photo_structure import measure_structure, window_of
from .photo_surface import SampleNormals, sampled, skin_level
from .render import Renderer
from .shade import LUMA
from .side_by_side import side_by_side

_SAMPLES = 6  # frames of a track
_EXTRA = np.array([0.0, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6])  # pixels
_LARGEST = 0.45  # centimetres, of those
_HAZE = np.array([0.0, 0.04, 0.08, 0.13, 0.19, 0.26, 0.35, 0.45, 0.57, 0.7])  # share of the skin's light
_TOLERANCE = 1.12  # people's features differ by as much
_CLEAR = (6.0, 14.0, 1.45)
"""Between so many pixels a centimetre a face's darkest spots come to tell haze by themselves, and contrast may differ
by as much."""
_DROWNED = 0.8  # of the noise: less contrast than that cannot be told from it
_DARK = 0.8  # code values: where no contrast is larger, none tells how soft the picture is
_SHARP = 0.45  # pixels: no more blur than that for the sake of smooth skin
_AROUND = 0.08  # of the mesh's size, margin of the rendered picture
_FLOOR = 0.25  # code values: contrasts below that are rounding
_TEXTURE = 256
_FACING, _LEAST_SHOWN = 0.3, 40
_EXCESS = (-0.1, 0.25)


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Corrections for n frames, float64 (n,): ``blur`` in pixels, to be added in quadrature; ``haze``, share of the
    skin's light to be added as a veil; ``texture``, standard deviation of the noise, in code values, that rendered skin
    has already. ``excess``: float64 (n, 3), by what share of the tone rendered skin is lighter than the light says: its
    highlights, which the frame's own skin has in its tone. ``local``: float64 (n, K), the same for parts of the face,
    see :mod:`.photo_local`: hollows, which harmonics know nothing of."""

    blur: np.ndarray
    haze: np.ndarray
    texture: np.ndarray
    excess: np.ndarray
    local: np.ndarray


def match_finish(
    records: np.ndarray,
    geometry: Geometry,
    neutral: np.ndarray,
    expression: np.ndarray,
    rotation: np.ndarray,
    lights: tuple[np.ndarray, ...],
    blur: np.ndarray,
    normals: SampleNormals,
) -> Matched | None:
    """Corrections for a track, or ``None`` where ``records`` hold no measure of structure.

    ``records``: (n,) of :data:`.photometry.RECORD`. ``neutral``: (V, 3). ``expression``: (n, E). ``rotation``:
    (n, 3, 3). ``lights``: arrays of :class:`Light`'s fields in their order. ``blur``: (n,) pixels, measured.
    ``normals``: of the samples on this head.
    """
    usable = np.flatnonzero((records["structure"][:, 2] > 0) & (records["scale"] > 1.5))
    if not len(usable):
        return None
    rows = usable[np.unique(np.linspace(0, len(usable) - 1, _SAMPLES).round().astype(int))]

    def matched(row: int) -> tuple[float, float, float, np.ndarray, np.ndarray]:
        sh, tone, white, veil, shine, *local = (np.asarray(part[row], np.float32) for part in lights)
        light = Light(sh, tone, white, veil, float(shine), *local)
        facing = (normals.at(expression[row : row + 1]) @ np.asarray(rotation[row], np.float32).T)[0]
        return _match(records[row], geometry, neutral, expression[row], rotation[row], light, float(blur[row]), facing)

    model_face(geometry)  # made once
    found = list(side_by_side(matched, rows.tolist()))
    extra, haze, texture = np.array([f[:3] for f in found]).T
    excess, uneven = (np.array([f[k] for f in found]).T for k in (3, 4))
    at = np.arange(len(records))
    scale = records["scale"].astype(float)
    return Matched(
        np.interp(at, rows, extra / scale[rows]) * scale, np.interp(at, rows, haze), np.interp(at, rows, texture),
        np.stack([np.interp(at, rows, e) for e in excess], axis=1),
        np.stack([np.interp(at, rows, e) for e in uneven] or [np.zeros(len(at))], axis=1),
    )  # fmt: skip


def _match(
    record: np.void,
    geometry: Geometry,
    neutral: np.ndarray,
    expression: np.ndarray,
    rotation: np.ndarray,
    light: Light,
    blur: float,
    normals: np.ndarray,
) -> tuple[float, float, float, np.ndarray, np.ndarray]:
    """Extra blur, extra haze, texture of the skin of one frame, its excess, (3,), and the same of parts, (K,)."""
    scale = float(record["scale"])
    vertices = geometry.pose(neutral, expression, np.zeros((2, 2), np.float32))
    camera = Camera(np.asarray(rotation, np.float64), scale, np.zeros(2), np.inf)
    mesh = camera.project(surface_points(geometry, vertices)).astype(np.float32)
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    margin = _AROUND * (high - low)
    mesh[:, :2] -= low - margin
    width, height = np.ceil(high - low + 2 * margin).astype(int).tolist()
    window = window_of(mesh, width, height)
    if window is None:
        return 0.0, 0.0, 0.0, np.zeros(3), np.zeros(len(light.local))
    face = model_face(geometry).render(vertices, camera.moved(*(margin - low)), light, width, height, whole=False)
    linear = face.rgb + (1 - face.alpha[..., None]) * light.tone
    wanted = np.maximum(record["structure"].astype(float), _FLOOR)
    dark = wanted.max() < _DARK
    finest = 1 if wanted[0] < _DROWNED * float(record["noise"]) else 0
    coded = finish.to_code(finish.veiled(linear, light.veil, light.tone))
    for extra in _EXTRA[: max(int(np.searchsorted(_EXTRA, _LARGEST * scale)), 3)].tolist():
        made = _structure(coded[window], float(np.hypot(blur, extra)))
        fine = made[finest] <= wanted[finest]
        if fine or (not dark and made[finest] / made[2] <= _TOLERANCE * wanted[finest] / wanted[2]):
            break
    soft = finish.soften(coded, float(np.hypot(blur, extra)))
    texture = _texture(soft, mesh, scale)
    if texture > max(float(record["noise"]), 0.3) and extra < _SHARP:
        extra = max(extra, min(_SHARP, 0.5 * (texture / max(float(record["noise"]), 0.3) - 1) + 0.25))
        texture = _texture(finish.soften(coded, float(np.hypot(blur, extra))), mesh, scale)
    tolerance = float(np.interp(scale, _CLEAR[:2], (_TOLERANCE, _CLEAR[2])))
    for haze in _HAZE.tolist():
        veil = light.veil + haze * (light.tone - light.veil)
        hazy = finish.to_code(finish.veiled(linear[window], veil, light.tone))
        made = _structure(hazy, float(np.hypot(blur, extra)))
        if (made[1:] / wanted[1:]).mean() <= tolerance:
            break
    local = factor(at_samples(geometry), light.local) if len(light.local) else None
    excess = np.array(_excess(face.rgb, mesh, light, normals, local))
    uneven = _uneven(face.rgb, mesh, light, normals, local, geometry)
    return extra, haze, texture * (1 - haze), excess, uneven


def _excess(
    rgb: np.ndarray, mesh: np.ndarray, light: Light, normals: np.ndarray, local: np.ndarray | None = None
) -> tuple[float, float, float]:
    """How much lighter skin, rendered as linear ``rgb``, is at the samples than ``light`` says, as shares of the
    tone. ``normals``: (N, 3) there, camera space. ``local``: (N,), factors on the light."""
    seen, told, shown = _compared(rgb, mesh, light, normals, local)
    if shown.sum() < _LEAST_SHOWN:
        return 0.0, 0.0, 0.0
    red, green, blue = np.clip(np.median(((seen - told) / light.tone)[shown], axis=0), *_EXCESS)
    return float(red), float(green), float(blue)


def _uneven(
    rgb: np.ndarray, mesh: np.ndarray, light: Light, normals: np.ndarray, local: np.ndarray | None, geometry: Geometry
) -> np.ndarray:
    """(K,): where rendered skin is lighter or darker than ``light`` says, beside the rest of the face, as
    :func:`.photo_local.fit_local` has it; what is the rendered albedo's own is left out."""
    if local is None:
        return np.zeros(0)
    seen, told, shown = _compared(rgb, mesh, light, normals, local)
    if shown.sum() < _LEAST_SHOWN:
        return np.zeros(len(light.local))
    ratio = np.log(np.maximum(seen @ LUMA, 1e-5) / np.maximum(told @ LUMA * _own(geometry), 1e-5))
    ratio -= np.median(ratio[shown])
    return fit_local(geometry, ratio[None], shown[None].astype(np.float32), load_reference().spread)[0]


def _compared(
    rgb: np.ndarray, mesh: np.ndarray, light: Light, normals: np.ndarray, local: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rendered and told linear RGB at the samples, (N, 3) each, and where the rendering shows them, bool (N,)."""
    height, width = rgb.shape[:2]
    x, y = np.rint(mesh[TRIPLES, :2].mean(axis=1)).astype(int).T
    shown = (normals[:, 2] > _FACING) & (x >= 1) & (y >= 1) & (x < width - 1) & (y < height - 1)
    x, y = np.where(shown, x, 1), np.where(shown, y, 1)
    seen = sum(rgb[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
    lit = soft_floor(basis(normals) @ light.sh)
    if local is not None:
        lit = lit * local[:, None]
    return seen, light.tone * load_reference().albedo * lit, shown


def _structure(coded: np.ndarray, blur: float) -> np.ndarray:
    return np.maximum(measure_structure(finish.soften(coded, blur) * np.float32(255)), _FLOOR)


def _texture(coded: np.ndarray, mesh: np.ndarray, scale: float) -> float:
    picture = np.clip(np.rint(coded * 255), 0, 255).astype(np.uint8)
    return measure_noise(Detail.of_rgb(picture), mesh, scale)[0]


@lru_cache(maxsize=1)
def model_face(geometry: Geometry) -> Renderer:
    """Somebody ordinary."""
    albedo, gloss, iris = _model_skin(geometry)
    return Renderer(geometry, albedo, gloss, iris)


@lru_cache(maxsize=1)
def _own(geometry: Geometry) -> np.ndarray:
    """float32 (N,): how light the skin of :func:`model_face` is at the samples, the reference's 1."""
    own: np.ndarray = (sampled(geometry, _model_skin(geometry)[0]) @ LUMA) / (load_reference().albedo @ LUMA)
    return own


@lru_cache(maxsize=1)
def _model_skin(geometry: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    appearance = load_appearance()
    skin, iris, _ = appearance.sample(np.random.default_rng(5), gender=0.0, age=40.0)
    code = IdentityCode(np.zeros(len(geometry.identity), np.float32), skin, 5, iris)
    albedo = appearance.albedo(code, _TEXTURE)
    return albedo / skin_level(geometry, albedo), appearance.gloss(_TEXTURE), iris
