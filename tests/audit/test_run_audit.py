"""A run that audits itself, and recognisers that users bring."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deid import errors
from deid.audit import run as audit_run
from deid.audit.run import Audit
from deid.config import RunConfig
from deid.errors import UsageError
from deid.pipeline import run
from deid.progress import QuietProgress
from deid.recognition import custom


def test_a_run_that_obscures_passes_its_audit(face_clip: Path, tmp_path: Path) -> None:
    output, page, table = tmp_path / "out.mp4", tmp_path / "page.html", tmp_path / "signals.csv"
    config = RunConfig(engine="blur", strict=True, html=page, signals=table, seed=1)
    report = run(face_clip, output, config, QuietProgress())
    assert config.audit
    assert report.audit is not None and report.audit["passed"]
    assert report.audit["output"] == "out.mp4"
    assert report.audit["overall"]["obscured"]["rate"] == 1
    assert not any("helped" in n["did"] for n in report.audit["networks"])
    assert any(line.startswith("audit passed") for line in report.lines())
    assert str(tmp_path) not in page.read_text() and table.read_text().startswith("time,frame,person,face,state,")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mp4", "page.html", "signals.csv"]


def test_faces_that_are_kept_on_purpose_are_no_leak(face_clip: Path, tmp_path: Path) -> None:
    config = RunConfig(engine="blur", keep=(1,), audit=True, seed=1)
    report = run(face_clip, tmp_path / "out.mp4", config, QuietProgress())
    assert report.audit is not None and report.audit["passed"]
    assert report.audit["people"][0]["states"] == {"kept as asked": 24}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_strict_run_whose_audit_fails_leaves_no_output(
    face_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    failed = {"passed": False, "criteria": [{"name": "bare faces", "met": False}], "summary": [], "suspects": []}

    def find(source: Path, output: Path, **options: Any) -> Audit:
        assert output.is_file() and output.stat().st_size > 1000
        options["signals_to"].write("some of it")
        return Audit(failed, "<p>why</p>")

    monkeypatch.setattr("deid.audit.during.audit", find)
    output, page, table = tmp_path / "out.mp4", tmp_path / "page.html", tmp_path / "signals.csv"
    if overwrite:
        output.write_bytes(b"an earlier one")
    config = RunConfig(engine="blur", strict=True, html=page, signals=table, overwrite=overwrite)
    with pytest.raises(errors.AuditFailed, match="bare faces") as caught:
        run(face_clip, output, config, QuietProgress())
    assert caught.value.exit_code == 8
    assert page.read_text() == "<p>why</p>"  # tells why
    assert not table.exists()
    assert output.read_bytes() == b"an earlier one" if overwrite else not output.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == (["out.mp4"] if overwrite else []) + ["page.html"]
    assert audit_run.audit is not find


def test_the_command_fails_with_its_own_code_where_a_face_was_missed(face_clip: Path, tmp_path: Path) -> None:
    """A threshold above every finding leaves the face bare, which the run cannot know; the audit's detectors do."""
    page, output = tmp_path / "why.html", tmp_path / "out.mp4"
    words = ["run", face_clip, "-o", output, "--engine", "blur", "--threshold", "0.9999", "--quiet"]
    command = [sys.executable, "-m", "deid", *map(str, words), "--strict", "--html", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 8 and not output.exists()
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("deid: the audit failed (") and "bare faces" in said and said.endswith(".")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["why.html"] and "bare faces" in page.read_text()
    without = [word for word in command if word not in ("--strict", "--html", str(page))]
    assert subprocess.run(without, capture_output=True, check=False).returncode == 0 and output.exists()


def test_what_contradicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dry run"):
        RunConfig(strict=True, dry_run=True)
    with pytest.raises(UsageError, match="recogniser"):
        RunConfig(recogniser_threshold=1.0)
    with pytest.raises(UsageError, match="above 0"):
        RunConfig(recogniser=tmp_path / "a.onnx", recogniser_threshold=-1)
    assert RunConfig(recogniser=tmp_path / "a.onnx").audit
    assert not RunConfig().audit


def test_a_page_that_exists_is_noticed_before_any_work(face_clip: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.touch()
    with pytest.raises(errors.OutputExists):
        run(face_clip, tmp_path / "out.mp4", RunConfig(engine="blur", html=page), QuietProgress())
    with pytest.raises(UsageError, match="twice"):
        run(face_clip, tmp_path / "out.mp4", RunConfig(engine="blur", html=tmp_path / "out.mp4"), QuietProgress())


def mesh() -> np.ndarray:
    from tests.audit._heads import mesh as head

    return head()


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protocol buffer."""

    def varint(n: int) -> bytes:
        out = bytearray()
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        return bytes([*out, n])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx(path: Path) -> Path:
    """A network that averages each colour of a 112 x 112 picture."""

    def tensor(name: bytes, shape: tuple[int, ...]) -> bytes:
        dims = b"".join(field(1, field(1, n)) for n in shape)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    node = field(1, b"x") + field(2, b"y") + field(4, b"GlobalAveragePool")
    graph = field(1, node) + field(2, b"g") + field(11, tensor(b"x", (1, 3, 112, 112)))
    graph += field(12, tensor(b"y", (1, 3, 1, 1)))
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13)))
    return path


def test_an_onnx_file_judges(tmp_path: Path) -> None:
    judge = custom.load(onnx(tmp_path / "mean.onnx"), threshold=0.3)
    assert (judge.name, judge.threshold) == ("mean", 0.3)
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[..., 0] = 255
    chip = judge.cut(picture, mesh())
    assert chip.shape == (112, 112, 3)
    code = judge.codes(chip[None])[0]
    assert np.linalg.norm(code) == pytest.approx(1, abs=1e-5)
    assert code[0] > 0.5 > 0 > code[1]  # red first, from -1 to 1
    raw = custom.load(onnx(tmp_path / "mean.onnx"), raw=True)
    assert raw.codes(chip[None])[0] == pytest.approx([0, 0, 1], abs=1e-4)  # blue first, from 0
    assert raw.threshold == custom.ONNX_THRESHOLD


def test_facenet_weights_judge_and_nothing_in_them_is_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from deid.recognition._facenet import inception_resnet

    torch.manual_seed(0)
    state = inception_resnet().state_dict()
    assert len(state) == 714 and sum(v.numel() for v in state.values()) == 23_512_336
    path = tmp_path / "own.pt"
    torch.save(state | {"logits.weight": torch.zeros(3, 512)}, path)
    judge = custom.load(path)
    chip = judge.cut(np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8), mesh())
    assert chip.shape == (160, 160, 3)
    assert np.linalg.norm(judge.codes(np.stack([chip, chip // 2])), axis=1) == pytest.approx([1, 1], abs=1e-5)

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    (tmp_path / "trap.pt").write_bytes(pickle.dumps({"conv2d_1a.conv.weight": Trap()}, protocol=2))
    with pytest.raises(errors.ModelError):
        custom.load(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["noise.onnx", "noise.pt"])
def test_what_is_no_network_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind" * 50)
    with pytest.raises(errors.ModelError):
        custom.load(tmp_path / name)
    with pytest.raises(errors.InputNotFound):
        custom.load(tmp_path / f"missing-{name}")


def test_a_picture_is_audited_like_a_clip(face_clip: Path, tmp_path: Path) -> None:
    from deid import imaging
    from deid.media import Reader
    from deid.media.convert import bgr

    with Reader(face_clip) as reader:
        imaging.imwrite(str(tmp_path / "one.png"), bgr(next(iter(reader))))
    report = run(tmp_path / "one.png", tmp_path / "out.png", RunConfig(engine="blur", audit=True), QuietProgress())
    assert report.audit is not None and report.audit["passed"]
    assert report.audit["frames"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.png", "out.png"]


def test_a_recogniser_that_sees_nothing_in_a_face_is_not_asked(tmp_path: Path) -> None:
    from deid.audit.judge import _is_blob

    judge = custom.load(onnx(tmp_path / "mean.onnx"), threshold=0.3)  # looks at nothing but the mean colour
    noise = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
    assert _is_blob(judge, noise, judge.codes(noise[None])[0])
    halves = np.zeros((112, 112, 3), np.uint8)
    halves[:, :56, 0] = halves[:, 56:, 2] = 255
    judge.threshold = 1e-9
    assert not _is_blob(judge, halves, judge.codes(halves[None])[0] + 1)


def test_an_empty_disc_is_nobody_and_a_face_under_a_thin_veil_is(tmp_path: Path) -> None:
    """Of what is obscured a match counts only where it goes when the rest of the picture goes."""
    from types import SimpleNamespace

    from deid.audit.judge import Judge

    class Middle:
        """A recogniser who looks at how dark the middle of a picture is."""

        name, threshold = "own", 0.5

        def cut(self, picture: np.ndarray, points: np.ndarray) -> np.ndarray:
            return picture

        def codes(self, chips: np.ndarray) -> np.ndarray:
            return np.asarray(chips, float)[:, 70:80, 70:80].mean((1, 2)) / 255

    face = np.full((150, 150, 3), 220, np.uint8)
    face[65:85, 65:85] = 0
    thin = (face // 4 * 3).astype(np.uint8)
    disc = np.full_like(face, 60)
    judge = SimpleNamespace(_recognisers=[Middle()])
    points, look = np.zeros((478, 3), np.float32), SimpleNamespace(rgb=disc)

    def asked(b: np.ndarray, hidden: bool) -> bool:
        return bool(Judge._codes(judge, face, b, points, 100.0, (look, look), hidden))  # type: ignore[arg-type]

    assert asked(thin, True) and asked(thin, False)
    assert asked(disc, False) and not asked(disc, True)
