"""PIH's official code beside ours: what to import, and its training loop step by step."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from jaxharm.config import OptimConfig, RunConfig, TrainConfig
from jaxharm.interfaces import NameMap
from jaxharm.papers.pih.convert import discriminator_names, torch_names
from jaxharm.papers.pih.model import PIHConfig
from jaxharm.papers.pih.system import AdversarialConfig, PIHObjective
from jaxharm.schema import HostBatch
from jaxharm.weights.official_code import (
    Checkout,
    OfficialCase,
    TorchModule,
    default_device,
    images,
    optimizer,
    quiet,
    tensors,
)


class PIHPeer:
    """The networks of scripts/train_example.sh in `Trainer.train`, in its stream of pairs."""

    def __init__(self, checkout: Checkout, config: RunConfig) -> None:
        script, networks = checkout.load("PIH_train", "utils.networks")
        model, objective = config.model, config.objective
        assert isinstance(model, PIHConfig)
        assert isinstance(objective, PIHObjective)
        choices = {"Eff_bool": model.light, "light": model.light, "lowres": model.lowres}
        with quiet():
            network = script.Model_Composite_PL(
                dim=model.knots,
                masking=model.masking,
                brush=True,
                maskoffset=model.mask_offset,
                swap=True,
                onlyupsample=True,
                joint=model.joint,
                aggupsample=True,
                **choices,
            )
            discriminator = script.UNetDiscriminatorSN(
                input_dim=3, Low_dim=True, lessskip=True, lowres=model.lowres
            )
        self.networks: Mapping[str, TorchModule] = {
            "model": network,
            "discriminator": discriminator,
        }
        self._network = network
        self._folder = tempfile.TemporaryDirectory()
        self._weight = objective.recon_weight
        self._loop = script.Trainer.__new__(script.Trainer)
        vars(self._loop).update(
            args=_arguments(objective),
            device=default_device(),
            checkpoint_directory=self._folder.name,
            start_epoch=1,
            save_model=lambda epoch: None,
            model=network,
            model_D=discriminator,
            criterion_GAN=networks.GANLoss("vanilla", gan_loss_mask=True),
            reconloss=script.torch.nn.L1Loss(),
            optimizer=optimizer(config.optim, network),
            optimizer_D=optimizer(config.optim, discriminator),
        )

    def forward(self, batch: HostBatch) -> np.ndarray:
        """See `Peer`."""
        import torch

        given = tensors(batch)
        self._network.eval()
        with torch.inference_mode():
            names = ("background", "composite", "mask")
            return images(self._network(*(given[name] for name in names))[1])

    def step(self, batch: HostBatch) -> float:
        """See `Peer`."""
        given = tensors(batch)
        composite, mask = given["composite"], given["mask"]
        # Plate, composite without ground truth and its mask, target, mask, composite, two names.
        sample = (given["background"], composite, mask, given["target"], mask, composite, "", "")
        self._loop.dataloader = [sample]
        with quiet():
            self._loop.train()
        return self._logged("l1") + (1 - self._weight) * self._logged("G")

    def _logged(self, name: str) -> float:
        """The last value of a curve that the loop saves after an epoch."""
        return float(np.load(Path(self._folder.name) / f"loss_{name}_1.pth.npy")[-1])


def _arguments(objective: PIHObjective) -> SimpleNamespace:
    """The options of scripts/train_example.sh that the loop reads."""
    off = ("unet", "twoinputs", "augreconweight", "bgshadow", "scheduler")
    return SimpleNamespace(
        **dict.fromkeys(off, False),
        epochs=1,
        warmup=0,
        frequency=1,
        inputdimD=3,
        reconratio=1.0,
        reconwithgan=True,
        purepairaugment=True,
        ganlossmask=True,
        reconweight=objective.recon_weight,
    )


def _config(**changes: Any) -> RunConfig:
    # The loop runs the network on the targets first, so ours does.
    adversarial = AdversarialConfig(recon_ratio=1.0, reference_bn_warm_pass=True)
    name = "pih_light" if changes.get("light") else "pih"
    return TrainConfig(
        name,
        PIHConfig(**changes),
        PIHObjective(adversarial=adversarial),
        optim=OptimConfig(name="adam", lr=4e-5),
        steps=1,
    )


def _small() -> RunConfig:
    return _config(lowres=True)


def _light() -> RunConfig:
    return _config(light=True)


def _names(config: RunConfig) -> dict[str, NameMap]:
    model = cast(PIHConfig, config.model)
    return {"model": torch_names(model), "discriminator": discriminator_names()}


_CASE = OfficialCase(
    name="pih",
    repository="adobe/PIH",
    config=_config,
    peer=PIHPeer,
    names=_names,
    size=512,
    batch=2,
    small=(_small, 240, 4),
    result=lambda output: output.image,
    sgd_rate=1e-4,
    remark="pairs with the discriminator; both sides run the network on the targets first",
)
CASES = (_CASE, replace(_CASE, name="pih_light", config=_light, draws=True))  # dropout
