"""Everybody Dance Now and pix2pixHD: networks, losses, the whole model, poses and drawings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from dance import labels
from dance import skeleton as sk
from dance.evaluation.oracles._oracle import Oracle, Published, Result, filled, network_results
from dance.generators import _pix2pix_published as published
from dance.generators import edn
from dance.generators._pix2pix import GlobalGenerator
from dance.pose import edn_normalise
from dance.training import losses
from dance.types import Array, InputError

PREFIXES = ("edn_", "pix2pixhd_")

_NETWORKS = Published(
    published.network, published.rename, published.published_keys, published.place_of
)
_EXACT = 1e-9  # a share of numbers computed in float64
_CANVAS, _SIZE, _SIDE = (1080, 1920), (512, 1024), 128  # the published drawing's
_PARTS = ("pose", "face", "hand_right", "hand_left")
_LABEL = "label_rgb_u8_512x1024."
_BOXES = "face_boxes_miny_maxy_minx_maxx"


def results(oracle: Oracle) -> Iterator[Result]:
    """All results of an oracle of this system, made again from its facts, weights and inputs."""
    for sign, make in _KINDS.items():
        if sign in oracle.outputs:
            yield from make(oracle)
            return
    if "constructor" not in oracle.facts:
        raise InputError(f"{oracle.name}: its facts describe nothing known here")
    also = {"raw": "out"} if "raw" in oracle.outputs else None
    yield from network_results(oracle, _NETWORKS, also)


def _losses(oracle: Oracle) -> Iterator[Result]:
    """Losses of given features and pictures; what is meant is in the outputs' names."""
    vgg = _vgg(oracle)
    real, fake = _nested(oracle, "real"), _nested(oracle, "fake")
    for name in oracle.outputs:
        target = name.endswith("target_True")
        if name.startswith("gan.lsgan.list"):
            value = losses.gan(fake, target)
        elif name.startswith("gan.lsgan.single_tensor"):
            # The published loss takes a bare tensor for a list and judges its last entry.
            value = losses.gan([[fake[0][0][-1:]]], target)
        elif found := re.fullmatch(r"feature_matching\.numD\d+\.nlayers(\d+)\.lambda(\d+)", name):
            value = losses.feature_matching(
                fake, real, layers=int(found[1]), weight=float(found[2])
            )
        elif name == "vgg":
            value = losses.perceptual(vgg, oracle.given("a"), oracle.given("b"))
        else:
            continue
        yield Result(name, value, oracle.atol)


def _vgg(oracle: Oracle) -> losses.VGG19:
    state = losses.rename(oracle.state("vgg."))
    widths = [state[f"blocks.{i}.0.bias"].numel() for i in range(len(losses.VGG_WIDTHS))]
    vgg = losses.VGG19(widths)
    vgg.load_state_dict(state, strict=True)
    return vgg.requires_grad_(False)


def _nested(oracle: Oracle, name: str) -> list[list[Tensor]]:
    """in.NAME.0.1 and so on as lists of lists."""
    scales: dict[int, dict[int, Tensor]] = {}
    for key, value in oracle.arrays.items():
        found = re.fullmatch(rf"in\.{name}\.(\d+)\.(\d+)", key)
        if found is not None:
            scales.setdefault(int(found[1]), {})[int(found[2])] = value
    return [[scale[j] for j in sorted(scale)] for _, scale in sorted(scales.items())]


def _whole(oracle: Oracle) -> Iterator[Result]:
    """Drawing several frames with the previous output fed back, and one training pass of two frames."""

    def network(prefix: str) -> Any:
        state = oracle.state(f"{prefix}.")
        return filled(_NETWORKS, published.facts(state), state).requires_grad_(False)

    generator, face, judge, face_judge = map(network, ("netG", "faceGen", "netD", "netDface"))
    top, bottom, left, right = (int(v) for v in oracle.given("face_coords").flatten())
    box = top, bottom, left, right
    count = sum(name.startswith("inference.") for name in oracle.outputs)
    sticks = [oracle.given(f"label.{i}") for i in range(count)]
    real = [oracle.given(f"image.{i}") for i in range(count)]

    def draw(i: int, before: Tensor | None) -> tuple[Tensor, Tensor]:
        memory = torch.zeros_like(real[i]) if before is None else edn.remembered(before)
        bare = generator(torch.cat([sticks[i], memory], 1))
        return bare, edn.with_face(face, bare, sticks[i], box)

    before = None
    for i in range(count):
        bare, drawn = draw(i, before)
        if f"inference_without_face.{i}" in oracle.outputs:
            yield Result(f"inference_without_face.{i}", bare, oracle.atol)
        yield Result(f"inference.{i}", drawn, oracle.atol)
        # Untrained networks make every frame's rounding a hundred times larger in two frames, beyond any tolerance
        # on a processor with other instructions. So each frame starts from the recorded one before.
        before = oracle.arrays[f"out.inference.{i}"]

    side_by_side = oracle.arrays["out.train.I0_I1_side_by_side"]
    width = real[0].shape[-1]
    bare, first = draw(0, None)
    _, second = draw(1, side_by_side[..., :width])
    yield Result("train.initial_I_0", bare, oracle.atol)
    yield Result("train.I0_I1_side_by_side", torch.cat([first, second], -1), oracle.atol)
    cut = (..., slice(top, bottom), slice(left, right))
    faces = [first[cut], second[cut]]
    yield Result("train.fake_face", torch.cat(faces, -1), oracle.atol)
    residuals = [
        face(edn.face_input(generator(torch.cat([label, memory], 1)), label, box))
        for label, memory in (
            (sticks[0], torch.zeros_like(real[0])), (sticks[1], side_by_side[..., :width]),
        )
    ]  # fmt: skip
    yield Result("train.face_residual", torch.cat(residuals, -1), oracle.atol)
    # The published trainer halves this term while it teaches the global network.
    looks_weight = 5.0 if isinstance(generator, GlobalGenerator) else 10.0
    made = _train_losses(
        oracle, judge, face_judge, sticks[:2], [first, second], real[:2], cut, looks_weight
    )
    for name, value in made.items():
        yield Result(f"train_loss.{name}", value, oracle.atol)


def _train_losses(
    oracle: Oracle,
    judge: Callable[[Tensor], list[list[Tensor]]],
    face_judge: Callable[[Tensor], list[Tensor]],
    sticks: list[Tensor],
    drawn: list[Tensor],
    real: list[Tensor],
    cut: Any,
    looks_weight: float,
) -> Mapping[str, Tensor]:
    """The eight losses of two frames, as the published trainer has them."""
    vgg = _vgg(oracle)
    fake_scores = judge(torch.cat([*sticks, *drawn], 1))
    real_scores = judge(torch.cat([*sticks, *real], 1))
    pairs = list(zip(sticks, drawn, real, strict=True))
    fake_faces = [face_judge(torch.cat([s[cut], d[cut]], 1)) for s, d, _ in pairs]
    real_faces = [face_judge(torch.cat([s[cut], r[cut]], 1)) for s, _, r in pairs]
    looks = [losses.perceptual(vgg, d, r) for _, d, r in pairs]
    face_looks = [losses.perceptual(vgg, d[cut], r[cut]) for _, d, r in pairs]
    layers = len(fake_scores[0]) - 2
    return {
        "G_GAN": losses.gan(fake_scores, True),
        "G_GAN_Feat": losses.feature_matching(fake_scores, real_scores, layers=layers),
        "G_VGG": looks_weight * torch.stack(looks).sum() + 5.0 * torch.stack(face_looks).sum(),
        "D_real": losses.gan(real_scores, True),
        "D_fake": losses.gan(fake_scores, False),
        "G_GANface": 0.5 * losses.gan(fake_faces, True),
        "D_realface": 0.5 * losses.gan(real_faces, True),
        "D_fakeface": 0.5 * losses.gan(fake_faces, False),
    }


def _normalisation(oracle: Oracle) -> Iterator[Result]:
    """A complete run of the pose normalisation with its recorded random draws."""
    driver, person = (_points(oracle.given(f"{who}.pose")) for who in ("source", "target"))
    found = edn_normalise.statistics(driver)
    yield _number("source_pose_stats_height_mintoe_maxtoe_nan_if_none", found)
    of_driver, of_person = edn_normalise.replay(
        oracle.given("random_frame_draws_in_call_order_source_then_target"),
        found, edn_normalise.statistics(person), len(driver) - 1,
    )  # fmt: skip
    norm = edn_normalise.norm(of_person, of_driver)
    yield _number(
        "norm_params_scaleclose_scalefar_mmaxtoe_mhorizon_tmaxtoe_thorizon",
        [
            norm.scale_close, norm.scale_far, norm.max_toe, norm.horizon,
            norm.driver_max_toe, norm.driver_horizon,
        ],
    )  # fmt: skip
    shifts = [norm.at(float(toe)) for toe in oracle.given("t_coord")]
    yield _number("calculate_translation_diff_scale", shifts)
    transforms = edn_normalise.transforms(driver, norm, _CANVAS[1])
    median: dict[str, Array] = {}
    for part in _PARTS:
        moved = [
            np.concatenate([edn_normalise.apply(t, p[:, :2]), p[:, 2:]], -1)
            for t, p in zip(transforms, _points(oracle.given(f"source.{part}")), strict=True)
            if t is not None
        ]
        median[part] = edn_normalise.median_filter(np.stack(moved))
        yield _number(f"median.{part}", median[part].reshape(len(median[part]), -1))
    yield from _shown(oracle, median)


def _averaging(oracle: Oracle) -> Iterator[Result]:
    """A complete run of the averaging script."""
    height, width = oracle.facts["frame_size_hw"]
    average: dict[str, Array] = {}
    for part in _PARTS:
        framed = edn_normalise.into_frame(_points(oracle.given(part)), (height, width))
        average[part] = edn_normalise.average_smoothing(framed, oracle.facts["window"])
        yield _number(f"average.{part}", average[part].reshape(len(average[part]), -1))
    yield from _shown(oracle, average)


def _shown(oracle: Oracle, parts: Mapping[str, Array]) -> Iterator[Result]:
    """Face boxes of all frames and the labels that are recorded."""
    boxes = [labels.published_face_box(p, _CANVAS, _SIZE, _SIDE) for p in parts["pose"]]
    yield Result(_BOXES, [box or [np.nan] * 4 for box in boxes], 0.0)
    for name in oracle.outputs:
        if name.startswith(_LABEL):
            i = int(name.removeprefix(_LABEL))
            canvas = _white(_CANVAS)
            labels.draw_body(canvas, parts["pose"][i])
            labels.draw_face(canvas, parts["face"][i], 8)
            labels.draw_hand(canvas, parts["hand_right"][i])
            labels.draw_hand(canvas, parts["hand_left"][i])
            yield Result(name, labels.resize(canvas, _SIZE), _drawn(oracle, 0.5), "grey")


def _rendering(oracle: Oracle) -> Iterator[Result]:
    """Drawing functions and small helpers, one by one."""
    size = oracle.arrays["out.pose18_bgr_u8"].shape[:2]
    exact = _drawn(oracle, 0.005)
    face = oracle.given("face").reshape(-1, 3)

    def picture(
        name: str, draw: Callable[..., None], *arguments: Any, canvas: Array | None = None
    ) -> Result:
        drawn = _white(size) if canvas is None else canvas
        draw(drawn, *arguments)
        return Result(name, drawn[..., ::-1], exact, "pixels")

    for joints in (18, 23, 25):
        points = oracle.given(f"pose{joints}").reshape(-1, 3)
        yield picture(f"pose{joints}_bgr_u8", labels.draw_body, points)
        yield _number(f"aveface.pose{joints}", labels.published_face_anchor(points))
    for count in (8, 9, 22):
        yield picture(f"face_sparse{count}_u8", labels.draw_face, face, count)
    yield picture("face_dense_u8", labels.draw_face_dots, face)
    black = np.zeros_like(_white(size))
    yield picture("face_lines_disp_u8", labels.draw_face_lines, face, canvas=black)
    unsure = oracle.given("face_low_confidence").reshape(-1, 3)
    yield picture("face_low_confidence_u8", labels.draw_face, unsure, 8)
    hand = oracle.given("hand").reshape(-1, 3)
    yield picture("hand_u8", labels.draw_hand, hand)
    boxes = oracle.given("boxes_miny_maxy_minx_maxx").tolist()
    yield Result("makebox128", [labels.square(box, _SIZE, _SIDE) for box in boxes], 0.0)
    frames = [_into_frame(height, width) for height, width in oracle.given("frame_hw").tolist()]
    yield _number("scale_resize_scale_tx_ty_nan_if_same", frames)
    body = oracle.given("pose25").reshape(-1, 3)[list(sk.BODY_23_FROM_25)]
    yield _number("map_25_to_23", body.ravel())
    window = _points(oracle.given("window7"))
    yield _number("getmedians", np.median(window, axis=0).ravel())
    yield _number("getmedians_adapt", edn_normalise.median_filter(window, len(window)).ravel())
    for name in oracle.outputs:
        if name.startswith("fix_scale_coords_"):
            scale, *shift = (float(v) for v in name.removeprefix("fix_scale_coords_").split("_"))
            points = oracle.given("pose18").reshape(-1, 3)
            moved = edn_normalise.apply((scale, np.array(shift)), points[:, :2])
            yield _number(name, np.concatenate([moved, points[:, 2:]], -1).ravel())


def _into_frame(height: int, width: int) -> Array:
    """The one scale and the shift (x, y) that bring pictures of a size into the published frame; NaN for the same size."""
    if (height, width) == _CANVAS:
        return np.full(3, np.nan)
    ends = np.array([[[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]])
    ((start, end),) = edn_normalise.into_frame(ends, (height, width))[..., :2]
    return np.array([end[0] - start[0], *start])


def _drawn(oracle: Oracle, otherwise: float) -> float:
    """Pictures are exact with the OpenCV they were drawn with; another may differ a little."""
    return 0.0 if oracle.facts.get("opencv") == cv2.__version__ else otherwise


def _number(name: str, value: Any) -> Result:
    return Result(name, value, _EXACT, "relative")


def _points(flat: Array) -> Array:
    """(T, 3 J) numbers as (T, J, 3)."""
    return flat.reshape(len(flat), -1, 3)


def _white(size: tuple[int, int]) -> Array:
    return np.full((*size, 3), 255, np.uint8)


# What kind of run it is shows in a result only that kind has; all others are networks.
_KINDS: Mapping[str, Callable[[Oracle], Iterator[Result]]] = {
    "inference.0": _whole,
    "gan.lsgan.list.target_True": _losses,
    "median.pose": _normalisation,
    "average.pose": _averaging,
    "pose18_bgr_u8": _rendering,
}
