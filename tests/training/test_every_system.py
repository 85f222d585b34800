"""What a run of any registered system guarantees: exact resume, usable weights."""

import shutil
import time

import jax
import numpy as np
import pytest
from support.system_cases import NAMES, tiny_batch, tiny_config
from support.toy_run import curve, saved

from jaxharm import registry
from jaxharm.registry import make_system
from jaxharm.training import parallel
from jaxharm.training.loop import train
from jaxharm.weights.portable import load_variables

STEPS = 4
# A minute or more each, nearly all of it tracing and compiling the step. test_new_system.py takes
# the smallest system each time.
pytestmark = pytest.mark.slow


def run(config, workdir, *, copy_to=None):
    """Trains; what a machine that fails at the fourth batch would leave behind goes to `copy_to`."""

    def stream(start):
        for step in range(start, STEPS + 10):
            if step == 3 and copy_to is not None:
                deadline = time.monotonic() + 300
                while not (workdir / "last/2").is_dir() and time.monotonic() < deadline:
                    time.sleep(0.01)
                shutil.copytree(workdir, copy_to)
            yield tiny_batch(config, step)

    return train(config, make_system(config, total_steps=STEPS), workdir, stream)


@pytest.mark.parametrize("name", NAMES)
def test_interrupted_run_ends_bit_identical(name, tmp_path, capsys):
    config = tiny_config(name, steps=STEPS)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    state = run(config, whole, copy_to=broken)
    capsys.readouterr()
    run(config, broken)
    assert "resumed at step 2" in capsys.readouterr().out
    assert saved(whole, STEPS) == saved(broken, STEPS)
    assert curve(whole) == curve(broken)

    found, model_config, variables = load_variables(whole)
    assert found == config.system
    batch = tiny_batch(config, 99)
    module = registry.get(found).model()(config=model_config)
    inputs = jax.jit(make_system(config, total_steps=STEPS).prepare)(batch)
    exported = jax.jit(module.apply, static_argnames="train")(
        variables, inputs.composite, inputs.mask, inputs.background, train=False
    ).image
    predict = parallel.make_predict(make_system(config, total_steps=STEPS), parallel.make_mesh())
    np.testing.assert_allclose(predict(state, batch).image, exported, rtol=1e-4, atol=1e-5)
