"""A network with its weights as a file that other programs run, without jaxharm: StableHLO or ONNX.

Inputs are f32 in [0,1], sRGB: `composite` [b,h,w,3], `mask` [b,h,w,1] with 1 = foreground, and
`background` [b,h,w,3] of models that read one. Outputs are those of the model's runner
(`Runner.outputs`) that it has, first `image`, f32[b,h,w,3] in [0,1]. What else a reader has to know is
in the file: `describe`.

- StableHLO: a zip archive of `program.bin`, which `jax.export.deserialize` reads, and `manifest.json`.
- ONNX: one model; the manifest is the entry `jaxharm` of its metadata.
"""

import io
import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from jaxharm import registry
from jaxharm.config import Json
from jaxharm.errors import InputError
from jaxharm.inference.loading import Network, check_size, runner_class
from jaxharm.inference.onnx_sums import one_axis_at_a_time
from jaxharm.inference.runner import apply_network, config_of
from jaxharm.interfaces import Array
from jaxharm.ops import dispatch
from jaxharm.ops.platforms import one_form_only

FORMATS = ("stablehlo", "onnx", "tflite")
NO_TFLITE = (
    "TensorFlow Lite files cannot be made: JAX's converter needs all of TensorFlow, which nothing here "
    "uses, and no other reads StableHLO on this stack; take --format onnx, which onnxruntime runs on "
    "phones too"
)
PLATFORMS = ("cpu", "cuda", "tpu")
_SUFFIXES = {"stablehlo": ".zip", "onnx": ".onnx"}
_OPSET = 23
# What tracing raises where a size that is not known would decide something; they share no class.
_NEEDS_SIZES = (TypeError, jax.errors.InconclusiveDimensionOperation)


@dataclass(frozen=True)
class Shape:
    """Sides of a program's images; a text is a name of any number, as `jax.export` reads it."""

    batch: int | str
    height: int | str
    width: int | str

    def text(self) -> str:
        """`b, 8*h, 8*w`."""
        return f"{self.batch}, {self.height}, {self.width}"


@dataclass(frozen=True)
class Program:
    """A file's content, and what it says about itself."""

    content: bytes
    manifest: Json


def make_program(
    network: Network, kind: str, *, license: str, size: int | None = None, batch: int | None = None
) -> Program:
    """Makes a program of a network.

    Args:
        network: as `jaxharm.inference.loading.load_network` gives it.
        kind: "stablehlo" or "onnx".
        license: of the weights, for the manifest.
        size: side of the square images that it takes; None: any size where the network allows it,
            else the model's own.
        batch: how many images it takes; None: any number where the network allows it.

    Raises:
        InputError: a size that the network refuses, a kind that cannot be made, or a model that the
            converter does not know how to write.
    """
    if kind == "tflite":
        raise InputError(NO_TFLITE)
    check_size(size, network.module)
    make = _stablehlo if kind == "stablehlo" else _onnx
    with dispatch.override("reference"), jax.default_matmul_precision("highest"):
        return make(network, _shapes(network, kind, size, batch), license)


def check_file(path: Path, kind: str) -> None:
    """InputError where a file of this kind does not have this name."""
    suffix = _SUFFIXES.get(kind)
    if suffix is not None and path.suffix.lower() != suffix:
        raise InputError(f"cannot write {path}: a file of {kind} ends in {suffix}")


def describe(network: Network, kind: str, shape: Shape, license: str) -> Json:
    """What the file says: model, license, inputs, outputs and their sizes."""
    entry, config = registry.get(network.name), config_of(network.module)
    inputs = {
        "composite": "f32[b,h,w,3] in [0,1], sRGB",
        "mask": "f32[b,h,w,1] in [0,1], 1 = the object",
    }
    if entry.needs_background:
        inputs["background"] = "f32[b,h,w,3] in [0,1], sRGB: the scene without the object"
    return {
        "format": f"jaxharm-{kind}-1",
        "model": network.name,
        "paper": entry.paper,
        "license": license,
        "inputs": inputs,
        "outputs": _outputs(network),
        "batch": "any" if isinstance(shape.batch, str) else shape.batch,
        "size": "any" if isinstance(shape.height, str) else [shape.height, shape.width],
        "size_multiple": config.size_multiple,
        "min_size": config.min_size,
        "recommended_strength": network.strength,
    }


def _shapes(network: Network, kind: str, size: int | None, batch: int | None) -> list[Shape]:
    """What to try, the most general first."""
    config = config_of(network.module)
    side, multiple = size or config.default_size, config.size_multiple
    fixed: int | str = "b" if batch is None else batch
    shapes = [Shape(fixed, side, side)]
    if size is None and kind == "stablehlo":
        # That sides are multiples is said by their names: nothing else could be divided.
        shapes.insert(0, Shape(fixed, f"{multiple}*h", f"{multiple}*w"))
    if batch is None:
        shapes.append(Shape(1, side, side))
    return shapes


def _network_function(network: Network) -> Callable[..., dict[str, Array]]:
    """The network as a function of its inputs, with its weights inside; outputs by name."""
    wanted = runner_class(registry.get(network.name)).outputs
    variables = jax.tree.map(jnp.asarray, network.variables)

    def run(composite: Array, mask: Array, background: Array | None = None) -> dict[str, Array]:
        found = apply_network(network.module, variables, composite, mask, background)
        values = {"image": jnp.clip(found.image, 0.0, 1.0), **found.aux}
        return {name: values[name] for name in wanted if name in values}

    return run


def _outputs(network: Network) -> list[str]:
    """Names of what this very network gives, in order."""
    side = config_of(network.module).default_size
    run = _network_function(network)
    found = jax.eval_shape(run, *_arguments(network, Shape(1, side, side)))
    wanted = runner_class(registry.get(network.name)).outputs
    return [name for name in wanted if name in found]


def _function(network: Network) -> Callable[..., tuple[Array, ...]]:
    """The same with a tuple of the outputs, in their order."""
    names, run = _outputs(network), _network_function(network)
    return lambda *images: tuple(run(*images)[name] for name in names)


def _arguments(network: Network, shape: Shape) -> list[jax.ShapeDtypeStruct]:
    config = config_of(network.module)
    multiple, least = config.size_multiple, max(config.size_multiple, config.min_size)
    named = isinstance(shape.height, str)
    # Without these the network's own check of sizes could not be decided.
    rules = [f"{multiple}*{side} >= {least}" for side in ("h", "w")] if named else []
    scope = export.SymbolicScope(rules)

    def images(channels: int) -> jax.ShapeDtypeStruct:
        sides = export.symbolic_shape(f"{shape.text()}, {channels}", scope=scope)
        return jax.ShapeDtypeStruct(sides, jnp.float32)  # type: ignore[no-untyped-call]

    taken = [images(3), images(1)]
    return [*taken, taken[0]] if registry.get(network.name).needs_background else taken


def _stablehlo(network: Network, shapes: Sequence[Shape], license: str) -> Program:
    exported, shape = None, shapes[-1]
    for shape in shapes:
        try:
            exported = export.export(jax.jit(_function(network)), platforms=PLATFORMS)(
                *_arguments(network, shape)
            )
            break
        except _NEEDS_SIZES:
            if shape is shapes[-1]:
                raise
    assert exported is not None
    manifest = describe(network, "stablehlo", shape, license) | {"platforms": PLATFORMS}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("manifest.json"), json.dumps(manifest, indent=1) + "\n")
        archive.writestr(zipfile.ZipInfo("program.bin"), exported.serialize())
    return Program(buffer.getvalue(), manifest)


def _onnx(network: Network, shapes: Sequence[Shape], license: str) -> Program:
    import jax2onnx
    import onnx

    # It tells of every shape that it does not know yet.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    shape = shapes[0]
    names = list(describe(network, "onnx", shape, license)["inputs"])
    sides = [(shape.batch, shape.height, shape.width, 1 if name == "mask" else 3) for name in names]
    try:
        with one_form_only(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own use of JAX
            model: Any = jax2onnx.to_onnx(
                _function(network),
                sides,
                model_name=network.name,
                opset=_OPSET,
                input_names=names,
                output_names=_outputs(network),
            )
    except Exception as error:  # the converter's errors have no common type
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{network.name} cannot be written as ONNX: {reason}; --format stablehlo can"
        ) from error
    one_axis_at_a_time(model)
    manifest = describe(network, "onnx", shape, license)
    onnx.helper.set_model_props(model, {"jaxharm": json.dumps(manifest), "license": license})
    onnx.checker.check_model(model)
    return Program(model.SerializeToString(), manifest)
