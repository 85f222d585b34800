"""The choice of an implementation."""

import pytest

from jaxharm.errors import InputError
from jaxharm.ops import dispatch


def reference():
    return "reference"


def kernel():
    return "kernel"


def test_default_is_reference():
    available = {"pallas_interpret": kernel, "reference": reference}
    assert dispatch.choose("op", None, available) is reference


def test_named_implementation_is_taken():
    available = {"reference": reference, "pallas_interpret": kernel}
    assert dispatch.choose("op", "pallas_interpret", available) is kernel


def test_known_but_absent_implementation_is_refused_with_what_it_is_and_what_there_is():
    with pytest.raises(InputError, match=r"my_op has no .*'pallas_tpu' .*TPU.*'reference'"):
        dispatch.choose("my_op", "pallas_tpu", {"reference": reference})


def test_unknown_implementation_is_refused():
    with pytest.raises(InputError, match=r"unknown implementation='cuda' for my_op.*'reference'"):
        dispatch.choose("my_op", "cuda", {"reference": reference})
