"""The weights that travel with the package: found, described, used where none are named."""

import csv

import numpy as np
import pytest
from PIL import Image

import jaxharm
from jaxharm.__main__ import main
from jaxharm.errors import InputError
from jaxharm.registry import SHIPPED
from jaxharm.weights.card import read_card
from jaxharm.weights.portable import WEIGHTS_FILE, find_weights, load_weights

LARGEST = 8 << 20  # bytes of the folder: it is in every wheel


@pytest.fixture
def pair(tmp_path):
    """A gray disc in a warm gradient, and its soft mask, as files."""
    rows, columns = np.mgrid[0:90, 0:120].astype(np.float32)
    image = np.stack([120 + columns, 90 + rows / 2, 40 + rows / 3], -1)
    soft = np.clip(30 - np.hypot(rows - 45, columns - 60), 0, 1)
    image += soft[..., None] * (np.array([60, 110, 190]) - image)
    Image.fromarray(image.astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray((soft * 255).astype(np.uint8)).save(tmp_path / "m.png")
    return tmp_path / "a.png", tmp_path / "m.png"


def test_the_folder_is_small_and_says_whose_photographs_it_was_trained_on():
    folder = find_weights(SHIPPED)
    assert sum(file.stat().st_size for file in folder.iterdir()) < LARGEST
    card = read_card(SHIPPED)
    assert card.license == "Apache-2.0"
    assert card.measured
    assert [(part.data, part.split) for part in card.trained_on] == [("free_photos", "train")]
    with (folder / card.attribution).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["id"] for row in rows}) == 203
    assert all(row["license"].startswith(("public domain", "CC0", "CC-BY")) for row in rows)
    assert not any("SA" in row["license"] for row in rows)
    assert (folder / "MODEL_CARD.md").is_file()


def test_the_word_is_the_packages_folder_and_a_path_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED).mkdir()
    assert (find_weights(SHIPPED) / WEIGHTS_FILE).is_file()
    with pytest.raises(InputError, match="no weights in"):
        find_weights(f"./{SHIPPED}")


def test_harmonize_without_weights_takes_them_and_says_so(pair, tmp_path, capsys):
    composite, mask = pair
    out = tmp_path / "out.png"
    assert main(["harmonize", str(composite), str(mask), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert (
        f"weights that ship with jaxharm: {load_weights(find_weights(SHIPPED))[0]}, license" in said
    )
    result, before = np.asarray(Image.open(out)), np.asarray(Image.open(composite))
    outside = np.asarray(Image.open(mask)) == 0
    np.testing.assert_array_equal(result[outside], before[outside])
    np.testing.assert_array_equal(result, jaxharm.harmonize(composite, mask))
    # A blue disc in an orange scene moves towards the scene.
    inside = np.asarray(Image.open(mask)) == 255
    change = (result[inside].astype(float) - before[inside]).mean(0)
    assert change[0] - change[2] > 2


def test_the_network_predicts_in_range_on_extreme_pictures():
    name, config, variables = load_weights(find_weights(SHIPPED))
    model = jaxharm.create_model(name)
    assert model.config == config
    mask = np.zeros((1, 64, 64, 1), np.float32)
    mask[:, 20:40, 20:40] = 1
    for value in (0.0, 0.5, 1.0):
        image = np.full((1, 64, 64, 3), value, np.float32)
        output = model.apply(variables, image, mask)
        assert np.isfinite(output.image).all()
        # A flat picture is right as it is.
        assert np.abs(np.asarray(output.image) - image).max() < 0.1
