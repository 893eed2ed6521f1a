"""Installs mmpose 1.3.2 beside this project, for `estimator.name=mmpose`. Needs a C compiler.

Its own requirements would replace torch and NumPy by versions that do not fit: so each part is
installed without them.

    python scripts/install_mmpose.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

STEPS: tuple[tuple[str, ...], ...] = (
    # setuptools 80 no longer has what two of the packages below are built with.
    ("numpy<2.5", "setuptools<80", "wheel", "cython", "matplotlib", "scipy"),
    ("--no-deps", "addict", "munkres", "pycocotools", "shapely", "six", "termcolor", "terminaltables",
     "yapf"),
    ("--no-deps", "mmengine==0.10.7", "mmcv-lite==2.1.0", "mmdet==3.3.0", "mmpose==1.3.2"),
    ("--no-deps", "torchvision==0.28.0"),
    ("--no-deps", "--no-build-isolation", "--no-binary", "xtcocotools", "xtcocotools==1.14.3"),
    ("--no-deps", "--no-build-isolation", "chumpy==0.70"),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Runs pip for every step; the exit code of the first that fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.parse_args(argv)
    for step in STEPS:
        print("pip install", *step, flush=True)
        code = subprocess.run(
            [sys.executable, "-m", "pip", "install", *step], check=False
        ).returncode
        if code:
            return code
    print("mmpose is installed: --set estimator.name=mmpose")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
