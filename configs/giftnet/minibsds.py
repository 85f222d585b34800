"""A small GiftNet on a small set of real photographs, in about 5 minutes on two CPU cores.

Paper: none; the small-data recipe of configs/issam/minibsds.py with GiftNet's parts.
Command (after configs/giftnet/minibsds_teacher.py; all runs and seeds at once: see study_minibsds.py):
    python train.py --config configs/giftnet/minibsds.py --workdir runs/giftnet_minibsds \
        --set data.data_dir=DATA --set objective.teacher=runs/giftnet_minibsds_teacher
Hardware: 2 CPU cores.
Published: nothing on this data. Baselines (val, default_256): identity fMSE 1123.9 / PSNR 29.56; ridge regression 904.4 / 30.40.
Ours: val fMSE 1100.3 ± 15.0 / MSE 122.2 ± 2.1 / PSNR 29.67 ± 0.08 over seeds 0 and 1; without distillation (overlay gift_no_rd)
1089.5 ± 45.2 / 120.1 ± 3.9 / 29.62 ± 0.14. Two seeds show no effect of the distillation.
"""

from dataclasses import asdict, replace

from configs.issam.minibsds import get_config as issam
from jaxharm.config import TrainConfig
from jaxharm.models.giftnet import GiftNetConfig
from jaxharm.nn.unet import UNetConfig
from jaxharm.systems.giftnet import GiftNetObjective


def get_config() -> TrainConfig:
    """The run: iSSAM's, with the same backbone."""
    base = issam()
    backbone = {k: v for k, v in asdict(base.model).items() if k in UNetConfig.__dataclass_fields__}
    return replace(
        base,
        system="giftnet",
        model=GiftNetConfig(**backbone),
        objective=GiftNetObjective(min_area=base.objective.min_area),
    )
