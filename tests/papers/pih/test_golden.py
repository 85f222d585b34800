"""PIH against the reference implementation: outputs, intermediates, a training-mode forward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from papers.pih.golden_case import allowed, state_dict

from jaxharm import convert, registry

pytestmark = pytest.mark.golden
NAMES = {"base": ("pih", 0.6), "light": ("pih_light", 0.65)}
# Recorded layer -> our module; DERIVED: the same and what the network does next.
LAYERS = {
    "base": {
        "PL.conv1": ("curve_net", "stem"),
        "PL.bn1": ("curve_net", "stem_bn"),
        "PL.layer1": ("curve_net", "layer1_2"),
        "PL.layer2": ("curve_net", "layer2_3"),
        "PL.layer3": ("curve_net", "layer3_5"),
        "PL.layer4": ("curve_net", "layer4_2"),
        "PL.fc": ("curve_net", "head"),
    },
    "light": {
        **{f"PL.EffNet.features.{i}": ("curve_net", f"block{i - 1}") for i in (1, 2, 4, 6, 9, 11)},
        "PL.EffNet.classifier.0": ("curve_net", "fc1"),
        "PL.EffNet.classifier": ("curve_net", "fc2"),
    },
}
SHADING = {
    "gainnet.conv0": ("shading_net", "conv0"),
    "gainnet.conv_only": ("shading_net", "out"),
    **{
        f"gainnet.{name}": ("shading_net", name, "bn")
        for name in (
            *("conv1", "conv2", "conv3", "conv3_1", "conv3_2", "conv3_3"),
            *("conv4_1", "conv4_2", "conv4_3"),
        )
    },
}


def pooled(x):
    return nn.max_pool(nn.relu(x), (3, 3), (2, 2), ((1, 1), (1, 1)))


def averaged(x):
    return jnp.mean(x, (1, 2), keepdims=True)


DERIVED = {
    "base": {
        "PL.maxpool": (("curve_net", "stem_bn"), pooled),
        "PL.avgpool": (("curve_net", "layer4_2"), averaged),
    },
    "light": {
        "PL.EffNet.features.0": (("curve_net", "stem_bn"), nn.hard_swish),
        "PL.EffNet.conv": (("curve_net", "tail_bn"), nn.hard_swish),
    },
}


@functools.cache
def evaluated(folder, kind):
    """Output and every module's output for the recorded image."""
    golden = np.load(folder / "generator.npz")
    name, offset = NAMES[kind]
    variables = convert.from_torch(name, state_dict(kind), mask_offset=offset)
    model = registry.create_model(name, mask_offset=offset)
    composite, background, mask = (
        golden[f"{key}_u8"][None] / np.float32(255) for key in ("composite", "background", "mask")
    )

    @jax.jit
    def run(variables, composite, mask, background):
        output, captured = model.apply(
            variables, composite, mask, background, capture_intermediates=True
        )
        return output, captured["intermediates"]

    return golden, *jax.device_get(run(variables, composite, mask[..., None], background))


@pytest.mark.parametrize("kind", NAMES)
def test_outputs(shared, kind):
    folder = shared / "golden/pih"
    golden, output, _ = evaluated(folder, kind)
    np.testing.assert_allclose(
        output.aux["curves"], golden[f"{kind}.curves"], **allowed(folder, f"{kind}.curves")
    )
    images = {
        "shading": output.aux["shading"],
        "intermediate": output.aux["intermediate"],
        "final": output.image,
    }
    for name, value in images.items():
        tolerance = allowed(folder, f"{kind}.{name}")
        np.testing.assert_allclose(
            value[:, ::4, ::4], golden[f"{kind}.{name}_stride4"], **tolerance
        )
        np.testing.assert_allclose(
            value[:, 160:224, 160:224], golden[f"{kind}.{name}_crop"], **tolerance
        )


@pytest.mark.parametrize("kind", NAMES)
def test_layers(shared, kind):
    folder = shared / "golden/pih"
    golden, _, captured = evaluated(folder, kind)
    plain = {name: (path, None) for name, path in {**LAYERS[kind], **SHADING}.items()}
    layers = {**plain, **DERIVED[kind]}
    prefix = f"{kind}.act."
    assert {name for name in golden.files if name.startswith(prefix)} == {
        prefix + n for n in layers
    }
    for name, (path, follow) in layers.items():
        value = functools.reduce(lambda tree, part: tree[part], path, captured)["__call__"][0]
        value = np.asarray(value if follow is None else follow(value))
        if value.ndim == 4:
            step = max(1, value.shape[2] // 16)
            value = value[:, ::step, ::step, :8]
        expected = golden[prefix + name]
        assert value.shape == expected.shape, name
        tolerance = allowed(folder, prefix + name)
        np.testing.assert_allclose(value, expected, **tolerance, err_msg=name)


@pytest.mark.slow
def test_training_mode(shared):
    """Batch statistics, running statistics and the L1 loss of the low-resolution network."""
    folder = shared / "golden/pih"
    golden = np.load(folder / "training.npz")
    variables = convert.from_torch("pih", state_dict("base"), lowres=True)
    model = registry.create_model("pih", lowres=True)
    composite, background, target, mask = (
        golden[f"{key}_u8"] / np.float32(255) for key in ("real_aug", "bg", "real", "mask_pair")
    )

    @jax.jit
    def run(variables, composite, mask, background):
        output, updated = model.apply(
            variables, composite, mask, background, train=True, mutable=["batch_stats"]
        )
        loss = jnp.mean(jnp.abs(output.image - target))
        return output, updated["batch_stats"], loss

    output, stats, loss = run(variables, composite, mask[..., None], background)
    static = "stream1.static."
    np.testing.assert_allclose(loss, golden[static + "loss_L1"], rtol=1e-5)
    np.testing.assert_allclose(output.aux["curves"], golden[static + "curves"], atol=2e-4)
    for name, value in {"shading": output.aux["shading"], "final": output.image}.items():
        np.testing.assert_allclose(value[:, ::4, ::4], golden[f"{static}{name}_stride4"], atol=2e-4)
    stem, bottleneck = stats["curve_net"]["stem_bn"], stats["shading_net"]["conv3_3"]["bn"]
    for name, value in {
        "running_mean.PL.bn1": stem["mean"],
        "running_var.PL.bn1": stem["var"],
        "running_var.gainnet.conv3_3.1": bottleneck["var"],
    }.items():
        # Of the bottleneck's 2048 channels the first 64 are recorded.
        np.testing.assert_allclose(value[:64], golden[static + name], rtol=1e-4, atol=1e-5)
