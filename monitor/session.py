"""A session takes in what its sources announce, has it analysed, and commits every result."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

from monitor.conditions import ConditionAlarms
from monitor.errors import InputError
from monitor.feeds import Feed, Feeds
from monitor.frames import FrameRef
from monitor.outcomes import FinishedFrame, RejectedFrame
from monitor.publishing import Publisher, caller
from monitor.record import RecordWriter
from monitor.record.changes import SETTING
from monitor.record.following import Settled
from monitor.record.holding import Holding
from monitor.record.judging import PROMOTE, TAKE_BACK, Bench
from monitor.record.settling import RunningStatistics
from monitor.settings import WatchSettings
from monitor.sources.base import Source
from monitor.sources.retention import Retention
from monitor.statistics.alarm_kinds import Alarm
from monitor.statistics.estimate_course import Estimator
from monitor.workers.base import WorkerPool
from monitor.workers.pool import Finished, WorkerFailed, Workers, spawned
from monitor.workers.worker import Start, Task

log = logging.getLogger("faultwatch.session")

#: Frames taken in between two rounds of everything else.
_BATCH = 32
_TICK_S = 0.2

#: A frame that is analysed for longer than this no longer holds back the statistics of later ones [s].
_ORDER_PATIENCE_S = 5.0

#: What is under way when a session ends is waited for so long [s].
_END_PATIENCE_S = 10.0


@dataclass(frozen=True)
class _Held:
    """A frame whose file was not there when it was to be read."""

    revision: int
    since: float
    """[s, steady clock]"""


class Session:
    """Runs until it is stopped, its sources end, or it has been idle for long enough."""

    def __init__(
        self,
        record: RecordWriter,
        sources: Iterable[Source],
        settings: WatchSettings,
        *,
        clock: Callable[[], float],
        steady: Callable[[], float],
        threads: int,
        executor: Callable[[], Executor] = spawned,
        on_ready: Callable[[], None] = lambda: None,
        on_tick: Callable[[], None] = lambda: None,
        publisher: Publisher | None = None,
    ) -> None:
        """
        Parameters
        ----------
        clock
            [s since 1970 UTC]
        steady
            Never goes back [s].
        threads
            That each worker may use.
        on_ready
            Called once, when the sources are open and the first worker has begun.
        on_tick
            Called several times a second.
        publisher
            Gets what is settled, and the alarms.
        """
        self.record = record
        self._settings = settings
        self._clock = clock
        self._steady = steady
        self._on_ready = on_ready
        self._on_tick = on_tick
        self._start = Start(settings.bundle, settings.device, threads, settings.material)
        self._executor = executor
        self._sources = list(sources)
        self._queue: deque[int] = deque()
        self._held: dict[int, _Held] = {}
        self._deaths: dict[int, int] = {}
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._holding = Holding(record, self._stop, self._hurry, steady)
        self._feeds = Feeds(record, self._holding, self._hurry, clock)
        self._publisher = publisher
        self._call = None if settings.on_alarm is None else caller(settings.on_alarm)
        self._conditions = ConditionAlarms(record, self._holding, self._feeds, clock, steady, self._alarm)
        self._statistics: RunningStatistics | None = None
        self._workers: WorkerPool | None = None
        self._announced = False
        self._bench = Bench(settings.material)
        self._retention = Retention(record.folder / "spool", settings.keep)

    def stop(self) -> None:
        """Take in nothing more, finish what is being analysed, end. A second time: do not wait for it."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()
        self._feeds.wake()

    @property
    def waiting(self) -> int:
        """Frames that wait to be analysed."""
        return len(self._queue) + len(self._held)

    def run(self) -> None:
        """Watch, until there is a reason to end.

        Raises
        ------
        InputError
            A source can't be opened, or the bundle can't be loaded.
        """
        self._queue.extend(self.record.queued())
        if self._retention.limited:
            for path, analysed in self.record.concluded():
                self._retention.done(path, analysed=analysed)
        try:
            # Sources first: what comes while the workers load their bundle is not to be missed.
            for source in self._sources:
                self._feeds.open(source)
            self._workers = self._make_workers()
            self._watch(self._workers)
            self._finish_tasks(self._workers)
        finally:
            self._close()

    def _make_workers(self) -> WorkerPool:
        limit, clock, wake = self._settings.time_limit_s, self._steady, self._feeds.wake
        if self._settings.scheduler is not None:
            from monitor.workers.cluster import ClusterWorkers  # not every installation has Dask

            most = self._settings.workers
            return ClusterWorkers(
                self._settings.scheduler, self._start, most, time_limit_s=limit, clock=clock, wake=wake
            )
        count = self._settings.worker_count()
        return Workers(
            self._start, count, time_limit_s=limit, clock=clock, wake=wake, executor=self._executor
        )

    # -- the loop --------------------------------------------------------------------------------------------

    def _watch(self, workers: WorkerPool) -> None:
        idle_since, limit = self._steady(), self._settings.until_idle
        while not self._stop.is_set():
            busy = self._take_in()
            busy |= self._take_results(workers)
            if workers.ready is not None:
                if not self._announced and self._feeds.ready:
                    self._announced = True
                    self._on_ready()
                    idle_since = self._steady()
                busy |= self._hand_out(workers)
            self._holding.look()
            self._settle(workers)
            self._feeds.write_status()
            self._conditions.look(self.waiting + len(workers.tasks))
            self._on_tick()
            working = self.waiting > 0 or bool(workers.tasks) or not self._announced or self._unsettled
            if self._feeds.ended and not working and self._feeds.empty:
                return
            # Looked at last: a source has announced what it found before it says that it is not busy.
            if busy or working or self._feeds.growing or not self._feeds.empty:
                idle_since = self._steady()
            elif limit is not None and self._steady() - idle_since >= limit:
                return

    def _take_in(self) -> bool:
        """Enter what the sources have announced; waits a moment where there is nothing."""
        found = False
        for feed, ref in self._feeds.announced(_BATCH, _TICK_S):
            self._enter(feed, ref)
            found = True
        return found

    def _enter(self, feed: Feed, ref: FrameRef) -> None:
        source_id = feed.row.id
        taken = self._holding.write(
            lambda: self.record.take(source_id, ref, self._clock(), renames=feed.source.renames)
        )
        if taken is None:
            return
        if taken.lost > 0:
            log.warning(
                "event=frames-lost sender=%r count=%d before=%s", ref.sender, taken.lost, ref.sequence
            )
        if taken.what in ("revision", "renamed"):
            log.info("event=%s frame=%d path=%s", taken.what, taken.frame_id, ref.path)
        if ref.rejected is not None and taken.what in ("new", "revision"):
            log.warning(
                "event=frame-rejected frame=%d path=%s reason=%r", taken.frame_id, ref.path, ref.rejected
            )
        if taken.replaced is not None and self._statistics is not None:
            self._statistics.remove(taken.replaced)
        # Only a frame that was known may wait already; looking through a long queue for every new one is
        # dear.
        if taken.queued and (taken.what == "new" or taken.frame_id not in self._queue):
            self._queue.append(taken.frame_id)

    def _hand_out(self, workers: WorkerPool) -> bool:
        self._look_after_held()
        handed = False
        while self._queue and workers.free():
            frame_id = self._queue.pop() if self._settings.latest_first else self._queue.popleft()
            frame = self.record.frame(frame_id)
            if frame.state != "queued":
                continue
            ref = FrameRef(
                frame.path, frame.index, frame.pixel_size_nm, frame.acquired, frame.sender, frame.sequence
            )
            task = Task(
                frame_id,
                frame.revision,
                ref,
                self._settings.pixel_size,
                self._settings.force_pixel_size,
                self._bench.material,
                self._settings.movie_mode(),
                self._bench.path,
            )
            handed = True
            if not workers.submit(task):
                self._queue.appendleft(frame_id)
        return handed

    def _take_results(self, workers: WorkerPool) -> bool:
        try:
            news = workers.finished()
        except WorkerFailed as error:
            raise InputError(f"no worker can begin: {error}") from error
        if self._statistics is None and workers.ready is not None:
            ready = workers.ready
            self._holding.write(
                lambda: self.record.begin(self._bench, ready.bundle, ready.path, ready.details, self._clock())
            )
            estimator = Estimator(self._bench.details)
            self._statistics = RunningStatistics(self.record, estimator, self._steady, self._settled)
            log.info("event=bundle bundle=%s path=%s", ready.bundle, ready.path)
        for finished in news:
            self._conclude(finished)
        return bool(news)

    def _carry_out(self, statistics: RunningStatistics) -> None:
        """Answer what was asked on the page, and follow it."""
        done = self._holding.write(lambda: statistics.carry_out(self._clock())) or ()
        for name in done:
            log.info("event=command name=%s", name)
        if {SETTING, PROMOTE, TAKE_BACK}.intersection(done):
            self.record.follow(self._bench)
            if {PROMOTE, TAKE_BACK}.intersection(done):
                statistics.judge(Estimator(self._bench.details))

    def _conclude(self, finished: Finished) -> None:
        task, outcome = finished.task, finished.outcome
        if outcome is None:
            self._died(task, str(finished.reason))
        elif isinstance(outcome, RejectedFrame):
            self._rejected(task, outcome)
        else:
            self._committed(task, outcome)

    def _committed(self, task: Task, done: FinishedFrame) -> None:
        if task.material != self._bench.material and os.path.exists(task.ref.path):
            self._queue.appendleft(task.frame_id)  # it was under way when the material changed
            return
        self._deaths.pop(task.frame_id, None)
        done = self._bench.settled(done)
        order = self._holding.write(
            lambda: self.record.finish(task.frame_id, task.revision, done, self._clock)
        )
        if order is not None:
            if self._statistics is not None:
                self._statistics.add(order)
            self._retention.done(task.ref.path, analysed=True)

    def _died(self, task: Task, reason: str) -> None:
        deaths = self._deaths[task.frame_id] = self._deaths.get(task.frame_id, 0) + 1
        log.error("event=worker-replaced frame=%d path=%s reason=%r", task.frame_id, task.ref.path, reason)
        if deaths < 2:
            self._queue.appendleft(task.frame_id)
            return
        del self._deaths[task.frame_id]
        self._reject(task.frame_id, task.revision, f"its analysis {reason}, twice")

    def _rejected(self, task: Task, outcome: RejectedFrame) -> None:
        if outcome.gone:
            # Deleted, renamed, or its share is gone: its source will know which in a moment.
            self._held[task.frame_id] = _Held(task.revision, self._steady())
            return
        self._reject(task.frame_id, task.revision, outcome.reason)
        if outcome.traceback is not None:
            log.error("event=fault frame=%d traceback=%r", task.frame_id, outcome.traceback)
        self._retention.done(task.ref.path, analysed=False)

    def _look_after_held(self) -> None:
        """Frames whose files were not there: analyse those that are there again, reject those that stay away."""
        patience = 3 * self._settings.reconcile_s
        for frame_id, held in list(self._held.items()):
            frame = self.record.frame(frame_id)
            lost = self._feeds.is_lost(frame.source_id)
            if os.path.exists(frame.path):
                self._queue.appendleft(frame_id)
            elif lost or self._steady() - held.since < patience:
                continue
            else:
                self._reject(frame_id, held.revision, "it was deleted before it was read")
            del self._held[frame_id]

    def _reject(self, frame_id: int, revision: int, reason: str) -> None:
        path = self.record.frame(frame_id).path
        log.warning("event=frame-rejected frame=%d path=%s reason=%r", frame_id, path, reason)
        self._holding.write(lambda: self.record.reject(frame_id, revision, reason))

    def _settled(self, found: Settled) -> None:
        """A frame's place, tracks and figures were committed."""
        self._conditions.frame()
        if self._publisher is not None:
            self._publisher.settled(found)
        for alarm in found.changed:
            self._alarm(alarm)

    def _alarm(self, alarm: Alarm) -> None:
        """An alarm was raised or cleared."""
        log.warning(
            "event=alarm-%s kind=%r cause=%r",
            "cleared" if alarm.cleared else "raised",
            alarm.kind,
            alarm.cause,
        )
        if self._publisher is not None:
            self._publisher.alarm(alarm)
        if self._call is not None:
            self._call(alarm)

    @property
    def _unsettled(self) -> bool:
        return self._statistics is not None and not self._statistics.settled

    def _settle(self, workers: WorkerPool, *, final: bool = False) -> None:
        statistics = self._statistics
        if statistics is not None:
            self._carry_out(statistics)
        if statistics is None or statistics.settled:
            return
        now = self._steady()
        in_analysis = [
            self.record.frame(task.frame_id).order
            for task, began in workers.tasks
            # Working off a backlog backwards there is always an older one; the figures are not to wait for it.
            if now - began < _ORDER_PATIENCE_S and not self._settings.latest_first
        ]
        before = min(in_analysis, default=None) if not final else None
        self._holding.write(lambda: statistics.settle(before=before, final=final))

    # -- ending ----------------------------------------------------------------------------------------------

    def _finish_tasks(self, workers: WorkerPool) -> None:
        """Close the sources, enter what they still had, and wait for what is being analysed."""
        self._feeds.close()
        deadline = self._steady() + _END_PATIENCE_S
        while not self._feeds.ended or workers.tasks:
            if self._hurry.is_set() or self._steady() > deadline:
                # What is not done stays queued in the record, for the next start.
                log.warning("event=left-queued frames=%d", len(workers.tasks))
                break
            self._take_in()
            self._take_results(workers)
            self._on_tick()
        self._settle(workers, final=True)
        self._feeds.write_status()
        self._holding.look(now=True)

    def _close(self) -> None:
        self._feeds.close()
        if self._workers is not None:
            self._workers.close()
        self._feeds.join(timeout_s=5)
