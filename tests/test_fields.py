"""Every field of every config refuses what it cannot be, in one sentence."""

import dataclasses
import typing
from typing import Annotated, Literal

import pytest
from support.config_classes import config_classes, example

from jaxharm.errors import InputError
from jaxharm.fields import NotEmpty, Range, check_fields, field_types


def wrong_values(hint):
    """Values that a field of this type must refuse; the last ones lie just out of its range."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        yield from wrong_values(options[0])
        for limit in options[1:]:
            yield from _outside(limit, options[0])
    elif origin is tuple:
        yield from (3, [1, 2])
        for value in wrong_values(options[0]):
            yield (value,) * (1 if options[-1] is Ellipsis else len(options))
    elif type(None) in options:
        some = [option for option in options if option is not type(None)]
        yield from wrong_values(some[0])
    elif origin is Literal:
        yield from ("nonsense", 2.5)
    elif hint is bool:
        yield from (2, "yes")
    elif hint in (int, float):
        yield from ("1", True, float("nan"))
    elif hint is str:
        yield 3
    else:
        yield 3


def _outside(limit, kind):
    step = 1 if kind is int else 1e-3
    if isinstance(limit, NotEmpty):
        yield ""
    elif isinstance(limit, Range):
        yield from (value - step for value in (limit.at_least,) if value is not None)
        yield from (value + step for value in (limit.at_most,) if value is not None)
        yield from (value for value in (limit.above, limit.below) if value is not None)


FIELDS = [(cls, name) for cls in config_classes() for name in field_types(cls)]


@pytest.mark.parametrize(
    ("cls", "name"), FIELDS, ids=[f"{cls.__name__}.{name}" for cls, name in FIELDS]
)
def test_every_field_refuses_wrong_values(cls, name):
    valid = example(cls)
    hint = field_types(cls)[name]
    for value in wrong_values(hint):
        with pytest.raises(InputError, match=name) as caught:
            dataclasses.replace(valid, **{name: value})
        assert "\n" not in str(caught.value)


@dataclasses.dataclass(frozen=True)
class Sample:
    size: Annotated[int, Range(at_least=1)] | None = 4
    pair: tuple[Annotated[float, Range(above=0, at_most=1)], float] = (0.5, 2)
    mode: Literal["a", "b"] = "a"

    def __post_init__(self):
        check_fields(self)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 0}, "Sample.size=0 is not an integer of at least 1 or none"),
        ({"size": 1.0}, "Sample.size=1.0 is not an integer of at least 1 or none"),
        ({"pair": (0, 1)}, r"pair=\(0, 1\) is not 2 values of which each is a number above 0 and"),
        ({"mode": "c"}, "mode='c' is not one of a, b"),
    ],
)
def test_sentences(change, says):
    with pytest.raises(InputError, match=says):
        Sample(**change)


def test_good_values_pass():
    Sample(size=None)
    Sample(pair=(1, -3))
