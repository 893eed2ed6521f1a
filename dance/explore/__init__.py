"""What is inside the single-picture generators, as pictures: one file each, named as the generator it opens.

A file has `class Config(Options)`, its options, and `explore(generator, subject, config) -> Made`, the pictures it makes.
`make` here studies the people and poses, calls it, and writes what it made.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dance import picture, pipeline, plugins, video
from dance.config import Plugin, check
from dance.devices import choose_device
from dance.explore._subject import Subject, study
from dance.progress import OnProgress
from dance.surface import parsing
from dance.types import Array, Frame, InputError

Made = Mapping[str, Array]
"""Contents by file name: NAME.png (H, W, 3) uint8, or (H, W) label numbers; NAME.mp4 (T, H, W, 3) uint8."""

_RATE = 24  # pictures a second


def make(
    name: str,
    person: Path,
    output: Path,
    *,
    other: Path | None = None,
    poses: Sequence[Path] = (),
    frames: int = 4,
    weights: Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> list[Path]:
    """Opens generator `name` on a person and writes what is inside into the folder `output`; the files, all or none.

    person, other: photos or videos of people.  poses: photos or videos whose poses are drawn, of a video `frames` of
    them; without any the person's own.  weights: else those that come with the project.
    options: of the plug-in's `Config`.  Raises InputError for what the user gave.
    """
    plugin = plugins.load("dance.explore", name)
    config = check(plugin.Config, dict(options or {}), f"options of {name}")
    named = [value for _, value in config if isinstance(value, Path)]
    _check(
        output, [person, *poses, *([] if other is None else [other]), *named], overwrite=overwrite
    )
    where = choose_device(device)
    given = {} if weights is None else {"weights": weights}
    generator = pipeline.build_generator(Plugin(name=name, options=given), where)
    subject = study(
        person, generator, other=other, poses=poses, frames=frames, device=where,
        on_progress=on_progress or (lambda progress: None),
    )  # fmt: skip
    return write(plugin.explore(generator, subject, config), output)


def write(made: Made, output: Path) -> list[Path]:
    """Writes the pictures into the folder, made if need be; all of them are there before any takes its place."""
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{output.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        aside.mkdir()
        for name, content in made.items():
            _write(aside / name, content)
        output.mkdir(exist_ok=True)
        return [(aside / name).replace(output / name) for name in made]
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(path: Path, content: Array) -> None:
    assert content.dtype == np.uint8
    if content.ndim == 4:
        shown = (Frame(rgb, Fraction(i, _RATE), i) for i, rgb in enumerate(content))
        video.write(shown, path)
    elif content.ndim == 2:
        parsing.write(path, content)
    else:
        picture.write(path, content)


def _check(output: Path, inputs: Sequence[Path], *, overwrite: bool) -> None:
    """Refuses, before anything is computed, inputs that are not there and a folder that holds something."""
    for path in inputs:
        if not path.exists():
            raise InputError(f"{path}: there is no such file")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; give a folder for the pictures")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise InputError(f"{output}: is not empty; give another folder, or --overwrite")
    for path in inputs:
        # An atlas that was painted must not be replaced by what it was painted from.
        if path.resolve().parent == output.resolve():
            raise InputError(f"{path}: lies in {output}, which is written to; give another folder")


__all__ = ["Made", "Subject", "make", "write"]
