"""One self-contained HTML page of results: the worst, the best and an even sample."""

import base64
import heapq
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import jax
import jinja2
import numpy as np
from PIL import Image

from jaxharm.evaluation.columns import REFERENCE
from jaxharm.evaluation.gather import gather
from jaxharm.evaluation.images import sample_rank
from jaxharm.evaluation.report import SHARES, describe
from jaxharm.evaluation.result import Evaluation, Item, Row
from jaxharm.evaluation.summary import ALL
from jaxharm.images.bit_depth import from_unit
from jaxharm.images.resize import with_aspect
from jaxharm.measures import Measures

_SIDE = 320  # longest side of an embedded image
ERROR_RANGE = 64  # gray levels at the bright end of the error map
Key = tuple[str, str]
_Card: TypeAlias = dict[str, Any]  # what the page shows of an image


@dataclass(frozen=True)
class _Kept:
    """What is kept of a candidate: its small images u8[h,w,3], panel by panel."""

    row: Row
    panels: dict[str, np.ndarray]
    maps: list[str]  # panels that are heat maps of values from 0 to 1


class Gallery:
    """Observer that keeps small images of the candidates, whatever the size of the data set.

    Args:
        limit: images on the page; a third each for the worst, the best and the sample.
        measures: those of the evaluation.
    """

    def __init__(self, limit: int = 60, measures: Measures = REFERENCE):
        self._limit, self._measures = limit, measures
        share = math.ceil(limit / 3)
        # A heap drops its smallest rank. The sample's heap is as large as the page, since any of its
        # images may be among the worst or best too.
        self._heaps: dict[str, tuple[int, list[tuple[float, Key]]]] = {
            "worst": (share, []),
            "best": (share, []),
            "sample": (limit, []),
        }
        self._kept: dict[Key, _Kept] = {}

    def observe(self, item: Item) -> None:
        """Keeps the item where it may come onto the page."""
        key = _key(item.row)
        for name, (size, heap) in self._heaps.items():
            heapq.heappush(heap, (_rank(name, item.row, self._measures), key))
            dropped = heapq.heappop(heap)[1] if len(heap) > size else None
            if dropped != key and key not in self._kept:
                maps = [name for name, value in item.figures.items() if value.shape[2] == 1]
                self._kept[key] = _Kept(item.row, _panels(item), maps)
        wanted = {key for _, heap in self._heaps.values() for _, key in heap}
        self._kept = {key: kept for key, kept in self._kept.items() if key in wanted}

    def write(
        self, evaluation: Evaluation, path: str | Path, *, about: Mapping[str, str] | None = None
    ) -> None:
        """Writes the page on process 0; a collective call in a run of several."""
        chosen = select(evaluation.rows, self._limit, self._measures)
        # Not those that were observed: they lack what only the whole set tells.
        rows = {_key(row): row for row in evaluation.rows}
        mine = [
            {
                **_card(rows[key], chosen[key], self._measures),
                "images": {name: data_uri(panel) for name, panel in kept.panels.items()},
                "maps": kept.maps,
            }
            for key, kept in sorted(self._kept.items(), key=lambda item: item[0])
            if key in chosen
        ]
        cards = [card for part in gather(mine) for card in part]
        if jax.process_index() == 0:
            path = Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_page(evaluation, cards, about or {}), encoding="utf-8")


def select(rows: tuple[Row, ...], limit: int, measures: Measures = REFERENCE) -> dict[Key, str]:
    """Chooses the rows of a page of `limit` images: key -> "worst", "best" or "sample"."""
    share = math.ceil(limit / 3)
    chosen: dict[Key, str] = {}
    for name in ("worst", "best", "sample"):
        count = share if name != "sample" else limit - len(chosen)
        free = [row for row in rows if _key(row) not in chosen]
        ranked = sorted(free, key=lambda row: (_rank(name, row, measures), _key(row)), reverse=True)
        chosen.update({_key(row): name for row in ranked[: min(count, limit - len(chosen))]})
    return chosen


def _key(row: Row) -> Key:
    return (row.subset, row.composite_id)


def _rank(name: str, row: Row, measures: Measures) -> float:
    if name == "sample":
        return sample_rank(row)
    values = (row.model[column] for column in (measures.decides, *measures.headlines))
    error = next((value for value in values if not math.isnan(value)), 0.0)
    return error if name == "worst" else -error


def _panels(item: Item) -> dict[str, np.ndarray]:
    images = {
        "composite": item.composite,
        "mask": np.repeat(from_unit(item.mask, np.uint8), 3, axis=2),
    }
    if item.target is not None:
        error = abs(np.clip(item.prediction, 0, 1) * 255 - item.target).mean(axis=2)
        images["harmonized"] = from_unit(item.prediction, np.uint8)
        images |= {"real": item.target, "error": _heat(error / ERROR_RANGE)}
    images |= {
        name: _heat(m[..., 0]) if m.shape[2] == 1 else from_unit(m, np.uint8)
        for name, m in item.figures.items()
    }
    return {name: with_aspect(image, item.aspect, _SIDE) for name, image in images.items()}


def _heat(level: np.ndarray) -> np.ndarray:
    """Colors f32[h,w] by its value between 0 and 1, u8[h,w,3]."""
    return cv2.applyColorMap(from_unit(level, np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]


def data_uri(image: np.ndarray) -> str:
    """An image u8[h,w,3] as the address of an HTML page that holds it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=80, method=6)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _card(row: Row, group: str, measures: Measures) -> _Card:
    def value(number: float) -> float | None:
        return round(number, 4) if math.isfinite(number) else None

    decides = measures.decides
    more = [
        f"{measures.columns[name].title} {_change(row.baseline, row.model, measures, name)}"
        for name in measures.headlines
        if name != decides
    ]
    return {
        "id": row.composite_id,
        "subset": row.subset,
        "group": group,
        "ratio": value(row.ratio),
        "before": value(row.baseline[decides]),
        "after": value(row.model[decides]),
        "more": " · ".join(more),
        "captions": _captions(row, measures),
    }


def _captions(row: Row, measures: Measures) -> dict[str, str]:
    """Method -> what sums it up, to stand below its image; nothing where the head says it all."""
    if not row.others:
        return {}
    columns = [(name, measures.columns[name]) for name in measures.headlines]
    return {
        method: " · ".join(f"{c.title} {_number(values[n], c.decimals)}" for n, c in columns)
        for method, values in row.values(measures).items()
    }


def _change(
    before: Mapping[str, float], after: Mapping[str, float], measures: Measures, name: str
) -> str:
    digits = measures.columns[name].decimals
    return " → ".join(_number(of[name], digits) for of in (before, after))


def _page(evaluation: Evaluation, cards: list[_Card], about: Mapping[str, str]) -> str:
    summary, baseline, measures = (
        evaluation.summary[ALL],
        evaluation.baseline[ALL],
        evaluation.measures,
    )
    facts = [
        ("images", str(summary["count"])),
        *(
            (measures.columns[name].title, _change(baseline, summary, measures, name))
            for name in measures.headlines
        ),
        *((title, _number(100 * summary[key], 1) + " %") for key, title in SHARES.items()),
    ]
    names = ["worst", "best", "sample"]
    counts = {name: sum(card["group"] == name for card in cards) for name in names}
    notes = [f"{key}: {value}" for key, value in about.items()] + describe(evaluation)
    shown = (
        f"Shown: {len(cards)} of {summary['count']} images, the {counts['worst']} with the highest "
        f"error, the {counts['best']} with the lowest and a fixed sample of {counts['sample']}."
    )
    return render_page(
        title=" · ".join(list(about.values())[:2]) or "Harmonization results",
        facts=facts,
        lead=f"Protocol {evaluation.protocol.name}. {shown} Values read composite → model.",
        notes=notes,
        error_range=ERROR_RANGE if evaluation.measures is REFERENCE else 0,
        decides=evaluation.measures.columns[evaluation.measures.decides],
        cards=cards,
    )


def render_page(*, cards: list[_Card], **texts: object) -> str:
    """The page of some images.

    Args:
        cards: what is shown of each: see `_card`; "images" and "maps" beside.
        texts: title, facts (label and value), lead, notes, error_range (0: no legend), decides (the
            `Column` that images are sorted by).
    """
    return _template().render(columns=_columns(cards), cards=cards, **texts)


def _columns(cards: list[_Card]) -> int:
    """Panels side by side: five, or four where that leaves fewer gaps in the last row."""
    count = max((len(card["images"]) for card in cards), default=0)
    return min((5, 4), key=lambda columns: -count % columns)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxharm.evaluation", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    # Jinja sorts the keys of what it writes as JSON; the order of a card's panels is ours.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment.get_template("gallery.html.j2")


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"
