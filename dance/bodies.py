"""The 3-D bodies of a run: fitted to the source once, to the driver, and to poses that come without any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dance.surface import fit, stances
from dance.surface.fit import FitOptions
from dance.types import Generator, InputError, Person, Physique, Track

Report = Callable[[str], None]
"""Told in a line of every step of a fit."""

SURFACE = "surface"
"""What a generator needs that draws from the body's surface."""

# Below this a body is a guess rather than an observation.
_UNSURE = 0.35
_MANY = 0.1  # share of a clip's frames that is worth a word


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
    """The person with a body fitted to all their poses and mattes; as they are where they have one."""
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
    return replace(person, views=views, track=track, physique=physique)


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


def notes(whose: str, track: Track, physique: Physique) -> list[str]:
    """What a person should know of a fitted body, where it is a guess."""
    if physique.sure < _UNSURE:
        return [f"the pictures tell little of the {whose}'s body: its shape is a guess"]
    given = [pose.stance for pose in track.poses if pose.stance is not None]
    guessed = sum(float(stance.sure.mean()) < _UNSURE for stance in given)
    if guessed > _MANY * len(given):
        return [f"the {whose}'s 3-D body is a guess in {guessed} of {len(given)} frames"]
    return []
