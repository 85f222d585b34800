"""LPIPS: the network against an independent one, and the messages where weights are wrong."""

import numpy as np
import pytest

from jaxharm.errors import InputError
from jaxharm.metrics.lpips import _LAYERS, load_lpips

_rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def arrays():
    values = {}
    for level, (index, shape, *_) in enumerate(_LAYERS):
        scale = np.sqrt(2 / np.prod(shape[1:]))
        values[f"features.{index}.weight"] = _rng.normal(0, scale, shape).astype(np.float32)
        values[f"features.{index}.bias"] = _rng.normal(0, 0.1, shape[:1]).astype(np.float32)
        values[f"lin{level}.model.1.weight"] = _rng.random((1, shape[0], 1, 1)).astype(np.float32)
    return values


def test_against_torch(arrays, tmp_path):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    np.savez(tmp_path / "w.npz", **arrays)
    images = _rng.random((2, 2, 67, 48, 3)).astype(np.float32)
    ours = load_lpips(tmp_path / "w.npz")(*images)
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
    first, second = ((torch.tensor(x).permute(0, 3, 1, 2) * 2 - 1 - shift) / scale for x in images)
    expected = 0
    for level, (index, _, stride, padding, pool) in enumerate(_LAYERS):
        weight, bias = (torch.tensor(arrays[f"features.{index}.{k}"]) for k in ("weight", "bias"))
        if pool:
            first, second = (functional.max_pool2d(x, 3, 2) for x in (first, second))
        first, second = (
            functional.relu(functional.conv2d(x, weight, bias, stride, padding))
            for x in (first, second)
        )
        unit = [x / (x.norm(dim=1, keepdim=True) + 1e-10) for x in (first, second)]
        lin = torch.tensor(arrays[f"lin{level}.model.1.weight"])
        expected = expected + functional.conv2d((unit[0] - unit[1]) ** 2, lin).mean((1, 2, 3))
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-4)


def test_equal_images_have_distance_zero(arrays, tmp_path):
    np.savez(tmp_path / "w.npz", **arrays)
    image = _rng.random((1, 32, 40, 3)).astype(np.float32)
    metric = load_lpips(tmp_path / "w.npz")
    np.testing.assert_allclose(metric(image, image), 0, atol=1e-12)
    assert metric(image, 1 - image)[0] > 0
    with pytest.raises(InputError, match="32 pixels"):
        metric(image[:, :20], image[:, :20])


def test_absent_or_wrong_weights_are_named(arrays, tmp_path):
    with pytest.raises(InputError, match="not shipped"):
        load_lpips(None)
    with pytest.raises(InputError, match=r"absent\.npz"):
        load_lpips(tmp_path / "absent.npz")
    (tmp_path / "w.pth").write_bytes(b"")
    with pytest.raises(InputError, match="safetensors"):
        load_lpips(tmp_path / "w.pth")
    np.savez(tmp_path / "w.npz", **{k: v for k, v in arrays.items() if k != "features.3.bias"})
    with pytest.raises(InputError, match=r"features\.3\.bias"):
        load_lpips(tmp_path / "w.npz")
