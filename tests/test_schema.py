"""The batch that travels: what is checked, what goes to devices, and how JAX sees it."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import jaxharm.interfaces  # registers the batch with JAX
from jaxharm import schema
from jaxharm.schema import Batch, Pair, present, validate

assert jaxharm.interfaces


def batch(**changes):
    image = np.zeros((2, 4, 6, 3), np.uint8)
    mask = np.zeros((2, 4, 6, 1), np.float32)
    return Batch(image, mask, image, index=np.arange(2, dtype=np.int32)).replace(**changes)


HOST = {
    "valid": np.ones(2, np.float32),
    "composite_id": np.array(["a", "b"], object),
    "subset": np.array(["s", "s"], object),
}


def test_batches_of_loaders_are_valid():
    image, mask = batch().composite, batch().mask
    validate(batch())
    validate(batch(**HOST), evaluation=True)
    label = np.ones(2, np.int32)
    validate(batch(background=image, unpaired=Pair(image, mask, image), label=label))


@pytest.mark.parametrize(
    ("changes", "evaluation", "message"),
    [
        ({"target": None}, False, "the batch lacks target"),
        ({"valid": HOST["valid"]}, True, "the batch lacks composite_id, subset"),
        ({"valid": HOST["valid"]}, False, "a training batch has valid"),
        ({"index": np.arange(2)}, False, r"batch\.index .* is int64\[2\], not int32\[2\]"),
        ({"mask": np.zeros((2, 4, 5, 1), np.float32)}, False, r"float32\[2, 4, 5, 1\], not"),
        (
            {"unpaired": Pair(np.zeros((2, 4, 6, 3), np.uint8), np.zeros((2, 4, 6, 1)))},
            False,
            r"batch\.unpaired\.mask .* is float64",
        ),
    ],
)
def test_the_first_array_that_does_not_fit_is_named(changes, evaluation, message):
    with pytest.raises(ValueError, match=message):
        validate(batch(**changes), evaluation=evaluation)


def test_host_fields_never_reach_a_device():
    whole = batch(**HOST, background=batch().composite)
    assert set(whole.for_devices().arrays()) == {*batch().arrays(), "background"}
    passed = jax.jit(lambda given: given)(whole)
    assert passed.arrays().keys() == whole.for_devices().arrays().keys()
    assert passed.valid is None
    assert len(jax.tree.leaves(whole)) == 5


def test_every_field_is_either_for_devices_or_for_the_host():
    names = {field.name for field in schema.dataclasses.fields(Batch)}
    assert names == {*schema.DEVICE_FIELDS, *schema.HOST_FIELDS}
    assert not set(schema.DEVICE_FIELDS) & set(schema.HOST_FIELDS)


def test_images_are_mapped_and_numbers_are_not():
    image, mask = batch().composite, batch().mask
    halved = batch(unpaired=Pair(image, mask)).map_images(lambda x: x[:, :2])
    for name, value in halved.arrays().items():
        assert value.shape == ((2,) if name == "index" else (2, 2, 6, value.shape[3]))


def test_a_missing_field_is_named():
    assert present(3, "target") == 3
    with pytest.raises(ValueError, match="the batch has no target"):
        present(None, "target")


def test_it_loads_without_jax():
    program = "import sys, jaxharm.schema; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
