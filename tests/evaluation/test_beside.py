"""Two runs on one page: pictures that both kept, values of both, sentences where there are none."""

import json
import re

import pytest
from support.sets import batches, halfway, identity, images

from jaxharm.__main__ import main
from jaxharm.evaluation.evaluate import evaluate
from jaxharm.evaluation.images import SampleSaver
from jaxharm.evaluation.report import write_report


def run(folder, predict, count=6, kept=4):
    saver = SampleSaver(folder / "eval/kept", kept)
    result = evaluate(predict, batches(images(count), 3), "default_256", observers=[saver])
    saver.write(result)
    write_report(result, folder / "eval", about={})
    return folder


def test_two_runs_stand_side_by_side(tmp_path, capsys):
    first, second = run(tmp_path / "a/run", identity), run(tmp_path / "b/run", halfway)
    page = tmp_path / "pages/both.html"
    assert main(["compare", str(first), str(second), "--pictures", str(page)]) == 0
    assert "4 images" in capsys.readouterr().out
    text = page.read_text()
    cards = json.loads(re.search(r"CARDS = (\[.*?\]);\n", text).group(1))
    assert len(cards) == 4
    for card in cards:
        assert list(card["images"]) == ["composite", "real", "a/run", "b/run"]
        assert card["after"] < card["before"]
    assert "Values read a/run → b/run" in text
    assert not re.search(r"https?://|@import", text)


def test_runs_that_were_not_evaluated_are_named(tmp_path, capsys):
    first = run(tmp_path / "a", identity)
    (tmp_path / "b").mkdir()
    page = tmp_path / "p.html"
    assert main(["compare", str(first), str(tmp_path / "b"), "--pictures", str(page)]) == 2
    assert "evaluate the run first" in capsys.readouterr().err
    other = run(tmp_path / "c", identity)
    for file in (other / "eval/kept").rglob("*.webp"):
        file.unlink()
    assert main(["compare", str(first), str(other), "--pictures", str(page)]) == 2
    assert "no image in common" in capsys.readouterr().err
    assert not page.exists()


@pytest.mark.parametrize(
    ("aspect", "shape"), [(2.0, (160, 320)), (0.5, (320, 160)), (None, (320, 320))]
)
def test_squashed_pictures_are_shown_in_their_aspect(aspect, shape):
    import numpy as np

    from jaxharm.images.resize import with_aspect

    assert with_aspect(np.zeros((640, 640, 3), np.uint8), aspect, 320).shape[:2] == shape
