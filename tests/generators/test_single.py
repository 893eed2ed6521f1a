"""How a person is framed for a network that draws from a single picture, and put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from dance import geometry, weights
from dance import skeleton as sk
from dance.generators import _single, dpig, pg2, xing
from dance.types import Array, InputError, Person, Pose

FRAME = _single.Frame(height=160, width=128)


def given_back(seen: _single.Seen) -> _single.Draw:
    """A network that draws what it was shown, whatever the pose."""

    def draw(xy: Array, score: Array) -> Tensor:
        return torch.cat([seen.picture, seen.matte], 1).expand(len(xy), -1, -1, -1)

    return draw


def level(picture: Array) -> Array:
    return picture.astype(np.float32) / 127.5 - 1


def test_who_is_given_back_as_shown_stands_where_they_stood(person: Person) -> None:
    view = person.views[0]
    seen = _single.study(person, FRAME, "cpu", alone=False)
    drawn = _single.render(given_back(seen), seen, FRAME, [view.pose])
    assert drawn.alpha is not None
    inside = view.alpha > 0.5
    apart = np.abs(drawn.rgb[0].movedim(0, -1).numpy() - level(view.frame.rgb))[inside]
    assert apart.mean() < 0.06
    assert np.abs(drawn.alpha[0, 0].numpy() - view.alpha).mean() < 0.02


def test_a_pose_elsewhere_moves_the_person_as_far(person: Person) -> None:
    pose = person.views[0].pose
    seen = _single.study(person, FRAME, "cpu", alone=True)
    moved = replace(pose, xy=pose.xy + np.array([12, -7], np.float32))
    drawn = _single.render(given_back(seen), seen, FRAME, [pose, moved])
    assert drawn.alpha is not None
    first, second = drawn.alpha[:, 0]
    torch.testing.assert_close(second[3:140, 42:112], first[10:147, 30:100], atol=2e-3, rtol=0)


@pytest.mark.parametrize("factor", [0.5, 0.9, 2.0])
def test_only_people_much_larger_or_smaller_are_shown_at_another_scale(
    person: Person, factor: float
) -> None:
    pose = person.views[0].pose
    seen = _single.study(person, FRAME, "cpu", alone=True)
    other = replace(pose, xy=pose.xy * np.float32(factor))
    shown: list[Array] = []

    def draw(xy: Array, score: Array) -> Tensor:
        shown.append(xy[0])
        return torch.zeros(1, 4, *FRAME.size)

    _single.render(draw, seen, FRAME, [other])
    torso = np.linalg.norm(shown[0][[2, 5]].mean(0) - shown[0][[8, 11]].mean(0))
    assert torso / (FRAME.torso * FRAME.height) == pytest.approx(np.clip(factor, 0.8, 1.25), rel=1e-3)  # fmt: skip


def test_the_middle_of_the_torso_is_always_at_one_place(person: Person, dance: list[Pose]) -> None:
    seen = _single.study(person, FRAME, "cpu", alone=True)
    shown: list[Array] = []

    def draw(xy: Array, score: Array) -> Tensor:
        shown.extend(xy)
        return torch.zeros(len(xy), 4, *FRAME.size)

    _single.render(draw, seen, FRAME, dance)
    assert len(shown) == sum(pose.found for pose in dance) == 8
    middles = [places[[2, 5, 8, 11]].mean(0) for places in shown]
    np.testing.assert_allclose(middles, [[63.5, FRAME.middle * 160 - 0.5]] * 8, atol=1e-3)


def test_frames_without_the_person_are_clear_and_keep_their_turn(person: Person) -> None:
    pose = person.views[0].pose
    seen = _single.study(person, FRAME, "cpu", alone=True)
    drawn = _single.render(
        given_back(seen), seen, FRAME, [Pose.unseen(), pose, Pose.unseen(), pose]
    )
    assert drawn.alpha is not None
    assert (drawn.alpha.flatten(1).amax(1) > 0.5).tolist() == [False, True, False, True]


def test_large_pictures_are_made_smaller_in_place_and_without_chequers() -> None:
    rows, columns = np.mgrid[:90, :120].astype(np.float32)
    matrix = np.array([[0.3, 0, 2.0], [0, 0.3, 1.0]])
    small = _single.cut(np.stack([columns, rows], -1), matrix, (20, 30), 0)
    y, x = np.mgrid[3:18, 5:28]
    wanted = np.stack([(x - 2) / 0.3, (y - 1) / 0.3], -1)
    np.testing.assert_allclose(small[3:18, 5:28], wanted, atol=0.05)
    chequers = np.where((rows + columns) % 2, 255, 0).astype(np.float32)
    assert _single.cut(chequers, matrix, (20, 30), 0)[3:18, 5:28].std() < 20


def test_somebody_without_a_torso_is_framed_by_their_joints(person: Person) -> None:
    view = person.views[0]
    score = np.zeros_like(view.pose.score)
    score[[sk.NOSE, sk.LEFT_ANKLE, sk.RIGHT_ANKLE]] = 1
    pose = replace(view.pose, score=score)
    track = replace(person.track, poses=[pose])
    seen = _single.study(
        replace(person, views=[replace(view, pose=pose)], track=track), FRAME, "cpu", alone=True
    )
    box = geometry.joints_box(pose.xy, score)
    assert box is not None and seen.torso == pytest.approx(0.3 * box.height)
    assert 0 < float((seen.matte > 0.5).float().mean()) < 1


def test_a_network_without_a_matte_gets_one_about_the_limbs(person: Person) -> None:
    pose = person.views[0].pose
    seen = _single.study(person, FRAME, "cpu", alone=False)
    drawn = _single.render(lambda xy, score: seen.picture, seen, FRAME, [pose])
    assert drawn.alpha is not None
    alpha = drawn.alpha[0, 0].numpy()
    assert (alpha[person.views[0].alpha > 0.5] > 0.5).mean() > 0.9
    assert alpha[:, :8].max() == 0 and 0.05 < alpha.mean() < 0.6


@pytest.mark.parametrize("module", [xing, pg2, dpig])
def test_without_weights_or_on_another_device_it_says_what_to_do(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "SHIPPED", tmp_path)
    with pytest.raises(InputError, match=r"generator\.options\.weights=FILE"):
        module.build(module.Config(), "cpu")
    with pytest.raises(InputError, match="device=cuda needs runtime=torch"):
        module.build(module.Config(weights="x.safetensors", runtime="openvino"), "cuda")


@pytest.mark.parametrize("module", [xing, pg2, dpig])
def test_openvino_draws_the_same(module: ModuleType, person: Person, dance: list[Pose]) -> None:
    pytest.importorskip("openvino")
    torch.manual_seed(3)
    made = module.untrained(alpha=True)
    networks = module.body(made.architecture)
    kind = type(made)
    pictures = []
    for runtime in ("torch", "openvino"):
        generator = kind(made.architecture, networks.requires_grad_(False), "cpu", runtime=runtime)
        drawn, _ = generator.render(generator.encode(person), dance[:2], None)
        pictures.append(torch.cat([drawn.rgb, drawn.alpha], 1))
    torch.testing.assert_close(pictures[1], pictures[0], atol=2e-3, rtol=0)
