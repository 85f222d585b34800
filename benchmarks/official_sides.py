"""Both sides of a comparison with official code: the same weights, and the batches that they see."""

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from jaxharm import papers
from jaxharm.config import RunConfig
from jaxharm.errors import InputError
from jaxharm.interfaces import Output
from jaxharm.registry import make_system
from jaxharm.schema import Batch, HostBatch
from jaxharm.weights.official_code import OfficialCase, Peer, fill

_LONG = 1_000_000  # steps of the run: every schedule is at its start


def known_cases() -> dict[str, OfficialCase]:
    """The models whose official code can be run, by registry name."""
    modules = [
        f"jaxharm.papers.{room.name}.official" for room in pkgutil.iter_modules(papers.__path__)
    ]
    found = [importlib.import_module(name) for name in modules if importlib.util.find_spec(name)]
    return {case.name: case for module in found for case in module.CASES}


def chosen_cases(names: list[str]) -> list[OfficialCase]:
    """The cases of these names, all for none; InputError for a name that there is not."""
    known = known_cases()
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise InputError(f"no official code for {', '.join(unknown)}; known: {', '.join(known)}")
    return [known[name] for name in names or known]


class Ours:
    """Our system with a fresh state; steps and predictions on batches of numpy arrays."""

    def __init__(self, config: RunConfig, batch: HostBatch, seed: int = 0) -> None:
        self._system = make_system(config, total_steps=_LONG)
        self._state = jax.jit(self._system.init)(jax.random.key(seed), batch)
        self._predict = jax.jit(self._system.predict)
        step = functools.partial(self._system.step, axis_name=None)
        self._step = jax.jit(step, donate_argnums=0)

    def variables(self) -> dict[str, dict[str, Any]]:
        """Network -> its variables, as arrays on the host."""
        found = {
            name: {"params": params, **self._state.collections[name]}
            for name, params in self._state.params.items()
        }
        return jax.tree.map(np.array, found)

    def forward(self, batch: HostBatch) -> Output:
        """The prediction, computed to the end."""
        return jax.block_until_ready(self._predict(self._state, batch))

    def step(self, batch: HostBatch) -> float:
        """One optimization step; the model's loss before it."""
        self._state, metrics = self._step(self._state, batch)
        total, count = jax.block_until_ready((self._state, metrics))[1]["loss"]
        return float(total / count)


def official(case: OfficialCase, repos: Path | None, config: RunConfig) -> Peer | None:
    """The official side, or None with a line that says why there is none."""
    checkout = case.checkout(repos)
    if checkout is None:
        where = "--repos is not given" if repos is None else f"{repos} has no checkout of it"
        print(f"{case.name}: ours alone: {where} (https://github.com/{case.repository})")
        return None
    if importlib.util.find_spec("torch") is None:
        print(f"{case.name}: ours alone: PyTorch is not installed (pip install torch torchvision)")
        return None
    return case.peer(checkout, config)


def share_weights(
    case: OfficialCase, config: RunConfig, variables: Mapping[str, Any], peer: Peer
) -> None:
    """Gives the official networks our weights, `Ours.variables()`."""
    for name, names in case.names(config).items():
        fill(peer.networks[name], names, variables[name])


def pictures(count: int, size: int, seed: int = 0) -> HostBatch:
    """A batch of soft color fields with some grain; a recolored ellipse of one lies on another."""
    rng = np.random.default_rng(seed)
    object_, background = (np.stack([_field(rng, size) for _ in range(count)]) for _ in range(2))
    grid = np.linspace(-1, 1, size)
    places = rng.uniform([-0.3, -0.3, 0.3, 0.3], [0.3, 0.3, 0.7, 0.7], (count, 4))
    ellipses = [((grid[:, None] - y) / h) ** 2 + ((grid - x) / w) ** 2 < 1 for y, x, h, w in places]
    mask = np.float32(ellipses)[..., None]
    gain = rng.uniform(0.6, 1.4, (count, 1, 1, 3))
    target = mask * object_ + (1 - mask) * background
    composite = mask * object_ * gain + (1 - mask) * background
    images = {"composite": composite, "target": target, "background": background}
    stored = {name: np.uint8(np.clip(value, 0, 1) * 255) for name, value in images.items()}
    return Batch(**stored, mask=mask, index=np.arange(count, dtype=np.int32))


def _field(rng: np.random.Generator, size: int) -> np.ndarray:
    coarse = cv2.resize(rng.random((5, 5, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    return coarse + rng.normal(0, 0.03, coarse.shape)


def use_threads(count: int, *, with_official: bool = True) -> None:
    """Limits this process, and so JAX, to `count` processors, and PyTorch to as many threads.

    Call it before anything runs on a device.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    if with_official and importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(count)


def use_device(name: str) -> None:
    """Makes PyTorch put what it makes on a device, "cpu" or "cuda", and leaves memory for it.

    Call it before JAX runs anything.
    """
    if name == "cpu":
        return
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_default_device(name)


def finished(device: str) -> None:
    """Waits for PyTorch's work on a device."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def conditions(threads: int) -> dict[str, Any]:
    """What a reader must know to judge figures of this machine."""
    versions = {}
    for name in ("jax", "jaxlib", "flax", "torch", "torchvision"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = {"processor": _processor(), "cores": os.cpu_count(), "threads": threads}
    return {**machine, "python": platform.python_version(), "versions": versions}


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
