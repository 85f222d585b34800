"""From our variables back to official tensors: the inverse of any rearrangement, or a clear error."""

import numpy as np
import pytest

from jaxharm import convert, registry
from jaxharm.errors import InputError
from jaxharm.interfaces import NameMap, Rule
from jaxharm.weights.name_map import conv, state_dict

KERNEL = np.arange(2 * 3 * 5 * 5, dtype=np.float32).reshape(2, 3, 5, 5)
NAMES = NameMap([Rule("a.weight", ("params", "a", "kernel"), conv)], ["a.count"])
OURS = {"params": {"a": {"kernel": conv(KERNEL)}}}


def test_a_rearrangement_is_undone_and_other_tensors_stay():
    template = {"a.weight": np.zeros(KERNEL.shape, np.float16), "a.count": np.array(3)}
    found = state_dict(NAMES, OURS, template)
    np.testing.assert_array_equal(found["a.weight"], KERNEL)
    assert found["a.weight"].dtype == np.float16
    assert found["a.count"] == 3
    assert not template["a.weight"].any()  # the template itself is left alone


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({}, r"a\.weight of the template has shape None"),
        ({"a.weight": np.zeros((2, 3, 4, 4))}, r"has shape \[2, 3, 4, 4\], which does not fit"),
    ],
)
def test_a_template_of_another_network_is_refused(template, message):
    with pytest.raises(InputError, match=message):
        state_dict(NAMES, OURS, template)


def test_a_model_without_official_layout_says_so(monkeypatch):
    name = registry.list_models()[0]
    entry = registry.get(name)._replace(torch_names=None)
    monkeypatch.setitem(registry._ENTRIES, name, entry)
    with pytest.raises(InputError, match=f"{name} has no official layout to convert to"):
        convert.to_torch(name, {}, {})
