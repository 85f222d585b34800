"""The kernels of patch_norm, interpreted: goldens, float64, patches, repeats; and lowered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ops.test_patch_norm import BLOCKS, VECTORS, blocks, golden_params, nhwc, our_layout  # noqa: F401
from ops.test_patch_norm import CASES as GOLDEN_CASES
from support import region_cases
from support.kernel_runs import INTERPRET, lowerings
from support.lowering import count_kernels, lower
from support.region_cases import MASKS, SHAPES, assert_close, assert_same_bits, draw, in_float64
from support.tiers import first_is_quick

from jaxharm.ops import patch_norm
from jaxharm.ops.patch_norm import pallas_tpu, pallas_triton
from jaxharm.ops.regions import configs

LOWERINGS = {"tpu": pallas_tpu, "cuda": pallas_triton}
EPS = 1e-7
# A shape and a grid. Of 24 rows a grid of 5 makes patches of 4 rows, the last of 8: several in a
# block of rows, and none of them a multiple of a tile.
CASES = {
    "64 channels": (SHAPES["64 channels"], 5),
    "odd sides": (SHAPES["odd sides"], 4),
    "channels in the lanes": (SHAPES["channels in the lanes"], 3),
    "whole image": ((1, 7, 9, 5), 1),
}
parametrize_lowering = pytest.mark.parametrize("lowering", first_is_quick(lowerings()))


@functools.partial(jax.jit, static_argnums=(0, 1))
def run(lowering, grid, x, mask, params, upstream):
    """The result and the gradients."""
    module = LOWERINGS[lowering]
    out, found = module.forward(x, mask, params, grid, EPS, interpret=INTERPRET)
    return out, module.backward(x, mask, params, found, upstream, grid, EPS, interpret=INTERPRET)


def params_of(channels, grid):
    rng = np.random.default_rng(2)
    params = {name: rng.normal(1, 0.3, channels) for name in VECTORS}
    params["weights"] = rng.normal(0.5, 0.1, 2)
    params["grid_weights"] = rng.normal(0.1, 0.05, (grid, grid, channels))
    return {name: np.float32(value) for name, value in params.items()}


def both(lowering, grid, x, mask, upstream):
    """What the kernels find, and float64."""
    params = params_of(x.shape[-1], grid)
    definition = functools.partial(region_cases.patch_norm, grid=grid)
    want = in_float64(definition, (x, mask, params), upstream)
    return run(lowering, grid, x, mask, params, upstream), want


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@parametrize_lowering
def test_values_and_gradients_are_those_of_float64(lowering, case):
    shape, grid = CASES[case]
    for kind in MASKS:
        x, mask, upstream = draw(shape, kind)
        if kind == "hard":  # a patch with no background, and one with nothing else
            mask[:, : shape[1] // grid, : shape[2] // grid] = 1
            mask[:, -(shape[1] // grid) :, -(shape[2] // grid) :] = 0
        # A region without deviation is divided by sqrt(eps).
        hard = kind in ("empty", "full", "one pixel") or grid == 1
        assert_close(*both(lowering, grid, x, mask, upstream), 5e-4 if hard else 5e-6)


@pytest.mark.slow
@parametrize_lowering
def test_a_large_offset_keeps_the_deviations(lowering):
    shape, grid = CASES["64 channels"]
    x, mask, upstream = draw(shape, "hard", offset=1e3, spread=0.1)
    (out, gradients), (want_out, want) = both(lowering, grid, x, mask, upstream)
    assert_close(out, want_out, 2e-5)
    assert_close(gradients[:2], want[:2], 2e-3)


@pytest.mark.slow
@parametrize_lowering
def test_blocks_that_end_inside_patches(lowering, monkeypatch):
    """Smaller blocks, so that a patch spans several and a block several patches."""
    for where, small in (
        ("tpu_tiles.TPU", configs.TpuBlocks(bytes=8 * 64 * 128 * 4)),
        ("triton_tiles.GPU_SUMS", configs.GpuBlocks(1024, 2, 4)),
        ("triton_tiles.GPU_UPSTREAM", configs.GpuBlocks(1024, 2, 4)),
        ("triton_tiles.GPU_MAPS", configs.GpuBlocks(1024, 2, 4)),
    ):
        monkeypatch.setattr(f"jaxharm.ops.regions.{where}", (("test", "any", small),))
    shape, grid = (1, 27, 16, 64), 2
    x, mask, upstream = draw(shape)
    run.clear_cache()
    assert_close(*both(lowering, grid, x, mask, upstream), 5e-6)
    run.clear_cache()


@pytest.mark.slow
@parametrize_lowering
def test_bfloat16_is_summed_in_float32(lowering):
    shape, grid = CASES["64 channels"]
    arrays = [jnp.asarray(a, jnp.bfloat16) for a in draw(shape, offset=40)]
    (out, gradients), (want_out, want) = both(lowering, grid, *arrays)
    assert {out.dtype, gradients[0].dtype, gradients[1].dtype} == {jnp.dtype(jnp.bfloat16)}
    assert_close(out.astype(jnp.float32), want_out, 2**-8)
    assert_close([g.astype(jnp.float32) for g in gradients[:2]], list(want[:2]), 2**-8)


@pytest.mark.golden
@pytest.mark.parametrize("block", first_is_quick(BLOCKS))
@parametrize_lowering
def test_golden_block_and_all_gradients(blocks, lowering, block):  # noqa: F811
    channels, grid = BLOCKS[block]
    params = golden_params(block, channels, grid)
    cotangent = nhwc(blocks[f"{block}_cotangent"])
    for case in GOLDEN_CASES:
        one_pixel = case == "one_pixel"
        x, mask = nhwc(blocks[f"{block}_x"]), nhwc(blocks[f"{block}_{case}_mask"])
        out, (dx, _, dparams) = run(lowering, grid, x, mask, params, cotangent)
        want = nhwc(blocks[f"{block}_{case}_out"])
        np.testing.assert_allclose(out, want, rtol=0, atol=5e-4 if one_pixel else 1e-5)
        gradients = {"x": (dx, nhwc(blocks[f"{block}_{case}_grad_x"]))}
        for name, value in dparams.items():
            gradients[name] = (value, our_layout(name, blocks[f"{block}_{case}_grad_{name}"]))
        for name, (got, expected) in gradients.items():
            error, norm = np.linalg.norm(got - expected), np.linalg.norm(expected)
            assert error <= (5e-3 if one_pixel else 1e-5) * norm + 1e-12, (case, name)


@pytest.mark.slow
@parametrize_lowering
def test_two_runs_have_the_same_bits(lowering):
    shape, grid = CASES["64 channels"]
    x, mask, upstream = draw(shape)
    params = params_of(shape[-1], grid)
    assert_same_bits(*(run(lowering, grid, x, mask, params, upstream) for _ in range(2)))


@pytest.mark.parametrize("dtype", first_is_quick([jnp.float32, jnp.bfloat16]))
@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((16, 256, 256, 64), 2),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [((16, 128, 128, 128), 4), ((2, 128, 128, 32), 10)]
        ),
        ((1, 131, 111, 3), 3),
    ],
)
@pytest.mark.parametrize("platform", LOWERINGS)
def test_all_kernels_lower(platform, shape, grid, dtype):
    x, mask = (jax.ShapeDtypeStruct((*shape[:3], c), dtype) for c in (shape[3], 1))
    params = jax.tree.map(jnp.asarray, params_of(shape[3], grid))
    name = {"tpu": "pallas_tpu", "cuda": "pallas_gpu"}[platform]

    def gradients(*arguments):
        apply = functools.partial(patch_norm, grid=grid, implementation=name)
        out, pullback = jax.vjp(apply, *arguments)
        return out, pullback(out)

    assert count_kernels(lower(gradients, x, mask, params, platform=platform), platform) == 4
