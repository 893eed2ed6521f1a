import threading
import time
from collections.abc import Iterator

import pytest

from dance.stream import chunks, ordered_map, prefetch


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    left = [t.name for t in threading.enumerate() if t.name.startswith("dance-")]
    assert not left


class Source:
    """Counts up to `length`, failing at `fails`; remembers how far it got and whether it was closed."""

    def __init__(self, length: int = 100, fails: int = -1) -> None:
        self.length, self.fails, self.made, self.closed = length, fails, 0, False

    def __iter__(self) -> Iterator[int]:
        try:
            for i in range(self.length):
                if i == self.fails:
                    raise RuntimeError(f"no {i}")
                self.made += 1
                yield i
        finally:
            self.closed = True


def test_prefetch_gives_the_same_items_in_order() -> None:
    assert list(prefetch(Source(50), ahead=3)) == list(range(50))


def test_prefetch_of_nothing_is_nothing() -> None:
    assert list(prefetch([])) == []


def test_prefetch_may_carry_none() -> None:
    assert list(prefetch([None, None])) == [None, None]


def test_prefetch_runs_ahead_but_only_so_far() -> None:
    source = Source()
    items = prefetch(source, ahead=3)
    next(items)
    deadline = time.monotonic() + 2
    while source.made < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    # One taken, three waiting, one in the producer's hands.
    assert source.made == 5
    items.close()  # type: ignore[attr-defined]


def test_an_error_of_the_producer_comes_at_its_place() -> None:
    items, got = prefetch(Source(fails=3)), []
    with pytest.raises(RuntimeError, match="no 3"):
        for item in items:
            got.append(item)
    assert got == [0, 1, 2]


def test_an_error_before_the_first_item_is_raised_not_waited_for() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise RuntimeError("cannot start")

    with pytest.raises(RuntimeError, match="cannot start"):
        list(prefetch(Broken()))


def test_a_consumer_that_stops_early_closes_the_producer() -> None:
    source = Source()
    for item in (items := prefetch(source, ahead=2)):
        if item == 4:
            break
    items.close()  # type: ignore[attr-defined]
    assert source.closed and source.made < 10


def test_an_error_of_the_consumer_closes_the_producer() -> None:
    source = Source()

    def consume() -> Iterator[int]:
        for item in prefetch(source, ahead=2):
            yield 1 // (2 - item)

    with pytest.raises(ZeroDivisionError):
        list(consume())
    assert source.closed


def test_an_error_in_the_producers_clean_up_is_raised_not_waited_for() -> None:
    class Awkward:
        left = 2

        def __iter__(self) -> "Awkward":
            return self

        def __next__(self) -> int:
            self.left -= 1
            if self.left < 0:
                raise StopIteration
            return self.left

        def close(self) -> None:
            raise RuntimeError("cannot close")

    with pytest.raises(RuntimeError, match="cannot close"):
        list(prefetch(Awkward()))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_map_keeps_the_order_even_if_the_first_is_slow(workers: int) -> None:
    def slow_start(x: int) -> int:
        time.sleep(0.02 if x == 0 else 0)
        return x * x

    assert list(ordered_map(slow_start, range(10), workers=workers)) == [x * x for x in range(10)]


def test_a_map_really_runs_at_once() -> None:
    meeting = threading.Barrier(2, timeout=5)
    assert list(ordered_map(lambda x: (meeting.wait(), x)[1], range(4), workers=2)) == [0, 1, 2, 3]


def test_a_map_takes_only_so_many_items_ahead() -> None:
    source = Source()
    results = ordered_map(lambda x: x, source, workers=2, ahead=4)
    next(results)
    assert source.made == 4
    results.close()  # type: ignore[attr-defined]
    assert source.closed


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_map_comes_at_its_place(workers: int) -> None:
    results, got = ordered_map(lambda x: 1 // (2 - x), Source(), workers=workers), []
    with pytest.raises(ZeroDivisionError):
        for item in results:
            got.append(item)
    assert got == [0, 1]


@pytest.mark.parametrize(
    ("length", "expected"), [(0, []), (1, [1]), (3, [3]), (4, [3, 1]), (6, [3, 3])]
)
def test_chunks_are_full_but_for_the_last(length: int, expected: list[int]) -> None:
    batches = list(chunks(range(length), 3))
    assert [len(batch) for batch in batches] == expected
    assert [item for batch in batches for item in batch] == list(range(length))


def test_chunks_of_no_size_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        list(chunks([1], 0))
