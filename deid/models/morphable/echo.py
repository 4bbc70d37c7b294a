"""Closing the loop for a whole face: what comes back when the surrogate is shown to the landmark model that read the
subject.

Every face has an expression at rest: brows that lie high or slope inwards, corners of the mouth that hang, eyes that
are large. The codes of a frame say how somebody moves, not how the face that moves looks; a surrogate with sloping
brows would so look worried through a calm speech. Some frames of a track are rendered as they are going to be shown,
without the picture around them, read by the landmark model, and compared with what it read off the subject in the same
frames. What is off on average is put right where it comes from: brows and the mouth's corners in the surrogate's face
at rest, lids in how wide it holds its eyes, lips in how far they part, irises in their angles. Two rounds, the second
by what the first one did (a secant step, Broyden 1965, on a diagonal). All of it is bounded: a surrogate stays who it
is, and an expression that is not understood is not made up for by an absurd one.

How high irises lie, and how far eyes are open that are held narrow, is not asked of the landmark model: of rendered
eyes it reads what it expects, irises in the middle of slits whose pupils are under the lid, and slits wider than they
are, wide ones by a tenth, narrow ones by half. There the subject's reading, which is right on photographs, is compared
with where irises, and lids that are held narrow, are rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from deid.detection.landmarks import FaceLandmarker, roi_from_landmarks
from deid.detection.pose import face_scale, head_pose
from deid.models.morphable import face_points
from deid.models.morphable.codes import AttributeCode, Light
from deid.models.morphable.finish import to_code
from deid.models.morphable.fit_basis import fit_basis, surface_points
from deid.models.morphable.geometry import Geometry
from deid.models.morphable.mouths import holds
from deid.models.morphable.painter import Sitter
from deid.models.morphable.render import GeneratedFace
from deid.models.morphable.side_by_side import side_by_side
from deid.models.morphable.tracks import AttributeTrack, evenly

_SIDE, _HEAD = 256, 30.0  # pixels of the pictures, at most; centimetres that they are high
_WALL = 0.45  # behind the head
_SOFT = 0.5  # pixels of blur of glasses on it
_PRESENCE = 0.5
_ROWS = 8
_GLANCES = 0.05  # quantile of gaze up and down at which two of the rows are
_SPOKEN = (0.75, 0.93)  # quantiles of the lips' gap at which two others are
_MOST_YAW = 40.0  # degrees
_LEAST_OPEN, _NARROW, _WIDE, _SURE = 0.55, 0.2, 0.9, 0.75
_ROUNDS = 2

_BROW_ENDS = np.array([[[285, 336], [276, 300]], [[55, 107], [46, 70]]])
"""(side, inner or outer, 2): the subject's left first."""
_CORNERS = np.array([[291, 308], [61, 78]])
_LIPS_MIDDLE = np.array([13, 14])
_READ_HIGHER = -0.003
"""Outer eye distances by which the landmark model reads the corners of rendered mouths at rest above the place where
they are: median of draws, in three poses."""

# the reading's parts: brows (inner, outer; left, right), corners of the mouth, its width, lids, lips' gap, gaze
_REST, _LIDS, _LIPS, _GAZE = slice(0, 7), 7, 8, slice(9, 11)
_COUNT = 11
_UP = 10  # of gaze, which is compared with where it is, not with how it reads; and lids that are held narrow:
_WELL_READ = (0.08, 0.1)  # outer eye distances between lids, from which on they are read the better the wider they are
_LEAST_WEIGHT = np.array([-1.0, -0.8, -1.0, -0.8, -0.3, -0.3, -0.25])
_MOST_WEIGHT = np.array([0.4, 0.5, 0.4, 0.5, 0.4, 0.4, 0.3])
"""By how much the face at rest may be changed: brows by weights of expressions, corners of the mouth and its width by
units of :func:`~.mouths.holds`. Corners of full lips hang below the middle of their line and look calm; thin lips whose
corners hang as far frown."""
_RIDGE = 0.1  # of the mean diagonal: corrections that only noise asks for stay small
_GAZE_STEP = np.array([0.25, 0.14])  # eye widths of iris that are read for one radian across, and up
_GAZE_MOVE = np.array([0.25, 0.62])  # of which its place is made up for by: up and down it is where it is rendered
_MOST_GAZE = np.radians([4.0, 7.0])
_GAINS = np.array([[0.7, 1.0], [1.5, 1.35]])  # least and most, across and up
_GAIN_RIDGE = np.radians([5.0, 4.0]) ** 2  # of variance: glances smaller than that say nothing about their gain
_LID_RANGE, _LIP_RANGE = (0.75, 1.15), (0.6, 1.3)
_LEAST_GAP = 0.04  # outer eye distances: lips that are closer say little about a factor
_USUAL_GAP = 0.08  # weight, as a gap that is right, of no factor at all
_SIDES = np.array([[0, 2], [1, 3], [4, 5]])  # brows' inner ends, outer ends, corners of the mouth: left and right
_ONE_SIDED = 0.3  # share of a slant of brows or mouth at rest that is made up for: most of it is how the head is turned
_TOLD = 0.006  # a step that was meant to be larger tells how much of it comes back
_KEPT = np.array([0.9] * 4 + [0.8, 0.8, 0.5] + [0.6, 0.9, 0.9, 0.7])
"""Share of a difference that is made up for; eyes that are large or small by nature, and mouths that are wide, stay so
in part."""


@dataclass(frozen=True, slots=True, eq=False)
class Echo:
    """What to change of a surrogate so that it reads as the subject did. ``rest``: float64 (7,), weights by which
    brows (inner, outer; left, right) and corners of the mouth (left, right) lie higher, and by which it is wider.
    ``lids``, ``lips``: how much wider the eyes are held, and how much further the lips part. ``gaze``, ``gain``:
    float64 (2,), radians added, and factors, across and up. ``turned``: float64 (3,), degrees of yaw, pitch and roll
    by which it seems turned from the subject, 0 where that is not told."""

    rest: np.ndarray = field(default_factory=lambda: np.zeros(7))
    lids: float = 1.0
    lips: float = 1.0
    gaze: np.ndarray = field(default_factory=lambda: np.zeros(2))
    gain: np.ndarray = field(default_factory=lambda: np.ones(2))
    turned: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def at_rest(self, geometry: Geometry, neutral: np.ndarray) -> np.ndarray:
        """``neutral``, float32 (V, 3), with brows and corners of the mouth where they belong."""
        moved: np.ndarray = neutral + np.tensordot(self.rest.astype(np.float32), _rest_shapes(geometry), 1)
        return moved

    def looking(self, gaze: np.ndarray) -> np.ndarray:
        """``gaze`` (n, 2, 2) as it is to be rendered."""
        middle = np.median(gaze, axis=(0, 1))
        turned: np.ndarray = ((gaze - middle) * self.gain + middle + self.gaze).astype(gaze.dtype)
        return turned

    def weaker(self, share: float) -> Echo:
        """Only so much of it, 0 to 1."""
        return Echo(
            self.rest * share, self.lids**share, self.lips**share, self.gaze * share, self.gain**share, self.turned
        )  # fmt: skip


Make = Callable[[Echo], tuple[AttributeTrack, Sitter]]
"""The track's attributes and the head to be rendered, once what an echo says is heeded."""


def reading(points: np.ndarray, scale: np.ndarray | None = None) -> np.ndarray:
    """(11,) of mesh points (478, 3): heights of brows and corners of the mouth and its width in outer eye distances,
    the lids' and the lips' opening in outer eye distances, place of the irises in eye widths. ``scale``: the mesh whose
    outer eye distance and eye widths these are, where it is another."""
    xy = points[:, :2].astype(np.float64)
    of = points if scale is None else scale
    size = face_scale(of)
    corners = xy[face_points.EYE_CORNERS]  # (eye, inner or outer, 2)
    across = corners[0, 1] - corners[1, 1]
    up = np.array([across[1], -across[0]]) / np.linalg.norm(across)
    out = np.zeros(_COUNT)
    height = (xy - corners.mean(axis=(0, 1))) @ up / size
    out[:4] = height[_BROW_ENDS].mean(axis=-1).ravel()
    out[4:6] = height[_CORNERS].mean(axis=-1) - height[_LIPS_MIDDLE].mean()
    out[6] = np.linalg.norm(xy[_CORNERS[0, 0]] - xy[_CORNERS[1, 0]]) / size
    pairs = face_points.INNER_LIP_PAIRS[1:4]
    out[_LIPS] = np.linalg.norm(xy[pairs[:, 0]] - xy[pairs[:, 1]], axis=1).mean() / size
    look, square = np.zeros(2), 0.0
    # irises are alike in everybody: how far lids stand off them is seen, not what share of an eye's width that is
    lids = face_points.LID_PAIRS[:, 1:4]
    out[_LIDS] = np.linalg.norm(xy[lids[..., 0]] - xy[lids[..., 1]], axis=-1).mean() / size
    widths = np.diff(of[face_points.EYE_CORNERS, :2].astype(np.float64), axis=1)
    for eye in range(2):
        along = (corners[eye, 1] - corners[eye, 0]) * (1, -1)[eye]  # to the subject's left
        along *= np.linalg.norm(widths[eye]) / max(float(np.linalg.norm(along)), 1e-9)
        offset = xy[face_points.IRISES[eye][0]] - corners[eye].mean(axis=0)
        look += offset @ along, offset[0] * along[1] - offset[1] * along[0]
        square += float(along @ along)
    out[_GAZE] = look / square
    return out


def telling_rows(track: AttributeTrack, trusted: np.ndarray) -> np.ndarray:
    """Up to 8 rows to compare, evenly in time, two of them where gaze goes up and down and two where lips are apart:
    well seen, not turned far, eyes open. How much further glances are to go, or lips to part, is not told by frames
    in which they rest."""
    angles = np.abs(track.yaw_pitch_roll())
    seen = trusted & (track.presence > _SURE) & (angles[:, 0] < _MOST_YAW)
    good = seen & (track.openness.min(axis=1) > _LEAST_OPEN)
    if not good.any():  # against the sun, or in a laugh, eyes are narrow throughout
        good = seen & (track.openness.min(axis=1) > _NARROW)
    if good.any():
        wide = track.openness.min(axis=1)
        good &= wide >= min(_WIDE, float(np.median(wide[good])))
    rows = np.flatnonzero(good)
    if len(rows) <= _ROWS:
        return rows
    even = evenly(rows, _ROWS - 4)
    left = np.setdiff1d(rows, even)
    wide = left[np.argsort(track.mouth[left], kind="stable")]
    even = np.append(even, [wide[round(share * (len(wide) - 1))] for share in _SPOKEN])
    left = np.setdiff1d(rows, even)
    up = left[np.argsort(track.gaze[left, :, 1].mean(axis=1), kind="stable")]
    ends = [up[round(share * (len(up) - 1))] for share in (_GLANCES, 1 - _GLANCES)]
    return np.unique(np.append(even, ends))


def listen(
    geometry: Geometry, landmarker: FaceLandmarker, make: Make, seen: np.ndarray, rows: np.ndarray,
    lights: Sequence[Light],
) -> Echo:  # fmt: skip
    """``seen``: (m, 478, 3), the subject's meshes in frames ``rows`` (m,) of the track, one light each."""
    if not len(rows):
        return Echo()
    wanted = np.stack([reading(p) for p in seen])
    wanted[:, 4:6] += _READ_HIGHER
    effect = _effects(geometry)
    steps = np.ones(_COUNT)  # how much of what was meant came back, last time
    echo, before, meant = Echo(), None, None
    for _ in range(_ROUNDS):
        track, sitter = make(echo)
        meshes = _read(geometry, landmarker, track, sitter, rows, lights)
        good = np.array([mesh is not None for mesh in meshes])
        if good.sum() < min(2, len(rows)):
            return echo
        none = np.full(_COUNT, np.nan)
        read = np.array([none if mesh is None else reading(mesh[0]) for mesh in meshes])
        true = np.array([none if mesh is None else reading(mesh[1], mesh[0]) for mesh in meshes])
        shown = read.copy()
        narrow = np.clip((_WELL_READ[1] - wanted) / np.ptp(_WELL_READ), 0.0, 1.0)[:, _LIDS]
        shown[:, _LIDS] += narrow * (true - read)[:, _LIDS]
        shown[:, _UP] = true[:, _UP]
        now = np.median(shown[good], axis=0)
        if before is not None and meant is not None:
            large = np.abs(meant) > _TOLD
            steps = np.where(large, np.clip((now - before) / np.where(large, meant, 1.0), 0.5, 1.5), 1.0)
        before, meant = now, _KEPT * _evened(np.median((wanted - shown)[good], axis=0))
        echo = _stepped(echo, meant / steps, effect, read[good], wanted[good], track.gaze[rows[good]])
        apart = [_turned(mesh[0], old) for mesh, old in zip(meshes, seen, strict=True) if mesh is not None]
        echo = replace(echo, turned=np.median(apart, axis=0))
    return echo


def _turned(mesh: np.ndarray, old: np.ndarray) -> np.ndarray:
    """(3,): degrees of yaw, pitch and roll by which a mesh (478, 3) is turned from another."""
    (roll, yaw, pitch), (old_roll, old_yaw, old_pitch) = head_pose(mesh), head_pose(old)
    lean = np.degrees(roll) - np.degrees(old_roll)
    return np.array([yaw - old_yaw, pitch - old_pitch, lean - 360 * np.rint(lean / 360)])


def _evened(gap: np.ndarray) -> np.ndarray:
    """``gap`` (11,) with less of what differs between the sides of the face."""
    out = gap.copy()
    out[_SIDES] += (1 - _ONE_SIDED) * (gap[_SIDES].mean(axis=1, keepdims=True) - gap[_SIDES])
    return out


def _stepped(
    echo: Echo, gap: np.ndarray, effect: np.ndarray, read: np.ndarray, wanted: np.ndarray, gaze: np.ndarray
) -> Echo:
    """One step towards what makes up for ``gap`` (11,)."""
    normal = effect @ effect.T
    ridge = _RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
    rest = echo.rest + np.linalg.solve(normal + ridge, effect @ gap[_REST])
    lids = echo.lids * (1 + gap[_LIDS] / max(float(np.median(read[:, _LIDS])), 0.03))
    lips = echo.lips * _wider(read[:, _LIPS], wanted[:, _LIPS])
    shift = echo.gaze + gap[_GAZE] / _GAZE_MOVE
    gain = echo.gain * _gains(gaze.mean(axis=1), read[:, _GAZE], wanted[:, _GAZE])
    return Echo(
        np.clip(rest, _LEAST_WEIGHT, _MOST_WEIGHT), float(np.clip(lids, *_LID_RANGE)),
        float(np.clip(lips, *_LIP_RANGE)), np.clip(shift, -_MOST_GAZE, _MOST_GAZE), np.clip(gain, *_GAINS),
    )  # fmt: skip


def _wider(read: np.ndarray, wanted: np.ndarray) -> float:
    """By how much further lips are to part, of gaps (m,) that are read and that are wanted. Only open mouths tell: what
    a landmark model reads into closed ones is no share of a gap."""
    parted = wanted > _LEAST_GAP
    return float((wanted[parted].sum() + _USUAL_GAP) / (read[parted].sum() + _USUAL_GAP))


def _gains(shown: np.ndarray, read: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(2,): by how much further glances are to go. ``shown``: (m, 2) radians; ``read``, ``wanted``: (m, 2)."""
    turned = shown - shown.mean(axis=0)
    variance = (turned**2).mean(axis=0)
    usual = _GAZE_STEP * _GAIN_RIDGE
    rise = ((wanted * turned).mean(axis=0) + usual) / np.maximum((read * turned).mean(axis=0) + usual, 1e-9)
    return np.where(variance > 0, np.clip(rise, 0.6, 1.8), 1.0)


def _effects(geometry: Geometry) -> np.ndarray:
    """(7, 7): what a unit of each of the rest's weights adds to those parts of a reading."""
    basis = fit_basis(geometry)
    brows = np.tensordot(_weights(geometry), basis.seen, 1)  # (4, 468, 3)
    moves = np.concatenate([brows, surface_points(geometry, holds(geometry))]) * (1, -1, -1)
    points = np.concatenate([basis.mean * (1, -1, -1), np.zeros((10, 3))])
    return np.array([(reading(points + np.pad(m, ((0, 10), (0, 0)))) - reading(points))[_REST] for m in moves])


def _weights(geometry: Geometry) -> np.ndarray:
    """(4, E): each of the brows' weights in expressions."""
    names = geometry.expression_names
    out = np.zeros((4, len(names)), np.float32)
    for side, mark in enumerate("LR"):
        out[2 * side, names.index(f"browInnerUp_{mark}")] = 1.0
        out[2 * side + 1, names.index(f"browOuterUp_{mark}")] = 1.0
    return out


def _rest_shapes(geometry: Geometry) -> np.ndarray:
    """float32 (7, V, 3)."""
    used = np.flatnonzero(_weights(geometry).any(axis=0))
    brows = np.tensordot(_weights(geometry)[:, used], geometry.expression[used], 1)
    return np.concatenate([brows, holds(geometry)])


def before_wall(face: GeneratedFace) -> np.ndarray:
    """uint8 (h, w, 3) RGB: a rendered head as a camera would show it before a grey wall."""
    cover = np.clip(face.alpha + face.head, 0, 1)[..., None]
    shown = np.clip(to_code(face.rgb), 0, 1) * cover + _WALL * (1 - cover)
    return np.asarray(np.rint(shown * 255), np.uint8)


def _wearing(
    picture: np.ndarray, sitter: Sitter, geometry: Geometry, vertices: np.ndarray, code: AttributeCode
) -> np.ndarray:
    """``picture``, uint8 (h, w, 3), with the sitter's glasses, if any: through them a landmark model sees less of what
    eyes do."""
    if sitter.eyewear is None:
        return picture
    from deid.blending import Composite
    from deid.models.morphable.eyewear_draw import worn

    seen = Composite(picture.astype(np.float32) / 255, np.zeros(picture.shape[:2], np.bool_))
    worn(seen, sitter.eyewear, geometry, sitter.neutral, vertices, code, seed=0, frame=0)
    return np.asarray(np.rint(np.clip(seen.rgb, 0, 1) * 255), np.uint8)


def read_off(landmarker: FaceLandmarker, picture: np.ndarray, mesh: np.ndarray) -> np.ndarray | None:
    """What the landmark model makes of a rendered face, (478, 3); ``None`` where it sees none. ``picture``: uint8 (h,
    w, 3) RGB; ``mesh``: (468, 3), where its mesh really is."""
    start = np.concatenate([mesh, np.repeat(mesh.mean(axis=0)[None], 10, axis=0)]).astype(np.float32)
    found = landmarker.run(picture, roi_from_landmarks(start), rgb=True)
    return found.points if found is not None and found.presence >= _PRESENCE else None


def _read(
    geometry: Geometry, landmarker: FaceLandmarker, track: AttributeTrack, sitter: Sitter, rows: np.ndarray,
    lights: Sequence[Light],
) -> list[tuple[np.ndarray, np.ndarray] | None]:  # fmt: skip
    """m meshes (478, 3): what is read off the surrogate in ``rows`` of ``track``, and where it is; ``None`` where
    no face is found."""

    def shown(at: tuple[int, Light]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        row, light = at
        scale = min(float(track.scale[row]), _SIDE / _HEAD)
        side = round(scale * _HEAD)
        expression = track.expression[row]
        vertices = geometry.pose(sitter.neutral, expression, track.gaze[row])
        truth = surface_points(geometry, vertices)
        camera = track.close_up(row, truth, scale, side)
        face = sitter.renderer.render(vertices, camera, light, side, side, expression=expression)
        code = AttributeCode(expression, track.gaze[row], camera, light, _SOFT, 0.0)
        irises = np.repeat(camera.project(vertices[_pupils(geometry)]), 5, axis=0)
        mesh = camera.project(truth)
        return _wearing(before_wall(face), sitter, geometry, vertices, code), mesh, np.concatenate([mesh, irises])

    pictures = side_by_side(shown, zip(rows.tolist(), lights, strict=True))
    found = [(read_off(landmarker, picture, mesh), whole) for picture, mesh, whole in pictures]
    return [None if points is None else (points, whole) for points, whole in found]


@lru_cache(maxsize=2)
def _pupils(geometry: Geometry) -> np.ndarray:
    """int64 (2,): the vertices in the middle of the irises, in the order of the mesh's points: the subject's right eye
    first."""
    eyes = (geometry.eye_right, geometry.eye_left)
    return np.array([members[np.hypot(*(geometry.uv[members] - 0.5).T).argmin()] for members in eyes])
