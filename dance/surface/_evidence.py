"""What a track tells about a body, picture by picture, and how far a body is from it.

N found pictures, J = len(`MEASURED`) joints, D freedoms (`_chain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dance import skeleton as sk
from dance.surface._chain import COUNT, FREEDOMS, Frames, Posed, logs
from dance.surface._normal import Normal
from dance.surface.body import BONES
from dance.types import Array, Camera, Track

_FACE = (36, 39, 42, 45, 48, 54)
MEASURED: tuple[int, ...] = (
    *range(sk.FEET_SLICE.stop),
    *(sk.FACE_SLICE.start + k for k in _FACE),
    *(
        sk.INDEX[f"{side}_{joint}"]
        for side in ("left", "right")
        for joint in ("thumb_2", "index_1", "pinky_1")
    ),
)
"""Those of the 133 joints that are compared: body, feet, corners of eyes and mouth, knuckles."""
BODY: int = sk.FEET_SLICE.stop

OFF = 0.025
"""How far estimated joints usually are off, metres at the person; `_SPREADS` says how single ones differ."""

_SPREADS = {
    "shoulder": 0.75, "elbow": 1.2, "hip": 0.9, "knee": 0.9, "ankle": 0.7, "nose": 0.55, "eye": 0.5,
    "ear": 0.65, "thumb_2": 1.4, "index_1": 1.4, "pinky_1": 1.4,
}  # fmt: skip
# Where BlazePose's landmarks stand from the joints of the body, in trunk lengths along the axes of a bone at rest,
# for the left side. Measured on 32 rendered clips whose meshes are known exactly: what is left of the landmarks once
# the mesh's own joints are taken away. Hips, knees and ankles are the mean over eight clips with known skeletons
# instead: measured on meshes they fit the driver better, but lengths of driver's and source's legs then err apart.
_STANDS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "nose": ("head", (0.008, 0.005, 0.008)),
    "ear": ("head", (-0.041, -0.006, -0.042)),
    "shoulder": ("upper_chest", (-0.006, 0.02, -0.001)),
    "elbow": ("upper_arm", (-0.002, -0.005, 0.002)),
    "wrist": ("forearm", (0.003, -0.005, 0.001)),
    "hip": ("thigh", (-0.008, 0.029, -0.083)),
    "knee": ("shin", (0.005, 0.023, 0.01)),
    "ankle": ("shin", (0.008, -0.045, -0.022)),
    "big_toe": ("foot", (0.019, -0.006, 0.033)),
    "heel": ("foot", (-0.011, 0.008, 0.009)),
}

_ROBUST = 3.0  # errors beyond so many times their spread are taken for mistakes
_ACROSS = (
    0.4  # how far directions of bones are off across the camera's axis, where pixels say it better
)


@dataclass(frozen=True, slots=True)
class _Direction:
    """A direction of the estimator's metric landmarks, as a share of the bone's length.

    away: how far it is off along the camera's axis.  lean: how far it is off always, in the pelvis' axes; from
    the same clips as `_STANDS` and from people who stand upright: the trunk is seen bent forwards, the shins backwards.
    """

    first: int
    second: int
    away: float
    lean: tuple[float, float, float] = (0.0, 0.0, 0.0)


def _directions_used() -> tuple[_Direction, ...]:
    pairs: list[tuple[str, str, float, tuple[float, float, float]]] = [
        ("hip", "shoulder", 0.2, (-0.041, -0.007, -0.059)),
        ("shoulder", "elbow", 0.35, (-0.048, 0.063, -0.08)),
        ("elbow", "wrist", 0.3, (0.115, 0.006, -0.039)),
        ("hip", "knee", 0.25, (-0.06, 0.07, 0.0)),
        ("knee", "ankle", 0.35, (0.01, 0.0, 0.22)),
        ("heel", "big_toe", 0.18, (0.198, 0.211, 0.068)),
    ]
    out = [
        _Direction(sk.RIGHT_HIP, sk.LEFT_HIP, 0.15), _Direction(sk.RIGHT_SHOULDER, sk.LEFT_SHOULDER, 0.16),
        _Direction(sk.RIGHT_EAR, sk.LEFT_EAR, 0.18),
    ]  # fmt: skip
    for first, second, away, lean in pairs:
        for side, x in (("left", 1.0), ("right", -1.0)):
            a, b = (sk.INDEX[f"{side}_{joint}"] for joint in (first, second))
            out.append(_Direction(a, b, away, (x * lean[0], lean[1], lean[2])))
    return tuple(out)


_DIRECTIONS = _directions_used()
# Metric landmarks lie too near to the plane of the picture, thighs most: in all but one of eight clips with known
# joints thighs point away from it or towards it 1.1 to 1.8 times as much.
_DEEPER = {(f"{side}_hip", f"{side}_knee"): 1.3 for side in ("left", "right")}
_DEPTH = np.array([_DEEPER.get((sk.NAMES[d.first], sk.NAMES[d.second]), 1.0) for d in _DIRECTIONS])
_FROM = np.array([d.first for d in _DIRECTIONS])
_TO = np.array([d.second for d in _DIRECTIONS])
_SPREAD = np.array([(_ACROSS, _ACROSS, d.away) for d in _DIRECTIONS])
_LEAN = np.array([d.lean for d in _DIRECTIONS])


def _kind(joint: int) -> str:
    return sk.NAMES[joint].removeprefix("left_").removeprefix("right_")


_TRUST = np.array([1 / _SPREADS.get(_kind(joint), 1.0) for joint in MEASURED])


def stands(seen: Evidence) -> tuple[tuple[int, str, tuple[float, float, float]], ...]:
    """For `_chain.build`: which joint's landmark stands where from which bone, in trunk lengths.

    Poses without metric landmarks are not BlazePose's: theirs are taken to follow COCO, as the body's joints do.
    """
    if seen.world is None:
        return ()
    out = []
    for row, joint in enumerate(MEASURED):
        if _kind(joint) in _STANDS:
            bone, (x, y, z) = _STANDS[_kind(joint)]
            side = sk.NAMES[joint].partition("_")[0]
            if side in ("left", "right") and bone not in BONES:
                bone = f"{side}_{bone}"
            out.append((row, bone, (-x if side == "right" else x, y, z)))
    return tuple(out)


# Usual accelerations: radians and metres in a second squared.
_WHIRL, _LEAP = 120.0, 16.0
_SOLES = (sk.LEFT_HEEL, sk.LEFT_BIG_TOE, sk.RIGHT_HEEL, sk.RIGHT_BIG_TOE)
# A sole point stands while it moves less than so many torso lengths a second in the picture; standing, it may
# still seem to move so many metres a second.
_STILL, _CREEP = 0.3, 0.15


# Whose middle lies above the feet of somebody who stands: shares of hips, shoulders and knees.
_MASSES = ((sk.LEFT_HIP, 0.5), (sk.LEFT_SHOULDER, 0.3), (sk.LEFT_KNEE, 0.2))
_SWAY = 0.08  # metres: how far off, along the camera's axis
_STEP = 0.05  # metres: a foot so much higher than the other carries little
_SEATED = 4.0  # so many times `_SWAY` off, people sit, lie or fly


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is seen in the found pictures.

    numbers: (N,) which pictures of the track.  xy: (N, J, 2) pixels.  score: (N, J).  camera: of the clip.
    world: (N, B', 3) directions of `_DIRECTIONS`, shares of their lengths over the clip, or None.
    still: (N - 1, 4) how surely heels and toes stand between a picture and the next.
    gap: (N - 1,) seconds between them; inf where a scene ends.
    """

    numbers: Array
    xy: Array
    score: Array
    camera: Camera
    world: Array | None
    still: Array
    gap: Array

    def __getitem__(self, rows: Array) -> Evidence:
        """Some pictures, each taken for itself."""
        world = None if self.world is None else self.world[rows]
        count = max(len(rows) - 1, 0)
        return Evidence(
            self.numbers[rows], self.xy[rows], self.score[rows], self.camera, world,
            np.zeros((count, len(_SOLES))), np.full(count, np.inf),
        )  # fmt: skip

    def stretch(self, first: int, end: int) -> Evidence:
        """Pictures one after the other, with what ties them."""
        rows = slice(first, end)
        ties = slice(first, max(end - 1, first))
        return Evidence(
            self.numbers[rows], self.xy[rows], self.score[rows], self.camera,
            None if self.world is None else self.world[rows], self.still[ties], self.gap[ties],
        )  # fmt: skip

    @property
    def rays(self) -> Array:
        """x / z and y / z of what is seen, (N, J, 2)."""
        return np.asarray((self.xy - np.asarray(self.camera.centre)) / self.camera.focal)


# How far one person's landmarks stand from where they do on average, and how far a landmark of one picture is off
# beside that, metres.
_OWN, _PASSING = 0.02, 0.03
_OWN_BONES = {
    "shoulder": "upper_chest", "elbow": "upper_arm", "wrist": "forearm", "hip": "pelvis", "knee": "shin",
    "ankle": "shin",
}  # fmt: skip


def own_stands(
    seen: Evidence, posed: Posed, stands: Sequence[tuple[int, str, tuple[float, float, float]]]
) -> list[tuple[int, str, tuple[float, float, float]]]:
    """`stands` and what this person's landmarks stand apart beyond that, where outlines tell where the body is."""
    error, weight = point_errors(seen, posed)
    error = error * OFF / _TRUST[:, None]
    trunk = float(
        np.linalg.norm(posed.places[0, BONES.index("neck")] - posed.places[0, 0]).clip(0.2)
    )
    out = list(stands)
    for row, joint in enumerate(MEASURED[:BODY]):
        if _kind(joint) not in _OWN_BONES:
            continue
        side, bone = sk.NAMES[joint].partition("_")[0], _OWN_BONES[_kind(joint)]
        bone = bone if bone in BONES else f"{side}_{bone}"
        axes = posed.rotation[:, BONES.index(bone), :2]
        share = weight[:, row] / (1 + (np.linalg.norm(error[:, row], axis=1) / (3 * OFF)) ** 2)
        own = np.einsum("n,nij,nik->jk", share, axes, axes) + np.eye(3) * (_PASSING / _OWN) ** 2
        apart = -np.linalg.solve(own, np.einsum("n,nij,ni->j", share, axes, error[:, row])) / trunk
        out.append((row, bone, (float(apart[0]), float(apart[1]), float(apart[2]))))
    return out


def look(track: Track, camera: Camera) -> Evidence:
    """The evidence of a track's found pictures."""
    numbers = np.array([i for i, pose in enumerate(track.poses) if pose.found], int)
    poses = [track.poses[i] for i in numbers]
    joints = list(MEASURED)
    xy = np.array([p.xy[joints] for p in poses], np.float64).reshape(-1, len(joints), 2)
    score = np.array([p.score[joints] for p in poses], np.float64).reshape(-1, len(joints))
    xy = np.where(score[..., None] > 0, np.nan_to_num(xy), np.asarray(camera.centre))
    seconds = np.array([float(track.times[i]) for i in numbers])
    gap = np.maximum(np.diff(seconds), 1e-3)
    for k in range(len(gap)):
        if any(numbers[k] < cut <= numbers[k + 1] for cut in track.cuts):
            gap[k] = np.inf
    return Evidence(
        numbers,
        xy,
        score,
        camera,
        _directions(track, numbers, score),
        _standing(xy, score, gap),
        gap,
    )


def _directions(track: Track, numbers: Array, score: Array) -> Array | None:
    poses = [track.poses[i] for i in numbers]
    if not poses or any(pose.world is None for pose in poses):
        return None
    world = np.stack([pose.world for pose in poses if pose.world is not None]).astype(np.float64)
    vectors = world[:, _TO] - world[:, _FROM]
    seen = np.minimum(score[:, _TO], score[:, _FROM]) > 0.3
    lengths = np.linalg.norm(vectors, axis=2)
    usual = np.array(
        [np.median(row[ok]) if ok.any() else 1.0 for row, ok in zip(lengths.T, seen.T, strict=True)]
    )
    vectors = vectors / np.maximum(usual, 0.02)[:, None]
    deeper = np.stack([vectors[..., 0], vectors[..., 1], vectors[..., 2] * _DEPTH], 2)
    # As long as before: it is the direction that turns.
    long, longer = (np.linalg.norm(v, axis=2, keepdims=True) for v in (vectors, deeper))
    return np.asarray(deeper * long / np.maximum(longer, 1e-6))


def _standing(xy: Array, score: Array, gap: Array) -> Array:
    """How surely heels and toes stand still from one picture to the next, (N - 1, 4)."""
    if len(xy) < 2:
        return np.zeros((0, len(_SOLES)))
    soles = list(_SOLES)
    torso = np.linalg.norm(
        (xy[:, sk.LEFT_SHOULDER] + xy[:, sk.RIGHT_SHOULDER]) / 2
        - (xy[:, sk.LEFT_HIP] + xy[:, sk.RIGHT_HIP]) / 2,
        axis=1,
    )
    size = np.maximum(np.median(torso), 1.0)
    speed = np.linalg.norm(np.diff(xy[:, soles], axis=0), axis=2) / size / gap[:, None]
    sure = np.minimum(score[1:, soles], score[:-1, soles])
    return np.asarray(np.exp(-((speed / _STILL) ** 2)) * sure * np.isfinite(gap)[:, None])


def add_points(
    normal: Normal, seen: Evidence, posed: Posed, jacobian: Array, robust: float
) -> tuple[Array, Array]:
    """Joints are seen where they are. Their weighted residuals (N, J, 2), and by what metres were multiplied, (N, J, 1).

    robust: how many times its spread an error may be before it counts less and less.
    """
    residual, weight = point_errors(seen, posed)
    trust = 1 / (1 + (np.linalg.norm(residual, axis=2) / robust) ** 2)
    root = np.sqrt(weight)[..., None] * trust[..., None]
    scale = root * (_TRUST / OFF)[:, None]
    rows = project_slope(posed, jacobian) * scale[..., None]
    residual = residual * root
    count = len(residual)
    normal.add(rows.reshape(count, -1, COUNT), residual.reshape(count, -1))
    return residual, scale


def point_errors(seen: Evidence, posed: Posed) -> tuple[Array, Array]:
    """How far joints are from where they are seen, (N, J, 2) in their usual errors, and their weights (N, J)."""
    z = np.maximum(posed.joints[..., 2:], 0.1)
    root = np.maximum(posed.places[:, :1, 2:], 0.1)
    error = (posed.joints[..., :2] / z - seen.rays) * root / OFF * _TRUST[:, None]
    # Errors of clips with known joints double from a score of 0.9 to 0.6, and again to 0.4.
    return error, seen.score**2


def project_slope(posed: Posed, slope: Array) -> Array:
    """How pixels move with joints' slopes (N, J, 3, K), as metres at the person, (N, J, 2, K)."""
    z = np.maximum(posed.joints[..., 2], 0.1)[..., None, None]
    ray = (posed.joints[..., :2] / z[..., 0])[..., None]
    root = np.maximum(posed.places[:, 0, 2], 0.1)[:, None, None, None]
    return np.asarray((slope[:, :, :2] - ray * slope[:, :, 2:]) / z * root)


def direction_errors(seen: Evidence, posed: Posed) -> tuple[Array, Array, Array]:
    """Directions' residuals (N, B', 3), their weights' roots (N, B', 3) and the bones' lengths (N, B', 1)."""
    assert seen.world is not None
    vectors = posed.joints[:, _TO] - posed.joints[:, _FROM]
    lengths = np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 0.02)
    lean = _LEAN @ posed.rotation[:, 0].transpose(0, 2, 1)
    error = (vectors / lengths + lean - seen.world) / _SPREAD
    trust = 1 / (1 + (np.linalg.norm(error, axis=2) / _ROBUST) ** 2)
    sure = np.minimum(seen.score[:, _TO], seen.score[:, _FROM]) ** 2
    # What is out of sight is still guessed by the estimator better than by nobody.
    root = np.sqrt(np.maximum(sure, 0.1 * (seen.score.max(1, keepdims=True) > 0))) * trust
    return error, np.broadcast_to(root[..., None], error.shape), lengths


def add_directions(normal: Normal, seen: Evidence, posed: Posed, jacobian: Array) -> None:
    """Bones point where the metric landmarks say."""
    if seen.world is None:
        return
    error, root, lengths = direction_errors(seen, posed)
    scale = root / lengths / _SPREAD
    rows = (jacobian[:, _TO] - jacobian[:, _FROM]) * scale[..., None]
    count = len(rows)
    normal.add(rows.reshape(count, -1, COUNT), (error * root).reshape(count, -1))


def add_balance(normal: Normal, posed: Posed, jacobian: Array) -> None:
    """Who stands is above the feet they stand on, along the camera's axis too, where pictures hardly tell."""
    height = posed.joints[:, list(_SOLES), 1]
    carries = np.exp((height - height.max(1, keepdims=True)) / _STEP)
    shares = np.zeros(posed.joints.shape[:2])
    shares[:, list(_SOLES)] = -carries / carries.sum(1, keepdims=True)
    for left, share in _MASSES:
        shares[:, [left, left + 1]] += share / 2
    error = (posed.joints[..., 2] * shares).sum(1) / _SWAY
    trust = 1 / (1 + (error / _SEATED) ** 2)
    rows = np.einsum("tj,tjd->td", shares, jacobian[:, :, 2]) / _SWAY
    normal.add((rows * trust[:, None])[:, None], (error * trust)[:, None])


def add_motion(
    normal: Normal, seen: Evidence, frames: Frames, posed: Posed, jacobian: Array
) -> None:
    """Nothing is flung about, and feet that stand do not slide."""
    if len(frames.root) < 2:
        return
    step = np.zeros((len(frames.root) - 1, COUNT))
    step[:, :3] = np.diff(frames.root, axis=0)
    spread = np.full(COUNT, _WHIRL)
    spread[:3] = _LEAP
    for freedom in FREEDOMS:
        own = frames.own[:, freedom.bones[0]]
        turn = logs(own[:-1].transpose(0, 2, 1) @ own[1:]) * len(freedom.bones)
        step[:, freedom.columns] = turn @ freedom.axes.T
    if len(step) > 1:
        # Pictures may come unevenly: what is bent is the speed.
        one, two = seen.gap[:-1, None], seen.gap[1:, None]
        usable = np.isfinite(one) & np.isfinite(two)
        mean = np.where(usable, (one + two) / 2, 1.0)
        ratio = np.where(usable, one / np.where(usable, two, 1.0), 1.0)
        even = np.abs(np.log(ratio)) < 0.5
        weight = np.where(usable & even, 1 / (spread * mean**2) ** 2, 0.0)
        normal.add_bends(weight, step[1:] * ratio - step[:-1])
    soles = list(_SOLES)
    creep = _CREEP * np.where(np.isfinite(seen.gap), seen.gap, 1.0)
    root = np.sqrt(seen.still) / np.maximum(creep, 1e-3)[:, None]
    moved = np.diff(posed.joints[:, soles], axis=0) * root[..., None]
    rows = jacobian[:, soles]
    count = len(moved)
    normal.add_steps(
        (-rows[:-1] * root[..., None, None]).reshape(count, -1, COUNT),
        (rows[1:] * root[..., None, None]).reshape(count, -1, COUNT),
        moved.reshape(count, -1),
    )
