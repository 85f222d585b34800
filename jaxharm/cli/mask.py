"""Mask the object of a picture with rembg, where that is installed.

Example:
  jaxharm mask picture.jpg -o picture_mask.png

rembg (pip install 'rembg[cpu]') is a program of others with networks of its own. Nothing is
downloaded: the file of the network, such as u2net.onnx from the releases of github.com/danielgatis/rembg,
must be in ~/.u2net, or in the folder that U2NET_HOME names.
"""

import argparse
import importlib
import os
from pathlib import Path
from types import ModuleType

from jaxharm.cli.command import local_path, warnings_in_one_line
from jaxharm.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command."""
    add = parser.add_argument
    add("picture", type=local_path, help="picture with one main object")
    add("-o", "--output", required=True, type=local_path, help="file of the mask")
    add("--network", default="u2net", metavar="NAME", help="of rembg; default u2net")


def execute(arguments: argparse.Namespace) -> int:
    """Writes the mask; returns the exit status."""
    from jaxharm.images import check_output, read_image, write_image
    from jaxharm.images.bit_depth import from_unit
    from jaxharm.images.spaces import to_srgb

    check_output(arguments.output)
    there = arguments.output.is_file() and arguments.picture.exists()
    if there and arguments.output.samefile(arguments.picture):
        raise InputError(f"--output {arguments.output} would replace the picture")
    with warnings_in_one_line():
        picture = read_image(arguments.picture)
        _check_network(arguments.network)
        rembg = _rembg()
        session = rembg.new_session(arguments.network)
        seen = from_unit(to_srgb(picture.pixels[..., :3], picture.space), "uint8")
        mask = rembg.remove(seen, session=session, only_mask=True)
        write_image(arguments.output, mask.reshape(*mask.shape[:2], 1))
    print(f"wrote {arguments.output}")
    return 0


def _check_network(name: str) -> None:
    """InputError where the network's file is not there, which rembg would then fetch."""
    # Where rembg looks, by its documentation.
    home = os.environ.get("U2NET_HOME") or os.path.join(
        os.environ.get("XDG_DATA_HOME", "~"), ".u2net"
    )
    file = Path(home).expanduser() / f"{name}.onnx"
    if not file.is_file():
        raise InputError(
            f"no network at {file}, and none is downloaded here: get {file.name} from the releases "
            "of github.com/danielgatis/rembg and put it there, or set U2NET_HOME to its folder"
        )
    # A file with another sum than rembg expects would be replaced by a download.
    os.environ["MODEL_CHECKSUM_DISABLED"] = "1"


def _rembg() -> ModuleType:
    try:
        return importlib.import_module("rembg")
    except (ImportError, SystemExit):  # it ends the process where it finds no onnxruntime
        raise InputError(
            "rembg is not installed, or lacks onnxruntime: pip install 'rembg[cpu]'; or draw the "
            "mask in an editor"
        ) from None
