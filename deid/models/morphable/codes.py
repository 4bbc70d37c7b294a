"""The latent space of the morphable engine: identity codes, attribute codes, and the camera.

The split is that of Nitzan et al., *Face Identity Disentanglement via Latent Space Mapping* (2020), section 3: one
code says who it is and holds for a whole track, one code a frame says everything else. Here both are coefficients of a
statistical face model, so the two are apart by construction.

Spaces. *Head*: centimetres, x to the right of the viewer of a frontal face (the subject's left), y up, z out of the
face. *Camera*: the same axes after rotation. *Picture*: pixels, x right, y down, centre of the first sample at (0, 0).
Colours are linear light, RGB, 1 = display white.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """Where the head is: a perspective camera that looks along -z, in the parameters that one face determines.

    ``rotation``: float64 (3, 3), camera_from_head. ``scale``: pixels a centimetre in the plane of the head's origin.
    ``translation``: float64 (2,), picture position of the head's origin. ``distance``: centimetres from the camera to
    the head's origin, ``inf`` for an orthographic view.
    """

    rotation: np.ndarray
    scale: float
    translation: np.ndarray
    distance: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Picture x, y (pixels) and camera z (centimetres, larger is nearer) of head-space ``points``, (..., 3)."""
        turned = points @ self.rotation.T.astype(points.dtype)
        out = np.empty_like(turned)
        near = self.scale / (1.0 - turned[..., 2] / self.distance)
        out[..., 0] = self.translation[0] + near * turned[..., 0]
        out[..., 1] = self.translation[1] - near * turned[..., 1]
        out[..., 2] = turned[..., 2]
        return out

    def moved(self, dx: float, dy: float, zoom: float = 1.0) -> Camera:
        """The same camera in a picture that is this one shifted by ``(dx, dy)`` pixels and then scaled by ``zoom``
        about (0, 0) of continuous pixel-centre coordinates."""
        return Camera(self.rotation, self.scale * zoom, (self.translation + (dx, dy)) * zoom, self.distance)


def head_rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """camera_from_head, float64 (3, 3), of angles in degrees: ``yaw`` positive when the head turns to the viewer's
    right, ``pitch`` when it tilts back, ``roll`` clockwise on screen."""
    y, p, r = np.radians([yaw, pitch, -roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@dataclass(frozen=True, slots=True, eq=False)
class IdentityCode:
    """Who it is.

    ``shape``: float32 (K,), coefficients of the geometry's identity modes in standard deviations. ``appearance``:
    float32 (A,), coefficients of the albedo modes in standard deviations. ``detail``: seed of the fine skin structure.
    ``iris``: float32 (3,), linear RGB reflectance of the irises.
    """

    shape: np.ndarray
    appearance: np.ndarray
    detail: int
    iris: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """How a face is lit in one frame. What leaves a point of skin is ``tone * relative albedo * (basis(normal) @ sh)``.

    ``sh``: float32 (9, 3), second-order real spherical harmonics in the order 1, x, y, z, xy, xz, yz, x2-y2, 3z2-1 of
    the camera-space normal (x right, y up, z to the viewer), scaled so that its mean over the visible skin is 1 in each
    channel (Ramamoorthi and Hanrahan 2001). ``tone``: float32 (3,), mean linear RGB of the visible skin as the frame
    shows it: skin colour times exposure. ``white``: float32 (3,), linear RGB that a white, matt surface would have
    under the same mean light: for eyes and teeth, which have no skin tone. ``veil``: float32 (3,), linear RGB of stray
    light over the picture (haze, flare, a screen's glow), which is part of ``tone`` and ``white``. ``shine``: how much
    the skin mirrors of the dominant light, 1 for skin as the renderer has it. ``local``: float32 (K,), what hard
    light does to parts of the face beyond ``sh``, see :mod:`.photo_local`; empty for nothing. ``mouth``: factors on the
    light that upper teeth, flesh inside the mouth and lower teeth get, beyond what reaches them past the lips.
    """

    sh: np.ndarray
    tone: np.ndarray
    white: np.ndarray
    veil: np.ndarray = field(default_factory=lambda: np.zeros(3, np.float32))
    shine: float = 1.0
    local: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    mouth: tuple[float, float, float] = field(default=(1.0, 1.0, 1.0), kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class AttributeCode:
    """Everything about a face in one frame except who it is.

    ``expression``: float32 (E,), weights of the geometry's expression shapes, about 0 to 1. ``gaze``: float32 (2, 2),
    for the subject's left and right eye the angles (to the subject's left, up) in radians relative to the head.
    ``camera``, ``light`` as above. ``blur``: standard deviation, in picture pixels, of a Gaussian that makes a sharp
    rendering as soft as the frame. ``grain``: standard deviation of the frame's noise in 8-bit code values;
    ``chroma_grain``: of its colour differences at half resolution; ``grain_size``: standard deviation in pixels of the
    Gaussian that makes white noise as coarse as the frame's. ``glow``: share of the light that the footage's lens and
    coding spread over what is around, see :func:`.finish.glowing`.
    """

    expression: np.ndarray
    gaze: np.ndarray
    camera: Camera
    light: Light
    blur: float
    grain: float
    chroma_grain: float = 0.0
    grain_size: float = 0.0
    glow: float = 0.0
