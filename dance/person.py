"""Studies the source once: its best views with their mattes, and the place without the person."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
from pydantic import Field

from dance import plate, weights
from dance import skeleton as sk
from dance.config import Options
from dance.matte import Background, Segment, coarse, is_cutout, matte, torso_length
from dance.networks import Network
from dance.types import Array, Estimator, Frame, InputError, Person, Pose, Track, View

log = logging.getLogger(__name__)

_LIMBS = list(range(sk.LEFT_SHOULDER, sk.RIGHT_HEEL + 1))
_ENDS = [
    sk.LEFT_ELBOW, sk.RIGHT_ELBOW, sk.LEFT_WRIST, sk.RIGHT_WRIST,
    sk.LEFT_KNEE, sk.RIGHT_KNEE, sk.LEFT_ANKLE, sk.RIGHT_ANKLE,
]  # fmt: skip


class PersonOptions(Options):
    """How the source is studied.

    views: at most so many looks at the person are taken from a video; a photo gives one.
    samples: pictures of a video the clean plate is made from.
    """

    views: int = Field(8, ge=1, le=64)
    samples: int = Field(24, ge=2, le=200)


def study(
    read: Callable[[], Iterable[Frame]],
    track: Track,
    options: PersonOptions,
    *,
    estimator: Estimator | None = None,
    segment: Segment | None = None,
) -> Person:
    """What is known of the person after one look at all pictures of the source.

    read: streams the source's pictures at the result's size; only the chosen ones are kept.
    track: the followed and smoothed poses of the same pictures, in their pixels.
    estimator: gives the person mask of chosen pictures (poses with `mask`); without it the mattes rest
    on the segmentation network and the skeleton.  segment: that network, by default the selfie one.
    The plate belongs to the first picture that shows the person. Raises InputError where none does.
    """
    if segment is None:
        with Network(weights.mediapipe("selfie_segmentation.tflite")) as network:
            return study(read, track, options, estimator=estimator, segment=partial(_run, network))
    looks = judge(track)
    candidates = set(choose(looks, 2 * options.views)) | set(through_time(looks, options.views))
    if not candidates:
        raise InputError("nobody is found in the source: give a picture that shows a whole person")
    sampled = set(_spread(track, options.samples))
    kept: dict[int, Frame] = {}
    samples: list[plate.Sample] = []
    for i, frame in enumerate(read()):
        if i >= len(track):
            break
        if i in candidates:
            kept[i] = frame
        if i in sampled and len(track) > 1:
            samples.append(_sample(frame, track.poses[i], estimator, segment))
    looks = _seen(looks, kept, track)
    chosen = choose(looks, options.views)
    if len(samples) > 1:
        clean, background = plate.from_video(samples, track.poses[min(sampled)])
        scene = range(min(sampled), max(sampled) + 1)
        views = [
            _view(kept[i], track.poses[i], estimator, segment, background if i in scene else None)
            for i in chosen
        ]
    else:
        views = [_view(kept[i], track.poses[i], estimator, segment) for i in chosen]
        first = views[0]
        area = plate.person_area(first.alpha, first.pose)
        clean = plate.from_photo(first.frame.rgb, area, first.pose)
    return Person(views, clean, track)


def _run(network: Network, rgb: Array) -> Array:
    return network(rgb[None].astype(np.float32) / 255)[0][0, ..., 0]


@dataclass(frozen=True, slots=True)
class Look:
    """How good a view one picture of a track would be.

    quality: in [0, 1].  frontal: how good it is as the general frontal view, in [0, 1].
    shape: what makes it different from others, a vector in which distances of 1 are large.
    """

    quality: float
    frontal: float
    shape: Array


def judge(track: Track) -> dict[int, Look]:
    """A look at every picture of the track in which a person is found, from the poses alone."""
    found = [i for i, pose in enumerate(track.poses) if pose.found]
    units = {i: torso_length(track.poses[i]) for i in found}
    usual = float(np.median(list(units.values()))) if units else 1.0
    return {i: _look(track, i, units, usual) for i in found}


def _look(track: Track, i: int, units: dict[int, float], usual: float) -> Look:
    pose, unit = track.poses[i], units[i]
    height, width = track.size
    inside = (pose.xy >= 0).all(1) & (pose.xy[:, 0] < width) & (pose.xy[:, 1] < height)
    seen = float((pose.score * inside)[_LIMBS].mean())
    # Movement in torso lengths per picture blurs; neighbours on both sides tell it.
    moves = [
        np.linalg.norm(track.poses[k].xy - pose.xy, axis=1)[_ENDS].mean() / unit
        for k in (i - 1, i + 1)
        if k in units and max(i, k) not in track.cuts
    ]
    still = float(np.exp(-((max(moves, default=0.0) / 0.06) ** 2)))
    # A torso much longer than usual is a slip of the estimator or a leap to the camera.
    size = float(np.exp(-((np.log(unit / usual) / 0.35) ** 2)))
    facing = direction(pose, unit)
    quality = seen**2 * (0.4 + 0.6 * still) * (0.5 + 0.5 * size)
    relative = (pose.xy[_ENDS] - pose.xy[[sk.LEFT_HIP, sk.RIGHT_HIP]].mean(0)) / unit
    relative = np.where(pose.score[_ENDS, None] > 0.2, relative, 0)
    shape = np.concatenate([0.35 * relative.ravel(), 1.6 * facing])
    return Look(quality, quality * _frontality(pose, unit, facing), shape.astype(np.float32))


def direction(pose: Pose, unit: float) -> Array:
    """Which way the person faces as a unit vector (towards the camera, to the picture's right), float32.

    From the shoulders: their order and width in the picture, and their depths or else the nose.
    """
    left, right = sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER
    if min(pose.score[left], pose.score[right]) <= 0:
        return np.array([1, 0], np.float32)
    across = float(pose.xy[left, 0] - pose.xy[right, 0])
    if pose.world is not None:
        # Metres: exact in proportion, the picture's shoulder width is not.
        x, _, z = pose.world[left] - pose.world[right]
        facing = np.array([x, z])
    elif pose.depth is not None:
        facing = np.array([across, float(pose.depth[left] - pose.depth[right])])
    else:
        towards = np.clip(across / (0.7 * unit), -1, 1)
        middle = float(pose.xy[[left, right], 0].mean())
        nose = float(pose.xy[sk.NOSE, 0]) - middle if pose.score[sk.NOSE] > 0.2 else 0.0
        facing = np.array([towards, np.sign(nose) * np.sqrt(1 - towards**2)])
    length = float(np.linalg.norm(facing))
    return np.asarray(facing / length if length > 0 else [1, 0], np.float32)


def _frontality(pose: Pose, unit: float, facing: Array) -> float:
    """How much a pose is that of somebody standing towards the camera with free arms, in [0, 1]."""
    towards = float(np.clip((facing[0] - 0.5) / 0.5, 0, 1))
    face = float(pose.score[[sk.NOSE, sk.LEFT_EYE, sk.RIGHT_EYE]].mean())
    free = upright = 1.0
    for side, sign in (("left", 1), ("right", -1)):
        shoulder, wrist, hip, knee, ankle = (
            pose.xy[sk.INDEX[f"{side}_{part}"]]
            for part in ("shoulder", "wrist", "hip", "knee", "ankle")
        )
        # A hand in front of the body or the face hides what the puppet would need there.
        free *= float(np.clip(0.4 + 3 * sign * (wrist[0] - hip[0]) / unit, 0.25, 1))
        free *= float(np.clip(0.4 + (wrist[1] - shoulder[1]) / unit, 0.25, 1))
        way = np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee)
        straight = (ankle[1] - hip[1]) / max(1e-6, float(way))
        upright *= float(np.clip((straight - 0.7) / 0.2, 0.25, 1))
    between = float(pose.xy[sk.LEFT_ANKLE, 0] - pose.xy[sk.RIGHT_ANKLE, 0]) / unit
    apart = float(np.clip(0.5 + 1.5 * between, 0.3, 1))
    return towards * (0.3 + 0.7 * face) * free * upright * apart


def choose(looks: dict[int, Look], count: int) -> list[int]:
    """The numbers of at most `count` looks: the best frontal one, then good ones unlike those before."""
    if not looks:
        return []
    numbers = list(looks)
    shapes = np.stack([looks[i].shape for i in numbers])
    quality = np.array([looks[i].quality for i in numbers])
    frontal = np.array([looks[i].frontal for i in numbers])
    # A clip without a frontal look begins with its best one.
    chosen = [int((frontal + 0.01 * quality).argmax())]
    distance = np.linalg.norm(shapes - shapes[chosen[0]], axis=1)
    floor = 0.35 * float(quality.max())
    while len(chosen) < count:
        gain = np.where(quality >= floor, distance * quality, 0)
        best = int(gain.argmax())
        if gain[best] < 0.12 * float(quality.max()):
            break
        chosen.append(best)
        distance = np.minimum(distance, np.linalg.norm(shapes - shapes[best], axis=1))
    return [numbers[k] for k in chosen]


def through_time(looks: dict[int, Look], count: int) -> list[int]:
    """The best frontal look of each of `count` stretches of the clip, should other stretches be blurred."""
    numbers = sorted(looks)
    stretches = np.array_split(numbers, min(count, max(1, len(numbers))))
    return [
        max((int(i) for i in stretch), key=lambda i: looks[i].frontal + 0.01 * looks[i].quality)
        for stretch in stretches
        if len(stretch)
    ]


def _seen(looks: dict[int, Look], frames: dict[int, Frame], track: Track) -> dict[int, Look]:
    """The looks judged by their pictures too: blurred ones and flashes, measured at the others, lose."""
    sharp = {i: sharpness(frame.rgb, track.poses[i]) for i, frame in frames.items()}
    light = {i: float(frame.rgb[::8, ::8].mean()) for i, frame in frames.items()}
    usual_sharp, usual_light = np.median(list(sharp.values())), np.median(list(light.values()))
    judged = {}
    for i in frames:
        factor = float(np.clip(sharp[i] / max(1e-6, usual_sharp), 0.1, 1.15)) ** 1.5
        factor *= float(np.exp(-(((light[i] - usual_light) / 20) ** 2)))
        look = looks[i]
        judged[i] = replace(look, quality=look.quality * factor, frontal=look.frontal * factor)
    return judged


def sharpness(rgb: Array, pose: Pose) -> float:
    """How sharp the picture is about the person's limbs: a high percentile of its second derivative."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    edges = np.abs(cv2.Laplacian(grey, cv2.CV_32F, ksize=3))
    unit = torso_length(pose)
    near = np.zeros(grey.shape, np.uint8)
    for a, b in sk.LIMBS:
        if min(pose.score[a], pose.score[b]) > 0.2:
            ends = [
                tuple(int(v) for v in np.clip(np.round(pose.xy[j]), -8000, 8000)) for j in (a, b)
            ]
            cv2.line(near, ends[0], ends[1], 1, max(2, round(0.25 * unit)))
    return float(np.percentile(edges[near > 0], 95)) if near.any() else 0.0


def _spread(track: Track, count: int) -> Sequence[int]:
    """Numbers of pictures spread over the scene of the first picture that shows the person, that one first."""
    first = next(i for i, pose in enumerate(track.poses) if pose.found)
    last = min((cut for cut in track.cuts if cut > first), default=len(track))
    chosen = np.unique(np.round(np.linspace(first, last - 1, min(count, last - first))).astype(int))
    return [int(i) for i in chosen]


def _sample(
    frame: Frame, pose: Pose, estimator: Estimator | None, segment: Segment
) -> plate.Sample:
    masked = with_mask(frame, pose, estimator)
    if not masked.found:
        return plate.Sample(frame.rgb, np.zeros(frame.size, bool))
    area = plate.person_area(coarse(frame, masked, segment=segment), masked)
    return plate.Sample(frame.rgb, area)


def _view(
    frame: Frame,
    pose: Pose,
    estimator: Estimator | None,
    segment: Segment,
    background: Background | None = None,
) -> View:
    if frame.alpha is None or not is_cutout(frame.alpha):
        pose = with_mask(frame, pose, estimator)
    alpha = matte(frame, pose, segment=segment, background=background)
    return View(frame, replace(pose, mask=None), alpha)


def with_mask(frame: Frame, pose: Pose, estimator: Estimator | None) -> Pose:
    """The pose with the estimator's mask of the same person, where it gives one."""
    if pose.mask is not None or estimator is None or not pose.found:
        return pose
    unit = torso_length(pose)
    near = pose if pose.region is not None else None
    for other in estimator(frame, near):
        both = (pose.score > 0.3) & (other.score > 0.3)
        body = both[: sk.FEET_SLICE.stop]
        if other.mask is None or not body.any():
            continue
        apart = np.linalg.norm(pose.xy - other.xy, axis=1)[: len(body)][body]
        if float(np.median(apart)) < 0.35 * unit:
            return replace(pose, mask=other.mask)
    return pose
