"""Batch and instance normalization: values, gradients, running statistics, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from jaxharm.chips.program import read_program
from jaxharm.nn.norm import BatchNorm, instance_norm

MOMENTUM, EPSILON = 0.9, 1e-5


def draw(shape=(6, 4, 5, 3), seed=0):
    rng = np.random.default_rng(seed)
    x = (3 + 2 * rng.standard_normal(shape)).astype(np.float32)
    params = {
        "scale": (1 + 0.3 * rng.standard_normal(shape[-1])).astype(np.float32),
        "bias": rng.standard_normal(shape[-1]).astype(np.float32),
    }
    stats = {
        "mean": rng.standard_normal(shape[-1]).astype(np.float32),
        "var": (0.5 + rng.random(shape[-1])).astype(np.float32),
    }
    return (
        x,
        {"params": params, "batch_stats": stats},
        rng.standard_normal(shape).astype(np.float32),
    )


def plain(x, params):
    """The definition, differentiated by jax."""
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes, keepdims=True)
    var = jnp.mean(jnp.square(x - mean), axes, keepdims=True)
    shape = (1,) * len(axes) + (-1,)
    unit = (x - mean) / jnp.sqrt(var + EPSILON)
    return unit * params["scale"].reshape(shape) + params["bias"].reshape(shape)


def test_training_equals_the_definition_and_its_gradients():
    x, variables, upstream = draw()

    def ours(x, params):
        stats = variables["batch_stats"]
        y, _ = BatchNorm().apply(
            {"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(y * upstream), y

    def reference(x, params):
        y = plain(x, params)
        return jnp.sum(y * upstream), y

    got, y = jax.grad(ours, (0, 1), has_aux=True)(x, variables["params"])
    expected, reference_y = jax.grad(reference, (0, 1), has_aux=True)(x, variables["params"])
    np.testing.assert_allclose(y, reference_y, atol=2e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=3e-5), got, expected)


def test_running_statistics_use_the_unbiased_variance():
    x, variables, _ = draw()
    _, updated = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
    flat, old = x.reshape(-1, 3).astype(np.float64), variables["batch_stats"]
    np.testing.assert_allclose(
        updated["batch_stats"]["mean"],
        MOMENTUM * old["mean"] + (1 - MOMENTUM) * flat.mean(0),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        updated["batch_stats"]["var"],
        MOMENTUM * old["var"] + (1 - MOMENTUM) * flat.var(0, ddof=1),
        rtol=1e-6,
    )


def test_inference_uses_the_running_statistics():
    x, variables, _ = draw()
    y = BatchNorm().apply(variables, x, train=False)
    stats, params = variables["batch_stats"], variables["params"]
    unit = (x - stats["mean"]) / np.sqrt(stats["var"].astype(np.float64) + EPSILON)
    np.testing.assert_allclose(y, unit * params["scale"] + params["bias"], atol=3e-6)


def test_a_far_mean_costs_no_precision():
    """One-pass variances lose all digits here."""
    x, variables, _ = draw((64, 8, 8, 3))
    far = x + np.float32(4096)
    y, _ = BatchNorm().apply(variables, far, train=True, mutable=["batch_stats"])
    expected = plain(jnp.asarray(far - np.float32(4096)), variables["params"])
    np.testing.assert_allclose(y, expected, atol=5e-3)


@pytest.mark.dist
@pytest.mark.parametrize("launcher", ["shard_map", "pmap"])
def test_devices_share_statistics_and_gradients(launcher):
    x, variables, upstream = draw((8, 3, 4, 5))
    stats = variables["batch_stats"]

    def step(x, upstream, params, axis_name):
        """Global loss; gradients as the systems form them."""

        def loss(params, x):
            y, updated = BatchNorm(axis_name).apply(
                {"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"]
            )
            total = jnp.sum(jnp.tanh(y) * upstream)
            if axis_name is not None:
                total = jax.lax.psum(total, axis_name)
            return total, updated

        grads, updated = jax.grad(loss, (0, 1), has_aux=True)(params, x)
        if axis_name is not None:
            # Every device holds its share times the number of devices.
            grads = (
                jax.lax.pmean(grads[0], axis_name),
                grads[1] / jax.lax.psum(1, axis_name),
            )
        return grads[0], grads[1], updated

    expected = step(x, upstream, variables["params"], None)
    if launcher == "shard_map":
        mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
        data, whole = PartitionSpec("data"), PartitionSpec()
        run = jax.jit(
            jax.shard_map(
                functools.partial(step, axis_name="data"),
                mesh=mesh,
                in_specs=(data, data, whole),
                out_specs=(whole, data, whole),
                check_vma=False,
            )
        )
        got = run(x, upstream, variables["params"])
    else:
        shard = functools.partial(jax.tree.map, lambda a: a.reshape(4, 2, *a.shape[1:]))
        run = jax.pmap(functools.partial(step, axis_name="data"), "data", in_axes=(0, 0, None))
        grads, d_x, updated = run(shard(x), shard(upstream), variables["params"])
        first = functools.partial(jax.tree.map, lambda a: a[0])
        got = (first(grads), d_x.reshape(x.shape), first(updated))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), got, expected)


@pytest.mark.dist
def test_a_far_mean_costs_no_precision_between_devices():
    """The devices' own means lie apart, and all lie far from 0."""
    x, variables, _ = draw((8, 3, 4, 5))
    x = x + np.arange(8, dtype=np.float32)[:, None, None, None]
    run = jax.pmap(
        lambda part: BatchNorm("data").apply(variables, part, train=True, mutable=["batch_stats"]),
        "data",
    )
    y, _ = run((x + np.float32(4096)).reshape(4, 2, *x.shape[1:]))
    expected = plain(jnp.asarray(x), variables["params"])
    np.testing.assert_allclose(np.reshape(y, x.shape), expected, atol=5e-3)


@pytest.mark.dist
def test_a_training_step_waits_for_two_exchanges_per_layer():
    """One for both statistics, one for both means of the gradient."""
    x, variables, upstream = draw((8, 3, 4, 5))

    def loss(x, upstream):
        y, _ = BatchNorm("data").apply(variables, x, train=True, mutable=["batch_stats"])
        return jnp.sum(y * upstream)

    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    data = PartitionSpec("data")
    run = jax.shard_map(
        jax.grad(loss), mesh=mesh, in_specs=(data, data), out_specs=data, check_vma=False
    )
    program = read_program(jax.jit(run).lower(x, upstream).compile().as_text())
    assert len(program.collectives) == 2


@pytest.mark.dist
def test_devices_without_sync_normalize_alone_and_agree_on_the_running_statistics():
    x, variables, _ = draw((8, 3, 4, 5))
    alone = [
        BatchNorm().apply(variables, part, train=True, mutable=["batch_stats"])
        for part in np.split(x, 4)
    ]
    run = jax.pmap(
        lambda part: BatchNorm("data", sync=False).apply(
            variables, part, train=True, mutable=["batch_stats"]
        ),
        "data",
    )
    y, updated = run(x.reshape(4, 2, *x.shape[1:]))
    np.testing.assert_allclose(y, [part for part, _ in alone], atol=1e-6)
    for name in ("mean", "var"):
        mean = np.mean([stats["batch_stats"][name] for _, stats in alone], 0)
        got = np.asarray(updated["batch_stats"][name])
        np.testing.assert_allclose(got, np.broadcast_to(mean, got.shape), rtol=1e-6)


def test_batch_norm_keeps_bfloat16():
    x, variables, _ = draw()
    y, updated = BatchNorm().apply(
        variables, jnp.asarray(x, jnp.bfloat16), train=True, mutable=["batch_stats"]
    )
    assert y.dtype == jnp.bfloat16
    assert updated["batch_stats"]["var"].dtype == jnp.float32
    np.testing.assert_allclose(y.astype(jnp.float32), plain(x, variables["params"]), atol=0.05)


def test_instance_norm_equals_the_definition_and_its_gradient():
    x, _, upstream = draw()

    def reference(x):
        mean = jnp.mean(x, (1, 2), keepdims=True)
        var = jnp.mean(jnp.square(x - mean), (1, 2), keepdims=True)
        return (x - mean) / jnp.sqrt(var + EPSILON)

    np.testing.assert_allclose(instance_norm(x, EPSILON), reference(x), atol=3e-6)
    got = jax.grad(lambda x: jnp.sum(instance_norm(x, EPSILON) * upstream))(x)
    expected = jax.grad(lambda x: jnp.sum(reference(x) * upstream))(jnp.asarray(x))
    np.testing.assert_allclose(got, expected, atol=5e-6)


def test_instance_norm_of_a_constant_is_zero():
    np.testing.assert_array_equal(instance_norm(jnp.full((2, 4, 4, 3), 0.75)), 0)
