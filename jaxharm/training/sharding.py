"""Where the arrays of a training state lie: whole on every device, or split over all of them."""

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxharm.config import Launcher
from jaxharm.interfaces import PyTree

TreeT = TypeVar("TreeT")
_SMALL = 1024  # values: collecting fewer costs more time than splitting them saves memory


def shardings(tree: PyTree, mesh: Mesh, mode: Launcher) -> PyTree:
    """The sharding of every array of a state, or of its shape.

    Args:
        tree: arrays, or what `jax.eval_shape` gives of them.
        mesh: one axis.
        mode: with "fsdp", arrays are split along their longest axis that all devices divide evenly
            (fully sharded data parallelism; ZeRO, arXiv 1910.02054, stage 3); small ones and those
            without such an axis are whole. With any other mode all arrays are.
    """
    whole = NamedSharding(mesh, P())
    if mode != "fsdp":
        return jax.tree.map(lambda leaf: whole, tree)
    return jax.tree.map(lambda leaf: NamedSharding(mesh, _split(leaf, mesh)), tree)


def collected(tree: TreeT, mesh: Mesh) -> TreeT:
    """The same arrays, whole on every device; every process calls it. Whole ones are not copied."""
    if all(leaf.is_fully_replicated for leaf in jax.tree.leaves(tree)):
        return tree
    found: TreeT = _collect(mesh)(tree)
    return found


@functools.cache
def _collect(mesh: Mesh) -> Callable[[PyTree], PyTree]:
    collect: Callable[[PyTree], PyTree] = jax.jit(
        lambda tree: tree, out_shardings=NamedSharding(mesh, P())
    )
    return collect


def _split(leaf: jax.Array | jax.ShapeDtypeStruct, mesh: Mesh) -> P:
    if leaf.size < _SMALL:  # among them the key, whose dtype cannot be split
        return P()
    even = [axis for axis, length in enumerate(leaf.shape) if length % mesh.size == 0]
    if not even:
        return P()
    longest = max(even, key=lambda axis: leaf.shape[axis])
    return P(*(mesh.axis_names[0] if axis == longest else None for axis in range(leaf.ndim)))
