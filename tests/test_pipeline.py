"""What the pipeline itself decides."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path

import cv2
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from dance import demo, pipeline
from dance.types import InputError


def test_libraries_leave_the_cores_to_the_stages_and_then_go_on_as_before() -> None:
    def blas_threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    filters = cv2.getNumThreads()
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pipeline.cores_for_stages():
            assert set(blas_threads()) == {1}
            assert cv2.getNumThreads() == max(1, (os.cpu_count() or 1) // 4)
        assert blas_threads() == before
    assert cv2.getNumThreads() == filters


def test_a_source_that_cannot_be_used_ends_the_run_before_the_driver_is_seen_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Event()
    watched = []

    def refuse(*args: object, **kwargs: object) -> None:
        refused.set()
        raise InputError("nobody in the photo")

    def without_end(*args: object, **kwargs: object) -> object:
        for number in itertools.count():
            refused.wait(10)
            watched.append(number)
            yield number

    monkeypatch.setattr(pipeline, "read_person", refuse)
    monkeypatch.setattr(pipeline, "watch", without_end)
    with pytest.raises(InputError, match="nobody in the photo"):
        pipeline.make_video(pipeline.VideoConfig(), demo.DRIVER, demo.SOURCE, tmp_path / "out.mp4")
    assert len(watched) < 100_000
    assert list(tmp_path.iterdir()) == []


def test_when_the_driver_cannot_be_used_the_study_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, told = threading.Event(), []

    def study_for_ever(*args: object, on_progress: pipeline.OnProgress, **_: object) -> None:
        began.set()
        for number in itertools.count():
            told.append(number)
            on_progress(pipeline.Progress("source", number, None))

    def broken(*args: object, **kwargs: object) -> object:
        began.wait(10)
        raise InputError("the driver is broken")
        yield

    monkeypatch.setattr(pipeline, "read_person", study_for_ever)
    monkeypatch.setattr(pipeline, "watch", broken)
    before = threading.active_count()
    with pytest.raises(InputError, match="driver is broken"):
        pipeline.make_video(pipeline.VideoConfig(), demo.DRIVER, demo.SOURCE, tmp_path / "out.mp4")
    assert threading.active_count() <= before
