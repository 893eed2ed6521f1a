"""The 3-D bodies of a run: fitted to the source once, to the driver, and to poses that come without any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dance import plate
from dance.finish import body_shadow
from dance.finish.body_shadow import Lamp
from dance.surface import body, fit, light, stances
from dance.surface.fit import FitOptions
from dance.surface.raster import rasterise
from dance.types import Array, Generator, InputError, Light, Person, Physique, Track, View

Report = Callable[[str], None]
"""Told in a line of every step of a fit."""

SURFACE = "surface"
"""What a generator needs that draws from the body's surface."""

# Below this a body is a guess rather than an observation.
_UNSURE = 0.35
_MANY = 0.1  # share of a clip's frames that is worth a word
# So much of a fitted body lies beside the outline where the pose is wrong, as of people seen from behind; of 14 photos
# of people from the front 2 to 12 % did.
_BESIDE = 0.17


def wanted(mode: str, generator: Generator) -> bool:
    """Whether a run with that way of retargeting and that generator needs the source's body."""
    return mode == "body" or SURFACE in generator.needs


def check_live(mode: str, name: str, generator: Generator) -> None:
    """Raises InputError where a live run would need bodies: they are fitted to whole clips."""
    if mode == "body":
        raise InputError(
            "retarget.mode = body: needs the whole clip; live runs can use limbs or none"
        )
    if SURFACE in generator.needs:
        raise InputError(
            f"generator {name!r} needs 3-D bodies, which are fitted to whole clips; live runs can use puppet"
        )


def of_person(person: Person, options: FitOptions, *, on_progress: Report | None = None) -> Person:
    """The person with a body fitted to all their poses and mattes; as they are where they have one.

    Also with the light of their place, where the body's shadow tells it; a photo's plate is then made anew without
    that shadow.
    """
    if person.physique is not None and stances.belong(person.track, person.physique):
        return person
    # A view's number is that in its file; where a track holds part of a file, only times agree.
    rows = {time: row for row, time in enumerate(person.track.times)}
    mattes = {rows[view.frame.time]: view.alpha for view in person.views if view.frame.time in rows}
    physique, found = fit.fit(person.track, options, mattes=mattes, on_progress=on_progress)
    views = [
        replace(view, pose=replace(view.pose, stance=found[rows[view.frame.time]]))
        if view.frame.time in rows
        else view
        for view in person.views
    ]
    track = stances.attached(person.track, found)
    shone = light.learn(views[0], physique)
    clean = person.plate
    if shone is not None and len(track) == 1:
        clean = _without_shadow(views[0], physique, shone)
    return replace(person, views=views, plate=clean, track=track, physique=physique, light=shone)


def _without_shadow(view: View, physique: Physique, shone: Light) -> Array:
    """The plate of a photo, (H, W, 3) uint8, the body's shadow being known."""
    assert view.pose.stance is not None, "a light is learnt from a body"
    lamp = Lamp(physique, shone)
    left = body_shadow.left(view.pose.stance, lamp, physique.camera, view.frame.size)
    area = plate.person_area(view.alpha, view.pose)
    return plate.from_photo(view.frame.rgb, area, view.pose, left)


def of_driver(
    track: Track, options: FitOptions, *, on_progress: Report | None = None
) -> tuple[Track, Physique]:
    """The driver's track with stances, and the shape they are of; somebody must be found in it."""
    physique, found = fit.fit(track, options, on_progress=on_progress)
    return stances.attached(track, found), physique


def of_poses(
    track: Track, physique: Physique, options: FitOptions, *, on_progress: Report | None = None
) -> Track:
    """The track with stances of that body: those it has, unless its joints are elsewhere."""
    if stances.belong(track, physique):
        return track
    _, found = fit.fit(track, options, physique=physique, on_progress=on_progress)
    return stances.attached(track, found)


def notes_on(person: Person) -> list[str]:
    """What a person should know of the source's fitted body: also where it is not where their outline is."""
    assert person.physique is not None, "the source's body is fitted before"
    found = notes("source", person.track, person.physique)
    least = min((beside(view, person.physique) for view in person.views), default=0.0)
    if least > _BESIDE:
        found.append(
            f"{least:.0%} of the source's 3-D body lies beside their outline, so the pose found in the picture is "
            "wrong; take one that shows them from the front, or a video in which they turn"
        )
    return found


def beside(view: View, physique: Physique) -> float:
    """The share of the body's pixels, in [0, 1], where the view's matte is empty; 0 where there is no body."""
    if view.pose.stance is None:
        return 0.0
    mesh = body.load()
    points = body.vertices_of(mesh, physique, view.pose.stance)
    drawn = rasterise(points, mesh.faces.numpy(), physique.camera, view.frame.size).face >= 0
    return float((drawn & (view.alpha < 0.5)).sum() / max(int(drawn.sum()), 1))


def notes(whose: str, track: Track, physique: Physique) -> list[str]:
    """What a person should know of a fitted body, where it is a guess."""
    if physique.sure < _UNSURE:
        return [f"the pictures tell little of the {whose}'s body: its shape is a guess"]
    given = [pose.stance for pose in track.poses if pose.stance is not None]
    guessed = sum(float(stance.sure.mean()) < _UNSURE for stance in given)
    if guessed > _MANY * len(given):
        return [f"the {whose}'s 3-D body is a guess in {guessed} of {len(given)} frames"]
    return []
