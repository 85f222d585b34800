"""Kernels inside jit, vmap, remat, pmap, shard_map and exported programs, for every operation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from ops.test_apply_curves import draw
from ops.test_patch_norm_kernels import params_of
from support.lowering import CALLS, abstract_device, count_kernels, lower

from jaxharm.ops import (
    apply_curves,
    dispatch,
    dynamic_filter,
    masked_adain,
    masked_moments,
    patch_norm,
)

RNG = np.random.default_rng(0)
DEVICES = 4


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


# name -> (operation of a dict of arrays with a leading batch axis, the arrays)
CASES = {
    "apply_curves": (lambda a, **k: apply_curves(**a, **k), draw((DEVICES, 6, 7), 3)),
    "dynamic_filter": (
        lambda a, **k: dynamic_filter(a["x"], a["kernels"], **k),
        {"x": normal(DEVICES, 4, 5, 2), "kernels": normal(DEVICES, 4, 5, 2, 3, 3)},
    ),
    "patch_norm": (
        lambda a, **k: patch_norm(**a, params=params_of(3, 2), grid=2, **k),
        {"x": normal(DEVICES, 5, 6, 3), "mask": np.abs(np.sin(normal(DEVICES, 5, 6, 1)))},
    ),
    "masked_moments": (
        lambda a, **k: jnp.stack(masked_moments(**a, **k)[:2], 1),
        {"x": normal(DEVICES, 5, 6, 3), "mask": np.abs(np.sin(normal(DEVICES, 5, 6, 1)))},
    ),
    "masked_adain": (
        lambda a, **k: masked_adain(**a, **k),
        {
            "content": normal(DEVICES, 5, 6, 3),
            "style": normal(DEVICES, 5, 6, 3),
            "mask": np.abs(np.sin(normal(DEVICES, 5, 6, 1))),
            "style_mask": np.abs(np.sin(normal(DEVICES, 5, 6, 1))),
        },
    ),
}
parametrize_cases = pytest.mark.parametrize("case", CASES)


@functools.cache
def expected(case):
    """Value and gradients by the reference."""
    return jax.tree.map(np.asarray, jax.jit(value_and_gradients(case, "reference"))(CASES[case][1]))


def value_and_gradients(case, implementation="pallas_interpret", wrap=lambda f: f):
    operation = wrap(functools.partial(CASES[case][0], implementation=implementation))

    def both(arrays):
        out, pullback = jax.vjp(operation, arrays)
        return out, pullback(jnp.cos(out))[0]

    return both


def assert_equal(found, case):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), found, expected(case)
    )


@pytest.mark.slow
@parametrize_cases
def test_remat(case):
    assert_equal(jax.jit(value_and_gradients(case, wrap=jax.checkpoint))(CASES[case][1]), case)


@pytest.mark.slow
@parametrize_cases
def test_vmap(case):
    arrays = jax.tree.map(lambda a: a[:, None], CASES[case][1])
    found = jax.jit(jax.vmap(value_and_gradients(case)))(arrays)
    assert_equal(jax.tree.map(lambda a: a[:, 0], found), case)


@pytest.mark.slow
@pytest.mark.dist
@parametrize_cases
def test_pmap(case):
    arrays = jax.tree.map(lambda a: a[:, None], CASES[case][1])
    run = jax.pmap(value_and_gradients(case), devices=jax.devices()[:DEVICES])
    assert_equal(jax.tree.map(lambda a: a[:, 0], run(arrays)), case)


def sharded(function, mesh, check):
    spec = PartitionSpec("data")
    return jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=check)


@pytest.mark.slow
@pytest.mark.dist
@parametrize_cases
def test_shard_map_moves_nothing_between_devices(case):
    mesh = jax.make_mesh((DEVICES,), ("data",), (AxisType.Auto,), devices=jax.devices()[:DEVICES])
    program = (
        jax.jit(sharded(value_and_gradients(case), mesh, False)).lower(CASES[case][1]).compile()
    )
    assert_equal(program(CASES[case][1]), case)
    assert "all-gather" not in program.as_text()
    assert "all-reduce" not in program.as_text()


@pytest.mark.slow
@pytest.mark.dist
def test_parameters_that_devices_share_get_the_gradient_of_all():
    def gradient(arrays, params):
        return jax.grad(lambda p: jnp.sum(patch_norm(**arrays, params=p, grid=2) ** 2))(params)

    arrays, params = CASES["patch_norm"][1], params_of(3, 2)
    mesh = jax.make_mesh((DEVICES,), ("data",), (AxisType.Auto,), devices=jax.devices()[:DEVICES])
    specs = PartitionSpec("data"), PartitionSpec()
    run = jax.shard_map(gradient, mesh=mesh, in_specs=specs, out_specs=PartitionSpec())
    found, want = jax.jit(run)(arrays, params), jax.jit(gradient)(arrays, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, want)


@pytest.mark.slow
@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("platform", CALLS)
@parametrize_cases
def test_lowers_inside_shard_map(case, platform, check):
    name = {"tpu": "pallas_tpu", "cuda": "pallas_gpu"}[platform]
    mesh = jax.sharding.AbstractMesh(
        (DEVICES,), ("data",), (AxisType.Auto,), abstract_device=abstract_device(platform)
    )
    program = sharded(value_and_gradients(case, name), mesh, check)
    text = lower(program, CASES[case][1], platform=platform)
    assert count_kernels(text, platform) >= 2


@parametrize_cases
def test_override_reaches_the_operation(case):
    operation, arrays = CASES[case]
    with dispatch.override("pallas_interpret"):
        text = str(jax.make_jaxpr(lambda a: operation(a))(arrays))
    assert "pallas_call" in text
    assert "pallas_call" not in str(jax.make_jaxpr(lambda a: operation(a))(arrays))
