"""The reduced 3-D body: shapes, turns, joints, and its file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dance import skeleton as sk
from dance.surface import body as bodies
from dance.surface.body import AVERAGE, BONES, PARENTS, SHAPE, Body
from dance.types import Camera, InputError, Physique, Stance


@pytest.fixture(scope="module")
def body() -> Body:
    return bodies.load()


def shape(**values: float) -> torch.Tensor:
    """The average body but for what is named."""
    out = list(AVERAGE)
    for name, value in values.items():
        out[SHAPE.index(name)] = value
    return torch.tensor(out)


def turns(**values: tuple[float, float, float]) -> torch.Tensor:
    out = torch.zeros(1, len(BONES), 3)
    for name, value in values.items():
        out[0, BONES.index(name)] = torch.tensor(value)
    return out


ROOT = torch.tensor([[0.0, 0.0, 3.0]])


def test_parents_come_before_their_children_and_mirrored_bones_have_mirrored_parents() -> None:
    assert all(parent < b for b, parent in enumerate(PARENTS))
    assert all(bodies.FLIP[bodies.FLIP[b]] == b for b in range(len(BONES)))
    for b, parent in list(enumerate(PARENTS))[1:]:
        assert PARENTS[bodies.FLIP[b]] == bodies.FLIP[parent]


def test_an_average_body_stands_upright_and_looks_into_the_camera(body: Body) -> None:
    vertices, joints = bodies.rest(body, shape())
    assert 1.6 < float(vertices[:, 1].max() - vertices[:, 1].min()) < 1.95
    named = dict(zip(BONES, joints, strict=True))
    assert named["head"][1] < named["pelvis"][1] < named["left_foot"][1]  # y points down
    assert named["left_upper_arm"][0] > 0.1 > -0.1 > named["right_upper_arm"][0]
    points = bodies.joints(body, shape(), turns(), ROOT)[0]
    assert points[sk.NOSE, 2] < points[sk.LEFT_EAR, 2]  # z points away


def test_faces_are_counter_clockwise_seen_from_outside(body: Body) -> None:
    vertices, _ = bodies.rest(body, shape())
    a, b, c = (vertices[body.faces[:, k].long()] for k in range(3))
    volume = float((a * torch.linalg.cross(b, c)).sum() / 6)
    assert 0.03 < volume < 0.12  # cubic metres of a person, and positive


def test_limbs_point_the_same_way_at_rest_whatever_the_shape_is(body: Body) -> None:
    for one in (shape(), shape(gender=1, weight=1), shape(age=0.2), shape(legs=0.3, trunk=0.3)):
        _, joints = bodies.rest(body, one)
        arm = joints[BONES.index("left_hand")] - joints[BONES.index("left_upper_arm")]
        leg = joints[BONES.index("right_foot")] - joints[BONES.index("right_thigh")]
        assert torch.allclose(arm / arm.norm(), torch.tensor([0.5**0.5, 0.5**0.5, 0]), atol=1e-5)
        assert torch.allclose(leg / leg.norm(), torch.tensor([0.0, 1, 0]), atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "first", "second"),
    [
        ("legs", "left_thigh", "left_shin"),
        ("arms", "left_forearm", "left_hand"),
        ("torso", "spine", "chest"),
    ],
)
def test_a_scale_lengthens_its_bones_by_its_exponential(
    body: Body, scale: str, first: str, second: str
) -> None:
    def length(of: torch.Tensor) -> float:
        joints = bodies.shaped(body, of).joints
        return float(abs(joints[BONES.index(first)] - joints[BONES.index(second)])[:2].norm())

    assert length(shape(**{scale: 0.2})) / length(shape()) == pytest.approx(np.exp(0.2), rel=0.02)


def test_phenotypes_give_the_coefficients_anny_gives(body: Body) -> None:
    anny = pytest.importorskip("anny")
    values = [0.3, 0.8, 0.2, 0.7, 0.9, 0.4]
    ours = bodies.shaped(body, torch.tensor([*values, *(0.0,) * 9])).coefficients
    # anny's own products of levels, at its own anchors, from the tables of the file.
    from anny.models.phenotype import make_phenotype_anchors, phenotype_blendshape_weights

    products = phenotype_blendshape_weights(
        torch.tensor([values]), list(bodies.PHENOTYPES), make_phenotype_anchors(torch.float32),
        body.products, extrapolate=False,
    )  # fmt: skip
    assert anny.__version__
    assert torch.allclose((products @ body.shares)[0], ours, atol=1e-5)


def test_a_turned_forearm_moves_wrist_and_hand_only(body: Body) -> None:
    still = bodies.joints(body, shape(), turns(), ROOT)[0]
    moved = bodies.joints(body, shape(), turns(left_forearm=(0.0, 0, -1.5)), ROOT)[0]
    far = (moved - still).norm(dim=1)
    assert far[sk.LEFT_WRIST] > 0.2 and far[sk.INDEX["left_index_4"]] > 0.2
    others = [j for j in range(23) if j not in (sk.LEFT_WRIST, sk.LEFT_ELBOW)]
    assert far[others].max() < 1e-4


def test_joints_are_the_means_of_skinned_vertices(body: Body) -> None:
    pose = turns(left_shin=(1.0, 0.2, 0), spine=(0.2, 0.4, 0.1), head=(0, 0.5, 0))
    joints = bodies.joints(body, shape(weight=0.9), pose, ROOT)[0]
    vertices = bodies.posed(body, shape(weight=0.9), pose, ROOT)[0]
    for joint in (sk.LEFT_BIG_TOE, sk.NOSE, sk.INDEX["face_48"]):
        assert float((vertices - joints[joint]).norm(dim=1).min()) < 0.02
    # A knee is in the middle of its flesh.
    knee = vertices[(vertices - joints[sk.LEFT_KNEE]).norm(dim=1) < 0.1].mean(0)
    assert float((knee - joints[sk.LEFT_KNEE]).norm()) < 0.04


def test_a_mirrored_pose_gives_a_mirrored_body(body: Body) -> None:
    pose = turns(left_upper_arm=(0.3, 0.2, -1.0), right_shin=(0.9, 0, 0.1), head=(0.1, 0.4, 0.2))
    other = pose[:, list(bodies.FLIP)] * torch.tensor([1.0, -1, -1])
    first = bodies.posed(body, shape(), pose, ROOT)[0]
    second = bodies.posed(body, shape(), other, ROOT)[0]
    assert torch.allclose(first[body.mirror] * torch.tensor([-1.0, 1, 1]), second, atol=1e-4)


def test_the_quick_way_for_one_picture_gives_the_same_vertices(body: Body) -> None:
    generator = np.random.default_rng(3)
    stance = Stance(
        generator.normal(0, 0.3, (len(BONES), 3)).astype(np.float32),
        np.array([0.1, 0.2, 3], np.float32),
        np.ones(len(BONES), np.float32),
    )
    physique = Physique(shape(weight=0.8, arms=0.1).numpy(), Camera(600, (256, 256)))
    quick = bodies.vertices_of(body, physique, stance)
    slow = bodies.posed(
        body, torch.from_numpy(physique.shape), torch.from_numpy(stance.turns)[None],
        torch.from_numpy(stance.root)[None],
    )[0]  # fmt: skip
    assert quick.dtype == np.float32
    assert np.allclose(quick, slow.numpy(), atol=1e-5)
    some = [5, 1000, 12000]
    assert torch.allclose(
        bodies.posed(
            body, torch.from_numpy(physique.shape), torch.from_numpy(stance.turns)[None],
            torch.from_numpy(stance.root)[None], some,
        )[0],
        slow[some],
        atol=1e-5,
    )  # fmt: skip


def test_gradients_reach_shape_and_turns_even_at_rest(body: Body) -> None:
    of = shape().requires_grad_()
    pose = turns().requires_grad_()
    bodies.project(
        bodies.joints(body, of, pose, ROOT), Camera(500, (256, 256))
    ).square().sum().backward()
    assert of.grad is not None and torch.isfinite(of.grad).all()
    assert (of.grad[[SHAPE.index(name) for name in ("height", "legs", "arms", "head")]] != 0).all()
    assert pose.grad is not None and torch.isfinite(pose.grad).all()
    assert (pose.grad[0, BONES.index("left_forearm")] != 0).any()


def test_a_point_on_the_axis_is_seen_at_the_cameras_centre() -> None:
    camera = Camera(500, (320, 240))
    points = torch.tensor([[0.0, 0, 2], [0.4, -0.2, 2]])
    assert bodies.project(points, camera).tolist() == [[320, 240], [420, 190]]


def test_a_damaged_file_of_the_body_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dance.weights import save_safetensors

    monkeypatch.setenv("DANCE_CACHE", str(tmp_path))
    monkeypatch.setattr(bodies, "reduce", lambda names: {"template": torch.zeros(3)})
    told: list[str] = []
    with pytest.raises(InputError, match="delete it"):
        bodies.load(told.append)
    assert len(told) == 1 and str(tmp_path) in told[0]
    assert len(list(tmp_path.iterdir())) == 1
    save_safetensors(next(tmp_path.iterdir()), {"faces": torch.zeros(2)})
    with pytest.raises(InputError, match="delete it"):
        bodies.load(told.append)
    assert len(told) == 1
