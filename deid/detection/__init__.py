"""Finding faces: detectors, the landmark model, and shot cuts.

Names are loaded when first asked for, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from deid.types import Detection

    from .centerface import CenterFace
    from .landmarks import FaceLandmarker, FaceLandmarks
    from .mtcnn import Mtcnn
    from .shots import ShotDetector

_HOME = {
    "CenterFace": "centerface",
    "FaceLandmarker": "landmarks",
    "FaceLandmarks": "landmarks",
    "Mtcnn": "mtcnn",
    "ShotDetector": "shots",
}

__all__ = ["CenterFace", "FaceDetector", "FaceLandmarker", "FaceLandmarks", "Mtcnn", "ShotDetector"]


@runtime_checkable
class FaceDetector(Protocol):
    """What every face detector offers. One instance belongs to one thread at a time."""

    name: str

    def detect(self, bgr: np.ndarray, *, scale: float = 1.0, threshold: float | None = None) -> list[Detection]:
        """Faces of a picture, best score first, in its own pixel coordinates.

        ``bgr``: uint8 (H, W, 3), any strides; an empty picture has no faces. ``scale`` resamples the picture before the
        search: above 1 finds smaller faces and costs its square. ``threshold`` in [0, 1] overrides the detector's own.
        Raises ``ValueError`` for another shape or dtype.
        """
        ...

    def detect_region(
        self, bgr: np.ndarray, box: np.ndarray, *, target_px: int = 96, threshold: float | None = None
    ) -> list[Detection]:
        """Search again around one doubtful place, in whole-picture coordinates.

        ``box``: the expected face, ``x0 y0 x1 y1`` in picture pixels, axis-aligned; it may reach over the border. The
        place is cut with a margin of one face height on every side and resampled so that the face is about
        ``target_px`` tall. Without ``threshold`` the detector is more lenient than in :meth:`detect`.
        """
        ...

    def close(self) -> None:
        """Free what the detector holds. A second call does nothing."""
        ...


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
