"""One person's dance on another's fitted 3-D body: the driver's rotations, the source's shape, floor and camera.

The same turns make the same pose of any body (`surface.body`). Where the person goes is decided as `staging` does for
stick figures, here from the bodies' joints: the way grows with the legs, and what was as high above the driver's
floor is as many leg lengths above the source's. Both cameras are taken to look the same way over the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dance.pose import ground, lengths, staging
from dance.pose.ground import Floor
from dance.pose.lengths import Build
from dance.pose.lift import BONES, Figure
from dance.pose.staging import Studied
from dance.surface import stances
from dance.types import Array, Camera, InputError, Moment, Physique, Pose, Size, Stance, Track

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Bodies:
    """The fitted bodies of both people; the found poses of their tracks have the stances."""

    driver: Physique
    source: Physique


def dance(
    moments: Sequence[Moment],
    source: Track,
    bodies: Bodies,
    *,
    driver_size: Size,
    on_source: bool,
    focal: float,
    guessed: float,
    tell: Report,
) -> list[Pose]:
    """The source's poses, with stances of the source's body before the source's camera; unseen where there is no body.

    on_source: whether the source's floor is danced on, or the driver's.  focal: over the longer side of the
    pictures, for what is judged from 2-D joints.  guessed: the score of body joints that were not seen.
    Raises InputError where nobody in the source pictures has a body.
    """
    if not any(pose.stance is not None for pose in source.poses):
        raise InputError(
            "no 3-D body could be fitted to the source: retarget.mode = limbs needs none"
        )
    poses = [moment.pose for moment in moments]
    if not any(pose.stance is not None for pose in poses):
        return [Pose.unseen() for _ in poses]
    dancer = study(poses, np.cumsum([m.cut for m in moments]), bodies.driver, driver_size, focal)
    scenes = np.cumsum([i in source.cuts for i in range(len(source))])
    own = study(source.poses, scenes, bodies.source, source.size, focal)
    if on_source:
        # Bodies have feet where they belong: what levelling mends for sticks it would spoil here.
        setting = staging.on_source_floor(dancer, own, level=False)
    else:
        setting = staging.on_driver_floor(dancer, own)
    points = staging.dance(dancer, setting)
    if setting.home is not None and staging.comes_too_near(points, setting.home):
        tell("the driver comes nearer than the source's picture has room for; the way is shortened")
    # On the driver's floor the source is to be as tall as the driver: the picture of one nearer or farther.
    scale = 1.0 if on_source else own.build.stature / dancer.build.stature
    floors = [setting.floor or dancer.floors.get(int(number)) for number in dancer.scene]
    placed = _placed([pose.stance for pose in poses], points, floors, bodies.source, scale)
    if not on_source:
        shown = _fitted_in(bodies.driver.camera, driver_size, source.size)
        placed = [_before(stance, shown, bodies.source.camera) for stance in placed]
    return stances.seen(poses, placed, bodies.source, guessed=guessed)


def study(
    poses: Sequence[Pose], scene: Array, physique: Physique, size: Size, focal: float
) -> Studied:
    """What the fitted bodies tell of the person, as `staging.study` does from joints; at least one has a stance.

    scene: (T,) the number of each frame's scene.  size, focal: of the pictures, for how well the feet were seen.
    """
    found = np.array([pose.stance is not None for pose in poses])
    joints = stances.joints([pose.stance for pose in poses], physique)
    points = lengths.with_centres(_filled(joints, found, scene))
    seen = lengths.with_centres(np.stack([pose.score for pose in poses])) > 0
    children, parents = ([getattr(bone, end) for bone in BONES] for end in ("child", "parent"))
    figure = Figure(
        points[:, lengths.MID_HIP], points[:, children] - points[:, parents], seen[:, children], found
    )  # fmt: skip
    feet = ground.feet_seen(lengths.look(poses, size, focal))
    floors = {}
    for number in np.unique(scene):
        inside = scene == number
        if found[inside].any():
            floors[int(number)] = ground.floor_under(staging.cut(figure, inside), feet[inside])
    return Studied(build(physique), figure, floors, feet, scene)


def build(physique: Physique) -> Build:
    """The proportions of a body, in its own metres; once it is fitted, none of them is missing."""
    points = lengths.with_centres(stances.resting(physique)[None])[0]
    logs = np.array(
        [np.log(np.linalg.norm(points[m.second] - points[m.first]) / m.metres) for m in lengths.MEASURES]
    )  # fmt: skip
    groups = np.array([measure.group for measure in lengths.MEASURES])
    means = np.array([logs[groups == group].mean() for group in range(len(lengths.GROUPS))])
    return Build(means, np.zeros(len(means)), ())


def _filled(joints: Array, known: Array, scene: Array) -> Array:
    """Joints (T, 133, 3), those of frames without a body from the nearest of the scene, or of the clip, with one."""
    out, frames = joints.copy(), np.arange(len(joints))
    for t in frames[~known]:
        near = frames[known & (scene == scene[t])]
        near = near if len(near) else frames[known]
        out[t] = joints[near[np.abs(near - t).argmin()]]
    return out


def _placed(
    given: Sequence[Stance | None],
    points: Array,
    floors: Sequence[Floor | None],
    physique: Physique,
    scale: float,
) -> list[Stance | None]:
    """The stances of the body with its mid-hip, and then its lower sole, where the points (T, 136, 3) times scale are."""
    wanted = points * scale
    at_zero = stances.joints(
        [None if s is None else replace(s, root=np.zeros(3, np.float32)) for s in given], physique
    )
    out: list[Stance | None] = []
    for stance, own, there, floor in zip(given, lengths.with_centres(at_zero), wanted, floors, strict=True):  # fmt: skip
        if stance is None:
            out.append(None)
            continue
        assert floor is not None, "a scene with a body has a floor"
        up = floor.axes[2]
        root = there[lengths.MID_HIP] - own[lengths.MID_HIP]
        soles = list(ground.SOLES)
        root = root + ((there[soles] @ up).min() - ((own[soles] + root) @ up).min()) * up
        out.append(replace(stance, root=root.astype(np.float32)))
    return out


def _fitted_in(camera: Camera, size: Size, into: Size) -> Camera:
    """The camera of pictures of a size as it is when they fill, whole and in the middle, pictures of another."""
    scale = min(into[0] / size[0], into[1] / size[1])
    centre = (np.array(camera.centre) - lengths.middle(size)) * scale + lengths.middle(into)
    return Camera(camera.focal * scale, (float(centre[0]), float(centre[1])))


def _before(stance: Stance | None, camera: Camera, other: Camera) -> Stance | None:
    """The stance that another camera sees where and as large as this one sees it."""
    if stance is None:
        return None
    x, y, z = stance.root
    far = z * other.focal / camera.focal
    pixel = camera.focal * np.array([x, y]) / z + camera.centre
    across = (pixel - other.centre) * far / other.focal
    return replace(stance, root=np.array([*across, far], np.float32))
