"""PIH's supervised training: its losses and the plate it makes up."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxharm.config import OptimConfig, TrainConfig
from jaxharm.models.pih import PIHConfig
from jaxharm.nn.plate import fill_plate
from jaxharm.systems.pih import PIHObjective, PIHSystem
from jaxharm.types import Output

CONFIG = TrainConfig(
    system="pih_light",
    # Two kinds of block are left out: this file is about losses.
    model=dataclasses.replace(PIHConfig.tiny(light=True), identity_start=True, curve_blocks=(0, 3)),
    objective=PIHObjective(),
    optim=OptimConfig(name="adam", lr=3e-3),
    steps=10,
)


def system(**objective):
    config = dataclasses.replace(CONFIG, objective=PIHObjective(**objective))
    return PIHSystem.from_config(config, total_steps=10)


def batch(count=4, side=64, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.2, 0.8, (count, 4, 4, 3))
    target = np.kron(coarse, np.ones((1, side // 4, side // 4, 1)))
    mask = np.zeros((count, side, side, 1), np.float32)
    mask[:, 10:40, 12:50] = 1
    composite = np.where(mask > 0, 0.6 * target, target)
    return {
        "composite": np.round(255 * composite).astype(np.uint8),
        "target": np.round(255 * target).astype(np.uint8),
        "mask": mask,
        "index": np.arange(count, dtype=np.int32),
    }


def test_missing_plate_is_filled_and_a_given_one_kept():
    data = batch()
    prepared = jax.jit(system().prepare)(data)
    expected = jax.jit(fill_plate)(data["composite"] / np.float32(255), data["mask"])
    np.testing.assert_allclose(prepared["background"], expected, atol=1e-6)
    given = np.full_like(data["composite"], 51)
    kept = system().prepare({**data, "background": given})["background"]
    np.testing.assert_allclose(kept, 0.2, atol=1e-6)


@pytest.mark.parametrize("name", ["l1", "l1_foreground", "fnmse"])
def test_losses_equal_their_definitions(name):
    rng = np.random.default_rng(0)
    image, target = rng.random((2, 3, 16, 16, 3), np.float32)
    mask = np.zeros((3, 16, 16, 1), np.float32)
    mask[0, :4, :5] = 1  # 20 pixels, below the smallest area that counts
    mask[1, :12, :10] = 1
    total, terms = system(reconstruction=name, min_area=50, recon_weight=0.92).loss(
        Output(image=image), {"target": target, "mask": mask}, axis_name=None
    )
    error = (image - target).astype(np.float64)
    area = 3 * np.maximum(mask.sum((1, 2, 3)), 50)
    expected = {
        "l1": np.abs(error).mean(),
        "l1_foreground": ((np.abs(error) * mask).sum((1, 2, 3)) / area).mean(),
        "fnmse": ((error**2).sum((1, 2, 3)) / area).mean(),
    }[name]
    np.testing.assert_allclose(total, 0.92 * expected, rtol=1e-5)
    numerator, count = terms[f"{name}_loss"]
    np.testing.assert_allclose(numerator / count, expected, rtol=1e-5)


def test_ten_steps_learn_to_brighten():
    """The foreground is 40 % too dark in every image: curves can undo that."""
    trained = system(reconstruction="fnmse")
    data = batch()
    state = jax.jit(trained.init)(jax.random.key(0), data)
    step = jax.jit(lambda state: trained.step(state, data, axis_name=None))
    losses = []
    for _ in range(10):
        state, metrics = step(state)
        total, count = metrics["fnmse_loss"]
        losses.append(float(total / count))
    assert int(state.step) == 10
    assert losses[-1] < 0.5 * losses[0], losses
