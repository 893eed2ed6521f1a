"""Clothes' offsets from mattes, and stances nudged onto them."""

import numpy as np
import pytest
from coloured_body import PHYSIQUE, photographed, rest, stance, surface

from dance.surface import body as bodies
from dance.surface import clothing
from dance.surface.body import BONES
from dance.surface.dressed import bones_of
from dance.surface.outline import Posed, project
from dance.surface.raster import vertex_normals
from dance.types import Array, Stance


def dressed(shown: Stance, fitted: Stance, thick: float) -> tuple[Posed, Array]:
    """The body fitted as `fitted` to a picture of `shown`, nudged, and its offsets."""
    body = bodies.load()
    faces, weights = body.faces.numpy().astype(np.int32), body.weights.numpy()
    vertices, joints = rest()
    rested = clothing.directions(vertices, faces)
    turns, _ = bones_of(fitted, joints)
    posed = Posed(
        surface(fitted), clothing.outward(rested, weights, turns), photographed(shown, thick).alpha
    )
    limits = clothing.limits(weights, rested, vertices)
    placed, offsets = clothing.clothe(
        [posed], faces, PHYSIQUE.camera, limits, body.mirror.numpy(), weights
    )
    return placed[0], offsets


def of(*names: str) -> Array:
    """The vertices of these bones."""
    weights = bodies.load().weights.numpy()
    return np.isin(np.array(BONES)[weights.argmax(1)], names)


@pytest.mark.parametrize("thick", [0.0, 0.03])
def test_clothes_are_found_as_thick_as_they_are(thick: float) -> None:
    _, offsets = dressed(stance(), stance(), thick)
    trunk = of("spine", "chest", "left_forearm", "right_shin")
    assert np.median(offsets[trunk]) == pytest.approx(thick, abs=0.008)


def test_hands_and_toes_keep_their_form_however_large_the_matte_is() -> None:
    _, offsets = dressed(stance(), stance(), 0.05)
    assert offsets[of("left_hand", "right_fingers")].max() < 0.02
    assert offsets[of("left_toes", "right_toes")].max() < 0.03


def test_a_stance_beside_the_person_is_moved_onto_them_and_is_no_cloth() -> None:
    beside = stance()
    moved = Stance(beside.turns, beside.root + np.float32([0.04, 0, 0]), beside.sure)
    placed, offsets = dressed(stance(), moved, 0.0)
    trunk = of("spine", "chest", "left_thigh", "right_thigh")
    apart = project(placed.vertices, PHYSIQUE.camera) - project(surface(stance()), PHYSIQUE.camera)
    assert abs(np.median(apart[trunk, 0])) < 1.0  # it was 3.5 pixels
    assert abs(np.median(offsets[trunk])) < 0.008


def test_toes_stand_out_more_alike_than_their_normals_do() -> None:
    vertices, _ = rest()
    faces = bodies.load().faces.numpy().astype(np.int32)
    toes = faces[of("left_toes")[faces[:, 0]]]

    def disagreement(directions: Array) -> float:
        alike = (directions[toes[:, 0]] * directions[toes[:, 1]]).sum(1)
        return float(np.percentile(1 - alike, 90))

    rested = clothing.directions(vertices, faces)
    assert np.allclose(np.linalg.norm(rested, axis=1), 1, atol=1e-4)
    assert disagreement(rested) < 0.75 * disagreement(vertex_normals(vertices, faces))


def test_limbs_are_told_apart() -> None:
    limbs = clothing.limbs_of(bodies.load().weights.numpy())
    for limb, bone in enumerate(
        ("head", "chest", "left_hand", "right_hand", "left_shin", "right_shin"), 1
    ):
        assert (limbs[of(bone)] == limb).all()
