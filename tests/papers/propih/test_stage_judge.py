"""ProPIH's evaluation: style and content by hand, identity, color transfer, the exit head, a whole run."""

import csv
import json
import math

import jax
import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image, write_image
from support.inference_cases import tiny
from support.random_variables import random_weights
from support.system_cases import tiny_config
from support.toy_run import curve

import jaxharm
from data_pipelines.build import build
from jaxharm.cli import eval as eval_command
from jaxharm.cli import train as train_command
from jaxharm.config import CheckpointConfig
from jaxharm.errors import InputError
from jaxharm.evaluation.judged import evaluate_judged
from jaxharm.papers.propih.model import STAGES, ProPIHConfig, stage_macs
from jaxharm.papers.propih.restyle import Restyle
from jaxharm.papers.propih.stage_judge import (
    CHOSEN,
    COLORS,
    COMPOSITE,
    STAGE_METHODS,
    ExitJudge,
    StageJudge,
    _inputs,
    describe_encoder,
    restyled_colors,
)
from jaxharm.registry import make_system
from jaxharm.schema import Batch
from jaxharm.studies.ablation import Run, Study, summarize
from jaxharm.studies.ablation import table as study_table
from jaxharm.studies.paired import paired_rows
from jaxharm.training.loop import train

SIDE = 24


def record(height=SIDE, width=SIDE, seed=1):
    """A record: an object with a soft edge on a painting."""
    photo, painting = (random_image(height, width, seed=s) for s in (seed, 90 + seed))
    mask = np.zeros((height, width, 1), np.float32)
    mask[4:18, 3:15] = 1
    mask[4:18, 15] = 0.5
    composite = np.rint(photo * mask + painting * (1 - mask)).astype(np.uint8)
    return Batch(composite[None], mask[None], background=painting[None])


@pytest.fixture(scope="module")
def judge():
    model, variables = tiny("propih")
    return StageJudge(model.config, variables)


@pytest.fixture(scope="module")
def judged(judge):
    return judge(record())


def moments(features, mask):
    """docs/papers/propih.md: f64[c] mean and deviation of f[h,w,c] under f[h,w,1]."""
    features, mask = features.astype(np.float64), mask.astype(np.float64)
    count = mask.sum()
    mean = (features * mask).sum((0, 1)) / (count + 1e-5)
    deviation = mask * (features - mean)
    return mean, np.sqrt((deviation**2).sum((0, 1)) / (count + 1e-5) + 1e-5)


def test_style_and_content_by_hand(judge, judged):
    model, variables = tiny("propih")
    given = record()
    painting, mask = given.background[0] / np.float32(255), given.mask[0]

    def encode(image):
        layers = model.apply(variables, np.asarray(image)[None], method="encode")
        return [np.asarray(layer[0]) for layer in layers]

    def style(image):
        terms = []
        for k, (of, wanted) in enumerate(zip(encode(image), encode(painting), strict=True)):
            small = mask[:: 2**k, :: 2**k]
            pairs = zip(moments(of, small), moments(wanted, np.ones_like(small)), strict=True)
            terms.append(sum(np.mean((found - target) ** 2) for found, target in pairs))
        return np.array(terms)

    composite = judged.images[COMPOSITE]
    untouched, top = style(composite), encode(composite)[-1].astype(np.float64)
    assert len(judged.images) == 6
    for method, image in judged.images.items():
        found, terms = judged.values[method], style(image)
        content = np.mean((encode(image)[-1] - top) ** 2)
        assert found["style"] == pytest.approx(terms.sum() / untouched.sum(), rel=1e-4)
        levels = [found[f"style_{k}"] for k in range(1, 5)]
        np.testing.assert_allclose(levels, terms / untouched, rtol=1e-3)
        assert found["content"] == pytest.approx(content, rel=1e-4, abs=1e-10)
        assert found["distance"] == pytest.approx(terms.sum() + content, rel=1e-4)


def test_the_composite_is_untouched_and_the_painting_itself_is_perfect(judge, judged):
    untouched = judged.values[COMPOSITE]
    assert untouched["style"] == untouched["style_1"] == untouched["style_4"] == 1
    assert untouched["content"] == 0
    (completed,) = judge.completed([judged.values])
    assert completed[COMPOSITE]["content_relative"] == 0
    assert completed[STAGE_METHODS[-1]]["content_relative"] == 1
    painting = judged.shown["painting"]
    images = {COMPOSITE: judged.images[COMPOSITE], "copied": painting}
    whole = judge._values(images, painting, np.ones((SIDE, SIDE, 1), np.float32))
    assert whole["copied"]["style"] == pytest.approx(0, abs=1e-10)
    assert whole["copied"]["content"] > 0


@pytest.mark.slow
def test_the_results_are_those_of_harmonize(judged):
    model, variables = tiny("propih")
    harmonize, given = jaxharm.Harmonizer(model, variables=variables), record()
    for k, method in enumerate(STAGE_METHODS, 1):
        image = harmonize(
            given.composite[0], given.mask[0, ..., 0], background=given.background[0], stage=k
        )
        np.testing.assert_allclose(judged.images[method] * 255, image, atol=0.5 + 1e-3)


def test_colors_get_the_moments_of_the_painting():
    """Where nothing is clipped; the painting around the object stays."""
    rng = np.random.default_rng(0)
    composite = rng.uniform(0.2, 0.8, (16, 16, 3)).astype(np.float32)
    painting = rng.uniform(0.35, 0.6, (16, 16, 3)).astype(np.float32)
    mask = np.zeros((16, 16, 1), np.float32)
    mask[2:12, 3:13] = 1
    result = restyled_colors(composite, painting, mask)
    for found, wanted in zip(
        moments(result, mask), moments(painting, np.ones_like(mask)), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-3)
    np.testing.assert_array_equal(result[mask[..., 0] == 0], composite[mask[..., 0] == 0])


def test_no_object_and_objects_too_thin_for_a_layer_are_undefined(judge):
    given = record()
    empty = judge(given.replace(mask=np.zeros_like(given.mask))).values[STAGE_METHODS[0]]
    assert math.isnan(empty["style"])
    assert empty["content"] == 0
    thin = np.zeros_like(given.mask)
    thin[:, 3:19, 3] = 1  # no pixel of it is on a multiple of 2
    values = judge(given.replace(mask=thin)).values[STAGE_METHODS[0]]
    assert [math.isnan(values[f"style_{k}"]) for k in range(1, 5)] == [False, True, True, True]
    assert math.isfinite(values["style"])


def test_values_depend_on_no_other_record_and_any_size_will_do(judge):
    records = [record(21, 19, seed) for seed in (1, 2, 3)]
    names = np.array(["a", "b", "c"], object)

    def batches(size):
        for start in range(0, 3, size):
            places = [min(i, 2) for i in range(start, start + size)]
            stacked = {
                name: np.concatenate([getattr(records[i], name) for i in places])
                for name in ("composite", "mask", "background")
            }
            valid = np.array([i < 3 for i in range(start, start + size)], np.float32)
            yield Batch(**stacked, valid=valid, composite_id=names[places], subset=names[places])

    results = [evaluate_judged(judge, batches(size), "painterly_64") for size in (1, 2, 3)]
    assert results[0].rows == results[1].rows == results[2].rows
    assert results[0].baseline["All"]["style"] == 1
    assert set(results[0].summary["All"]["bins"]["5-15"]) == {
        "count", "style", "content", "distance",
    }  # fmt: skip


@pytest.fixture(scope="module")
def exit_judge():
    config = ProPIHConfig.tiny(exit_head=True)
    variables = random_weights("propih", config)
    return ExitJudge(config, variables, threshold=0.5, beta=2.0)


@pytest.mark.slow
def test_the_exit_head_is_measured_by_the_stage_that_it_takes(exit_judge):
    given = record()
    images, values, _ = exit_judge(given)
    auto = exit_judge.runner.run(_inputs(given), 1.0, Restyle(stage="auto"))
    np.testing.assert_array_equal(images[CHOSEN], auto)
    number = int(values[CHOSEN]["exit_stage"])
    assert values[CHOSEN] == values[f"stage {number}"]
    costs = stage_macs(exit_judge.model.config, SIDE, SIDE)
    assert values["stage 2"]["macs_saved"] == pytest.approx(1 - sum(costs[:2]) / sum(costs))
    assert values["stage 4"]["macs_saved"] == 0
    assert math.isnan(values[COLORS]["macs_saved"])


def test_accuracy_is_agreement_with_the_best_stage(exit_judge):
    """Two composites by hand: the mean content of stage 4 is 2, so that S + 2 C is S + content."""

    def row(styles, contents, chosen):
        stages = {
            method: {"style": s, "content": c, "distance": 0.0, "exit_stage": k}
            for k, (method, s, c) in enumerate(zip(STAGE_METHODS, styles, contents, strict=True), 1)
        }
        others = {
            method: {"style": 1.0, "content": 0.0, "distance": 0.0, "exit_stage": math.nan}
            for method in (COMPOSITE, COLORS)
        }
        return {**others, **stages, CHOSEN: dict(stages[f"stage {chosen}"])}

    rows = [
        row([0.9, 0.5, 0.4, 0.3], [0.0, 0.1, 0.4, 1.0], chosen=2),  # sums 0.9 0.6 0.8 1.3
        row([0.75, 0.5, 0.25, 0.0], [0.25, 0.5, 2.0, 3.0], chosen=4),  # sums 1 1 2.25 3
    ]
    first, second = exit_judge.completed(rows)
    accuracy = [[of[m]["accuracy"] for m in (*STAGE_METHODS, CHOSEN)] for of in (first, second)]
    assert accuracy == [[0, 1, 0, 0, 1], [1, 0, 0, 0, 0]]
    assert first["stage 4"]["content_relative"] == 0.5
    assert math.isnan(first[COMPOSITE]["accuracy"])


def test_a_random_encoder_is_told():
    _, variables = tiny("propih")
    assert describe_encoder(variables["encoder"]).endswith("cannot be compared with these")
    untrained = jax.tree_util.tree_map_with_path(
        lambda path, leaf: 0 * leaf if "bias" in jax.tree_util.keystr(path) else leaf,
        variables["encoder"],
    )
    assert "is random: these values have no meaning outside" in describe_encoder(untrained)


def test_the_result_stage_is_the_model_of_the_table(judge):
    assert judge.measures.model == STAGE_METHODS[STAGES - 1]
    model, variables = tiny("propih")
    assert StageJudge(model.config, variables, result_stage=2).measures.model == "stage 2"


def test_the_best_state_is_chosen_by_what_is_measured(tmp_path):
    config = tiny_config("propih", checkpoint=CheckpointConfig(every=2, best="psnr"))
    system = make_system(config, total_steps=1)
    with pytest.raises(InputError, match=r"best='psnr' is not what propih is .* distance.*, last$"):
        train(config, system, tmp_path / "run", lambda start: iter(()), evaluate=lambda of: of)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def painted(tmp_path):
    """Settings of a tiny run on three composites with their paintings, whose best state is chosen."""
    for number in (1, 2, 10):
        write_image(tmp_path / f"examples/comp/{number}.png", random_image(seed=number))
        write_image(tmp_path / f"examples/mask/{number}.png", np.dstack([box_mask()] * 3))
        write_image(tmp_path / f"examples/style/{number}.png", random_image(seed=50 + number))
    build("photos", manual_dir=tmp_path / "examples", data_dir=tmp_path / "data")
    sets = {
        **{"data.data_dir": tmp_path / "data", "data.name": "examples", "data.split": "test"},
        **{"data.paintings.name": "own", "data.batch_size": 8, "data.image_size": 64},
        **{
            "data.num_workers": 0,
            "objective.random_encoder": "true",
            "checkpoint.best": "distance",
        },
        **{"model.width": 8, "model.trained_size": 64, "epochs": "none", "steps": 2},
        **{"eval.data": "examples", "eval.split": "test", "eval.paintings": "own"},
        **{"eval.protocol": "painterly_64", "eval.every": 1},
    }
    common = ["--config", "configs/propih/coco_wikiart.py", "--overlay", "no_discriminator"]
    for key, value in sets.items():
        common += ["--set", f"{key}={value}"]
    return common


@pytest.mark.slow
def test_a_run_is_evaluated_and_its_stages_are_a_study(painted, tmp_path):
    workdir = tmp_path / "run"
    assert train_command.main([*painted, "--workdir", str(workdir)]) == 0
    rows = [row for row in curve(workdir) if row["kind"] == "eval"]
    assert [row["step"] for row in rows] == [1, 2]
    assert "All/psnr" not in rows[0]
    best = json.loads((workdir / "weights/manifest.json").read_text())["training"]["best"]
    assert best["value"] == min(row["All/distance"] for row in rows)

    for number, batch_size in ((1, 8), (4, 8), (4, 1)):
        more = ["--overlay", f"exit_{number}", "--set", f"eval.batch_size={batch_size}"]
        out = tmp_path / f"eval{number}_{batch_size}"
        arguments = [*painted, *more, "--workdir", str(workdir), "--out", str(out)]
        assert eval_command.main(arguments) == 0
    stored = json.loads((tmp_path / "eval4_8/metrics.json").read_text())
    assert stored["All"]["count"] == 3
    assert stored["baseline"]["All"]["style"] == 1
    assert stored["methods"]["stage 4"]["All"] == stored["All"]
    table = (tmp_path / "eval4_8/table.md").read_text()
    assert "| PSNR" not in table  # as a column; the protocol's note may speak of it
    assert "random: these values have no meaning" in table
    files = [tmp_path / f"eval4_{size}/per_image.csv" for size in (8, 1)]
    assert files[0].read_text() == files[1].read_text()

    measured = {
        f"stage_{k}": {0: json.loads((tmp_path / f"eval{k}_8/metrics.json").read_text())}
        for k in (4, 1)
    }
    summary = summarize(Study((Run("stage_4", "x"), Run("stage_1", "x")), (0,)), measured)
    assert "| run | seeds | S | content | C | D | S1 | S2 | S3 | S4 |" in study_table(summary)
    pairs = {f"stage_{k}": {0: tmp_path / f"eval{k}_8/per_image.csv"} for k in (4, 1)}
    found = paired_rows(pairs, "stage_4", summary["columns"])["stage_1"]
    assert list(found) == ["style", "content", "distance"]
    with files[0].open(newline="") as file:
        images = list(csv.DictReader(file))
    by_hand = [float(row["stage_1_style"]) - float(row["style"]) for row in images]
    assert found["style"].difference == pytest.approx(np.mean(by_hand))
