"""Single images and folders of images."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms

from deid.errors import DamagedInput, NotMedia, OutputError, OutputExists, UnsupportedInput, UsageError
from deid.media import EncodeSettings, Reader, Writer, check_target, probe, read_mark
from deid.media.convert import bgr
from deid.media.images import natural_key
from deid.media.pixels import carrier_to_rgb, rgb_to_carrier

FAST = EncodeSettings(preset="ultrafast", threads=2)


def picture(seed: int = 0, size: tuple[int, int] = (50, 41)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def smooth(size: tuple[int, int] = (64, 48)) -> np.ndarray:
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    return np.stack([x * 3, y * 4, 128 + x - y], -1).clip(0, 255).astype(np.uint8)


def run(source: Path, target: Path, settings: EncodeSettings = FAST, **options: object) -> Writer:
    with Reader(source) as reader, Writer(target, reader.info, source=source, settings=settings, **options) as writer:
        for frame in reader:
            writer.write(frame)
        writer.commit()
    return writer


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, (7, 9, 3)))
def test_the_carrier_holds_every_colour(rgb: np.ndarray) -> None:
    assert np.array_equal(carrier_to_rgb(rgb_to_carrier(rgb)), rgb)


def test_the_carrier_holds_a_grid_over_all_colours() -> None:
    steps = np.r_[0:256:5, 1, 2, 127, 128, 253, 254]
    rgb = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, len(steps), 3).astype(np.uint8)
    assert np.array_equal(carrier_to_rgb(rgb_to_carrier(rgb)), rgb)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.tiff"])
def test_lossless_formats_come_back_sample_by_sample(tmp_path: Path, name: str) -> None:
    rgb = picture()
    Image.fromarray(rgb).save(tmp_path / name)
    writer = run(tmp_path / name, tmp_path / f"out_{name}")
    assert np.array_equal(np.asarray(Image.open(tmp_path / f"out_{name}")), rgb)
    assert [s.fate for s in writer.streams] == ["processed"]
    if name == "a.bmp":
        assert read_mark(tmp_path / f"out_{name}") is None and "bmp holds no mark" in writer.notes
    else:
        assert read_mark(tmp_path / f"out_{name}") == "obscured"


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_lossy_formats_come_back_close(tmp_path: Path, name: str) -> None:
    Image.fromarray(smooth()).save(tmp_path / name, quality=95)
    run(tmp_path / name, tmp_path / f"out_{name}", EncodeSettings(mark="synthetic"))
    before, after = (np.asarray(Image.open(p).convert("RGB"), int) for p in (tmp_path / name, tmp_path / f"out_{name}"))
    assert np.abs(before - after).mean() < 1.5
    assert read_mark(tmp_path / f"out_{name}") == "synthetic"


def test_grey_stays_grey(tmp_path: Path) -> None:
    grey = picture()[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    run(tmp_path / "a.png", tmp_path / "b.png")
    out = Image.open(tmp_path / "b.png")
    assert out.mode == "L" and np.array_equal(np.asarray(out), grey)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_exif_dropped(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "CamCo"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 0.0)
    image = Image.fromarray(smooth())
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    run(tmp_path / "a.jpg", tmp_path / "b.jpg")
    from PIL import ImageOps

    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")), int)
    out = Image.open(tmp_path / "b.jpg")
    assert not out.getexif()
    assert b"CamCo" not in (tmp_path / "b.jpg").read_bytes() and b"Exif" not in (tmp_path / "b.jpg").read_bytes()
    assert np.asarray(out).shape == upright.shape
    assert np.abs(np.asarray(out, int) - upright).mean() < 1.5
    assert (probe(tmp_path / "a.jpg").width, probe(tmp_path / "a.jpg").height) == (upright.shape[1], upright.shape[0])


def test_colour_profiles_stay(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("a.png", "a.jpg", "a.webp", "a.tif"):
        Image.fromarray(smooth()).save(tmp_path / name, icc_profile=profile)
        run(tmp_path / name, tmp_path / f"out_{name}")
        assert Image.open(tmp_path / f"out_{name}").info.get("icc_profile") == profile


def test_what_lies_under_transparency_does_not_become_visible(tmp_path: Path) -> None:
    rgba = np.dstack([picture(), np.zeros((41, 50), np.uint8)])
    rgba[:, :10, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    run(tmp_path / "a.png", tmp_path / "b.png")
    out = np.asarray(Image.open(tmp_path / "b.png").convert("RGB"))
    assert (out[:, 10:] == 255).all()
    assert np.array_equal(out[:, :10], rgba[:, :10, :3])
    assert any("transparency" in n for n in probe(tmp_path / "a.png").notes)


def test_analysis_sees_what_is_stored(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    with Reader(tmp_path / "a.png") as reader:
        frame = next(iter(reader))
    assert np.abs(bgr(frame)[..., ::-1].astype(int) - smooth()).max() <= 2


def test_sixteen_bits_are_reduced_with_a_note(tmp_path: Path) -> None:
    deep = (np.arange(64 * 48).reshape(48, 64) * 21).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    with Reader(tmp_path / "a.png") as reader:
        assert any("16-bit" in n for n in reader.info.notes)
        rgb = carrier_to_rgb(next(iter(reader)).planes)
    assert np.array_equal(rgb[..., 0], np.rint(deep / 257).astype(np.uint8))


# Folders


def folder_of(path: Path, names: list[str], size: tuple[int, int] = (50, 41)) -> Path:
    path.mkdir()
    for i, name in enumerate(names):
        Image.fromarray(picture(i, size)).save(path / name)
    return path


def test_folders_in_natural_order(tmp_path: Path) -> None:
    names = ["f10.png", "f2.png", "f1.png", "F3.png"]
    source = folder_of(tmp_path / "in", names)
    (source / "notes.txt").write_text("x")
    (source / ".hidden.png").write_bytes(b"x")
    with Reader(source) as reader:
        assert reader.info.kind == "folder" and reader.info.frames == 4
        assert any("notes.txt" in n for n in reader.info.notes)
        order = [carrier_to_rgb(f.planes) for f in reader]
    for got, name in zip(order, ["f1.png", "f2.png", "F3.png", "f10.png"], strict=True):
        assert np.array_equal(got, picture(names.index(name)))
    run(source, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names)
    for i, name in enumerate(names):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name)), picture(i))
        assert read_mark(tmp_path / "out" / name) == "obscured"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


@given(st.lists(st.from_regex(r"[a-z]{0,3}[0-9]{0,4}[a-z]{0,2}", fullmatch=True), max_size=12))
def test_natural_order_compares_numbers_as_numbers(names: list[str]) -> None:
    ordered = sorted(names, key=natural_key)
    assert sorted(ordered, key=natural_key) == ordered
    digits = [n for n in ordered if n.isdigit()]
    assert digits == sorted(digits, key=int)


def test_a_range_of_a_folder(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", [f"{i}.png" for i in range(5)])
    with (
        Reader(source, start=0.04, end=0.12) as reader,
        Writer(tmp_path / "out", reader.info, source=source, settings=FAST, start=0.04, end=0.12) as writer,
    ):
        frames = list(reader)
        for frame in frames:
            writer.write(frame)
        writer.commit()
    assert [f.index for f in frames] == [0, 1]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.png", "2.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "2.png")), picture(2))


def test_a_folder_becomes_a_video(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", [f"{i}.png" for i in range(5)], size=(64, 48))
    run(source, tmp_path / "out.mp4")
    with Reader(tmp_path / "out.mp4") as reader:
        frames = list(reader)
    assert [f.pts * f.time_base for f in frames] == [Fraction(i, 25) for i in range(5)]
    assert frames[0].format.name == "yuv420p"


def test_folders_of_two_sizes_are_refused_by_name(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["1.png", "2.png"])
    Image.fromarray(picture(0, (51, 41))).save(source / "odd.png")
    with pytest.raises(UnsupportedInput, match=r"odd\.png is 51 x 41"):
        probe(source)


def test_bad_folders_and_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotMedia, match="without images"):
        probe(tmp_path / "empty")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    with pytest.raises(NotMedia, match="not an image"):
        probe(tmp_path / "a.png")
    Image.fromarray(picture(0, (200, 200))).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedInput, match="ends early"):
        list(Reader(tmp_path / "cut.png"))
    Image.fromarray(picture(0, (1, 1))).save(tmp_path / "one.png")
    with pytest.raises(UnsupportedInput, match="1 x 1"):
        probe(tmp_path / "one.png")
    frames = [Image.fromarray(picture(i)) for i in range(3)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedInput, match="several pictures"):
        probe(tmp_path / "moving.webp")


def test_folder_targets(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["1.png", "2.png"])
    info = probe(source)
    with pytest.raises(UsageError, match="source itself"):
        check_target(source, True, info)
    with pytest.raises(UsageError, match="inside the source"):
        check_target(source / "out", False, info)
    target = folder_of(tmp_path / "out", ["old.png"])
    with pytest.raises(OutputExists):
        check_target(target, False, info)
    (target / "thesis.doc").write_text("precious")
    with pytest.raises(OutputError, match="thesis.doc"):
        check_target(target, True, info)
    (target / "thesis.doc").unlink()
    run(source, target, overwrite=True)
    assert sorted(p.name for p in target.iterdir()) == ["1.png", "2.png"]
    with pytest.raises(RuntimeError), Reader(source) as reader:
        with Writer(tmp_path / "third", reader.info, source=source, settings=FAST) as writer:
            writer.write(next(iter(reader)))
            raise RuntimeError
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_an_image_becomes_an_image_only(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="cannot become"):
        check_target(tmp_path / "a.mp4", False, probe(tmp_path / "a.png"))


def test_scaled_images(tmp_path: Path) -> None:
    Image.fromarray(smooth((101, 99))).save(tmp_path / "a.png")
    with Reader(tmp_path / "a.png", max_height=51) as reader:
        frame = next(iter(reader))
    assert (frame.width, frame.height) == (52, 50) == (reader.info.width, reader.info.height)


def test_a_tiff_whose_next_picture_is_no_picture_is_damaged(tmp_path: Path) -> None:
    """The directory ends with where the next picture's begins: there are pixels."""
    path = tmp_path / "a.tif"
    Image.new("RGB", (64, 48), (9, 200, 90)).save(path)
    data = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    struct.pack_into("<I", data, at + 2 + 12 * entries, len(data) - 1024)
    path.write_bytes(data)
    with pytest.raises(DamagedInput, match="ends early"):
        probe(path)
