"""What a stored record holds: the keys of its images, its id, and the hash over its contents."""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

# Values are bytes (encoded images), str, int, float or bool; `reading.RecordSource` lists the keys.
Record = Mapping[str, Any]

ENCODED_KEYS = ("composite", "real", "mask", "background", "content", "mask_levels", "style")
# TFDS stores every feature of every record, so a missing image needs a placeholder: this 1x1 gray
# PNG. Readers drop the keys that hold it.
ABSENT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)


class Digest(Protocol):
    """A running hash, as `hashlib` makes it."""

    def update(self, data: bytes, /) -> None:
        """Adds bytes to the hash."""
        ...


def record_id(record: Record) -> str:
    """The id of a record's composite, or of its photograph or painting if it has no composite."""
    return record.get("composite_id") or record.get("photo_id") or "without an id"


def add_to_fingerprint(digest: Digest, split: str, record: Record) -> None:
    """Adds a record's split, subset, id and image bytes to a running hash."""
    digest.update(f"{split}\0{record['subset']}\0{record_id(record)}\0".encode())
    for key in ENCODED_KEYS:
        if record.get(key, ABSENT) != ABSENT:
            digest.update(hashlib.sha256(record[key]).digest())
