"""Features of an image: the normalized VGG-19 up to relu4_1, frozen, in four pieces.

Piece k ends at relu{k}_1. The weights are no parameters: they live in the variable collection
`encoder`, which no optimizer sees. Gradients flow through the network to the image.

Source: docs/papers/propih.md, "Network" and "Checkpoints".
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.interfaces import Array
from jaxharm.nn.pool import max_pool
from jaxharm.papers.propih.reflect_conv import reflect_conv3x3

COLLECTION = "encoder"
# Layers of each piece, and the multiple of the base width that each gives. Pooling stands before
# the last layer of every piece but the first.
PIECES: tuple[tuple[tuple[str, int], ...], ...] = (
    (("conv1_1", 1),),
    (("conv1_2", 1), ("conv2_1", 2)),
    (("conv2_2", 2), ("conv3_1", 4)),
    (("conv3_2", 4), ("conv3_3", 4), ("conv3_4", 4), ("conv4_1", 8)),
)


class VggPiece(nn.Module):
    """One piece of the encoder.

    Attributes:
        number: 1 to 4.
        width: channels of relu1_1; 64 in VGG-19.
        dtype: of the arithmetic and the output.
    """

    number: int
    width: int = 64
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """The image f[b,h,w,3] (piece 1) or the features of the piece before -> relu{number}_1.

        Pieces 2 to 4 halve the size.
        """
        x = x.astype(self.dtype)
        if self.number == 1:
            pre = FrozenConv(3, 1, self.dtype, name="pre")
            x = pre(x)
        layers = PIECES[self.number - 1]
        for name, multiple in layers:
            if self.number > 1 and name == layers[-1][0]:
                x = max_pool(x)
            x = nn.relu(FrozenConv(self.width * multiple, 3, self.dtype, name=name)(x))
        return x


class FrozenConv(nn.Module):
    """A 1x1 or 3x3 convolution with bias, its weights in the collection `encoder`.

    Untrained, a 1x1 convolution is the identity and a 3x3 one is He-normal without bias.

    Attributes:
        features: output channels.
        size: side of the kernel; 3x3 ones mirror the border.
        dtype: of the arithmetic and the output.
    """

    features: int
    size: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """f[b,h,w,c] -> f[b,h,w,features]."""
        channels = x.shape[-1]

        def random_kernel() -> Array:
            if self.size == 1:
                return jnp.eye(channels, self.features).reshape(1, 1, channels, self.features)
            shape = (self.size, self.size, channels, self.features)
            flat = jax.random.normal(self.make_rng("params"), (math.prod(shape),))
            return math.sqrt(2 / (9 * channels)) * flat.reshape(shape)

        # In a collection of their own and not in params: no optimizer touches them, and checkpoints
        # hold them all the same.
        kernel = self.variable(COLLECTION, "kernel", random_kernel).value.astype(self.dtype)
        bias = self.variable(COLLECTION, "bias", jnp.zeros, (self.features,)).value
        bias = bias.astype(self.dtype).reshape(1, 1, 1, -1)
        if self.size == 1:
            return jnp.dot(x, kernel[0, 0]) + bias
        return reflect_conv3x3(kernel, x) + bias
