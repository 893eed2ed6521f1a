"""One person's dance on another's body and floor, in 3-D.

Bones turn as the driver's do and are as long as the source's; the way over the floor grows with the legs; what was
as high above the driver's floor is as many leg lengths above the source's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dance import skeleton as sk
from dance.pose import ground, lengths, lift
from dance.pose.ground import Floor
from dance.pose.lengths import Build
from dance.pose.lift import BONES, Figure
from dance.types import Array, Pose, Size

_TILT = 0.06  # by how much the slopes of the floors before two cameras differ
# The person comes no nearer to the camera than so many metres, nor than the share of where they stood
# first, and slows down before.
_NEAREST, _SLOWING = (0.7, 0.35), (1.5, 0.6)
# An ankle stands if it is at most so many metres higher than the other; floors are moved by at most so many.
_STANDING, _LEVEL = 0.05, 0.15
_SEEN = 0.1  # feet seen at least so well are put on the floor


@dataclass(frozen=True, slots=True)
class Studied:
    """One person over T frames.

    figure: in 3-D, in the person's metres.  floors: by scene number, only of scenes that show the person.
    feet: (T,) how well the feet were seen.  scene: (T,) the number of each frame's scene.
    """

    build: Build
    figure: Figure
    floors: dict[int, Floor]
    feet: Array
    scene: Array

    @property
    def home(self) -> Array:
        """Where the mid-hip is in the first picture that shows the person, (3,)."""
        return np.asarray(self.figure.root[np.argmax(self.figure.found)])


def study(
    poses: Sequence[Pose],
    seconds: Array,
    scene: Array,
    size: Size,
    focal: float,
    centre: Array | None = None,
) -> Studied:
    """What the poses tell of the person; at least one must be found. The same for driver and source.

    seconds, scene: (T,).  focal: of the camera, over the longer side of its pictures.
    centre: (x, y) of the pixel the camera looks at; without it the picture's middle.
    """
    sight = lengths.look(poses, size, focal, centre)
    build, log_size, variance = lengths.measure(sight)
    feet = ground.feet_seen(sight)
    depth = np.zeros(len(poses))
    parts = [scene == number for number in np.unique(scene) if sight.found[scene == number].any()]
    for inside in parts:
        depth[inside] = ground.distances(log_size[inside], variance[inside], seconds[inside])
    for _ in range(3):
        figure = lift.lift(sight, build, np.exp(depth), scene, count=lift.SKELETON)
        for inside in parts:
            part = cut(figure, inside)
            clue = ground.by_feet(part, ground.floor_under(part, feet[inside]), feet[inside])
            depth[inside] = ground.distances(
                log_size[inside], variance[inside], seconds[inside], clue
            )
    figure = lift.lift(sight, build, np.exp(depth), scene)
    floors = {
        int(scene[inside][0]): ground.floor_under(cut(figure, inside), feet[inside])
        for inside in parts
    }
    return Studied(build, figure, floors, feet, scene)


def matching_centre(driver: Pose, driver_size: Size, source: Pose, source_size: Size) -> Array:
    """The pixel (x, y) the driver's camera must look at to see the driver in the direction the source is seen.

    Videos are cropped and shifted, so where a driver is in the picture says nothing: they are looked at as if
    they first stood where the source stands. Hips tell, or shoulders, or ears; else it is the picture's middle.
    """
    for a, b in lengths.CENTRES.values():
        if min(p.score[j] for p in (driver, source) for j in (a, b)) > 0:
            seen = (source.xy[a] + source.xy[b]) / 2.0 - lengths.middle(source_size)
            here = (driver.xy[a] + driver.xy[b]) / 2.0
            return np.asarray(here - seen * (max(driver_size) / max(source_size)))
    return lengths.middle(driver_size)


@dataclass(frozen=True, slots=True)
class Setting:
    """What turns the driver's motion into the source's.

    factors: (len(BONES),) how much longer each bone is.  leg: the same of the legs, for heights.
    way: how much longer the way over the floor is.  floor: the one danced on; None is the driver's own.
    home: (3,) where the mid-hip starts; None is where the driver's does.
    """

    factors: Array
    leg: float
    way: float
    floor: Floor | None
    home: Array | None


def on_source_floor(dancer: Studied, own: Studied, *, level: bool = True) -> Setting:
    """The source dances where they stand in their picture, before the source's camera.

    level: whether the floor is moved so that the dance begins with the feet where the source's stand.
    """
    seen = dancer.floors[min(dancer.floors)]
    inside = own.scene == own.scene[np.argmax(own.figure.found)]
    # Cameras tilt much alike, so the driver's floor tells of the source's.
    doubt = float(np.hypot(seen.doubt, _TILT))
    floor = ground.floor_under(cut(own.figure, inside), own.feet[inside], slope=(seen.slope, doubt))
    leg = own.build.leg / dancer.build.leg
    setting = Setting(_factors(dancer.build, own.build), leg, leg, floor, own.home)
    return replace(setting, floor=_levelled(floor, dancer, own, setting)) if level else setting


def _levelled(floor: Floor, dancer: Studied, own: Studied, setting: Setting) -> Floor:
    """The source's floor, raised or lowered so that the dance begins with the feet where the source's stand.

    Toes that point at the camera tell badly how deep the floor is and how far before the hips the feet are;
    in the picture the ankles that stand say it directly.
    """
    first, there = np.argmax(dancer.figure.found), np.argmax(own.figure.found)
    if min(dancer.feet[first], own.feet[there]) <= _SEEN:
        return floor
    alone = np.arange(len(dancer.figure.found)) == first
    number = int(dancer.scene[first])
    begun = replace(
        dancer, figure=cut(dancer.figure, alone), floors={number: dancer.floors[number]},
        feet=dancer.feet[alone], scene=dancer.scene[alone],
    )  # fmt: skip
    placed = dance(begun, setting)
    (ray, distance), (wanted, _) = (
        _standing(joints, floor) for joints in (placed[0], own.figure.joints()[there])
    )
    lower = np.clip((wanted - ray) * distance, -_LEVEL, _LEVEL)
    return replace(floor, height=floor.height + float(lower))


def _standing(joints: Array, floor: Floor) -> tuple[float, float]:
    """The mean y / z and z of the ankles that stand; joints: (136, 3)."""
    ankles = joints[[sk.LEFT_ANKLE, sk.RIGHT_ANKLE]]
    height = floor.above(ankles)
    standing = ankles[height <= height.min() + _STANDING]
    return float((standing[:, 1] / standing[:, 2]).mean()), float(standing[:, 2].mean())


def on_driver_floor(dancer: Studied, own: Studied) -> Setting:
    """The source takes the driver's place before the driver's camera, as tall as the driver is."""
    tall = dancer.build.stature / own.build.stature
    factors = _factors(dancer.build, own.build) * tall
    return Setting(factors, own.build.leg * tall / dancer.build.leg, 1.0, None, None)


def _factors(dancer: Build, own: Build) -> Array:
    ratio = np.exp(own.logs - dancer.logs)
    for name in ("head", "feet", "hands"):
        # What one of them never showed is as large for the body's size as the other's.
        if name in dancer.guessed or name in own.guessed:
            ratio[lengths.GROUP[name]] = 1.0
    return np.asarray(ratio[[bone.group for bone in BONES]])


def dance(dancer: Studied, setting: Setting) -> Array:
    """All points of the source dancing, (T, 136, 3), before the camera of the setting.

    A new scene starts where the last one ended.
    """
    figure = dancer.figure
    bones = figure.bones * setting.factors[:, None]
    root = np.zeros_like(figure.root)
    base = setting.home
    for number in sorted(dancer.floors):
        inside = dancer.scene == number
        part = cut(figure, inside)
        floor = dancer.floors[number]
        stage = setting.floor or floor
        start = part.root[np.argmax(part.found)]
        begin = start if setting.home is None or base is None else base
        placed = begin + (part.root - start) @ floor.axes.T * setting.way @ stage.axes
        if setting.home is not None:
            placed = kept_away(placed, setting.home, stage)
        rise = _rise(
            part, floor, Figure(placed, bones[inside], part.seen, part.found), stage, setting.leg
        )
        root[inside] = placed + held(rise, dancer.feet[inside])[:, None] * stage.axes[2]
        base = root[inside][np.flatnonzero(part.found)[-1]]
    return Figure(root, bones, figure.seen, figure.found).joints()


def step(dancer: Studied, setting: Setting, root: Array | None) -> tuple[Array, Array]:
    """The last frame alone, after `root` (3,), the mid-hip of the frame before (None: there was none).

    Returns the mid-hip on its way over the floor, for the next step, and all points (136, 3).
    """
    figure, number = dancer.figure, int(dancer.scene[-1])
    floor = dancer.floors[number]
    stage = setting.floor or floor
    if setting.home is None:
        root = figure.root[-1]
    elif root is None:
        root = setting.home
    else:
        before = np.flatnonzero(figure.found[:-1] & (dancer.scene[:-1] == number))
        if len(before):
            moved = (figure.root[-1] - figure.root[before[-1]]) @ floor.axes.T * setting.way
            root = root + moved @ stage.axes
    shown = root if setting.home is None else kept_away(root[None], setting.home, stage)[0]
    bones = figure.bones[-1:] * setting.factors[:, None]
    now = cut(figure, np.arange(len(figure.found)) == len(figure.found) - 1)
    last = Figure(shown[None], bones, now.seen, now.found)
    rise = _rise(now, floor, last, stage, setting.leg) * (dancer.feet[-1:] > _SEEN)
    return root, last.joints()[0] + rise[0] * stage.axes[2]


def kept_away(root: Array, home: Array, floor: Floor) -> Array:
    """The mid-hips (T, 3), those too near the camera moved back along the floor.

    A driver far away may walk farther than the source stands from the camera.
    """
    nearest, slowing = _limits(home)
    room = slowing - nearest
    slowed = nearest + room * np.exp(np.minimum(root[:, 2] - slowing, 0) / room)
    short = np.where(root[:, 2] < slowing, slowed - root[:, 2], 0.0)
    return np.asarray(root + short[:, None] * floor.axes[1] / floor.axes[1, 2])


def comes_too_near(joints: Array, home: Array) -> bool:
    """Whether points (T, 136, 3) of a dance were kept away from the camera."""
    return bool((joints[:, lengths.MID_HIP, 2] < _limits(home)[1]).any())


def _limits(home: Array) -> tuple[float, float]:
    """How near the person may come, and where they begin to slow down, in metres."""
    nearest, slowing = (min(metres, share * home[2]) for metres, share in (_NEAREST, _SLOWING))
    return nearest, slowing


def _rise(part: Figure, floor: Floor, whole: Figure, stage: Floor, leg: float) -> Array:
    """How much to lift the figure so that its lower foot is as many leg lengths high as the driver's, (T,)."""
    return np.asarray(
        leg * ground.lowest(part.joints(), floor) - ground.lowest(whole.joints(), stage)
    )


def held(rise: Array, feet: Array) -> Array:
    """The lift, held where the feet are not seen; none where they never are."""
    good = feet > _SEEN
    if not good.any():
        return np.zeros_like(rise)
    frames = np.arange(len(rise))
    return np.interp(frames, frames[good], rise[good])


def cut(figure: Figure, inside: Array) -> Figure:
    return Figure(
        figure.root[inside], figure.bones[inside], figure.seen[inside], figure.found[inside]
    )
