"""What becomes of a clip's sound: kept, left out or masked, at its place; and how that is told from the files alone."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import mediagen
import numpy as np
import pytest

from deid.audit.report import remains
from deid.audit.tell import summary
from deid.errors import UsageError
from deid.media import EncodeSettings, Reader, Writer
from deid.media.sound import compare_sound

RATE = 16000


def talk(seconds: float = 2.5) -> np.ndarray:
    """float64 (n,): syllables of a wavering tone with overtones."""
    time = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(130 * (1 + 0.1 * np.sin(2 * np.pi * 1.3 * time))) / RATE
    tone = sum(np.sin(n * phase) / (1 + abs(n - 4)) for n in range(1, 20))
    return 0.2 * tone * np.clip(np.sin(2 * np.pi * 1.7 * time) * 2, 0, 1)


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talk")
    with wave.open(str(folder / "talk.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((talk() * 32767).astype("<i2").tobytes())
    path = folder / "talk.mkv"
    mediagen.ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=2.5", "-i", folder / "talk.wav", "-c:v", "libx264",
        "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le", path,
    )  # fmt: skip
    return path


def written(source: Path, target: Path, start: float | None = None, **settings: object) -> Writer:
    with Reader(source, start=start) as reader:
        made = EncodeSettings(preset="ultrafast", threads=1, **settings)  # type: ignore[arg-type]
        with Writer(target, reader.info, source=source, settings=made, start=start) as writer:
            for frame in reader:
                writer.write(frame)
            writer.commit()
    return writer


def heard(path: Path) -> tuple[np.ndarray, Fraction]:
    """All samples at 16 kHz in one channel, and when the first one comes."""
    parts, first = [], None
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        for frame in container.decode(audio=0):
            first = frame.pts * frame.time_base if first is None else first
            parts += [made.to_ndarray()[0] for made in resampler.resample(frame)]
        parts += [made.to_ndarray()[0] for made in resampler.resample(None)]
    assert first is not None
    return np.concatenate(parts), first


def shift_of(one: np.ndarray, two: np.ndarray) -> float:
    """Milliseconds by which the loudness of ``two`` is late."""
    width = RATE // 50
    a, b = (np.sqrt(np.convolve(s**2, np.ones(width) / width, "same"))[:: RATE // 1000] for s in (one, two))
    count = min(len(a), len(b)) - 80
    shifts = range(-40, 41)
    alike = [np.corrcoef(a[40:count], b[40 + s : count + s])[0, 1] for s in shifts]
    return shifts[int(np.argmax(alike))]


@pytest.mark.parametrize(("ending", "codec"), [(".mkv", "flac"), (".mp4", "aac"), (".webm", "opus")])
def test_masked_sound_is_as_long_and_where_it_was(talking: Path, tmp_path: Path, ending: str, codec: str) -> None:
    out = tmp_path / f"out{ending}"
    video = {"codec": "av1"} if ending == ".webm" else {}
    writer = written(talking, out, audio="mask", voice_seed=3, **video)
    fates = {s.kind: (s.fate, s.why) for s in writer.streams}
    assert fates["audio"][0] == "masked" and "voices masked" in fates["audio"][1]
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.name.startswith(codec)
    (before, began), (after, begins) = heard(talking), heard(out)
    assert abs(float(began - begins)) < 0.001 and abs(len(before) - len(after)) <= 1100  # a frame of AAC
    assert abs(shift_of(before, after)) <= 3
    assert compare_sound(talking, out) == "changed"


def test_the_same_seed_gives_the_same_voice_and_another_another(talking: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        written(talking, tmp_path / f"{name}.mkv", audio="mask", voice_seed=seed)
    a, b, c = (mediagen.packets(tmp_path / f"{name}.mkv", "audio") for name in "abc")
    assert a == b != c


def test_a_part_is_masked_and_nothing_else_passes(talking: Path, tmp_path: Path) -> None:
    out = tmp_path / "part.mkv"
    written(talking, out, start=1.0, audio="mask", voice_seed=3)
    after, _ = heard(out)
    assert abs(len(after) / RATE - 1.5) < 0.1
    assert abs(shift_of(heard(talking)[0][RATE:], after)) <= 30  # whole packets only
    assert compare_sound(talking, out, start=1.0) == "changed"


def test_dropped_sound_is_gone(talking: Path, tmp_path: Path) -> None:
    writer = written(talking, tmp_path / "out.mp4", audio="drop")
    assert [(s.fate, s.why) for s in writer.streams if s.kind == "audio"] == [("dropped", "as asked")]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio
    assert compare_sound(talking, tmp_path / "out.mp4") == "left out"


def test_copied_and_transcoded_sound_is_told_for_what_it_is(talking: Path, tmp_path: Path) -> None:
    written(talking, tmp_path / "copied.mkv")
    written(talking, tmp_path / "transcoded.mp4")
    written(talking, tmp_path / "part.mkv", start=1.0)
    assert compare_sound(talking, tmp_path / "copied.mkv") == "as it was"
    assert compare_sound(talking, tmp_path / "transcoded.mp4") == "as it was"
    assert compare_sound(talking, tmp_path / "part.mkv", start=1.0) == "as it was"
    silent = mediagen.clip(tmp_path / "silent.mp4")
    assert compare_sound(silent, tmp_path / "copied.mkv") == "none"
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    assert compare_sound(talking, tmp_path / "broken.mp4") == "as it was"  # warns in vain rather than not at all


def test_the_audit_tells_of_voices_what_is_heard() -> None:
    assert "unchanged" in remains("as it was")["voice"] and "otherwise" in remains("changed")["voice"]
    assert "voice" not in remains("left out") and "voice" not in remains("none")
    told = {
        "overall": dict.fromkeys(
            ("leak", "match", "replaced", "obscured", "changing", "bare"), {"frames": 5, "hits": 0, "rate": 0.0}
        ),
        "people": [1], "unfollowed": {"faces_as_they_were": 0}, "fidelity": [],
        "media": {"frames_equal": True, "times_equal": True, "telling_tags": [], "sound": "as it was"},
    }  # fmt: skip
    assert any("--audio mask" in line for line in summary(told))
    told["media"] = {**told["media"], "sound": "changed"}  # type: ignore[dict-item]
    assert not any("--audio" in line for line in summary(told))


def test_what_is_no_choice_is_refused() -> None:
    with pytest.raises(UsageError, match="choose copy, drop, mask"):
        EncodeSettings(audio="hum")
