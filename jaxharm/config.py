"""Run configurations: frozen dataclasses that refuse values out of range.

`jaxharm.config_file` loads them from files; `jaxharm.overrides` changes them by name. The comment
behind a field is its help text: `--help` and the config reference of the documentation show it.
"""

import dataclasses
import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeAlias, TypeVar, get_args

from jaxharm.errors import InputError
from jaxharm.fields import (
    Count,
    Decay,
    Inside,
    Name,
    Natural,
    NonNegative,
    Positive,
    Probability,
    Share,
    check_fields,
    check_rising,
)
from jaxharm.joined import check_splits, paired

ColorFamily: TypeAlias = Literal[
    "lab_transfer", "lab_histogram", "covariance", "curves", "photometric", "polynomial"
]
Family: TypeAlias = Literal[ColorFamily, "gain", "gain_field", "poisson"]
MaskResize: TypeAlias = Literal["linear", "linear_aa", "linear_binary", "nearest_binary"]
MatmulPrecision: TypeAlias = Literal["default", "high", "highest"]
Launcher: TypeAlias = Literal["shard_map", "pmap", "jit", "fsdp"]
Implementation: TypeAlias = Literal[
    "reference", "pallas_tpu", "pallas_gpu", "pallas_mosaic_gpu", "pallas_interpret"
]
# How the seeds of a run are trained in one process: one after the other, or in one program.
Packing: TypeAlias = Literal["process", "vmap"]

Json: TypeAlias = dict[str, Any]  # a decoded JSON object


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes that composite, mask, target and background of a sample share.

    Source: docs/data.md, "Samples".
    """

    flip: Probability = 0.5  # probability of a horizontal flip
    crop_scale: tuple[Share, Share] | None = None  # area range of a random resized crop; None: off
    crop_ratio: tuple[Positive, Positive] = (0.75, 4 / 3)  # width / height range of that crop
    keep_background: Probability = 0.05  # of keeping a crop with at most one foreground pixel
    recolor: Probability = 0.0  # probability of one photometric change of all images alike (ours)

    def __post_init__(self) -> None:
        check_fields(self)
        check_rising(self, "crop_scale", "crop_ratio")


@dataclass(frozen=True)
class SynthesisConfig:
    """Composites made while training, by recoloring the foreground of real photographs.

    Source: docs/data.md, "Recoloring".
    """

    probability: Probability = 0.0  # share of paired records made anew; `photos` sets always are
    families: tuple[Family, ...] = get_args(ColorFamily)  # kinds of recoloring, each equally likely
    unchanged: Probability = 0.0  # share of those that stay as they are, to be left alone (ours)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.families:
            raise InputError("SynthesisConfig.families is empty: name at least one")


@dataclass(frozen=True)
class UnpairedConfig:
    """A second stream of composites that have no ground truth, for adversarial training.

    Every sample then has an unpaired composite with its mask and background too. The defaults are
    those of the Artist-Retouched data. Source: docs/data.md, "Unpaired composites".
    """

    enabled: bool = False  # whether there is a second stream
    composites: str = ""  # built sets of ready-made composites without ground truth, joined by '+'
    composites_split: Name = "train"  # split of those sets, or one for each, joined by '+'
    composites_share: Probability = 0.0  # of the second stream; the rest is pasted while training
    translate: Natural = 10  # a pasted foreground is shifted by -translate..translate-1 pixels
    brightness: Probability = 0.35  # pasted foregrounds: factor between 1 - this and 1 + this
    contrast: Probability = 0.2  # likewise, for contrast
    jitter_pairs: bool = True  # the paired composite's foreground gets such a jitter as well
    plate: Literal["diffusion", "mean"] = "diffusion"  # the fill where a set has no backgrounds

    def __post_init__(self) -> None:
        check_fields(self)
        names, splits = self.composites, self.composites_split
        check_splits("UnpairedConfig", ("composites", names), ("composites_split", splits))

    @property
    def sets(self) -> tuple[tuple[str, str], ...]:
        """The sets of ready-made composites and their splits."""
        wanted = self.enabled and self.composites
        return paired(self.composites, self.composites_split) if wanted else ()


@dataclass(frozen=True)
class PaintingsConfig:
    """Objects of the data set pasted on paintings while training.

    Every sample is then an object's photograph, resized to the painting's square and pasted at the
    place it has in the photograph; `background` is the painting, and `target` the composite, as
    there is no ground truth. An epoch is one pass over the paintings. With the name "own" the data
    set holds ready-made composites with their paintings. Source: docs/data.md, "Paintings".
    """

    name: str = ""  # built sets, joined by '+'; "textures": generated; "own": see above
    split: Name = "train_paintings"  # split of those sets, or one for each, joined by '+'
    fixed_pairing: bool = False  # a painting always gets the same photograph, as officially
    textures: Count = 2000  # how many images "textures" generates

    def __post_init__(self) -> None:
        check_fields(self)
        check_splits("PaintingsConfig", ("name", self.name), ("split", self.split))

    @property
    def sets(self) -> tuple[tuple[str, str], ...]:
        """The sets of paintings and their splits."""
        return paired(self.name, self.split) if self.name else ()


@dataclass(frozen=True)
class DataConfig:
    """Training data. `name` may join several data sets with '+', drawn by `weights`."""

    name: Name = "demo"  # a built data set, or several joined by '+'
    data_dir: str | None = None  # folder of the built sets; None: TFDS_DATA_DIR, then the default
    split: Name = "train"  # split of the data sets, or one for each, joined by '+'
    weights: tuple[Positive, ...] | None = None  # share of each joined data set; None: by size
    batch_size: Count = 16  # global: over all devices and hosts
    image_size: Count = 256  # side of the square that images are resized to, in pixels
    image_resize: Literal["linear_noaa", "linear_aa", "cubic_aa"] = "linear_noaa"  # of images
    mask_resize: MaskResize = "linear_binary"  # of masks; "binary": thresholded at 0.5
    num_workers: Natural = 0  # decoding processes; 0: threads of the main process
    num_threads: Natural = 4  # reading threads, of each process
    augment: AugmentConfig = AugmentConfig()  # random crops, flips and color changes
    synthesis: SynthesisConfig = SynthesisConfig()  # composites made while training
    unpaired: UnpairedConfig = UnpairedConfig()  # a second stream without ground truth
    paintings: PaintingsConfig = PaintingsConfig()  # objects pasted on paintings
    # "skip:N": the next one instead, for up to N records of each set in each reading process.
    on_error: str = "fail"  # a record that cannot be read: "fail" ends the run; or "skip:N"
    labels: str = ""  # csv file id,LABEL of ready-made composites (paintings.name "own")
    label_classes: Natural = 0  # labels are 1 to this; 0: any number from 0 on
    shuffle_targets: bool = (
        False  # pairs get another record's photograph: a control, learns nothing
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if not re.fullmatch(r"fail|skip:[1-9]\d*", self.on_error):
            raise InputError(
                f"DataConfig.on_error={self.on_error!r} is neither 'fail' nor 'skip:N', such as skip:10"
            )
        check_splits("DataConfig", ("name", self.name), ("split", self.split))
        parts = len(self.name.split("+"))
        if self.weights is not None and len(self.weights) != parts:
            raise InputError(
                f"DataConfig.weights={self.weights!r} needs one number for each of the {parts} "
                f"data sets of name={self.name!r}"
            )

    @property
    def sets(self) -> tuple[tuple[str, str], ...]:
        """Every joined data set and the split of it that is trained on."""
        return paired(self.name, self.split)

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """All data sets that the run reads for training, further streams included."""
        unpaired, paintings = self.unpaired.sets, self.paintings.sets
        return (*self.sets, *unpaired, *(p for p in paintings if p[0] != "own"))


@dataclass(frozen=True)
class OptimConfig:
    """One optimizer and its learning-rate schedule."""

    name: Literal["lion", "adam", "adamw", "sgd"] = "adam"  # the optimizer
    lr: NonNegative = 1e-3  # learning rate, after the warm-up
    b1: Decay = 0.9  # decay of the first moment; momentum of "sgd"
    b2: Decay = 0.999  # decay of the second moment
    eps: NonNegative = 1e-8  # added to the denominator of "adam" and "adamw"
    weight_decay: NonNegative = 0.0  # decoupled for "adamw" and "lion", else added to the gradient
    schedule: Literal["constant", "cosine", "step", "linear", "stairs"] = "constant"  # of the rate
    warmup_steps: Natural = 0  # steps in which the rate rises from 0
    final_lr: NonNegative = 0.0  # where "cosine" and "linear" end, at the last step of the run
    milestones: tuple[Inside, ...] = ()  # "step", "stairs", start of "linear": shares of the run
    gamma: Positive = 0.1  # "step": factor at each milestone
    clip_norm: Positive | None = None  # limit of the global gradient norm; None: no limit

    def __post_init__(self) -> None:
        check_fields(self)
        if list(self.milestones) != sorted(set(self.milestones)):
            raise InputError(f"OptimConfig.milestones={self.milestones!r} must rise")


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation during training and by `jaxharm eval`."""

    every: Natural = 0  # steps between evaluations; 0: only at the end
    data: Name = "demo"  # a built data set
    split: Name = "test"  # which part of it
    batch_size: Count = 16  # global; no effect on the numbers
    protocol: Name = "default_256"  # how metrics are measured: sizes, resizing, rounding
    paintings: str = ""  # as data.paintings.name; "own": composites with their paintings
    paintings_split: Name = "test_paintings"  # split of those paintings

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def loading(self) -> Json:
        """Keyword arguments of `data_pipelines.loader.eval_batches`, beside the protocol's."""
        names = ("split", "batch_size", "paintings", "paintings_split")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class CheckpointConfig:
    """What is kept of a run: its last states, and its best one by a metric.

    That is fmse, mse, psnr or fpsnr, or a measure of the system's own where it has them
    (docs/metrics.md). "last" takes the latest evaluation whatever its numbers: nothing is selected
    on the data that is evaluated.
    """

    every: Count = 1000  # steps between checkpoints
    keep: Count = 2  # how many of the last states stay
    best: Name = "fmse"  # metric of the best state; "last": the latest one

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class LogConfig:
    """What a run reports, and how often; and after how long without news it ends."""

    every: Count = 50  # steps between rows of numbers
    images_every: Natural = 1000  # steps between rows of images; 0: none
    tensorboard: bool = True  # whether event files for TensorBoard are written
    hang_limit: Natural = 3600  # seconds that a step, a save or an evaluated batch may take; 0: any

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class OpsConfig:
    """How the operations of `jaxharm.ops` run."""

    implementation: Implementation | None = None  # None: what is measured to be best here

    def __post_init__(self) -> None:
        check_fields(self)


class ModelConfig(Protocol):
    """What every model's frozen Config offers beside its own fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __hash__(self) -> int:
        """Configs are keys of what is computed once for each."""
        ...

    @property
    def size_multiple(self) -> int:
        """Image sides must be a multiple of this many pixels."""
        ...

    @property
    def min_size(self) -> int:
        """The smallest image side, in pixels."""
        ...

    @property
    def default_size(self) -> int:
        """The image side that the network predicts at unless told otherwise, in pixels."""
        ...

    @classmethod
    def tiny(cls) -> Self:
        """The default network at the smallest sizes: for tests."""
        ...

    def shrunk(self) -> Self:
        """The same choices at the smallest sizes: for trying a run and for tests.

        Two configs that differ in a choice must differ afterwards too.
        """
        ...


class Objective(Protocol):
    """A frozen dataclass with a system's loss weights and choices."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


# Covariant, as a frozen config is only read: a run of one system is a run of some system.
ModelT = TypeVar("ModelT", bound=ModelConfig, covariant=True)
ObjectiveT = TypeVar("ObjectiveT", bound=Objective, covariant=True)
DataclassT = TypeVar("DataclassT", bound=Objective)


@dataclass(frozen=True)
class TrainConfig(Generic[ModelT, ObjectiveT]):
    """One run: everything that determines its numbers, except the machine.

    A system that names its two parts, `TrainConfig[ItsConfig, ItsObjective]`, has their fields
    checked by the type checker.
    """

    system: str  # a name of jaxharm.list_models()
    model: ModelT  # that model's frozen Config dataclass
    objective: ObjectiveT  # that system's frozen Objective dataclass: loss weights and choices
    data: DataConfig = DataConfig()  # training data
    optim: OptimConfig = OptimConfig()  # optimizer and learning-rate schedule
    eval: EvalConfig = EvalConfig()  # evaluation
    checkpoint: CheckpointConfig = CheckpointConfig()  # what is kept of the run
    log: LogConfig = LogConfig()  # what the run reports
    ops: OpsConfig = OpsConfig()  # implementations of the operations
    seed: Natural = 0  # of everything that is drawn: weights, data order, augmentation
    steps: Count | None = None  # optimization steps; exactly one of steps and epochs
    epochs: Positive | None = None  # passes over the training data
    accumulate: Count = 1  # micro-batches per optimization step
    ema_decay: Inside | None = None  # moving average of the parameters, used for evaluation
    init_from: str | None = None  # a run or weights folder to start from: weights only
    parallel: Launcher = "shard_map"  # how a step is spread over devices
    precision: Literal["float32", "bfloat16"] = "float32"  # of convolutions and matrix products
    # How exactly a chip multiplies float32; the parity with the papers is tested with "highest".
    matmul_precision: MatmulPrecision = "highest"  # of float32 products; "default": the device's

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("model", "objective"):
            value = getattr(self, name)
            if not dataclasses.is_dataclass(value) or isinstance(value, type):
                raise InputError(f"TrainConfig.{name}={value!r} is not a dataclass instance")


RunConfig: TypeAlias = TrainConfig[ModelConfig, Objective]  # a run of some system
Overlay: TypeAlias = Callable[[RunConfig], RunConfig]


def to_json(config: Objective) -> Json:
    """The resolved config as plain JSON values (tuples become lists)."""
    values: Json = json.loads(json.dumps(dataclasses.asdict(config)))
    return values


def from_json(cls: type[DataclassT], values: Mapping[str, Any]) -> DataclassT:
    """Rebuilds a frozen dataclass from `to_json`'s values; unknown keys are errors."""
    hints = typing.get_type_hints(cls)
    unknown = set(values) - set(hints)
    if unknown:
        raise InputError(
            f"unknown {cls.__name__} keys {sorted(unknown)}: written by another version?"
        )
    return cls(**{key: _coerce(value, hints[key]) for key, value in values.items()})


def _coerce(value: Any, hint: Any) -> Any:
    if isinstance(value, Mapping):
        # The field's own class, or the one of an optional field.
        for option in (hint, *get_args(hint)):
            if dataclasses.is_dataclass(option):
                return from_json(typing.cast("type[Objective]", option), value)
    if not isinstance(value, list):
        return value
    options = (hint, *get_args(hint))  # the tuple itself, or the one of an optional field
    items = next((get_args(o) for o in options if typing.get_origin(o) is tuple), ())
    return tuple(_coerce(v, items[0] if items else Any) for v in value)
