"""What GKNet shows of itself: its kernels, where the LRE looks, what the fusion selects.

Source: docs/papers/gknet.md, "Figure".
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxharm.interfaces import Array, DeviceBatch, Params
from jaxharm.papers.gknet.config import GKNetConfig
from jaxharm.papers.gknet.lre import shrink, token_grid
from jaxharm.papers.gknet.model import foreground

_MOST_CELLS = 16  # kernels drawn along each side
_POINT, _REST = 1.0, 0.35  # brightness of the chosen point, and of the rest of the foreground


def explain(
    module: nn.Module,
    config: GKNetConfig,
    variables: Params,
    inputs: DeviceBatch,
    point: tuple[float, float] | None = None,
) -> dict[str, Array]:
    """Kernels, attention, fusion; see `interfaces.System.figures`.

    Per modulated level: the kernels on a grid of positions, mean over the channels, without the
    identity (gray is 0, each image has its own range), and how far the kernels of each position
    are from it. Per layer of the LRE: where a point of the foreground looks (mean over the heads,
    brightest is most). Per level: a bar per channel, the share of the global feature.

    Args:
        module, config, variables: the network.
        inputs: images in [0,1].
        point: row and column of the point, as shares of the image; None: the foreground's token
            nearest to the foreground's center. The whole batch has the same.
    """
    size = inputs.mask.shape[1:3]
    output: Any
    output, captured = module.apply(
        variables, inputs.composite, inputs.mask, train=False, mutable=["intermediates"]
    )
    inner: Any = captured["intermediates"]
    found = {}
    for level, kernels in zip(config.levels, output.aux["kernels"], strict=True):
        change = _without_identity(kernels.astype(jnp.float32), config)
        scale = f"1/{1 << level}"
        found[f"kernels {scale}"] = _drawn_kernels(jnp.mean(change, 3), size)
        length = jnp.sqrt(jnp.mean(jnp.sum(jnp.square(change), (-2, -1)), 3))
        found[f"kernel strength {scale}"] = _enlarged(_to_most(length), size)
    if config.lre_depth:
        found |= _attention(inner["lre"], output.aux["reference"], inputs.mask, config, point)
    for level in config.levels if config.scf_mode == "sk" else ():
        weights = inner[f"kpb{level}"]["scf"]["weights"][0]
        found[f"global share of channels 1/{1 << level}"] = _bars(weights[:, 0], size)
    return {name: value.astype(jnp.float32) for name, value in found.items()}


def _attention(
    captured: Any,
    reference: Array,
    mask: Array,
    config: GKNetConfig,
    point: tuple[float, float] | None,
) -> dict[str, Array]:
    """The foreground with its point, and the point's attention in every layer."""
    size = mask.shape[1:3]
    grid = token_grid(reference.shape[1:3], config.lre_token_cap)
    mask = foreground(config, mask)
    b = mask.shape[0]
    share = shrink(mask, grid)[..., 0]
    if point is None:
        chosen = _nearest_to_center(share)
    else:
        place = [min(int(p * n), n - 1) for p, n in zip(point, grid, strict=True)]
        chosen = jnp.full((b,), place[0] * grid[1] + place[1])
    index = jnp.arange(grid[0] * grid[1]).reshape(1, *grid)
    here = _enlarged((index == chosen[:, None, None]).astype(jnp.float32), size)
    found = {"point": jnp.where(here > 0, _POINT, _REST * mask)}
    for i in range(config.lre_depth):
        weights = jnp.mean(captured[f"layer{i}"]["attn"]["weights"][0], 1)
        seen = weights[jnp.arange(b), chosen].reshape(b, *grid)
        found[f"attention of the point, layer {i + 1}"] = _enlarged(_to_most(seen), size)
    return found


def _nearest_to_center(share: Array) -> Array:
    """f32[b,h,w] -> i32[b]: the token, of those with the most foreground, nearest to its center."""
    b, h, w = share.shape
    total = jnp.maximum(jnp.sum(share, (1, 2), keepdims=True), 1e-6)
    rows, columns = jnp.arange(h).reshape(1, h, 1), jnp.arange(w).reshape(1, 1, w)
    center = [jnp.sum(share * line, (1, 2), keepdims=True) / total for line in (rows, columns)]
    distance = jnp.square(rows - center[0]) + jnp.square(columns - center[1])
    fullest = share >= 0.999 * jnp.max(share, (1, 2), keepdims=True)
    return jnp.argmin(jnp.where(fullest, distance, jnp.inf).reshape(b, -1), -1)


def _without_identity(kernels: Array, config: GKNetConfig) -> Array:
    """The kernels as a change of the feature."""
    size = kernels.shape[-1]
    if config.mod_residual:
        return kernels
    center = np.zeros((1, 1, 1, 1, size, size), np.float32)
    center[..., size // 2, size // 2] = 1
    return kernels - jnp.asarray(center)


def _drawn_kernels(kernels: Array, size: tuple[int, ...]) -> Array:
    """f32[b,h',w',k,k] -> f32[b,h,w,1]: a grid of cells, each with the kernel of its middle."""
    k = kernels.shape[-1]
    places, taps = [], []
    for n, small in zip(size, kernels.shape[1:3], strict=True):
        cells = min(small, _MOST_CELLS, n // k)
        along = np.arange(n) * cells / n
        places.append(((np.floor(along) + 0.5) * small / cells).astype(int))
        taps.append((along % 1 * k).astype(int))
    rows, columns = places[0][:, None], places[1][None]
    drawn = kernels[:, rows, columns, taps[0][:, None], taps[1][None]]
    most = jnp.maximum(jnp.max(jnp.abs(drawn), (1, 2), keepdims=True), 1e-6)
    return jnp.clip(0.5 + 0.5 * drawn / most, 0, 1)[..., None]


def _bars(shares: Array, size: tuple[int, ...]) -> Array:
    """f32[b,c] in [0,1] -> f32[b,h,w,1]: a bar per channel, from the bottom."""
    height, width = size
    channel = np.arange(width) * shares.shape[1] // width
    level = (height - 0.5 - np.arange(height, dtype=np.float32)) / height
    bars = shares[:, None, channel] > jnp.asarray(level).reshape(1, -1, 1)
    return bars.astype(jnp.float32)[..., None]


def _to_most(x: Array) -> Array:
    return x / jnp.maximum(jnp.max(x, (1, 2), keepdims=True), 1e-6)


def _enlarged(small: Array, size: tuple[int, ...]) -> Array:
    """f32[b,h',w'] -> f32[b,h,w,1], the nearest value."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, small.shape[1:3], strict=True))
    return small[:, rows[:, None], columns[None], None]
