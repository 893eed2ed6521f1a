"""The driver's dance on the source's body: limb lengths, floor and place of the source, directions of the driver.

`limbs` (default) takes both people into 3-D (`lengths`, `lift`, `ground`), gives every bone of the driver the length
of the source's, lets the way over the floor grow with the legs, and looks at the result with the source's camera.
`edn` is Everybody Dance Now's normalisation (`edn_normalise`); `none` only fits the driver's picture into the source's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dance import skeleton as sk
from dance.config import Options
from dance.pose import edn_normalise as edn
from dance.pose import ground, lengths, lift
from dance.pose.lengths import GROUP, MID_HIP, Build
from dance.types import JOINTS, Array, InputError, Moment, Pose, Size, Track

GUESSED_SCORE = 0.1
"""The score of a body or foot joint that was not seen although the person was: it has a guessed place."""

Report = Callable[[str], None]


class RetargetOptions(Options):
    """How the driver's poses become the source's.

    mode: limbs | edn | none.  variant: of mode edn, `published` with its slips or `fixed`.
    place: where the person dances: on the `source`'s floor or on the `driver`'s own (for the driver's background).
    focal: the cameras' focal length over the longer side of their pictures; nobody tells, so it is guessed.
    memory: seconds a live run looks back.
    """

    mode: Literal["limbs", "edn", "none"] = "limbs"
    variant: Literal["published", "fixed"] = "fixed"
    place: Literal["source", "driver"] = "source"
    focal: float = 1.2
    memory: float = 4.0


def retarget(
    driver: Iterable[Moment],
    source: Track,
    options: RetargetOptions = RetargetOptions(),  # noqa: B008 - frozen
    *,
    driver_size: Size,
    live: bool = False,
    report: Report | None = None,
) -> Iterator[Moment]:
    """The driver's moments with the poses the source would have, in the pixels of the source's pictures.

    A clip is read to its end first. Live, every moment comes out as it goes in, from what was seen so far.
    Where the person was found, all joints of body and feet have a place: those the driver's pose lacks are
    guessed (from the nearest frames, else at rest) with GUESSED_SCORE, so that nothing drawn loses a limb for a
    moment; hand and face points that were not seen keep score 0. A frame without the person stays one.
    report: is told what a person should know about the result.
    """
    if options.focal <= 0:
        raise InputError(f"retarget.focal = {options.focal}: must be above 0, usual is 0.8 to 1.6")
    tell = report or (lambda _: None)
    if options.mode == "none":
        yield from _fitted(driver, driver_size, source.size)
        return
    if not any(pose.found for pose in source.poses):
        raise InputError("nobody was found in the source picture; give one that shows the person")
    if live and options.mode == "edn":
        raise InputError(
            "retarget.mode = edn: needs the whole clip; live runs can use limbs or none"
        )
    if live:
        yield from _live(driver, source, options, driver_size, tell)
        return
    moments = list(driver)
    if not any(moment.pose.found for moment in moments):
        yield from (replace(moment, pose=Pose.unseen()) for moment in moments)
        return
    if options.mode == "edn":
        yield from _edn(moments, source, options.variant, driver_size)
        return
    yield from _clip(moments, source, options, driver_size, tell)


def _fitted(driver: Iterable[Moment], driver_size: Size, size: Size) -> Iterator[Moment]:
    """The moments with the driver's picture fitted into another size, whole and in its middle."""
    for moment in driver:
        yield replace(moment, pose=_moved(moment.pose, driver_size, size))


def _moved(pose: Pose, from_size: Size, to_size: Size) -> Pose:
    scale = min(to_size[0] / from_size[0], to_size[1] / from_size[1])
    middle = np.array(
        [(to_size[1] - scale * from_size[1]) / 2, (to_size[0] - scale * from_size[0]) / 2]
    )
    # Pixel centres are at whole numbers, so a picture begins at -1/2.
    xy = ((pose.xy + 0.5) * scale + middle - 0.5).astype(np.float32)
    depth = None if pose.depth is None else (pose.depth * scale).astype(np.float32)
    return replace(pose, xy=xy, depth=depth, region=None, mask=None)


@dataclass(frozen=True, slots=True)
class _Studied:
    """One person over a clip: build, figure in 3-D, and the floor of the first scene that has a person."""

    build: Build
    figure: lift.Figure
    floors: dict[int, ground.Floor]
    feet: Array
    scene: Array


def _study(
    poses: Sequence[Pose], seconds: Array, scene: Array, size: Size, focal: float
) -> _Studied:
    """What the poses tell of the person. Deterministic, and the same for driver and source."""
    sight = lengths.look(poses, size, focal)
    build, log_size, variance = lengths.measure(sight)
    feet = ground.feet_seen(sight)
    depth = np.zeros(len(poses))
    floors: dict[int, ground.Floor] = {}
    parts = [scene == number for number in np.unique(scene) if sight.found[scene == number].any()]
    for inside in parts:
        depth[inside] = ground.distances(log_size[inside], variance[inside], seconds[inside])
    figure = lift.lift(sight, build, np.exp(depth), scene)
    for _ in range(3):
        for inside in parts:
            part = _cut(figure, inside)
            floor = ground.floor_under(part, feet[inside])
            floors[int(scene[inside][0])] = floor
            clue = ground.by_feet(part, floor, feet[inside])
            depth[inside] = ground.distances(
                log_size[inside], variance[inside], seconds[inside], clue
            )
        figure = lift.lift(sight, build, np.exp(depth), scene)
    return _Studied(build, figure, floors, feet, scene)


def _cut(figure: lift.Figure, inside: Array) -> lift.Figure:
    return lift.Figure(
        figure.root[inside], figure.bones[inside], figure.seen[inside], figure.found[inside]
    )


def _clip(
    moments: Sequence[Moment],
    source: Track,
    options: RetargetOptions,
    driver_size: Size,
    tell: Report,
) -> Iterator[Moment]:
    seconds = np.array([float(m.time) for m in moments])
    scene = np.cumsum([m.cut for m in moments])
    dancer = _study([m.pose for m in moments], seconds, scene, driver_size, options.focal)
    own = _study_source(source, options.focal)
    _tell(dancer, own, tell)
    joints = _dance(dancer, own)
    for moment, points in zip(moments, joints, strict=True):
        yield replace(moment, pose=_seen_by_camera(moment.pose, points, source.size, options.focal))


def _study_source(source: Track, focal: float) -> _Studied:
    seconds = np.array([float(t) for t in source.times])
    scene = np.cumsum([i in source.cuts for i in range(len(source))])
    return _study(source.poses, seconds, scene, source.size, focal)


def _factors(dancer: Build, own: Build) -> Array:
    """How much longer each bone is in the source's metres than in the driver's, (len(BONES),)."""
    ratio = np.exp(own.logs - dancer.logs)
    return ratio[[bone.group for bone in lift.BONES]]


def _home(own: _Studied) -> tuple[Array, ground.Floor]:
    """Where the source's mid-hip is in the first picture that shows them, (3,), and the floor there."""
    first = int(np.argmax(own.figure.found))
    return own.figure.root[first], own.floors[int(own.scene[first])]


def _dance(dancer: _Studied, own: _Studied) -> Array:
    """All points of the source dancing, in the source's metres before the source's camera, (T, 136, 3)."""
    figure = dancer.figure
    bones = figure.bones * _factors(dancer.build, own.build)[:, None]
    leg = own.build.leg / dancer.build.leg
    home, stage = _home(own)
    root = np.zeros_like(figure.root)
    ends_at: Array | None = None
    for number in sorted(dancer.floors):
        inside = dancer.scene == number
        part = _cut(figure, inside)
        floor = dancer.floors[number]
        start = int(np.argmax(part.found))
        base = home if ends_at is None else ends_at
        way = (part.root - part.root[start]) @ floor.axes.T * leg
        placed = base + way @ stage.axes
        whole = lift.Figure(placed, bones[inside], part.seen, part.found)
        rise = leg * ground.lowest(part.joints(), floor) - ground.lowest(whole.joints(), stage)
        rise = _held(rise, dancer.feet[inside])
        root[inside] = placed + rise[:, None] * stage.axes[2]
        ends_at = root[inside][-1]
    return lift.Figure(root, bones, figure.seen, figure.found).joints()


def _held(rise: Array, feet: Array) -> Array:
    """The correction that puts the feet on the floor, held where they are not seen; none where they never are."""
    good = feet > 0.1
    if not good.any():
        return np.zeros_like(rise)
    frames = np.arange(len(rise))
    return np.interp(frames, frames[good], rise[good])


def _seen_by_camera(pose: Pose, points: Array, size: Size, focal: float) -> Pose:
    """The points (136, 3) as a pose in a picture of that size, with the scores of the driver's pose."""
    if not pose.found:
        return replace(Pose.unseen(), region=None)
    height, width = size
    pixels = focal * max(size)
    z = np.maximum(points[:, 2], 0.2)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    xy = points[:JOINTS, :2] / z[:JOINTS, None] * pixels + centre
    away = points[:JOINTS] - points[MID_HIP]
    score = pose.score.copy()
    body = np.arange(JOINTS) < 23
    score[body & (score <= 0)] = GUESSED_SCORE
    return Pose(
        xy.astype(np.float32), score, (away[:, 2] * pixels / z[MID_HIP]).astype(np.float32), away.astype(np.float32),
    )  # fmt: skip


def _tell(dancer: _Studied, own: _Studied, tell: Report) -> None:
    """Says what was guessed."""
    missing = [
        name for name in own.build.guessed if name in GROUP and name not in ("hands", "head")
    ]
    if missing:
        tell(f"the source's {_listed(missing)} could not be seen; an average person's were taken")
    if not (dancer.feet > 0.1).any():
        tell("the driver's feet are never seen: the person is placed by the hips")
    body = np.array([bone.child < 23 for bone in lift.BONES])
    seen = dancer.figure.seen[dancer.figure.found][:, body]
    children = [bone.child for bone in lift.BONES if bone.child < 23]
    never = [sk.NAMES[c].replace("_", " ") for c, s in zip(children, seen.any(0), strict=True) if not s and "small" not in sk.NAMES[c]]  # fmt: skip
    if never:
        tell(f"the driver's {_listed(never)} could not be seen in any frame and are at rest")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _live(
    driver: Iterable[Moment],
    source: Track,
    options: RetargetOptions,
    driver_size: Size,
    tell: Report,
) -> Iterator[Moment]:
    """One moment out for every one in: everything is estimated anew from the last seconds, and steps are summed."""
    own = _study_source(source, options.focal)
    recent: list[tuple[Moment, int]] = []
    scene, root, told = 0, _home(own)[0], False
    for moment in driver:
        scene += moment.cut
        recent.append((moment, scene))
        if not moment.pose.found:
            yield replace(moment, pose=Pose.unseen())
            continue
        recent = _thinned(recent, float(moment.time) - options.memory)
        dancer = _study(
            [m.pose for m, _ in recent], np.array([float(m.time) for m, _ in recent]),
            np.array([number for _, number in recent]), driver_size, options.focal,
        )  # fmt: skip
        if not told:
            _tell(dancer, own, tell)
            told = True
        root, points = _step(dancer, own, root)
        yield replace(moment, pose=_seen_by_camera(moment.pose, points, source.size, options.focal))


_NEWEST, _EVERY = 10, 4


def _thinned(recent: list[tuple[Moment, int]], since: float) -> list[tuple[Moment, int]]:
    """The newest moments, and of those before them, back to a time, every fourth (those already thinned stay)."""
    old, new = recent[:-_NEWEST], recent[-_NEWEST:]
    old = [item for item in old if float(item[0].time) >= since]
    # Whole seconds times frame rate need not be: thin by what is left after the newest moved on.
    if len(old) > 1 and len(old) % _EVERY:
        del old[-1]
    return old + new


def _step(dancer: _Studied, own: _Studied, root: Array) -> tuple[Array, Array]:
    """The source's mid-hip on the floor after one more frame, and all points (136, 3) in that frame."""
    figure, leg = dancer.figure, own.build.leg / dancer.build.leg
    number = int(dancer.scene[-1])
    floor, stage = dancer.floors[number], _home(own)[1]
    before = np.flatnonzero(figure.found & (dancer.scene == number))
    if len(before) > 1:
        way = (figure.root[before[-1]] - figure.root[before[-2]]) @ floor.axes.T * leg
        root = root + way @ stage.axes
    bones = figure.bones[-1:] * _factors(dancer.build, own.build)[:, None]
    last = lift.Figure(root[None], bones, figure.seen[-1:], figure.found[-1:])
    rise = leg * ground.lowest(figure.joints()[-1:], floor) - ground.lowest(last.joints(), stage)
    rise = rise * (dancer.feet[-1:] > 0.1)
    return root, last.joints()[0] + rise[0] * stage.axes[2]


def _edn(
    moments: Sequence[Moment], source: Track, variant: edn.Variant, driver_size: Size
) -> Iterator[Moment]:
    """Everybody Dance Now's normalisation of the driver's picture fitted into the source's.

    Statistics are of all frames, where the published code draws frames at random; at the ends of the clip
    the median's window is filled up with the first or last frame, where the published code drops frames.
    """
    moved = [_moved(moment.pose, driver_size, source.size) for moment in moments]
    xy, score = np.stack([p.xy for p in moved]), np.stack([p.score for p in moved])
    driver, person = edn.body_23(xy, score), edn.body_23(source.xy, source.score)
    stats = [
        s[~np.isnan(s[:, 0])]
        for s in (edn.statistics(person, variant), edn.statistics(driver, variant))
    ]
    if not len(stats[0]) or not len(stats[1]):
        raise InputError(
            "retarget.mode = edn: needs ankles and a head in both people; use mode limbs"
        )
    mapping = edn.norm(stats[0], stats[1], variant)
    found = edn.transforms(driver, mapping, source.size[1], variant)
    first = next(t for t in found if t is not None)
    changed = np.stack([edn.apply(t or first, p) for t, p in zip(found, xy, strict=True)])
    whole = np.concatenate([changed, score[..., None]], -1)
    half = edn.WINDOW // 2
    padded = np.concatenate([whole[:1].repeat(half, 0), whole, whole[-1:].repeat(half, 0)])
    smooth = edn.median_filter(padded)
    for moment, pose, points in zip(moments, moved, smooth, strict=True):
        new = replace(pose, xy=points[:, :2].astype(np.float32)) if pose.found else Pose.unseen()
        yield replace(moment, pose=new)
