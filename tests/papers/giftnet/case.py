"""GiftNet's tiny runs: the network with a random teacher, and the teacher alone."""

import functools
import tempfile
from pathlib import Path

from support.case import Case
from support.random_variables import random_weights

from jaxharm.papers.giftnet.system import GiftNetObjective
from jaxharm.weights.portable import save_weights


@functools.cache
def _holder() -> tempfile.TemporaryDirectory:
    """A folder that is removed with the process."""
    from support.system_cases import tiny_config

    config = tiny_config("giftnet_teacher")
    variables = random_weights(config.system, config.model)
    holder = tempfile.TemporaryDirectory()
    save_weights(holder.name, config.system, config.model, variables)
    return holder


def teacher_weights() -> Path:
    """A weights folder with a random teacher of the tiny network's width."""
    return Path(_holder().name)


def _taught() -> GiftNetObjective:
    return GiftNetObjective(teacher=str(teacher_weights()))


# The models that programs outside of this project ask for by name.
CONTRACT = ("giftnet",)
CASES = (
    Case("giftnet", objective=_taught),
    # The network's run holds its teacher.
    Case("giftnet_teacher", launched=False),
)
