"""The Long-distance Reference Extractor of GKNet: a transformer over the bottleneck.

Source: docs/papers/gknet.md, "Network".
"""

import math
from functools import cache, partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.interfaces import Array
from jaxharm.nn.dropout import Dropout
from jaxharm.nn.init import xavier_uniform
from jaxharm.nn.resample import resize
from jaxharm.ops.dispatch import platform
from jaxharm.papers.gknet.config import MOST_TOKENS, GKNetConfig


class LongDistanceReferenceExtractor(nn.Module):
    """The whole extractor: projection to tokens, positions, encoder layers.

    Attributes:
        config: options.
        axis_name: mapped axis of the batch, for dropout.
        dtype: of the arithmetic; softmaxes and norms are float32.
    """

    config: GKNetConfig
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array, *, train: bool) -> Array:
        """Bottleneck f[b,h,w,c], share of foreground f32[b,h,w,1] -> f[b,h,w,lre_dim]."""
        config, size = self.config, (x.shape[1], x.shape[2])
        x = _dense(config, config.lre_dim, self.dtype, "project")(x)
        grid = token_grid(size, config.lre_token_cap)
        if config.lre_depth == 0:
            return x
        x, mask = shrink(x, grid), shrink(mask, grid)
        b, h, w, d = x.shape
        tokens, positions = x.reshape(b, h * w, d), self._positions(h, w)
        # Positions join either the tokens once, or the queries and keys of every layer.
        if config.lre_pos in ("sincos_input", "learned_input"):
            tokens, positions = tokens + positions.astype(self.dtype), 0 * positions
        foreground = mask.reshape(b, h * w) > config.fg_token_threshold
        allowed = allowed_keys(foreground, config.lre_attn_mask)
        for i in range(config.lre_depth):
            layer = EncoderLayer(config, self.axis_name, self.dtype, name=f"layer{i}")
            tokens = layer(tokens, positions.astype(self.dtype), allowed, train=train)
        if config.lre_norm_first:
            tokens = _norm(self.dtype, "norm")(tokens)
        result = tokens.reshape(b, h, w, d)
        return result if grid == size else resize(result, size, "bilinear")

    def _positions(self, h: int, w: int) -> Array:
        """f32[1,h*w,d]."""
        config = self.config
        d = config.lre_dim
        if config.lre_pos == "none":
            return jnp.zeros((1, h * w, d), jnp.float32)
        if config.lre_pos == "learned_input":
            side = config.trained_size // config.size_multiple
            # Zeros: an untrained table leaves the tokens as they are.
            table = self.param("positions", nn.initializers.zeros, (side, side, d), jnp.float32)
            return resize(table[None], (h, w), "bilinear").reshape(1, h * w, d)
        return jnp.asarray(sincos_positions(h, w, d)).reshape(1, h * w, d)


class EncoderLayer(nn.Module):
    """Attention and feed-forward net, each with a residual and a norm.

    Attributes: as `LongDistanceReferenceExtractor`.
    """

    config: GKNetConfig
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, positions: Array, allowed: Array | None, *, train: bool) -> Array:
        """f[b,t,d], f[1,t,d] and bool[b,t,t] (query, key) or None -> f[b,t,d]."""
        config = self.config
        attend = Attention(config, self.dtype, name="attn")
        norms = [_norm(self.dtype, f"norm{i}") for i in (1, 2)]

        def drop(x: Array) -> Array:
            return Dropout(config.lre_dropout, self.axis_name)(x, train=train)

        def feed_forward(x: Array) -> Array:
            hidden = _dense(config, config.lre_ffn, self.dtype, "linear1")(x)
            exact_gelu = partial(nn.gelu, approximate=False)  # PyTorch's; Flax approximates by tanh
            hidden = (exact_gelu if config.lre_act == "gelu" else nn.relu)(hidden)
            return _dense(config, config.lre_dim, self.dtype, "linear2")(drop(hidden))

        if config.lre_norm_first:
            x = x + drop(attend(norms[0](x), positions, allowed))
            return x + drop(feed_forward(norms[1](x)))
        x = norms[0](x + drop(attend(x, positions, allowed)))
        return norms[1](x + drop(feed_forward(x)))


class Attention(nn.Module):
    """Multi-head self-attention; positions are added to queries and keys, never to values.

    Attributes:
        config: options.
        dtype: of the arithmetic; the softmax is float32.
    """

    config: GKNetConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, positions: Array, allowed: Array | None) -> Array:
        """Arguments and result as `EncoderLayer`. May sow "weights" f32[b,heads,t,t]."""
        b, t, d = x.shape
        heads = self.config.lre_heads
        kernel_init = self.config.weights(xavier_uniform())
        kernel = self.param("in_kernel", kernel_init, (d, 3 * d), jnp.float32)
        bias = self.param("in_bias", nn.initializers.zeros, (3 * d,), jnp.float32)
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype).reshape(1, 1, -1)
        # One product for queries and keys, which see positions, and one for values, which do not.
        placed = (x + positions) @ kernel[:, : 2 * d] + bias[..., : 2 * d]
        value = x @ kernel[:, 2 * d :] + bias[..., 2 * d :]
        split = (b, t, heads, d // heads)
        query, key, value = (a.reshape(split) for a in (*jnp.split(placed, 2, -1), value))
        mask = None if allowed is None else allowed[:, None]
        # Computed a second time for figures only: the fused attention does not return its weights.
        if self.is_mutable_collection("intermediates") and not self.is_initializing():
            self.sow("intermediates", "weights", attention_weights(query, key, allowed))
        implementation = self._implementation()
        y = jax.nn.dot_product_attention(
            query, key, value, mask=mask, implementation=implementation
        )
        return _dense(self.config, d, self.dtype, "out")(y.reshape(b, t, d))

    def _implementation(self) -> Literal["xla", "cudnn"]:
        if not self.config.lre_flash:
            return "xla"
        if platform() != "gpu" or self.dtype != jnp.bfloat16:
            raise InputError(
                "GKNet: lre_flash needs an NVIDIA GPU and precision=bfloat16; leave it off here"
            )
        return "cudnn"


def attention_weights(query: Array, key: Array, allowed: Array | None) -> Array:
    """Softmax of the scaled scores: f[b,t,heads,e] twice -> f32[b,heads,t,t], query before key."""
    # Products of bfloat16 are summed in float32, as the attention itself does.
    scores = jnp.einsum("bqhe,bkhe->bhqk", query, key, preferred_element_type=jnp.float32)
    scores = scores / math.sqrt(query.shape[-1])
    if allowed is not None:
        scores = jnp.where(allowed[:, None], scores, -jnp.inf)
    return jax.nn.softmax(scores, -1)


def allowed_keys(foreground: Array, mode: str) -> Array | None:
    """Which keys a query may attend to.

    Args:
        foreground: bool[b,t].
        mode: "none": all; "fg_to_bg": the foreground only to the background and itself;
            "all_to_bg": everything only to the background. A query left without keys sees all.

    Returns:
        bool[b,t,t] (query, key), or None for all.
    """
    if mode == "none":
        return None
    b, t = foreground.shape
    background = jnp.broadcast_to(~foreground[:, None, :], (b, t, t))
    if mode == "fg_to_bg":
        background = background | ~foreground[:, :, None] | jnp.eye(t, dtype=bool)[None]
    # A softmax over no keys is NaN: a query left without any sees all.
    return background | ~jnp.any(background, -1, keepdims=True)


@cache
def sincos_positions(h: int, w: int, d: int) -> np.ndarray:
    """f32[h,w,d]: sines and cosines of the row in the first d/2 channels, of the column in the rest."""
    half = d // 2
    exponent = 2 * (np.arange(half) // 2) / half

    def line(n: int) -> np.ndarray:
        # Positions count from 1, as in the published transformers that have this table.
        angle = np.arange(1, n + 1)[:, None] / 10000.0**exponent
        return np.where(np.arange(half) % 2 == 0, np.sin(angle), np.cos(angle))

    rows = np.broadcast_to(line(h)[:, None], (h, w, half))
    columns = np.broadcast_to(line(w)[None], (h, w, half))
    return np.concatenate([rows, columns], -1).astype(np.float32)


def token_grid(size: tuple[int, ...], cap: int | None) -> tuple[int, int]:
    """Rows and columns of tokens for a bottleneck of `size`, within the cap, with its aspect ratio.

    Raises:
        InputError: no cap, and more than `MOST_TOKENS`.
    """
    h, w = size
    if cap is None:
        if h * w > MOST_TOKENS:
            raise InputError(
                f"GKNet: the image gives the LRE {h}x{w} tokens and at most {MOST_TOKENS} fit: set "
                "lre_token_cap (1024 is the default), or predict at a smaller size"
            )
        return h, w
    if h * w <= cap:
        return h, w
    # Attention grows with the square of the tokens, so large images share the grid of small ones.
    scale = math.sqrt(cap / (h * w))
    # Rounded down, but at least 1: a very long image must stay within the cap too.
    rows = min(max(1, int(h * scale)), cap)
    return rows, max(1, min(int(w * scale), cap // rows))


def shrink(x: Array, grid: tuple[int, int]) -> Array:
    """Reduces f[b,h,w,c] to the grid, antialiased; returns x itself if it has that size."""
    if x.shape[1:3] == grid:
        return x
    shape = (x.shape[0], *grid, x.shape[3])
    return jax.image.resize(x.astype(jnp.float32), shape, "linear").astype(x.dtype)


def _dense(config: GKNetConfig, features: int, dtype: DTypeLike, name: str) -> nn.Dense:
    kernel_init = config.weights(xavier_uniform())
    return nn.Dense(features, dtype=dtype, kernel_init=kernel_init, name=name)


def _norm(dtype: DTypeLike, name: str) -> nn.LayerNorm:
    # The fast variance, E[x^2] - E[x]^2, cancels where the mean is large.
    return nn.LayerNorm(epsilon=1e-5, dtype=dtype, use_fast_variance=False, name=name)
