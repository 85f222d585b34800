"""PHNet's bottleneck: the patch-based feature extractor and the squeeze-and-excitation gate.

Source: docs/papers/phnet.md, "Network".
"""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.conv import Conv
from jaxharm.nn.init import uniform_fan_in
from jaxharm.ops import patches


def _sqrt(x: Array) -> Array:
    """Square root whose gradient at 0 is 0, not infinite."""
    # Two selects: with one, the infinite slope at 0 would be multiplied by 0 and give NaN.
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def _transfer(image: Array, mask: Array, grid: int, epsilon: float) -> Array:
    """Gives the foreground of each patch the mean and deviation of that patch's background.

    Args:
        image: f32[b,h,w,3] in [0,1].
        mask: f32[b,h,w,1].
        grid: patches per side; 1 for the statistics of the whole image.
        epsilon: added to the foreground's deviation.

    Returns:
        f32[b,h,w,3].
    """
    height, width = image.shape[1:3]
    # As in the release, whose weights expect it: the zeros of the other region count, and the
    # standard deviation is unbiased.
    # Both regions as six channels: one pass for the statistics of both.
    both = jnp.concatenate([image * mask, image * (1 - mask)], axis=-1)
    count = jnp.asarray(patches.counts(height, width, grid))
    mean = patches.patch_sums(both, grid) / count
    deviation = both - patches.spread(mean, height, width)
    square = patches.patch_sums(jnp.square(deviation), grid)
    std = _sqrt(square / jnp.maximum(count - 1, 1))
    gain = std[..., 3:] / (std[..., :3] + epsilon)
    return deviation[..., :3] * patches.spread(gain, height, width) + patches.spread(
        mean[..., 3:], height, width
    )


class PatchFeatureExtractor(nn.Module):
    """Transfers background statistics to the foreground, in patches and as a whole.

    Attributes:
        grid: patches per side.
        mix_init: initial weights of the patches' and of the whole image's transfer.
        epsilon: of the transfer.
        background_divisor: the head sees the composite's background divided by this.
        dtype: of the head convolution; everything else is float32.
    """

    grid: int
    mix_init: tuple[float, float]
    epsilon: float
    background_divisor: float
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: Array, mask: Array) -> tuple[Array, Array, Array]:
        """Features of the transfer.

        Args:
            image: f32[b,h,w,3] in [0,1].
            mask: f32[b,h,w,1].

        Returns:
            Head features, the composite the head saw, and the transferred foreground: f[b,h,w,3].
        """
        mix = self.param("weights", lambda _: jnp.asarray(self.mix_init, jnp.float32))
        transferred = mix[0] * _transfer(image, mask, self.grid, self.epsilon)
        transferred += mix[1] * _transfer(image, mask, 1, self.epsilon)
        # The release divides the background by 255 although it is in [0,1] already, so that it is
        # almost black. Its weights were trained on that.
        rest = 1 - mask
        composite = transferred * mask + image * (rest * rest / self.background_divisor)
        head = Conv(3, kernel_size=3, padding=1, dtype=self.dtype, name="head")
        return nn.relu(head(image * mask, composite)), composite, transferred


class SqueezeExcitation(nn.Module):
    """Scales features by a gate per channel plus a gate per image.

    Attributes:
        reduction: of the channels between the two dense layers; None: there is no
            gate per channel.
    """

    reduction: int | None

    @nn.compact
    def __call__(self, x: Array, features: Array | None) -> Array:
        """Scales a feature; gates are float32.

        Args:
            x: f[b,h,w,c].
            features: f[b,H,W,3] of the extractor; None: there is no gate per image.

        Returns:
            f[b,h,w,c].
        """
        gates = []
        if self.reduction is not None:
            gates.append(self._of_channels(x, self.reduction))
        if features is not None:
            extra = jnp.mean(jnp.max(features.astype(jnp.float32), (1, 2)), -1, keepdims=True)
            gates.append(nn.sigmoid(extra))
        self.sow("intermediates", "gates", tuple(gates))
        # The gates are added, so that with both the sum reaches up to 2.
        scale = gates[0] + gates[1] if len(gates) == 2 else gates[0]
        return (x * scale[:, None, None]).astype(x.dtype)

    def _of_channels(self, x: Array, reduction: int) -> Array:
        channels = x.shape[-1]
        squeezed = jnp.mean(x.astype(jnp.float32), (1, 2))
        gate = nn.relu(self._dense(channels // reduction, channels, "squeeze")(squeezed))
        return nn.sigmoid(self._dense(channels, channels // reduction, "excite")(gate))

    def _dense(self, features: int, fan_in: int, name: str) -> nn.Dense:
        init = uniform_fan_in(fan_in)
        return nn.Dense(features, kernel_init=init, bias_init=init, name=name)
