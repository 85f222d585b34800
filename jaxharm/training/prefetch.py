"""Batches read and placed on the devices by a thread, ahead of the step that needs them."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jaxharm.interfaces import DeviceBatch
from jaxharm.schema import HostBatch


@dataclass(frozen=True)
class Placed:
    """One batch on the devices, its host arrays, and the seconds its consumer waited for it."""

    arrays: DeviceBatch
    host: HostBatch
    waited: float


class Prefetcher:
    """Iterator over `Placed` batches; `close` stops the thread and closes the source.

    Args:
        source: iterator of host batches; an exception it raises is raised by `next`.
        place: host batch -> device arrays.
        depth: batches held ready.
    """

    def __init__(
        self,
        source: Iterator[HostBatch],
        place: Callable[[HostBatch], DeviceBatch],
        depth: int = 2,
    ):
        self._source, self._place = source, place
        self._ready: queue.Queue[Any] = queue.Queue(depth)
        self._peeked: Placed | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> "Prefetcher":
        return self

    def __next__(self) -> Placed:
        if self._peeked is not None:
            placed, self._peeked = self._peeked, None
            return placed
        start = time.perf_counter()
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        arrays, host = item
        return Placed(arrays, host, time.perf_counter() - start)

    def peek(self) -> Placed:
        """The batch that the next `next` gives."""
        if self._peeked is None:
            self._peeked = next(self)
        return self._peeked

    def close(self) -> None:
        """Ends the thread, then closes the source where it has a `close`."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._ready.get(timeout=0.05)
            except queue.Empty:
                continue
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def _fill(self) -> None:
        try:
            for host in self._source:
                if self._stop.is_set():
                    return
                self._ready.put((self._place(host), host))
            self._ready.put(RuntimeError("the training data ended before the run did"))
        except BaseException as error:
            self._ready.put(error)
