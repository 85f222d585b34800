"""ProPIH's official code beside ours: what to import, and its training loop step by step."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest import mock

import jax.numpy as jnp
import numpy as np

from jaxharm.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from jaxharm.interfaces import NameMap
from jaxharm.papers.propih.convert import discriminator_names, torch_names
from jaxharm.papers.propih.discriminator import object_cells
from jaxharm.papers.propih.model import ProPIHConfig
from jaxharm.papers.propih.system import ProPIHObjective
from jaxharm.schema import HostBatch
from jaxharm.weights.official_code import (
    Checkout,
    OfficialCase,
    Tensor,
    TorchModule,
    images,
    optimizer,
    quiet,
    tensors,
)


class ProPIHPeer:
    """The networks of scripts/train.sh in `VGG19HRNetModel.optimize_parameters`."""

    def __init__(self, checkout: Checkout, config: RunConfig) -> None:
        import torch

        models, networks = checkout.load("models.vgg19hrnet_model", "models.networks")
        objective = cast(ProPIHObjective, config.objective)
        assert objective.discriminator is not None
        self._cells = objective.discriminator.fitted(config.data.image_size)
        with tempfile.TemporaryDirectory() as folder, quiet():
            encoder = Path(folder) / "vgg.pth"
            torch.save(networks.vgg.state_dict(), encoder)  # any weights: ours come afterwards
            loop = models.VGG19HRNetModel(_options(str(encoder)))
            # The released depth of 8 is for 256 pixels.
            depth = self._cells.halvings + 2
            loop.netD = networks.ConvDiscriminator(depth=depth, patch_number=4)
        loop.optimizer_G = optimizer(config.optim, loop.netG)
        loop.optimizer_D = optimizer(config.optim, loop.netD)
        self._loop = loop
        self.networks: Mapping[str, TorchModule] = {"model": loop.netG, "discriminator": loop.netD}

    def forward(self, batch: HostBatch) -> np.ndarray:
        """See `Peer`."""
        import torch

        network = self._loop.netG
        # The official forward pass always computes the training losses; no result depends on them.
        with quiet(), torch.inference_mode(), mock.patch.object(network, "cal_loss", _no_losses):
            self._loop.set_input(self._sample(batch))
            self._loop.forward()
        return (images(self._loop.final_output_4) + 1) / 2

    def step(self, batch: HostBatch) -> float:
        """See `Peer`."""
        with quiet():
            self._loop.set_input(self._sample(batch))
            self._loop.optimize_parameters()
        return float(self._loop.loss_G)

    def _sample(self, batch: HostBatch) -> dict[str, Tensor]:
        """A batch as the official data set gives it."""
        import torch

        given = {name: value * 2 - 1 for name, value in tensors(batch).items()}
        cells = np.array(object_cells(jnp.asarray(batch.mask), self._cells))
        patch = torch.tensor(np.moveaxis(cells, 3, 1)).to(given["mask"])
        composite, style = given["composite"], given["background"]
        sample = {"content": composite, "comp": composite, "style": style}
        return {**sample, "mask": given["mask"], "mask_patch": patch}


def _no_losses(*_: object) -> tuple[float, float]:
    return 0.0, 0.0


def _options(encoder: str) -> SimpleNamespace:
    """The options of scripts/train.sh that the model reads."""
    weights = {"lambda_content": 1.0, "lambda_style": 1.0, "lambda_g": 1.0}
    rates = {"lr": 2e-4, "beta1": 0.5, "g_lr_ratio": 1.0, "d_lr_ratio": 1.0}
    return SimpleNamespace(
        **weights,
        **rates,
        vgg=encoder,
        netG="vgg19hrnet",
        netD="conv",
        patch_number=4,
        init_type="normal",
        init_gain=0.02,
        gpu_ids=[],
        isTrain=True,
        checkpoints_dir="",
        name="",
        preprocess="none",
    )


def _config(size: int = 256) -> RunConfig:
    # Random features cost the same as trained ones; both sides have the same.
    return TrainConfig(
        "propih",
        ProPIHConfig(),
        ProPIHObjective(random_encoder=True),
        data=DataConfig(image_size=size),
        optim=OptimConfig(name="adam", lr=2e-4, b1=0.5),
        steps=1,
    )


def _small() -> RunConfig:
    return _config(64)


def _names(config: RunConfig) -> dict[str, NameMap]:
    model = cast(ProPIHConfig, config.model)
    objective = cast(ProPIHObjective, config.objective)
    assert objective.discriminator is not None
    halvings = objective.discriminator.fitted(config.data.image_size).halvings
    return {
        "model": torch_names(model),
        "discriminator": discriminator_names(halvings),
    }


CASES = (
    OfficialCase(
        name="propih",
        repository="bcmi/ProPIH-Painterly-Image-Harmonization",
        config=_config,
        peer=ProPIHPeer,
        names=_names,
        size=256,
        batch=4,
        small=(_small, 64, 4),
        result=lambda output: output.image,
        sgd_rate=1e-4,
        remark="the official forward pass without the training losses that it always computes",
    ),
)
