"""What is inside the single-picture generators, as pictures: that these show what the networks make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dance import plugins
from dance.explore import _pictures as pictures
from dance.explore import dense_transfer as atlas_sheets
from dance.explore import dpig as code_sheets
from dance.explore import nted as texture_sheets
from dance.explore import pg2 as stage_sheets
from dance.explore import softgate as parsing_sheets
from dance.explore import xing as candidate_sheets
from dance.explore._subject import Subject
from dance.generators import _single as single
from dance.generators import dense_transfer, dpig, nted, pg2, softgate, xing
from dance.surface import parsing
from dance.training import losses, nted_swap
from dance.types import Array, Frame, Generator, InputError, Person, Pose, View

NAMES = plugins.names("dance.explore")
_WIDTH, _HEIGHT = 176, 264  # of a cell: the small networks draw 48x32
_LABEL = 30  # pixels at its top that words may cover


@pytest.fixture
def other(fitted_person: Person) -> Person:
    """The drawn person with other colours."""
    (view,) = fitted_person.views
    changed = View(Frame(view.frame.rgb[..., ::-1].copy()), view.pose, view.alpha)
    return Person([changed], fitted_person.plate, fitted_person.track, fitted_person.physique)


def fresh(name: str) -> Generator:
    torch.manual_seed(3)
    made: Generator = plugins.load("dance.generators", name).untrained()
    return made


def cell(sheet: Array, row: int, column: int) -> Array:
    """A picture on a sheet, without what is written on it."""
    top, left = row * _HEIGHT, column * _WIDTH
    return sheet[top + _LABEL : top + _HEIGHT, left : left + _WIDTH]


def textured(*networks: torch.nn.Module) -> None:
    """Weights large enough for what they make to be seen."""
    torch.manual_seed(5)
    for network in networks:
        for parameter in network.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)


@pytest.fixture
def as_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bodies that people have are taken as they are."""
    monkeypatch.setattr(texture_sheets.bodies, "of_person", lambda person, options: person)


@pytest.mark.usefixtures("as_fitted")
@pytest.mark.parametrize("name", NAMES)
def test_everything_that_is_explored_is_a_generator_and_says_which_pictures_it_makes(
    name: str, fitted_person: Person, other: Person, fitted_dance: list[Pose]
) -> None:
    plugin, generator = plugins.load("dance.explore", name), fresh(name)
    subject = Subject(fitted_person, fitted_dance[:2], other)
    made = plugin.explore(generator, subject, plugin.Config())
    assert made
    for file, content in made.items():
        assert content.dtype == np.uint8
        if content.ndim == 4:
            assert file.endswith(".mp4") and content.shape[-1] == 3
        else:
            assert file.endswith(".png") and (content.ndim == 2 or content.shape[-1] == 3)
    # All there is to see is told in the file's own words.
    stems = {file.replace("_1.", "_N.").replace("_2.", "_N.") for file in made}
    assert all(stem in (plugin.__doc__ or "") for stem in stems)


def test_all_six_can_be_explored() -> None:
    assert set(NAMES) == {"dense_transfer", "dpig", "nted", "pg2", "softgate", "xing"}


def test_candidates_times_their_shares_are_the_picture(person: Person, dance: list[Pose]) -> None:
    generator = xing.untrained()
    textured(generator.network)
    code = generator.encode(person)
    (matrix,) = single.windows(code.seen, generator.architecture.frame, dance[1:2])
    with torch.no_grad():
        painted = candidate_sheets.painted(generator, code, dance[1], matrix)
    assert painted.shares.min() >= 0
    torch.testing.assert_close(painted.shares.sum(1), torch.ones(1, 48, 32))
    blend = (painted.candidates * painted.shares[:, :, None]).sum(1)
    torch.testing.assert_close(blend, painted.picture)
    torch.testing.assert_close(painted.candidates[:, -1], code.seen.picture)
    # On the sheet, too: the shares' cells are as bright as the shares are large.
    sheet = candidate_sheets.explore(
        generator, Subject(person, dance[1:2]), candidate_sheets.Config()
    )["candidates_1.png"]
    result = cv2.resize(pictures.levels(painted.picture), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)  # fmt: skip
    assert np.array_equal(cell(sheet, 0, 2), result[_LABEL:])
    second = cv2.resize(pictures.levels(painted.candidates[:, 3]), (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)  # fmt: skip
    assert np.array_equal(cell(sheet, 3, 1), second[_LABEL:])


def test_a_second_stage_that_adds_nothing_leaves_an_even_grey(
    person: Person, dance: list[Pose]
) -> None:
    generator = pg2.untrained()
    textured(generator.network)
    subject = Subject(person, [dance[1]])
    some = stage_sheets.explore(generator, subject, stage_sheets.Config())["stages.png"]
    assert cell(some, 0, 3).std() > 3 and not np.array_equal(cell(some, 0, 2), cell(some, 0, 4))
    for parameter in generator.network.refine.out.parameters():
        parameter.data.zero_()
    none = stage_sheets.explore(generator, subject, stage_sheets.Config())["stages.png"]
    assert (cell(none, 0, 3) == 128).all()
    assert np.array_equal(cell(none, 0, 2), cell(none, 0, 4))


def test_from_one_person_to_another_begins_with_the_one_and_ends_with_the_other(
    person: Person, other: Person, dance: list[Pose]
) -> None:
    generator = dpig.untrained()
    textured(generator.network, generator.coders.pose, generator.coders.samplers)
    with torch.no_grad():
        one, two = generator.encode(person), generator.encode(other)
        poses = [code_sheets.pose_code(generator, c.seen.xy + 3 * i, c.seen.score) for i, c in enumerate((one, two))]  # fmt: skip
        ends = [code_sheets.Codes(c.embedding, p) for c, p in zip((one, two), poses, strict=True)]
        own, others = (
            code_sheets.drawn(generator, end.appearance, *code_sheets.posed(generator, end.pose))
            for end in ends
        )
        assert not np.array_equal(own, others)

        def at(kind: str, share: float) -> Array:
            return code_sheets.interpolated(generator, *ends, kind=kind, share=share)

        assert np.array_equal(at("everything", 0.0), own)
        assert np.array_equal(at("everything", 1.0), others)
        for kind in ("foreground", "background", "pose"):
            assert np.array_equal(at(kind, 0.0), own)
        # What is behind, and where they stand, stay the first person's.
        mixed = torch.cat([two.embedding[:, : generator.architecture.appearance], one.embedding[:, generator.architecture.appearance :]], 1)  # fmt: skip
        worn = code_sheets.drawn(generator, mixed, *code_sheets.posed(generator, ends[0].pose))
        assert np.array_equal(at("foreground", 1.0), worn)
        assert not np.array_equal(at("foreground", 0.5), worn)


def test_clothes_exchanged_with_oneself_change_nothing(person: Person, other: Person) -> None:
    generator = dpig.untrained()
    textured(generator.network, generator.coders.pose, generator.coders.samplers)
    own = generator.encode(person)

    @torch.no_grad()
    def clothes(somebody: Person) -> Array:
        pose = own.seen.xy, own.seen.score
        return code_sheets.clothes(generator, own, generator.encode(somebody), pose)

    pieces = range(2, 2 + len(dpig.CLOTHES) + 2)
    alone, both = clothes(person), clothes(other)
    for column in pieces:
        assert np.array_equal(cell(alone, 0, column), cell(alone, 0, 1))
        assert not np.array_equal(cell(both, 0, column), cell(both, 0, 1))


def test_the_same_seed_draws_the_same_people_and_another_others(
    person: Person, dance: list[Pose]
) -> None:
    generator = dpig.untrained()
    textured(generator.network, generator.coders.pose, generator.coders.samplers)
    sheets = [
        code_sheets.explore(generator, Subject(person, dance[:1]), code_sheets.Config(seed=seed))
        for seed in (1, 1, 2)
    ]
    first, again, another = (made["samples.png"] for made in sheets)
    assert np.array_equal(first, again)
    assert not np.array_equal(cell(first, 1, 0), cell(another, 1, 0))
    # Somebody at random is not the person, and not the next one.
    assert not np.array_equal(cell(first, 1, 0), cell(first, 1, 1))
    assert len(sheets[0]) == 1


def test_attention_of_textures_sums_to_one(person: Person, dance: list[Pose]) -> None:
    generator = nted.untrained()
    textured(generator.network)
    code = generator.encode(person)
    (matrix,) = single.windows(code.seen, generator.architecture.frame, dance[1:2])
    label = nted.shown(generator.architecture, *single.in_frame(dance[1:2], [matrix]))
    with torch.no_grad():
        _, scores = generator.network.draw(code.textures.values, label)
    for weights, score in zip(code.textures.weights, scores, strict=True):
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))
        assert weights.shape[-1] == score[0, 0].numel()
    config = texture_sheets.Config(textures=2)
    made = texture_sheets.explore(generator, Subject(person, dance[1:3]), config)
    assert set(made) == {"textures_1.png", "textures_2.png"}
    # Two rows for each set below the first, two textures beside the regions, and the colours carried.
    assert made["textures_1.png"].shape == ((1 + 2 * len(scores)) * _HEIGHT, 4 * _WIDTH, 3)


@pytest.mark.usefixtures("as_fitted")
def test_ones_own_garment_changes_nothing_and_anothers_does(
    fitted_person: Person, other: Person, dance: list[Pose], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = nted.untrained()
    textured(generator.network)
    # Three textures are too few for one of them to be a garment: all are exchanged.
    monkeypatch.setattr(
        texture_sheets.nted_swap, "guess", lambda mine, *rest: torch.ones(1, mine.shape[1])
    )

    def garment(somebody: Person) -> Array:
        subject = Subject(fitted_person, dance[1:2], somebody)
        return texture_sheets.explore(generator, subject, texture_sheets.Config())["garment.png"]

    alone, both = garment(fitted_person), garment(other)
    assert np.array_equal(cell(alone, 1, 3), cell(alone, 1, 0))
    assert (cell(alone, 1, 4) == 128).all()
    assert np.array_equal(cell(both, 1, 3), cell(both, 1, 1))
    assert not np.array_equal(cell(both, 1, 3), cell(both, 1, 0))


@pytest.mark.usefixtures("as_fitted")
def test_with_features_it_is_searched_how_far_each_texture_is_exchanged(
    fitted_person: Person, other: Person, dance: list[Pose], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = nted.untrained()
    textured(generator.network)
    generator.network.requires_grad_(False)
    small = losses.VGG19((2, 2, 3, 4, 4)).requires_grad_(False)
    monkeypatch.setattr(texture_sheets.losses, "vgg19", lambda path, device: small)
    found, swap = [], nted_swap.swap

    def kept(*args: Any, **options: Any) -> nted_swap.Swap:
        found.append(swap(*args, **options))
        return found[-1]

    monkeypatch.setattr(texture_sheets.nted_swap, "swap", kept)
    monkeypatch.setattr(
        texture_sheets.nted_swap, "guess", lambda mine, *rest: torch.full((1, mine.shape[1]), 0.5)
    )
    config = texture_sheets.Config(vgg=Path("vgg.safetensors"), steps=3)
    texture_sheets.explore(generator, Subject(fitted_person, dance[1:2], other), config)
    (one,) = found
    assert any((coefficients != 0.5).any() for coefficients in one.coefficients)


@pytest.mark.usefixtures("as_fitted")
def test_a_garment_that_is_not_worn_is_refused(
    fitted_person: Person, other: Person, dance: list[Pose], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        texture_sheets.softgate, "parsed", lambda person: np.zeros(person.size, np.uint8)
    )
    subject = Subject(fitted_person, dance[:1], other)
    with pytest.raises(InputError, match="garment = shoes: the person's picture shows none"):
        texture_sheets.explore(nted.untrained(), subject, texture_sheets.Config(garment="shoes"))


@pytest.mark.usefixtures("as_fitted")
def test_a_garments_place_is_where_its_labels_are(fitted_person: Person) -> None:
    generator = nted.untrained()
    upper, lower = (texture_sheets.worn(generator, fitted_person, g) for g in ("upper", "lower"))
    assert upper.shape == (1, 1, 48, 32) and upper.max() <= 1 and upper.sum() > 20
    rows = torch.arange(48.0)[:, None]
    # Trousers are worn below shirts.
    assert (lower[0, 0] * rows).sum() / lower.sum() > (upper[0, 0] * rows).sum() / upper.sum() + 3


def test_an_atlas_that_was_painted_changes_the_texels_that_are_drawn(
    fitted_person: Person,
    fitted_dance: list[Pose],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = fresh("dense_transfer")
    assert isinstance(generator, dense_transfer.Transfer)
    subject = Subject(fitted_person, [fitted_dance[1]])
    code = generator.encode(fitted_person)
    monkeypatch.setattr(generator, "encode", lambda person: code)
    made = atlas_sheets.explore(generator, subject, atlas_sheets.Config())
    assert made["atlas.png"].shape == (4 * 128, 6 * 128, 3) == made["charts.png"].shape
    # Of the first two charts, back and front of the torso, one was seen.
    back, front = (made["atlas_seen.png"][:128, i : i + 128].astype(int) for i in (0, 128))
    unseen = [(np.abs(tile - 159) <= 1).all(-1).mean() for tile in (back, front)]
    assert unseen[0] > 0.9 and unseen[1] < 0.5
    path = tmp_path / "atlas.png"

    def drawn_with(atlas: Array) -> Array:
        Image.fromarray(atlas).save(path)
        config = atlas_sheets.Config(atlas=path)
        return atlas_sheets.explore(generator, subject, config)["drawn.png"]

    same = drawn_with(made["atlas.png"])
    # But for the rounding to levels in the file.
    assert np.abs(cell(same, 1, 3).astype(int) - cell(same, 0, 3)).max() <= 2
    assert np.abs(cell(same, 1, 2).astype(int) - 128).max() <= 4
    red = np.zeros_like(made["atlas.png"])
    red[..., 0] = 255
    painted = drawn_with(red)
    on_it = cell(painted, 1, 3)
    body = cell(painted, 0, 2).sum(-1) > 150
    inside = cv2.erode(body.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    assert inside.sum() > 200
    assert (np.abs(on_it[inside].astype(int) - (255, 0, 0)) < 12).all()
    assert np.array_equal(cell(painted, 0, 5), cell(same, 0, 5))


def test_a_parsing_given_back_is_drawn_from(
    fitted_person: Person, fitted_dance: list[Pose], tmp_path: Path
) -> None:
    generator = softgate.untrained()
    subject = Subject(fitted_person, [fitted_dance[1]])
    made = parsing_sheets.explore(generator, subject, parsing_sheets.Config())
    path = tmp_path / "parsing.png"
    parsing.write(path, made["parsing.png"])
    config = parsing_sheets.Config(parsing=path)
    again = parsing_sheets.explore(generator, subject, config)
    assert np.array_equal(again["steps.png"], made["steps.png"])
    changed = np.where(made["parsing.png"] == 5, 7, made["parsing.png"])
    parsing.write(path, changed.astype(np.uint8))
    other = parsing_sheets.explore(generator, subject, config)
    coat = cell(other["steps.png"], 0, 1), cell(made["steps.png"], 0, 1)
    assert not np.array_equal(*coat)


def test_a_matcher_that_has_learnt_nothing_moves_nothing(
    fitted_person: Person, fitted_dance: list[Pose]
) -> None:
    generator = softgate.untrained()
    made = parsing_sheets.explore(
        generator, Subject(fitted_person, [fitted_dance[1]]), parsing_sheets.Config()
    )["steps.png"]
    apart = np.abs(cell(made, 1, 1).astype(int) - cell(made, 0, 0))
    assert np.median(apart) <= 2 and apart.mean() < 12


def test_labels_have_the_colours_and_the_legend_names_only_those_there_are() -> None:
    numbers = np.zeros((48, 32), np.int64)
    numbers[10:20], numbers[30:40] = 5, 13
    shares = torch.nn.functional.one_hot(torch.from_numpy(numbers), 20).movedim(-1, 0)[None].float()
    assert np.array_equal(parsing_sheets.coloured(shares), parsing.palette()[numbers])
    shown = parsing_sheets.legend(shares, (48, 32)).reshape(-1, 3)
    present = {number for number in range(1, 20) if (shown == parsing.palette()[number]).all(1).any()}  # fmt: skip
    assert present == {5, 13}


def test_a_matte_shows_what_is_behind() -> None:
    picture = torch.ones(1, 4, 2, 2)
    picture[:, 3, 0] = 0
    assert pictures.levels(picture)[:, 0, 0].tolist() == [208, 255]


def test_heat_is_where_the_map_is_large() -> None:
    over = np.full((40, 40, 3), 200, np.uint8)
    values = torch.zeros(8, 8)
    values[6, 1] = 0.5
    shown = pictures.heat(values, over).astype(int).sum(-1)
    assert shown[32, 7] > 400
    assert shown[5, 30] == 3 * 70
    # On a scale to 1 half is less bright than on its own.
    assert pictures.heat(values, over, top=1.0).astype(int).sum(-1)[32, 7] < shown[32, 7]


def test_every_region_has_a_colour_of_its_own() -> None:
    colours = pictures.hues(64).astype(int)
    apart = np.abs(colours[:, None] - colours[None]).sum(-1) + 999 * np.eye(64, dtype=int)
    assert apart.min() > 5
    numbers = torch.arange(4).view(2, 2)
    assert np.array_equal(pictures.regions(numbers, (4, 4))[::2, ::2].reshape(-1, 3), colours[:4])
