"""Who is being followed: where they were, what they look like, and which of the people seen they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from dance.pose import identity
from dance.skeleton import BODY_SLICE
from dance.types import Array, Frame, InputError, Pose

# Seconds between looks for other people: while alone, with others about, and with others in touch.
_ALONE, _ABOUT, _IN_TOUCH = 3.0, 0.5, 0.15

# Seconds between looks at the clothes of somebody who is alone.
_CLOTHES = 0.2

# So many searches in vain follow each other at once; later ones are `retry` seconds apart.
_EAGER = 3

# So long a person asked for by number is waited for where the clip begins.
_FIRST_SECONDS = 1.0

# A pose that agrees less than this with where the person should be is doubted.
_JUMP = 0.2

# Likeness of clothes: less is somebody else, more is the same person as far as clothes can tell.
_UNLIKE, _ALIKE = 0.6, 0.8

# Somebody this much more like a stranger than like the person is not followed, wherever they are.
_KNOWN_STRANGER = 0.15

# How much clothes count against place, and the start that whoever is followed now has over others.
_CLOTHES_WEIGHT = 2.0
_LOYALTY = 0.3

_BETTER_HALF = 8

# Looks remembered of a person; a look less like all of them than this is a new one.
_LOOKS = 8
_NEW_LOOK = 0.9

# A person's speed counts so much for where to look for them; all of it would amplify trembling.
_SPEED_SHARE = 0.5


@dataclass(slots=True)
class Target:
    """The person followed. It learns frame after frame, in the order of the frames.

    person, min_score, retry, patience: see `follow.FollowOptions`.
    lost: whether the newest frame is without them.
    """

    person: int | None
    min_score: float
    retry: float
    patience: float
    lost: bool = True
    _pose: Pose | None = None  # where they were last in this scene
    _time: float = 0.0  # and when
    _speed: Array = field(default_factory=lambda: np.zeros(2))  # pixels a second
    _chosen: bool = False  # whether it is known who they are
    _searched: int = 0  # searches in vain one after the other
    _last_search: float = -np.inf
    _last_check: float = -np.inf
    _last_clothes: float = -np.inf
    _began: float | None = None
    _most: int = 0  # people seen at once before it was known who is followed
    _others: list[Pose] = field(default_factory=list)  # where others were last
    _looks: list[Array] = field(default_factory=list)  # what they look like
    _strangers: list[Array] = field(default_factory=list)  # what others look like
    _stand_in: bool = False  # whether somebody else is followed in their place
    _own_looks: list[Array] = field(default_factory=list)  # their looks, then

    def begin_scene(self) -> None:
        """Forgets where everybody is; what the person looks like stays."""
        if self._stand_in:
            # Somebody else was followed only because the person was not there.
            self._looks, self._strangers, self._stand_in = self._own_looks, [], False
        self._own_looks = self._looks
        self._pose, self.lost = None, True
        self._speed = np.zeros(2)
        self._others, self._searched = [], 0

    def plan(self, time: Fraction) -> tuple[Pose | None, bool]:
        """Where to look for the person in the frame of that time, and whether to look for everybody."""
        now = float(time)
        if self.lost or self._pose is None:
            due = self._searched < _EAGER or now - self._last_search >= self.retry
            return None, due
        touched = any(identity.overlap(self._pose, other) for other in self._others)
        pause = _IN_TOUCH if touched else _ABOUT if self._others else _ALONE
        check = now - self._last_check >= pause
        if check:
            self._last_check = now
        return self._expected(now), check

    def skip(self, time: Fraction) -> Pose:
        """The pose of a frame that was not looked at."""
        self._start(float(time))
        return Pose.unseen()

    def doubts(self, frame: Frame, look: Pose | None, near: Pose | None) -> bool:
        """Whether a pose found at `near` may be nobody or somebody else, so that all must be looked at."""
        if near is None:
            return False
        if look is None or not self._sure(look):
            return True
        spread = self._spread(float(frame.time))
        if identity.agreement(look, near, spread=spread) < _JUMP:
            return True
        if float(frame.time) - self._last_clothes < _CLOTHES:
            return False
        self._last_clothes = float(frame.time)
        clothes = identity.clothes(frame, look)
        likeness = identity.alike(clothes, self._looks)
        if likeness is not None and likeness < _UNLIKE:
            return True
        if not self._others:
            self._remember(clothes)
        return False

    def decide(
        self, frame: Frame, look: Pose | None, people: Sequence[Pose] | None, near: Pose | None
    ) -> Pose:
        """The person's pose in this frame, `Pose.unseen()` where they are not there.

        look: who was found where they should be.  people: everybody, where everybody was looked for.
        Raises InputError where a person was asked for by number and there are fewer people.
        """
        now = float(frame.time)
        self._start(now)
        look = look if look is not None and self._sure(look) else None
        if people is None:
            found = look
        else:
            self._last_search = self._last_check = now
            everybody = identity.distinct(
                [p for p in ([look] if look else []) + list(people) if self._sure(p)]
            )
            found = self._choose(frame, everybody, look, near)
            self._learn(frame, everybody, found)
        self._moved(found, now)
        return found or Pose.unseen()

    def end(self) -> None:
        """Raises InputError where a person was asked for by number, and only fewer people were there."""
        if self._chosen or not self._most:
            return
        seen, allowed = "one person is", "0"
        if self._most > 1:
            seen, allowed = f"{self._most} people are", f"0 to {self._most - 1}"
        raise InputError(
            f"person={self.person}: only {seen} seen where the clip begins; people are counted from 0 "
            f"from left to right, so it can be {allowed}"
        )

    def _start(self, now: float) -> None:
        if self._began is None:
            self._began = now

    def _sure(self, pose: Pose) -> bool:
        # Half a person is one: the better half of the joints counts.
        better = np.sort(pose.score[BODY_SLICE])[-_BETTER_HALF:]
        return float(better.mean()) >= self.min_score

    def _choose(
        self, frame: Frame, everybody: list[Pose], look: Pose | None, near: Pose | None
    ) -> Pose | None:
        now = float(frame.time)
        if not self._chosen:
            return self._first(frame, everybody)
        if not everybody:
            return None
        expected = near or (self._expected(now) if self._pose is not None else None)
        spread = self._spread(now)
        likeness = [self._likeness(identity.clothes(frame, pose)) for pose in everybody]

        def place(i: int) -> float:
            if expected is None:
                return 0.0
            return identity.agreement(everybody[i], expected, spread=spread)

        def fit(i: int) -> float:
            loyalty = _LOYALTY if everybody[i] is look else 0.0
            like, unlike = likeness[i]
            clothes = 0.0 if like is None else like - (unlike or 0.0)
            return place(i) + _CLOTHES_WEIGHT * clothes + loyalty

        best = max(range(len(everybody)), key=fit)
        like, unlike = likeness[best]
        stranger = like is not None and (like < _UNLIKE or (unlike or 0.0) > like + 0.05)
        known = like is not None and unlike is not None and unlike > like + _KNOWN_STRANGER
        if (everybody[best] is look and not known) or (place(best) >= _JUMP and not stranger):
            return everybody[best]
        if like is not None and like >= _ALIKE and not stranger:
            return everybody[best]
        if self._pose is None or now - self._time >= self.patience:
            # Nobody is like them; the show goes on with whoever is most prominent now.
            if not self._stand_in:
                self._stand_in, self._own_looks = True, self._looks
            self._looks, self._strangers = [], []
            return self._prominent(frame, everybody)
        if like is None or (like >= _UNLIKE and not stranger):
            return everybody[best]
        return None

    def _first(self, frame: Frame, everybody: list[Pose]) -> Pose | None:
        """Who is followed from now on; None where they are not there yet."""
        if self.person is None:
            found = self._prominent(frame, everybody) if everybody else None
        elif self.person < len(everybody):
            found = identity.left_to_right(everybody)[self.person]
        else:
            found = None
        self._most = max(self._most, len(everybody))
        self._chosen = found is not None
        if self._began is not None and float(frame.time) - self._began >= _FIRST_SECONDS:
            self.end()
        return found

    def _prominent(self, frame: Frame, everybody: list[Pose]) -> Pose:
        return max(everybody, key=lambda pose: identity.prominence(pose, frame.size))

    def _likeness(self, clothes: Array | None) -> tuple[float | None, float | None]:
        return identity.alike(clothes, self._looks), identity.alike(clothes, self._strangers)

    def _learn(self, frame: Frame, everybody: list[Pose], found: Pose | None) -> None:
        """Remembers what people look like who stand free, and where the others are."""
        self._others = [pose for pose in everybody if pose is not found]
        if found is None:
            return
        free = not any(identity.overlap(found, other, margin=0.0) for other in self._others)
        if free:
            self._last_clothes = float(frame.time)
            self._remember(identity.clothes(frame, found))
            for other in self._others:
                clothes = identity.clothes(frame, other)
                likeness = identity.alike(clothes, self._strangers)
                if clothes is not None and (likeness is None or likeness < _NEW_LOOK):
                    self._strangers = [*self._strangers, clothes][-_LOOKS:]

    def _remember(self, clothes: Array | None) -> None:
        like, unlike = self._likeness(clothes)
        if clothes is None or (like is not None and (like < _UNLIKE or like >= _NEW_LOOK)):
            return
        if unlike is not None and like is not None and unlike > like:
            return
        # The first look stays for ever: it is the only one that is sure.
        self._looks = [*self._looks[:1], *self._looks[1:][-(_LOOKS - 2) :], clothes]

    def _moved(self, found: Pose | None, now: float) -> None:
        self.lost = found is None
        if found is None:
            self._searched += 1
            return
        self._searched = 0
        before, place = self._pose, _place(found)
        if before is not None and 0 < now - self._time < 0.5:
            speed = (place - _place(before)) / (now - self._time)
            self._speed = (self._speed + speed) / 2
        else:
            self._speed = np.zeros(2)
        self._pose, self._time = found, now

    def _expected(self, now: float) -> Pose:
        """The last pose, moved on to where the person should be by now."""
        assert self._pose is not None, "a person without a place is searched for"
        seconds = min(0.3, max(0.0, now - self._time))
        shift = self._speed * seconds * _SPEED_SHARE
        limit = 0.2 * identity.extent(self._pose)
        shift = np.clip(shift, -limit, limit)
        region = self._pose.region
        if region is not None:
            region = replace(region, x=region.x + float(shift[0]), y=region.y + float(shift[1]))
        return replace(
            self._pose, xy=self._pose.xy + shift.astype(np.float32), region=region, mask=None
        )

    def _spread(self, now: float) -> float:
        """How far from expected a joint may be, as a share of the person's extent."""
        return 0.06 + 0.25 * min(2.0, max(0.0, now - self._time))


def _place(pose: Pose) -> Array:
    """Where a person is: the centre of the region, or of the body's box."""
    if pose.region is not None:
        return np.array([pose.region.x, pose.region.y])
    box = identity.body_box(pose)
    assert box is not None, "only poses with joints are followed"
    return np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])
