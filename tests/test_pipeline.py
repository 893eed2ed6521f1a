"""What the pipeline itself decides."""

from __future__ import annotations

import itertools
import os
import threading
from dataclasses import replace
from pathlib import Path

import body_people
import cv2
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from dance import demo, devices, pipeline, progress
from dance.surface import stances
from dance.types import Frame, InputError, Person, Track, View

SHORT, TALL = body_people.person(height=0.35), body_people.person(height=0.7)


def test_libraries_leave_the_cores_to_the_stages_and_then_go_on_as_before() -> None:
    def blas_threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    filters = cv2.getNumThreads()
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with devices.cores_for_stages():
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

    def study_for_ever(*args: object, on_progress: progress.OnProgress, **_: object) -> None:
        began.set()
        for number in itertools.count():
            told.append(number)
            on_progress(progress.Progress("source", number, None))

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


def test_a_live_run_that_would_need_bodies_is_refused_before_anybody_is_studied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(pipeline, "read_person", lambda *a, **k: asked.append(a))
    config = pipeline.VideoConfig.model_validate({"retarget": {"mode": "body"}})
    with pytest.raises(InputError, match="mode = body: needs the whole clip"):
        pipeline.make_video(config, demo.DRIVER, demo.SOURCE, tmp_path / "out.mp4", live=True)
    assert asked == []


def test_in_mode_body_the_driver_is_fitted_and_its_steps_are_told() -> None:
    driver, source = body_people.clip(SHORT, body_people.wave), body_people.clip(TALL, body_people.stand, frames=1)  # fmt: skip
    bare = [replace(moment, pose=replace(moment.pose, stance=None)) for moment in driver]
    picture = np.zeros((*body_people.SIZE, 3), np.uint8)
    view = View(Frame(picture), source.poses[0], np.zeros(body_people.SIZE, np.float32))
    person = Person([view], picture, source, TALL)
    config = pipeline.VideoConfig.model_validate({"retarget": {"mode": "body"}})
    told: list[progress.Progress] = []
    moments = list(
        pipeline.retargeted(
            config, bare, driver.size, person, live=False, notes=[], on_progress=told.append
        )
    )
    assert len(moments) == len(driver) and all(m.pose.stance is not None for m in moments)
    assert {step.stage for step in told} == {"body"} and told[0].done == 1
    shown = np.ptp(moments[0].pose.xy[:23, 1]) / np.ptp(source.poses[0].xy[:23, 1])
    assert 0.75 < shown < 1.25  # as tall as the source, who stands as far away


def test_poses_get_stances_of_the_persons_body_before_they_are_drawn_as_surfaces() -> None:
    source = body_people.clip(TALL, body_people.stand, frames=1)
    dance = body_people.clip(TALL, body_people.wave, frames=4)
    bare = [replace(moment, pose=replace(moment.pose, stance=None)) for moment in dance]
    picture = np.zeros((*body_people.SIZE, 3), np.uint8)
    view = View(Frame(picture), source.poses[0], np.zeros(body_people.SIZE, np.float32))
    person = Person([view], picture, source, TALL)
    made = pipeline.embodied(
        pipeline.VideoConfig(), bare, person, notes=[], on_progress=lambda progress: None
    )
    track = Track.gather(made, person.size)
    assert stances.belong(track, TALL)
    assert np.array_equal(track.xy, dance.xy)
