"""PIH's goldens: their manifest, the official state dicts, the discriminator's layout."""

import functools
import json

import numpy as np
from support import golden_recipe
from support.goldens import load_layout


@functools.cache
def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


@functools.cache
def state_dict(kind):
    """The official tensors of "base", "light" or "discriminator"."""
    layout = load_layout("pih")
    tensors = golden_recipe.fill_all(
        layout["state_dict"][kind],
        multiply=layout["multiply"],
    )
    for name in [n for n in tensors if n.endswith(".weight_u")]:
        layer = name.removesuffix(".weight_u")
        kernel = tensors[f"{layer}.weight_orig"]
        u = np.float64(tensors[name])
        tensors[name] = (u / np.linalg.norm(u)).astype(np.float32)
        v = np.float64(kernel.reshape(len(kernel), -1)).T @ np.float64(tensors[name])
        tensors[f"{layer}.weight_v"] = (v / np.linalg.norm(v)).astype(np.float32)
    return tensors


def discriminator_variables(tensors):
    """Official tensors of the discriminator -> our variables; every one is used (docs/papers/pih.md, "Checkpoints")."""
    params, spectral = {}, {}
    for name, value in tensors.items():
        layer, kind = name.split(".")
        if kind in ("weight", "weight_orig"):
            params.setdefault(layer, {})["kernel"] = value.transpose(2, 3, 1, 0)
        elif kind == "bias":
            params[layer]["bias"] = value
        elif kind == "weight_u":
            spectral.setdefault(layer, {})["u"] = value
        else:
            shape = tensors[f"{layer}.weight_orig"].shape[1:]
            spectral.setdefault(layer, {})["v"] = value.reshape(shape).transpose(1, 2, 0)
    return {"params": params, "spectral": spectral}


def allowed(folder, name):
    """Ten times the recorded float32-vs-float64 difference, never below 1e-5."""
    recorded = manifest(folder)["float32_vs_float64"]["forward"][name]
    return {"rtol": 1e-4, "atol": max(10 * recorded["max_abs"], 1e-5)}
