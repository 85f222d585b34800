"""ProPIH's goldens: their manifest, the official state dicts, our layout of theirs."""

import functools
import json

import numpy as np
from support import golden_recipe
from support.goldens import load_layout

from jaxharm.papers.propih.convert import discriminator_names, torch_names
from jaxharm.papers.propih.model import ProPIHConfig


@functools.cache
def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


@functools.cache
def state_dict(kind):
    """The official tensors of "G" or "D"."""
    # The manifest lists the float64 run; the recipe's tensors are float32.
    return golden_recipe.fill_all(load_layout("propih")[f"state_dict_{kind}"], gain=2.0)


@functools.cache
def arrays(folder, name):
    return dict(np.load(folder / f"{name}.npz"))


def discriminator_params(tensors):
    params = {}
    for rule in discriminator_names().rules:
        node = params
        for part in rule.path[1:-1]:
            node = node.setdefault(part, {})
        node[rule.path[-1]] = np.asarray(rule.transform(tensors[rule.torch_name]), np.float32)
    return params


def in_their_order(tree, names, rules):
    """Leaves of our `params` tree in the order of official names."""
    paths = {rule.torch_name: rule.path[1:] for rule in rules}
    return [functools.reduce(lambda node, part: node[part], paths[name], tree) for name in names]


def generator_leaves(tree, folder):
    names = manifest(folder)["trainable_names"]
    return in_their_order(tree, names, torch_names(ProPIHConfig()).rules)


def discriminator_leaves(tree, folder):
    names = manifest(folder)["discriminator_parameter_names"]
    return in_their_order(tree, names, discriminator_names().rules)


def nhwc(value):
    return np.moveaxis(value, 1, -1)


def unit(value):
    """NCHW in [-1,1] -> NHWC in [0,1]."""
    return (nhwc(value) + 1) / 2


def assert_close(got, want, tolerance, name=""):
    """Within `tolerance` of the largest magnitude, as the manifest measures."""
    limit = tolerance * np.nanmax(np.abs(want))
    np.testing.assert_allclose(got, want, rtol=0, atol=limit, err_msg=name)
