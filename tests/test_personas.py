"""Surrogates last as far as was asked: a clip, a batch, a key; whoever comes first makes no difference."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from deid import pipeline
from deid.cli import cli
from deid.config import RunConfig
from deid.demo import encode_clip
from deid.errors import PrivacyError, UsageError, WrongKey
from deid.keys import Key, new_key, read_key
from deid.listing import list_people
from deid.models.morphable.engine import MorphableEngine
from deid.people import Person, across, codes_of
from deid.personas import Memory, Personas
from deid.plan import make_plan
from deid.progress import Progress, QuietProgress
from deid.registry import Registry
from deid.virtual_camera import COLLINS, HOPPER, Photograph, Pose, ShotPlan, film, hang

WIDTH, HEIGHT, FRAMES = 640, 360, 3


def clip(folder: Path, name: str, *shots: tuple[list[Photograph], Pose]) -> Path:
    """A still camera, and a cut between shots."""
    plans = [ShotPlan(hang(photos), (pose, replace(pose, time=1.0, height=pose.height * 0.97)), FRAMES)
             for photos, pose in shots]  # fmt: skip
    pictures = [picture.pixels for picture in film(plans, width=WIDTH, height=HEIGHT, fps=25)]
    path = folder / f"{name}.mp4"
    encode_clip(path, pictures, width=WIDTH, height=HEIGHT, fps=25, seconds=len(pictures) / 25)
    return path


BOTH = Pose(0, 560, 190, 620)  # Collins on the left, Hopper on the right
COLLINS_NEAR, COLLINS_TILTED = Pose(0, 225, 140, 420, 3), Pose(0, 240, 150, 500, -9)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("people")
    return {
        "both": clip(folder, "both", ([COLLINS, HOPPER], BOTH)),
        "cuts": clip(folder, "cuts", ([COLLINS], COLLINS_NEAR), ([HOPPER], Pose(0, 255, 230, 620)),
                     ([COLLINS], COLLINS_TILTED)),
        "one": clip(folder, "one", ([COLLINS], COLLINS_TILTED)),
    }  # fmt: skip


class Run:
    """One run up to its rendering, with what was cast."""

    def __init__(self, engine: MorphableEngine, analysis, replacements) -> None:
        self.engine, self.analysis, self.replacements = engine, analysis, replacements
        self.people = engine.people()

    def code(self, person: int) -> np.ndarray:
        track = next(p for p in self.people if p.id == person).tracks[0]
        code = self.engine._casts[track].sitter.code
        return np.concatenate([code.shape, code.appearance, code.iris, [code.detail]])

    def leftmost(self) -> int:
        x = {t.id: float(t.boxes[0, 0]) for t in self.analysis.tracks}
        return min(self.people, key=lambda p: x[p.tracks[0]]).id


@contextmanager
def cast(source: Path, book=None, seed: int = 5, **options) -> Iterator[Run]:
    config = RunConfig(seed=seed, threads=1, **options)
    engine = MorphableEngine(config, seed, book)
    try:
        analysis, seconds = pipeline.analyse(source, config, QuietProgress(), engine.observer)
        yield Run(engine, analysis, engine.invert(analysis, seconds, QuietProgress()))
    finally:
        engine.close()


def people_in(source: Path) -> tuple[Person, ...]:
    config = RunConfig(threads=1)
    engine = MorphableEngine(config, 0)
    try:
        analysis, seconds = pipeline.analyse(source, config, QuietProgress(), engine.observer)
        return engine.identify(analysis, seconds, QuietProgress()).people
    finally:
        engine.close()


def committed(run: Run) -> None:
    run.engine.prepare()
    run.engine.commit()


@pytest.fixture(autouse=True, scope="module")
def one_look() -> Iterator[None]:
    """Surrogates are chosen by a single look: quicker, and as repeatable."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("deid.models.morphable.surrogate._LOOKS", 1)
        patched.setattr("deid.models.morphable.likenesses.JUDGED", 2)
        yield


@pytest.fixture(scope="module")
def plain(clips) -> Iterator[Run]:
    """The clip of two, as it is cast when nothing was asked for."""
    with cast(clips["both"]) as run:
        yield run


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "study.key"
    new_key(path)
    return path


def test_one_person_in_three_shots_is_one_and_two_in_a_picture_are_two(clips, plain) -> None:
    with cast(clips["cuts"]) as run:
        tracks = sorted(p.tracks for p in run.people)
        assert len(run.analysis.shots) == 3 and tracks == [(1, 3), (2,)]
        one = run.engine._casts
        assert (one[1].sitter.code.shape == one[3].sitter.code.shape).all()
    assert len(plain.people) == 2
    assert not np.array_equal(plain.code(1), plain.code(2))


@pytest.mark.parametrize("order", [("both", "one"), pytest.param(("one", "both"), marks=pytest.mark.slow)])
def test_a_key_gives_one_person_one_face_whichever_clip_comes_first(order, clips, key) -> None:
    codes = {}
    for name in order:
        with cast(clips[name], key=key) as run:
            codes[name] = run.code(run.leftmost())
            assert [p.remembered for p in run.people].count(True) == (name == order[1])
            committed(run)
    np.testing.assert_array_equal(codes["both"], codes["one"])
    with Registry(key.with_name("study.people.sqlite"), read_key(key)) as registry:
        assert len(registry.entries) == 2


def test_another_key_or_none_is_another_face(clips, key, tmp_path) -> None:
    other = tmp_path / "other.key"
    new_key(other)
    codes = []
    for options in ({"key": key}, {"key": other}, {}):
        with cast(clips["one"], **options) as run:
            codes.append(run.code(1))
            committed(run)
    for i, a in enumerate(codes):
        for b in codes[:i]:
            assert np.linalg.norm(a[:-1] - b[:-1]) > 3
    with pytest.raises(WrongKey), cast(clips["one"], key=other, registry=key.with_name("study.people.sqlite")):
        pass


def test_dry_and_failed_runs_leave_the_registry_as_it_was(clips, key, monkeypatch, tmp_path) -> None:
    registry = tmp_path / "r.sqlite"
    pipeline.run(clips["one"], None, RunConfig(key=key, registry=registry, dry_run=True, threads=1), QuietProgress())
    assert not registry.exists()

    def fail(*args: object) -> None:
        raise PrivacyError("no.")

    with monkeypatch.context() as patched:
        patched.setattr("deid.pipeline.render", fail)
        with pytest.raises(PrivacyError):
            pipeline.run(clips["one"], tmp_path / "o.mp4", RunConfig(key=key, registry=registry), QuietProgress())
    assert sorted(os.listdir(tmp_path)) == ["study.key"]
    with monkeypatch.context() as patched:
        patched.setattr(Registry, "commit", fail)
        with pytest.raises(PrivacyError):
            pipeline.run(clips["one"], tmp_path / "o.mp4", RunConfig(key=key, registry=registry), QuietProgress())
    assert sorted(os.listdir(tmp_path)) == ["study.key"]
    report = pipeline.run(clips["one"], tmp_path / "o.mp4", RunConfig(key=key, registry=registry), QuietProgress())
    assert report.people[0].remembered is False
    assert sorted(os.listdir(tmp_path)) == ["o.mp4", "r.sqlite", "study.key"]
    again = RunConfig(key=key, registry=registry, overwrite=True)
    with pytest.raises(UsageError, match="choose another"):
        pipeline.run(clips["one"], tmp_path / "r.sqlite.mp4", replace(again, plan=tmp_path / "r.sqlite.mp4"),
                     QuietProgress())  # fmt: skip


def test_a_batch_gives_one_person_one_face_in_whatever_order_its_files_are_found(clips) -> None:
    found = {name: people_in(clips[name]) for name in ("both", "one")}
    books = []
    for order in (("both", "one"), ("one", "both")):
        files = [found[name] for name in order]
        groups = across(files)
        assert sorted(len(g) for g in groups) == [1, 2]
        books.append(Memory([codes_of(files, group) for group in groups]))
    for a, b in zip(books[0].entries, books[1].entries, strict=True):
        np.testing.assert_array_equal(a.codes, b.codes)
    codes = []
    for name in ("both", "one"):  # a batch goes through its files in an order of its own
        with cast(clips[name], book=books[0], scope="batch") as run:
            codes.append(run.code(run.leftmost()))
            committed(run)
    np.testing.assert_array_equal(codes[0], codes[1])


def test_seeds_do_not_tell_who_came_first() -> None:
    personas = Personas.of_seed(3)
    somebody = Person(1, (1,), np.full((2, 128), 0.03, np.float32), 0.0, 40.0)
    assert personas.seed_of(somebody) == personas.seed_of(replace(somebody, id=7, tracks=(9, 12)))
    assert personas.seed_of(somebody) == personas.seed_of(replace(somebody, codes=somebody.codes + np.float32(1e-7)))
    assert personas.seed_of(somebody) != Personas.of_seed(4).seed_of(somebody)
    unseen = Person(1, (1,), np.empty((0, 128), np.float32), 0.0, 40.0, b"there")
    assert personas.seed_of(unseen) != personas.seed_of(replace(unseen, place=b"elsewhere"))
    assert personas.meet([somebody], QuietProgress()) == {}


def test_nobody_is_remembered_who_was_not_recognised(tmp_path) -> None:
    key = Key(b"k" * 32)
    personas = Personas.of_key(key, Registry(tmp_path / "r.sqlite", key), writes=True)
    unseen = Person(1, (1,), np.empty((0, 128), np.float32), 0.0, 40.0, b"there")
    assert personas.meet([unseen], QuietProgress()) == {}
    personas.remember(unseen, b"face")
    personas.prepare()
    personas.commit()
    personas.close()
    assert os.listdir(tmp_path) == []


# ---- choice, from the list to the plan to the run


@pytest.fixture(scope="module")
def listed(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("listed")
    words = ["analyze", str(clips["both"]), "-o", str(folder / "both.json"), "--plan-out", str(folder / "plan.toml"),
             "--thumbnails", str(folder / "faces"), "--threads", "1"]  # fmt: skip
    result = CliRunner().invoke(cli, words, obj=_Stop())
    assert result.exit_code == 0, result.output
    return folder, result


class _Stop:
    def check(self) -> None: ...

    def disarm(self) -> None: ...


def test_a_list_tells_who_is_there_and_shows_faces_to_their_owner_only(listed) -> None:
    folder, result = listed
    told = json.loads((folder / "both.json").read_text())
    assert [p["person"] for p in told["people"]] == [1, 2] and told["unknown"] == []
    assert all(len(p["tracks"]) == 1 and p["tracks"][0]["last_frame"] == FRAMES - 1 for p in told["people"])
    assert {p["gender"] for p in told["people"]} <= {"female", "male", "unclear"}
    assert "real faces" in result.stderr and str(folder) not in (folder / "both.json").read_text()
    faces = sorted(os.listdir(folder / "faces"))
    assert {name.split("-")[1] for name in faces} == {"1", "2"}
    for path in (folder / "both.json", folder / "plan.toml", *(folder / "faces" / name for name in faces)):
        assert path.stat().st_mode & 0o777 == 0o600
    assert (folder / "faces").stat().st_mode & 0o777 == 0o700
    assert sorted(os.listdir(folder)) == ["both.json", "faces", "plan.toml"]


def test_the_plan_that_is_written_is_what_a_run_does_anyway(listed, clips, plain) -> None:
    folder, _ = listed
    with cast(clips["both"], plan=folder / "plan.toml") as planned:
        assert planned.replacements.keys() == plain.replacements.keys() == {1, 2}
        for person in (1, 2):
            np.testing.assert_array_equal(planned.code(person), plain.code(person))


def test_a_plan_decides_and_another_clip_refuses_it(listed, clips, plain, tmp_path) -> None:
    folder, _ = listed
    text = (folder / "plan.toml").read_text()
    head, one, two, *rest = text.split('\ndo = "replace"')
    changed = f'{head}\ndo = "obscure"\nwith = "solid"{one}\ndo = "replace"\nsurrogate = 9{two}'
    changed += "".join(f'\ndo = "replace"{part}' for part in rest)
    path = tmp_path / "plan.toml"
    path.write_text(changed)
    with cast(clips["both"], plan=path) as run:
        fates = run.engine.decisions().fates
        plan = make_plan(run.analysis, RunConfig(), run.replacements, fates)
        first, second = (next(p for p in run.people if p.id == n) for n in (1, 2))
        assert plan.outcomes[first.tracks[0]][0] == "obscured" and {r.by for r in plan.regions[0]} == {"solid"}
        assert plan.outcomes[second.tracks[0]][0] == "replaced" and second.decision.startswith("surrogate 9")
        assert not np.array_equal(run.code(2), plain.code(2))
    with pytest.raises(UsageError, match="another clip"), cast(clips["one"], plan=path):
        pass


def test_a_photo_keeps_one_and_only_one(clips, tmp_path) -> None:
    from deid import imaging

    photo = tmp_path / "collins.png"
    imaging.imwrite(str(photo), COLLINS.read())
    with cast(clips["both"], keep_like=(photo,)) as run:
        kept = run.leftmost()
        fates = run.engine.decisions().fates
        person = next(p for p in run.people if p.id == kept)
        assert set(fates) == set(person.tracks)
        assert person.photo_distance is not None and person.photo_distance < 0.44
        assert set(run.replacements) == {t.id for t in run.analysis.tracks} - set(fates)
        assert any("recogniser" in warning for warning in run.engine.decisions().warnings)


@pytest.mark.parametrize(("photos", "word"), [((), "no face"), ((COLLINS, HOPPER), "2 faces")])
def test_a_photo_with_no_face_or_two_is_refused(photos, word, tmp_path) -> None:
    from deid import imaging

    if photos:
        a, b = (photo.read() for photo in photos)
        picture = np.zeros((1200, 1200, 3), np.uint8)
        picture[: a.shape[0], : a.shape[1]] = a
        picture[: b.shape[0], 600 : 600 + b.shape[1]] = b
    else:
        picture = np.full((300, 300, 3), 90, np.uint8)
    path = tmp_path / "photo.png"
    imaging.imwrite(str(path), picture)
    with pytest.raises(UsageError, match=word):
        MorphableEngine(RunConfig(keep_like=(path,)), 1)


def test_listing_needs_no_engine_that_was_not_asked_for(clips) -> None:
    found = list_people(clips["one"], RunConfig(threads=1), Progress())
    assert len(found.people) == 1 and found.thumbnails[1]
