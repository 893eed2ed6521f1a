"""How much memory a process has used."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory() -> int:
    """The most memory this process has used at any time, in bytes. Linux and macOS only."""
    if sys.platform == "win32":
        raise NotImplementedError("peak memory is measured on Linux and macOS only")
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: Linux carries its figure over from the parent process.
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
