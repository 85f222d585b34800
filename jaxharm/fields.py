"""Ranges of config fields, written in their types, and the check that values lie in them.

    lr: NonNegative = 1e-3
    crop_scale: tuple[Share, Share] | None = None

A frozen dataclass calls `check_fields(self)` in `__post_init__`. The same types parse `--set` and
stand in the list of fields that `--help` prints.
"""

import dataclasses
import functools
import math
import numbers
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from jaxharm.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Range:
    """Bounds of a number. `above` and `below` exclude the bound, the others include it."""

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"from {self.at_least:g} to {self.at_most:g}"
        named = (
            ("of at least", self.at_least),
            ("above", self.above),
            ("of at most", self.at_most),
            ("below", self.below),
        )
        return " and ".join(f"{words} {bound:g}" for words, bound in named if bound is not None)


@dataclass(frozen=True)
class NotEmpty:
    """A text or a tuple that must have something in it."""

    def __str__(self) -> str:
        return "that is not empty"


Count: TypeAlias = Annotated[int, Range(at_least=1)]
Natural: TypeAlias = Annotated[int, Range(at_least=0)]
Positive: TypeAlias = Annotated[float, Range(above=0)]
NonNegative: TypeAlias = Annotated[float, Range(at_least=0)]
Probability: TypeAlias = Annotated[float, Range(at_least=0, at_most=1)]  # 0 and 1 included
Share: TypeAlias = Annotated[float, Range(above=0, at_most=1)]  # of a whole, never nothing
Inside: TypeAlias = Annotated[float, Range(above=0, below=1)]  # a point inside of a whole
Decay: TypeAlias = Annotated[float, Range(at_least=0, below=1)]  # of a moving average
Name: TypeAlias = Annotated[str, NotEmpty()]


def check_fields(instance: "DataclassInstance") -> None:
    """Compares every field of a dataclass with its type.

    Raises:
        InputError: naming the first field whose value has another type or lies out of its range.
    """
    for name, hint in field_types(type(instance)).items():
        value = getattr(instance, name)
        if not _fits(value, hint):
            raise InputError(
                f"{type(instance).__name__}.{name}={value!r} is not {type_words(hint)}"
            )


def check_rising(instance: "DataclassInstance", *names: str) -> None:
    """InputError where one of the named pairs (low, high) is the wrong way round."""
    for name in names:
        pair = getattr(instance, name)
        if pair is not None and pair[0] > pair[1]:
            raise InputError(
                f"{type(instance).__name__}.{name}={pair!r} is empty: the first number must not "
                "exceed the second"
            )


@functools.cache
def field_types(cls: "type[DataclassInstance]") -> dict[str, object]:
    """Name -> type of the fields of a dataclass, ranges included."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def type_words(hint: object) -> str:
    """A field's type in words, as they stand in "... is not an integer of at least 1"."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return " ".join([type_words(options[0]), *map(str, options[1:])])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_words(option) for option in options)
    if origin is Literal:
        return f"one of {', '.join(map(str, options))}"
    if origin is tuple and len(options) == 2 and options[1] is Ellipsis:
        return f"a list of which each is {type_words(options[0])}"
    if origin is tuple:
        return f"{len(options)} values of which each is {type_words(options[0])}"
    named = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}
    if isinstance(hint, type):
        return named.get(hint, "none" if hint is types.NoneType else f"a {hint.__name__}")
    return str(hint)


def _fits(value: object, hint: object) -> bool:
    """Whether a value is of a type; types that cannot be checked, such as protocols, pass."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _fits(value, options[0]) and all(_in(value, limit) for limit in options[1:])
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in options)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in options)
    if origin is tuple:
        return isinstance(value, tuple) and _fits_each(value, options)
    if hint is float:  # an integer is a number as well; a bool is neither, though Python says so
        return (
            isinstance(value, numbers.Real)
            and not isinstance(value, bool)
            and math.isfinite(float(value))
        )
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if origin is not None:
        return not isinstance(origin, type) or isinstance(value, origin)
    if isinstance(hint, type) and hint is not typing.Any:
        return getattr(hint, "_is_protocol", False) or isinstance(value, hint)
    return True


def _fits_each(values: tuple[object, ...], options: tuple[object, ...]) -> bool:
    if len(options) == 2 and options[1] is Ellipsis:
        return all(_fits(value, options[0]) for value in values)
    return len(values) == len(options) and all(map(_fits, values, options))


def _in(value: object, limit: object) -> bool:
    if isinstance(limit, Range):
        return isinstance(value, numbers.Real) and float(value) in limit
    return not isinstance(limit, NotEmpty) or bool(value)
