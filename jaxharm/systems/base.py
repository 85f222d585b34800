"""The interface that the training loop and the evaluators know; they know no paper."""

from typing import Protocol

from jaxharm import registry
from jaxharm.config import TrainConfig
from jaxharm.interfaces import Array, Batch, Metrics, Output, Params, TrainState


class System(Protocol):
    """A paper's networks, losses and optimisers as pure functions (frozen dataclass).

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
        """Length of that run in optimisation steps."""
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
        """One optimisation step."""
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


def make_system(config: TrainConfig, *, total_steps: int) -> System:
    """The system that `config.system` names."""
    return registry.resolve(registry.get(config.system).system).from_config(
        config, total_steps=total_steps
    )
