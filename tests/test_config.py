"""Options: limits, times, names of outputs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid.config import CODECS, ENGINES, PRESETS, RunConfig, available_cores, default_target, parse_time
from deid.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("62.5", 62.5), ("1:02.5", 62.5), ("00:01:02.500", 62.5), ("0", 0), (".5", 0.5), ("90", 90), ("90:00", 5400),
     ("100:00:00", 360000), (" 5 ", 5), ("7.", 7)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "abc", "-1", "1:60", "1:60:00", "1:2:3:4", "1e3", "nan", "inf", "1:-2", "\u0663", ":", "."]
)
def test_times_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        parse_time(text)


@given(st.integers(0, 400), st.integers(0, 59), st.integers(0, 59999))
def test_every_clock_time_reads_back(hours: int, minutes: int, milliseconds: int) -> None:
    text = f"{hours}:{minutes:02}:{milliseconds / 1000:06.3f}"
    assert parse_time(text) == pytest.approx(hours * 3600 + minutes * 60 + milliseconds / 1000, abs=1e-9)


@given(st.text(max_size=12))
def test_any_text_is_a_time_or_a_usage_error(text: str) -> None:
    try:
        seconds = parse_time(text)
    except UsageError:
        return
    assert math.isfinite(seconds) and seconds >= 0


def test_defaults_hold() -> None:
    config = RunConfig()
    assert config.engine in ENGINES and config.codec in CODECS and config.preset in PRESETS
    assert config.threads == available_cores() >= 1
    assert config.mark and not config.keep_metadata and not config.overwrite and not config.salvage


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"engine": "swap"}, "engine"),
        ({"codec": "divx"}, "codec"),
        ({"preset": "instant"}, "preset"),
        ({"start": -1.0}, "start"),
        ({"end": float("nan")}, "end"),
        ({"start": 5.0, "end": 5.0}, "not after start"),
        ({"end": 0.0}, "not after start"),
        ({"max_height": 0}, "max_height"),
        ({"max_height": 720.0}, "max_height"),
        ({"crf": 52}, "CRF"),
        ({"codec": "av1", "crf": 64}, "crf"),
        ({"watermark": "x" * 201}, "watermark"),
        ({"crf": True}, "crf"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"threads": 0}, "threads"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": "0.2"}, "threshold"),
        ({"watermark": "  "}, "watermark"),
        ({"keep": (-1,)}, "keep"),
        ({"keep": "12"}, "keep"),
        ({"keep": 3}, "keep"),
        ({"overwrite": 1}, "overwrite"),
    ],
)
def test_senseless_options_are_refused_in_one_sentence(options: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError) as caught:
        RunConfig(**options)  # type: ignore[arg-type]
    assert word in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_kept_tracks_are_sorted_once_each() -> None:
    assert RunConfig(keep=[5, 2, 5]).keep == (2, 5)  # type: ignore[arg-type]


def test_as_dict_is_json() -> None:
    config = RunConfig(keep=(2,), start=1.0, watermark="Ward 7")
    again = json.loads(json.dumps(config.as_dict()))
    assert RunConfig(**{**again, "keep": tuple(again["keep"])}) == config


def test_default_target(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    assert default_target(tmp_path / "a.b.mp4") == tmp_path / "a.b.deid.mp4"
    assert default_target(tmp_path / "frames") == tmp_path / "frames.deid"
    assert default_target(tmp_path / "photo.JPG") == tmp_path / "photo.deid.JPG"
    assert default_target(tmp_path / "tape.mpg") == tmp_path / "tape.deid.mkv"
    assert default_target(tmp_path / "noending") == tmp_path / "noending.deid.mkv"


def test_scopes_keys_and_registries_go_together() -> None:
    assert RunConfig().scope == "video" and RunConfig(scope="batch").key is None
    keyed = RunConfig(key="a/study.key")
    assert keyed.scope == "key" and keyed.registry == Path("a/study.people.sqlite")
    assert RunConfig(key=Path("k"), registry="r.sqlite").registry == Path("r.sqlite")
    for options, word in (
        ({"scope": "key"}, "no key is given"),
        ({"scope": "video", "key": "k"}, "leave one of them out"),
        ({"registry": "r"}, "its key"),
        ({"scope": "world"}, "scope"),
        ({"key": 3}, "name of a file"),
        ({"key": "k", "engine": "blur"}, "use morphable"),
        ({"plan": "p", "engine": "solid"}, "use morphable"),
        ({"keep_like": ["p.jpg"], "engine": "pixelate"}, "use morphable"),
    ):
        with pytest.raises(UsageError, match=word):
            RunConfig(**options)
    assert json.loads(json.dumps(RunConfig(key="k", keep_like="a.jpg").as_dict()))["keep_like"] == ["a.jpg"]
