"""The system of one network and one optimizer; papers add their loss by subclassing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.config import TrainConfig
from jaxharm.interfaces import (
    Array,
    DeviceBatch,
    Extras,
    Metrics,
    Output,
    Params,
    StepContext,
    TrainState,
    to_float,
)
from jaxharm.measures import Judge, Measures
from jaxharm.training.optim import make_optimizer, make_schedule
from jaxharm.training.updates import (
    Network,
    Tag,
    average,
    copy,
    mean_gradient,
    replace_networks,
    single,
    split,
    step_key,
)

NETWORK = "model"
ObjectiveT = TypeVar("ObjectiveT")  # the system's loss weights and choices
ExtrasT = TypeVar("ExtrasT", bound=Extras[Any, Any])  # what its `before_loss` hands to its losses


@dataclass(frozen=True)
class SupervisedSystem(Generic[ObjectiveT, ExtrasT]):
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
    config: TrainConfig[Any, Any]
    optimizer: optax.GradientTransformation
    total_steps: int

    @classmethod
    def from_config(cls, config: TrainConfig[Any, Any], *, total_steps: int) -> Self:
        """The system of `config`, for a run of `total_steps`."""
        return cls(
            name=config.system,
            config=config,
            optimizer=make_optimizer(config.optim, total_steps),
            total_steps=total_steps,
        )

    # What a paper defines -----------------------------------------------------------------

    @property
    def length_matters(self) -> bool:
        """Whether a step's numbers depend on the length of the run.

        All schedules but "constant" are shares of it. A loss that reads `ctx.total_steps` says so
        by overriding this.
        """
        return bool(self.config.optim.schedule != "constant")

    def before_loss(self, ctx: StepContext, state: TrainState, batch: DeviceBatch) -> ExtrasT:
        """What the losses need beside output and batch, computed once per step.

        Args:
            ctx: of the step.
            state: as the step begins.
            batch: this device's whole batch, before `prepare` and before micro-batches.
        """
        del ctx, state, batch
        return cast(ExtrasT, Extras(None, None))  # a system with extras of its own overrides this

    def loss(
        self, ctx: StepContext, output: Output, batch: DeviceBatch, extras: ExtrasT
    ) -> tuple[Array, Metrics]:
        """The objective of one batch.

        Args:
            ctx: of the step; sums, counts and means are reduced over its axis here.
            output: what the model returned in training mode.
            batch: `prepare`d batch of this device: float32 images in [0,1].
            extras: of `before_loss`.

        Returns:
            The scalar to minimize, already global (the same on every device), and its terms as
            name -> (sum, count), already summed over the axis.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no loss")

    def prepare(self, batch: DeviceBatch) -> DeviceBatch:
        """`batch` with its images as f32 in [0,1]."""
        return batch.map_images(to_float)

    # The interface of interfaces.System -----------------------------------------------------

    def init(self, key: Array, batch: DeviceBatch) -> TrainState:
        """Fresh state. `key` is a typed PRNG key; only shapes and dtypes of `batch` are read."""
        shapes = jax.eval_shape(self.prepare, batch)
        one = shapes.map_images(lambda image: jnp.zeros((1, *image.shape[1:]), jnp.float32))
        init_key = jax.random.fold_in(key, Tag.INIT)
        variables = self.module().init(
            {"params": init_key, "dropout": init_key},
            one.composite,
            one.mask,
            background=one.background,
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

    def loaded(self) -> dict[str, str]:
        """See `interfaces.System`; it goes with `with_pretrained`."""
        return {}

    def step(
        self, state: TrainState, batch: DeviceBatch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        """One optimization step; see `interfaces.System`.

        With `config.accumulate` = a, gradients are averaged over a micro-batches (see
        `updates.mean_gradient`), metrics summed, batch statistics updated once per micro-batch. For
        losses that are means over samples this equals the large batch.
        """
        ctx, model = self.context(state, axis_name), Network.of(state, NETWORK)
        grads, collections, metrics = mean_gradient(
            self.forward_and_loss,
            ctx,
            model.params,
            model.collections,
            batch,
            self.before_loss(ctx, state, batch),
            self.config.accumulate,
        )
        model, norms = model.update(ctx, grads, collections, self.optimizer)
        return self.advance(state, {NETWORK: model}), metrics | norms | self.rate(state)

    def predict(self, state: TrainState, batch: DeviceBatch) -> Output:
        """Inference, with the averaged parameters where the run keeps them."""
        return self.apply(self.variables(state), self.prepare(batch))

    @property
    def measures(self) -> Measures | None:
        """See `interfaces.System`; a system without real photographs overrides this and `judge`."""
        return None

    def judge(self, variables: Params) -> Judge | None:
        """See `interfaces.System`."""
        del variables
        return None

    def harmonize_options(self) -> Any:
        """See `interfaces.System`; a system whose `predict` makes a choice overrides this."""
        return None

    def figures(self, state: TrainState, batch: DeviceBatch) -> dict[str, Array]:
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
    def objective(self) -> ObjectiveT:
        """The run's loss weights and choices."""
        return cast(
            ObjectiveT, self.config.objective
        )  # the config is typed for every system at once

    @property
    def dtype(self) -> DTypeLike:
        """Of the networks' arithmetic."""
        return jnp.bfloat16 if self.config.precision == "bfloat16" else jnp.float32

    def context(self, state: TrainState, axis_name: str | None) -> StepContext:
        """The context of the step that begins at `state`."""
        return StepContext(state.step, self.total_steps, step_key(state), axis_name)

    def apply(self, variables: Params, batch: DeviceBatch) -> Output:
        """The model's inference on a `prepare`d batch."""
        output: Any = self.module().apply(
            variables, batch.composite, batch.mask, background=batch.background, train=False
        )
        return _float_output(output)

    def forward(
        self, ctx: StepContext, params: Params, collections: Params, batch: DeviceBatch
    ) -> tuple[Output, dict[str, Params]]:
        """The model's training-mode output for a `prepare`d batch, and its new collections."""
        output, updated = self.module(ctx.axis_name).apply(
            {"params": params, **collections},
            batch.composite,
            batch.mask,
            background=batch.background,
            train=True,
            mutable=list(collections),
            rngs={"dropout": ctx.key},
        )
        return _float_output(output), dict(updated)

    def forward_and_loss(
        self,
        ctx: StepContext,
        params: Params,
        collections: Params,
        batch: DeviceBatch,
        extras: ExtrasT,
    ) -> tuple[Array, tuple[Params, Metrics]]:
        """The loss of a batch as a function of the parameters; new collections and metrics."""
        prepared = self.prepare(batch)
        output, updated = self.forward(ctx, params, collections, prepared)
        total, terms = self.loss(ctx, output, prepared, extras)
        return total, (updated, {"loss": single(total), **terms})

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
        return {"lr": single(schedule(state.step))}


def _float_output(output: Any) -> Output:
    """Every array of `output` in float32, whatever the compute dtype."""
    found: Output = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), output)
    return found
