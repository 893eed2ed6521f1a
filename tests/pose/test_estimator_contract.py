"""What every pose estimator must do. A new file in `dance/pose/estimators` is tested by being there."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import dance.demo
from dance import plugins
from dance.config import ConfigError, Options, check
from dance.types import Estimator, Frame, InputError, Pose

PACKAGE = "dance.pose.estimators"


def demo_frame() -> Frame:
    """The rendered person of the demo."""
    path = Path(dance.demo.__file__).parent / "source.png"
    rgb = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert rgb is not None
    return Frame(rgb)


def recorded_options(folder: Path) -> dict[str, Any]:
    """A COCO file with two people in the first picture."""
    size = demo_frame().size
    people = [
        {
            "image_id": 0,
            "score": 1 - i / 4,
            "keypoints": [v for j in range(17) for v in (x, 9 * j, 0.9)],
        }
        for i, x in enumerate((100, 300))
    ]
    image = {"id": 0, "height": size[0], "width": size[1], "time": [0, 1]}
    path = folder / "people.json"
    path.write_text(json.dumps({"images": [image], "annotations": people}))
    return {"path": str(path)}


def mmpose_options(folder: Path) -> dict[str, Any]:
    if importlib.util.find_spec("mmpose") is None:
        pytest.skip("needs mmpose, which is not part of the default installation")
    from test_mmpose import make_checkpoint

    return make_checkpoint(folder)


OPTIONS = {"recorded": recorded_options, "mmpose": mmpose_options}


@pytest.fixture(params=plugins.names(PACKAGE), scope="module")
def estimator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Estimator]:
    name = request.param
    given = OPTIONS[name](tmp_path_factory.mktemp(name)) if name in OPTIONS else {}
    module = plugins.load(PACKAGE, name)
    try:
        built = module.build(check(module.Config, given, name), "cpu")
    except InputError as error:
        if "could not be fetched" in str(error):
            pytest.skip(str(error))
        raise
    with closing(built):
        yield built


@pytest.mark.parametrize("name", plugins.names(PACKAGE))
def test_options_are_strict(name: str) -> None:
    module = plugins.load(PACKAGE, name)
    assert issubclass(module.Config, Options)
    with pytest.raises(ConfigError, match="unknown key 'mistyped'"):
        check(module.Config, {"mistyped": 1, "path": "x", "config": "x", "checkpoint": "x"}, name)


def same(a: list[Pose], b: list[Pose]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(p.xy, q.xy) and np.array_equal(p.score, q.score)
        for p, q in zip(a, b, strict=True)
    )


def test_people_are_found_with_scores_and_places(estimator: Estimator) -> None:
    frame = demo_frame()
    people = estimator(frame, None)
    assert people
    for pose in people:
        assert pose.found
        assert pose.xy.dtype == pose.score.dtype == np.float32
        assert np.isfinite(pose.xy).all()
        assert pose.score.min() >= 0 and pose.score.max() <= 1
        if pose.mask is not None:
            assert pose.mask.shape == frame.size


def test_near_gives_at_most_the_one_who_is_there(estimator: Estimator) -> None:
    frame = demo_frame()
    for pose in estimator(frame, None):
        (again,) = estimator(frame, pose)
        if type(estimator).__module__ == f"{PACKAGE}.mmpose":
            continue  # random weights say nothing about places
        seen = (pose.score > 0.5) & (again.score > 0.5)
        assert np.median(np.linalg.norm(pose.xy - again.xy, axis=1)[seen]) < 0.03 * frame.size[0]


def test_nothing_is_remembered_between_calls(estimator: Estimator) -> None:
    frame = demo_frame()
    first = estimator(frame, None)
    estimator(Frame(np.zeros_like(frame.rgb), Fraction(1), 1), first[0])
    assert same(first, estimator(frame, None))


def test_the_picture_is_left_as_it_was(estimator: Estimator) -> None:
    frame = demo_frame()
    before = frame.rgb.copy()
    estimator(frame, None)
    assert np.array_equal(frame.rgb, before)


def test_threads_get_their_own_results_and_none_is_left(estimator: Estimator) -> None:
    frame = demo_frame()
    people = estimator(frame, None)
    before = threading.active_count()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(estimator, [frame] * 8, [None, people[0]] * 4))
    assert threading.active_count() == before
    assert all(same(result, results[i % 2]) for i, result in enumerate(results))
