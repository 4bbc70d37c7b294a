"""How MediaPipe reads gaze, lids and lips off rendered faces whose gaze, lids and lips are known.

    python tools/calibrate_gaze.py [PEOPLE] [PICTURES]

Draws people, renders each with random gaze, openness, pose and light, soft and grainy like footage, inverts the meshes
as a run does, and prints the linear model of the reading that the constants in ``gaze.py``, the table in ``lids.py``
and the gain in ``retarget.py`` were chosen from. Twelve people with 200 pictures each take some two minutes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from deid import imaging, puppet
from deid.detection.landmarks import FaceLandmarker, Roi, roi_from_landmarks
from deid.models.morphable import fit, retarget
from deid.models.morphable.appearance import Appearance, load_appearance
from deid.models.morphable.codes import Camera, IdentityCode, Light, head_rotation
from deid.models.morphable.fit_basis import surface_points
from deid.models.morphable.geometry import Geometry, load_geometry
from deid.models.morphable.lids import LidCurves, lid_curves
from deid.models.morphable.render import Renderer
from deid.models.morphable.tracks import Observations

SCALES = (8.0, 11.0, 14.0, 18.0)  # pixels a centimetre: faces 130 to 300 pixels tall
TRUTH = ("yaw", "pitch", "openness", "head yaw", "head pitch", "lips")


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """One random picture: degrees, openness as in ``lids.py``, weight of the opening jaw."""

    yaw: float
    pitch: float
    openness: float
    head: tuple[float, float]
    jaw: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Pose:
        openness = rng.uniform(0.25, 1.25) if rng.random() < 0.6 else rng.uniform(0.85, 1.15)
        jaw = rng.uniform(0, 0.4) if rng.random() < 0.4 else 0.0
        head = (rng.normal(0, 12), rng.normal(0, 8))
        return cls(rng.uniform(-28, 28), rng.uniform(-26, 20), openness, head, jaw)

    def expression(self, names: tuple[str, ...], curves: LidCurves) -> np.ndarray:
        """(E,) weights."""
        out = np.zeros(len(names), np.float32)
        out[names.index("jawOpen")] = self.jaw
        for eye, side in enumerate("LR"):
            step = float(curves.step(eye, np.array([self.openness]), np.radians([self.pitch]))[0])
            out[names.index(f"eyeBlink_{side}")] = max(step, 0.0)
            out[names.index(f"eyeWide_{side}")] = max(-step, 0.0)
        return out


def person(geometry: Geometry, appearance: Appearance, rng: np.random.Generator) -> IdentityCode:
    """A random one."""
    skin, iris, detail = appearance.sample(rng, gender=rng.choice([-0.8, 0.8]), age=rng.uniform(25, 65))
    shape = np.clip(rng.normal(0, 1.0, len(geometry.identity)), -2.2, 2.2).astype(np.float32)
    return IdentityCode(shape, skin, detail, iris)


def observed(
    geometry: Geometry,
    appearance: Appearance,
    landmarker: FaceLandmarker,
    rng: np.random.Generator,
    number: int,
    n: int,
) -> tuple[np.ndarray, Observations]:
    """What is true, (n, 6) in the order of ``TRUTH`` (lips in centimetres), and the meshes of one person."""
    code, scale = person(geometry, appearance, rng), SCALES[number % len(SCALES)]
    width, height = int(26 * scale), int(30 * scale)
    neutral, curves = geometry.neutral(code.shape), lid_curves(geometry, code.shape)
    renderer = Renderer(geometry, appearance.albedo(code, 512), appearance.gloss(512), code.iris)
    truth, points, presence = [], [], []
    for _ in range(n):
        pose = Pose.draw(rng)
        place = np.array([width / 2, height * 0.47]) + rng.uniform(-0.5, 0.5, 2)
        camera = Camera(head_rotation(*pose.head, 0.0), scale, place, 90.0)
        gaze = np.radians([[pose.yaw, pose.pitch]] * 2).astype(np.float32)
        vertices = geometry.pose(neutral, pose.expression(geometry.expression_names, curves), gaze)
        picture = filmed(renderer, vertices, camera, rng, width, height)
        mesh = landmarker.run(picture, Roi(width / 2, height * 0.52, 26 * scale), rgb=True)
        mesh = mesh and landmarker.run(picture, roi_from_landmarks(mesh.points), rgb=True)
        if mesh is not None:
            lips = float(retarget._lip_gap(surface_points(geometry, vertices)))
            truth.append((pose.yaw, pose.pitch, pose.openness, *pose.head, lips))
            points.append(mesh.points)
            presence.append(mesh.presence)
    frames = np.arange(len(truth), dtype=np.int32) * 10
    seen = Observations(frames, np.stack(points), np.array(presence, np.float32), (width, height))
    return np.array(truth), seen


def filmed(
    renderer: Renderer, vertices: np.ndarray, camera: Camera, rng: np.random.Generator, width: int, height: int
) -> np.ndarray:
    """uint8 (height, width, 3) RGB: before a wall, lit at random, soft, with grain."""
    level, sh = np.float32(rng.uniform(0.6, 1.4)), puppet._key_light()
    sh[1] *= rng.uniform(-1, 1)
    tones = (np.array(t, np.float32) * level for t in ((0.36, 0.23, 0.17), (0.62, 0.58, 0.54)))
    face = renderer.render(vertices, camera, Light(sh, *tones), width, height)
    truth = puppet.Truth(np.zeros(0), np.zeros((2, 2)), camera, (0.0, 0.0, 0.0))
    picture = puppet._composed(face, puppet._room(width, height), truth, width, height).astype(np.float32)
    picture = imaging.gaussian_blur(picture, (0, 0), max(0.5, camera.scale * rng.uniform(0.03, 0.09)))
    return np.clip(np.rint(picture + rng.normal(0, 1.5, picture.shape)), 0, 255).astype(np.uint8)


def regress(name: str, value: np.ndarray, who: np.ndarray, terms: dict[str, np.ndarray]) -> None:
    """Print the least-squares slopes of ``value`` on ``terms`` within people, and what is left."""
    columns = np.column_stack([value, *terms.values()])
    for one in np.unique(who):
        columns[who == one] -= columns[who == one].mean(axis=0)
    slopes = np.linalg.lstsq(columns[:, 1:], columns[:, 0], rcond=None)[0]
    rest = columns[:, 0] - columns[:, 1:] @ slopes
    words = ", ".join(f"{slope:+.3f} {term}" for term, slope in zip(terms, slopes, strict=True))
    print(f"{name}: {words}; varies by {columns[:, 0].std():.3f}, left {rest.std():.3f}")


def main() -> None:
    people, pictures = (int(sys.argv[k]) if len(sys.argv) > k else usual for k, usual in ((1, 12), (2, 200)))
    geometry, appearance, rng = load_geometry(), load_appearance(), np.random.default_rng(21)
    truths, tracks = [], []
    with FaceLandmarker() as landmarker:
        for number in range(people):
            truth, seen = observed(geometry, appearance, landmarker, rng, number, pictures)
            who = fit.fit_identity(geometry, seen)
            tracks.append(
                fit.fit_attributes(geometry, who.shape, who.distance, seen, offsets=who.offsets, scale=who.scale)
            )
            truths.append(truth)
    who_of = np.repeat(np.arange(people), [len(t) for t in truths])
    true = dict(zip(TRUTH, np.concatenate(truths).T, strict=True))
    sight = np.degrees(np.concatenate([t.sight for t in tracks]).mean(axis=1))
    openness = np.concatenate([t.openness for t in tracks]).mean(axis=1)
    mouth = np.concatenate([t.mouth for t in tracks])
    clear = (true["openness"] > 0.5) & (openness > 0.4) & (np.abs(true["head yaw"]) < 25)
    seen_of = {name: values[clear] for name, values in true.items()}
    who = who_of[clear]
    regress("gaze sideways, degrees", sight[clear, 0], who, {k: seen_of[k] for k in ("yaw", "head yaw")})
    terms = {k: seen_of[k] for k in ("pitch", "openness", "head pitch")}
    terms["pitch x openness"] = seen_of["pitch"] * seen_of["openness"]
    regress("gaze up, degrees", sight[clear, 1], who, terms)
    level = np.abs(true["pitch"]) < 5
    rest = sight[clear & level & (np.abs(true["openness"] - 1) < 0.1), 1]
    print(f"an eye that looks level is read as {rest.mean():+.2f} degrees up, give or take {rest.std():.2f}")
    for low in np.arange(0.25, 1.2, 0.1):
        rows = (true["openness"] >= low) & (true["openness"] < low + 0.1) & (np.abs(true["pitch"]) < 12)
        print(f"openness {low:.2f} to {low + 0.1:.2f} is read as {np.median(openness[rows]):.2f}")
    open_mouth = true["lips"] > 0.2
    regress("lips, centimetres", mouth[open_mouth], who_of[open_mouth], {"true gap": true["lips"][open_mouth]})


if __name__ == "__main__":
    main()
