"""Which values of a parameter belong to the quick tests."""

import pytest


def first_is_quick(values):
    """The values, all but the first marked slow: they repeat for more cases what it has shown."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.slow) for value in others)]
