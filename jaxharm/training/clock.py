"""Where the time of a run goes, over all of its sessions, and the end of a job that hangs."""

import contextlib
import faulthandler
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal, get_args

import jax

from jaxharm.config import Json

# What a session does: it starts (data, devices, checkpoint), compiles, trains, waits for data,
# evaluates, and saves as far as training waits for it.
Phase = Literal["start", "compile", "step", "input", "evaluate", "save"]
_HANGS = 70  # exit status: an internal fault, in the words of sysexits.h


class Clock:
    """Seconds that a session spent in each phase; one phase is always under way."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = dict.fromkeys(get_args(Phase), 0.0)
        self._phase: Phase = "start"
        self._since = time.monotonic()  # no clock that somebody may set

    def enter(self, phase: Phase) -> None:
        """From now on the session is in this phase."""
        now = time.monotonic()
        self._seconds[self._phase] += now - self._since
        self._phase, self._since = phase, now

    @contextlib.contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """In this phase for the block, and then in the one before."""
        before = self._phase
        self.enter(phase)
        try:
            yield
        finally:
            self.enter(before)

    def seconds(self) -> dict[str, float]:
        """Phase -> seconds until now, to the millisecond."""
        self.enter(self._phase)
        return {phase: round(value, 3) for phase, value in self._seconds.items()}


class Watchdog:
    """Ends the process when nothing has moved for too long: a pod that hangs costs and tells nothing.

    It prints which process on which host, what it was doing, and the stack of every thread.
    """

    def __init__(self, limit: float) -> None:
        """`limit`: seconds; 0: never."""
        self._limit, self._doing = limit, "starting"
        self._moved = time.monotonic()
        self._end = threading.Event()

    def __enter__(self) -> "Watchdog":
        self.moved("starting")
        if self._limit:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()

    def moved(self, doing: str) -> None:
        """Something was done, and this is done next."""
        self._doing, self._moved = doing, time.monotonic()

    def _watch(self) -> None:
        while not self._end.wait(min(self._limit / 10, 5)):
            idle = time.monotonic() - self._moved
            if idle > self._limit:
                self._report(idle)
                os._exit(_HANGS)  # an ordinary end would wait for what hangs

    def _report(self, idle: float) -> None:
        place = f"process {jax.process_index()} of {jax.process_count()} on {socket.gethostname()}"
        print(
            f"error: {place} has been {self._doing} for {idle:.0f} s, longer than "
            f"log.hang_limit={self._limit:g}: the job ends here; the stacks of its threads follow, "
            "and the same command goes on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        faulthandler.dump_traceback(all_threads=True)


@contextlib.contextmanager
def repeated(action: Callable[[], None], every: float) -> Iterator[None]:
    """Does something every so many seconds, in a thread of its own, while the block runs."""
    end = threading.Event()

    def go_on() -> None:
        while not end.wait(every):
            action()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def told_while(
    doing: str, say: Callable[[str], None], every: float = 30.0
) -> contextlib.AbstractContextManager[None]:
    """Says every half minute that something still goes on, and since when."""
    start = time.monotonic()
    return repeated(lambda: say(f"still {doing} ({time.monotonic() - start:.0f} s)"), every)


def goodput(starts: Sequence[Json]) -> Json:
    """How much of a run's time went into steps that count.

    Args:
        starts: the sessions as run.json lists them: "started", "step", and, once they have trained,
            "reached" and "seconds".

    Returns:
        "wall": seconds from the first start to the last record; "useful": in steps whose result the
        run has; "lost": in steps that were done again, since the session ended before it saved them;
        "between": not accounted for by any session, such as the time in a queue; the seconds of
        the other phases; and "share", useful / wall.
    """
    total: dict[str, float] = dict.fromkeys((*get_args(Phase), "lost", "between"), 0.0)
    end: datetime | None = None  # of the session before
    for number, session in enumerate(starts):
        seconds = session.get("seconds") or {}
        for phase, value in seconds.items():
            total[phase] += value
        first = int(session["step"])
        reached = int(session["reached"]) if "reached" in session else first
        done = reached - first
        kept = min((int(later["step"]) for later in starts[number + 1 :]), default=reached)
        again = max(0, reached - kept)
        if done > 0:
            total["lost"] += seconds.get("step", 0.0) * min(again / done, 1)
        start = datetime.strptime(session["started"], "%Y-%m-%dT%H:%M:%S%z")
        if end:  # a clock that was put back gives no time back
            total["between"] += max((start - end).total_seconds(), 0.0)
        end = start + timedelta(seconds=sum(seconds.values()))
    useful = total.pop("step") - total["lost"]
    wall = useful + sum(total.values())
    found = {"wall": wall, "useful": useful, **total, "share": useful / wall if wall else 0.0}
    return {name: round(value, 3) for name, value in found.items()}


def goodput_line(found: Json) -> str:
    """`goodput` as a sentence for the console."""
    names = {"compile": "compiling", "input": "waiting for data", "evaluate": "evaluating"}
    names |= {"save": "saving", "start": "starting", "lost": "done twice", "between": "not running"}
    rest = ", ".join(
        f"{found[key]:.1f} s {name}" for key, name in names.items() if found[key] >= 0.05
    )
    return (
        f"{found['share']:.0%} of {found['wall']:.1f} s went into steps"
        f"{f'; the rest: {rest}' if rest else ''}"
    )
