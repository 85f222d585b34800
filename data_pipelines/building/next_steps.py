"""The commands that come after a build, as they can be typed here."""

import shlex
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

from data_pipelines.building.items import EVALUATED, TRAINED, Kind

_TABLE = 'docs/data.md, "Which config needs which build"'


def program() -> str:
    """How `jaxharm` is called here: by its name, where the shell would find it."""
    if shutil.which("jaxharm"):
        return "jaxharm"
    return f"{shlex.quote(sys.executable)} -m jaxharm"


def next_steps(name: str, kind: Kind, splits: Collection[str], data_dir: Path) -> list[str]:
    """Lines for the console: commands after "next:", and what a set lacks that none is for."""
    jaxharm, place = program(), shlex.quote(str(data_dir))
    lines = [f"next: {jaxharm} data verify {name} --data-dir {place}"]
    if kind == "painterly":  # which network paints is not for a data set to say
        return [*lines, f"configs that read it: {_TABLE}"]
    here = f"--set data.data_dir={place}"
    if TRAINED not in splits and kind == "paired":
        return [*lines, f"evaluate a run on it: {jaxharm} eval --workdir RUN --data {name} {here}"]
    if TRAINED not in splits:
        return [*lines, f"it has no split {TRAINED}; what it serves for: {_TABLE}"]
    if not set(splits) & set(EVALUATED):
        lacking = f"it has no split to evaluate on ({', '.join(EVALUATED)})"
        return [*lines, f"{lacking}: join it to a set that has one, --data OTHER+{name}"]
    run = shlex.quote(f"runs/{name.replace('/', '-')}")
    return [
        *lines,
        f"next: {jaxharm} train --data {name} --workdir {run} {here}",
        f"next: {jaxharm} eval --workdir {run}",
    ]
