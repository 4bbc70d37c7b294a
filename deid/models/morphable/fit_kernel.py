"""The compiled part of the fit: bounded, regularised Gauss-Newton over a sequence of meshes.

Unknowns of a frame: rotation, scale and place of the head, the offset of MediaPipe's depths, and the expression weights
within their bounds. Each step solves a bounded quadratic problem by coordinate descent with the pose eliminated (Schur
complement). Gradients are exact. The second derivatives by weights are those of a camera far away, for which they are
sums of products of the basis that are the same in every frame (:func:`gram_tables`): a step costs a few products of the
basis with vectors, and where the camera is near, it only takes a step more.
"""

from __future__ import annotations

import numba
import numpy as np

POSE = 7
"""Unknowns of a pose: rotation vector (camera space), log scale, x, y, depth offset (centimetres)."""
_COLUMNS = POSE + 1  # those, and what is left to explain
_AXES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def gram_tables(
    rows: np.ndarray, weights: np.ndarray, sides: np.ndarray, pairs: np.ndarray, pair_weights: np.ndarray
) -> np.ndarray:
    """float64 (3, 2, 6, N (N + 1) / 2): products of the basis with itself, by pair of axes (xx, yy, zz, xy, xz, yz),
    upper triangles.

    First index: all points, those of the left side, those of the right one. Second: what moves in the picture (points
    and differences of pairs), and points alone. ``rows``: (3P, N); ``weights``, ``sides`` (P,); ``pairs`` (Q, 2);
    ``pair_weights`` (Q,).
    """
    size = rows.shape[1]
    upper = np.triu_indices(size)
    basis = rows.reshape(len(weights), 3, size)
    apart = basis[pairs[:, 0]] - basis[pairs[:, 1]]
    out = np.empty((3, 2, len(_AXES), len(upper[0])))
    for side in range(3):
        own = weights * ((sides == side) | (side == 0))
        own_pairs = pair_weights * ((sides[pairs[:, 0]] == side) | (side == 0))
        for k, (a, b) in enumerate(_AXES):
            gram = (basis[:, a] * own[:, None]).T @ basis[:, b]
            other = (apart[:, a] * own_pairs[:, None]).T @ apart[:, b]
            if a != b:
                gram, other = gram + gram.T, other + other.T
            out[side, 0, k], out[side, 1, k] = (gram + other)[upper], gram[upper]
    return out


@numba.njit(cache=True, fastmath=False, nogil=True)
def columns(model, seen, state, rotation, distance, reach, first, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (3P, 8) from column ``first`` on: derivatives of what is modelled by the pose, and in the last
    column seen minus modelled; all in centimetres, x, y and z of every point.

    ``model``: (P, 3) head space. ``seen``: (P, 3) pixels, x right, y up, z nearer. ``state``: scale, x, y (pixels),
    depth offset (cm). ``reach``: how far before the head's origin the face lies; the depths are in its scale.
    """
    scale, tx, ty, tz = state
    depth_scale = scale / (1.0 - reach / distance)
    for i in range(model.shape[0]):
        x = rotation[0, 0] * model[i, 0] + rotation[0, 1] * model[i, 1] + rotation[0, 2] * model[i, 2]
        y = rotation[1, 0] * model[i, 0] + rotation[1, 1] * model[i, 1] + rotation[1, 2] * model[i, 2]
        z = rotation[2, 0] * model[i, 0] + rotation[2, 1] * model[i, 1] + rotation[2, 2] * model[i, 2]
        f = 1.0 / (1.0 - z / distance)
        r = 3 * i
        out[r, 7] = (seen[i, 0] - tx) / scale - f * x
        out[r + 1, 7] = (seen[i, 1] - ty) / scale - f * y
        out[r + 2, 7] = seen[i, 2] / depth_scale - tz - z
        if first == 0:
            kx, ky = f * f * x / distance, f * f * y / distance
            # d(x, y, z) for a rotation vector w is w x q
            out[r, 0], out[r + 1, 0], out[r + 2, 0] = kx * y, -f * z + ky * y, y
            out[r, 1], out[r + 1, 1], out[r + 2, 1] = f * z - kx * x, -ky * x, -x
            out[r, 2], out[r + 1, 2], out[r + 2, 2] = -f * y, f * x, 0.0
            out[r, 3], out[r + 1, 3], out[r + 2, 3] = f * x, f * y, z + tz
            out[r, 4], out[r + 1, 4], out[r + 2, 4] = 1.0, 0.0, 0.0
            out[r, 5], out[r + 1, 5], out[r + 2, 5] = 0.0, 1.0, 0.0
            out[r, 6], out[r + 1, 6], out[r + 2, 6] = 0.0, 0.0, 1.0


@numba.njit(cache=True, fastmath=False, nogil=True)
def weigh(columns, weights, pairs, pair_weights, depth_weight, first, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (3P, 8) from column ``first`` on with ``columns`` times the weights of points and of pairs'
    differences, so that ``columns.T @ out`` is a sum of weighted squares."""
    for i in range(weights.shape[0]):
        w = weights[i]
        for j in range(first, _COLUMNS):
            out[3 * i, j] = w * columns[3 * i, j]
            out[3 * i + 1, j] = w * columns[3 * i + 1, j]
            out[3 * i + 2, j] = w * depth_weight * columns[3 * i + 2, j]
    for p in range(pairs.shape[0]):
        for a in range(2):
            u, v = 3 * pairs[p, 0] + a, 3 * pairs[p, 1] + a
            for j in range(first, _COLUMNS):
                apart = pair_weights[p] * (columns[u, j] - columns[v, j])
                out[u, j] += apart
                out[v, j] -= apart


@numba.njit(cache=True, fastmath=False, nogil=True)
def pull_back(weighted, model, rotation, distance, near, first):  # type: ignore[no-untyped-def]
    """Turn ``weighted`` (3P, 8) in place, from column ``first`` on, from movements in the picture into those of head
    points that cause them (transposed Jacobian of the projection).

    Exactly for the last column; for the others with every point as large as ``near`` says, which is what
    :func:`far_hessian` assumes, or the two together would not be positive.
    """
    for i in range(model.shape[0]):
        x = rotation[0, 0] * model[i, 0] + rotation[0, 1] * model[i, 1] + rotation[0, 2] * model[i, 2]
        y = rotation[1, 0] * model[i, 0] + rotation[1, 1] * model[i, 1] + rotation[1, 2] * model[i, 2]
        z = rotation[2, 0] * model[i, 0] + rotation[2, 1] * model[i, 1] + rotation[2, 2] * model[i, 2]
        f = 1.0 / (1.0 - z / distance)
        kx, ky = f * f * x / distance, f * f * y / distance
        r = 3 * i
        for j in range(first, _COLUMNS):
            gx, gy, gz = near * weighted[r, j], near * weighted[r + 1, j], weighted[r + 2, j]
            if j == POSE:
                gx, gy = f * weighted[r, j], f * weighted[r + 1, j]
                gz += kx * weighted[r, j] + ky * weighted[r + 1, j]
            for b in range(3):
                weighted[r + b, j] = gx * rotation[0, b] + gy * rotation[1, b] + gz * rotation[2, b]


@numba.njit(cache=True, fastmath=False, nogil=True)
def products(left, right, first, out):  # type: ignore[no-untyped-def]
    """Fill rows of ``out`` (8, N) from ``first`` on with ``left`` (R, 8).T @ ``right`` (R, N)."""
    for j in range(first, _COLUMNS):
        for n in range(right.shape[1]):
            out[j, n] = 0.0
    for r in range(0, right.shape[0] - 2, 3):
        for j in range(first, _COLUMNS):
            a, b, c = left[r, j], left[r + 1, j], left[r + 2, j]
            for n in range(right.shape[1]):
                out[j, n] += a * right[r, n] + b * right[r + 1, n] + c * right[r + 2, n]


@numba.njit(cache=True, fastmath=False, nogil=True)
def far_hessian(tables, rotation, near, depth_weight, hidden, lost, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (N, N) with second derivatives by the basis's weights, every point magnified ``near`` times.

    Points of side ``hidden`` have lost the share ``lost`` of their
    weight.
    """
    size = out.shape[0]
    flat = np.zeros(tables.shape[3])
    for turn in range(2 if lost > 0.0 else 1):
        side, sign = (0, 1.0) if turn == 0 else (hidden, -lost)
        for k, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
            depth = rotation[2, a] * rotation[2, b]
            u, v = sign * near * near * ((1.0 if a == b else 0.0) - depth), sign * depth_weight * depth
            moving, still = tables[side, 0, k], tables[side, 1, k]
            for n in range(flat.shape[0]):
                flat[n] += u * moving[n] + v * still[n]
    n = 0
    for i in range(size):
        for k in range(i, size):
            out[i, k] = flat[n]
            out[k, i] = flat[n]
            n += 1


@numba.njit(cache=True, fastmath=False, nogil=True)
def magnification(model, weights, rotation, distance):  # type: ignore[no-untyped-def]
    """How many times larger than at the head's origin points appear, on average."""
    total, weight = 0.0, 0.0
    for i in range(model.shape[0]):
        z = rotation[2, 0] * model[i, 0] + rotation[2, 1] * model[i, 1] + rotation[2, 2] * model[i, 2]
        total += weights[i] / (1.0 - z / distance)
        weight += weights[i]
    return total / weight


@numba.njit(cache=True, fastmath=False, nogil=True)
def normal_blocks(  # type: ignore[no-untyped-def]
    model, seen, rows, tables, weights, sides, pairs, pair_weights, depth_weight, state, rotation, distance, reach,
):  # fmt: skip
    """Normal equations of one frame: second derivatives (7 + N, 7 + N) and gradient (7 + N,) by the pose and by the
    weights of ``rows`` (3P, N)."""
    count, size = model.shape[0], rows.shape[1]
    own, own_pairs = np.empty(count), np.empty(pairs.shape[0])
    hidden, lost = frame_weights(rotation, weights, sides, pairs, pair_weights, own, own_pairs)
    cols, weighted = np.empty((3 * count, _COLUMNS)), np.empty((3 * count, _COLUMNS))
    pose, cross = np.empty((_COLUMNS, _COLUMNS)), np.empty((_COLUMNS, size))
    columns(model, seen, state, rotation, distance, reach, 0, cols)
    weigh(cols, own, pairs, own_pairs, depth_weight, 0, weighted)
    products(cols, weighted, 0, pose)
    near = magnification(model, own, rotation, distance)
    pull_back(weighted, model, rotation, distance, near, 0)
    products(weighted, rows, 0, cross)
    hessian, gradient = np.empty((POSE + size, POSE + size)), np.empty(POSE + size)
    far = np.empty((size, size))
    far_hessian(tables, rotation, near, depth_weight, hidden, lost, far)
    hessian[POSE:, POSE:] = far
    hessian[:POSE, :POSE] = pose[:POSE, :POSE]
    hessian[:POSE, POSE:] = cross[:POSE]
    hessian[POSE:, :POSE] = cross[:POSE].T
    gradient[:POSE], gradient[POSE:] = pose[POSE, :POSE], cross[POSE]
    return hessian, gradient


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
def frame_weights(rotation, weights, sides, pairs, pair_weights, own, own_pairs):  # type: ignore[no-untyped-def]
    """Fill one frame's weights: points that turn away from the camera are guessed by MediaPipe, not seen. Returns the
    hidden side and the share that it lost."""
    yaw = np.degrees(np.arcsin(min(max(rotation[0, 2], -1.0), 1.0)))
    lost = 0.85 * min(max((abs(yaw) - 25.0) / 35.0, 0.0), 1.0)
    hidden = 1 if yaw > 0 else 2  # a head that turns to the viewer's right hides the subject's left
    for i in range(weights.shape[0]):
        own[i] = weights[i] * (1.0 - lost if sides[i] == hidden else 1.0)
    for p in range(pairs.shape[0]):
        own_pairs[p] = pair_weights[p] * (1.0 - lost if sides[pairs[p, 0]] == hidden else 1.0)
    return hidden, lost


@numba.njit(cache=True, fastmath=False, nogil=True)
def fit_sequence(  # type: ignore[no-untyped-def]
    seen, neutral, shapes, basis, tables, weights, sides, pairs, pair_weights, depth_weight, prior, askew, shrink,
    upper, doubt, distances, reach, links, steps, rotations, states, expressions, errors,
):  # fmt: skip
    """Fit ``n`` frames in place.

    ``seen``: (n, P, 3). ``neutral``: (P, 3). ``shapes``: (E, 3P), ``basis``: its transpose. ``tables``: of
    :func:`gram_tables`. ``sides``: (P,), 0 middle, 1 left, 2 right.
    ``prior`` (E, E), ``shrink``, ``upper`` (E,): quadratic and linear cost and bound of each weight. ``doubt``: (n,),
    variance of a frame's points beside the usual, by which costs count more; what is beyond 1 of it, times ``askew``
    (E, E), is a cost, too. ``links``: bool (n,), whether a frame starts from its predecessor's expression. ``steps``:
    (n,) Gauss-Newton steps; second derivatives are new in every third. ``rotations`` (n, 3, 3), ``states`` (n, 4),
    ``expressions`` (n, E): start and
    result. ``errors``: (n,), root mean square in cm at the last step's start.
    """
    count, size = neutral.shape[0], basis.shape[1]
    cols, weighted = np.empty((3 * count, _COLUMNS)), np.empty((3 * count, _COLUMNS))
    own, own_pairs = np.empty(count), np.empty(pairs.shape[0])
    square, cross = np.zeros((_COLUMNS, _COLUMNS)), np.empty((_COLUMNS, size))
    model, pose = np.empty((count, 3)), np.empty(POSE)
    schur, solved, inverse = np.empty((size, size)), np.empty((POSE, size)), np.empty((POSE, POSE))
    for t in range(seen.shape[0]):
        if links[t]:
            expressions[t] = expressions[t - 1]
        near = 1.0
        cost = doubt[t] * prior + (doubt[t] - 1.0) * askew
        hidden, lost = frame_weights(rotations[t], weights, sides, pairs, pair_weights, own, own_pairs)
        for turn in range(steps[t]):
            first = 0 if turn % 3 == 0 else POSE
            model[:] = neutral
            weighted_rows(expressions[t], shapes, model.reshape(3 * count))
            columns(model, seen[t], states[t], rotations[t], distances[t], reach, first, cols)
            weigh(cols, own, pairs, own_pairs, depth_weight, first, weighted)
            products(weighted, cols, first, square)
            if first == 0:
                near = magnification(model, own, rotations[t], distances[t])
            pull_back(weighted, model, rotations[t], distances[t], near, first)
            products(weighted, basis, first, cross)
            if first == 0:
                for k in range(POSE):
                    square[k, k] += 1e-6
                inverse = np.linalg.inv(np.ascontiguousarray(square[:POSE, :POSE]))
                far_hessian(tables, rotations[t], near, depth_weight, hidden, lost, schur)
                solved[:] = 0.0
                for k in range(POSE):
                    weighted_rows(inverse[k], cross[:POSE], solved[k])
                for k in range(size):
                    weighted_rows(-cross[:POSE, k], solved, schur[k])
                schur += cost
            reduced = cross[POSE] - doubt[t] * shrink
            weighted_rows(-expressions[t], cost, reduced)
            weighted_rows(-square[POSE, :POSE], solved, reduced)
            step = bounded_step(schur, reduced, expressions[t], upper, 30)
            expressions[t] += step
            for k in range(POSE):
                pose[k] = 0.0
                for m in range(POSE):
                    pose[k] += inverse[k, m] * square[POSE, m]
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
        errors[t] = np.sqrt(max(square[POSE, POSE], 0.0) / own.sum())
