"""The system of a model and a discriminator that is trained against it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm.interfaces import Array, Batch, Metrics, Output, Params, TrainState
from jaxharm.training.supervised import NETWORK, SupervisedSystem
from jaxharm.training.updates import Network, Tag, mean_gradient, replace_networks, step_key

DISCRIMINATOR = "discriminator"
# (collections, images) -> (logits, new collections): one training-mode call of the discriminator
Judge = Callable[[Params, Array], tuple[Array, Params]]


@dataclass(frozen=True)
class AdversarialSystem(SupervisedSystem):
    """Trains the model under `generator_loss` and, where there is one, a discriminator.

    A step is: the model's forward pass; an update of the discriminator; an update of the model by
    the same pass, judged by the updated discriminator. Both networks use the optimizer of the
    config, each with its own state. Without a discriminator this is a `SupervisedSystem`.
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
        judge: Judge,
        collections: Params,
        output: Output,
        batch: dict[str, Array],
        *,
        axis_name: str | None,
    ) -> tuple[Array, tuple[Params, Metrics]]:
        """What the discriminator minimizes.

        Args:
            judge: the discriminator; its gradients are taken.
            collections: its state before the first call.
            output: of the model, without gradient.
            batch: `prepare`d batch of this device.
            axis_name: as in `SupervisedSystem.loss`.

        Returns:
            The global loss; the collections after the last call, and its terms.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no discriminator_loss")

    def generator_loss(
        self,
        judge: Judge,
        collections: Params,
        output: Output,
        batch: dict[str, Array],
        *,
        axis_name: str | None,
    ) -> tuple[Array, tuple[Params, Metrics]]:
        """What the model minimizes; as `discriminator_loss`, but only `output` has gradients."""
        raise NotImplementedError(f"{type(self).__name__} defines no generator_loss")

    def choose(self, state: TrainState, batch: Batch) -> dict[str, Array]:
        """What of `batch` this step trains on; called once per step, before micro-batches."""
        del state
        return dict(batch)

    def before(
        self, model: Network, batch: dict[str, Array], key: Array, axis_name: str | None
    ) -> Network:
        """The model as the step begins."""
        del batch, key, axis_name
        return model

    def settle(self, old: Network, new: Network, batch: dict[str, Array]) -> Network:
        """The discriminator after a step that led from `old` to `new`."""
        del old, batch
        return new

    # The interface of interfaces.py -----------------------------------------------------

    def init(self, key: Array, batch: Batch) -> TrainState:
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
        self, state: TrainState, batch: Batch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        """One step of both networks; see `interfaces.System`.

        With `config.accumulate` = a > 1 the model's forward pass is computed twice, since its loss
        waits for the discriminator that the whole batch has updated.
        """
        module, count = self.discriminator(axis_name), self.config.accumulate
        if module is None:
            return super().step(state, batch, axis_name=axis_name)
        chosen, key = self.choose(state, batch), step_key(state)
        model = self.before(Network.of(state, NETWORK), chosen, key, axis_name)
        old = Network.of(state, DISCRIMINATOR)

        def learn(grads: Params, updated: Params, terms: Metrics) -> tuple[Network, Metrics]:
            new, norms = old.learn(
                grads, updated, self.optimizer, axis_name=axis_name, prefix="discriminator_"
            )
            return new, terms | norms

        def judge_loss(params: Params, output: Output, prepared: dict[str, Array]) -> Any:
            # Every micro-batch begins at the same collections: spectral norms move once per step.
            total, (updated, terms) = self.discriminator_loss(
                partial(_call, module, params),
                old.collections,
                jax.lax.stop_gradient(output),
                prepared,
                axis_name=axis_name,
            )
            return total, (updated, {"discriminator_loss": _single(total), **terms})

        def judge_objective(params: Params, _: Any, batch: dict[str, Array], key: Array) -> Any:
            prepared = self.prepare(batch)
            output, _ = self.forward(model.params, model.collections, prepared, key, axis_name)
            return judge_loss(params, output, prepared)

        def objective(params: Params, carried: Any, batch: dict[str, Array], key: Array) -> Any:
            prepared = self.prepare(batch)
            output, updated = self.forward(params, carried[0], prepared, key, axis_name)
            judge, terms = learned[0], {}
            if count == 1:
                grads, (collections, terms) = jax.grad(judge_loss, has_aux=True)(
                    old.params, output, prepared
                )
                judge, terms = learn(grads, collections, terms)
            total, (collections, own) = self.generator_loss(
                partial(_call, module, judge.params),
                judge.collections,
                output,
                prepared,
                axis_name=axis_name,
            )
            after = updated, judge.replace(collections=collections)
            return total, (after, {"loss": _single(total), **terms, **own})

        learned: tuple[Network, Metrics] = (old, {})
        if count > 1:
            learned = learn(
                *mean_gradient(judge_objective, old.params, old.collections, chosen, key, count)
            )
        start = model.collections, learned[0]
        grads, (collections, judge), metrics = mean_gradient(
            objective, model.params, start, chosen, key, count
        )
        model, norms = model.learn(grads, collections, self.optimizer, axis_name=axis_name)
        judge = self.settle(old, judge, chosen)
        state = self.advance(state, {NETWORK: model, DISCRIMINATOR: judge})
        return state, learned[1] | metrics | norms | self.rate(state)


def _call(
    module: nn.Module, params: Params, collections: Params, images: Array
) -> tuple[Array, Params]:
    logits, updated = module.apply(
        {"params": params, **collections}, images, train=True, mutable=list(collections)
    )
    return logits, dict(updated)


def _single(value: Array) -> tuple[Array, Array]:
    return value, jnp.ones((), jnp.float32)
