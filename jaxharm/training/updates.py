"""What every training step is made of: mean gradients, one network's update, averages, keys."""

import enum
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxharm.interfaces import (
    Array,
    DeviceBatch,
    Extras,
    Metrics,
    Params,
    PyTree,
    StepContext,
    TrainState,
)

T = TypeVar("T")  # what an objective carries from one micro-batch to the next, such as statistics
E = TypeVar("E", bound=Extras[Any, Any], contravariant=True)


class Objective(Protocol[T, E]):
    """A scalar that a step minimizes in the parameters of one network."""

    def __call__(
        self, ctx: StepContext, params: Params, carried: T, batch: DeviceBatch, extras: E, /
    ) -> tuple[Array, tuple[T, Metrics]]:
        """The scalar; what is carried on, and the metrics."""
        ...


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
    opt_state: PyTree

    @classmethod
    def of(cls, state: TrainState, name: str) -> "Network":
        """The network `name` of `state`."""
        return cls(state.params[name], state.collections[name], state.opt_state[name])

    @classmethod
    def fresh(cls, variables: Params, optimizer: optax.GradientTransformation) -> "Network":
        """A network from the variables that a module's `init` gave."""
        collections, params = split(variables)
        return cls(params, collections, optimizer.init(params))

    def update(
        self,
        ctx: StepContext,
        grads: Params,
        collections: Params,
        optimizer: optax.GradientTransformation,
        *,
        prefix: str = "",
    ) -> tuple["Network", Metrics]:
        """The network after one optimizer step, and the norms of what happened.

        Args:
            ctx: of the step.
            grads: this device's gradient of the global loss.
            collections: as the step's calls of the network left them.
            optimizer: of this network.
            prefix: of the metrics' names.
        """
        if ctx.axis_name is not None:
            # The loss is global on every device, so each device holds n times its share.
            grads = jax.lax.pmean(grads, ctx.axis_name)
        updates, opt_state = optimizer.update(grads, self.opt_state, self.params)
        params = optax.apply_updates(self.params, updates)
        trees = {"grad_norm": grads, "update_norm": updates, "param_norm": params}
        norms = {f"{prefix}{name}": single(optax.tree.norm(tree)) for name, tree in trees.items()}
        return Network(params, dict(collections), opt_state), norms


def replace_networks(state: TrainState, networks: Mapping[str, Network]) -> TrainState:
    """`state` with the named networks replaced."""
    return state.replace(
        params={**state.params, **{k: n.params for k, n in networks.items()}},
        collections={**state.collections, **{k: n.collections for k, n in networks.items()}},
        opt_state={**state.opt_state, **{k: n.opt_state for k, n in networks.items()}},
    )


def mean_gradient(
    objective: Objective[T, Any],
    ctx: StepContext,
    params: Params,
    carried: T,
    batch: DeviceBatch,
    extras: Extras[Any, Any],
    count: int,
) -> tuple[Params, T, Metrics]:
    """Gradient of `objective` with respect to `params`, over `count` micro-batches.

    Sample i belongs to micro-batch i mod count, whatever the number of devices.

    Args:
        objective: sees what the previous micro-batch carried on.
        ctx: of the step; micro-batch i gets its key folded with i, a single batch gets it as it is.
        params, carried: at the start.
        batch, extras: of the step; arrays per sample are split.
        count: number of micro-batches.

    Returns:
        The mean gradient, what the last micro-batch carried on, the metrics summed.
    """
    gradient = jax.grad(objective, argnums=1, has_aux=True)
    if count == 1:
        grads, (carried, metrics) = gradient(ctx, params, carried, batch, extras)
        return grads, carried, metrics

    def of_micro_batch(carried: T, index: Array, samples: PyTree) -> PyTree:
        micro, per_sample = samples
        own = ctx.with_key(jax.random.fold_in(ctx.key, index))
        return gradient(own, params, carried, micro, extras._replace(per_sample=per_sample))

    def add(sums: PyTree, inputs: PyTree) -> PyTree:
        grads, carried, metrics = sums
        new, (carried, terms) = of_micro_batch(carried, *inputs)
        grads, metrics = jax.tree.map(jnp.add, (grads, metrics), (new, terms))
        return (grads, carried, metrics), None

    samples = jax.tree.map(lambda value: _micro_batches(value, count), (batch, extras.per_sample))
    first = jax.tree.map(lambda value: value[0], samples)
    # A scan needs its sums from the start: zeros of the shapes that the first micro-batch gives.
    shapes = jax.eval_shape(of_micro_batch, carried, 0, first)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    start = (zeros[0], carried, zeros[1][1])
    (grads, carried, metrics), _ = jax.lax.scan(add, start, (jnp.arange(count), samples))
    return jax.tree.map(lambda leaf: leaf / count, grads), carried, metrics


def single(value: Array) -> tuple[Array, Array]:
    """A metric that counts once per step (or micro-batch): (value, 1)."""
    return value, jnp.ones((), jnp.float32)


def split(variables: Params) -> tuple[dict[str, PyTree], Params]:
    """(the other collections, "params") of a module's variables."""
    collections = dict(variables)
    params = collections.pop("params")
    return collections, params


def copy(variables: Params) -> Params:
    """The same variables in buffers of their own: a buffer cannot be donated twice."""
    copied: Params = jax.tree.map(jnp.copy, dict(variables))
    return copied


def average(old: Params, new: Params, step: Array, decay: float) -> Params:
    """Moving average whose decay rises from 0.1 to `decay`, so that the start is forgotten."""
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    mixed: Params = jax.tree.map(lambda a, p: kept * a + (1 - kept) * p, old, new)
    return mixed


def _micro_batches(value: Array, count: int) -> Array:
    """[b, ...] -> [count, b/count, ...], sample i in micro-batch i mod count."""
    return jnp.swapaxes(value.reshape(value.shape[0] // count, count, *value.shape[1:]), 0, 1)
