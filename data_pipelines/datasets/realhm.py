"""`realhm`: real composites retouched by experts, for evaluation (SSH, ICCV 2021)."""

from pathlib import Path
from typing import ClassVar

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.files import FileIndex, find_dir, locate, note_orphans
from data_pipelines.building.items import Item, Tree
from data_pipelines.building.report import Report

PUBLISHED = (216, 217)  # in the paper; in a log that was published with a later method
_ROLES = ("bg", "composite", "mask", "real", "gt")


class Realhm(TreeBuilder):
    """RealHM: 216 composites, each harmonized by an expert; for evaluation, split `test` only.

    `composite` is the plain paste, `real` the expert's result, `background` the photograph before
    the object was pasted. Composite and result differ in the background too. JPEG masks are made
    binary.

    Source: docs/data.md, "Layouts".
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Download RealHM by hand (github.com/VITA-Group/SSHarmonization). manual_dir is one flat folder,
    or holds it as RealHM/, with four files for every composite:
      <id>_bg.jpg  <id>_composite.jpg  <id>_mask.jpg  <id>_real.jpg (or <id>_gt.jpg)
    """
    license: ClassVar[str] = "research only: see the SSHarmonization repository"
    always_plates: ClassVar[bool] = True

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder."""
        root = find_dir(manual_dir, "realhm") or manual_dir
        files = FileIndex(root, root, report)
        items = []
        names = sorted({_id_of(stem, files, report) for stem in files.stems()} - {""})
        for name in names:
            parts = {role: files.find(f"{name}_{role}.jpg") for role in _ROLES}
            parts["real"] = parts["real"] or parts["gt"]  # either name is in use
            for role, kind in (
                ("bg", "missing_background"),
                ("composite", "missing_composite"),
                ("mask", "missing_mask"),
                ("real", "missing_real"),
            ):
                if parts[role] is None:
                    locate(files, f"{name}_{role}.jpg", kind, report)
            composite, mask, real, plate = (parts[r] for r in ("composite", "mask", "real", "bg"))
            if composite and mask and real and plate:
                items.append(Item(self.name, name, name, name, composite, mask, real, plate))
        note_orphans((files,), report)
        if not names:
            report.error("missing_root", f"{root / '<id>_bg.jpg'}")
        elif len(names) not in PUBLISHED:
            text = f"{len(names)} composites found, {PUBLISHED[0]} published"
            report.warn("count_mismatch", text)
        return Tree(root, self.kind, {"test": items}, "test: the whole set, which has no other")


def _id_of(stem: str, files: FileIndex, report: Report) -> str:
    """The `<id>` of a file `<id>_<role>`; "" for any other name, which is reported."""
    name, _, role = stem.rpartition("_")
    if name and role.lower() in _ROLES:
        return name
    path = files.find(f"{stem}.jpg")
    report.error("bad_file_name", f"{path} is not <id>_ and one of {', '.join(_ROLES)}")
    return ""
