"""Labelled faces without end, rendered by the morphable model: what the StyleGAN engine is trained on.

Every picture comes with all that made it. In place of the photographs and the labelling services of Nitzan et al. 2020
and Khodadadeh et al. 2022 these give exact attributes, exact landmarks, and pairs of equal attributes and different
people, and the reverse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from deid import imaging
from deid.models.morphable.appearance import Appearance, load_appearance
from deid.models.morphable.codes import Camera, Light, head_rotation
from deid.models.morphable.creases import depth_at
from deid.models.morphable.finish import soften, to_code
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.mouths import relaxed
from deid.models.morphable.render import GeneratedFace, Renderer
from deid.models.stylegan import alignment
from deid.training import labels
from deid.training.clothes import dressed
from deid.training.hair import bearded, locks
from deid.training.scene import How, Who, draw_how, draw_who, parameters

_TEXTURE = 256
_LEAST = 64  # pixels; smaller pictures are reduced from these
_DISTANCE = 90.0  # centimetres
_FACE_SOFT = 0.7  # pixels


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """``pixels``: uint8 (S, S, 4), RGB and how much of it is the face. ``points``: float32 (478, 3), MediaPipe's mesh,
    -1 to 1 over the picture, z in the same unit, smaller towards the viewer. ``who``, ``how``: what made it.
    ``parameters``, float32 (P,), and ``labels``, float32 (A,) in 0 to 1, are those as vectors."""

    pixels: np.ndarray
    points: np.ndarray
    who: Who
    how: How
    parameters: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures stacked: ``pixels`` uint8 (n, S, S, 4), ``points`` float32 (n, 478, 3), ``parameters`` float32 (n, P),
    ``labels`` float32 (n, A), ``people`` int64 (n,): equal numbers are equal people."""

    pixels: np.ndarray
    points: np.ndarray
    parameters: np.ndarray
    labels: np.ndarray
    people: np.ndarray

    def first(self, count: int) -> Batch:
        """The first ``count`` of them."""
        return Batch(*(getattr(self, f.name)[:count] for f in fields(self)))


class Studio:
    """Where faces are rendered, ``size`` pixels a side, aligned as FFHQ's pictures are. Threads need one each."""

    def __init__(self, size: int) -> None:
        self.size, self._wanted = max(size, _LEAST), size
        self.geometry: Geometry = load_geometry()
        self.appearance: Appearance = load_appearance()

    def cast(self, who: Who) -> Model:
        """``who``, made ready to be rendered: the costly part of a picture, for as many as wanted of one person."""
        albedo = self.appearance.draft(who.code, _TEXTURE)
        return Model(who, albedo, relaxed(self.geometry, self.geometry.neutral(who.code.shape)))

    def shoot(self, model: Model, how: How) -> Picture:
        """One picture."""
        geometry, who = self.geometry, model.who
        gaze = np.stack([how.gaze, how.gaze]).astype(np.float32)
        vertices = geometry.pose(model.neutral, how.expression, gaze)
        camera, points = self._framed(vertices, how)
        light = Light(_coloured(how), (who.tone * how.white).astype(np.float32), how.white.astype(np.float32))
        renderer = model.renderer(self, how)
        face = renderer.render(vertices, camera, light, self.size, self.size, expression=how.expression)
        pixels = self._finished(face, vertices, camera, light, how, model)
        if self._wanted != self.size:
            pixels = imaging.resize(pixels, (self._wanted, self._wanted), interpolation=imaging.INTER_AREA)
        return Picture(
            pixels, points, who, how, parameters(who, how), labels.measure(geometry, model.neutral, who, how)
        )

    def _framed(self, vertices: np.ndarray, how: How) -> tuple[Camera, np.ndarray]:
        """The camera that shows the head aligned as FFHQ does, and the mesh in that picture, -1 to 1."""
        size = self.size
        camera = Camera(head_rotation(how.yaw, how.pitch, 0), size / 26.0, np.full(2, 0.5 * size), _DISTANCE)
        for _ in range(2):  # turning the picture changes nothing in it; the second time finds it where it has to be
            mesh = self._mesh(vertices, camera)
            centres, ways = alignment.squares(mesh[None])
            way, centre = ways[0], centres[0]
            turn = -np.degrees(np.arctan2(way[1], way[0]))
            zoom = 0.5 * size / float(np.linalg.norm(way))
            c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
            about = np.array([[c, -s], [s, c]])
            place = about @ (camera.translation - centre) * zoom + (size - 1) / 2
            rotation = head_rotation(0, 0, turn) @ camera.rotation
            camera = Camera(rotation, camera.scale * zoom, place, camera.distance)
        mesh = self._mesh(vertices, camera)
        out = np.empty((len(mesh), 3), np.float32)
        out[:, :2] = (2 * mesh[:, :2] + 1) / size - 1
        out[:, 2] = 2 * mesh[:, 2] / size
        return camera, out

    def _mesh(self, vertices: np.ndarray, camera: Camera) -> np.ndarray:
        """float64 (478, 3): the mesh as a landmark model gives it, pixels."""
        geometry = self.geometry
        mesh = surface_points(geometry, vertices)
        irises = labels.irises(geometry, vertices)
        seen = camera.project(np.concatenate([mesh, irises]).astype(np.float64))
        seen[:, 2] *= -camera.scale
        seen[:, 2] -= seen[:468, 2].mean()
        return seen

    def _finished(
        self, face: GeneratedFace, vertices: np.ndarray, camera: Camera, light: Light, how: How, model: Model
    ) -> np.ndarray:
        size = self.size
        hair = locks(
            self.geometry, vertices, camera, size, bald=how.bald, length=how.length, volume=how.volume, seed=how.seed
        )
        lit = how.hair * how.white * (0.45 + 0.55 * np.clip(how.harmonics[0] + how.harmonics[2] * 0.5, 0.2, 1.5))
        strands = hair.shade[..., None] * lit
        grain = np.random.default_rng((how.seed, 8))
        down = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
        picture = (how.backdrop[0] * (1 - down) + how.backdrop[1] * down) * how.white
        picture = np.broadcast_to(picture, (size, size, 3))
        picture = picture * (1 - hair.behind[..., None]) + strands * hair.behind[..., None]
        cover = np.clip(face.alpha + face.head, 0, 1)[..., None]
        picture = picture * (1 - cover) + face.rgb * cover
        picture = picture * (1 - hair.before[..., None]) + strands * hair.before[..., None]
        picture = dressed(picture, camera, how)
        coded = to_code(np.maximum(picture, 0).astype(np.float32))
        if how.glasses > 0:
            self._glasses(coded, vertices, camera, light, how, model)
        coded = soften(coded, 0.35)
        coded += grain.normal(0, 0.004, coded.shape).astype(np.float32)
        out = np.empty((size, size, 4), np.uint8)
        out[..., :3] = np.clip(np.rint(coded * 255), 0, 255)
        out[..., 3] = np.clip(np.rint(soften(face.alpha, _FACE_SOFT) * 255), 0, 255)
        return out

    def _glasses(
        self, coded: np.ndarray, vertices: np.ndarray, camera: Camera, light: Light, how: How, model: Model
    ) -> None:
        from deid.training.glasses import put_on

        put_on(coded, self.geometry, model.neutral, vertices, camera, light, how)


class Model:
    """Somebody in the studio."""

    def __init__(self, who: Who, albedo: np.ndarray, neutral: np.ndarray) -> None:
        self.who, self._albedo, self.neutral = who, albedo, neutral
        self._made: tuple[float, Renderer] | None = None

    def renderer(self, studio: Studio, how: How) -> Renderer:
        """With the beard that ``how`` asks for; the last one is kept."""
        if self._made is None or self._made[0] != how.beard or how.beard > 0:
            skin = bearded(self._albedo, how.beard, how.hair, self.who.tone, how.seed)
            gloss = studio.appearance.gloss(_TEXTURE)
            folds = depth_at(self.who.age)
            self._made = how.beard, Renderer(studio.geometry, skin, gloss, self.who.code.iris, folds=folds)
        return self._made[1]


def pictures(size: int, seed: int, per_person: int = 8) -> Iterator[Picture]:
    """Faces without end; equal arguments give equal ones. ``per_person``: pictures in a row of one person."""
    studio, rng, number = Studio(size), np.random.default_rng((seed, 1)), 0
    while True:
        model = studio.cast(draw_who(studio.geometry, studio.appearance, rng))
        for _ in range(per_person):
            yield studio.shoot(model, draw_how(studio.geometry, rng, model.who))
        number += 1


def crossed(size: int, seed: int, count: int) -> list[list[Picture]]:
    """``count`` people by ``count`` sets of attributes: row i has the attributes of i, column j the identity of j."""
    studio, rng = Studio(size), np.random.default_rng((seed, 2))
    people = [draw_who(studio.geometry, studio.appearance, rng) for _ in range(count)]
    hows = [draw_how(studio.geometry, rng, who) for who in people]
    models = [studio.cast(who) for who in people]
    return [[studio.shoot(model, how) for model in models] for how in hows]


def stacked(some: Sequence[Picture], people: Sequence[int]) -> Batch:
    """``some`` as arrays; ``people``: the number of each one's person."""
    return Batch(
        np.stack([picture.pixels for picture in some]),
        np.stack([picture.points for picture in some]),
        np.stack([picture.parameters for picture in some]),
        np.stack([picture.labels for picture in some]),
        np.asarray(people, np.int64),
    )


def degraded(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture, uint8 (S, S, 3), as footage shows it: blurred, noisy, compressed, at times with something before the
    face. For networks that have to read real video."""
    size = pixels.shape[0]
    out = pixels.astype(np.float32)
    if rng.random() < 0.12:
        out = _covered(out, rng)
    out = soften(out, float(rng.gamma(1.5, 0.5)) * size / 128)
    out += rng.normal(0, float(rng.gamma(1.2, 2.5)), out.shape)
    out = np.clip(np.rint(out), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        data = imaging.jpeg(out, int(rng.integers(35, 95)))
        out = imaging.decoded(data)
    return out


def _covered(out: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Something like a hand, a cup or a microphone before the lower face."""
    size = out.shape[0]
    mask = np.zeros(out.shape[:2], np.uint8)
    centre = (int(rng.uniform(0.25, 0.75) * size), int(rng.uniform(0.6, 1.0) * size))
    axes = (int(rng.uniform(0.06, 0.2) * size), int(rng.uniform(0.1, 0.3) * size))
    imaging.ellipse(mask, centre, axes, float(rng.uniform(-60, 60)), 0, 360, 255, -1)
    soft = imaging.gaussian_blur(mask.astype(np.float32) / 255, (0, 0), 1.0)[..., None]
    colour = rng.uniform(10, 220) * np.exp(rng.normal(0, 0.15, 3))
    mixed: np.ndarray = out * (1 - soft) + colour * soft
    return mixed


def _coloured(how: How) -> np.ndarray:
    return np.repeat(how.harmonics[:, None], 3, axis=1).astype(np.float32)
