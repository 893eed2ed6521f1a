"""The published NTED's facts and key names, and those here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import takewhile
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dance.generators._stylegan2 import fir
from dance.types import InputError

ValueT = TypeVar("ValueT")

# The nominal height of the coarsest features; every finer scale has twice the one before.
_GENERATOR_FROM, _DISCRIMINATOR_FROM = 16, 4
_MOST = 12  # scales that key names are known for
_FILTER = "kernel"  # last part of the names of fixed filters, which are no weights here


def rename(published: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """A published state dict of the generator or the discriminator under the names here; a pure function of the keys.

    The fixed filters are left out: see `check_filters`. A key of no known layout keeps its name, so that a strict
    load lists it.
    """
    layout = _layout()
    return {
        layout.get(key, key): value
        for key, value in published.items()
        if key.rpartition(".")[2] != _FILTER
    }


def check_filters(published: Mapping[str, Tensor], origin: str) -> None:
    """Raises InputError, starting with `origin`, where a fixed filter is another than that of the networks here."""
    for key, value in published.items():
        if key.rpartition(".")[2] == _FILTER:
            # Where pictures grow the published filter carries the factor that here is apart.
            found = [f * fir() for f in (1, 4)]
            if not any(torch.equal(value.float().cpu(), kernel) for kernel in found):
                raise InputError(f"{origin}: {key} is another filter than StyleGAN2's")


def published_keys(network: nn.Module, facts: Mapping[str, Any]) -> list[str]:
    """The published keys of a network with these constructor values; `rename` leads back."""
    state = network.state_dict().keys()
    return [theirs for theirs, ours in _layout().items() if ours in state]


def place_of(module: str, published: Iterable[str]) -> str | None:
    """Our name for a published module, for comparing what it gives; None where there is none.

    published: the keys of the network's state dict.
    """
    keys = list(published)
    layout = _layout()
    inside = [
        layout[key].split(".") for key in keys if key in layout and key.startswith(f"{module}.")
    ]
    if not inside:
        return None
    place = list(takewhile(lambda parts: len(set(parts)) == 1, zip(*inside, strict=False)))
    ours = ".".join(parts[0] for parts in place).removesuffix(".weight").removesuffix(".bias")
    if module.endswith(".to_rgb"):
        return ours.removesuffix(".conv")
    # What mixes textures also gives their scores; its features are those of the layer in it.
    return f"{ours}.layer" if re.fullmatch(r"renderer\.ups\.\d+\.(first|second)", ours) else ours


def facts(published: Mapping[str, Tensor], origin: str = "the checkpoint") -> dict[str, Any]:
    """The constructor values of the network whose published state dict this is, read off its shapes.

    Raises InputError, starting with `origin`, for a state dict of neither network.
    """
    shapes = {key: tuple(value.shape) for key, value in rename(published).items()}
    if "hidden.weight" in shapes:
        return _discriminator_facts(shapes)
    count = sum(
        re.fullmatch(r"renderer\.ups\.\d+\.picture\.conv\.bias", key) is not None for key in shapes
    )
    if count < 2 or {"reference.stem.weight", "skeleton.stem.weight"} - shapes.keys():
        some = ", ".join(sorted(published)[:3])
        raise InputError(f"{origin}: is no network of NTED; its first keys are: {some}")
    widths, labels, kernels = {}, {}, {}
    for i in range(count):
        height = _GENERATOR_FROM << i
        widths[height] = _shape(shapes, f"renderer.ups.{i}.second.layer.weight", origin)[0]
        found = shapes.get(f"renderer.ups.{i}.second.filter.weight", (False, 0, False))
        labels[height], kernels[height] = found[0], found[2]
    return {
        "size": max(widths), "semantic_dim": _shape(shapes, "skeleton.stem.weight", origin)[1],
        "channels": widths, "num_labels": labels, "match_kernels": kernels,
    }  # fmt: skip


def _discriminator_facts(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    widths = [shapes["stem.weight"][0]]
    while (key := f"blocks.{len(widths) - 1}.second.weight") in shapes:
        widths.append(shapes[key][0])
    size = _DISCRIMINATOR_FROM << (len(widths) - 1)
    channels = {size >> i: width for i, width in enumerate(widths)}
    return {
        "size": size,
        "channels": channels,
        "is_square_image": shapes["hidden.weight"][1] == 16 * widths[-1],
    }


def _shape(shapes: Mapping[str, tuple[int, ...]], key: str, origin: str) -> tuple[int, ...]:
    shape = shapes.get(key, ())
    if len(shape) != 4:
        raise InputError(f"{origin}: {key} has the shape {shape}, not that of a convolution")
    return shape


def by_height(values: Mapping[Any, Any]) -> dict[int, Any]:
    """Facts by nominal height; JSON has no numbers for keys."""
    return {int(height): value for height, value in values.items()}


def heights(facts: Mapping[str, Any]) -> list[int]:
    """The nominal heights of a network with these constructor values, from coarse to fine.

    Raises InputError for facts of neither network, or without the channels of a height.
    """
    missing = {"size", "channels"} - facts.keys()
    if missing:
        raise InputError(f"no network has the facts {', '.join(facts)}; {min(missing)} is needed")
    found = [_GENERATOR_FROM if "semantic_dim" in facts else _DISCRIMINATOR_FROM]
    while found[-1] < facts["size"]:
        found.append(2 * found[-1])
    unknown = set(found) - by_height(facts["channels"]).keys()
    if unknown or found[-1] != facts["size"] or len(found) > _MOST:
        several = ", ".join(map(str, found))
        raise InputError(f"size = {facts['size']} needs channels for each of {several}")
    return found


@cache
def _layout() -> dict[str, str]:
    """Every published key of networks of up to so many scales, and ours."""
    out = _discriminator_layout()
    for encoder in ("reference", "skeleton"):
        out |= _layer(f"{encoder}_encoder.first", f"{encoder}.stem")
        for i in range(_MOST):
            theirs, ours = f"{encoder}_encoder.convs.{i}", f"{encoder}.downs.{i}"
            out |= _layer(theirs, f"{ours}.layer")
            for each in (0, 1):
                # The published list grows at its front: what is found last is used first.
                inside = f"{theirs}.extraction_operations.{1 - each}"
                found = f"{ours}.extractions.{each}"
                out |= _both(f"{inside}.value_conv", f"{found}.value")
                out |= _both(f"{inside}.semantic_extraction_filter", f"{found}.filter")
    for i in range(_MOST):
        theirs, ours = f"target_image_renderer.convs.{i}", f"renderer.ups.{i}"
        for conv, place in (("conv0", "first"), ("conv1", "second")):
            out |= _layer(f"{theirs}.{conv}", f"{ours}.{place}.layer")
            inside = f"{theirs}.{conv}.distribution_operation.semantic_distribution_filter"
            out |= _both(inside, f"{ours}.{place}.filter")
        out |= _both(f"{theirs}.to_rgb.conv", f"{ours}.picture.conv")
    return out


def _discriminator_layout() -> dict[str, str]:
    """Its layers are sequences: filter where there is one, convolution, bias with activation."""
    out = {"convs.0.0.weight": "stem.weight", "convs.0.1.bias": "stem.bias"}
    for i in range(_MOST):
        theirs, ours = f"convs.{i + 1}", f"blocks.{i}"
        out |= {
            f"{theirs}.conv1.0.weight": f"{ours}.first.weight",
            f"{theirs}.conv1.1.bias": f"{ours}.first.bias",
            f"{theirs}.conv2.1.weight": f"{ours}.second.weight",
            f"{theirs}.conv2.2.bias": f"{ours}.second.bias",
            f"{theirs}.skip.1.weight": f"{ours}.skip.weight",
        }
    out |= {"final_conv.0.weight": "last.weight", "final_conv.1.bias": "last.bias"}
    return out | _both("final_linear.0", "hidden") | _both("final_linear.1", "score")


def _layer(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.conv.weight": f"{ours}.weight", f"{theirs}.activate.bias": f"{ours}.bias"}


def _both(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.{leaf}": f"{ours}.{leaf}" for leaf in ("weight", "bias")}
