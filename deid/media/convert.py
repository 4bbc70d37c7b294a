"""Between planes and RGB: for analysis (whole frames, small sizes) and for compositing (regions at native size)."""

from __future__ import annotations

import threading

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from ..types import Frame, PixelFormat
from .pixels import carrier_to_rgb, plane_view

_SWS_MATRIX = {"bt601": 5, "bt709": 1, "bt2020": 9}
_AREA, _BILINEAR, _ACCURATE = 0x20, 0x2, 0x40000 | 0x2000
_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Luma weights of red and blue: ITU-R BT.601, BT.709, BT.2020 (non-constant luminance)."""
_local = threading.local()


def luma8(frame: Frame) -> np.ndarray:
    """uint8 H x W luma: the frame's own plane at 8 bits (a view: do not write), the upper 8 bits of deeper ones."""
    if frame.format.depth == 8:
        return frame.planes[0]
    return (frame.planes[0] >> (frame.format.depth - 8)).astype(np.uint8)


def bgr(
    frame: Frame, size: tuple[int, int] | None = None, region: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """uint8 H x W x 3 BGR of ``frame``, or of its ``region`` (x0, y0, x1, y1, right and bottom excluded, inside the
    frame), scaled to ``size`` (width, height) when given, by area averaging downwards and bilinearly upwards. Uses the
    frame's own matrix and range (libswscale). Only the region is converted; a region at native size, which is what
    compositing wants, gets interpolated chroma and accurate rounding, at fifteen times the cost a pixel."""
    fmt = frame.format
    x0, y0, x1, y1 = region if region is not None else (0, 0, frame.width, frame.height)
    if not (0 <= x0 < x1 <= frame.width and 0 <= y0 < y1 <= frame.height):
        raise ValueError(f"region {region} does not lie within {frame.width} x {frame.height}")
    if fmt.grey:
        return _grey_bgr(frame, (x0, y0, x1, y1), size)
    # Chroma samples are shared by neighbours: convert whole groups, cut afterwards.
    sx, sy = fmt.chroma_shift
    gx0, gy0 = x0 >> sx << sx, y0 >> sy << sy
    gx1, gy1 = min(frame.width, -(-x1 >> sx) << sx), min(frame.height, -(-y1 >> sy) << sy)
    picture = VideoFrame(gx1 - gx0, gy1 - gy0, fmt.name)
    dtype = np.uint8 if fmt.depth == 8 else np.uint16
    for i, plane in enumerate(frame.planes):
        view = plane_view(picture, i, dtype)
        top, left = (gy0 >> sy, gx0 >> sx) if i else (gy0, gx0)
        view[:] = plane[top : top + view.shape[0], left : left + view.shape[1]]
    whole = (gx0, gy0, gx1, gy1) == (x0, y0, x1, y1)
    out = _to_bgr(picture, fmt, size if whole else None, accurate=region is not None)
    if whole:
        return out
    out = np.ascontiguousarray(out[y0 - gy0 : y1 - gy0, x0 - gx0 : x1 - gx0])
    return out if size is None else _resize(out, size)


def _to_bgr(picture: VideoFrame, fmt: PixelFormat, size: tuple[int, int] | None, accurate: bool) -> np.ndarray:
    width, height = size or (picture.width, picture.height)
    shrinks = width < picture.width or height < picture.height
    key = (fmt, picture.width, picture.height, width, height, accurate)
    scaler = _scaler(key)
    matrix = _SWS_MATRIX[fmt.matrix]
    out = scaler.reformat(
        picture,
        width,
        height,
        "bgr24",
        src_colorspace=matrix,
        dst_colorspace=1 if matrix == 5 else 5,  # RGB has none, but equal numbers would leave the matrix unset
        interpolation=_AREA if shrinks else _BILINEAR | (_ACCURATE if accurate else 0),
        src_color_range=2 if fmt.full_range else 1,
        dst_color_range=2,
    )
    plane = out.planes[0]
    lines = np.frombuffer(plane, np.uint8).reshape(height, -1)
    return np.ascontiguousarray(lines[:, : width * 3]).reshape(height, width, 3)


def _scaler(key: tuple) -> VideoReformatter:
    """Setting a scaler up costs more than a small conversion: keep the recent ones, a set for each thread."""
    cache = _local.__dict__.setdefault("scalers", {})
    scaler = cache.pop(key, None) or VideoReformatter()
    cache[key] = scaler
    if len(cache) > 32:
        del cache[next(iter(cache))]
    return scaler


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from ..imaging import INTER_AREA, INTER_LINEAR, resize

    shrinks = size[0] < image.shape[1] or size[1] < image.shape[0]
    return resize(image, size, interpolation=INTER_AREA if shrinks else INTER_LINEAR)


def _grey_bgr(frame: Frame, region: tuple[int, int, int, int], size: tuple[int, int] | None) -> np.ndarray:
    x0, y0, x1, y1 = region
    luma = frame.planes[0][y0:y1, x0:x1].astype(np.float32) / (1 << (frame.format.depth - 8))
    if not frame.format.full_range:
        luma = (luma - 16) * (255 / 219)
    grey = np.clip(np.rint(luma), 0, 255).astype(np.uint8)
    out = np.repeat(grey[:, :, None], 3, axis=2)
    return out if size is None else _resize(out, size)


def ycbcr(rgb: np.ndarray, format: PixelFormat) -> tuple[np.ndarray, ...]:
    """The planes of an RGB region, in ``format``: the inverse of :func:`bgr` up to rounding and chroma resolution.

    ``rgb``: H x W x 3, R first, uint8 or floating point; floats are on the same 0..255 scale and may carry fractions,
    which deeper formats keep. Chroma is the mean of the pixels that share a sample (edge pixels repeat), so a region
    must start on a multiple of ``1 << chroma_shift``; its planes have ``ceil(size / (1 << shift))`` samples. ITU-R
    BT.601, BT.709 or BT.2020 non-constant luminance; uint8 at 8 bits, uint16 above. Values are clipped to what the
    range allows: the whole scale at full range, 16..235 and 16..240 (times 2^(depth-8)) otherwise."""
    value = np.asarray(rgb, dtype=np.float32)
    red, green, blue = value[..., 0], value[..., 1], value[..., 2]
    kr, kb = _WEIGHTS[format.matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    unit = float(1 << (format.depth - 8))
    top = float((1 << format.depth) - 1)
    if format.full_range:
        scale, offset, chroma_scale, low, high, chroma_high = top / 255, 0.0, top / 255, 0.0, top, top
    else:
        scale, offset, chroma_scale = 219 * unit / 255, 16 * unit, 224 * unit / 255
        low, high, chroma_high = 16 * unit, 235 * unit, 240 * unit
    dtype = np.uint8 if format.depth == 8 else np.uint16
    planes = [np.clip(np.rint(luma * scale + offset), low, high).astype(dtype)]
    if format.grey:
        return tuple(planes)
    centre = float(1 << (format.depth - 1))
    for colour, weight in ((blue, kb), (red, kr)):
        chroma = _shared((colour - luma) * (chroma_scale / (2 * (1 - weight))), format.chroma_shift)
        planes.append(np.clip(np.rint(chroma + centre), low, chroma_high).astype(dtype))
    return tuple(planes)


def _shared(plane: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    sx, sy = shift
    height, width = plane.shape
    if sx and width & 1 or sy and height & 1:
        plane = np.pad(plane, ((0, height & 1 if sy else 0), (0, width & 1 if sx else 0)), mode="edge")
    if sx:
        plane = (plane[:, 0::2] + plane[:, 1::2]) * 0.5
    if sy:
        plane = (plane[0::2] + plane[1::2]) * 0.5
    return plane


def rgb8(frame: Frame) -> np.ndarray:
    """uint8 H x W x 3 RGB for storing as an image; exact for frames that came from 8-bit RGB."""
    fmt = frame.format
    if fmt.depth == 10 and fmt.full_range and fmt.chroma_shift == (0, 0) and fmt.matrix == "bt601" and not fmt.grey:
        return carrier_to_rgb(frame.planes)
    # as a region: without accurate rounding libswscale darkens by a code value, and green by one and a half
    return np.ascontiguousarray(bgr(frame, region=(0, 0, frame.width, frame.height))[:, :, ::-1])
