"""Edits of the everyday engine's codes: what is asked is what comes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from deid import imaging
from deid.cli import cli
from deid.commands._shell import StopRequest
from deid.config import RunConfig
from deid.errors import UsageError
from deid.models.editing import morphable
from deid.models.editing.names import LASTING
from deid.models.editing.portraits import MorphablePortrait
from deid.models.editing.video import SurrogateEdits
from deid.models.morphable.appearance import load_appearance
from deid.models.morphable.codes import AttributeCode, Camera, Light, head_rotation
from deid.models.morphable.geometry import load_geometry
from deid.models.morphable.painter import Sitter
from deid.models.morphable.sampling import draw
from deid.models.morphable.surrogate import Surrogate
from deid.people import Person
from deid.progress import QuietProgress
from deid.training.labels import SHAPES
from deid.virtual_camera import HOPPER

GEOMETRY, APPEARANCE = load_geometry(), load_appearance()


@pytest.fixture(scope="module")
def code():
    person = Person(1, (), np.empty((0, 128), np.float32), -1.0, 45.0)
    return draw(GEOMETRY, APPEARANCE, np.random.default_rng(3), person)


def _moment() -> AttributeCode:
    sh = np.zeros((9, 3), np.float32)
    sh[0], sh[1], sh[2], sh[3] = 0.7, 0.05, 0.15, 0.3
    light = Light(sh, np.full(3, 0.25, np.float32), np.full(3, 0.6, np.float32))
    camera = Camera(head_rotation(6.0, -3.0, 2.0), 8.0, np.array([100.0, 100.0]), 90.0)
    weights = np.zeros(len(GEOMETRY.expression), np.float32)
    return AttributeCode(weights, np.zeros((2, 2), np.float32), camera, light, 0.5, 0.0)


@pytest.mark.parametrize("name", ["face_width", "nose_length", "lip_thickness", "eye_spacing", "brow_height"])
def test_a_shape_moves_and_the_others_hardly(code, name: str) -> None:
    before = morphable.read_person(GEOMETRY, APPEARANCE, code)
    aim = 0.3 if before[name] > 0.5 else -0.3
    after = morphable.read_person(GEOMETRY, APPEARANCE, morphable.edit_person(GEOMETRY, APPEARANCE, code, {name: -aim}))
    moved = {other: abs(after[other] - before[other]) for other in SHAPES}
    assert (after[name] - before[name]) * -aim > 0 and moved[name] > 0.15
    assert np.mean([moved[other] for other in SHAPES if other != name]) < 0.3 * moved[name]


def test_years_and_gender_are_read_as_they_were_asked(code) -> None:
    before = morphable.read_person(GEOMETRY, APPEARANCE, code)
    older = morphable.edit_person(GEOMETRY, APPEARANCE, code, {"age": 0.2})
    found = morphable.read_person(GEOMETRY, APPEARANCE, older)
    assert found["age"] - before["age"] == pytest.approx(0.2, abs=0.05)
    assert abs(found["gender"] - before["gender"]) < 0.1
    other = morphable.read_person(
        GEOMETRY, APPEARANCE, morphable.edit_person(GEOMETRY, APPEARANCE, code, {"gender": 0.6})
    )
    assert other["gender"] - before["gender"] > 0.4
    assert np.array_equal(older.iris, code.iris) and older.detail == code.detail


@pytest.mark.parametrize(
    ("name", "by"),
    [("smile", 0.6), ("mouth_open", 0.5), ("eyes_closed", 0.8), ("yaw", 0.15), ("pitch", -0.2), ("gaze_across", 0.3),
     ("light_from_left", 0.2), ("light_from_above", 0.2), ("light_contrast", 0.2), ("light_warmth", 0.3),
     ("brightness", 0.2), ("skin_lightness", -0.3)],
)  # fmt: skip
def test_a_moment_changes_by_as_much_as_is_asked(name: str, by: float) -> None:
    start = _moment()
    before = morphable.read_moment(GEOMETRY, start)
    after = morphable.read_moment(GEOMETRY, morphable.edit_moment(GEOMETRY, start, {name: by}))
    assert after[name] - before[name] == pytest.approx(by, abs=0.04)
    beside = {"squint", "light_contrast", "light_from_left", "light_from_above"}
    for other in after:
        if other != name and other not in beside:
            assert abs(after[other] - before[other]) < 0.03, other


@settings(max_examples=30, deadline=None)
@given(st.floats(-60, 60), st.floats(-40, 40), st.floats(-60, 60))
def test_angles_are_the_way_back_of_rotations(yaw: float, pitch: float, roll: float) -> None:
    assert morphable.angles(head_rotation(yaw, pitch, roll)) == pytest.approx((yaw, pitch, roll), abs=1e-6)


def test_a_beard_darkens_the_lower_face_only(code) -> None:
    sitter = Sitter.make(GEOMETRY, APPEARANCE, code, 256)
    grown = morphable.with_beard(sitter, APPEARANCE, 0.9)
    assert morphable.with_beard(sitter, APPEARANCE, 0.0) is sitter
    change = (grown.skin[0] - sitter.skin[0]).mean(axis=2)
    assert change.min() < -0.2 and float((np.abs(change) > 0.05).mean()) < 0.45
    assert morphable.pair_of(0.05) is None and morphable.pair_of(0.9).rim > morphable.pair_of(0.3).rim


def test_hair_is_not_this_engines() -> None:
    with pytest.raises(UsageError, match="--engine stylegan"):
        morphable.allowed(["smile", "baldness"])


def test_an_edited_surrogate_is_taken_only_when_it_is_a_stranger(code, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = np.empty((0, 128), np.float32), np.empty((0, 150, 150, 3), np.uint8)
    drawn = Surrogate(code, 1.0, 1.0, *nothing, 1, True)
    turns: list[int] = []

    def choose(turn: int) -> Surrogate:
        turns.append(turn)
        return drawn

    def judged(*args: object) -> Surrogate:
        return Surrogate(args[2], 0.3, 0.3, *nothing, 1, len(turns) == 2)

    monkeypatch.setattr("deid.models.editing.video.rejudged", judged)
    edits = SurrogateEdits.of(["age=+0.2"])
    found = edits.chosen(GEOMETRY, APPEARANCE, choose, [], [], lambda chips: np.zeros((len(chips), 128)))
    assert turns == [0, 1] and found.safe and not np.array_equal(found.code.appearance, code.appearance)
    plain = SurrogateEdits.of(["glasses=0.6"])
    assert plain.chosen(GEOMETRY, APPEARANCE, choose, [], [], lambda chips: chips) is drawn
    assert plain.worn(None) is not None and SurrogateEdits().worn(None) is None


def test_a_run_takes_only_what_lasts() -> None:
    assert RunConfig(surrogate_edit=("age=+0.3",)).as_dict()["surrogate_edit"] == ["age=+0.3"]
    for options, says in (
        ({"surrogate_edit": ("smile=1",)}, "follows the source"),
        ({"surrogate_edit": ("agee=1",)}, "did you mean age"),
        ({"surrogate_edit": ("age=+.3",), "engine": "blur"}, "use morphable"),
        ({"surrogate_edit": ("age=+.3",), "engine": "stylegan", "generator": Path("g.pkl")}, "ships only"),
    ):
        with pytest.raises(UsageError, match=says):
            RunConfig(**options)  # type: ignore[arg-type]
    assert {"age", "gender", "beard", "glasses"} <= set(LASTING)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "face.png"
    picture = np.ascontiguousarray(HOPPER.read())
    path.write_bytes(imaging.encoded(picture, ".png"))
    return path


def test_a_photograph_is_edited_in_place(photo: Path) -> None:
    portrait = MorphablePortrait(photo, QuietProgress())
    before = imaging.decoded(photo.read_bytes())
    assert {"smile", "age", "glasses", "baldness", "face_width"} <= set(portrait.now)
    from deid.models.editing.names import parse

    same, smiling, worn = (portrait.edited(parse(words)) for words in ([], ["mouth_open=0.7"], ["glasses=0.8"]))
    assert same.shape == before.shape and np.array_equal(same, portrait.edited([]))
    edge = np.abs(smiling.astype(int) - before)[:: before.shape[0] - 1]  # the first and the last row
    assert edge.mean() < 0.5
    assert np.abs(smiling.astype(int) - same).mean() > 0.05 and np.abs(worn.astype(int) - same).mean() > 0.05
    assert portrait.closeup(same, 64).shape == (64, 64, 3)


def _run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["edit", *words, "--quiet"], obj=StopRequest())
    return result.exit_code, str(result.exception)


def test_the_command_says_what_is_wrong_and_writes_nothing(photo: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out.png")
    for words, says in (
        ((str(photo), "--set", "smlie=1", "-o", out), "did you mean smile"),
        ((str(photo), "-o", out), "one of the two"),
        ((str(photo), "--set", "smile=1", "--sheet", "age", "-o", out), "one of the two"),
        (("--set", "smile=1"), "name a picture"),
        ((str(photo), "--set", "smile=1", "-o", str(tmp_path / "out.gif")), "must end in"),
        ((str(photo), "--set", "baldness=1", "-o", out), "--engine stylegan"),
        ((str(photo), "--set", "smile=1", "-o", out, "--editor", "e"), "goes with --engine stylegan"),
        ((str(photo), "--set", "smile=1", "-o", str(photo)), "named twice"),
    ):
        code, message = _run(*words)
        assert code != 0 and says in message, (words, message)
    assert not list(tmp_path.iterdir())


def test_a_picture_without_a_face_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    path.write_bytes(imaging.encoded(np.full((120, 160, 3), 90, np.uint8), ".png"))
    code, message = _run(str(path), "--set", "smile=1", "-o", str(tmp_path / "out.png"))
    assert code != 0 and "no clear face" in message and not (tmp_path / "out.png").exists()


def test_names_are_listed() -> None:
    result = CliRunner().invoke(cli, ["edit", "--list"], obj=StopRequest())
    assert result.exit_code == 0 and len(result.output.splitlines()) >= 36
    assert any(line.startswith("age ") and line.endswith("*") for line in result.output.splitlines())
