"""GiftNet's distillation: golden losses, the teacher that never changes, options, bad teachers."""

import dataclasses
import functools
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from papers.giftnet.case import teacher_weights
from support.contexts import NO_EXTRAS, context
from support.golden_recipe import fill_all, style_override
from support.system_cases import tiny_batch, tiny_config

from jaxharm import registry
from jaxharm.convert import from_torch
from jaxharm.errors import InputError
from jaxharm.interfaces import Extras, TrainState
from jaxharm.losses.pixel import foreground_normalized_error
from jaxharm.nn.imagenet import normalize
from jaxharm.papers.giftnet.relation import map_distance
from jaxharm.papers.giftnet.system import GiftNetObjective, RelationConfig
from jaxharm.papers.giftnet.teacher import NETWORK_TEACHER, TeacherConfig
from jaxharm.papers.issam.model import IssamConfig
from jaxharm.registry import make_system
from jaxharm.schema import Batch
from jaxharm.training import initial, parallel
from jaxharm.training.supervised import NETWORK
from jaxharm.weights.portable import save_weights


def tiny(**changes):
    """The tiny run with other distillation settings."""
    config = tiny_config("giftnet", batch_size=2)
    rd = dataclasses.replace(config.objective.rd, **changes)
    return dataclasses.replace(config, objective=dataclasses.replace(config.objective, rd=rd))


def system_of(config):
    return make_system(config, total_steps=10)


@functools.cache
def start():
    """The tiny system and its state, teacher loaded."""
    system = system_of(tiny())
    mesh = parallel.make_mesh(jax.devices()[:1])
    state = initial.init_state(system, 0, tiny_batch(system.config), mesh)
    return system, state


@functools.cache
def model_output():
    """What the tiny student returns in training mode, for tests of the losses."""
    system, state = start()
    batch = system.prepare(tiny_batch(system.config))
    output, _ = jax.jit(
        lambda s, b: system.module().apply(
            {"params": s.params[NETWORK], **s.collections[NETWORK]},
            b.composite,
            b.mask,
            train=True,
            mutable=list(s.collections[NETWORK]),
        )
    )(state, batch)
    return output, batch


# Golden ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_golden_distillation(shared):
    folder = shared / "golden/giftnet"
    manifest = json.loads((folder / "manifest.json").read_text())["files"]["spec_giftnet.npz"]
    golden = dict(np.load(folder / "spec_giftnet.npz"))
    config = dataclasses.replace(
        tiny(), model=registry.model_config("giftnet"), objective=GiftNetObjective()
    )
    system = system_of(config)
    names = [
        ("canonical_parameter_list", "giftnet", ""),
        ("teacher_parameter_list", "giftnet_teacher", "teacher."),
    ]
    variables = {}
    for key, name, prefix in names:
        filled = fill_all(manifest[key], override=style_override)
        arrays = {n.removeprefix(prefix): value for n, value in filled.items()}
        variables[name] = dict(from_torch(name, arrays))
    params = {name: found.pop("params") for name, found in variables.items()}
    state = TrainState(
        step=jnp.int32(0),
        key=jax.random.key(0),
        params={NETWORK: params["giftnet"], NETWORK_TEACHER: params["giftnet_teacher"]},
        collections={NETWORK: variables["giftnet"], NETWORK_TEACHER: variables["giftnet_teacher"]},
        opt_state={},
        ema={},
    )
    batch = Batch(golden["composite_u8"], golden["mask"], golden["real_u8"])

    @jax.jit
    def measure(state, batch):
        teachers = system.teacher_maps(state, batch)
        prepared = system.prepare(batch)
        masks = system.level_masks(prepared.mask)

        def results(params, train):
            output = system.module().apply(
                {**system.variables(state), "params": params},
                prepared.composite,
                prepared.mask,
                train=train,
                mutable=list(state.collections[NETWORK]),
            )[0]
            students = system.student_maps(output, prepared.mask)
            levels = [map_distance(*maps) for maps in zip(students, teachers, masks, strict=True)]
            total, terms = system.loss(context(), output, prepared, Extras(teachers, None))
            return total, (students, terms, levels, normalize(output.aux["raw"]))

        params = state.params[NETWORK]
        found = {"eval": results(params, False)}
        found["train"], grads = jax.value_and_grad(partial(results, train=True), has_aux=True)(
            params
        )
        teacher = system.teacher_system
        teacher_state = system._teacher_state(state)
        reconstruction = teacher.predict(teacher_state, batch).aux["raw"]
        return teachers, found, grads, normalize(reconstruction)

    with jax.default_matmul_precision("highest"):
        teachers, found, grads, reconstruction = measure(state, batch)
    students = found["eval"][1][0]
    for level in range(3):
        for which, maps in (("teacher", teachers), ("student", students)):
            expected = golden[f"eval_relation_{which}{level}"]
            step = maps[level].shape[1] // expected.shape[1]
            first = step // 2 if step > 1 else 0
            got = np.asarray(maps[level])[:, first::step, first::step]
            np.testing.assert_allclose(got, expected, rtol=0, atol=5e-5)
    wanted = golden["eval_teacher_reconstruction"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(reconstruction[:, 1::2, 1::2], wanted, rtol=0, atol=5e-5)
    target = normalize(jnp.asarray(golden["real_u8"], jnp.float32) / 255)
    for mode, (total, (_, terms, levels, raw)) in found.items():
        np.testing.assert_allclose(
            np.stack(levels), golden[f"{mode}_rd_loss_per_image_per_level"], rtol=5e-5
        )
        value, images = terms["rd_loss"]
        np.testing.assert_allclose(value / images, golden[f"{mode}_rd_loss"], rtol=5e-5)
        np.testing.assert_allclose(total, golden[f"{mode}_total_loss"], rtol=5e-5)
        for i, expected in enumerate(golden[f"{mode}_pixel_loss_per_image"]):
            one = (array[i : i + 1] for array in (raw, target, golden["mask"]))
            error, count = foreground_normalized_error(*one, min_area=1000.0)
            np.testing.assert_allclose(error / count, expected, rtol=5e-5)
    np.testing.assert_allclose(optax.tree.norm(grads), golden["grad_norm_total"], rtol=2e-3)
    rules = registry.get("giftnet").torch_names()(config.model).rules
    paths = {rule.torch_name: rule.path for rule in rules}
    names = manifest["arrays"]["grad_norm_selected_names"]
    for name, expected in zip(names, golden["grad_norm_selected"], strict=True):
        leaf = functools.reduce(lambda tree, key: tree[key], paths[name][1:], grads)
        np.testing.assert_allclose(jnp.linalg.norm(leaf), expected, rtol=2e-3, err_msg=name)


# The teacher ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_teacher_is_loaded_and_never_changes():
    system, state = start()
    batch = tiny_batch(system.config)
    stepped, metrics = jax.jit(functools.partial(system.step, axis_name=None))(state, batch)
    for part in ("params", "collections"):
        before, after = (getattr(s, part)[NETWORK_TEACHER] for s in (state, stepped))
        jax.tree.map(np.testing.assert_array_equal, before, after)
    assert metrics["rd_loss"][0] > 0
    assert NETWORK_TEACHER not in stepped.opt_state
    exported = system.variables(stepped)
    assert jax.tree.structure(exported) == jax.tree.structure(
        {"params": state.params[NETWORK], **state.collections[NETWORK]}
    )


@pytest.mark.slow
def test_no_gradient_reaches_the_teacher():
    system, state = start()
    batch = tiny_batch(system.config)

    def loss(teacher, student):
        params = {NETWORK: student, NETWORK_TEACHER: teacher}
        total = system.step(state.replace(params=params), batch, axis_name=None)[1]["loss"]
        return total[0] / total[1]

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(
        state.params[NETWORK_TEACHER], state.params[NETWORK]
    )
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(gradients[0]))
    assert any(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradients[1]))


@pytest.mark.slow
def test_without_distillation_there_is_no_teacher():
    system = system_of(tiny(weight=0.0))
    batch = tiny_batch(system.config)
    state = jax.eval_shape(system.init, jax.random.key(0), batch)
    assert set(state.params) == {NETWORK}
    metrics = jax.eval_shape(functools.partial(system.step, axis_name=None), state, batch)[1]
    assert "rd_loss" not in metrics


@pytest.mark.slow
def test_a_joint_teacher_learns():
    config = tiny(joint=True)
    objective = dataclasses.replace(config.objective, teacher=None)
    system = system_of(dataclasses.replace(config, objective=objective))
    batch = tiny_batch(system.config)
    state = system.with_pretrained(jax.jit(system.init)(jax.random.key(0), batch))
    stepped, metrics = jax.jit(functools.partial(system.step, axis_name=None))(state, batch)
    moved = jax.tree.map(
        lambda a, b: bool(np.any(np.asarray(a) != np.asarray(b))),
        state.params[NETWORK_TEACHER],
        stepped.params[NETWORK_TEACHER],
    )
    assert any(jax.tree.leaves(moved))
    assert {"rd_loss", "teacher_reconstruction_loss"} <= set(metrics)


@pytest.mark.slow
def test_the_teacher_sees_the_target_only():
    config = tiny_config("giftnet_teacher", batch_size=2)
    system = system_of(config)
    batch = tiny_batch(config)
    other = batch.replace(composite=255 - batch.composite)
    np.testing.assert_array_equal(system.prepare(batch).composite, system.prepare(other).composite)
    output = model_output()[0]
    prepared = system.prepare(batch)
    value, terms = system.loss(context(), output, prepared, NO_EXTRAS)
    std = np.array([0.229, 0.224, 0.225])
    expected = np.mean(np.square((np.asarray(output.aux["raw"]) - prepared.target) / std))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert set(terms) == {"reconstruction_loss"}


# Options --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "feature"},
        {"features": "raw_encoder"},
        {"levels": (2,)},
        {"levels": (0, 3)},
        {"similarity": "dot"},
        {"positions": "background"},
        {"positions": "foreground"},
        {"distance": "l1"},
    ],
    ids=str,
)
def test_every_option_changes_the_loss(changes):
    state, (output, batch) = start()[1], model_output()

    def loss(settings):
        system = system_of(tiny(**settings))
        teachers = system.teacher_maps(state, batch)
        students = system.student_maps(output, batch.mask)
        value, images = system.distillation(students, teachers, batch.mask)
        return float(value / images)

    changed = loss(changes)
    assert np.isfinite(changed)
    assert changed > 0
    assert changed != pytest.approx(loss({}), rel=1e-3)


@pytest.mark.slow
def test_a_batch_without_any_foreground_has_no_distillation_loss():
    system, state = start()
    output, batch = model_output()
    batch = batch.replace(mask=jnp.zeros_like(batch.mask))
    teachers = system.teacher_maps(state, batch)
    total, terms = system.loss(context(), output, batch, Extras(teachers, None))
    assert np.isfinite(total)
    assert float(terms["rd_loss"][0]) == 0


@pytest.mark.slow
def test_a_foreground_that_vanishes_at_a_level_gives_a_finite_loss():
    system, state = start()
    output, batch = model_output()
    mask = jnp.zeros_like(batch.mask).at[:, 6:8, 6:7].set(1.0)  # between samples
    assert min(float(m.max()) for m in system.level_masks(mask)) == 0
    teachers = system.teacher_maps(state, batch.replace(mask=mask))
    value, images = system.distillation(system.student_maps(output, mask), teachers, mask)
    assert images == len(mask)
    assert np.isfinite(value)


# Explanation ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_figures_have_the_size_of_the_batch():
    system, state = start()
    batch = tiny_batch(system.config)
    figures = jax.jit(system.figures)(state, batch)
    expected = [
        f"relation 1/{n}, {w}" for n in (4, 2, 1) for w in ("student", "teacher", "difference")
    ]
    expected += [f"features changed, 1/{n}" for n in (4, 2, 1)]
    assert sorted(figures) == sorted([*expected, "with codes of zero", "effect of the codes"])
    for name, value in figures.items():
        assert value.shape[:3] == batch.mask.shape[:3], name
        assert value.shape[3] == (3 if name == "with codes of zero" else 1)
        assert 0 <= float(value.min()) <= float(value.max()) <= 1
    background = batch.mask == 0
    for n in (1,):  # nothing but the foreground is transformed
        np.testing.assert_array_equal(
            np.asarray(figures[f"features changed, 1/{n}"])[background], 0
        )
    assert float(figures["effect of the codes"].max()) > 0


@pytest.mark.slow
def test_exported_weights_have_no_teacher_to_show():
    system, state = start()
    alone = state.replace(
        params={NETWORK: state.params[NETWORK]},
        collections={NETWORK: state.collections[NETWORK]},
    )
    figures = jax.eval_shape(system.figures, alone, tiny_batch(system.config))
    assert not [name for name in figures if "teacher" in name or "difference" in name]


# Bad input ------------------------------------------------------------------------------------


def refused(teacher, match, **changes):
    config = tiny(**changes)
    objective = dataclasses.replace(config.objective, teacher=teacher)
    system = system_of(dataclasses.replace(config, objective=objective))
    with pytest.raises(InputError, match=match) as error:
        system.with_pretrained(None)
    assert "\n" not in str(error.value)


def weights_of(folder, name, config):
    module = registry.get(name).model()(config=config)
    image, mask = (np.zeros((1, 64, 64, c), np.float32) for c in (3, 1))
    shapes = jax.eval_shape(
        functools.partial(module.init, train=False), jax.random.key(0), image, mask
    )
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    save_weights(folder, name, config, zeros)
    return str(folder)


def test_teachers_that_cannot_be_used_are_named(tmp_path):
    width = TeacherConfig(base_channels=8)
    refused(None, "set objective.teacher to the run folder")
    refused(str(tmp_path / "none"), "no weights at .*none")
    refused(weights_of(tmp_path / "w", "giftnet_teacher", width), "base_channels=8.*needs 4")
    damaged = tmp_path / "w/weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    refused(str(tmp_path / "w"), "incomplete or damaged")


@pytest.mark.slow
def test_teachers_of_another_kind_are_named(tmp_path):
    fusion = TeacherConfig(base_channels=4, image_fusion=True)
    no_skips = TeacherConfig(base_channels=4, skips=False)
    plain = IssamConfig(base_channels=4)
    refused(weights_of(tmp_path / "f", "giftnet_teacher", fusion), "trained with image fusion")
    refused(weights_of(tmp_path / "m", "issam", plain), "holds a model 'issam', not a teacher")
    refused(
        weights_of(tmp_path / "s", "giftnet_teacher", no_skips),
        "or set objective.teacher_skips=False",
    )
    no_mask = TeacherConfig(base_channels=4, use_mask=False)
    blind = weights_of(tmp_path / "b", "giftnet_teacher", no_mask)
    refused(blind, "or set objective.teacher_use_mask=False")
    objective = dataclasses.replace(tiny().objective, teacher=blind, teacher_use_mask=False)
    system = system_of(dataclasses.replace(tiny(), objective=objective))
    loaded = system.with_pretrained(start()[1])  # the teacher that was trained so is accepted
    assert NETWORK_TEACHER in loaded.params


def test_levels_that_do_not_exist_are_refused():
    with pytest.raises(InputError, match=r"rd.levels=\(4,\): choose from 0 .* to 3"):
        system_of(tiny(levels=(4,)))


def test_default_objective_is_the_specification():
    rd = RelationConfig()
    assert (rd.weight, rd.levels, rd.similarity, rd.positions) == (1.0, (0, 1, 2), "cosine", "all")
    assert teacher_weights().is_dir()
