"""PHNet's official code beside ours: what to import, and its training loop step by step."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import cast

import numpy as np

from jaxharm.config import OptimConfig, RunConfig, TrainConfig
from jaxharm.interfaces import NameMap
from jaxharm.papers.phnet.convert import torch_names
from jaxharm.papers.phnet.model import PHNetConfig
from jaxharm.papers.phnet.system import PHNetObjective
from jaxharm.schema import HostBatch
from jaxharm.weights.official_code import (
    Checkout,
    OfficialCase,
    Tensor,
    TorchModule,
    TorchOptimizer,
    images,
    optimizer,
    quiet,
    tensors,
)

# What the package imports for data sets, reports and terms of weight 0.
_ABSENT = (
    *("imutils", "lpips", "lion_pytorch", "omegaconf", "onnxruntime", "pytorch_msssim"),
    "torch.utils.tensorboard",
)


class PHNetPeer:
    """The network of config/train.yaml in `Trainer.train_step`, in single precision.

    The term of weight 0 that needs another network (LPIPS) is left out.
    """

    def __init__(self, checkout: Checkout, config: RunConfig) -> None:
        import torch

        trainers, losses = checkout.load("tools.trainer", "tools.losses", absent=_ABSENT)
        model = cast(PHNetConfig, config.model)
        objective = cast(PHNetObjective, config.objective)
        with quiet():
            network = trainers.PHNet(
                enc_sizes=list(model.channels),
                grid_count=list(model.grid_counts),
                init_weights=list(model.mix_init),
                init_value=model.scale_init,
            )
        weights = {"default": 0.0, "PSNR": objective.psnr, "FnMSE": objective.fnmse}
        weights["Gradient"] = objective.gradient
        self.networks: Mapping[str, TorchModule] = {"model": network}
        self._network = network
        self._scaler = _Scaler()
        self._loop = trainers.Trainer.__new__(trainers.Trainer)
        vars(self._loop).update(
            rank="cpu",
            args=SimpleNamespace(disable_mixed_precision=True, lambda_losses=weights),
            model_ddp=network,
            lpips_loss=lambda *_: torch.zeros(()),
            psnr_loss=losses.PSNRLossPositive(max_val=1),
            fnmse_loss=losses.FnMSE(min_area=100.0),
            gradient_loss=losses.GradientLoss(loss_f=torch.nn.L1Loss()),
            optimizer=optimizer(config.optim, network),
            scaler=self._scaler,
        )

    def forward(self, batch: HostBatch) -> np.ndarray:
        """See `Peer`."""
        import torch

        given = tensors(batch)
        self._network.eval()
        with torch.inference_mode():
            return images(self._network(given["composite"], given["mask"]))

    def step(self, batch: HostBatch) -> float:
        """See `Peer`."""
        given = tensors(batch)
        names = {"inputs": "composite", "comp": "composite", "real": "target", "mask": "mask"}
        self._network.train()
        with quiet():
            self._loop.train_step({key: given[name] for key, name in names.items()}, 0, 0)
        return self._scaler.loss


class _Scaler:
    """The loop's gradient scaler: without mixed precision it scales nothing."""

    loss = float("nan")

    def scale(self, loss: Tensor) -> Tensor:
        self.loss = float(loss)
        return loss

    def step(self, optimizer: TorchOptimizer) -> None:
        optimizer.step()

    def update(self) -> None:
        """Nothing to update."""


def _config() -> RunConfig:
    optim = OptimConfig(name="lion", lr=1e-5, b1=0.9, b2=0.99)
    return TrainConfig("phnet_ffhqh", PHNetConfig(), PHNetObjective(), optim=optim, steps=1)


def _names(config: RunConfig) -> dict[str, NameMap]:
    model = cast(PHNetConfig, config.model)
    return {"model": torch_names(model)}


CASES = (
    OfficialCase(
        name="phnet_ffhqh",
        repository="befozg/PHNet",
        config=_config,
        peer=PHNetPeer,
        names=_names,
        size=256,
        batch=4,
        small=(_config, 128, 2),
        result=lambda output: output.aux["raw"],
        sgd_rate=1e-4,
        remark="the official step without its LPIPS term, whose weight is 0",
    ),
)
