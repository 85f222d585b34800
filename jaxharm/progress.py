"""The one way to show how far long work is: a line on the terminal, nothing where stderr is none.

The time that is left is told from the second item on, so that compilation, which the first one waits
for, is not taken for the speed of the rest.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

ItemT = TypeVar("ItemT")


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """Shows `what` and how much of it is done; yields what to call after each item.

    Args:
        what: such as "verifying demo".
        total: number of items; None where it is not known, or where there is one long one.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
    if total is not None:
        columns += [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    columns.append(TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task, done = shown.add_task(what, total=total), 0

        def advance() -> None:
            nonlocal done
            done += 1
            if done == 1:
                shown.reset(task, total=total, completed=1)
            else:
                shown.advance(task)

        yield advance


def tracked(items: Iterable[ItemT], what: str, total: int | None = None) -> Iterator[ItemT]:
    """The items, one after the other, while `progress` shows how many were taken."""
    with progress(what, total) as advance:
        for item in items:
            yield item
            advance()
