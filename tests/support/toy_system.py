"""A small system with everything that can go wrong across devices: batch norm, dropout, a
foreground-weighted loss. Importing it registers "toy"."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxharm import registry
from jaxharm.config import TrainConfig
from jaxharm.interfaces import Output
from jaxharm.nn.norm import BatchNorm
from jaxharm.training.supervised import SupervisedSystem


@dataclass(frozen=True)
class ToyConfig:
    features: int = 4
    dropout: float = 0.1
    size_multiple: int = 1
    min_size: int = 1
    default_size: int = 8

    @classmethod
    def tiny(cls) -> "ToyConfig":
        return cls()

    def shrunk(self) -> "ToyConfig":
        return self


@dataclass(frozen=True)
class ToyObjective:
    weight: float = 1.0


class Toy(nn.Module):
    config: ToyConfig
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, composite, mask, background=None, *, train=False):
        x = jnp.concatenate([composite, mask], -1).astype(self.dtype)
        x = nn.Conv(self.config.features, (3, 3), use_bias=False, dtype=self.dtype, name="in")(x)
        x = nn.relu(BatchNorm(self.axis_name, name="norm")(x, train=train))
        if train and not self.is_initializing():
            x = x * _keep(self.make_rng("dropout"), x, self.config.dropout, self.axis_name)
        raw = composite + nn.Conv(3, (1, 1), dtype=self.dtype, name="out")(x)
        return Output(image=composite * (1 - mask) + raw * mask, aux={"raw": raw})


def _keep(key, x, rate, axis_name):
    """Dropout keyed by the sample's place in the global batch."""
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * x.shape[0]
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(x.shape[0]))
    kept = jax.vmap(lambda k: jax.random.bernoulli(k, 1 - rate, x.shape[1:]))(keys)
    return kept / (1 - rate)


class ToySystem(SupervisedSystem):
    MODEL = Toy

    def loss(self, ctx, output, batch, extras):
        error = jnp.sum(batch.mask * jnp.square(output.image - batch.target))
        area = jnp.sum(batch.mask)
        if ctx.axis_name is not None:
            error, area = jax.lax.psum((error, area), ctx.axis_name)
        return self.config.objective.weight * error / area, {"fg_error": (error, area)}


if "toy" not in registry.list_models():
    registry.register(
        registry.Entry(
            name="toy",
            model=lambda: Toy,
            config=lambda: ToyConfig,
            objective=lambda: ToyObjective,
            system=lambda: ToySystem,
            parameters=0,
            paper="",
            weights="",
            license="",
        )
    )


def toy_config(**changes) -> TrainConfig:
    return TrainConfig(
        **{
            "system": "toy",
            "model": ToyConfig(),
            "objective": ToyObjective(),
            "steps": 10,
            **changes,
        }
    )
