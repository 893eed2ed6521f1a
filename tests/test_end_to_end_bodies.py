"""The whole way with 3-D bodies: fitted where they are needed, kept with the poses, found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dance import config, demo, pipeline, video
from dance.pose import tracks
from dance.types import Frame

ROOT = Path(__file__).parents[1]
AVATAR = ROOT / "configs" / "video" / "avatar.yaml"
SMALL = ["output.height=160", "output.encoding.preset=ultrafast"]
FRAMES = 6


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drivers") / "short.mp4"
    frames: list[Frame] = list(video.pick(demo.DRIVER, list(range(FRAMES))))
    video.write(frames, path, encoding=video.Encoding(preset="ultrafast"))
    return path


@pytest.fixture(scope="module")
def danced(short: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The puppet's dance in mode body; its poses are beside it as track.npz."""
    folder = tmp_path_factory.mktemp("results")
    options = config.load(pipeline.VideoConfig, None, [*SMALL, "retarget.mode=body"])
    extras = pipeline.Extras(save_poses=folder / "track.npz")
    pipeline.make_video(options, short, demo.SOURCE, folder / "out.mp4", extras=extras)
    return folder / "out.mp4"


def test_mode_body_keeps_every_frame_and_its_poses_have_bodies(short: Path, danced: Path) -> None:
    assert video.probe(danced).frames == FRAMES
    track = tracks.load(danced.with_name("track.npz"))
    assert len(track) == FRAMES and all(pose.stance is not None for pose in track.poses)
    moved = np.abs(np.diff(track.xy[:, 9:11], axis=0)).max()
    assert moved > 0.5  # the wrists dance


@pytest.mark.parametrize("kept", ["track.npz", "openpose"])
def test_the_avatar_draws_saved_poses_with_and_without_bodies(
    kept: str, short: Path, danced: Path, tmp_path: Path
) -> None:
    poses = danced.with_name(kept)
    if kept == "openpose":
        tracks.save(tracks.load(danced.with_name("track.npz")), poses)
        assert tracks.load(poses).poses[0].stance is None
    options = config.load(pipeline.VideoConfig, AVATAR, SMALL)
    told: list[str] = []
    made = pipeline.make_video(
        options, short, demo.SOURCE, tmp_path / "out.mp4",
        extras=pipeline.Extras(poses=poses), on_progress=lambda p: told.append(p.stage),
    )  # fmt: skip
    assert made.frames == FRAMES
    # Only poses that come without bodies are fitted; the source always is.
    assert ("body" in told) == (kept == "openpose") and "source body" in told
    puppet, avatar = (next(iter(video.read(path))).rgb for path in (danced, tmp_path / "out.mp4"))
    apart = np.abs(puppet.astype(int) - avatar).max(-1) > 60
    assert apart.mean() < 0.06  # the same person in the same pose at the same place
