"""What is measured is the picture that `harmonize` gives, at every size, for every model."""

import functools

import jax
import numpy as np
import pytest
from support.inference_cases import tiny
from support.system_cases import CASES
from support.tiers import first_is_quick

import jaxharm
from jaxharm import metrics, registry
from jaxharm.config import TrainConfig
from jaxharm.errors import InputError
from jaxharm.evaluation.predictor import Predictor
from jaxharm.inference.loading import runner_class
from jaxharm.interfaces import Inputs, Output
from jaxharm.registry import make_system
from jaxharm.schema import Batch

NAMES = [name for name in registry.list_models() if name != "toy"]
PARAMETRIC = [name for name in NAMES if runner_class(registry.get(name)).parametric]
# (height, width): the metric's usual size; a photograph's; about four million pixels.
SIZES = [
    (256, 256),
    pytest.param((1001, 667), marks=pytest.mark.slow),
    pytest.param((2448, 1632), marks=pytest.mark.slow),
]


def record(name, height, width, count=1):
    """An evaluation batch: smooth pictures with some grain, and a soft-edged object."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(40, 210, (count, 7, 5, 3))
    rows = np.arange(height)[:, None] * 7 // height
    target = coarse[:, rows, np.arange(width) * 5 // width]
    target = (target + rng.integers(-9, 10, target.shape)).astype(np.uint8)
    mask = np.zeros((count, height, width, 1), np.float32)
    mask[:, height // 4 : height // 2, width // 3 : 2 * width // 3] = 1
    mask[:, height // 2, width // 3 : 2 * width // 3] = 0.5
    plate = target[:, ::-1] if registry.get(name).needs_background else None
    around = target if plate is None else plate
    composite = np.rint((target * 0.7 + 10) * mask + around * (1 - mask)).astype(np.uint8)
    return Batch(
        composite,
        mask,
        target,
        background=plate,
        composite_id=np.array([f"r{i}" for i in range(count)], object),
    )


@functools.cache
def trained(name):
    """A system with random weights: what evaluates it, and its variables."""
    model, variables = tiny(name)
    case = next((case for case in CASES.values() if case.registered == name), None)
    objective = (case and case.objective) or registry.get(name).objective()
    config = TrainConfig(name, model.config, objective(), steps=1)
    system = make_system(config, total_steps=1)
    run = jax.jit(lambda batch: system.apply(variables, system.prepare(batch)).image)

    def predict(batch):
        return Output(image=np.asarray(run(batch.for_devices())))

    predictor = functools.partial(Predictor, system, variables, predict)
    return predictor, jaxharm.Harmonizer(model, variables=variables)


# One that predicts curves and one that predicts pixels; the slow tests take every model.
QUICK = (PARAMETRIC[0], next(name for name in NAMES if name not in PARAMETRIC))
BY_TIER = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in NAMES]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", BY_TIER)
def test_evaluated_is_harmonized(name, size):
    _evaluated_is_harmonized(name, size, strength=1.0)


@pytest.mark.parametrize("name", first_is_quick(NAMES))
def test_a_weaker_change_is_measured_as_it_is_made(name):
    _evaluated_is_harmonized(name, (96, 72), strength=0.5)


def _evaluated_is_harmonized(name, size, strength):
    predictor, harmonize = trained(name)
    batch = record(name, *size)
    evaluated = predictor(strength=strength)(batch).image[0]
    plate = None if batch.background is None else batch.background[0]
    harmonized = harmonize(
        batch.composite[0], batch.mask[0, ..., 0], background=plate, strength=strength
    )
    # Half a level for the rounding of the file, and the network's own rounding.
    np.testing.assert_allclose(evaluated, harmonized / 255.0, atol=0.5 / 255 + 1e-4)
    of = (batch.target, batch.mask)
    values = [
        {m: float(v[0]) for m, v in metrics.measure(image[None], *of).items()}
        for image in (evaluated, harmonized)
    ]
    for metric in ("mse", "fmse", "psnr"):
        assert values[0][metric] == pytest.approx(values[1][metric], rel=5e-3, abs=0.05), metric


@pytest.mark.parametrize("name", first_is_quick(NAMES))
def test_a_batch_gives_what_its_images_give(name):
    predict = trained(name)[0]()
    batch = record(name, 96, 72, count=3)
    together = predict(batch).image
    for i in range(3):
        alone = predict(jax.tree.map(lambda value, i=i: value[i : i + 1], batch)).image
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", PARAMETRIC)
def test_the_network_sees_the_object_once(name):
    """At a size that the network cannot take, nothing is mirrored: it looks at its own size."""
    predict = trained(name)[0]()
    batch = record(name, 40, 50)
    plate = None if batch.background is None else batch.background[0]
    inputs = Inputs(batch.composite[0], None, batch.mask[0, ..., 0], plate)
    seen = predict._runner.prepare(inputs, predict._options)
    side = predict._runner.model.config.default_size
    assert seen.mask.shape == (1, side, side, 1)
    assert seen.mask.mean() == pytest.approx(batch.mask.mean(), rel=0.05)


def test_an_empty_mask_leaves_the_composite():
    predict = trained(PARAMETRIC[0])[0]()
    batch = record(PARAMETRIC[0], 40, 40)
    image = predict(batch.replace(mask=np.zeros_like(batch.mask))).image
    np.testing.assert_array_equal(image, batch.composite / np.float32(255))


def test_the_bad_image_is_named():
    name = next(n for n in NAMES if n not in PARAMETRIC and tiny(n)[0].config.min_size > 16)
    predict = trained(name)[0]()
    with pytest.raises(InputError, match=r"^r0: the image is 16x16 pixels"):
        predict(record(name, 16, 16))
