"""Clips from the world, where they are at hand: times and sound by an independent reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from mediagen import packets, shown_times

from deid.media import EncodeSettings, Reader, Writer

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "clips"
NAMES = [
    "talk_politician_aoc_590.mp4",
    "lowlight_stage_cuts_360p.mp4",  # picture and sound begin at different times, neither at zero
    "occlusion_hand_makeup_320x240.avi",  # packed and reordered frames without timestamps
    "signing_skull_shirt_falsepos_640x480.mkv",  # full range, begins at 33 ms
    "headpose_yaw_sweep_female.gif",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_times_and_sound_by_the_ffmpeg_binary(name: str, kind: str, tmp_path: Path) -> None:
    source = CLIPS / name
    if not source.exists():
        pytest.skip("the shared clips are not here")
    target = tmp_path / f"out.{kind}"
    with (
        Reader(source, threads=2) as reader,
        Writer(target, reader.info, source=source, settings=EncodeSettings(preset="ultrafast", threads=2)) as writer,
    ):
        for frame in reader:
            writer.write(frame)
        writer.commit()
    got, wanted = shown_times(target), shown_times(source)
    if kind == "mp4":
        assert got == wanted
        assert packets(target, "audio") == packets(source, "audio")
    else:
        assert len(got) == len(wanted)
        assert all(abs(float(a) - float(b)) <= 0.0011 for a, b in zip(got, wanted, strict=True))
        for a, b in zip(packets(target, "audio"), packets(source, "audio"), strict=True):
            assert [d for _, d in a] == [d for t, d in b if t >= 0]
