"""Published checkpoints into this project's weights files: the only place that opens a pickle, and only its tensors."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dance import plugins, weights
from dance.training import losses
from dance.types import InputError, Size

VGG19 = "vgg19"
# Where checkpoints keep a state dict among other things, best first: NTED's averaged generator before the last one.
_ENTRIES = ("state_dict", "net_G_ema", "net_G")


def names() -> list[str]:
    """What can be converted: generators with published checkpoints, and VGG-19 for the perceptual loss."""
    generators = [
        name
        for name in plugins.names("dance.generators")
        if hasattr(plugins.load("dance.generators", name), "converted")
    ]
    return sorted([*generators, VGG19])


def convert(
    name: str,
    checkpoint: Path,
    output: Path,
    *,
    face: Path | None = None,
    size: Size | None = None,
) -> dict[str, str]:
    """Writes a published checkpoint as a weights file, whole or not at all; gives the metadata written.

    face: of a generator, the checkpoint of its face network.  size: (height, width) the generator draws.
    Raises InputError for a name or file that is none, and lists tensors that are missing or unexpected.
    """
    if name not in names():
        raise InputError(
            f"nothing named {name!r} can be converted; there are: {', '.join(names())}"
        )
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: the result is a .safetensors file")
    state = read_checkpoint(checkpoint)
    module: nn.Module
    if name == VGG19:
        if face is not None or size is not None:
            raise InputError(f"{VGG19} has neither a face network nor a size")
        module, metadata = losses.VGG19(), {"network": VGG19}
        weights.fill(module, losses.rename(state), str(checkpoint))
    else:
        module, metadata = plugins.load("dance.generators", name).converted(
            state,
            str(checkpoint),
            face_network=None if face is None else read_checkpoint(face),
            size=size,
        )
    written = metadata | {"source": checkpoint.name, "source_sha256": weights.sha256(checkpoint)}
    weights.save_safetensors(output, module, written)
    return written


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict of a .pth or .safetensors file; of a pickle nothing but tensors is ever made.

    A state dict inside an entry such as `state_dict` is found, and the `module.` of parallel training is taken off.
    Raises InputError for anything else.
    """
    if path.suffix == ".safetensors":
        return weights.read_tensors(path)
    try:
        with warnings.catch_warnings():
            # Of pickles written in another way than torch's own; whether they can be read is told below.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); give a .pth checkpoint") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        # torch's own words advise to open it without the safeguard.
        raise InputError(f"{path}: is no whole checkpoint of nothing but tensors") from error
    if isinstance(found, Mapping):
        inside = (found[entry] for entry in _ENTRIES if isinstance(found.get(entry), Mapping))
        found = next(inside, found)
    if not isinstance(found, Mapping) or not found:
        raise InputError(f"{path}: holds a {type(found).__name__}, not named tensors")
    strange = [key for key, value in found.items() if not isinstance(value, Tensor)]
    if strange:
        raise InputError(f"{path}: {strange[0]!r} in it is no tensor")
    if all(str(key).startswith("module.") for key in found):
        return {str(key).removeprefix("module."): value for key, value in found.items()}
    return {str(key): value for key, value in found.items()}
