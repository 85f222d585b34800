"""What a manifest says of its weights: what they were trained on, whose they are, what they can do.

All of it is optional: a manifest may come from a conversion, or from an older version.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxharm.config import Json, RunConfig, from_json, to_json
from jaxharm.errors import InputError
from jaxharm.fields import Count, Name, Probability, check_fields
from jaxharm.weights.portable import MANIFEST_FILE, find_weights, read_manifest


@dataclass(frozen=True)
class TrainedOn:
    """A part of the training data.

    Attributes:
        data: name of the data set.
        split: of it.
        fingerprint: of the built data set; "" where it is not known.
    """

    data: Name
    split: Name
    fingerprint: str = ""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Measured:
    """How good the weights are on one data set, beside the untouched composites.

    Attributes:
        data: name and split.
        protocol: name of the protocol (docs/metrics.md).
        strength: of the change that was measured.
        images: how many.
        model, composite: metric -> mean over the images.
        improved: share of images that are better than their composite; None: not defined.
        made_worse: share of images that are more than 10 % worse; None: not defined.
    """

    data: Name
    protocol: Name
    strength: Probability
    images: Count
    model: Mapping[str, float]
    composite: Mapping[str, float]
    improved: Probability | None = None
    made_worse: Probability | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class WeightsCard:
    """The entries of a manifest that describe its weights; each field is an entry of that name.

    Attributes:
        license: of the weights.
        attribution: whom the license asks to name, or the file beside the manifest that names them.
        trained_on: the training data, part by part.
        started_from: the weights that training began with; "" for none.
        encoder: the frozen network that the weights hold or were trained with; "" for none.
        measured: results, one entry for each data set, protocol and strength.
        recommended_strength: what `harmonize` takes where the user gives no strength; None: 1.
    """

    license: str = "not stated"
    attribution: str = ""
    trained_on: tuple[TrainedOn, ...] = ()
    started_from: str = ""
    encoder: str = ""
    measured: tuple[Measured, ...] = ()
    recommended_strength: Probability | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def entries(self) -> Json:
        """The manifest entries that say something."""
        return {key: value for key, value in to_json(self).items() if value not in ("", [], None)}


def read_card(folder: str | Path) -> WeightsCard:
    """The card of a weights folder, or of the run that left one; InputError naming a wrong entry."""
    found = find_weights(folder)
    manifest = read_manifest(found)
    names = {field.name for field in dataclasses.fields(WeightsCard)}
    try:
        return from_json(WeightsCard, {k: v for k, v in manifest.items() if k in names})
    except (InputError, TypeError) as error:  # the latter: an entry without a field it needs
        raise InputError(f"{found / MANIFEST_FILE}: {error}") from None


def recommended_strength(folder: str | Path) -> float:
    """What `harmonize` takes where the user gives no strength; see `read_card`."""
    strength = read_card(folder).recommended_strength
    return 1.0 if strength is None else strength


def card_of_run(
    config: RunConfig, dataset: Json | None, loaded: Mapping[str, str] | None = None
) -> WeightsCard:
    """The card of weights that a run made.

    Args:
        config: of the run.
        dataset: description of its data sets, as run.json holds it.
        loaded: of `System.loaded`; what stands there as "encoder" is described.
    """
    encoder = (loaded or {}).get("encoder", "")
    known = dataset or {}
    return WeightsCard(
        trained_on=tuple(
            TrainedOn(name, split, known.get(name, {}).get("fingerprint", ""))
            for name, split in config.data.parts
        ),
        started_from=config.init_from or "",
        encoder=_described(Path(encoder)) if encoder else "",
    )


def _described(file: Path) -> str:
    """What the manifest beside a network's file says of it; its name where there is none."""
    try:
        manifest = json.loads((file.parent / MANIFEST_FILE).read_text(encoding="utf-8"))
        parts = [manifest["encoder"], manifest.get("license", "license not stated")]
    except (OSError, ValueError, LookupError, TypeError):
        return f"{file.name}; license not stated"
    return "; ".join(map(str, parts))
