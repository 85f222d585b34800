"""GKNet's training: the losses, the protocols, figures of a prediction."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.contexts import NO_EXTRAS, context
from support.random_variables import QUICK_COMPILE
from support.system_cases import tiny_batch, tiny_config

from jaxharm.config_file import load_config
from jaxharm.evaluation.fitting import fitted_figures
from jaxharm.interfaces import Output
from jaxharm.nn.imagenet import STD
from jaxharm.papers.gknet.figures import explain
from jaxharm.registry import make_system
from jaxharm.training.optim import make_schedule

CONFIG = Path(__file__).resolve().parents[3] / "configs/gknet/iharmony4.py"


def tiny_system(**objective):
    config = tiny_config("gknet", batch_size=2)
    config = dataclasses.replace(
        config,
        # No kernels of zero: an untrained network would have nothing to show.
        model=dataclasses.replace(config.model, kernel_param="raw"),
        objective=dataclasses.replace(config.objective, **objective),
    )
    return make_system(config, total_steps=10)


@functools.cache
def start():
    system = tiny_system()
    batch = tiny_batch(system.config)
    state = jax.jit(system.init, compiler_options=QUICK_COMPILE)(jax.random.key(0), batch)
    return system, state, batch


@functools.cache
def compiled_figures():
    return jax.jit(start()[0].figures, compiler_options=QUICK_COMPILE)


def test_losses_match_their_names():
    system = tiny_system()
    batch = system.prepare(tiny_batch(system.config))
    image = jnp.asarray(np.random.default_rng(0).random(batch.target.shape), jnp.float32)
    error = np.asarray(image - batch.target, np.float64)
    area = np.maximum(np.asarray(batch.mask).sum((1, 2, 3)), 100)
    expected = {
        (("loss", "fn_mse"),): ((error**2).sum((1, 2, 3)) / (3 * area)).mean(),
        (("loss", "mse"),): (error**2).mean(),
        (("loss", "l1"), ("weight", 100.0)): 100 * np.abs(error).mean(),
        (("loss", "mse"), ("loss_space", "imagenet")): ((error / STD) ** 2).mean(),
        (("a_min", 1e4),): ((error**2).sum((1, 2, 3)) / (3 * 1e4)).mean(),
    }
    for options, value in expected.items():
        found, terms = tiny_system(**dict(options)).loss(context(), Output(image), batch, NO_EXTRAS)
        assert float(found) == pytest.approx(value, rel=1e-5), options
        assert list(terms) == [f"{dict(options).get('loss', 'fn_mse')}_loss"]


@pytest.mark.slow
def test_figures_show_kernels_attention_and_fusion():
    _, state, batch = start()
    figures = compiled_figures()(state, batch)
    names = {f"{what} 1/{n}" for what in ("kernels", "kernel strength") for n in (2, 4)}
    names |= {f"global share of channels 1/{n}" for n in (2, 4)}
    names |= {"point", "attention of the point, layer 1", "attention of the point, layer 2"}
    assert set(figures) == names
    for name, value in figures.items():
        assert value.shape == (2, 64, 64, 1), name
        assert float(value.min()) >= 0, name
        assert float(value.max()) <= 1, name
        assert float(jnp.std(value)) > 0, name
    # The point is one token of 8x8 pixels, on the foreground.
    point = np.asarray(figures["point"]) == 1
    assert point.sum((1, 2, 3)).tolist() == [64, 64]
    assert (np.asarray(batch.mask)[point]).mean() > 0.5


@pytest.mark.slow
def test_the_point_can_be_chosen():
    system, state, batch = start()
    at = functools.partial(explain, system.module(), system.config.model, point=(0.99, 0.0))
    figures = jax.jit(at, compiler_options=QUICK_COMPILE)(
        system.variables(state), system.prepare(batch)
    )
    rows, columns = np.nonzero(np.asarray(figures["point"])[0, ..., 0] == 1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (56, 63, 0, 7)


def test_drawn_kernels_are_those_of_their_places():
    from jaxharm.papers.gknet.figures import _drawn_kernels

    kernels = np.random.default_rng(0).uniform(-1, 1, (1, 4, 8, 3, 3)).astype(np.float32)
    drawn = np.asarray(_drawn_kernels(jnp.asarray(kernels), (48, 96)))[0, ..., 0]
    expected = 0.5 + 0.5 * kernels[0] / np.abs(kernels).max()
    for i, j in np.ndindex(4, 8):
        cell = drawn[12 * i : 12 * i + 12, 12 * j : 12 * j + 12]
        np.testing.assert_allclose(cell[2::4, 2::4], expected[i, j], atol=1e-6)


def test_odd_sizes_are_padded_and_cut():
    system, state, batch = start()
    odd = batch.map_images(lambda image: image[:, :50, :41])
    compute = functools.partial(compiled_figures(), state)
    figures = fitted_figures(compute, system.name, system.config.model)(odd)
    assert {value.shape for value in figures.values()} == {(2, 50, 41, 1)}


def test_protocols_have_the_published_values():
    default, baseline, dht = (
        load_config(CONFIG, overlays=[name])
        for name in ("protocol_default", "protocol_issam", "protocol_dht")
    )
    assert default == load_config(CONFIG)
    optim = default.optim
    assert (optim.name, optim.lr, optim.b1, optim.b2) == ("adam", 2e-4, 0.9, 0.999)
    assert (optim.warmup_steps, optim.clip_norm, default.epochs) == (1000, 1.0, 120)
    assert (default.data.batch_size, default.objective.a_min) == (16, 100)
    assert (baseline.optim.lr, baseline.objective.a_min, baseline.epochs) == (1e-3, 1000, 120)
    assert (dht.optim.lr, dht.optim.b1, dht.epochs, dht.data.augment.crop_scale) == (
        *(1e-4, 0.5, 60),
        None,
    )
    assert (dht.objective.loss, dht.objective.weight, dht.model.blend_train) == ("l1", 100, False)
    rate = make_schedule(dht.optim, 600)
    rates = [float(rate(step)) for step in (0, 299, 450, 599)]
    assert rates == pytest.approx([1e-4, 1e-4, 5e-5, 1e-4 / 300], rel=1e-3)
