"""The default generator: the source picture itself as a jointed, bending puppet. Needs no training.

The matte of a view is cut into parts of the body (`_puppet_parts`), every part becomes a textured mesh
whose vertices hang on one or several bones (`_puppet_mesh`), the bones follow the pose (`_puppet_bones`),
and the meshes are drawn nearest first (`_puppet_raster`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import Field

from dance.config import Options
from dance.generators._puppet_bones import Motion, facing, foot_turns, move, rotation
from dance.generators._puppet_figure import (
    ENDS,
    FORE,
    SHIN,
    THIGH,
    UPPER,
    Figure,
    Rest,
    growth,
    measure,
    read,
    standing,
)
from dance.generators._puppet_mesh import PARTS, Mesh, build_meshes
from dance.generators._puppet_parts import cut
from dance.generators._puppet_raster import Canvas, bend, paint, release
from dance.generators._puppet_views import Choice, Look, choose, distance, look
from dance.skeleton import (
    LEFT_EAR,
    LEFT_HIP,
    LEFT_SHOULDER,
    NOSE,
    RIGHT_EAR,
    RIGHT_HIP,
    RIGHT_SHOULDER,
)
from dance.types import Array, Drawn, Generator, Person, Pose, Size, View

TRUNK, HEAD = 0, 1
_FEET = (5, 9)  # the parts that hold a foot


class Config(Options):
    """Options of the puppet."""

    workers: int = Field(
        default_factory=lambda: min(4, max(1, (os.cpu_count() or 1) // 2)), ge=1, le=64,
        description="threads that draw; half the cores unless said, for finishing needs some too",
    )  # fmt: skip
    fade: int = Field(6, ge=1, description="frames in which a limb that is lost or found fades")
    blend: int = Field(
        5, ge=0, description="frames in which one view of the person gives way to another"
    )


def build(config: Config, device: str) -> Generator:
    """The puppet; it draws on the CPU whatever the device."""
    return Puppet(config)


@dataclass(frozen=True, slots=True)
class Rig:
    """One view made movable: its rest as seen and mirrored, and its meshes by part, in pixels of the picture."""

    rest: Rest
    mirrored: Rest
    look: Look
    meshes: dict[int, Mesh]


@dataclass(frozen=True, slots=True)
class Code:
    """The person as puppets, one for each view.

    lenders: for each rig the parts its view does not show, and the rig they are borrowed from.
    """

    size: Size
    rigs: Sequence[Rig]
    lenders: Sequence[dict[int, int]]


@dataclass(frozen=True, slots=True)
class Stance:
    """How a rig stood in the previous frame: its scale, whether seen from behind, which feet are mirrored."""

    scale: float
    back: bool
    flips: tuple[bool, bool]


# Rows from the first to before the second, columns from the third to before the fourth.
_Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Memory:
    """What the previous frame leaves to the next.

    points: (25, 3) of its figure.  order: parts, nearest first.  opacity: (10,) of every part.
    choice: the view drawn.  stances: of the rigs drawn, by their number.
    """

    points: Array
    order: tuple[int, ...]
    opacity: Array
    choice: Choice
    stances: dict[int, Stance]


@dataclass(frozen=True, slots=True)
class _Take:
    """A rig in the pose of one frame."""

    rig: Rig
    stance: Stance
    motion: Motion


@dataclass(frozen=True, slots=True)
class _Shot:
    """What is drawn for one pose: for each view its share of the picture, and the take of every part."""

    views: Sequence[tuple[float, dict[int, _Take]]]
    memory: Memory


class Puppet:
    """See the module."""

    size: Size | None = None
    needs: frozenset[str] = frozenset()

    def __init__(self, config: Config) -> None:
        self.config = config
        # Fresh memory costs as much as drawing, so canvases are kept; nothing on them is.
        self._canvases: deque[Canvas] = deque(maxlen=config.workers)

    def _borrow(self, size: Size) -> Canvas:
        """A canvas of the size, an old one if there is."""
        try:
            canvas = self._canvases.pop()
        except IndexError:
            return Canvas.of(size)
        return canvas if canvas.picture.shape[:2] == size else Canvas.of(size)

    def encode(self, person: Person) -> Code:
        """Cuts and rigs every view of the person."""
        views = [
            view for view in person.views
            if (view.pose.score[:23] > 0).any() and (view.alpha > 0.5).any()
        ]  # fmt: skip
        rests = [measure(read(view.pose, standing())) for view in views]
        breadth = float(np.median([rest.rods[2] / rest.torso for rest in rests])) if rests else None
        rigs = [_rig(view, breadth) for view in views]
        return Code(person.size, rigs, [_lenders(rigs, i) for i in range(len(rigs))])

    def render(
        self, code: Code, poses: Sequence[Pose], state: Memory | None
    ) -> tuple[Drawn, Memory | None]:
        """Draws the poses; see `types.Generator`. A pose of zero scores gives a clear picture."""
        shots: list[_Shot | None] = []
        for pose in poses:
            shot = self._plan(code, pose, state)
            state = shot.memory if shot is not None else None
            shots.append(shot)
        rgb = np.full((len(poses), *code.size, 3), 128, np.uint8)
        alpha = np.zeros((len(poses), *code.size), np.float32)
        workers = min(self.config.workers, len(poses))

        def draw(worker: int) -> None:
            canvas = self._borrow(code.size)
            for i in range(worker, len(poses), workers):
                shot = shots[i]
                if shot is not None:
                    release(canvas.picture, _draw(shot, canvas), rgb[i], alpha[i])
            self._canvases.append(canvas)

        if workers > 1:
            with ThreadPoolExecutor(workers, "puppet") as pool:
                list(pool.map(draw, range(workers)))
        elif poses:
            draw(0)
        # Channels last in memory: what is drawn pixel by pixel stays together.
        pictures = torch.from_numpy(rgb).permute(0, 3, 1, 2)
        return Drawn(pictures, torch.from_numpy(alpha)[:, None]), state

    def _plan(self, code: Code, pose: Pose, before: Memory | None) -> _Shot | None:
        """How to draw one pose; None where there is nothing to draw."""
        if not code.rigs or not (pose.score[:23] > 0).any():
            return None
        first = code.rigs[0].rest
        figure = read(pose, first.figure.xyz if before is None else before.points)
        size = growth(first, figure)
        choice = choose(
            [rig.look for rig in code.rigs], look(figure, first, size),
            None if before is None else before.choice, self.config.blend,
        )  # fmt: skip
        depth = _depths(figure, first.torso * size)
        order = _order(depth, None if before is None else before.order, 0.05 * first.torso * size)
        opacity = np.array([_visible(figure, part) for part in range(len(PARTS))], np.float64)
        if before is not None:
            step = 1 / self.config.fade
            opacity = before.opacity + np.clip(opacity - before.opacity, -step, step)
        share = choice.share(self.config.blend)
        views: list[tuple[float, dict[int, _Take]]] = []
        takes: dict[int, _Take] = {}

        def take(number: int) -> _Take:
            if number not in takes:
                rig = code.rigs[number]
                stance = _stand(rig, figure, None if before is None else before.stances.get(number))
                rest = rig.mirrored if stance.back else rig.rest
                takes[number] = _Take(rig, stance, move(rest, figure, stance.scale, stance.flips))
            return takes[number]

        for number, part_share in ((choice.view, share), (choice.leaving, 1 - share)):
            if number is not None and part_share > 0:
                parts = {part: take(number) for part in code.rigs[number].meshes}
                parts |= {part: take(lender) for part, lender in code.lenders[number].items()}
                views.append((part_share, parts))
        stances = {number: taken.stance for number, taken in takes.items()}
        return _Shot(views, Memory(figure.xyz, order, opacity, choice, stances))


def _lenders(rigs: Sequence[Rig], number: int) -> dict[int, int]:
    """For every part a rig lacks, the rig of the likest look that has it."""
    own = rigs[number]
    near = sorted(range(len(rigs)), key=lambda i: distance(rigs[i].look, own.look))
    lacking = set(range(len(PARTS))) - set(own.meshes)
    found = ((part, next((i for i in near if part in rigs[i].meshes), None)) for part in lacking)
    return {part: i for part, i in found if i is not None}


def _stand(rig: Rig, figure: Figure, before: Stance | None) -> Stance:
    """The rig's stance for a figure, near to the one before."""
    scale = growth(rig.rest, figure)
    if before is not None:
        scale = float(np.sqrt(scale * before.scale))
    turn = facing(rig.rest, figure, scale).real
    back = turn < 0 if before is None else turn < (0.2 if before.back else -0.2)
    rest = rig.mirrored if back else rig.rest
    left, right = (
        _flip(rest, figure, side, before is not None and before.flips[side]) for side in (0, 1)
    )
    return Stance(scale, bool(back), (left, right))


def _rig(view: View, breadth: float | None) -> Rig:
    """The view as a puppet; breadth: see `measure`."""
    figure = read(view.pose, standing())
    rest = measure(figure, breadth=breadth)
    parts = cut(view.frame.rgb, view.alpha, rest)
    meshes = {mesh.part: mesh for mesh in build_meshes(view.frame.rgb, view.alpha, rest, parts)}
    return Rig(rest, measure(figure, True, breadth), look(figure, rest, 1.0), meshes)


def _flip(rest: Rest, figure: Figure, side: int, before: bool) -> bool:
    """Whether a foot is mirrored: turning it as it is would go too far."""
    turn, mirrored = foot_turns(rest, figure, side)
    limit = np.radians(60 if before else 85)
    return bool(abs(turn) > limit and abs(mirrored) < abs(turn) - np.radians(30))


def _depths(figure: Figure, torso: float) -> Array:
    """How far away each part is, in pixels; arms a little nearer than they are, in doubt they are in front."""
    z = figure.xyz[:, 2]
    depth = np.zeros(len(PARTS))
    depth[TRUNK] = z[[LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP]].mean()
    depth[HEAD] = z[[NOSE, LEFT_EAR, RIGHT_EAR]].mean()
    for side in (0, 1):
        for k, bone in enumerate((UPPER, FORE, THIGH, SHIN)):
            a, b = ENDS[6 * side + bone]
            near = 0.1 * torso if bone == FORE else 0.05 * torso if bone == UPPER else 0.0
            depth[2 + 4 * side + k] = (z[a] + z[b]) / 2 - near
    return depth


def _order(depth: Array, before: tuple[int, ...] | None, margin: float) -> tuple[int, ...]:
    """Parts from near to far; two change places only when their depths differ by more than the margin."""
    if before is None:
        return tuple(int(i) for i in np.argsort(depth, kind="stable"))
    order = list(before)
    for _ in order:
        for i in range(len(order) - 1):
            if depth[order[i]] > depth[order[i + 1]] + margin:
                order[i], order[i + 1] = order[i + 1], order[i]
    return tuple(order)


def _visible(figure: Figure, part: int) -> bool:
    if part in (TRUNK, HEAD):
        return True
    side, k = divmod(part - 2, 4)
    a, b = ENDS[6 * side + (UPPER, FORE, THIGH, SHIN)[k]]
    return bool(figure.seen[a] and figure.seen[b])


def _draw(shot: _Shot, canvas: Canvas) -> _Box:
    """Draws one shot on the clear canvas; where it may have drawn."""
    boxes = []
    for share, parts in shot.views:
        if share == 1:
            boxes.append(_draw_parts(canvas, parts, shot.memory))
        else:
            single = replace(canvas, picture=np.zeros_like(canvas.picture))
            box = _draw_parts(single, parts, shot.memory)
            part = slice(*box[:2]), slice(*box[2:])
            canvas.picture[part] += np.float32(share) * single.picture[part]
            boxes.append(box)
    return _around(boxes)


def _draw_parts(canvas: Canvas, parts: dict[int, _Take], memory: Memory) -> _Box:
    boxes = []
    for part in memory.order:
        if part not in parts or memory.opacity[part] <= 0:
            continue
        rig, stance = parts[part].rig, parts[part].stance
        mesh = rig.meshes[part]
        flipped = part in _FEET and stance.flips[_FEET.index(part)]
        if flipped:
            # Between a shin and a mirrored foot all is folded flat: the fold is kept short.
            sharp = mesh.weights**12
            mesh = replace(mesh, weights=sharp / sharp.sum(1, keepdims=True))
        xy, depth = _place(mesh, rig.mirrored if stance.back else rig.rest, parts[part].motion)
        level = int(np.clip(np.floor(np.log2(1.2 / max(stance.scale, 1e-3))), 0, 3))
        uv = (mesh.uv + 0.5) / 2**level - 0.5
        # Triangles that face away are hidden; in the mirror image they turn the other way, but not
        # those of a closed mesh, which is turned round. A mirrored foot has both kinds.
        facing_sign = 0 if flipped else -1 if stance.back and not mesh.closed else 1
        box = paint(
            canvas.picture, canvas.nearest, canvas.places, canvas.sheet, mesh.textures[level],
            xy, depth, uv.astype(np.float32), mesh.triangles,
            facing_sign, float(memory.opacity[part]), mesh.closed,
        )  # fmt: skip
        boxes.append(box)
    return _around(boxes)


def _around(boxes: Sequence[_Box]) -> _Box:
    """The box around several, empty ones left out."""
    some = [box for box in boxes if box[1] > box[0]]
    if not some:
        return 0, 0, 0, 0
    tops, bottoms, lefts, rights = zip(*some, strict=True)
    return min(tops), max(bottoms), min(lefts), max(rights)


def _place(mesh: Mesh, rest: Rest, motion: Motion) -> tuple[Array, Array]:
    """Where the vertices of a mesh go, (n, 2), and how far away they are, (n,), both float32."""
    matrices = rotation(motion.angle) @ motion.stretch
    shifts = motion.start - (matrices @ rest.start[..., None])[..., 0]
    base = (motion.away[:, :2] * rest.start).sum(1)
    bones = np.column_stack(
        [
            matrices.reshape(-1, 4), shifts, motion.angle, motion.stretch.reshape(-1, 4),
            motion.relief, motion.away, base,
        ]
    )  # fmt: skip
    return bend(mesh.points, mesh.pivot, mesh.relief, mesh.weights @ bones, rest.mirrored)
