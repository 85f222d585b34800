"""Folder mode, before the work: which files belong together, and what every other file is."""

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jaxharm.errors import InputError
from jaxharm.images.codec import READ_SUFFIXES

_ROLES = {"_mask": "mask", "_bg": "background", "_real": "photograph", "_gt": "photograph"}
_TIFF = (".tif", ".tiff")
# Pictures that are not read; a file of any other suffix is no picture.
_UNREAD = (
    *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".exr", ".hdr", ".psd", ".psb", ".xcf", ".kra"),
    *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf"),
    *(".rw2", ".rwl", ".pef", ".srw", ".raw", ".3fr", ".iiq", ".x3f", ".erf", ".kdc", ".mrw"),
    *(".svg", ".svgz", ".eps", ".ai", ".pdf", ".ico", ".icns", ".dds", ".pcx", ".sgi", ".ora"),
    *(".pfm", ".fits", ".fit", ".bpg", ".flif", ".avifs"),
)
_PICTURES = frozenset((*READ_SUFFIXES, *_UNREAD))


@dataclass(frozen=True)
class Pair:
    """The files of one composite; `mask` is None for a cut-out with alpha.

    Attributes:
        note: what should be known of how they were found; "" where their names say it.
    """

    composite: Path
    mask: Path | None
    background: Path | None
    output: Path
    note: str = ""

    @property
    def files(self) -> dict[str, Path]:
        """The files by role."""
        named = {"composite": self.composite, "mask": self.mask, "background": self.background}
        return {role: path for role, path in named.items() if path is not None}


@dataclass
class Listing:
    """Every file of a folder, in exactly one of three places.

    Attributes:
        pairs: composites with their files, in the order in which people number them.
        failures: composites that cannot be made, with the reason.
        helpers: masks and backgrounds of composites, with what they are.
        skipped: all other files, and folders that are not read, with the reason.
        folders: those that are read.
    """

    pairs: list[Pair] = field(default_factory=list)
    failures: dict[Path, str] = field(default_factory=dict)
    helpers: dict[Path, str] = field(default_factory=dict)
    skipped: dict[Path, str] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)


class _Folder:
    """The pictures of one folder by name without suffix; the reasons why others are none."""

    def __init__(self, path: Path | None, listing: Listing) -> None:
        self.stems: dict[str, list[Path]] = {}
        self.unread: dict[str, list[Path]] = {}
        self.known: dict[str, str] = {}  # name without suffix -> a picture's name, readable or not
        self.path = path
        if path is None:
            return
        listing.folders.append(path)
        for file in _entries(path):
            reason = _no_picture(file)
            if file.is_dir():
                continue
            if reason is not None:
                listing.skipped[file] = reason
                continue
            self.known.setdefault(_plain(file.stem), file.name)
            if not file.is_file():
                listing.failures[file] = "it is a link that leads nowhere, or no ordinary file"
            elif file.suffix.lower() in READ_SUFFIXES:
                self.stems.setdefault(_plain(file.stem), []).append(file)
            else:
                self.unread.setdefault(_plain(file.stem), []).append(file)

    def first(self, names: Iterable[str]) -> Path | None:
        """The file of the first of the names; of several, one without loss."""
        for name in names:
            if name in self.stems:
                return min(self.stems[name], key=lambda f: READ_SUFFIXES.index(f.suffix.lower()))
        return None

    def files(self) -> Iterator[Path]:
        """All pictures that can be read."""
        for files in self.stems.values():
            yield from files


def find_pairs(folder: Path, out_dir: Path) -> Listing:
    """Applies the pairing rule of `jaxharm harmonize --help`.

    Raises:
        InputError: no such folder, no composite in it, or `out_dir` is one that is read.
    """
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist")
    listing = Listing()
    named = _subfolder(folder, "composite_images") or _subfolder(folder, "comp")
    named = named or _images_beside_masks(folder)
    composites = _Folder(named or folder, listing)
    masks = [_Folder(_subfolder(folder, name), listing) for name in ("masks", "mask")]
    plates = [_Folder(_subfolder(folder, n), listing) for n in ("backgrounds", "bg", "style")]
    for read in listing.folders:
        if out_dir.exists() and out_dir.samefile(read):
            raise InputError(
                f"-o {out_dir} is a folder that pictures are read from: results would replace "
                f"them; choose another one, such as {folder / 'results'}"
            )
    _Search(composites, masks, plates, out_dir, listing).run()
    _note_others(folder, named, out_dir, listing)
    if not listing.pairs and not listing.failures:
        why = next((f" ({file.name}: {text})" for file, text in listing.skipped.items()), "")
        raise InputError(f"no composite in {composites.path}{why}; see --help for the names")
    return listing


class _Helper(NamedTuple):
    """What the name of a file that is no composite says: its role, and whose ("" if unknown)."""

    role: str
    owner: str


@dataclass
class _Search:
    """The pairing rule, over folders that were listed before."""

    composites: _Folder
    masks: Sequence[_Folder]
    plates: Sequence[_Folder]
    out_dir: Path
    listing: Listing
    users: dict[Path, list[Path]] = field(default_factory=dict)  # of each mask and background
    outputs: dict[str, Path] = field(default_factory=dict)  # whose result has this name

    def run(self) -> None:
        """Fills the listing."""
        stems = sorted(self.composites.stems, key=natural_key)
        helpers = {stem: self._helper(stem) for stem in stems}
        names = {stem.removesuffix("_composite") for stem in stems if helpers[stem] is None}
        for stem in stems:
            if helpers[stem] is None:
                for file in self.composites.stems[stem]:
                    self._composite(stem, file, names)
        for stem, files in self.composites.unread.items():
            for file in files:
                self._unread(stem, file)
        place = {file: _Helper("mask", "") for folder in self.masks for file in folder.files()}
        for folder in self.plates:
            place |= {file: _Helper("background", "") for file in folder.files()}
        for stem, helper in helpers.items():
            if helper is not None:
                place |= dict.fromkeys(self.composites.stems[stem], helper)
        self._note_helpers(place)

    def _helper(self, stem: str) -> _Helper | None:
        """What a picture beside the composites is by its name; None for a composite."""
        ending = next((e for e in _ROLES if stem.endswith(e) and stem != e), None)
        if ending is None:
            return None
        name = stem.removesuffix(ending)
        known = self.composites.known
        owner = next((s for s in (name, f"{name}_composite") if s in known), None)
        if owner is not None:
            return _Helper(_ROLES[ending], known[owner])
        # Called so for another reason: night_bg.png with a mask of its own is a composite.
        if self._own_mask(stem) is not None:
            return None
        return _Helper(_ROLES[ending], "")

    def _own_mask(self, name: str) -> Path | None:
        """The mask that has the composite's own name."""
        found = self.composites.first([f"{name}_mask"])
        for folder in self.masks:
            found = found or folder.first([name, f"{name}_mask"])
        return found

    def _mask(self, name: str, names: Container[str]) -> tuple[Path | None, str]:
        """The mask of a composite, and a note on how it was found."""
        found, photo = self._own_mask(name), name.rpartition("_")[0]
        # As iHarmony4 names them; but never the mask of another composite of the folder.
        if found is not None or name.count("_") < 2 or photo in names:
            return found, ""
        found = next(filter(None, (folder.first([photo]) for folder in self.masks)), None)
        return found, f"its mask is {found.name}, by iHarmony4's names" if found else ""

    def _composite(self, stem: str, file: Path, names: Container[str]) -> None:
        name = stem.removesuffix("_composite")
        suffix = ".tif" if file.suffix.lower() in _TIFF else ".png"
        # The name as the file system has it, which may hold accents in two parts.
        output = self.out_dir / f"{file.stem.removesuffix('_composite')}{suffix}"
        mask, note = self._mask(name, names)
        plate = self.composites.first([f"{name}_bg"])
        for folder in self.plates:
            plate = plate or folder.first([name])
        # a.bmp and A.png may both become a.png: the second would silently replace the first.
        key = _plain(output.name).casefold()
        if key in self.outputs:
            taken = self.outputs[key].name
            self.listing.failures[file] = f"its result would replace that of {taken}"
        elif mask is None and plate is None:
            other = f"{name}_mask.* beside it nor masks/{name}.*"
            photo = name.rpartition("_")[0]
            taken = f"; the mask {photo}.* is that of {photo}.*" if photo in names else ""
            self.listing.failures[file] = f"no mask: neither {other}{taken}"
        else:
            self.outputs[key] = file
            self.listing.pairs.append(Pair(file, mask, plate, output, note))
            for helper in filter(None, (mask, plate)):
                self.users.setdefault(helper, []).append(file)

    def _unread(self, stem: str, file: Path) -> None:
        """A picture of a format that is not read failed only where it was meant: it has a mask."""
        reason = f"{file.suffix} is not read: save it as PNG, TIFF or JPEG"
        mask = self._own_mask(stem.removesuffix("_composite"))
        if mask is None or mask in self.users:
            self.listing.skipped[file] = reason
        else:
            self.users[mask] = [file]
            self.listing.failures[file] = reason

    def _note_helpers(self, place: Mapping[Path, _Helper]) -> None:
        """Says of every picture that is no composite what it is."""
        for file, (role, owner) in place.items():
            used = self.users.get(file)
            if used:
                more = f" and {len(used) - 1} more" if len(used) > 1 else ""
                self.listing.helpers[file] = f"the {role} of {used[0].name}{more}"
            elif owner:
                self.listing.helpers[file] = f"the {role} of {owner}, not used"
            else:
                self.listing.skipped[file] = f"the {role} of no composite, by its name"
        for folder in (*self.masks, *self.plates):
            for files in folder.unread.values():
                for file in files:
                    self.listing.skipped[file] = f"{file.suffix} is not read: save it as PNG"


def natural_key(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """Sorts names as people number them: frame2 before frame10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(p)) if p.isdecimal() else (1, p.casefold()) for p in parts if p], name


def _note_others(folder: Path, named: Path | None, out_dir: Path, listing: Listing) -> None:
    """What lies beside: files where composites have a folder of their own, and other folders."""
    read = {path.resolve() for path in listing.folders}
    for file in _entries(folder):
        if not file.is_dir():
            if named is not None:
                reason = _no_picture(file) or f"composites are those of {named.name}/"
                listing.skipped[file] = reason
        elif file.resolve() == out_dir.resolve():
            listing.skipped[file] = "the folder of the results"
        elif file.resolve() not in read:
            listing.skipped[file] = "a folder that is not read"
    for inner in listing.folders:
        for file in _entries(inner) if inner != folder else ():
            if file.is_dir():
                listing.skipped[file] = "a folder that is not read"


def _no_picture(file: Path) -> str | None:
    """Why the name of a file is not that of a picture; None if it is."""
    if file.name.startswith("._"):
        return "what macOS keeps beside a file, no picture"
    if file.name.startswith("."):
        return "a hidden file"
    if file.suffix.lower() not in _PICTURES:
        return "no picture by its suffix"
    return None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot read folder {folder}: {error.strerror}") from None


def _images_beside_masks(folder: Path) -> Path | None:
    """The folder images/ beside masks/, unless the composites are beside them: a picture is there."""
    if any(_no_picture(file) is None and not file.is_dir() for file in _entries(folder)):
        return None
    masks = _subfolder(folder, "masks") or _subfolder(folder, "mask")
    return _subfolder(folder, "images") if masks else None


def _subfolder(folder: Path, name: str) -> Path | None:
    """The folder of this name, in this or another letter case."""
    found = [path for path in _entries(folder) if path.name.lower() == name and path.is_dir()]
    return next((path for path in found if path.name == name), found[0] if found else None)


def _plain(name: str) -> str:
    """The name with accents composed: macOS takes them apart, other systems do not."""
    return unicodedata.normalize("NFC", name)
