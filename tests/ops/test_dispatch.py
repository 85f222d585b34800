"""The choice of an implementation."""

import logging
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.config import OpsConfig
from jaxharm.errors import InputError
from jaxharm.ops import apply_curves, dispatch, dynamic_filter, tuned
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


def test_default_is_what_was_tuned_for_this_device_unless_it_refuses(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXHARM_CACHE", str(tmp_path))
    monkeypatch.setitem(dispatch._RUNS_ON, "pallas_interpret", "cpu")
    row = {"chosen": "pallas_interpret", "trials": {}}
    keys = ["op: float32[2, 3]", "op: bfloat16[2, 3]"]
    tuned.add(dispatch.device_kind(), dict.fromkeys(keys, row))
    assert choose("op", None, ALL, X) is INTERPRET
    assert choose("op", None, ALL, HALF) is REFERENCE
    assert choose("other", None, ALL, X) is REFERENCE
    assert choose("op", None, ALL, X[:1]) is REFERENCE


def test_what_a_run_settled_comes_before_what_was_tuned_and_after_the_override(monkeypatch):
    monkeypatch.setattr(tuned, "best", lambda kind, key: "pallas_interpret")
    monkeypatch.setitem(dispatch._RUNS_ON, "pallas_interpret", "cpu")
    with dispatch.settled({}):
        assert choose("op", None, ALL, X) is REFERENCE
    with dispatch.settled({"op: float32[2, 3]": "pallas_interpret"}):
        assert choose("op", None, ALL, X) is INTERPRET
        assert choose("op", "reference", ALL, X) is REFERENCE
        with dispatch.override("reference"):
            assert choose("op", None, ALL, X) is REFERENCE
    assert choose("op", None, ALL, X) is INTERPRET


def test_calls_are_heard_with_shapes_and_settings():
    def step(image, x, kernels):
        y = dynamic_filter(x, kernels, dilation=2)
        return apply_curves(image, jnp.ones((1, 3, 8))), y, apply_curves(image, jnp.ones((1, 3, 8)))

    image, x = jnp.zeros((1, 6, 5, 3)), jnp.zeros((1, 6, 5, 4), jnp.bfloat16)
    kernels = jnp.zeros((1, 6, 5, 4, 3, 3), jnp.bfloat16)
    with dispatch.listening() as calls:
        jax.eval_shape(step, image, x, kernels)
        apply_curves(
            image, jnp.ones((1, 3, 9)), implementation="reference"
        )  # it says what it wants
    assert list(calls) == [
        "dynamic_filter: bfloat16[1, 6, 5, 4], bfloat16[1, 6, 5, 4, 3, 3], 2, zero",
        "apply_curves: float32[1, 6, 5, 3], float32[1, 3, 8]",
    ]
    call = calls["apply_curves: float32[1, 6, 5, 3], float32[1, 3, 8]"]
    assert call.arguments[2:] == (None, None, None)
    np.testing.assert_array_equal(
        call.run("reference", image, jnp.ones((1, 3, 8)), None, None, None), jnp.ones_like(image)
    )


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
