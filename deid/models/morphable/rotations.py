"""The little algebra of rotations that smoothing needs; the library that has more of it takes longer to load."""

from __future__ import annotations

import numpy as np

_SMALL = 1e-3  # radians, below which a series is more exact than a quotient


def mean_rotation(rotations: np.ndarray) -> np.ndarray:
    """float64 (3, 3): the rotation with the least sum of squared distances from ``rotations``, (n, 3, 3), by the
    singular values of their mean (Markley, Cheng, Crassidis and Oshman, *Averaging Quaternions*, 2007, section II)."""
    u, _, vt = np.linalg.svd(np.asarray(rotations, np.float64).mean(axis=0))
    return np.asarray((u * (1, 1, np.sign(np.linalg.det(u @ vt)))) @ vt)


def vectors_of(rotations: np.ndarray) -> np.ndarray:
    """float64 (n, 3): axis times angle, in radians up to pi, of rotation matrices (n, 3, 3), through the quaternion
    whose largest part is divided by (Shepperd 1978)."""
    m = np.asarray(rotations, np.float64)
    trace = np.trace(m, axis1=1, axis2=2)
    parts = np.column_stack([m[:, 0, 0], m[:, 1, 1], m[:, 2, 2], trace])
    quaternions = np.empty((len(m), 4))  # x, y, z, w
    largest = parts.argmax(axis=1)
    for i in range(3):
        j, k, rows = (i + 1) % 3, (i + 2) % 3, largest == i
        some = m[rows]
        quaternions[rows, i] = 1 - trace[rows] + 2 * some[:, i, i]
        quaternions[rows, j] = some[:, j, i] + some[:, i, j]
        quaternions[rows, k] = some[:, k, i] + some[:, i, k]
        quaternions[rows, 3] = some[:, k, j] - some[:, j, k]
    rows = largest == 3
    some = m[rows]
    odd = [some[:, 2, 1] - some[:, 1, 2], some[:, 0, 2] - some[:, 2, 0], some[:, 1, 0] - some[:, 0, 1]]
    quaternions[rows] = np.column_stack([*odd, 1 + trace[rows]])
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    quaternions *= np.where(quaternions[:, 3:] < 0, -1, 1)
    sine = np.linalg.norm(quaternions[:, :3], axis=1)
    angle = 2 * np.arctan2(sine, quaternions[:, 3])
    small = angle < _SMALL
    stretch = np.where(small, 2 + angle**2 / 12, angle / np.where(small, 1, sine))
    return np.asarray(quaternions[:, :3] * stretch[:, None])


def matrices_of(vectors: np.ndarray) -> np.ndarray:
    """float64 (n, 3, 3): rotations by ``vectors`` (n, 3), axis times angle in radians (Rodrigues' formula)."""
    angle = np.linalg.norm(vectors, axis=1)
    small, safe = angle < _SMALL, np.maximum(angle, _SMALL)
    first = np.where(small, 1 - angle**2 / 6, np.sin(safe) / safe)[:, None, None]
    second = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)[:, None, None]
    cross = np.zeros((len(vectors), 3, 3))
    x, y, z = np.asarray(vectors, np.float64).T
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -z, y, -x
    cross[:, 1, 0], cross[:, 2, 0], cross[:, 2, 1] = z, -y, x
    return np.asarray(np.eye(3) + first * cross + second * (cross @ cross))
