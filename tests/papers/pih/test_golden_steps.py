"""PIH's two streams against the reference: losses, gradients, one whole step of both networks."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from papers.pih.golden_case import discriminator_variables, state_dict
from support.contexts import context

from jaxharm import convert
from jaxharm.config import OptimConfig, TrainConfig
from jaxharm.interfaces import TrainState
from jaxharm.papers.pih.model import PIHConfig
from jaxharm.papers.pih.system import AdversarialConfig, PIHObjective, PIHSystem
from jaxharm.schema import Batch, Pair
from jaxharm.training.adversarial import DISCRIMINATOR
from jaxharm.training.supervised import NETWORK
from jaxharm.training.updates import Network, Tag, replace_networks, step_key

pytestmark = [pytest.mark.golden, pytest.mark.slow]
CONFIG = TrainConfig(
    system="pih",
    model=PIHConfig(lowres=True),
    objective=PIHObjective(adversarial=AdversarialConfig(reference_bn_warm_pass=True)),
    optim=OptimConfig(name="adam", lr=4e-5),
    steps=1000,
)
SYSTEM = PIHSystem.from_config(CONFIG, total_steps=1000)
STREAMS = (1, 2)
# The reference's name of a recorded gradient -> ours.
MODEL_LEAVES = {
    "PL.conv1.weight": ("curve_net", "stem", "kernel"),
    "PL.layer1.0.conv2.weight": ("curve_net", "layer1_0", "conv2", "kernel"),
    "PL.layer2.0.downsample.0.weight": ("curve_net", "layer2_0", "proj", "kernel"),
    "PL.layer3.5.bn3.weight": ("curve_net", "layer3_5", "bn3", "scale"),
    "PL.layer4.2.conv3.weight": ("curve_net", "layer4_2", "conv3", "kernel"),
    "PL.fc.weight": ("curve_net", "head", "kernel"),
    "PL.fc.bias": ("curve_net", "head", "bias"),
    "gainnet.conv0.weight": ("shading_net", "conv0", "kernel"),
    "gainnet.conv1.0.weight": ("shading_net", "conv1", "conv", "kernel"),
    "gainnet.conv3_1.0.weight": ("shading_net", "conv3_1", "conv", "kernel"),
    "gainnet.conv3_3.0.weight": ("shading_net", "conv3_3", "conv", "kernel"),
    "gainnet.conv4_2.1.bias": ("shading_net", "conv4_2", "bn", "bias"),
    "gainnet.conv_only.weight": ("shading_net", "out", "kernel"),
    "gainnet.conv_only.bias": ("shading_net", "out", "bias"),
}
# Recorded gradients -> the reference's name of the leaf; kernels in the official layout.
RAW_GRADIENTS = {
    "PL.fc.bias": "PL.fc.bias",
    "gainnet.conv0.weight": "gainnet.conv0.weight",
    "gainnet.conv_only.bias": "gainnet.conv_only.bias",
    "conv_only.weight": "gainnet.conv_only.weight",  # of its first 16 inputs
}
JUDGE_LEAVES = {
    f"{layer}.{theirs}": (layer, ours)
    for layer, theirs, ours in (
        ("conv0", "weight", "kernel"),
        *((name, "weight_orig", "kernel") for name in ("conv1", "conv3", "conv3_3")),
        *((name, "weight_orig", "kernel") for name in ("conv4_1", "conv4", "conv8")),
        ("conv9", "weight", "kernel"),
        ("conv9", "bias", "bias"),
    )
}


@functools.cache
def load(folder):
    """The recorded arrays, the batch of both streams, and the state of both networks."""
    golden = dict(np.load(folder / "training.npz"))
    masks = (golden[f"{name}_u8"][..., None] / np.float32(255) for name in ("mask_pair", "mask"))
    own, other = masks
    batch = Batch(
        composite=golden["real_aug_u8"],
        mask=own,
        target=golden["real_u8"],
        background=golden["bg_u8"],
        unpaired=Pair(golden["comp_u8"], other),
    )
    generator = convert.from_torch("pih", state_dict("base"), lowres=True)
    judge = discriminator_variables(state_dict("discriminator"))
    networks = {
        name: Network.fresh(variables, SYSTEM.optimizer)
        for name, variables in ((NETWORK, generator), (DISCRIMINATOR, judge))
    }
    empty = TrainState(jnp.int32(0), jax.random.key(0), {}, {}, {}, {})
    return golden, batch, replace_networks(empty, networks)


def at_stream(state, stream):
    """`state` at a step whose draw takes that stream; nothing else of it depends on the step."""
    for step in range(100):
        state = state.replace(step=jnp.int32(step))
        if (jax.random.uniform(step_key(state, Tag.STREAM)) < 0.5) == (stream == 1):
            return state
    raise AssertionError("no step of 100 takes that stream")


# Convolutions are library calls: what the compiler would optimize for long is the cheap rest.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@quick_jit
def static(state, batch):
    """Both losses and gradients with the discriminator in evaluation mode; no update."""
    system = dataclasses.replace(
        SYSTEM,
        config=dataclasses.replace(CONFIG, objective=PIHObjective(adversarial=AdversarialConfig())),
    )
    prepared = system.prepare(system.select_stream(state, batch))
    ctx = context(key=state.key)
    extras = system.before_loss(ctx, state, batch)
    model, old = Network.of(state, NETWORK), Network.of(state, DISCRIMINATOR)

    def judge(params, spectral, images):
        variables = {"params": params, **spectral}
        return system.discriminator().apply(variables, images, train=False), spectral

    def generate(params):
        output, stats = system.forward(ctx, params, model.collections, prepared)
        total, (_, terms) = system.generator_loss(
            ctx, functools.partial(judge, old.params), old.collections, output, prepared, extras
        )
        return total, (output, stats, {"loss_G_total": (total, 1.0), **terms})

    grads, (output, stats, terms) = jax.grad(generate, has_aux=True)(model.params)

    def discriminate(params):
        total, (_, terms) = system.discriminator_loss(
            ctx, functools.partial(judge, params), old.collections, output, prepared, extras
        )
        return total, {"loss_D": (total, 1.0), **terms}

    judge_grads, judge_terms = jax.grad(discriminate, has_aux=True)(old.params)
    logits = [
        judge(old.params, old.collections, images)[0] for images in (output.image, prepared.target)
    ]
    norms = jax.tree.map(jnp.linalg.norm, (grads, judge_grads))
    totals = [optax.tree.norm(tree) for tree in norms]
    some = {name: leaf_of(grads, MODEL_LEAVES[leaf]) for name, leaf in RAW_GRADIENTS.items()}
    return output, stats, logits, {**terms, **judge_terms}, norms, totals, some


def leaf_of(tree, path):
    return functools.reduce(lambda node, part: node[part], path, tree)


def check_losses(golden, prefix, terms, stream):
    names = {
        "loss_D_fake": "fake_loss",
        "loss_D_real": "real_loss",
        "loss_D": "loss_D",
        "loss_G_adv": "adversarial_loss",
        "loss_G_total": "loss_G_total",
        **({"loss_L1": "l1_loss"} if stream == 1 else {}),
    }
    for theirs, ours in names.items():
        total, count = terms[ours]
        np.testing.assert_allclose(
            total / count, golden[prefix + theirs], rtol=1e-5, err_msg=theirs
        )
    if stream == 2:
        assert float(terms["l1_loss"][1]) == 0


def check_statistics(golden, prefix, stats):
    """Stem of the curve net, bottleneck of the shading net: what is recorded of them."""
    stem = stats["batch_stats"]["curve_net"]["stem_bn"]
    bottleneck = stats["batch_stats"]["shading_net"]["conv3_3"]["bn"]
    values = {
        "running_mean.PL.bn1": stem["mean"],
        "running_var.PL.bn1": stem["var"],
        "running_var.gainnet.conv3_3.1": bottleneck["var"][:64],
    }
    recorded = {name.removeprefix(prefix) for name in golden if name.startswith(f"{prefix}running")}
    assert recorded <= set(values)
    for name in recorded:
        np.testing.assert_allclose(
            values[name], golden[prefix + name], rtol=1e-4, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("stream", STREAMS)
def test_losses_and_gradients(shared, stream):
    golden, batch, state = load(shared / "golden/pih")
    prefix = f"stream{stream}.static."
    output, stats, logits, terms, norms, totals, some = static(at_stream(state, stream), batch)
    check_losses(golden, prefix, terms, stream)
    check_statistics(golden, prefix, stats)
    np.testing.assert_allclose(output.aux["curves"], golden[prefix + "curves"], atol=2e-4)
    images = {
        "shading": output.aux["shading"],
        "final": output.image,
        "logits_fake": logits[0],
        "logits_real": logits[1],
    }
    for name, value in images.items():
        np.testing.assert_allclose(
            value[:, ::4, ::4], golden[f"{prefix}{name}_stride4"], atol=2e-4, err_msg=name
        )
    for key, leaves, tree, total in (
        ("gradnorm_G", MODEL_LEAVES, norms[0], totals[0]),
        ("gradnorm_D", JUDGE_LEAVES, norms[1], totals[1]),
    ):
        np.testing.assert_allclose(total, golden[f"{prefix}{key}.total"], rtol=2e-2)
        for name, path in leaves.items():
            expected = golden[f"{prefix}{key}.{name}"]
            np.testing.assert_allclose(leaf_of(tree, path), expected, rtol=2e-2, err_msg=name)
    for name, value in some.items():
        expected = golden[f"{prefix}grad.{name}"]
        if expected.ndim == 4:
            expected = expected.transpose(2, 3, 1, 0)
            value = value[:, :, : expected.shape[2]]
        bound = 2e-2 * np.abs(expected).max()
        np.testing.assert_allclose(value, expected, atol=bound, err_msg=name)


@quick_jit
def step(state, batch):
    state, metrics = SYSTEM.step(state, batch, axis_name=None)
    judge = Network.of(state, DISCRIMINATOR)
    return state.params[NETWORK]["curve_net"], state.collections[NETWORK], judge, metrics


@pytest.mark.parametrize("stream", STREAMS)
def test_reference_step(shared, stream):
    """Its order: warm pass (stream 1), discriminator, then the model judged by the updated one."""
    golden, batch, state = load(shared / "golden/pih")
    prefix = f"stream{stream}.step."
    curve_net, stats, judge, metrics = step(at_stream(state, stream), batch)
    assert float(metrics["supervised"][0]) == (stream == 1)
    terms = {
        **metrics,
        "loss_D": metrics["discriminator_loss"],
        "loss_G_total": metrics["loss"],
    }
    check_losses(golden, prefix, terms, stream)
    check_statistics(golden, prefix, stats)
    for ours, theirs in {"grad_norm": "G", "discriminator_grad_norm": "D"}.items():
        expected = golden[f"{prefix}gradnorm_{theirs}.total"]
        np.testing.assert_allclose(metrics[ours][0], expected, rtol=2e-2)
    for name in ("conv1", "conv8"):
        u = judge.collections["spectral"][name]["u"]
        np.testing.assert_allclose(u, golden[f"{prefix}D.{name}.weight_u"], rtol=1e-4, atol=1e-5)
    before = Network.of(state, NETWORK).params["curve_net"], Network.of(state, DISCRIMINATOR).params
    for start, value, name in (
        (before[0]["head"]["bias"], curve_net["head"]["bias"], "PL.fc.bias_after"),
        (before[1]["conv9"]["bias"], judge.params["conv9"]["bias"], "D.conv9.bias_after"),
    ):
        # Adam moves by 4e-5 g / (|g| + 1e-8). Float32 knows g to 0.6 % of its RMS, some 1e-8 here:
        # where the reference's own |g| is below 3e-8, it does not know the move.
        expected = golden[prefix + name]
        known = np.abs(expected - start) > 0.75 * CONFIG.optim.lr
        assert known.any()
        np.testing.assert_allclose(value[known], expected[known], rtol=1e-4, atol=1e-5)
