"""GiftNet: Deep Image Harmonization with Globally Guided Feature Transformation (arXiv 2308.00356).

The authors released no code: this follows docs/papers/giftnet.md, built on iSSAM. Blocks:

- the U-Net of iSSAM (papers/issam/unet.py and ssam.py);
- one code per image, from the bottleneck: `CodeMap` (gift.py);
- `Gift` modules, which transform the foreground of feature maps under that code: by default on
  every skip connection and behind every decoder block.

3,322,236 parameters. Inputs and outputs are in [0,1]; the network works on ImageNet-normalized
colors, and predicts the whole image. Relation distillation belongs to training: the teacher is
no part of this network.

Choices that the paper's public material leaves open, each an option: the places of the modules
(`sites`), how the code is pooled and mapped (`pool`, `code_mlp`, `code_dim`), the number of
convolutions per module (`num_convs`), `residual`, `demodulate`, whether iSSAM's attention is kept
(`ssam`) and its blur (`random_blur_init`), the fusion with the composite (`image_fusion`).
"""

from dataclasses import dataclass, replace
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from jaxharm.errors import InputError
from jaxharm.fields import Count
from jaxharm.interfaces import Array, Output
from jaxharm.nn.imagenet import denormalize, normalize
from jaxharm.nn.pool import max_pool
from jaxharm.papers.giftnet.gift import CodeMap, Gift, Pool, pooled
from jaxharm.papers.issam.unet import (
    DecoderBlock,
    DoubleConv,
    FusionHead,
    UNetConfig,
    UpConv,
    check_inputs,
    flip_averaged,
    masks_per_level,
    with_mirrored,
)

Site = Literal["skip", "out", "concat", "up", "bottleneck", "encoder"]


@dataclass(frozen=True)
class GiftNetConfig(UNetConfig):
    """Options; the backbone's are those of `UNetConfig`.

    Attributes:
        sites: where features are transformed: on the skip connections, after the decoder blocks
            ("out"), on their concatenated inputs, on the enlarged feature, on the bottleneck
            before the decoder, after every encoder block (the bottleneck included).
        guidance: one code of the bottleneck for all modules, one per module from the map that it
            transforms (the first layer of the code's map is then the module's, the second shared),
            or none (convolutions without modulation). Modules in the encoder use a code of their own.
        pool: positions that a code is averaged over.
        code_mlp: whether two dense layers follow; if not, the code is the average itself.
        code_dim: length of the code after those layers.
        num_convs: modulated convolutions per module.
        residual: whether a module's input is added to what it makes.
        demodulate: whether modulated kernels are brought to length one.
    """

    sites: tuple[Site, ...] = ("skip", "out")
    guidance: Literal["global", "local", "none"] = "global"
    pool: Pool = "all"
    code_mlp: bool = True
    code_dim: Count = 256
    num_convs: Count = 2
    residual: bool = False
    demodulate: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.sites)) < len(self.sites):
            raise InputError(f"GiftNetConfig.sites={self.sites}: each once")

    @classmethod
    def tiny(cls) -> "GiftNetConfig":
        """Every default code path in about twenty thousand parameters."""
        return cls().shrunk()

    def shrunk(self) -> "GiftNetConfig":
        """The same choices with few channels."""
        return replace(self, base_channels=4, code_dim=16, trained_size=64)


class GiftNet(nn.Module):
    """The network.

    Attributes:
        config: options.
        axis_name: mapped axis of the batch statistics, or None.
        dtype: of the convolutions; statistics, codes, gates and the output are float32.
    """

    config: GiftNetConfig
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, composite: Array, mask: Array, background: Array | None = None, *, train: bool = False
    ) -> Output:
        """Harmonizes the foreground.

        Args:
            composite: f32[b,h,w,3] in [0,1].
            mask: f32[b,h,w,1] in [0,1], 1 = foreground.
            background: ignored.
            train: batch statistics of this batch instead of the running ones.

        Returns:
            Output; aux:
            raw f32[b,h,w,3], the image not clipped;
            transformed_skips, the maps that reach the decoder blocks over the skips, deepest first
            (the encoder's own if there is no module);
            encoder, the maps of the encoder blocks, finest first;
            codes, place -> f32[b,n], "global" or the names of the modules;
            scales, name of a module -> f32[b,c] of each of its convolutions.

        Raises:
            InputError: sides that are no multiples of `config.size_multiple`.
        """
        del background
        config, dtype, axis = self.config, self.dtype, self.axis_name
        check_inputs("GiftNet", config, composite, mask)
        flipped = config.flip_average and not train
        if flipped:
            composite, mask = with_mirrored(composite), with_mirrored(mask)
        mask = mask.astype(jnp.float32)
        masks = masks_per_level(mask, config.depth)
        sites = _Sites(config, dtype, CodeMap(config.code_dim, name="code_map"))
        image = normalize(composite.astype(jnp.float32))
        x = jnp.concatenate([image, mask], -1).astype(dtype)
        encoder: list[Array] = []
        for i, features in enumerate(config.channels):
            block = DoubleConv(
                features, i >= config.batch_norm_from, axis, dtype, name=f"encoder{i}"
            )
            x = block(max_pool(x) if i else x, train=train)
            x = sites.transform(x, masks[i], "encoder", i)
            encoder.append(x)
        # Modules in the encoder have run without the global code: it comes from their result.
        sites.guide(x, masks[-1])
        x = sites.transform(x, masks[-1], "bottleneck")
        x, skips = self._decode(x, encoder, masks, sites, train)
        head = FusionHead(config.image_fusion, config.residual_output, dtype, name="head")
        raw = denormalize(head(x, image))
        aux = {
            "raw": raw,
            "transformed_skips": tuple(skips),
            "encoder": tuple(encoder),
            "codes": sites.codes,
            "scales": sites.scales,
        }
        return flip_averaged(raw, aux) if flipped else Output(jnp.clip(raw, 0, 1), aux)

    def _decode(
        self, x: Array, encoder: list[Array], masks: list[Array], sites: "_Sites", train: bool
    ) -> tuple[Array, list[Array]]:
        """The decoder's full-size feature, and the transformed skips, deepest first."""
        config, dtype = self.config, self.dtype
        skips = []
        for d in range(config.depth - 1):
            level = config.depth - 2 - d
            level_mask = masks[level]
            skip = sites.transform(encoder[level], level_mask, "skip", d)
            skips.append(skip)
            x = UpConv(config.channels[level], dtype, name=f"up{d}")(x)
            inputs = [skip, sites.transform(x, level_mask, "up", d)]
            # Only a module on the concatenation needs it: the block takes both inputs as they are.
            if "concat" in config.sites:
                joined = jnp.concatenate(inputs, -1)
                inputs = [sites.transform(joined, level_mask, "concat", d)]
            decode = DecoderBlock(d, config, self.axis_name, dtype, name=f"decoder{d}")
            x = decode(*inputs, mask=level_mask, train=train)
            self.sow("intermediates", f"decoded{d}", x)
            x = sites.transform(x, level_mask, "out", d)
            self.sow("intermediates", f"out{d}", x)
        return x, skips


class _Sites:
    """The GIFT modules of one forward pass, with the codes and scales they used."""

    # Not a Flax module: its modules must belong to the network, in whose `__call__` it is used.

    def __init__(self, config: GiftNetConfig, dtype: DTypeLike, code_map: CodeMap) -> None:
        self.config, self.dtype, self.code_map = config, dtype, code_map
        self.codes: dict[str, Array] = {}
        self.scales: dict[str, tuple[Array, ...]] = {}

    def guide(self, bottleneck: Array, mask: Array) -> None:
        """Computes the global code, where there is one and a module that uses it."""
        if self.config.guidance == "global" and set(self.config.sites) - {"encoder"}:
            self._code(bottleneck, mask, "global")

    def transform(self, x: Array, mask: Array, site: Site, index: int | None = None) -> Array:
        """Applies the module of that site, if the config has one; otherwise returns `x`."""
        config = self.config
        if site not in config.sites:
            return x
        name = site if index is None else f"{site}{index}"
        code = None
        if config.guidance == "global" and site != "encoder":
            code = self.codes["global"]
        elif config.guidance != "none":
            code = self._code(x, mask, name)
        module = Gift(
            config.num_convs, config.residual, config.demodulate, self.dtype, name=f"gift_{name}"
        )
        x, self.scales[name] = module(x, mask, code)
        return x

    def _code(self, x: Array, mask: Array, place: str) -> Array:
        code = pooled(x, mask, self.config.pool)
        if self.config.code_mlp:
            code = self.code_map(code, place)
        self.codes[place] = code
        return code
