"""MTCNN against the package its weights come from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deid.detection import Mtcnn, _mtcnn_networks
from deid.errors import ModelError

_REFERENCE = """
import sys, types
import numpy as np, torch
from deid.detection.boxes import nms

# torchvision's compiled operators need not load beside this torch, and MTCNN wants nothing else of it
def batched_nms(boxes, scores, group, threshold):
    assert (group == 0).all()
    return torch.from_numpy(nms(boxes.numpy(), scores.numpy(), threshold))

names = ["torchvision", "torchvision.transforms", "torchvision.ops", "torchvision.ops.boxes"]
stand_in = {name: types.ModuleType(name) for name in names}
stand_in["torchvision.transforms"].functional = None
stand_in["torchvision.ops.boxes"].batched_nms = batched_nms
sys.modules.update(stand_in)
from facenet_pytorch import MTCNN

picture = np.load(sys.argv[1])
boxes, scores, points = MTCNN(keep_all=True).detect(picture[..., ::-1].copy(), landmarks=True)
np.savez(sys.argv[2], boxes=boxes.astype(float), scores=scores.astype(float), points=points.astype(float))
"""


def test_finds_what_facenet_pytorch_finds(collins: np.ndarray, hopper: np.ndarray, tmp_path: Path) -> None:
    picture = np.hstack([collins[:360], hopper[60:420]])
    np.save(tmp_path / "in.npy", picture)
    paths = [str(tmp_path / name) for name in ("in.npy", "out.npz")]
    subprocess.run([sys.executable, "-c", _REFERENCE, *paths], check=True, timeout=120)
    expected = np.load(paths[1])
    order = np.argsort(-expected["scores"], kind="stable")
    found = Mtcnn(threads=1).detect(picture)
    assert len(found) == len(order) >= 2
    np.testing.assert_allclose([d.score for d in found], expected["scores"][order], atol=1e-5)
    # facenet-pytorch counts pixels from 1 and ends boxes on the last of them
    boxes = np.array([d.box for d in found]) + [1.5, 1.5, 0.5, 0.5]
    np.testing.assert_allclose(boxes, expected["boxes"][order], atol=2e-3)
    np.testing.assert_allclose(np.array([d.points for d in found]) + 0.5, expected["points"][order], atol=2e-3)


def test_torchvision_is_left_alone() -> None:
    code = "import sys; from deid.detection import Mtcnn; Mtcnn(); sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_smaller_min_size_finds_a_smaller_face(collins: np.ndarray) -> None:
    from .conftest import resized

    small = resized(collins, 0.17)  # a face of 20 pixels
    assert not Mtcnn(min_size=40).detect(small)
    assert Mtcnn(min_size=12).detect(small)


def test_the_network_sees_at_least_twelve_pixels() -> None:
    with pytest.raises(ValueError, match="at least 12"):
        Mtcnn(min_size=8)


def test_damaged_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pnet.pt").write_bytes(b"not a file of torch's")

    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(_mtcnn_networks.importlib.util, "find_spec", lambda name: Spec)
    with pytest.raises(ModelError, match=r"pnet\.pt are damaged"):
        Mtcnn()
    monkeypatch.setattr(_mtcnn_networks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="missing"):
        Mtcnn()
