"""How tests run kernels: interpreted on a CPU, compiled on the chip of this machine.

`pytest -m gpu` and `pytest -m tpu` run on the chip what is interpreted elsewhere.
"""

import jax
import pytest

DEVICES = {"tpu": "tpu", "cuda": "gpu"}  # what Pallas lowers to -> what JAX calls such devices
KERNELS = {"tpu": ("pallas_tpu",), "gpu": ("pallas_gpu", "pallas_mosaic_gpu")}
HERE = jax.default_backend()
INTERPRET = HERE == "cpu"


def on_chip(value):
    """A parameter whose test is one of the chip that is here."""
    return pytest.param(value, marks=getattr(pytest.mark, HERE))


def lowerings():
    """Both "tpu" and "cuda" where kernels are interpreted, else the one of the chip that is here."""
    return [*DEVICES] if INTERPRET else [on_chip(k) for k, v in DEVICES.items() if v == HERE]


def parametrize_kernels(name="kernels"):
    """Names of implementations: the interpreted kernels, or those of the chip that is here."""
    values = ["pallas_interpret"] if INTERPRET else map(on_chip, KERNELS[HERE])
    return pytest.mark.parametrize(name, list(values))


def on_gpu(test):
    """Marks a test of kernels that GPUs alone have, where one is here."""
    return pytest.mark.gpu(test) if HERE == "gpu" else test


def on_every_chip(test):
    """Marks a test as one of the chip that is here."""
    return test if INTERPRET else getattr(pytest.mark, HERE)(test)
