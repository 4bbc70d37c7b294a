"""Obscuring faces: where (``shape``, from tracks) and how (``obscure``, on a frame's planes)."""

from .obscure import Obscurer, modes, obscure_frame
from .region import Region
from .shape import regions_of

__all__ = ["Obscurer", "Region", "modes", "obscure_frame", "regions_of"]
