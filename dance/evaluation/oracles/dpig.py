"""Disentangled Person Image Generation: its layers. Its pose encodings are with PG2's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from dance.evaluation.oracles._layers import listed
from dance.evaluation.oracles._oracle import Oracle, Result
from dance.evaluation.oracles.pg2 import listed_size
from dance.generators import dpig
from dance.training.recipes import _dcgan as judges
from dance.types import InputError

PREFIXES = ("dpig_",)

# How a listing's names begin, and the network here.
_PARTS: Mapping[str, str] = {
    "appearance encoder": "appearance.encoder",
    "decoder": "appearance.decoder",
    "pose encoder": "pose.encoder",
    "pose decoder": "pose.decoder",
    "foreground sampler": "samplers.foreground",
    "appearance sampler": "samplers.foreground",
    "background sampler": "samplers.background",
    "pose sampler": "samplers.pose",
}
_MARKET_ROW = 512 * 8 * 4  # features of a picture of 128 x 64 that make a score


def results(oracle: Oracle) -> Iterator[Result]:
    """All layers of both configurations, compared with the listing."""
    if "DPIG" not in oracle.facts:
        raise InputError(f"{oracle.name}: its facts describe nothing known here")
    for section, facts in oracle.facts["DPIG"].items():
        size = listed_size(section)
        if size is None:
            continue
        a = dpig.Architecture() if size == (128, 64) else dpig.deepfashion()
        with torch.device("meta"):
            networks = dpig.Networks(a)
            judge = judges.Discriminator(a.frame.size, row=_MARKET_ROW)
        for name, listing in facts.items():
            title = f"{section}, {name}"
            if name == "D":
                yield from listed(title, listing["layers"], judges.published_layers(judge))
            elif name == "critics":
                for critic in listing:
                    yield from _critic(title, critic, a)
            elif isinstance(listing, Mapping):
                yield from _network(section, name, listing, networks)


def _network(
    section: str, name: str, listing: Mapping[str, Any], networks: dpig.Networks
) -> Iterator[Result]:
    part = next((ours for start, ours in _PARTS.items() if name.startswith(start)), None)
    if part is None:
        raise InputError(f"{section}, {name}: is no network known here")
    # All layers of this network by their published names, in the order they are made.
    theirs = {k: v for k, v in dpig.published_names(networks).items() if v.startswith(f"{part}.")}
    ours = [(published, networks.get_submodule(place)) for published, place in theirs.items()]
    yield from listed(f"{section}, {name}", listing["layers"], ours)


def _critic(title: str, listing: Mapping[str, Any], a: dpig.Architecture) -> Iterator[Result]:
    numbers = {
        "foreground": a.appearance, "background": a.background_code, "pose": a.pose_code,
    }  # fmt: skip
    with torch.device("meta"):
        critic = judges.Critic(numbers[listing["network"].partition(" ")[0]])
    layers = [(k, m) for k, m in critic.named_modules() if isinstance(m, nn.Linear)]
    yield from listed(f"{title}, {listing['network']}", listing["layers"], layers)
