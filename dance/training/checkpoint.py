"""Checkpoints: a tree of tensors and plain values in one safetensors file, there whole or not at all.

One file, so that weights, optimisers, averages and counters are always of the same step. Nothing in it
is ever unpickled: the tensors are raw numbers, the rest is JSON in the file's own header.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from dance.dataset import PERSON
from dance.types import InputError

VERSION = 1


def save(path: Path, tree: Any) -> None:
    """Writes dicts, lists, tensors, numbers, strings, booleans and None aside, then renames.

    The file that was there stays as it was until the new one is whole and on the disk, whatever happens.
    Raises InputError where there is no room.
    """
    import safetensors
    import safetensors.torch

    tensors: dict[str, torch.Tensor] = {}
    plain = _split(tree, "", tensors)
    # Tied weights share memory, which the format refuses: each gets its own.
    whole = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    header = {"version": str(VERSION), "tree": json.dumps(plain)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
            aside = Path(scratch) / path.name
            safetensors.torch.save_file(whole, aside, header)
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            aside.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{path}: the checkpoint could not be written ({error}); the one before is whole: "
            "make room there and go on with --resume"
        ) from error


def load(path: Path) -> Any:
    """The tree `save` has written. Raises InputError for a file that is no whole checkpoint."""
    import safetensors

    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            if header.get("version") != str(VERSION):
                raise InputError(
                    f"{path}: is no checkpoint of version {VERSION}, "
                    f"it says {header.get('version', 'nothing')}"
                )
            return _join(json.loads(header["tree"]), file)
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is no whole checkpoint ({error})") from error


def clean(folder: Path) -> None:
    """Removes what killed processes have left half-written in the folder of a run."""
    for pattern in (".*.safetensors-*", f".{PERSON}-*"):
        for left in folder.glob(pattern):
            shutil.rmtree(left)
    for left in folder.rglob(".*.part"):
        left.unlink()


def _split(tree: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """The tree as JSON in which tensors are their names; the tensors are put into `tensors`."""
    if isinstance(tree, torch.Tensor):
        key = name or "value"
        tensors[key] = tree
        return {"tensor": key}
    if isinstance(tree, dict):
        # Optimisers number their parameters: pairs keep keys that JSON would turn into words.
        pairs = []
        for key, value in tree.items():
            assert isinstance(key, str | int), f"{name}: a key is {key!r}"
            pairs.append([key, _split(value, f"{name}.{key}".strip("."), tensors)])
        return {"dict": pairs}
    if isinstance(tree, list | tuple):
        return {"list": [_split(v, f"{name}.{i}".strip("."), tensors) for i, v in enumerate(tree)]}
    assert tree is None or isinstance(tree, bool | int | float | str), f"{name} is {type(tree)}"
    return {"value": tree}


def _join(plain: Any, file: Any) -> Any:
    match plain:
        case {"tensor": key}:
            return file.get_tensor(key)
        case {"dict": pairs}:
            return {key: _join(value, file) for key, value in pairs}
        case {"list": values}:
            return [_join(value, file) for value in values]
        case {"value": value}:
            return value
    raise ValueError(f"unknown entry {str(plain)[:60]}")
