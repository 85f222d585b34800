"""The exit head as a system: what learns and what is frozen, labels, resume, launchers, evaluation."""

import csv
import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image, write_image
from support.random_variables import random_weights
from support.system_cases import tiny_batch, tiny_config
from support.toy_run import curve, saved

from data_pipelines.build import build
from jaxharm import registry
from jaxharm.cli import eval as eval_command
from jaxharm.cli import train as train_command
from jaxharm.config import CheckpointConfig, OptimConfig
from jaxharm.errors import InputError
from jaxharm.papers.propih.exit_labels import ContentScale, automatic_labels
from jaxharm.papers.propih.exit_measure import exit_logits
from jaxharm.papers.propih.exit_system import (
    HEAD,
    SCALE,
    ExitHeadObjective,
    ExitHeadSystem,
    _held_out,
)
from jaxharm.papers.propih.hazard import decide
from jaxharm.papers.propih.model import STAGES, ProPIH
from jaxharm.registry import make_system
from jaxharm.training import initial, parallel
from jaxharm.training.loop import train
from jaxharm.training.supervised import NETWORK
from jaxharm.weights.deployed import load_for_eval
from jaxharm.weights.portable import load_variables, save_weights

SIZE = 8
QUICK_COMPILE = {"xla_backend_optimization_level": 0}


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    """A weights folder of a random generator."""
    config = tiny_config("propih", batch_size=SIZE)
    folder = tmp_path_factory.mktemp("generator")
    save_weights(folder, "propih", config.model, random_weights("propih", config.model))
    return folder


def run_config(generator, *, steps=4, objective=(), **changes):
    base = tiny_config("propih", batch_size=SIZE)
    changes = {"optim": OptimConfig(name="adam", lr=1e-2), **changes}
    return dataclasses.replace(
        base,
        system="propih_exit",
        model=dataclasses.replace(base.model, exit_head=True),
        objective=ExitHeadObjective(generator=str(generator), held_out=0.5, **dict(objective)),
        checkpoint=CheckpointConfig(every=2, best="last"),
        steps=steps,
        **changes,
    )


def batch_of(step):
    return tiny_batch(tiny_config("propih", batch_size=SIZE), step)


@pytest.fixture(scope="module")
def painted_set(tmp_path_factory):
    """A data folder with the set "examples": three composites with their paintings."""
    root = tmp_path_factory.mktemp("painted")
    for number in (1, 2, 10):
        write_image(root / f"examples/comp/{number}.png", random_image(seed=number))
        write_image(root / f"examples/mask/{number}.png", np.dstack([box_mask()] * 3))
        write_image(root / f"examples/style/{number}.png", random_image(seed=50 + number))
    build("photos", manual_dir=root / "examples", data_dir=root / "data")
    return root / "data"


class Interrupted(Exception):
    pass


def run(config, workdir, *, stop_at=None):
    def stream(start):
        for step in range(start, 20):
            if step == stop_at:
                raise Interrupted
            yield batch_of(step)

    return train(config, make_system(config, total_steps=config.steps), workdir, stream)


@pytest.fixture(scope="module")
def finished(generator, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    config = run_config(generator)
    return config, workdir, run(config, workdir)


@pytest.mark.slow
def test_only_the_head_learns_and_the_whole_model_leaves(generator, finished):
    config, workdir, state = finished
    name, model, variables = load_variables(workdir)
    assert (name, model) == ("propih", config.model)
    _, _, before = load_variables(generator)
    jax.tree.map(np.testing.assert_array_equal, variables["encoder"], before["encoder"])
    for part, leaves in before["params"].items():
        jax.tree.map(np.testing.assert_array_equal, variables["params"][part], leaves)
    assert set(variables["params"]) == {*before["params"], HEAD}
    assert set(state.params[NETWORK]) == {HEAD}
    head = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    optimizer = sum(leaf.size for leaf in jax.tree.leaves(state.opt_state))
    assert optimizer <= 2 * head + 2  # two moments and the counts: nothing of the generator
    fresh = make_system(config, total_steps=4).init(jax.random.key(config.seed), batch_of(0))
    moved = jax.tree.map(
        lambda a, b: bool(np.any(np.asarray(a) != np.asarray(b))), fresh.params, state.params
    )
    assert any(jax.tree.leaves(moved))
    assert float(state.collections[NETWORK][SCALE].count) == 4 * SIZE


@pytest.mark.slow
def test_the_log_tells_labels_accuracy_and_what_is_saved(finished):
    rows = [row for row in curve(finished[1]) if row["kind"] == "train"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        shares = [row[f"label_{k}"] for k in range(1, STAGES + 1)]
        assert sum(shares) == pytest.approx(1)
        assert 0 <= row["held_out_macs_saved"] < 1
        assert 1 <= row["held_out_mean_stage"] <= STAGES
        assert {"loss", "accuracy", "held_out_accuracy", "held_out_style_of_last"} <= set(row)


@pytest.mark.slow
def test_interrupted_run_ends_bit_identical(finished, tmp_path, capsys):
    config, workdir, _ = finished
    with pytest.raises(Interrupted):
        run(config, tmp_path, stop_at=3)
    capsys.readouterr()
    run(config, tmp_path)
    assert "resumed at step 2" in capsys.readouterr().out
    assert saved(workdir, 4) == saved(tmp_path, 4)
    assert curve(workdir) == curve(tmp_path)


@pytest.mark.slow
@pytest.mark.dist
def test_launchers_are_bit_identical_and_micro_batches_agree(generator):
    mesh = parallel.make_mesh()

    def trained(mode, accumulate=1, devices=mesh):
        optim = OptimConfig(name="sgd", lr=0.1)
        config = run_config(generator, parallel=mode, accumulate=accumulate, optim=optim)
        system = make_system(config, total_steps=4)
        state = initial.init_state(system, 0, batch_of(0), devices)
        step = parallel.launch(system.step, mode, devices)
        for number in range(2):
            placed = parallel.put_batch(batch_of(number), mode, devices)
            state, metrics = step(state, placed)
        return jax.device_get((state.params, state.collections, metrics))

    one = trained("shard_map")
    jax.tree.map(np.testing.assert_array_equal, one, trained("pmap"))
    alone = parallel.make_mesh(jax.devices()[:1])
    whole, parts = (trained("shard_map", n, alone) for n in (1, 2))
    for other in (whole, parts):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), one[0], other[0]
        )
    assert whole[1][NETWORK][SCALE].count == parts[1][NETWORK][SCALE].count == 2 * SIZE


@pytest.mark.slow
def test_predictions_and_figures_are_those_of_the_exported_model(finished):
    config, workdir, state = finished
    system = make_system(config, total_steps=4)
    batch = batch_of(9)
    _, model, variables = load_variables(workdir)
    prepared = system.prepare(batch)
    inputs = prepared.composite, prepared.mask, prepared.background
    out = jax.jit(ProPIH(model).apply)(variables, *inputs)
    chosen = np.asarray(decide(out.aux["exit_logits"], 0.5))
    expected = np.asarray(out.aux["stages"])[chosen - 1, np.arange(SIZE)]
    for found in (state, load_for_eval(workdir, system, batch)):
        image = jax.jit(system.predict)(found, batch).image
        np.testing.assert_allclose(image, np.clip(expected, 0, 1), atol=1e-5)
    figures = jax.eval_shape(system.figures, state, batch)
    assert {f"stage {k}" for k in range(1, STAGES + 1)} < set(figures)
    extras = system.before_loss(system.context(state, None), state, batch)
    logits = exit_logits(variables["params"][HEAD], extras.per_sample.descriptors)
    np.testing.assert_allclose(out.aux["exit_logits"], logits, rtol=1e-3, atol=1e-4)


# Labels -------------------------------------------------------------------------------------


def test_automatic_labels_by_hand():
    style = np.array([[0.5, 0.9, 0.5], [0.4, 0.5, 0.5], [0.3, 0.2, 0.5], [0.2, 0.1, 0.5]]).T
    content = np.array([[0.1, 0.1, 0.1], [0.5, 0.2, 0.1], [0.9, 0.4, 0.1], [1.4, 0.9, 0.1]]).T
    np.testing.assert_array_equal(automatic_labels(style, content, 1.0), [1, 3, 1])
    np.testing.assert_array_equal(automatic_labels(style, content, 0.0), [4, 4, 1])


def test_the_content_scale_is_the_mean_of_all_seen():
    errors = np.random.default_rng(0).random(12).astype(np.float32)
    scale = ContentScale.empty()
    for part in (errors[:2], errors[2:7], errors[7:]):
        scale = scale.with_errors(jnp.asarray(part), None)
    assert float(scale.mean) == pytest.approx(errors.mean(), rel=1e-6)
    assert float(scale.count) == 12


def test_a_share_is_held_out_by_what_it_shows():
    images = np.random.default_rng(0).integers(0, 256, (2000, 4, 4, 3), dtype=np.uint8)
    held = np.asarray(_held_out(jnp.asarray(images), 0.1))
    assert held.mean() == pytest.approx(0.1, abs=0.03)
    as_floats = jnp.asarray(images[:50]) / 255
    np.testing.assert_array_equal(_held_out(as_floats, 0.1), held[:50])
    mirrored = jnp.asarray(images[:50, :, ::-1])
    np.testing.assert_array_equal(_held_out(mirrored, 0.1), held[:50])


@pytest.mark.slow
def test_labels_of_people_take_the_place_of_automatic_ones(generator):
    config = run_config(generator, objective={"beta": 0.0})
    system = make_system(config, total_steps=4)
    batch = batch_of(0)
    label = np.array([1, 2, 3, 4, 1, 2, 3, 4], np.int32)
    state = jax.jit(system.init)(jax.random.key(0), batch)
    step = jax.jit(functools.partial(system.step, axis_name=None), compiler_options=QUICK_COMPILE)
    _, metrics = step(state, batch.replace(label=label))
    shares = [float(np.divide(*metrics[f"label_{k}"])) for k in range(1, STAGES + 1)]
    assert shares == [0.25] * 4


# Commands and bad input -----------------------------------------------------------------------


@pytest.mark.slow
def test_generators_that_cannot_be_used_are_named(generator, tmp_path):
    def start(config):
        make_system(config, total_steps=1).with_pretrained(None)

    good = run_config(generator)
    with pytest.raises(InputError, match=r"set objective\.generator"):
        start(dataclasses.replace(good, objective=ExitHeadObjective()))
    with pytest.raises(InputError, match=r"set model\.width=8"):
        start(dataclasses.replace(good, model=dataclasses.replace(good.model, width=16)))
    with pytest.raises(InputError, match="no weights at"):
        start(run_config(tmp_path / "none"))
    headless = dataclasses.replace(good.model, exit_head=False)
    with pytest.raises(InputError, match=r"set model\.exit_head=true"):
        ExitHeadSystem.from_config(dataclasses.replace(good, model=headless), total_steps=1)
    with pytest.raises(InputError, match=r"set data\.paintings\.name"):
        make_system(good, total_steps=1).prepare(batch_of(0).replace(background=None))


def test_it_is_no_model_of_its_own():
    assert "propih_exit" not in registry.list_models()


@pytest.mark.slow
def test_train_and_eval_commands_on_labels_of_people(generator, painted_set, tmp_path):
    """People's composites as a set, a label file, the ordinary commands."""
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "stage"], ["1", 1], ["2", 4]])
    sets = {
        **{"data.data_dir": painted_set, "data.name": "examples", "data.split": "test"},
        **{"data.paintings.name": "own", "data.labels": labels, "data.batch_size": 8},
        **{"data.image_size": 64, "data.num_workers": 0, "objective.generator": generator},
        **{"model.width": 8, "model.exit_units": 4, "model.trained_size": 64},
        **{"eval.data": "examples", "eval.split": "test", "eval.paintings": "own"},
        **{"eval.protocol": "painterly_64", "epochs": "none", "steps": 2, "log.every": 1},
    }
    common = ["--config", "configs/propih/exit_head.py"]
    for key, value in sets.items():
        common += ["--set", f"{key}={value}"]
    assert train_command.main([*common, "--workdir", str(tmp_path / "run")]) == 0
    rows = [row for row in curve(tmp_path / "run") if row["kind"] == "train"]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["label_1"] == row["label_4"] == 0.5 for row in rows)
    out = tmp_path / "out"
    arguments = [*common, "--workdir", str(tmp_path / "run"), "--out", str(out), "--maps"]
    assert eval_command.main(arguments) == 0
    values = json.loads((out / "metrics.json").read_text())
    assert values["All"]["count"] == 3
    assert 1 <= values["All"]["exit_stage"] <= 4
    of = {method: rows["All"] for method, rows in values["methods"].items()}
    # Every composite's best stage is one of the four.
    assert sum(of[f"stage {k}"]["accuracy"] for k in range(1, 5)) == pytest.approx(1)
    assert of["composite"]["accuracy"] is None
    assert "| **chosen by the exit head** |" in (out / "table.md").read_text()


def test_labels_of_other_composites_are_refused(generator, painted_set, tmp_path, capsys):
    labels = tmp_path / "labels.csv"
    labels.write_text("id,stage\nother,1\n")
    sets = {
        **{"data.data_dir": painted_set, "data.name": "examples", "data.split": "test"},
        **{"data.paintings.name": "own", "data.labels": labels, "data.num_workers": 0},
        **{"eval.data": "examples", "eval.split": "test", "eval.paintings": "own"},
        **{"objective.generator": generator, "model.width": 8, "epochs": "none", "steps": 2},
    }
    arguments = ["--config", "configs/propih/exit_head.py", "--workdir", str(tmp_path / "run")]
    for key, value in sets.items():
        arguments += ["--set", f"{key}={value}"]
    assert train_command.main(arguments) == 2
    assert "labels 'other'" in capsys.readouterr().err
