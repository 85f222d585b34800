"""The choice of an implementation."""

import logging
import sys
import types

import jax
import jax.numpy as jnp
import pytest

from jaxharm.config import OpsConfig
from jaxharm.errors import InputError
from jaxharm.ops import apply_curves, dispatch
from jaxharm.ops.dispatch import Implementation, choose
from jaxharm.overrides import apply_overrides

REFERENCE = Implementation("toy_reference")
TPU = Implementation("toy_kernel")
INTERPRET = Implementation("toy_kernel", interpret=True)
ALL = {"reference": REFERENCE, "pallas_tpu": TPU, "pallas_interpret": INTERPRET}


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    reference, kernel = types.ModuleType("toy_reference"), types.ModuleType("toy_kernel")
    reference.run = lambda x: x
    kernel.run = lambda x, interpret=False: (x, interpret)
    kernel.refusal = lambda x: None if x.dtype == jnp.float32 else f"{x.dtype} is not float32"
    monkeypatch.setitem(sys.modules, "toy_reference", reference)
    monkeypatch.setitem(sys.modules, "toy_kernel", kernel)
    monkeypatch.setattr(dispatch, "_logged", set())


X = jnp.zeros((2, 3))
HALF = X.astype(jnp.bfloat16)


def test_default_is_the_reference_where_nothing_is_measured():
    assert choose("op", None, ALL, X) is REFERENCE


def test_default_is_the_measured_implementation_unless_it_refuses(monkeypatch):
    monkeypatch.setitem(dispatch.MEASURED, ("op", "cpu"), "pallas_interpret")
    assert choose("op", None, ALL, X) is INTERPRET
    assert choose("op", None, ALL, HALF) is REFERENCE
    assert choose("other", None, ALL, X) is REFERENCE


def test_named_implementation_is_taken_and_run():
    chosen = choose("op", "pallas_interpret", ALL, X)
    assert chosen.call("run", 1) == (1, True)
    assert TPU.call("run", 1) == (1, False)
    assert REFERENCE.call("run", 1) == 1


def test_a_refusal_is_given_with_its_reason():
    with pytest.raises(InputError, match="op cannot run by 'pallas_interpret': bfloat16 is not"):
        choose("op", "pallas_interpret", ALL, HALF)


def test_a_kernel_for_another_platform_is_refused_unless_traced():
    with pytest.raises(InputError, match=r"Pallas kernel for TPU, and this process runs on cpu"):
        choose("op", "pallas_tpu", ALL, X)
    jax.eval_shape(lambda x: x * (choose("op", "pallas_tpu", ALL, x) is TPU), X)


def test_absent_and_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"my_op has no .*'pallas_tpu' .*TPU.*'reference'"):
        choose("my_op", "pallas_tpu", {"reference": REFERENCE})
    with pytest.raises(InputError, match=r"unknown implementation='cuda' for my_op.*'reference'"):
        choose("my_op", "cuda", {"reference": REFERENCE})


def test_override_reaches_calls_that_name_nothing_and_ends():
    with dispatch.override("pallas_interpret"):
        assert choose("op", None, ALL, X) is INTERPRET
        assert choose("op", "reference", ALL, X) is REFERENCE
        with dispatch.override(None):
            assert choose("op", None, ALL, X) is INTERPRET
        with dispatch.override("reference"):
            assert choose("op", None, ALL, X) is REFERENCE
    assert choose("op", None, ALL, X) is REFERENCE


def test_override_falls_back_with_a_warning(caplog):
    with dispatch.override("pallas_interpret"), caplog.at_level(logging.WARNING):
        assert choose("op", None, ALL, HALF) is REFERENCE
        assert choose("op2", None, {"reference": REFERENCE}, X) is REFERENCE
    assert "'pallas_interpret' was preferred: bfloat16 is not float32" in caplog.text
    assert "op2 runs by reference" in caplog.text


def test_override_refuses_unknown_names_and_other_platforms():
    with pytest.raises(InputError, match=r"unknown ops.implementation='fast'"):
        dispatch.override("fast").__enter__()
    with dispatch.override("pallas_gpu"), pytest.raises(InputError, match="runs on cpu"):
        choose("op", None, ALL, X)


def test_each_choice_is_logged_once(caplog):
    with caplog.at_level(logging.INFO, logger="jaxharm.ops.dispatch"):
        for x in (X, X, HALF):
            choose("op", None, ALL, x)
    assert [r.getMessage() for r in caplog.records] == [
        "op runs by reference for float32[2, 3]",
        "op runs by reference for bfloat16[2, 3]",
    ]


def test_override_is_seen_by_a_whole_operation():
    image, curves = jnp.zeros((1, 4, 4, 3)), jnp.zeros((1, 3, 4))
    with dispatch.override("pallas_gpu"), pytest.raises(InputError, match="runs on cpu"):
        apply_curves(image, curves)


def test_config_key():
    assert apply_overrides(OpsConfig(), ["implementation=reference"]).implementation == "reference"
    assert apply_overrides(OpsConfig(), ["implementation=None"]).implementation is None
    with pytest.raises(InputError, match="not one of"):
        apply_overrides(OpsConfig(), ["implementation=fast"])
