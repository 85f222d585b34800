"""Kernels over the two regions of a feature map: the masked one and the rest.

`masked_moments`, `patch_norm` and `masked_adain` are made of five of them, each of which reads its
arrays once:

- `sums`: the sums from which `sums.py` computes means and deviations of regions and patches;
- `blend`: one affine map per region and channel, blended by the mask;
- `gradient_sums`, `gradient`: the derivatives of the two, by sums and then by one pass that writes;
  `centered_gradient` for moments alone.

`pallas_tpu.py`, `pallas_triton.py` and `pallas_mosaic_gpu.py` have the same functions; `body.py` is
the arithmetic that they share. See docs/kernels.md.
"""
