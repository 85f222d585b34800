"""Variables of a model without compiling its initializer, which takes most of a small test's time."""

import functools

import jax
import numpy as np

from jaxharm.weights.portable import variable_shapes

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


def random_weights(name, config):
    """Weights as a file of this model holds them, scaled so that values stay plausible at any depth."""
    random = np.random.default_rng(0)
    tree: dict = {}
    for path, shape in variable_shapes(name, config).items():
        *parents, leaf = path.split("/")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        if leaf in ("var", "scale") or leaf.endswith("_var"):
            value = random.uniform(0.5, 1.0, shape)
        else:
            value = random.normal(0, 1 / np.sqrt(max(1, np.prod(shape[:-1]))), shape)
        node[leaf] = np.float32(value)
    return tree
