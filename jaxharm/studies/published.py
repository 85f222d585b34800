"""Figures of papers, as a study shows them: beside its own, never among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxharm.errors import InputError
from jaxharm.evaluation.columns import REFERENCE
from jaxharm.measures import Column
from jaxharm.overrides import suggest


@dataclass(frozen=True)
class Published:
    """Figures that others printed; a report shows them beside a study's own, never among them.

    Attributes:
        source: where they were read.
        data, protocol: what they were measured on, and how.
        rows: method -> metric, one of `jaxharm.evaluation.columns.REFERENCE`, -> value.

    Raises:
        InputError: another metric.
    """

    source: str
    data: str
    protocol: str
    rows: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        given = {name for row in self.rows.values() for name in row}
        if unknown := sorted(given - set(REFERENCE.columns)):
            raise InputError(
                f"published figures of {self.source!r}: no metric is called {unknown[0]!r}"
                f"{suggest(unknown[0], REFERENCE.columns)}"
            )

    @property
    def columns(self) -> dict[str, Column]:
        """Those in which at least one method has a value."""
        given = {name for row in self.rows.values() for name in row}
        return {name: column for name, column in REFERENCE.columns.items() if name in given}


def published_table(published: Sequence[Published]) -> str:
    """Writes figures of papers as Markdown; empty where there are none."""
    lines = []
    for of in published:
        columns = of.columns
        lines += [
            "",
            f"Published, {of.source}: measured on {of.data}, protocol {of.protocol}. They compare with the "
            "rows above only where data and protocol are the same:",
            "",
            f"| method | {' | '.join(column.title for column in columns.values())} |",
            "|---|" + "---:|" * len(columns),
        ]
        for method, row in of.rows.items():
            cells = [
                f"{row[name]:.{column.decimals}f}" if name in row else "-"
                for name, column in columns.items()
            ]
            lines.append(f"| {method} | {' | '.join(cells)} |")
    return "".join(line + "\n" for line in lines)
