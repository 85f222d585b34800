"""The public function: it checks the arguments and chooses an implementation."""

import jax.numpy as jnp

from jaxharm.errors import InputError
from jaxharm.interfaces import Array
from jaxharm.ops import dispatch
from jaxharm.ops.dispatch import Implementation

_OFFERED = {"reference": Implementation("jaxharm.ops.modulated_conv.reference")}


def modulated_conv(
    x: Array,
    kernel: Array,
    scales: Array,
    *,
    demodulate: bool = True,
    eps: float = 1e-8,
    implementation: str | None = None,
) -> Array:
    """Convolution with a kernel that is scaled per image and input channel.

    With k'[u,v,i,j] = kernel[u,v,i,j] * scales[n,i] for image n, the kernel is

        k'' = k' / sqrt(sum over u,v,i of k'^2 + eps)      per image and output channel j

    (k' itself without demodulation), applied with stride 1 and zero padding that keeps the size.
    Every floating argument has a gradient. Scales of 0 give 0, with a finite gradient; a common
    positive factor of the scales of an image changes nothing but the share of `eps`.

    Args:
        x: f[b,h,w,c].
        kernel: f[k,l,c,o], k and l odd.
        scales: f[b,c]; may be negative.
        demodulate: whether the kernels are brought to length one.
        eps: added to their squared lengths.
        implementation: see `jaxharm.ops.dispatch`.

    Returns:
        f[b,h,w,o] in the dtype of `x`; squared lengths are float32.

    Raises:
        InputError: a shape that does not fit, or an implementation that does not exist.

    Source: arXiv 2308.00356 (globally guided feature transformation).
    """
    x, kernel, scales = jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(scales)
    if x.ndim != 4:
        raise InputError(f"modulated_conv: x is {list(x.shape)}, not [b,h,w,c]")
    b, _, _, c = x.shape
    if kernel.ndim != 4 or kernel.shape[2] != c or not all(n % 2 for n in kernel.shape[:2]):
        raise InputError(
            f"modulated_conv: kernel is {list(kernel.shape)}, not [k,l,{c},o] with k and l odd"
        )
    if scales.shape != (b, c):
        raise InputError(f"modulated_conv: scales are {list(scales.shape)}, not {[b, c]}")
    arguments, settings = (x, kernel, scales), (demodulate, eps)
    return dispatch.run("modulated_conv", implementation, _OFFERED, _apply, arguments, settings)


def _apply(
    chosen: Implementation, demodulate: bool, eps: float, x: Array, kernel: Array, scales: Array
) -> Array:
    return chosen.call("modulated_conv", x, kernel, scales, demodulate, eps)
