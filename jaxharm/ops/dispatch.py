"""Which implementation of an operation runs."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxharm.errors import InputError

# What each name stands for; an operation offers a subset.
IMPLEMENTATIONS = {
    "reference": "jax.numpy, on any platform",
    "pallas_tpu": "Pallas kernel for TPU",
    "pallas_gpu": "Pallas kernel for GPU",
    "pallas_interpret": "the Pallas kernel bodies, interpreted on any platform",
}


def choose(
    op: str, implementation: str | None, available: Mapping[str, Callable[..., Any]]
) -> Callable[..., Any]:
    """Returns the function that runs `op`.

    Args:
        op: name of the operation, for messages.
        implementation: a name of `IMPLEMENTATIONS`, or None for the default. The default of a
            platform is what measurements favour; where nothing is measured it is "reference".
        available: what the operation offers, by name; "reference" is always among it.

    Raises:
        InputError: unknown name, or a known one that `op` does not offer.
    """
    if implementation is None:
        return available["reference"]
    if implementation in available:
        return available[implementation]
    offered = ", ".join(repr(name) for name in available)
    if implementation in IMPLEMENTATIONS:
        raise InputError(
            f"{op} has no implementation={implementation!r} "
            f"({IMPLEMENTATIONS[implementation]}); choose None or one of {offered}"
        )
    raise InputError(
        f"unknown implementation={implementation!r} for {op}; choose None or one of {offered}"
    )
