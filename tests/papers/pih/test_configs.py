"""PIH's configs and overlays: the released values, and what each overlay changes."""

import functools

import pytest

from jaxharm import registry
from jaxharm.config_file import find_config, known_overlays, load_config
from jaxharm.errors import InputError
from jaxharm.training.optim import make_schedule

RELEASED = "pih/artist_retouched"


def test_released_pih_has_the_papers_numbers():
    config = load_config(RELEASED)
    objective, optim = config.objective, config.optim
    assert (objective.recon_weight, objective.adversarial.recon_ratio) == (0.92, 0.5)
    assert (optim.name, optim.lr, optim.b1, optim.b2, optim.eps) == ("adam", 4e-5, 0.9, 0.999, 1e-8)
    assert (optim.weight_decay, optim.clip_norm, config.ema_decay) == (0, None, None)
    assert (config.data.batch_size, config.data.image_size, config.epochs) == (8, 512, 39)
    # 39 epochs of 1000 steps: halved at the start of epoch 20, and no more.
    schedule = make_schedule(optim, 39_000)
    rates = [float(schedule(step)) for step in (0, 18_999, 19_000, 38_999)]
    assert rates == pytest.approx([4e-5, 4e-5, 2e-5, 2e-5])
    assert config.data.unpaired.enabled


OVERLAYS = [
    ("curves_only", "model.masking", False),
    ("curves_shading", "model.masking", True),
    ("supervised_only", "objective.adversarial.recon_ratio", 1.0),
    ("unsupervised_only", "objective.adversarial.recon_ratio", 0.0),
    ("dual_stream", "objective.adversarial.recon_ratio", 0.5),
    ("no_discriminator", "objective.adversarial", None),
    ("pixel_output", "system", "pih_pixels"),
    ("synthetic_pairs", "data.synthesis.probability", 1.0),
    ("light", "system", "pih_light"),
    ("light", "model.light", True),
    *((f"knots_{n}", "model.knots", n) for n in (8, 16, 32, 64)),
    *((f"mask_offset_{n}", "model.mask_offset", n / 100) for n in (0, 25, 50, 60, 75)),
]


@pytest.mark.parametrize(("overlay", "key", "value"), OVERLAYS)
@pytest.mark.parametrize("file", ["artist_retouched", "minibsds"])
def test_overlays_of_pih_change_what_they_are_named_for(file, overlay, key, value):
    config = load_config(f"pih/{file}", overlays=[overlay])
    assert functools.reduce(getattr, key.split("."), config) == value
    ratio = getattr(config.objective.adversarial, "recon_ratio", 1.0)
    assert config.data.unpaired.enabled or ratio == 1.0


def test_every_overlay_of_pih_is_tested():
    known = known_overlays(find_config(RELEASED))
    assert set(known) - {"smoke", "finetune"} == {overlay for overlay, _, _ in OVERLAYS}


def test_unknown_model_option_names_the_valid_ones():
    with pytest.raises(InputError, match=r"valid: .*mask_offset"):
        registry.create_model("pih", mask_ofset=0.5)
    with pytest.raises(InputError, match="pih_light"):
        registry.get("pih_lite")


def test_the_discriminator_is_a_group_that_can_be_switched_off():
    config = load_config("pih/minibsds_dual", sets=["objective.adversarial.recon_ratio=0.25"])
    assert config.objective.adversarial.recon_ratio == 0.25
    with pytest.raises(InputError, match="is a group; set one of its fields: recon_ratio"):
        load_config("pih/minibsds_dual", sets=["objective.adversarial=true"])
    off = load_config("pih/minibsds_dual", sets=["objective.adversarial=none", "model.light=false"])
    assert off.objective.adversarial is None
    assert off.model.light is False
