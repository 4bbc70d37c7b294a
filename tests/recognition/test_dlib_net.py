from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from deid import imaging  # noqa: E402
from deid.recognition.dlib_net import FAR_1E3, SAME_PERSON, DlibRecogniser, distance, load_net  # noqa: E402

SHARED = Path(__file__).resolve().parents[3] / "shared"
PORTRAITS = SHARED / "data" / "portraits"
SPREAD = np.linspace(0, 534, 12).astype(int)


@pytest.fixture(scope="module")
def recogniser():
    return DlibRecogniser(threads=1)


@pytest.fixture(scope="module")
def faces():
    """RGB pictures and meshes of a dozen strangers."""
    if not PORTRAITS.is_dir():
        pytest.skip("needs the portraits in ../shared/data")
    from deid.detection.landmarks import FaceLandmarker, Roi

    found = []
    with FaceLandmarker() as landmarker:
        for path in [sorted(PORTRAITS.glob("*.jpg"))[i] for i in SPREAD]:
            bgr = imaging.imread(str(path))
            mesh = None
            for cy, side in ((0.4, 0.7), (0.45, 0.9), (0.4, 0.5)):
                roi = Roi(0.5 * bgr.shape[1], cy * bgr.shape[0], side * bgr.shape[0])
                mesh = landmarker.run(bgr, roi)
                if mesh is not None and mesh.presence > 0.9:
                    found.append((np.ascontiguousarray(bgr[..., ::-1]), mesh.points))
                    break
    assert len(found) >= 8
    return found


@pytest.fixture(scope="module")
def codes(recogniser, faces):
    return recogniser.embed(np.stack([recogniser.chip(*face) for face in faces]))


def test_strangers_are_far_apart(codes):
    apart = distance(codes[:, None], codes[None])[np.triu_indices(len(codes), 1)]
    assert np.median(apart) > 0.7
    assert (apart < SAME_PERSON).mean() < 0.05


def test_another_rendering_of_a_person_is_near(recogniser, faces, codes):
    """Smaller, leaning, darker and mirrored: the same face to the network."""
    for (picture, mesh), code in zip(faces, codes, strict=True):
        height, width = picture.shape[:2]
        small = imaging.resize(picture, (width // 3, height // 3), interpolation=imaging.INTER_AREA)
        small = np.ascontiguousarray((small[:, ::-1] * 0.8).astype(np.uint8))
        points = (mesh[:, :2] + 0.5) / 3 - 0.5
        points[:, 0] = small.shape[1] - 1 - points[:, 0]
        points = points.copy()
        points[[33, 263, 133, 362]] = points[[263, 33, 362, 133]]
        assert distance(code, recogniser.embed(recogniser.chip(small, points)[None])[0]) < FAR_1E3


def test_both_kinds_of_landmarks_cut_nearly_the_same_chip(recogniser, faces, codes):
    from deid.detection.centerface import CenterFace

    search = CenterFace()
    near = []
    for (picture, _), code in zip(faces, codes, strict=True):
        found = search.detect(np.ascontiguousarray(picture[..., ::-1]), scale=0.25)
        near.append(distance(code, recogniser.embed(recogniser.chip(picture, found[0].points)[None])[0]))
    assert max(near) < SAME_PERSON and np.median(near) < 0.3


def chips_of_noise(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 150, 150, 3), np.uint8)


def test_a_batch_equals_its_members_and_a_rerun(recogniser):
    chips = chips_of_noise(19)
    together = recogniser.embed(chips)
    assert together.shape == (19, 128) and together.dtype == np.float32
    alone = np.concatenate([recogniser.embed(chip[None]) for chip in chips[[0, 15, 16, 18]]])
    assert np.allclose(together[[0, 15, 16, 18]], alone, atol=2e-5)
    assert np.array_equal(together, recogniser.embed(chips))
    assert recogniser.embed(chips[:0]).shape == (0, 128)


@pytest.mark.parametrize("bad", [np.zeros((1, 150, 150, 3), np.float32), np.zeros((150, 150, 3), np.uint8)])
def test_other_arrays_are_refused(recogniser, bad):
    with pytest.raises(ValueError, match="chips must be uint8"):
        recogniser.embed(bad)


def test_gradients_reach_the_picture_and_not_the_weights():
    net = load_net()
    picture = torch.from_numpy(chips_of_noise(1)).permute(0, 3, 1, 2).float().requires_grad_()
    net(picture).square().sum().backward()
    assert picture.grad.abs().max() > 0
    assert not any(p.requires_grad for p in net.parameters())


def test_folding_the_affine_layers_changes_nothing():
    """The stem, layer by layer as the file has it, against the folded convolution."""
    from deid.recognition.dlib_file import read_layers
    from deid.recognition.dlib_net import weights_path

    convolution, affine = read_layers(weights_path().read_bytes())[:2]
    weights, bias = convolution.parameters[:-32].reshape(32, 3, 7, 7), convolution.parameters[-32:]
    gain, offset = affine.parameters.reshape(2, 32, 1, 1)
    x = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    plain = torch.nn.functional.conv2d(x, torch.from_numpy(weights), torch.from_numpy(bias), stride=2)
    expected = plain * torch.from_numpy(gain) + torch.from_numpy(offset)
    assert torch.allclose(load_net().stem(x), expected, atol=1e-5)
