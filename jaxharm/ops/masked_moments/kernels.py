"""Moments by kernels: one pass over x for both, and one that writes the gradients."""

from types import ModuleType

from jaxharm.interfaces import Array
from jaxharm.ops.regions.sums import Moments, moment_gradients, moments


def forward(
    kernels: ModuleType, x: Array, mask: Array, eps: float, *, interpret: bool = False
) -> Moments:
    """The mean and deviation, and the sums that `backward` needs besides.

    Args:
        kernels: `regions.pallas_tpu` or `regions.pallas_triton`.
    """
    return moments(kernels.sums(x, mask, 1, regions=1, interpret=interpret), eps)


def backward(
    kernels: ModuleType,
    x: Array,
    mask: Array,
    found: Moments,
    grads: tuple[Array, Array],
    eps: float,
    *,
    interpret: bool = False,
) -> tuple[Array, Array]:
    """Gradients with respect to x and the mask, given those of mean and deviation."""
    mean, square, constant = moment_gradients(found, *grads, eps)
    d_x, d_mask = kernels.centered_gradient(
        x, mask, (found.mean, mean, square), interpret=interpret
    )
    return d_x, (d_mask + constant).astype(mask.dtype)
