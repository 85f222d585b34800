"""What is wrong with a user's data: the kinds, their remedies, and the one exception they make."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxharm.errors import InputError

MAX_EXAMPLES = 20  # shown per kind; the rest is counted


@dataclass(frozen=True)
class Kind:
    """A kind of finding: what it means, what the user does, whether the item may be left out."""

    meaning: str
    remedy: str
    skippable: bool = False


KINDS = {
    "missing_root": Kind(
        "a folder that the data set needs is not there",
        "unpack the archives so that the tree looks as expected and give its parent or itself as "
        "--manual-dir",
    ),
    "missing_list": Kind(
        "no list of file names for a split, or no single one",
        "put <name>_<split>.txt with one file name per line beside the image folders; for "
        "iHarmony4 the lists of the sub-datasets do, since several mirrors lack IHD_*.txt",
    ),
    "list_disagreement": Kind(
        "two lists of the same split name different composites",
        "delete the list that does not belong to your copy of the images",
    ),
    "bad_list_line": Kind(
        "a line of a list is not a file name of the expected form",
        "correct or delete the line",
    ),
    "path_traversal": Kind(
        "a line or a link leads out of the data set's folder",
        "delete the line or replace the link by the file; such items are never skipped",
    ),
    "duplicate_entry": Kind(
        "the same name stands twice in one list",
        "delete the second line, or keep the first with --on-error skip",
        skippable=True,
    ),
    "split_overlap": Kind("the same item is in two splits", "delete it from one of the two lists"),
    "missing_composite": Kind(
        "a listed composite is not on disk",
        "unpack the archive again, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "missing_mask": Kind(
        "the mask of a listed item is not on disk",
        "unpack the archive again, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "missing_real": Kind(
        "the real photograph of a listed item is not on disk",
        "unpack the archive again, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "missing_painting": Kind(
        "a listed painting is not on disk",
        "unpack the archive again, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "bad_annotations": Kind(
        "an annotation file, or an annotation in it, is not COCO's instances",
        "fetch the file again: it holds the lists images and annotations, with polygons or "
        "run-length codes",
    ),
    "no_instances": Kind(
        "there is no object of the size that is pasted",
        "give the annotations of instances that go with the photographs",
    ),
    "missing_background": Kind(
        "the background plate of an item is not on disk",
        "put it there (all items of a data set have one or none has), or leave such items out "
        "with --on-error skip",
        skippable=True,
    ),
    "bad_file_name": Kind(
        "a file is not named as the layout says",
        "rename the file, or leave it out with --on-error skip",
        skippable=True,
    ),
    "orphan_file": Kind("a file on disk is in no list", "none is needed"),
    "unreadable_image": Kind(
        "a file is not a whole image of the type its ending says",
        "fetch the file again, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "bad_channels": Kind(
        "an image is not 8-bit RGB or gray",
        "convert it to 8-bit RGB, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "size_mismatch": Kind(
        "the images of an item differ in size (EXIF orientation applied)",
        "fetch the files again, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "empty_mask": Kind(
        "no pixel of the mask is foreground (128 or more)",
        "correct the mask, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "full_mask": Kind(
        "every pixel of the mask is foreground (128 or more)",
        "correct the mask, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "nonbinary_mask": Kind(
        "a mask is far from binary",
        "threshold the mask, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "inverted_mask": Kind(
        "the composite differs from the photograph outside the mask, not inside",
        "invert the mask if white is not the foreground",
    ),
    "too_large": Kind(
        "an image has more pixels than the limit", "raise --max-megapixels if this is meant"
    ),
    "missing_chart": Kind(
        "a listed image has no color chart reading",
        "add charts/<image>.json (the place of the chart) or charts/<image>.csv (its 24 colors), "
        "or leave such images out with --on-error skip",
        skippable=True,
    ),
    "bad_chart": Kind(
        "a color chart cannot be read: a patch is missing or the colors are not a chart's",
        "correct the chart's corners (dark skin first, then clockwise) or its 24 colors, or leave "
        "such images out with --on-error skip",
        skippable=True,
    ),
    "saturated_chart": Kind(
        "a patch of a color chart is saturated, so its color is not known",
        "use a darker exposure, or leave such images out with --on-error skip",
        skippable=True,
    ),
    "chart_in_view": Kind(
        "the color chart can be seen in the part of the photograph that is used",
        "give a crop without the chart",
    ),
    "few_targets": Kind(
        "a foreground clips under the light of too many other images",
        "add photographs or raise --max-clip, or leave such foregrounds out with --on-error skip",
        skippable=True,
    ),
    "count_mismatch": Kind(
        "a list is not as long as the published one", "check that the download is complete"
    ),
}


@dataclass(frozen=True)
class Finding:
    """All findings of one kind."""

    kind: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        rest = self.count - len(self.examples)
        shown = "; ".join(self.examples) + (f"; and {rest} more" if rest else "")
        return f"{self.kind} ({self.count}): {KINDS[self.kind].meaning}: {shown}"


class DatasetValidationError(InputError):
    """Data that cannot be used as it is: one message with what, where and what to do.

    Attributes:
        findings: one entry per kind, in order of appearance; empty for a plain message.
    """

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of finding behind this error."""
        return tuple(finding.kind for finding in self.findings)

    @classmethod
    def from_findings(cls, findings: Sequence[Finding], *, where: str) -> "DatasetValidationError":
        """The error for what was found in the tree `where`."""
        total = sum(finding.count for finding in findings)
        lines = [f"{where} cannot be used: {total} problem{'s' if total > 1 else ''} found"]
        lines += [f"  {finding}\n    -> {KINDS[finding.kind].remedy}" for finding in findings]
        return cls("\n".join(lines), findings)


class MissingDatasetError(DatasetValidationError):
    """A data set that was asked for by name has not been built."""
