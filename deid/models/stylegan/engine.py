"""The StyleGAN engine: Nitzan et al. 2020 in the passes of a video run.

People, trust, light, hands and compositing are those of the everyday engine; what is put into the frame comes out of a
generator: each frame's attributes and the surrogate's identity are mapped into its latent space (``swap.py``), the
codes made steady over time, generated and pasted (``paste.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from deid.blending import FaceOutline, Patch
from deid.config import RunConfig
from deid.detection.landmarks import FaceLandmarker
from deid.models.editing.video import SurrogateEdits
from deid.models.morphable.before_faces import hands_by_row, hands_of
from deid.models.morphable.calibrate import PoseBias
from deid.models.morphable.casting import Role, Shown
from deid.models.morphable.casts import Cast
from deid.models.morphable.codes import AttributeCode, IdentityCode
from deid.models.morphable.engine import MorphableEngine
from deid.models.morphable.inversion import TrackCodes, code_at
from deid.models.morphable.painter import Sitter, into_frame
from deid.models.morphable.replacing import replacement_of
from deid.models.stylegan import looks
from deid.models.stylegan.alignment import frame_from_crop
from deid.models.stylegan.glasses import Fitting, glazed
from deid.models.stylegan.networks import Networks
from deid.models.stylegan.paste import laid_in
from deid.models.stylegan.swap import Seen, Swapped, read_track, swap
from deid.personas import Book
from deid.plan import FaceAt
from deid.recognition.chips import chip_from_picture
from deid.recognition.thresholds import FAR_1E3
from deid.tracking.closeup import Closeup
from deid.types import Frame, Track

_PORTRAIT, _POSES = 256, ((0.0, 0.0), (14.0, 0.0), (-14.0, 4.0))
_AWAY = (0.0, 0.35, 0.7, 1.0, 1.4)
"""How far beyond the surrogate, seen from the subject, an identity may be moved until it is a stranger; in units of the
distance between the two."""
_MARGIN = 0.03
_WINDOW = 256  # looks that are read at a time
_SEEN = ("centres", "ways", "attributes")


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    """Somebody as the generator is told: ``identity``, float32 (d,); ``codes``: float32
    (n, 128), what the recogniser makes of the result in the person's pictures. ``safe``: whether it is a stranger."""

    identity: np.ndarray
    codes: np.ndarray
    safe: bool


class StyleganEngine(MorphableEngine):
    """See :class:`deid.models.engine.Engine`. Raises :class:`~deid.errors.ModelError` when the networks that ``config``
    names cannot be used."""

    record: ClassVar[np.dtype] = looks.RECORD
    edits_codes: ClassVar[bool] = False  # those of the latent space are changed instead

    @staticmethod
    def note(view: Closeup, points: np.ndarray) -> np.void:
        return looks.note(view, points)

    def __init__(self, config: RunConfig, seed: int, book: Book | None = None) -> None:
        torch.set_num_threads(1)  # frames are painted side by side
        networks = Networks.load(
            config.generator, config.encoder, config.mapper, config.identity_encoder, config.device
        )  # fmt: skip
        self._networks = SurrogateEdits.of(config.surrogate_edit).networks(networks)
        super().__init__(config, seed, book)
        self._seen: dict[int, Seen] = {}
        self._swapped: dict[int, Swapped] = {}
        self._faces: dict[int, _Face] = {}
        self._fittings: dict[int, Fitting | None] = {}

    # -- between the passes -----------------------------------------------------------------------------------------

    def _cast(
        self, role: Role, tracks: list[Track], bias: PoseBias, sitter: Sitter, landmarker: FaceLandmarker
    ) -> None:
        for track in tracks:
            self._seen[track.id] = self._read(self._codes[track.id])
        face = self._settled(role, self._portrayed(role.surrogate.code))
        self._faces[role.person.id] = face
        for track in tracks:
            of = self._codes[track.id]
            head = self._geometry.neutral(of.identity.shape)
            self._fittings[track.id] = Fitting.of(self._geometry, self._worn[role.person.id], head)
            tones = np.stack([of.lights.light(row).tone for row in range(len(of.witnessed))])
            frames = of.witnessed.frames
            self._swapped[track.id] = swap(
                self._networks, self._seen[track.id], face.identity, frames, self._rate, tones
            )
            hands = hands_by_row(of, hands_of(track, self.observer.hands))
            self._casts[track.id] = Cast(track, role.person, of, of.attributes, sitter, hands)
            self._replacements[track.id] = replacement_of(track, of, hands, self._rate, safe=face.safe)

    def _read(self, of: TrackCodes) -> Seen:
        """The track's looks, a window at a time."""
        parts = []
        rows = np.arange(len(of.witnessed))
        for start in range(0, len(rows), _WINDOW):
            observed, notes = of.witnessed.read(self._records, rows[start : start + _WINDOW], (0, 0))
            parts.append(read_track(self._networks, notes, observed.points, observed.frames, self._rate))
        return Seen(*(np.concatenate([getattr(part, name) for part in parts]) for name in _SEEN))

    def _portrayed(self, code: IdentityCode) -> np.ndarray:
        """E_id of a surrogate: the mean over portraits of it, as the generator's own training set shows people."""
        from deid.training.faces import Studio
        from deid.training.scene import portrait_of

        studio = Studio(_PORTRAIT)
        who, hows = portrait_of(studio.geometry, studio.appearance, code, _POSES)
        model = studio.cast(who)
        made = [studio.shoot(model, how) for how in hows]
        points = np.stack([(picture.points + 1) * (_PORTRAIT / 2) - 0.5 for picture in made])
        found = self._networks.identities(np.stack([picture.pixels[..., :3] for picture in made]), points)
        return np.asarray(found.mean(axis=0), np.float32)

    def _settled(self, role: Role, identity: np.ndarray) -> _Face:
        """The identity, moved away from the subject until the result is a stranger to them and to everybody before."""
        if not role.shown:
            return _Face(identity, np.empty((0, 128), np.float32), True)
        chips = np.stack([shown.likeness.chip for shown in role.shown])
        before = self.recognise(chips)
        own = self._networks.identities(chips, np.stack([shown.likeness.points for shown in role.shown])).mean(axis=0)
        best: tuple[float, _Face] | None = None
        for step in _AWAY:
            tried = (identity + step * (identity - own)).astype(np.float32)
            codes = self.recognise(np.stack([self._in_place(shown, tried) for shown in role.shown]))
            least = float(np.linalg.norm(before - codes, axis=1).min())
            for person, other in self._faces.items():
                if person != role.person.id and len(other.codes):
                    least = min(least, float(np.linalg.norm(codes[:, None] - other.codes[None], axis=2).mean()))
            face = _Face(tried, codes, least > FAR_1E3 + _MARGIN)
            if face.safe:
                return face
            if best is None or least > best[0]:
                best = least, face
        assert best is not None
        return best[1]

    def _in_place(self, shown: Shown, identity: np.ndarray) -> np.ndarray:
        """A likeness with the generated face in it, uint8 (150, 150, 3)."""
        seen, of = self._seen[shown.track], self._codes[shown.track]
        code = self._networks.mapped(identity[None], seen.attributes[shown.row][None])
        picture = self._networks.pictures(code)[0]
        transform = chip_from_picture(self._points(of, shown.row))
        place = frame_from_crop(seen.centres[shown.row], seen.ways[shown.row], picture.shape[0])
        chip = shown.likeness.chip.astype(np.float32) / np.float32(255)
        wears = shown.likeness.wears() if shown.likeness.wears is not None else None
        moved = np.column_stack([transform[:, :2] @ place[:, :2], transform[:, :2] @ place[:, 2] + transform[:, 2]])
        patch = self._drawn(
            picture, moved, np.ones(3, np.float32), 0, Fitting.of(self._geometry, wears, shown.likeness.neutral),
            chip.copy(), shown.likeness.points, shown.likeness.attributes, None,
        )  # fmt: skip
        area = tuple(slice(at, at + n) for at, n in zip(patch.corner, patch.touched.shape, strict=True))
        chip[area] = patch.rgb
        return np.rint(np.clip(chip, 0, 1) * 255).astype(np.uint8)

    # -- the second pass --------------------------------------------------------------------------------------------

    def paint(self, frame: Frame, faces: Sequence[FaceAt]) -> Frame:
        for face in sorted(faces, key=lambda f: self._casts[f.track].attributes.scale[f.row]):
            cast, swapped = self._casts[face.track], self._swapped[face.track]
            picture = self._networks.pictures(swapped.codes[face.row][None])[0]
            centre, way = swapped.seen.centres[face.row], swapped.seen.ways[face.row]
            place = frame_from_crop(centre, way, picture.shape[0])
            points = self.source_points(face)
            glasses = self._fittings[face.track]
            draw = partial(self._in_region, picture, place, swapped.gains[face.row], frame.index, glasses, points)
            frame, doubt = into_frame(
                frame, points, code_at(cast.codes, cast.attributes, face.row), draw,
                hands=cast.hands.get(face.row, ()), things=cast.codes.things.get(face.row),
            )  # fmt: skip
            self.doubted(frame.index, face, doubt)
        return frame

    def _in_region(
        self,
        generated: np.ndarray,
        place: np.ndarray,
        gain: np.ndarray,
        frame: int,
        fitting: Fitting | None,
        whole: np.ndarray,
        picture: np.ndarray,
        local: np.ndarray,
        attributes: AttributeCode,
        occlusion: np.ndarray | None,
    ) -> Patch:
        """As :data:`~deid.models.morphable.painter.Draw` wants it, once the first six are known: what was
        generated, its place in the frame, its gain, the frame's number, the glasses and the mesh."""
        moved = place.copy()
        moved[:, 2] += (local - whole)[0, :2]
        return self._drawn(generated, moved, gain, frame, fitting, picture, local, attributes, occlusion)

    def _drawn(
        self,
        generated: np.ndarray,
        place: np.ndarray,
        gain: np.ndarray,
        frame: int,
        fitting: Fitting | None,
        picture: np.ndarray,
        points: np.ndarray,
        attributes: AttributeCode,
        occlusion: np.ndarray | None,
    ) -> Patch:
        height, width = picture.shape[:2]
        face, target = laid_in(generated, place, points, gain, (height, width))
        light = replace(attributes.light, veil=np.zeros(3, np.float32))  # the generator has seen it

        def draw(behind: np.ndarray) -> Patch:
            return self._compositor.patch(
                behind, face, points, FaceOutline.from_mesh(points), target, replace(attributes, light=light),
                occlusion, self._seed, frame,
            )  # fmt: skip

        if fitting is None:
            return draw(picture)
        return glazed(
            picture, points, fitting, self._geometry, attributes, occlusion, draw, seed=self._seed, frame=frame
        )
