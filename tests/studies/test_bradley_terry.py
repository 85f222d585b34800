"""Bradley-Terry: invariants of the fit, files of votes, intervals."""

import numpy as np
import pytest

from jaxharm.__main__ import main
from jaxharm.errors import InputError
from jaxharm.studies.bradley_terry import Vote, fit, fit_votes, read_votes


def test_two_methods_differ_by_the_log_odds():
    scores = fit(np.array([[0, 30], [10, 0]]), smoothing=0)
    assert scores[0] - scores[1] == pytest.approx(np.log(3), abs=1e-9)


def test_equal_wins_give_zero():
    np.testing.assert_allclose(fit(np.full((4, 4), 5.0)), 0, atol=1e-12)


def test_permuting_methods_permutes_scores():
    rng = np.random.default_rng(0)
    wins = rng.integers(1, 20, (5, 5)).astype(float)
    order = rng.permutation(5)
    np.testing.assert_allclose(fit(wins[np.ix_(order, order)]), fit(wins)[order], atol=1e-8)


def test_expected_wins_recover_the_scores():
    truth = np.array([-1.2, -0.1, 0.4, 0.9])
    strength = np.exp(truth)
    wins = 50 * strength[:, None] / (strength[:, None] + strength[None, :])
    np.testing.assert_allclose(fit(wins, smoothing=0), truth, atol=1e-7)


def test_smoothing_keeps_a_method_that_always_wins_finite():
    wins = np.array([[0.0, 5], [0, 0]])
    with pytest.raises(InputError, match="never won"):
        fit(wins, smoothing=0)
    assert fit(wins)[0] == pytest.approx(np.log(5.5 / 0.5) / 2, abs=1e-9)


def _votes(count):
    rng = np.random.default_rng(2)
    return [
        Vote(f"image{i % 20}", "ours", "other", "ours" if rng.random() < 0.7 else "other")
        for i in range(count)
    ]


def test_intervals_hold_the_score_are_seeded_and_shrink_with_more_votes():
    few, many = (fit_votes(_votes(n), draws=200) for n in (40, 800))
    for result in (few, many):
        assert (result.low < result.scores).all()
        assert (result.scores < result.high).all()
    assert (many.high - many.low < few.high - few.low).all()
    np.testing.assert_array_equal(fit_votes(_votes(40), draws=200).low, few.low)
    assert list(many.comparisons) == [800, 800]


def test_file_of_votes_with_a_tie(tmp_path, capsys):
    path = tmp_path / "votes.csv"
    path.write_text("image,method_a,method_b,winner\na.png,x,y,tie\nb.png,y,x,y\n")
    votes = read_votes(path)
    assert [v.winner for v in votes] == ["tie", "y"]
    scores = fit_votes(votes, smoothing=0, draws=0).scores
    assert scores[1] - scores[0] == pytest.approx(np.log(3), abs=1e-9)
    assert main(["votes", str(path)]) == 0
    assert "| y | +" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,method_a,winner\n", "method_b"),
        ("image,method_a,method_b,winner\na,x,y,z\n", "line 2: winner 'z'"),
        ("image,method_a,method_b,winner\na,x,x,x\n", "line 2"),
        ("image,method_a,method_b,winner\n", "no vote"),
    ],
)
def test_bad_files_are_named(tmp_path, capsys, text, message):
    path = tmp_path / "votes.csv"
    path.write_text(text)
    assert main(["votes", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_one_image_gives_no_interval_and_methods_never_compared_are_said(tmp_path, capsys):
    path = tmp_path / "votes.csv"
    path.write_text("image,method_a,method_b,winner\n1,A,B,A\n1,C,D,D\n1,B,A,A\n")
    assert main(["votes", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| none |") == 4
    assert "No intervals: all votes are on one image" in printed
    assert "not to be ranked: A, B / C, D." in printed
    path.write_text("image,method_a,method_b,winner\n1,A,B,A\n2,B,C,B\n3,B,A,A\n")
    assert main(["votes", str(path)]) == 0
    assert "not to be ranked" not in capsys.readouterr().out
