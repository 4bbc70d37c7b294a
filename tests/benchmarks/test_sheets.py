"""Sheets of before and after: who is on which, and what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import _sheet_groups as groups
import numpy as np
import sheets
from _replacement_faces import observe

from deid import imaging
from deid.models.morphable.geometry import load_geometry
from deid.virtual_camera import COLLINS

PLAIN = groups.Traits(-1.0, 45, 30, 2, 0, -3, 0, 0.02, 0.3)


def test_a_face_is_on_every_sheet_that_it_belongs_on() -> None:
    assert groups.groups_of(PLAIN) == ["men"]
    much = replace(PLAIN, female=0.5, age=70, tone=-20, side=20, beard=20, glasses=1, yaw=-50, mouth=0.4, eyes=0.05)
    assert groups.groups_of(much) == [
        "women", "older", "dark skin", "glasses", "side light", "open mouths", "closed eyes", "turned far",
    ]  # fmt: skip


def test_a_photograph_is_measured_and_has_one_moment(tmp_path: Path) -> None:
    picture = COLLINS.read()
    imaging.imwrite(str(tmp_path / "collins.png"), picture)
    (track,) = observe(tmp_path / "collins.png", least=1)
    assert groups.moments(track) == [0]
    rgb = np.ascontiguousarray(picture[..., ::-1])
    traits = groups.traits_of(rgb, track, 0, load_geometry(), np.zeros(128, np.float32))
    assert traits.glasses < 0 and abs(traits.yaw) < 30 and traits.eyes > groups.SHUT and traits.tone > groups.DARK


def test_files_of_folders_are_found_and_thinned_evenly(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.JPG", "c.mp4", "notes.txt", "inner/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [(path.name, folder) for path, folder in sheets.sources_of([tmp_path], None)]
    assert found == [("a.jpg", ""), ("b.JPG", ""), ("c.mp4", ""), ("d.png", "inner")]
    assert [path.name for path, _ in sheets.sources_of([tmp_path], 2)] == ["a.jpg", "c.mp4", "d.png"]


def test_each_group_has_a_sheet_and_the_index_names_all(tmp_path: Path) -> None:
    cells = tuple(np.full((40, 40, 3), value, np.uint8) for value in (10, 90, 200))
    rows = [sheets.Row(f"face {k}", ("men",), cells) for k in range(5)]
    written = sheets.write({"men": rows, sheets.SEEDS: rows}, tmp_path, 4, 2, "<seeds>")
    assert [path.name for path in written] == ["men.png", "one_face_several_seeds.png", "index.html"]
    men, seeds = (imaging.imread(str(path)) for path in written[:2])
    assert men.shape == (2 * 60, 4 * 40, 3) and seeds.shape == (2 * 60, 3 * 40, 3)
    assert (men[40, 20] == 10).all() and (men[40, 60] == 90).all()
    page = written[-1].read_text()
    assert "&lt;seeds&gt;" in page and all(path.name in page for path in written[:2])
