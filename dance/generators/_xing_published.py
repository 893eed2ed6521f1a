"""The names of the published XingGAN's tensors, and ours: generator and discriminators."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from torch import nn

ValueT = TypeVar("ValueT")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def rename(published: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """A published generator's state dict under the names here; a pure function of the keys.

    A key of no known layout keeps its name, so that a strict load lists it. Statistics that old checkpoints keep of
    instance norms, which nothing is done with, are left out.
    """
    modules = {key.rpartition(".")[0] for key in published}
    ends, blocks = (_count(modules, part) for part in (r"model\.stream1_up\.", r"model\.att\."))
    # Dropout between the two convolutions of a block takes a number in the published sequence.
    dropout = not any(re.fullmatch(r"model\.att\.\d+\.conv_block_.*\.5", m) for m in modules)
    return renamed(published, generator_layout(max(0, ends - 1) // 3, blocks, dropout=dropout))


def rename_discriminator(published: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """The same for a discriminator's state dict."""
    modules = {key.rpartition(".")[0] for key in published}
    blocks = [int(m[1]) for k in modules if (m := re.match(r"model\.(\d+)\.conv_block\.", k))]
    first, last = (min(blocks), max(blocks)) if blocks else (10, 9)
    dropout = not any(re.fullmatch(r"model\.\d+\.conv_block\.5", k) for k in modules)
    layout = discriminator_layout((first - 4) // 3, last - first + 1, dropout=dropout)
    return renamed(published, layout)


def renamed(published: Mapping[str, ValueT], layout: Mapping[str, str]) -> dict[str, ValueT]:
    """The state dict with its modules named by the layout, without statistics of norms that have no weights."""
    out = {}
    for key, value in published.items():
        module, _, leaf = key.rpartition(".")
        unused = leaf in _STATISTICS and f"{module}.weight" not in published
        if module not in layout:
            out[key] = value
        elif not unused:
            out[f"{layout[module]}.{leaf}"] = value
    return out


def _count(modules: Iterable[str], prefix: str) -> int:
    found = [int(m[1]) for module in modules if (m := re.match(rf"{prefix}(\d+)", module))]
    return max(found, default=-1) + 1


def generator_layout(downs: int, blocks: int, *, dropout: bool) -> dict[str, str]:
    """For the name of every published module that holds tensors, the name of ours."""
    out: dict[str, str] = {}
    for stream, ours in (("stream1", "image"), ("stream2", "poses")):
        for i in range(downs + 1):
            out |= _layer(f"{stream}_down", 3 * i + 1, f"{ours}_in.{i}")
        for i in range(downs):
            out |= _layer(f"{stream}_up", 3 * i, f"{ours}_out.{i}")
        out[f"{stream}_up.{3 * downs + 1}"] = f"{ours}_out.{downs}.conv"
        for i in range(blocks):
            out |= _pair(f"att.{i}.conv_block_{stream}", f"blocks.{i}.{ours}", dropout)
    for i in range(blocks):
        out[f"att.{i}"] = f"blocks.{i}.cross"
        for name in ("query", "key", "value"):
            out[f"att.{i}.{name}_conv"] = f"blocks.{i}.cross.{name}"
    out |= {"x2_con": "narrow.conv", "x2_norm": "narrow.norm"}
    for i in range(downs + 1):
        number = str(i or "")
        out |= {f"atte_con{number}": f"choice.{i}.conv", f"atte_norm{number}": f"choice.{i}.norm"}
    return {f"model.{module}": place for module, place in out.items()}


def discriminator_layout(downs: int, blocks: int, *, dropout: bool) -> dict[str, str]:
    """The same for a discriminator."""
    out: dict[str, str] = {}
    for i in range(downs + 1):
        out |= _layer("model", 3 * i + 1, f"encoder.{i}")
    for i in range(blocks):
        out |= _pair(f"model.{3 * downs + 4 + i}.conv_block", f"blocks.{i}.inner", dropout)
    return out


def _layer(prefix: str, number: int, place: str) -> dict[str, str]:
    """A convolution and, behind it, its norm."""
    return {f"{prefix}.{number}": f"{place}.conv", f"{prefix}.{number + 1}": f"{place}.norm"}


def _pair(prefix: str, place: str, dropout: bool) -> dict[str, str]:
    """A block's two convolutions, with dropout between them or not."""
    return _layer(prefix, 1, f"{place}.first") | _layer(prefix, 5 + dropout, f"{place}.second")


def keys(network: nn.Module, facts: Mapping[str, Any]) -> list[str]:
    """The published keys of a network with these constructor values; `rename` leads back."""
    layout = generator_layout if "ngf" in facts else discriminator_layout
    places = layout(
        facts.get("n_downsampling", 2),
        facts["n_blocks"],
        dropout=bool(facts.get("use_dropout", True)),
    )
    theirs = {place: module for module, place in places.items()}
    ours = (key.rpartition(".") for key in network.state_dict())
    return [f"{theirs[module]}.{leaf}" for module, _, leaf in ours]
