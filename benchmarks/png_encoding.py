"""Compares writing 16-bit PNG by this package, in strips by all cores, with libpng's writer.

    python -m benchmarks.png_encoding [PICTURE] --megapixels 45

prints the time, the megabytes per second and the file's size of both sides, in turns, and checks
that both files hold the same pixels. Without a picture, colors that change smoothly with noise in
the low bits stand in for a photograph.
"""

import argparse
import os
import time
from collections.abc import Sequence

import numpy as np
from imagecodecs import PNG, png_decode, png_encode

from jaxharm.images.codec import read_image
from jaxharm.images.decoded import Tags
from jaxharm.images.png import encode16


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and prints both sides."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", help="a photograph to be enlarged by repeating it")
    parser.add_argument("--megapixels", type=float, default=45)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    pixels = _pixels(options.picture, options.megapixels)
    print(f"{pixels.shape[1]}x{pixels.shape[0]}, 16 bits, {os.cpu_count()} cores")
    same = {"level": 1, "strategy": PNG.STRATEGY.RLE, "filter": PNG.FILTER.SUB}
    sides = {
        "libpng, the same settings": lambda: png_encode(pixels, **same),
        "jaxharm, strips by all cores": lambda: b"".join(encode16(pixels, Tags())),
    }
    for _ in range(options.repeats):
        for name, encode in sides.items():
            start = time.perf_counter()
            data = encode()
            seconds = time.perf_counter() - start
            rate = pixels.nbytes / seconds / 1e6
            print(f"{name:<30}{seconds:8.2f} s {rate:8.0f} MB/s {len(data) / 1e6:8.1f} MB")
            if not np.array_equal(png_decode(data), pixels):
                raise SystemExit(f"{name}: the file holds other pixels.")


def _pixels(picture: str | None, megapixels: float) -> np.ndarray:
    """u16[h,w,3] of about so many pixels, 3:2."""
    height = max(2, round((megapixels * 1e6 / 1.5) ** 0.5))
    width = height * 3 // 2
    random = np.random.default_rng(0)
    if picture is None:
        y, x = np.ogrid[:height, :width]
        waves = [np.sin(x / (90 + 40 * k) + k) + np.cos(y / (130 - 30 * k)) for k in range(3)]
        tile = 32768 + 12000 * np.stack(waves, -1)
    else:
        pixels = read_image(picture).pixels[..., :3]
        tile = pixels * np.float32(65535 / np.iinfo(pixels.dtype).max)
        repeats = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
        tile = np.tile(tile, repeats)[:height, :width]
    noise = random.integers(-200, 200, (height, width, 3), np.int16)
    return np.clip(tile + noise, 0, 65535).astype(np.uint16)


if __name__ == "__main__":
    main()
