"""What every training step is made of: mean gradients, one network's update, averages, keys."""

import enum
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxharm.interfaces import Array, Metrics, Params, TrainState

# (params, collections, batch, key) -> (loss, (new collections, metrics))
Objective = Callable[[Params, Any, dict[str, Array], Array], tuple[Array, tuple[Any, Metrics]]]


class Tag(enum.IntEnum):
    """`fold_in` tags of the run's key: one per use of randomness."""

    INIT = 0
    STEPS = 1
    DISCRIMINATOR = 2
    STREAM = 3
    TEACHER = 4


def step_key(state: TrainState, tag: Tag = Tag.STEPS) -> Array:
    """The key of `state`'s step for one use: the same on every device, host and after a resume."""
    return jax.random.fold_in(jax.random.fold_in(state.key, tag), state.step)


class Network(struct.PyTreeNode):
    """One network of a `TrainState`: parameters, other collections, optimizer state."""

    params: Params
    collections: Params
    opt_state: Any

    @classmethod
    def of(cls, state: TrainState, name: str) -> "Network":
        """The network `name` of `state`."""
        return cls(state.params[name], state.collections[name], state.opt_state[name])

    @classmethod
    def fresh(cls, variables: Params, optimizer: optax.GradientTransformation) -> "Network":
        """A network from the variables that a module's `init` gave."""
        collections, params = split(variables)
        return cls(params, collections, optimizer.init(params))

    def learn(
        self,
        grads: Params,
        collections: Params,
        optimizer: optax.GradientTransformation,
        *,
        axis_name: str | None,
        prefix: str = "",
    ) -> tuple["Network", Metrics]:
        """The network after one optimizer step, and the norms of what happened.

        Args:
            grads: this device's gradient of the global loss.
            collections: what the step's calls made of them.
            optimizer: of this network.
            axis_name: mapped data axis or None.
            prefix: of the metrics' names.
        """
        if axis_name is not None:
            # The loss is global on every device, so each device holds n times its share.
            grads = jax.lax.pmean(grads, axis_name)
        updates, opt_state = optimizer.update(grads, self.opt_state, self.params)
        params = optax.apply_updates(self.params, updates)
        one = jnp.ones((), jnp.float32)
        trees = {"grad_norm": grads, "update_norm": updates, "param_norm": params}
        norms = {f"{prefix}{name}": (optax.tree.norm(tree), one) for name, tree in trees.items()}
        return Network(params, dict(collections), opt_state), norms


def replace_networks(state: TrainState, networks: Mapping[str, Network]) -> TrainState:
    """`state` with the named networks replaced."""
    return state.replace(
        params={**state.params, **{k: n.params for k, n in networks.items()}},
        collections={**state.collections, **{k: n.collections for k, n in networks.items()}},
        opt_state={**state.opt_state, **{k: n.opt_state for k, n in networks.items()}},
    )


def mean_gradient(
    objective: Objective,
    params: Params,
    collections: Any,
    batch: dict[str, Array],
    key: Array,
    count: int,
) -> tuple[Params, Any, Metrics]:
    """Gradient of `objective` with respect to `params`, over `count` micro-batches.

    Sample i belongs to micro-batch i mod count, whatever the number of devices.

    Args:
        objective: sees the collections that the previous micro-batch returned.
        params, collections: at the start.
        batch: every array has the samples along its first axis.
        key: micro-batch i gets fold_in(key, i); a single batch gets it as it is.
        count: number of micro-batches.

    Returns:
        The mean gradient, the last collections, the metrics summed.
    """
    gradient = jax.grad(objective, has_aux=True)
    if count == 1:
        grads, (collections, metrics) = gradient(params, collections, batch, key)
        return grads, collections, metrics

    def micro_step(carry: Any, inputs: Any) -> Any:
        grads, collections, metrics = carry
        index, micro = inputs
        new, (collections, terms) = gradient(
            params, collections, micro, jax.random.fold_in(key, index)
        )
        summed = jax.tree.map(jnp.add, (grads, metrics), (new, terms))
        return (summed[0], collections, summed[1]), None

    micro_batches = {name: _micro_batches(value, count) for name, value in batch.items()}
    first = {name: value[0] for name, value in micro_batches.items()}
    shapes = jax.eval_shape(gradient, params, collections, first, key)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    (grads, collections, metrics), _ = jax.lax.scan(
        micro_step, (zeros[0], collections, zeros[1][1]), (jnp.arange(count), micro_batches)
    )
    return jax.tree.map(lambda leaf: leaf / count, grads), collections, metrics


def split(variables: Params) -> tuple[dict[str, Any], Params]:
    """(the other collections, "params") of a module's variables."""
    collections = dict(variables)
    params = collections.pop("params")
    return collections, params


def copy(variables: Params) -> Params:
    """The same variables in buffers of their own: a buffer cannot be donated twice."""
    return jax.tree.map(jnp.copy, dict(variables))


def average(old: Params, new: Params, step: Array, decay: float) -> Params:
    """Moving average whose decay rises from 0.1 to `decay`, so that the start is forgotten."""
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: kept * a + (1 - kept) * p, old, new)


def _micro_batches(value: Array, count: int) -> Array:
    """[b, ...] -> [count, b/count, ...], sample i in micro-batch i mod count."""
    return jnp.swapaxes(value.reshape(value.shape[0] // count, count, *value.shape[1:]), 0, 1)
