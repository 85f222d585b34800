"""eval.py from a built data set and saved weights to the result files."""

import json
from pathlib import Path

import jax
import pytest
from support.fixtures_data import write_tree
from support.toy_system import ToySystem, toy_config

import eval as eval_command
from data_pipelines.build import build
from jaxharm.evaluation.fitting import example_batch
from jaxharm.weights.portable import save_weights

_CONFIG = """
from support import toy_system
from jaxharm.config import EvalConfig

def get_config():
    return toy_system.toy_config(eval=EvalConfig(data="small", batch_size=2))
"""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("eval")
    write_tree(root / "small", {"small_test.txt": ["a1_1_1.jpg", "a1_1_2.jpg", "b2_1_1.jpg"]})
    build("folder", manual_dir=root / "small", data_dir=root / "data", name="small")
    (root / "config.py").write_text(_CONFIG)
    config = toy_config()
    system = ToySystem.from_config(config, total_steps=1)
    state = system.init(jax.random.key(0), example_batch("toy", config.model))
    save_weights(root / "weights", "toy", config.model, jax.device_get(system.variables(state)), {})
    return root


def _run(root, *more):
    settings = ["--set", f"data.data_dir={root / 'data'}"]
    paths = ["--config", str(root / "config.py"), "--out", str(root / "out")]
    return eval_command.main([*paths, *settings, *more])


@pytest.mark.parametrize("protocol", ["default_256", "default_native"])
def test_writes_every_result_file(run_dir, capsys, protocol):
    status = _run(
        run_dir, "--checkpoint", str(run_dir / "weights"), "--save-images",
        "--set", f"eval.protocol={protocol}",
    )  # fmt: skip
    told = capsys.readouterr()
    assert status == 0, told.err
    assert f"protocol: {protocol}" in told.out
    values = json.loads((run_dir / "out" / "metrics.json").read_text())
    assert values["All"]["count"] == 3
    assert values["baseline"]["All"]["fmse"] > 0
    assert values["protocol"] == protocol
    assert values["statement"]["evaluated"]["strength"] == "1"
    for name in ("table.md", "per_image.csv", "gallery.html"):
        assert (run_dir / "out" / name).stat().st_size > 100
    assert {p.stem for p in (run_dir / "out" / "images").rglob("*.png")} == {
        "a1_1_1", "a1_1_2", "b2_1_1",
    }  # fmt: skip


def test_strength_goes_from_the_composite_to_the_result(run_dir, capsys):
    errors = {}
    for strength in ("0", "0.5", "1"):
        told = "--strength", strength, "--set", "eval.protocol=default_native"
        assert _run(run_dir, "--checkpoint", str(run_dir / "weights"), *told) == 0
        assert f"- strength: {strength}\n" in capsys.readouterr().out
        values = json.loads((run_dir / "out" / "metrics.json").read_text())
        errors[strength] = values["All"]["mse"]
        assert values["statement"]["evaluated"]["strength"] == strength
    assert errors["0"] == pytest.approx(values["baseline"]["All"]["mse"], rel=1e-6)
    assert len(set(errors.values())) == 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--checkpoint", "{root}/weights", "--strength", "2"], "strength 2.0 is not between"),
        (["--checkpoint", "{root}/absent"], "absent"),
        (["--checkpoint", "{root}/weights", "--set", "eval.data=nothing"], "nothing"),
        (["--checkpoint", "{root}/weights", "--set", "eval.protocol=none"], "protocol 'none'"),
        (["--checkpoint", "{root}/weights", "--lpips-weights", "no.npz"], "not shipped"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(run_dir, capsys, more, words):
    assert _run(run_dir, *(part.format(root=run_dir) for part in more)) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told
