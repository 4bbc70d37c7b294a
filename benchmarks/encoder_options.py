#!/usr/bin/env python3
"""What deid's settings of x264 cost beside the plain preset: processor time, size, and likeness to what goes in.

    python benchmarks/encoder_options.py clip.mp4 [more clips] [--frames N]

Every clip's first frames are encoded twice at deid's default quality, in turn, by one thread: as x264's preset of the
same name does it, and as deid does. Printed are deid's processor time and size as shares of the plain preset's, and
both outputs' PSNR and SSIM (luma, mean over frames, against the frames that went in).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import av
import numpy as np
from skimage.metrics import structural_similarity

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deid.media import Reader
from deid.media.codecs import choose_encoder
from deid.media.settings import EncodeSettings
from deid.types import Frame, MediaInfo


def encoded(frames: list[Frame], info: MediaInfo, options: dict[str, str]) -> tuple[list[bytes], float]:
    """Packets, and seconds of processor time."""
    coder = av.CodecContext.create("libx264", "w")
    coder.width, coder.height, coder.pix_fmt = info.width, info.height, "yuv420p"
    coder.time_base, coder.thread_count = frames[0].time_base, 1
    coder.options = options
    pictures = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame(info.width, info.height, "yuv420p")
        for plane, samples in zip(picture.planes, frame.planes, strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            rows[:, : samples.shape[1]] = samples
        picture.pts = number
        pictures.append(picture)
    began = time.process_time()
    packets = [bytes(packet) for picture in pictures for packet in coder.encode(picture)]
    packets += [bytes(packet) for packet in coder.encode(None)]
    return packets, time.process_time() - began


def likeness(frames: list[Frame], packets: list[bytes]) -> tuple[float, float]:
    """Mean PSNR in decibels and SSIM of the luma."""
    decoder = av.CodecContext.create("h264", "r")
    pictures = [p for data in packets for p in decoder.decode(av.Packet(data))]
    pictures += decoder.decode(None)
    errors, alike = [], []
    for frame, picture in zip(frames, pictures, strict=True):
        plane = picture.planes[0]
        luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        errors.append(((luma.astype(np.float32) - frame.planes[0]) ** 2).mean())
        alike.append(structural_similarity(luma, frame.planes[0]))
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-3)))), float(np.mean(alike))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    options = parser.parse_args()
    print("| clip | time | size | PSNR plain, deid | SSIM plain, deid |\n|---|---|---|---|---|")
    for clip in options.clips:
        with Reader(clip) as reader:
            info = reader.info
            frames = [frame for frame, _ in zip(reader, range(options.frames), strict=False)]
        if info.format.name != "yuv420p":
            print(f"| {clip.name} | not 8 bits 4:2:0: left out |")
            continue
        settings = EncodeSettings()
        ours = dict(choose_encoder("mp4", settings, info).options)
        plain = {"preset": ours["preset"], "crf": ours["crf"]}
        rounds = [(encoded(frames, info, plain), encoded(frames, info, ours)) for _ in range(2)]
        seconds = [min(found[which][1] for found in rounds) for which in range(2)]
        packets = [rounds[0][which][0] for which in range(2)]
        sizes = [sum(map(len, found)) for found in packets]
        (p0, s0), (p1, s1) = (likeness(frames, found) for found in packets)
        print(
            f"| {clip.name} | {seconds[1] / seconds[0]:.2f} | {sizes[1] / sizes[0]:.3f} "
            f"| {p0:.2f}, {p1:.2f} dB | {s0:.4f}, {s1:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
