"""The columns of result tables where predictions are compared with real photographs."""

from collections.abc import Mapping
from typing import Any

from jaxharm.measures import Column, Measures

REFERENCE = Measures(
    columns={
        "fmse": Column("fMSE", 2, headline=True),
        "mse": Column("MSE", 2, headline=True),
        "psnr": Column("PSNR", 2, lower_is_better=False, headline=True),
        "fpsnr": Column("fPSNR", 2, lower_is_better=False),
        "ssim": Column("SSIM", 4, lower_is_better=False),
        "fssim": Column("fSSIM", 4, lower_is_better=False),
        "de00": Column("dE00", 2),
        "fde00": Column("fdE00", 2),
        "curve_fmse": Column("curve fMSE", 2),
        "lpips": Column("LPIPS", 4),
    },
    decides="fmse",
    methods=("composite", "model"),
    model="model",
    baseline="composite",
    against="the real photograph",
)


def columns_of(measured: Mapping[str, Any]) -> dict[str, Column]:
    """The columns of a metrics.json, in order.

    Files from before columns were stored there compare with real photographs.
    """
    stored = measured["statement"].get("columns")
    if stored is None:
        return dict(REFERENCE.columns)
    return {name: Column(**column) for name, column in stored.items()}
