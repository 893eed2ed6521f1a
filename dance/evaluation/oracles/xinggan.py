"""XingGAN: its generator, discriminators and losses, and the pose maps and annotations it shares with PATN and GFLA."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from dance import draw, joint_files, joint_maps
from dance.evaluation.oracles._oracle import Oracle, Published, Result, network_results, plain
from dance.generators import _xing_published as published
from dance.generators import xing
from dance.training.recipes import _xing as judges
from dance.types import Array, InputError, Size

PREFIXES = ("xinggan_", "pose_maps")

_EXACT = 1e-6
_FASHION, _MARKET, _SQUARE = (256, 176), (128, 64), (256, 256)


def results(oracle: Oracle) -> Iterator[Result]:
    """All results of an oracle of this system, made again from its facts, weights and inputs."""
    constructor = oracle.facts.get("constructor", {})
    if "ngf" in constructor:
        yield from _generator(oracle)
    elif "ndf" in constructor:
        yield from network_results(oracle, _DISCRIMINATOR)
    elif "pred" in (key.removeprefix("in.") for key in oracle.arrays):
        yield from _losses(oracle)
    elif "csv" in oracle.facts:
        yield from _maps(oracle)
    else:
        raise InputError(f"{oracle.name}: its facts describe nothing known here")


def _generator(oracle: Oracle) -> Iterator[Result]:
    names = oracle.outputs
    blocks = range(oracle.facts["constructor"]["n_blocks"])
    also = {"fusion_attention": "shares"} if "fusion_attention" in names else None

    def derive(network: nn.Module, heard: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
        """What a block gives, which are two tensors, and its attentions, which drawing does not hold whole."""
        found = {}
        for i in blocks:
            for number, part in enumerate(heard[f"blocks.{i}"][0]):
                found[f"hook.att.{i}.{number}"] = part
            cross = network.get_submodule(f"blocks.{i}.cross")
            assert isinstance(cross, xing.Crossing)
            streams = (heard[f"blocks.{i}.{stream}"][0] for stream in ("image", "poses"))
            for stream, part in zip(("image", "pose"), cross.maps(*streams), strict=True):
                found[f"attention.{stream}.block{i}"] = part
        return {name: value for name, value in found.items() if name in names}

    listen = [f"blocks.{i}{part}" for i in blocks for part in ("", ".image", ".poses")]
    yield from network_results(oracle, _GENERATOR, also, main="fake", listen=listen, derive=derive)


def _place(module: str, keys: Iterable[str]) -> str | None:
    """Our module for a published one; None for blocks, which give two tensors."""
    first = _renamed(published.rename, f"model.{module}.weight", keys)
    if first != f"model.{module}.weight":
        return first.removesuffix(".weight")
    streams = {"1": "image", "2": "poses"}
    if found := re.fullmatch(r"stream([12])_(down|up)", module):
        return f"{streams[found[1]]}_{'in' if found[2] == 'down' else 'out'}"
    if found := re.fullmatch(r"att\.(\d+)\.conv_block_stream([12])", module):
        return f"blocks.{found[1]}.{streams[found[2]]}"
    return None


def _judge_place(module: str, keys: Iterable[str]) -> str | None:
    known = list(keys)
    first = _renamed(published.rename_discriminator, f"{module}.weight", known)
    if first != f"{module}.weight":
        return first.removesuffix(".weight")
    inside = _renamed(published.rename_discriminator, f"{module}.conv_block.1.weight", known)
    block = re.match(r"blocks\.\d+", inside)
    return block[0] if block else None


def _renamed(
    rename: Callable[[Mapping[str, str]], dict[str, str]], key: str, among: Iterable[str]
) -> str:
    """What a key is called here among all the keys of its network."""
    found = rename(dict.fromkeys([*among, key], "") | {key: key})
    return next(ours for ours, theirs in found.items() if theirs == key)


_GENERATOR = Published(xing.network, published.rename, published.keys, _place)
_DISCRIMINATOR = Published(
    judges.network, published.rename_discriminator, published.keys, _judge_place
)


def _losses(oracle: Oracle) -> Iterator[Result]:
    """Losses of a score map and of two pictures; what is meant is in the outputs' names."""
    layers = []
    for number in sorted(int(key.partition(".")[0]) for key in oracle.state("vgg.") if key.endswith(".weight")):  # fmt: skip
        weight, bias = (oracle.state(f"vgg.{number}.")[leaf] for leaf in ("weight", "bias"))
        layers.append(nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1))
        layers[-1].load_state_dict({"weight": weight, "bias": bias})
    for name in oracle.outputs:
        if found := re.fullmatch(r"gan\.(lsgan|vanilla_on_sigmoid)\.target_(real|fake)", name):
            scores = oracle.given("pred")
            if found[1] == "lsgan":
                value = judges.gan(scores, found[2] == "real")
            else:
                value = judges.gan(scores.sigmoid(), found[2] == "real", kind="bce")
            yield Result(name, value, oracle.atol)
        elif found := re.fullmatch(
            r"l1_plus_perceptual\.lambdaA(\d+)\.lambdaB(\d+)\.percep_is_l1_([01])\.(\w+)", name
        ):
            drawn, real = oracle.given("a"), oracle.given("b")
            colours = float(found[1]) * (drawn - real).abs().mean()
            look = float(found[2]) * judges.looks(layers, drawn, real, squared=found[3] == "0")
            value = {"l1": colours, "perceptual": look, "total": colours + look}[found[4]]
            yield Result(name, value, oracle.atol)


def _maps(oracle: Oracle) -> Iterator[Result]:
    """Heat maps of annotated joints and what becomes of annotations; what is meant is in the arrays' names."""
    arrays = plain(oracle)
    for name, recorded in arrays.items():
        stem, _, number = name.rpartition(".")
        given = f"keypoints_yx.{number}", f"market_keypoints_yx.{number}"
        if name in given or stem == "gfla_affine_matrix" or name == "csv_before_resize_utf8":
            continue
        fashion, market = (arrays[key][:, ::-1] if key in arrays else None for key in given)
        if name == "csv_text_utf8":
            joints = joint_files.parse_joints(_text(recorded), name)
            value: Array = _same_joints(joint_files.format_joints(joints), recorded)
        elif name == "csv_after_resize_utf8":
            before = joint_files.parse_joints(_text(arrays["csv_before_resize_utf8"]), name)
            # The middle 176 columns of a square picture are kept.
            left, width = (_SQUARE[1] - _FASHION[1]) // 2, _FASHION[1]
            after = {
                key: joint_files.moved(xy, _SQUARE, _FASHION, left=left, width=width)
                for key, xy in before.items()
            }
            value = _same_joints(joint_files.format_joints(after), recorded)
        elif stem == "fashion_uint8_map_nonzero_yxc" and fashion is not None:
            value = np.argwhere(joint_maps.points(fashion, _seen(fashion), _FASHION).transpose(1, 2, 0))  # fmt: skip
        elif found := re.fullmatch(r"float_map_(\d+)x(\d+)_sigma(\d+)_every(\d+)th", stem):
            size, sigma, step = (int(found[1]), int(found[2])), int(found[3]), int(found[4])
            assert fashion is not None
            value = _gaussians(fashion, size, sigma)[:, ::step, ::step].transpose(1, 2, 0)
        elif found := re.fullmatch(r"market_map_(\d+)x(\d+)_sigma(\d+)_every(\d+)nd", stem):
            size, sigma, step = (int(found[1]), int(found[2])), int(found[3]), int(found[4])
            assert market is not None
            value = _gaussians(market, size, sigma)[:, ::step, ::step].transpose(1, 2, 0)
        elif stem == "map_to_cord_of_market_map" and market is not None:
            value = _peaks(_gaussians(market, _MARKET))
        elif stem.startswith("gfla_") and fashion is not None:
            matrix = arrays[f"gfla_affine_matrix.{number}"] if "affine" in stem else None
            moved = joint_files.moved(fashion, _FASHION, _SQUARE, matrix=matrix)
            maps = _gaussians(moved, _SQUARE)
            value = _peaks(maps) if "peaks" in stem else maps[:, ::8, ::8].transpose(1, 2, 0)
        else:
            raise InputError(f"{oracle.name}: {name} is nothing known here")
        yield Result(name, value, _EXACT, recorded=recorded)


def _seen(xy: Array) -> Array:
    return np.asarray((xy != -1).all(-1), np.float32)


def _gaussians(xy: Array, size: Size, sigma: float = 6) -> Array:
    return draw.gaussians(xy, _seen(xy), size, sigma)


def _peaks(maps: Array) -> Array:
    """(row, column) of every joint, -1 where there is none."""
    xy, seen = joint_maps.peaks(maps)
    return np.where(seen[:, None] > 0, xy, -1)[:, ::-1]


def _text(recorded: Array) -> str:
    return bytes(recorded).decode("utf-8")


def _same_joints(ours: str, recorded: Array) -> Array:
    """The record where its text means the same joints as ours, else our text: spaces are not what is compared."""
    mine, theirs = (joint_files.parse_joints(text, "csv") for text in (ours, _text(recorded)))
    same = mine.keys() == theirs.keys() and all((mine[k] == theirs[k]).all() for k in mine)
    return recorded if same else np.frombuffer(ours.encode(), np.uint8)
