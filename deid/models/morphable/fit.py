"""Inversion: from MediaPipe's mesh over a track to an identity's shape and, for each frame, everything else.

Regularised, bounded least squares on the mesh points under a perspective camera, as in Blanz and Vetter, *Face
Recognition Based on Fitting a 3D Morphable Model* (2003), with landmarks in place of pixels. The identity is estimated
jointly over frames: the unknowns of each frame are eliminated from its normal equations, so that a smile or a raised
head in one frame does not become part of the person. Distances inside the model are centimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deid.models.morphable import apertures, face_points, fit_kernel, gaze, lids, turned, visibility
from deid.models.morphable.fit_basis import SIGMA, UPPER, FitBasis, fit_basis
from deid.models.morphable.fit_rows import procrustes, spread_frames, usual_frames
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.side_by_side import halves, side_by_side
from deid.models.morphable.tracks import AttributeTrack, Observations

DISTANCES = (30.0, 45.0, 70.0, 120.0, 240.0)
"""Candidates for the distance from the camera to the head, in centimetres."""

_PIXELS = 0.7  # standard deviation of mesh points, in the frame's pixels, beyond what they err on large faces
_DEPTH_WEIGHT = 0.05  # squared; MediaPipe's depths are guesses
_FRAMES, _PROBE_FRAMES = 28, 8
_TRUSTED_FRAMES = 8.0  # frames' worth of evidence about an identity: the model errs in the same way in all of them
_COMPLETIONS = 12  # rounds: with half of a face hidden, what is not settled halves in each
_OFFSET_KEPT = 0.85
_SPAN_RIDGE = 0.1
_REST_SPREAD, _MOMENT_SPREAD = 0.22, 0.5  # standard deviations of weights between people at rest, and between moments
_REST_APART = 12.0  # frames of a moving face that tell as much about it as one more picture would
_STILL, _MOVING = 0.03, 0.12  # standard deviation of a weight over a track that holds still, and of one that moves
_REST_MOST = (("brow", 0.45), ("mouthPucker", 0.3), ("mouthStretch", 0.3), ("", 0.25))  # of a weight, by name
_REST_QUANTILE = 0.3  # of what the usual frames show: a pose that is held often is not rest
_ASKEW = (8.0, 20.0)  # degrees of yaw between which a lasting half of a smile stops being believed
_RESTING = (
    "brow", "jawLeft", "jawRight", "jawForward", "mouthLeft", "mouthRight", "mouthFrown", "noseSneer", "cheekPuff",
    "mouthPucker", "mouthStretch", "mouthDimple", "mouthRoll", "mouthShrug", "mouthPress",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class IdentityFit:
    """Who was seen. ``shape``: float32 (K,), standard deviations. ``distance``: centimetres from the camera to the
    head where the face has its median size. ``scale``: that size, pixels a centimetre.
    ``offsets``: float32 (468, 3), centimetres in head space, from the model's mesh points to the person's own: what the
    identity modes do not span, and where MediaPipe means another place than the model. ``residual``: mean distance of
    mesh points in outer eye distances, over the frames used. ``frames``: int32, the frames used."""

    shape: np.ndarray
    distance: float
    scale: float
    offsets: np.ndarray
    residual: float
    frames: np.ndarray


@dataclass(slots=True, eq=False)
class _State:
    """The unknowns of ``n`` frames, changed in place."""

    seen: np.ndarray
    rotations: np.ndarray
    states: np.ndarray
    expressions: np.ndarray
    errors: np.ndarray

    @classmethod
    def start(cls, basis: FitBasis, neutral: np.ndarray, observations: Observations, distance: float) -> _State:
        seen = turned.straightened(observations.points)[:, :468].astype(np.float64) * (1, -1, -1)
        rotations, states = procrustes(neutral, seen, basis.weights)
        states[:, 0] *= 1 - basis.reach / distance  # the face is nearer than the head's origin
        n = len(observations)
        return cls(seen, rotations, states, np.zeros((n, len(basis.expression))), np.zeros(n))

    def fit(
        self, basis: FitBasis, neutral: np.ndarray, distances: np.ndarray, links: np.ndarray, steps: np.ndarray | int
    ) -> None:
        shape, turns = np.ascontiguousarray(neutral), np.broadcast_to(np.asarray(steps, np.int64), links.shape).copy()
        doubt = self.doubt()

        def some(rows: slice) -> None:
            fit_kernel.fit_sequence(
                self.seen[rows], shape, basis.shapes, basis.rows, basis.tables, basis.weights,
                basis.sides, basis.pairs, basis.pair_weights, _DEPTH_WEIGHT, basis.prior, basis.askew, basis.shrink,
                basis.upper, doubt[rows], distances[rows], basis.reach, links[rows], turns[rows],
                self.rotations[rows], self.states[rows], self.expressions[rows], self.errors[rows],
            )  # fmt: skip

        # frames that do not begin where others end know nothing of each other
        list(side_by_side(some, (slice(0, len(links)),) if links.any() else halves(len(links))))

    def doubt(self) -> np.ndarray:
        """(n,), 1 and more: variance of mesh points beside that on a large face. Those of a small one, a landmark model
        finds in fewer pixels."""
        return np.asarray(1 + (_PIXELS / (SIGMA * np.maximum(self.states[:, 0], 1.0))) ** 2)

    def model(self, basis: FitBasis, neutral: np.ndarray) -> np.ndarray:
        """(n, 468, 3) head space."""
        return neutral + np.tensordot(self.expressions, basis.seen, 1)

    def projected(self, model: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """(n, 468, 2), pixels, y up."""
        turned = model @ np.swapaxes(self.rotations, 1, 2)
        near = self.states[:, None, :1] / (1 - turned[..., 2:] / distances[:, None, None])
        return turned[..., :2] * near + self.states[:, None, 1:3]


def _distances(scales: np.ndarray, distance: float, scale: float) -> np.ndarray:
    """Centimetres in each frame: a face that grows comes nearer, unless it already is very near or very far."""
    if not np.isfinite(distance):
        return np.full(len(scales), np.inf)
    return np.clip(distance * scale / scales, 25.0, 400.0)


def fit_identity(geometry: Geometry, observations: Observations) -> IdentityFit:
    """Shape and camera distance of the person in ``observations`` (at least one frame, else ``ValueError``)."""
    if not len(observations):
        raise ValueError("an identity needs at least one frame")
    basis = fit_basis(geometry)
    rest = usual_frames(basis, observations, _FRAMES - _FRAMES // 3)
    rows = np.union1d(spread_frames(observations, _FRAMES // 3), rest)
    chosen, resting = observations.take(rows), np.isin(rows, rest)
    probe = observations.take(spread_frames(observations, _PROBE_FRAMES))
    costs = [solve(basis, probe, d, rounds=2)[2] * _distance_factor(d) for d in DISTANCES]
    distance = DISTANCES[int(np.argmin(costs))]
    state, shape, _ = solve(basis, chosen, distance, rounds=6)
    neutral = basis.mean + np.tensordot(shape, basis.identity, 1)
    scale = float(np.median(state.states[:, 0]))
    distances = _distances(state.states[:, 0], distance, scale)
    offsets = np.zeros((468, 3))
    kept = _kept(state.expressions, len(observations))
    for turn in range(3):
        if turn == 1:
            own = _rest(geometry, state.expressions, resting, state.rotations, kept)
            offsets += np.tensordot(own, basis.seen, 1)
            state.fit(basis, neutral + offsets, distances, np.zeros(len(chosen), bool), 3)
        missed = _offsets(basis, state, neutral + offsets, distances, resting)
        offsets += _OFFSET_KEPT * (missed - _expressed(basis, missed, 1 - kept))
        state.fit(basis, neutral + offsets, distances, np.zeros(len(chosen), bool), 3)
    return IdentityFit(
        shape.astype(np.float32), distance, scale, offsets.astype(np.float32),
        float(np.median(_residual(basis, state, neutral + offsets, distances))), chosen.frames,
    )  # fmt: skip


def _kept(expressions: np.ndarray, frames: int) -> np.ndarray:
    """(E,) in [0, 1]: how much of what ``expressions`` (n, E) have in common over so many ``frames`` is the person's.

    One picture cannot tell; a clip in which nothing changes is one picture. The share is that of two Gaussians, what
    faces at rest differ by and what a face does, the latter averaged over what counts as separate looks.
    """
    moving = np.clip((expressions.std(axis=0) - _STILL) / (_MOVING - _STILL), 0.0, 1.0)
    looks = 1 + moving * (frames - 1) / _REST_APART
    return _REST_SPREAD**2 / (_REST_SPREAD**2 + _MOMENT_SPREAD**2 / looks)


def _expressed(basis: FitBasis, moved: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(468, 3): the part of ``moved`` (468, 3) that expressions could make, the ``share`` (E,) of each."""
    flat, weights = basis.seen[..., :2].reshape(len(basis.seen), -1), np.repeat(basis.weights, 2)
    normal = (flat * weights) @ flat.T + _SPAN_RIDGE * np.diag(np.diag(basis.prior))
    found = np.linalg.solve(normal, (flat * weights) @ moved[:, :2].ravel())
    return np.tensordot(share * found, basis.seen, 1) * (1, 1, 0)


def _rest(
    geometry: Geometry, expressions: np.ndarray, resting: np.ndarray, rotations: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """(E,): weights that are part of the person: high brows or a narrow mouth, as they are in ``expressions`` (n, E) in
    frames ``resting`` (n,), with heads turned by ``rotations`` (n, 3, 3), as far as ``kept`` (E,) trusts them and not
    beyond what faces at rest do. Smiles and open lips are not: whoever smiles through a whole clip does smile; but half
    a smile that never ends, on a face that is always turned away, is the landmark model's."""
    names = geometry.expression_names
    usual = np.quantile(expressions[resting], _REST_QUANTILE, axis=0)
    most = np.array([next(bound for stem, bound in _REST_MOST if name.startswith(stem)) for name in names])
    turns = np.degrees(np.arcsin(np.clip(rotations[resting][:, 0, 2], -1, 1)))
    turned = float(np.clip((abs(np.median(turns)) - _ASKEW[0]) / (_ASKEW[1] - _ASKEW[0]), 0.0, 1.0))
    other = {name: name[:-1] + ("R" if name.endswith("_L") else "L") for name in names if name[-2:] in ("_L", "_R")}
    half = [usual[i] - min(usual[i], usual[names.index(other[n])]) if n in other else 0.0 for i, n in enumerate(names)]
    own = np.array([name.startswith(_RESTING) for name in names])
    lids = np.array([name.startswith("eye") for name in names])
    return np.where(own, kept * np.minimum(usual, most), np.where(lids, 0.0, turned * kept * np.array(half)))


def _distance_factor(distance: float) -> float:
    """Most faces are filmed from 40 cm to 2 m, and landmarks say little: MediaPipe's meshes are nearly orthographic."""
    return 1 + 0.04 * float(np.log2(min(distance, 400.0) / 90.0)) ** 2


def solve(
    basis: FitBasis, observations: Observations, distance: float, rounds: int
) -> tuple[_State, np.ndarray, float]:
    """Alternate between the frames' unknowns and a joint step of the shape. Returns them and the final cost a frame."""
    shape = np.zeros(len(basis.identity))
    state = _State.start(basis, basis.mean, observations, distance)
    n = len(observations)
    links = np.zeros(n, bool)
    neutral, distances = basis.mean, np.full(n, distance)
    for turn in range(rounds):
        scale = float(np.median(state.states[:, 0]))
        distances = _distances(state.states[:, 0], distance, scale)
        state.fit(basis, neutral, distances, links, 6 if turn == 0 else 3)
        shape = np.clip(shape + _shape_step(basis, state, neutral, shape, distances), -3.0, 3.0)
        neutral = basis.mean + np.tensordot(shape, basis.identity, 1)
    state.fit(basis, neutral, distances, links, 3)
    cost = np.median(state.errors**2) * basis.weights.sum()
    each = np.einsum("ne,ef,nf->n", state.expressions, basis.prior, state.expressions)
    cost += float((each + 2 * state.expressions @ basis.shrink).mean())
    return state, shape, float(cost + shape @ shape / _TRUSTED_FRAMES)


def _shape_step(
    basis: FitBasis, state: _State, neutral: np.ndarray, shape: np.ndarray, distances: np.ndarray
) -> np.ndarray:
    """One Gauss-Newton step of the shape over all frames, with what belongs to a frame alone eliminated."""
    size, count = len(basis.expression), len(basis.identity)
    model = state.model(basis, neutral)
    errors = state.errors
    trust = 1 / np.maximum(errors, np.median(errors)) ** 2  # frames that fit badly say less
    trust *= min(len(errors), _TRUSTED_FRAMES) / trust.sum()
    normal, right = np.eye(count), -shape
    first, doubt = fit_kernel.POSE + size, state.doubt()

    def eliminated(t: int) -> tuple[np.ndarray, np.ndarray]:
        hessian, gradient = fit_kernel.normal_blocks(
            model[t], state.seen[t], basis.all_rows, basis.all_tables, basis.weights, basis.sides, basis.pairs,
            basis.pair_weights, _DEPTH_WEIGHT, state.states[t], state.rotations[t], distances[t], basis.reach,
        )  # fmt: skip
        weights, own = state.expressions[t], slice(fit_kernel.POSE, first)
        cost = doubt[t] * basis.prior + (doubt[t] - 1) * basis.askew
        hessian[np.arange(first), np.arange(first)] += np.r_[np.full(fit_kernel.POSE, 1e-6), np.diag(cost)]
        gradient[own] -= cost @ weights + doubt[t] * basis.shrink
        held = ((weights <= 1e-6) & (gradient[own] <= 0)) | ((weights >= UPPER - 1e-6) & (gradient[own] >= 0))
        local = np.r_[np.arange(fit_kernel.POSE), fit_kernel.POSE + np.flatnonzero(~held)]
        cross = hessian[local, first:]
        solved = np.linalg.solve(hessian[np.ix_(local, local)], np.column_stack([cross, gradient[local]]))
        return hessian[first:, first:] - cross.T @ solved[:, :-1], gradient[first:] - cross.T @ solved[:, -1]

    for t, (square, line) in enumerate(side_by_side(eliminated, range(len(model)))):
        normal += trust[t] * square
        right = right + trust[t] * line
    return np.linalg.solve(normal, right)


def _offsets(
    basis: FitBasis, state: _State, neutral: np.ndarray, distances: np.ndarray, resting: np.ndarray
) -> np.ndarray:
    """(468, 3): the median over frames at rest (a mask) of what remains, turned back into head space; nothing is known
    of depth."""
    model = state.model(basis, neutral)
    rest = (state.seen[..., :2] - state.projected(model, distances)) / state.states[:, None, :1]
    turned = np.pad(rest, ((0, 0), (0, 0), (0, 1))) @ state.rotations
    frontal = state.rotations[:, 2, 2]
    near = resting & (frontal >= min(0.85, float(np.quantile(frontal[resting], 0.3))))
    offset = np.median(turned[near], axis=0)
    offset *= np.minimum(1.0, 0.5 / np.maximum(np.linalg.norm(offset, axis=1, keepdims=True), 1e-9))
    # how far lips and lids are open belongs to the frames, not to the person
    for pairs in (face_points.INNER_LIP_PAIRS, *face_points.LID_PAIRS):
        offset[pairs] = offset[pairs].mean(axis=1, keepdims=True)
    return offset


def _residual(basis: FitBasis, state: _State, neutral: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """(n,): mean distance of the mesh points, in outer eye distances."""
    apart = np.linalg.norm(state.seen[..., :2] - state.projected(state.model(basis, neutral), distances), axis=2)
    left, right = face_points.EYE_CORNERS[:, 1]
    eyes = float(np.linalg.norm(neutral[left] - neutral[right]))
    return apart.mean(axis=1) / (eyes * state.states[:, 0])


def fit_attributes(
    geometry: Geometry,
    shape: np.ndarray,
    distance: float,
    observations: Observations,
    *,
    offsets: np.ndarray | None = None,
    scale: float | None = None,
    whole: bool = True,
) -> AttributeTrack:
    """Pose, expression and gaze in every frame of ``observations``, for a known person. About 0.3 ms a frame.

    ``shape``, ``distance``, ``offsets``, ``scale``: those of :class:`IdentityFit`; without ``offsets`` the model's own
    points are used, without ``scale`` the median size has ``distance``. Not ``whole``: the observations are one window
    of a track; join the windows (``AttributeTrack.joined``) and let :func:`finish_attributes` look at all of it.
    """
    basis = fit_basis(geometry)
    neutral = basis.mean + np.tensordot(np.asarray(shape, np.float64), basis.identity[: len(shape)], 1)
    if offsets is not None:
        neutral = neutral + offsets
    n = len(observations)
    state = _State.start(basis, neutral, observations, distance)
    usual = scale if scale is not None else float(np.median(state.states[:, 0])) if n else 1.0
    distances = _distances(state.states[:, 0], distance, usual)
    links = np.r_[False, np.diff(observations.frames) <= 3] if n else np.zeros(0, bool)
    state.fit(basis, neutral, distances, links, np.where(links, 3, 7))  # a cold start needs more
    rest = state.seen[..., :2] - state.projected(state.model(basis, neutral), distances)
    residual = _residual(basis, state, neutral, distances)
    track = AttributeTrack(
        frames=observations.frames, rotation=state.rotations, scale=state.states[:, 0].copy(),
        translation=state.states[:, 1:3] * (1, -1), distance=distances,
        expression=state.expressions.astype(np.float32), mouth=np.zeros(n, np.float32),
        aperture=np.zeros((n, 2), np.float32), sight=np.zeros((n, 2, 2), np.float32),
        facing=np.zeros((n, 2), np.float32), openness=np.ones((n, 2), np.float32),
        gaze=np.zeros((n, 2, 2), np.float32), residual=residual.astype(np.float32), presence=observations.presence,
        height=np.zeros(n, np.float32), outside=np.zeros(n, np.float32), jump=np.zeros(n, np.float32),
        noise=visibility.mesh_noise(rest, observations.frames).astype(np.float32),
    )  # fmt: skip
    if not n:
        return track
    track = visibility.with_visibility(apertures.with_apertures(neutral, track, observations), observations)
    track = gaze.with_sight(geometry, shape, neutral, track, observations)
    return finish_attributes(geometry, shape, track) if whole else track


def completed(
    geometry: Geometry, identity: IdentityFit, observations: Observations, hidden: np.ndarray
) -> Observations:
    """``observations`` with mesh points that are ``hidden``, bool (n, 468), where the model has them that fits the
    others: what a landmark model says of a part of a face that it does not see is a guess.

    Least squares with missing values, by the EM algorithm (A. Dempster, N. Laird and D. Rubin, 1977, section 4.1):
    missing points are put where the model is, the model is fitted, and so on. Frames with nothing hidden stay as they
    are.
    """
    rows = np.flatnonzero(hidden.any(axis=1))
    if not len(rows):
        return observations
    basis, gone = fit_basis(geometry), hidden[rows]
    neutral = basis.mean + np.tensordot(identity.shape.astype(np.float64), basis.identity[: len(identity.shape)], 1)
    neutral = neutral + identity.offsets
    part = observations.take(rows)
    state = _State.start(basis, neutral, part, identity.distance)
    state.seen = state.seen.copy()
    alone = np.zeros(len(rows), bool)
    distances = _distances(state.states[:, 0], identity.distance, identity.scale)
    for _ in range(_COMPLETIONS):
        model = state.model(basis, neutral)
        places = state.projected(model, distances)
        near = state.states[:, 0] / (1 - basis.reach / distances)
        depth = ((model @ np.swapaxes(state.rotations, 1, 2))[..., 2] + state.states[:, 3:]) * near[:, None]
        state.seen[gone] = np.concatenate([places, depth[..., None]], axis=2)[gone]
        state.fit(basis, neutral, distances, alone, 2)
    points, filled = observations.points.copy(), part.points.copy()
    straight = (state.seen * (1, -1, -1)).astype(np.float32)
    filled[:, : face_points.MESH_POINTS][gone] = (straight + turned.astray(part.points))[gone]
    points[rows] = filled  # what lies astray is taken off where these are fitted
    return Observations(observations.frames, points, observations.presence, observations.size)


def finish_attributes(geometry: Geometry, shape: np.ndarray, track: AttributeTrack) -> AttributeTrack:
    """``track`` with openness, gaze and the lids' weights, which depend on how this person looks over all of it."""
    if not len(track):
        return track
    openness = apertures.relative_openness(track.aperture.astype(np.float64), track.facing.astype(np.float64))
    track = gaze.with_gaze(track.with_values(openness=openness.astype(np.float32)))
    expression = track.expression.copy()
    lids.set_lids(expression, geometry.expression_names, lids.lid_curves(geometry, shape), track)
    return track.with_values(expression=expression)
