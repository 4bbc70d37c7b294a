"""The one place that imports OpenCV's image operations.

Everything else asks here, so that threads are capped once and the rest of the package can be read without knowing
OpenCV. (``cv2.dnn`` has its own adapter in :mod:`deid.detection.centerface`.)
"""

from __future__ import annotations

import cv2
import numpy as np

cv2.setNumThreads(1)
cv2.ocl.setUseOpenCL(False)

INTER_NEAREST = cv2.INTER_NEAREST
INTER_LINEAR = cv2.INTER_LINEAR
INTER_AREA = cv2.INTER_AREA
INTER_CUBIC = cv2.INTER_CUBIC
INTER_LANCZOS4 = cv2.INTER_LANCZOS4
LINE_AA = cv2.LINE_AA
LINE_8 = cv2.LINE_8
BORDER_REPLICATE = cv2.BORDER_REPLICATE
BORDER_CONSTANT = cv2.BORDER_CONSTANT
WARP_INVERSE_MAP = cv2.WARP_INVERSE_MAP

resize = cv2.resize
warp_affine = cv2.warpAffine
gaussian_blur = cv2.GaussianBlur
box_filter = cv2.boxFilter
median_blur = cv2.medianBlur
remap = cv2.remap
erode = cv2.erode
dilate = cv2.dilate
ellipse = cv2.ellipse
fill_convex_poly = cv2.fillConvexPoly
polylines = cv2.polylines
put_text = cv2.putText
COLOR_BGR2YUV_I420 = cv2.COLOR_BGR2YUV_I420
COLOR_YCRCB2BGR = cv2.COLOR_YCrCb2BGR
COLOR_BGR2HSV = cv2.COLOR_BGR2HSV
cvt_color = cv2.cvtColor
optical_flow_pyr_lk = cv2.calcOpticalFlowPyrLK
good_features_to_track = cv2.goodFeaturesToTrack
match_template = cv2.matchTemplate
imread = cv2.imread
imwrite = cv2.imwrite
COLOR_RGB2LAB = cv2.COLOR_RGB2LAB
read_onnx = cv2.dnn.readNetFromONNX
fill_poly = cv2.fillPoly


def signed_distance(polygon: object, point: object) -> float:
    """Distance of a point from the outline of a closed polygon, float32 (n, 2): positive inside, negative outside."""
    return float(cv2.pointPolygonTest(polygon, (float(point[0]), float(point[1])), True))  # type: ignore[index]


COLOR_BGR2RGB = cv2.COLOR_BGR2RGB
BORDER_TRANSPARENT = cv2.BORDER_TRANSPARENT
merge = cv2.merge
split = cv2.split
transform = cv2.transform
add_weighted = cv2.addWeighted


def jpeg(bgr: object, quality: int) -> bytes:
    """A JPEG file of a picture, uint8 (H, W, 3) BGR."""
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("the picture cannot be encoded")
    return bytes(data)


def pieces_of(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """int32 (H, W): which piece, from 1, of pixels that touch along an edge each pixel of ``mask`` (true where it is
    not 0) belongs to, 0 for none; and how many pieces there are."""
    count, pieces = cv2.connectedComponents((np.asarray(mask) != 0).astype(np.uint8), connectivity=4)
    return np.asarray(pieces), count - 1


def outer_contour(mask: np.ndarray) -> np.ndarray | None:
    """int32 (n, 2): the outline of the largest piece of ``mask``, bool (h, w); ``None`` when there is none."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return max(found, key=cv2.contourArea)[:, 0] if found else None


def encoded(bgr: np.ndarray, extension: str) -> bytes:
    """A picture, uint8 (h, w, 3) BGR, as the file that an ``extension`` such as ``".png"`` stands for. Raises
    ``ValueError`` when OpenCV cannot write that kind."""
    try:
        done, data = cv2.imencode(extension, bgr)
    except cv2.error as error:
        raise ValueError(f"no pictures are written as {extension}") from error
    if not done:
        raise ValueError(f"no pictures are written as {extension}")
    return bytes(data.tobytes())


def decoded(data: bytes) -> np.ndarray:
    """The picture in a file, uint8 (h, w, 3) BGR. Raises ``ValueError`` when there is none."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("no picture")
    return np.asarray(picture)
