"""Labels, the training of the exit head, what it leaves, and bad input."""

import contextlib
import dataclasses
import json

import jax
import numpy as np
import pytest
from support.system_cases import tiny_batch, tiny_config

from jaxharm.config import OptimConfig
from jaxharm.errors import InputError
from jaxharm.papers.propih.exit_labels import automatic_labels, histogram, rare_stages, read_labels
from jaxharm.papers.propih.exit_train import ExitHeadObjective, exit_logits, train_exit_head
from jaxharm.papers.propih.model import STAGES, ProPIH
from jaxharm.registry import make_system
from jaxharm.weights.portable import load_variables, save_weights

BATCHES, SIZE = 3, 8


def eval_batches():
    """Three batches of composites with ids; the last rows of the last batch are padding."""
    config = tiny_config("propih", batch_size=SIZE)
    for number in range(BATCHES):
        batch = tiny_batch(config, number)
        names = [f"image{number * SIZE + i}" for i in range(SIZE)]
        valid = np.ones(SIZE, np.float32)
        if number == BATCHES - 1:
            valid[-2:] = 0
        yield batch.replace(composite_id=np.array(names, object), valid=valid)


@contextlib.contextmanager
def open_set():
    yield eval_batches()


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    """A weights folder of a random generator."""
    config = tiny_config("propih", batch_size=SIZE)
    system = make_system(config, total_steps=1)
    state = jax.jit(system.init)(jax.random.key(4), tiny_batch(config))
    folder = tmp_path_factory.mktemp("generator")
    save_weights(folder, "propih", config.model, jax.device_get(system.variables(state)))
    return folder


def config(generator, **objective):
    base = tiny_config("propih", batch_size=SIZE)
    return dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, exit_head=True),
        objective=ExitHeadObjective(generator=str(generator), **objective),
        optim=OptimConfig(name="adam", lr=1e-2),
        epochs=4,
        steps=None,
    )


def test_run_leaves_a_model_that_can_decide(generator, tmp_path, capsys, monkeypatch):
    run = config(generator)
    report = train_exit_head(run, tmp_path / "a", open_set)
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("labels per stage", "accuracy", "MACs saved"))
    count = BATCHES * SIZE - 2
    assert report["composites"] == sum(report["labels"].values()) == count
    labels = read_labels(tmp_path / "a/labels.csv")
    assert len(labels) == count
    assert "image23" not in labels
    assert json.loads((tmp_path / "a/report.json").read_text())["best_epoch"] >= 1

    name, model, variables = load_variables(tmp_path / "a")
    assert (name, model) == ("propih", run.model)
    _, _, before = load_variables(generator)
    jax.tree.map(np.testing.assert_array_equal, variables["encoder"], before["encoder"])
    for part, leaves in before["params"].items():
        jax.tree.map(np.testing.assert_array_equal, variables["params"][part], leaves)

    # The whole model gives the logits that the head was trained to give.
    batch = next(eval_batches())
    images = [x / np.float32(255) for x in (batch.composite, batch.background)]
    out = jax.jit(ProPIH(model).apply)(variables, images[0], batch.mask, images[1])
    measured = np.load(tmp_path / "a/measured.npz")
    assert measured["style"].shape == measured["content"].shape == (STAGES, count)
    assert measured["content"][-1].mean() == pytest.approx(1, rel=1e-5)
    assert measured["ids"][0] == "image0"
    logits = exit_logits(variables["params"]["exit_head"], measured["descriptors"][:, :SIZE])
    np.testing.assert_allclose(out.aux["exit_logits"], logits, rtol=1e-3, atol=1e-4)

    # The same again, from what is kept: bit for bit. The set is not seen a second time.
    monkeypatch.setattr("jaxharm.papers.propih.exit_train.measure", None)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/measured.npz").write_bytes((tmp_path / "a/measured.npz").read_bytes())
    train_exit_head(run, tmp_path / "b", open_set)
    files = [(tmp_path / k / "weights/weights.safetensors").read_bytes() for k in "ab"]
    assert files[0] == files[1]

    # Labels made by people, of some of the composites.
    people = tmp_path / "people.csv"
    people.write_text("id,stage\n" + "".join(f"image{i},{1 + i % 2}\n" for i in range(12)))
    report = train_exit_head(config(generator, labels=str(people)), tmp_path / "b", open_set)
    assert report["composites"] == 12
    assert report["labels"] == {1: 6, 2: 6, 3: 0, 4: 0}
    people.write_text("id,stage\nother,1\n")
    with pytest.raises(InputError, match="labels 0 of the 22 composites, such as image0"):
        train_exit_head(config(generator, labels=str(people)), tmp_path / "b", open_set)


def test_automatic_labels_by_hand():
    style = np.array([[0.5, 0.9, 0.5], [0.4, 0.5, 0.5], [0.3, 0.2, 0.5], [0.2, 0.1, 0.5]])
    content = np.array([[0.1, 0.1, 0.1], [0.5, 0.2, 0.1], [0.9, 0.4, 0.1], [1.4, 0.9, 0.1]])
    np.testing.assert_array_equal(automatic_labels(style, content, 1.0), [1, 3, 1])
    np.testing.assert_array_equal(automatic_labels(style, content, 0.0), [4, 4, 1])
    counts = histogram(np.array([1] * 30 + [4]))
    assert counts == {1: 30, 2: 0, 3: 0, 4: 1}
    assert rare_stages(counts) == [2, 3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,stage\na,5\n", "line 2: a,5 is not an id and a stage from 1 to 4"),
        ("id,stage\na,0\n", "a stage from 1 to 4"),
        ("id,stage\na,2\na,3\n", "line 3: a has a label already"),
        ("name,stage\na,2\n", "must begin with the line: id,stage"),
        ("", "must begin with the line: id,stage"),
    ],
)
def test_bad_label_files_are_named(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_labels(path)


def test_missing_labels_and_generators_are_named(generator, tmp_path):
    with pytest.raises(InputError, match=r"labels\.csv does not exist"):
        read_labels(tmp_path / "labels.csv")
    run = config(generator)
    none = dataclasses.replace(run, objective=ExitHeadObjective())
    with pytest.raises(InputError, match=r"set objective\.generator"):
        train_exit_head(none, tmp_path, open_set)
    wide = dataclasses.replace(run, model=dataclasses.replace(run.model, width=16))
    with pytest.raises(InputError, match=r"set model\.width=8"):
        train_exit_head(wide, tmp_path, open_set)
