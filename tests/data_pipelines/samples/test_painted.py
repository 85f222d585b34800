"""Objects pasted on paintings while reading: pairing, geometry, what is refused."""

import dataclasses

import cv2
import numpy as np
import pytest
from support.fixtures_data import box_mask, random_image, write_image
from support.memory_source import MemorySource

from data_pipelines import loader
from data_pipelines.build import build
from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.samples.painted import PaintedEvalSamples
from data_pipelines.samples.placement import blend
from data_pipelines.samples.stream import ProcessRows
from data_pipelines.samples.textures import TextureSource
from data_pipelines.verify import verify
from jaxharm.config import AugmentConfig, DataConfig, PaintingsConfig, SynthesisConfig

DATA = DataConfig(
    batch_size=4,
    image_size=32,
    image_resize="linear_aa",
    mask_resize="linear_aa",
    num_threads=1,
    augment=AugmentConfig(flip=0.0),
    paintings=PaintingsConfig(name="paintings"),
)
KEYS = {"composite", "mask", "target", "background", "index"}


class Painterly:
    """Records as of a built painterly set: flat photographs with objects, or flat paintings.

    A photograph's red is 100 + its number, a painting's green 10 + its number. Objects have the
    gray levels 3, 200 and 255, and their places are disjoint.
    """

    def __init__(self, length: int, *, paintings: bool = False) -> None:
        self._length, self._paintings = length, paintings

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> dict:
        kind = "wikiart" if self._paintings else "coco"
        size = (24, 40) if self._paintings else (48, 36)
        record = {"photo_id": f"{kind}/{number}", "subset": kind}
        record |= {"height": size[0], "width": size[1]}
        color = (0, 10 + number, 0) if self._paintings else (100 + number, 0, 0)
        image = np.full((*size, 3), color, np.uint8)
        if self._paintings:
            return record | {"style": png(image[..., ::-1])}
        levels = np.zeros(size, np.uint8)
        for i, level in enumerate((3, 200, 255)):
            levels[15 * i : 15 * i + 12, 6:30] = level
        return record | {"content": png(image[..., ::-1]), "mask_levels": png(levels)}


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def take(count: int, data: DataConfig = DATA, objects=(), paintings=(), **options):
    options = {"seed": 5, **options}
    objects, paintings = objects or [Painterly(5)], paintings or [Painterly(7, paintings=True)]
    with loader.train_batches_from(objects, data, paintings=paintings, **options) as batches:
        return [next(batches) for _ in range(count)]


def pairs(batches) -> list[tuple[int, int]]:
    """(photograph, painting) of every sample, read from the colors."""
    return [
        (int(composite[..., 0].max()) - 100, int(background[0, 0, 1]) - 10)
        for batch in batches
        for composite, background in zip(batch.composite, batch.background, strict=True)
    ]


def changed(**paintings) -> DataConfig:
    return dataclasses.replace(DATA, paintings=dataclasses.replace(DATA.paintings, **paintings))


def test_one_object_of_a_photograph_lies_where_it_lay_squashed_to_the_square():
    levels = cv2.imdecode(np.frombuffer(Painterly(1)[0]["mask_levels"], np.uint8), 0)
    seen = set()
    for batch in take(12):
        assert set(batch.arrays()) == KEYS
        np.testing.assert_array_equal(batch.target, batch.composite)
        for i in range(4):
            mask = np.rint(batch.mask[i, ..., 0] * 255).astype(np.uint8)
            photo = np.zeros((32, 32, 3), np.uint8)
            photo[..., 0] = batch.composite[i][..., 0].max()
            np.testing.assert_array_equal(
                batch.composite[i], blend(photo, batch.background[i], mask)
            )
            matches = [
                level
                for level in (3, 200, 255)
                if np.array_equal(mask, squashed((levels == level).astype(np.uint8) * 255))
            ]
            assert len(matches) == 1
            seen.update(matches)
    assert seen == {3, 200, 255}


def squashed(mask: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(mask).resize((32, 32), Image.Resampling.BILINEAR))


def test_an_epoch_shows_every_painting_once_and_pairs_it_anew():
    found = pairs(take(14))  # 56 samples: 8 passes over 7 paintings
    assert all(sorted(b for _, b in found[7 * e : 7 * e + 7]) == list(range(7)) for e in range(8))
    assert all(sorted(a for a, _ in found[5 * e : 5 * e + 5]) == list(range(5)) for e in range(11))
    partners = {b: {a for a, other in found if other == b} for b in range(7)}
    assert min(map(len, partners.values())) > 2


def test_a_fixed_pairing_stays_and_depends_on_the_seed():
    fixed = changed(fixed_pairing=True)
    found = [set(pairs(take(14, fixed, seed=seed))) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    for partners in found:
        assert sorted(b for _, b in partners) == list(range(7))
        assert sorted(a for a, _ in partners) == [0, 0, 1, 1, 2, 3, 4]  # numbers 0..6 mod 5


def test_batches_depend_on_seed_and_step_only():
    whole = take(6)
    assert pairs(whole) != pairs(take(6, seed=6))
    for again in (take(3, start=3), take(6, dataclasses.replace(DATA, num_threads=3))[3:]):
        for one, other in zip(whole[3:], again, strict=True):
            for key in KEYS:
                np.testing.assert_array_equal(one.arrays()[key], other.arrays()[key])
    halves = [take(2, process_index=i, process_count=2) for i in (0, 1)]
    for step in (0, 1):
        joined = np.concatenate([half[step].composite for half in halves])
        np.testing.assert_array_equal(joined, whole[step].composite)


def test_photographs_serve_as_paintings_but_never_as_their_own():
    """Blue is the record's number."""
    same = [MemorySource(3, photos=True)]
    for batch in take(8, objects=same, paintings=same):
        for i in range(4):
            inside = batch.mask[i, ..., 0] == 1
            number = np.unique(batch.composite[i][inside][:, 2])
            assert len(number) == 1
            assert number[0] != batch.background[i, 0, 0, 2]
    one = MemorySource(1, photos=True)
    options = {"image_size": 8, "image_resize": "linear_aa", "mask_resize": "linear_aa"}
    samples = PaintedEvalSamples(one, [one], rows=ProcessRows(1, 0, 0, 1), **options)
    with pytest.raises(DatasetValidationError, match="another picture"):
        samples[0]


def test_textures_serve_as_paintings():
    batch = take(1, objects=[MemorySource(3)], paintings=[TextureSource(3, 32)])[0]
    assert batch.background.shape == (4, 32, 32, 3)


def test_evaluation_passes_once_over_the_paintings():
    options = {"image_resize": "linear_aa", "mask_resize": "linear_aa"}

    def passes(**more):
        with loader.eval_batches_from(
            Painterly(2), paintings=[Painterly(5, paintings=True)], **options, **more
        ) as batches:
            return list(batches)

    batches = passes(image_size=32, batch_size=3)
    assert [batch.valid.tolist() for batch in batches] == [[1, 1, 1], [1, 1, 0]]
    assert pairs(batches)[:5] == [(0, 0), (1, 1), (0, 2), (1, 3), (0, 4)]
    assert batches[0].composite_id[2] == "00002_coco_0_on_wikiart_2"
    assert passes(image_size=None, batch_size=3)[0].composite.shape == (1, 24, 40, 3)


@pytest.mark.parametrize(
    ("data", "objects", "paintings", "words"),
    [
        (DATA, [Painterly(2, paintings=True)], [], "has no objects"),
        (DATA, [], [Painterly(2)], r"data\.paintings\.split"),
        (DATA, [Painterly(0)], [], "no record"),
        (
            dataclasses.replace(DATA, synthesis=SynthesisConfig(probability=0.5)),
            [],
            [],
            r"data\.synthesis\.probability",
        ),
        (
            dataclasses.replace(changed(fixed_pairing=True), weights=(1.0,)),
            [],
            [],
            r"data\.weights with data\.paintings\.fixed_pairing",
        ),
    ],
)
def test_what_does_not_fit_is_refused(data, objects, paintings, words):
    with pytest.raises(DatasetValidationError, match=words):
        take(1, data, objects, paintings)


def test_objects_without_paintings_are_refused():
    with pytest.raises(DatasetValidationError, match=r"data\.paintings\.name"):
        loader.train_batches_from([Painterly(2)], DATA, seed=0)
    options = {"image_resize": "linear_aa", "mask_resize": "linear_aa", "batch_size": 1}
    with pytest.raises(DatasetValidationError, match=r"eval\.paintings"):
        loader.eval_batches_from(Painterly(2), image_size=32, **options)


def test_folders_of_composites_masks_and_paintings_go_together_by_name(tmp_path):
    root = tmp_path / "examples"
    for number in (1, 2, 10):
        write_image(root / f"comp/{number}.png", random_image(seed=number))
        write_image(root / f"mask/{number}.png", np.dstack([box_mask()] * 3))
        write_image(root / f"style/{number}.png", random_image(seed=50 + number))
    info = build("photos", manual_dir=root, data_dir=tmp_path / "data")
    assert info.splits == {"test": 3}
    assert verify("examples", tmp_path / "data") == []
    options = {"image_size": None, "image_resize": "linear_aa", "mask_resize": "linear_aa"}
    place = {"data_dir": tmp_path / "data", "paintings": "own"}
    with loader.eval_batches("examples", **place, **options) as batches:
        found = {batch.composite_id[0]: batch for batch in batches}
    assert set(found) == {"1", "2", "10"}
    inside = box_mask() == 255
    for number in (1, 2, 10):
        batch = {key: value[0] for key, value in found[str(number)].arrays().items()}
        np.testing.assert_array_equal(batch["background"], random_image(seed=50 + number))
        for key in ("composite", "target"):
            np.testing.assert_array_equal(
                batch[key][~inside], random_image(seed=50 + number)[~inside]
            )
            np.testing.assert_array_equal(batch[key][inside], random_image(seed=number)[inside])
    (root / "style/2.png").unlink()
    with pytest.raises(DatasetValidationError, match=r"missing_background.*2\.png"):
        build("photos", manual_dir=root, data_dir=tmp_path / "data")
    write_image(root / "style/2.png", random_image(30, 48))
    with pytest.raises(DatasetValidationError, match=r"size_mismatch.*background 48x30"):
        build("photos", manual_dir=root, data_dir=tmp_path / "data")
    with pytest.raises(DatasetValidationError, match="has no paintings of its own"):
        loader.eval_batches_from(MemorySource(2), own_paintings=True, batch_size=1, **options)
