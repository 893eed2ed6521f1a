import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dance.evaluation import mediapipe_runtime


class FakePose:
    """Finds a person in every second picture, at the middle of it."""

    smoothed: bool

    def __init__(self, *, model_complexity: int, smooth_landmarks: bool) -> None:
        assert model_complexity == 1
        type(self).smoothed = smooth_landmarks
        self.calls = 0

    def __enter__(self) -> "FakePose":
        return self

    def __exit__(self, *exc: object) -> None: ...

    def process(self, rgb: np.ndarray) -> object:
        self.calls += 1
        point = SimpleNamespace(x=0.5, y=0.25, z=-0.1, visibility=0.9)
        found = SimpleNamespace(landmark=[point] * 33)
        return SimpleNamespace(pose_landmarks=found if self.calls % 2 else None)


def test_landmarks_are_saved_in_pixels_with_what_was_found(
    make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solutions = SimpleNamespace(pose=SimpleNamespace(Pose=FakePose))
    monkeypatch.setitem(sys.modules, "mediapipe", SimpleNamespace(solutions=solutions))
    out = tmp_path / "poses.npz"
    mediapipe_runtime.main(str(make_clip("clip.mp4", 4)), str(out))
    values = np.load(out)
    assert values["found"].tolist() == [True, False, True, False]
    assert np.allclose(values["landmarks"][0, 7], [32, 12, -6.4, 0.9])
    assert not values["landmarks"][1].any()
    assert 0 < values["pose_seconds"] <= values["seconds"]
    assert FakePose.smoothed
    mediapipe_runtime.main(str(make_clip("clip.mp4", 4)), str(out), mediapipe_runtime.UNSMOOTHED)
    assert not FakePose.smoothed


def test_a_python_without_mediapipe_is_an_error_that_says_so(
    make_clip: Callable[..., Path],
) -> None:
    with pytest.raises(
        RuntimeError, match=r"failed on .*clip\.mp4: ModuleNotFoundError.*mediapipe"
    ):
        mediapipe_runtime.run(Path(sys.executable), make_clip("clip.mp4"))


def test_an_environment_that_is_made_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "made").touch()
    python = mediapipe_runtime.make(tmp_path)
    assert python.parent.parent == tmp_path and python.stem == "python"
