"""Leaving early: the same results, nothing computed in vain, order kept, in both forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.random_variables import random_weights

from jaxharm.errors import InputError
from jaxharm.papers.propih.early_exit import StageRunner, one_program
from jaxharm.papers.propih.model import STAGES, ProPIH, ProPIHConfig, stage_macs

RNG = np.random.default_rng(6)
COUNT = 5
MODEL = ProPIH(ProPIHConfig.tiny(exit_head=True))


@pytest.fixture(scope="module")
def images():
    composite, painting = RNG.random((2, COUNT, 16, 24, 3), np.float32)
    mask = np.zeros((COUNT, 16, 24, 1), np.float32)
    for i in range(COUNT):
        mask[i, 2 : 8 + i, 3 : 9 + 2 * i] = 1
    return composite, mask, painting


@pytest.fixture(scope="module")
def variables():
    found = random_weights("propih", MODEL.config)
    # As drawn, the head sees no difference between the images: none of its units is above zero.
    head = jax.tree.map(lambda leaf: -leaf, found["params"]["exit_head"])
    return {**found, "params": {**found["params"], "exit_head": head}}


@pytest.fixture(scope="module")
def runner(variables):
    return StageRunner(MODEL, variables)


@pytest.fixture(scope="module")
def everything(runner, images):
    return runner(*images, mode="all")


@pytest.fixture(scope="module")
def threshold(variables, images):
    """Two images leave after stage 1."""
    logits = jax.jit(MODEL.apply)(variables, *images).aux["exit_logits"]
    assert logits.shape == (STAGES - 1, COUNT)
    chances = np.sort(np.asarray(jax.nn.sigmoid(logits[0])))
    return float((chances[-3] + chances[-2]) / 2)


@pytest.mark.parametrize("stage", range(1, STAGES + 1))
def test_a_fixed_exit_is_bit_identical_and_runs_nothing_later(runner, images, everything, stage):
    runner.calls.clear()
    found = runner(*images, mode="fixed", stage=stage)
    np.testing.assert_array_equal(found.final, everything.finals[stage - 1])
    np.testing.assert_array_equal(found.coarse, everything.coarses[stage - 1])
    assert found.finals is None
    assert [k for k, _ in runner.calls] == list(range(1, stage + 1))


def test_images_that_left_are_set_aside_and_order_is_kept(runner, images, everything, threshold):
    runner.calls.clear()
    found = runner(*images, mode="gru", threshold=threshold)
    assert sorted(found.stage.tolist())[:2] == [1, 1]
    assert max(found.stage) > 1
    chosen = everything.finals[found.stage - 1, np.arange(COUNT)]
    first = found.stage == 1
    np.testing.assert_array_equal(found.final[first], chosen[first])  # the same batch, bit for bit
    np.testing.assert_allclose(found.final, chosen, atol=1e-5)
    # Five images in a batch of eight, then three in one of four; never more than are needed.
    running = [int((found.stage >= k).sum()) for k in range(1, max(found.stage) + 1)]
    sizes = [1 << (count - 1).bit_length() for count in running]
    assert runner.calls == list(enumerate(sizes, 1))


def test_the_decision_does_not_depend_on_the_batch(runner, images, threshold):
    together = runner(*images, mode="gru", threshold=threshold)
    for i in range(COUNT):
        alone = runner(*(a[i : i + 1] for a in images), mode="gru", threshold=threshold)
        assert alone.stage[0] == together.stage[i]
        np.testing.assert_allclose(alone.final[0], together.final[i], atol=1e-5)


@pytest.mark.slow
def test_one_program_agrees_and_skips_stages(runner, variables, images, threshold):
    run = jax.jit(functools.partial(one_program, MODEL, threshold=threshold))
    first = runner(*images, mode="gru", threshold=threshold).stage == 1
    early = [np.repeat(a[first][:1], COUNT, 0) for a in images]  # all leave after stage 1
    for given in (images, early):
        final, coarse, stage = run(variables, *given)
        expected = runner(*given, mode="gru", threshold=threshold)
        np.testing.assert_array_equal(stage, expected.stage)
        np.testing.assert_allclose(final, expected.final, atol=1e-5)
        np.testing.assert_allclose(coarse, expected.coarse, atol=1e-5)
    assert (stage == 1).all()
    # Every later stage stands inside of a condition.
    text = str(jax.make_jaxpr(lambda *a: one_program(MODEL, *a))(variables, *images))
    assert text.count("cond[") >= STAGES - 1


def test_arithmetic_of_the_stages_is_that_of_the_specification():
    """As lowered, not as optimized for CPU, where some multiplications are saved."""
    model = ProPIH(ProPIHConfig())
    image, mask = (jax.ShapeDtypeStruct((1, 256, 256, c), jnp.float32) for c in (3, 1))
    variables = jax.eval_shape(model.init, jax.random.key(0), image, mask, image)
    expected = 2 * np.cumsum(stage_macs(model.config, 256, 256))
    for number in range(1, STAGES + 1):

        def run(variables, composite, mask, painting, number=number):
            arguments = (variables, composite, mask, painting)
            return model.apply(*arguments, number=number, method="until_stage").image

        lowered = (
            jax.jit(run).trace(variables, image, mask, image).lower(lowering_platforms=("tpu",))
        )
        flops = lowered.cost_analysis()["flops"]
        assert flops == pytest.approx(expected[number - 1], rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "fixed", "stage": 5}, "stage 5: .*1 to 4"),
        ({"mode": "fixed", "stage": 0}, "stage 0: .*1 to 4"),
        ({"mode": "best"}, "exit mode 'best': choose fixed, gru or all"),
        ({"mode": "gru", "threshold": 1.5}, r"1\.5 is not in \[0, 1\]"),
    ],
)
def test_bad_modes_are_named(runner, images, arguments, message):
    with pytest.raises(InputError, match=message):
        runner(*images, **arguments)


def test_automatic_exit_needs_an_exit_head(images, variables):
    plain = ProPIH(ProPIHConfig.tiny())
    with pytest.raises(InputError, match="no exit head"):
        StageRunner(plain, variables)(*images, mode="gru")
