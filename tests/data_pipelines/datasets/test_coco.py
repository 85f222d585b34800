"""Outlines and run lengths of COCO: drawn as masks, or refused."""

import numpy as np
import pytest
from pycocotools.mask import encode
from support.coco_annotations import box, compressed

from data_pipelines.datasets.coco import SegmentationError, check_segmentation, draw

SIZE = (40, 50)


@pytest.mark.parametrize("seed", range(3))
def test_a_pixel_belongs_to_a_polygon_that_holds_its_center(seed):
    """Against ray casting, but for pixels whose center is within 1/4 pixel of an edge."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(6, 24, 9)  # partly outside of the image
    points = np.stack([25 + radii * np.cos(angles), 18 + radii * np.sin(angles)], 1)
    y, x = np.mgrid[0:40, 0:50] + 0.5
    inside, distance = np.zeros(SIZE, bool), np.full(SIZE, np.inf)
    for a, b in zip(points, np.roll(points, -1, 0), strict=True):
        crosses = (a[1] > y) != (b[1] > y)
        inside ^= crosses & (x < a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1]))
        along = ((x - a[0]) * (b[0] - a[0]) + (y - a[1]) * (b[1] - a[1])) / np.sum((b - a) ** 2)
        along = np.clip(along, 0, 1)
        gap = np.hypot(x - a[0] - along * (b - a)[0], y - a[1] - along * (b - a)[1])
        distance = np.minimum(distance, gap)
    drawn = draw([points.ravel().tolist()], SIZE)
    sure = distance > 0.25
    np.testing.assert_array_equal(drawn[sure], inside[sure])
    assert abs(int(drawn.sum()) - int(inside.sum())) < 12


def test_parts_of_an_object_are_joined_and_later_objects_cover_earlier_ones():
    two = [*box(1, 1, 6, 4), *box(4, 2, 10, 3), *box(-9, -9, 3, 3)]
    expected = np.zeros(SIZE, bool)
    expected[1:5, 1:7] = expected[2:5, 4:14] = True
    np.testing.assert_array_equal(draw(two, SIZE), expected)


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([], "neither polygons"),
        ("abc", "neither polygons"),
        ([[1, 2, 3, 4]], "3 points"),
        ([[1.0, 2, 3, 4, float("nan"), 6]], "not finite"),
        ([[1.0, 2, 3, 4, 1e30, 6]], "far outside"),
        ({"size": [5, 5], "counts": [25]}, "of the image|the image of"),
    ],
)
def test_bad_segmentations_are_named(segmentation, words):
    with pytest.raises(SegmentationError, match=words):
        check_segmentation(segmentation, SIZE)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        *((runs, "add up") for runs in ([3, 4], [3, 4000], [-1, 2001], [])),
        # What pycocotools draws past the end of the mask: the process may end long after.
        *((compressed(runs), "add up") for runs in ([3, 4], [3, 4000], [0, 10**9], [3, 2000])),
        ("", "add up"),
        ("abc", "ends within a run"),
        ("a\x00b", "no run at"),
        ("o" * 40, "no run at"),
    ],
    ids=repr,
)
def test_damaged_runs_are_refused(counts, words):
    with pytest.raises(SegmentationError, match=words):
        draw({"size": list(SIZE), "counts": counts}, SIZE)


@pytest.mark.parametrize("seed", range(8))
def test_runs_are_drawn_as_pycocotools_packs_them(seed):
    rng = np.random.default_rng(seed)
    fine = rng.random(SIZE) < rng.uniform(0, 1)
    coarse = np.kron(rng.random((4, 5)) < 0.5, np.ones((10, 10), bool))
    for mask in (fine, coarse, np.zeros(SIZE, bool), np.ones(SIZE, bool)):
        counts = encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
        np.testing.assert_array_equal(draw({"size": list(SIZE), "counts": counts}, SIZE), mask)
