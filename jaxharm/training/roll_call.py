"""Waiting for all processes of a run before they join: one that is missing is named.

The distributed service would abort the others when its time is up, and not say which one it is.
"""

import contextlib
import socket
import time

from jaxharm.errors import InputError

_LINE = 512  # bytes of the longest message


def call_roll(coordinator: str, count: int, rank: int, limit: float) -> None:
    """Returns when all processes are there. Process 0 listens at the address, the others call it.

    Args:
        coordinator: host:port of process 0; free again when this returns.
        count: how many processes there are.
        rank: which one this is.
        limit: seconds to wait.

    Raises:
        InputError: no such address, or not all came in time; process 0 names them to all that did.
    """
    if count == 1:
        return
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"coordinator {coordinator!r} is not HOST:PORT, such as host0:1234")
    end = time.monotonic() + limit
    if rank == 0:
        _listen(int(port), count, end, limit)
    else:
        _report(host.strip("[]"), int(port), rank, end, limit)


def _listen(port: int, count: int, end: float, limit: float) -> None:
    there: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(socket.create_server(("", port), backlog=count))
        except OSError as error:
            raise InputError(
                f"process 0 cannot listen at port {port} ({error.strerror}): choose another one"
            ) from None
        while len(there) < count - 1 and (left := end - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                caller = stack.enter_context(server.accept()[0])
                caller.settimeout(max(min(5.0, left), 0.1))
                rank = int(caller.recv(_LINE))
            except (OSError, ValueError):
                continue  # not one of ours, or nobody came
            there[rank] = caller
        missing = ", ".join(str(rank) for rank in range(1, count) if rank not in there)
        told = f"of {count} processes, these did not come within {limit:g} s: {missing}"
        told = told if missing else ""
        for caller in there.values():
            with contextlib.suppress(OSError):
                caller.sendall((told or "go").encode())
    if told:
        raise InputError(f"{told}; start them, and see that they reach port {port} of this host")


def _report(host: str, port: int, rank: int, end: float, limit: float) -> None:
    answer = b""
    while not answer and (left := end - time.monotonic()) > 0:
        with contextlib.suppress(OSError), socket.create_connection((host, port), left) as server:
            server.sendall(str(rank).encode())
            # Process 0 answers when its own time is up, which may have begun later than ours.
            server.settimeout(left + limit)
            answer = server.recv(_LINE)
        if not answer:
            time.sleep(0.2)
    if not answer:
        raise InputError(
            f"process 0 does not answer at {host}:{port} within {limit:g} s: start it, and see that "
            "this host reaches that port"
        )
    if answer != b"go":
        raise InputError(f"{answer.decode(errors='replace')}; start all of them")
