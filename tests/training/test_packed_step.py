"""The step of every system, mapped over seeds in one program, against each seed's own step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.system_cases import NAMES, tiny_batch, tiny_system

from jaxharm.training import initial, parallel

STEPS, FEW, SEEDS = 10, 3, (0, 1)
# Compiling is nearly all of the time here, and its optimizations are not what is tested.
QUICK_COMPILE = {"xla_backend_optimization_level": 0}


def to_numpy(state):
    return jax.tree.map(np.asarray, state.replace(key=jax.random.key_data(state.key)))


def to_device(state):
    """A state of numpy arrays in new buffers, which may be given away."""
    keyed = state.replace(key=jax.random.wrap_key_data(state.key))
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), keyed)


def stacked(states):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(to_device, states))


def loss(metrics):
    total, count = jax.device_get(metrics["loss"])
    return total / count


class Compared:
    """Both steps of a system on one device, and the batches of every seed."""

    def __init__(self, name):
        self.system = tiny_system(name, batch_size=4)
        self.mesh = parallel.make_mesh(jax.devices()[:1])
        batch = tiny_batch(self.system.config)
        init = initial.make_init(self.system, batch, self.mesh)
        self.starts = [
            to_numpy(initial.init_state(self.system, seed, batch, self.mesh, init=init))
            for seed in SEEDS
        ]
        mode = self.system.config.parallel
        first = self.batches(0)
        alone = parallel.launch(self.system.step, mode, self.mesh)
        together = parallel.launch_packed(self.system.step, mode, self.mesh)
        state, states = to_device(self.starts[0]), stacked(self.starts)
        self.alone, self.together = (
            step.lower(*arguments).compile(compiler_options=QUICK_COMPILE)
            for step, arguments in ((alone, (state, first[0])), (together, (states, first)))
        )

    def batches(self, number):
        """Those of one step: every seed has its own."""
        config = self.system.config
        every = (tiny_batch(config, 1000 * seed + number) for seed in SEEDS)
        return tuple(parallel.put_batch(batch, config.parallel, self.mesh) for batch in every)

    def separate(self):
        """Numpy states before every step and after the last, and losses, seed by seed."""
        histories, losses = [], []
        for index, start in enumerate(self.starts):
            state, history, own = to_device(start), [start], []
            for number in range(STEPS):
                state, metrics = self.alone(state, self.batches(number)[index])
                history.append(to_numpy(state))
                own.append(loss(metrics))
            histories.append(history)
            losses.append(own)
        return histories, np.array(losses).T


def distance(first, second):
    """Euclidean distance of two trees of parameters, in float64."""
    square = jax.tree.map(lambda a, b: np.sum(np.square(np.float64(a) - b)), first, second)
    return np.sqrt(sum(jax.tree.leaves(square)))


@pytest.mark.slow  # two programs of every system are compiled
@pytest.mark.parametrize("name", ["toy", *NAMES])
def test_every_seed_takes_its_own_step(name):
    """From the same states every loss is the same to 1e-5, and so is every step but for kinks.

    A seed that goes on by itself is as far from its separate run as two launchers are from each
    other: see tests/distributed/test_launchers.py.
    """
    compared = Compared(name)
    histories, expected = compared.separate()
    states, free = stacked(compared.starts), []
    shares = []
    for number in range(STEPS):
        before = [history[number] for history in histories]
        after, metrics = compared.together(stacked(before), compared.batches(number))
        np.testing.assert_allclose([loss(m) for m in metrics], expected[number], rtol=1e-5)
        for index, history in enumerate(histories):
            params = jax.tree.map(lambda leaf, i=index: np.asarray(leaf[i]), after.params)
            moved = distance(history[number + 1].params, history[number].params)
            shares.append(distance(params, history[number + 1].params) / moved)
        states, metrics = compared.together(states, compared.batches(number))
        free.append([loss(m) for m in metrics])
    assert np.median(shares) < 1e-3
    np.testing.assert_allclose(free[:FEW], expected[:FEW], rtol=1e-4)
    np.testing.assert_allclose(free, expected, rtol=5e-2)
