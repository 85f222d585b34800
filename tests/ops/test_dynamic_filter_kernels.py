"""The kernels of dynamic_filter, interpreted: goldens, loops in float64, repeats; and lowered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.goldens import load_golden
from support.kernel_runs import INTERPRET, lowerings
from support.lowering import count_kernels, lower
from support.tiers import first_is_quick

from jaxharm.errors import InputError
from jaxharm.ops import dynamic_filter
from jaxharm.ops.dispatch import Implementation
from jaxharm.ops.dynamic_filter import api, pallas_tpu

GOLDEN = {"d": ("zero", 1), "f": ("reflect", 1), "g": ("zero", 2)}  # padding, dilation
RUNS = {
    "tpu": Implementation("jaxharm.ops.dynamic_filter.pallas_tpu", interpret=INTERPRET),
    "cuda": Implementation("jaxharm.ops.dynamic_filter.pallas_triton", interpret=INTERPRET),
}
parametrize_runs = pytest.mark.parametrize("run", lowerings())


def values_and_gradients(run, x, kernels, upstream, padding="zero", dilation=1):
    @jax.jit
    def both(x, kernels, upstream):
        operation = functools.partial(api._apply, RUNS[run], dilation, padding)
        out, pullback = jax.vjp(operation, x, kernels)
        return out, *pullback(upstream)

    return both(jnp.asarray(x), jnp.asarray(kernels), jnp.asarray(upstream))


def define(x, kernels, upstream, padding, dilation):
    """Loops over pixels and taps in float64: the result and both gradients."""
    _, h, w, c = x.shape
    groups, side = kernels.shape[3:5]
    reach = (side - 1) // 2 * dilation

    def source(i, size):
        if padding == "reflect":
            return abs(i) if i < size else 2 * (size - 1) - i
        return i if 0 <= i < size else None

    y, dx, dk = np.zeros(x.shape), np.zeros(x.shape), np.zeros(kernels.shape)
    channel = np.arange(c)
    group = channel // (c // groups)
    for i, j, u, v in np.ndindex(h, w, side, side):
        a, d = source(i + u * dilation - reach, h), source(j + v * dilation - reach, w)
        if a is None or d is None:
            continue
        weight = kernels[:, i, j, group, u, v]
        y[:, i, j] += weight * x[:, a, d]
        dx[:, a, d] += weight * upstream[:, i, j]
        np.add.at(dk, (slice(None), i, j, group, u, v), x[:, a, d] * upstream[:, i, j])
    return y, dx, dk


def draw(shape, groups, side, seed=0):
    rng = np.random.default_rng(seed)
    b, h, w, _ = shape
    return (
        rng.standard_normal(shape),
        rng.standard_normal((b, h, w, groups, side, side)),
        rng.standard_normal(shape),
    )


@pytest.mark.golden
@pytest.mark.parametrize("case", first_is_quick(GOLDEN))
@parametrize_runs
def test_golden_values_and_gradients(run, case):
    golden = load_golden("dynamic_filter")
    x, k, dy = (np.float32(golden[f"{case}_{name}"]) for name in ("x", "k", "dy"))
    found = values_and_gradients(run, x, k, dy, *GOLDEN[case])
    for name, value in zip(("y", "dx", "dk"), found, strict=True):
        np.testing.assert_allclose(
            value, golden[f"{case}_{name}"], rtol=1e-5, atol=1e-5, err_msg=name
        )


# (b,h,w,c), groups, side, padding, dilation. "blocks": the TPU's block of rows is made to end
# inside the image; a block of the GPU has 512 numbers.
CASES = {
    "blocks": ((2, 11, 9, 5), 5, 3, "zero", 1),
    "mirrored blocks": ((1, 13, 10, 4), 2, 5, "reflect", 2),
    "dilated": ((1, 9, 12, 6), 3, 3, "zero", 3),
    "no neighbors": ((1, 4, 5, 3), 1, 1, "zero", 1),
    "lower than the kernel": ((1, 2, 3, 2), 2, 5, "zero", 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@parametrize_runs
def test_equals_the_loops_in_float64(run, case, monkeypatch):
    shape, groups, side, padding, dilation = CASES[case]
    if "blocks" in case:
        monkeypatch.setattr(pallas_tpu, "_plan", three_rows(pallas_tpu._plan))
    arrays = draw(shape, groups, side)
    found = values_and_gradients(run, *map(np.float32, arrays), padding, dilation)
    for value, want in zip(found, define(*arrays, padding, dilation), strict=True):
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, want, rtol=1e-5, atol=2e-5)


def three_rows(plan_of):
    """The kernels' plan, with blocks of three rows."""

    def plan(x, border):
        plan = plan_of(x, border)
        steps = -(-x.shape[1] // 3)
        return plan._replace(rows=3, steps=steps, grid=(*plan.grid[:2], steps))

    return plan


@pytest.mark.slow
@parametrize_runs
def test_bfloat16_is_summed_in_float32(run):
    arrays = [jnp.asarray(a, jnp.bfloat16) for a in draw((1, 6, 7, 4), 4, 3)]
    found = values_and_gradients(run, *arrays)
    want = define(*(np.asarray(a, np.float64) for a in arrays), "zero", 1)
    for value, expected in zip(found, want, strict=True):
        assert value.dtype == jnp.bfloat16
        np.testing.assert_allclose(np.asarray(value, np.float32), expected, rtol=2**-8, atol=1e-5)


@pytest.mark.slow
@parametrize_runs
def test_two_backward_runs_have_the_same_bits(run):
    arrays = [np.float32(a) for a in draw((2, 9, 8, 4), 2, 3)]
    first, second = (values_and_gradients(run, *arrays) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("shape", "groups", "padding"),
    [
        ((2, 128, 128, 64), 64, "zero"),
        ((2, 32, 32, 256), 256, "reflect"),
        ((1, 131, 111, 64), 1, "zero"),
    ],
)
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_all_kernels_lower(platform, shape, groups, padding, dtype):
    x = jax.ShapeDtypeStruct(shape, dtype)
    kernels = jax.ShapeDtypeStruct((*shape[:3], groups, 3, 3), dtype)
    name = {"tpu": "pallas_tpu", "cuda": "pallas_gpu"}[platform]

    def both(x, kernels, upstream):
        run = functools.partial(dynamic_filter, padding=padding, implementation=name)
        out, pullback = jax.vjp(run, x, kernels)
        return out, pullback(upstream)

    assert count_kernels(lower(both, x, kernels, x, platform=platform), platform) == 3


def test_what_is_too_large_is_refused_with_a_reason():
    x = jax.ShapeDtypeStruct((1, 128, 20000, 128), jnp.float32)
    kernels = jax.ShapeDtypeStruct((1, 128, 20000, 128, 3, 3), jnp.float32)
    for name, message in (("pallas_interpret", "fit into VMEM"), ("pallas_gpu", "64-bit")):
        with pytest.raises(InputError, match=message):
            jax.eval_shape(functools.partial(dynamic_filter, implementation=name), x, kernels)
    small, side = jnp.zeros((1, 4, 4, 2)), jnp.zeros((1, 4, 4, 2, 3, 3))
    with pytest.raises(InputError, match="mirror image of 4 pixels is larger than 4x4"):
        dynamic_filter(
            small, side, dilation=4, padding="reflect", implementation="pallas_interpret"
        )
