"""The reconstruction network that GiftNet learns relations from: a run of its own.

iSSAM's U-Net without image fusion sees the real photograph and returns it. With fusion, copying
the input would be a perfect solution, and the features would learn nothing.

Source: docs/papers/giftnet.md, "Training". What the paper leaves open: the loss (`distance`), skip connections and
mask of the network (model.skips, model.use_mask).
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from jaxharm.errors import InputError
from jaxharm.fields import check_fields
from jaxharm.interfaces import Array, DeviceBatch, Metrics, NoExtras, Output, Params, StepContext
from jaxharm.losses.pixel import absolute_error, squared_error
from jaxharm.losses.reduction import reduce_ratio
from jaxharm.nn.imagenet import normalize
from jaxharm.papers.issam.model import Issam, IssamConfig
from jaxharm.papers.issam.unet import UNetConfig
from jaxharm.schema import present
from jaxharm.training.supervised import SupervisedSystem
from jaxharm.weights.portable import load_variables

TEACHER = "giftnet_teacher"  # registry name
NETWORK_TEACHER = "teacher"  # its name in the training state of a GiftNet
# Options of the backbone that decide which features there are; the teacher's must be the same.
_SHARED = ("depth", "base_channels", "max_channels", "batch_norm_from")


@dataclass(frozen=True)
class TeacherConfig(IssamConfig):
    """iSSAM's options, without image fusion."""

    image_fusion: bool = False


@dataclass(frozen=True)
class TeacherObjective:
    """Choices of the loss.

    Attributes:
        distance: mean squared or absolute error over all pixels, in normalized colors.
    """

    distance: Literal["l2", "l1"] = "l2"

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class TeacherSystem(SupervisedSystem[TeacherObjective, NoExtras]):
    """Reconstruction of real photographs: what a batch calls `composite` is not looked at."""

    MODEL = Issam

    def prepare(self, batch: DeviceBatch) -> DeviceBatch:
        """See `SupervisedSystem.prepare`; the network's input is the target."""
        prepared = super().prepare(batch)
        return prepared.replace(composite=present(prepared.target, "target"))

    def loss(
        self, ctx: StepContext, output: Output, batch: DeviceBatch, extras: NoExtras
    ) -> tuple[Array, Metrics]:
        """See `SupervisedSystem.loss`; the term is named "reconstruction_loss"."""
        error = squared_error if self.objective.distance == "l2" else absolute_error
        target = present(batch.target, "target")
        ratio = reduce_ratio(error(normalize(output.aux["raw"]), normalize(target)), ctx.axis_name)
        return ratio[0] / ratio[1], {"reconstruction_loss": ratio}


def teacher_config(
    student: UNetConfig, *, skips: bool = True, use_mask: bool = True
) -> IssamConfig:
    """The teacher of a student: the same encoder, no image fusion."""
    shared = {name: getattr(student, name) for name in _SHARED}
    return TeacherConfig(skips=skips, use_mask=use_mask, **shared)


def load_teacher(path: str, wanted: TeacherConfig) -> dict[str, Params]:
    """The variables of a trained teacher.

    Args:
        path: its run folder or a weights folder.
        wanted: what the student needs.

    Raises:
        InputError: see `GiftNetSystem.with_pretrained`.
    """
    name, config, variables = load_variables(path)
    if name != TEACHER or not isinstance(config, IssamConfig):
        raise InputError(
            f"{path} holds a model {name!r}, not a teacher; train one with "
            "configs/giftnet/teacher.py"
        )
    if config.image_fusion:
        raise InputError(
            f"the teacher in {path} was trained with image fusion, so that it could copy its "
            "input: train it again with model.image_fusion=false"
        )
    for field in (f.name for f in dataclasses.fields(wanted)):
        found, needed = getattr(config, field), getattr(wanted, field)
        if found != needed and field not in ("trained_size", "random_blur_init"):
            raise InputError(
                f"the teacher in {path} has {field}={found}, this GiftNet needs {needed}: train a "
                f"teacher with model.{field}={needed}{_alternative(field, found)}"
            )
    return variables


def _alternative(field: str, found: Any) -> str:
    settings = {"skips": "teacher_skips", "use_mask": "teacher_use_mask"}
    return f", or set objective.{settings[field]}={found}" if field in settings else ""
