"""Official tensors that were converted come back as they were."""

import numpy as np

from jaxharm import convert, registry


def assert_comes_back(name, state):
    """`state` through from_torch and to_torch; tensors that ours lacks stay the template's."""
    template = {key: np.full_like(value, 7) for key, value in state.items()}
    found = convert.to_torch(name, convert.from_torch(name, state), template)
    assert list(found) == list(state)
    dropped = registry.get(name).torch_names()(registry.model_config(name)).dropped
    for key, value in found.items():
        expected = template[key] if key in dropped else state[key]
        np.testing.assert_array_equal(value, expected, err_msg=key)
        assert value.dtype == state[key].dtype
