"""ProPIH's tiny run: a random encoder, so that no weights are needed, and a tiny discriminator."""

from support.case import Case

from jaxharm.papers.propih.discriminator import ProPIHDiscriminatorConfig
from jaxharm.papers.propih.system import ProPIHObjective


def _objective() -> ProPIHObjective:
    return ProPIHObjective(random_encoder=True, discriminator=ProPIHDiscriminatorConfig.tiny())


# The models that programs outside of this project ask for by name.
CONTRACT = ("propih",)
# The loss is a sum of 28 terms: its gradients are that much larger than the other systems'.
CASES = (Case("propih", objective=_objective, lr=0.01, painting=True),)
