"""All metrics of a batch at once."""

from jaxharm.metrics.arrays import Images, make_pair
from jaxharm.metrics.color import pair_delta_e
from jaxharm.metrics.image import decibels, pair_fmse, pair_mae, pair_mse, pair_se
from jaxharm.metrics.protocols import Protocol
from jaxharm.metrics.structure import pair_ssim

METRICS = ("mse", "fmse", "psnr", "fpsnr", "ssim", "fssim", "mae", "se", "de00", "fde00")


def measure(
    prediction: Images, target: Images, mask: Images, *, protocol: str | Protocol = "default_256"
) -> dict[str, Images]:
    """Computes every metric of `METRICS`, each [b]: float64 for NumPy input, else its float type.

    Arguments and errors as for `jaxharm.metrics.mse`.
    """
    pair = make_pair(prediction, target, mask, protocol)
    mse, fmse = pair_mse(pair), pair_fmse(pair)
    whole, foreground = pair_ssim(pair)
    color, foreground_color = pair_delta_e(pair)
    return {
        "mse": mse,
        "fmse": fmse,
        "psnr": decibels(pair, mse),
        "fpsnr": decibels(pair, fmse),
        "ssim": whole,
        "fssim": foreground,
        "mae": pair_mae(pair),
        "se": pair_se(pair),
        "de00": color,
        "fde00": foreground_color,
    }
