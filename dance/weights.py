"""Where trained weights come from: networks out of a published wheel, small ones that ship, strict safetensors files.

Nothing here is fetched at import or at installation; a network is fetched when it is first asked for.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from dance.types import InputError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).with_name("shipped")
"""The folder of the weights that come with the project; scripts/release_weights.py writes it."""
SUMS = "SHA256SUMS"

_VERSION = "0.10.21"
# One fixed wheel for every system: only its data files are used, so that its platform does not matter.
_TAGS = {"python-version": "3.12", "platform": "manylinux_2_28_x86_64"}
_WHEEL = f"mediapipe-{_VERSION}-cp312-cp312-manylinux_2_28_x86_64.whl"
_WHEEL_SHA256 = "956eb1ebc275c629e61b085b2cab89c3a5b9e93bad1bb107348d98dafb5a4bb5"
_MEMBERS: dict[str, tuple[str, str]] = {
    "pose_detection.tflite": (
        "mediapipe/modules/pose_detection",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    "pose_landmark_full.tflite": (
        "mediapipe/modules/pose_landmark",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
    "hand_landmark_full.tflite": (
        "mediapipe/modules/hand_landmark",
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
    ),
    "face_landmark.tflite": (
        "mediapipe/modules/face_landmark",
        "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    ),
    "face_detection_full_range_sparse.tflite": (
        "mediapipe/modules/face_detection",
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
    ),
    "face_detection_short_range.tflite": (
        "mediapipe/modules/face_detection",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    ),
    "palm_detection_full.tflite": (
        "mediapipe/modules/palm_detection",
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
    ),
    "hand_recrop.tflite": (
        "mediapipe/modules/holistic_landmark",
        "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d",
    ),
    "selfie_segmentation.tflite": (
        "mediapipe/modules/selfie_segmentation",
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    ),
    "selfie_segmentation_landscape.tflite": (
        "mediapipe/modules/selfie_segmentation",
        "a77d03f4659b9f6b6c1f5106947bf40e99d7655094b6527f214ea7d451106edd",
    ),
}


def cache_folder() -> Path:
    """Where fetched files are kept: the environment's DANCE_CACHE, else the user's cache folder."""
    named = os.environ.get("DANCE_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("dance", appauthor=False))


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped(name: str) -> Path | None:
    """The small weights of the generator `name` that come with the project; None where it has none.

    Raises InputError where the file is not the one that was released.
    """
    path = SHIPPED / f"{name}.safetensors"
    expected = released().get(path.name)
    if expected is None:
        return None
    if not _is(path, expected):
        raise InputError(
            f"{path}: is missing or damaged; install the project again, or give other weights: "
            "--set generator.options.weights=FILE.safetensors"
        )
    return path


def released() -> dict[str, str]:
    """The SHA-256 of every file of weights that comes with the project, by its name."""
    sums = SHIPPED / SUMS
    lines = sums.read_text(encoding="ascii").splitlines() if sums.is_file() else []
    return {name: digest for digest, name in (line.split() for line in lines)}


def mediapipe(name: str) -> Path:
    """The file of one of the networks in mediapipe's wheel (Apache-2.0), fetched by pip if need be.

    All of them are unpacked at the first call; wheel and files are checked against known hashes. Any
    number of processes may call this at once. A damaged file in the cache is replaced.
    Raises InputError where the wheel cannot be fetched.
    """
    if name not in _MEMBERS:
        raise ValueError(f"no network named {name!r}; there are: {', '.join(sorted(_MEMBERS))}")
    folder = cache_folder() / f"mediapipe-{_VERSION}"
    target = folder / name
    if not _is(target, _MEMBERS[name][1]):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetching-") as scratch:
            _unpack(_wheel(folder, Path(scratch)), folder, Path(scratch))
    return target


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest


def _wheel(folder: Path, scratch: Path) -> Path:
    """The wheel: one the user has put into the folder, else fetched into `scratch`."""
    brought = folder / _WHEEL
    if brought.is_file():
        wheel = brought
    else:
        log.info("fetching the pose networks once (36 MB), into %s", folder)
        _pip_download(scratch, brought)
        wheel = scratch / _WHEEL
    found = sha256(wheel)
    if found != _WHEEL_SHA256:
        raise InputError(
            f"{wheel}: its sha256 is {found}, expected {_WHEEL_SHA256}; fetch it again"
        )
    return wheel


def _pip_download(scratch: Path, brought: Path) -> None:
    tags = [word for key, value in _TAGS.items() for word in (f"--{key}", value)]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--only-binary=:all:", *tags, "--dest", str(scratch), f"mediapipe=={_VERSION}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not (scratch / _WHEEL).is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        reason = lines[-1].strip() if lines else f"exit code {done.returncode}"
        raise InputError(
            f"the pose networks could not be fetched by pip ({reason}); connect to the internet for "
            f"this first run, or put the file {_WHEEL} into {brought.parent}"
        )


def _unpack(wheel: Path, folder: Path, scratch: Path) -> None:
    """Puts every network of the wheel into the folder, each written aside, checked, then renamed."""
    with zipfile.ZipFile(wheel) as archive:
        for name, (where, digest) in _MEMBERS.items():
            if _is(folder / name, digest):
                continue
            aside = scratch / name
            aside.write_bytes(archive.read(f"{where}/{name}"))
            found = sha256(aside)
            if found != digest:
                raise InputError(f"{wheel}: {name} has sha256 {found}, expected {digest}")
            try:
                aside.replace(folder / name)
            except PermissionError:
                # Windows refuses to replace a file in use: then another process has just put it there.
                if not _is(folder / name, digest):
                    raise


def load_safetensors(path: Path, module: torch.nn.Module, *, sha256: str | None = None) -> None:
    """Fills the module from a safetensors file, all of it or (with an InputError) nothing.

    Every tensor of the module must be in the file with its shape, and no other; `sha256`, where given,
    must be the file's.
    """
    if sha256 is not None:
        _require_sha256(path, sha256)
    fill(module, read_tensors(path), str(path))


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file. Raises InputError where it is no such file."""
    import safetensors
    import safetensors.torch

    try:
        return safetensors.torch.load_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); give a safetensors file") from error
    except safetensors.SafetensorError as error:
        raise InputError(f"{path}: is no whole safetensors file ({error})") from error


def fill(module: torch.nn.Module, given: Mapping[str, torch.Tensor], origin: str) -> None:
    """Fills the module with the tensors, all of them or (with an InputError that starts with `origin`) nothing."""
    wanted = module.state_dict()
    complaints = [
        _listed("missing", sorted(wanted.keys() - given.keys())),
        _listed("unexpected", sorted(given.keys() - wanted.keys())),
        _listed(
            "of another shape",
            [
                f"{key} {tuple(given[key].shape)}, expected {tuple(wanted[key].shape)}"
                for key in sorted(wanted.keys() & given.keys())
                if given[key].shape != wanted[key].shape
            ],
        ),
    ]
    if any(complaints):
        kind = type(module).__name__
        raise InputError(f"{origin}: does not fit {kind}: {'; '.join(filter(None, complaints))}")
    module.load_state_dict(given, strict=True)


def read_metadata(path: Path) -> dict[str, str]:
    """The text a safetensors file carries beside its tensors. Raises InputError where it is no such file."""
    import safetensors

    try:
        with safetensors.safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); give a safetensors file") from error
    except safetensors.SafetensorError as error:
        raise InputError(f"{path}: is no whole safetensors file ({error})") from error


def _require_sha256(path: Path, expected: str) -> None:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give a safetensors file")
    found = sha256(path)
    if found != expected.lower():
        raise InputError(f"{path}: its sha256 is {found}, expected {expected}")


def _listed(what: str, names: list[str], most: int = 8) -> str:
    if not names:
        return ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{what}: {', '.join(names[:most])}{more}"


def save_safetensors(
    path: Path,
    state: torch.nn.Module | Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a module's (or a state's) tensors aside, then renames: the path never holds half a file."""
    import safetensors.torch
    import torch

    tensors = state.state_dict() if isinstance(state, torch.nn.Module) else state
    # Tied weights share memory, which the format refuses: each gets its own.
    whole = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
        aside = Path(scratch) / path.name
        # The library's own files can be read by their owner alone.
        aside.write_bytes(safetensors.torch.save(whole, dict(metadata or {})))
        aside.replace(path)
