"""The system of a model and a discriminator that is trained against it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.interfaces import (
    Array,
    DeviceBatch,
    Metrics,
    Output,
    Params,
    StepContext,
    TrainState,
)
from jaxharm.training.supervised import NETWORK, ExtrasT, ObjectiveT, SupervisedSystem
from jaxharm.training.updates import (
    Network,
    Tag,
    mean_gradient,
    replace_networks,
    single,
)

DISCRIMINATOR = "discriminator"
# (collections, images) -> (logits, new collections): one training-mode call of the discriminator
Discriminate = Callable[[Params, Array], tuple[Array, Params]]
# A loss; the discriminator's collections after the last call, and the terms.
Loss = tuple[Array, tuple[Params, Metrics]]


@dataclass(frozen=True)
class AdversarialSystem(SupervisedSystem[ObjectiveT, ExtrasT], Generic[ObjectiveT, ExtrasT]):
    """Trains the model under `generator_loss` and, where there is one, a discriminator.

    A step is: the model's forward pass; an update of the discriminator; an update of the model by
    the same pass, under the updated discriminator. Both networks use the optimizer of the config,
    each with its own state. Without a discriminator this is a `SupervisedSystem`.
    """

    # What a paper defines -----------------------------------------------------------------

    def discriminator(self, axis_name: str | None = None) -> nn.Module | None:
        """Module with `(images, train=...)`, and with `config.min_size`; None: plain training.

        Args:
            axis_name: mapped data axis, for batch statistics.
        """
        del axis_name
        return None

    def discriminator_loss(
        self,
        ctx: StepContext,
        discriminate: Discriminate,
        collections: Params,
        output: Output,
        batch: DeviceBatch,
        extras: ExtrasT,
    ) -> Loss:
        """What the discriminator minimizes.

        Args:
            ctx: as in `SupervisedSystem.loss`.
            discriminate: calls the discriminator; its gradients are taken.
            collections: its state before the first call.
            output: of the model, without gradient.
            batch: `prepare`d batch of this device.
            extras: of `before_loss`.

        Returns:
            The global loss; the collections after the last call, and its terms.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no discriminator_loss")

    def generator_loss(
        self,
        ctx: StepContext,
        discriminate: Discriminate,
        collections: Params,
        output: Output,
        batch: DeviceBatch,
        extras: ExtrasT,
    ) -> Loss:
        """What the model minimizes; as `discriminator_loss`, but only `output` has gradients."""
        raise NotImplementedError(f"{type(self).__name__} defines no generator_loss")

    def select_stream(self, state: TrainState, batch: DeviceBatch) -> DeviceBatch:
        """The images that this step trains on; called once per step, before micro-batches."""
        del state
        return batch

    def before_step(
        self, ctx: StepContext, model: Network, batch: DeviceBatch, extras: ExtrasT
    ) -> Network:
        """The model with which the step begins."""
        del ctx, batch, extras
        return model

    def after_step(self, old: Network, new: Network, extras: ExtrasT) -> Network:
        """The discriminator that is kept of a step that updated `old` to `new`."""
        del old, extras
        return new

    # The interface of interfaces.py -----------------------------------------------------

    def init(self, key: Array, batch: DeviceBatch) -> TrainState:
        """Fresh state of both networks; see `SupervisedSystem.init`."""
        state = super().init(key, batch)
        module: Any = self.discriminator()
        if module is None:
            return state
        side = module.config.min_size  # the parameters do not depend on it
        variables = module.init(
            jax.random.fold_in(key, Tag.DISCRIMINATOR), jnp.zeros((1, side, side, 3)), train=True
        )
        return replace_networks(state, {DISCRIMINATOR: Network.fresh(variables, self.optimizer)})

    def step(
        self, state: TrainState, batch: DeviceBatch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        """One step of both networks; see `interfaces.System`.

        With `config.accumulate` = a > 1 the model's forward pass is computed twice, since its loss
        waits for the discriminator that the whole batch has updated.
        """
        if self.discriminator(axis_name) is None:
            return super().step(state, batch, axis_name=axis_name)
        ctx = self.context(state, axis_name)
        batch = self.select_stream(state, batch)
        extras = self.before_loss(ctx, state, batch)
        model = self.before_step(ctx, Network.of(state, NETWORK), batch, extras)
        old = Network.of(state, DISCRIMINATOR)
        update_both = self._one_pass if self.config.accumulate == 1 else self._two_passes
        model, new, metrics = update_both(ctx, model, old, batch, extras)
        new = self.after_step(old, new, extras)
        state = self.advance(state, {NETWORK: model, DISCRIMINATOR: new})
        return state, metrics | self.rate(state)

    # Parts of a step ------------------------------------------------------------------------

    def _one_pass(
        self,
        ctx: StepContext,
        model: Network,
        discriminator: Network,
        batch: DeviceBatch,
        extras: ExtrasT,
    ) -> tuple[Network, Network, Metrics]:
        """Both networks after a step whose batch is seen whole: one forward pass serves both."""
        prepared = self.prepare(batch)

        def of_model(params: Params) -> tuple[Array, tuple[Params, Network, Metrics]]:
            output, collections = self.forward(ctx, params, model.collections, prepared)
            of_discriminator = jax.grad(self._of_discriminator, argnums=1, has_aux=True)
            found = of_discriminator(
                ctx, discriminator.params, discriminator.collections, output, prepared, extras
            )
            new, metrics = self._updated(ctx, discriminator, found[0], *found[1])
            total, (updated, terms) = self._of_output(ctx, output, new, prepared, extras)
            return total, (collections, new.replace(collections=updated), metrics | terms)

        # Not the forward pass alone by jax.vjp: that sends zeros back through every output that no
        # loss uses, and a kernel's gradient is computed for zeros too.
        grads, (collections, new, metrics) = jax.grad(of_model, has_aux=True)(model.params)
        model, norms = model.update(ctx, grads, collections, self.optimizer)
        return model, new, metrics | norms

    def _two_passes(
        self,
        ctx: StepContext,
        model: Network,
        old: Network,
        batch: DeviceBatch,
        extras: ExtrasT,
    ) -> tuple[Network, Network, Metrics]:
        """Both networks after a step in micro-batches: all of them for one, then for the other."""

        def of_discriminator(
            ctx: StepContext, params: Params, start: Params, micro: DeviceBatch, extras: ExtrasT
        ) -> Loss:
            del start  # see below
            prepared = self.prepare(micro)
            output, _ = self.forward(ctx, model.params, model.collections, prepared)
            return self._of_discriminator(ctx, params, old.collections, output, prepared, extras)

        def of_model(
            ctx: StepContext,
            params: Params,
            carried: tuple[Params, Params],
            micro: DeviceBatch,
            extras: ExtrasT,
        ) -> tuple[Array, tuple[tuple[Params, Params], Metrics]]:
            prepared = self.prepare(micro)
            output, collections = self.forward(ctx, params, carried[0], prepared)
            total, (updated, terms) = self._of_output(ctx, output, new, prepared, extras)
            return total, ((collections, updated), terms)

        # The discriminator's collections are not carried from one micro-batch to the next: spectral
        # norms move once per step and network, as with the large batch.
        inputs = batch, extras, self.config.accumulate
        found = mean_gradient(of_discriminator, ctx, old.params, old.collections, *inputs)
        new, metrics = self._updated(ctx, old, *found)
        start = model.collections, new.collections
        grads, last, terms = mean_gradient(of_model, ctx, model.params, start, *inputs)
        model, norms = model.update(ctx, grads, last[0], self.optimizer)
        return model, new.replace(collections=last[1]), metrics | terms | norms

    def _of_discriminator(
        self,
        ctx: StepContext,
        params: Params,
        collections: Params,
        output: Output,
        batch: DeviceBatch,
        extras: ExtrasT,
    ) -> Loss:
        """`discriminator_loss` as a function of the discriminator's parameters."""
        discriminate, output = self._call(ctx, params), jax.lax.stop_gradient(output)
        total, (updated, terms) = self.discriminator_loss(
            ctx, discriminate, collections, output, batch, extras
        )
        return total, (updated, {"discriminator_loss": single(total), **terms})

    def _of_output(
        self,
        ctx: StepContext,
        output: Output,
        discriminator: Network,
        batch: DeviceBatch,
        extras: ExtrasT,
    ) -> Loss:
        """`generator_loss` as a function of the model's output."""
        discriminate = self._call(ctx, discriminator.params)
        total, (updated, terms) = self.generator_loss(
            ctx, discriminate, discriminator.collections, output, batch, extras
        )
        return total, (updated, {"loss": single(total), **terms})

    def _updated(
        self,
        ctx: StepContext,
        discriminator: Network,
        grads: Params,
        collections: Params,
        terms: Metrics,
    ) -> tuple[Network, Metrics]:
        """The discriminator after its optimizer step, and the metrics of its part of the step."""
        new, norms = discriminator.update(
            ctx, grads, collections, self.optimizer, prefix="discriminator_"
        )
        return new, terms | norms

    def _call(self, ctx: StepContext, params: Params) -> Discriminate:
        module = self.discriminator(ctx.axis_name)
        assert module is not None  # without one there is no adversarial step
        return partial(_discriminate, module, params)


def _discriminate(
    module: nn.Module, params: Params, collections: Params, images: Array
) -> tuple[Array, Params]:
    logits, updated = module.apply(
        {"params": params, **collections}, images, train=True, mutable=list(collections)
    )
    return logits, dict(updated)
