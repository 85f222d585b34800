"""Collects all faults of a tree, so that a single error message can list them."""

import contextlib
import errno
import logging
from collections.abc import Iterator
from typing import Literal

from data_pipelines.building.findings import KINDS, MAX_EXAMPLES, DatasetValidationError, Finding
from data_pipelines.building.images import ImageProblem

OnError = Literal["raise", "skip"]
logger = logging.getLogger("data_pipelines")
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no fault of an item


class Report:
    """Findings by kind: errors, which stop a build, and warnings, which do not.

    With `on_error="skip"` an error of a skippable kind only excludes its item, and is counted in
    `skipped`. Errors of all other kinds stop the build in any case.

    Attributes:
        where: what is checked, for messages.
        follow_links: whether links may lead out of the data set's folder.
    """

    def __init__(
        self, where: str, *, on_error: OnError = "raise", follow_links: bool = False
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise DatasetValidationError(f"on_error is {on_error!r}; choose 'raise' or 'skip'")
        self.where = where
        self.follow_links = follow_links
        self._skip = on_error == "skip"
        self._errors: dict[str, tuple[int, list[str]]] = {}
        self._warnings: dict[str, tuple[int, list[str]]] = {}

    def error(self, kind: str, example: str) -> None:
        """Records that one item cannot be used."""
        self._note(self._errors, kind, example)

    @contextlib.contextmanager
    def item(self, name: str) -> Iterator[None]:
        """Around the work on one item of many: whatever it raises is recorded as a fault of it."""
        try:
            yield
        except ImageProblem as problem:
            self.error(problem.kind, str(problem))
        except DatasetValidationError:
            raise
        # Decoders and parsers are foreign, and raise what nobody foresaw.
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                raise DatasetValidationError(f"cannot write: {error.strerror}") from error
            self.error("unforeseen", f"{name}: {reason_of(error)}")

    def warn(self, kind: str, example: str) -> None:
        """Records something that the user should know but that does not stop the build."""
        self._note(self._warnings, kind, example)

    @staticmethod
    def _note(found: dict[str, tuple[int, list[str]]], kind: str, example: str) -> None:
        if kind not in KINDS:  # a mistake in the code: every kind needs a remedy
            raise KeyError(kind)
        count, examples = found.get(kind, (0, []))
        if count < MAX_EXAMPLES:
            examples.append(example)
        found[kind] = (count + 1, examples)

    @property
    def skipped(self) -> dict[str, int]:
        """Number of excluded items by kind of fault."""
        return {
            kind: count
            for kind, (count, _) in self._errors.items()
            if self._skip and KINDS[kind].skippable
        }

    @property
    def warnings(self) -> dict[str, int]:
        """Number of warnings by kind."""
        return {kind: count for kind, (count, _) in self._warnings.items()}

    def raise_errors(self) -> None:
        """Raises a DatasetValidationError that lists every fault that stops the build, if any."""
        skipped = self.skipped
        stopping = [
            Finding(kind, count, tuple(examples))
            for kind, (count, examples) in self._errors.items()
            if kind not in skipped
        ]
        if stopping:
            raise DatasetValidationError.from_findings(stopping, where=self.where)

    def log(self) -> None:
        """Logs warnings and excluded items, one line per kind."""
        for kind, (count, examples) in self._warnings.items():
            logger.warning("%s", Finding(kind, count, tuple(examples)))
        for kind in self.skipped:
            count, examples = self._errors[kind]
            logger.warning("left out: %s", Finding(kind, count, tuple(examples)))


def reason_of(error: Exception) -> str:
    """Kind and text of an exception on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
