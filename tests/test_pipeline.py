"""What the pipeline itself decides."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from dance import pipeline


def test_matrices_are_multiplied_in_one_thread_and_then_as_before() -> None:
    def blas_threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pipeline.blas_in_one_thread():
            assert set(blas_threads()) == {1}
        assert blas_threads() == before
