"""`artist_retouched`: photographs, an artist's edit of their foregrounds, and inpainted plates."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.files import FileIndex, find_dir, locate, note_orphans, require_dir
from data_pipelines.building.items import SPLIT_ORDER, Item, Tree
from data_pipelines.building.report import Report

TARGETS = ("both", "after_only")
FOLDERS = ("masks", "bg", "real_images")
_SUFFIX = "_mask"
_PARTNER = {"before": "after", "after": "before"}


@dataclasses.dataclass(eq=False)
class ArtistRetouchedConfig(tfds.core.BuilderConfig):
    """Which of the two editions are targets, and the longest stored side (0: native)."""

    targets: str = "both"  # one of TARGETS
    max_side: int = 0


@functools.cache  # TFDS compares configurations by identity
def config_for(targets: str = "both", max_side: int = 0) -> ArtistRetouchedConfig:
    """The configuration `<targets>` or `<targets>_<max_side>`.

    Raises:
        ValueError: unknown targets.
    """
    if targets not in TARGETS:
        raise ValueError(f"artist_retouched has no part {targets!r}; choose {', '.join(TARGETS)}")
    return ArtistRetouchedConfig(
        name=f"{targets}_{max_side}" if max_side else targets,
        description="target: the artist's edit" + (" or the photograph" * (targets == "both")),
        targets=targets,
        max_side=max_side,
    )


class ArtistRetouched(TreeBuilder):
    """Retouched pairs: a photograph before and after an artist's edit, once in each direction.

    There is one item per mask file `<id>_<edition>_mask`: `real` is the edition in its name, which
    is the target, `composite` is the other edition, and `background` the inpainted plate.
    `after_only` keeps the items whose target is the artist's edit. Items are sorted by name;
    `real_id` is the photograph's id. Masks stay soft.

    Source: docs/data.md, "Layouts".
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    The data set of the paper is not public; use your own files in its layout. manual_dir is the
    folder of the splits, or its parent (then it is called artist_retouched/), or the split train:
      train/  (and val/, test/)
        masks/<id>_before_mask.png        masks/<id>_after_mask.png       8-bit gray, may be soft
        bg/<id>_before_mask.png           bg/<id>_after_mask.png          photograph, object removed
        real_images/<id>_before.png       real_images/<id>_after.png      photograph, artist's edit
    The suffix _mask may be missing in masks/ and bg/.
    """
    BUILDER_CONFIGS: ClassVar = [config_for(targets, 0) for targets in TARGETS]
    license: ClassVar[str] = "the owner's; the data set of the paper is not public"
    soft_masks: ClassVar[bool] = True
    always_plates: ClassVar[bool] = True

    def __init__(self, *, config: Any = None, **kwargs: Any) -> None:
        # TFDS passes a configuration or its name, and the base class needs its longest side.
        chosen = next((c for c in self.BUILDER_CONFIGS if c.name == config), config)
        side = chosen.max_side if isinstance(chosen, ArtistRetouchedConfig) else 0
        super().__init__(config=config, **{"max_side": side, **kwargs})

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder."""
        root = manual_dir
        if not _split_folders(root):
            root = find_dir(manual_dir, self.name, "Artist-Retouched", "ArtistRetouched") or root
        folders = _split_folders(root)
        if not folders:
            report.error("missing_root", f"{root / 'train' / 'masks'}/")
        splits = {split: self._items(folder, report) for split, folder in folders.items()}
        return Tree(root, self.kind, splits)

    def _items(self, root: Path, report: Report) -> list[Item]:
        found = [require_dir(root, report, folder) for folder in FOLDERS]
        if None in found:
            return []
        masks, plates, editions = (FileIndex(path, root, report) for path in found if path)
        items = []
        for name, photo, edition in _named_items(masks, report):
            partner = f"{photo}_{_PARTNER[edition]}.png"
            mask = _either(masks, name, "missing_mask", report)
            plate = _either(plates, name, "missing_background", report)
            real = locate(editions, f"{name}.png", "missing_real", report)
            composite = locate(editions, partner, "missing_composite", report)
            wanted = edition == "after" or self.builder_config.targets == "both"
            if wanted and mask and plate and real and composite:
                items.append(Item(self.name, name, name, photo, composite, mask, real, plate))
        note_orphans((masks, plates, editions), report)
        return items


def _split_folders(root: Path) -> dict[str, Path]:
    """Split -> its folder; a folder that holds masks/ itself is the split train."""
    found = {split: find_dir(root, split) for split in SPLIT_ORDER}
    folders = {split: folder for split, folder in found.items() if folder}
    return folders or ({"train": root} if find_dir(root, "masks") else {})


def _named_items(masks: FileIndex, report: Report) -> list[tuple[str, str, str]]:
    """(`<id>_<edition>`, `<id>`, edition) of every mask file, sorted, each once."""
    names: dict[str, tuple[str, str, str]] = {}
    for stem in masks.stems():
        name = stem.removesuffix(_SUFFIX)
        photo, _, edition = name.rpartition("_")
        if photo and edition in _PARTNER:
            names[name] = (name, photo, edition)
        else:
            path = masks.find(f"{stem}.png")
            report.error("bad_file_name", f"{path} is not <id>_before_mask or <id>_after_mask")
    return [names[name] for name in sorted(names)]


def _either(index: FileIndex, name: str, absent: str, report: Report) -> Path | None:
    """The file with the suffix _mask, or else the one without; reports a fault if there is none."""
    plain = index.find(f"{name}{_SUFFIX}.png") or index.find(f"{name}.png")
    return plain or locate(index, f"{name}{_SUFFIX}.png", absent, report)
