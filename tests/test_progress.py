"""Progress: a line on a terminal, nothing in a pipe, and no time of the first item in what is left."""

import io
import sys

import pytest

from jaxharm import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("total", [3, None])
def test_a_terminal_shows_what_is_done(total, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress.tracked("abc", "verifying demo", total)) == ["a", "b", "c"]
    assert "verifying demo" in terminal.getvalue()


def test_a_pipe_shows_nothing(monkeypatch):
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    assert list(progress.tracked("abc", "verifying demo", 3)) == ["a", "b", "c"]
    with progress.progress("compiling") as advance:
        advance()
    assert pipe.getvalue() == ""


def test_the_first_item_is_not_taken_for_the_speed_of_the_rest(monkeypatch):
    from rich.progress import Progress

    seen = []
    monkeypatch.setattr(sys, "stderr", Terminal())
    reset = Progress.reset
    monkeypatch.setattr(
        Progress, "reset", lambda self, task, **kw: (seen.append(kw), reset(self, task, **kw))[1]
    )
    with progress.progress("evaluating", 5) as advance:
        for _ in range(3):
            advance()
    assert seen == [{"total": 5, "completed": 1}]
