"""iSSAM's official code beside ours: what to import, and its training loop step by step."""

import io
from collections.abc import Mapping
from types import SimpleNamespace
from typing import cast

import jax.numpy as jnp
import numpy as np

from jaxharm.config import OptimConfig, RunConfig, TrainConfig
from jaxharm.interfaces import NameMap
from jaxharm.nn.imagenet import MEAN, STD, denormalize
from jaxharm.papers.issam.convert import torch_names
from jaxharm.papers.issam.model import IssamConfig
from jaxharm.papers.issam.system import IssamObjective
from jaxharm.schema import HostBatch
from jaxharm.weights.official_code import (
    Checkout,
    OfficialCase,
    Tensor,
    TorchModule,
    default_device,
    images,
    optimizer,
    quiet,
    tensors,
)


class IssamPeer:
    """The network of models/fixed256/improved_ssam.py in `SimpleHTrainer.training`."""

    def __init__(self, checkout: Checkout, config: RunConfig) -> None:
        absent = ("albumentations", "easydict", "torch.utils.tensorboard")
        names = ("iharm.engine.simple_trainer", "iharm.mconfigs.base", "iharm.model.losses")
        trainers, networks, losses = checkout.load(*names, absent=absent)
        recipe = networks.BMCONFIGS["improved_ssam256"]
        with quiet():
            network = recipe["model"](**recipe["params"])
        vars(trainers)["save_checkpoint"] = lambda *_, **__: None
        self.networks: Mapping[str, TorchModule] = {"model": network}
        self._network = network
        self._loop = trainers.SimpleHTrainer.__new__(trainers.SimpleHTrainer)
        vars(self._loop).update(
            net=network,
            optim=optimizer(config.optim, network),
            device=default_device(),
            lr=config.optim.lr,
            lr_scheduler=None,
            train_metrics=[],
            loss_cfg={"pixel_loss": losses.MaskWeightedMSE(), "pixel_loss_weight": 1.0},
            image_dump_interval=0,
            checkpoint_interval=1,
            task_prefix="",
            tqdm_out=io.StringIO(),
            cfg=SimpleNamespace(CHECKPOINTS_PATH=None, multi_gpu=False),
            sw=self,
        )
        self._loss = float("nan")

    def forward(self, batch: HostBatch) -> np.ndarray:
        """See `Peer`."""
        import torch

        given = _normalized(batch)
        self._network.eval()
        with torch.inference_mode():
            found = self._network(given["images"], given["masks"])["images"]
        return np.asarray(denormalize(jnp.asarray(images(found))))

    def step(self, batch: HostBatch) -> float:
        """See `Peer`."""
        self._loop.train_data = [_normalized(batch)]
        with quiet():
            self._loop.training(0)
        return self._loss

    def add_scalar(self, tag: str, value: float, **_: object) -> None:
        """What the loop logs to."""
        if tag == "TrainLosses/overall":
            self._loss = value


def _normalized(batch: HostBatch) -> dict[str, Tensor]:
    """A batch as the official data set gives it."""
    import torch

    given = tensors(batch)
    mean, std = (torch.tensor(np.moveaxis(value, 3, 1)) for value in (MEAN, STD))
    composite, target = ((given[name] - mean) / std for name in ("composite", "target"))
    return {"images": composite, "target_images": target, "masks": given["mask"]}


def _config() -> RunConfig:
    optim = OptimConfig(name="adam", lr=1e-3)
    return TrainConfig("issam", IssamConfig(), IssamObjective(), optim=optim, steps=1)


def _names(config: RunConfig) -> dict[str, NameMap]:
    model = cast(IssamConfig, config.model)
    return {"model": torch_names(model)}


CASES = (
    OfficialCase(
        name="issam",
        repository="SamsungLabs/image_harmonization",
        config=_config,
        peer=IssamPeer,
        names=_names,
        size=256,
        batch=4,
        small=(_config, 128, 4),
        result=lambda output: output.aux["raw"],
        sgd_rate=1e-5,  # with more, rounding errors grow tenfold from step to step, in the official code too
    ),
)
