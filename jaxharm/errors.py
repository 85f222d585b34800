"""The error a user can act on, and how a command answers it."""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Bad input or configuration: one sentence that says what, where and what to do."""


def run_command(command: Callable[[], int | None]) -> int:
    """Runs a command's body and returns its exit status.

    Args:
        command: the body; its return value (None means 0) is the exit status.

    Returns:
        The body's status, 2 after one line on stderr where the input was bad, or 130 after Ctrl-C.
        Every other exception passes through, so that a bug keeps its traceback (exit status 1).
    """
    try:
        return command() or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
