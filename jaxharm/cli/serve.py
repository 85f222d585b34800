"""Serve harmonization over HTTP.

docs/guides/service.md describes the requests. Example:
  jaxharm serve --checkpoint portraits=runs/portraits --warm 1080x1920
  curl -F composite=@composite.png -F mask=@mask.png http://localhost:8765/v1/harmonize -o out.png

It listens on this machine only, unless --host names another address: then put a server with
encryption and passwords before it, for it has neither.
"""

import argparse
import logging
import sys
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from jaxharm.cli.command import warnings_in_one_line
from jaxharm.errors import InputError

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from jaxharm.studio.limits import Limits
    from jaxharm.studio.models import Models

PORT = 8765
_LOCAL = "127.0.0.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add_server(parser)
    parser.add_argument(
        "--warm",
        action="append",
        default=[],
        metavar="HxW",
        help="compile for pictures of this size before the first request; may be repeated",
    )


def add_server(parser: argparse.ArgumentParser) -> None:
    """Declares what both servers take."""
    add = parser.add_argument
    add(
        "--checkpoint",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="weights, or a run, to offer beside those that ship; may be repeated",
    )
    add("--size", type=int, help="side in pixels that the networks predict at")
    add("--host", default=_LOCAL, help=f"address to listen on; default {_LOCAL}, this machine only")
    add("--port", type=int, default=PORT, help=f"0: any that is free; default {PORT}")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-mb", type=float, default=256, help="MiB of a request; default 256")
    limits.add_argument("--max-megapixels", type=float, default=64, help="of a picture; default 64")
    limits.add_argument("--memory", type=float, default=4096, help="MiB of pictures that are kept")
    limits.add_argument("--workers", type=int, default=2, help="requests at work; default 2")
    limits.add_argument("--queue", type=int, default=16, help="requests that wait; default 16")
    limits.add_argument("--timeout", type=float, default=120, help="seconds of a request")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the server until it is stopped; returns the exit status."""
    from jaxharm.studio.app import make_app

    models = models_of(arguments)
    for size in arguments.warm:
        height, width = _size(size)
        for name in models.folders:
            print(f"compiling {name} for {height}x{width}", file=sys.stderr)
            models.get(name).warm_up(height, width)
    app = make_app(models, limits_of(arguments), hosts=hosts_of(arguments))
    return listen(app, arguments)


def models_of(arguments: argparse.Namespace) -> "Models":
    """The weights that ship, then those of --checkpoint."""
    from jaxharm.registry import SHIPPED
    from jaxharm.studio.models import Models

    folders = {SHIPPED: SHIPPED}
    for text in arguments.checkpoint:
        name, sign, folder = text.partition("=")
        if not sign:
            name, folder = Path(text).resolve().name, text
        if name in folders:
            raise InputError(
                f"two models are called {name}: give one a name, --checkpoint NAME=DIR"
            )
        folders[name] = folder
    return Models(folders, arguments.size)


def limits_of(arguments: argparse.Namespace) -> "Limits":
    """The limits that were asked for."""
    from jaxharm.studio.limits import MIB, Limits

    return Limits(
        upload=int(arguments.max_mb * MIB),
        megapixels=arguments.max_megapixels,
        memory=int(arguments.memory * MIB),
        workers=arguments.workers,
        waiting=arguments.queue,
        seconds=arguments.timeout,
    )


def hosts_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Names by which the server may be addressed."""
    from jaxharm.studio.app import LOCAL

    return LOCAL if arguments.host in (_LOCAL, "localhost", "::1") else ("*",)


def listen(app: "Starlette", arguments: argparse.Namespace, *, browser: bool = False) -> int:
    """Serves until Ctrl-C; prints the address, and shows it in a browser where asked."""
    import socket

    import uvicorn

    from jaxharm.studio import notes

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((arguments.host, arguments.port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"cannot listen on {arguments.host} port {arguments.port}: {reason}; choose another "
                "--port"
            ) from None
        port = listener.getsockname()[1]
        shown = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
        print(f"http://{shown}:{port}/  (Ctrl-C ends)", flush=True)
        if browser:
            opening = threading.Timer(1.0, webbrowser.open, [f"http://localhost:{port}/"])
            opening.daemon = True
            opening.start()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        with warnings_in_one_line(notes.show):
            server.run(sockets=[listener])
    return 0


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise InputError(f"--warm {text} is not a height and a width, such as 1080x1920")
    return int(height), int(width)
