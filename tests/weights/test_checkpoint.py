"""Checkpoints: other topologies, other models, damage, and use without the optimizer."""

import collections
import dataclasses
import shutil

import jax
import numpy as np
import pytest
from support.toy_run import run, run_config, saved, toy_batch
from support.toy_system import ToyConfig

from jaxharm.config import OptimConfig, to_json
from jaxharm.errors import InputError
from jaxharm.registry import make_system
from jaxharm.training import initial, parallel
from jaxharm.weights import checkpoint
from jaxharm.weights.checkpoint import Checkpoints
from jaxharm.weights.checkpoint_checks import check_model
from jaxharm.weights.deployed import init_from, load_for_eval
from jaxharm.weights.same_run import compare_runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run whose best step (4) is not its last (6), with averaged parameters."""
    workdir = tmp_path_factory.mktemp("finished")
    values = iter([3.0, 1.0, 2.0])

    class Fake:
        def __init__(self, predict):
            self.summary = {"All": {"fmse": next(values)}}
            self.baseline = {"All": {"fmse": 4.0}}

    config = run_config(ema_decay=0.9)
    return workdir, config, run(config, workdir, evaluate=Fake)


def system_of(config):
    return make_system(config, total_steps=config.steps)


@pytest.mark.dist
@pytest.mark.parametrize("count", [1, 2, 8])
def test_state_saved_on_8_devices_is_restored_on_fewer(finished, count):
    workdir, config, state = finished
    mesh = parallel.make_mesh(jax.devices()[:count])
    target = initial.abstract_state(system_of(config), toy_batch(0, 8), mesh)
    with Checkpoints(workdir, config) as checkpoints:
        newest = checkpoints.newest()
        restored = checkpoints.restored(newest, target)
    assert newest.record["records"] == 6 * 8
    assert newest.record["best"] == {"step": 4, "metric": "fmse", "value": 1.0}
    assert all(len(leaf.sharding.device_set) == count for leaf in jax.tree.leaves(restored))
    restored, state = (
        jax.tree.map(np.asarray, s.replace(key=jax.random.key_data(s.key)))
        for s in (restored, state)
    )
    jax.tree.map(np.testing.assert_array_equal, restored, state)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": ToyConfig(features=5)}, "its model.features is 4, this config's is 5"),
        ({"seed": 3}, "its seed is 0, this config's is 3"),
        ({"optim": OptimConfig(name="sgd")}, "its optim.name is 'adam', this config's is 'sgd'"),
        ({"ema_decay": None}, "its ema_decay is 0.9, this config's is None"),
    ],
)
def test_checkpoint_of_another_run_is_refused(finished, tmp_path, changes, words):
    shutil.copytree(finished[0], tmp_path / "run")
    before = saved(tmp_path / "run")
    with pytest.raises(InputError, match="last/6") as error:
        run(dataclasses.replace(finished[1], **changes), tmp_path / "run")
    assert words in str(error.value)
    assert saved(tmp_path / "run") == before


def damage_in_the_middle(file):
    """Changes a few bytes in the middle of a file: no format notices most of these."""
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 16] = bytes(byte ^ 1 for byte in data[middle : middle + 16])
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    ["flip", "delete manifest"]
    + [
        pytest.param(damage, marks=pytest.mark.slow)
        for damage in ("flip record", "truncate metadata", "truncate record")
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_goes_on(
    finished, tmp_path, capsys, damage
):
    workdir, config, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    newest = copy / "last" / "6"
    break_checkpoint(newest, damage)
    with pytest.warns(UserWarning, match=r"last/6 is damaged .*damaged/6.* from step 4") as told:
        run(config, copy)
    assert "\n" not in str(told[0].message)
    assert "resumed at step 4" in capsys.readouterr().out
    assert (copy / "damaged" / "6").is_dir()
    assert saved(copy) == saved(workdir)


def break_checkpoint(folder, damage):
    files = {
        "flip record": folder / "record" / "metadata",
        "truncate metadata": folder / "state" / "_METADATA",
        "delete manifest": folder / "state" / "manifest.ocdbt",
        "truncate record": folder / "record" / "metadata",
    }
    if damage == "flip":
        # All of them: which ones hold values that are read again is the format's affair.
        for each in (folder / "state").rglob("d/*"):
            damage_in_the_middle(each)
        return
    file = files[damage]
    if damage == "flip record":
        text = file.read_text()
        assert '"seed": 0' in text
        file.write_text(text.replace('"seed": 0', '"seed": 1'))
    elif damage.startswith("truncate"):
        file.write_bytes(file.read_bytes()[:20])
    else:
        file.unlink()


def test_a_run_with_no_whole_checkpoint_is_refused(finished, tmp_path, capfd):
    workdir, config, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    for step in ("4", "6"):
        break_checkpoint(copy / "last" / step, "flip")
    with pytest.raises(InputError, match=r"last/6 is damaged .*, and no other one in"):
        run(config, copy)
    assert (copy / "last" / "6").is_dir()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("damage", ["flip", "flip record"])
def test_damaged_weights_are_not_evaluated(finished, tmp_path, damage):
    workdir, config, _ = finished
    shutil.copytree(workdir / "best", tmp_path / "best")
    (folder,) = (path for path in (tmp_path / "best").iterdir() if path.name.isdigit())
    break_checkpoint(folder, damage)
    with pytest.raises(InputError, match="is damaged or incomplete"):
        load_for_eval(tmp_path / "best", system_of(config), toy_batch(0, 3))


def test_what_a_killed_session_was_writing_is_removed(finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    left = workdir / "last" / "5.orbax-checkpoint-tmp" / "state"
    left.mkdir(parents=True)
    with Checkpoints(workdir, run_config()):
        assert not left.parent.exists()


def test_deleting_the_damaged_checkpoint_goes_on_from_the_one_before(finished, tmp_path, capsys):
    workdir, config, _ = finished
    shutil.copytree(workdir, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "last" / "6")
    run(config, tmp_path / "run")
    assert "resumed at step 4" in capsys.readouterr().out
    assert saved(tmp_path / "run") == saved(workdir)


@pytest.mark.parametrize(
    ("path", "step"), [(".", 4), ("best", 4), ("last", 6), ("last/4", 4), ("weights", 4)]
)
def test_load_for_eval(finished, path, step):
    workdir, config, _ = finished
    folder = {4: "best", 6: "last"}[step]
    state = load_for_eval(workdir / path, system_of(config), toy_batch(0, 3))
    arrays = saved(workdir, step, folder=folder)
    variables = system_of(config).variables(state)
    kernel, mean = variables["params"]["in"]["kernel"], variables["batch_stats"]["norm"]["mean"]
    assert np.asarray(kernel).tobytes() == arrays["['ema']['model']['params']['in']['kernel']"]
    assert np.asarray(mean).tobytes() == arrays["['ema']['model']['batch_stats']['norm']['mean']"]
    output = system_of(config).predict(state, toy_batch(0, 3))
    assert output.image.shape == (3, 8, 8, 3)


def test_load_for_eval_refuses_another_model_and_an_empty_folder(finished, tmp_path):
    config = dataclasses.replace(finished[1], model=ToyConfig(features=5))
    for path in ("last", "weights"):
        with pytest.raises(InputError, match="holds a model 'toy'"):
            load_for_eval(finished[0] / path, system_of(config), toy_batch(0, 3))
    with pytest.raises(InputError, match="no weights in"):
        load_for_eval(tmp_path, system_of(config), toy_batch(0, 3))
    with pytest.raises(InputError, match="it is not a folder"):
        load_for_eval(tmp_path / "absent", system_of(config), toy_batch(0, 3))


def test_an_option_younger_than_the_checkpoint_has_its_default(tmp_path):
    config = run_config()
    saved = to_json(config)
    assert saved["model"].pop("features") == ToyConfig().features
    assert compare_runs(tmp_path, {"config": saved}, config) == {}
    check_model(tmp_path, ("toy", saved["model"]), system_of(config))
    other = dataclasses.replace(config, model=ToyConfig(features=5))
    with pytest.raises(InputError, match=r"its model.features is \d+, this config's is 5"):
        compare_runs(tmp_path, {"config": saved}, other)
    with pytest.raises(InputError, match="holds a model 'toy'"):
        check_model(tmp_path, ("toy", saved["model"]), system_of(other))


@pytest.mark.parametrize("path", [".", "weights", "last/6"])
def test_init_from_takes_the_weights_only(finished, path):
    workdir, _, _ = finished
    config = run_config(seed=9, ema_decay=0.5, optim=OptimConfig(name="sgd"))
    system, mesh, batch = system_of(config), parallel.make_mesh(), toy_batch(0, 8)
    fresh = initial.init_state(system, config.seed, batch, mesh)
    state = init_from(workdir / path, system, fresh, batch)
    source = load_for_eval(workdir / path, system, batch)
    expected = system.variables(source)
    assert int(state.step) == 0
    jax.tree.map(np.testing.assert_array_equal, state.params["model"], expected["params"])
    jax.tree.map(np.testing.assert_array_equal, state.ema["model"], expected)
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, fresh.opt_state)
    step = parallel.launch(system.step, "shard_map", mesh)
    state, metrics = step(state, parallel.put_batch(batch, "shard_map", mesh))
    assert np.isfinite(metrics["loss"][0])


def test_init_from_in_a_run(finished, tmp_path, capsys):
    run(run_config(steps=1, init_from=str(finished[0])), tmp_path)
    assert "started from the weights of" in capsys.readouterr().out


def test_a_checkpoint_that_has_no_room_is_not_begun(monkeypatch, tmp_path):
    Usage = collections.namedtuple("Usage", ["free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(free=12))
    checkpoint._check_room(tmp_path, {"a": np.zeros(3, np.float32)})
    with pytest.raises(OSError, match="No space left"):
        checkpoint._check_room(tmp_path, {"a": np.zeros(4, np.float32)})
