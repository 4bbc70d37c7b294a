"""Sheets and clips of people who do not exist."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from deid import gallery, imaging
from deid.commands._shell import StopRequest
from deid.commands.surrogates import surrogates
from deid.errors import OutputExists, UsageError
from deid.media import probe


def invoked(*words: object) -> object:
    return CliRunner().invoke(surrogates, [str(w) for w in words], obj=StopRequest(), catch_exceptions=True)


def test_a_sheet_has_a_row_a_person_and_a_column_a_state() -> None:
    sheet = gallery.sheet(3, 2, cell=64)
    assert sheet.shape == (128, 64 * len(gallery.STATES), 3)
    assert sheet.dtype == np.uint8
    cells = sheet.reshape(2, 64, len(gallery.STATES), 64, 3).transpose(0, 2, 1, 3, 4).astype(int)
    for row in cells:
        for other in row[1:]:
            assert np.abs(other - row[0]).mean() > 0.15  # every state shows
    assert np.abs(cells[0, 0] - cells[1, 0]).mean() > 3  # and so do people


def test_people_are_repeatable_and_the_first_of_many_are_the_few() -> None:
    few, many = list(gallery.people(5, 2)), list(gallery.people(5, 4))
    for (a, tone_a), (b, tone_b) in zip(few, many[:2], strict=True):
        np.testing.assert_array_equal(a.shape, b.shape)
        np.testing.assert_array_equal(a.appearance, b.appearance)
        np.testing.assert_array_equal(tone_a, tone_b)
    assert not np.array_equal(many[0][0].shape, many[1][0].shape)


def test_the_turntable_turns() -> None:
    pictures = list(gallery.turntable(7, size=96, frames=4))
    assert len(pictures) == 4
    assert pictures[0].shape == (96, 96, 3)
    assert np.abs(pictures[1].astype(int) - pictures[3]).mean() > 1


def test_the_command_writes_a_picture_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "CELL", 48)
    made = tmp_path / "sheet.png"
    result = invoked("--count", 1, "-o", made, "--quiet")
    assert result.exit_code == 0, result.output
    assert imaging.imread(str(made)) is not None
    again = invoked("--count", 1, "-o", made)
    assert isinstance(again.exception, OutputExists)
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize("words", [(), ("-o", "sheet.mp4"), ("--turntable", "clip.png")])
def test_what_makes_no_sense_is_refused(words: tuple[str, ...]) -> None:
    assert isinstance(invoked(*words).exception, UsageError)


def test_the_command_writes_a_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "TURN_SIZE", 64)
    monkeypatch.setattr(gallery, "turntable", functools.partial(gallery.turntable, size=64, frames=6))
    made = tmp_path / "turn.mp4"
    result = invoked("--turntable", made, "--quiet")
    assert result.exit_code == 0, result.output
    assert probe(made).frames and [p.name for p in tmp_path.iterdir()] == ["turn.mp4"]
