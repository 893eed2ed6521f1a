"""The driver's dance on the source's body: limb lengths, floor and place of the source, directions of the driver.

`limbs` (default) takes both people into 3-D (`lengths`, `lift`, `ground`, `staging`), gives every bone of the driver the length
of the source's, lets the way over the floor grow with the legs, and looks at the result with the source's camera.
`body` does the same with the fitted 3-D bodies of both (`retarget_body`), and its poses have stances.
`edn` is Everybody Dance Now's normalisation (`edn_normalise`); `none` only fits the driver's picture into the source's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from dance import skeleton as sk
from dance.config import Options
from dance.pose import edn_normalise as edn
from dance.pose import lift, retarget_body, staging
from dance.pose.lengths import MID_HIP, middle
from dance.pose.retarget_body import Bodies
from dance.pose.staging import Studied
from dance.types import JOINTS, Array, InputError, Moment, Pose, Size, Track

GUESSED_SCORE = 0.1
"""The score of a body or foot joint that was not seen although the person was: it has a guessed place."""

Report = Callable[[str], None]


class RetargetOptions(Options):
    """How the driver's poses become the source's.

    mode: limbs | body | edn | none.  variant: of mode edn, `published` with its slips or `fixed`.
    place: where the person dances: on the `source`'s floor or on the `driver`'s own (for the driver's background).
    focal: the cameras' focal length over the longer side of their pictures; nobody tells, so it is guessed.
    memory: seconds a live run looks back.
    """

    mode: Literal["limbs", "body", "edn", "none"] = "limbs"
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
    bodies: Bodies | None = None,
) -> Iterator[Moment]:
    """The driver's moments with the poses the source would have, in the pixels of the source's pictures.

    A clip is read to its end first. Live, every moment comes out as it goes in, from what was seen so far.
    Where the person was found, all joints of body and feet have a place: those the driver's pose lacks are
    guessed (from the nearest frames, else at rest) with GUESSED_SCORE, so that nothing drawn loses a limb for a
    moment; hand and face points that were not seen keep score 0. A frame without the person stays one.
    report: is told what a person should know about the result.
    bodies: for mode body, the shapes that the stances of `driver` and `source` belong to.
    """
    if options.focal <= 0:
        raise InputError(f"retarget.focal = {options.focal}: must be above 0, usual is 0.8 to 1.6")
    tell = report or (lambda _: None)
    if options.mode == "none":
        yield from _fitted(driver, driver_size, source.size)
        return
    if not any(pose.found for pose in source.poses):
        raise InputError("nobody was found in the source picture; give one that shows the person")
    if live and options.mode in ("body", "edn"):
        raise InputError(
            f"retarget.mode = {options.mode}: needs the whole clip; live runs can use limbs or none"
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
    if options.mode == "body":
        assert bodies is not None, "mode body needs the shapes of both bodies"
        poses = retarget_body.dance(
            moments, source, bodies, driver_size=driver_size, on_source=options.place == "source",
            focal=options.focal, guessed=GUESSED_SCORE, tell=tell,
        )  # fmt: skip
        yield from (replace(m, pose=pose) for m, pose in zip(moments, poses, strict=True))
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


def _clip(
    moments: Sequence[Moment],
    source: Track,
    options: RetargetOptions,
    driver_size: Size,
    tell: Report,
) -> Iterator[Moment]:
    seconds = np.array([float(m.time) for m in moments])
    scene = np.cumsum([m.cut for m in moments])
    poses = [m.pose for m in moments]
    centre = _centre(next(p for p in poses if p.found), source, options, driver_size)
    dancer = staging.study(poses, seconds, scene, driver_size, options.focal, centre)
    own = _study_source(source, options.focal)
    _tell(dancer, own, tell)
    setting = _setting(dancer, own, options)
    joints = staging.dance(dancer, setting)
    if setting.home is not None and staging.comes_too_near(joints, setting.home):
        tell("the driver comes nearer than the source's picture has room for; the way is shortened")
    for moment, points in zip(moments, joints, strict=True):
        yield replace(moment, pose=_filmed(moment.pose, points, options, driver_size, source.size))


def _study_source(source: Track, focal: float) -> Studied:
    seconds = np.array([float(t) for t in source.times])
    scene = np.cumsum([i in source.cuts for i in range(len(source))])
    return staging.study(source.poses, seconds, scene, source.size, focal)


def _centre(
    first: Pose, source: Track, options: RetargetOptions, driver_size: Size
) -> Array | None:
    """Where the driver's camera looks, in pixels; None is the middle of its picture."""
    if options.place == "driver":
        return None
    shown = next(pose for pose in source.poses if pose.found)
    return staging.matching_centre(first, driver_size, shown, source.size)


def _setting(dancer: Studied, own: Studied, options: RetargetOptions) -> staging.Setting:
    if options.place == "driver":
        return staging.on_driver_floor(dancer, own)
    return staging.on_source_floor(dancer, own)


def _filmed(
    pose: Pose, points: Array, options: RetargetOptions, driver_size: Size, size: Size
) -> Pose:
    """The points (136, 3) as the source's or the driver's camera films them, in the source's pixels."""
    if options.place == "driver":
        return _moved(_seen_by_camera(pose, points, driver_size, options.focal), driver_size, size)
    return _seen_by_camera(pose, points, size, options.focal)


def _seen_by_camera(pose: Pose, points: Array, size: Size, focal: float) -> Pose:
    """The points (136, 3) as a pose in a picture of that size, with the scores of the driver's pose."""
    if not pose.found:
        return Pose.unseen()
    pixels = focal * max(size)
    z = np.maximum(points[:, 2], 0.2)
    xy = points[:JOINTS, :2] / z[:JOINTS, None] * pixels + middle(size)
    away = points[:JOINTS] - points[MID_HIP]
    score = pose.score.copy()
    body = np.arange(JOINTS) < 23
    score[body & (score <= 0)] = GUESSED_SCORE
    return Pose(
        xy.astype(np.float32), score, (away[:, 2] * pixels / z[MID_HIP]).astype(np.float32), away.astype(np.float32),
    )  # fmt: skip


def _tell(dancer: Studied, own: Studied, tell: Report) -> None:
    """Says what was guessed."""
    missing = [name for name in own.build.guessed if name not in ("hands", "head")]
    if missing:
        tell(f"the source's {_listed(missing)} could not be seen; an average person's were taken")
    if not (dancer.feet > 0.1).any():
        tell("the driver's feet are never seen: the person is placed by the hips")
    body = np.array([bone.child < 23 for bone in lift.BONES])
    seen = dancer.figure.seen[dancer.figure.found][:, body]
    children = [bone.child for bone in lift.BONES if bone.child < 23]
    never = [sk.NAMES[c].replace("_", " ") for c, s in zip(children, np.asarray(seen.any(0)), strict=True) if not s and "small" not in sk.NAMES[c]]  # fmt: skip
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
    old: list[tuple[Moment, int]] = []
    new: deque[tuple[Moment, int]] = deque()
    count, scene, root, centre = 0, 0, None, None
    for moment in driver:
        scene += moment.cut
        if not moment.pose.found:
            yield replace(moment, pose=Pose.unseen())
            continue
        if root is None:
            centre = _centre(moment.pose, source, options, driver_size)
        new.append((moment, scene))
        if len(new) > _NEWEST:
            leaving = new.popleft()
            if count % _EVERY == 0:
                old.append(leaving)
            count += 1
        old = [item for item in old if float(moment.time - item[0].time) <= options.memory]
        recent = [*old, *new]
        dancer = staging.study(
            [m.pose for m, _ in recent], np.array([float(m.time) for m, _ in recent]),
            np.array([number for _, number in recent]), driver_size, options.focal, centre,
        )  # fmt: skip
        if root is None:
            _tell(dancer, own, tell)
        root, points = staging.step(dancer, _setting(dancer, own, options), root)
        yield replace(moment, pose=_filmed(moment.pose, points, options, driver_size, source.size))


# A live run remembers the newest frames, and of those before them every so many.
_NEWEST, _EVERY = 10, 4


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
