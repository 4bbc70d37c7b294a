"""Samples, sizes, colour tags, pixel shape, rotation, interlacing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from mediagen import clip, ffmpeg, samples

from deid.errors import UnsupportedInput
from deid.media import EncodeSettings, Reader, Writer, probe
from deid.types import Frame

SETTINGS = EncodeSettings(threads=2)


def frames(path: Path, **options: object) -> list[Frame]:
    with Reader(path, threads=2, **options) as reader:
        return list(reader)


def process(source: Path, target: Path, settings: EncodeSettings = SETTINGS) -> Writer:
    with Reader(source, threads=2) as reader, Writer(target, reader.info, source=source, settings=settings) as writer:
        for frame in reader:
            writer.write(frame)
        writer.commit()
    return writer


FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"]


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("size", ["98x66", "80x64"])
def test_every_sample_reaches_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pix_fmt: str, size: str
) -> None:
    """What PyAV hands to x264 equals what an independent decode of the source gives, sample by sample."""
    source = clip(tmp_path / "a.mkv", size=size, seconds=0.2, video=("-c:v", "ffv1"), pix_fmt=pix_fmt)
    seen = []

    def spy(self: object, frame: av.VideoFrame) -> av.VideoFrame:
        picture = original(self, frame)
        deep = picture.format.components[0].bits > 8
        planes = []
        for plane in picture.planes:
            lines = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
            planes.append(lines[:, : plane.width].copy())
        seen.append((picture.format.name, tuple(planes)))
        return picture

    from deid.media.video_sink import VideoSink

    original = VideoSink._picture
    monkeypatch.setattr(VideoSink, "_picture", spy)
    process(source, tmp_path / "b.mp4")
    expected = samples(source)
    assert len(seen) == len(expected) == 5
    for (name, planes), wanted in zip(seen, expected, strict=True):
        assert name == pix_fmt
        assert all(np.array_equal(a, b) for a, b in zip(planes, wanted, strict=True))
    with av.open(str(tmp_path / "b.mp4")) as out:
        assert out.streams.video[0].pix_fmt == pix_fmt


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
def test_lossless_encoding_gives_the_source_back(tmp_path: Path, pix_fmt: str) -> None:
    source = clip(tmp_path / "a.mkv", size="98x66", seconds=0.2, video=("-c:v", "ffv1"), pix_fmt=pix_fmt)
    process(source, tmp_path / "b.mkv", EncodeSettings(crf=0, threads=2))
    for a, b in zip(samples(tmp_path / "b.mkv"), samples(source), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("size", ["97x65", "97x64", "96x65"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
def test_odd_sizes_stay_exact(tmp_path: Path, size: str, pix_fmt: str) -> None:
    scale = ["-vf", f"scale={size.replace('x', ':')}"]
    source = clip(tmp_path / "a.mkv", seconds=0.2, video=("-c:v", "ffv1"), pix_fmt=pix_fmt, extra=scale)
    process(source, tmp_path / "b.mp4")
    width, height = (int(v) for v in size.split("x"))
    with av.open(str(tmp_path / "b.mp4")) as out:
        stream = out.streams.video[0]
        assert (stream.width, stream.height) == (width, height)
    got, wanted = frames(source)[0], samples(source)[0]
    assert np.array_equal(got.planes[0], wanted[0])
    if got.format.chroma_shift == (0, 0):
        rows = 1 if wanted[1].shape[0] == height else 2
        assert np.array_equal(got.planes[1][::rows, ::2], wanted[1])


TAGS = [
    ("tv", "bt709", "bt709", "bt709"),
    ("pc", "bt709", "bt709", "iec61966-2-1"),
    ("tv", "smpte170m", "smpte170m", "smpte170m"),
    ("tv", "bt470bg", "bt470bg", "bt470bg"),
    ("tv", "bt2020nc", "bt2020", "smpte2084"),
    ("tv", "bt2020nc", "bt2020", "arib-std-b67"),
]


@pytest.mark.parametrize("target", ["b.mp4", "b.mkv", "b.mov", "b.avi", "hevc.mp4", "av1.mkv", "b.webm"])
@pytest.mark.parametrize("tags", TAGS, ids=lambda t: f"{t[0]}-{t[1]}-{t[3]}")
def test_colour_tags_survive(tmp_path: Path, tags: tuple[str, str, str, str], target: str) -> None:
    span, space, primaries, transfer = tags
    ten = space == "bt2020nc"
    source = clip(
        tmp_path / "a.mp4",
        seconds=0.12,
        pix_fmt="yuv420p10le" if ten else "yuv420p",
        extra=[
            *("-vf", f"setparams=range={span}:colorspace={space}:color_primaries={primaries}:color_trc={transfer}"),
            *("-color_range", span, "-colorspace", space, "-color_primaries", primaries, "-color_trc", transfer),
        ],
    )
    codec = target.split(".")[0] if target.startswith(("hevc", "av1")) else "h264"
    process(source, tmp_path / target, EncodeSettings(codec=codec, preset="ultrafast", threads=2))
    info = probe(tmp_path / target)
    assert (info.color_range, info.color_space, info.color_primaries, info.color_transfer) == tags
    assert info.format.depth == (10 if ten else 8)
    assert info.format.full_range == (span == "pc")
    assert info.format.matrix == {"bt709": "bt709", "bt2020nc": "bt2020"}.get(space, "bt601")


def test_untagged_stays_untagged_and_the_matrix_follows_the_height(tmp_path: Path) -> None:
    for size, matrix in (("96x64", "bt601"), ("64x720", "bt709")):
        source = clip(tmp_path / f"{matrix}.mkv", size=size, seconds=0.08, video=("-c:v", "ffv1"))
        process(source, tmp_path / f"{matrix}.mp4")
        info = probe(tmp_path / f"{matrix}.mp4")
        assert info.color_space == "unknown"
        assert info.color_primaries == "unknown"
        assert info.format.matrix == matrix


@pytest.mark.parametrize("target", ["b.mp4", "b.mov", "b.mkv", "b.webm", "av1.mkv", "b.avi"])
@pytest.mark.parametrize("ratio", [Fraction(4, 3), Fraction(12, 11), Fraction(10, 11), Fraction(15, 16)])
def test_sample_aspect_ratio_is_kept(tmp_path: Path, target: str, ratio: Fraction) -> None:
    source = clip(tmp_path / "a.mp4", seconds=0.12, extra=["-vf", f"setsar={ratio.numerator}/{ratio.denominator}"])
    codec = "av1" if target.startswith("av1") else "h264"
    process(source, tmp_path / target, EncodeSettings(codec=codec, preset="ultrafast", threads=2))
    with av.open(str(tmp_path / target)) as out:
        assert out.streams.video[0].sample_aspect_ratio == ratio
        assert len(list(out.decode(video=0))) == 3


TURNS = {
    "90": (["-display_rotation", "90"], lambda p: np.rot90(p, 1)),
    "180": (["-display_rotation", "180"], lambda p: np.rot90(p, 2)),
    "270": (["-display_rotation", "270"], lambda p: np.rot90(p, 3)),
    "hflip": (["-display_hflip"], lambda p: p[:, ::-1]),
    "vflip": (["-display_vflip"], lambda p: p[::-1]),
    "transpose": (["-display_rotation", "90", "-display_hflip"], None),
}


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p10le"])
@pytest.mark.parametrize("turn", TURNS)
def test_rotation_is_applied_without_loss_and_its_tag_dropped(tmp_path: Path, pix_fmt: str, turn: str) -> None:
    flat = clip(tmp_path / "flat.mp4", seconds=0.12, pix_fmt=pix_fmt, extra=["-vf", "setsar=4/3"])
    flags, apply = TURNS[turn]
    ffmpeg(*flags, "-i", flat, "-c", "copy", tmp_path / "turned.mp4")
    # The ffmpeg binary's own autorotation is the reference.
    ffmpeg("-i", tmp_path / "turned.mp4", "-c:v", "ffv1", "-pix_fmt", pix_fmt, tmp_path / "reference.mkv")
    got = frames(tmp_path / "turned.mp4")
    reference = samples(tmp_path / "reference.mkv")
    luma = [f.planes[0] for f in got]
    assert all(np.array_equal(a, b[0]) for a, b in zip(luma, reference, strict=True))
    if apply is not None:
        assert np.array_equal(luma[0], apply(samples(flat)[0][0]))
    if pix_fmt != "yuv422p":  # the binary resamples 4:2:2 when it turns it
        assert all(np.array_equal(a, b) for a, b in zip(got[0].planes, reference[0], strict=True))
    assert all(p.flags.c_contiguous and not p.flags.writeable for f in got for p in f.planes)
    process(tmp_path / "turned.mp4", tmp_path / "out.mp4")
    info = probe(tmp_path / "out.mp4")
    assert info.rotation == 0 and not info.mirrored
    assert (info.width, info.height) == (got[0].width, got[0].height)
    sideways = turn in ("90", "270", "transpose")
    assert info.sample_aspect_ratio == (Fraction(3, 4) if sideways else Fraction(4, 3))


def test_odd_angles_are_refused(tmp_path: Path) -> None:
    flat = clip(tmp_path / "flat.mp4", seconds=0.12)
    ffmpeg("-display_rotation", "30", "-i", flat, "-c", "copy", tmp_path / "turned.mp4")
    with pytest.raises(UnsupportedInput, match="quarter turns"):
        probe(tmp_path / "turned.mp4")


CONVERTED = {
    "gray": ("yuv420p", "ffv1"),
    "yuv411p": ("yuv422p", "ffv1"),
    "yuv410p": ("yuv420p", "ffv1"),
    "yuv440p": ("yuv444p", "ffv1"),
    "yuv422p12le": ("yuv422p10le", "ffv1"),
    "yuv420p16le": ("yuv420p10le", "ffv1"),
    "yuva420p": ("yuv420p", "ffv1"),
    "yuva444p10le": ("yuv444p10le", "ffv1"),
    "bgr0": ("yuv420p", "ffv1"),
    "bgra": ("yuv420p", "ffv1"),
    "gbrp": ("yuv420p", "libx264rgb"),
    "yuvj420p": ("yuv420p", "mjpeg"),
    "yuvj422p": ("yuv422p", "mjpeg"),
    "nv12": ("yuv420p", "rawvideo"),
    "yuyv422": ("yuv422p", "rawvideo"),
    "pal8": ("yuv420p", "png"),
    "rgb24": ("yuv420p", "png"),
}


@pytest.mark.parametrize("pix_fmt", CONVERTED)
def test_formats_that_encoders_do_not_take(tmp_path: Path, pix_fmt: str) -> None:
    """They are converted once, while reading, to something close."""
    expected, codec = CONVERTED[pix_fmt]
    source = tmp_path / ("a.nut" if codec == "rawvideo" else "a.mkv")
    given = None if codec == "libx264rgb" else pix_fmt
    clip(source, seconds=0.12, video=("-c:v", codec), pix_fmt=given)
    got = frames(source)
    assert got[0].format.name == expected
    # Shape of the picture, by the binary's conversion to grey as a reference
    ffmpeg("-i", source, "-c:v", "ffv1", "-pix_fmt", "gray", tmp_path / "grey.mkv")
    reference = samples(tmp_path / "grey.mkv")[0][0].astype(float)
    scale = 1 << (got[0].format.depth - 8)
    luma = got[0].planes[0] / scale
    if not got[0].format.full_range:
        luma = (luma - 16) * 255 / 219
    assert np.abs(luma - reference).mean() < 2.5
    process(source, tmp_path / "b.mp4")
    assert len(samples(tmp_path / "b.mp4")) == 3


def test_grey_luma_is_exact(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mkv", seconds=0.08, video=("-c:v", "ffv1"), pix_fmt="gray")
    got = frames(source)[0]
    assert np.array_equal(got.planes[0], samples(source)[0][0])
    assert (got.planes[1] == 128).all() and got.planes[1].shape == (32, 48)


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_interlaced_is_merged_and_noted(tmp_path: Path, order: str) -> None:
    flags = [
        "-flags",
        "+ildct+ilme",
        "-x264opts",
        order,
        "-vf",
        f"tinterlace=interleave_top,setfield={order},scale=96:64",
    ]
    source = clip(tmp_path / "a.mp4", size="96x64", seconds=0.8, extra=flags)
    info = probe(source)
    assert info.interlaced
    assert any("interlaced" in note for note in info.notes)
    got = frames(source)
    plain = samples(source)
    assert len(got) == len(plain)
    with av.open(str(source)) as container:
        assert [f.pts for f in container.decode(video=0)] == [f.pts for f in got]

    def comb(luma: np.ndarray) -> float:
        rows = luma.astype(float)
        return float(np.abs(rows[2:-2:2] * 2 - rows[1:-3:2] - rows[3:-1:2]).mean())

    middle = len(got) // 2
    assert comb(got[middle].planes[0]) < 0.8 * comb(plain[middle][0])
    process(source, tmp_path / "b.mp4")
    assert not probe(tmp_path / "b.mp4").interlaced


def test_scaling_down(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", pix_fmt="yuv444p", seconds=0.12, extra=["-vf", "scale=321:241"])
    with Reader(source, max_height=121) as reader:
        got = list(reader)
        assert (reader.info.width, reader.info.height) == (160, 120)
        assert got[0].planes[0].shape == (120, 160)
        assert any("scaled" in n for n in reader.info.notes)
    same = frames(source, max_height=241)[0]
    assert same.planes[0].shape == (241, 321)
    ffmpeg("-display_rotation", "90", "-i", source, "-c", "copy", tmp_path / "turned.mp4")
    turned = frames(tmp_path / "turned.mp4", max_height=160)[0]
    assert turned.planes[0].shape == (160, 120)


@pytest.mark.parametrize("size", [(96, 64), (97, 65), (1280, 720)])
def test_rgb_pictures_get_no_tint(tmp_path: Path, size: tuple[int, int]) -> None:
    """The mean colour of a GIF comes out as it went in: rounding goes up as often as down."""
    from PIL import Image

    from deid.media.convert import rgb8

    chance = np.random.default_rng(3)
    shown = chance.integers(60, 200, (200, 3), np.uint8)[chance.integers(200, size=(size[1], size[0]))]
    source, target = tmp_path / "a.gif", tmp_path / "b.mp4"
    Image.fromarray(shown).save(source, save_all=True, append_images=[Image.fromarray(shown[::-1])], duration=100)
    process(source, target, EncodeSettings(threads=2, crf=1))
    before, after = (rgb8(frames(path)[0]).astype(float).mean(axis=(0, 1)) for path in (source, target))
    np.testing.assert_allclose(after, before, atol=0.5)
