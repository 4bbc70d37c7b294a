"""Decode and encode a clip with nothing in between: the floor that the whole tool is compared to.

    python benchmarks/bare_transcode.py CLIP [--codec h264] [--preset veryfast] [--threads N] [--target out.mp4]

Prints frames a second and milliseconds a frame for each stage of the media layer, then for PyAV alone with the same
encoder settings, and the peak memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import av

from deid.media import EncodeSettings, Reader, Writer
from deid.media.codecs import choose_encoder
from deid.media.convert import bgr
from deid.types import MediaInfo


def through_the_media_layer(clip: Path, target: Path, settings: EncodeSettings, threads: int) -> dict[str, float]:
    """Seconds spent reading and writing, and the number of frames."""
    read = written = 0.0
    frames = 0
    with (
        Reader(clip, threads=threads) as reader,
        Writer(target, reader.info, source=clip, settings=settings, overwrite=True) as writer,
    ):
        pictures = iter(reader)
        while True:
            start = time.perf_counter()
            frame = next(pictures, None)
            decoded = time.perf_counter()
            read += decoded - start
            if frame is None:
                break
            writer.write(frame)
            written += time.perf_counter() - decoded
            frames += 1
        start = time.perf_counter()
        writer.commit()
        written += time.perf_counter() - start
    return {"read": read, "write": written, "frames": frames}


def by_pyav_alone(clip: Path, target: Path, info: MediaInfo, settings: EncodeSettings, threads: int) -> float:
    """Seconds for the shortest loop that PyAV allows: decoder's frames straight into the encoder, no sound."""
    start = time.perf_counter()
    choice = choose_encoder("mp4", settings, info)
    with av.open(str(clip)) as source, av.open(str(target), "w") as out:
        source.streams.video[0].thread_type = "AUTO"
        source.streams.video[0].thread_count = threads
        stream = out.add_stream(choice.encoder, options=dict(choice.options))
        video = source.streams.video[0]
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, video.pix_fmt
        stream.codec_context.time_base = video.time_base
        stream.codec_context.thread_count = settings.threads
        stream.codec_context.thread_type = "FRAME"
        for frame in source.decode(video):
            frame.pict_type = 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--codec", default="h264")
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--target", type=Path, help="keep the output here")
    parser.add_argument("--once", action="store_true", help="the transcode alone: for timing the whole process")
    options = parser.parse_args()
    settings = EncodeSettings(codec=options.codec, preset=options.preset, threads=options.threads)
    with tempfile.TemporaryDirectory() as folder:
        target = options.target or Path(folder) / "out.mp4"
        spent = through_the_media_layer(options.clip, target, settings, options.threads)
        if options.once:
            return 0
        with Reader(options.clip, threads=options.threads) as reader:
            info = reader.info
            converted = 0.0
            for number, frame in enumerate(reader):
                if number == 50:
                    break
                start = time.perf_counter()
                bgr(frame, size=(640, 360))
                converted += time.perf_counter() - start
        alone = by_pyav_alone(options.clip, Path(folder) / "alone.mp4", info, settings, options.threads)
    frames = int(spent["frames"])
    total = spent["read"] + spent["write"]
    print(f"{options.clip.name}: {frames} frames of {info.width} x {info.height}, {options.codec} {options.preset}")
    print(f"media layer   {frames / total:7.1f} frames/s  {1000 * total / frames:7.2f} ms a frame")
    for stage in ("read", "write"):
        print(f"  {stage:<10}                      {1000 * spent[stage] / frames:7.2f} ms a frame")
    print(f"PyAV alone    {frames / alone:7.1f} frames/s  {1000 * alone / frames:7.2f} ms a frame")
    print(f"bgr 640 x 360                       {1000 * converted / min(50, frames):7.2f} ms a frame")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
