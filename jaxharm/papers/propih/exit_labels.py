"""At which stage an image should stop, found from the results of all stages.

Source: docs/papers/propih.md, "Training" (our design).
"""

import jax.numpy as jnp
from flax import struct

from jaxharm.interfaces import Array
from jaxharm.losses.reduction import reduce_sum


class ContentScale(struct.PyTreeNode):
    """Running mean of the content error of the last stage, over all composites seen so far.

    Attributes:
        mean: f32[].
        count: f32[], composites in it.
    """

    mean: Array
    count: Array

    @classmethod
    def empty(cls) -> "ContentScale":
        """The scale before the first composite."""
        return cls(jnp.zeros(()), jnp.zeros(()))

    def with_errors(self, errors: Array, axis_name: str | None) -> "ContentScale":
        """The scale after further composites.

        Args:
            errors: f32[b], content errors of the last stage.
            axis_name: mapped data axis, which is reduced here.
        """
        total, number = (
            reduce_sum(x, axis_name) for x in (jnp.sum(errors), jnp.float32(len(errors)))
        )
        count = self.count + number
        # Not a sum over the run: it would lose digits as it grows.
        return ContentScale(self.mean + (total - number * self.mean) / count, count)


def automatic_labels(style: Array, content: Array, beta: float) -> Array:
    """The stage with the smallest style error plus `beta` times its content error.

    Args:
        style: f32[b,4], the style error of every stage's result relative to the composite's: 1 =
            untouched, 0 = perfect.
        content: f32[b,4], the content error relative to the mean one of stage 4.
        beta: weight of the content.

    Returns:
        i32[b], 1 to 4; the smaller stage of equal ones.
    """
    return 1 + jnp.argmin(style + beta * content, 1).astype(jnp.int32)
