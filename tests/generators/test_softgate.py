"""Soft-Gated as a generator: the parsing of a person, its weights, published matchers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dance import convert, weights
from dance.generators import _single, softgate
from dance.generators import _softgate_match as match
from dance.generators import _softgate_nets as nets
from dance.surface import parsing
from dance.types import InputError, Person, Pose

FACTS: dict[str, Any] = {
    "output_dim": 18, "kernel_sizes": [2, 2, 2], "channels": [16, 5, 4], "widths": [2, 3, 4, 5],
}  # fmt: skip


def matcher_checkpoint(path: Path) -> Path:
    """As the published training saves it, of an old version."""
    network = match.network(FACTS)
    state = network.state_dict()
    keys = match.published_keys(network, FACTS)
    named = {theirs: state[ours] for ours, theirs in match.rename({k: k for k in keys}).items()}
    old = {k.replace(".model.", ".vgg."): v for k, v in named.items() if "batches" not in k}
    torch.save({"epoch": 10, "state_dict": old, "best_test_loss": 0.1}, path)
    return path


def test_the_person_is_parsed_by_their_body(fitted_person: Person) -> None:
    labels = softgate.parsed(fitted_person)
    assert labels.shape == fitted_person.size
    worn = {parsing.LABELS[number] for number in np.unique(labels)}
    assert {"background", "upper clothes"} <= worn and len(worn) > 4
    on, alpha = labels > 0, fitted_person.views[0].alpha > 0.5
    assert (on & alpha).sum() > 0.8 * (on | alpha).sum()


def test_the_network_is_shown_shares_that_sum_to_one(fitted_person: Person) -> None:
    made = softgate.untrained()
    code = made.encode(fitted_person)
    assert code.parsing.shape == (1, nets.LABELS, *made.architecture.frame.size)
    torch.testing.assert_close(code.parsing.sum(1), torch.ones(1, 48, 32), atol=1e-5, rtol=0)
    # Where there is no person there is background.
    outside = code.seen.matte[0, 0] == 0
    assert outside.any() and float(code.parsing[0, 0][outside].mean()) > 0.95


def test_without_a_body_a_parsing_must_be_given(
    tmp_path: Path, person: Person, dance: list[Pose]
) -> None:
    with pytest.raises(InputError, match=r"or a parsing, generator\.options\.parsing=FILE\.png"):
        softgate.untrained().encode(person)
    labels = np.where(person.views[0].alpha > 0.5, 5, 0).astype(np.uint8)
    parsing.write(tmp_path / "parsing.png", labels)
    made = softgate.untrained()
    given = softgate.SoftGated(
        made.architecture, made.network, "cpu", given=tmp_path / "parsing.png"
    )
    code = given.encode(person)
    assert float(code.parsing[0, [0, 5]].sum(0).min()) > 0.999
    drawn, _ = given.render(code, dance[:1], None)
    assert drawn.rgb.shape == (1, 3, *person.size)
    parsing.write(tmp_path / "parsing.png", labels[1:])
    with pytest.raises(InputError, match=r"parsing\.png"):
        given.encode(person)


def test_everything_on_the_way_can_be_looked_at(fitted_person: Person) -> None:
    made = softgate.untrained()
    maps = made.maps(np.full((2, 18, 2), 20.0), np.ones((2, 18)))
    assert maps.shape == (2, 18, 48, 32) and maps.max() == 1
    with torch.no_grad():
        found = made.synthesise(made.encode(fitted_person), maps)
    assert found.parsing.shape == (2, nets.LABELS, 48, 32)
    assert found.moved.affine.shape == (2, 6) and found.moved.plate.shape == (2, 18)


def test_weights_are_saved_with_what_they_need(
    tmp_path: Path, fitted_person: Person, dance: list[Pose]
) -> None:
    made, path = softgate.untrained(variant="published", alpha=True), tmp_path / "s.safetensors"
    _single.save(path, softgate.NAME, made.network, made.architecture)
    again = softgate.build(softgate.Config(weights=path), "cpu")
    one, _ = made.render(made.encode(fitted_person), dance[:2], None)
    other, _ = again.render(again.encode(fitted_person), dance[:2], None)
    assert torch.equal(one.rgb, other.rgb) and not other.rgb.requires_grad
    metadata = weights.read_metadata(path)
    config = json.loads(metadata["config"]) | {"variant": "fixed"}
    weights.save_safetensors(path, made.network, metadata | {"config": json.dumps(config)})
    with pytest.raises(InputError, match=r"missing: renderer\.warps\.0\.gate"):
        softgate.build(softgate.Config(weights=path), "cpu")


def test_the_published_variant_has_one_block_without_a_gate() -> None:
    published = softgate.untrained(variant="published").network
    assert len(published.renderer.warps) == 1 and published.parser.bounded
    assert published.renderer.warps[0].gate is None
    fixed = softgate.untrained(warps=3).network
    assert len(fixed.renderer.warps) == 3 and not fixed.parser.bounded
    assert all(isinstance(warp.gate, nn.Sequential) for warp in fixed.renderer.warps)


def test_a_published_matcher_is_converted_and_fits_in(tmp_path: Path) -> None:
    checkpoint = matcher_checkpoint(tmp_path / "best_pascal_checkpoint_adam_tps_grid_loss.pth")
    output = tmp_path / "matcher.safetensors"
    written = convert.convert("softgate", checkpoint, output)
    assert json.loads(written["published"]) == FACTS
    whole = softgate.untrained(
        matching={"side": 64, "features": (2, 3, 4, 5), "filters": (5, 4), "kernels": (2, 2)}
    )
    plate = whole.network.matcher.plate
    plate.load_state_dict(weights.read_tensors(output), strict=True)
    old = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(plate.regression.linear.weight, old["FeatureRegression.linear.weight"])


def test_what_is_no_matcher_is_refused(tmp_path: Path) -> None:
    checkpoint = matcher_checkpoint(tmp_path / "m.pth")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    short = {k: v for k, v in state.items() if k != "FeatureExtraction.vgg.2.bias"}
    for wrong, told in (
        ({"backbone.weight": torch.zeros(1)}, "is no geometric matcher"),
        (short, r"missing: features\.blocks\.0\.1\.bias"),
        ({**state, "stray": torch.zeros(1)}, "unexpected: stray"),
    ):
        with pytest.raises(InputError, match=rf"M\.pth: .*{told}"):
            softgate.converted(wrong, "M.pth")
    with pytest.raises(InputError, match="neither a face network nor a size"):
        softgate.converted(state, "M.pth", size=(8, 8))


def test_sizes_the_networks_cannot_take_are_refused() -> None:
    with pytest.raises(InputError, match=r"frame\.width = 30 must be a multiple of 4"):
        softgate.untrained(frame={"height": 48, "width": 30})
    with pytest.raises(InputError, match="side = 64 is too small"):
        softgate.untrained(matching={"side": 64})
