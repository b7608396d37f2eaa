"""The query layer over records that are not there yet, grow, change behind one's back, and go away."""

import json
import sqlite3

import numpy as np
import pytest

from dashboard import running
from dashboard.view import MAX_CORNERS, MAX_PARTICLES, RecordView
from models.results import CLASSES


@pytest.fixture
def view(made):
    view = RecordView(made.directory)
    yield view
    view.close()


def test_a_session_that_does_not_exist_yet_is_no_error(tmp_path) -> None:
    view = RecordView(tmp_path / "later")
    assert not view.poll().exists
    assert view.poll() is view.poll()
    assert view.frame(1) is None
    assert view.preview(1) is None
    assert view.neighbour(1) is None


def test_a_record_without_tables_is_still_to_come(made, view) -> None:
    assert not view.poll().exists
    made.begin()
    assert view.poll().exists
    assert view.poll().problem is None
    assert view.poll().ledger.arrived == 0


def test_nothing_new_is_the_same_object(session, view) -> None:
    first = view.poll()
    assert view.poll() is first
    session.arrive()
    second = view.poll()
    assert second is not first
    assert second.version > first.version
    assert second.series is first.series
    assert second.sizes is first.sizes


def test_the_ledger_sums_up_whatever_becomes_of_the_frames(session, view) -> None:
    queued, rejected, dropped = session.arrive(), session.arrive(), session.arrive()
    session.analysed("yes")
    session.refuse(rejected, "no pixel size")
    session.refuse(dropped, "the disk is full", "dropped")
    session.set_sources("watching", ignored=4, lost=2, duplicates=1)

    ledger = view.poll().ledger

    assert (ledger.arrived, ledger.analysed, ledger.queued, ledger.rejected, ledger.dropped) == (
        4,
        1,
        1,
        1,
        1,
    )
    assert (ledger.ignored, ledger.lost, ledger.duplicates) == (4, 2, 1)
    assert set(ledger.reasons) == {("rejected", "no pixel size", 1), ("dropped", "the disk is full", 1)}
    assert [refusal.frame_id for refusal in view.poll().refusals] == [dropped, rejected]
    session.finish(queued)
    assert view.poll().ledger.queued == 0


def test_counting_reasons_waits_where_it_would_cost_too_much(session) -> None:
    times = iter([0.0, 0.1, 0.1, 0.2, 3.0, 3.1, 3.1])
    reader = running.LedgerReader(timer=lambda: next(times))
    session.refuse(session.arrive(), "first")
    assert reader.read(session.db)[0].reasons == (("rejected", "first", 1),)  # took 0.1 s: not before 2 s
    session.refuse(session.arrive(), "second")
    ledger, _ = reader.read(session.db)
    assert (ledger.rejected, len(ledger.reasons), reader.pending) == (2, 1, True)
    ledger, refusals = reader.read(session.db)
    assert (len(ledger.reasons), len(refusals), reader.pending) == (2, 2, False)


def test_figures_series_and_sizes_follow_the_frames(session, view) -> None:
    session.analysed("yes", "no", "null")
    view.poll()
    session.analysed("no", "empty")

    snapshot = view.poll()

    assert snapshot.figures.counts == (1, 1, 2, 1)
    assert snapshot.figures.judged == 3
    assert snapshot.series.position.tolist() == [1, 2]
    assert snapshot.series.counted.tolist() == pytest.approx([1 / 2, 1 / 3])
    assert snapshot.series.corrected[-1] == snapshot.figures.corrected
    assert snapshot.sizes.counts.sum(axis=1).tolist() == [1, 1, 2, 1]
    # discs of radius 35, 38 and 41 pixels of 0.03 nm
    assert np.flatnonzero(snapshot.sizes.counts.sum(axis=0)).tolist() == [8, 9]
    assert snapshot.newest == 2
    assert snapshot.bundle.rates.sensitivity.n == 100


def test_a_fraction_that_is_not_there_is_not_a_number(session, view) -> None:
    session.analysed("empty")
    assert np.isnan(view.poll().series.corrected).all()
    assert view.poll().figures.corrected is None


def test_results_wait_for_their_place_in_the_order(session, view) -> None:
    session.analysed("yes", settle=False)
    snapshot = view.poll()
    assert snapshot.newest == 1
    assert snapshot.figures is None


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 40, 101])
def test_the_series_is_thinned_the_same_whether_read_at_once_or_as_it_grows(session, frames) -> None:
    growing = running.SeriesReader(points=8)
    for _ in range(frames):
        session.analysed("yes", "no", preview=False)
        series, _ = growing.read(session.db)
        assert len(series.position) <= 9
        assert series.position[-1] == session.position
    again, figures = running.SeriesReader(points=8).read(session.db)
    assert series.position.tolist() == again.position.tolist()
    assert figures.position == frames


def test_a_late_frame_moves_all_that_follow(session, view) -> None:
    session.analysed("yes")
    session.analysed("no")
    assert view.poll().series.counted.tolist() == [1, 0.5]
    # As if a third frame had been acquired before the second: its row comes between them.
    session.db.execute("BEGIN")
    session.db.execute("DELETE FROM statistics WHERE position = 2")
    late = session.arrive()
    session.db.execute("UPDATE frames SET state = 'analysed' WHERE id = ?", (late,))
    session.db.execute(
        "INSERT INTO results SELECT ?, bundle, backend, height, width, pixel_size_nm, quality, timings_ms,"
        " finished, committed, latency_ms, NULL, NULL, NULL FROM results WHERE frame_id = 2",
        (late,),
    )
    row = (
        "INSERT INTO statistics (frame_id, position, at, n_empty, n_null, n_no, n_yes, counted)"
        " VALUES (?, ?, 0, 0, 0, ?, ?, ?)"
    )
    session.db.execute(row, (late, 2, 0, 2, 1.0))
    session.db.execute(row, (2, 3, 1, 2, 2 / 3))
    session.db.execute("COMMIT")
    assert view.poll().series.counted.tolist() == pytest.approx([1, 1, 2 / 3])


def test_a_long_record_is_counted_a_piece_at_a_time(session) -> None:
    for _ in range(5):
        session.analysed("yes", "no", "null", preview=False)
    reader = running.SizesReader(chunk=4)
    seen = []
    while not seen or reader.pending:
        seen.append(reader.read(session.db).particles)
    assert seen == [4, 8, 12, 15]


def test_particles_that_were_taken_back_are_not_counted(session) -> None:
    reader = running.SizesReader(chunk=2)
    for _ in range(3):
        session.analysed("yes", "no", preview=False)
    while reader.read(session.db, settled=6).particles < 6 or reader.pending:
        pass
    session.db.execute("DELETE FROM particles WHERE frame_id = 1")
    session.analysed("yes", preview=False)
    shown = []
    for _ in range(5):
        shown.append(reader.read(session.db, settled=5).particles)
    assert shown[0] == 6  # counting anew has begun, and what was shown stays until it is done
    assert shown[-1] == 5
    assert min(shown) == 5


def test_sizes_beyond_the_histogram_fall_into_its_last_bin(session) -> None:
    session.analysed("yes")
    session.db.execute("UPDATE particles SET diameter_nm = 5000")
    assert running.SizesReader().read(session.db).counts[CLASSES.index("yes"), -1] == 1


def test_pace_is_taken_over_the_last_minute(session, view, clock) -> None:
    session.analysed(latency_ms=9000.0)
    clock.now += 3600
    for latency in (100.0, 200.0, 300.0):
        clock.now += 0.5
        session.analysed(latency_ms=latency)
    pace = view.poll().pace
    assert pace.analysed_per_s == pytest.approx(2)
    assert pace.arrived_per_s == pytest.approx(2)
    assert pace.last_committed == clock.now
    assert pace.latency_p50_ms == pytest.approx(250)


def test_one_frame_has_no_rate(session, view) -> None:
    session.analysed()
    assert view.poll().pace.analysed_per_s is None


def test_a_frame_with_its_particles(session, view, particle) -> None:
    frame_id = session.finish(session.arrive("/data/a b/img.tif"), [particle("yes", 100, 60, 20, True)])
    frame = view.frame(frame_id)
    assert (frame.name, frame.height, frame.pixel_size_nm) == ("img.tif", 400, 0.03)
    shown = frame.particles[0]
    assert (shown.particle_class, shown.abstained, shown.bbox) == ("yes", True, (80, 40, 120, 80))
    assert shown.probabilities[CLASSES.index("yes")] == 0.85
    assert (shown.rows.mean(), shown.cols.mean()) == (pytest.approx(100), pytest.approx(60))
    assert view.frame(99) is None


def test_too_many_particles_and_corners_are_bounded_and_told(session, view, particle) -> None:
    frame_id = session.finish(
        session.arrive(), [particle("no", 50, 50, 10 + i / 99) for i in range(900)], preview=False
    )
    corners = json.dumps(np.random.default_rng(0).uniform(0, 99, (999, 2)).tolist())
    session.db.execute("UPDATE particles SET outline = ?", (corners,))
    frame = view.frame(frame_id)
    assert (len(frame.particles), frame.hidden) == (MAX_PARTICLES, 100)
    assert len(frame.particles[0].rows) <= MAX_CORNERS


def test_looking_for_the_analysed_frame_nearest_to_a_number(session, view) -> None:
    session.arrive()
    session.analysed()
    session.arrive()
    session.analysed()
    session.arrive()
    assert [view.neighbour(number) for number in range(7)] == [2, 2, 2, 2, 4, 4, 4]
    assert [view.neighbour(number, after=True) for number in range(7)] == [2, 2, 2, 4, 4, 4, 4]


def test_a_frame_that_is_analysed_again_is_another_picture(session, view, clock) -> None:
    frame_id = session.analysed("yes")
    first = view.frame(frame_id)
    clock.now += 1
    session.db.execute("UPDATE results SET committed = ? WHERE frame_id = ?", (clock.now, frame_id))
    assert view.stamp(frame_id) == view.frame(frame_id).stamp != first.stamp


def test_the_preview_is_the_bytes_of_the_record(session, view) -> None:
    frame_id = session.analysed("yes")
    jpeg, stamp = view.preview(frame_id)
    assert jpeg == session.db.execute("SELECT preview FROM results").fetchone()[0]
    assert stamp == view.frame(frame_id).stamp
    assert view.preview(session.analysed(preview=False)) is None


def test_another_record_in_the_same_place_begins_a_new_epoch(make_session, tmp_path) -> None:
    session = make_session(tmp_path / "here")
    session.analysed("yes")
    view = RecordView(session.directory)
    epoch = view.poll().epoch
    session.db.close()
    for file in session.directory.iterdir():
        file.unlink()
    assert not view.poll().exists
    assert view.poll().newest is None
    make_session(tmp_path / "here")
    assert view.poll().exists
    assert view.poll().epoch > epoch
    view.close()


def test_a_record_of_another_version_is_told_in_a_sentence(made, view) -> None:
    made.begin(version=7)
    view.poll()
    assert "schema 7" in view.poll().problem


def test_a_damaged_record_keeps_what_was_last_known(session, view) -> None:
    session.analysed("yes")
    before = view.poll()
    session.db.execute("ALTER TABLE statistics RENAME TO elsewhere")
    after = view.poll()
    assert "can't be read" in after.problem
    assert after.ledger == before.ledger
    session.db.execute("ALTER TABLE elsewhere RENAME TO statistics")
    assert view.poll().problem is None


def test_reading_leaves_the_record_alone(session, view) -> None:
    session.analysed("yes")
    view.poll()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        view._db.execute("DELETE FROM frames")


@pytest.mark.parametrize(
    ("path", "item", "name"),
    [
        ("/data/a/img.tif", 0, "img.tif"),
        ("C:\\data\\stack.emd", 3, "stack.emd [3]"),
        (b"/data/\xff.tif", None, "\N{REPLACEMENT CHARACTER}.tif"),
    ],
)
def test_what_a_frame_is_called(path: str, item: int | None, name: str) -> None:
    assert running.frame_name(path, item).replace("?", "\N{REPLACEMENT CHARACTER}") == name


def test_of_frames_that_were_settled_together_the_estimate_before_goes_on(session, view) -> None:
    for number in range(6):
        session.analysed("yes", *["no"] * number)
    columns = "corrected = NULL, low = NULL, high = NULL, always_low = NULL, always_high = NULL"
    session.db.execute(f"UPDATE statistics SET {columns} WHERE position IN (1, 3, 4)")
    series = view.poll().series
    assert np.isnan(series.corrected[0])  # there is none before
    for column in (series.corrected, series.low, series.high, series.always_low, series.always_high):
        assert column[2] == column[3] == column[1]
        assert column[4] != column[1]
    assert np.isfinite(series.counted).all()


def test_where_there_is_a_reason_there_is_a_gap(session, view) -> None:
    for _ in range(3):
        session.analysed("yes", "no")
    session.db.execute("UPDATE statistics SET corrected = NULL, low = NULL, reason = 'so' WHERE position > 1")
    snapshot = view.poll()
    assert np.isnan(snapshot.series.corrected).tolist() == [False, True, True]
    assert snapshot.figures.reason == "so"


def test_alarms_that_are_on_come_first_the_most_severe_of_them_before(session, view, clock) -> None:
    for kind, severity, until in (
        ("blank field", "notice", None),
        ("charging", "warning", clock.now),
        ("drift too fast", "warning", None),
        ("beam lost", "critical", None),
    ):
        session.alarm(kind, severity, until=until)
    alarms = view.poll().alarms
    assert [alarm.kind for alarm in alarms] == ["beam lost", "drift too fast", "blank field", "charging"]
    assert [alarm.urgent for alarm in alarms] == [True, True, False, False]


def test_an_older_record_has_no_alarms_no_audits_and_no_goal(session, view) -> None:
    session.analysed("yes")
    for table in ("alarms", "labels", "places", "tracks"):
        session.db.execute(f"DROP TABLE {table}")
    snapshot = view.poll()
    assert snapshot.problem is None
    assert (snapshot.alarms, snapshot.drawn) == ((), 0)
    assert view.audit("Ada").drawn == 0
    assert view.place(1) is None
    assert view.goal(0.05) is None
