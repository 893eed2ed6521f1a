"""Listings of published layers, compared shape by shape with the layers of a network here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from dance.evaluation.oracles._oracle import Result
from dance.types import InputError

_LAYERS = ("conv", "linear")  # other rows of a listing tell what is done without weights


def listed(
    name: str, rows: Sequence[Mapping[str, Any]], ours: Iterable[tuple[str, nn.Module]]
) -> Iterator[Result]:
    """One result per listed layer: its channels, kernel and stride, and that there is no other.

    ours: our layers by their published names, in the order of the listing.
    """
    wanted = [row for row in rows if row["op"] in _LAYERS]
    found = list(ours)
    yield Result(f"{name}, layers", len(found), 0.0, recorded=len(wanted))
    for row, (published, layer) in zip(wanted, found, strict=False):
        if row.get("name", published) != published:
            raise InputError(f"{name}: {row['name']} is listed where here is {published}")
        yield Result(f"{name}, {published}", _shape(layer), 0.0, recorded=_listed_shape(row))


def _shape(layer: nn.Module) -> list[int]:
    """In, out and for convolutions kernel and stride; that it has a shift."""
    if isinstance(layer, nn.Conv2d):
        kernel, stride = layer.kernel_size[0], layer.stride[0]
        return [layer.in_channels, layer.out_channels, kernel, stride, int(layer.bias is not None)]
    assert isinstance(layer, nn.Linear)
    return [layer.in_features, layer.out_features, int(layer.bias is not None)]


def _listed_shape(row: Mapping[str, Any]) -> list[int]:
    sides = [row["kernel"], row["stride"]] if row["op"] == "conv" else []
    return [row["in"], row["out"], *sides, int(row.get("bias", True))]
