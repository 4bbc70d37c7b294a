"""Which of MediaPipe's 478 mesh points are what. Left and right are the subject's, unlike in MediaPipe's own tables.

Numbers are those of ``face_mesh_connections.py`` and ``canonical_face_model_uv_visualization.png`` in MediaPipe
(Apache-2.0). Pairs run from the subject's right to left, upper point first.
"""

from __future__ import annotations

import numpy as np

MESH_POINTS = 468
"""Points on the face's surface; the other ten are the irises'."""

EYE_CORNERS = np.array([[362, 263], [133, 33]])
"""(eye, inner or outer): left eye first."""
IRISES = np.array([np.arange(473, 478), np.arange(468, 473)])
"""(eye, 5): centre, then four points of its rim; left eye first."""
LID_PAIRS = np.array(
    [
        [[384, 381], [385, 380], [386, 374], [387, 373], [388, 390]],
        [[157, 154], [158, 153], [159, 145], [160, 144], [161, 163]],
    ]
)
"""(eye, 5, upper and lower): from the inner to the outer corner; left eye first."""
LID_RIMS = np.array(
    [
        [263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398],
        [33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173],
    ]
)
INNER_LIP_PAIRS = np.array([[81, 178], [82, 87], [13, 14], [312, 317], [311, 402]])
TOUCHING_PAIRS = np.concatenate([INNER_LIP_PAIRS, [[80, 88], [310, 318]]])
LIP_MIDDLES = np.array([0, 17])
"""Outer rim of the upper and of the lower lip, in the middle."""
MOUTH_CORNERS = np.array([61, 291])


def _table(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=np.intp)


CORNER_PAIRS = np.array([[61, 0], [61, 17], [291, 0], [291, 17]])
"""Corners of the mouth and the middle of the lips: what tells a smile from a frown."""
LIPS = _table(
    "61 146 91 181 84 17 314 405 321 375 291 185 40 39 37 0 267 269 270 409 78 95 88 178 87 14 317 402 318 324"
    " 308 191 80 81 82 13 312 311 310 415"
)
"""Outer and inner rim of the lips."""
FACE_OVAL = _table(
    "10 338 297 332 284 251 389 356 454 323 361 288 397 365 379 378 400 377 152 148 176 149 150 136 172 58 132 93"
    " 234 127 162 21 54 103 67 109"
)
BROW_TO_EYE_PAIRS = np.array([[336, 362], [334, 386], [300, 263], [107, 133], [105, 159], [70, 33]])
BETWEEN_BROWS_PAIRS = np.array([[336, 107], [285, 55]])
LIPS_TO_NOSE_PAIRS = np.array([[2, 0], [2, 17], [2, 61], [2, 291]])
"""Below the nose, and the lips' outer rims and corners: what purses, rolls or pulls them."""
BROWS = np.array([[300, 293, 334, 296, 336, 285, 295, 282, 283, 276], [70, 63, 105, 66, 107, 55, 65, 52, 53, 46]])
"""(brow, 10): the ring round each, left first."""
BARE_SKIN = (_table("109 10 338 337 151 108"), _table("101 50 205 36"), _table("330 280 425 266"))
"""Rings on the forehead and the cheeks."""
