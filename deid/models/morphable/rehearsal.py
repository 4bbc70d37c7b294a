"""A face that nobody has, inverted and painted once while the first pass waits for its networks.

Compiled code is read from the disk where it is first called, and tables are made where they are first wanted: for a
second between the passes and at the first frames of the second, when one core would do that and the other nothing.
Nothing that is made here is kept but that.
"""

from __future__ import annotations

import numpy as np

from deid.blending import Compositor
from deid.models.morphable import fit, photometry, smoothing, trust
from deid.models.morphable.appearance import Appearance
from deid.models.morphable.codes import AttributeCode, Camera, IdentityCode, Light
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.foretell import foretold
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.light import estimate_light
from deid.models.morphable.mouths import relaxed
from deid.models.morphable.painter import Sitter, paint_picture
from deid.models.morphable.photo_match import model_face
from deid.models.morphable.tracks import Observations

_FRAMES, _SIZE, _SCALE = 4, 96, 4.0  # pictures, pixels to a side, pixels a centimetre
_IRISES = ((468, (33, 133)), (473, (362, 263)))  # mesh points: the first of five of each iris, corners of that eye


def rehearse(geometry: Geometry, appearance: Appearance) -> None:
    """Go once through what follows the first pass, on a few small pictures of somebody ordinary. Raises what that
    raises, :class:`~deid.errors.ModelError` among others."""
    observations, camera = _seen(geometry)
    identity = fit.fit_identity(geometry, observations.take(np.arange(1)))
    raw = fit.finish_attributes(
        geometry,
        identity.shape,
        fit.fit_attributes(
            geometry, identity.shape, identity.distance, observations, offsets=identity.offsets, scale=identity.scale,
            whole=False,
        ),
    )  # fmt: skip
    times = np.arange(_FRAMES) / 25
    attributes = smoothing.smooth_attributes(raw, times)
    trust.judge(raw, 25.0)
    neutral = geometry.neutral(identity.shape)
    # one frame goes everywhere that more do
    estimate_light(_records(), geometry, neutral, attributes.expression[:1], attributes.rotation[:1], times[:1])
    skin, iris, _ = appearance.sample(np.random.default_rng(5), gender=0.0, age=40.0)
    sitter = Sitter(IdentityCode(identity.shape, skin, 5, iris), relaxed(geometry, neutral), model_face(geometry))
    picture = np.full((_SIZE, _SIZE, 3), 0.4, np.float32)
    code = AttributeCode(attributes.expression[0], attributes.gaze[0], camera, _light(), 0.7, 1.0, 1.0, 0.5)
    paint_picture(picture, observations.points[0], sitter, geometry, code, Compositor(), seed=0, frame=0)
    foretold([sitter.code])


def _seen(geometry: Geometry) -> tuple[Observations, Camera]:
    """The mean face as landmarks, which moves a little."""
    camera = Camera(np.eye(3), _SCALE, np.array([_SIZE / 2, _SIZE / 2]), 70.0)
    mesh = camera.project(surface_points(geometry, geometry.vertices))[:468]
    points = np.zeros((_FRAMES, 478, 3), np.float32)
    points[:, :468] = mesh * (1, 1, -1)
    for first, corners in _IRISES:
        points[:, first : first + 5] = points[:, corners].mean(axis=1, keepdims=True)
    points[..., 0] += np.sin(np.arange(_FRAMES))[:, None]
    return Observations(
        np.arange(_FRAMES, dtype=np.int32), points, np.ones(_FRAMES, np.float32), (_SIZE, _SIZE)
    ), camera


def _records() -> np.ndarray:
    """What photometry might have noted of it."""
    records = np.zeros(1, photometry.RECORD)
    records["skin"], records["valid"], records["dark"] = (170, 130, 110), 255, 20
    records["scale"], records["blur"], records["edges"] = _SCALE, 0.7, 10.0
    records["noise"], records["coarse_noise"], records["chroma_noise"] = 1.0, 0.5, 1.0
    records["structure"] = (2.0, 3.0, 5.0)
    return records


def _light() -> Light:
    sh = np.zeros((9, 3), np.float32)
    sh[0] = 1
    return Light(sh, np.full(3, 0.3, np.float32), np.ones(3, np.float32))
