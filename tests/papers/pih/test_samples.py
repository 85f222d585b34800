"""Training samples of two streams: placement, jitter and blend give the reference's arrays."""

import json

import numpy as np
import pytest

from data_pipelines.samples.jitter import ColorJitter
from data_pipelines.samples.placement import blend, move, place

TIES = 1e-3  # share of pixels that a nearest-neighbor tie may change (manifest)


def jitter_of(draw: dict) -> ColorJitter:
    first = next(op for op in draw["op_order"] if op in (0, 1))
    return ColorJitter(draw["brightness"], draw["contrast"], brightness_first=first == 0)


@pytest.mark.golden
@pytest.mark.parametrize("number", range(4))
def test_golden_items(shared, number):
    arrays = np.load(shared / "golden/pih/data_pipeline.npz")
    draw = json.loads((shared / "golden/pih/data_pipeline_draws.json").read_text())[number]
    item, edition = draw["background_item"].split("_")
    partner = arrays[f"raw_{item}_{'before' if edition == 'after' else 'after'}"]
    target, mask, plate = (arrays[f"raw_{item}_{key}"] for key in (edition, "mask", "bg"))
    other, other_mask = (
        arrays[f"raw_{name}"]
        for name in (draw["foreground_item"], draw["foreground_item"].split("_")[0] + "_mask")
    )
    image, placed = place(other, other_mask, mask, tuple(draw["fg_extra_shift_xy"]))
    shift = tuple(draw["pair_shift_xy"])
    shifted = move(mask, shift=shift)
    jittered = jitter_of(draw["input_jitter"])(move(partner, shift=shift))
    ours = {
        "unpaired_composite": blend(jitter_of(draw["fg_jitter"])(image), plate, placed),
        "unpaired_mask": placed,
        "target": blend(move(target, shift=shift), plate, shifted),
        "pair_mask": shifted,
        "pair_input": blend(jittered, plate, shifted),
    }
    for name, value in ours.items():
        differs = value != arrays[f"sample{number}_{name}"]
        assert differs.reshape(*mask.shape, -1).any(-1).mean() <= TIES, name
