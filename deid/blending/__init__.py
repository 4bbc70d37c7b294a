"""Puts a rendered face into a frame: outline, silhouette, hair, what hides the face, seam."""

from .compositor import Composite, Compositor, Patch
from .outline import FaceOutline

__all__ = ["Composite", "Compositor", "FaceOutline", "Patch"]
