"""What a manifest says of its weights: read with its types, and who uses it."""

import jax
import numpy as np
import pytest
from support import toy_system
from support.inference_cases import tiny
from support.tiers import first_is_quick
from support.toy_system import toy_config

from jaxharm import Harmonizer, registry
from jaxharm.config import DataConfig, PaintingsConfig, UnpairedConfig
from jaxharm.errors import InputError
from jaxharm.weights.card import Measured, TrainedOn, WeightsCard, card_of_run, read_card
from jaxharm.weights.portable import load_weights, save_weights

CARD = WeightsCard(
    license="CC0-1.0",
    attribution="ATTRIBUTION.csv",
    trained_on=(TrainedOn("photos", "train", "abc"), TrainedOn("photos", "sa")),
    encoder="VGG-16",
    measured=(
        Measured("set test", "default_256", 0.7, 3, {"fmse": 2.0}, {"fmse": 4.0}, 0.5, 0.25),
    ),
    recommended_strength=0.7,
)


@pytest.fixture
def variables():
    module = toy_system.Toy(config=toy_system.ToyConfig())
    image = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
    return module.init(jax.random.key(3), image, image[..., :1])


def test_a_card_comes_back_from_the_manifest_as_it_was(tmp_path, variables):
    save_weights(tmp_path, "toy", toy_system.ToyConfig(), variables, CARD.entries())
    assert read_card(tmp_path) == CARD
    assert set(WeightsCard().entries()) == {"license"}
    save_weights(tmp_path, "toy", toy_system.ToyConfig(), variables, {"source": "elsewhere"})
    assert read_card(tmp_path) == WeightsCard()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"recommended_strength": 7}, "recommended_strength=7 is not a number from 0 to 1"),
        ({"license": 3}, "license=3 is not a text"),
        ({"trained_on": [{"data": "a"}]}, "split"),
        ({"measured": "well"}, "measured='well'"),
        ({"trained_on": [{"data": "a", "split": "b", "pages": 3}]}, "unknown TrainedOn keys"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, variables, entry, words):
    save_weights(tmp_path, "toy", toy_system.ToyConfig(), variables, entry)
    with pytest.raises(InputError, match=r"manifest\.json: ") as told:
        read_card(tmp_path)
    assert words in str(told.value)


def test_the_card_of_a_run_names_all_its_data():
    data = DataConfig(
        name="a+b",
        split="train",
        unpaired=UnpairedConfig(enabled=True, composites="c", composites_split="x"),
        paintings=PaintingsConfig(name="d"),
    )
    config = toy_config(data=data, init_from="weights/old")
    card = card_of_run(config, {"a": {"fingerprint": "f"}})
    names = [(part.data, part.split, part.fingerprint) for part in card.trained_on]
    assert names == [
        ("a", "train", "f"),
        ("b", "train", ""),
        ("c", "x", ""),
        ("d", "train_paintings", ""),
    ]
    assert card.started_from == "weights/old"
    assert card.license == "not stated"


def test_the_card_of_a_run_describes_its_encoder(tmp_path):
    loaded = {"encoder": str(tmp_path / "vgg.pth"), "teacher": "t"}
    assert card_of_run(toy_config(), None).encoder == ""
    unknown = card_of_run(toy_config(), None, loaded).encoder
    assert unknown == "vgg.pth; license not stated"
    (tmp_path / "manifest.json").write_text('{"encoder": "VGG-16", "license": "BSD-3-Clause"}')
    assert card_of_run(toy_config(), None, loaded).encoder == "VGG-16; BSD-3-Clause"


def test_the_recommended_strength_is_what_harmonize_takes(tmp_path, variables):
    composite = np.random.default_rng(1).integers(0, 255, (24, 24, 3), np.uint8)
    mask = np.zeros((24, 24), np.uint8)
    mask[5:15, 5:15] = 1
    save_weights(tmp_path, "toy", toy_system.ToyConfig(), variables, CARD.entries())
    run = Harmonizer(checkpoint=tmp_path)
    np.testing.assert_array_equal(run(composite, mask), run(composite, mask, strength=0.7))
    assert (run(composite, mask) != run(composite, mask, strength=1.0)).any()
    plain = Harmonizer("toy", variables=variables)
    np.testing.assert_array_equal(plain(composite, mask), run(composite, mask, strength=1.0))


NAMES = sorted(registry.list_models(), key=lambda name: name != "toy")


@pytest.mark.parametrize("name", first_is_quick(NAMES))
def test_float16_is_smaller_and_at_most_one_level_off(tmp_path, name):
    model, variables = tiny(name)
    results, sizes = [], []
    rng = np.random.default_rng(2)
    composite = rng.integers(0, 256, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[10:40, 20:50] = 1
    plate = composite[::-1] if registry.get(name).needs_background else None
    for half in (False, True):
        folder = tmp_path / str(half)
        save_weights(folder, name, model.config, variables, half=half)
        sizes.append((folder / "weights.safetensors").stat().st_size)
        _, _, loaded = load_weights(folder)
        kinds = {leaf.dtype for leaf in jax.tree.leaves(loaded)}
        assert kinds == {np.dtype(np.float32)}
        run = Harmonizer(checkpoint=folder)
        results.append(run(composite, mask, background=plate).astype(int))
    assert sizes[1] < sizes[0]
    assert (results[0] != composite).any()
    assert abs(results[0] - results[1]).max() <= 1


def test_a_number_too_large_for_float16_is_named(tmp_path, variables):
    kernel = np.full(variables["params"]["out"]["kernel"].shape, 7e4, np.float32)
    variables = {**variables, "params": {**variables["params"], "out": {"kernel": kernel}}}
    with pytest.raises(InputError, match="params/out/kernel holds 70000, which is too large"):
        save_weights(tmp_path, "toy", toy_system.ToyConfig(), variables, half=True)
    assert not (tmp_path / "manifest.json").exists()
