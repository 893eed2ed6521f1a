"""Which device of this machine computes, and who gets its cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import cv2
import torch
from threadpoolctl import threadpool_limits

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


@contextmanager
def cores_for_stages() -> Iterator[None]:
    """While it is entered, the cores are the stages': numpy's BLAS and OpenCV do not share out their work; the process
    goes back afterwards.

    Their threads wait for the next product or filter by running in circles. Products and filters as small as
    ours gain little from them, and the circles take the cores from other stages: together a fifth of a run's time.
    """
    before = cv2.getNumThreads()
    # What four stages leave over.
    cv2.setNumThreads(max(1, (os.cpu_count() or 1) // 4))
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        cv2.setNumThreads(before)
