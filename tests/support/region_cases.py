"""What the tests of the kernels of `ops.regions` share: shapes, masks, definitions in float64."""

import jax
import jax.numpy as jnp
import numpy as np

# name -> (batch, height, width, channels). Small proxies of the models' features: 64 channels lie
# below the lanes of a TPU's tile, 256 fill them twice, 3 fill neither; a GPU's tiles have 256 and 2048 numbers.
SHAPES = {
    "64 channels": (2, 24, 16, 64),
    "odd sides": (1, 131, 111, 3),
    "channels in the lanes": (1, 11, 37, 256),
    "one pixel": (1, 1, 1, 5),
}
MASKS = ("hard", "soft", "empty", "full", "one pixel")


def draw(shape, mask="soft", *, offset=1.0, spread=1.0, seed=0):
    """x, a mask of that kind and an upstream gradient, float32."""
    rng = np.random.default_rng(seed)
    x = offset + spread * rng.normal(size=shape)
    m = rng.random((*shape[:3], 1))
    if mask == "hard":
        m = np.round(m)
    elif mask != "soft":
        m = np.full_like(m, float(mask == "full"))
        if mask == "one pixel":
            m[:, shape[1] // 2, shape[2] // 3] = 1
    return tuple(np.float32(a) for a in (x, m, rng.normal(size=shape)))


def in_float64(function, arguments, upstream):
    """Value and gradients of a function of jax.numpy, as NumPy float64."""
    # On the CPU wherever kernels run: a TPU has no float64.
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (arguments, upstream))
        out, pullback = jax.vjp(function, *wide[0])
        return jax.tree.map(np.asarray, (out, pullback(wide[1])))


def mean(x, m, eps):
    return (x * m).sum((1, 2), keepdims=True) / (m.sum((1, 2), keepdims=True) + eps)


def moments(x, m, eps=1e-5):
    """The definition of `ops.masked_moments`."""
    mu = mean(x, m, eps)
    return mu, jnp.sqrt(mean(m * (x - mu) ** 2, m, eps) + eps)


def adain(content, style, mask, style_mask, eps=1e-5):
    """The definition of `ops.masked_adain`."""
    (mu, sd), (style_mu, style_sd) = moments(content, mask, eps), moments(style, style_mask, eps)
    return mask * ((content - mu) / sd * style_sd + style_mu) + (1 - mask) * content


def patch_norm(x, m, p, grid, eps=1e-7):
    """The definition of `ops.patch_norm`, patch by patch."""
    (fg_mu, fg_sd), (bg_mu, bg_sd) = moments(x, m, eps), moments(x, 1 - m, eps)
    cuts = [[*range(0, grid * (n // grid), n // grid), n] for n in x.shape[1:3]]
    patched = 0
    for i in range(grid):
        for j in range(grid):
            at = np.s_[:, cuts[0][i] : cuts[0][i + 1], cuts[1][j] : cuts[1][j + 1]]
            weight = p["grid_weights"][i, j].reshape(1, 1, 1, -1)
            patched += weight * mean(x[at], 1 - m[at], eps)
    weights = p["weights"]
    p = {k: v.reshape(1, 1, 1, -1) for k, v in p.items() if v.ndim == 1}
    unit = (x - fg_mu) / fg_sd * bg_sd
    whole = (unit + bg_mu) * p["fg_var"] + p["fg_bias"]
    patched = (unit + patched) * p["patched_fg_var"] + p["patched_fg_bias"]
    bg = (x - bg_mu) / bg_sd * p["bg_var"] + p["bg_bias"]
    return (weights[0] * whole + weights[1] * patched) * m + bg * (1 - m)


def assert_close(found, want, tolerance):
    """Errors relative to the largest value of each array."""

    def check(path, a, b):
        scale = np.abs(b).max() + 1e-3
        np.testing.assert_allclose(
            np.float64(a) / scale, b / scale, rtol=0, atol=tolerance,
            err_msg=jax.tree_util.keystr(path),
        )  # fmt: skip

    jax.tree_util.tree_map_with_path(check, found, want)


def assert_same_bits(first, second):
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
