"""What losses get beside outputs and batches, for tests that call them directly."""

import jax
import jax.numpy as jnp

from jaxharm.interfaces import Extras, StepContext

NO_EXTRAS = Extras(None, None)


def context(step=0, total_steps=10, *, key=None, axis_name=None):
    """The context of a step; losses of one device unless `axis_name` is given."""
    key = jax.random.key(0) if key is None else key
    return StepContext(jnp.int32(step), total_steps, key, axis_name)
