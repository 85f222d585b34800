"""TensorBoard event files, written at once.

tensorboardX's SummaryWriter writes from a thread and waits for that thread for ever once it died
of a full disk; its event file, used directly, raises the error where it happens.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import image, scalar


class EventFile:
    """One session's event file. Steps after `start` of an earlier session are hidden."""

    def __init__(self, folder: Path, start: int):
        folder.mkdir(parents=True, exist_ok=True)
        # The suffix keeps apart two sessions that begin within one second.
        self._file = EventsWriter(str(folder / "events"), f".{start}.{os.getpid()}")
        started = SessionLog(status=SessionLog.START)
        self._write(Event(step=start + 1, session_log=started))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds name -> value at `step`."""
        for name, value in values.items():
            self._write(Event(step=step, summary=scalar(name, value)))
        self._file.flush()

    def image(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Adds a u8[h,w,3] image at `step`."""
        self._write(Event(step=step, summary=image(name, pixels, dataformats="HWC")))
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._file.write_event(event)
