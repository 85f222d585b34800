"""The command line: `jaxharm COMMAND ...`, the same as `python -m jaxharm COMMAND ...`.

This folder is the top of both packages, and the only place in jaxharm that may import
data_pipelines. Every command is imported when it is chosen, so that `jaxharm --help` and light
commands stay quick.
"""

import difflib
import io
import sys
from collections.abc import Callable, Mapping, Sequence

from jaxharm import __version__
from jaxharm.cli.command import run_module
from jaxharm.commands import Command
from jaxharm.errors import InputError, run_command
from jaxharm.registry import entries

Load = Callable[[], Command]


def _train() -> Command:
    from jaxharm.cli import train

    return train


def _eval() -> Command:
    from jaxharm.cli import eval

    return eval


def _study() -> Command:
    from jaxharm.cli import study

    return study


def _compile() -> Command:
    from jaxharm.cli import compile

    return compile


def _tune() -> Command:
    from jaxharm.cli import tune

    return tune


def _compare() -> Command:
    from jaxharm.cli import compare

    return compare


def _data() -> Command:
    from jaxharm.cli import data

    return data


def _harmonize() -> Command:
    from jaxharm.cli import harmonize

    return harmonize


def _compose() -> Command:
    from jaxharm.cli import compose

    return compose


def _mask() -> Command:
    from jaxharm.cli import mask

    return mask


def _convert() -> Command:
    from jaxharm.cli import convert

    return convert


def _export() -> Command:
    from jaxharm.cli import export

    return export


def _models() -> Command:
    from jaxharm.cli import models

    return models


def _studio() -> Command:
    from jaxharm.cli import studio

    return studio


def _serve() -> Command:
    from jaxharm.cli import serve

    return serve


def _votes() -> Command:
    from jaxharm.cli import votes

    return votes


# name -> summary and module. The summary stands here so that the overview imports none of them.
_COMMANDS: Mapping[str, tuple[str, Load]] = {
    "models": ("List the models: sizes, weights, license, memory.", _models),
    "harmonize": ("Harmonize one image or a folder of them.", _harmonize),
    "compose": ("Paste a cut-out on a background: composite, mask and plate.", _compose),
    "mask": ("Mask the object of a picture with rembg, where that is installed.", _mask),
    "data": ("Build, check, export or make data sets.", _data),
    "train": ("Train a system; run it again to resume.", _train),
    "eval": ("Evaluate a trained system on a data set.", _eval),
    "study": ("Train and compare several runs over several seeds.", _study),
    "compile": ("Compile a training step for a machine that is not here.", _compile),
    "tune": ("Measure which kernels are best on this machine's device.", _tune),
    "compare": ("Compare two runs: equal, or the first step and field that differ.", _compare),
    "convert": ("Convert an official PyTorch checkpoint.", _convert),
    "export": ("Write the weights of a run as a folder to give away.", _export),
    "studio": ("Harmonize by hand in your browser, or collect votes of raters.", _studio),
    "serve": ("Serve harmonization over HTTP.", _serve),
    "votes": ("Rank methods by the votes of a user study.", _votes),
}


def run(argv: Sequence[str]) -> int:
    """Runs the command that `argv` starts with and returns its exit status."""
    # File names may hold bytes that are no text: they are shown escaped, and end no command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    papers = {name: load for entry in entries() for name, load in entry.commands.items()}
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview(papers))
        return 0
    if argv[0] == "--version":
        print(f"jaxharm {__version__}")
        return 0
    name = argv[0]
    loads = {**{known: load for known, (_, load) in _COMMANDS.items()}, **papers}
    if name not in loads:
        return run_command(lambda: _refuse(name, list(loads)))
    # Inside, as importing a command may find that a package of an extra is missing.
    return run_command(lambda: run_module(loads[name](), argv[1:], prog=f"jaxharm {name}"))


def _overview(papers: Mapping[str, Load]) -> str:
    """The list of commands; those of papers are imported for their summaries, and light."""
    summaries = {name: summary for name, (summary, _) in _COMMANDS.items()}
    for name, load in papers.items():
        summaries[name] = (load().__doc__ or "").splitlines()[0]
    width = max(map(len, summaries))
    lines = [f"  {name:{width}}  {summary}" for name, summary in summaries.items()]
    head = ["usage: jaxharm COMMAND ...", "", "Image harmonization in JAX.", "", "commands:"]
    return "\n".join([*head, *lines, "", "`jaxharm COMMAND --help` explains one of them."])


def _refuse(name: str, known: Sequence[str]) -> int:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
    raise InputError(f"unknown command {name!r}; known: {', '.join(close)}")
