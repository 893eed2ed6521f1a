"""What stands out from the body beyond its clothes."""

from dataclasses import replace

import numpy as np
import pytest
from coloured_body import GREY, PHYSIQUE, person, photographed, rest, stance

from dance.surface.body import BONES
from dance.surface.dressed import Dressed, bones_of, dress
from dance.surface.halo import Halo
from dance.surface.outline import project
from dance.types import Array, View

# Rows and columns of a plume that grows out of the top of the head, and of its root.
PLUME = np.s_[4:26, 67:77]


def plumed(rows: slice = PLUME[0], columns: slice = PLUME[1]) -> View:
    view = photographed(stance())
    rgb, alpha = view.frame.rgb.copy(), view.alpha.copy()
    free = alpha[rows, columns] < 0.5
    rgb[rows, columns][free] = 250, 250, 0
    alpha[rows, columns] = 1
    return View(replace(view.frame, rgb=rgb), view.pose, alpha)


@pytest.fixture(scope="module")
def dressed() -> Dressed:
    return dress(person(plumed()), side=64)


def where(halo: Halo, turns: Array, starts: Array) -> Array:
    return project(halo.posed(turns, starts), PHYSIQUE.camera)


def test_a_plume_becomes_a_halo_of_the_head_and_a_bare_body_has_none(dressed: Dressed) -> None:
    halo = dressed.halos[0]
    assert halo is not None
    assert (np.array(BONES)[halo.weights.argmax(1)] == "head").mean() > 0.9
    opaque = halo.rgba[..., 3] > 128
    assert opaque[6:14, 69:75].all() and not opaque[60:].any()
    assert dress(person(photographed(stance())), side=64).halos == [None]


def test_in_the_pose_it_was_seen_in_it_is_where_it_was(dressed: Dressed) -> None:
    halo = dressed.halos[0]
    assert halo is not None
    _, joints = rest()
    turns, starts = bones_of(stance(), joints)
    assert np.abs(where(halo, turns, starts) - halo.uv).max() < 0.7
    assert halo.whole(halo.posed(turns, starts)).min() == 1


def test_it_nods_with_the_head_and_stays_with_other_bones(dressed: Dressed) -> None:
    halo = dressed.halos[0]
    assert halo is not None
    _, joints = rest()
    tilted = where(halo, *bones_of(stance(head=(0, 0, 0.6)), joints))
    kicked = where(halo, *bones_of(stance(left_thigh=(-0.8, 0, 0)), joints))
    assert np.abs(tilted - halo.uv).max() > 4
    assert np.abs(kicked - halo.uv).max() < 0.7


def test_a_mesh_between_bones_that_go_apart_is_torn(dressed: Dressed) -> None:
    halo = dressed.halos[0]
    assert halo is not None
    points = halo.posed(*bones_of(stance(), rest()[1]))
    high = points[:, 1] < np.median(points[:, 1])
    whole = halo.whole(points + np.where(high, -0.5, 0)[:, None])
    assert whole.min() == 0 and whole.max() == 1


def test_what_goes_far_from_the_body_is_not_the_persons() -> None:
    shelf = plumed(slice(20, 32), slice(0, 72))
    assert dress(person(shelf), side=64).halos == [None]
    assert (shelf.frame.rgb != GREY).any()
