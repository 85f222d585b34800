"""ResNet: sizes and shortcuts. Values and gradients: tests/models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxharm.papers.pih.resnet import Bottleneck, ResNet


def test_resnet50_has_its_parameters():
    image = jax.ShapeDtypeStruct((1, 64, 64, 7), jnp.float32)
    variables = jax.eval_shape(
        lambda key, x: ResNet(96).init(key, x, train=False), jax.random.key(0), image
    )
    params = variables["params"]
    assert sum(x.size for x in jax.tree.leaves(params)) == 23_717_280
    blocks = [name for name in params if name.startswith("layer")]
    assert len(blocks) == 16
    assert sorted(name for name in blocks if "proj" in params[name]) == [
        f"layer{stage}_0" for stage in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(("channels", "stride", "project"), [(8, 1, False), (8, 2, True)])
def test_bottleneck_adds_its_shortcut(channels, stride, project):
    block = Bottleneck(2, stride, project)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 6, 6, channels)), jnp.float32)
    variables = jax.jit(lambda key: block.init(key, x, train=False))(jax.random.key(0))
    variables["params"]["conv3"]["kernel"] *= 0
    y = jax.jit(lambda v: block.apply(v, x, train=False))(variables)
    if project:
        kernel = variables["params"]["proj"]["kernel"][0, 0]
        x = jnp.einsum("bhwc,co->bhwo", x[:, ::2, ::2], kernel) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(y, jnp.maximum(x, 0), atol=1e-6)
