"""The estimator over mmpose, with random weights; skipped where mmpose is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import dance.demo
from dance.pose.estimators import mmpose as estimator
from dance.types import Frame, InputError

needs_mmpose = pytest.mark.skipif(
    importlib.util.find_spec("mmpose") is None,
    reason="needs mmpose, which is not part of the default installation: scripts/install_mmpose.py",
)
BODY = "body_2d_keypoint/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py"
WHOLE = (
    "wholebody_2d_keypoint/rtmpose/coco-wholebody/rtmpose-m_8xb64-270e_coco-wholebody-256x192.py"
)


def make_checkpoint(folder: Path, name: str = BODY) -> dict[str, Any]:
    """Options of one of mmpose's own configs with a checkpoint of random weights, as mmpose saves it."""
    spec = importlib.util.find_spec("mmpose")
    assert spec is not None and spec.origin is not None
    config = Path(spec.origin).parent / ".mim" / "configs" / name
    estimator._fill_torchvision()
    estimator._fill_mmcv()
    from mmpose.apis import init_model

    torch.manual_seed(0)
    model = init_model(str(config), None, device="cpu")
    meta = {"dataset_meta": {"sigmas": np.ones(17, np.float32)}, "epoch": 3}
    checkpoint = folder / "random.pth"
    torch.save({"meta": meta, "state_dict": model.state_dict()}, checkpoint)
    # Random weights are sure of nothing.
    return {"config": str(config), "checkpoint": str(checkpoint), "sure": 0}


@pytest.fixture(scope="module")
def frame() -> Frame:
    path = Path(dance.demo.__file__).parent / "source.png"
    rgb = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert rgb is not None
    return Frame(rgb)


def test_without_mmpose_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.py", "a.pth"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    config = estimator.Config(config=tmp_path / "config.py", checkpoint=tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"scripts/install_mmpose\.py"):
        estimator.build(config, "cpu")


def test_a_missing_file_is_named_first(tmp_path: Path) -> None:
    config = estimator.Config(config=tmp_path / "config.py", checkpoint=tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"config\.py: there is no such file"):
        estimator.build(config, "cpu")


@needs_mmpose
@pytest.mark.parametrize(("name", "joints"), [(BODY, 17), (WHOLE, 133)])
def test_random_weights_give_the_joints_of_the_config(
    tmp_path: Path, frame: Frame, name: str, joints: int
) -> None:
    config = estimator.Config(**make_checkpoint(tmp_path, name))
    built = estimator.build(config, "cpu")
    (pose,) = built(frame, None)
    assert np.count_nonzero(pose.xy.any(1)) == joints
    assert (pose.score[:joints] > 0).any() and (pose.score[joints:] == 0).all()
    # Whatever random weights say, it lies in the (padded) box around the person.
    assert (pose.xy[:joints] > -200).all() and (pose.xy[:joints] < 700).all()
    built.close()


@needs_mmpose
def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    options = make_checkpoint(tmp_path)
    torch.save({"state_dict": {"a": torch.zeros(1)}}, options["checkpoint"])
    with pytest.raises(InputError, match=r"random\.pth: does not fit the config"):
        estimator.build(estimator.Config(**options), "cpu")


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("harm"),))


@needs_mmpose
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = make_checkpoint(tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Harmful()}, options["checkpoint"])
    with pytest.raises(InputError, match="no checkpoint of plain weights"):
        estimator.build(estimator.Config(**options), "cpu")
    assert not (tmp_path / "harm").exists()
