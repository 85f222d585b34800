"""The kernels of the norms through Mosaic GPU: lowered; and interpreted, which jax 0.10 cannot."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import mosaic_gpu as plgpu
from jax.sharding import AxisType, PartitionSpec
from ops.test_patch_norm_kernels import params_of
from support import region_cases
from support.kernel_runs import INTERPRET, on_gpu
from support.lowering import MOSAIC_GPU, abstract_device, lower
from support.region_cases import MASKS, assert_close, assert_same_bits, draw, in_float64

from jaxharm.errors import InputError
from jaxharm.ops import masked_adain, masked_moments, patch_norm
from jaxharm.ops.masked_adain import pallas_mosaic_gpu as adain_kernels
from jaxharm.ops.masked_moments import pallas_mosaic_gpu as moments_kernels
from jaxharm.ops.patch_norm import pallas_mosaic_gpu as patch_kernels

needs_interpretation = pytest.mark.skipif(
    INTERPRET and not hasattr(plgpu, "InterpretGPUParams"),
    reason="this JAX cannot interpret Mosaic GPU",
)
# One block of channels, and two; the last patch takes three quarters of the columns.
SHAPES = ((1, 6, 192, 16), (2, 4, 64, 128))


@functools.partial(jax.jit, static_argnums=0)
def run(grid, x, mask, params, upstream):
    out, found = patch_kernels.forward(x, mask, params, grid, 1e-7, interpret=INTERPRET)
    arguments = (x, mask, params, found, upstream, grid, 1e-7)
    return out, patch_kernels.backward(*arguments, interpret=INTERPRET)


@pytest.mark.slow
@needs_interpretation
@on_gpu
@pytest.mark.parametrize(
    ("shape", "grid"),
    # The last two have tiles of two and of four runs; the last patches of the last one are taller.
    [((1, 6, 128, 16), 2), (SHAPES[1], 1), ((1, 8, 64, 16), 2), ((1, 9, 64, 16), 4)],
)
def test_patch_norm_is_that_of_float64(shape, grid):
    params = params_of(shape[-1], grid)
    definition = functools.partial(region_cases.patch_norm, grid=grid)
    for kind in ("hard", "soft"):
        x, mask, upstream = draw(shape, kind)
        found = run(grid, x, mask, params, upstream)
        assert_close(found, in_float64(definition, (x, mask, params), upstream), 5e-6)
        assert_same_bits(found, run(grid, x, mask, params, upstream))


@pytest.mark.slow
@needs_interpretation
@on_gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_masked_moments_are_those_of_float64(shape):
    rng = np.random.default_rng(4)
    upstream = tuple(np.float32(rng.normal(size=(2, shape[0], 1, 1, shape[-1]))))
    for kind in MASKS:
        x, mask, _ = draw(shape, kind)
        found = moments_kernels.forward(x, mask, 1e-5, interpret=INTERPRET)
        gradients = moments_kernels.backward(x, mask, found, upstream, 1e-5, interpret=INTERPRET)
        want = in_float64(region_cases.moments, (x, mask), upstream)
        assert_close((found[:2], gradients), want, 5e-4 if kind == "one pixel" else 3e-6)


@pytest.mark.slow
@needs_interpretation
@on_gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_masked_adain_is_that_of_float64(shape):
    content, mask, upstream = draw(shape)
    style, style_mask, _ = draw(shape, seed=1)
    arguments = (content, style, mask, style_mask)
    out, found = adain_kernels.forward(*arguments, 1e-5, interpret=INTERPRET)
    gradients = adain_kernels.backward(*arguments, found, upstream, 1e-5, interpret=INTERPRET)
    assert_close((out, gradients), in_float64(region_cases.adain, arguments, upstream), 1e-5)


@pytest.mark.slow
@needs_interpretation
@on_gpu
def test_bfloat16_is_summed_in_float32():
    x, mask, _ = draw(SHAPES[0], offset=40)
    x, mask = jnp.asarray(x, jnp.bfloat16), jnp.asarray(mask, jnp.bfloat16)
    found = moments_kernels.forward(x, mask, 1e-5, interpret=INTERPRET)
    wide = tuple(np.asarray(a, np.float64) for a in (x, mask))
    assert_close(found[:2], tuple(map(np.asarray, region_cases.moments(*wide))), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(16, 256, 256, 64), (16, 128, 128, 128)])
def test_all_kernels_lower(shape, dtype):
    x, mask = (jax.ShapeDtypeStruct((*shape[:3], c), dtype) for c in (shape[3], 1))
    params = jax.tree.map(jnp.asarray, params_of(shape[3], 2))
    name = "pallas_mosaic_gpu"

    def gradients(x, style, mask, params):
        def operations(x, style, mask):
            normal = patch_norm(x, mask, params, grid=2, implementation=name)
            return (
                normal,
                masked_moments(x, mask, implementation=name),
                masked_adain(x, style, mask, style_mask=mask, implementation=name),
            )

        out, pullback = jax.vjp(operations, x, style, mask)
        return out, pullback(out)

    text = lower(gradients, x, x, mask, params, platform="cuda")
    assert text.count(f"@{MOSAIC_GPU}(") == 4 + 2 + 6


def sharded(function, check):
    device = abstract_device("cuda")
    mesh = jax.sharding.AbstractMesh((4,), ("data",), (AxisType.Auto,), abstract_device=device)
    spec = PartitionSpec("data")
    return jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=check)


@pytest.mark.slow
@pytest.mark.parametrize("program", ["vmap", "remat", "shard_map", "checked shard_map"])
def test_lowers_inside_programs(program):
    params, name = params_of(16, 1), "pallas_mosaic_gpu"

    def operations(x, mask):
        return (
            patch_norm(x, mask, params, grid=1, implementation=name),
            masked_moments(x, mask, implementation=name),
            masked_adain(x, 2 * x, mask, implementation=name),
        )

    def gradients(x, mask):
        remat = jax.checkpoint(operations) if program == "remat" else operations
        out, pullback = jax.vjp(remat, x, mask)
        return out, pullback(out)

    lead = (4, 1) if program == "vmap" else (4,)
    x, mask = (jax.ShapeDtypeStruct((*lead, 8, 16, c), jnp.float32) for c in (16, 1))
    run = {"vmap": jax.vmap(gradients), "remat": gradients}.get(program)
    run = run or sharded(gradients, check=program.startswith("checked"))
    assert lower(run, x, mask, platform="cuda").count(f"@{MOSAIC_GPU}(") >= 4 + 2 + 6


def test_what_is_not_divisible_is_refused():
    for shape, grid, reason in (
        ((1, 16, 16, 12), 1, "multiples of 8 or of 64 channels, not 12"),
        ((1, 13, 13, 16), 1, "64 does not divide 13x13 pixels"),
        ((1, 32, 32, 16), 4, "32x32 pixels in 4x4 patches have rows that 16 does not divide"),
        ((1, 64, 64, 96), 1, "not 96"),
    ):
        x, mask = (jax.ShapeDtypeStruct((*shape[:3], c), jnp.float32) for c in (shape[3], 1))
        params = jax.tree.map(jnp.asarray, params_of(shape[3], grid))
        run = functools.partial(patch_norm, grid=grid, implementation="pallas_mosaic_gpu")
        with pytest.raises(InputError, match=reason):
            jax.eval_shape(run, x, mask, params)
