"""`coco_wikiart`: objects in photographs of COCO, and paintings of WikiArt (ProPIH, AAAI 2024)."""

import hashlib
from pathlib import Path
from typing import ClassVar

from data_pipelines.building.builder import TreeBuilder
from data_pipelines.building.files import FileIndex, find_dir
from data_pipelines.building.items import Item, Kind, Tree
from data_pipelines.building.painterly import PainterlyLoader
from data_pipelines.building.records import RecordLoader
from data_pipelines.building.report import Report, logger
from data_pipelines.datasets.coco import Drawing, read_annotations
from data_pipelines.datasets.wikiart import PaintingFiles, read_paintings

OBJECTS, PAINTINGS = "coco", "wikiart"  # the subsets
PAINTING_SPLIT = "{}_paintings"
# split -> (folders of photographs, list of paintings, published number of paintings)
SPLITS = {
    "train": (("train2014", "train2017"), "style_train.csv", 57025),
    "test": (("val2014", "val2017"), "style_val.csv", 24421),
}
PREPARED = "SegmentationClass_select"  # folder of masks that the authors selected and drew


class CocoWikiart(TreeBuilder):
    """Objects of COCO 2014 and 57025 + 24421 paintings of WikiArt; composites are made on the fly.

    `train` and `test` hold photographs with those objects that cover 5 to 30 % of them (a mask with
    one gray level for each); `train_paintings` and `test_paintings` hold the paintings, in the
    order of the lists. A record has `content` and `mask_levels`, or `style`.

    Source: docs/data.md, "Layouts" and "Paintings".
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Download COCO 2014 (images and instance annotations, cocodataset.org) and WikiArt with the lists
    "WikiArt Dataset/Style" of github.com/cs-chan/ArtGAN by hand:
      <manual_dir>/MS-COCO/  train2014/COCO_train2014_000000000009.jpg ...  val2014/...
          annotations/instances_train2014.json  instances_val2014.json
          SegmentationClass_select/COCO_train2014_000000000009.png   instead of the annotations, if
              you have the masks prepared by the authors: a gray level above 0 for every object
      <manual_dir>/wikiart/  WikiArt_Split/style_train.csv  style_val.csv  (or beside the folders)
          <Style_folder>/<file>.jpg
    A list line is <Style_folder>/<file>.jpg,<class>. You may leave out one split altogether. Disk:
    about 20 GB for the photographs and 25 GB for the paintings at native size; --max-side 512
    stores smaller images, which are read much faster in training.
    COCO's annotations are CC BY 4.0, its photographs Flickr's; WikiArt is for non-commercial
    research only.
    """
    kind: ClassVar[Kind] = "painterly"
    license: ClassVar[str] = (
        "COCO: annotations CC BY 4.0, photographs under Flickr's terms; WikiArt: non-commercial "
        "research only"
    )

    @property
    def subsets(self) -> tuple[str, ...]:
        """See TreeBuilder."""
        return OBJECTS, PAINTINGS

    def scan(self, manual_dir: Path, report: Report) -> Tree:
        """See TreeBuilder."""
        coco = find_dir(manual_dir, "MS-COCO", "COCO", "coco2014") or manual_dir / "MS-COCO"
        art = find_dir(manual_dir, "wikiart") or manual_dir / "wikiart"
        files = PaintingFiles(art, report)
        splits: dict[str, list[Item]] = {}
        for split, (folders, list_name, published) in SPLITS.items():
            photos = find_dir(coco, *folders)
            listed = find_list(art, list_name)
            if photos is None and listed is None:
                continue
            if photos is None:
                report.error("missing_root", f"{coco / folders[0]}/")
            elif listed is None:
                report.error("missing_list", f"{art / 'WikiArt_Split' / list_name}")
            else:
                splits[split] = _objects(coco, photos, report)
                found = _paintings(listed, files, report)
                splits[PAINTING_SPLIT.format(split)] = found
                if len(found) != published:
                    text = f"{split}: {len(found)} paintings found, {published} published"
                    report.warn("count_mismatch", text)
        if not any(find_dir(coco, *SPLITS[s][0]) or find_list(art, SPLITS[s][1]) for s in SPLITS):
            report.error("missing_root", f"{coco / 'train2014'}/ and {art}/")
        held_out = "test: COCO's validation photographs and the paintings of style_val.csv"
        return Tree(manual_dir, self.kind, splits, held_out if "test" in splits else "")

    def signature(self, source_dir: Path) -> str:
        """See TreeBuilder; includes the annotations, since masks are drawn from them."""
        digest = hashlib.sha256(super().signature(source_dir).encode())
        for items in self.checked_tree(source_dir).splits.values():
            for item in items:
                if item.drawing:
                    digest.update(repr(item.drawing).encode())
        return digest.hexdigest()

    def _record_loader(self) -> RecordLoader:
        return PainterlyLoader(self.report, self._limits)


def find_list(art: Path, name: str) -> Path | None:
    """Finds a list of paintings in the folder of WikiArt or in one of its usual subfolders."""
    folders = ("WikiArt_Split", "Style", ".")
    return next((art / f / name for f in folders if (art / f / name).is_file()), None)


def _objects(coco: Path, photos: Path, report: Report) -> list[Item]:
    """Lists the photographs of a split that have objects."""
    images = FileIndex(photos, coco, report)
    prepared = find_dir(coco, PREPARED)
    if prepared:
        return _prepared_objects(images, FileIndex(prepared, coco, report), report)
    return _annotated_objects(images, coco, report)


def _prepared_objects(images: FileIndex, masks: FileIndex, report: Report) -> list[Item]:
    """Lists the photographs that have a mask file."""
    logger.info("objects of %s: masks of %s", images.folder.name, masks.folder)
    items = []
    for stem in images.stems():
        image, mask = images.find(f"{stem}.jpg"), masks.find(f"{stem}.png")
        if image and mask:
            items.append(_item(OBJECTS, stem, image, mask=mask))
    if not items:
        report.error("no_instances", f"{masks.folder}: no mask of an image of {images.folder}")
    return items


def _annotated_objects(images: FileIndex, coco: Path, report: Report) -> list[Item]:
    """Lists the photographs for which the annotation file has a selected object."""
    photos = images.folder
    name = f"instances_{photos.name}.json"
    places = (coco / "annotations" / name, coco / name)
    annotations = next((place for place in places if place.is_file()), None)
    if annotations is None:
        report.error("missing_list", f"{places[0]} (or the masks of {PREPARED}/)")
        return []
    logger.info("objects of %s: polygons of %s", photos.name, annotations)
    items = []
    for file, drawing in read_annotations(annotations, report):
        image = images.find(file)
        if image is None:
            report.error("missing_real", str(photos / file))
        else:
            items.append(_item(OBJECTS, image.stem, image, drawing=drawing))
    return items


def _paintings(listed: Path, files: PaintingFiles, report: Report) -> list[Item]:
    """Lists the paintings of a list that exist; reports the others."""
    items = []
    for painting in read_paintings(listed, report):
        path = files.find(painting)
        if path is None:
            place = listed.parent / painting.style / painting.file
            report.error("missing_painting", f"{place.name} of {painting.style} ({listed.name})")
        else:
            items.append(_item(PAINTINGS, painting.id, path))
    if not items:
        report.error("missing_list", f"{listed} names no painting that exists")
    return items


def _item(
    subset: str, name: str, image: Path, *, mask: Path | None = None, drawing: Drawing | None = None
) -> Item:
    return Item(subset, name, name, name, None, mask, image, drawing=drawing)
