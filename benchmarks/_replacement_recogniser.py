"""Recognisers that judge (:mod:`deid.recognition.custom`), each at the distance under which one pair of strangers in a
thousand falls, measured on portraits of different people unless it is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _portraits import FOLDER, portraits

from deid.audit.identity import within
from deid.recognition import custom
from deid.recognition.custom import Dlib, Recogniser

__all__ = ["Dlib", "Recogniser", "calibrated", "load"]

FAR = 1e-3


def load(path: Path, *, raw: bool = False, threshold: float | None = None, folder: Path = FOLDER) -> Recogniser:
    """The recogniser in ``path``, at ``threshold`` or, without one, at that of ``folder``'s portraits."""
    loaded = custom.load(path, raw=raw, threshold=threshold)
    if threshold is None:
        loaded.threshold = calibrated(loaded, folder)
    return loaded


def calibrated(recogniser: Recogniser, folder: Path) -> float:
    """The distance under which one in a thousand pairs of different people in ``folder`` lies."""
    faces = list(portraits(folder))
    distances = within(recogniser.codes(np.stack([recogniser.cut(f.picture, f.mesh) for f in faces])))
    return float(np.quantile(distances, FAR))
