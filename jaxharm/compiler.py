"""Settings of XLA at the start of a program: a cache of compiled programs, the CPU schedule."""

import os
from pathlib import Path

import jax

_CPU_SCHEDULE = "xla_cpu_enable_concurrency_optimized_scheduler"


def enable_compilation_cache() -> Path:
    """Keeps compiled programs in JAXHARM_CACHE, else JAX_COMPILATION_CACHE_DIR, else
    ~/.cache/jaxharm; returns that folder. JAX itself warns where it cannot be written.
    """
    default = Path.home() / ".cache" / "jaxharm"
    chosen = os.environ.get("JAXHARM_CACHE") or os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = Path(chosen or default).expanduser()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def save_memory_on_cpu() -> None:
    """Chooses XLA's sequential schedule for CPU programs; call it before any use of a device.

    The default one starts independent operations early and so holds many copies at once: a
    training step of a U-Net at 256x256 needs 40 % more memory for it and gains 5 to 10 % in time. A setting
    of the user's own in XLA_FLAGS stands.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _CPU_SCHEDULE not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --{_CPU_SCHEDULE}=false".strip()
