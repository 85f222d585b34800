"""One form of a computation for CPUs, another one for chips, chosen where the program is compiled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jax import lax

_portable = False


def by_platform(*arrays: Any, **forms: Callable[..., Any]) -> Any:
    """`jax.lax.platform_dependent`: a form for each platform, and `default` for all others."""
    if _portable:
        return forms["default"](*arrays)
    return lax.platform_dependent(*arrays, **forms)


@contextmanager
def one_form_only() -> Iterator[None]:
    """Makes what is traced inside take `default` everywhere, in the whole process.

    For formats whose programs cannot ask which platform they run on.
    """
    global _portable
    before, _portable = _portable, True
    try:
        yield
    finally:
        _portable = before
