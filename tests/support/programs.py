"""The surroundings of programs that tests start."""

import os


def xla_flags(devices: int) -> str:
    """XLA_FLAGS as the tests have them, but with another number of CPU devices; the last one counts."""
    return f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
