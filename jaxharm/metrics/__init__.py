"""Metrics per image under named protocols; `measure` gives all of them from one preparation."""

from jaxharm.metrics.color import delta_e, fdelta_e
from jaxharm.metrics.curve import curve_fmse
from jaxharm.metrics.image import fmse, fpsnr, mae, mse, psnr, se
from jaxharm.metrics.measure import METRICS, measure
from jaxharm.metrics.protocols import PROTOCOLS, Protocol, get_protocol
from jaxharm.metrics.structure import fssim, ssim

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "Protocol",
    "curve_fmse",
    "delta_e",
    "fdelta_e",
    "fmse",
    "fpsnr",
    "fssim",
    "get_protocol",
    "mae",
    "measure",
    "mse",
    "psnr",
    "se",
    "ssim",
]
