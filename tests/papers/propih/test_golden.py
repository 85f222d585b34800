"""ProPIH against the reference: every stage, the encoder, statistics, losses, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.propih.golden_case import (
    arrays,
    assert_close,
    discriminator_params,
    generator_leaves,
    manifest,
    nhwc,
    state_dict,
    unit,
)
from support.contexts import context
from support.goldens import load_layout
from support.round_trip import assert_comes_back

from jaxharm import convert, registry
from jaxharm.config import TrainConfig
from jaxharm.interfaces import Extras, Output
from jaxharm.ops import masked_adain, masked_moments
from jaxharm.papers.propih.convert import discriminator_names
from jaxharm.papers.propih.model import STAGES, ProPIHConfig, stage_mask
from jaxharm.papers.propih.painterly import image_errors, targets_of
from jaxharm.papers.propih.system import ProPIHObjective, ProPIHSystem
from jaxharm.papers.propih.vgg import COLLECTION
from jaxharm.schema import Batch
from jaxharm.weights import name_map

pytestmark = pytest.mark.golden
OBJECTIVE = ProPIHObjective(random_encoder=True, discriminator=None)
SYSTEM = ProPIHSystem.from_config(
    TrainConfig("propih", ProPIHConfig(), OBJECTIVE, steps=1), total_steps=1
)


@pytest.fixture(scope="module")
def variables():
    return convert.from_torch("propih", state_dict("G"))


@pytest.fixture(scope="module")
def golden(shared, variables):
    folder = shared / "golden/propih"
    found = arrays(folder, "forward")
    images = unit(found["in_comp"]), nhwc(found["in_mask"])
    batch = Batch(*images, background=unit(found["in_style"]))
    return folder, found, batch, variables


# Convolutions are library calls: what the compiler would optimize for long is the cheap rest.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def objective(params, encoder, batch):
    """Content + style; outputs, restyled features, loss terms."""
    output, _ = SYSTEM.forward(context(), params, {COLLECTION: encoder}, batch)
    total, terms = SYSTEM.loss(context(), output, batch, Extras(None, encoder))
    return total, (output.aux, terms)


@compiled
def forward(variables, batch):
    """Outputs, restyled features, loss terms, content and style errors of every stage."""
    _, (aux, terms) = objective(variables["params"], variables[COLLECTION], batch)
    targets = targets_of(Output(batch.composite, aux), batch.mask, variables[COLLECTION])
    errors = [
        [image_errors(SYSTEM.module(), aux[name][k], targets) for k in range(STAGES)]
        for name in ("coarse", "stages")
    ]
    content, style = ([[jnp.mean(e[i], 0) for e in row] for row in errors] for i in (0, 1))
    return aux, terms, jnp.array(content), jnp.stack([jnp.stack(row) for row in style])


@pytest.fixture(scope="module")
def results(golden):
    _, _, batch, variables = golden
    return jax.device_get(forward(variables, batch))


def test_parameter_counts_are_exact(variables):
    counts = load_layout("propih")["parameter_counts"]
    trained = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    frozen = sum(leaf.size for leaf in jax.tree.leaves(variables[COLLECTION]))
    assert trained == counts["generator_trainable"] == registry.get("propih").parameters
    assert trained + frozen == counts["generator"]


def test_every_stage(golden, results):
    _, found, batch, _ = golden
    aux = results[0]
    for k in range(1, STAGES + 1):
        step = 1 if k == STAGES else 2
        assert_close(2 * aux["coarse"][k - 1] - 1, nhwc(found[f"coarse_{k}"]), 1e-5, f"coarse {k}")
        final = (2 * aux["stages"][k - 1] - 1)[:, ::step, ::step]
        assert_close(final, nhwc(found[f"final_{k}"]), 1e-5, f"final {k}")
    assert_close(aux["raw"], aux["coarse"][-1], 0)
    outside = batch.mask[..., 0] == 0
    for image in aux["stages"]:
        np.testing.assert_array_equal(image[outside], batch.background[outside])


def test_encoder_statistics_and_adain(golden, results):
    _, found, batch, _ = golden
    aux = results[0]
    for k in range(1, STAGES + 1):
        content, style = (aux[f"{name}_features"][k - 1] for name in ("content", "style"))
        for name, features in (("comp", content), ("style", style)):
            crop = nhwc(found[f"enc_{name}_s{k}_crop"])
            assert_close(features[:, 8:24, 8:24, :8], crop, 1e-5, f"encoder {k} {name}")
            means = features.mean((1, 2), dtype=np.float64)
            assert_close(means, found[f"enc_{name}_s{k}_chmean"], 1e-5)
        mask = stage_mask(batch.mask, k)
        stored = 4 if k == 1 else 1  # of the first mask every fourth pixel is kept
        want = nhwc(found[f"mask_s{k}"])
        np.testing.assert_array_equal(mask[:, ::stored, ::stored], want)
        moments = {"fg": (content, mask), "bg": (style, np.ones_like(mask))}
        for region, pair in moments.items():
            for name, got in zip(("mean", "std"), masked_moments(*pair), strict=True):
                want = found[f"stat_{region}_{name}_s{k}"]
                assert_close(got[:, 0, 0], want, 1e-5, f"{region} {name} {k}")
        restyled = masked_adain(content, style, mask)
        every = max(1, restyled.shape[2] // 16)
        sub = nhwc(found[f"adain_s{k}_sub"])
        assert_close(restyled[:, ::every, ::every, :16], sub, 1e-5, f"adain {k}")
        assert_close(np.mean(restyled, (1, 2)), found[f"adain_s{k}_chmean"], 1e-5)
        if k > 1:
            features = aux["features"][k - 1][:, ::8, ::8]
            assert_close(features, nhwc(found[f"fuse_s{k}_sub"]), 1e-5, f"fuse {k}")
        else:
            assert_close(aux["features"][0][:, ::8, ::8], nhwc(found["updec_s1_sub"]), 1e-5)


def test_every_loss_term(golden, results):
    found = golden[1]
    _, terms, content, style = results
    assert_close(content, found["loss_content_terms"], 2e-5)
    for k in range(STAGES):
        want = found["loss_style_terms"][:, k, : k + 1]
        np.testing.assert_allclose(style[:, k, : k + 1], want, rtol=2e-5, err_msg=f"stage {k + 1}")
    for ours, theirs in {"content_loss": "loss_c", "style_loss": "loss_s"}.items():
        total, count = terms[ours]
        np.testing.assert_allclose(total / count, found[theirs], rtol=2e-5)
    stages = [terms[f"stage{k}_loss"] for k in range(1, STAGES + 1)]
    total = sum(value / count for value, count in stages)
    np.testing.assert_allclose(total, found["loss_c"] + found["loss_s"], rtol=2e-5)


@pytest.mark.slow
def test_gradients(golden):
    folder, found, batch, variables = golden
    gradient = compiled(jax.grad(objective, has_aux=True))
    grads, _ = gradient(variables["params"], variables[COLLECTION], batch)
    leaves = generator_leaves(jax.device_get(grads), folder)
    norms = [np.linalg.norm(leaf) for leaf in leaves]
    assert_close(norms, found["grad_norms"], 1e-3)
    np.testing.assert_allclose(np.linalg.norm(norms), found["grad_norm_total"], rtol=1e-3)
    by_name = dict(zip(manifest(folder)["trainable_names"], leaves, strict=True))
    for key in (key for key in found if key.startswith("grad::")):
        want = found[key].T if found[key].ndim == 1 else found[key].transpose(2, 3, 1, 0)
        assert_close(by_name[key.removeprefix("grad::")], want, 1e-3, key)


@pytest.mark.slow
def test_official_weights_come_back():
    assert_comes_back("propih", state_dict("G"))


@pytest.mark.slow  # draws 7 million numbers
def test_official_weights_of_the_discriminator_come_back():
    official, names = state_dict("D"), discriminator_names()
    template = {name: np.zeros_like(value) for name, value in official.items()}
    found = name_map.state_dict(names, {"params": discriminator_params(official)}, template)
    assert {rule.torch_name for rule in names.rules} | set(names.dropped) == set(official)
    for rule in names.rules:
        np.testing.assert_array_equal(found[rule.torch_name], official[rule.torch_name])
