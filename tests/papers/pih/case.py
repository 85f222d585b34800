"""PIH's tiny runs: with one stream of images, and with two and a discriminator."""

from support.case import Case

from jaxharm.papers.pih.discriminator import PIHDiscriminatorConfig
from jaxharm.papers.pih.system import AdversarialConfig, PIHObjective


def _two_streams() -> PIHObjective:
    # With this share and seed 0 the first four steps take the two streams in turn.
    adversarial = AdversarialConfig(recon_ratio=0.9, discriminator=PIHDiscriminatorConfig.tiny())
    return PIHObjective(recon_weight=0.5, adversarial=adversarial)


# The models that programs outside of this project ask for by name.
CONTRACT = ("pih", "pih_light", "pih_small")
CASES = (
    Case("pih"),
    # The case of two streams takes this one's plain step as well.
    Case("pih_light", launched=False),
    Case("pih_small", launched=False),
    Case(
        "pih_light_dual",
        model="pih_light",
        # Not the default, so that an export must carry it; fewer blocks than the plain case.
        options={"mask_offset": 0.7, "curve_blocks": (0, 3)},
        objective=_two_streams,
    ),
)
