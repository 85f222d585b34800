"""Configs load, compose and refuse what they do not know."""

import dataclasses
import importlib
import inspect
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from data_pipelines.loader import eval_batches
from jaxharm import registry
from jaxharm.config import EvalConfig, from_json, to_json
from jaxharm.config_file import find_config, import_file, load_config, published_configs
from jaxharm.errors import InputError
from jaxharm.registry import make_system
from jaxharm.schema import Batch
from jaxharm.studies.ablation import load_study, plan
from jaxharm.training.optim import make_schedule

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    path
    for path in (ROOT / "configs").glob("*/*.py")
    if path.stem not in ("ablations", "__init__", "base") and not path.stem.startswith("study")
)
STUDIES = sorted((ROOT / "configs").glob("*/study*.py"))
# Rows of a table that name the paper's own choice.
PLAIN_ROWS = {
    "exit_4",
    "full",
    "protocol_default",
    "kernel_3",
    "levels_321",
    "curves_shading",
    "dual_stream",
    "knots_32",
    "mask_offset_50",
}
ABLATIONS = [
    (path.parent.name, name)
    for path in sorted((ROOT / "configs").glob("*/ablations.py"))
    for name in import_file(path).OVERLAYS
]
PUBLISHED = ("iharmony4", "coco_wikiart")  # each paper's full-size run
NAME = next(name for name in published_configs() if name.endswith("/demo"))
DEMO = ROOT / f"configs/{NAME}.py"
# A system that shares no class with the demo's.
OTHER = next(
    name
    for name in registry.list_models()
    if name != "toy" and registry.get(name).config() is not type(load_config(DEMO).model)
)


# Tracing takes half a second, so of most configs the slow tests trace the network.
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=[] if p.stem in (*PUBLISHED, "demo") else pytest.mark.slow)
        for p in FILES
    ],
    ids=lambda p: f"{p.parent.name}/{p.stem}",
)
def test_config_builds_its_model(path):
    config = load_config(path)
    entry = registry.get(config.system)
    assert isinstance(config.model, entry.config())
    model = entry.model()(config=config.model)
    side = config.data.image_size
    image, mask = (jax.ShapeDtypeStruct((2, side, side, c), jnp.float32) for c in (3, 1))
    variables = jax.eval_shape(
        lambda key, c, m: model.init(key, c, m, background=c), jax.random.key(0), image, mask
    )
    assert jax.tree.leaves(variables["params"])
    assert config.data.batch_size % config.accumulate == 0


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_config_survives_json(path):
    config = load_config(path, overlays=["smoke"])
    values = to_json(config)
    model = from_json(type(config.model), values["model"])
    assert model == config.model
    assert from_json(type(config.data), values["data"]) == config.data


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_config_documents_its_run(path):
    text = path.read_text()
    for needed in ("python train.py --config configs/", "Hardware", "Published", "Ours"):
        assert needed in text, f"{path} does not say {needed}"


@pytest.mark.parametrize(("folder", "name"), ABLATIONS)
def test_overlay_gives_a_run_of_its_own(folder, name):
    path = next(path for path in FILES if path.parent.name == folder and path.stem in PUBLISHED)
    plain, changed = (load_config(path, overlays=o) for o in ([], [name]))
    assert (plain == changed) == (name in PLAIN_ROWS)
    make_system(changed, total_steps=10)


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "name"), ABLATIONS)
def test_network_of_an_overlay_is_whole(folder, name):
    path = next(path for path in FILES if path.parent.name == folder and path.stem in PUBLISHED)
    plain, changed = (load_config(path, overlays=o) for o in ([], [name]))
    model = registry.get(changed.system).model()(config=changed.model)
    if changed.model != plain.model and changed.model.min_size <= 64:
        image, mask = (jax.ShapeDtypeStruct((1, 64, 64, c), jnp.float32) for c in (3, 1))
        jax.eval_shape(model.init, jax.random.key(0), image, mask, background=image)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_smoke_shrinks_networks_and_keeps_every_choice(path):
    """Overlays whose runs differ still differ under smoke; one that does not fit says so."""
    overlays = [name for folder, name in ABLATIONS if folder == path.parent.name]
    runs, sentences = {}, []
    for name in overlays:
        try:
            runs[name] = load_config(path, overlays=[name]), load_config(path, [name, "smoke"])
        except InputError as error:
            sentences.append(str(error))
    assert "\n" not in "".join(sentences)
    assert runs or not overlays or "teacher" in path.stem or "exit" in path.stem
    plain = load_config(path), load_config(path, overlays=["smoke"])
    everyone = [plain, *runs.values()]
    for i, (large, small) in enumerate(everyone):
        # The length, the batch and the size are smoke's own.
        large = dataclasses.replace(large, steps=10, epochs=None)
        others = (pair for pair in everyone[:i] if pair[1] == small)
        for other, _ in others:
            other = dataclasses.replace(other, steps=10, epochs=None)
            other = dataclasses.replace(
                other, data=dataclasses.replace(other.data, batch_size=large.data.batch_size)
            )
            assert other == large, small
    assert plain[1].system == plain[0].system


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_finetune_is_short_and_slow_for_every_config(path):
    plain, tuned = load_config(path), load_config(path, ["finetune"], ["init_from=RUN"])
    assert tuned.optim.lr == pytest.approx(plain.optim.lr / 2)
    assert (tuned.steps, tuned.epochs, tuned.eval.every) == (100, None, 10)
    assert (tuned.ema_decay is None) == (plain.ema_decay is None)
    assert tuned.ema_decay is None or tuned.ema_decay**tuned.steps < 0.01
    schedule = make_schedule(tuned.optim, tuned.steps)
    assert float(schedule(tuned.steps)) < float(schedule(10)) / 100
    assert tuned.data.synthesis.probability <= min(plain.data.synthesis.probability, 0.25)
    parts = ("model", "objective")
    assert [getattr(tuned, part) for part in parts] == [getattr(plain, part) for part in parts]


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_smoke_leaves_no_large_network(path):
    names = [name for folder, name in ABLATIONS if folder == path.parent.name]
    for overlays in (["smoke"], *([name, "smoke"] for name in names)):
        try:
            config = load_config(path, overlays)
        except InputError:  # an overlay that does not fit; the test above reads its sentence
            continue
        batch = {
            name: jax.ShapeDtypeStruct((1, 64, 64, channels), jnp.float32)
            for name, channels in (("composite", 3), ("mask", 1), ("target", 3), ("background", 3))
        }
        state = jax.eval_shape(
            make_system(config, total_steps=10).init, jax.random.key(0), Batch(**batch)
        )
        assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) < 1_000_000


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_study_can_be_planned(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a study names its configs so that they are found anywhere
    study = load_study(path)
    jobs = plan(study, tmp_path)
    assert len(jobs) >= len(study.rows) * len(study.seeds)
    if path.stem == "study_cpu":
        assert not study.published
        assert "No published figure is comparable" in study.about


def test_overrides_are_typed():
    config = load_config(
        DEMO,
        sets=[
            "optim.lr=1e-4",
            "data.batch_size=4",
            "data.augment.flip=0",
            "data.augment.crop_scale=0.5,1.0",
            "data.synthesis.families=curves,photometric",
            "optim.clip_norm=none",
            "parallel=pmap",
        ],
    )
    assert config.optim.lr == 1e-4
    assert config.data.batch_size == 4
    assert config.data.augment.crop_scale == (0.5, 1.0)
    assert config.data.synthesis.families == ("curves", "photometric")
    assert config.optim.clip_norm is None
    assert config.parallel == "pmap"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("optim.larning_rate=1", "unknown config key 'optim.larning_rate'"),
        ("data.batch_sizes=4", "did you mean batch_size"),
        ("data.batch_size=four", "is not an integer of at least 1"),
        ("data.batch_size=4.5", "is not an integer of at least 1"),
        ("parallel=threads", "is not one of shard_map, pmap, jit, fsdp"),
        ("optim=adam", "is a group"),
        ("seed.value=3", "has no fields"),
        ("seed", "not of the form key=value"),
        (
            "data.augment.crop_scale=0.5",
            "is not 2 values of which each is a number above 0 and of at most 1 or none",
        ),
        ("log.tensorboard=maybe", "is not true or false"),
    ],
)
def test_bad_setting_is_one_sentence(setting, says):
    with pytest.raises(InputError, match=says) as caught:
        load_config(DEMO, sets=[setting])
    assert "\n" not in str(caught.value)


def test_missing_config_and_unknown_overlay():
    with pytest.raises(InputError, match="does not exist"):
        load_config(ROOT / "configs/nobody/nothing.py")
    with pytest.raises(InputError, match=r"unknown overlay 'smok'.*did you mean smoke"):
        load_config(DEMO, overlays=["smok"])


def test_published_configs_are_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (NAME, f"{NAME}.py", f"configs/{NAME}.py"):
        assert find_config(name).resolve() == DEMO
    with pytest.raises(InputError, match=rf"{NAME}s does not exist; did you mean {NAME}"):
        find_config(f"{NAME}s")
    own = tmp_path / f"{NAME}.py"
    own.parent.mkdir()
    own.write_text(
        "from jaxharm.config_file import load_config\n\n\ndef get_config():\n"
        f"    return load_config({str(DEMO)!r}, sets=['seed=7'])\n"
    )
    assert find_config(f"{NAME}.py").resolve() == own  # a file that exists comes first
    assert load_config(own) == load_config(NAME, sets=["seed=7"])


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            f"system={OTHER}",
            f"system='{OTHER}' needs its model to be of type .* has a",
        ),
        ("system=nothing", "unknown model 'nothing'"),
        ("eval.protocol=none", "protocol 'none'"),
        ("optim.lr=-1", "config key 'optim.lr': OptimConfig.lr=-1.0 is not a number of at least 0"),
        ("ema_decay=2", "config key 'ema_decay': TrainConfig.ema_decay=2.0"),
        ("data.augment.flip=7", "config key 'data.augment.flip': AugmentConfig.flip=7.0"),
        ("log.every=0", "config key 'log.every': LogConfig.every=0"),
        ("data.augment.crop_scale=0.9,0.5", "crop_scale=.* is empty"),
        ("optim.milestones=0.5,0.25", "milestones=.* must rise"),
        ("data.weights=1,2,3", "weights=.* needs one number for each of the 1 data sets"),
    ],
)
def test_a_run_that_cannot_be_is_refused(setting, says):
    with pytest.raises(InputError, match=says) as caught:
        load_config(DEMO, sets=[setting])
    assert "\n" not in str(caught.value)


def test_an_objective_of_another_system_is_refused():
    config = load_config(DEMO)
    other = dataclasses.replace(config, objective=registry.get(OTHER).objective()())
    with pytest.raises(InputError, match="needs its objective to be of type"):
        make_system(other, total_steps=1)


def test_settings_of_one_group_apply_together():
    config = load_config(DEMO, sets=["steps=none", "epochs=3", "seed=1", "seed=2"])
    assert (config.steps, config.epochs, config.seed) == (None, 3, 2)


def test_steps_and_epochs_exclude_each_other():
    with pytest.raises(InputError, match="exactly one of steps and epochs"):
        load_config(DEMO, sets=["epochs=3"])


def test_overlays_apply_left_to_right_and_settings_last():
    config = load_config(DEMO, overlays=["smoke"], sets=["steps=3"])
    assert config.steps == 3
    assert config.model == type(config.model).tiny()


def test_config_fields_are_plain_data():
    config = load_config(DEMO)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        assert dataclasses.is_dataclass(value) or isinstance(
            value, (int, float, str, tuple, dict, type(None))
        )


def test_evaluation_options_reach_the_loader():
    loading = EvalConfig(split="val", batch_size=3, paintings="p", paintings_split="q").loading
    assert loading == {"split": "val", "batch_size": 3, "paintings": "p", "paintings_split": "q"}
    assert set(loading) <= set(inspect.signature(eval_batches).parameters)


def test_a_config_inside_an_imported_package_does_not_import_the_package_again(
    tmp_path, monkeypatch
):
    configs = tmp_path / "boxed" / "configs"
    configs.mkdir(parents=True)
    (tmp_path / "boxed" / "__init__.py").write_text("TIMES = []\n")
    (configs / "__init__.py").touch()
    (configs / "run.py").write_text(
        "import boxed\nfrom ..once import HERE\nboxed.TIMES.append(1)\n"
    )
    (tmp_path / "boxed" / "once.py").write_text("from . import TIMES\n\nHERE = TIMES\n")
    monkeypatch.syspath_prepend(tmp_path)
    boxed = importlib.import_module("boxed")
    assert import_file(configs / "run.py").HERE is boxed.TIMES
    assert boxed.TIMES == [1]
