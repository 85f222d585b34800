"""Making FFHQH: only the person changes, stopped runs go on, bad input is named."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from support.ffhq import IDS, make, write_ffhq
from support.fixtures_data import box_mask, random_image, write_image

from data_pipelines.building.findings import DatasetValidationError
from data_pipelines.making import ffhqh as make_ffhqh


@pytest.fixture
def manual_dir(tmp_path: Path) -> Path:
    """FFHQ and masks of four photographs."""
    return write_ffhq(tmp_path)


def test_only_the_person_changes_and_within_the_limits(manual_dir):
    make(manual_dir)
    inside = box_mask() > 0
    for i, name in enumerate(IDS):
        composite = cv2.imread(str(manual_dir / f"ffhqh/comp/{name}.png"))[..., ::-1].astype(float)
        error = ((composite - random_image(seed=i)) ** 2).mean(-1)
        assert 30 <= error[inside].mean() <= 6000
        assert error[~inside].max() == 0


def test_a_composite_depends_on_seed_and_id_alone(manual_dir):
    make(manual_dir)
    (manual_dir / "matting/00000.png").unlink()
    make(manual_dir, "again")
    make(manual_dir, "other", seed=1)
    comps = [
        (manual_dir / out / "comp/00007.png").read_bytes() for out in ("ffhqh", "again", "other")
    ]
    assert comps[0] == comps[1] != comps[2]


def test_a_stopped_run_is_completed_and_seeds_are_not_mixed(manual_dir):
    make(manual_dir)
    kept, lost = (manual_dir / f"ffhqh/comp/{name}.png" for name in IDS[:2])
    before = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    make(manual_dir)
    assert (kept.stat().st_mtime_ns, lost.read_bytes()) == before
    with pytest.raises(DatasetValidationError, match="seed 0, not 1"):
        make(manual_dir, seed=1)


def test_unusable_masks_stop_or_are_left_out(manual_dir):
    write_image(manual_dir / "matting/00000.png", box_mask(20, 20))
    write_image(manual_dir / "matting/00007.png", 0 * box_mask())
    with pytest.raises(DatasetValidationError) as error:
        make(manual_dir)
    assert error.value.kinds == ("size_mismatch", "empty_mask")
    assert make(manual_dir, on_error="skip") == {"train": 0, "val": 1, "test": 1}


def test_the_command_says_what_is_next_and_ends_with_status_2_on_bad_input(manual_dir, capsys):
    paths = ["--ffhq", manual_dir / "ffhq", "--out", manual_dir / "ffhqh", "--masks"]
    assert make_ffhqh.main([*map(str, paths), str(manual_dir / "none")]) == 2
    assert "missing_root" in capsys.readouterr().err
    assert make_ffhqh.main([*map(str, paths), str(manual_dir / "matting")]) == 0
    assert "build ffhqh" in capsys.readouterr().out


@pytest.mark.parametrize("edit", make_ffhqh.EDITS)
def test_every_edit_changes_colors_and_gives_finite_values(edit):
    rgb = np.random.default_rng(0).random((50, 3))
    after = edit(rgb, np.random.default_rng(2))
    assert after.shape == rgb.shape
    assert np.isfinite(after).all()
    assert np.abs(after - rgb).max() > 0.01


def test_a_black_person_cannot_be_recolored():
    with pytest.raises(DatasetValidationError, match="none of 200 recolorings"):
        make_ffhqh.recolor(
            np.zeros((4, 4, 3), np.uint8), np.eye(4, dtype=bool), np.random.default_rng(0)
        )
