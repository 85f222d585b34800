"""Where requests wait for their turn: few at work, a bounded number waiting, the rest refused."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from jaxharm.studio.limits import BusyError, LateError, Limits

ResultT = TypeVar("ResultT")
_BUSY = "the server is busy: try again in a moment"
_SPARE = 4  # requests that are still being received
_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Desk:
    """Runs work in threads; calls come from the server's event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="work")
        self._lock = threading.Lock()
        self._inside = self._open = 0
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "jaxharm_seconds", "of a request, waiting included", ["what"],
            buckets=_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._refused = Counter(
            "jaxharm_refused", "requests not worked on", ["why"], registry=self.registry
        )
        waiting = Gauge("jaxharm_inside", "requests at work or waiting", registry=self.registry)
        waiting.set_function(lambda: float(self._inside))

    def metrics(self) -> bytes:
        """The figures in the text format of Prometheus."""
        return generate_latest(self.registry)

    def refused(self, why: str) -> None:
        """Counts a request that was not worked on."""
        self._refused.labels(why).inc()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A request that sends something, from its first byte on, as each is held in memory.

        Raises:
            BusyError: more are open than could be worked on or wait.
        """
        if self._open >= self._limits.workers + self._limits.waiting + _SPARE:
            raise BusyError(_BUSY)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def do(self, what: str, work: Callable[[], ResultT]) -> ResultT:
        """The result of `work`, in its turn.

        Raises:
            BusyError: too many wait already.
            LateError: it takes longer than a request may.
        """
        with self._lock:
            if self._inside >= self._limits.workers + self._limits.waiting:
                raise BusyError(_BUSY)
            self._inside += 1
        started = time.perf_counter()
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # Counted until it really ends: work that is late still takes a thread.
        future.add_done_callback(lambda done: self._left())
        try:
            result = await asyncio.wait_for(asyncio.shield(future), self._limits.seconds)
        except TimeoutError:
            future.cancel()
            raise LateError(
                f"it took longer than {self._limits.seconds:g} seconds; try a smaller picture"
            ) from None
        self._seconds.labels(what).observe(time.perf_counter() - started)
        return result

    def close(self) -> None:
        """Ends without waiting for what has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _left(self) -> None:
        with self._lock:
            self._inside -= 1
