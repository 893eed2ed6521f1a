"""Small helpers for generator pipelines: run ahead in a thread, map in order over threads, chunks."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_END = object()


def prefetch(items: Iterable[T], ahead: int = 4) -> Generator[T]:
    """The same items, produced up to `ahead` early by a thread that always ends with the consumer.

    An exception of the producer is raised at its place in the order; when the consumer stops early
    the producer's own clean-up (`finally`) runs before this returns.
    """
    slots: queue.Queue[object] = queue.Queue(maxsize=max(1, ahead))
    stop = threading.Event()
    failure: list[BaseException] = []

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                slots.put(item, timeout=0.05)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not put(item):
                    break
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def produce() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer
            failure.append(error)
        finally:
            put(_END)

    thread = threading.Thread(target=produce, name="dance-prefetch", daemon=True)
    thread.start()
    try:
        while (item := slots.get()) is not _END:
            yield item  # type: ignore[misc]
        if failure:
            raise failure[0]
    finally:
        stop.set()
        thread.join()


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int | None = None
) -> Generator[R]:
    """`function` of every item, in order, computed by `workers` threads, at most `ahead` in flight.

    Worth it for work that releases the interpreter lock (OpenCV, numpy, codecs, waiting for processes).
    """
    if workers <= 1:
        yield from map(function, items)
        return
    limit = ahead or workers + 1
    flying: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="dance-map") as pool:
        try:
            for item in items:
                flying.append(pool.submit(function, item))
                if len(flying) >= limit:
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()
        finally:
            for future in flying:
                future.cancel()


def chunks(items: Iterable[T], size: int) -> Generator[list[T]]:
    """Lists of `size` consecutive items; the last may be shorter."""
    if size < 1:
        raise ValueError(f"size must be 1 or more, got {size}")
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
