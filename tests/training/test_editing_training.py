"""Regressor and editor: trainings that learn, stop and go on; conservation losses that see what they are to see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from deid.cli import cli
from deid.commands._shell import StopRequest
from deid.errors import UsageError
from deid.models.checkpoints.build import frozen
from deid.models.editing import conservation
from deid.models.editing.conservation import Edit, conserves, known, named
from deid.models.editing.latent_to_latent import load_editor
from deid.models.editing.names import INDEX, NAMES
from deid.models.editing.regressor import Regressor, RegressorShape, load_regressor, mirrored
from deid.models.stylegan.generator import Generator, GeneratorShape
from deid.progress import QuietProgress
from deid.training import dataset
from deid.training.editor import PRESETS, EditorOptions, EditorTraining, Samples, StandIn, draw_codes, sample
from deid.training.regressor import Examples, RegressorOptions, RegressorTraining, examples
from deid.training.session import Budget, Session


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _session(tmp_path: Path, options: object) -> Session:
    return Session(tmp_path, options, Budget(60, 10**6), QuietProgress())


def _coloured(count: int) -> Examples:
    """Pictures whose brightness is one attribute, and whose left half's share of it another."""
    rng = np.random.default_rng(2)
    labels = np.full((count, len(NAMES)), 0.5, np.float32)
    labels[:, INDEX["brightness"]], labels[:, INDEX["light_from_left"]] = rng.random((2, count))
    light, left = labels[:, INDEX["brightness"]], labels[:, INDEX["light_from_left"]]
    pictures = np.empty((count, 3, 16, 16), np.uint8)
    pictures[..., :8] = (255 * light * left)[:, None, None, None]
    pictures[..., 8:] = (255 * light * (1 - left))[:, None, None, None]
    held = np.arange(count) % 16 == 0
    return Examples(torch.from_numpy(pictures), torch.from_numpy(labels), held, np.zeros(count, bool))


def test_a_regressor_learns_what_pictures_show(tmp_path: Path) -> None:
    options = RegressorOptions("tiny", 0, False)
    training = RegressorTraining(_coloured(1024), RegressorShape(16, (8, 16)), options)
    session = _session(tmp_path, options)
    rng = np.random.default_rng(0)
    for _ in range(150):
        training.step(rng.integers(0, len(training.learned), 64), 0.5, session)
    session.close()
    training.average.module.load_state_dict(training.net.state_dict())
    found, guessed = training.errors(made=False)
    for name in ("brightness", "light_from_left"):
        assert found[INDEX[name]] < 0.6 * guessed[INDEX[name]]
    assert np.isnan(training.errors(made=True)[0]).all()


def test_people_are_held_out_and_not_pictures(faces: Path) -> None:
    batch = dataset.load(faces)
    torch.manual_seed(0)
    generator = frozen(Generator(GeneratorShape(16, (8, 8, 8), batch.parameters.shape[1], 16, 2, 4)))
    some = examples(batch, 16, generator, QuietProgress())
    people = np.concatenate([batch.people, batch.people[np.linspace(0, 63, 64).astype(int)]])
    assert set(people[some.held]).isdisjoint(people[~some.held]) and some.held.any()
    assert some.made.sum() == 64 and some.pictures.shape[1:] == (3, 16, 16)


def test_mirrors_turn_sides_only() -> None:
    labels = torch.rand(3, len(NAMES))
    other = mirrored(labels)
    assert torch.allclose(other[:, INDEX["yaw"]], 1 - labels[:, INDEX["yaw"]])
    assert torch.equal(other[:, INDEX["age"]], labels[:, INDEX["age"]])
    assert torch.allclose(mirrored(other), labels)


class _Faces(torch.nn.Module):
    side = 16

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return faces.mean((2, 3))


@pytest.fixture
def studio() -> tuple[Generator, Regressor, _Faces, Samples]:
    torch.manual_seed(1)
    generator = frozen(Generator(GeneratorShape(16, (8, 8, 8), 12, 16, 2, 4)))
    regressor = frozen(Regressor(RegressorShape(16, (8, 16))))
    codes = draw_codes(generator, None, 0, 64, 0)
    return generator, regressor, _Faces(), sample(generator, regressor, _Faces(), codes, QuietProgress())


def _training(studio: tuple, **options: object) -> EditorTraining:
    given = EditorOptions("tiny", 0, **options)  # type: ignore[arg-type]
    return EditorTraining(*studio, PRESETS["tiny"], given)


@pytest.mark.parametrize("used", [0.1, 0.8])
def test_an_editor_learns_with_stand_ins_and_with_pictures(studio: tuple, tmp_path: Path, used: float) -> None:
    training = _training(studio, keep=("background", "eyes_closed"))
    session = _session(tmp_path, training.options)
    told = []
    session.note = lambda **numbers: told.append({k: float(torch.as_tensor(v).detach()) for k, v in numbers.items()})  # type: ignore[method-assign]
    before = training.net(studio[3].codes, torch.zeros(64, len(NAMES)))
    assert torch.equal(before, studio[3].codes)  # who has learned nothing changes nothing
    for _ in range(30):
        training.step(np.arange(16), used, session)
    session.close()
    named_ = {name for step in told for name in step}
    five = ("cycle", "identity", "neighbourhood", "target", "face")
    shown = {f"shown.{name}" for name in (*five, "keep background", "keep eyes_closed")}
    assert {f"sketch.{name}" for name in five} <= named_ and (shown <= named_) == (used > 0.6)
    w, asked = studio[3].codes, torch.zeros(64, len(NAMES))
    asked[:, INDEX["smile"]] = 0.4
    assert not torch.allclose(training.net(w, asked), w)
    training.load(training.state())


def test_changes_are_asked_for_from_small_to_whole(studio: tuple) -> None:
    training = _training(studio)
    had = torch.rand(400, len(NAMES))
    training.samples = Samples(had, torch.rand(400, len(NAMES)), had)
    changes = training.asked(had)
    sizes = changes[changes != 0].abs()
    assert float(sizes.min()) >= 0.1 and ((had + changes) >= -1e-6).all() and ((had + changes) <= 1 + 1e-6).all()
    count = (changes != 0).sum(1)
    few = int((count <= 3).sum())
    assert 120 < few < 280 and int(count.max()) > 20


def test_stand_ins_are_fitted_to_what_f_does(studio: tuple, tmp_path: Path) -> None:
    training = _training(studio)
    session = _session(tmp_path, training.options)
    before = {name: tensor.clone() for name, tensor in training.stand_in.state_dict().items()}
    training.step(np.arange(16), 0.2, session)  # a third of the way through the stand-ins' share
    training.step(np.arange(16), 0.21, session)
    session.close()
    assert len(training._known.codes) == 64 + PRESETS["tiny"].again  # once, not at every step
    assert any(not torch.equal(tensor, before[name]) for name, tensor in training.stand_in.state_dict().items())
    other = _training(studio)
    other.load(training.state())
    assert other._round == 1


def test_stand_ins_say_what_pictures_show(studio: tuple) -> None:
    torch.manual_seed(0)
    w = torch.randn(600, 8)
    told = torch.sigmoid(w[:, :1].repeat(1, len(NAMES)))
    samples = Samples(w, told, w[:, :4])
    off = StandIn(samples).fit(samples, 300, 0)
    assert off < 0.5 * float((told - told.mean(0)).abs().mean())


def _edit(**changed: torch.Tensor) -> Edit:
    had = torch.full((2, len(NAMES)), 0.9)
    base = {
        "before": torch.zeros(2, 4, 8, 8), "after": torch.zeros(2, 4, 8, 8), "had": had, "has": had,
        "changes": torch.zeros(2, len(NAMES)), "w": torch.zeros(2, 3), "moved": torch.zeros(2, 3),
    }  # fmt: skip
    base["before"][:, 3], base["after"][:, 3] = -1.0, -1.0
    return Edit(**(base | changed))


def test_the_background_is_kept_and_the_face_may_change() -> None:
    loss = named("background")
    assert float(loss(_edit())) == 0
    around = torch.zeros(2, 4, 8, 8)
    around[:, 3], around[:, :3, :2] = -1.0, 0.5
    assert float(loss(_edit(after=around))) > 0.01
    face = torch.zeros(2, 4, 8, 8)
    face[:, 3], face[:, 3, 2:6, 2:6], face[:, :3, 2:6, 2:6] = -1.0, 1.0, 0.5
    assert float(loss(_edit(after=face))) == 0


def test_closed_eyes_stay_closed_unless_they_are_to_open() -> None:
    loss, at = named("eyes_closed"), INDEX["eyes_closed"]
    opened = torch.full((2, len(NAMES)), 0.9)
    opened[:, at] = 0.1
    assert float(loss(_edit(has=opened))) > 0.5
    asked = torch.zeros(2, len(NAMES))
    asked[:, at] = -0.8
    assert float(loss(_edit(has=opened, changes=asked))) == 0


def smaller(edit: Edit) -> torch.Tensor:
    return edit.moved.square().mean()


def test_users_register_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conservation, "_KNOWN", dict(conservation._KNOWN))
    conserves("mine")(smaller)
    assert "mine" in known() and named("mine") is smaller
    with pytest.raises(UsageError, match="already"):
        conserves("mine")(smaller)
    assert named("os.path:join")  # any function of any module
    for word, says in (("backgruond", "did you mean background"), ("no.such:thing", "cannot be loaded")):
        with pytest.raises(UsageError, match=says):
            named(word)


def test_both_stages_run_from_the_command_line_and_go_on(faces: Path, tmp_path: Path) -> None:
    def run(*words: str) -> dict:
        result = CliRunner().invoke(cli, ["train", *words, "--preset", "tiny", "--json", "--quiet"], obj=StopRequest())
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)

    torch.manual_seed(0)
    from deid.models.checkpoints import native
    from deid.models.checkpoints.bundle import Network

    generator = Generator(GeneratorShape(16, (8, 8, 8), 196, 16, 2, 4))
    made = tmp_path / "g.safetensors"
    made.write_bytes(native.write({"generator": Network(generator.shape.numbers(), generator.state_dict())}))
    short = ("--faces", str(faces), "--threads", "1", "--generator", str(made))
    assert run("regressor", *short, "-o", str(tmp_path / "none"), "--dry-run")["attributes"] == len(NAMES)
    assert not (tmp_path / "none").exists()
    reads = run("regressor", *short, "--minutes", "0.02", "-o", str(tmp_path / "r"))["weights"]
    assert load_regressor(Path(reads)).shape.side == 16
    rest = ("--regressor", reads, "--keep", "background", "--minutes", "0.02", "-o", str(tmp_path / "e"))
    edits = run("editor", *short, *rest)["weights"]
    assert load_editor(Path(edits), 16).net.shape.width == 16
    before = json.loads((tmp_path / "e" / "stats.jsonl").read_text().splitlines()[-1])["pictures"]
    run("editor", *short, *rest)
    assert json.loads((tmp_path / "e" / "stats.jsonl").read_text().splitlines()[-1])["pictures"] > before
    assert list((tmp_path / "e").glob("grid-*.png"))
