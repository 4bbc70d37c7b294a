"""The compiled part of the fit: bounded, regularised Gauss-Newton over a sequence of meshes.

Unknowns of a frame: rotation, scale and place of the head, the offset of MediaPipe's depths, and the expression weights
within their bounds. Each step solves a bounded quadratic problem by coordinate descent with the pose eliminated (Schur
complement). The Jacobian of a frame's first step serves the later ones too: poses start close enough.
"""

from __future__ import annotations

import numba
import numpy as np

POSE = 7
"""Unknowns of a pose: rotation vector (camera space), log scale, x, y, depth offset (centimetres)."""


@numba.njit(cache=True, fastmath=False, nogil=True)
def residual(model, seen, roots, pairs, pair_roots, depth_root, state, rotation, distance, reach, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (3P + 2Q,) with seen minus modelled, centimetres times the roots of the weights.

    ``model``: (P, 3) head space. ``seen``: (P, 3) pixels, x right, y up, z nearer. ``roots`` (P,), ``pair_roots`` (Q,).
    ``state``: scale, x, y (pixels), depth offset (cm). ``reach``: how far before the head's origin the face lies; the
    depths are in its scale. Rows: x, y, z of every point, then x, y of every pair's difference.
    """
    count = model.shape[0]
    scale, tx, ty, tz = state
    depth_scale = scale / (1.0 - reach / distance)
    for i in range(count):
        x = rotation[0, 0] * model[i, 0] + rotation[0, 1] * model[i, 1] + rotation[0, 2] * model[i, 2]
        y = rotation[1, 0] * model[i, 0] + rotation[1, 1] * model[i, 1] + rotation[1, 2] * model[i, 2]
        z = rotation[2, 0] * model[i, 0] + rotation[2, 1] * model[i, 1] + rotation[2, 2] * model[i, 2]
        f = 1.0 / (1.0 - z / distance)
        out[3 * i] = (seen[i, 0] - tx) / scale - f * x
        out[3 * i + 1] = (seen[i, 1] - ty) / scale - f * y
        out[3 * i + 2] = seen[i, 2] / depth_scale - tz - z
    for p in range(pairs.shape[0]):
        for a in range(2):
            gap = out[3 * pairs[p, 0] + a] - out[3 * pairs[p, 1] + a]
            out[3 * count + 2 * p + a] = pair_roots[p] * gap
    for i in range(count):
        out[3 * i] *= roots[i]
        out[3 * i + 1] *= roots[i]
        out[3 * i + 2] *= roots[i] * depth_root


@numba.njit(cache=True, fastmath=False, nogil=True)
def jacobian(model, basis, roots, pairs, pair_roots, depth_root, state, rotation, distance, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (3P + 2Q, 7 + N) with derivatives of what :func:`residual` models.

    ``basis``: (3P, N), rows x, y, z of every point in head space.
    """
    count, size = model.shape[0], basis.shape[1]
    tz = state[3]
    for i in range(count):
        x = rotation[0, 0] * model[i, 0] + rotation[0, 1] * model[i, 1] + rotation[0, 2] * model[i, 2]
        y = rotation[1, 0] * model[i, 0] + rotation[1, 1] * model[i, 1] + rotation[1, 2] * model[i, 2]
        z = rotation[2, 0] * model[i, 0] + rotation[2, 1] * model[i, 1] + rotation[2, 2] * model[i, 2]
        f = 1.0 / (1.0 - z / distance)
        kx, ky = f * f * x / distance, f * f * y / distance
        r = 3 * i
        # d(x, y, z) for a rotation vector w is w x q
        out[r, 0], out[r + 1, 0], out[r + 2, 0] = kx * y, -f * z + ky * y, y
        out[r, 1], out[r + 1, 1], out[r + 2, 1] = f * z - kx * x, -ky * x, -x
        out[r, 2], out[r + 1, 2], out[r + 2, 2] = -f * y, f * x, 0.0
        out[r, 3], out[r + 1, 3], out[r + 2, 3] = f * x, f * y, z + tz
        out[r, 4], out[r + 1, 4], out[r + 2, 4] = 1.0, 0.0, 0.0
        out[r, 5], out[r + 1, 5], out[r + 2, 5] = 0.0, 1.0, 0.0
        out[r, 6], out[r + 1, 6], out[r + 2, 6] = 0.0, 0.0, 1.0
        for a in range(3):
            k = kx if a == 0 else ky
            if a == 2:
                m0, m1, m2 = rotation[2, 0], rotation[2, 1], rotation[2, 2]
            else:
                m0 = f * rotation[a, 0] + k * rotation[2, 0]
                m1 = f * rotation[a, 1] + k * rotation[2, 1]
                m2 = f * rotation[a, 2] + k * rotation[2, 2]
            for n in range(size):
                out[r + a, POSE + n] = m0 * basis[r, n] + m1 * basis[r + 1, n] + m2 * basis[r + 2, n]
    for p in range(pairs.shape[0]):
        for a in range(2):
            u, v = 3 * pairs[p, 0] + a, 3 * pairs[p, 1] + a
            for n in range(POSE + size):
                out[3 * count + 2 * p + a, n] = pair_roots[p] * (out[u, n] - out[v, n])
    for i in range(count):
        for a in range(3):
            w = roots[i] * depth_root if a == 2 else roots[i]
            for n in range(POSE + size):
                out[3 * i + a, n] *= w


@numba.njit(cache=True, fastmath=False, nogil=True)
def normal_matrix(jac):  # type: ignore[no-untyped-def]
    """``jac.T @ jac`` of (R, N). Not by BLAS, whose threads cost more than they bring at this size."""
    rows, size = jac.shape
    out = np.zeros((size, size))
    for r in range(0, rows - 3, 4):
        for i in range(size):
            a, b, c, d = jac[r, i], jac[r + 1, i], jac[r + 2, i], jac[r + 3, i]
            for k in range(i, size):
                out[i, k] += (a * jac[r, k] + b * jac[r + 1, k]) + (c * jac[r + 2, k] + d * jac[r + 3, k])
    for r in range(rows - rows % 4, rows):
        for i in range(size):
            for k in range(i, size):
                out[i, k] += jac[r, i] * jac[r, k]
    for i in range(size):
        for k in range(i):
            out[i, k] = out[k, i]
    return out


@numba.njit(cache=True, fastmath=False, nogil=True)
def weighted_rows(weights, rows, out):  # type: ignore[no-untyped-def]
    """Add ``weights`` (R,) @ ``rows`` (R, N) to ``out`` (N,)."""
    for r in range(rows.shape[0]):
        w = weights[r]
        for n in range(rows.shape[1]):
            out[n] += w * rows[r, n]


@numba.njit(cache=True, fastmath=False, nogil=True)
def bounded_step(hessian, gradient, current, upper, sweeps):  # type: ignore[no-untyped-def]
    """The step d that minimises d'Hd / 2 - g'd with 0 <= current + d <= upper, by coordinate descent."""
    n = gradient.shape[0]
    step = np.zeros(n)
    rest = gradient.copy()
    for _ in range(sweeps):
        largest = 0.0
        for i in range(n):
            wanted = min(max(current[i] + step[i] + rest[i] / hessian[i, i], 0.0), upper[i])
            move = wanted - current[i] - step[i]
            if move != 0.0:
                step[i] += move
                for k in range(n):
                    rest[k] -= move * hessian[i, k]
                largest = max(largest, abs(move))
        if largest < 3e-4:
            break
    return step


@numba.njit(cache=True, fastmath=False, nogil=True)
def turned(rotation, w):  # type: ignore[no-untyped-def]
    """``rotation`` after a further turn by the rotation vector ``w`` (Rodrigues)."""
    angle = np.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
    if angle < 1e-12:
        return rotation.copy()
    x, y, z = w[0] / angle, w[1] / angle, w[2] / angle
    s, c = np.sin(angle), 1.0 - np.cos(angle)
    turn = np.empty((3, 3))
    turn[0, 0], turn[0, 1], turn[0, 2] = 1 - c * (y * y + z * z), c * x * y - s * z, c * x * z + s * y
    turn[1, 0], turn[1, 1], turn[1, 2] = c * x * y + s * z, 1 - c * (x * x + z * z), c * y * z - s * x
    turn[2, 0], turn[2, 1], turn[2, 2] = c * x * z - s * y, c * y * z + s * x, 1 - c * (x * x + y * y)
    out = np.zeros((3, 3))
    for i in range(3):
        for k in range(3):
            for m in range(3):
                out[i, k] += turn[i, m] * rotation[m, k]
    return out


@numba.njit(cache=True, fastmath=False, nogil=True)
def frame_roots(rotation, weights, sides, pairs, pair_weights, roots, pair_roots):  # type: ignore[no-untyped-def]
    """Roots of one frame's weights: points that turn away from the camera are guessed by MediaPipe, not seen."""
    yaw = np.degrees(np.arcsin(min(max(rotation[0, 2], -1.0), 1.0)))
    away = min(max((abs(yaw) - 25.0) / 35.0, 0.0), 1.0)
    hidden = 1 if yaw > 0 else 2  # a head that turns to the viewer's right hides the subject's left
    for i in range(weights.shape[0]):
        roots[i] = np.sqrt(weights[i] * (1.0 - 0.85 * away if sides[i] == hidden else 1.0))
    for p in range(pairs.shape[0]):
        pair_roots[p] = np.sqrt(pair_weights[p] * (1.0 - 0.85 * away if sides[pairs[p, 0]] == hidden else 1.0))


@numba.njit(cache=True, fastmath=False, nogil=True)
def fit_sequence(  # type: ignore[no-untyped-def]
    seen, neutral, shapes, basis, weights, sides, pairs, pair_weights, depth_weight, prior, shrink, upper, distances,
    reach, links, steps, rotations, states, expressions, errors,
):  # fmt: skip
    """Fit ``n`` frames in place.

    ``seen``: (n, P, 3). ``neutral``: (P, 3). ``shapes``: (E, 3P), ``basis``: its transpose. ``sides``: (P,),
    0 middle, 1 left, 2 right.
    ``prior``, ``shrink``, ``upper``: (E,), quadratic and linear cost and bound of each weight. ``links``: bool (n,),
    whether a frame starts from its predecessor's expression. ``steps``: (n,) Gauss-Newton steps; the Jacobian is new in
    every third. ``rotations`` (n, 3, 3), ``states`` (n, 4), ``expressions`` (n, E): start and result. ``errors``: (n,),
    root mean square in cm at the last step's start.
    """
    count, size = neutral.shape[0], basis.shape[1]
    rows = 3 * count + 2 * pairs.shape[0]
    rest, jac = np.empty(rows), np.empty((rows, POSE + size))
    roots, pair_roots = np.empty(count), np.empty(pairs.shape[0])
    depth_root = np.sqrt(depth_weight)
    model, gradient, pose = np.empty((count, 3)), np.empty(POSE + size), np.empty(POSE)
    schur, solved, inverse = np.empty((size, size)), np.empty((POSE, size)), np.empty((POSE, POSE))
    for t in range(seen.shape[0]):
        if links[t]:
            expressions[t] = expressions[t - 1]
        frame_roots(rotations[t], weights, sides, pairs, pair_weights, roots, pair_roots)
        for turn in range(steps[t]):
            model[:] = neutral
            weighted_rows(expressions[t], shapes, model.reshape(3 * count))
            if turn % 3 == 0:
                jacobian(model, basis, roots, pairs, pair_roots, depth_root, states[t], rotations[t], distances[t], jac)
                hessian = normal_matrix(jac)
                for k in range(POSE):
                    hessian[k, k] += 1e-6
                inverse = np.linalg.inv(np.ascontiguousarray(hessian[:POSE, :POSE]))
                solved[:] = 0.0
                schur[:] = hessian[POSE:, POSE:]
                for k in range(POSE):
                    weighted_rows(inverse[k], hessian[:POSE, POSE:], solved[k])
                for k in range(size):
                    weighted_rows(-hessian[POSE + k, :POSE], solved, schur[k])
                    schur[k, k] += prior[k]
            residual(
                model, seen[t], roots, pairs, pair_roots, depth_root, states[t], rotations[t], distances[t], reach, rest
            )
            gradient[:] = 0.0
            weighted_rows(rest, jac, gradient)
            reduced = gradient[POSE:] - prior * expressions[t] - shrink
            weighted_rows(-gradient[:POSE], solved, reduced)
            step = bounded_step(schur, reduced, expressions[t], upper, 30)
            expressions[t] += step
            for k in range(POSE):
                pose[k] = 0.0
                for m in range(POSE):
                    pose[k] += inverse[k, m] * gradient[m]
                for m in range(size):
                    pose[k] -= solved[k, m] * step[m]
            length = np.sqrt(pose[0] ** 2 + pose[1] ** 2 + pose[2] ** 2)
            if length > 0.5:
                pose *= 0.5 / length
            rotations[t] = turned(rotations[t], pose[:3])
            states[t, 1] += states[t, 0] * pose[4]
            states[t, 2] += states[t, 0] * pose[5]
            states[t, 0] *= np.exp(min(max(pose[3], -0.3), 0.3))
            states[t, 3] += pose[6]
        errors[t] = np.sqrt((rest * rest).sum() / (roots * roots).sum())
