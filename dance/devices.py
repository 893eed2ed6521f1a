"""Which device of this machine computes."""

from __future__ import annotations

from typing import Literal

import torch

from dance.types import InputError


def choose_device(wanted: Literal["auto", "cpu", "cuda", "mps"]) -> str:
    """The torch device for 'auto', cpu, cuda or mps. Raises InputError where it is not there."""
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[wanted]:
        usable = ", ".join(name for name, usable in there.items() if usable)
        raise InputError(f"device={wanted}: this machine has none; usable here: auto, {usable}")
    return wanted
