"""Decides after each stage whether to stop: a small recurrent network, the exit head.

The paper has one but the official repository does not, so the design is ours (docs/papers/propih.md,
"What we decided"). It reads first and second moments of object and painting, the quantities that
the model itself changes. They have the same size at every stage, so that one GRU serves all.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.interfaces import Array
from jaxharm.ops import masked_moments


def stage_descriptor(features: Array, mask: Array) -> Array:
    """Means and deviations of a stage's features in and outside of the object.

    Args:
        features: f[b,h,w,c], the stage's features; no gradient passes.
        mask: f32[b,h,w,1] in [0,1].

    Returns:
        f32[b,4c]: mean and deviation under the mask, then under 1 - mask.
    """
    features = jax.lax.stop_gradient(features)
    moments = (*masked_moments(features, mask), *masked_moments(features, 1 - mask))
    return jnp.concatenate([m[:, 0, 0] for m in moments], -1)


class ExitHead(nn.Module):
    """One step of the GRU; 33,153 parameters for 32 channels and 64 units.

    Attributes:
        units: of the input layer and of the GRU.
    """

    units: int = 64

    @nn.compact
    def __call__(self, memory: Array, descriptor: Array) -> tuple[Array, Array]:
        """Reads a stage.

        Args:
            memory: f32[b,units], zeros before the first stage.
            descriptor: f32[b,n] of `stage_descriptor`.

        Returns:
            The new memory, and logits f32[b]: positive means that this stage is the last.
        """
        x = nn.relu(nn.Dense(self.units, name="input")(descriptor))
        memory, x = nn.GRUCell(self.units, name="gru")(memory, x)
        return memory, nn.Dense(1, name="logit")(x)[:, 0]
