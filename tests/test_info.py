"""deid info: what it shows of a clip."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from deid.cli import main
from deid.commands.info import info_dict, info_lines
from deid.types import MediaInfo, PixelFormat, StreamInfo


def some_media() -> MediaInfo:
    streams = (
        StreamInfo(0, "video", "h264", None, "processed"),
        StreamInfo(1, "audio", "aac", "eng", "copied"),
        StreamInfo(2, "data", "gpmd", "und", "dropped", "it may tell where the camera was"),
    )
    return MediaInfo(
        path="ward.mp4", kind="video", container="mp4", codec="h264", width=720, height=1280, rotation=90,
        mirrored=True, sample_aspect_ratio=Fraction(16, 15), format=PixelFormat("yuv420p", 8, (1, 1), False, "bt709"),
        color_range="tv", color_space="bt709", color_primaries="bt709", color_transfer="bt709",
        time_base=Fraction(1, 90000), average_rate=Fraction(30000, 1001), frames=2700, seconds=90.09, interlaced=True,
        streams=streams, chapters=2, notes=("a note",),
    )


def test_lines_tell_everything() -> None:
    text = "\n".join(info_lines(some_media()))
    for part in (
        "ward.mp4: video, mp4", "720 x 1280", "samples 16:15", "yuv420p, 8 bits", "turned 90 degrees", "mirrored",
        "interlaced", "2700 frames", "90.090 s (1:30)", "29.97 frames a second", "chapters: 2",
        "stream 1: audio, aac, eng: would be copied",
        "stream 2: data, gpmd: would be dropped (it may tell where the camera was)", "note: a note",
    ):
        assert part in text, part


def test_the_dictionary_is_json() -> None:
    value = json.loads(json.dumps(info_dict(some_media())))
    assert value["sample_aspect_ratio"] == "16/15" and value["average_rate"] == "30000/1001"
    assert value["streams"][2]["fate"] == "dropped" and value["format"]["chroma_shift"] == [1, 1]


def test_info_of_a_clip(face_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["info", str(face_clip), "--json"])
    captured = capsys.readouterr()
    assert left.value.code == 0 and captured.err == ""
    value = json.loads(captured.out)
    assert (value["width"], value["height"], value["frames"]) == (480, 360, 24)
    assert [(stream["kind"], stream["fate"]) for stream in value["streams"]] == [
        ("video", "processed"), ("audio", "copied"),
    ]
