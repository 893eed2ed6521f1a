"""The meshes of a puppet: which bones move every vertex, how the body bulges, what the textures show."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dance.generators._puppet_figure import (
    BONES,
    CHEST,
    COLLARS,
    ENDS,
    FOOT,
    FORE,
    HAND,
    PELVIS,
    SHIN,
    THIGH,
    UPPER,
    Rest,
    head_aside,
    limb,
    neck,
)
from dance.generators._puppet_figure import HEAD as HEAD_BONE
from dance.generators._puppet_parts import HEAD, TRUNK, Parts, segment
from dance.generators._puppet_texture import texture
from dance.skeleton import LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER
from dance.types import Array

# What is drawn as one mesh, by its segments: trunk, head, then upper arm, forearm with hand, thigh,
# shin with foot of the left and of the right side.
PARTS: tuple[tuple[int, ...], ...] = (
    (TRUNK,),
    (HEAD,),
    *(
        segments
        for side in (0, 1)
        for segments in (
            (segment(side, UPPER),),
            (segment(side, FORE), segment(side, HAND)),
            (segment(side, THIGH),),
            (segment(side, SHIN), segment(side, FOOT)),
        )
    ),
)
_TRUNK_RELIEF, _HEAD_RELIEF = 0.7, 1.25  # depth of the body over its width
_CELLS = 36  # cells of the mesh along the trunk


@dataclass(frozen=True, slots=True)
class Mesh:
    """One part of the puppet.

    points: (n, 2) places in the source picture.  relief: (n,) pixels towards the camera.
    weights: (n, 17) of the bones, summing to 1.  pivot: (n, 2) what a vertex of several bones turns about.
    uv: (n, 2) in the texture.  triangles: (m, 3).  textures: (h, w, 4) float32 premultiplied, each half
    the size of the one before.  closed: whether it has a back, whose triangles turn the other way.
    """

    part: int
    points: Array
    relief: Array
    weights: Array
    pivot: Array
    uv: Array
    triangles: Array
    textures: tuple[Array, ...]
    closed: bool


def build_meshes(rgb: Array, alpha: Array, rest: Rest, parts: Parts) -> list[Mesh]:
    """The meshes of one view. All pictures are (h, w), the rest is in their pixels."""
    step = max(3, round(rest.torso / _CELLS))
    shares = _shares(rest, parts)
    grid_y = np.arange(0, alpha.shape[0] + step, step)
    grid_x = np.arange(0, alpha.shape[1] + step, step)
    at = np.ix_(np.minimum(grid_y, alpha.shape[0] - 1), np.minimum(grid_x, alpha.shape[1] - 1))
    nodes = np.stack(np.meshgrid(grid_x, grid_y), -1).astype(np.float64)
    label = parts.label[at]
    weights = _diffuse(_hard_weights(nodes, label, rest), at, nodes, rest, parts, step)
    trunk, head = _relief(nodes, np.where(alpha > 0.5, parts.label, -1), rest, step)
    meshes = []
    for part, segments in enumerate(PARTS):
        own = np.isin(parts.label, segments)
        if not _shown(part, own & (alpha > 0.5), parts, rest):
            continue
        mine = own | shares[part]
        picture, reach = texture(
            rgb, alpha, mine, part, parts, rest, behind=own if part in (0, 1) else None
        )
        cells = _cells(reach, grid_y, grid_x)
        if not cells.any():
            continue
        known, bones = mine[at], weights
        if part == 0:
            # Arms turn over the shoulders: those stay with the trunk, round and whole beneath the arm.
            known = known & ~np.isin(label, [segment(side, UPPER) for side in (0, 1)])
            bones = weights.copy()
            bones[..., [limb(side, UPPER) for side in (0, 1)]] = 0
        elif part in (2, 6):
            known = known & (label != TRUNK)
        mesh_weights = _extend(bones, known & (bones.sum(-1) > 0.5), _corners(cells))
        if part in (2, 6):
            mesh_weights = _hung(mesh_weights, nodes, part // 4, rest)
        meshes.append(_mesh(part, nodes, cells, mesh_weights, (trunk, head), picture, rest))
    return meshes


def _shown(part: int, own: Array, parts: Parts, rest: Rest) -> bool:
    """Whether the view shows enough of a part to draw it."""
    if part < 2:
        return int(own.sum()) > 12
    segment_, bone = PARTS[part][0], PARTS[part][0] - 2 + 3
    expected = rest.length[bone] * 2 * parts.radius[segment_]
    return bool(own.sum() > max(12.0, 0.4 * expected))


def _hung(weights: Array, nodes: Array, side: int, rest: Rest) -> Array:
    """An arm's weights (gy, gx, 17), with the collar taking over where the arm begins."""
    bone = limb(side, UPPER)
    axis = np.array([np.cos(rest.angle[bone]), np.sin(rest.angle[bone])])
    along = (nodes - rest.start[bone]) @ axis
    own = _smoothstep(-0.12 * rest.torso, 0.12 * rest.torso, along)[..., None]
    out: Array = weights.copy()
    out[..., [CHEST, PELVIS, HEAD_BONE]] = 0
    out = out / np.maximum(out.sum(-1, keepdims=True), 1e-6) * own
    out[..., COLLARS[side]] = 1 - own[..., 0]
    return out


def _shares(rest: Rest, parts: Parts) -> list[Array]:
    """For each part the pixels (h, w) of its neighbours that it draws as well, so that joints have no gaps."""
    height, width = parts.label.shape
    shares = [np.zeros((height, width), bool) for _ in PARTS]
    ys, xs = np.ogrid[:height, :width]
    for a, b, point, reach in _joints(rest, parts):
        disc = _within(ys, xs, point, reach)
        for one, other in ((a, b), (b, a)):
            part = next(i for i, segments in enumerate(PARTS) if one in segments)
            reached = disc & (parts.label == other)
            if part == 0 and other in (segment(0, UPPER), segment(1, UPPER)):
                reached &= _within(ys, xs, point, 1.05 * float(parts.radius[other]))
            if part in (2, 6) and other == TRUNK:
                # Of the trunk an arm takes along no more than its own width.
                bone = limb(part // 4, UPPER)
                aside = (ys - point[1]) * np.cos(rest.angle[bone]) - (xs - point[0]) * np.sin(
                    rest.angle[bone]
                )
                reached &= np.abs(aside) < 1.15 * parts.radius[one]
            shares[part] |= reached
    if parts.skirt.any():
        size = 2 * round(0.25 * rest.torso) + 1
        for side, part in ((0, 4), (1, 8)):
            own = ((parts.label == segment(side, THIGH)) & parts.skirt).astype(np.uint8)
            near = cv2.dilate(own, np.ones((1, size), np.uint8)) > 0
            shares[part] |= near & parts.skirt
    return shares


def _within(ys: Array, xs: Array, point: Array, reach: float) -> Array:
    return np.asarray((xs - point[0]) ** 2 + (ys - point[1]) ** 2 < reach**2)


def _joints(rest: Rest, parts: Parts) -> list[tuple[int, int, Array, float]]:
    """The pairs of segments whose skin is one: (segment, segment, where, how far around)."""
    radius = parts.radius
    joints = [(TRUNK, HEAD, neck(rest.figure.xyz), 0.24 * rest.torso)]
    for side in (0, 1):
        place = [rest.figure.xyz[ENDS[6 * side + bone][0], :2] for bone in range(6)]
        s = [segment(side, bone) for bone in range(6)]
        r = [float(radius[i]) for i in s]
        joints += [
            (TRUNK, s[UPPER], place[UPPER], max(1.3 * r[UPPER], 0.19 * rest.torso)),
            (s[UPPER], s[FORE], place[FORE], 1.3 * max(r[UPPER], r[FORE])),
            (s[FORE], s[HAND], place[HAND], 1.5 * r[FORE]),
            (TRUNK, s[THIGH], place[THIGH], 1.7 * r[THIGH]),
            (s[THIGH], s[SHIN], place[SHIN], 1.3 * max(r[THIGH], r[SHIN])),
            (s[SHIN], s[FOOT], place[FOOT], 1.6 * r[SHIN]),
        ]
    return joints


def _smoothstep(low: float, high: float, value: Array) -> Array:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t))


def _hard_weights(nodes: Array, label: Array, rest: Rest) -> Array:
    """One bone for every node (gy, gx, 17), but chest and pelvis share the trunk; outside nothing."""
    weights = np.zeros((*label.shape, BONES))
    spine = rest.start[PELVIS] - rest.start[CHEST]
    down = ((nodes - rest.start[CHEST]) @ spine) / float(spine @ spine)
    low = _smoothstep(0.1, 0.95, down)
    trunk = label == TRUNK
    weights[trunk, CHEST], weights[trunk, PELVIS] = 1 - low[trunk], low[trunk]
    weights[label == HEAD, HEAD_BONE] = 1
    for side in (0, 1):
        for bone in range(6):
            weights[label == segment(side, bone), limb(side, bone)] = 1
    return weights


def _diffuse(
    weights: Array, at: tuple[Array, ...], nodes: Array, rest: Rest, parts: Parts, step: int
) -> Array:
    """Smooths the weights inside the silhouette, across joints but not across mere contact.

    at: where the nodes are in the pictures.
    """
    label = parts.label[at]
    spread = np.where(label >= 0, parts.radius[np.maximum(label, 0)] * 0.5, 0.0) / step
    for side in (0, 1):
        spread[label == segment(side, UPPER)] = 0.1 * rest.torso / step
    spread[label == TRUNK] = 0.1 * rest.torso / step
    spread[label == HEAD] = 0.1 * rest.torso / step
    skirt = parts.skirt[at]
    spread[skirt] = 0.14 * rest.torso / step
    rounds = max(1, int(np.ceil(float(spread.max()) ** 2 / (2 * 0.2))))
    rate = 0.2 * (spread / max(float(spread.max()), 1e-6)) ** 2
    links = []
    for dy, dx in ((0, 1), (1, 0)):
        a = label[: label.shape[0] - dy, : label.shape[1] - dx]
        b = label[dy:, dx:]
        joined = (a == b) & (a >= 0)
        here = (nodes[: label.shape[0] - dy, : label.shape[1] - dx] + nodes[dy:, dx:]) / 2
        for one, other, point, reach in _joints(rest, parts):
            pair = ((a == one) & (b == other)) | ((a == other) & (b == one))
            joined |= pair & (((here - point) ** 2).sum(-1) < (1.3 * reach) ** 2)
        joined |= (
            (a >= 0)
            & (b >= 0)
            & skirt[: label.shape[0] - dy, : label.shape[1] - dx]
            & skirt[dy:, dx:]
        )
        flow = np.where(
            joined, np.minimum(rate[: rate.shape[0] - dy, : rate.shape[1] - dx], rate[dy:, dx:]), 0
        )
        links.append((dy, dx, flow[..., None]))
    for _ in range(rounds):
        change = np.zeros_like(weights)
        for dy, dx, flow in links:
            difference = flow * (
                weights[dy:, dx:] - weights[: label.shape[0] - dy, : label.shape[1] - dx]
            )
            change[: label.shape[0] - dy, : label.shape[1] - dx] += difference
            change[dy:, dx:] -= difference
        weights = weights + change
    return weights


def _relief(nodes: Array, label: Array, rest: Rest, step: int) -> tuple[Array, Array]:
    """How far trunk and head bulge towards the camera at every node, two (gy, gx) in pixels."""
    spine = rest.start[PELVIS] - rest.start[CHEST]
    down = spine / np.hypot(*spine)
    aside = head_aside(rest.figure.xyz)
    # The hips are as deep where the thighs begin.
    ys, xs = np.ogrid[: label.shape[0], : label.shape[1]]
    body = label == TRUNK
    for side in (0, 1):
        thigh = limb(side, THIGH)
        near = _within(ys, xs, rest.start[thigh], 0.25 * rest.torso)
        body |= near & (label == segment(side, THIGH))
    trunk = _bulge(nodes, body, rest.start[CHEST], down, _TRUNK_RELIEF, step)
    # Shoulders are wide but flat: towards the neck the trunk gets as thin as that.
    trunk = trunk * (
        0.35
        + 0.65 * _smoothstep(0.0, 0.4, (nodes - rest.start[CHEST]) @ spine / float(spine @ spine))
    )
    head = _bulge(
        nodes,
        label == HEAD,
        rest.start[HEAD_BONE],
        np.array([-aside[1], aside[0]]),
        _HEAD_RELIEF,
        step,
    )
    return trunk, head


def _bulge(nodes: Array, mask: Array, origin: Array, down: Array, share: float, step: int) -> Array:
    """An ellipse over every row (across `down`) of the mask; flat at its rim, so that front and back meet."""
    aside = np.array([down[1], -down[0]])
    ys, xs = np.nonzero(mask)
    if not len(ys):
        return np.zeros(nodes.shape[:2])
    offset = np.stack([xs, ys], -1) - origin
    rows = np.rint(offset @ down).astype(int)
    first = rows.min()
    count = rows.max() - first + 1
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, rows - first, offset @ aside)
    np.maximum.at(high, rows - first, offset @ aside)
    empty = ~np.isfinite(low)
    if empty.any():
        at = np.arange(count)
        low[empty] = np.interp(at[empty], at[~empty], low[~empty])
        high[empty] = np.interp(at[empty], at[~empty], high[~empty])
    width = max(3, int(0.06 * count)) | 1
    low, high = (
        cv2.blur(v[:, None], (1, width), borderType=cv2.BORDER_REPLICATE)[:, 0] for v in (low, high)
    )
    place = nodes - origin
    row = np.clip(np.rint(place @ down).astype(int) - first, 0, count - 1)
    centre, half = (low + high)[row] / 2, np.maximum((high - low)[row] / 2, 1)
    u = (place @ aside - centre) / np.maximum(half - 0.6 * step, 1)
    return np.asarray(share * half * np.sqrt(np.clip(1 - u * u, 0, 1)))


def _cells(reach: Array, grid_y: Array, grid_x: Array) -> Array:
    """Which cells of the grid hold any pixel of the mask."""
    height, width = len(grid_y) - 1, len(grid_x) - 1
    padded = np.zeros((grid_y[-1], grid_x[-1]), bool)
    padded[: reach.shape[0], : reach.shape[1]] = reach[: padded.shape[0], : padded.shape[1]]
    step = int(grid_y[1] - grid_y[0])
    return np.asarray(padded.reshape(height, step, width, step).any((1, 3)))


def _corners(cells: Array) -> Array:
    """The nodes (gy, gx) that are a corner of a cell."""
    used = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1), bool)
    for dy in (0, 1):
        for dx in (0, 1):
            used[dy : dy + cells.shape[0], dx : dx + cells.shape[1]] |= cells
    return used


def _mesh(
    part: int, nodes: Array, cells: Array, weights: Array, relief: tuple[Array, Array],
    picture: tuple[Array, Array], rest: Rest,
) -> Mesh:  # fmt: skip
    used = _corners(cells)
    number = np.cumsum(used).reshape(used.shape) - 1
    rows, columns = np.nonzero(cells)
    a, b = number[rows, columns], number[rows, columns + 1]
    c, d = number[rows + 1, columns], number[rows + 1, columns + 1]
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)]).astype(np.int32)
    points = nodes[used]
    weight = weights[used] / weights[used].sum(1, keepdims=True)
    trunk, head = (bulges[used] for bulges in relief)
    bulge = trunk * (weight[:, CHEST] + weight[:, PELVIS]) + head * weight[:, HEAD_BONE]
    colours, corner = picture
    uv = points - corner
    closed = part in (0, 1)
    if closed:
        count = len(points)
        uv_back = uv + np.array([colours.shape[1] // 2, 0])
        points, weight = np.concatenate([points, points]), np.concatenate([weight, weight])
        bulge, uv = np.concatenate([bulge, -bulge]), np.concatenate([uv, uv_back])
        triangles = np.concatenate([triangles, triangles[:, ::-1] + count])
    levels: list[Array] = [np.ascontiguousarray(colours, np.float32)]
    for _ in range(3):
        levels.append(cv2.pyrDown(levels[-1]))
    return Mesh(
        part, points, bulge, weight, _pivots(weight, rest), uv, triangles, tuple(levels), closed
    )


def _extend(field: Array, known: Array, wanted: Array) -> Array:
    """The field (gy, gx, c) carried on smoothly from the known nodes to the wanted ones."""
    values = np.where(known[..., None], field, 0.0).astype(np.float32)
    filled = known.astype(np.float32)
    if not known.any():
        return field
    kernel = np.ones((3, 3), np.float32)
    while (wanted & (filled == 0)).any():
        near = cv2.filter2D(filled, -1, kernel, borderType=cv2.BORDER_CONSTANT)
        total = np.stack(
            [
                cv2.filter2D(values[..., c], -1, kernel, borderType=cv2.BORDER_CONSTANT)
                for c in range(values.shape[-1])
            ],
            -1,
        )
        fresh = (filled == 0) & (near > 0)
        values[fresh] = total[fresh] / near[fresh][:, None]
        filled[fresh] = 1
    return values


def _pivots(weights: Array, rest: Rest) -> Array:
    """The joints between the bones of every vertex, (n, 2), weighted by how much it belongs to both."""
    xyz = rest.figure.xyz
    pairs = [
        (CHEST, PELVIS, (rest.start[CHEST] + rest.start[PELVIS]) / 2),
        (CHEST, HEAD_BONE, neck(xyz)),
    ]
    for side, shoulder, hip in ((0, LEFT_SHOULDER, LEFT_HIP), (1, RIGHT_SHOULDER, RIGHT_HIP)):
        bones = [limb(side, bone) for bone in range(6)]
        pairs.append((COLLARS[side], bones[UPPER], xyz[shoulder, :2]))
        pairs += [(PELVIS, bones[THIGH], xyz[hip, :2]), (CHEST, bones[THIGH], xyz[hip, :2])]
        for parent, child in ((UPPER, FORE), (FORE, HAND), (THIGH, SHIN), (SHIN, FOOT)):
            pairs.append((bones[parent], bones[child], rest.start[bones[child]]))
    total, place = np.full(len(weights), 1e-9), np.zeros((len(weights), 2))
    place += 1e-9 * rest.start[np.argmax(weights, 1)]
    for a, b, point in pairs:
        both = weights[:, a] * weights[:, b]
        total += both
        place += both[:, None] * point
    return np.asarray(place / total[:, None])
