"""The few words that rooms speak to each other: batches, outputs, training state, systems."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from jaxharm.config import ModelConfig as ModelConfig
from jaxharm.config import TrainConfig

Array = jax.Array
Params = Mapping[str, Any]
# One batch of device arrays; keys, dtypes and ranges are those of jaxharm/schema.py.
Batch = Mapping[str, Array]
# name -> (sum, count), both already reduced over the data axis: means are formed by the reader.
Metrics = dict[str, tuple[Array, Array]]


class Output(struct.PyTreeNode):
    """What every model returns.

    Attributes:
        image: f32[b,h,w,3] in [0,1], the final result, already blended with the background.
        aux: everything a loss, a test or a figure needs; keys per model as in the README.
    """

    image: Array
    aux: dict[str, Any] = struct.field(default_factory=dict)


class TrainState(struct.PyTreeNode):
    """All that an optimization step reads and writes.

    Attributes:
        step: i32[], optimization steps done.
        key: typed PRNG key of the run; steps use `fold_in(key, step)`, never a split.
        params: network name -> its parameters ("model", or "generator", "discriminator", ...).
        collections: network name -> its other variable collections (batch_stats, spectral, ...).
        opt_state: network name -> optimizer state.
        ema: network name -> moving average of its variables (params and collections); empty where
            the run keeps none.
    """

    step: Array
    key: Array
    params: dict[str, Params]
    collections: dict[str, Params]
    opt_state: dict[str, Any]
    ema: dict[str, Params]


class System(Protocol):
    """A paper's networks, losses and optimizers as pure functions (frozen dataclass).

    `step` is written for one device's shard. With `axis_name` set, it reduces over that axis
    itself; with None the arrays are global. It returns metrics already summed over the axis.
    """

    @property
    def name(self) -> str:
        """Registry name of the deployed model."""
        ...

    @property
    def config(self) -> TrainConfig:
        """The run this system was made for."""
        ...

    @property
    def total_steps(self) -> int:
        """Length of that run in optimization steps."""
        ...

    @classmethod
    def from_config(cls, config: TrainConfig, *, total_steps: int) -> "System":
        """Builds the system; `total_steps` is the length of the run, for schedules."""
        ...

    def init(self, key: Array, batch: Batch) -> TrainState:
        """Fresh state from a typed PRNG key; `batch` only gives shapes."""
        ...

    def with_pretrained(self, state: TrainState) -> TrainState:
        """A fresh state with the networks that the run takes from elsewhere, such as a teacher.

        Called once, outside any compiled function, where a run starts anew: not where it resumes,
        nor for evaluation.
        """
        ...

    def step(
        self, state: TrainState, batch: Batch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        """One optimization step."""
        ...

    def predict(self, state: TrainState, batch: Batch) -> Output:
        """Inference on a batch, with the averaged parameters where the run keeps them."""
        ...

    def maps(self, state: TrainState, batch: Batch) -> dict[str, Array]:
        """Images that explain a prediction, by the name that a reader sees; may be empty.

        Returns:
            name -> f32[b,h,w,3], an image in [0,1], or f32[b,h,w,1], a heat map in [0,1]; h and w
            are those of the batch. For a given state the names are always the same.
        """
        ...

    def variables(self, state: TrainState) -> dict[str, Params]:
        """The deployed model's variables (params, batch_stats, ...), as `predict` uses them."""
        ...

    def with_variables(self, state: TrainState, variables: dict[str, Params]) -> TrainState:
        """`state` with the deployed model's variables replaced; its average restarts there."""
        ...


def to_float(images: Array) -> Array:
    """Images u8 in 0..255 or float in [0,1], any shape -> f32 in [0,1]."""
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0
    return images.astype(jnp.float32)
