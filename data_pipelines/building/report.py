"""Collects everything that is wrong with a tree, so that the user is told once."""

import logging
from typing import Literal

from data_pipelines.building.findings import KINDS, MAX_EXAMPLES, DatasetValidationError, Finding

OnError = Literal["raise", "skip"]
logger = logging.getLogger("data_pipelines")


class Report:
    """Findings by kind: errors that stop a build, and warnings that do not.

    With `on_error="skip"` the findings of the skippable kinds only leave their item out; they are
    counted in `skipped`. All other kinds stop the build whatever `on_error` says.
    """

    def __init__(self, where: str, *, on_error: OnError = "raise") -> None:
        if on_error not in ("raise", "skip"):
            raise DatasetValidationError(f"on_error is {on_error!r}; choose 'raise' or 'skip'")
        self.where = where
        self._skip = on_error == "skip"
        self._errors: dict[str, tuple[int, list[str]]] = {}
        self._warnings: dict[str, tuple[int, list[str]]] = {}

    def error(self, kind: str, example: str) -> None:
        """Notes one item that cannot be used."""
        self._note(self._errors, kind, example)

    def warn(self, kind: str, example: str) -> None:
        """Notes something the user should know and that stops nothing."""
        self._note(self._warnings, kind, example)

    @staticmethod
    def _note(found: dict[str, tuple[int, list[str]]], kind: str, example: str) -> None:
        if kind not in KINDS:
            raise KeyError(kind)
        count, examples = found.get(kind, (0, []))
        if count < MAX_EXAMPLES:
            examples.append(example)
        found[kind] = (count + 1, examples)

    @property
    def skipped(self) -> dict[str, int]:
        """How many findings per kind left their item out."""
        return {
            kind: count
            for kind, (count, _) in self._errors.items()
            if self._skip and KINDS[kind].skippable
        }

    @property
    def warnings(self) -> dict[str, int]:
        """How many warnings per kind."""
        return {kind: count for kind, (count, _) in self._warnings.items()}

    def raise_errors(self) -> None:
        """Raises DatasetValidationError with everything that stops the build, if anything does."""
        skipped = self.skipped
        stopping = [
            Finding(kind, count, tuple(examples))
            for kind, (count, examples) in self._errors.items()
            if kind not in skipped
        ]
        if stopping:
            raise DatasetValidationError.from_findings(stopping, where=self.where)

    def log(self) -> None:
        """Logs the warnings, and what was left out, one line per kind."""
        for kind, (count, examples) in self._warnings.items():
            logger.warning("%s", Finding(kind, count, tuple(examples)))
        for kind in self.skipped:
            count, examples = self._errors[kind]
            logger.warning("left out: %s", Finding(kind, count, tuple(examples)))
