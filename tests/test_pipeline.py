"""What the pipeline itself decides."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from dance import demo, pipeline
from dance.types import InputError


def test_matrices_are_multiplied_in_one_thread_and_then_as_before() -> None:
    def blas_threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pipeline.blas_in_one_thread():
            assert set(blas_threads()) == {1}
        assert blas_threads() == before


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

    def study_for_ever(*args: object, on_progress: pipeline.OnProgress) -> None:
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
