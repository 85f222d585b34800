"""`iharmony4`: the four sub-datasets HCOCO, HAdobe5k, HFlickr and Hday2night (DoveNet, CVPR 2020)."""

import dataclasses
import functools
import zlib
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.files import find_dir
from data_pipelines.building.items import Item, Tree
from data_pipelines.building.lists import (
    CompositeName,
    Line,
    drop_duplicates,
    list_for_split,
    parse_composite,
    read_composites,
    read_lines,
)
from data_pipelines.building.pairs import scan_pairs
from data_pipelines.building.report import Report

SUBSETS = ("HCOCO", "HAdobe5k", "HFlickr", "Hday2night")
# Composites per published list (train, test).
PUBLISHED = {
    "HCOCO": (38545, 4283),
    "HAdobe5k": (19437, 2160),
    "HFlickr": (7449, 828),
    "Hday2night": (311, 133),
}
VALIDATION_PERCENT = 2
_SHOWN = 10


@dataclasses.dataclass(eq=False)
class Iharmony4Config(tfds.core.BuilderConfig):
    """Which sub-datasets to build, and the longest stored side (0: native)."""

    subsets: tuple[str, ...] = SUBSETS
    max_side: int = 0


@functools.cache  # TFDS compares configurations by identity
def config_for(part: str = "all", max_side: int = 0) -> Iharmony4Config:
    """The configuration `<part>` or `<part>_<max_side>`.

    Args:
        part: "all" or the name of a sub-dataset in small letters.
    """
    chosen = SUBSETS if part == "all" else tuple(s for s in SUBSETS if s.lower() == part)
    if not chosen:
        known = ", ".join(["all", *(subset.lower() for subset in SUBSETS)])
        raise ValueError(f"iharmony4 has no part {part!r}; choose {known}")
    return Iharmony4Config(
        name=f"{part}_{max_side}" if max_side else part,
        description=f"{' + '.join(chosen)}, {f'sides up to {max_side}' if max_side else 'native'}",
        subsets=chosen,
        max_side=max_side,
    )


class Iharmony4(TreeBuilder):
    """iHarmony4: 65742 training and 7404 test composites.

    `test` is the official split. The official training list is divided by photograph into `train`
    and `validation` (CRC-32 of the photograph's name mod 100 < 2), so that `train+validation` is
    the published training set. Order: HCOCO, HAdobe5k, HFlickr, Hday2night, each as listed.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Download the four archives of iHarmony4 (HCOCO, HAdobe5k, HFlickr, Hday2night) by hand from the
    links of github.com/bcmi/Image-Harmonization-Dataset-iHarmony4 and unpack them:
      <manual_dir>/iHarmony4/HCOCO/  HCOCO_train.txt  HCOCO_test.txt
          composite_images/c21070_1396052_1.jpg  masks/c21070_1396052.png  real_images/c21070.jpg
      ... and the same for HAdobe5k, HFlickr and Hday2night.
    If you inpainted the foregrounds, bg/c21070_1396052.png and so on become background plates.
    IHD_train.txt and IHD_test.txt in iHarmony4/ are read where a sub-dataset's list is absent.
    Disk: tens of gigabytes at native size, most of it HAdobe5k (up to 6048 pixels wide); the
    configurations ending in _1024 (--max-side 1024) store sides of at most 1024 pixels.
    For non-commercial research only.
    """
    BUILDER_CONFIGS: ClassVar = [
        config_for(part, max_side)
        for max_side in (0, 1024)
        for part in ("all", *(subset.lower() for subset in SUBSETS))
    ]
    license = "images of COCO, MIT-Adobe FiveK, Flickr and day2night: research only"

    def __init__(self, *, config: Any = None, **kwargs: Any) -> None:
        # TFDS passes a configuration or its name, and the base class needs its longest side.
        chosen = next((c for c in self.BUILDER_CONFIGS if c.name == config), config)
        side = chosen.max_side if isinstance(chosen, Iharmony4Config) else 0
        super().__init__(config=config, **{"max_side": side, **kwargs})

    @property
    def subsets(self) -> tuple[str, ...]:
        """See TreeBuilder."""
        return SUBSETS

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder."""
        root = find_dir(manual_dir, "iHarmony4") or manual_dir
        splits: dict[str, list[Item]] = {"train": [], "validation": [], "test": []}
        for subset in self.builder_config.subsets:
            folder = find_dir(root, subset)
            if folder is None:
                report.error("missing_root", f"{root / subset}/")
                continue
            found = scan_pairs(folder, subset, _lists(root, folder, subset, report), report)
            for split, items in found.items():
                for item in items:
                    hold_out = split == "train" and is_validation(item.real_id)
                    splits["validation" if hold_out else split].append(item)
        held_out = (
            "test: the official list; validation: the training photographs whose name has "
            "CRC-32 mod 100 < 2"
        )
        return Tree(root, self.kind, splits, held_out)


def is_validation(real_id: str) -> bool:
    """Whether a training photograph is held out for validation.

    Decided by a hash of its name, so that all its composites are in the same split and every copy
    of the data set is divided alike.
    """
    return zlib.crc32(real_id.encode()) % 100 < VALIDATION_PERCENT


def _lists(root: Path, folder: Path, subset: str, report: Report) -> dict[str, list[CompositeName]]:
    """The train and test composites of a sub-dataset, from its own lists or from IHD_*.txt."""
    names = {}
    for split, published in zip(("train", "test"), PUBLISHED[subset], strict=True):
        own = list_for_split(folder, subset, split, report)
        common = next((p for p in root.iterdir() if p.name.lower() == f"ihd_{split}.txt"), None)
        found = read_composites(own, report) if own else []
        if common:
            listed = _read_common(common, subset, report)
            if own:
                _compare(found, listed, own, common, report)
            else:
                found = listed
        elif not own:
            report.error("missing_list", f"{folder / f'{subset}_{split}.txt'}")
        if (own or common) and len(found) != published:
            text = f"{subset} {split}: {len(found)} composites listed, {published} published"
            report.warn("count_mismatch", text)
        names[split] = found
    return names


def _read_common(path: Path, subset: str, report: Report) -> list[CompositeName]:
    """The composites of one sub-dataset in IHD_<split>.txt."""
    names: dict[str, CompositeName] = {}
    keyed: list[tuple[str, Line]] = []
    for line in read_lines(path, report):
        parts = line.text.split("/")
        if len(parts) != 3 or not _is_subset(parts[0]) or parts[1] != "composite_images":
            report.error("path_traversal", f"{line} is not <subset>/composite_images/<name>")
            continue
        if parts[0].lower() != subset.lower():
            continue
        name = parse_composite(parts[2])
        if name is None:
            report.error("bad_list_line", f"{line} is not <real>_<fg>_<k>.jpg")
        else:
            names.setdefault(name.composite_id, name)
            keyed.append((name.composite_id, line))
    return [names[key] for key, _ in drop_duplicates(keyed, report)]


def _is_subset(text: str) -> bool:
    return text.lower() in (subset.lower() for subset in SUBSETS)


def _compare(
    own: list[CompositeName],
    common: list[CompositeName],
    own_path: Path,
    common_path: Path,
    report: Report,
) -> None:
    """Reports a fault if the two lists of a split name different composites."""
    ids = [{name.composite_id for name in names} for names in (own, common)]
    differing = sorted(ids[0] ^ ids[1])
    if differing:
        report.error(
            "list_disagreement",
            f"{own_path.name} and {common_path.name} differ in {len(differing)} names: "
            f"{', '.join(differing[:_SHOWN])}",
        )
