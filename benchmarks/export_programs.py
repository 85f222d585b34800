"""Exports every model in every format and runs the files in an environment without jaxharm.

    python benchmarks/export_programs.py --python OTHER/bin/python --out build/programs

OTHER holds jax, flatbuffers and onnxruntime, and not jaxharm. Prints the table of docs/guides/tools.md:
what a file takes, how large it is, and how far its outputs are from the network's own, on two
pictures of soft shapes and noise. Weights are random, but for those that ship.
"""

import argparse
import math
import subprocess
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from jaxharm import registry
from jaxharm.compiler import use_cpu_only
from jaxharm.errors import InputError, run_command
from jaxharm.inference.loading import Network, load_network
from jaxharm.inference.program import make_program
from jaxharm.interfaces import Params

LOADER = Path(__file__).resolve().parents[1] / "examples" / "run_exported.py"
SUFFIXES = {"stablehlo": "zip", "onnx": "onnx"}
LIMIT = 1e-5


def random_network(name: str) -> Network:
    """A full-size model with the weights of a fresh run; those that begin at 0 or 1 are moved a little."""
    config = registry.model_config(name)
    module = registry.build_model(name, config)
    inputs = pictures(name, config.default_size)
    variables = jax.jit(lambda key: initial(module, key, inputs))(jax.random.key(0))
    rng = np.random.default_rng(0)

    def moved(path: Any, leaf: Any) -> np.ndarray:
        value = np.asarray(leaf)
        if value.size > 1 and np.ptp(value) > 0:
            return value
        inputs = max(1, math.prod(value.shape[:-1]))  # of a kernel; 1 of a bias
        noise = rng.standard_normal(value.shape).astype(np.float32) / np.sqrt(inputs)
        return value + 0.1 * (abs(noise) if "var" in str(path[-1]) else noise)

    return Network(name, module, jax.tree_util.tree_map_with_path(moved, variables))


def initial(module: nn.Module, key: jax.Array, inputs: dict[str, np.ndarray]) -> Params:
    """Fresh variables."""
    background = inputs.get("background")
    found: Params = module.init(
        key, inputs["composite"], inputs["mask"], background=background, train=False
    )
    return found


def pictures(name: str, side: int) -> dict[str, np.ndarray]:
    """Two pictures: soft shapes with noise, a round mask with a soft edge."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(k * x + (k + 1) * y)[..., None] for k in (3, 5, 9)]
    clean = 0.5 + 0.4 * np.stack([np.concatenate(waves, -1), np.concatenate(waves[::-1], -1)])
    noise = 0.03 * rng.standard_normal(clean.shape)
    mask = np.clip((0.3 - np.hypot(x - 0.5, y - 0.5)) * 20, 0, 1)[None, ..., None]
    masks = np.concatenate([mask, mask[:, ::-1]])
    found = {
        "composite": np.clip(clean + noise, 0, 1) * (1 - 0.3 * masks),
        "mask": masks,
        "background": np.clip(clean, 0, 1),
    }
    if not registry.get(name).needs_background:
        del found["background"]
    return {key: value.astype(np.float32) for key, value in found.items()}


def row(network: Network, kind: str, python: Path, out: Path, title: str) -> tuple[str, bool]:
    """A line of the table, and whether the file's outputs are those of the network."""
    started = time.perf_counter()
    try:
        program = make_program(network, kind, license="of this test")
    except InputError as error:
        return f"| `{title}` | {kind} | - | - | - | {error} |", False
    seconds = time.perf_counter() - started
    file = out / f"{title}.{SUFFIXES[kind]}"
    file.write_bytes(program.content)
    side = program.manifest["size"]
    height = network.module.config.default_size if side == "any" else side[0]  # type: ignore[attr-defined]
    inputs = pictures(network.name, height)
    if program.manifest["batch"] != "any":
        inputs = {key: value[:1] for key, value in inputs.items()}
    np.savez(out / "inputs.npz", **inputs)
    command = [python, "-I", LOADER, file, out / "inputs.npz", out / "outputs.npz"]
    subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
    found = dict(np.load(out / "outputs.npz"))
    output = network.module.apply(
        network.variables,
        inputs["composite"],
        inputs["mask"],
        background=inputs.get("background"),
        train=False,
    )
    own: Any = output
    values = {"image": np.clip(own.image, 0, 1), **own.aux}
    worst = max(float(abs(found[key] - np.asarray(values[key])).max()) for key in found)
    size = "any" if side == "any" else f"{side[0]} x {side[1]}"
    cells = [f"`{title}`", kind, str(program.manifest["batch"]), size]
    cells += [f"{len(program.content) / 2**20:.1f} MiB, {seconds:.0f} s", f"{worst:.1e}"]
    return f"| {' | '.join(cells)} |", worst <= LIMIT


def main() -> int:
    """Prints the table; status 1 where a file differs by more than 1e-5, or cannot be made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--python", type=Path, required=True, help="of an environment without jaxharm"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["shipped", *registry.list_models()])
    parser.add_argument("--formats", nargs="+", default=list(SUFFIXES), choices=SUFFIXES)
    arguments = parser.parse_args()
    use_cpu_only()
    arguments.out.mkdir(parents=True, exist_ok=True)
    imported = [arguments.python, "-I", "-c", "import jaxharm"]
    if subprocess.run(imported, stderr=subprocess.DEVNULL).returncode == 0:
        raise InputError(f"{arguments.python} has jaxharm: name an environment without it")
    print("| model | format | pictures | size | file, made in | largest difference |")
    print("|---|---|---|---|---|---|", flush=True)
    good = True
    for name in arguments.models:
        shipped = name == registry.SHIPPED
        network = load_network(None, None, name) if shipped else random_network(name)
        for kind in arguments.formats:
            line, fits = row(network, kind, arguments.python, arguments.out, name)
            good = good and fits
            print(line, flush=True)
    return int(not good)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
