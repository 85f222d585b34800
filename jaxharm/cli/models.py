"""List the models: parameters, input sizes, memory, weights, license.

Weights are those of the papers' authors. Each stands with the page that offers it, its license, its
hash where it is known, and the command that makes it usable. Nothing is downloaded.
"""

import argparse
from collections.abc import Sequence

from jaxharm import registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    parser.add_argument("names", nargs="*", help="only these; default: all")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit status."""
    names = arguments.names or registry.list_models()
    rows: list[Sequence[str]] = [
        ("name", "parameters", "predicts at", "images", "background", "memory")
    ]
    rows += [_row(registry.get(name)) for name in names]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    print("\nmemory: weights and buffers at the size it predicts at, batch 1, float32, CPU")
    for name in names:
        entry = registry.get(name)
        print(f"\n{name}\n  paper    {entry.paper}\n  code     {entry.license}")
        if entry.weights:
            print(f"  weights  {entry.weights}")
        for official in entry.official_files:
            _print_file(official)
    return 0


def _print_file(official: registry.OfficialFile) -> None:
    print(f"  weights  {official.file} ({official.contents})")
    print(f"    page     {official.page}")
    print(f"    license  {official.license}")
    print(f"    sha256   {official.sha256 or 'not known'}")
    print(f"    use      {official.use}")


def _row(entry: registry.Entry) -> Sequence[str]:
    from jaxharm.inference.loading import runner_class

    config, runner = registry.model_config(entry.name), runner_class(entry)
    background = "optional" if runner.fills_background else "required"
    return (
        entry.name,
        f"{entry.parameters / 1e6:.2f} M",
        f"{config.default_size}x{config.default_size}",
        "any size" if runner.parametric else f"any size from {config.min_size}",
        background if entry.needs_background else "not used",
        f"{entry.memory_mib} MiB" if entry.memory_mib else "-",
    )
