"""Stopping at a whole step when the machine is taken away, the terminal closes, or on Ctrl-C.

Also the end of a process whose others are gone.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import jax
from jax.experimental import multihost_utils

# SIGTERM comes from schedulers, SIGINT from Ctrl-C, SIGHUP where a terminal or connection is closed.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What the operations between processes say where one has ended; there is no class for it.
_LOST = ("closed by peer", "Socket closed", "Connection reset", "Connection refused", "UNAVAILABLE")


class Preemption:
    """Notices a request to stop, on any process; all processes agree on the step to stop at.

    Saving may take a while. A second Ctrl-C ends the process at once, as Python does.
    """

    def __enter__(self) -> "Preemption":
        self._asked = self._interrupted = False
        self._several = jax.process_count() > 1
        # Python takes signals in its main thread only.
        main = threading.current_thread() is threading.main_thread()
        # What is ignored stays so: nohup means that the terminal may close. With several processes
        # the distributed service catches SIGTERM and tells the others.
        left = [signal.SIGTERM] if self._several else []
        left += [s for s in _SIGNALS if signal.getsignal(s) == signal.SIG_IGN]
        own = [s for s in _SIGNALS if s not in left] if main else []
        # A handler that was set from outside of Python reads as None and cannot be put back.
        self._old = {s: signal.signal(s, self._ask) or signal.SIG_DFL for s in own}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    @property
    def asked(self) -> bool:
        """Whether a run of a single process was asked to stop."""
        return self._asked and not self._several

    def reached(self, step: int) -> bool:
        """Whether to stop after `step`."""
        if self._several:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._interrupted:
                signal.default_int_handler(number, frame)
            self._interrupted = True
            # Not print: it may be what the signal interrupted, and cannot be entered twice.
            sys.stderr.write(
                "stopping after this step; Ctrl-C again ends at once, without saving\n"
            )
        if self._several and not self._asked:
            signal.raise_signal(signal.SIGTERM)
        self._asked = True


@contextlib.contextmanager
def lost_process_explained() -> Iterator[None]:
    """Ends this process with status 1 and one sentence where an operation failed for want of another.

    Where no operation tells of it (chips wait for ever), the distributed service ends the process
    half a minute after the other one's last sign of life, in its own words.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).split("\n")[0]
        if jax.process_count() == 1 or not any(word in reason for word in _LOST):
            raise
        this = f"process {jax.process_index()} of {jax.process_count()} on {socket.gethostname()}"
        print(
            f"error: another process of the run is gone, so {this} ends too ({reason[:160]}); start "
            "all of them again with the same command to go on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # an ordinary end waits for the one that is gone
