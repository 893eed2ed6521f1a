"""From the published classes' facts and key names to the networks here: pix2pixHD, Everybody Dance Now."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from dance.generators import _pix2pix as nets
from dance.generators._pix2pix import Norm
from dance.types import InputError

ValueT = TypeVar("ValueT")


def network(facts: Mapping[str, Any]) -> nn.Module:
    """The published network with these constructor values, freshly initialised.

    facts: names as published (input_nc, ngf, n_downsampling, num_D ...). The class is told by the names given;
    `class` and names that change no tensor are ignored. Raises InputError for facts of no network known here.
    """
    batch = str(facts.get("norm", "instance")).lower().startswith("batch")
    norm: Norm = "batch" if batch else "instance"
    if "ndf" in facts:
        patch: dict[str, Any] = {
            "width": facts["ndf"],
            "layers": facts["n_layers"],
            "norm": norm,
            "features": bool(facts.get("getIntermFeat", False)),
            "sigmoid": bool(facts.get("use_sigmoid", False)),
        }
        if "num_D" in facts:
            return nets.MultiscaleDiscriminator(facts["input_nc"], scales=facts["num_D"], **patch)
        return nets.PatchDiscriminator(facts["input_nc"], **patch)
    if "ngf" not in facts:
        raise InputError(f"no network has the facts {', '.join(facts)}; ngf or ndf is needed")
    ends = facts["input_nc"], facts["output_nc"]
    width = facts["ngf"]
    if "num_downs" in facts:
        return nets.UNet(*ends, width=width, norm=norm)
    if "n_local_enhancers" in facts:
        return nets.LocalEnhancer(
            *ends,
            width=width,
            downs=facts["n_downsample_global"],
            blocks=facts["n_blocks_global"],
            enhancers=facts["n_local_enhancers"],
            enhancer_blocks=facts["n_blocks_local"],
            norm=norm,
        )
    downs = facts["n_downsampling"]
    if "n_blocks" in facts:
        return nets.GlobalGenerator(
            *ends, width=width, downs=downs, blocks=facts["n_blocks"], norm=norm
        )
    return nets.FeatureEncoder(*ends, width=width, downs=downs, norm=norm)


def rename(published: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """A published state dict of any of these networks under the names here; a pure function of the keys.

    A key that belongs to no known layout keeps its name, so that a strict load lists it.
    """
    places = _places(published)
    return {_place(key, places): value for key, value in published.items()}


def published_keys(network: nn.Module, facts: Mapping[str, Any]) -> list[str]:
    """The published keys of a network with these constructor values; `rename` leads back."""
    batch = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    if isinstance(network, nets.UNet):
        places = _unet_layout(len(network.downs), batch)
    elif isinstance(network, nets.MultiscaleDiscriminator | nets.PatchDiscriminator):
        places = _discriminator_layout(network, str(facts.get("addname", "")), batch)
    else:
        places = _generator_layout(network, batch)
    state = network.state_dict().keys()
    leaves = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    named = {
        f"{module}.{leaf}": f"{place}.{leaf}" for module, place in places.items() for leaf in leaves
    }
    return [key for key, ours in named.items() if ours in state]


def _numbered(prefix: str, place: str, number: int, batch: bool) -> dict[str, str]:
    """A convolution and, behind it, its batch norm."""
    convolution = {f"{prefix}.{number}": f"{place}.conv"}
    return convolution | ({f"{prefix}.{number + 1}": f"{place}.norm"} if batch else {})


def _generator_layout(network: nn.Module, batch: bool) -> dict[str, str]:
    trunk = network.get_submodule("trunk")
    assert isinstance(trunk, nets.Trunk)
    out = _numbered("model", "trunk.stem", 1, batch)
    number = 4
    for i in range(len(trunk.downs)):
        out |= _numbered("model", f"trunk.downs.{i}", number, batch)
        number += 3
    out |= _block_layout("model", "trunk.blocks", number, len(trunk.blocks), batch)
    number += len(trunk.blocks)
    for i in range(len(trunk.ups)):
        out |= _numbered("model", f"trunk.ups.{i}", number, batch)
        number += 3
    prefix = "model"
    for i, enhancer in enumerate(getattr(network, "enhancers", ())):
        inner, prefix, place = f"model{i + 1}_1", f"model{i + 1}_2", f"enhancers.{i}"
        out |= _numbered(inner, f"{place}.inner.stem", 1, batch)
        out |= _numbered(inner, f"{place}.inner.down", 4, batch)
        number = len(enhancer.outer.blocks)
        out |= _block_layout(prefix, f"{place}.outer.blocks", 0, number, batch)
        out |= _numbered(prefix, f"{place}.outer.up", number, batch)
        number += 3
    return out | {f"{prefix}.{number + 1}": "out.conv"}


def _block_layout(prefix: str, place: str, first: int, count: int, batch: bool) -> dict[str, str]:
    out: dict[str, str] = {}
    for i in range(count):
        inside = f"{prefix}.{first + i}.conv_block"
        out |= _numbered(inside, f"{place}.{i}.first", 1, batch)
        out |= _numbered(inside, f"{place}.{i}.second", 5, batch)
    return out


def _unet_layout(levels: int, batch: bool) -> dict[str, str]:
    out = {"model.model.0": "downs.0.conv", "model.model.3": "ups.0.conv"}
    prefix = "model.model.1.model"
    for level in range(1, levels):
        inmost = level == levels - 1
        out |= _numbered(prefix, f"downs.{level}", 1, batch and not inmost)
        out |= _numbered(prefix, f"ups.{level}", 3 if inmost else 5, batch)
        prefix += ".3.model"
    return out


def _discriminator_layout(network: nn.Module, addname: str, batch: bool) -> dict[str, str]:
    several = isinstance(network, nets.MultiscaleDiscriminator)
    scales = (
        list(network.scales) if isinstance(network, nets.MultiscaleDiscriminator) else [network]
    )
    out: dict[str, str] = {}
    for i, scale in enumerate(scales):
        assert isinstance(scale, nets.PatchDiscriminator)
        place = f"scales.{len(scales) - 1 - i}.layers" if several else "layers"
        last = len(scale.layers) - 1
        for j in range(last + 1):
            norm = batch and 0 < j < last
            if scale.features:
                prefix = f"scale{i}_layer{j}" if several else f"{addname}model{j}"
                out |= _numbered(prefix, f"{place}.{j}", 0, norm)
            else:
                prefix = f"layer{i}" if several else f"{addname}model"
                out |= _numbered(prefix, f"{place}.{j}", 3 * j - 1 if j else 0, norm)
    return out


def place_of(module: str, published: Iterable[str]) -> str | None:
    """Our name for a published module, for comparing what it gives; None where there is none.

    published: the keys of the network's state dict.
    """
    places = _places(published)
    if module in places:
        return places[module]
    last = max((place for place in places.values() if place.startswith("enhancers.")), default="")
    group = re.fullmatch(r"model(\d+)_([12])", module)
    if group is not None:
        if group[2] == "1":
            return f"enhancers.{int(group[1]) - 1}.inner"
        finest = last.startswith(f"enhancers.{int(group[1]) - 1}.")
        return "out" if finest else f"enhancers.{int(group[1]) - 1}.outer"
    inside = next((p for name, p in places.items() if name.startswith(f"{module}.conv_block.")), "")
    if inside:
        return inside.rpartition(".first")[0] or inside.rpartition(".second")[0]
    return {"downsample": "halve", "model": "trunk"}.get(module)


def facts(published: Mapping[str, Tensor], origin: str = "the checkpoint") -> dict[str, Any]:
    """The constructor values of the network whose published state dict this is, read off its shapes.

    Raises InputError, starting with `origin`, for a state dict of none of these networks.
    """
    ours = rename(published)
    shape = {key: tuple(value.shape) for key, value in ours.items()}
    for key, sides in shape.items():
        if key.endswith(".conv.weight") and len(sides) != 4:
            raise InputError(f"{origin}: {key} has the shape {sides}, not that of a convolution")
    norm = "batch" if any(key.endswith(".norm.weight") for key in ours) else "instance"
    if "downs.0.conv.weight" in ours:
        width, channels, *_ = shape["downs.0.conv.weight"]
        output = shape["ups.0.conv.weight"][1]
        return {
            "input_nc": channels,
            "output_nc": output,
            "ngf": width,
            "num_downs": 3,
            "norm": norm,
        }
    first = next(
        (k for k in ("layers.0.conv.weight", "scales.0.layers.0.conv.weight") if k in ours), ""
    )
    if first:
        width, channels, *_ = shape[first]
        layers = _count(ours, first.removesuffix("0.conv.weight")) - 2
        found = {"input_nc": channels, "ndf": width, "n_layers": layers, "norm": norm}
        if first.startswith("layers."):
            return found
        each = any(key.startswith("scale") for key in published)
        return {**found, "num_D": _count(ours, "scales."), "getIntermFeat": each}
    if not {"trunk.stem.conv.weight", "out.conv.weight"} <= ours.keys():
        some = ", ".join(sorted(published)[:3])
        raise InputError(
            f"{origin}: is no published network known here; its first keys are: {some}"
        )
    output, width, *_ = shape["out.conv.weight"]
    ends = {"input_nc": shape["trunk.stem.conv.weight"][1], "output_nc": output, "ngf": width}
    downs, blocks = _count(ours, "trunk.downs."), _count(ours, "trunk.blocks.")
    enhancers = _count(ours, "enhancers.")
    if enhancers:
        return {
            **ends, "n_downsample_global": downs, "n_blocks_global": blocks,
            "n_local_enhancers": enhancers,
            "n_blocks_local": _count(ours, "enhancers.0.outer.blocks."), "norm": norm,
        }  # fmt: skip
    some_blocks = {"n_blocks": blocks} if blocks else {}
    return {**ends, "n_downsampling": downs, **some_blocks, "norm": norm}


def _count(keys: Iterable[str], prefix: str) -> int:
    """How many numbers follow the prefix."""
    return len({key[len(prefix) :].partition(".")[0] for key in keys if key.startswith(prefix)})


def _place(key: str, places: Mapping[str, str]) -> str:
    module, _, leaf = key.rpartition(".")
    return f"{places[module]}.{leaf}" if module in places else key


def _places(keys: Iterable[str]) -> dict[str, str]:
    """For the name of every published module that holds tensors, the name of ours."""
    modules = sorted({key.rpartition(".")[0] for key in keys}, key=_natural)
    convs = {key.rpartition(".")[0] for key in keys if key.endswith(".weight")}
    first = modules[0] if modules else ""
    if first.startswith("model.model."):
        return _unet(modules)
    if re.match(r"scale\d+_layer\d+\.|layer\d+\.", first):
        return _discriminator_scales(modules)
    if re.match(r"facemodel\.|model\d+\.\d+$", first) or "model.0" in modules:
        return _discriminator(modules)
    return _generator([m for m in modules if m in convs])


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sorts model.10 after model.9, and model. before model1_1."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part)) if part.isdigit() else (0, part) for part in parts if part]


def _generator(modules: list[str]) -> dict[str, str]:
    """Global generator, local enhancer and feature encoder."""
    groups: dict[str, list[str]] = {}
    for module in modules:
        groups.setdefault(module.partition(".")[0], []).append(module)
    enhancers = sorted({int(m[1]) for g in groups if (m := re.fullmatch(r"model(\d+)_[12]", g))})
    out = _straight(groups.get("model", []), "trunk", head=not enhancers)
    for number in enhancers:
        place = f"enhancers.{number - 1}"
        inner = _convs(groups.get(f"model{number}_1", []))
        for ours, found in zip(("stem", "down"), inner, strict=False):
            out |= _pair(found, f"{place}.inner.{ours}")
        rest = groups.get(f"model{number}_2", [])
        blocks = [m for m in rest if ".conv_block." in m]
        out |= _blocks(blocks, f"{place}.outer.blocks")
        ups = _convs([m for m in rest if m not in blocks])
        names = [f"{place}.outer.up"] + ["out"] * (number == enhancers[-1])
        for ours, found in zip(names, ups, strict=False):
            out |= _pair(found, ours)
    return out


def _straight(modules: list[str], trunk: str, *, head: bool) -> dict[str, str]:
    """A trunk: convolutions down, residual blocks, convolutions up, and where it has one the head."""
    blocks = [m for m in modules if ".conv_block." in m]
    plain = _convs([m for m in modules if m not in blocks])
    downs = (len(plain) - 1 - head) // 2
    names = [
        f"{trunk}.stem",
        *(f"{trunk}.downs.{i}" for i in range(downs)),
        *(f"{trunk}.ups.{i}" for i in range(len(plain) - 1 - head - downs)),
        *["out"] * head,
    ]
    out = _blocks(blocks, f"{trunk}.blocks")
    for ours, found in zip(names, plain, strict=False):
        out |= _pair(found, ours)
    return out


def _blocks(modules: list[str], place: str) -> dict[str, str]:
    """Residual blocks, told apart by the number in front of `conv_block`."""
    by_block: dict[str, list[str]] = {}
    for module in modules:
        by_block.setdefault(module.partition(".conv_block.")[0], []).append(module)
    out: dict[str, str] = {}
    for i, inside in enumerate(by_block.values()):
        for half, found in zip(("first", "second"), _convs(inside), strict=False):
            out |= _pair(found, f"{place}.{i}.{half}")
    return out


def _convs(modules: list[str]) -> list[list[str]]:
    """Modules grouped as [convolution] or [convolution, norm]: a norm stands directly behind its convolution."""
    groups: list[list[str]] = []
    for module in modules:
        last = groups[-1][0] if groups else ""
        if groups and len(groups[-1]) == 1 and _number(module) == _number(last) + 1:
            groups[-1].append(module)
        else:
            groups.append([module])
    return groups


def _number(module: str) -> int:
    return int(module.rpartition(".")[2])


def _pair(found: list[str], place: str) -> dict[str, str]:
    return {
        module: f"{place}.{part}" for module, part in zip(found, ("conv", "norm"), strict=False)
    }


def _unet(modules: list[str]) -> dict[str, str]:
    """The nested U-Net: each level's modules stand around the next level's."""
    depths: dict[int, list[str]] = {}
    for module in modules:
        depths.setdefault(module.count("model."), []).append(module)
    out: dict[str, str] = {}
    for level, depth in enumerate(sorted(depths)):
        # Down are the numbers up to 2, up those from 3 on (3 itself is up where nothing is nested in it).
        downs = [m for m in depths[depth] if _number(m) < 3]
        ups = [m for m in depths[depth] if _number(m) >= 3]
        out |= _pair(downs, f"downs.{level}")
        out |= _pair(ups, f"ups.{level}")
    return out


def _discriminator_scales(modules: list[str]) -> dict[str, str]:
    """Several scales; the published numbers count from the coarsest."""
    by_scale: dict[int, list[str]] = {}
    for module in modules:
        found = re.match(r"(?:scale|layer)(\d+)", module)
        assert found is not None
        by_scale.setdefault(int(found[1]), []).append(module)
    out: dict[str, str] = {}
    for number, inside in by_scale.items():
        place = f"scales.{max(by_scale) - number}."
        out |= {key: place + name for key, name in _discriminator(inside).items()}
    return out


def _discriminator(modules: list[str]) -> dict[str, str]:
    """One scale: in one sequence (0, 2, 3, 5, 6 ...), or one sequence per layer (layer0.0, layer1.0, layer1.1 ...)."""
    nested = re.compile(r"(?:scale\d+_layer|model)(\d+)\.(\d+)")
    out: dict[str, str] = {}
    if all(nested.fullmatch(m) for m in modules):
        for module in modules:
            found = nested.fullmatch(module)
            assert found is not None
            part = "norm" if found[2] == "1" else "conv"
            out[module] = f"layers.{int(found[1])}.{part}"
        return out
    for i, found_pair in enumerate(_convs(modules)):
        out |= _pair(found_pair, f"layers.{i}")
    return out
