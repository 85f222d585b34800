"""Test settings that must stand before jax is imported, and where the shared material lies."""

import gc
import importlib.metadata
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    )
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "jaxharm-test-cache")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
# Programs that tests start find this checkout and tests/support, whatever else is installed.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
)

import jax  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402
from support.goldens import shared_folder  # noqa: E402

flags.FLAGS(sys.argv[:1])  # grain's worker processes read absl flags
jax.config.update("jax_numpy_rank_promotion", "raise")

# Tracing makes millions of small objects: Python's search for cycles among them takes a tenth of the
# time. Modules are made once and stay; of the rest, `forget_programs` has the cycles collected.
gc.freeze()
gc.set_threshold(100_000, 50, 100)
LONG = ("training", "distributed", "papers", "ops", "inference")
# Marker -> platforms of JAX. The CPU computes what the tests compare with.
CHIPS = {"gpu": "cuda,cpu", "tpu": "tpu,cpu"}
pytest_plugins = ["support.fixtures_data"]


def pytest_addoption(parser):
    """The option of `make test`."""
    help = "leave out what is marked slow, and compile fast: nearly all of the time is compiling"
    parser.addoption("--quick", action="store_true", help=help)


def pytest_configure(config):
    """Where the shared goldens lie; a mistyped setting ends the run before any test."""
    config.shared_folder = shared_folder(os.environ, ROOT)
    if config.option.markexpr in CHIPS:
        use_chip(config.option.markexpr)
    if config.option.quick:
        config.option.markexpr = config.option.markexpr or "not slow"
        os.environ["XLA_FLAGS"] += "".join(f" {flag}" for flag in compile_fast_flags())


def use_chip(platform: str) -> None:
    """Runs this session, and what it starts, on the chips of this machine."""
    os.environ["JAX_PLATFORMS"] = CHIPS[platform]
    jax.config.update("jax_platforms", CHIPS[platform])
    try:
        jax.devices()
    except RuntimeError as error:
        pytest.exit(f"-m {platform} needs a {platform.upper()} that JAX can use: {error}", 4)


def compile_fast_flags() -> list[str]:
    """Settings of XLA for the CPU under which a test that needs optimized code is marked slow."""
    flags = [
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        # One piece of code instead of one per thread: two test processes fill two cores.
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
    version = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
    if version < (0, 12):  # gone there, and XLA ends the process at a flag that it does not know
        # The older way to write fused loops: a third of the time.
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return flags


def pytest_collection_modifyitems(items):
    """The groups that take long come first, so that the workers end at about the same time."""
    items.sort(key=lambda item: item.path.relative_to(ROOT / "tests").parts[0] not in LONG)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Drops a module's compiled programs. XLA:CPU maps memory for every loop of each of them, and a
    worker that keeps all reaches the kernel's limit of 65530 mappings, and crashes.
    """
    yield
    jax.clear_caches()
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > 20_000:
        gc.collect()


@pytest.fixture(scope="session")
def shared(pytestconfig) -> Path:
    """The folder of the goldens made from photographs; skips where there is none."""
    if pytestconfig.shared_folder is None:
        pytest.skip(f"no shared material at {ROOT.parent / 'shared'} (or set JAXHARM_SHARED)")
    return pytestconfig.shared_folder
