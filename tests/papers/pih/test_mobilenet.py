"""MobileNetV3-Small: sizes and shortcuts. Values and gradients: tests/models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.papers.pih.mobilenet import BLOCKS, InvertedResidual, MobileNetV3Small, make_divisible


def shapes(model, side=64, channels=7):
    image = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    return jax.eval_shape(lambda key, x: model.init(key, x, train=False), jax.random.key(0), image)


def test_sizes_are_those_of_the_table():
    params = shapes(MobileNetV3Small(96))["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == 1_616_832
    hidden = [params[f"block{i}"]["depthwise"]["kernel"].shape for i in range(11)]
    assert [s[3] for s in hidden] == [16, 72, 88, 96, 240, 240, 120, 144, 288, 576, 576]
    assert [s[0] for s in hidden] == [3, 3, 3] + [5] * 8
    gates = [params[f"block{i}"].get("se") for i in range(11)]
    squeezed = [g and g["squeeze"]["kernel"].shape[1] for g in gates]
    assert squeezed == [8, None, None, 24, 64, 64, 32, 40, 72, 144, 144]
    assert "expand" not in params["block0"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 8), (12, 16), (16 * 4.5, 72), (24 * 3.67, 88), (18, 24), (576 / 4, 144)],
)
def test_make_divisible(value, expected):
    assert make_divisible(value) == expected


def test_only_the_given_rows_are_built():
    params = shapes(MobileNetV3Small(9, width=0.25, blocks=(0, 4)))["params"]
    assert [name for name in params if name.startswith("block")] == ["block0", "block4"]


@pytest.mark.parametrize("index", [0, 4])
def test_block_keeps_what_its_row_says(index):
    """Residual where nothing changes size; a zero projection shows what is added to it."""
    spec = BLOCKS[index]
    channels = {0: 16, 4: 40}[index]
    block = InvertedResidual(make_divisible(channels * spec.expansion), spec.out, spec)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 8, 8, channels)), jnp.float32)
    variables = jax.jit(lambda key: block.init(key, x, train=False))(jax.random.key(0))
    variables["params"]["project"]["kernel"] *= 0
    y = jax.jit(lambda v: block.apply(v, x, train=False))(variables)
    if index == 4:
        np.testing.assert_array_equal(y, x)
    else:
        assert y.shape == (2, 4, 4, spec.out)
        np.testing.assert_array_equal(y, 0)
