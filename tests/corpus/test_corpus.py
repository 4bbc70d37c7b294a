"""Every unusual, broken or hostile source ends as it should: the right frames at the right times, or one sentence with
a documented exit code, no output, nothing left over; the source is never touched."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from mediagen import clip, times

from corpus.cases import CASES, X264, Case, Made, Refused, huge
from deid.cli import main
from deid.errors import DamagedInput, DeidError
from deid.media import EncodeSettings, Reader, Writer, probe

pytestmark = pytest.mark.timeout(60)
FAST = EncodeSettings(preset="ultrafast", threads=1)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one for the source, one for the output and one for temporary files."""
    for name in ("in", "out", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path


def contents(folder: Path) -> dict[str, object]:
    """What lies in ``folder``: for every name what it is, and what of it would change if somebody wrote there."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        data = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
        found[str(path.relative_to(folder))] = (stat.S_IFMT(status.st_mode), status.st_mtime_ns, data)
    return found


def run(source: Path, target: Path, *options: str) -> int:
    """The exit code of a run that only obscures."""
    words = ["run", str(source), "-o", str(target), "--engine", "solid", "--json", "--quiet", "--threads", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--preset", "ultrafast", *options])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_source_ends_as_it_should(case: Case, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = case.make(place / "in")
    before = contents(place / "in")
    kind = case.outcome.target if isinstance(case.outcome, Made) else ".mp4"
    if source.is_dir() and not isinstance(case.outcome, Refused):
        kind = ""
    target = place / "out" / f"b{kind}"
    code = run(source, target, *case.options)
    said = capsys.readouterr()
    assert contents(place / "in") == before
    assert list((place / "tmp").iterdir()) == []
    if isinstance(case.outcome, Refused):
        error = json.loads(said.out)["error"]
        assert code == case.outcome.exit_code == error["exit_code"], said.err
        sentence = error["message"]
        assert any(words in sentence for words in case.outcome.words.split("|")), sentence
        assert sentence.endswith(".") and "\n" not in sentence
        assert said.err == f"deid: {sentence}\n"
        assert list((place / "out").iterdir()) == []
        return
    assert code == 0, said.err
    report = json.loads(said.out)
    assert [p.name for p in (place / "out").iterdir()] == [target.name]
    assert report["frames"] == case.outcome.frames
    everything = json.dumps(report)
    assert all(words in everything for words in case.outcome.words)
    check_output(case.outcome, source, target)


def check_output(outcome: Made, source: Path, target: Path) -> None:
    made = probe(target)
    assert (made.width, made.height) == outcome.size
    if made.kind == "image":
        return
    got = times(target)
    expected = list(outcome.times) if outcome.times is not None else times(source)
    shift = min(expected[0], Fraction(0))
    assert len(got) == outcome.frames
    assert all(abs(a - (b - shift)) <= Fraction(1, 2000) for a, b in zip(got, expected, strict=True))


def test_every_case_has_its_own_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 50


# Cut anywhere, changed anywhere

KINDS = {
    "a.mp4": (*X264, "-movflags", "+faststart"),
    "frag.mp4": (*X264, "-movflags", "+frag_keyframe+empty_moov"),
    "a.mkv": X264,
    "a.webm": ("-c:v", "libvpx", "-cpu-used", "16", "-g", "10"),
    "a.avi": ("-c:v", "mpeg4"),
    "a.gif": (),
    "a.ts": X264,
    "a.flv": ("-c:v", "flv1"),
    "a.ogg": ("-c:v", "libtheora"),
    "a.h264": X264,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return {
        name: clip(folder / name, seconds=0.8, video=video, pix_fmt=None if name.endswith("gif") else "yuv420p")
        for name, video in KINDS.items()
    }


def read(path: Path, *, salvage: bool) -> list[int] | str:
    """The frames' numbers as they were read, or the sentence of one of our errors; anything else fails the test."""
    try:
        with Reader(path, salvage=salvage, threads=1) as reader:
            pts = [frame.pts for frame in reader]
        assert pts == sorted(set(pts))
        return pts
    except DeidError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        assert error.exit_code in (3, 4)
        return str(error)


@pytest.mark.parametrize("name", KINDS)
def test_cut_anywhere(name: str, whole: dict[str, Path], tmp_path: Path) -> None:
    """Never more frames than there were, and where nothing says that any are missing, the first of them."""
    data = whole[name].read_bytes()
    every = read(whole[name], salvage=False)
    assert isinstance(every, list) and len(every) == 20
    hurt = tmp_path / name
    rescued = 0
    for size in {1, 7, 16, 40, *np.linspace(64, len(data) - 1, 12).astype(int).tolist()}:
        hurt.write_bytes(data[:size])
        strict, lenient = read(hurt, salvage=False), read(hurt, salvage=True)
        for found in (strict, lenient):
            assert isinstance(found, str) or len(found) <= 20
        if isinstance(strict, list):
            assert strict == every[: len(strict)]
        rescued += isinstance(lenient, list)
    assert rescued > 5


@pytest.mark.parametrize("name", KINDS)
def test_heads_of_noise(name: str, whole: dict[str, Path], tmp_path: Path) -> None:
    data = whole[name].read_bytes()
    chance = np.random.default_rng(len(name))
    hurt = tmp_path / name
    for at in range(0, min(512, len(data)), 48):
        changed = bytearray(data)
        changed[at : at + 8] = chance.bytes(8) if at % 96 else b"\xff" * 8
        hurt.write_bytes(changed)
        for salvage in (False, True):
            read(hurt, salvage=salvage)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_what_is_left_of_hurt_files_is_written_or_refused(name: str, whole: dict[str, Path], tmp_path: Path) -> None:
    data = whole[name].read_bytes()
    chance = np.random.default_rng(7)
    hurt, target = tmp_path / name, tmp_path / "out.mp4"
    written = 0
    for _ in range(6):
        changed = bytearray(data)
        for at in chance.integers(0, len(data), 8):
            changed[at] ^= 1 << int(chance.integers(8))
        hurt.write_bytes(changed)
        before = hurt.read_bytes()
        try:
            with (
                Reader(hurt, salvage=True, threads=1) as reader,
                Writer(target, reader.info, source=hurt, settings=FAST, overwrite=True) as writer,
            ):
                count = 0
                for frame in reader:
                    writer.write(frame)
                    count += 1
                writer.commit()
            assert len(times(target)) == count
            written += 1
        except DeidError as error:
            assert str(error).endswith(".") and "\n" not in str(error)
        assert hurt.read_bytes() == before
        assert sorted(p.name for p in tmp_path.iterdir()) in ([name], [name, "out.mp4"])
    assert written


def test_no_descriptor_stays_open(whole: dict[str, Path], tmp_path: Path) -> None:
    """Of any source, good or bad."""
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(whole["a.mp4"].read_bytes()[:5000])
    for path in (whole["a.mp4"], bad):
        read(path, salvage=False)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        for path in (whole["a.mp4"], whole["a.mkv"], bad):
            read(path, salvage=True)
            read(path, salvage=False)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_announcements_beyond_memory_are_damage(
    whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(whole["a.mp4"].read_bytes())

    def refuse(*arguments: object, **options: object) -> None:
        raise av.error.MemoryError(12, "Cannot allocate memory")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(DamagedInput, match="announces more than memory holds"):
        probe(source)


# Large


@pytest.mark.slow
def test_8k(tmp_path: Path) -> None:
    """Frames of 33 megapixels, through a reader and a writer, and through a whole run."""
    source = huge(tmp_path)
    with (
        Reader(source, threads=2) as reader,
        Writer(tmp_path / "b.mp4", reader.info, source=source, settings=FAST) as writer,
    ):
        for frame in reader:
            assert frame.planes[0].shape == (4320, 7680)
            writer.write(frame)
        writer.commit()
    assert times(tmp_path / "b.mp4") == times(source)
    (tmp_path / "out").mkdir()
    assert run(source, tmp_path / "out" / "b.mp4") == 0
    assert times(tmp_path / "out" / "b.mp4") == times(source)
