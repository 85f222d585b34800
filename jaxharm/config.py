"""Run configurations: frozen dataclasses, loaded from `configs/`, overridden by name and type."""

import dataclasses
import difflib
import importlib.util
import json
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jaxharm.errors import InputError


@dataclass(frozen=True)
class AugmentConfig:
    """Changes that composite, mask, target and plate share (specs/datasets 9.4)."""

    flip: float = 0.5  # probability of a horizontal flip
    crop_scale: tuple[float, float] | None = None  # area range of a random resized crop; None: off
    crop_ratio: tuple[float, float] = (0.75, 4 / 3)  # aspect range of that crop
    keep_background: float = 0.05  # probability of keeping a crop with at most one fg pixel
    recolor: float = 0.0  # probability of one photometric change of all images alike (ours)


@dataclass(frozen=True)
class SynthesisConfig:
    """On-the-fly recoloring of the target's foreground (data_pipelines/samples/recoloring.py)."""

    probability: float = 0.0  # share of paired records re-made; `photos` records always are
    families: tuple[str, ...] = (
        *("lab_transfer", "lab_histogram", "covariance"),
        *("curves", "photometric", "polynomial"),
    )


@dataclass(frozen=True)
class UnpairedConfig:
    """A second stream of composites that have no ground truth, for adversarial training.

    Every sample then brings `unpaired_composite`, `unpaired_mask` and `unpaired_background` too
    (data_pipelines/samples/unpaired.py; specs/pih 6.2-6.4; defaults are Artist-Retouched's).
    """

    enabled: bool = False
    composites: str = ""  # built sets of ready-made composites without ground truth, joined by '+'
    composites_split: str = "train"
    composites_share: float = 0.0  # of the second stream; the rest are placements made on the fly
    translate: int = 10  # a pasted foreground is shifted by -translate..translate-1 pixels
    brightness: float = 0.35  # pasted foregrounds: factor in 1 -+ brightness
    contrast: float = 0.2
    jitter_pairs: bool = True  # the paired composite's foreground gets such a jitter as well
    plate: Literal["diffusion", "mean"] = "diffusion"  # the fill where a set has no plates


@dataclass(frozen=True)
class PaintingsConfig:
    """Objects of `data.name` pasted on paintings while training (specs/propih 5.2).

    Every sample is then an object's photograph, squashed to the painting's square and pasted where
    it lies there; `background` is the painting and `target` the composite, as there is no truth
    (data_pipelines/samples/painted.py). An epoch is one pass over the paintings.
    """

    name: str = ""  # built sets of paintings or photographs, joined by '+'; "textures": generated
    split: str = "train_paintings"
    fixed_pairing: bool = False  # a painting always gets the same photograph, as officially
    textures: int = 2000  # how many there are of "textures"


@dataclass(frozen=True)
class DataConfig:
    """Training data. `name` may join several data sets with '+', drawn by `weights`."""

    name: str = "demo"
    data_dir: str | None = None  # None: TFDS_DATA_DIR, then ~/tensorflow_datasets
    split: str = "train"
    weights: tuple[float, ...] | None = None  # share of each joined data set; None: by size
    batch_size: int = 16  # global: over all devices and hosts
    image_size: int = 256
    image_resize: Literal["linear_noaa", "linear_aa", "cubic_aa"] = "linear_noaa"
    mask_resize: Literal["linear", "linear_aa", "linear_binary", "nearest_binary"] = "linear_binary"
    num_workers: int = 0  # decoding processes; 0: threads of the main process
    num_threads: int = 4
    augment: AugmentConfig = AugmentConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    unpaired: UnpairedConfig = UnpairedConfig()
    paintings: PaintingsConfig = PaintingsConfig()


@dataclass(frozen=True)
class OptimConfig:
    """One optimizer and its learning-rate schedule."""

    name: Literal["lion", "adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "step", "linear", "stairs"] = "constant"
    warmup_steps: int = 0
    final_lr: float = 0.0  # where "cosine" and "linear" end, at the last step of the run
    milestones: tuple[float, ...] = ()  # "step", "stairs", start of "linear": shares of the run
    gamma: float = 0.1  # "step": factor at each milestone
    clip_norm: float | None = None  # global gradient norm limit


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation during training and by eval.py."""

    every: int = 0  # steps; 0: only at the end
    data: str = "demo"
    split: str = "test"
    batch_size: int = 16
    protocol: str = "default_256"
    paintings: str = ""  # as data.paintings.name; "own": composites with their paintings
    paintings_split: str = "test_paintings"

    @property
    def loading(self) -> dict[str, Any]:
        """Keyword arguments of `data_pipelines.loader.eval_batches`, beside the protocol's."""
        names = ("split", "batch_size", "paintings", "paintings_split")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class CheckpointConfig:
    """What is kept of a run: the last `keep` states, and the best evaluated one by `best`.

    "last" takes the latest evaluation whatever its numbers: nothing is selected on the data that
    is evaluated.
    """

    every: int = 1000  # steps
    keep: int = 2
    best: Literal["fmse", "mse", "psnr", "fpsnr", "last"] = "fmse"


@dataclass(frozen=True)
class LogConfig:
    """What a run reports, and how often (steps)."""

    every: int = 50
    images_every: int = 1000
    tensorboard: bool = True


@dataclass(frozen=True)
class OpsConfig:
    """How the operations of `jaxharm.ops` run; None: what is measured to be best here."""

    implementation: (
        Literal["reference", "pallas_tpu", "pallas_gpu", "pallas_mosaic_gpu", "pallas_interpret"]
        | None
    ) = None


@dataclass(frozen=True)
class TrainConfig:
    """One run: everything that determines its numbers, except the machine."""

    system: str  # a name of jaxharm.list_models()
    model: Any  # that model's frozen Config dataclass
    objective: Any  # that system's frozen Objective dataclass: loss weights and choices
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    eval: EvalConfig = EvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    ops: OpsConfig = OpsConfig()
    seed: int = 0
    steps: int | None = None  # exactly one of steps and epochs
    epochs: float | None = None
    accumulate: int = 1  # micro-batches per optimization step
    ema_decay: float | None = None  # moving average of the parameters, used for evaluation
    init_from: str | None = None  # a run or weights folder: weights only
    parallel: Literal["shard_map", "pmap", "jit"] = "shard_map"
    precision: Literal["float32", "bfloat16"] = "float32"
    notes: Mapping[str, str] = field(default_factory=dict)  # provenance shown in run.json


Overlay = Callable[[TrainConfig], TrainConfig]


def load_config(
    path: str | Path, overlays: Sequence[str] = (), sets: Sequence[str] = ()
) -> TrainConfig:
    """Loads `get_config()` of a config file, then applies overlays and `key=value` settings.

    Args:
        path: a Python file under configs/.
        overlays: names, applied left to right; looked up in `OVERLAYS` of ablations.py beside the
            file, then of overlays.py in the folder above.
        sets: settings such as "optim.lr=1e-4", applied last.

    Raises:
        InputError: no such file, no get_config, unknown overlay or key, or a value of a wrong type.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"config file {path} does not exist; the published ones are in configs/")
    module = import_file(path)
    if not hasattr(module, "get_config"):
        raise InputError(f"config file {path} defines no get_config(); see configs/README.md")
    config = module.get_config()
    known = _overlays(path)
    for name in overlays:
        if name not in known:
            raise InputError(f"unknown overlay {name!r} for {path}{_suggest(name, known)}")
        config = known[name](config)
    config = apply_overrides(config, sets)
    if (config.steps is None) == (config.epochs is None):
        raise InputError(
            f"set exactly one of steps and epochs (steps={config.steps}, epochs={config.epochs})"
        )
    return config


def apply_overrides(config: Any, sets: Sequence[str]) -> Any:
    """Returns `config` with each "a.b=value" applied, parsed by the field's annotation."""
    for item in sets:
        key, equals, text = item.partition("=")
        if not equals:
            raise InputError(f"--set {item!r} is not of the form key=value")
        config = _replace(config, key.strip().split("."), text.strip(), key.strip())
    return config


def to_json(config: Any) -> dict[str, Any]:
    """The resolved config as plain JSON values (tuples become lists)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(cls: type, values: Mapping[str, Any]) -> Any:
    """Rebuilds a frozen dataclass from `to_json`'s values; unknown keys are errors."""
    hints = typing.get_type_hints(cls)
    unknown = set(values) - set(hints)
    if unknown:
        raise InputError(
            f"unknown {cls.__name__} keys {sorted(unknown)}: written by another version?"
        )
    return cls(**{key: _coerce(value, hints[key]) for key, value in values.items()})


def _coerce(value: Any, hint: Any) -> Any:
    if isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type, hint), value)
    return tuple(_coerce(v, Any) for v in value) if isinstance(value, list) else value


def import_file(path: Path) -> types.ModuleType:
    """Runs a Python file of configs/ and returns its module; it can import `configs.<other>`."""
    root = str(path.resolve().parents[2]) if len(path.resolve().parents) > 2 else "."
    if root not in sys.path:  # so that a config can import configs.base
        sys.path.append(root)
    spec = importlib.util.spec_from_file_location(f"_config_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _overlays(path: Path) -> dict[str, Overlay]:
    known: dict[str, Overlay] = {}
    for file in (path.parent.parent / "overlays.py", path.parent / "ablations.py"):
        if file.is_file():
            known.update(import_file(file).OVERLAYS)
    return known


def _suggest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return (
        f"; did you mean {', '.join(close)}?" if close else f"; known: {', '.join(sorted(known))}"
    )


def _replace(config: Any, parts: list[str], text: str, key: str) -> Any:
    hints = typing.get_type_hints(type(config))
    name = parts[0]
    if name not in hints:
        raise InputError(f"unknown config key {key!r}{_suggest(name, hints)}")
    current = getattr(config, name)
    if len(parts) > 1:
        if not dataclasses.is_dataclass(current):
            raise InputError(f"config key {key!r}: {name} has no fields")
        return dataclasses.replace(config, **{name: _replace(current, parts[1:], text, key)})
    if dataclasses.is_dataclass(current):
        raise InputError(
            f"config key {key!r} is a group; set one of its fields: {', '.join(typing.get_type_hints(type(current)))}"
        )
    try:
        value = _parse(text, hints[name])
    except ValueError as error:
        raise InputError(f"config key {key!r}: {error}") from None
    try:
        return dataclasses.replace(config, **{name: value})
    except ValueError as error:  # a dataclass that checks its own fields
        raise InputError(f"config key {key!r}: {error}") from None


def _parse(text: str, hint: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(None) in args and text.lower() == "none":
            return None
        options = [a for a in args if a is not type(None)]
        if len(options) == 1:
            return _parse(text, options[0])
        for option in options:
            try:
                return _parse(text, option)
            except ValueError:
                continue
        raise ValueError(f"{text!r} is not {hint}")
    if origin is Literal:
        for option in args:
            if text == str(option):
                return option
        raise ValueError(f"{text!r} is not one of {', '.join(map(str, args))}")
    if origin is tuple:
        items = [t.strip() for t in text.strip("()[] ").split(",") if t.strip()]
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_parse(t, args[0]) for t in items)
        if len(items) != len(args):
            raise ValueError(f"{text!r} has {len(items)} values, {len(args)} are needed")
        return tuple(_parse(t, a) for t, a in zip(items, args, strict=True))
    if hint is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{text!r} is not true or false")
        return text.lower() in ("true", "1")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ValueError(f"{text!r} is not of type {hint.__name__}") from None
    if hint is str:
        return text
    raise ValueError(f"fields of type {hint} cannot be set from the command line")
