"""Which files a batch takes, and what their copies are called."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deid.batch.files import (
    Item,
    check_template,
    content_of,
    find,
    name_of,
    refuse_among_sources,
    refuse_clashes,
    stamp_of,
)
from deid.errors import InputNotFound, UsageError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "a.mp4",
        "b.MKV",
        "notes.txt",
        ".hidden.mp4",
        "day1/c.mov",
        "day1/raw/d.mp4",
        "shots/1.png",
        "shots/2.png",
    ):
        place = tmp_path / "in" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name)
    (tmp_path / "in" / ".cache").mkdir()
    (tmp_path / "in" / ".cache" / "e.mp4").write_text("e")
    return tmp_path / "in"


def taken(*words: object, **options: object) -> list[str]:
    return [item.relative.as_posix() for item in find([str(word) for word in words], **options).items]  # type: ignore[arg-type]


def test_a_folder_gives_its_videos_and_pictures_and_counts_the_rest(tree: Path) -> None:
    found = find([str(tree)])
    assert [i.relative.as_posix() for i in found.items] == [
        "a.mp4", "b.MKV", "day1/c.mov", "day1/raw/d.mp4", "shots/1.png", "shots/2.png"
    ]  # fmt: skip
    assert found.left == 1


def test_what_to_take_and_what_to_leave(tree: Path) -> None:
    assert taken(tree, include=["*.mp4"]) == ["a.mp4", "day1/raw/d.mp4"]
    assert taken(tree, include=["day1/*"]) == ["day1/c.mov", "day1/raw/d.mp4"]
    assert taken(tree, include=["*.txt"]) == ["notes.txt"]
    assert taken(tree, exclude=["day1/raw/*", "*.png"]) == ["a.mp4", "b.MKV", "day1/c.mov"]


def test_patterns_keep_the_tree_below_their_first_fixed_folder(tree: Path) -> None:
    assert taken(f"{tree}/**/*.mp4") == ["a.mp4", "day1/raw/d.mp4"]
    assert taken(f"{tree}/day*") == ["day1/c.mov", "day1/raw/d.mp4"]


def test_a_file_that_is_named_is_taken_once_whatever_its_ending(tree: Path) -> None:
    assert taken(tree / "notes.txt") == ["notes.txt"]
    assert taken(tree / "a.mp4", tree / "a.mp4", f"{tree}/a*") == ["a.mp4"]


def test_folders_of_frames_are_clips_if_asked(tree: Path) -> None:
    found = find([str(tree)], frames=True)
    shots = next(i for i in found.items if i.relative.name == "shots")
    assert shots.folder and name_of(shots, "{dir}/{stem}{ext}", str) == "shots"
    assert not any(i.relative.suffix == ".png" for i in found.items)


def test_nothing_there(tree: Path) -> None:
    with pytest.raises(InputNotFound, match="there is no"):
        find([str(tree / "none")])
    with pytest.raises(InputNotFound, match="nothing matches"):
        find([str(tree / "*.xyz")])


def item(relative: str, root: str = "ward") -> Item:
    return Item(Path("/in") / relative, root, PurePosixPath(relative))


def test_names_are_made_of_fields() -> None:
    assert name_of(item("day1/c.mov"), "{dir}/{stem}{ext}", str) == "day1/c.mov"
    assert name_of(item("c.ts"), "{dir}/{stem}{ext}", str) == "c.mkv"  # a kind that is only read
    assert name_of(item("day1/c.mov"), "{root}/{stem}.deid.mp4", str) == "ward/c.deid.mp4"
    assert name_of(item("day1/c.mov"), "{dir}/{hash}{ext}", lambda: "ab" * 32) == f"day1/{'ab' * 8}.mov"
    with pytest.raises(UsageError, match="no place below"):
        name_of(item("c.mov"), "../{stem}{ext}", str)
    for wrong in ("{what}", "{stem!r}", "{stem:>9}", "{"):
        with pytest.raises(UsageError):
            check_template(wrong)


@given(st.text(st.sampled_from("ab./ -é{}"), min_size=1, max_size=12).filter(lambda t: not t.startswith("/")))
def test_no_name_leads_out_of_the_destination(relative: str) -> None:
    own = Item(Path("/in/x"), "r", PurePosixPath(relative))
    try:
        name = name_of(own, "{dir}/{stem}{ext}", str)
    except (UsageError, ValueError):
        return
    assert os.path.normpath(os.path.join("/out", name)).startswith("/out/")


def test_copies_with_one_name_are_refused(tmp_path: Path) -> None:
    two = [item("a/x.mp4"), item("b/x.mp4")]
    with pytest.raises(UsageError, match="would both become x.mp4"):
        refuse_clashes(two, ["x.mp4", "x.mp4"], tmp_path)
    with pytest.raises(UsageError, match="within"):
        refuse_clashes(two, ["x", "x/y.mp4"], tmp_path)


def test_copies_among_the_sources_are_refused(tree: Path) -> None:
    for place in (tree, tree / "out"):
        with pytest.raises(UsageError, match="lies in the source folder"):
            refuse_among_sources([str(tree)], [], [], place)
    one = Item(tree / "a.mp4", "", PurePosixPath("a.mp4"))
    with pytest.raises(UsageError, match="among the sources"):
        refuse_among_sources([str(tree / "a.mp4")], [one], ["a.mp4"], tree)
    refuse_among_sources([str(tree)], [one], ["a.mp4"], tree.parent / "out")


def test_stamps_and_contents_of_files_and_folders_tell_changes(tree: Path) -> None:
    shots = tree / "shots"
    before = stamp_of(shots), content_of(shots)
    assert (stamp_of(shots), content_of(shots)) == before
    (shots / "2.png").write_text("other")
    assert stamp_of(shots) != before[0] and content_of(shots) != before[1]
    (shots / "2.png").rename(shots / "3.png")
    assert content_of(shots) != before[1]
