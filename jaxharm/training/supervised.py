"""The system of one network and one optimizer; papers add their loss by subclassing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxharm.config import TrainConfig
from jaxharm.interfaces import Array, Batch, Metrics, Output, Params, TrainState, to_float
from jaxharm.training.optim import make_optimizer, make_schedule
from jaxharm.training.updates import (
    Network,
    Tag,
    average,
    copy,
    mean_gradient,
    replace_networks,
    split,
    step_key,
)

NETWORK = "model"
_IMAGES = ("composite", "mask", "target", "background")


@dataclass(frozen=True)
class SupervisedSystem:
    """Trains `MODEL` under `loss`, which subclasses define.

    Attributes:
        name: registry name of the model.
        config: the whole run configuration; `config.objective` holds the loss weights.
        optimizer: optax transformation of the model's parameters.
        total_steps: optimization steps of the run.
    """

    MODEL: ClassVar[Callable[..., nn.Module]]  # the paper's module, set by the subclass
    # Collections that never change: they stay out of the average.
    FROZEN: ClassVar[tuple[str, ...]] = ()

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
            The scalar to minimize, already global (the same on every device), and its terms as
            name -> (sum, count), already summed over the axis.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no loss")

    def prepare(self, batch: Batch) -> dict[str, Array]:
        """Images of `batch` as f32 in [0,1]; other keys unchanged."""
        return {k: to_float(v) if k in _IMAGES else v for k, v in batch.items()}

    # The interface of interfaces.System -----------------------------------------------------

    def init(self, key: Array, batch: Batch) -> TrainState:
        """Fresh state. `key` is a typed PRNG key; only shapes and dtypes of `batch` are read."""
        shapes = jax.eval_shape(self.prepare, dict(batch))
        inputs = {
            name: jnp.zeros((1, *shapes[name].shape[1:]), jnp.float32)
            for name in _IMAGES
            if name in shapes
        }
        init_key = jax.random.fold_in(key, Tag.INIT)
        variables = self.module().init(
            {"params": init_key, "dropout": init_key},
            inputs["composite"],
            inputs["mask"],
            background=inputs.get("background"),
            train=True,
        )
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params={},
            collections={},
            opt_state={},
            ema={} if self.config.ema_decay is None else {NETWORK: copy(self._moving(variables))},
        )
        return replace_networks(state, {NETWORK: Network.fresh(variables, self.optimizer)})

    def with_pretrained(self, state: TrainState) -> TrainState:
        """See `interfaces.System`; here nothing comes from elsewhere."""
        return state

    def step(
        self, state: TrainState, batch: Batch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        """One optimization step; see `interfaces.System`.

        With `config.accumulate` = a, gradients are averaged over a micro-batches (see
        `updates.mean_gradient`), metrics summed, batch statistics updated once per micro-batch. For
        losses that are means over samples this equals the large batch.
        """

        def objective(
            params: Params, collections: Params, batch: dict[str, Array], key: Array
        ) -> tuple[Array, tuple[Params, Metrics]]:
            prepared = self.prepare(batch)
            output, updated = self.forward(params, collections, prepared, key, axis_name)
            total, terms = self.loss(output, prepared, axis_name=axis_name)
            return total, (updated, {"loss": (total, jnp.ones((), jnp.float32)), **terms})

        model = Network.of(state, NETWORK)
        grads, collections, metrics = mean_gradient(
            objective,
            model.params,
            model.collections,
            dict(batch),
            step_key(state),
            self.config.accumulate,
        )
        model, norms = model.learn(grads, collections, self.optimizer, axis_name=axis_name)
        return self.advance(state, {NETWORK: model}), metrics | norms | self.rate(state)

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
        """See `interfaces.System`; a system that can explain itself overrides this."""
        del state, batch
        return {}

    def variables(self, state: TrainState) -> dict[str, Params]:
        """The model's variables as `predict` uses them: the averaged ones where the run keeps them."""
        latest = {"params": state.params[NETWORK], **state.collections[NETWORK]}
        return latest | dict(state.ema.get(NETWORK, {}))

    def with_variables(self, state: TrainState, variables: dict[str, Params]) -> TrainState:
        """`state` with the model's variables replaced, and its average restarted from them."""
        collections, params = split(variables)
        return state.replace(
            params={**state.params, NETWORK: params},
            collections={**state.collections, NETWORK: collections},
            ema={name: copy(self._moving(variables)) for name in state.ema},
        )

    # Parts --------------------------------------------------------------------------------

    def module(self, axis_name: str | None = None) -> nn.Module:
        """The Flax module at this run's precision; parameters stay float32."""
        return self.MODEL(config=self.config.model, axis_name=axis_name, dtype=self.dtype)

    @property
    def dtype(self) -> Any:
        """Of the networks' arithmetic."""
        return jnp.bfloat16 if self.config.precision == "bfloat16" else jnp.float32

    def forward(
        self,
        params: Params,
        collections: Params,
        batch: dict[str, Array],
        key: Array,
        axis_name: str | None,
    ) -> tuple[Output, dict[str, Params]]:
        """The model's training-mode output for a `prepare`d batch, and its new collections."""
        output, updated = self.module(axis_name).apply(
            {"params": params, **collections},
            batch["composite"],
            batch["mask"],
            background=batch.get("background"),
            train=True,
            mutable=list(collections),
            rngs={"dropout": key},
        )
        return _float_output(output), dict(updated)

    def advance(self, state: TrainState, networks: dict[str, Network]) -> TrainState:
        """The state of the next step, with these networks and the model's average moved on."""
        model, ema = networks[NETWORK], state.ema
        if self.config.ema_decay is not None:
            # The running statistics are averaged too: they must fit the averaged parameters.
            new = self._moving({"params": model.params, **model.collections})
            ema = {NETWORK: average(ema[NETWORK], new, state.step, self.config.ema_decay)}
        return replace_networks(state, networks).replace(step=state.step + 1, ema=ema)

    def _moving(self, variables: Params) -> Params:
        """What of the model's variables changes in training."""
        return {name: value for name, value in variables.items() if name not in self.FROZEN}

    def rate(self, state: TrainState) -> Metrics:
        """The learning rate of `state`'s step."""
        schedule = make_schedule(self.config.optim, self.total_steps)
        return {"lr": (schedule(state.step), jnp.ones((), jnp.float32))}


def _float_output(output: Any) -> Output:
    """Every array of `output` in float32, whatever the compute dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), output)
