"""Single images and folders of images, read and written with Pillow.

Images are read as 8-bit RGB, upright (EXIF orientation applied), transparency flattened on white, and carried without
loss in 10-bit 4:4:4 (:data:`deid.media.pixels.RGB_CARRIER`). They are written without EXIF, location, thumbnails or
comments; an ICC profile of reasonable size stays, because without it the colours would change."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from PIL import Image, ImageOps

from ..errors import DamagedInput, NotMedia, UnsupportedInput
from ..types import Frame, MediaInfo, StreamInfo
from .pixels import RGB_CARRIER, SMALLEST_SIDE, carrier_to_rgb, rgb_to_carrier
from .source import require_file

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
FOLDER_RATE = Fraction(25)
"""Frames a second that a folder of images counts as having."""
_LARGEST_PROFILE = 1 << 20
_MOST_PIXELS = 1 << 28


@dataclass(frozen=True, slots=True)
class ImageSource:
    """``files``: paths in natural order; ``size``: what they are scaled to."""

    info: MediaInfo
    files: tuple[str, ...]
    size: tuple[int, int]


def is_image_source(path: str) -> bool:
    """True for a folder and for a file that starts like a still image."""
    if os.path.isdir(path):
        return True
    require_file(path)
    with open(path, "rb") as f:
        head = f.read(64 * 1024)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    if head.startswith(_MAGIC[0]) and b"acTL" in head:
        return False  # animated PNG: a video
    if head.startswith(_MAGIC[1]) and path.lower().endswith((".mjpg", ".mjpeg")):
        return False
    return head.startswith(_MAGIC)


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sort key under which ``frame_2`` comes before ``frame_10``."""
    return [(0, int(part)) if part.isdigit() else (1, part.lower()) for part in re.split(r"([0-9]+)", name)]


def list_images(folder: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Image files of ``folder`` in natural order, and the names of what else lies there."""
    images: list[str] = []
    others: list[str] = []
    for name in os.listdir(folder):
        if name.startswith("."):
            continue
        is_image = name.lower().endswith(EXTENSIONS) and os.path.isfile(os.path.join(folder, name))
        (images if is_image else others).append(name)
    ordered = sorted(images, key=lambda n: (natural_key(n), n))
    return tuple(os.path.join(folder, n) for n in ordered), tuple(sorted(others))


def examine_images(path: str, max_height: int | None = None) -> ImageSource:
    """Probe a single image or a folder of images of one size."""
    folder = os.path.isdir(path)
    files, others = list_images(path) if folder else ((path,), ())
    if not files:
        raise NotMedia(f"{path} is a folder without images: it needs files named {', '.join(EXTENSIONS)}.")
    notes = [f"not images, left out: {', '.join(others)}"] if others else []
    size, first_notes = _head(files[0])
    notes += first_notes
    for file in files[1:]:
        other, _ = _head(file)
        if other != size:
            raise UnsupportedInput(
                f"{file} is {other[0]} x {other[1]} where the images before it are {size[0]} x {size[1]}: a folder "
                "must hold frames of one size, move it elsewhere."
            )
    if min(size) < SMALLEST_SIDE:
        raise UnsupportedInput(
            f"{path} is {size[0]} x {size[1]} pixels: nothing smaller than {SMALLEST_SIDE} pixels either "
            "way is processed."
        )
    scaled = size
    if max_height is not None and size[1] > max_height:
        height = max_height - max_height % 2
        scaled = max(2, 2 * round(size[0] * height / size[1] / 2)), height
        notes.append(f"scaled from {size[0]} x {size[1]} to {scaled[0]} x {scaled[1]}")
    return ImageSource(_info(path, folder, files, scaled, notes), files, scaled)


def _info(path: str, folder: bool, files: tuple[str, ...], size: tuple[int, int], notes: list[str]) -> MediaInfo:
    codec = os.path.splitext(files[0])[1].lower().lstrip(".") or "image"
    return MediaInfo(
        path=path,
        kind="folder" if folder else "image",
        container="folder" if folder else codec,
        codec=codec,
        width=size[0],
        height=size[1],
        rotation=0,
        mirrored=False,
        sample_aspect_ratio=Fraction(1),
        format=RGB_CARRIER,
        color_range="pc",
        color_space="smpte170m",
        color_primaries="unknown",
        color_transfer="unknown",
        time_base=1 / FOLDER_RATE,
        average_rate=FOLDER_RATE if folder else None,
        frames=len(files),
        seconds=float(len(files) / FOLDER_RATE) if folder else None,
        interlaced=False,
        streams=(StreamInfo(0, "video", codec, None, "processed"),),
        chapters=0,
        notes=tuple(notes),
        first_pts=0,
    )


def _open(file: str) -> Image.Image:
    require_file(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oversized images are refused below, in our own words
            image = Image.open(file)
    except Image.DecompressionBombError as e:
        raise _too_large(file) from e
    except Exception as e:  # Pillow's plugins raise whatever their parsing trips over
        raise NotMedia(f"{file} is not an image that can be opened: check that it is the right file.") from e
    if image.width * image.height > _MOST_PIXELS:
        raise _too_large(file)
    return image


def _too_large(file: str) -> UnsupportedInput:
    return UnsupportedInput(f"{file} has more than {_MOST_PIXELS >> 20} megapixels: scale it down first.")


def _head(file: str) -> tuple[tuple[int, int], list[str]]:
    with _open(file) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                several = getattr(image, "n_frames", 1) > 1  # reads on to the next picture's head
        except Exception as e:
            raise _damaged(file) from e
        if several:
            raise UnsupportedInput(f"{file} holds several pictures: convert it to GIF, MP4 or single images first.")
        notes = []
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            notes.append("transparency is flattened on white")
        if image.mode.startswith("I") or image.mode == "F":
            notes.append("16-bit samples are reduced to 8 bits")
        if image.mode == "CMYK":
            notes.append("CMYK is converted to RGB")
        try:
            turned = image.getexif().get(0x0112, 1) >= 5
        except Exception as e:
            raise _damaged(file) from e
        return (image.size[::-1] if turned else image.size), notes


def _damaged(file: str) -> DamagedInput:
    return DamagedInput(f"{file} is damaged or ends early: get an intact copy.")


def load_rgb(file: str) -> np.ndarray:
    """uint8 H x W x 3, upright, transparency flattened on white. Raises :class:`DamagedInput` for a cut-off file."""
    with _open(file) as image:
        try:
            image = ImageOps.exif_transpose(image)
        except Exception as e:
            raise _damaged(file) from e
        if image.mode.startswith("I") or image.mode == "F":
            samples = np.asarray(image, dtype=np.float64)
            deep = samples.max(initial=0) > 255
            image = Image.fromarray(np.clip(np.rint(samples / (257 if deep else 1)), 0, 255).astype(np.uint8))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            white.alpha_composite(image)
            image = white
        return np.asarray(image.convert("RGB"))


class ImageFrames:
    """Frames of an :class:`ImageSource`."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self.info = source.info

    def frames(self, start: Fraction | None, end: Fraction | None) -> Iterator[Frame]:
        """Frames with ``start <= t < end``; a folder runs at :data:`FOLDER_RATE`."""
        index = 0
        for number, file in enumerate(self._source.files):
            seconds = number * self.info.time_base
            if (start is not None and seconds < start) or (end is not None and seconds >= end):
                continue
            rgb = load_rgb(file)
            if (rgb.shape[1], rgb.shape[0]) != self._source.size:
                rgb = np.asarray(Image.fromarray(rgb).resize(self._source.size, Image.Resampling.LANCZOS))
            planes = rgb_to_carrier(rgb)
            for plane in planes:
                plane.flags.writeable = False
            yield Frame(index, number, self.info.time_base, 1, planes, RGB_CARRIER)
            index += 1


def save_image(
    path: str, planes: tuple[np.ndarray, ...], like: str | None, xmp: bytes | None, extension: str | None = None
) -> None:
    """Write carrier planes as the image format that ``extension`` names (by default ``path``'s): PNG, BMP, TIFF and
    WebP without loss, JPEG at quality 95 without chroma subsampling. ``like``: the source image, whose ICC profile and
    greyness stay."""
    image = Image.fromarray(carrier_to_rgb(planes))
    options: dict[str, object] = {}
    if like is not None:
        with _open(like) as source:
            profile = source.info.get("icc_profile")
            grey = source.mode in ("1", "L", "LA", "I", "I;16", "F")
            if profile and len(profile) <= _LARGEST_PROFILE and source.mode not in ("CMYK", "LAB"):
                options["icc_profile"] = profile
        if grey and _is_grey(image):
            image = image.convert("L")
        elif grey:
            options.pop("icc_profile", None)
    extension = extension or os.path.splitext(path)[1].lower()
    if extension in (".jpg", ".jpeg"):
        options |= {"format": "JPEG", "quality": 95, "subsampling": 0}
    elif extension == ".png":
        options |= {"format": "PNG"}
    elif extension == ".webp":
        options |= {"format": "WEBP", "lossless": True}
    elif extension == ".bmp":
        options = {"format": "BMP"}
    else:
        options |= {"format": "TIFF", "compression": "tiff_lzw"}
    _with_mark(options, xmp)
    image.save(path, **options)


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())


def _with_mark(options: dict[str, object], xmp: bytes | None) -> None:
    if xmp is None:
        return
    if options["format"] == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = info
    elif options["format"] in ("JPEG", "WEBP"):
        options["xmp"] = xmp
    elif options["format"] == "TIFF":
        options["tiffinfo"] = {700: xmp}
