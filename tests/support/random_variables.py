"""Variables of a model without compiling its initializer, which takes most of a small test's time."""

import functools

import jax
import numpy as np

# Small networks are compiled to be run once or twice.
QUICK_COMPILE = {"xla_backend_optimization_level": 0}


def random_variables(model, *inputs, seed=0, **options):
    """Variables of the shapes that `model.init` gives: variances in [0.5, 1.5], the rest normal."""
    init = functools.partial(model.init, **options)
    shapes = jax.eval_shape(init, jax.random.key(0), *inputs)
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name == "var":
            value = 0.5 + rng.random(leaf.shape)
        else:
            value = 0.3 * rng.standard_normal(leaf.shape) + (name == "scale")
        return value.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)
