"""Filling a hole in a picture with what is around it: coarse to fine, by patches of the same picture.

After Wexler, Shechtman, Irani (Space-time completion of video, 2007) with the search of Barnes et al.
(PatchMatch, 2009): every patch that touches the hole looks for its likest patch outside it, and every
pixel of the hole becomes what the patches over it agree on. Rooms and streets repeat along rows
rather than along columns, so matches at the same height are preferred.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dance._inpaint_loops import add_votes, costs, relax
from dance.types import Array

_HALF = 2
# A match this share of the picture's height away costs as much as this many grey values of difference.
_ROW_COST = 120.0
# How much a pixel not yet known counts in a comparison while the hole is first filled.
_GUESS = 0.8
# Neighbours that should differ by this many grey values more than they do are an edge of something.
_EDGE = 8.0
# Colours this many grey values apart are those of different things; how far rows tell of one another, as a
# share of the window's height.
_OTHER, _REACH = 20.0, 0.08


def inpaint(rgb: Array, hole: Array, *, sources: Array | None = None, finest: int = 240) -> Array:
    """The picture with the hole filled, (H, W, 3) uint8; pixels outside the hole stay as they are.

    hole: (H, W) bool.  sources: (H, W) bool, where patches may be taken from, default outside the hole.
    finest: matches are searched with the hole's longer side at most this many pixels; above that they
    are only carried over, which keeps the time nearly independent of the picture's size.
    """
    if not hole.any():
        return rgb
    allowed = ~hole if sources is None else sources & ~hole
    top, bottom, left, right = _surroundings(hole)
    part = rgb[top:bottom, left:right].astype(np.float32)
    inside, allowed = hole[top:bottom, left:right], allowed[top:bottom, left:right]
    filled = _coarse_to_fine(part, inside, allowed, finest)
    out = rgb.copy()
    window = out[top:bottom, left:right]
    window[inside] = np.clip(np.round(filled[inside]), 0, 255).astype(np.uint8)
    return out


def membrane(picture: Array, hole: Array) -> Array:
    """The picture with the hole filled smoothly from its rim, as a soap film: pull and push.

    picture: (H, W, C) or (H, W) float32.  hole: (H, W) bool.
    """
    weights = [(~hole).astype(np.float32)]
    values = [picture * _like(weights[0], picture)]
    while min(weights[-1].shape) > 2 and not (weights[-1] > 1e-3).all():
        weights.append(np.asarray(cv2.pyrDown(weights[-1]), np.float32))
        values.append(np.asarray(cv2.pyrDown(values[-1])))
    result = values[-1] / np.maximum(_like(weights[-1], values[-1]), 1e-6)
    for weight, value in zip(weights[-2::-1], values[-2::-1], strict=True):
        size = (weight.shape[1], weight.shape[0])
        coarse = cv2.resize(result, size, interpolation=cv2.INTER_LINEAR)
        # What is known at this level counts by how much of it is known.
        share = _like(np.clip(weight, 0, 1), value)
        known = value / np.maximum(_like(weight, value), 1e-6)
        result = share * known + (1 - share) * coarse
    return np.where(_like(hole, picture), result, picture).astype(np.float32)


def _like(mask: Array, picture: Array) -> Array:
    return mask[..., None] if picture.ndim == 3 else mask


def _surroundings(hole: Array) -> tuple[int, int, int, int]:
    """The window (top, bottom, left, right) patches are looked for in: the hole and as much beside it."""
    height, width = hole.shape
    ys, xs = np.nonzero(hole.any(1))[0], np.nonzero(hole.any(0))[0]
    tall, wide = ys[-1] - ys[0] + 1, xs[-1] - xs[0] + 1
    dx, dy = max(32, round(1.2 * wide)), max(32, round(0.3 * tall))
    top, bottom = max(0, ys[0] - dy), min(height, ys[-1] + 1 + dy)
    left, right = max(0, xs[0] - dx), min(width, xs[-1] + 1 + dx)
    return int(top), int(bottom), int(left), int(right)


@dataclass(frozen=True, slots=True)
class _Level:
    """One size of the picture, padded by half a patch on every side.

    picture: (h, w, 3) float32, the hole filled as well as is known.  hole, usable: (h, w) bool; usable
    are the centres of patches free of hole.  centres: flat indices of the patches to be matched.
    """

    picture: Array
    hole: Array
    usable: Array
    centres: Array


def _coarse_to_fine(picture: Array, hole: Array, allowed: Array, finest: int) -> Array:
    sizes = [hole.shape]
    extent = float(max(np.ptp(np.nonzero(hole)[0]), np.ptp(np.nonzero(hole)[1])) + 1)
    while extent > 100 and min(sizes[-1]) > 8 * _HALF:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        extent /= 2
    filled = membrane(picture, hole)
    match: Array | None = None
    before: _Level | None = None
    generator = np.random.default_rng(0)
    for size in sizes[::-1]:
        shape = (size[1], size[0])
        small_hole = cv2.resize(hole.astype(np.float32), shape, interpolation=cv2.INTER_AREA) > 0.01
        small_allowed = (
            cv2.resize(allowed.astype(np.float32), shape, interpolation=cv2.INTER_AREA) > 0.99
        )
        known = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)
        guess = (
            cv2.resize(filled, shape, interpolation=cv2.INTER_AREA)
            if before is None
            else cv2.resize(_unpad(before.picture), shape, interpolation=cv2.INTER_LINEAR)
        )
        level = _level(np.where(small_hole[..., None], guess, known), small_hole, small_allowed)
        if not level.usable.any():
            continue
        if match is None or before is None:
            level = _peeled(level, generator)
            match, rounds = _first_match(level, generator), 8
        else:
            match, rounds = _carried(match, before, level), 3
        searched = (
            max(np.ptp(np.nonzero(small_hole)[0]), np.ptp(np.nonzero(small_hole)[1])) < finest
        )
        if searched:
            for _ in range(rounds):
                match = _search(match, level, generator)
                level = _voted(level, match)
        else:
            match = _search(match, level, generator, tries=0)
            level = _voted(level, match)
        before = level
    if before is None or match is None or before.hole.shape[0] != hole.shape[0] + 2 * _HALF:
        return filled
    return _levelled(before, match)


def _levelled(level: _Level, match: Array) -> Array:
    """The filled picture without steps between pieces of different places, nor at the hole's rim.

    The patches agree on differences of neighbours as they do on colours; the picture nearest to those
    differences, with the rim as it is, has the pieces' texture and one brightness (Perez, Gangnet,
    Blake: Poisson image editing, 2003). A large disagreement is an edge of something and stays.
    """
    hole, pictures = level.hole, [level.picture]
    pictures += [_difference(level.picture, axis) for axis in (1, 0)]
    # One walk over the patches for the colours and both differences.
    agreed, covered = _votes(level, match, np.concatenate(pictures, -1))
    picture = np.where((hole & covered)[..., None], agreed[..., :3], level.picture)
    steps = []
    for axis, wanted in ((1, agreed[..., 3:6]), (0, agreed[..., 6:])):
        touching = (hole | np.roll(hole, -1, axis))[..., None]
        step = np.where(touching, wanted - _difference(picture, axis), 0)
        steps.append(step.astype(np.float32))
    smooth = _relaxed(steps[0], steps[1], hole)
    return _unpad(np.where(hole[..., None], picture + smooth, level.picture))


def _difference(picture: Array, axis: int) -> Array:
    """The next pixel along the axis less this one; 0 at the end."""
    out = np.zeros_like(picture)
    if axis == 1:
        out[:, :-1] = picture[:, 1:] - picture[:, :-1]
    else:
        out[:-1] = picture[1:] - picture[:-1]
    return out


def _relaxed(right: Array, down: Array, hole: Array) -> Array:
    """What to add in the hole so that neighbours differ more by `right` and `down`, as far as they can.

    right, down: (h, w, 3), for each pixel and the next one.  Outside the hole nothing is added. Coarse
    to fine relaxation, a few rounds at each size.
    """
    height, width = hole.shape
    if min(height, width) < 8 or not hole.any():
        return np.zeros((height, width, 3), np.float32)
    halves = (slice(0, height // 2 * 2), slice(0, width // 2 * 2))
    sums = []
    for step in (right[halves], down[halves]):
        blocks = step.reshape(height // 2, 2, width // 2, 2, 3)
        # Two steps follow one another in a coarse one, two lie beside one another.
        sums.append(blocks.sum((1, 3)) / 2)
    inner = hole[halves].reshape(height // 2, 2, width // 2, 2).mean((1, 3)) > 0.5
    coarse = _relaxed(sums[0], sums[1], inner)
    value = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
    ys, xs = np.nonzero(hole)
    top, bottom = max(0, ys.min() - 1), min(height, ys.max() + 2)
    left, right_end = max(0, xs.min() - 1), min(width, xs.max() + 2)
    part = (slice(top, bottom), slice(left, right_end))
    inside = hole[part][..., None].astype(np.float32)
    steps = [np.ascontiguousarray(step[part]) for step in (right, down)]
    pulls = [
        np.asarray(1 / (1 + (np.abs(step).max(-1) / _EDGE) ** 2), np.float32) for step in steps
    ]
    current = relax(
        np.asarray(value[part] * inside, np.float32),
        steps[0], steps[1], pulls[0], pulls[1], inside[..., 0] > 0, 12,
    )  # fmt: skip
    out = np.zeros((height, width, 3), np.float32)
    out[part] = current
    return out


def _unpad(picture: Array) -> Array:
    return picture[_HALF:-_HALF, _HALF:-_HALF]


def _level(picture: Array, hole: Array, allowed: Array) -> _Level:
    n = _HALF
    padded = cv2.copyMakeBorder(picture, n, n, n, n, cv2.BORDER_REPLICATE)
    rim = np.pad(hole, n)
    side = np.ones((2 * n + 1, 2 * n + 1), np.uint8)
    usable = cv2.erode(np.pad(allowed, n).astype(np.uint8), side, borderValue=0) > 0
    touching = cv2.dilate(rim.astype(np.uint8), side) > 0
    # Patches centred in the padding would reach outside it.
    touching[:n], touching[-n:], touching[:, :n], touching[:, -n:] = False, False, False, False
    return _Level(padded.astype(np.float32), rim, usable, np.flatnonzero(touching))


def _offsets(width: int) -> Array:
    around = np.arange(-_HALF, _HALF + 1)
    return (around[:, None] * width + around[None, :]).ravel()


def _peeled(level: _Level, generator: np.random.Generator) -> _Level:
    """The level with the hole filled from its rim inwards, best known places first.

    What is known counts fully in the comparison; what is not counts a little, with the colours seen
    along its row and column, so that a patch with hardly anything known is not chosen by chance.
    """
    candidates = np.flatnonzero(level.usable)
    if len(candidates) > 4000:
        candidates = np.sort(generator.choice(candidates, 4000, replace=False))
    width = level.hole.shape[1]
    offsets = _offsets(width)
    flat = _directional(level.picture, level.hole).reshape(-1, 3)
    sources = flat[candidates[:, None] + offsets].reshape(len(candidates), -1)
    known = ~level.hole.ravel()
    frame = np.zeros(level.hole.shape, np.uint8)
    frame[_HALF:-_HALF, _HALF:-_HALF] = 1
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    while True:
        grown = cv2.dilate(known.reshape(level.hole.shape).astype(np.uint8), cross)
        rim = np.flatnonzero((grown.ravel() > 0) & (frame.ravel() > 0) & ~known)
        if not len(rim):
            break
        around = rim[:, None] + offsets
        share = known[around].mean(1)
        ripe = share >= np.median(share)
        rim, around = rim[ripe], around[ripe]
        weight = np.repeat(np.where(known[around], 1, _GUESS).astype(np.float32), 3, 1)
        wanted = flat[around].reshape(len(rim), -1)
        cost = weight @ (sources**2).T - 2 * (weight * wanted) @ sources.T
        cost = (cost + (weight * wanted**2).sum(1)[:, None]) / weight.sum(1)[:, None]
        cost += _row_cost(rim[:, None], candidates[None], level)
        flat[rim] = flat[candidates[cost.argmin(1)]]
        known[rim] = True
    return replace(level, picture=flat.reshape(level.picture.shape))


def _directional(picture: Array, hole: Array) -> Array:
    """The picture with the hole filled by what its rows and columns show at the hole's sides.

    The nearer side counts more, and rows more than columns: floors, walls and horizons go along rows.
    Where a row's two sides differ, one of them may be a thing on the wall that the hole cuts: what the
    rows above and below show, whose sides agree, tells which, and the thing is not drawn out.
    """
    free = (~hole).astype(np.float32)
    total = cv2.blur(picture * free[..., None], (3, 3))
    # The rim's colours are averaged over the known of a few pixels, against noise.
    calm = np.where(hole[..., None], 0, total / np.maximum(cv2.blur(free, (3, 3)), 1e-6)[..., None])
    sides = [
        _from_side(calm, hole, axis, flip, trust)
        for axis, trust in ((1, 1.0), (0, 0.15))
        for flip in (False, True)
    ]
    usual = _usual(sides[0], sides[1])
    colours = np.zeros_like(picture)
    weights = np.zeros((*hole.shape, 1), np.float32)
    for colour, weight in sides:
        if usual is not None:
            weight = weight * _alike(colour, usual)
        colours += colour * weight
        weights += weight
    found = hole[..., None] & (weights > 0)
    return np.where(found, colours / np.maximum(weights, 1e-9), picture)


def _from_side(
    calm: Array, hole: Array, axis: int, flip: bool, trust: float
) -> tuple[Array, Array]:
    """The colour at the hole's rim on one side of every pixel, (h, w, 3), and its weight, (h, w, 1)."""
    a = np.flip(calm, axis) if flip else calm
    closed = np.flip(hole, axis) if flip else hole
    place = np.arange(hole.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
    last = np.maximum.accumulate(np.where(closed, -1, place), axis)
    colour = np.take_along_axis(a, np.maximum(last, 0)[..., None], axis)
    weight = np.where(last >= 0, trust / (place - last + 1.0) ** 1.5, 0)[..., None]
    if flip:
        colour, weight = np.flip(colour, axis), np.flip(weight, axis)
    return colour.astype(np.float32), weight.astype(np.float32)


def _usual(left: tuple[Array, Array], right: tuple[Array, Array]) -> Array | None:
    """What a row would show if nothing but the wall were there, (h, w, 3): from the rows whose sides agree."""
    both = (left[1] > 0) & (right[1] > 0)
    agree = np.where(both, _alike(left[0], right[0]) ** 2, 0).astype(np.float32)
    if not agree.any():
        return None
    reach = _REACH * agree.shape[0]
    middle = (left[0] + right[0]) / 2
    spread = cv2.GaussianBlur(agree * middle, (1, 0), sigmaX=0.1, sigmaY=reach)
    total = cv2.GaussianBlur(agree[..., 0], (1, 0), sigmaX=0.1, sigmaY=reach)[..., None]
    return np.asarray(np.where(total > 1e-3, spread / np.maximum(total, 1e-9), middle), np.float32)


def _alike(a: Array, b: Array) -> Array:
    """How alike two pictures' colours are, (h, w, 1) in (0, 1]: 1 where equal, 1/2 at _OTHER grey values."""
    apart = np.abs(a - b).mean(-1, keepdims=True) / _OTHER
    return np.asarray(1 / (1 + apart**4), np.float32)


def _first_match(level: _Level, generator: np.random.Generator) -> Array:
    """The likest usable patch for every centre, among at most some thousand, by trying all."""
    candidates = np.flatnonzero(level.usable)
    if len(candidates) > 4000:
        candidates = np.sort(generator.choice(candidates, 4000, replace=False))
    width = level.hole.shape[1]
    offsets = _offsets(width)
    sources = _described(candidates, level, offsets)
    match = np.empty(len(level.centres), np.int64)
    for start in range(0, len(level.centres), 2000):
        wanted = _described(level.centres[start : start + 2000], level, offsets)
        # Squared distances, short of what is the same for every candidate.
        cost = (sources**2).sum(1)[None] - 2 * wanted @ sources.T
        match[start : start + 2000] = candidates[cost.argmin(1)]
    return match


def _described(centres: Array, level: _Level, offsets: Array) -> Array:
    """The colours of patches and, as one more, their row: squared distances are costs times the number of colours."""
    colours = level.picture.reshape(-1, 3)[centres[:, None] + offsets].reshape(len(centres), -1)
    height, width = level.hole.shape
    row = (centres // width) * (_ROW_COST / height * np.sqrt(colours.shape[1]))
    return np.column_stack([colours, row.astype(np.float32)])


def _row_cost(centres: Array, sources: Array, level: _Level) -> Array:
    height, width = level.hole.shape
    away = (centres // width - sources // width) / height
    return np.asarray((_ROW_COST * away) ** 2, np.float32)


def _carried(match: Array, before: _Level, level: _Level) -> Array:
    """The matches of the coarser level, as far as they lead to usable patches here."""
    width, old_width = level.hole.shape[1], before.hole.shape[1]
    grid = np.full(before.hole.size, -1, np.int64)
    grid[before.centres] = match
    # The nearest matched centre stands in for centres the coarser level did not have.
    unmatched = (grid < 0).reshape(before.hole.shape).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        unmatched, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    lookup = np.zeros(labels.max() + 1, np.int64)
    lookup[labels.ravel()[before.centres]] = before.centres
    ys, xs = level.centres // width - _HALF, level.centres % width - _HALF
    old_y = np.clip(ys // 2 + _HALF, 0, before.hole.shape[0] - 1)
    old_x = np.clip(xs // 2 + _HALF, 0, old_width - 1)
    nearest = lookup[labels[old_y, old_x]]
    found = grid[nearest]
    target_y = ys + 2 * (found // old_width - nearest // old_width) + _HALF
    target_x = xs + 2 * (found % old_width - nearest % old_width) + _HALF
    inside = (
        (target_y >= 0) & (target_y < level.hole.shape[0]) & (target_x >= 0) & (target_x < width)
    )
    flat = np.clip(target_y, 0, level.hole.shape[0] - 1) * width + np.clip(target_x, 0, width - 1)
    good = inside & level.usable.ravel()[flat]
    usable = np.flatnonzero(level.usable)
    # Where the carried place is not usable, the nearest usable place in reading order is.
    instead = usable[np.clip(np.searchsorted(usable, flat), 0, len(usable) - 1)]
    return np.asarray(np.where(good, flat, instead))


def _search(match: Array, level: _Level, generator: np.random.Generator, tries: int = 4) -> Array:
    """Better matches: each patch tries what its neighbours have, then places at random around its own."""
    height, width = level.hole.shape
    flat = level.picture.reshape(-1, 3)
    offsets = _offsets(width)
    usable = level.usable.ravel()

    def cost_of(rows: Array, places: Array) -> Array:
        cost = costs(flat, level.centres[rows], places, offsets)
        return np.asarray(cost + _row_cost(level.centres[rows], places, level))

    everyone = np.arange(len(match))
    best, match = cost_of(everyone, match), match.copy()
    position = np.full(level.hole.size, -1, np.int64)
    position[level.centres] = everyone

    def consider(places: Array, valid: Array) -> None:
        places = np.clip(places, 0, len(usable) - 1)
        rows = np.flatnonzero(valid & usable[places] & (places != match))
        if len(rows):
            cost = cost_of(rows, places[rows])
            better = cost < best[rows]
            best[rows[better]], match[rows[better]] = cost[better], places[rows[better]]

    for step in (1, -1, width, -width):
        neighbour = position[np.clip(level.centres + step, 0, level.hole.size - 1)]
        consider(match[neighbour] - step, neighbour >= 0)
    reach = max(height, width) / 2
    for _ in range(tries):
        dy, dx = generator.uniform(-reach, reach, (2, len(match)))
        y = np.round(match // width + dy * 0.3).astype(np.int64)
        x = np.round(match % width + dx).astype(np.int64)
        valid = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        consider(y * width + x, valid)
        reach = max(1.0, reach / 3)
    return match


def _voted(level: _Level, match: Array) -> _Level:
    """The level with every pixel of the hole as the patches over it agree."""
    agreed, covered = _votes(level, match, level.picture)
    inside = (level.hole & covered)[..., None]
    return replace(level, picture=np.where(inside, agreed, level.picture))


def _votes(level: _Level, match: Array, values: Array) -> tuple[Array, Array]:
    """What the matched patches say of every pixel's values (h, w, C), and where any of them says something."""
    width = level.hole.shape[1]
    flat = np.ascontiguousarray(values.reshape(-1, values.shape[-1]), np.float32)
    total = np.zeros_like(flat)
    weights = np.zeros((len(flat), 1), np.float32)
    # Patches near the rim hold known pixels and have better matches: they say more.
    depth = cv2.distanceTransform(level.hole.astype(np.uint8), cv2.DIST_L2, 3).ravel()[
        level.centres
    ]
    trust = np.power(np.float32(1.1), -depth).astype(np.float32) + np.float32(1e-4)
    around = np.arange(-_HALF, _HALF + 1)
    nearness = np.exp(-(around[:, None] ** 2 + around**2) / 6.0).astype(np.float32).ravel()
    add_votes(total, weights[:, 0], flat, level.centres, match, trust, _offsets(width), nearness)
    agreed = total / np.maximum(weights, 1e-9)
    return agreed.reshape(values.shape), (weights[:, 0] > 0).reshape(level.hole.shape)


def usual_in_rows(picture: Array, known: Array, spread: float) -> Array:
    """What is usual in each row, (H, 1, C) float32: the median where it is known, smoothed over `spread` rows.

    picture: (H, W, C).  known: (H, W) bool; rows with next to nothing known take what is between their neighbours.
    """
    rows = np.full((picture.shape[0], picture.shape[2]), np.nan, np.float32)
    for y in range(len(rows)):
        if known[y].sum() > 8:
            rows[y] = np.median(picture[y, known[y]], axis=0)
    seen = ~np.isnan(rows[:, 0])
    if not seen.any():
        return np.zeros((len(rows), 1, picture.shape[2]), np.float32)
    for channel in range(picture.shape[2]):
        rows[:, channel] = np.interp(
            np.arange(len(rows)), np.flatnonzero(seen), rows[seen, channel]
        )
    smooth = cv2.GaussianBlur(rows[:, None], (1, 0), sigmaX=0.1, sigmaY=spread)
    return np.asarray(smooth.reshape(len(rows), 1, -1), np.float32)
