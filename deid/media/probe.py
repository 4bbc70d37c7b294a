"""The probe by its former place; the name of this module hides :func:`deid.media.probe` once imported."""

from __future__ import annotations

from .examine import probe

__all__ = ["probe"]
