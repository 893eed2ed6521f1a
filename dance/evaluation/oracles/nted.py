"""NTED: its networks, single operations, losses, one training step, and the label of a pose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from dance.evaluation.oracles._oracle import Oracle, Published, Result, filled, network_results
from dance.generators import _nted_label as labels
from dance.generators import _nted_published as published
from dance.generators import _stylegan2 as style
from dance.generators import nted as nets
from dance.training import losses, nted_losses
from dance.types import InputError

PREFIXES = ("nted_",)

_NETWORKS = Published(nets.network, published.rename, published.published_keys, published.place_of)
_RATE = 1e-4  # of the plain gradient descent that stands for the optimiser in the recorded step


def results(oracle: Oracle) -> Iterator[Result]:
    """All results of an oracle of this system, made again from its facts, weights and inputs."""
    published.check_filters(oracle.state(), oracle.name)
    for sign, make in _KINDS.items():
        if sign in oracle.outputs:
            yield from make(oracle)
            return
    raise InputError(f"{oracle.name}: its facts describe nothing known here")


def _generator(oracle: Oracle) -> Iterator[Result]:
    """A picture, everything it is mixed from, and gradients."""

    def run(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rendering = network(inputs["source_image"], inputs["skeleton"])
        values = {"fake_image": rendering.picture}
        for name, found in (
            ("extraction_softmax", rendering.textures.weights),
            ("neural_textures", rendering.textures.values),
            ("semantic_distribution", rendering.scores),
        ):
            values |= {f"info.{name}.{i}": value for i, value in enumerate(found)}
        return values

    yield from network_results(oracle, _NETWORKS, run=run)


def _discriminator(oracle: Oracle) -> Iterator[Result]:
    """A score, gradients, and R1 with the gradients it gives in its turn."""
    yield from network_results(oracle, _NETWORKS, main="score")
    if "r1_penalty" not in oracle.outputs:
        return
    judge = filled(_NETWORKS, oracle.facts["constructor"], oracle.state())
    picture = oracle.given("image").clone().requires_grad_()
    penalty = nted_losses.r1(judge(picture), picture)
    yield Result("r1_penalty", penalty, oracle.atol, "relative")
    keys = oracle.facts["r1_grad_l2_keys"]
    parameters = _parameters(judge, keys)
    gradients = torch.autograd.grad(penalty, [parameters[key] for key in keys])
    norms = torch.stack([gradient.norm() for gradient in gradients])
    yield Result("r1_grad_l2", norms, oracle.atol, "relative")


def _parameters(network: nn.Module, keys: list[str]) -> dict[str, nn.Parameter]:
    """The network's parameters by their published keys."""
    ours = dict(network.named_parameters())
    return {theirs: ours[place] for place, theirs in published.rename({k: k for k in keys}).items()}


def _operations(oracle: Oracle) -> Iterator[Result]:
    """The building blocks one by one."""
    x, y, features = (oracle.given(name) for name in ("x", "y", "feat"))
    for name, case in oracle.facts["cases"].items():
        # Two numbers are before and behind on both axes.
        pad = [*case["pad"], *case["pad"]][:4]
        value = style.upfirdn(x, oracle.given("fir"), up=case["up"], down=case["down"], pad=pad)
        yield Result(name, value, oracle.atol)
    fir = style.fir()
    bias, few = oracle.given("bias"), oracle.given("bias6")
    rates = [float(rate) for rate in re.findall(r"lr_mul (\d[\d.]*)", str(oracle.facts["notes"]))]
    thinned = _conv(oracle, "EqualConv2d_k3_s2_p1")(x)[..., ::2, ::2]
    grown = oracle.state("EqualTransposeConv2d_k3_s2_p0.")
    scale = 1 / np.sqrt(grown["weight"][0].numel())
    extraction = nets.Extraction(features.shape[1], *_filter(oracle))
    _load(extraction, oracle, "ExtractionOperation", "reference_encoder.convs.0.extraction_operations.0", "reference.downs.0.extractions.1")  # fmt: skip
    textures, weights = extraction(features, nets.normalised(features))
    scores = _conv(oracle, "DistributionOperation", ".semantic_distribution_filter")(
        oracle.given("query")
    )
    nothing = torch.zeros_like(features)
    width, channels, _, _ = oracle.state("ResBlock.")["skip.1.weight"].shape
    picture, block = nets.Picture(x.shape[1]), style.Block(channels, width)
    _load(
        picture, oracle, "ToRGB", "target_image_renderer.convs.0.to_rgb", "renderer.ups.0.picture"
    )
    _load(block, oracle, "ResBlock", "convs.1", "blocks.0")
    values = {
        "fused_leaky_relu_4d": style.activation(style.GAIN * (x + bias.view(-1, 1, 1))),
        "fused_leaky_relu_nobias": style.activation(style.GAIN * x),
        "fused_leaky_relu_2d": style.activation(style.GAIN * (y + few)),
        "EqualConv2d_k3_s2_p1": thinned,
        "EqualConv2d_k3_s1_p1_nobias": _conv(oracle, "EqualConv2d_k3_s1_p1_nobias")(x),
        "EqualTransposeConv2d_k3_s2_p0": style.spread(x, grown["weight"] * scale)
        + grown["bias"].view(-1, 1, 1),
        "Upsample": style.doubled(x, fir),
        "Blur_pad_2_2": style.upfirdn(x, fir, pad=(2, 2, 2, 2)),
        "Blur_pad_1_1_up2": style.upfirdn(x, 4 * fir, pad=(1, 1, 1, 1)),
        "ResBlock": block(x),
        "ToRGB": picture(x, None),
        "EqualLinear": _linear(oracle, "EqualLinear", rates[0], active=False)(y),
        "EqualLinear_act": _linear(oracle, "EqualLinear_act", rates[1], active=True)(y),
        "ExtractionOperation.textures": textures,
        "ExtractionOperation.softmax": weights,
        "DistributionOperation": nets.mixed(nothing, textures, scores),
        "DistributionOperation.scores": scores,
    }
    for name, value in values.items():
        yield Result(name, value, oracle.atol)


def _filter(oracle: Oracle) -> tuple[int, int]:
    """How many labels textures are extracted for, and the side of the filters."""
    labels, _, side, _ = oracle.state("ExtractionOperation.")[
        "semantic_extraction_filter.weight"
    ].shape
    return labels, side


def _conv(oracle: Oracle, name: str, inside: str = "") -> style.Conv:
    state = oracle.state(f"{name}{inside}.")
    width, channels, kernel, _ = state["weight"].shape
    conv = style.Conv(channels, width, kernel, bias="bias" in state)
    conv.load_state_dict(state, strict=True)
    return conv


def _linear(oracle: Oracle, name: str, rate: float, *, active: bool) -> style.Linear:
    state = oracle.state(f"{name}.")
    width, channels = state["weight"].shape
    linear = style.Linear(channels, width, active=active, rate=rate)
    linear.load_state_dict(state, strict=True)
    return linear


def _load(module: nn.Module, oracle: Oracle, name: str, theirs: str, ours: str) -> None:
    """Fills a building block as if it stood in a whole network at these places, published and ours."""
    whole = {f"{theirs}.{key}": value for key, value in oracle.state(f"{name}.").items()}
    renamed = published.rename(whole)
    module.load_state_dict(
        {key.removeprefix(f"{ours}."): renamed[key] for key in renamed}, strict=True
    )


def _losses(oracle: Oracle) -> Iterator[Result]:
    """Losses of given scores, attention and pictures; what is meant is in the outputs' names."""
    vgg = _vgg(oracle)
    weights, scores = (
        _listed(oracle, "extraction_softmax"),
        _listed(oracle, "semantic_distribution"),
    )
    source, target = oracle.given("input_image"), oracle.given("gt_image")
    one, several = oracle.given("pred"), _listed(oracle, "pred_list")
    a, b = oracle.given("a"), oracle.given("b")
    for name in oracle.outputs:
        what, _, kind = name.partition(".")
        if what == "gan":
            loss, real, whose, *rest = kind.split(".")
            value = nted_losses.adversarial(
                several if rest else one,
                real == "real",
                kind=_ADVERSARIES[loss],
                generator=whose == "G",
            )
        elif what == "perceptual":
            variant = _PERCEPTUAL[kind]
            mask = oracle.given("mask") if kind == "masked" else None
            value = nted_losses.perceptual(vgg, a, b, mask=mask, **variant)
        elif what == "gram":
            layer = int(kind.split("_")[1]) - 1
            value = nted_losses.gram(vgg((a + 1) / 2)[layer])
        elif what == "face_crop":
            value = nted_losses.face_crop(oracle.given("crop_image"), oracle.given("face_center"))
        elif found := re.fullmatch(r"warped_image\.(\d+)", kind):
            i = int(found[1])
            value = nted_losses.carried(weights[i], scores[i], source)
        elif kind == "single":
            value = nted_losses.reconstruction(weights[:1], scores[:1], source, target)
        elif found := re.fullmatch(r"lists\.weights_(.*)", kind):
            pairs = [pair.split(":") for pair in found[1].split("_")]
            counts = {int(height): float(count) for height, count in pairs}
            value = nted_losses.reconstruction(weights, scores, source, target, counts)
        else:
            continue
        yield Result(name, value, oracle.atol, "relative")


def _vgg(oracle: Oracle) -> losses.VGG19:
    state = oracle.state("vgg19_")
    ours = losses.rename(state)
    widths = [ours[f"blocks.{i}.0.bias"].numel() for i in range(len(losses.VGG_WIDTHS))]
    vgg = losses.VGG19(widths)
    vgg.load_state_dict(ours, strict=True)
    return vgg.requires_grad_(False)


def _listed(oracle: Oracle, name: str) -> list[Tensor]:
    """in.NAME.0 and so on."""
    count = sum(key.startswith(f"in.{name}.") for key in oracle.arrays)
    return [oracle.given(f"{name}.{i}") for i in range(count)]


def _step(oracle: Oracle) -> Iterator[Result]:
    """One whole training step: generator, average, discriminator, R1."""
    states = {name: oracle.state(f"{name}.") for name in ("net_G", "net_G_ema", "net_D")}
    found_nets = {
        name: filled(_NETWORKS, published.facts(state), state) for name, state in states.items()
    }
    generator, average, judge = found_nets.values()
    weights = nted_losses.Weights()

    def both(name: str, *, turned: bool = False) -> Tensor:
        # Source and target draw each other.
        first, second = ("target", "source") if turned else ("source", "target")
        return torch.cat([oracle.given(f"{first}_{name}"), oracle.given(f"{second}_{name}")])

    source, real = both("image"), both("image", turned=True)
    rendering = generator(source, both("skeleton", turned=True))
    found = nted_losses.of_generator(
        rendering, source, real, both("face_center", turned=True),
        vgg=_vgg(oracle), judge=judge, weights=weights,
    )  # fmt: skip
    made = {"gan": "gan", "perceptual": "perceptual", "attn_rec": "attention", "face": "face"}
    values = {f"gen.{theirs}": found[ours] for theirs, ours in made.items()}
    values["gen.total_loss"] = torch.stack(list(found.values())).sum()
    _descend(generator, values["gen.total_loss"])
    with torch.no_grad():
        for mean, new in zip(average.parameters(), generator.parameters(), strict=True):
            mean.mul_(nted_losses.AVERAGE).add_(new, alpha=1 - nted_losses.AVERAGE)
    judged = nted_losses.of_discriminator(judge, rendering.picture, real)
    values["dis.d"] = torch.stack(list(judged.values())).sum()
    with torch.no_grad():
        values["dis.fake_score"] = judge(rendering.picture).mean()
        values["dis.real_score"] = judge(real).mean()
    _descend(judge, values["dis.d"])
    values["dis.r1"], penalty = nted_losses.of_gradient(judge, real, weights)
    _descend(judge, penalty)
    for name, value in values.items():
        yield Result(
            f"loss.{name}",
            value,
            float(oracle.facts["numerics"]["suggested_rtol_losses"]),
            "relative",
        )
    for name, network in found_nets.items():
        state = states[name]
        for key, parameter in _parameters(network, [k for k in state if "kernel" not in k]).items():
            output = f"delta_times_1e4.{name}.{key}"
            recorded = oracle.arrays[f"out.{output}"].abs().max()
            # Changes smaller than float32's steps between numbers of the weights' size are rounded to those.
            steps = float(np.spacing(state[key].abs().max().numpy())) / _RATE
            yield Result(
                output,
                (parameter.detach() - state[key]) / _RATE,
                max(2e-3, 2e-2 * float(recorded), 1.01 * steps),
            )


def _descend(network: nn.Module, loss: Tensor) -> None:
    """A step of plain gradient descent."""
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.sub_(_RATE * gradient)


def _skeleton(oracle: Oracle) -> Iterator[Result]:
    """The label of a pose, and where its eyes are."""
    height, width = (int(side) for side in oracle.facts["image_size_hw"].split("-"))
    tolerance = 0.0 if oracle.facts.get("opencv") == cv2.__version__ else 0.005
    for name in oracle.outputs:
        what, _, number = name.partition(".")
        points = labels.annotated(oracle.given(f"keypoints.{number}"), (height, width))
        if what == "face_center":
            yield Result(name, labels.eyes(points), 1e-5, "relative")
        elif what == "skeleton_u8":
            drawn = labels.label(points, (height, width)).transpose(1, 2, 0)
            recorded = oracle.arrays[f"out.{name}"].transpose(1, 2, 0)
            yield Result(name, drawn, tolerance, "pixels", recorded=recorded)


_ADVERSARIES: Mapping[str, nted_losses.Adversary] = {
    "non_saturated": "softplus", "style_gan2": "softplus", "least_square": "least_square",
    "hinge": "hinge", "wasserstein": "wasserstein",
}  # fmt: skip
_PERCEPTUAL: Mapping[str, Mapping[str, Any]] = {
    "fashion_256": {"style": 500.0},
    "fashion_512": {"style": 1000.0, "scales": 3},
    "face": {},
    "masked": {},
    "instance_normalised": {"scales": 2, "normalise": True},
    "resize": {"side": 224},
}
# What kind of run it is shows in a result only that kind has.
_KINDS: Mapping[str, Callable[[Oracle], Iterator[Result]]] = {
    "fake_image": _generator,
    "score": _discriminator,
    "upfirdn2d.0": _operations,
    "face_crop": _losses,
    "loss.gen.total_loss": _step,
    "skeleton_u8.0": _skeleton,
}
