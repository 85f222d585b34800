"""Paired differences: against known answers, simulated studies and scipy."""

import numpy as np
import pytest
from scipy import stats

from jaxharm.errors import InputError
from jaxharm.evaluation.columns import REFERENCE
from jaxharm.studies import paired
from jaxharm.studies.paired import compare, holm, read_images, seeds_needed

COLUMNS = REFERENCE.columns


def results(rng, seeds, images, shift=0.0, of_seed=0.5, noise=1.0):
    """Seed -> image -> value of a run and its reference; `shift` is the true difference."""
    difficulty = rng.normal(100, 30, images)
    reference, run = {}, {}
    for seed in range(seeds):
        both = difficulty + rng.normal(0, 5)
        own = rng.normal(0, of_seed)
        reference[seed] = {str(i): v for i, v in enumerate(both + rng.normal(0, noise, images))}
        run[seed] = {
            str(i): v for i, v in enumerate(both + shift + own + rng.normal(0, noise, images))
        }
    return run, reference


def test_a_run_against_itself_is_exactly_zero():
    run, _ = results(np.random.default_rng(0), 3, 20)
    found = compare(run, run, lower_is_better=True)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert found.better == 0.5
    assert found.p == 1
    assert found.needed is None


def test_a_clear_difference_is_found_and_has_a_direction():
    run, reference = results(np.random.default_rng(1), 5, 60, shift=-4)
    lower = compare(run, reference, lower_is_better=True)
    assert lower.low < lower.difference < lower.high < 0
    assert lower.better == 1
    assert lower.p < 0.01
    assert lower.needed <= 4
    assert compare(run, reference, lower_is_better=False).better == 0
    assert compare(reference, run, lower_is_better=True).better == 0


@pytest.mark.slow
def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """With eight seeds; of fewer, no resampling can know the spread."""
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        run, reference = results(rng, 8, 30, shift=1.0)
        found = compare(run, reference, lower_is_better=True)
        covered += found.low <= 1.0 <= found.high
    assert 49 <= covered <= 60


def p_values(draws):
    """Of a t-test of each row against zero, by hand."""
    count = draws.shape[1]
    t = draws.mean(1) / (draws.std(1, ddof=1) / np.sqrt(count))
    return 2 * stats.t.sf(np.abs(t), count - 1)


def test_seeds_needed_is_what_simulated_studies_need():
    effect = 0.9
    exact = np.array([effect - 1 / np.sqrt(2), effect + 1 / np.sqrt(2)])  # mean 0.9, deviation 1
    count = seeds_needed(exact)
    draws = np.random.default_rng(3).normal(effect, 1, (4000, count))
    power = (p_values(draws) < 0.05).mean()
    assert 0.77 < power < 0.86
    fewer = (p_values(draws[:, :-2]) < 0.05).mean()
    assert fewer < 0.8
    assert seeds_needed(np.array([1.0])) is None
    assert seeds_needed(np.array([2.0, 2.0])) == 2
    assert seeds_needed(np.array([-1.0, 1.001])) is None


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_undefined_images_are_left_out_of_both():
    run = {0: {"a": 1.0, "b": np.nan}, 1: {"a": 2.0, "b": 5.0}}
    reference = {0: {"a": 0.0, "b": 1.0}, 1: {"a": 1.0, "b": 1.0}}
    assert compare(run, reference, lower_is_better=True).difference == 1.0


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({5: {"a": 1.0}}, "without a common seed"),
        ({0: {"b": 1.0}}, "same images"),
        ({0: {"a": np.nan}}, "no image has a value"),
    ],
)
def test_what_cannot_be_paired_is_refused(other, words):
    with pytest.raises(InputError, match=words):
        compare({0: {"a": 1.0}}, other, lower_is_better=True)


def test_images_are_read_by_subset_and_name(tmp_path):
    file = tmp_path / "per_image.csv"
    file.write_text("composite_id,subset,fg_ratio,mse,fmse\nx,a,0.1,1.5,nan\nx,b,0.1,2.5,3\n")
    assert read_images(file, "mse") == {"a/x": 1.5, "b/x": 2.5}
    assert np.isnan(read_images(file, "fmse")["a/x"])
    assert paired.DRAWS >= 1000


def write_images(file, values):
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{name},all,0.1,{v},{2 * v},{40 - v}" for name, v in values.items()]
    file.write_text("\n".join(["composite_id,subset,fg_ratio,mse,fmse,psnr", *rows]) + "\n")


def test_every_run_is_compared_with_the_first_and_p_is_corrected(tmp_path):
    rng = np.random.default_rng(5)
    better, reference = results(rng, 4, 25, shift=-6, of_seed=1)
    equal, _ = results(np.random.default_rng(5), 4, 25, shift=0, of_seed=1)
    files = {}
    for name, of in (("plain", reference), ("better", better), ("equal", equal)):
        for seed, values in of.items():
            files.setdefault(name, {})[seed] = tmp_path / name / str(seed) / "per_image.csv"
            write_images(files[name][seed], values)
    files["alone"] = {9: files["plain"][0]}  # no seed in common: there is nothing to pair
    rows = paired.paired_rows(files, "plain", COLUMNS)
    assert list(rows) == ["better", "equal"]
    found = rows["better"]
    assert found["mse"].better > 0.99
    assert found["psnr"].better > 0.99
    assert found["fmse"].difference == pytest.approx(2 * found["mse"].difference)
    alone = compare(better, reference, lower_is_better=True)
    assert found["mse"].p == pytest.approx(min(1.0, 2 * alone.p))
    text = paired.paired_table(rows, "plain", COLUMNS)
    lines = [line for line in text.splitlines() if line.startswith("| better |")]
    assert len(lines) == 3
    assert lines[1].startswith(f"| better | MSE | 4 | {found['mse'].difference:+.2f} | ")
    assert paired.paired_table({}, "plain", COLUMNS) == ""
