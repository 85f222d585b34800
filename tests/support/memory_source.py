"""A small data set in memory with the interface of a built one."""

from typing import Any

import cv2
import numpy as np


class MemorySource:
    """Records whose three images encode the pixel's place and the record's number.

    Red is 4 * row + 1, green 4 * column + 1 and blue the record's number, in composite and real
    alike, stored without loss; the composite's green is 2 higher inside the mask, so that it can be told
    from a recolored one. The mask is a rectangle that depends on the record.
    """

    def __init__(
        self,
        length: int = 5,
        *,
        name: str = "memory",
        photos: bool = False,
        background: bool = False,
        height: int = 40,
        width: int = 56,
    ) -> None:
        self.name, self.photos, self.background = name, photos, background
        self.height, self.width = height, width
        self.broken: int | None = None
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"MemorySource({self.name!r})"

    def images(self, number: int) -> dict[str, np.ndarray]:
        """The decoded images of a record: u8[h,w,3], mask u8[h,w]."""
        row, column = np.mgrid[0 : self.height, 0 : self.width]
        real = np.stack([4 * row + 1, 4 * column + 1, 0 * row + number], -1).astype(np.uint8)
        mask = np.zeros((self.height, self.width), np.uint8)
        mask[8 : 24 + number % 8, 12 + number % 5 : 40] = 255
        composite = real.copy()
        composite[..., 1] += 2 * (mask // 255)
        return {"real": real, "mask": mask, "composite": composite, "background": 255 - real}

    def __getitem__(self, number: int) -> dict[str, Any]:
        images = self.images(number)
        if self.photos:
            del images["composite"]
        if not self.background:
            del images["background"]
        record: dict[str, Any] = {
            key: cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()
            for key, image in images.items()
        }
        if number == self.broken:
            record["real"] = record["real"][:40]
        key = "photo_id" if self.photos else "composite_id"
        return {
            **record,
            key: f"{self.name}{number}_1_1",
            "subset": self.name,
            "height": self.height,
            "width": self.width,
        }
