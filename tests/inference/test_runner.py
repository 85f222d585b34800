"""What all runners share."""

import jax
from flax import linen as nn

from jaxharm.compiler import matmul_precision
from jaxharm.inference.runner import BaseRunner, NoOptions
from jaxharm.interfaces import RunnerSettings


class Asked(BaseRunner[NoOptions, None, str]):
    """Predicts how exactly products are computed."""

    Options = NoOptions

    def as_is(self, height, width):
        return True

    def _prepare(self, inputs, options):
        return None

    def _predict(self, prepared, options):
        return jax.config.jax_default_matmul_precision

    def _apply(self, inputs, prediction, strength, options):
        raise NotImplementedError


def test_products_are_float32_unless_the_program_says_otherwise():
    runner = Asked(nn.Module(), {}, RunnerSettings("asked"))
    assert runner.predict(None, NoOptions()) == "highest"
    with matmul_precision("default"):
        assert runner.predict(None, NoOptions()) == "default"
    assert jax.config.jax_default_matmul_precision is None
