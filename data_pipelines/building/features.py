"""The TFDS features that a record is stored with."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines.building.items import Kind


def record_features(
    kind: Kind, subsets: Sequence[str], *, plates: bool = False
) -> tfds.features.FeaturesDict:
    """The TFDS features of a record of a data set of this kind.

    A set of photographs without pairs has no `composite` and one `photo_id`; its photograph is
    stored as `real`, so that paired and unpaired sets are read by the same code. A painterly set
    has keys of its own; each record fills some of them and holds `ABSENT` in the others, because
    TFDS stores every feature of every record.
    """
    image = functools.partial(tfds.features.Image, shape=(None, None, 3))
    mask = functools.partial(tfds.features.Image, shape=(None, None, 1), encoding_format="png")
    common: dict[str, Any] = {
        "subset": tfds.features.ClassLabel(names=list(subsets)),
        "height": np.int32,
        "width": np.int32,
        "fg_ratio": np.float32,
    }
    if kind == "painterly":
        own = {"content": image(), "mask_levels": mask(), "style": image(), "levels": np.int32}
        return tfds.features.FeaturesDict({**own, **common, "photo_id": tfds.features.Text()})
    ids = ("photo_id",) if kind == "photos" else ("composite_id", "mask_id", "real_id")
    features: dict[str, Any] = {} if kind == "photos" else {"composite": image()}
    if plates:
        features["background"] = image()
    return tfds.features.FeaturesDict(
        features
        | {
            "real": image(),
            "mask": mask(),
            **{key: tfds.features.Text() for key in ids},
            **common,
            "mask_is_binary": np.bool_,
        }
    )
