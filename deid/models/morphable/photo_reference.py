"""What skin and light usually look like, measured by ``tools/measure_skin.py``."""

from __future__ import annotations

import numpy as np

from .photo_samples import COUNT

ALBEDO = np.ones((COUNT, 3))
SPREAD = np.full(COUNT, 0.15)
PRIOR_MEAN = np.array([0.9, 0.0, 0.1, 0.12, 0.0, 0.0, 0.0, 0.0, 0.0])
PRIOR_PRECISION = np.diag([0.5, 4.0, 4.0, 4.0, 25.0, 25.0, 25.0, 40.0, 60.0])
