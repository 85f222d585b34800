"""GiftNet's tiny runs: the network with a random teacher, and the teacher alone."""

import functools
import tempfile
from pathlib import Path

import jax
from support.case import Case

from jaxharm.papers.giftnet.system import GiftNetObjective
from jaxharm.registry import make_system
from jaxharm.weights.portable import save_weights


@functools.cache
def _holder() -> tempfile.TemporaryDirectory:
    """A folder that is removed with the process."""
    from support.system_cases import tiny_batch, tiny_config

    config = tiny_config("giftnet_teacher")
    system = make_system(config, total_steps=1)
    variables = system.variables(jax.jit(system.init)(jax.random.key(5), tiny_batch(config)))
    holder = tempfile.TemporaryDirectory()
    save_weights(holder.name, config.system, config.model, jax.device_get(variables))
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
