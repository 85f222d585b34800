"""A network that adds one color to the object.

Paper: none. It stands for a system that somebody adds (tests/test_new_system.py).
Parameters: 12.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.interfaces import Output


@dataclass(frozen=True)
class TinterConfig:
    """The network.

    Attributes:
        gain: factor of the added color.
        size_multiple, min_size, default_size: sizes of images that it takes.
    """

    gain: float = 1.0
    size_multiple: int = 1
    min_size: int = 8
    default_size: int = 64

    @classmethod
    def tiny(cls) -> "TinterConfig":
        """The network of tests; this one is small already."""
        return cls()

    def shrunk(self) -> "TinterConfig":
        """The same choices; there is nothing to shrink."""
        return self


class Tinter(nn.Module):
    """The module."""

    config: TinterConfig
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        composite: jax.Array,
        mask: jax.Array,
        background: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> Output:
        """The composite with the object in other colors."""
        del background, train
        change = nn.Conv(3, (1, 1), dtype=self.dtype, name="color")(composite.astype(self.dtype))
        raw = composite + self.config.gain * change.astype(jnp.float32)
        image = jnp.clip(mask * raw + (1 - mask) * composite, 0, 1)
        return Output(image=image, aux={"raw": raw})
