"""Which systems exist: name -> where its parts live and what a user should know of it.

Nothing is imported until a part is asked for, so that listing names is fast.
"""

import dataclasses
import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from jaxharm.errors import InputError

if TYPE_CHECKING:  # flax is slow to import and only names a return type here
    from flax import linen as nn


@dataclass(frozen=True)
class Entry:
    """One registered system.

    Attributes:
        name: what users type.
        model: "module:Class" of the Flax module; it takes `config`, `axis_name` and `dtype`.
        config: "module:Class" of its frozen Config; it offers `tiny()`, `size_multiple`,
            `min_size`, `default_size`.
        system: "module:Class" of the training system.
        torch_names: "module:function" (config) -> the name map of the official checkpoints.
        preset: Config fields that differ from the class defaults for this name.
        parameters: trained parameters of the full-size model.
        official: Config fields of the officially released weights that differ from `preset`.
        needs_background: whether the model reads a background plate (or painting).
        strategy: how inference treats full-size images: "parametric" models are rendered at any
            size from what they predict small, "image" models give pixels, "stages" models paint
            the object in stages.
        memory_mib: weights and buffers of the network at the size it predicts at (batch 1, float32),
            as XLA reports them for CPU; 0 where nobody measured.
        paper, weights, licence: shown by `jaxharm models`.
        listed: False for a network that only serves the training of another one.
    """

    name: str
    model: str
    config: str
    system: str
    torch_names: str
    parameters: int
    paper: str
    weights: str
    licence: str
    preset: Mapping[str, Any] = field(default_factory=dict)
    official: Mapping[str, Any] = field(default_factory=dict)
    needs_background: bool = False
    strategy: Literal["parametric", "image", "stages"] = "image"
    memory_mib: int = 0
    listed: bool = True


_ENTRIES: dict[str, Entry] = {}


def register(entry: Entry) -> None:
    """Adds a system; a second one of the same name is an error."""
    if entry.name in _ENTRIES:
        raise ValueError(f"a system named {entry.name!r} is registered already")
    _ENTRIES[entry.name] = entry


def list_models() -> list[str]:
    """Names of the registered systems, in order of registration; helpers are left out."""
    return [name for name, entry in _ENTRIES.items() if entry.listed]


def get(name: str) -> Entry:
    """The entry of `name`; InputError naming the closest ones where there is none."""
    if name not in _ENTRIES:
        close = difflib.get_close_matches(name, _ENTRIES, n=3, cutoff=0.4) or list_models()
        raise InputError(f"unknown model {name!r}; known: {', '.join(close)}")
    return _ENTRIES[name]


def resolve(reference: str) -> Any:
    """Imports "module:attribute" and returns the attribute."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def model_config(name: str, **overrides: Any) -> Any:
    """The Config of `name` with `overrides`; InputError naming the valid fields if one is unknown."""
    entry = get(name)
    cls = resolve(entry.config)
    valid = [f.name for f in dataclasses.fields(cls)]
    unknown = sorted(set(overrides) - set(valid))
    if unknown:
        raise InputError(
            f"unknown option {', '.join(unknown)} of model {name!r}; valid: {', '.join(valid)}"
        )
    return cls(**{**entry.preset, **overrides})


def create_model(name: str, **overrides: Any) -> "nn.Module":
    """The Flax module of `name`, at inference settings (no device axis, float32).

    Raises:
        InputError (a ValueError): unknown name, or an override that is no field of its Config.
    """
    return resolve(get(name).model)(config=model_config(name, **overrides))


_PHNET: dict[str, Any] = {
    "model": "jaxharm.papers.phnet.model:PHNet",
    "config": "jaxharm.papers.phnet.model:PHNetConfig",
    "system": "jaxharm.papers.phnet.system:PHNetSystem",
    "torch_names": "jaxharm.papers.phnet.convert:torch_names",
    "paper": "PHNet: Patch-based Normalization for Portrait Harmonization, arXiv 2402.17561",
    "weights": "official checkpoints convert (jaxharm convert); none shipped",
    "licence": "code Apache-2.0; official weights: see the PHNet repository",
}
_PIH: dict[str, Any] = {
    "model": "jaxharm.papers.pih.model:PIH",
    "config": "jaxharm.papers.pih.model:PIHConfig",
    "system": "jaxharm.papers.pih.system:PIHSystem",
    "torch_names": "jaxharm.papers.pih.convert:torch_names",
    "paper": "Semi-supervised Parametric Real-world Image Harmonization, CVPR 2023, arXiv 2303.00157",
    "weights": "official checkpoints convert (jaxharm convert); none shipped",
    "licence": "code Apache-2.0; official weights: see the PIH repository",
    "needs_background": True,
    "strategy": "parametric",
    "official": {"mask_offset": 0.6},  # the training default is 0.5 (specs/pih 3.3)
}
register(Entry(name="pih", parameters=93_235_073, memory_mib=636, **_PIH))
register(
    Entry(name="pih_light", parameters=5_964_857, memory_mib=58, preset={"light": True}, **_PIH)
)
register(Entry(name="phnet_ffhqh", parameters=39_921_456, memory_mib=287, **_PHNET))
register(
    Entry(
        name="phnet_iharmony4",
        parameters=9_994_110,
        memory_mib=141,
        preset={
            "grid_counts": (10, 5, 1),
            "channels": (3, 16, 32, 64, 128, 256, 512),
            "trained_size": 512,
        },
        **_PHNET,
    )
)
register(
    Entry(
        name="issam",
        model="jaxharm.papers.issam.model:Issam",
        config="jaxharm.papers.issam.model:IssamConfig",
        system="jaxharm.papers.issam.system:IssamSystem",
        torch_names="jaxharm.papers.issam.convert:torch_names",
        parameters=2_185_340,
        memory_mib=53,
        paper="Foreground-aware Semantic Representations for Image Harmonization, arXiv 2006.00809",
        weights="official checkpoints convert (jaxharm convert); none shipped",
        licence="code Apache-2.0; official weights: see the SamsungLabs/image_harmonization repository",
    )
)
register(
    Entry(
        name="giftnet",
        model="jaxharm.papers.giftnet.model:GiftNet",
        config="jaxharm.papers.giftnet.model:GiftNetConfig",
        system="jaxharm.papers.giftnet.system:GiftNetSystem",
        torch_names="jaxharm.papers.giftnet.convert:torch_names",
        parameters=3_322_236,
        memory_mib=65,
        paper="Deep Image Harmonization with Globally Guided Feature Transformation and Relation "
        "Distillation, ICCV 2023, arXiv 2308.00356",
        weights="none were released: train it, or convert arrays in the layout of specs/giftnet 7",
        licence="code Apache-2.0",
    )
)
register(
    Entry(
        name="giftnet_teacher",
        model="jaxharm.papers.issam.model:Issam",
        config="jaxharm.papers.giftnet.teacher:TeacherConfig",
        system="jaxharm.papers.giftnet.teacher:TeacherSystem",
        torch_names="jaxharm.papers.issam.convert:torch_names",
        parameters=2_185_307,
        paper="the reconstruction network of GiftNet, arXiv 2308.00356",
        weights="none were released: train it with configs/giftnet/teacher.py",
        licence="code Apache-2.0",
        listed=False,
    )
)
register(
    Entry(
        name="gknet",
        model="jaxharm.papers.gknet.model:GKNet",
        config="jaxharm.papers.gknet.model:GKNetConfig",
        system="jaxharm.papers.gknet.system:GKNetSystem",
        torch_names="jaxharm.papers.gknet.convert:torch_names",
        parameters=14_519_716,
        memory_mib=144,
        paper="Learning Global-aware Kernel for Image Harmonization, ICCV 2023, arXiv 2305.11676 "
        "(reconstruction: internals and weights were not available)",
        weights="none were released: train it, or convert arrays in the layout of specs/gknet 8",
        licence="code Apache-2.0",
    )
)
register(
    Entry(
        name="propih",
        model="jaxharm.papers.propih.model:ProPIH",
        config="jaxharm.papers.propih.model:ProPIHConfig",
        system="jaxharm.papers.propih.system:ProPIHSystem",
        torch_names="jaxharm.papers.propih.convert:torch_names",
        parameters=2_204_236,
        memory_mib=155,
        paper="Progressive Painterly Image Harmonization from Low-level Styles to High-level Styles, "
        "AAAI 2024, arXiv 2312.10264",
        weights="official checkpoints convert (jaxharm convert); none shipped",
        licence="code Apache-2.0; official weights: see the bcmi/ProPIH repository; WikiArt is for "
        "non-commercial research only",
        needs_background=True,
        strategy="stages",
    )
)
