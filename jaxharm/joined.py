"""Data sets that one option joins by '+', and the splits that go with them."""

from jaxharm.errors import InputError


def paired(names: str, splits: str) -> tuple[tuple[str, str], ...]:
    """Data sets joined by '+', each with its split: splits stand in the same order, or one for all.

    Of a single data set, splits joined by '+' are read as one.
    """
    sets, parts = ([part.strip() for part in text.split("+")] for text in (names, splits))
    if len(sets) == 1:
        return ((sets[0], "+".join(parts)),)
    return tuple(zip(sets, parts * len(sets) if len(parts) == 1 else parts, strict=True))


def check_splits(cls: str, names: tuple[str, str], splits: tuple[str, str]) -> None:
    """InputError where a field of splits has neither one nor as many as its data sets."""
    sets, parts = names[1].split("+"), splits[1].split("+")
    if len(sets) > 1 and len(parts) not in (1, len(sets)):
        example = "+".join([sets[0], *sets])
        raise InputError(
            f"{cls}.{splits[0]}={splits[1]!r} needs one split for all of the {len(sets)} data sets "
            f"of {names[0]}={names[1]!r}, or one for each in their order; a data set of which two "
            f"are wanted is named twice: {names[0]}={example}"
        )
