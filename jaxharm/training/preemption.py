"""Stopping at a whole step when the machine is taken away (SIGTERM)."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Notices SIGTERM, on any process; all processes agree on the step to stop at."""

    def __enter__(self) -> "Preemption":
        self._asked, self._old = False, None
        # With several processes the distributed service catches the signal instead.
        self._own = (
            jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        )
        if self._own:
            self._old = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._own:
            signal.signal(signal.SIGTERM, self._old)

    def reached(self, step: int) -> bool:
        """Whether to stop after `step`."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._asked = True
