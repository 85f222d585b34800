"""Official PyTorch code, imported at run time from a checkout that the user names.

Nothing of it is part of jaxharm. Benchmarks that compare both sides take it from the user's folder;
what a paper's code needs for that is in the paper's own `official.py`, as a tuple `CASES`. This
module can be imported without PyTorch.
"""

import contextlib
import importlib
import importlib.machinery
import io
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from unittest import mock

import numpy as np

from jaxharm.config import OptimConfig, RunConfig
from jaxharm.errors import InputError
from jaxharm.interfaces import Array, NameMap, Output, Params
from jaxharm.schema import HostBatch
from jaxharm.weights.name_map import state_dict

# PyTorch is optional: its classes have no types here.
Tensor: TypeAlias = Any
TorchModule: TypeAlias = Any
TorchOptimizer: TypeAlias = Any


class Peer(Protocol):
    """An official network inside its official training loop.

    Attributes:
        networks: PyTorch modules by the names of our `TrainState`.
    """

    networks: Mapping[str, TorchModule]

    def forward(self, batch: HostBatch) -> np.ndarray:
        """f[b,h,w,3], the image in the [0,1] scale, as in evaluation."""
        ...

    def step(self, batch: HostBatch) -> float:
        """One step of the training loop; returns the model's loss before it."""
        ...


@dataclass(frozen=True)
class Checkout:
    """A folder with an official repository."""

    path: Path

    def load(self, *names: str, absent: Sequence[str] = ()) -> tuple[types.ModuleType, ...]:
        """Imports modules of the checkout, and forgets their names again.

        Checkouts share names such as `models`, so none stays in `sys.modules`.

        Args:
            names: dotted, as from the checkout's root.
            absent: packages that the modules import and that the called code never uses: where one
                is not installed, an empty one stands in for it.

        Raises:
            InputError: a module or something that it imports is missing.
        """
        before = set(sys.modules)
        stand_ins = [name for name in absent if not _installed(name)]
        sys.modules.update({name: _StandIn(name) for name in stand_ins})
        sys.path.insert(0, str(self.path))
        try:
            with quiet():
                return tuple(importlib.import_module(name) for name in names)
        except ImportError as error:
            raise InputError(
                f"{self.path} cannot be imported: {error}; check the checkout out completely, and "
                f"pip install what is missing"
            ) from None
        finally:
            sys.path.remove(str(self.path))
            for name in set(sys.modules) - before:
                file = getattr(sys.modules[name], "__file__", None) or ""
                if name in stand_ins or Path(file).is_relative_to(self.path):
                    del sys.modules[name]


@dataclass(frozen=True)
class OfficialCase:
    """One model, and how to run the official code beside ours.

    Attributes:
        name: registry name.
        repository: "owner/name" on GitHub; the checkout's folder is called `name`.
        config: our run with what the official training step does.
        peer: the official network with its loop, at PyTorch's default dtype.
        names: network -> its official tensors.
        size, batch: for measuring times.
        small: the run for comparing losses, with its size and batch.
        result: which array of our output the official forward pass returns.
        sgd_rate: learning rate of plain SGD where the losses of both sides are compared.
        draws: whether a training step draws random numbers, which differ between the sides.
        remark: what a reader of the figures must know.
    """

    name: str
    repository: str
    config: Callable[[], RunConfig]
    peer: Callable[[Checkout, RunConfig], Peer]
    names: Callable[[RunConfig], Mapping[str, NameMap]]
    size: int
    batch: int
    small: "tuple[Callable[[], RunConfig], int, int]"
    result: Callable[[Output], Array]
    sgd_rate: float
    draws: bool = False
    remark: str = ""

    def checkout(self, folder: Path | None) -> Checkout | None:
        """The checkout of its repository in `folder`, where there is one."""
        path = folder and folder.resolve() / self.repository.split("/")[1]
        return Checkout(path) if path and path.is_dir() else None


def fill(network: TorchModule, names: NameMap, variables: Params) -> None:
    """Gives a PyTorch module our variables; tensors that ours lacks stay as they are."""
    import torch

    own = {name: tensor.cpu().detach().numpy() for name, tensor in network.state_dict().items()}
    tensors = state_dict(names, variables, own)
    network.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})


def tensors(batch: HostBatch) -> dict[str, Tensor]:
    """A batch as PyTorch tensors [b,c,h,w] in [0,1], of the default dtype, on the default device."""
    import torch

    found = {}
    for name in ("composite", "mask", "target", "background"):
        value = getattr(batch, name)
        if value is not None:
            scaled = value / np.float32(255) if value.dtype == np.uint8 else value
            array = np.ascontiguousarray(np.moveaxis(scaled, 3, 1))
            found[name] = torch.tensor(array, dtype=torch.get_default_dtype())
    return found


def images(tensor: Tensor) -> np.ndarray:
    """A PyTorch tensor [b,c,h,w] as an array [b,h,w,c]."""
    return np.moveaxis(tensor.detach().cpu().numpy(), 1, 3)


def optimizer(config: OptimConfig, network: TorchModule) -> TorchOptimizer:
    """PyTorch's optimizer of the trained parameters of a module, at the start of its schedule."""
    import torch

    parameters = [p for p in network.parameters() if p.requires_grad]
    if config.name == "adam":
        betas = (config.b1, config.b2)
        return torch.optim.Adam(parameters, lr=config.lr, betas=betas, eps=config.eps)
    if config.name == "lion":
        from lion_pytorch import Lion

        return Lion(parameters, lr=config.lr, betas=(config.b1, config.b2))
    return torch.optim.SGD(parameters, lr=config.lr, momentum=config.b1)


def default_device() -> str:
    """Where PyTorch makes tensors, by its name; official trainers want to be told."""
    import torch

    return str(torch.get_default_device())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides what official code prints and warns of; `.cuda()` leaves tensors where they are."""
    torch = sys.modules.get("torch")
    stay = mock.patch.object(torch.Tensor, "cuda", _stay) if torch else contextlib.nullcontext()
    nowhere = io.StringIO()
    prints = contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere)
    with stay, prints[0], prints[1], warnings.catch_warnings(action="ignore"):
        yield


def _stay(tensor: Tensor, *_: object, **__: object) -> Tensor:
    return tensor


class _StandIn(types.ModuleType):
    """A module that has every name, each an empty class."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)  # other packages look for it

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _installed(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
