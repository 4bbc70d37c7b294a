"""Losses against their definitions, and trainings that stop, go on, and learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from deid.cli import cli
from deid.commands._shell import StopRequest
from deid.errors import ModelError, UsageError
from deid.models.checkpoints import build, open_checkpoint
from deid.models.mapping import losses
from deid.models.mapping.identity import DlibIdentity, aligned
from deid.models.mapping.mapper import LatentDiscriminator, Mapper, MapperShape
from deid.models.stylegan import alignment
from deid.models.stylegan.generator import GeneratorShape
from deid.progress import QuietProgress
from deid.training import dataset
from deid.training.album import draw_album
from deid.training.augment import Augment
from deid.training.faces import crossed
from deid.training.generator import GeneratorOptions, GeneratorTraining, likeness, train_generator
from deid.training.presets import PRESETS
from deid.training.sensitivity import face_places
from deid.training.session import Budget, Session


def test_structural_similarity_agrees_with_an_independent_one() -> None:
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(0)
    a = rng.random((15, 15)).astype(np.float32)  # one scale only
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1).astype(np.float32)
    expected = structural_similarity(a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    found = losses.ms_ssim(*(torch.from_numpy(x)[None, None] for x in (a, b)))
    assert float(found) == pytest.approx(expected, abs=0.02)


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_similarity_is_one_for_equal_pictures_and_falls_with_noise(seed: int) -> None:
    torch.manual_seed(seed)
    a = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), (64, 64), mode="bilinear")
    noise = torch.randn_like(a)
    scores = [float(losses.ms_ssim(a, a + s * noise)) for s in (0.0, 0.05, 0.2)]
    assert scores[0] == pytest.approx(1, abs=1e-4) and scores[0] > scores[1] > scores[2]


def test_losses_are_zero_where_nothing_is_wanted() -> None:
    x = torch.rand(2, 3, 32, 32)
    assert float(losses.identity_loss(x[:, 0, 0], x[:, 0, 0])) == 0
    assert float(losses.reconstruction_loss(x, x)) == pytest.approx(0, abs=1e-4)
    assert float(likeness(torch.cat([x, x[:, :1]], 1), torch.cat([x, x[:, :1]], 1))) == 0


def test_the_slope_penalty_is_the_squared_slope() -> None:
    real = torch.randn(4, 3).requires_grad_()
    verdict = (real * torch.tensor([3.0, 0.0, 4.0])).sum(1)
    assert float(losses.slope_penalty(verdict, real).detach()) == pytest.approx(25)


def test_the_mapper_is_of_the_papers_size_by_default() -> None:
    net = Mapper(MapperShape())
    shapes = [tuple(layer.weight.shape) for layer in net.net if isinstance(layer, torch.nn.Linear)]
    assert shapes == [(2048, 2560), (1024, 2048), (512, 1024), (512, 512)]
    judge = [tuple(layer.weight.shape) for layer in LatentDiscriminator().net if isinstance(layer, torch.nn.Linear)]
    assert judge == [(256, 512), (128, 256), (64, 128), (1, 64)]
    with pytest.raises(ModelError):
        MapperShape.of({"identity": 3})


def test_faces_are_cut_out_where_the_recogniser_wants_them() -> None:
    """The same chip as the one that a video's faces are compared by."""
    from deid.recognition.chips import chip_from_picture, cut_chip

    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)
    picture = np.kron(small, np.ones((8, 8, 1), np.uint8))[:300, :300]
    mesh = np.zeros((478, 3), np.float32)
    mesh[[263, 362, 33, 133, 2], :2] = [(205, 120), (175, 124), (95, 118), (125, 122), (150, 170)]
    expected = cut_chip(picture, chip_from_picture(mesh[:, :2])).astype(float)
    unit = torch.from_numpy(((2 * mesh + 1) / 300 - 1)[None].astype(np.float32))
    places = face_places(unit, 150, 300)
    found = aligned(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255, places, 150)[0]
    off = np.abs(found.permute(1, 2, 0).numpy() * 255 - expected)[8:-8, 8:-8]
    assert np.median(off) < 6


def test_identity_codes_are_those_of_the_recogniser() -> None:
    from deid.recognition.dlib_net import DlibRecogniser

    face = np.random.default_rng(0).integers(0, 255, (1, 150, 150, 3)).astype(np.uint8)
    found = DlibIdentity()(torch.from_numpy(face).permute(0, 3, 1, 2).float() / 255)
    assert np.allclose(found.numpy(), DlibRecogniser().embed(face), atol=1e-5)


def test_squares_are_steadied_without_being_moved() -> None:
    rng = np.random.default_rng(0)
    still = np.full((60, 2), 50.0) + rng.normal(0, 1, (60, 2))
    ways = np.full((60, 2), 20.0) + rng.normal(0, 1, (60, 2))
    centres, sides = alignment.steady(still, ways)
    assert centres.std() < still.std() and sides.std() < 0.6 * ways.std()
    assert np.allclose(centres.mean(0), still.mean(0), atol=0.1)
    matrix = alignment.frame_from_crop(np.array([50.0, 40.0]), np.array([10.0, 0.0]), 21)
    assert np.allclose(matrix @ (10, 10, 1), (50, 40))
    assert np.allclose(alignment.inverse(matrix) @ (50, 40, 1), (10, 10))


def test_augmentation_follows_what_the_judge_says() -> None:
    augment = Augment(0)
    pictures = torch.rand(4, 4, 32, 32)
    assert torch.equal(augment(pictures), pictures)
    for _ in range(200):
        augment.heard(torch.ones(256, 1))
    assert augment.p > 0.05
    changed = augment(pictures)
    assert changed.shape == pictures.shape
    for _ in range(500):
        augment.heard(-torch.ones(256, 1))
    assert augment.p == 0


def test_a_generator_learns_what_it_is_shown(faces: Path, tmp_path: Path) -> None:
    batch = dataset.load(faces)
    options = GeneratorOptions("tiny", batch.parameters.shape[1], 0, game=False)
    session = Session(tmp_path, options, Budget(60, 10**6), QuietProgress())
    training = GeneratorTraining(batch, PRESETS["tiny"], options)
    torch.manual_seed(0)

    def score() -> float:
        real, told = training._batch(np.arange(16))
        with torch.no_grad():
            return float(likeness(training.made(training.made.mapping(told)), real))

    before = score()
    for number in range(200):
        training.step(np.arange(number % 4 * 16, number % 4 * 16 + 16), 0.6, session)
    session.close()
    assert score() < 0.75 * before


def test_training_goes_on_where_it_stopped(faces: Path, tmp_path: Path) -> None:
    batch, preset = dataset.load(faces), PRESETS["tiny"]
    options = GeneratorOptions("tiny", batch.parameters.shape[1], 0)
    path = train_generator(batch, tmp_path, preset, options, Budget(60, 64), QuietProgress())
    first = open_checkpoint(path)
    train_generator(batch, tmp_path, preset, options, Budget(60, 128), QuietProgress())
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [line["pictures"] for line in lines][-1] == 128
    assert build.generator(first).shape == build.generator(open_checkpoint(path)).shape
    assert list(tmp_path.glob("grid-*.png"))
    with pytest.raises(UsageError, match="other options"):
        other = GeneratorOptions("tiny", batch.parameters.shape[1], 1)
        train_generator(batch, tmp_path, preset, other, Budget(60, 128), QuietProgress())


def test_all_stages_run_from_the_command_line(faces: Path, tmp_path: Path) -> None:
    def run(*words: str) -> dict:
        words = ("train", words[0], "--preset", "tiny", *words[1:], "--json", "--quiet")
        result = CliRunner().invoke(cli, words, obj=StopRequest())
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)

    told = run("generator", "--faces", str(faces), "-o", str(tmp_path / "none"), "--dry-run")
    assert told["size"] == 16 and not (tmp_path / "none").exists()
    large = ("--faces", str(tmp_path / "none"), "-o", str(tmp_path / "none"), "--dry-run", "--preset", "gpu")
    assert run("generator", *large)["size"] == 256 and run("attributes", *large)["wanted"] == 120_000
    short = ("--faces", str(faces), "--minutes", "0.03", "--threads", "1")
    made = run("generator", *short, "-o", str(tmp_path / "g"))["weights"]
    seen = run("attributes", *short, "-o", str(tmp_path / "a"))["weights"]
    rest = ("--generator", made, "--landmarks", seen)
    mapped = run("mapper", *short, *rest, "-o", str(tmp_path / "m"), "--told", "0.5")["weights"]
    bundle = open_checkpoint(Path(mapped))
    encoder, mapper = build.attributes(bundle), build.mapper(bundle)
    code = encoder(torch.rand(2, 3, 16, 16), torch.zeros(2, 478, 3))
    w = mapper(torch.zeros(2, 128), code)
    assert build.generator(open_checkpoint(Path(made)))(w).shape == (2, 4, 16, 16)
    again = ("--without", "adversary", "--without", "landmarks", "--begin", mapped, "--album", str(tmp_path / "album"))
    run("mapper", *short, *rest, "-o", str(tmp_path / "m2"), *again)
    assert (tmp_path / "album").stat().st_size > 10_000
    once = run("mapper", *short, *rest, "-o", str(tmp_path / "m3"), "--pictures", "32", *again[-2:])["weights"]
    assert json.loads((tmp_path / "m3/stats.jsonl").read_text().splitlines()[-1])["pictures"] == 32
    assert Path(once).exists()


class _Photographer(torch.nn.Module):
    """Stands in for a generator of photographs, all of one face, lighter or darker by the code."""

    shape = GeneratorShape(256, (8,) * 7, latent=4, width=4, depth=1)

    def __init__(self, picture: np.ndarray) -> None:
        super().__init__()
        self.picture = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1

    def codes(self, z: torch.Tensor) -> torch.Tensor:
        return z

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        return self.picture + 0.05 * w[:, :1, None, None]


def test_a_generator_that_no_renderer_taught_is_photographed_too() -> None:
    (picture,) = crossed(256, 3, 1)[0]
    made = draw_album(_Photographer(picture.pixels[..., :3]), DlibIdentity(), 3, 0, QuietProgress())
    assert made.codes.shape == (3, 4) and made.pixels.shape == (3, 256, 256, 3) and made.own == 0
    assert len({row.tobytes() for row in made.codes.numpy()}) == 3
    off = np.abs(made.points[0, :468, :2].numpy() - picture.points[:468, :2]).mean()
    assert off < 0.06  # of a picture that is 2 wide: the landmark model finds the face where it is
    with pytest.raises(ModelError, match="hardly any"):
        draw_album(_Photographer(np.full((256, 256, 3), 90, np.uint8)), DlibIdentity(), 2, 0, QuietProgress())
