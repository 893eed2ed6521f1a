"""What PG2, DPIG and XingGAN teach, as published; and that what all presets ask for is there."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import small_albums
import torch
import torch.nn.functional as F  # noqa: N812  (its customary name)
from accelerate import Accelerator
from small_recipes import OPTIONS, STAGES, batch, made, module
from torch import nn

from dance import config, plugins
from dance.config import ConfigError
from dance.generators import _pg2_nets as nets
from dance.generators import pg2
from dance.training import loop
from dance.training.album import open_album
from dance.training.loop import TrainConfig
from dance.training.recipes import _dcgan, _steps, dpig, xing
from dance.types import InputError

PRESETS = Path(__file__).parents[3] / "configs" / "train"
each = pytest.mark.parametrize("name", ["pg2", "dpig", "xing"])


def learnt(before: dict[str, Any], taught: Any) -> set[str]:
    """The parts of networks that are not as they were any more."""
    after = taught.state_dict()["networks"]
    return {
        f"{net}.{key.split('.')[0]}" if net == "generator" else net
        for net in after
        for key, value in after[net].items()
        if not torch.equal(value, before[net][key])
    }


def test_stages_come_as_the_budget_is_used_and_rates_fall_as_published(album: Path) -> None:
    changes = {"shares": {"appearance": 120, "pose": 60, "samplers": 60}, "halved": 50 / 120, "rate": 2e-5}  # fmt: skip
    taught: Any = made("dpig", album, **changes, samplers={})
    seen = []
    for share in (0.0, 0.2, 0.21, 0.42, 0.49, 0.51, 0.74, 0.76, 0.99):
        taught.begin(share, taught.generator)
        rates = {g["lr"] for o in taught._optimisers.values() for g in o.param_groups}
        seen.append((taught.stage, [round(rate / 2e-5, 3) for rate in rates]))
    appearance = [("appearance", [rate]) for rate in (1.0, 1.0, 0.5, 0.25, 0.25)]
    assert seen == [*appearance, *[("pose", [1.0])] * 2, *[("samplers", [1.0])] * 2]
    assert all(isinstance(o, torch.optim.RMSprop) for o in taught._optimisers.values())
    crossed: Any = made("xing", album)
    crossed.begin(5 / 6, crossed.generator)
    assert crossed._optimisers["judges"].param_groups[0]["lr"] == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("name", "stage", "parts"),
    [
        ("pg2", "coarse", {"generator.coarse"}),
        ("pg2", "refined", {"generator.refine", "judge"}),
        ("dpig", "appearance", {"generator.appearance", "judge"}),
        ("dpig", "pose", {"generator.pose"}),
        ("dpig", "samplers", {"generator.samplers", "critics"}),
    ],
)
def test_a_stage_teaches_its_own_networks_alone(
    name: str, stage: str, parts: set[str], album: Path
) -> None:
    taught = made(name, album, stage)
    before = copy.deepcopy(taught.state_dict()["networks"])
    taught.step(batch(name, album))
    assert learnt(before, taught) == parts


def test_a_new_stage_goes_on_from_the_average(album: Path) -> None:
    for name in ("pg2", "dpig"):
        taught = made(name, album)
        averaged = copy.deepcopy(taught.generator)
        with torch.no_grad():
            for parameter in averaged.parameters():
                parameter.add_(1)
        assert taught.begin(0.7, averaged)
        ours, theirs = (net.state_dict() for net in (taught.generator, averaged))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_pg2_is_taught_the_published_sums(album: Path) -> None:
    """Of pictures without a matte: 50 times L1, the body's twice; both pictures are wrong for the adversary."""
    generator = OPTIONS["pg2"]["generator"] | {"alpha": False}
    changes = {"generator": generator, "weights": {}}
    taught: Any = made("pg2", album, "refined", **changes)
    item = batch("pg2", album, 3, **changes)
    target, mask = item["target"], item["target_mask"]
    assert set(mask.unique().tolist()) == {0, 1}
    with torch.no_grad():
        _, drawn = taught.generator(item["source"], item["target_maps"])
        real, fake, given = taught._judge(torch.cat([target, drawn, item["source"]])).chunk(3)
        one, nothing = torch.ones(3), torch.zeros(3)
        bce = F.binary_cross_entropy_with_logits
        expected = {
            "colours": 50 * ((drawn - target).abs().mean() + ((drawn - target).abs() * mask).mean()),
            "gan": bce(fake, one),
        }  # fmt: skip
    before = copy.deepcopy(taught.generator.refine)
    parts = taught.step(item)
    assert set(parts) == {"colours", "gan", "judge"}
    for name, value in expected.items():
        assert parts[name] == pytest.approx(float(value), rel=1e-4), name
    wanted = 0.5 * bce(real, one) + 0.25 * bce(given, nothing) + 0.25 * bce(fake, nothing)
    assert parts["judge"] == pytest.approx(float(wanted), rel=1e-4)
    assert not torch.equal(before.out.weight, taught.generator.refine.out.weight)


def test_pg2_before_its_second_stage_saves_what_the_first_draws(
    album: Path, tmp_path: Path
) -> None:
    taught: Any = made("pg2", album)
    taught.save(tmp_path / "g.safetensors", taught.generator)
    drawing: Any = pg2.build(pg2.Config(weights=tmp_path / "g.safetensors"), "cpu")
    item = batch("pg2", album)
    with torch.no_grad():
        coarse, refined = drawing.network(item["source"], item["target_maps"])
    assert torch.equal(coarse, refined)
    assert float(taught.generator.refine.out.weight.detach().abs().max()) > 0


def test_dpig_draws_a_picture_from_its_own_code_unless_told_otherwise(album: Path) -> None:
    for across, name in ((False, "target"), (True, "source")):
        taught: Any = made("dpig", album, across=across, weights={})
        item = batch("dpig", album)
        with torch.no_grad():
            code = dpig._code(taught.generator, item, name)
            out = taught.generator.appearance.decode(code, item["target_maps"])
            drawn = _steps.on_grey(nets.with_matte(out))
        wanted = 20 * float((drawn - item["target"]).abs().mean())
        assert taught.step(item)["colours"] == pytest.approx(wanted, rel=1e-4)


def test_dpigs_codes_can_start_larger(album: Path) -> None:
    item, codes = batch("dpig", album), []
    for start in (1.0, 10.0):
        torch.manual_seed(0)
        networks = made("dpig", album, code_start=start).generator
        codes.append(dpig._code(networks, item, "source"))
    parts = networks.samplers["foreground"].first.in_features
    torch.testing.assert_close(codes[1][:, :parts], 10 * codes[0][:, :parts])


def test_dpigs_critics_are_clipped_and_taught_more_often(album: Path) -> None:
    taught: Any = made("dpig", album, "samplers", samplers={"critics": 3})
    count: list[str] = []
    update = taught._update
    taught._update = lambda part, loss: (count.append(part), update(part, loss))
    parts = taught.step(batch("dpig", album))
    assert count == ["critics"] * 3 + ["samplers"] and set(parts) == {"critics", "samplers"}
    assert max(float(p.detach().abs().max()) for p in taught._critics.parameters()) <= 0.01


def test_dpigs_poses_come_back_from_their_codes_once_these_are_learnt(album: Path) -> None:
    taught: Any = made("dpig", album, "pose", pose_rate=5e-3)
    item = batch("dpig", album)
    first = taught.step(item)["pose"]
    for _ in range(150):
        last = taught.step(item)["pose"]
    assert last < 0.2 * first
    maps = taught._through_code(taught.generator.pose, item)
    apart = (maps - item["target_maps"]).abs().mean()
    assert maps.shape == item["target_maps"].shape and float(apart) < 0.15


def test_xinggan_is_taught_the_published_sums(album: Path) -> None:
    """5 times the mean of both adversaries, 50 times L1; in the order they were published."""
    generator = OPTIONS["xing"]["generator"] | {"alpha": False, "dropout": 0.0}
    adversaries = OPTIONS["xing"]["adversaries"] | {"dropout": 0.0}
    changes = {"generator": generator, "adversaries": adversaries, "weights": {}}
    taught: Any = made("xing", album, **changes)
    item = batch("xing", album, **changes)
    with torch.no_grad():
        maps = torch.cat([item["source_maps"], item["target_maps"]], 1)
        drawn = taught.generator(item["source"], maps)
        seen = {"pose": item["target_maps"], "person": item["source"]}
        fake, real = (
            {name: taught._judges[name](torch.cat([x, seen[name]], 1)) for name in seen}
            for x in (drawn, item["target"])
        )
        expected = {
            "gan": 5 * sum(((fake[name] - 1) ** 2).mean() for name in seen) / 2,
            "colours": 50 * (drawn - item["target"]).abs().mean(),
            "judge": 5 * sum(((real[n] - 1) ** 2).mean() + (fake[n] ** 2).mean() for n in seen) / 2,
        }
    parts = taught.step(item)
    assert set(parts) == set(expected)
    for name, value in expected.items():
        assert parts[name] == pytest.approx(float(value), rel=1e-4), name


def test_xinggans_scores_of_market_are_judged_in_half_precision_too(album: Path) -> None:
    adversaries = OPTIONS["xing"]["adversaries"] | {"loss": "bce", "norm": "batch"}
    taught: Any = made("xing", album, adversaries=adversaries)
    with torch.autocast("cpu", torch.bfloat16):
        parts = taught.step(batch("xing", album))
    assert all(math.isfinite(value) for value in parts.values())


def test_xinggan_looks_through_vgg_where_it_is_given(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.blocks = nn.ModuleList([nn.ModuleList(layers)])

    monkeypatch.setattr(xing.losses, "vgg19", lambda path, device: Small())
    taught = made("xing", album, vgg=str(tmp_path / "vgg.safetensors"))
    assert taught.step(batch("xing", album))["looks"] > 0
    with pytest.raises(InputError, match=r"another setting of recipe\.options\.vgg"):
        made("xing", album).load_state_dict(taught.state_dict())


def test_a_matte_that_is_nowhere_is_still_taught() -> None:
    """L1 would be content with none where somebody fills less than half, and its gradient die with the sigmoid."""
    logits = torch.full((1, 1, 4, 4), -20.0, requires_grad=True)
    wanted = torch.zeros(1, 1, 4, 4)
    wanted[..., 0] = 1
    _steps.matte(logits, wanted).backward()
    assert logits.grad is not None and float(logits.grad[..., 0].abs().min()) > 0.05


@each
def test_every_stage_saves_what_the_plug_in_loads(name: str, album: Path, tmp_path: Path) -> None:
    generator = plugins.load("dance.generators", name)
    for stage in STAGES[name]:
        taught: Any = made(name, album, stage)
        taught.step(batch(name, album))
        with torch.no_grad():
            shown = taught.show(taught.generator.eval(), batch(name, album))
        assert shown.drawn.shape == shown.target.shape and shown.label.shape[2] == 48
        path = tmp_path / f"{stage}.safetensors"
        taught.save(path, taught.generator)
        generator.build(generator.Config(weights=path), "cpu")


@each
def test_pictures_without_a_matte_teach_generators_without_one(name: str, tmp_path: Path) -> None:
    folder = small_albums.listed(tmp_path / "d", "{person:04d}_c1s{view}.jpg", (48, 32), "market")
    with pytest.raises(InputError, match="no matte"):
        batch(name, folder)
    plain = {
        "generator": OPTIONS[name]["generator"] | {"alpha": False},
        "weights": {k: v for k, v in OPTIONS[name]["weights"].items() if k != "matte"},
    }
    taught = made(name, folder, **plain)
    assert all(math.isfinite(v) for v in taught.step(batch(name, folder, **plain)).values())


@each
def test_a_matte_is_only_taught_where_one_is_drawn(name: str, album: Path) -> None:
    with pytest.raises(ConfigError, match=r"weights\.matte needs"):
        made(name, album, generator=OPTIONS[name]["generator"] | {"alpha": False})


@each
def test_a_run_without_a_person_leaves_weights_scores_and_sheets(
    name: str, album: Path, tmp_path: Path
) -> None:
    values = {
        "recipe": {"name": name, "options": OPTIONS[name]}, "data": str(album),
        "output": str(tmp_path / "run"), "steps": 4, "batch": 2, "device": "cpu", "workers": 0,
        "threads": 1, "checks": 2, "scored": 2, "shown": 1,
    }  # fmt: skip
    report = loop.train(config.check(TrainConfig, values, "test"))
    assert report.best is not None and (report.output / "generator.safetensors").is_file()
    assert not (report.output / "person").exists()
    assert len(list((report.output / "samples").glob("*.png"))) == 2


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_are_whole(path: Path) -> None:
    wanted = config.load(TrainConfig, path, ["data=d", "output=o"])
    config.check(module(wanted.recipe.name).Config, wanted.recipe.options, "test")
    assert path.stem.removesuffix("_cpu").removesuffix("_gpu") == wanted.recipe.name


@pytest.mark.parametrize("name", OPTIONS)
def test_small_weights_are_small(name: str, album: Path) -> None:
    """At most 5 MB in half precision, so that they can go with the package."""
    wanted = config.load(TrainConfig, PRESETS / f"{name}_cpu.yaml", ["data=d", "output=o"])
    options = config.check(module(name).Config, wanted.recipe.options, "test")
    made_for = module(name).open_data(album)
    whole = module(name).build(options, made_for, Accelerator(cpu=True)).generator
    assert 2 * sum(value.numel() for value in whole.state_dict().values()) <= 5_000_000


def test_published_judges_fit_the_published_pictures() -> None:
    """Of 256 x 256: PG2's five layers give one score, DPIG's four eight."""
    sizes = {"pg2": (_dcgan.PG2_LARGE_WIDTHS, None, 1), "dpig": (_dcgan.WIDTHS, 16384, 8)}
    for widths, row, scores in sizes.values():
        narrow = tuple(width // 64 for width in widths)
        judge = _dcgan.Discriminator((256, 256), widths=narrow, row=row and row // 64)
        assert len(judge(torch.zeros(1, 3, 256, 256))) == scores


@pytest.mark.parametrize("name", OPTIONS)
def test_recipes_of_many_people_read_albums(name: str) -> None:
    assert module(name).open_data is open_album
