"""The error a user can act on, and how a command answers it."""

import os
import sys
from collections.abc import Callable

# Modules that harmonizing alone does not need -> the extra of the package that brings them.
EXTRAS = {
    **dict.fromkeys(("array_record", "choix", "fsspec", "grain", "jinja2", "matplotlib"), "train"),
    **dict.fromkeys(("optax", "orbax", "pycocotools", "scipy", "tensorboardX", "tyro"), "train"),
    "tensorflow_datasets": "train",
    **dict.fromkeys(("python_multipart", "starlette", "uvicorn"), "studio"),
    "av": "video",
    "flatbuffers": "stablehlo",
    **dict.fromkeys(("jax2onnx", "onnx"), "onnx"),
}


class InputError(ValueError):
    """Bad input or configuration: one sentence that says what, where and what to do."""


def run_command(command: Callable[[], int | None]) -> int:
    """Runs a command's body and returns its exit status.

    Args:
        command: the body; its return value (None means 0) is the exit status.

    Returns:
        The body's status, 2 after one line on stderr where the input was bad or a package of an extra
        is not installed, 130 after Ctrl-C, or 141, silently, where whoever read the output has gone (`jaxharm models | head`). Every other
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
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        print(f"error: {missing(package)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        if not _reader_has_gone():  # another pipe broke, such as that to a process of ours
            raise
        # What is still unwritten would raise it once more when Python ends.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 128 + 13  # as a shell tells of a program that SIGPIPE, signal 13, ended


def missing(package: str) -> str:
    """What to say where a package of `EXTRAS` is not installed."""
    extra = EXTRAS[package]
    return f"this needs {package}, which is not installed: pip install 'jaxharm[{extra}]'"


def _reader_has_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any longer."""
    import select  # only the end of a command needs it

    watched = select.poll()
    watched.register(sys.stdout.fileno(), 0)  # errors are told unasked
    return any(event & select.POLLERR for _, event in watched.poll(0))
