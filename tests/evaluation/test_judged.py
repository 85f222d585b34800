"""Evaluation by a system's own measures: every file, any batch size, values that need the whole set."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
from support.sets import batches, images

from jaxharm.errors import InputError
from jaxharm.evaluation.gallery import Gallery
from jaxharm.evaluation.judged import evaluate_judged
from jaxharm.evaluation.report import as_table, write_report
from jaxharm.measures import Column, Judged, Measures

MEASURES = Measures(
    columns={
        "darkness": Column("D", 3, headline=True),
        "share": Column("share", 2, headline=True),
        "spread": Column("spread", 2),
    },
    decides="darkness",
    methods=("composite", "halved", "inverted", "zeroed"),
    model="inverted",
    baseline="composite",
    against="nothing",
)


class Brightness:
    """Measures how dark results are; "share" is relative to the mean of the set."""

    measures = MEASURES
    notes = ("a sentence for the reader",)

    def __init__(self):
        self.seen = []

    def __call__(self, record):
        self.seen.append(record.composite.shape)
        composite = record.composite[0] / np.float32(255)
        if composite.mean() < 0.01:
            raise InputError("too dark")
        pictures = [composite, composite / 2, 1 - composite, 0 * composite]
        pictures = dict(zip(MEASURES.methods, pictures, strict=True))
        values = {
            method: {"darkness": float(1 - image.mean()), "spread": float(image.std())}
            for method, image in pictures.items()
        }
        values["composite"]["spread"] = np.nan
        return Judged(pictures, values, {"plain": 0 * composite})

    def completed(self, rows):
        mean = np.mean([row["inverted"]["darkness"] for row in rows])
        return [
            {m: {**of, "share": of["darkness"] / mean} for m, of in row.items()} for row in rows
        ]


def judged(records, size=2, **changes):
    return evaluate_judged(Brightness(), batches(records, size), "default_256", **changes)


def test_values_do_not_depend_on_the_batch_and_need_the_whole_set():
    records = images(7)
    results = [judged(records, size) for size in (1, 3, 8)]
    for result in results[1:]:
        assert result.rows == results[0].rows
    row = next(row for row in results[0].rows if row.composite_id == "image3")
    composite = records[3][2] / np.float32(255)
    assert row.baseline["darkness"] == float(1 - composite.mean())
    assert row.others["halved"]["darkness"] == float(1 - (composite / 2).mean())
    assert row.model["darkness"] == float(1 - (1 - composite).mean())
    assert results[0].summary["All"]["share"] == pytest.approx(1)
    assert set(results[0].methods) == set(MEASURES.methods)


def test_one_record_at_a_time():
    judge = Brightness()
    evaluate_judged(judge, batches(images(5), 4), "default_256")
    assert judge.seen == [(1, 16, 16, 3)] * 5


def test_the_files_say_what_was_measured(tmp_path):
    result = judged(images(5))
    write_report(result, tmp_path, about={"model": "toy"})
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert set(stored) == {"a", "b", "All", "protocol", "baseline", "methods", "statement"}
    assert "psnr" not in stored["All"]
    assert set(stored["All"]["bins"]["0-5"]) == {"count", "darkness", "share"}
    assert stored["methods"]["inverted"] == {k: stored[k] for k in ("a", "b", "All")}
    assert stored["baseline"]["All"]["spread"] is None
    assert stored["statement"]["columns"]["darkness"] == dataclasses.asdict(
        MEASURES.columns["darkness"]
    )
    table = (tmp_path / "table.md").read_text()
    assert table == as_table(result, {"model": "toy"})
    assert (
        "| subset | images | method | D | share | spread | improved | made worse by more than 10 % |"
        in table
    )
    assert f"| | | halved | {result.methods['halved']['All']['darkness']:.3f} |" in table
    assert table.count("| halved |") == 1  # the whole set alone has every method
    assert "| | | **inverted** |" in table
    assert "a D below the composite's" in table
    assert "- a sentence for the reader" in table
    assert "PSNR" not in table
    with (tmp_path / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    of = {row.composite_id: row for row in result.rows}
    for row in rows:
        expected = of[row["composite_id"]]
        assert float(row["darkness"]) == expected.model["darkness"]
        assert float(row["composite_darkness"]) == expected.baseline["darkness"]
        assert float(row["zeroed_share"]) == expected.others["zeroed"]["share"]


def test_the_gallery_shows_every_method_with_its_values(tmp_path):
    gallery = Gallery(6, MEASURES)
    result = judged(images(4), observers=[gallery])
    gallery.write(result, tmp_path / "g.html")
    text = (tmp_path / "g.html").read_text()
    cards = json.loads(re.search(r"CARDS = (\[.*?\]);\n", text).group(1))
    names = ["composite", "mask", "plain", "halved", "inverted", "zeroed"]
    assert [list(card["images"]) for card in cards] == [names] * 4
    row = next(row for row in result.rows if row.composite_id == cards[0]["id"])
    assert cards[0]["after"] == round(row.model["darkness"], 4)
    values = row.others["zeroed"]
    assert (
        cards[0]["captions"]["zeroed"]
        == f"D {values['darkness']:.3f} · share {values['share']:.2f}"
    )
    assert 'DECIDES = "D"' in text
    assert "PSNR" not in text
    assert "gray levels" not in text


def test_lpips_is_the_distance_to_the_composite():
    def distance(first, second):
        return abs(first - second).mean((1, 2, 3))

    result = judged(images(1), lpips=distance)
    assert "| spread | LPIPS | improved |" in as_table(result, {})
    (row,) = result.rows
    assert row.baseline["lpips"] == 0
    assert row.others["halved"]["lpips"] == pytest.approx((1 - row.baseline["darkness"]) / 2)


def test_a_record_that_cannot_be_judged_is_named():
    records = images(3)
    records[2] = (*records[2][:2], np.zeros_like(records[2][2]), *records[2][3:])
    with pytest.raises(InputError, match="image2: too dark"):
        judged(records)
