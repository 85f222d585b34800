"""The few words that rooms speak to each other: batches, outputs, training state, systems."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct

from jaxharm.config import ModelConfig as ModelConfig
from jaxharm.config import RunConfig
from jaxharm.images.spaces import Space
from jaxharm.measures import Judge, Measures
from jaxharm.schema import DEVICE_FIELDS, HOST_FIELDS, Batch, Pair

Array = jax.Array
PyTree: TypeAlias = Any  # arrays in any nesting; JAX has no type for it
Params: TypeAlias = Mapping[str, Any]
DeviceBatch: TypeAlias = Batch[Array]
# name -> (sum, count), both already reduced over the data axis: means are formed by the reader.
Metrics = dict[str, tuple[Array, Array]]
S = TypeVar("S", covariant=True)
C = TypeVar("C", covariant=True)

# schema.py must not import JAX, so its structures become trees here. Host-only fields are dropped:
# a batch that passes through jit, scan or a device transfer comes out without them.
jax.tree_util.register_dataclass(
    Batch, data_fields=DEVICE_FIELDS, meta_fields=(), drop_fields=HOST_FIELDS
)
jax.tree_util.register_dataclass(
    Pair, data_fields=("background", "composite", "mask"), meta_fields=()
)


class Output(struct.PyTreeNode):
    """What every model returns.

    Attributes:
        image: f32[b,h,w,3] in [0,1], the final result, already blended with the background.
        aux: everything a loss, a test or a figure needs; keys per model in
            docs/reference/aux.md.
    """

    image: Array
    aux: dict[str, PyTree] = struct.field(default_factory=dict)


@dataclass(frozen=True)
class StepContext:
    """What a loss may need beside images.

    Attributes:
        step: i32[], optimization steps done before this one.
        total_steps: of the run.
        key: typed PRNG key of this step, or of this micro-batch of it.
        axis_name: mapped data axis over which sums, counts and means are reduced; None where the
            arrays are global.
    """

    step: Array
    total_steps: int
    key: Array
    axis_name: str | None

    def with_key(self, key: Array) -> Self:
        """The same step with another key."""
        return dataclasses.replace(self, key=key)


class Extras(NamedTuple, Generic[S, C]):
    """What a system computes before its losses and hands to them, cut off from any gradient.

    Attributes:
        per_sample: arrays with the samples along their first axis, such as a teacher's features;
            they are split into micro-batches as the batch is.
        shared: what every micro-batch sees whole, such as frozen weights or a choice of the step.
    """

    per_sample: S
    shared: C


NoExtras: TypeAlias = Extras[None, None]


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
    opt_state: dict[str, PyTree]
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
    def config(self) -> RunConfig:
        """The run this system was made for."""
        ...

    @property
    def total_steps(self) -> int:
        """Length of that run in optimization steps."""
        ...

    @property
    def length_matters(self) -> bool:
        """Whether a step's numbers depend on that length: then a longer run is another run."""
        ...

    @property
    def measures(self) -> Measures | None:
        """What its own `judge` measures; None: results are compared with real photographs."""
        ...

    @classmethod
    def from_config(cls, config: RunConfig, *, total_steps: int) -> "System":
        """Builds the system; `total_steps` is the length of the run, for schedules."""
        ...

    def init(self, key: Array, batch: DeviceBatch) -> TrainState:
        """Fresh state from a typed PRNG key; `batch` only gives shapes."""
        ...

    def with_pretrained(self, state: TrainState) -> TrainState:
        """A fresh state with the networks that the run takes from elsewhere, such as a teacher.

        Called once, outside any compiled function, where a run starts anew: not where it resumes,
        nor for evaluation.
        """
        ...

    def loaded(self) -> dict[str, str]:
        """What `with_pretrained` loads, for messages: "teacher" -> the folder it comes from."""
        ...

    def step(
        self, state: TrainState, batch: DeviceBatch, *, axis_name: str | None
    ) -> tuple[TrainState, Metrics]:
        """One optimization step."""
        ...

    def predict(self, state: TrainState, batch: DeviceBatch) -> Output:
        """Inference on a batch, with the averaged parameters where the run keeps them."""
        ...

    def figures(self, state: TrainState, batch: DeviceBatch) -> dict[str, Array]:
        """Images that explain a prediction, by the name that a reader sees; may be empty.

        Returns:
            name -> f32[b,h,w,3], an image in [0,1], or f32[b,h,w,1], a heat map in [0,1]; h and w
            are those of the batch. For a given state the names are always the same.
        """
        ...

    def judge(self, variables: Params) -> Judge | None:
        """What measures the results of these variables, where the system has `measures`.

        Args:
            variables: of the deployed model, in memory of the host.
        """
        ...

    def harmonize_options(self) -> Any:
        """The options of the model's runner under which it gives what `predict` gives.

        None: its defaults.
        """
        ...

    def variables(self, state: TrainState) -> dict[str, Params]:
        """The deployed model's variables (params, batch_stats, ...), as `predict` uses them."""
        ...

    def with_variables(self, state: TrainState, variables: dict[str, Params]) -> TrainState:
        """`state` with the deployed model's variables replaced; its average restarts there."""
        ...


Transform: TypeAlias = Callable[[np.ndarray], np.ndarray]


def same(value: np.ndarray) -> np.ndarray:
    """The layout of biases, scales and statistics, which is the official one."""
    return value


@dataclass(frozen=True)
class Rule:
    """One official tensor: its name, where it goes (collection, then path) and its new layout."""

    torch_name: str
    path: tuple[str, ...]  # ("params", "encoder1", "conv", "kernel"), ("batch_stats", ...)
    transform: Transform = same


@dataclass(frozen=True)
class NameMap:
    """All rules of a model, and the official tensors that are known and dropped on purpose."""

    rules: Sequence[Rule]
    dropped: Collection[str] = ()


TorchNames: TypeAlias = Callable[[Any], NameMap]  # of the Config of the model's own room


def to_float(images: Array) -> Array:
    """Images u8 in 0..255 or float in [0,1], any shape -> f32 in [0,1]."""
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0
    return images.astype(jnp.float32)


OptionsT = TypeVar("OptionsT")
PreparedT = TypeVar("PreparedT")
PredictionT = TypeVar("PredictionT")
# Given the name of a stage of the work, a context that may measure what happens inside.
Timer = Callable[[str], AbstractContextManager[None]]


def untimed(stage: str) -> AbstractContextManager[None]:
    """The `Timer` that measures nothing."""
    del stage
    return nullcontext()


@dataclass(frozen=True)
class Inputs:
    """The images of one call of inference, checked: `jaxharm.inference.pixels.check_inputs`.

    Attributes:
        composite: [h,w,3] in the caller's dtype: u8, u16, or float in [0,1].
        alpha: [h,w,1] of the composite, to be put back on the result, or None.
        mask: f32[h,w] in [0,1], not empty.
        background: [h,w,3] in the composite's dtype, or None.
        space: the color space of composite and background; None: sRGB. `jaxharm.inference.pixels`
            converts.
        visible: [h,w,3], the composite with other colors where alpha hides it, or None where
            nothing is hidden: what a network may look at.
    """

    composite: np.ndarray
    alpha: np.ndarray | None
    mask: np.ndarray
    background: np.ndarray | None
    space: Space | None = None
    visible: np.ndarray | None = None


@dataclass(frozen=True)
class RunnerSettings:
    """What a runner is told beside its network.

    Attributes:
        name: registry name of the model, for messages.
        needs_background: whether the network reads a background image.
        size: side that the network predicts at (the image is squashed to a square); None: the
            runner chooses it by the image.
        timer: called around every stage of the work.
    """

    name: str
    needs_background: bool = False
    size: int | None = None
    timer: Timer = untimed


class Runner(Protocol[OptionsT, PreparedT, PredictionT]):
    """A network with its weights, applied to images of any size: numpy arrays in and out.

    The work has three stages, so that a prediction, made at the network's own size, can be applied
    at another one: `prepare` shrinks or pads, `predict` runs the network, `apply` makes the
    full-size result. `run` does all three. Calls may come from several threads.

    Attributes:
        Options: frozen dataclass of the choices that a call may make beside the strength. Every
            field has a default, and `__post_init__` refuses values out of range (InputError).
        parametric: whether a prediction has a meaning of its own (curves, say): it can be kept,
            edited and applied to other images, without the network.
        fills_background: whether a missing background is made up from the composite.
        outputs: what an exported program of the network gives, "image" first: keys of `Output.aux`.
        settings: see `RunnerSettings`.
    """

    Options: type[OptionsT]
    parametric: bool
    fills_background: bool
    outputs: tuple[str, ...]
    settings: RunnerSettings

    def __init__(self, model: nn.Module, variables: Params, settings: RunnerSettings) -> None:
        """`variables` are those of `model`: {"params": ..., "batch_stats": ...}."""
        ...

    def check(self, options: OptionsT) -> None:
        """InputError where these weights cannot do what the options ask for."""
        ...

    def as_is(self, height: int, width: int) -> bool:
        """Whether the network sees an image of this size just as it is.

        The result is then the network's own image, which can be predicted in batches.
        """
        ...

    def prepare(self, inputs: Inputs, options: OptionsT) -> PreparedT:
        """What the network sees of an image."""
        ...

    def predict(self, prepared: PreparedT, options: OptionsT) -> PredictionT:
        """What the network makes of it, at the size that it sees."""
        ...

    def apply(
        self, inputs: Inputs, prediction: PredictionT, strength: float, options: OptionsT
    ) -> np.ndarray:
        """The result at the size of `inputs`, in the composite's dtype, with its alpha.

        Returns:
            [h,w,3] or [h,w,4]; [n,h,w,c] where the options ask for several results.
        """
        ...

    def run(self, inputs: Inputs, strength: float, options: OptionsT) -> np.ndarray:
        """All three stages; see `apply` for the result."""
        ...


# A runner of whatever model: shared code hands its options and predictions on unread.
AnyRunner = Runner[Any, Any, Any]
