"""Running statistics: in order of acquisition, whatever the order of the results."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame
from monitor.record import RecordReader, RecordWriter
from monitor.record.following import Following
from monitor.record.settling import RunningStatistics
from monitor.statistics.estimate_course import Estimator
from monitor.statistics.fraction import Rate, Rates

Finished = Callable[..., FinishedFrame]

RATES = Rates(Rate(86, 100), Rate(95, 100))


def rows(folder: Path) -> list[tuple[int, int, int]]:
    with RecordReader(folder) as reader:
        return [
            (row[0], row[1], row[6])
            for row in reader._db.execute("SELECT * FROM statistics ORDER BY position")
        ]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def finish(record: RecordWriter, statistics: RunningStatistics, i: int, frame: FinishedFrame) -> None:
    order = record.finish(i, record.frame(i).revision, frame, lambda: 100.0)
    assert order is not None
    statistics.add(order)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(1, 9)), cuts=st.lists(st.booleans(), min_size=8, max_size=8))
def test_any_order_of_results_gives_the_rows_of_the_right_order(
    tmp_path_factory: pytest.TempPathFactory, finished: Finished, order: list[int], cuts: list[bool]
) -> None:
    folder = tmp_path_factory.mktemp("s")
    with RecordWriter(folder) as record:
        record.add_bundle("test-bundle", folder, {})
        record.add_source("list", "list", 0.0)
        for i in range(1, 9):
            # Acquired in the reverse of the order of arrival.
            record.take(1, FrameRef(Path(f"/{i}"), 0, acquired=1000.0 - i), at=float(i))
        clock = Clock()
        statistics = RunningStatistics(record, Estimator({}), clock)
        for i, settle in zip(order, cuts, strict=True):
            finish(record, statistics, i, finished(*["yes"] * (i % 3), "no", "no"))
            if settle:
                statistics.settle()
        statistics.settle(final=True)
        assert statistics.settled
    sums = list(accumulate(i % 3 for i in range(8, 0, -1)))
    assert rows(folder) == [(9 - k, k, sums[k - 1]) for k in range(1, 9)]


def test_a_later_frame_waits_for_an_earlier_one_that_is_being_analysed(
    record: RecordWriter, finished: Finished
) -> None:
    for i in (1, 2):
        record.take(1, FrameRef(Path(f"/{i}"), 0), at=float(i))
    statistics = RunningStatistics(record, Estimator({}), Clock())
    finish(record, statistics, 2, finished("yes"))
    statistics.settle(before=record.frame(1).order)
    assert rows(record.folder) == []
    finish(record, statistics, 1, finished("no"))
    statistics.settle()
    assert rows(record.folder) == [(1, 1, 0), (2, 2, 1)]


def test_working_off_a_backlog_backwards_rewrites_seldom(record: RecordWriter, finished: Finished) -> None:
    for i in range(1, 41):
        record.take(1, FrameRef(Path(f"/{i}"), 0), at=float(i))
    clock, rewrites = Clock(), 0
    statistics = RunningStatistics(record, Estimator({}), clock)
    restore = record.restore

    def slow(following: Following, stale: tuple[float, int] | None) -> None:
        nonlocal rewrites
        rewrites += 1
        clock.now += 0.1  # settling again takes 0.1 s
        restore(following, stale)

    record.restore = slow  # type: ignore[method-assign]
    for i in range(40, 0, -1):
        finish(record, statistics, i, finished("no"))
        clock.now += 0.5
        statistics.settle()
    assert rewrites <= 12  # 20 s of work with 5 % of it for rewrites
    statistics.settle(final=True)
    assert [frame for frame, _, _ in rows(record.folder)] == list(range(1, 41))


def test_a_result_that_is_taken_back_leaves_no_trace(record: RecordWriter, finished: Finished) -> None:
    for i in (1, 2, 3):
        record.take(1, FrameRef(Path(f"/{i}"), 0, content=f"c{i}"), at=float(i))
    statistics = RunningStatistics(record, Estimator({}), Clock())
    for i in (1, 2, 3):
        finish(record, statistics, i, finished("yes"))
    statistics.settle()
    taken = record.take(1, FrameRef(Path("/2"), 0, content="other"), at=9.0)
    assert taken.what == "revision"
    assert taken.replaced is not None
    statistics.remove(taken.replaced)
    statistics.settle()
    assert rows(record.folder) == [(1, 1, 1), (3, 2, 2)]
    finish(record, statistics, 2, finished("no"))
    statistics.settle(final=True)
    assert rows(record.folder) == [(1, 1, 1), (3, 2, 2), (2, 3, 2)]


def test_what_a_killed_session_left_undone_is_done_at_the_next_start(
    record: RecordWriter, finished: Finished
) -> None:
    for i in (1, 2, 3):
        record.take(1, FrameRef(Path(f"/{i}"), 0, content=f"c{i}"), at=float(i))
    statistics = RunningStatistics(record, Estimator({}), Clock())
    for i in (1, 2, 3):
        finish(record, statistics, i, finished("yes"))
    statistics.settle()
    record.take(1, FrameRef(Path("/1"), 0, content="other"), at=9.0)  # killed before this was settled
    again = RunningStatistics(record, Estimator({}), Clock())
    assert not again.settled
    again.settle()
    assert rows(record.folder) == [(2, 1, 1), (3, 2, 2)]
