"""What streams of NAL units say about pictures that are gone, and that healthy ones are left alone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mediagen import FFMPEG, clip

from deid.errors import DamagedInput
from deid.media import Reader
from deid.media.order import Order
from deid.media.structure import extent


def x264(options: str, *more: str) -> tuple[str, ...]:
    return ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", f"threads=2:{options}", *more)


def x265(options: str, *more: str) -> tuple[str, ...]:
    quiet = f"log-level=none:frame-threads=1:{options}"
    return ("-c:v", "libx265", "-preset", "veryfast", "-x265-params", quiet, *more)


def kvazaar(options: str) -> tuple[str, ...]:
    return ("-c:v", "libkvazaar", "-kvazaar-params", f"threads=1,{options}")


STREAMS = {
    "plain.h264": x264("keyint=25"),
    "no_b.h264": x264("keyint=25:bframes=0"),
    "pyramid.h264": x264("keyint=40:bframes=7:b-pyramid=normal:b-adapt=0"),
    "strict.h264": x264("keyint=40:bframes=5:b-pyramid=strict"),
    "open.h264": x264("open-gop=1:keyint=12:bframes=3"),
    "refresh.h264": x264("intra-refresh=1:keyint=12"),
    "slices.h264": x264("slices=4:keyint=30"),
    "tff.h264": x264("keyint=24:tff=1", "-flags", "+ildct+ilme"),
    "bff.h264": x264("keyint=24:bff=1:bframes=3", "-flags", "+ildct+ilme"),
    "bluray.h264": x264(
        "bluray-compat=1:keyint=25:open-gop=1:slices=4:tff=1:vbv-maxrate=4000:vbv-bufsize=4000:nal-hrd=vbr:aud=1"
    ),
    "pulldown.h264": x264("keyint=25:pulldown=32"),
    "weights.h264": x264("weightp=2:ref=8:keyint=50:bframes=4:weightb=1"),
    "matrices.h264": x264("cqm=jvt:keyint=20"),
    "high422.h264": x264("keyint=20", "-pix_fmt", "yuv422p10le"),
    "high444.h264": x264("keyint=20", "-pix_fmt", "yuv444p"),
    "cavlc.h264": x264("cabac=0:keyint=25"),
    "endless.h264": x264("keyint=infinite:scenecut=0"),
    "intra.h264": x264("keyint=1"),
    "latency.h264": ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"),
    "open.hevc": x265("keyint=25:open-gop=1:bframes=4"),
    "closed.hevc": x265("keyint=25:open-gop=0"),
    "radl.hevc": x265("keyint=25:open-gop=0:radl=2:bframes=4"),
    "layers.hevc": x265("keyint=32:temporal-layers=3:bframes=7:b-adapt=0"),
    "no_b.hevc": x265("keyint=25:bframes=0"),
    "slices.hevc": x265("slices=4:keyint=20"),
    "fields.hevc": x265("interlace=tff:keyint=20"),
    "refresh.hevc": x265("intra-refresh=1:keyint=25"),
    "pyramid.hevc": x265("bframes=8:b-pyramid=1:keyint=50:b-adapt=0"),
    "rext444.hevc": x265("keyint=20", "-pix_fmt", "yuv444p"),
    "repeated.hevc": x265("repeat-headers=1:aud=1:hrd=1:vbv-maxrate=1000:vbv-bufsize=1000:keyint=20"),
    "random.kvz.hevc": kvazaar("period=16,gop=16,open-gop=1"),
    "low.kvz.hevc": kvazaar("period=32,gop=lp-g4d3t1"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Streams of 64 pictures by name, bare or in a container, each made once."""
    folder = tmp_path_factory.mktemp("streams")

    def make(name: str, container: str = "") -> Path:
        path = folder / f"{name}{container}"
        if not path.exists():
            if "kvz" in name and not encodes("libkvazaar"):
                pytest.skip("no such encoder here")
            video = STREAMS[name]
            clip(
                path, seconds=64 / 25, size="176x144", video=video, pix_fmt=None if "-pix_fmt" in video else "yuv420p"
            )  # fmt: skip
        return path

    return make


def encodes(name: str) -> bool:
    return name in subprocess.run([FFMPEG, "-v", "error", "-encoders"], capture_output=True, text=True).stdout


def count(path: Path) -> int:
    with Reader(path, threads=2) as reader:
        return sum(1 for _ in reader)


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


def joined(path: Path, parts: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def decodable(path: Path) -> int:
    """How many pictures FFmpeg alone makes of it."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize("container", ["", ".ts"])
@pytest.mark.parametrize("name", STREAMS)
def test_healthy_streams_are_not_refused(made: Callable[[str, str], Path], name: str, container: str) -> None:
    source = made(name, container)
    assert count(source) == 64
    with Reader(source, salvage=True) as reader:
        assert [f.index for f in reader if f.damaged] == []


@pytest.mark.parametrize("name", STREAMS)
def test_pictures_stand_where_the_container_shows_them(made: Callable[[str, str], Path], name: str) -> None:
    with av.open(str(made(name, ".ts"))) as container:
        stream = container.streams.video[0]
        order, series, places = Order.of(stream), {}, []
        assert order is not None
        for packet in container.demux(stream):
            if packet.size:
                order.packet(packet)
                of, poc = order._waiting[packet.pts]
                places.append((series.setdefault(id(of), (len(series), of))[0], poc, packet.pts))
    assert len(places) == 64
    assert [p[2] for p in sorted(places)] == sorted(p[2] for p in places)


ENDING = ["plain.h264", "pyramid.h264", "open.h264", "open.hevc", "closed.hevc", "random.kvz.hevc"]
BEGINNING = ["plain.h264", "open.h264", "refresh.h264", "bluray.h264", "open.hevc", "repeated.hevc"]
LOSING = ["no_b.h264", "pyramid.h264", "endless.h264", "open.h264", "open.hevc", "pyramid.hevc"]


@pytest.mark.parametrize("name", ENDING)
def test_recordings_may_end_anywhere_and_be_joined_there(
    tmp_path: Path, made: Callable[[str, str], Path], name: str
) -> None:
    whole = packets(made(name, ""))
    short = tmp_path / f"short.{name}"
    for last in range(20, 64, 3):
        assert count(joined(short, whole[:last])) == decodable(short)
        assert count(joined(short, [*whole[:last], *whole])) == decodable(short)


@pytest.mark.parametrize("name", BEGINNING)
def test_streams_may_begin_at_any_key_frame(tmp_path: Path, made: Callable[[str, str], Path], name: str) -> None:
    with av.open(str(made(name, ""))) as container:
        extra = container.streams.video[0].codec_context.extradata or b""
        whole = [(bytes(p), p.is_keyframe) for p in container.demux(video=0) if p.size]
    keys = [i for i, (_, key) in enumerate(whole) if key]
    late = joined(tmp_path / f"late.{name}", [extra, *(data for data, _ in whole[keys[1] :])])
    assert 20 < count(late) == decodable(late)
    with Reader(late, salvage=True) as reader:
        assert not any(f.damaged for f in reader)


def test_parameters_may_change_on_the_way(tmp_path: Path, made: Callable[[str, str], Path]) -> None:
    """The second part counts by other widths, has fields, and other steps."""
    names = ("plain.h264", "tff.h264", "latency.h264", "open.h264", "slices.h264")
    parts = [made(name, "").read_bytes() for name in names]
    assert count(joined(tmp_path / "a.h264", parts)) == 5 * 64


def test_streams_thinned_on_purpose_are_left_alone(tmp_path: Path, made: Callable[[str, str], Path]) -> None:
    """Pictures to which no other refers, or the highest temporal layer, were taken out all along."""

    def disposable(data: bytes) -> bool:
        at = data.index(b"\0\0\1") + 3
        while data[at] & 0x1F not in (1, 5):
            at = data.index(b"\0\0\1", at) + 3
        return not data[at] >> 5

    plain = [p for p in packets(made("plain.h264", "")) if not disposable(p)]
    assert 10 < len(plain) < 50
    assert count(joined(tmp_path / "a.h264", plain)) == len(plain)
    layers = [p for p in packets(made("layers.hevc", "")) if p[p.rindex(b"\0\0\1") + 4] & 7 < 3]
    assert 20 < len(layers) < 50
    assert count(joined(tmp_path / "a.hevc", layers)) == len(layers)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_picture_lost_before_others_is_noticed(
    tmp_path: Path, made: Callable[[str, str], Path], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(LOSING))
    whole = packets(made(name, ""))
    with av.open(str(made(name, ""))) as container:
        keys = [i for i, p in enumerate(container.demux(video=0)) if p.is_keyframe]
    # Behind the last pictures of a group none of it comes that could tell.
    near_end = {i for key in [*keys, 64] for i in range(key - 15, key)} if name != "open.h264" else set(range(49, 64))
    gone = data.draw(st.sampled_from([i for i in range(1, 64) if i not in near_end and i not in keys]))
    hurt = joined(tmp_path / f"hurt.{name}", [*whole[:gone], *whole[gone + 1 :]])
    with pytest.raises(DamagedInput, match=r"damaged at about"):
        count(hurt)
    with Reader(hurt, salvage=True) as reader:
        damaged = [f.damaged for f in reader]
    assert any(damaged)


class Writer:
    """Bits of a NAL unit."""

    def __init__(self) -> None:
        self.bits = ""

    def u(self, value: int, count: int) -> Writer:
        self.bits += format(value, f"0{count}b") if count else ""
        return self

    def ue(self, *values: int) -> Writer:
        for value in values:
            digits = format(value + 1, "b")
            self.bits += "0" * (len(digits) - 1) + digits
        return self

    def unit(self, head: int) -> bytes:
        bits = self.bits + "1"
        bits += "0" * (-len(bits) % 8)
        payload = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        for low in range(4):
            payload = payload.replace(bytes([0, 0, low]), bytes([0, 0, 3, low])) if low != 3 else payload
        return b"\0\0\0\1" + bytes([head]) + payload


def parameters(gaps: int = 0, fields: int = 0, poc_type: int = 0) -> bytes:
    """Baseline: 4 bits of ``frame_num``, 6 of order counts."""
    sequence = Writer().u(66, 8).u(0, 16).ue(0, 0, poc_type)
    sequence.ue(2) if poc_type == 0 else None
    sequence.u(0, 1).ue(0, 0, 0) if poc_type == 1 else None
    sequence.ue(1).u(gaps, 1).ue(5, 4).u(1 - fields, 1).u(0, fields).u(1, 1).u(0, 1).u(0, 1)
    picture = Writer().ue(0, 0).u(0, 1).u(0, 1).ue(0, 0, 0).u(0, 3).ue(0, 0, 0).u(0, 3)
    return sequence.unit(0x67) + picture.unit(0x68)


def slice_(
    frame_num: int, lsb: int | None, *, idr: bool = False, operations: Sequence[int] = (), field: str = ""
) -> bytes:
    """A P slice's head (I for IDR) of a reference picture. ``field``: ``"0"`` or ``"1"`` for top and bottom; ``"-"``
    for frames where fields are allowed."""
    w = Writer().ue(0, 7 if idr else 5, 0).u(frame_num, 4)
    if field:
        w.bits += "0" if field == "-" else "1" + field
    w.ue(0) if idr else None
    w.u(lsb, 6) if lsb is not None else w.ue(0)
    if idr:
        w.u(0, 2)
    else:
        w.u(0, 2).u(1 if operations else 0, 1)
        w.ue(*operations, 0) if operations else None
    return w.unit(0x65 if idr else 0x61) + b"\x55" * 40


def wrong(units: Sequence[bytes]) -> list[int]:
    """At which packets a loss is told; all are shown as they come."""
    order, found = Order("h264"), []
    for i, unit in enumerate(units):
        if order.taken(memoryview(unit), i) or order.picture(i):
            found.append(i)
    return found


def test_a_step_of_frame_num_is_a_loss_unless_the_stream_allows_it() -> None:
    slices = [slice_(0, 0, idr=True), *(slice_(i % 16, 2 * i % 64) for i in range(1, 40))]
    assert wrong([parameters(), *slices]) == []
    assert wrong([parameters(), *slices[:9], *slices[12:]])[0] == 10
    plain = [slice_(0, None, idr=True), *(slice_(i % 16, None) for i in range(1, 40))]  # no order counts in these
    assert wrong([parameters(gaps=1, poc_type=1), *plain[:9], *plain[12:]]) == []
    assert wrong([parameters(poc_type=1), *plain[:9], *plain[12:]]) == [10]


def test_a_gap_of_order_counts_is_a_loss_after_even_steps() -> None:
    slices = [slice_(0, 0, idr=True), *(slice_(i % 16, 2 * i % 64) for i in range(1, 60))]
    (found,) = wrong([parameters(gaps=1), *slices[:30], *slices[32:]])
    assert 31 <= found <= 34
    (found,) = wrong([parameters(gaps=1), *slices[:5], *slices[7:]])
    assert found > 20  # when so many even steps followed that the first uneven one was none of many
    uneven = [s for i, s in enumerate(slices) if i < 20 or i % 3]
    assert wrong([parameters(gaps=1), *slices[:5], *slices[7:9], *uneven[11:]]) == []


def test_counts_may_start_anew_without_a_key_frame() -> None:
    """Memory management operation 5."""
    first = [slice_(0, 0, idr=True), *(slice_(i, 2 * i) for i in range(1, 7))]
    then = [slice_(i, 2 * i) for i in range(1, 7)]
    assert wrong([parameters(), *first, slice_(7, 14, operations=[1, 0, 5]), *then]) == []
    assert wrong([parameters(), *first, slice_(7, 14, operations=[1, 0]), *then]) == [9]


def test_two_fields_are_one_picture() -> None:
    fields = [slice_(0, 0, idr=True, field="0"), slice_(0, 1, field="1")]
    for i in range(1, 40):
        fields += [slice_(i % 16, 2 * i % 64, field="0"), slice_(i % 16, (2 * i + 1) % 64, field="1")]
    start = parameters(fields=1)
    assert wrong([start, *fields]) == []
    (found, *_) = wrong([start, *fields[:40], *fields[42:]])
    assert found == 41
    frames = [slice_(i % 16, 2 * i % 64, field="-") for i in range(40, 60)]
    assert wrong([start, *fields, *frames]) == []


def test_order_counts_of_the_second_kind_are_not_judged() -> None:
    slices = [slice_(0, None, idr=True), *(slice_(i % 16, None) for i in range(1, 40))]
    assert wrong([parameters(poc_type=1), *slices]) == []
    assert wrong([parameters(poc_type=1), *slices[:9], *slices[11:]]) == [10]


HEADS = st.sampled_from([0x67, 0x68, 0x65, 0x41, 0x06, 0x42, 0x44, 0x26, 0x02])


@settings(max_examples=300, deadline=None)
@given(
    codec=st.sampled_from(["h264", "hevc"]),
    units=st.lists(st.tuples(HEADS, st.binary(max_size=80)), max_size=30),
)
def test_no_bytes_upset_it(codec: str, units: list[tuple[int, bytes]]) -> None:
    order = Order(codec)
    for i, (head, rest) in enumerate(units):
        order.taken(memoryview(parameters() + b"\0\0\1" + bytes([head]) + rest), i)
        order.picture(i)
    order.end()


def drop(source: Path, target: Path, gone: set[int]) -> Path:
    """Without these packets, by decoding order, and with whole transport packets in step."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        stream = container.streams.video[0]
        to = out.add_stream_from_template(stream)
        for i, packet in enumerate(container.demux(stream)):
            if packet.size and i not in gone:
                packet.stream = to
                out.mux(packet)
    return target


@pytest.mark.parametrize("name", ["pyramid.h264", "open.hevc"])
def test_pictures_that_a_transport_stream_never_had_are_noticed(
    tmp_path: Path, made: Callable[[str, str], Path], name: str
) -> None:
    whole = made(name, ".ts")
    assert count(drop(whole, tmp_path / "same.ts", set())) == 64
    with pytest.raises(DamagedInput):
        count(drop(whole, tmp_path / "hurt.ts", {22, 23}))


def shifted(path: Path, prefix: bytes, length: int = 188) -> bytes:
    data = path.read_bytes()
    return b"".join(prefix + data[i : i + 188].ljust(length - len(prefix), b"\0") for i in range(0, len(data), 188))


def test_transport_packets_out_of_step_are_a_hole(tmp_path: Path, made: Callable[[str, str], Path]) -> None:
    data = made("plain.h264", ".ts").read_bytes()
    packets = len(data) // 188
    middle = packets // 2 * 188
    whole = {
        "plain": data,
        "begun late": data[100:],
        "cut": data[:-100],
        "padded": data[:middle] + bytes(188 * 7 + 5) + data[middle:],
        "m2ts": shifted(made("plain.h264", ".ts"), b"\1\2\3\4", 192),
        "corrected": shifted(made("plain.h264", ".ts"), b"", 204),
    }
    for name, content in whole.items():
        path = tmp_path / f"{name}.ts"
        path.write_bytes(content)
        assert extent(str(path)).holes == (), name
    noise = np.random.default_rng(1).bytes(16 * 188)  # sixteen, so that counters go on as if nothing had been there
    broken = {
        "rubbish": data[:middle] + noise + data[middle + len(noise) :],
        "some bytes lost": data[: middle + 20] + data[middle + 90 :],
        "m2ts": whole["m2ts"][: 192 * 40] + noise + whole["m2ts"][192 * 40 + len(noise) :],
    }
    for name, content in broken.items():
        path = tmp_path / f"broken {name}.ts"
        path.write_bytes(content)
        ((begin, end),) = extent(str(path)).holes
        assert 1.3 < begin <= end < 4.1, name  # this multiplexer's clock begins at 1.4 s
        with pytest.raises(DamagedInput, match="container is broken"):
            count(path)
        with Reader(path, salvage=True) as reader:
            assert any(f.damaged for f in reader)


def test_even_pictures_are_no_transport_packets(tmp_path: Path) -> None:
    """Rows of the byte with which transport packets begin, as wide as these."""
    path = tmp_path / "a.y4m"
    rows = np.full((64, 192), 0x47, np.uint8)
    rows[:, 1::4], rows[:, 3::4] = 0x20, 0x15
    picture = b"FRAME\n" + rows.tobytes() + bytes([128]) * (rows.size // 2)
    path.write_bytes(b"YUV4MPEG2 W192 H64 F25:1 C420jpeg\n" + picture * 20)
    assert extent(str(path)).holes == ()
    assert count(path) == 20


@pytest.mark.parametrize("name", ["a.mjpeg", "a.mjpg"])
def test_rows_of_jpeg_pictures_are_a_video(tmp_path: Path, name: str) -> None:
    path = clip(tmp_path / name, seconds=1, video=("-c:v", "mjpeg", "-f", "mjpeg"), pix_fmt="yuvj420p")
    with Reader(path) as reader:
        assert sum(1 for _ in reader) == 25
    info = Reader(path).info
    assert info.average_rate == Fraction(25) and any("no timestamps" in note for note in info.notes)
