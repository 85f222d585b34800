"""Random weights of a model, without compiling its initialization."""

import numpy as np

from jaxharm.weights.portable import variable_shapes


def random_variables(name, config):
    """Variables of the right shapes and of plausible values, without compiling an `init`."""
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
