"""Who people are, and how their clothes lie on them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dance.surface import body as bodies
from dance.surface.body import AVERAGE, BONES, SHAPE, Body
from dance.surface.charts import Charts
from dance.surface.parsing import LABELS
from dance.surface.parts import PARTS
from dance.synthetic import motion, wear
from dance.synthetic.assets import Pack
from dance.synthetic.people import MATERIALS, Character, Tint, draw_lots
from dance.synthetic.wear import Figure
from dance.types import Array

WORN = {"clothes": "suit", "shoes": "shoes", "hair": "hair"}


def turned(**turns: tuple[float, float, float]) -> Array:
    """Bones' global rotations (1, B, 3, 3) of somebody at rest but for what is named, in radians."""
    local = np.zeros((len(BONES), 3))
    for bone, turn in turns.items():
        local[BONES.index(bone)] = turn
    return motion.global_turns(bodies.rotations(torch.from_numpy(local)).numpy()[None])


def test_lots_make_the_same_person_again_and_others_with_other_numbers(pack: Pack) -> None:
    first = [draw_lots(pack, np.random.default_rng(n)) for n in range(6)]
    again = [draw_lots(pack, np.random.default_rng(n)) for n in range(6)]
    assert first == again
    assert len({person.shape for person in first}) == 6
    assert all(set(person.worn) == set(WORN) for person in first)


def test_skin_moves_as_the_body_does(body: Body, figure: Figure) -> None:
    turns = turned(left_forearm=(0.3, -0.8, 0.2), spine=(0.4, 0, 0), pelvis=(0, 0.5, 0))
    root = np.array([[0.1, -0.9, 3.0]])
    own = wear.posed(figure, motion.transforms(body, figure, turns, root)[0])
    local = torch.from_numpy(motion.local_turns(turns))
    wanted = bodies.posed(body, torch.tensor(AVERAGE), local, torch.from_numpy(root).float())[0]
    assert np.abs(own[: len(wanted)] - wanted.numpy()).max() < 1e-4


@pytest.mark.parametrize("changes", [{}, {"age": 0.35}, {"weight": 0.9, "trunk": 0.1}])
def test_clothes_stay_close_over_the_skin_of_any_shape(
    body: Body, charts: Charts, pack: Pack, changes: dict[str, float]
) -> None:
    shape = tuple(changes.get(name, value) for name, value in zip(SHAPE, AVERAGE, strict=True))
    figure = wear.dress(body, charts, pack, Character(shape, WORN, "plain", {}, {}))
    skin, worn = np.split(figure.points, [len(body.template)])
    bound = np.concatenate(
        [wear.read_garment(item.mhclo).rows[:, 0] for item in _items(pack) if item.mhclo]
    )
    rows = np.searchsorted(wear.base_rows(body), bound)
    away = np.linalg.norm(worn - skin[rows], axis=1)
    assert away.min() > 0.004 and away.max() < 0.03


def _items(pack: Pack):  # type: ignore[no-untyped-def]
    return [pack.find(kind, name) for kind, name in WORN.items()]


def test_what_is_worn_has_its_material_and_label(figure: Figure) -> None:
    middles = figure.points[figure.faces].mean(1)
    for material, label in (("outer", "upper clothes"), ("inner", "trousers"), ("hair", "hair")):
        own = figure.material == MATERIALS.index(material)
        assert own.any() and set(figure.label[own]) == {LABELS.index(label)}
    left = figure.label == LABELS.index("left shoe")
    assert left.any() and (middles[left][:, 0] > 0).all()
    bare = figure.material == MATERIALS.index("skin")
    hands = np.isin(figure.part, [PARTS.index("left hand"), PARTS.index("right hand")]) & bare
    arms = {LABELS.index("left arm"), LABELS.index("right arm")}
    assert hands.any() and set(figure.label[hands]) <= arms


def test_clothes_have_the_part_and_the_chart_place_of_the_skin_below(
    body: Body, charts: Charts, figure: Figure
) -> None:
    suit = np.flatnonzero(figure.material == MATERIALS.index("inner"))[::97]
    skin = figure.points[body.faces.numpy()].mean(1)
    cloth = figure.points[figure.faces[suit]].mean(1)
    below = ((skin[:, None] - cloth) ** 2).sum(-1).argmin(0)
    assert (figure.part[suit] == charts.part[below]).mean() > 0.9
    away = figure.chart[suit].mean(1) - charts.uv[below].mean(1)
    assert np.median(np.abs(away)) < 0.03


def test_a_garment_hides_the_skin_it_says_it_lies_over(
    body: Body, charts: Charts, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = wear.dress(body, charts, pack, Character(AVERAGE, WORN, "plain", {}, {}))
    chest = wear.base_rows(body)[body.faces.numpy()[charts.part == PARTS.index("torso front")]]
    hiding = replace(wear.read_garment(_items(pack)[0].mhclo), hidden=np.unique(chest))
    monkeypatch.setattr(wear, "read_garment", lambda _: hiding)
    wear._piece.cache_clear()
    bare = {"clothes": "suit"}
    figure = wear.dress(body, charts, pack, Character(AVERAGE, bare, "plain", {}, {}))
    wear._piece.cache_clear()

    def chests(of: Figure) -> int:
        own = of.part == PARTS.index("torso front")
        return int((own & (of.material == MATERIALS.index("skin"))).sum())

    assert chests(whole) > 500 and chests(figure) == 0


def test_a_tint_turns_hue_and_leaves_coverage(body: Body, charts: Charts, pack: Pack) -> None:
    tints = {"outer": Tint(hue=1 / 3)}
    figure = wear.dress(body, charts, pack, Character(AVERAGE, WORN, "plain", tints, {}))
    outer, inner = (figure.textures[MATERIALS.index(m)] for m in ("outer", "inner"))
    assert outer is not None and inner is not None
    assert outer[0, 0].argmax() == 3 and (outer[..., 3] == 255).all()
    assert np.argmax(outer[0, 0, :3]) != np.argmax(inner[0, 0, :3]) == 2


def test_a_glove_of_another_mesh_is_refused(
    body: Body, charts: Charts, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    garment = wear.read_garment(_items(pack)[0].mhclo)
    monkeypatch.setattr(wear, "read_garment", lambda _: replace(garment, rows=garment.rows + 20000))
    with pytest.raises(ValueError, match="hm08"):
        wear.dress(body, charts, pack, Character(AVERAGE, {"clothes": "suit"}, "plain", {}, {}))
