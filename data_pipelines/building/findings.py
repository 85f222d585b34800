"""The kinds of faults in a user's files, what to do about each, and the error that lists them."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxharm.errors import InputError

MAX_EXAMPLES = 20  # shown per kind; the rest is counted


@dataclass(frozen=True)
class Kind:
    """A kind of fault: what it means, what to do about it, and whether its item may be skipped."""

    meaning: str
    remedy: str
    skippable: bool = False


KINDS = {
    "missing_root": Kind(
        "a folder that the data set needs is not there",
        "unpack the archives so that the tree looks as expected, and pass it or its parent folder as "
        "--manual-dir",
    ),
    "missing_list": Kind(
        "a split has no list of file names, or several that could be it",
        "put <name>_<split>.txt with one file name per line beside the image folders; for "
        "iHarmony4 the lists in the sub-dataset folders are enough (several mirrors lack IHD_*.txt)",
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
        "delete the line; replace the link by the file, or allow your own links with --follow-links; "
        "such items are never skipped",
    ),
    "duplicate_entry": Kind(
        "the same name occurs twice in one list",
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
    "bad_annotation_file": Kind(
        "an annotation file is not COCO's instances",
        "download the file again: it must hold the lists images and annotations",
    ),
    "bad_annotations": Kind(
        "an annotation is not one of COCO's instances",
        "correct it to polygons or a run-length code of an image of the file, or leave such objects "
        "out with --on-error skip",
        skippable=True,
    ),
    "no_instances": Kind(
        "no annotated object has a size that is used for composites",
        "pass the instance annotations that belong to the photographs",
    ),
    "missing_background": Kind(
        "the background plate of an item is not on disk",
        "add the file (either all items of a data set have a plate or none has), or leave such items "
        "out with --on-error skip",
        skippable=True,
    ),
    "bad_file_name": Kind(
        "the name of a file does not fit the layout",
        "rename the file, or leave it out with --on-error skip",
        skippable=True,
    ),
    "orphan_file": Kind(
        "a file on disk is in no list", "nothing needs to be done: such files are ignored"
    ),
    "unreadable_image": Kind(
        "a file is not a complete image of the type that its name ends with",
        "download the file again, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "bad_channels": Kind(
        "an image is not 8-bit RGB or gray",
        "convert it to 8-bit RGB, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "size_mismatch": Kind(
        "the images of an item differ in size (EXIF orientation applied)",
        "download the files again, or leave such items out with --on-error skip",
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
    "unusual_mask": Kind(
        "a mask was understood otherwise than it is written",
        "nothing needs to be done if that is meant; else save masks in one channel, 0 and 255",
    ),
    "turned_photo": Kind(
        "a photograph has an EXIF orientation and its mask has none: the mask is taken as it lies",
        "look at one of them: the mask must fit the photograph as a viewer shows it",
    ),
    "color_profile": Kind(
        "images have color profiles other than sRGB, but records hold numbers without a profile",
        "convert the images to sRGB",
    ),
    "transparent_image": Kind(
        "an image has transparent pixels, whose hidden colors are stored as if they were seen",
        "flatten it onto its background",
    ),
    "too_large": Kind(
        "an image has more pixels than the limit",
        "pass a larger --max-megapixels if this is intended",
    ),
    "missing_chart": Kind(
        "a listed image has neither a color chart's position nor its colors",
        "add charts/<image>.json (the position of the chart) or charts/<image>.csv (its 24 colors), "
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
        "a patch of a color chart is saturated, so its true color is unknown",
        "use a darker exposure, or leave such images out with --on-error skip",
        skippable=True,
    ),
    "chart_in_view": Kind(
        "the color chart can be seen in the part of the photograph that is used",
        "choose a crop without the chart",
    ),
    "few_targets": Kind(
        "too few other images have a light under which a foreground does not clip",
        "add photographs or raise --max-clip, or leave such foregrounds out with --on-error skip",
        skippable=True,
    ),
    "bad_foreground": Kind(
        "no recoloring changes a foreground enough, and not too much",
        "remove its mask, or leave such photographs out with --on-error skip",
        skippable=True,
    ),
    "unreadable_record": Kind(
        "a record of a built data set cannot be read", "build the data set again"
    ),
    "unforeseen": Kind(
        "an item brought an error that was not foreseen",
        "save its files anew with another program, or leave such items out with --on-error skip",
        skippable=True,
    ),
    "count_mismatch": Kind(
        "the number of items differs from the published one", "check that the download is complete"
    ),
}


@dataclass(frozen=True)
class Finding:
    """Everything that was found of one kind: how often, with some examples."""

    kind: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        rest = self.count - len(self.examples)
        shown = "; ".join(self.examples) + (f"; and {rest} more" if rest else "")
        return f"{self.kind} ({self.count}): {KINDS[self.kind].meaning}: {shown}"


class DatasetValidationError(InputError):
    """Data or options that cannot be used: one message that says what, where and what to do.

    Attributes:
        findings: one entry per kind, in order of appearance; empty for a plain message.
    """

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of fault that this error lists."""
        return tuple(finding.kind for finding in self.findings)

    @classmethod
    def from_findings(cls, findings: Sequence[Finding], *, where: str) -> "DatasetValidationError":
        """Builds the error that lists all findings in the tree `where`."""
        total = sum(finding.count for finding in findings)
        lines = [f"{where} cannot be used: {total} problem{'s' if total > 1 else ''} found"]
        lines += [f"  {finding}\n    -> {KINDS[finding.kind].remedy}" for finding in findings]
        return cls("\n".join(lines), findings)


class MissingDatasetError(DatasetValidationError):
    """No data set of the requested name has been built."""
