"""The whole way with every generator that draws anybody from one picture, as its own config says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dance import config, demo, pipeline, plugins, video, weights
from dance.generators import _single as single
from dance.types import Frame

CONFIGS = Path(__file__).parents[1] / "configs" / "video"
NAMES = ("dense_transfer", "dpig", "nted", "pg2", "softgate", "xing")
QUICK = ("nted", "xing")  # the others take as long or longer, and fit bodies first
SMALL = ["output.height=160", "output.encoding.preset=ultrafast"]
FRAMES = 4


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drivers") / "short.mp4"
    frames: list[Frame] = list(video.pick(demo.DRIVER, list(range(0, 8 * FRAMES, 8))))
    video.write(frames, path, encoding=video.Encoding(preset="ultrafast"))
    return path


@pytest.fixture
def untaught(name: str, tmp_path: Path) -> Path:
    """A weights file of the generator's small networks, as it begins."""
    torch.manual_seed(2)
    module = plugins.load("dance.generators", name)
    a = module.untrained(alpha=True).architecture
    single.save(tmp_path / "fresh.safetensors", name, module.body(a), a)
    return tmp_path / "fresh.safetensors"


def pictures(path: Path) -> np.ndarray:
    return np.stack([frame.rgb for frame in video.read(path)]).astype(int)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in NAMES])  # fmt: skip
def test_its_config_draws_every_frame_with_given_weights(
    name: str, untaught: Path, short: Path, tmp_path: Path
) -> None:
    given = [*SMALL, f"generator.options.weights={untaught}"]
    options = config.load(pipeline.VideoConfig, CONFIGS / f"{name}.yaml", given)
    assert options.generator.name == name
    made = pipeline.make_video(options, short, demo.SOURCE, tmp_path / "out.mp4")
    found = pictures(tmp_path / "out.mp4")
    assert made.frames == len(found) == FRAMES
    # Something is drawn where the dancer is, and it moves.
    assert np.abs(found - found[0]).max() > 20
    learnt = video.probe(tmp_path / "out.mp4").metadata["dance_weights"]
    assert learnt == weights.sha256(untaught)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_out_of_the_box_the_person_is_drawn_in_their_colours(
    name: str, short: Path, tmp_path: Path
) -> None:
    options = config.load(pipeline.VideoConfig, CONFIGS / f"{name}.yaml", ["output.height=320"])
    extras = pipeline.Extras(save_poses=tmp_path / "track.npz")
    pipeline.make_video(options, short, demo.SOURCE, tmp_path / "out.mp4", extras=extras)
    puppet = config.load(pipeline.VideoConfig, None, ["output.height=320"])
    extras = pipeline.Extras(poses=tmp_path / "track.npz")
    pipeline.make_video(puppet, short, demo.SOURCE, tmp_path / "puppet.mp4", extras=extras)
    empty = pipeline.read_person(puppet, demo.SOURCE, (0, 0), "cpu", on_progress=lambda p: None).plate  # fmt: skip
    drawn, wanted = pictures(tmp_path / "out.mp4"), pictures(tmp_path / "puppet.mp4")
    person = np.abs(wanted - empty).max(-1) > 40
    assert 0.02 < person.mean() < 0.5
    apart, without = (np.abs(x - wanted)[person].mean() for x in (drawn, np.broadcast_to(empty, wanted.shape)))  # fmt: skip
    assert apart < 0.6 * without
