"""Dense Pose Transfer as a generator: bodies as surfaces, the atlas, its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dance.config import ConfigError, check
from dance.generators import _single, dense_transfer
from dance.surface import charts, dressed, iuv, outline
from dance.types import InputError, Person, Pose

KEPT = {"inpainting": {"side": 8, "widths": (3, 4), "context": 5, "kept": True}}


@pytest.fixture(scope="module")
def of_person(fitted_person: Person) -> dressed.Dressed:
    return dressed.dress(fitted_person, side=64)


@pytest.fixture(autouse=True)
def dressed_once(of_person: dressed.Dressed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dressing takes a second: it is done once for all tests."""

    def known(person: Person, *, side: int) -> dressed.Dressed:
        return of_person

    monkeypatch.setattr(dense_transfer, "dress", known)


def test_the_surface_is_where_the_body_is_seen_in_the_frame(
    of_person: dressed.Dressed, fitted_person: Person
) -> None:
    stance, camera = fitted_person.views[0].pose.stance, of_person.physique.camera
    assert stance is not None
    matrix = np.array([[0.5, 0, -3.0], [0, 0.5, 4.0]])
    found = dense_transfer.drawn(of_person, stance, matrix, (120, 80))
    part, u = found[0], found[1]
    assert part.max() <= 24 and (part > 0).sum() > 300
    assert found[1:].min() >= 0 and found[1:].max() <= 1 and (u[part == 0] == 0).all()
    vertices = dressed.standing(of_person, stance)[0]
    places = outline.project(vertices, camera) @ matrix[:, :2].T + matrix[:, 2]
    rows, columns = np.nonzero(part)
    assert abs(places[:, 0].min() - columns.min()) < 1.5
    assert abs(places[:, 1].max() - rows.max()) < 1.5
    # The person's left is on the right.
    left, right = (columns[np.isin(part[rows, columns], parts)].mean() for parts in ((15, 17), (16, 18)))  # fmt: skip
    assert left > right


def test_a_naked_body_has_the_surface_that_is_written_of_it(
    of_person: dressed.Dressed, fitted_person: Person
) -> None:
    stance = fitted_person.views[0].pose.stance
    assert stance is not None
    naked = replace(of_person, offsets=np.zeros_like(of_person.offsets))
    whole = np.array([[1.0, 0, 0], [0, 1, 0]])
    found = dense_transfer.drawn(naked, stance, whole, fitted_person.size)
    expected = iuv.drawn(of_person.physique, stance, fitted_person.size)
    same = found[0] == expected.part
    assert same.mean() > 0.999
    apart = np.abs(found[1:].transpose(1, 2, 0) - expected.uv)[same]
    assert np.quantile(apart, 0.999) < 0.01


def test_without_a_body_nothing_can_be_drawn(
    person: Person, fitted_person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense_transfer, "dress", dressed.dress)
    with pytest.raises(InputError, match="no 3-D body could be fitted"):
        dense_transfer.untrained().encode(person)


def test_a_pose_without_a_body_is_not_drawn(fitted_person: Person, fitted_dance: list[Pose]) -> None:  # fmt: skip
    made = dense_transfer.untrained()
    poses = [replace(fitted_dance[0], stance=None), fitted_dance[1]]
    with torch.no_grad():
        drawn, _ = made.render(made.encode(fitted_person), poses, None)
    assert drawn.alpha is not None
    assert float(drawn.alpha[0].max()) == 0 and float(drawn.alpha[1].max()) > 0.9


def test_what_the_source_shows_is_laid_on_its_own_body_again(fitted_person: Person) -> None:
    """With texels small enough and kept, the warped picture of the same pose is the picture."""
    inpainting = {"side": 64, "widths": (2, 2), "context": 2, "kept": True}
    made = dense_transfer.untrained(
        frame={"height": 96, "width": 64}, inpainting=inpainting, alpha=True
    )
    code = made.encode(fitted_person)
    with torch.no_grad():
        found = made.synthesise(code, code.surface)
    on = (code.surface[:, :1] > 0).expand_as(found.warped)
    assert on.sum() > 1000 and code.surface[code.seen.matte.expand(-1, 3, -1, -1) < 0.5].max() == 0
    apart = (found.warped - code.seen.picture)[on].abs()
    assert float(apart.mean()) < 0.1 and float(apart.median()) < 0.05
    assert float(found.warped[~on].abs().max()) == 0
    # A matte is drawn; the colours are not.
    assert found.picture.shape == (1, 4, 96, 64)


def test_other_views_add_to_the_atlas_what_the_best_one_lacks(fitted_person: Person) -> None:
    best = fitted_person.views[0]
    stance = best.pose.stance
    assert stance is not None
    # The same body seen from behind, in other colours, and a look without a body.
    turns = stance.turns.copy()
    turns[0] = (0, np.pi, 0)
    behind = replace(
        best,
        frame=replace(best.frame, rgb=255 - best.frame.rgb),
        pose=replace(best.pose, stance=replace(stance, turns=turns)),
    )
    unknown = replace(best, pose=replace(best.pose, stance=None))
    person = replace(fitted_person, views=[best, unknown, behind])
    a = dense_transfer.untrained(**KEPT)
    one, two = (
        dense_transfer.Transfer(a.architecture, a.network, "cpu", views=views).encode(person)
        for views in (1, 2)
    )
    assert torch.equal(one.surface, two.surface) and torch.equal(one.seen.picture, two.seen.picture)
    assert bool((two.texture.known >= one.texture.known).all())
    row, column = charts.tile(1, 8)
    back = (slice(None), slice(None), slice(row, row + 8), slice(column, column + 8))
    assert float(one.texture.known[back].mean()) < 0.2 < 0.5 < float(two.texture.known[back].mean())
    sure = (one.texture.known == 1).expand_as(one.texture.seen)
    torch.testing.assert_close(two.texture.seen[sure], one.texture.seen[sure])


def test_the_atlas_can_be_written_painted_and_given(
    tmp_path: Path, fitted_person: Person, fitted_dance: list[Pose]
) -> None:
    path = tmp_path / "looks" / "atlas.png"
    a = dense_transfer.untrained(**KEPT)
    saving = dense_transfer.Transfer(a.architecture, a.network, "cpu", save_atlas=path)
    own = saving.encode(fitted_person).texture.whole
    rgb = np.array(Image.open(path))
    assert rgb.shape == (32, 48, 3)
    assert np.abs(rgb / 127.5 - 1 - own[0].detach().movedim(0, -1).numpy()).max() < 0.005
    row, column = charts.tile(2, 8)
    rgb[row : row + 8, column : column + 8] = (0, 255, 0)
    Image.fromarray(rgb).save(path)
    painting = dense_transfer.Transfer(a.architecture, a.network, "cpu", painted=path)
    code = painting.encode(fitted_person)
    with torch.no_grad():
        warped = painting.synthesise(code, code.surface).warped[0]
    chest = code.surface[0, 0] == 2
    assert chest.any()
    green = torch.tensor([-1.0, 1, -1])[:, None].expand_as(warped[:, chest])
    torch.testing.assert_close(warped[:, chest], green)


def test_an_atlas_of_another_size_is_resized_and_one_of_another_shape_refused(
    tmp_path: Path,
) -> None:
    Image.new("RGB", (96, 64), (255, 0, 0)).save(tmp_path / "large.png")
    found = dense_transfer.read_atlas(tmp_path / "large.png", 8)
    assert found.shape == (1, 3, 32, 48) and (found[:, 0] == 1).all() and (found[:, 1:] == -1).all()
    Image.new("RGB", (64, 64)).save(tmp_path / "square.png")
    with pytest.raises(InputError, match=r"square\.png: is 64x64; .* such as 48x32"):
        dense_transfer.read_atlas(tmp_path / "square.png", 8)
    (tmp_path / "none.png").write_text("no picture")
    with pytest.raises(InputError, match=r"none\.png"):
        dense_transfer.read_atlas(tmp_path / "none.png", 8)


@pytest.mark.parametrize("changes", [{}, {"alpha": True, "blending": {"width": 4, "added": True}}])
def test_weights_are_saved_with_what_they_need(
    tmp_path: Path, fitted_person: Person, fitted_dance: list[Pose], changes: dict[str, object]
) -> None:
    made, path = dense_transfer.untrained(**KEPT, **changes), tmp_path / "d.safetensors"
    _single.save(path, dense_transfer.NAME, made.network, made.architecture)
    again = dense_transfer.build(dense_transfer.Config(weights=path), "cpu")
    one, _ = made.render(made.encode(fitted_person), fitted_dance[:2], None)
    other, _ = again.render(again.encode(fitted_person), fitted_dance[:2], None)
    assert torch.equal(one.rgb, other.rgb) and not other.rgb.requires_grad


def test_weights_of_another_generator_are_refused(tmp_path: Path) -> None:
    made, path = dense_transfer.untrained(), tmp_path / "d.safetensors"
    _single.save(path, "nted", made.network, made.architecture)
    with pytest.raises(InputError, match="they are for the generator 'nted'"):
        dense_transfer.build(dense_transfer.Config(weights=path), "cpu")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"frame": {"height": 254}}, r"frame\.height = 254 must be a multiple of 4"),
        ({"inpainting": {"side": 20}}, "side = 20 must be a multiple of 16"),
        ({"inpainting": {"side": 16}}, "with norm a larger one"),
    ],
)
def test_sizes_that_cannot_be_halved_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        check(dense_transfer.Architecture, changes, "test")


def test_the_camera_of_a_frame_must_not_be_turned(
    of_person: dressed.Dressed, fitted_person: Person
) -> None:
    stance = fitted_person.views[0].pose.stance
    assert stance is not None
    with pytest.raises(AssertionError):
        dense_transfer.drawn(of_person, stance, np.array([[0.0, 1, 0], [-1, 0, 0]]), (8, 8))


def test_the_networks_are_those_of_the_card() -> None:
    """Widths of the reading that defaults follow, and what goes in and out."""
    default = dense_transfer.Architecture()
    with torch.device("meta"):
        made = dense_transfer.body(default)
    assert made.predictive.downs[0][0].conv.weight.shape == (64, 9, 3, 3)
    assert len(made.predictive.blocks) == 6 and len(made.predictive.ups) == 2
    shapes = [m.weight.shape for m in made.inpainter.modules() if hasattr(m, "stride")]
    assert [s[0] for s in shapes[:4]] == [24 * w for w in (32, 32, 64, 128)]
    # A transposed convolution's weights begin with what goes in.
    assert [s[0] for s in shapes[4:]] == [24 * w for w in (384, 64, 32, 32)]
    assert made.inpainter.context[0].weight.shape == (256, 24 * 128 * 16 * 16)
    assert made.blender.layers[0].conv.weight.shape == (64, 9, 3, 3)
