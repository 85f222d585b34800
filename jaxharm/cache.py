"""Compiled programs kept between runs, so that the second start is fast."""

import os
from pathlib import Path

import jax


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
