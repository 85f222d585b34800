"""The error a user can act on, and how a command answers it."""

import os
import sys
from collections.abc import Callable


class InputError(ValueError):
    """Bad input or configuration: one sentence that says what, where and what to do."""


def run_command(command: Callable[[], int | None]) -> int:
    """Runs a command's body and returns its exit status.

    Args:
        command: the body; its return value (None means 0) is the exit status.

    Returns:
        The body's status, 2 after one line on stderr where the input was bad, 130 after Ctrl-C, or
        141, silently, where whoever read the output has gone (`jaxharm models | head`). Every other
        exception passes through, so that a bug keeps its traceback (exit status 1).
    """
    try:
        status = command() or 0
        sys.stdout.flush()  # here, so that a reader who has gone is noticed here
        return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        if not _reader_has_gone():  # another pipe broke, such as that to a process of ours
            raise
        # What is still unwritten would raise it once more when Python ends.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 128 + 13  # as a shell tells of a program that SIGPIPE, signal 13, ended


def _reader_has_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any longer."""
    import select  # only the end of a command needs it

    watched = select.poll()
    watched.register(sys.stdout.fileno(), 0)  # errors are told unasked
    return any(event & select.POLLERR for _, event in watched.poll(0))
