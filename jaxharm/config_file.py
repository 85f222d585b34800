"""Loads run configurations from Python files: the published ones by name, others by path.

The published files are in `configs/` of a checkout, and travel in the wheel as `jaxharm/_configs`.
They import each other relatively, so that both places work.
"""

import hashlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from pathlib import Path

from jaxharm.config import Json, Overlay, RunConfig, TrainConfig, from_json
from jaxharm.errors import InputError
from jaxharm.metrics import get_protocol
from jaxharm.overrides import apply_overrides, suggest
from jaxharm.registry import check_config, get

_HERE = Path(__file__).resolve().parent
# In a wheel the first one exists; in a checkout the second one is beside the package.
_PUBLISHED = next(
    (folder for folder in (_HERE / "_configs", _HERE.parent / "configs") if folder.is_dir()),
    _HERE / "_configs",
)


def load_config(
    name: str | Path, overlays: Sequence[str] = (), sets: Sequence[str] = ()
) -> RunConfig:
    """Loads `get_config()` of a config file, then applies overlays and `key=value` settings.

    Args:
        name: a published config, "MODEL/RUN" as under configs/, or the path of a Python file.
        overlays: names, applied left to right; looked up in `OVERLAYS` of ablations.py beside the
            file, then of overlays.py in the folder above, then of the published overlays.py.
        sets: settings such as "optim.lr=1e-4", applied last.

    Raises:
        InputError: no such file, no get_config, an unknown overlay or key, a value of a wrong type
            or out of range, or parts that do not belong together.
    """
    path = find_config(name)
    module = import_file(path)
    if not hasattr(module, "get_config"):
        raise InputError(f"config file {path} defines no get_config(); see configs/README.md")
    config: RunConfig = module.get_config()
    known = known_overlays(path)
    for overlay in overlays:
        if overlay not in known:
            raise InputError(f"unknown overlay {overlay!r} for {path}{suggest(overlay, known)}")
        try:
            config = known[overlay](config)
        except (AttributeError, TypeError) as error:  # it sets a field that this config lacks
            raise InputError(f"overlay {overlay!r} does not fit {path}: {error}") from error
    return _checked(apply_overrides(config, sets))


def config_from_json(values: Json, sets: Sequence[str] = ()) -> RunConfig:
    """The config that `jaxharm.config.to_json` wrote, such as that of a run.json.

    Args:
        values: of the config.
        sets: settings such as "optim.lr=1e-4", applied last.

    Raises:
        InputError: a system or a field that this version does not have, or as `load_config`.
    """
    entry = get(values["system"])
    parts = {
        "model": from_json(entry.config(), values["model"]),
        "objective": from_json(entry.objective(), values["objective"]),
    }
    # `from_json` leaves parts as they are that are dataclasses already.
    config: RunConfig = from_json(TrainConfig, {**values, **parts})
    return _checked(apply_overrides(config, sets))


def _checked(config: RunConfig) -> RunConfig:
    if (config.steps is None) == (config.epochs is None):
        raise InputError(
            f"set exactly one of steps and epochs (steps={config.steps}, epochs={config.epochs})"
        )
    get_protocol(config.eval.protocol)
    check_config(config)
    return config


def find_config(name: str | Path) -> Path:
    """The file that a config (or study) is in; InputError where there is none.

    A path that exists comes first; else MODEL/RUN, MODEL/RUN.py and configs/MODEL/RUN.py are all
    the published file of that name.
    """
    path = Path(name)
    if path.is_file():
        return path
    short = path.as_posix().removeprefix("configs/").removesuffix(".py")
    published = _PUBLISHED / f"{short}.py"
    if not path.is_absolute() and published.is_file():
        return published
    raise InputError(f"config file {name} does not exist{suggest(short, published_configs())}")


def published_configs() -> list[str]:
    """Names of the published configs and studies, as MODEL/RUN."""
    files = sorted(_PUBLISHED.glob("*/*.py"))
    return [
        f"{file.parent.name}/{file.stem}"
        for file in files
        if file.stem not in ("__init__", "ablations")
    ]


def known_overlays(path: Path) -> dict[str, Overlay]:
    """The overlays that fit a config file, by name."""
    known: dict[str, Overlay] = {}
    files = (_PUBLISHED / "overlays.py", path.parent.parent / "overlays.py")
    for file in (*files, path.parent / "ablations.py"):
        if file.is_file():
            known.update(import_file(file).OVERLAYS)
    return known


def import_file(path: Path) -> types.ModuleType:
    """Runs a Python file and returns its module.

    A file in a package (a folder with `__init__.py`) can import its neighbors relatively.
    """
    path = path.resolve()
    names = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    if _is_imported(names[0], folder):  # the configs that travel inside the wheel
        return importlib.import_module(".".join(names))
    # A name of its own for each place: two checkouts, or a wheel and a checkout, may both have
    # a package `configs`, and another project's must not be shadowed.
    unique = f"_jaxharm_configs_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if len(names) == 1:
        return _run(path, f"{unique}_{path.stem}")
    if unique not in sys.modules:
        package = types.ModuleType(unique)
        package.__path__ = [str(folder)]
        sys.modules[unique] = package
    return importlib.import_module(".".join([unique, *names]))


def _is_imported(package: str, folder: Path) -> bool:
    """Whether the package in `folder` is the one that this process uses under its name."""
    file = getattr(sys.modules.get(package), "__file__", None)
    return file is not None and Path(file).resolve() == folder / package / "__init__.py"


def _run(path: Path, name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
