"""The fitted 3-D bodies against a benchmark's exact truth: joints, silhouettes, parts of the body, retargeting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from dance import bodies, picture, pipeline, sheets, video
from dance import skeleton as sk
from dance.devices import choose_device
from dance.evaluation import motion, poses
from dance.evaluation.report import Row, measured
from dance.pipeline import VideoConfig
from dance.pose.retarget import retarget
from dance.pose.retarget_body import Bodies
from dance.surface import body as surface_body
from dance.surface import stances
from dance.surface.charts import charts
from dance.surface.raster import parts, rasterise
from dance.types import Array, Person, Physique, Pose, Size, Stance, Track

SOURCES = ("png", "mp4")
JOINTS = slice(0, 17)
"""The joints retargeting is compared in: COCO's seventeen, hidden ones too."""
# The bars of a fit: mean joint error, silhouette, parts.
MOST_ERROR, LEAST_IOU, LEAST_PARTS = 0.06, 0.88, 0.80

# The bone that begins at each limb joint.
_BEGINS = {
    sk.INDEX[f"{side}_{joint}"]: surface_body.BONES.index(f"{side}_{bone}")
    for joint, bone in (
        ("shoulder", "upper_arm"), ("elbow", "forearm"), ("wrist", "hand"),
        ("hip", "thigh"), ("knee", "shin"), ("ankle", "foot"),
    )
    for side in ("left", "right")
}  # fmt: skip

_FIGURES = ("keypoints", "fitted", "iou", "parts", "limbs", "body")

# A picture differs from that of the empty room by so many levels where the person is, and by at least this
# share of the largest difference near by, which puts edges where they are half covered.
_DIFFERS, _HALF = 14, 0.5
# A shadow makes all channels darker by one factor within these bounds that hardly varies from pixel to pixel, on
# the floor: below this share of the person's height.
_SHADOW, _EVEN, _FLOOR = (0.35, 0.985), 0.05, 0.6
_SPECK, _HOLE = 40, 150  # pixels: less is no part of a person, and no gap in one


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a run knows of a triplet: poses and bodies of both people.

    driver: smoothed poses with stances.  source: of one of SOURCES.
    """

    driver: Track
    physique: Physique
    source: Person


@dataclass(frozen=True, slots=True)
class Result:
    """A row of figures, and pictures (H, W, 3) uint8 to look at: bodies' parts over source, driver and answer.

    keypoints, fitted: mean error of the driver's twelve limb joints, hidden ones too, in torso lengths
    (`poses.against_truth`), as smoothed and as the body fitted to them has them: where its bones begin, for the
    truth is a skeleton's.  coco: the same of the body's joints in COCO's convention, which lie elsewhere.
    iou: of the source's body, where the source stands, with their mask (`person_mask`).  mask: how well that way to a
    mask does on pictures of the same person whose exact one is known.
    parts: the share of pixels where both the retargeted body and the true person are that have the true part;
    parts of all: the share of the true person's pixels, what the body misses counting as wrong.
    limbs, body: mean error of seventeen retargeted joints in torso lengths of the answer.
    """

    row: Row
    pictures: Mapping[str, Array]


def compare(folders: Sequence[Path], config: VideoConfig) -> Iterator[Result]:
    """Every triplet with every kind of source."""
    for folder in folders:
        truth = poses.read_truth(folder / "driver_keypoints.npz")
        driver = poses.estimate(folder / "driver.mp4", config).smoothed
        before = poses.against_truth(driver.xy, driver.score, truth)["mean error"]
        fitted, physique = bodies.of_driver(driver, config.body)
        seen = joints_seen(fitted, physique)
        coco, after = (
            poses.against_truth(t.xy, t.score, truth)["mean error"]
            for t in (seen, with_bones(seen, physique))
        )
        for source in SOURCES:
            person = study(folder / f"source.{source}", driver.size, config)
            known = Fitted(fitted, physique, person)
            danced = {mode: _retargeted(known, config, mode) for mode in ("limbs", "body")}
            row: Row = {
                "triplet": folder.name,
                "source": source,
                "keypoints": before,
                "fitted": after,
                "coco": coco,
                "iou": silhouette_iou(folder, source, person),
                "mask": mask_quality(folder),
                **_measured(folder, danced, person),
            }
            yield Result(row, _pictures(folder, source, known, danced["body"]))


def study(source: Path, driver_size: Size, config: VideoConfig) -> Person:
    """The source with their fitted body, as a run would know them."""
    return pipeline.read_person(
        config, source, driver_size, choose_device(config.device),
        embodied=True, on_progress=lambda progress: None,
    )  # fmt: skip


def joints_seen(track: Track, physique: Physique) -> Track:
    """The track with all joints where the bodies have them; frames without a body as they are."""
    given = [pose.stance for pose in track.poses]
    made = stances.seen(track.poses, given, physique, guessed=0.1)
    kept = [old if s is None else new for old, new, s in zip(track.poses, made, given, strict=True)]
    return Track(kept, track.times, track.size, track.cuts)


def with_bones(track: Track, physique: Physique) -> Track:
    """The track with shoulders, elbows, wrists, hips, knees and ankles where the bones of its bodies begin."""
    body, shape = surface_body.load(), torch.from_numpy(np.asarray(physique.shape, np.float32))
    made = []
    for pose in track.poses:
        if pose.stance is not None:
            turns, root = (torch.from_numpy(a)[None] for a in (pose.stance.turns, pose.stance.root))
            with torch.inference_mode():
                begins = surface_body.bones(body, shape, turns, root)[0, :, :3, 3].numpy()
            xy = pose.xy.copy()
            xy[list(_BEGINS)] = stances.project(begins[list(_BEGINS.values())], physique.camera)
            pose = replace(pose, xy=xy)
        made.append(pose)
    return replace(track, poses=made)


def _retargeted(known: Fitted, config: VideoConfig, mode: str) -> Track:
    source, own = known.source.track, known.source.physique
    assert own is not None
    options = config.retarget.model_copy(update={"mode": mode})
    moments = retarget(
        iter(known.driver), source, options,
        driver_size=known.driver.size, bodies=Bodies(known.physique, own),
    )  # fmt: skip
    return Track.gather(moments, source.size)


def _measured(folder: Path, danced: Mapping[str, Track], person: Person) -> Row:
    truth = poses.read_truth(folder / "answer_keypoints.npz")[:, JOINTS]
    torso = motion.torso_lengths(truth)
    errors = {
        mode: motion.mean_error(track.xy[:, JOINTS].astype(np.float64), truth, torso)
        for mode, track in danced.items()
    }
    assert person.physique is not None
    inside, whole = part_accuracy(folder / "answer_iuv.npz", danced["body"], person.physique)
    return {"parts": inside, "parts of all": whole, **errors}


def _pictures(folder: Path, source: str, known: Fitted, danced: Track) -> Mapping[str, Array]:
    own = known.source.physique
    assert own is not None
    answer = folder / "answer.mp4"
    middle = len(danced) // 2
    out = {
        "source": _painted(_first(folder / f"source.{source}"), own, known.source.track.poses[0])
    }
    for number in (0, middle, len(danced) - 1):
        for name, path, physique, track in (
            ("driver", folder / "driver.mp4", known.physique, known.driver),
            ("answer", answer, own, danced),
        ):
            (frame,) = video.pick(path, [number])
            out[f"{name} {number}"] = _painted(frame.rgb, physique, track.poses[number])
    return out


def _painted(rgb: Array, physique: Physique, pose: Pose) -> Array:
    """The picture with the body's parts over it, each in a colour of its own."""
    if pose.stance is None:
        return rgb
    part = part_map(physique, pose.stance, (rgb.shape[0], rgb.shape[1]))
    colours = cv2.applyColorMap((part * 10).astype(np.uint8), cv2.COLORMAP_HSV)
    return np.where(part[..., None] > 0, cv2.addWeighted(rgb, 0.5, colours, 0.5, 0), rgb)


def sheet(results: Sequence[Result], path: Path, *, width: int = 240) -> None:
    """A row of pictures for every result."""
    pictures = [picture for result in results for picture in result.pictures.values()]
    labels = [f"{r.row['triplet']} {r.row['source']} {n}" for r in results for n in r.pictures]
    columns = len(results[0].pictures)
    Image.fromarray(sheets.contact_sheet(pictures, columns, width=width, labels=labels)).save(path)


def verdicts(table: Sequence[Row]) -> list[Row]:
    """The bars of the fit and whether they are met."""
    column = {key: [_number(row[key]) for row in table] for key in _FIGURES}
    gain = max(
        after - before for before, after in zip(column["keypoints"], column["fitted"], strict=True)
    )
    fitted, parts = float(np.mean(column["fitted"])), float(np.mean(column["parts"]))
    iou = min(column["iou"])
    lowered = float(np.mean(column["body"]) - np.mean(column["limbs"]))
    return [
        measured("joints of the fitted driver, mean", fitted, "torso", f"<= {MOST_ERROR}", fitted <= MOST_ERROR),
        measured("these less the keypoints', the worst", gain, "torso", "< 0", gain < 0),
        measured("silhouette of the fitted source, the worst", iou, "IoU", f">= {LEAST_IOU}", iou >= LEAST_IOU),
        measured("parts inside the retargeted body, mean", parts, "share", f">= {LEAST_PARTS}", parts >= LEAST_PARTS),
        measured("parts inside the retargeted body, the worst", min(column["parts"]), "share"),
        measured("mode body less mode limbs, mean", lowered, "torso", "< 0", lowered < 0),
    ]  # fmt: skip


def silhouette_iou(folder: Path, source: str, person: Person) -> float:
    """Intersection over union of the body in the first source picture with the person in it; shadows do not count."""
    rgb = _first(folder / f"source.{source}")
    mask, doubtful = person_mask(rgb, picture.read(folder / "plate.png").rgb)
    stance = person.track.poses[0].stance
    assert person.physique is not None
    body = (
        np.zeros_like(mask) if stance is None else part_map(person.physique, stance, mask.shape) > 0
    )
    return _iou(body, mask, ~doubtful)


def mask_quality(folder: Path) -> float:
    """How well `person_mask` does on the answer's first frame, whose exact mask is known: IoU outside shadows."""
    exact = read_masks(folder / "answer_mask.npz")[0]
    mask, doubtful = person_mask(
        _first(folder / "answer.mp4"), picture.read(folder / "plate.png").rgb
    )
    return _iou(mask, exact, ~doubtful)


def person_mask(rgb: Array, plate: Array) -> tuple[Array, Array]:
    """Where the person is and where a shadow may be, both (H, W) bool, from the picture of the empty room.

    rgb, plate: (H, W, 3) uint8.
    """
    shown, empty = (cv2.GaussianBlur(p.astype(np.float32), (0, 0), 0.8) for p in (rgb, plate))
    apart = np.abs(shown - empty).max(-1)
    near = cv2.dilate(apart, np.ones((5, 5)))
    differs = ((apart > _DIFFERS) & (apart > _HALF * near)).astype(np.uint8)
    differs = cv2.morphologyEx(differs, cv2.MORPH_CLOSE, np.ones((3, 3)))
    rows_of = np.flatnonzero((apart > 4 * _DIFFERS).sum(1) > 3)
    if not len(rows_of):
        return np.zeros(apart.shape, bool), np.zeros(apart.shape, bool)
    factor = (shown * empty).sum(-1) / np.maximum((empty * empty).sum(-1), 1)
    left = np.abs(shown - factor[..., None] * empty).max(-1)
    mean = cv2.blur(factor, (5, 5))
    varies = np.sqrt(np.maximum(cv2.blur(factor * factor, (5, 5)) - mean * mean, 0))
    even = cv2.erode(varies, np.ones((3, 3))) < _EVEN
    dark = (factor > _SHADOW[0]) & (factor < _SHADOW[1]) & even & (left < 5 + 0.02 * shown.max(-1))
    shadow = cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
    low = rows_of[0] + _FLOOR * (rows_of[-1] - rows_of[0])
    doubtful = (cv2.dilate(shadow, np.ones((7, 7))) > 0) & (np.arange(len(apart))[:, None] > low)
    differs[doubtful] = 0
    person = _without_small(differs, _SPECK)
    person = 1 - _without_small(1 - person, _HOLE)
    return person > 0, doubtful & (person == 0)


def _without_small(mask: Array, least: int) -> Array:
    """The mask (H, W) uint8 of 0 and 1 without pieces of fewer pixels."""
    _, labels, facts, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    large = facts[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    return np.asarray(large[labels], np.uint8)


def part_accuracy(answer: Path, track: Track, physique: Physique) -> tuple[float, float]:
    """Shares of pixels with the true part: of those that are body in both, and of all that are body in the answer.

    answer: an .npz with `iuv` (N, H, W, 3), the part 1..24 first, 0 where nobody is, and the frames' `index`.
    """
    with np.load(answer) as file:
        truth, numbers = file["iuv"][..., 0], file["index"]
    right = both = person = 0
    for true, number in zip(truth, numbers, strict=True):
        stance = track.poses[int(number)].stance
        ours = np.zeros_like(true) if stance is None else part_map(physique, stance, true.shape)
        right += int(((ours == true) & (true > 0)).sum())
        both += int(((ours > 0) & (true > 0)).sum())
        person += int((true > 0).sum())
    return right / max(both, 1), right / max(person, 1)


def part_map(physique: Physique, stance: Stance, size: Size) -> Array:
    """The part of the body at every pixel, (H, W) uint8, 0 where the body is not."""
    body = surface_body.load()
    vertices = surface_body.vertices_of(body, physique, stance)
    return parts(rasterise(vertices, body.faces.numpy(), physique.camera, size), charts(body))


def _first(path: Path) -> Array:
    """The photo, or the first picture of the video."""
    if picture.is_picture(path):
        return picture.read(path).rgb
    (frame,) = video.pick(path, [0])
    return frame.rgb


def read_masks(path: Path) -> Array:
    """The exact person masks of a benchmark's clip, (T, H, W) bool."""
    with np.load(path) as file:
        count, height, width = (int(n) for n in file["shape"])
        bits = np.unpackbits(file["bits"])[: count * height * width]
    return bits.reshape(count, height, width).astype(bool)


def _iou(a: Array, b: Array, where: Array) -> float:
    return float((a & b & where).sum() / max(((a | b) & where).sum(), 1))


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
