"""The gallery: which images it shows, that it needs nothing from outside, that it stays small."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from support.sets import batches, halfway, images

from jaxharm.evaluation.evaluate import evaluate
from jaxharm.evaluation.gallery import Gallery, select
from jaxharm.evaluation.result import Row


def _rows(count):
    values = [{"mse": 1.0, "fmse": float(v)} for v in np.random.default_rng(0).permutation(count)]
    return tuple(Row(f"i{n}", "s", 0.1, value, value) for n, value in enumerate(values))


def test_the_worst_the_best_and_a_sample_are_chosen():
    rows = _rows(100)
    chosen = select(rows, 9)
    errors = {row.composite_id: row.model["fmse"] for row in rows}
    groups = {
        name: {errors[key[1]] for key, group in chosen.items() if group == name}
        for name in ("worst", "best", "sample")
    }
    assert groups["worst"] == {97, 98, 99}
    assert groups["best"] == {0, 1, 2}
    assert len(groups["sample"]) == 3
    assert len(chosen) == 9
    assert len(select(rows[:4], 9)) == 4
    assert select(rows[::-1], 9) == chosen


@pytest.mark.parametrize("limit", [6, 20])
def test_what_is_kept_on_the_way_holds_what_is_chosen(limit):
    gallery = Gallery(limit)
    result = evaluate(halfway, batches(images(60), 8), "default_256", observers=[gallery])
    chosen = select(result.rows, limit)
    assert len(chosen) == limit
    assert set(chosen) <= set(gallery._kept)
    assert len(gallery._kept) <= 2 * limit + 2


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.outside, self.scripts, self.tags = [], 0, []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.scripts += tag == "script"
        self.outside += [v for k, v in attrs if k in ("src", "href", "srcset", "data")]


def test_the_page_is_self_contained_and_safe(tmp_path):
    records = images(5)
    records[0] = ("</script><b>&", *records[0][1:])
    gallery = Gallery(60)
    result = evaluate(halfway, batches(records, 2), "default_256", observers=[gallery])
    gallery.write(result, tmp_path / "g.html", about={"model": "<toy>", "data": "memory"})
    text = (tmp_path / "g.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.outside == []
    assert page.scripts == 1
    assert "toy" not in page.tags
    assert not re.search(r"https?://|@import|url\(|@@", text)
    cards = json.loads(re.search(r"CARDS = (\[.*?\]);\n", text).group(1))
    assert {card["id"] for card in cards} == {record[0] for record in records}
    assert all(len(card["images"]) == 5 for card in cards)
    assert "Protocol default_256" in text
    assert "Shown: 5 of 5 images" in text
    for title in ("improved", "made worse by more than 10 %"):
        assert f"<dt>{title}</dt>" in text


@pytest.mark.slow
def test_large_images_are_shrunk(tmp_path):
    gallery = Gallery(3)
    evaluate(halfway, batches(images(1, side=700), 1), "default_native", observers=[gallery])
    (kept,) = gallery._kept.values()
    assert {panel.shape for panel in kept.panels.values()} == {(320, 320, 3)}


def test_figures_are_further_panels(tmp_path):
    def figures(batch):
        return {
            "heat": batch.mask * np.float32(0.5),
            "picture": np.zeros((*batch.mask.shape[:3], 3), np.float32),
        }

    gallery = Gallery(4)
    result = evaluate(
        halfway, batches(images(4), 2), "default_256", observers=[gallery], figures=figures
    )
    gallery.write(result, tmp_path / "g.html")
    text = (tmp_path / "g.html").read_text()
    cards = json.loads(re.search(r"CARDS = (\[.*?\]);\n", text).group(1))
    names = ["composite", "mask", "harmonized", "real", "error", "heat", "picture"]
    assert [list(card["images"]) for card in cards] == [names] * 4
    kept = next(iter(gallery._kept.values()))
    assert kept.panels["heat"].shape == kept.panels["picture"].shape == kept.panels["real"].shape
    assert kept.panels["heat"].max() > 0
