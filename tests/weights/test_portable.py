"""The portable weights folder."""

import json

import jax
import numpy as np
import pytest
from support import toy_system

from jaxharm.errors import InputError
from jaxharm.weights.portable import load_variables, load_weights, save_weights


@pytest.fixture
def variables():
    module = toy_system.Toy(config=toy_system.ToyConfig())
    image = np.zeros((1, 8, 8, 3), np.float32)
    return module.init(jax.random.key(3), image, image[..., :1])


def test_round_trip_is_exact(tmp_path, variables):
    manifest = save_weights(
        tmp_path / "w", "toy", toy_system.ToyConfig(), variables, {"source": "s"}
    )
    name, config, loaded = load_weights(tmp_path / "w")
    assert (name, config) == ("toy", toy_system.ToyConfig())
    assert manifest["source"] == "s"
    assert manifest["parameters"] == sum(v.size for v in jax.tree.leaves(variables["params"]))
    jax.tree.map(np.testing.assert_array_equal, variables, loaded)


def test_run_folder_is_accepted(tmp_path, variables):
    save_weights(tmp_path / "weights", "toy", toy_system.ToyConfig(), variables)
    assert load_variables(tmp_path)[0] == "toy"


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json"])
def test_truncated_file_is_refused(tmp_path, variables, name):
    save_weights(tmp_path, "toy", toy_system.ToyConfig(), variables)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=name):
        load_weights(tmp_path)


def test_other_shape_is_refused(tmp_path, variables):
    save_weights(tmp_path, "toy", toy_system.ToyConfig(features=5), variables)
    with pytest.raises(InputError, match=r"misshapen.*params/in/kernel"):
        load_weights(tmp_path)


def test_missing_and_unknown_arrays_are_named(tmp_path, variables):
    params = dict(variables["params"])
    params["extra"] = params.pop("out")
    save_weights(tmp_path, "toy", toy_system.ToyConfig(), {**variables, "params": params})
    with pytest.raises(InputError, match=r"missing \(params/out.*unknown \(params/extra"):
        load_weights(tmp_path)


def test_unknown_model_and_empty_folder_are_refused(tmp_path, variables):
    with pytest.raises(InputError, match="no weights in"):
        load_variables(tmp_path)
    save_weights(tmp_path, "toy", toy_system.ToyConfig(), variables)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "model": "toi"}))
    with pytest.raises(InputError, match="unknown model 'toi'"):
        load_weights(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "7", "null", '["format"]', "{", "\x00"])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="is not"):
        load_weights(tmp_path)


@pytest.mark.parametrize("value", [10**9, [3, 10**12]])
def test_a_model_of_absurd_size_is_refused_before_it_is_built(tmp_path, variables, value):
    save_weights(tmp_path, "toy", toy_system.ToyConfig(), variables)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["config"]["features"] = value
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"features=.* does not belong to the arrays beside it"):
        load_weights(tmp_path)
