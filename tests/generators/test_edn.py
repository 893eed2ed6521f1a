"""Everybody Dance Now as a generator: its weights file, its memory, its face, its matte and its view."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dance import geometry, networks, weights
from dance.generators import _pix2pix as nets
from dance.generators import edn
from dance.types import InputError, Person, Pose

SIZE = (64, 48)
SMALL = {"width": 48}
MATTE = {**SMALL, "alpha": True}


def in_its_pixels(pose: Pose, person: Person) -> Pose:
    return replace(pose, xy=pose.xy * np.array([48 / person.size[1], 64 / person.size[0]], np.float32))  # fmt: skip


@pytest.fixture
def poses(dance: list[Pose], person: Person) -> list[Pose]:
    return [in_its_pixels(pose, person) for pose in dance]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The weights file of a small generator."""
    torch.manual_seed(3)
    made = edn.untrained(**SMALL)
    path = tmp_path / "person.safetensors"
    edn.save(path, made.networks, made.architecture, {"steps": "0"})
    return path


def build(path: Path, **options: object) -> edn.EDN:
    generator = edn.build(edn.Config(weights=path, **options), "cpu")
    assert isinstance(generator, edn.EDN)
    return generator


def test_the_weights_file_alone_says_what_to_build(trained: Path) -> None:
    generator = build(trained)
    assert generator.size == SIZE
    assert weights.read_metadata(trained)["steps"] == "0"
    assert {key.split(".")[0] for key in weights.read_tensors(trained)} == {"generator", "face"}


def test_a_trained_person_draws_what_was_saved(
    trained: Path, person: Person, poses: list[Pose]
) -> None:
    torch.manual_seed(3)
    first, second = edn.untrained(**SMALL), build(trained)
    one, _ = first.render(first.encode(person), poses[:2], None)
    other, _ = second.render(second.encode(person), poses[:2], None)
    assert torch.equal(one.rgb, other.rgb)
    assert one.rgb.requires_grad and not other.rgb.requires_grad


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({}, "names no generator"),
        ({"generator": "xing", "config": "{}"}, "for the generator 'xing'"),
        ({"generator": "edn", "config": "{"}, "no JSON"),
        ({"generator": "edn", "config": '{"depth": 3}'}, "unknown key 'depth'"),
        ({"generator": "edn", "config": "{}"}, "missing: generator"),
    ],
)
def test_a_file_that_is_no_trained_person_is_refused(
    tmp_path: Path, metadata: dict[str, str], complaint: str
) -> None:
    path = tmp_path / "other.safetensors"
    weights.save_safetensors(path, {"x": torch.zeros(1)}, metadata)
    with pytest.raises(InputError, match=complaint):
        build(path)


def test_sizes_the_networks_cannot_take_are_refused() -> None:
    with pytest.raises(InputError, match=r"height = 60 must be a multiple of 8"):
        edn.untrained(height=60)
    with pytest.raises(InputError, match=r"face\.side = 18"):
        edn.untrained(face={"side": 18, "downs": 2})
    with pytest.raises(InputError, match="needs alpha"):
        edn.untrained(follow={"scale": 1, "anchor": (1, 1), "picture": (9, 9)})


def test_the_picture_before_is_shown_to_the_network_and_none_forgets_it(
    person: Person, poses: list[Pose]
) -> None:
    generator = edn.untrained(**SMALL)
    code = generator.encode(person)
    _, state = generator.render(code, poses[:1], None)
    assert state is not None and state.shape == (1, 3, *SIZE)
    after, _ = generator.render(code, poses[1:2], state)
    alone, _ = generator.render(code, poses[1:2], None)
    from_zeros, _ = generator.render(code, poses[1:2], torch.zeros_like(state))
    assert not torch.allclose(after.rgb, alone.rgb)
    assert torch.equal(alone.rgb, from_zeros.rgb)


def test_the_face_network_changes_the_face_and_nothing_else(
    trained: Path, person: Person, poses: list[Pose]
) -> None:
    with_it, without = build(trained), build(trained, face=False)
    code = with_it.encode(person)
    one, _ = with_it.render(code, poses[:1], None)
    other, _ = without.render(code, poses[:1], None)
    changed = (one.rgb != other.rgb).any(1)[0].numpy()
    box = geometry.face_box(poses[0], SIZE, 16)
    assert box is not None
    top, bottom, left, right = box
    assert changed[top:bottom, left:right].mean() > 0.9
    changed[top:bottom, left:right] = False
    assert not changed.any()


def test_where_nobody_is_seen_the_empty_place_is_drawn_and_the_past_forgotten(
    person: Person, poses: list[Pose]
) -> None:
    generator = edn.untrained(**SMALL)
    place = replace(person, plate=np.full_like(person.plate, 51))
    drawn, state = generator.render(generator.encode(place), [poses[0], Pose.unseen()], None)
    assert state is None
    torch.testing.assert_close(drawn.rgb[1], torch.full((3, *SIZE), 51 / 127.5 - 1))


def test_with_a_matte_what_is_remembered_is_under_it(person: Person, poses: list[Pose]) -> None:
    generator = edn.untrained(**{**MATTE, "face": None})
    drawn, state = generator.render(generator.encode(person), poses[:1], None)
    assert drawn.alpha is not None and state is not None
    torch.testing.assert_close(state, drawn.rgb * drawn.alpha)


def test_a_following_view_is_put_where_the_person_is(person: Person, dance: list[Pose]) -> None:
    """The matte of a network that always draws a block in the middle of its view goes along with the person."""
    window = geometry.person_window(
        geometry.reach([dance[0]], person.size), person.size, 64, multiple=16
    )
    follow = {"scale": window.scale, "anchor": window.anchor, "picture": person.size}
    generator = edn.untrained(**{**MATTE, "width": window.size[1], "follow": follow, "face": None})
    generator._body = _Block()
    code = generator.encode(person)
    moved = replace(dance[0], xy=dance[0].xy + np.array([11, -6], np.float32))
    drawn, _ = generator.render(code, [dance[0], moved], None)
    assert generator.size is None and drawn.alpha is not None
    assert drawn.alpha.shape == (2, 1, *person.size)
    centres = []
    for alpha in drawn.alpha[:, 0]:
        y, x = torch.nonzero(alpha > 0.5, as_tuple=True)
        centres.append((float(x.float().mean()), float(y.float().mean())))
        # A block of 8 x 8 of the view's pixels, in the picture's.
        assert len(x) == pytest.approx((8 / window.scale) ** 2, rel=0.1)
    (x0, y0), (x1, y1) = centres
    assert (x1 - x0, y1 - y0) == pytest.approx((11, -6), abs=0.2)
    view = geometry.transform(np.array([centres[0]]), window.matrix(dance[0]))[0]
    assert tuple(view) == pytest.approx(((window.size[1] - 1) / 2, 31.5), abs=0.3)


class _Block(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(1, 4, *x.shape[-2:])
        middle = x.shape[-1] // 2
        out[:, 3, 28:36, middle - 4 : middle + 4] = 1
        return out


@pytest.mark.parametrize("face", ["global", "unet"])
def test_openvino_draws_the_same(
    tmp_path: Path, person: Person, poses: list[Pose], face: str
) -> None:
    pytest.importorskip("openvino")
    kind = {"network": face, "filters": 4, "side": 32, "statistics": "running"}
    made = edn.untrained(**SMALL, face=kind)
    path = tmp_path / "person.safetensors"
    edn.save(path, made.networks, made.architecture)
    eager, fast = build(path), build(path, runtime="openvino")
    code = eager.encode(person)
    state = None
    for pose in poses[:4]:
        # From the same picture before: what has learnt nothing makes much of the smallest difference.
        other, _ = fast.render(code, [pose], state)
        one, state = eager.render(code, [pose], state)
        assert float((one.rgb - other.rgb).abs().max()) * 127.5 < 0.5


def test_openvino_takes_the_statistics_of_the_batch_too() -> None:
    pytest.importorskip("openvino")
    network = nets.UNet(6, width=4).eval()
    x = torch.randn(1, 6, 64, 64)
    nets.use_batch_statistics(network)
    with torch.no_grad():
        torch.testing.assert_close(networks.openvino(network, (1, 6, 64, 64))(x), network(x))


def test_openvino_on_another_device_is_refused(trained: Path) -> None:
    with pytest.raises(InputError, match="draws on the CPU"):
        edn.build(edn.Config(weights=trained, runtime="openvino"), "cuda")


def test_without_openvino_its_absence_is_said(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(InputError, match="pip install openvino"):
        build(trained, runtime="openvino")
