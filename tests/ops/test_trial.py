"""Trials of implementations: what is wrong or fails is not taken, what is faster is."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.ops import (
    apply_curves,
    dispatch,
    dynamic_filter,
    masked_adain,
    masked_moments,
    patch_norm,
)
from jaxharm.ops.dispatch import Call, Implementation
from jaxharm.ops.trial import difference, draw, odd, try_all


@pytest.fixture(autouse=True)
def interpreted_kernels_count_as_compiled(monkeypatch):
    monkeypatch.setitem(dispatch._RUNS_ON, "pallas_interpret", "cpu")


def heard(run, *shapes):
    """The call of an operation on arrays of these shapes, or (shape, dtype)."""
    with dispatch.listening() as calls:
        structs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        jax.eval_shape(lambda *arrays: run(*arrays), *structs)  # new: traces are cached by function
    (call,) = calls.values()
    return call


def _patch_norm(x, mask):
    c = x.shape[-1]
    names = ("fg_var", "fg_bias", "patched_fg_var", "patched_fg_bias", "bg_var", "bg_bias")
    params = {name: jnp.ones(c) for name in names}
    return patch_norm(
        x, mask, {**params, "weights": jnp.ones(2), "grid_weights": jnp.ones((4, 4, c))}, grid=4
    )


X, MASK = (2, 16, 24, 8), (2, 16, 24, 1)
CALLS = {
    "apply_curves": lambda: heard(
        lambda i, c, m, b: apply_curves(i, c, mask=m, background=b),
        *((2, 16, 24, 3), (2, 3, 8), MASK, (2, 16, 24, 3)),
    ),
    "dynamic_filter": lambda: heard(
        lambda x, k: dynamic_filter(x, k, padding="reflect"), X, (*X, 3, 3)
    ),
    "masked_moments": lambda: heard(masked_moments, X, MASK),
    "masked_adain": lambda: heard(masked_adain, X, X, MASK),
    "patch_norm": lambda: heard(_patch_norm, X, MASK),
}


SLOW = ("apply_curves", "dynamic_filter", "masked_adain", "patch_norm")


@pytest.mark.parametrize(
    "op", [pytest.param(op, marks=[pytest.mark.slow] if op in SLOW else []) for op in CALLS]
)
def test_every_kernel_passes_its_trial(op):
    verdict = try_all(CALLS[op](), seconds=0.01)
    trial = verdict.trials["pallas_interpret"]
    assert trial.reason == ""
    assert 0 < trial.error < 1e-4
    assert set(verdict.trials) == {"reference", "pallas_interpret"}
    assert verdict.trials["reference"].error is None
    assert all(each.milliseconds > 0 for each in verdict.trials.values())
    assert verdict.chosen in verdict.trials
    assert verdict.row()["trials"]["pallas_interpret"]["error"] == trial.error


class Toy(Implementation):
    """An operation x -> 2x with faults."""

    fault = ""

    def __init__(self, fault=""):
        super().__init__("toy")
        object.__setattr__(self, "fault", fault)

    def refusal(self, *arguments):
        sides = arguments[0].shape[1:3]
        refused = {"refuses all": True, "refuses odd": sides == (37, 29)}
        return "it cannot" if refused.get(self.fault) else None


def _toy(chosen, x):
    def slow(value):
        time.sleep(0.01)
        return value

    if chosen.fault == "raises":
        raise RuntimeError("the driver\nis gone")
    if chosen.fault == "slow":
        x = jax.pure_callback(slow, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
    if chosen.fault == "wrong at odd sides" and x.shape[1] % 2:
        return 2 * x + 1e-3
    if chosen.fault == "wrong at real sides" and not x.shape[1] % 2:
        return 2 * x + 1e-3
    if chosen.fault == "nan":
        return 2 * x * jnp.nan
    if chosen.fault == "wrong gradient":
        return 2 * x - jax.lax.stop_gradient(x * 0.01) + x * 0.01
    return 2 * x


def toy(fault):
    kernel = Toy(fault)
    shape = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    return Call("toy", {"reference": Toy(), "pallas_interpret": kernel}, _toy, (shape,), ())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raises", "RuntimeError: the driver is gone"),
        ("wrong at odd sides", r"on arrays of odd sides it differs .* by 5\.\de-04 .* 1e-04"),
        ("wrong at real sides", r"of the sizes of this program it differs"),
        ("nan", "differs from the reference by inf"),
        ("wrong gradient", "differs from the reference"),
        ("refuses all", "it cannot"),
    ],
)
def test_a_kernel_that_fails_is_left_out_with_one_warning(fault, reason):
    with pytest.warns(UserWarning, match=f"toy does not run by 'pallas_interpret' on .*{reason}"):
        verdict = try_all(toy(fault), seconds=0.01)
    assert verdict.chosen == "reference"
    assert verdict.trials["pallas_interpret"].milliseconds is None


def test_a_kernel_that_takes_no_odd_sides_is_tried_at_the_real_ones():
    assert try_all(toy("refuses odd"), seconds=0.01).trials["pallas_interpret"].error == 0.0


def test_the_faster_one_is_chosen(monkeypatch):
    call = toy("slow")
    monkeypatch.setattr("jaxharm.ops.trial._try", lambda *a: dispatch_trial(0.0))
    assert try_all(call, seconds=0.01).chosen == "pallas_interpret"
    monkeypatch.setattr("jaxharm.ops.trial._try", lambda *a: dispatch_trial(1e9))
    assert try_all(call, seconds=0.01).chosen == "reference"


def dispatch_trial(milliseconds):
    from jaxharm.ops.trial import Trial

    return Trial(milliseconds, 0.0)


def test_odd_sides_replace_those_of_images_only():
    shapes = CALLS["patch_norm"]().arguments
    x, mask, params = odd(shapes)
    assert (x.shape, mask.shape) == ((2, 37, 29, 8), (2, 37, 29, 1))
    assert params["grid_weights"].shape == (4, 4, 8)
    assert odd(CALLS["dynamic_filter"]().arguments)[1].shape == (2, 37, 29, 8, 3, 3)
    assert odd(CALLS["apply_curves"]().arguments)[1].shape == (2, 3, 8)


def test_draws_keep_shapes_dtypes_and_what_is_left_out():
    half = jax.ShapeDtypeStruct((3, 2), jnp.bfloat16)
    a, b, c = draw((half, None, jax.ShapeDtypeStruct((3, 2), jnp.float32)))
    assert (a.shape, a.dtype, b, c.dtype) == ((3, 2), jnp.bfloat16, None, jnp.float32)
    assert float(c.min()) >= 0
    assert float(c.max()) < 1


def test_difference_is_that_of_the_worst_array():
    a, b = np.ones(3), np.array([10.0, 0, 0])
    assert difference((a, b), (a, b)) == 0
    assert difference((a + 0.1, b + 0.1), (a, b)) == pytest.approx(0.1)
    assert difference((a, b * np.nan), (a, b)) == float("inf")
