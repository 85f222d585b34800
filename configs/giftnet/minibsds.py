"""A small GiftNet on a small set of real photographs, in a few minutes on two CPU cores.

Paper: none; the small-data recipe of configs/issam/minibsds.py with GiftNet's parts.
Command (after configs/giftnet/minibsds_teacher.py; all runs and seeds at once: see study_minibsds.py):
    python train.py --config configs/giftnet/minibsds.py --workdir runs/giftnet_minibsds \
        --set data.data_dir=DATA --set objective.teacher=runs/giftnet_minibsds_teacher
Hardware: 2 CPU cores.
Published: nothing on this data. Baselines (val, default_64): identity fMSE 1000.9 / MSE 115.4 / PSNR 30.15.
Ours (revision 01cab87, study_minibsds.py, seeds 0, 1, 2): val fMSE 987.5 ± 18.0 / MSE 111.6 ± 2.6 / PSNR 30.21 ± 0.04; without distillation
(overlay gift_no_rd) 995.2 ± 3.1 / 112.2 ± 2.5 / 30.11 ± 0.10. Against iSSAM, paired by seed, fMSE -5.6 ± 10.4 and +2.1 ± 7.3:
three seeds of so short runs show no difference between the three.
"""

from dataclasses import asdict, replace

from jaxharm.config import TrainConfig
from jaxharm.papers.giftnet.model import GiftNetConfig
from jaxharm.papers.giftnet.system import GiftNetObjective
from jaxharm.papers.issam.unet import UNetConfig

from ..issam.minibsds import get_config as issam


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
