"""The system of one network and one optimiser; papers add their loss by subclassing."""

from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxharm import registry
from jaxharm.config import TrainConfig
from jaxharm.systems.optim import make_optimizer, make_schedule
from jaxharm.types import Array, Batch, Metrics, Output, Params, TrainState, to_float

NETWORK = "model"
_IMAGES = ("composite", "mask", "target", "background")
_INIT, _STEPS = 0, 1  # fold_in tags of the run's key


@dataclass(frozen=True)
class SupervisedSystem:
    """Trains `registry.get(name).model` under `loss`, which subclasses define.

    Attributes:
        name: registry name of the model.
        config: the whole run configuration; `config.objective` holds the loss weights.
        optimizer: optax transformation of the model's parameters.
        total_steps: optimisation steps of the run.
    """

    name: str
    config: TrainConfig
    optimizer: optax.GradientTransformation
    total_steps: int

    @classmethod
    def from_config(cls, config: TrainConfig, *, total_steps: int) -> Self:
        """The system of `config`, for a run of `total_steps`."""
        return cls(
            name=config.system,
            config=config,
            optimizer=make_optimizer(config.optim, total_steps),
            total_steps=total_steps,
        )

    # What a paper defines -----------------------------------------------------------------

    def loss(
        self, output: Output, batch: dict[str, Array], *, axis_name: str | None
    ) -> tuple[Array, Metrics]:
        """The objective of one batch.

        Args:
            output: what the model returned in training mode.
            batch: `prepare`d batch of this device: float32 images in [0,1].
            axis_name: mapped data axis; sums, counts and means are reduced over it here.

        Returns:
            The scalar to minimise, already global (the same on every device), and its terms as
            name -> (sum, count), already summed over the axis.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no loss")

    def prepare(self, batch: Batch) -> dict[str, Array]:
        """Images of `batch` as f32 in [0,1]; other keys unchanged."""
        return {k: to_float(v) if k in _IMAGES else v for k, v in batch.items()}

    # The interface of systems/base.py -----------------------------------------------------

    def init(self, key: Array, batch: Batch) -> TrainState:
        """Fresh state. `key` is a typed PRNG key; only shapes and dtypes of `batch` are read."""
        shapes = jax.eval_shape(self.prepare, dict(batch))
        inputs = {
            name: jnp.zeros((1, *shapes[name].shape[1:]), jnp.float32)
            for name in _IMAGES
            if name in shapes
        }
        init_key = jax.random.fold_in(key, _INIT)
        variables = self.module().init(
            {"params": init_key, "dropout": init_key},
            inputs["composite"],
            inputs["mask"],
            background=inputs.get("background"),
            train=True,
        )
        collections, params = _split(variables)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params={NETWORK: params},
            collections={NETWORK: collections},
            opt_state={NETWORK: self.optimizer.init(params)},
            # A copy: the state is donated, and one buffer cannot be donated twice.
            ema={} if self.config.ema_decay is None else {NETWORK: _copy(variables)},
        )

    def with_pretrained(self, state: TrainState) -> TrainState:
        """See `systems.base.System`; here nothing comes from elsewhere."""
        return state

    def step(
        self, state: TrainState, batch: Batch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        """One optimisation step; see `systems.base.System`.

        With `config.accumulate` = a, sample i belongs to micro-batch i mod a, whatever the
        number of devices; gradients are averaged, metrics summed, batch statistics updated once
        per micro-batch. For losses that are means over samples this equals the large batch.
        """
        params = state.params[NETWORK]
        key = jax.random.fold_in(jax.random.fold_in(state.key, _STEPS), state.step)
        grads, collections, metrics = self._gradients(
            params, state.collections[NETWORK], dict(batch), key, axis_name
        )
        if axis_name is not None:
            # The loss is global on every device, so each device holds n times its share.
            grads = jax.lax.pmean(grads, axis_name)
        updates, opt_state = self.optimizer.update(grads, state.opt_state[NETWORK], params)
        new_params = optax.apply_updates(params, updates)
        ema = state.ema
        if self.config.ema_decay is not None:
            # The running statistics are averaged too: they must fit the averaged parameters.
            new = {"params": new_params, **collections}
            ema = {NETWORK: _average(ema[NETWORK], new, state.step, self.config.ema_decay)}
        one = jnp.ones((), jnp.float32)
        metrics |= {
            "grad_norm": (optax.tree.norm(grads), one),
            "update_norm": (optax.tree.norm(updates), one),
            "param_norm": (optax.tree.norm(new_params), one),
            "lr": (make_schedule(self.config.optim, self.total_steps)(state.step), one),
        }
        state = state.replace(
            step=state.step + 1,
            params={**state.params, NETWORK: new_params},
            collections={**state.collections, NETWORK: collections},
            opt_state={**state.opt_state, NETWORK: opt_state},
            ema=ema,
        )
        return state, metrics

    def predict(self, state: TrainState, batch: Batch) -> Output:
        """Inference, with the averaged parameters where the run keeps them."""
        batch = self.prepare(batch)
        output: Any = self.module().apply(
            self.variables(state),
            batch["composite"],
            batch["mask"],
            background=batch.get("background"),
            train=False,
        )
        return _float_output(output)

    def maps(self, state: TrainState, batch: Batch) -> dict[str, Array]:
        """See `systems.base.System`; a system that can explain itself overrides this."""
        del state, batch
        return {}

    def variables(self, state: TrainState) -> dict[str, Params]:
        """The model's variables as `predict` uses them: the averaged ones where the run keeps them."""
        latest = {"params": state.params[NETWORK], **state.collections[NETWORK]}
        return dict(state.ema.get(NETWORK, latest))

    def with_variables(self, state: TrainState, variables: dict[str, Params]) -> TrainState:
        """`state` with the model's variables replaced, and its average restarted from them."""
        collections, params = _split(variables)
        return state.replace(
            params={**state.params, NETWORK: params},
            collections={**state.collections, NETWORK: collections},
            ema={name: _copy(variables) for name in state.ema},
        )

    # Parts --------------------------------------------------------------------------------

    def module(self, axis_name: str | None = None) -> nn.Module:
        """The Flax module at this run's precision; parameters stay float32."""
        dtype = jnp.bfloat16 if self.config.precision == "bfloat16" else jnp.float32
        cls = registry.resolve(registry.get(self.name).model)
        return cls(config=self.config.model, axis_name=axis_name, dtype=dtype)

    def _gradients(
        self, params: Params, collections: Params, batch: dict, key: Array, axis_name: str | None
    ) -> tuple[Params, Params, Metrics]:
        """Mean gradient over the micro-batches, last collections, summed metrics."""
        module, count = self.module(axis_name), self.config.accumulate

        def objective(params: Params, collections: Params, batch: dict, key: Array) -> Any:
            batch = self.prepare(batch)
            output, updated = module.apply(
                {"params": params, **collections},
                batch["composite"],
                batch["mask"],
                background=batch.get("background"),
                train=True,
                mutable=list(collections),
                rngs={"dropout": key},
            )
            total, terms = self.loss(_float_output(output), batch, axis_name=axis_name)
            return total, (updated, {"loss": (total, jnp.ones((), jnp.float32)), **terms})

        gradient = jax.grad(objective, has_aux=True)
        if count == 1:
            grads, (collections, metrics) = gradient(params, collections, batch, key)
            return grads, dict(collections), metrics

        def micro_step(carry: Any, inputs: Any) -> Any:
            grads, collections, metrics = carry
            index, micro = inputs
            new, (collections, terms) = gradient(
                params, collections, micro, jax.random.fold_in(key, index)
            )
            summed = jax.tree.map(jnp.add, (grads, metrics), (new, terms))
            return (summed[0], dict(collections), summed[1]), None

        micro_batches = {name: _micro_batches(value, count) for name, value in batch.items()}
        first = {name: value[0] for name, value in micro_batches.items()}
        shapes = jax.eval_shape(gradient, params, collections, first, key)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        start = (zeros[0], dict(collections), zeros[1][1])
        (grads, collections, metrics), _ = jax.lax.scan(
            micro_step, start, (jnp.arange(count), micro_batches)
        )
        return jax.tree.map(lambda leaf: leaf / count, grads), collections, metrics


def _split(variables: Params) -> tuple[dict[str, Any], Params]:
    collections = dict(variables)
    params = collections.pop("params")
    return collections, params


def _micro_batches(value: Array, count: int) -> Array:
    """[b, ...] -> [count, b/count, ...], sample i in micro-batch i mod count."""
    return jnp.swapaxes(value.reshape(value.shape[0] // count, count, *value.shape[1:]), 0, 1)


def _copy(variables: Params) -> Params:
    return jax.tree.map(jnp.copy, dict(variables))


def _average(average: Params, params: Params, step: Array, decay: float) -> Params:
    """Moving average whose decay rises from 0.1 to `decay`, so that the start is forgotten."""
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: kept * a + (1 - kept) * p, average, params)


def _float_output(output: Output) -> Output:
    """Every array of `output` in float32, whatever the compute dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), output)
