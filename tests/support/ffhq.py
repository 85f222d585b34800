"""FFHQ and its masks in small, and the composites made from them."""

from pathlib import Path

from support.fixtures_data import box_mask, random_image, write_image

from data_pipelines.making import ffhqh as make_ffhqh

IDS = ("00000", "00007", "60001", "63002")


def write_ffhq(root: Path) -> Path:
    """FFHQ and masks of four photographs, two of them in folders of a thousand."""
    images = root / "ffhq/images1024x1024"
    for i, name in enumerate(IDS):
        folder = images if i < 2 else images / f"{int(name) // 1000 * 1000:05d}"
        write_image(folder / f"{name}.png", random_image(seed=i))
        write_image(root / "matting" / f"{name}.png", box_mask())
    return root


def make(manual_dir: Path, out: str = "ffhqh", **options) -> dict[str, int]:
    return make_ffhqh.make(manual_dir / "ffhq", manual_dir / "matting", manual_dir / out, **options)
