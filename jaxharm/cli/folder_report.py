"""Folder mode, after the work: every file of the folder is made, kept, skipped or failed."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jaxharm.cli.pairing import Listing
from jaxharm.images import write_whole

REPORT = "report.csv"
_SHOWN = 50


@dataclass
class FolderReport:
    """What became of every file of a folder.

    Attributes:
        folder: of the pictures.
        out_dir: of the results.
        listing: all files.
        made: composites with a new result, and why it was made again ("" where it was not).
        kept: composites whose result was there.
        failures: composites without a result, and why.
        notes: what was warned of while a composite was worked on.
        stopped: why the work ended before the last composite.
    """

    folder: Path
    out_dir: Path
    listing: Listing
    made: dict[Path, str] = field(default_factory=dict)
    kept: list[Path] = field(default_factory=list)
    failures: dict[Path, str] = field(default_factory=dict)
    notes: Mapping[Path, list[str]] = field(default_factory=dict)
    stopped: str = "the run was stopped"

    def write(self) -> None:
        """Writes report.csv: file, status, result, reason; InputError where it cannot."""
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(("file", "status", "result", "reason"))
        rows.writerows(self._rows())
        data = text.getvalue().encode("utf-8", "backslashreplace")
        write_whole(self.out_dir / REPORT, data)

    def show(self) -> int:
        """Prints the summary; returns the exit status."""
        counts = Counter(row[1] for row in self._rows())
        roles = f"{len(self.listing.helpers)} masks, backgrounds and photographs of composites"
        print(
            f"{counts['made']} made, {counts['kept']} kept, {counts['failed']} failed, "
            f"{counts['skipped']} skipped ({roles}); every file: {self.out_dir / REPORT}"
        )
        failed = self._failed()
        missed = [p for p in self.listing.pairs if not self._reached(p.composite, failed)]
        self._show("failed", failed)
        if missed:
            print(f"failed: {len(missed)} not reached: {self.stopped}", file=sys.stderr)
        self._show("skipped", self.listing.skipped)
        again = {path: reason for path, reason in self.made.items() if reason}
        self._show("made", again)
        self._show("note", {p.composite: p.note for p in self.listing.pairs if p.note})
        return 2 if counts["failed"] else 0

    def _failed(self) -> dict[Path, str]:
        return {**self.listing.failures, **self.failures}

    def _reached(self, path: Path, failed: Mapping[Path, str]) -> bool:
        return path in failed or path in self.made or path in self.kept

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        failed, kept = self._failed(), set(self.kept)
        for pair in self.listing.pairs:
            path = pair.composite
            if path in failed:
                yield self._name(path), "failed", "", failed.pop(path)
            elif path in kept:
                yield self._name(path), "kept", pair.output.name, pair.note
            elif path in self.made:
                reasons = (self.made[path], pair.note, *self.notes.get(path, ()))
                text = "; ".join(filter(None, reasons))
                yield self._name(path), "made", pair.output.name, text
            else:
                yield self._name(path), "failed", "", f"not reached: {self.stopped}"
        for path, reason in failed.items():
            yield self._name(path), "failed", "", reason
        for path, reason in {**self.listing.helpers, **self.listing.skipped}.items():
            yield self._name(path), "skipped", "", reason

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix() + ("/" if path.is_dir() else "")

    def _show(self, what: str, reasons: Mapping[Path, str]) -> None:
        for path in list(reasons)[:_SHOWN]:
            print(f"{what}: {path.name}: {reasons[path]}", file=sys.stderr)
        if len(reasons) > _SHOWN:
            print(f"{what}: {len(reasons) - _SHOWN} more, see {REPORT}", file=sys.stderr)
