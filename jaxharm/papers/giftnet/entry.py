"""The registry's entries of GiftNet and of the teacher that it is trained with."""

from typing import TYPE_CHECKING

from jaxharm.registry import Entry

if TYPE_CHECKING:  # for the types that the functions below return
    from jaxharm.interfaces import TorchNames
    from jaxharm.papers.giftnet.model import GiftNet, GiftNetConfig
    from jaxharm.papers.giftnet.system import GiftNetObjective, GiftNetSystem
    from jaxharm.papers.giftnet.teacher import TeacherConfig, TeacherObjective, TeacherSystem
    from jaxharm.papers.issam.model import Issam


def _model() -> "type[GiftNet]":
    from jaxharm.papers.giftnet.model import GiftNet

    return GiftNet


def _config() -> "type[GiftNetConfig]":
    from jaxharm.papers.giftnet.model import GiftNetConfig

    return GiftNetConfig


def _objective() -> "type[GiftNetObjective]":
    from jaxharm.papers.giftnet.system import GiftNetObjective

    return GiftNetObjective


def _system() -> "type[GiftNetSystem]":
    from jaxharm.papers.giftnet.system import GiftNetSystem

    return GiftNetSystem


def _torch_names() -> "TorchNames":
    from jaxharm.papers.giftnet.convert import torch_names

    return torch_names


def _teacher() -> "type[Issam]":
    from jaxharm.papers.issam.model import Issam

    return Issam


def _teacher_config() -> "type[TeacherConfig]":
    from jaxharm.papers.giftnet.teacher import TeacherConfig

    return TeacherConfig


def _teacher_objective() -> "type[TeacherObjective]":
    from jaxharm.papers.giftnet.teacher import TeacherObjective

    return TeacherObjective


def _teacher_system() -> "type[TeacherSystem]":
    from jaxharm.papers.giftnet.teacher import TeacherSystem

    return TeacherSystem


def _teacher_torch_names() -> "TorchNames":
    from jaxharm.papers.issam.convert import torch_names

    return torch_names


ENTRIES = (
    Entry(
        name="giftnet",
        model=_model,
        config=_config,
        objective=_objective,
        system=_system,
        torch_names=_torch_names,
        parameters=3_322_236,
        memory_mib=65,
        paper="Deep Image Harmonization with Globally Guided Feature Transformation and Relation "
        "Distillation, ICCV 2023, arXiv 2308.00356",
        weights="none were released: train it, or convert arrays in the layout of docs/papers/giftnet.md",
        license="Apache-2.0",
    ),
    Entry(
        name="giftnet_teacher",
        model=_teacher,
        config=_teacher_config,
        objective=_teacher_objective,
        system=_teacher_system,
        torch_names=_teacher_torch_names,
        parameters=2_185_307,
        paper="the reconstruction network of GiftNet, arXiv 2308.00356",
        weights="none were released: train it with configs/giftnet/teacher.py",
        license="Apache-2.0",
        listed=False,
    ),
)
