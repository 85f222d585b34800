"""The kernels for TPU in a simulator of its cores and memories, and the faults that it finds.

Two cores take the parallel steps of a grid in a random order, copies arrive only when they are waited
for, memory that was not written holds NaN, and two accesses without an order between them are a race.
Interpretation (`test_*_kernels.py`) runs one step after the other in one memory and sees none of that.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.pallas.mosaic.interpret import interpret_pallas_call
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxharm import ops
from jaxharm.ops import apply_curves, dispatch, dynamic_filter, masked_adain, masked_moments
from jaxharm.ops.apply_curves import pallas_tpu as curves_tpu
from jaxharm.ops.apply_curves.configs import TpuBlocks as CurveBlocks
from jaxharm.ops.dynamic_filter import pallas_tpu as filter_tpu
from jaxharm.ops.dynamic_filter.configs import TpuBlocks as FilterBlocks
from jaxharm.ops.regions import tpu_tiles
from jaxharm.ops.regions.configs import TpuBlocks as RegionBlocks
from jaxharm.ops.trial import difference, draw, value_and_gradients

SIMULATOR = pltpu.InterpretParams(
    detect_races=True, num_cores_or_threads=2, uninitialized_memory="nan", random_seed=0
)
IMAGE, MASK = (1, 37, 150, 3), (1, 37, 150, 1)
FEATURES, REGION = (1, 40, 12, 8), (1, 40, 12, 1)
VECTORS = ("fg_var", "fg_bias", "patched_fg_var", "patched_fg_bias", "bg_var", "bg_bias")


def curves(image, curves, mask, background, shading):
    return apply_curves(image, curves, mask=mask, background=background, shading=shading)


def adain(content, style, mask, style_mask):
    return masked_adain(content, style, mask, style_mask=style_mask)


def patch_norm(x, mask, params):
    return ops.patch_norm(x, mask, params, grid=3)


# An operation, and the shapes of its arguments: with the blocks below, three blocks of rows or more.
CASES = {
    "apply_curves": (curves, (IMAGE, (1, 3, 4), MASK, IMAGE, MASK)),
    "dynamic_filter": (dynamic_filter, ((1, 12, 9, 8), (1, 12, 9, 8, 3, 3))),
    "masked_moments": (masked_moments, (FEATURES, REGION)),
    "masked_adain": (adain, (FEATURES, FEATURES, REGION, REGION)),
    "patch_norm": (
        patch_norm,
        (
            FEATURES,
            REGION,
            {**dict.fromkeys(VECTORS, (8,)), "weights": (2,), "grid_weights": (3, 3, 8)},
        ),
    ),
}
# Sums that one step of a grid hands to the next; the rows of a filter's gradient that two blocks share.
CARRIED = ("apply_curves", "dynamic_filter")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks in images that are small enough for a simulator."""
    for module, table, blocks in (
        (curves_tpu, "TPU_FORWARD", CurveBlocks(height=16, width=128)),
        (curves_tpu, "TPU_BACKWARD", CurveBlocks(height=16, width=128)),
        (filter_tpu, "TPU", FilterBlocks(bytes=2**18)),
        (tpu_tiles, "TPU", RegionBlocks(bytes=2**17)),
    ):
        monkeypatch.setattr(module, table, (("", "any TPU", blocks),))
    yield
    pltpu.reset_tpu_interpret_mode_state()


@functools.cache
def call_of(name):
    operation, shapes = CASES[name]
    arguments = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, np.float32),
        shapes,
        is_leaf=lambda leaf: isinstance(leaf, tuple) and all(isinstance(n, int) for n in leaf),
    )
    with dispatch.listening() as calls:
        jax.eval_shape(lambda *a: operation(*a), *arguments)
    (call,) = calls.values()
    return call


def simulate(name):
    """The largest difference from the reference, of result and gradients; and whether there was a race."""
    call = call_of(name)
    arguments = draw(call.arguments)
    expected = value_and_gradients(call, "reference")(arguments)
    with pltpu.force_tpu_interpret_mode(SIMULATOR):
        found = jax.block_until_ready(value_and_gradients(call, "pallas_tpu")(arguments))
    return difference(found, expected), interpret_pallas_call.races.races_found


@pytest.mark.parametrize("name", CASES)
def test_a_simulated_chip_finds_what_the_definition_says(name):
    error, race = simulate(name)
    assert error < 3e-5
    assert not race


@pytest.mark.parametrize("name", CARRIED)
def test_steps_without_the_order_that_they_need_are_found(name, monkeypatch):
    def all_parallel(dimension_semantics):
        return pltpu_params(dimension_semantics=("parallel",) * len(dimension_semantics))

    pltpu_params = pltpu.CompilerParams
    monkeypatch.setattr(pltpu, "CompilerParams", all_parallel)
    error, race = simulate(name)
    assert race or not error < 1e-3


def test_a_block_in_the_wrong_place_is_found(monkeypatch):
    right = curves_tpu._blocks

    def shifted(*arguments):
        """The last row of blocks is read and written for the first one too."""
        grid, specs = right(*arguments)

        def spec(channels):
            block = specs(channels)
            return pl.BlockSpec(
                block.block_shape, lambda n, c, r: block.index_map(n, c, jnp.maximum(r, 1))
            )

        return grid, spec

    monkeypatch.setattr(curves_tpu, "_blocks", shifted)
    error, race = simulate("apply_curves")
    assert race or not error < 1e-3
